//! The teacher's orders about the lecture itself, as they are typed.

use crate::media::Turn;

/// The commands with what they do.
pub(super) const LECTURE_COMMANDS: [(&str, &str); 6] = [
    ("/next", "show the next slide or scene (Page Down); /prev: the one before (Page Up)"),
    ("/page 7", "show slide 7; /page first, /page last"),
    ("/black", "show a black picture instead (F8); again: the slide or scene"),
    ("/pause", "stop the time of a scene (F9); again: go on"),
    ("/scene 2", "show scene 2 (or a name) of a lecture from a file"),
    ("/missing", "list who of the roster is missing"),
];

/// An order about the lecture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum LectureOrder {
    /// Show another slide or scene.
    Turn(Turn),
    /// Stop the time of a scene, or let the scene go on.
    Pause,
    /// Show the scene of this name or number.
    Scene(String),
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
        ("pause", "") => Ok(LectureOrder::Pause),
        ("scene", "") => Err("/scene needs the name or the number of a scene".to_owned()),
        ("scene", scene) => Ok(LectureOrder::Scene(scene.to_owned())),
        ("next" | "prev" | "black" | "pause", _) => Err(format!("/{command} takes no words")),
        ("missing", "") => Ok(LectureOrder::Missing),
        ("missing", _) => Err("/missing lists who of the roster is missing, and takes no words".to_owned()),
        _ => return None,
    })
}
