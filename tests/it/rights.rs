//! What the programs need of the system: no capability, no rights of root, and what the systemd unit leaves.

use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;
use std::process::Command;

use crate::support::{Classroom, DEADLINE, Process, ROOM, has_tools, poll, run_tool};

/// The user `nobody` and its group on Debian.
const NOBODY: u32 = 65_534;

/// A copy of the program that every user can run, with a state folder.
struct Installed(tempfile::TempDir);

impl Installed {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755)).unwrap();
        std::fs::copy(env!("CARGO_BIN_EXE_classroom"), folder.path().join("classroom")).unwrap();
        std::fs::create_dir(folder.path().join("state")).unwrap();
        if is_root() {
            chown(folder.path().join("state"), Some(NOBODY), Some(NOBODY)).unwrap();
        }
        Self(folder)
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_str().unwrap().to_owned()
    }

    /// Starts the program with no more than these arguments: as `nobody` without any capability, if this is root.
    #[track_caller]
    fn start(&self, name: &str, arguments: &[&str]) -> Process {
        let mut command = Process::command(arguments);
        let program = self.path("classroom");
        if is_root() {
            let mut as_nobody = Command::new("setpriv");
            as_nobody.args(["--reuid=nobody", "--regid=nogroup", "--clear-groups", "--no-new-privs"]);
            as_nobody.args(["--bounding-set=-all", "--inh-caps=-all", &program]).args(arguments);
            as_nobody.stdin(std::process::Stdio::null());
            as_nobody.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
            command = as_nobody;
        }
        command
            .env("XDG_STATE_HOME", self.path("state"))
            .env("XDG_CACHE_HOME", self.path("state"))
            .env_remove("DISPLAY");
        Process::start(name, command)
    }
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// A line of `/proc/PID/status`.
fn status(process: &Process, name: &str) -> String {
    let text = std::fs::read_to_string(format!("/proc/{}/status", process.pid())).unwrap();
    text.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim().to_owned()
}

/// The process is no root and has no capability, and can get none.
#[track_caller]
fn has_no_rights(process: &Process) {
    let is_set = poll(DEADLINE, || (status(process, "NoNewPrivs:") == "1" || !is_root()).then_some(()));
    assert!(is_set.is_some());
    assert!(status(process, "Uid:").split_whitespace().all(|uid| uid != "0"), "{}", status(process, "Uid:"));
    assert_eq!(status(process, "CapEff:").trim_start_matches('0'), "");
}

#[test]
fn a_lecture_needs_no_rights() {
    if !has_tools("a_lecture_needs_no_rights", &["setpriv"]) {
        return;
    }
    let (class, installed) = (Classroom::new(), Installed::new());
    let listen = format!("127.0.0.1:{}", class.port());
    let server = installed.start("server", &["serve", "--json", "--listen", &listen]);
    server.wait_for("listening", |event| event["event"] == "listening");
    let url = class.url();
    let lecture = ["--test", "--size", "320x180", "--fps", "10", "--udp-port", "0"];
    let teach = ["teach", "--json", "--room", ROOM, "--server", &url];
    let teacher = installed.start("teacher", &[&teach[..], &lecture].concat());
    teacher.wait_for("joined", |event| event["event"] == "joined");
    let watch = ["watch", "--json", "--room", ROOM, "--user", "1001", "--server", &url, "--sink", "null"];
    let student = installed.start("student", &watch);
    student.wait_for("a picture", |event| event["event"] == "first-frame" && event["track"] == "screen");
    [&server, &teacher, &student].into_iter().for_each(has_no_rights);
}

/// The settings of a unit file.
fn settings<'a>(unit: &'a str, name: &str) -> Vec<&'a str> {
    unit.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix('=')).collect()
}

#[test]
fn the_systemd_unit_starts_this_program_and_is_hardened() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/classroom.service");
    let unit = std::fs::read_to_string(&path).unwrap();
    let [command] = settings(&unit, "ExecStart")[..] else { panic!("{unit}") };
    let words: Vec<&str> = command.split(' ').collect();
    let Some((&"/usr/bin/classroom", arguments)) = words.split_first() else { panic!("{command}") };
    let (class, installed) = (Classroom::new(), Installed::new());
    // The port of the unit may be taken.
    let listen = format!("127.0.0.1:{}", class.port());
    let at = arguments.iter().position(|word| *word == "--listen").unwrap() + 1;
    let mut here = arguments.to_vec();
    here[at] = &listen;
    let mut server = installed.start("server", &here);
    let listening = server.wait_for("listening", |event| event["event"] == "listening");
    assert!(listening["page"].as_str().unwrap().starts_with("https://"), "{listening}");
    let ca = Path::new(&installed.path("state")).join("classroom");
    assert!(ca.is_dir(), "the state folder of the unit is used: {ca:?}");
    server.terminate();
    assert_eq!(server.exit_code(DEADLINE), 0);
    assert_eq!(settings(&unit, "StateDirectory"), ["classroom"]);
    assert_eq!(settings(&unit, "Environment"), ["XDG_STATE_HOME=/var/lib"]);

    if !has_tools("the_systemd_unit_starts_this_program_and_is_hardened", &["systemd-analyze"]) {
        return;
    }
    // Where the package is installed, the program is there.
    let checked = installed.path("classroom.service");
    std::fs::write(&checked, unit.replace("/usr/bin/classroom", "/bin/true").replace("man:classroom-", "man:true-"))
        .unwrap();
    run_tool(Command::new("systemd-analyze").args(["verify", "--man=no", &checked]));
    // From 0.0, nothing is exposed, to 10.0; the network alone is 0.5.
    run_tool(Command::new("systemd-analyze").args(["security", "--offline=true", "--threshold=15", &checked]));
}
