//! Whole lectures: one teacher, many students, and the crashes and restarts of all three processes.

use crate::support::{Classroom, DEADLINE, Process, has_tools, is_picture, is_stats, user_is};

const TOOLS: [&str; 2] = ["gst-launch-1.0", "espeak-ng"];

#[track_caller]
fn watches(student: &Process) {
    student.wait_for("picture", is_picture);
}

#[test]
fn five_students_watch_a_real_lecture_at_once() {
    if !has_tools("five students", &TOOLS) {
        return;
    }
    let class = Classroom::undisturbed();
    let teacher = class.lecturer();
    let expectations = ["--for", "6s", "--expect", "fps>=20", "--expect", "lost==0", "--expect", "width==640"];
    let mut students: Vec<Process> = (1001..=1005).map(|user| class.student(user, &expectations)).collect();
    for student in &students {
        let publisher = student.wait_for("publisher", |event| event["event"] == "publisher");
        assert_eq!(publisher["user"], "9999");
        for track in ["screen", "audio"] {
            let what = format!("first frame of {track}");
            student.wait_for(&what, |event| event["event"] == "first-frame" && event["track"] == track);
        }
    }
    let stats = teacher.wait_for("five students", |event| event["event"] == "stats" && event["students"] == 5);
    for number in ["fps", "kbps_per_student", "kbps_up", "packets", "dropped", "key_frames"] {
        assert!(stats[number].is_number(), "{number} in {stats}");
    }
    for student in &mut students {
        student.ends_with(0);
        let events = student.events();
        let ended = events.last().unwrap();
        assert_eq!((&ended["event"], &ended["reason"]), (&"ended".into(), &"duration".into()));
        assert!(events.iter().all(|event| event["room"] == "10013"), "each event has its room");
    }
    assert_eq!(teacher.events().iter().filter(|event| user_is(1001, &["watching"])(event)).count(), 1);
}

#[test]
fn students_may_start_before_the_teacher() {
    if !has_tools("students before the teacher", &TOOLS) {
        return;
    }
    let class = Classroom::new();
    let _server = class.server();
    let students: Vec<Process> = (1001..=1003).map(|user| class.student(user, &[])).collect();
    for student in &students {
        student.wait_for("joined", |event| event["event"] == "joined");
    }
    let _teacher = class.guest_lecturer();
    students.iter().for_each(watches);
}

#[test]
fn students_get_a_picture_again_after_their_teacher_crashes_and_returns() {
    if !has_tools("a teacher killed", &TOOLS) {
        return;
    }
    let class = Classroom::new();
    let _server = class.server();
    let mut teacher = class.guest_lecturer();
    let students: Vec<Process> = (1001..=1003).map(|user| class.student(user, &[])).collect();
    students.iter().for_each(watches);

    teacher.kill();
    for student in &students {
        let mark = student.mark();
        student.wait_since(mark, DEADLINE, "end of the picture", |event| is_stats(event) && event["fps"] == 0.0);
    }
    let marks: Vec<usize> = students.iter().map(Process::mark).collect();
    let _teacher = class.guest_lecturer();
    for (student, mark) in students.iter().zip(marks) {
        student.wait_since(mark, DEADLINE, "picture after the teacher's return", is_picture);
    }
}

#[test]
fn students_get_a_picture_again_after_a_teacher_with_a_built_in_server_returns() {
    if !has_tools("a teacher killed with its server", &TOOLS) {
        return;
    }
    let class = Classroom::new();
    let mut teacher = class.lecturer();
    let students: Vec<Process> = (1001..=1003).map(|user| class.student(user, &[])).collect();
    students.iter().for_each(watches);

    teacher.kill();
    let marks: Vec<usize> = students.iter().map(Process::mark).collect();
    for (student, mark) in students.iter().zip(&marks) {
        student.wait_since(*mark, DEADLINE, "end of the picture", |event| is_stats(event) && event["fps"] == 0.0);
    }
    let marks: Vec<usize> = students.iter().map(Process::mark).collect();
    let _teacher = class.lecturer();
    for (student, mark) in students.iter().zip(marks) {
        student.wait_since(mark, DEADLINE, "picture after the teacher's return", is_picture);
    }
}

