//! The title of a student's window: the room, what it is called, and who teaches.

use crate::id::{RoomId, RoomName, UserId, named};
use crate::protocol::User;

/// What the title says.
#[derive(Debug)]
pub(super) struct Title {
    room: RoomId,
    name: Option<RoomName>,
    teacher: Option<(UserId, String)>,
}

impl Title {
    pub(super) fn new(room: RoomId) -> Self {
        Self { room, name: None, teacher: None }
    }

    pub(super) fn room_is(&mut self, name: Option<RoomName>) {
        self.name = name;
    }

    pub(super) fn teacher_is(&mut self, teacher: &User) {
        self.teacher = Some((teacher.user_id.clone(), teacher.nickname.as_str().to_owned()));
    }

    /// `classroom 10013: Linear algebra, Ms Li (9999)`. It begins the same whatever is known, so that a window
    /// manager's rules, and we, find the window.
    pub(super) fn text(&self) -> String {
        let name = self.name.as_ref().map(ToString::to_string);
        let teacher = self.teacher.as_ref().map(|(user, nickname)| named(user, nickname).to_string());
        let known: Vec<String> = name.into_iter().chain(teacher).collect();
        let colon = if known.is_empty() { "" } else { ": " };
        format!("classroom {}{colon}{}", self.room, known.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_title_says_what_is_known() {
        let mut title = Title::new("10013".parse().unwrap());
        assert_eq!(title.text(), "classroom 10013");
        title.room_is("Linear algebra".parse().ok());
        assert_eq!(title.text(), "classroom 10013: Linear algebra");
        title.teacher = Some(("9999".parse().unwrap(), "Ms Li".into()));
        assert_eq!(title.text(), "classroom 10013: Linear algebra, Ms Li (9999)");
    }
}
