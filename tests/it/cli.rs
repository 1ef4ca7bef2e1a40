//! The command line: usage errors, help, and the commands in README and the guides.

use std::path::Path;
use std::process::Command;

use crate::support::{DEADLINE, Process};

fn run(line: &str) -> (i32, String, String) {
    let arguments: Vec<&str> = line.split_whitespace().collect();
    let output = Process::command(&arguments).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap_or(-1), text(output.stdout), text(output.stderr))
}

#[test]
fn every_usage_error_exits_with_2_and_names_the_flag() {
    for (line, named) in [
        ("dance", "dance"),
        ("wacth", "'watch'"),
        ("teach", "--room"),
        ("teach --room a/b", "--room"),
        ("teach --room 1 --roon 2", "'--room'"),
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
    for verb in ["demo", "teach", "watch", "serve", "rooms", "devices", "doctor", "bench", "plan"] {
        let (code, stdout, _) = run(&format!("{verb} --help"));
        assert!(code == 0 && stdout.contains("Usage: classroom"), "{verb}: {stdout}");
        assert!(run("--help").1.contains(verb), "{verb} is missing in --help");
    }
}

#[test]
fn devices_lists_the_encoders_and_succeeds_without_any_device() {
    let mut devices = Process::start("devices", Process::command(&["devices"]));
    assert_eq!(devices.exit_code(2 * DEADLINE), 0);
    let text: String = devices.events().iter().filter_map(|line| line.as_str()).collect::<Vec<_>>().join("\n");
    assert!(text.contains("x264enc"), "encoders are listed: {text}");
}

/// README and the guides in `docs/`, each with its path.
fn guides() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let docs = std::fs::read_dir(root.join("docs")).unwrap().map(|entry| entry.unwrap().path());
    let pages = docs
        .filter(|path| path.extension().is_some_and(|kind| kind == "md"))
        .chain(["README.md", "CONTRIBUTING.md", "SECURITY.md"].map(|page| root.join(page)));
    pages.map(|path| (path.display().to_string(), std::fs::read_to_string(&path).unwrap())).collect()
}

/// The lines of all shell blocks of a page.
fn shell_lines(page: &str) -> Vec<String> {
    let mut commands = Vec::new();
    let mut shell = false;
    for line in page.lines().map(str::trim) {
        if let Some(language) = line.strip_prefix("```") {
            shell = matches!(language, "sh" | "console" | "bash");
        } else if shell && !line.is_empty() {
            commands.push(line.strip_prefix("$ ").unwrap_or(line).to_owned());
        }
    }
    commands
}

/// The arguments of each `classroom` command of a line, split as a shell does.
fn invocations(line: &str) -> Vec<Vec<String>> {
    let commands = line.split("&&").flat_map(|command| command.split(" | ")).map(str::trim);
    let arguments = |command: &str| {
        let command = command.split(" > ").next().unwrap_or(command);
        let rest = ["cargo run --release -- ", "classroom ", "target/release/classroom "]
            .iter()
            .find_map(|program| command.strip_prefix(program))?;
        Some(shlex::split(rest.trim_end_matches('&')).unwrap_or_else(|| panic!("a shell can't split {line}")))
    };
    commands.filter_map(arguments).collect()
}

#[test]
fn every_command_in_readme_and_guides_is_valid() {
    for (page, text) in guides() {
        let commands: Vec<Vec<String>> = shell_lines(&text).iter().flat_map(|line| invocations(line)).collect();
        if page.ends_with("README.md") {
            assert!(commands.len() >= 6, "only {commands:?}");
        }
        for command in commands {
            let line = std::iter::once("classroom".to_owned()).chain(command.iter().cloned());
            if let Err(error) = classroom::cli::parse(line) {
                panic!("{page}: classroom {}: {error}", command.join(" "));
            }
        }
    }
}

#[test]
fn every_link_in_readme_and_guides_points_to_a_file() {
    for (page, text) in guides() {
        let folder = Path::new(&page).parent().unwrap();
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let is_elsewhere = target.starts_with("http");
            let file = target.split('#').next().unwrap_or_default();
            assert!(is_elsewhere || folder.join(file).exists(), "{page}: {target} does not exist");
        }
    }
}

#[test]
fn a_closed_stdout_causes_no_panic() {
    let program = env!("CARGO_BIN_EXE_classroom");
    let output = Command::new("sh").args(["-c", &format!("'{program}' --help | head -n 1")]).output().unwrap();
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_shell_accepts_its_completions() {
    let (code, script, _) = run("completions bash");
    assert_eq!(code, 0);
    let file = std::env::temp_dir().join(format!("classroom-completions-{}", std::process::id()));
    std::fs::write(&file, script).unwrap();
    // Source the script like a shell, then complete `classroom wa`.
    let ask = format!(
        "source '{}'; COMP_WORDS=(classroom wa); COMP_CWORD=1; _classroom classroom wa classroom; \
         echo \"${{COMPREPLY[@]}}\"",
        file.display()
    );
    let output = Command::new("bash").args(["-c", &ask]).output().unwrap();
    std::fs::remove_file(&file).unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "watch", "{output:?}");
}

#[test]
fn manual_pages_are_written_into_the_folder() {
    let folder = std::env::temp_dir().join(format!("classroom-man-{}", std::process::id()));
    let (code, _, stderr) = run(&format!("man {}", folder.display()));
    assert_eq!(code, 0, "{stderr}");
    let page = std::fs::read_to_string(folder.join("classroom-watch.1")).unwrap();
    assert!(page.starts_with(".ie") || page.starts_with(".TH"), "{page}");
    std::fs::remove_dir_all(&folder).unwrap();
    let (code, _, stderr) = run("man /dev/null/here");
    assert_eq!(code, 2, "{stderr}");
    assert!(stderr.contains("/dev/null/here"), "{stderr}");
}

#[test]
fn a_teacher_uses_the_server_of_the_environment() {
    let mut command = Process::command(&["teach", "--room", "1", "--test", "--no-audio", "--size", "320x180"]);
    // Nothing listens on port 9 (discard).
    let output = command.env("CLASSROOM_SERVER", "ws://127.0.0.1:9").output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(4), "{stderr}");
    assert!(stderr.contains("127.0.0.1:9"), "{stderr}");
}

#[test]
fn colours_are_only_for_terminals() {
    let (_, _, stderr) = run("teach --room 1 --file /nowhere/lecture.mp4");
    assert!(stderr.lines().any(|line| line.starts_with("error: ")) && !stderr.contains('\x1b'), "{stderr}");
}