#[test]
fn media_flows_without_a_server_and_everybody_joins_the_new_one() {
    if !has_tools("a server killed", &TOOLS) {
        return;
    }
    let class = Classroom::new();
    let mut server = class.server();
    let teacher = class.guest_lecturer();
    let student = class.student(1001, &[]);
    watches(&student);

    server.kill();
    for second in 1..=4 {
        let mark = student.mark();
        let stats = student.wait_since(mark, DEADLINE, "numbers without a server", is_stats);
        // The first statistics may include frames from before the kill.
        assert!(is_picture(&stats), "second {second} without a server: {stats}");
    }
    let _server = class.server();
    class.wait_for_room("the teacher and the student", DEADLINE, |room| {
        room.is_some_and(|room| room["publisher"]["userId"] == "9999" && room["watching"] == 1)
    });
    let is_told = |event: &serde_json::Value| {
        event["message"].as_str().is_some_and(|message| message.starts_with("the signalling server is back"))
    };
    teacher.wait_for("word that the server is back", is_told);
    let late = class.student(1002, &[]);
    watches(&late);
    let mark = student.mark();
    student.wait_since(mark, DEADLINE, "picture with the new server", is_picture);
}

#[test]
fn a_killed_student_disappears_and_may_return_with_the_same_id() {
    if !has_tools("a student killed", &TOOLS) {
        return;
    }
    let class = Classroom::new();
    let teacher = class.lecturer();
    let mut student = class.student(1001, &[]);
    let stays = class.student(1002, &[]);
    watches(&student);
    watches(&stays);

    let mark = teacher.mark();
    student.kill();
    teacher.wait_since(mark, DEADLINE, "loss of 1001", user_is(1001, &["lost", "left"]));
    class.wait_for_room("one student", DEADLINE, |room| room.is_some_and(|room| room["watching"] == 1));
    watches(&class.student(1001, &[]));
    let mark = stays.mark();
    watches(&stays);
    stays.wait_since(mark, DEADLINE, "picture of the one who stayed", is_picture);
}

#[test]
fn a_killed_student_may_return_at_once() {
    if !has_tools("a student returns at once", &TOOLS) {
        return;
    }
    let class = Classroom::new();
    let _teacher = class.lecturer();
    let mut student = class.student(1001, &[]);
    watches(&student);
    student.kill();
    watches(&class.student(1001, &[]));
}

#[test]
fn ctrl_c_leaves_the_room() {
    if !has_tools("Ctrl-C", &TOOLS) {
        return;
    }
    let class = Classroom::new();
    let mut teacher =
        class.teacher(&["--file", crate::support::lecture_file().to_str().unwrap(), "--loop", "--end-class"]);
    let mut student = class.student(1001, &[]);
    let mut waits = class.student(1002, &[]);
    watches(&student);
    watches(&waits);

    let mark = teacher.mark();
    student.interrupt();
    teacher.wait_since(mark, DEADLINE, "leave of 1001", user_is(1001, &["left"]));
    student.ends_with(0);
    assert_eq!(student.events().last().unwrap()["reason"], "interrupted");

    teacher.terminate();
    teacher.ends_with(0);
    assert_eq!(teacher.events().last().unwrap()["reason"], "interrupted");
    waits.ends_with(0);
    assert_eq!(waits.events().last().unwrap()["reason"], "lecture-over");
}

#[test]
fn the_end_of_the_file_ends_the_lecture() {
    if !has_tools("a file that is over", &TOOLS) {
        return;
    }
    let class = Classroom::new();
    let file = crate::support::lecture_file().to_str().unwrap();
    let mut teacher = class.teacher(&["--file", file]);
    assert_eq!(teacher.exit_code(2 * DEADLINE), 0);
    assert_eq!(teacher.events().last().unwrap()["reason"], "end-of-file");
}

#[test]
fn a_closed_stdout_does_not_end_the_lecture() {
    let class = Classroom::new();
    let mut command = class.command(&["demo", "--for", "3s", "--sink", "null"]);
    let mut child = command.spawn().unwrap();
    drop(child.stdout.take());
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_demo_teaches_and_watches_in_one_process() {
    let class = Classroom::new();
    let mut command = class.command(&["demo", "--for", "4s", "--sink", "null"]);
    command.env("XDG_RUNTIME_DIR", class.directory());
    let mut demo = Process::start("demo", command);
    demo.wait_for("first picture", |event| event["event"] == "first-frame" && event["track"] == "screen");
    demo.wait_for("picture", is_picture);
    demo.wait_for("teacher's numbers", |event| event["event"] == "stats" && event["students"] == 1);
    demo.ends_with(0);
}
