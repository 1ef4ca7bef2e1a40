//! Machines with a network between them: what a cut line does, and how soon students have a picture after it.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::{Classroom, DEADLINE, Lan, Machine, Process, ROOM, has_lan, is_picture, is_stats, poll};

/// A lecture that costs little CPU.
const LECTURE: [&str; 6] = ["teach", "--test", "--size", "320x180", "--fps", "10"];

/// Whether `to` answers `from` within a second. Nobody listens on TCP port 9, so a machine that is reached refuses.
fn reaches(from: &Machine, to: &Machine) -> bool {
    let mut connect = Command::new("timeout");
    connect.args(["1", "bash", "-c", &format!(": </dev/tcp/{}/9", to.address())]).env("LC_ALL", "C");
    let output = from.command(&connect).stdout(Stdio::null()).stderr(Stdio::piped()).output().unwrap();
    String::from_utf8_lossy(&output.stderr).contains("refused")
}

/// Whether `to` answers `from` before the deadline: after a cut, neighbour discovery and the start of `bash` take time.
fn reaches_soon(from: &Machine, to: &Machine) -> bool {
    poll(DEADLINE, || reaches(from, to).then_some(())).is_some()
}

/// The operational state of a machine's interface: `up`, `down`.
fn state(machine: &Machine) -> String {
    let mut show = Command::new("cat");
    show.arg("/sys/class/net/lan0/operstate");
    let output = machine.command(&show).stdout(Stdio::piped()).output().unwrap();
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

#[test]
fn a_line_is_cut_or_unplugged_and_comes_back() {
    if !has_lan("a_line_is_cut_or_unplugged_and_comes_back") {
        return;
    }
    let mut lan = Lan::new();
    let (teacher, student) = (lan.machine(), lan.machine());
    assert!(reaches_soon(&student, &teacher) && reaches_soon(&teacher, &student));
    student.cut();
    assert!(!reaches(&student, &teacher) && !reaches(&teacher, &student));
    assert_eq!(state(&student), "up", "the interface of the machine does not notice");
    student.restore();
    assert!(reaches_soon(&student, &teacher) && reaches_soon(&teacher, &student));
    student.unplug();
    assert!(!reaches(&student, &teacher));
    assert_eq!(state(&student), "down", "the interface of the machine has no carrier");
    student.plug_in();
    assert!(reaches_soon(&student, &teacher));
}

/// What happens to a line.
#[derive(Clone, Copy)]
enum Fault {
    /// All packets are lost, and the student's interface stays up.
    Cut,
    /// The student's interface goes down.
    Unplugged,
}

impl Fault {
    fn begin(self, machine: &Machine) {
        match self {
            Self::Cut => machine.cut(),
            Self::Unplugged => machine.unplug(),
        }
    }

    fn end(self, machine: &Machine) {
        match self {
            Self::Cut => machine.restore(),
            Self::Unplugged => machine.plug_in(),
        }
    }
}

#[test]
fn a_student_has_a_picture_soon_after_a_dead_line_however_long_it_was_dead() {
    if !has_lan("a_student_has_a_picture_soon_after_a_dead_line_however_long_it_was_dead") {
        return;
    }
    let class = Classroom::new();
    let mut lan = Lan::new();
    let teacher_machine = lan.machine();
    let teacher = class.command(&[&LECTURE[..], &["--room", ROOM]].concat());
    let teacher = Process::start_on(&teacher_machine, "teacher", &teacher);
    teacher.wait_for("joined", |event| event["event"] == "joined");
    let lines = [(1004, 4, Fault::Cut), (1010, 10, Fault::Cut), (1011, 11, Fault::Unplugged), (1040, 40, Fault::Cut)];
    std::thread::scope(|scope| {
        for (user, seconds, fault) in lines {
            let machine = lan.machine();
            let (class, teacher, server) = (&class, &teacher, teacher_machine.address());
            scope.spawn(move || {
                let id = user.to_string();
                let watch = ["watch", "--room", ROOM, "--user", &id, "--sink", "null", "--server", server];
                let student = Process::start_on(&machine, &format!("student {user}"), &class.command(&watch));
                student.wait_for("picture", is_picture);
                let mark = student.mark();
                fault.begin(&machine);
                let until = Instant::now() + Duration::from_secs(seconds);
                let still = |event: &serde_json::Value| is_stats(event) && event["fps"] == 0.0;
                student.wait_since(mark, DEADLINE, "end of the picture", still);
                // The length of the outage is what is tested, so this sleeps.
                std::thread::sleep(until.saturating_duration_since(Instant::now()));
                let mark = student.mark();
                fault.end(&machine);
                student.wait_since(mark, DEADLINE, &format!("picture after {seconds} s"), is_picture);
                let connected = |event: &serde_json::Value| {
                    event["event"] == "student" && event["user"] == id.as_str() && event["state"] == "watching"
                };
                let connections = teacher.events().iter().filter(|event| connected(event)).count();
                assert!(seconds > 4 || connections == 1, "a short outage must not cost the connection");
            });
        }
    });
}

/// A tunnel on the path has a smaller MTU than media packets need, and the teacher's program knows nothing of it. On
/// IPv4 the router fragments the packets, on IPv6 the teacher's kernel.
#[test]
fn a_student_behind_a_tunnel_with_a_small_mtu_gets_pictures() {
    if !has_lan("a_student_behind_a_tunnel_with_a_small_mtu_gets_pictures") {
        return;
    }
    let class = Classroom::new();
    let mut lan = Lan::new();
    let teacher_machine = lan.machine();
    let (_router, narrow) = lan.machine_behind_tunnel(1_100, &[&teacher_machine]);
    let (_router_v6, narrow_v6) = lan.machine_behind_tunnel(1_280, &[&teacher_machine]);
    let teacher = class.command(&[&LECTURE[..], &["--listen", "[::]:18080", "--room", ROOM]].concat());
    let teacher = Process::start_on(&teacher_machine, "teacher", &teacher);
    teacher.wait_for("joined", |event| event["event"] == "joined");
    let students = [
        ("1004", &narrow, teacher_machine.address().to_owned()),
        ("1006", &narrow_v6, format!("[{}]", teacher_machine.address_v6())),
    ];
    let students = students.map(|(user, machine, server)| {
        let watch = ["watch", "--room", ROOM, "--user", user, "--sink", "null", "--server", &server];
        Process::start_on(machine, &format!("student {user}"), &class.command(&watch))
    });
    for student in &students {
        student.wait_for("picture", is_picture);
    }
}
