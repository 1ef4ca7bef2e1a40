//! A computer lab: students start before their teacher and stay for several lectures, while the teacher's computer
//! fails and another takes over. `LAB_STUDENTS=20 cargo test --test it lab:: -- --nocapture` prints the table of a
//! whole lab.

use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::support::{
    Classroom, DEADLINE, Lan, Machine, Process, ROOM, film_file, has_lan, has_tools, is_picture, lecture_file,
};

/// How soon all students have a picture after the teacher starts. Finding the server takes three seconds, and a debug
/// build on two busy cores is slow.
const ALL_WATCH_WITHIN: Duration = DEADLINE;

/// The number of students without `$LAB_STUDENTS`.
const STUDENTS: u32 = 8;

/// How a student finds its server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Finds {
    /// `--server`
    Named,
    /// `$CLASSROOM_SERVER`
    Environment,
    /// DNS-SD
    Announced,
}

struct Student {
    user: u32,
    finds: Finds,
    process: Process,
    /// The result of each lecture: `seen` or `waits`.
    saw: Vec<&'static str>,
}

impl Student {
    fn switch_on(class: &Classroom, machine: &Machine, user: u32, server: &str) -> Self {
        let finds = [Finds::Named, Finds::Environment, Finds::Announced][user as usize % 3];
        let id = user.to_string();
        let mut watch = class.command(&["watch", "--room", ROOM, "--user", &id, "--sink", "null"]);
        match finds {
            Finds::Named => _ = watch.args(["--server", server]),
            Finds::Environment => _ = watch.env("CLASSROOM_SERVER", server),
            Finds::Announced => {}
        }
        let process = Process::start_on(machine, &format!("student {user}"), &watch);
        Self { user, finds, process, saw: Vec::new() }
    }

    /// Waits for pictures of this height since `mark`.
    #[track_caller]
    fn watches(&mut self, mark: usize, height: u32) {
        let what = format!("picture of height {height}");
        let is_it = |event: &Value| is_picture(event) && event["height"] == height;
        self.process.wait_since(mark, ALL_WATCH_WITHIN, &what, is_it);
        self.saw.push("seen");
    }
}

fn teach(class: &Classroom, file: &std::path::Path, size: &str) -> Command {
    let file = file.to_str().unwrap();
    class.command(&["teach", "--room", ROOM, "--file", file, "--size", size, "--fps", "10", "--loop"])
}

#[test]
fn a_lab_that_starts_first_sees_all_lectures() {
    let name = "a_lab_that_starts_first_sees_all_lectures";
    if !has_lan(name) || !has_tools(name, &["gst-launch-1.0", "espeak-ng"]) {
        return;
    }
    let number = std::env::var("LAB_STUDENTS").map_or(STUDENTS, |number| number.parse().unwrap());
    let class = Classroom::new();
    let mut lan = Lan::new();
    let (desk, spare, room) = (lan.machine(), lan.machine(), lan.machine());
    let mut students: Vec<Student> =
        (1001..1001 + number).map(|user| Student::switch_on(&class, &room, user, desk.address())).collect();
    for student in &students {
        student.process.wait_for("what it waits for", |event| {
            event["event"] == "notice" && event["message"].as_str().unwrap().starts_with("waiting for a server")
        });
    }

    // The first lecture ends like a power failure: no goodbye, and no connection is reset.
    let mut first = Process::start_on(&desk, "first teacher", &teach(&class, lecture_file(), "320x180"));
    students.iter_mut().for_each(|student| student.watches(0, 180));
    desk.unplug();
    first.kill();
    desk.plug_in();
    let marks: Vec<usize> = students.iter().map(|student| student.process.mark()).collect();
    let mut second = Process::start_on(&desk, "second teacher", &teach(&class, film_file(), "256x144"));
    for (student, mark) in students.iter_mut().zip(marks) {
        student.watches(mark, 144);
    }

    // Another computer takes over. Students who search by DNS-SD find it.
    second.kill();
    let marks: Vec<usize> = students.iter().map(|student| student.process.mark()).collect();
    let mut third = Process::start_on(&spare, "third teacher", &teach(&class, lecture_file(), "192x108"));
    for (student, mark) in students.iter_mut().zip(marks) {
        match student.finds {
            Finds::Announced => student.watches(mark, 108),
            Finds::Named | Finds::Environment => student.saw.push("waits"),
        }
    }

    println!("{:>8}  {:<12} {:<7} {:<7} {:<7} exit", "student", "finds it by", "1", "2", "3");
    for student in &mut students {
        student.process.interrupt();
        let exit = student.process.exit_code(DEADLINE);
        let [first, second, third] = student.saw[..] else { panic!("three lectures, {:?}", student.saw) };
        let finds = format!("{:?}", student.finds);
        println!("{:>8}  {finds:<12} {first:<7} {second:<7} {third:<7} {exit}", student.user);
        assert_eq!(exit, 0);
    }
    third.terminate();
    third.ends_with(0);
}
