//! The end of a lecture: students wait for the next lecture, unless the teacher ends the class.

use std::fs::File;
use std::io::{Read, Write};
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

use crate::support::{Classroom, DEADLINE, Process, is_picture, poll};

/// Longer than the silence of a teacher that is reported as trouble.
const BREAK: Duration = Duration::from_secs(7);

const TEST: [&str; 3] = ["--test", "--size", "320x180"];

#[test]
fn students_wait_for_the_next_lecture() {
    let class = Classroom::new();
    let mut teacher = class.teacher(&TEST);
    let mut students: Vec<Process> = (1001..=1003).map(|user| class.student(user, &[])).collect();
    for student in &students {
        student.wait_for("picture", is_picture);
    }
    // The built-in server ends with the teacher.
    teacher.interrupt();
    teacher.ends_with(0);
    for student in &students {
        let gone = |event: &serde_json::Value| event["event"] == "publisher" && event["user"].is_null();
        student.wait_for("word that the teacher has left", gone);
    }
    // The passing of time is tested: a break is no trouble, and nobody is told to check the network.
    let is_alarm = |event: &serde_json::Value| {
        let says = |words: &str| event["message"].as_str().is_some_and(|message| message.contains(words));
        event["event"] == "trouble" || says("nothing has arrived")
    };
    let alarm = || students.iter().find_map(|student| student.events().into_iter().find(is_alarm));
    assert_eq!(poll(BREAK, alarm), None);
    // The last pictures of the first lecture have been shown.
    let marks: Vec<usize> = students.iter().map(Process::mark).collect();
    let mut teacher = class.teacher(&[&TEST[..], &["--end-class"]].concat());
    for (student, mark) in students.iter().zip(marks) {
        student.wait_since(mark, DEADLINE, "the second lecture", is_picture);
    }
    teacher.interrupt();
    teacher.ends_with(0);
    for student in &mut students {
        student.ends_with(0);
        assert_eq!(student.events().last().unwrap()["reason"], "lecture-over");
    }
}

#[test]
fn a_student_who_waits_gives_up_after_retry() {
    let class = Classroom::new();
    let _server = class.server();
    let url = class.url();
    let flags = [&TEST[..], &["--server", &url, "--udp-port", "0"]].concat();
    let mut teacher = Process::start("teacher", class.teach(&flags));
    let mut student = class.student(1001, &["--retry", "1s"]);
    student.wait_for("picture", is_picture);
    teacher.interrupt();
    teacher.ends_with(0);
    student.ends_with(7);
}

#[test]
fn the_end_of_the_duration_ends_the_class_only_with_end_class() {
    let class = Classroom::new();
    let mut server = class.server();
    let url = class.url();
    let guest = ["--server", &url, "--udp-port", "0", "--for", "2s"];
    let mut student = class.student(1001, &[]);
    for more in [&[][..], &["--end-class"]] {
        let mut teacher = Process::start("teacher", class.teach(&[&TEST[..], &guest, more].concat()));
        teacher.ends_with(0);
    }
    student.ends_with(0);
    let publishers = student.events().iter().filter(|event| event["event"] == "publisher").count();
    assert_eq!(publishers, 3, "joined, left, joined again");
    server.interrupt();
    server.ends_with(0);
}

/// A teacher at a pseudo-terminal.
struct TeacherAtTerminal {
    child: Child,
    terminal: File,
    screen: Arc<Mutex<String>>,
}

impl TeacherAtTerminal {
    fn new(class: &Classroom) -> Self {
        let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&terminal).unwrap();
        unlockpt(&terminal).unwrap();
        let name = ptsname(&terminal, Vec::new()).unwrap();
        let side = File::options().read(true).write(true).open(name.to_str().unwrap()).unwrap();
        let url = class.url();
        let flags = ["teach", "--room", crate::support::ROOM, "--server", &url, "--udp-port", "0", "--no-qr"];
        let mut command = Process::command(&[&flags[..], &TEST].concat());
        command.env("XDG_STATE_HOME", class.directory()).env("TERM", "xterm");
        let again = || Stdio::from(side.try_clone().unwrap());
        let child = command.stdin(again()).stdout(again()).stderr(again()).spawn().unwrap();
        let terminal = File::from(terminal);
        let (mut reader, screen) = (terminal.try_clone().unwrap(), Arc::<Mutex<String>>::default());
        let shown = screen.clone();
        std::thread::spawn(move || {
            let mut piece = [0; 4096];
            // The read fails when the other side is closed.
            while let Ok(length @ 1..) = reader.read(&mut piece) {
                shown.lock().unwrap().push_str(&String::from_utf8_lossy(&piece[..length]));
            }
        });
        Self { child, terminal, screen }
    }

    fn interrupt(&self) {
        let pid = self.child.id().to_string();
        assert!(std::process::Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    }

    #[track_caller]
    fn shows(&self, words: &str) {
        let deadline = Instant::now() + DEADLINE;
        while !self.screen.lock().unwrap().contains(words) {
            assert!(Instant::now() < deadline, "no {words:?} on {:?}", self.screen.lock().unwrap());
            std::thread::park_timeout(Duration::from_millis(20));
        }
    }

    /// The question has gone with the answer: the summary follows it, not the other way round.
    #[track_caller]
    fn has_asked(&self, question: &str) {
        let screen = self.screen.lock().unwrap();
        let after = screen.rsplit(question).next().unwrap();
        assert!(after.contains("the lecture took"), "{screen:?}");
    }

    #[track_caller]
    fn ends(&mut self) {
        let deadline = Instant::now() + DEADLINE;
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(Instant::now() < deadline, "it goes on: {:?}", self.screen.lock().unwrap());
            std::thread::park_timeout(Duration::from_millis(20));
        };
        assert_eq!(status.code(), Some(0), "{:?}", self.screen.lock().unwrap());
    }
}

impl Drop for TeacherAtTerminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn at_a_terminal_ctrl_c_asks_whether_the_class_ends() {
    const QUESTION: &str = "End the class for the students too? [y/N]";
    let class = Classroom::new();
    let _server = class.server();

    // Without students there is no question.
    let mut teacher = TeacherAtTerminal::new(&class);
    teacher.shows("live");
    teacher.interrupt();
    teacher.ends();
    assert!(!teacher.screen.lock().unwrap().contains(QUESTION));

    let mut student = class.student(1001, &[]);
    // An empty line, or another Ctrl-C, lets the class wait.
    for answer in ["\n", ""] {
        let mut teacher = TeacherAtTerminal::new(&class);
        let mark = student.mark();
        student.wait_since(mark, DEADLINE, "picture", is_picture);
        teacher.interrupt();
        teacher.shows(QUESTION);
        // The lecture continues meanwhile.
        let mark = student.mark();
        student.wait_since(mark, DEADLINE, "picture", is_picture);
        if answer.is_empty() {
            teacher.interrupt();
        } else {
            teacher.terminal.write_all(answer.as_bytes()).unwrap();
        }
        teacher.ends();
        teacher.has_asked(QUESTION);
    }
    let mut teacher = TeacherAtTerminal::new(&class);
    let mark = student.mark();
    student.wait_since(mark, DEADLINE, "picture", is_picture);
    teacher.interrupt();
    teacher.shows(QUESTION);
    teacher.terminal.write_all(b"y\n").unwrap();
    teacher.ends();
    teacher.has_asked(QUESTION);
    student.ends_with(0);
    assert_eq!(student.events().last().unwrap()["reason"], "lecture-over");
}
