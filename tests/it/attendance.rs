//! The summary and the attendance file of a lecture, and the times and names in all events.

use std::collections::HashMap;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::Value as Event;

use crate::support::{Classroom, DEADLINE, Process, is_picture, user_is};

/// A teacher with a small test picture and an attendance file.
fn teacher(class: &Classroom, file: &Path) -> Process {
    class.teacher(&["--test", "--no-audio", "--size", "320x180", "--attendance", file.to_str().unwrap()])
}

/// A student with a nickname who already watches.
fn student(class: &Classroom, user: u32, nickname: &str) -> Process {
    let mut command = class.watch(user, &["--sink", "null", "--chat", "--nickname", nickname]);
    command.stdin(Stdio::piped());
    let student = Process::start(nickname, command);
    student.wait_for("picture", is_picture);
    student
}

/// The rows of a file by user id, and the cells of each row by column name.
fn rows(file: &Path) -> HashMap<String, HashMap<String, String>> {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let mut reader = csv::ReaderBuilder::new().from_reader(text.as_bytes());
    let columns: Vec<String> = reader.headers().unwrap().iter().map(str::to_owned).collect();
    let cells = |record: csv::StringRecord| {
        let cells: HashMap<String, String> = columns.iter().cloned().zip(record.iter().map(str::to_owned)).collect();
        (cells["user_id"].clone(), cells)
    };
    reader.records().map(|record| cells(record.unwrap())).collect()
}

fn summary(teacher: &Process) -> Event {
    let events = teacher.events();
    let [.., summary, ended] = &events[..] else { panic!("{events:?}") };
    assert_eq!((&summary["event"], &ended["event"]), (&"summary".into(), &"ended".into()));
    summary.clone()
}

fn names(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).unwrap();
    let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.retain(|name| name.ends_with(".csv"));
    names.sort();
    names
}

