//! A process that stands still (Ctrl-Z, a laptop's lid): nobody's line is to blame, and the lecture goes on.
//!
//! The three seconds are what is tested: a process is stopped for them. All else is waited for.

use std::time::Duration;

use serde_json::Value;

use crate::support::{Classroom, DEADLINE, Process, is_stats};

/// As in the report that this is the test of: 2 to 4 s.
const STOOD_STILL: Duration = Duration::from_secs(3);

/// The event in which a person reads of it.
fn is_said(event: &Value) -> bool {
    event["event"] == "notice" && event["message"].as_str().is_some_and(|said| said.contains("suspended for 3."))
}

fn has_full_picture(event: &Value) -> bool {
    is_stats(event) && event["height"] == 360 && event["fps"].as_f64().is_some_and(|fps| fps > 10.0)
}

/// What was said of line or computer.
fn blamed(student: &Process) -> Vec<Value> {
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
fn a_teacher_that_stood_still_blames_no_line_and_goes_on_with_the_full_picture() {
    let class = Classroom::new();
    let (teacher, student) = start(&class);
    let (teachers, students) = (teacher.mark(), student.mark());
    teacher.stops_for(STOOD_STILL);
    teacher.wait_since(teachers, DEADLINE, "word of the pause", is_said);
    let later = student.mark();
    student.wait_since(later, DEADLINE, "the full picture again", has_full_picture);
    // Two seconds of numbers: what is wrong would be said by then.
    for _ in 0..2 {
        let mark = teacher.mark();
        let stats = teacher.wait_since(mark, DEADLINE, "numbers", |event| event["event"] == "stats");
        let watched = stats["watched"].as_array().unwrap();
        let low = watched.iter().filter(|watched| watched["track"] == "screen" && watched["tier"] == "low");
        assert_eq!(low.count(), 0, "{stats}");
    }
    assert_eq!(blamed(&student), Vec::<Value>::new());
    let smaller = student.events()[students..].iter().filter(|event| is_stats(event) && event["height"] != 360).count();
    assert_eq!(smaller, 0, "the full tier stays");
}

#[test]
fn a_student_that_stood_still_blames_nothing_and_has_the_full_picture_again() {
    let class = Classroom::new();
    let (_teacher, student) = start(&class);
    let mark = student.mark();
    let frozen = |event: &Value| event["freeze_ms"].as_u64().unwrap();
    let before = frozen(&student.wait_since(mark, DEADLINE, "numbers", is_stats));
    student.stops_for(STOOD_STILL);
    student.wait_since(mark, DEADLINE, "word of the pause", is_said);
    let later = student.mark();
    let after = student.wait_since(later, DEADLINE, "the full picture again", has_full_picture);
    let grown = u128::from(frozen(&after) - before);
    assert!(
        grown < STOOD_STILL.as_millis(),
        "the picture stood still with the whole process, and froze for {grown} ms"
    );
    assert_eq!(blamed(&student), Vec::<Value>::new());
    let silence = |event: &&Value| event["event"] == "trouble" && event["kind"] == "network";
    assert_eq!(student.events().iter().find(silence), None, "nor on the network");
}
