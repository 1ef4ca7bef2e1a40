//! `classroom bench`: what it prints, and that nothing of it stays. How fast it was is not tested.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::{DEADLINE, Process};

/// The processes that `parent` has started.
fn children_of(parent: u32) -> Vec<u32> {
    let processes =
        std::fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    processes.filter(|pid| stat_of(*pid).is_some_and(|(_, its_parent)| its_parent == parent)).collect()
}

/// State and parent of a process; none when there is no such process.
fn stat_of(pid: u32) -> Option<(char, u32)> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = stat.rsplit_once(") ")?.1.split(' ');
    Some((fields.next()?.chars().next()?, fields.next()?.parse().ok()?))
}

#[track_caller]
fn wait_until<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + DEADLINE;
    loop {
        if let Some(met) = condition() {
            return met;
        }
        assert!(Instant::now() < deadline, "never: {what}");
        std::thread::park_timeout(Duration::from_millis(10));
    }
}

fn students_of(bench: &Process) -> u32 {
    wait_until("a process of students", || children_of(bench.pid()).first().copied())
}

/// Waits until a process has ended; whether somebody has taken note of that is not its business.
#[track_caller]
fn has_ended(pid: u32) {
    wait_until("the end of the students", || stat_of(pid).is_none_or(|(state, _)| state == 'Z').then_some(()));
}

#[test]
fn a_small_class_is_measured_and_leaves_nothing_running() {
    let command = Process::command(&["bench", "--students", "5", "--bitrate", "500k", "--for", "2s", "--json"]);
    let mut bench = Process::start("bench", command);
    let students = students_of(&bench);
    assert_eq!(bench.exit_code(2 * DEADLINE), 0);
    has_ended(students);
    let objects = bench.events();
    let [object] = &objects[..] else { panic!("one object was to come: {objects:?}") };
    for field in [
        "packets_per_s",
        "us_per_packet",
        "floor_us_per_packet",
        "floor_ratio",
        "students_per_core",
        "syscalls_per_packet",
        "delay_p50_ms",
        "delay_p99_ms",
        "first_picture_p50_ms",
        "first_picture_p95_ms",
        "joined_in_s",
    ] {
        assert!(object[field].as_f64().is_some_and(|number| number > 0.0), "{field}: {object}");
    }
    for field in ["kb_per_student", "join_cpu_ms", "late_percent", "refused", "nacked"] {
        assert!(object[field].as_f64().is_some_and(|number| number >= 0.0), "{field}: {object}");
    }
    let number = |field: &str| object[field].as_f64().unwrap();
    assert_eq!((&object["students"], &object["dropped"]), (&Value::from(5), &Value::from(0)), "{object}");
    assert!(number("delivered_percent") > 99.0 && number("delivered_percent") <= 100.0, "{object}");
    assert!(number("decrypted_percent") > 99.0, "what was opened was sealed well: {object}");
}

#[test]
fn a_lecture_over_a_bad_network_is_judged_picture_by_picture() {
    let arguments =
        "bench --students 2 --bad 1 --loss 5% --rtt 20ms --latency 300 --seed 7 --size 640x360 --bitrate 500k";
    let arguments: Vec<&str> = arguments.split(' ').chain(["--for", "3s", "--json"]).collect();
    let mut bench = Process::start("bench", Process::command(&arguments));
    let students = students_of(&bench);
    assert_eq!(bench.exit_code(2 * DEADLINE), 0);
    has_ended(students);
    let objects = bench.events();
    let [object] = &objects[..] else { panic!("one object was to come: {objects:?}") };
    for part in [object, &object["good"], &object["bad"]] {
        let number = |field: &str| part[field].as_f64().unwrap_or_else(|| panic!("{field}: {object}"));
        assert!(number("decoded_percent") > 0.0 && number("decoded_percent") <= 100.0, "{object}");
        assert!((0.0..=100.0).contains(&number("freeze_percent")), "{object}");
        assert!(number("glass_p50_ms") > 0.0 && number("glass_p95_ms") >= number("glass_p50_ms"), "{object}");
        assert!(number("shown_p95_ms") >= number("glass_p50_ms"), "shown after it was decoded: {object}");
        for field in ["longest_freeze_ms", "sound_gaps", "unreadable", "nacks", "plis"] {
            assert!(number(field) >= 0.0, "{field}: {object}");
        }
        assert!(part["recover_ms"].is_null(), "nothing ended from which to recover: {object}");
        let tiers = ["full", "low", "none"].map(|tier| part["tier_seconds"][tier].as_f64().unwrap());
        assert!((tiers.iter().sum::<f64>() - 3.0).abs() < 0.01 && tiers[0] > 0.0, "{object}");
    }
    assert_eq!(object["good"]["unreadable"], 0, "{object}");
    assert!(object["bad"]["path_lost"].as_f64() > Some(0.0) && object["good"]["path_lost"] == 0, "{object}");
    assert!(object["uplink_kbps"].as_f64() > Some(0.0), "{object}");
    let encoder = &object["encoders"]["screen-encoder"];
    assert!(encoder["width"] == 640 && encoder["pictures"].as_u64() > Some(0), "{object}");
    assert_eq!((&object["students"], &object["seed"]), (&Value::from(2), &Value::from(7)), "{object}");
}

#[test]
fn students_end_when_their_teacher_dies() {
    for more in [[].as_slice(), &["--glass", "--size", "640x360"]] {
        let arguments = [&["bench", "--students", "3", "--for", "10m"], more].concat();
        let mut bench = Process::start("bench", Process::command(&arguments));
        let students = students_of(&bench);
        bench.kill();
        has_ended(students);
    }
}

#[test]
fn asked_to_end_it_ends_well_and_says_that_nothing_was_measured() {
    let mut bench = Process::start("bench", Process::command(&["bench", "--students", "3", "--for", "10m"]));
    let students = students_of(&bench);
    bench.interrupt();
    let stderr = bench.ends_with(0);
    assert!(stderr.contains("nothing was measured"), "{stderr}");
    assert!(bench.events().is_empty(), "{:?}", bench.events());
    has_ended(students);
}