#[test]
fn a_lecture_has_a_row_for_each_student_and_a_summary() {
    let class = Classroom::new();
    let file = class.directory().join("monday.csv");
    std::fs::write(&file, "the lecture before").unwrap();
    let roster = class.directory().join("class.txt");
    std::fs::write(&roster, "name,user_id\nanna,\n-Ben,1002\n-Cem,1003\n").unwrap();
    let files = ["--attendance", file.to_str().unwrap(), "--roster", roster.to_str().unwrap()];
    let mut teacher = class.teacher(&[&["--test", "--no-audio", "--size", "320x180"][..], &files].concat());
    let mut anna = student(&class, 1001, "Anna");
    let mut formula = student(&class, 1002, "=1+1");
    teacher.wait_for("watching", user_is(1002, &["watching"]));
    // The data channel of a student opens a little later than its picture comes.
    let deadline = Instant::now() + DEADLINE;
    let said = |event: &Event| event["event"] == "chat" && event["text"] == "hello";
    while !teacher.events().iter().any(said) {
        assert!(Instant::now() < deadline, "Anna was not heard");
        let mark = anna.mark();
        anna.types("hello");
        anna.wait_since(mark, DEADLINE, "an echo, or a warning", |event| said(event) || event["event"] == "warning");
    }
    anna.types("/hand");
    teacher.wait_for("a hand", |event| event["event"] == "hand" && event["raised"] == true);
    // A student who comes back keeps its row.
    formula.interrupt();
    assert_eq!(formula.exit_code(DEADLINE), 0);
    teacher.wait_for("goodbye", user_is(1002, &["left", "lost"]));
    let formula = student(&class, 1002, "=1+1");
    // During the lecture the file is complete and has the students in class.
    let deadline = Instant::now() + DEADLINE;
    while rows(&file).get("1002").is_none_or(|row| row["times_joined"] != "2") {
        assert!(Instant::now() < deadline, "{:?}", std::fs::read_to_string(&file));
        std::thread::park_timeout(Duration::from_millis(100));
    }
    assert_eq!(rows(&file)["1001"]["last_left"], "", "still in class");
    teacher.interrupt();
    assert_eq!(teacher.exit_code(DEADLINE), 0);
    drop((anna, formula));

    let mut rows = rows(&file);
    let missing = rows.remove("1003").expect("who of the roster did not come");
    assert_eq!((missing["nickname"].as_str(), missing["how_left"].as_str()), ("'-Cem", "missing"));
    assert_eq!(rows.len(), 2);
    let (anna, formula) = (&rows["1001"], &rows["1002"]);
    assert_eq!([anna, formula].map(|row| row["nickname"].as_str()), ["Anna", "'=1+1"]);
    assert_eq!([anna, formula].map(|row| row["times_joined"].as_str()), ["1", "2"]);
    assert_eq!([anna, formula].map(|row| row["client"].as_str()), ["watch"; 2]);
    assert_eq!([&anna["chat_messages"], &anna["hands_raised"], &formula["hands_raised"]], ["1", "1", "0"]);
    for row in rows.values() {
        let time = |column: &str| row[column].parse::<jiff::Timestamp>().unwrap();
        assert!(time("first_joined") <= time("last_left") && time("last_left") <= jiff::Timestamp::now());
        assert!(row["first_joined"].contains(['+', '-']), "with an offset: {}", row["first_joined"]);
        assert!(row["megabytes_sent"].parse::<f64>().unwrap() > 0.0, "{row:?}");
    }
    assert_eq!(names(class.directory()), ["monday-1.csv", "monday.csv"]);
    assert_eq!(std::fs::read_to_string(class.directory().join("monday-1.csv")).unwrap(), "the lecture before");

    let summary = summary(&teacher);
    assert_eq!((&summary["most_at_once"], &summary["room"]), (&2.into(), &"10013".into()));
    assert_eq!(summary["attendance"], file.to_str().unwrap());
    assert_eq!(summary["missing"], serde_json::json!([{"user": "1003", "nickname": "-Cem"}]));
    assert!(summary["duration_s"].as_f64().unwrap() > 0.5 && summary["bytes"].as_u64().unwrap() > 10_000);
    let students = summary["students"].as_array().unwrap();
    assert_eq!(students.len(), 2);
    let anna = &students[0];
    assert_eq!((&anna["user"], &anna["nickname"], &anna["chats"]), (&"1001".into(), &"Anna".into(), &1.into()));
    let watched = anna["watched_s"].as_f64().unwrap();
    assert!(watched > 0.5 && watched <= summary["duration_s"].as_f64().unwrap(), "{summary}");
    assert!(students[1]["longest_absence_s"].as_f64().unwrap() > 0.0, "{summary}");
    let loss = anna["loss_percent"].as_f64();
    assert!(anna["bytes"].as_u64().unwrap() > 1_000 && loss.is_some_and(|loss| loss < 50.0), "{summary}");
}

#[test]
fn a_killed_teacher_leaves_a_recent_attendance_file() {
    let class = Classroom::new();
    let file = class.directory().join("class.json");
    let mut teacher = teacher(&class, &file);
    let _anna = student(&class, 1001, "Anna");
    // A read never meets half a file.
    let students = || {
        let text = std::fs::read_to_string(&file).ok()?;
        let list: Event = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
        list["students"].as_array().cloned()
    };
    let deadline = Instant::now() + DEADLINE;
    while students().is_none_or(|students| students.is_empty()) {
        assert!(Instant::now() < deadline);
        std::thread::park_timeout(Duration::from_millis(100));
    }
    teacher.kill();
    let anna = &students().expect("the file is there")[0];
    assert_eq!((&anna["user"], &anna["nickname"], &anna["seen_s"]), (&"1001".into(), &"Anna".into(), &Event::Null));
}

#[test]
fn an_unwritable_attendance_file_is_refused_before_anything_connects() {
    let class = Classroom::new();
    let flags = ["--test", "--listen", "127.0.0.1:0", "--attendance", "/nowhere/class.csv"];
    let mut teacher = Process::start("teacher", class.teach(&flags));
    let stderr = teacher.ends_with(2);
    assert!(stderr.contains("/nowhere/class.csv") && stderr.contains("--attendance"), "{stderr}");
    let events = teacher.events();
    assert!(events.iter().all(|event| event["event"] == "ended"), "{events:?}");
}

