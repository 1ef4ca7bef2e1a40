//! `classroom doctor`, on this computer and as a student.

use serde_json::Value;

use crate::support::{Classroom, DEADLINE, Process, ROOM};

/// Runs `doctor` to its end: the exit code, and the verdict of each check by its name.
#[track_caller]
fn examine(class: &Classroom, flags: &[&str]) -> (i32, Vec<(String, String)>) {
    let command = class.command(&[&["doctor"], flags].concat());
    let mut doctor = Process::start("doctor", command);
    let code = doctor.exit_code(4 * DEADLINE);
    let events = doctor.events();
    let report = events.iter().find(|event| event["sections"].is_array()).unwrap_or_else(|| panic!("{events:?}"));
    assert_eq!(report["exit"], code, "{report}");
    let sections = report["sections"].as_array().unwrap();
    let checks = sections.iter().flat_map(|section| section["checks"].as_array().unwrap());
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    (code, checks.map(|check| (text(&check["name"]), text(&check["verdict"]))).collect())
}

#[test]
fn a_student_reads_why_there_is_a_picture_or_none() {
    let class = Classroom::new();
    let url = class.url();
    let verdict = |checks: &[(String, String)], of: &str| {
        let found = checks.iter().find(|(name, _)| name == of);
        found.map(|(_, verdict)| verdict.clone()).unwrap_or_default()
    };
    let (code, checks) = examine(&class, &["--server", &url]);
    assert_eq!((code, &*verdict(&checks, "TCP")), (4, "problem"), "{checks:?}");

    let _teacher = class.teacher(&["--test"]);
    let (code, checks) = examine(&class, &["--server", &url, "--room", "another"]);
    assert_eq!((code, &*verdict(&checks, "room")), (6, "problem"), "{checks:?}");
    let (code, checks) = examine(&class, &["--server", &url, "--room", ROOM]);
    assert_eq!((code, &*verdict(&checks, "media"), &*verdict(&checks, "sound")), (0, "ok", "ok"), "{checks:?}");
    assert!(["ok", "advice"].contains(&&*verdict(&checks, "picture")), "{checks:?}");

    let listen = url.trim_start_matches("ws://");
    let (_, checks) = examine(&class, &["--listen", listen]);
    assert_eq!(verdict(&checks, "port"), "problem", "{checks:?}");
    assert!(!verdict(&checks, "encoder").is_empty() && !verdict(&checks, "discovery").is_empty(), "{checks:?}");
}
