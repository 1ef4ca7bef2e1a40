//! Who is in class, as far as was told: so that each change is told once.

use std::collections::HashMap;

use crate::id::UserId;
use crate::report::StudentState;

/// The state of each student that is here.
#[derive(Debug, Default)]
pub(super) struct Roll(HashMap<UserId, StudentState>);

impl Roll {
    /// Enters a state; gives true when it is news.
    pub(super) fn enter(&mut self, user: &UserId, state: StudentState) -> bool {
        use StudentState::{Connecting, Joined, Left, Lost, Refused, Watching};
        let before = self.0.get(user).copied();
        let is_news = match (before, state) {
            // It came back to signalling, or offers again, while it watches: not worth a word.
            (Some(Connecting | Watching), Joined) | (Some(Watching), Connecting) => return false,
            (None, Left | Lost) => false,
            (Some(before), state) => before != state,
            (None, Joined | Connecting | Watching | Refused) => true,
        };
        match state {
            Left => {
                self.0.remove(user);
            }
            // Who was lost and then leaves the list has been told as lost.
            Lost => {
                self.0.remove(user);
            }
            _ => {
                self.0.insert(user.clone(), state);
            }
        }
        is_news
    }

    /// Whether nobody is here.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The state of a student.
    pub(super) fn state(&self, user: &UserId) -> Option<StudentState> {
        self.0.get(user).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_change_is_told_once() {
        use StudentState::{Connecting, Joined, Left, Lost, Watching};
        let mut roll = Roll::default();
        let user: UserId = "1001".parse().unwrap();
        let told: Vec<bool> =
            [Joined, Joined, Connecting, Watching, Watching, Joined, Connecting, Lost, Left, Joined, Left]
                .into_iter()
                .map(|state| roll.enter(&user, state))
                .collect();
        assert!(roll.is_empty());
        assert_eq!(told, [true, false, true, true, false, false, false, true, false, true, true]);
    }
}
