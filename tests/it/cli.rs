//! What is typed: usage errors, help, README's commands.

use std::process::Command;

use crate::support::{DEADLINE, Process};

fn run(line: &str) -> (i32, String, String) {
    let arguments: Vec<&str> = line.split_whitespace().collect();
    let output = Process::command(&arguments).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap_or(-1), text(output.stdout), text(output.stderr))
}

#[test]
fn every_mistake_ends_with_2_and_names_what_was_wrong() {
    for (line, named) in [
        ("dance", "dance"),
        ("wacth", "'watch'"),
        ("teach", "--room"),
        ("teach --room a/b", "--room"),
        ("teach --room 1 --rom 2", "'--room'"),
        ("teach --room 1 --server ws://a --listen :1", "--listen"),
        ("teach --room 1 --file a --screen", "--screen"),
        ("teach --room 1 --test --file a", "--file"),
        ("teach --room 1 --pipeline a --test", "--pipeline"),
        ("teach --room 1 --pipeline a --codec vp8", "--codec"),
        ("teach --room 1 --loop", "--file"),
        ("teach --room 1 --mic --no-audio", "--no-audio"),
        ("teach --room 1 --bitrate fast", "--bitrate"),
        ("teach --room 1 --size big", "--size"),
        ("teach --room 1 --fps 1000", "--fps"),
        ("teach --room 1 --codec h265", "--codec"),
        ("teach --room 1 --for 10", "--for"),
        ("teach --room 1 --udp-port many", "--udp-port"),
        ("teach --room 1 --advertise home", "--advertise"),
        ("teach --room 1 --max-students 0", "--max-students"),
        ("teach --room 1 --stun stuns:a", "--stun"),
        ("watch --room 1", "--user"),
        ("watch --user 1", "--room"),
        ("watch --room 1 --user 2 --sink out.avi", "--sink"),
        ("watch --room 1 --user 2 --sink null --fullscreen", "--fullscreen"),
        ("watch --room 1 --user 2 --expect fsp>=25", "--expect"),
        ("watch --room 1 --user 2 --turn turn:t", "--turn-user"),
        ("watch --room 1 --user 2 --turn-pass x", "--turn"),
        ("watch --room 1 --user 2 --latency much", "--latency"),
        ("watch --room 1 --user 2 --timeout soon", "--timeout"),
        ("watch --room 1 --user 2 --retry 5", "--retry"),
        ("watch --room 1 --user 2 --server rtsp://a", "rtsp"),
        ("serve --listen nowhere", "--listen"),
        ("demo --loop", "--file"),
        ("bench --students 0", "--students"),
        ("bench --for 0s", "--for"),
    ] {
        let (code, stdout, stderr) = run(line);
        assert_eq!(code, 2, "classroom {line}: {stderr}");
        assert!(stderr.starts_with("error: ") && stderr.contains(named), "classroom {line}: {stderr}");
        assert_eq!(stdout, "", "classroom {line}");
    }
}

#[test]
fn help_and_version_are_on_stdout() {
    let (code, stdout, stderr) = run("-V");
    assert_eq!((code, stdout, stderr), (0, format!("classroom {}\n", env!("CARGO_PKG_VERSION")), String::new()));
    for verb in ["demo", "teach", "watch", "serve", "rooms", "devices", "bench"] {
        let (code, stdout, _) = run(&format!("{verb} --help"));
        assert!(code == 0 && stdout.contains("Usage: classroom"), "{verb}: {stdout}");
        assert!(run("--help").1.contains(verb), "{verb} is missing in --help");
    }
}

#[test]
fn devices_lists_what_is_here_and_is_no_error_where_nothing_is() {
    let mut devices = Process::start("devices", Process::command(&["devices"]));
    assert_eq!(devices.exit_code(2 * DEADLINE), 0);
    let text: String = devices.events().iter().filter_map(|line| line.as_str()).collect::<Vec<_>>().join("\n");
    assert!(text.contains("x264enc"), "encoders are listed: {text}");
}

/// The lines of README's blocks of shell commands.
fn readme_commands() -> Vec<String> {
    let readme = include_str!("../../README.md");
    let mut commands = Vec::new();
    let mut shell = false;
    for line in readme.lines().map(str::trim) {
        if let Some(language) = line.strip_prefix("```") {
            shell = matches!(language, "sh" | "console" | "bash");
        } else if shell && !line.is_empty() {
            commands.push(line.strip_prefix("$ ").unwrap_or(line).to_owned());
        }
    }
    commands
}

/// What stands after the program's name in each command of a line, without comments and quotes.
fn invocations(line: &str) -> Vec<Vec<String>> {
    let line = line.split(" #").next().unwrap_or(line);
    let commands = line.split("&&").flat_map(|command| command.split(" | ")).map(str::trim);
    let arguments = |command: &str| {
        let rest = ["cargo run --release -- ", "classroom ", "target/release/classroom "]
            .iter()
            .find_map(|program| command.strip_prefix(program))?;
        Some(
            rest.trim_end_matches('&')
                .split_whitespace()
                .map(|word| word.trim_matches(['\'', '"']).to_owned())
                .collect(),
        )
    };
    commands.filter_map(arguments).collect()
}

#[test]
fn every_command_of_readme_is_understood() {
    let commands: Vec<Vec<String>> = readme_commands().iter().flat_map(|line| invocations(line)).collect();
    assert!(commands.len() >= 6, "only {commands:?}");
    for command in commands {
        let line = std::iter::once("classroom".to_owned()).chain(command.iter().cloned());
        if let Err(error) = classroom::cli::parse(line) {
            panic!("classroom {}: {error}", command.join(" "));
        }
    }
}

#[test]
fn a_closed_stdout_is_no_panic() {
    let program = env!("CARGO_BIN_EXE_classroom");
    let output = Command::new("sh").args(["-c", &format!("'{program}' --help | head -n 1")]).output().unwrap();
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
}
