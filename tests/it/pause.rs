//! A process that is stopped (Ctrl-Z, a laptop's lid) and continued: no student's network is blamed for the pause, and
//! the lecture goes on.
//!
//! The pause of three seconds is what is tested. For everything else the tests wait with a deadline.

use std::time::Duration;

use serde_json::Value;

use crate::support::{Classroom, DEADLINE, Process, is_stats};

/// Long enough that an unaware sender would take it for a dead network.
const PAUSE: Duration = Duration::from_secs(3);

/// The notice that tells a person of the pause.
fn is_notice(event: &Value) -> bool {
    event["event"] == "notice" && event["message"].as_str().is_some_and(|message| message.contains("suspended for 3."))
}

fn has_full_picture(event: &Value) -> bool {
    is_stats(event) && event["height"] == 360 && event["fps"].as_f64().is_some_and(|fps| fps > 10.0)
}

/// The events that blame the student's network or computer.
fn blame(student: &Process) -> Vec<Value> {
    let blames = |event: &Value| {
        event["event"] == "trouble"
            && ["bandwidth", "loss", "class", "decoder"].contains(&event["kind"].as_str().unwrap())
    };
    student.events().into_iter().filter(blames).collect()
}

fn start(class: &Classroom) -> (Process, Process) {
    let teacher = class.teacher(&["--test", "--size", "640x360"]);
    let student = class.student(1001, &[]);
    student.wait_for("the full picture", has_full_picture);
    (teacher, student)
}

#[test]
fn a_pause_of_the_teacher_leaves_every_student_the_full_picture() {
    let class = Classroom::new();
    let (teacher, student) = start(&class);
    let (teachers, students) = (teacher.mark(), student.mark());
    teacher.stops_for(PAUSE);
    teacher.wait_since(teachers, DEADLINE, "notice of the pause", is_notice);
    let later = student.mark();
    student.wait_since(later, DEADLINE, "the full picture again", has_full_picture);
    // Two more seconds of statistics: a step down would show by then.
    for _ in 0..2 {
        let mark = teacher.mark();
        let stats = teacher.wait_since(mark, DEADLINE, "statistics", |event| event["event"] == "stats");
        let watched = stats["watched"].as_array().unwrap();
        let low = watched.iter().filter(|watched| watched["track"] == "screen" && watched["tier"] == "low");
        assert_eq!(low.count(), 0, "{stats}");
    }
    assert_eq!(blame(&student), Vec::<Value>::new());
    let smaller = student.events()[students..].iter().filter(|event| is_stats(event) && event["height"] != 360).count();
    assert_eq!(smaller, 0, "the full tier stays");
}

#[test]
fn a_pause_of_a_student_is_no_freeze_and_no_trouble() {
    let class = Classroom::undisturbed();
    let (_teacher, student) = start(&class);
    let mark = student.mark();
    let frozen = |event: &Value| event["freeze_ms"].as_u64().unwrap();
    let before = frozen(&student.wait_since(mark, DEADLINE, "statistics", is_stats));
    student.stops_for(PAUSE);
    student.wait_since(mark, DEADLINE, "notice of the pause", is_notice);
    let later = student.mark();
    let after = student.wait_since(later, DEADLINE, "the full picture again", has_full_picture);
    let grown = u128::from(frozen(&after) - before);
    assert!(grown < PAUSE.as_millis(), "the pause of the whole process counts as a freeze of {grown} ms");
    assert_eq!(blame(&student), Vec::<Value>::new());
    let silence = |event: &&Value| event["event"] == "trouble" && event["kind"] == "network";
    assert_eq!(student.events().iter().find(silence), None, "the network is not blamed either");
}
