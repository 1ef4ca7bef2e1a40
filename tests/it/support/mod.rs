//! The test bed: the program as a process, a lecture file, a display, a network.

mod classroom;
mod coded;
mod display;
mod http;
mod janus;
mod lan;
mod lecture_file;
pub mod mediamtx;
mod numbered;
mod process;
mod publisher;
mod receiver;
mod recorded;
mod redis;
mod sending;
mod stage;
mod wait;

pub use self::classroom::{Classroom, ROOM, Site, is_picture, is_stats, user_is};
pub use self::coded::{CodedScreen, Read, WatchedDisplay, codes_in_file, wall_ms};
pub use self::display::{Display, Picture};
pub use self::http::{Answer, FRAGMENT, SDP, ask, ask_raw, python};
pub use self::janus::JanusServer;
pub use self::lan::{Lan, Machine, has_lan};
pub use self::lecture_file::{LECTURE_FPS, LECTURE_SECONDS, film_file, lecture_file};
pub use self::numbered::{Pace, now};
pub use self::process::Process;
pub use self::publisher::{Desk, Publisher};
pub use self::receiver::Receiver;
pub use self::recorded::Recorded;
pub use self::redis::RedisServer;
pub use self::stage::{Member, id};
pub use self::wait::{DEADLINE, poll, until};
#[allow(unused_imports, reason = "the bench of meetings uses these")]
pub use self::{classroom::free_port, lan::Line};

use std::process::{Command, Stdio};

/// Whether the tools are installed. Without them the test is skipped by name; where `$CI` is set it fails.
pub fn has_tools(test: &str, tools: &[&str]) -> bool {
    let has = |tool: &&&str| {
        let found = Command::new("which").arg(tool).stdout(Stdio::null()).stderr(Stdio::null()).status();
        found.is_ok_and(|status| status.success())
    };
    let Some(missing) = tools.iter().find(|tool| !has(tool)) else { return true };
    assert!(std::env::var_os("CI").is_none(), "{missing} is missing: run bin/setup --test");
    println!("skipped {test}: {missing} is missing, bin/setup --test installs it");
    false
}

/// Runs a tool to its end and returns its stdout.
#[track_caller]
pub fn run_tool(command: &mut Command) -> Vec<u8> {
    let output = command.stdin(Stdio::null()).output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}