#[test]
fn a_lecture_that_fails_has_a_summary_too() {
    let class = Classroom::new();
    let mut teacher = class.teacher(&["--test", "--no-audio", "--size", "320x180", "--for", "1s"]);
    assert_eq!(teacher.exit_code(DEADLINE), 0);
    assert_eq!(summary(&teacher)["attendance"], Event::Null);
    // The folder disappears, as when a USB stick is pulled.
    let folder = class.directory().join("stick");
    std::fs::create_dir(&folder).unwrap();
    let mut teacher = self::teacher(&class, &folder.join("class.csv"));
    let _anna = student(&class, 1001, "Anna");
    std::fs::remove_dir_all(&folder).unwrap();
    teacher.interrupt();
    let stderr = teacher.ends_with(1);
    assert!(stderr.contains("stick/class.csv"), "{stderr}");
    let summary = summary(&teacher);
    assert_eq!((&summary["attendance"], &summary["students"][0]["nickname"]), (&Event::Null, &"Anna".into()));
}

#[test]
fn people_read_the_same_names_everywhere_and_a_table_at_the_end() {
    let class = Classroom::new();
    let listen = class.url().replace("ws://", "");
    let flags =
        ["teach", "--room", "10013", "--test", "--no-audio", "--size", "320x180", "--no-qr", "--listen", &listen];
    let mut teacher = Process::start("teacher", Process::command(&flags));
    let seen = |teacher: &Process, words: &str| {
        let deadline = Instant::now() + DEADLINE;
        while !teacher.stderr().contains(words) {
            assert!(Instant::now() < deadline, "no {words:?} in {}", teacher.stderr());
            std::thread::park_timeout(Duration::from_millis(20));
        }
    };
    seen(&teacher, "students open");
    let anna = student(&class, 1001, "Anna");
    seen(&teacher, "student Anna (1001) has joined");
    seen(&teacher, "student Anna (1001) is watching");
    let publisher = anna.wait_for("teacher", |event| event["event"] == "publisher");
    assert_eq!((&publisher["user"], &publisher["nickname"]), (&"9999".into(), &"9999".into()));
    drop(anna);
    teacher.interrupt();
    let stderr = teacher.ends_with(0);
    let table = stderr.split_once("the lecture took ").unwrap_or_else(|| panic!("{stderr}")).1;
    assert!(table.contains("1 student, at most 1 at the same time"), "{table}");
    let row = table.lines().find(|line| line.starts_with("Anna (1001)")).unwrap_or_else(|| panic!("{table}"));
    assert!(row.contains(" %") && row.contains(" kB") || row.contains(" MB"), "{row}");
    let mut quiet = Process::start("quiet", Process::command(&[&flags[..], &["--quiet", "--for", "1s"]].concat()));
    assert_eq!(quiet.ends_with(0), "");
}

#[test]
fn every_event_has_a_time_and_students_have_names() {
    let class = Classroom::new();
    let before = jiff::Timestamp::now();
    let mut teacher = class.teacher(&["--test", "--no-audio", "--size", "320x180"]);
    let anna = student(&class, 1001, "Anna");
    let watching = teacher.wait_for("watching", user_is(1001, &["watching"]));
    assert_eq!(watching["nickname"], "Anna");
    class.wait_for_room("live", DEADLINE, |room| room.is_some_and(|room| time_of(room) >= before));
    teacher.interrupt();
    assert_eq!(teacher.exit_code(DEADLINE), 0);
    for events in [teacher.events(), anna.events()] {
        let times: Vec<jiff::Timestamp> = events.iter().map(time_of).collect();
        assert!(times.is_sorted() && times[0] >= before && times[0] <= jiff::Timestamp::now(), "{times:?}");
    }
}

/// The time of an event, which must be in UTC with milliseconds.
#[track_caller]
fn time_of(object: &Event) -> jiff::Timestamp {
    let at = object["at"].as_str().unwrap_or_else(|| panic!("no time in {object}"));
    assert!(at.len() == "2026-03-02T08:00:00.000Z".len() && at.ends_with('Z'), "{at}");
    // The time was rounded down to a millisecond.
    at.parse::<jiff::Timestamp>().unwrap() + Duration::from_millis(1)
}
