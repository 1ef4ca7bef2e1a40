//! The teacher's orders about the lecture itself, as they are typed.

use crate::media::Turn;

/// The commands with what they do.
pub(super) const LECTURE_COMMANDS: [(&str, &str); 4] = [
    ("/next", "show the next slide, as Page Down does; /prev: the one before, as Page Up does"),
    ("/page 7", "show slide 7; /page first, /page last"),
    ("/black", "show a black picture instead of the slide; again: the slide"),
    ("/missing", "list who of the roster is missing"),
];

/// An order about the lecture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum LectureOrder {
    /// Show another slide.
    Turn(Turn),
    /// Tell who of the roster is missing.
    Missing,
}

/// Parses an order about the lecture. `None` for another command; an error is a sentence that helps.
pub(super) fn parse(command: &str, argument: &str) -> Option<Result<LectureOrder, String>> {
    let turn = |turn| Ok(LectureOrder::Turn(turn));
    Some(match (command, argument) {
        ("next", "") => turn(Turn::Next),
        ("prev", "") => turn(Turn::Previous),
        ("black", "") => turn(Turn::Black),
        ("page", "first") => turn(Turn::First),
        ("page", "last") => turn(Turn::Last),
        ("page", number) => match number.parse() {
            Ok(number) => turn(Turn::Page(number)),
            Err(_) => Err("/page needs the number of a slide, first or last".to_owned()),
        },
        ("next" | "prev" | "black", _) => Err(format!("/{command} takes no words")),
        ("missing", "") => Ok(LectureOrder::Missing),
        ("missing", _) => Err("/missing lists who of the roster is missing, and takes no words".to_owned()),
        _ => return None,
    })
}
