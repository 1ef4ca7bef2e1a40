//! The teacher's orders about the lecture itself, as they are typed.

/// The commands with what they do.
pub(super) const LECTURE_COMMANDS: [(&str, &str); 1] = [("/missing", "list who of the roster is missing")];

/// An order about the lecture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum LectureOrder {
    /// Tell who of the roster is missing.
    Missing,
}

/// Parses an order about the lecture. `None` for another command; an error is a sentence that helps.
pub(super) fn parse(command: &str, argument: &str) -> Option<Result<LectureOrder, String>> {
    Some(match (command, argument) {
        ("missing", "") => Ok(LectureOrder::Missing),
        ("missing", _) => Err("/missing lists who of the roster is missing, and takes no words".to_owned()),
        _ => return None,
    })
}
