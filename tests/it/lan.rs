//! The test bed of machines with a network between: what a cut line does, and what comes back.

use std::process::{Command, Stdio};

use crate::support::{Lan, Machine, has_lan};

/// Whether `to` answers `from` within a second: nobody listens there, and a machine that is reached says so.
fn reaches(from: &Machine, to: &Machine) -> bool {
    let mut connect = Command::new("timeout");
    connect.args(["1", "bash", "-c", &format!(": </dev/tcp/{}/9", to.address())]).env("LC_ALL", "C");
    let output = from.command(&connect).stdout(Stdio::null()).stderr(Stdio::piped()).output().unwrap();
    String::from_utf8_lossy(&output.stderr).contains("refused")
}

/// The state of a machine's own interface, as the kernel calls it.
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
    assert!(reaches(&student, &teacher) && reaches(&teacher, &student));
    student.cut();
    assert!(!reaches(&student, &teacher) && !reaches(&teacher, &student));
    assert_eq!(state(&student), "up", "the interface of the machine does not notice");
    student.restore();
    assert!(reaches(&student, &teacher) && reaches(&teacher, &student));
    student.unplug();
    assert!(!reaches(&student, &teacher));
    assert_eq!(state(&student), "down", "the interface of the machine has no carrier");
    student.plug_in();
    assert!(reaches(&student, &teacher));
}
