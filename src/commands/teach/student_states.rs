//! The states of the students of a lecture, as the teacher's terminal and scripts are told.

use std::collections::HashMap;

use crate::id::UserId;
use crate::report::StudentState;

/// The last reported state of each student in class, so that each change is reported once.
#[derive(Debug, Default)]
pub(super) struct StudentStates(HashMap<UserId, StudentState>);

impl StudentStates {
    /// Sets a state; returns true if the change is worth reporting.
    pub(super) fn set(&mut self, user: &UserId, state: StudentState) -> bool {
        use StudentState::{Connecting, Joined, Left, Lost, Refused, Watching};
        let before = self.0.get(user).copied();
        let is_new = match (before, state) {
            // A student who watches came back to signalling, or offers again.
            (Some(Connecting | Watching), Joined) | (Some(Watching), Connecting) => return false,
            (None, Left | Lost) => false,
            (Some(before), state) => before != state,
            (None, Joined | Connecting | Watching | Refused) => true,
        };
        if matches!(state, Left | Lost) {
            self.0.remove(user);
        } else {
            self.0.insert(user.clone(), state);
        }
        is_new
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The students whose media runs.
    pub(super) fn watching(&self) -> Vec<UserId> {
        let watching = self.0.iter().filter(|(_, state)| **state == StudentState::Watching);
        watching.map(|(user, _)| user.clone()).collect()
    }

    pub(super) fn get(&self, user: &UserId) -> Option<StudentState> {
        self.0.get(user).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_change_of_a_student_is_reported_once() {
        use StudentState::{Connecting, Joined, Left, Lost, Watching};
        let mut students = StudentStates::default();
        let user: UserId = "1001".parse().unwrap();
        let reported: Vec<bool> =
            [Joined, Joined, Connecting, Watching, Watching, Joined, Connecting, Lost, Left, Joined, Left]
                .into_iter()
                .map(|state| students.set(&user, state))
                .collect();
        assert!(students.is_empty());
        assert_eq!(reported, [true, false, true, true, false, false, false, true, false, true, true]);
    }
}
