//! `classroom bench`: its counts, its output, and that it leaves nothing running. Its speed is not tested.

use std::io::Write;
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::{DEADLINE, Process};

/// The polling interval for conditions without a notification.
const POLL: Duration = Duration::from_millis(10);

/// The students' process of a bench. The bench also starts tools.
fn students_of(bench: &Process) -> u32 {
    wait_until("a process of students", || {
        let names = std::fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let mut pids = names.filter_map(|name| name.parse().ok());
        pids.find(|pid| {
            let is_child = stat_of(*pid).is_some_and(|(_, parent)| parent == bench.pid());
            let command = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            is_child && command.split(|byte| *byte == 0).any(|word| word == b"bench-students")
        })
    })
}

/// The state and the parent of a process; `None` if there is no such process.
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
        std::thread::sleep(POLL);
    }
}

/// Waits until a process has ended, whether or not its parent has noticed.
#[track_caller]
fn has_ended(pid: u32) {
    wait_until("the end of the students", || stat_of(pid).is_none_or(|(state, _)| state == 'Z').then_some(()));
}

/// The single object that a bench prints.
#[track_caller]
fn object_of(bench: &Process) -> Value {
    let objects = bench.events();
    let [object] = &objects[..] else { panic!("one object was to come: {objects:?}") };
    object.clone()
}

/// A field that must be a number.
#[track_caller]
fn number(object: &Value, field: &str) -> f64 {
    object[field].as_f64().unwrap_or_else(|| panic!("{field} is not a number: {object}"))
}

#[track_caller]
fn assert_close(found: f64, expected: f64, what: &str) {
    assert!((found / expected - 1.0).abs() < 1e-6, "{what}: {found}, expected {expected}");
}

#[test]
fn a_small_class_is_measured_and_leaves_nothing_running() {
    let command = Process::command(&["bench", "--students", "5", "--bitrate", "500k", "--for", "2s", "--json"]);
    let mut bench = Process::start("bench", command);
    let students = students_of(&bench);
    assert_eq!(bench.exit_code(2 * DEADLINE), 0);
    has_ended(students);
    let object = object_of(&bench);
    for (field, expected) in
        [("asked", 5), ("students", 5), ("students_at_end", 5), ("dropped", 0), ("refused", 0), ("sealed_by_core", 0)]
    {
        assert_eq!(object[field], expected, "{field}: {object}");
    }
    let number = |field: &str| number(&object, field);
    for field in ["joined_in_s", "kb_per_student", "late_percent", "nacked", "duplicates", "feedbacks_per_s"] {
        number(field);
    }
    // Everything was sent, so every arrived packet was opened, at least in turn.
    assert!(number("delivered_percent") > 99.0 && number("delivered_percent") <= 100.0, "{object}");
    assert!(number("sampled_percent") > 0.0 && number("sampled_percent") <= 100.0, "{object}");
    assert!(number("decrypted_percent") > 99.0, "well sealed: {object}");
    // A second of the lecture is 30 frames and 50 packets of audio; several packets of a frame are one call.
    assert!(number("packets_per_s") > 5.0 * 80.0 * 0.5, "{object}");
    assert!(number("syscalls_per_packet") > 0.0 && number("syscalls_per_packet") < 1.0, "{object}");
    // Derived values agree with their inputs.
    assert_close(number("floor_ratio"), number("us_per_packet") / number("floor_us_per_packet"), "floor_ratio");
    let packets_of_a_student = number("packets_per_s") / number("students");
    let students_per_core = 1e6 / number("us_per_packet") / packets_of_a_student;
    // The sent packets are those of the lecture and a few reports and probes.
    assert!(number("students_per_core") >= students_per_core * 0.999_999, "{object}");
    for (small, large) in [
        ("join_cpu_ms", "join_cpu_with_media_ms"),
        ("first_picture_p50_ms", "first_picture_p95_ms"),
        ("delay_p50_ms", "delay_p99_ms"),
        ("sound_delay_p99_ms", "sound_delay_max_ms"),
    ] {
        assert!(number(small) <= number(large), "{small} is above {large}: {object}");
    }
    if let Some(why) = object["send_ratio_note"].as_str() {
        assert!(std::env::var_os("CI").is_none(), "{why}");
        assert!(object["send_ratio"].is_null() && object["send_us_per_packet"].is_null(), "{object}");
        println!("skipped the part without receivers: {why}");
        return;
    }
    assert_close(number("send_ratio"), number("send_us_per_packet") / number("send_floor_us_per_packet"), "send_ratio");
}

#[test]
fn a_lecture_over_a_bad_network_is_judged_frame_by_frame() {
    let arguments =
        "bench --students 2 --bad 1 --loss 5% --rtt 20ms --latency 300 --seed 7 --size 640x360 --bitrate 500k";
    let arguments: Vec<&str> = arguments.split(' ').chain(["--for", "3s", "--json"]).collect();
    let mut bench = Process::start("bench", Process::command(&arguments));
    let students = students_of(&bench);
    assert_eq!(bench.exit_code(2 * DEADLINE), 0);
    has_ended(students);
    let object = object_of(&bench);
    for (field, expected) in [("asked", 2), ("students", 2), ("gone", 0), ("seed", 7)] {
        assert_eq!(object[field], expected, "{field}: {object}");
    }
    let [bad, good] = object["per_student"].as_array().unwrap().as_slice() else { panic!("two students: {object}") };
    assert_eq!(
        (&bad["bad"], &bad["student"], &good["bad"], &good["student"]),
        (&true.into(), &0.into(), &false.into(), &1.into())
    );
    for (group, student) in [(&object["bad"], bad), (&object["good"], good)] {
        // A group of one student is that student.
        for field in
            ["decoded_percent", "freeze_percent", "glass_p50_ms", "shown_p95_ms", "sound_lost", "nacks", "plis"]
        {
            assert_eq!(group[field], student[field], "{field}: {object}");
        }
        let field = |field: &str| number(student, field);
        assert!(field("decoded") > 0.0 && field("decoded") <= field("expected"), "{object}");
        assert_close(field("decoded_percent"), field("decoded") * 100.0 / field("expected"), "decoded_percent");
        let freezes = student["freezes"].as_array().unwrap().iter().map(|freeze| freeze[1].as_f64().unwrap());
        assert_eq!(field("longest_freeze_ms"), freezes.fold(0.0, f64::max), "{object}");
        assert!(field("glass_p50_ms") <= field("glass_p95_ms"), "{object}");
        assert!(field("glass_p50_ms") <= field("shown_p50_ms"), "shown before it was decoded: {object}");
        assert!(field("sound_gaps") <= field("sound_lost"), "{object}");
        assert!(student["recover_ms"].is_null(), "there was no event to recover from: {object}");
        let tiers = ["full", "low", "none"].map(|tier| student["tier_seconds"][tier].as_f64().unwrap());
        assert_close(tiers.iter().sum(), 3.0, "the tiers make up the time");
        assert!(tiers[0] > 0.0, "{object}");
    }
    assert_eq!((&good["unreadable"], &good["path_lost"]), (&0.into(), &0.into()), "{object}");
    assert!(number(bad, "path_lost") > 0.0 && number(bad, "nacks") > 0.0, "{object}");
    assert!(number(&object, "uplink_kbps") > 0.0, "{object}");
    let encoder = &object["encoders"]["screen-encoder"];
    assert!(encoder["width"] == 640 && encoder["pictures"].as_u64() > Some(0), "{object}");
}

#[test]
fn the_packets_that_a_publisher_loses_reach_the_class() {
    for (offer, loses) in [("--ingest", true), ("--ingest=single", false)] {
        let line = if loses { "--loss 5% --rtt 20ms" } else { "--rtt 20ms" };
        let rest = "--students 2 --latency 300 --seed 7 --size 640x360 --bitrate 500k --film --for 3s --json";
        let arguments = format!("bench {offer} {line} {rest}");
        let mut bench = Process::start("bench", Process::command(&arguments.split(' ').collect::<Vec<_>>()));
        let students = students_of(&bench);
        assert_eq!(bench.exit_code(2 * DEADLINE), 0);
        has_ended(students);
        let object = object_of(&bench);
        let [line] = object["lines"].as_array().unwrap().as_slice() else { panic!("one line: {object}") };
        let found = &line["found"];
        assert_eq!(
            (&found["students"], &found["gone"], &found["bad"]),
            (&2.into(), &0.into(), &Value::Null),
            "{object}"
        );
        assert!(number(found, "decoded_percent") > 0.0 && number(found, "glass_p50_ms") >= 10.0, "{object}");
        let ingest = &found["ingest"];
        assert!(number(ingest, "packets") > 0.0 && number(ingest, "cpu_us_per_packet") >= 0.0, "{object}");
        assert_eq!(number(ingest, "line_lost") > 0.0, loses, "{object}");
        assert_eq!(number(ingest, "recovered") > 0.0, loses, "{object}");
        // The students lose nothing, also if the publisher's line loses packets.
        assert_eq!((&found["nacks"], &found["path_lost"]), (&0.into(), &0.into()), "{object}");
    }
}

#[test]
fn students_end_when_their_bench_dies() {
    for more in [[].as_slice(), &["--glass", "--size", "640x360"]] {
        let arguments = [&["bench", "--students", "3", "--for", "10m"], more].concat();
        let mut bench = Process::start("bench", Process::command(&arguments));
        let students = students_of(&bench);
        bench.kill();
        has_ended(students);
    }
}

#[test]
fn an_interrupted_bench_exits_cleanly_and_reports_that_nothing_was_measured() {
    let mut bench = Process::start("bench", Process::command(&["bench", "--students", "3", "--for", "10m"]));
    let students = students_of(&bench);
    bench.interrupt();
    let stderr = bench.ends_with(0);
    assert!(stderr.contains("nothing was measured"), "{stderr}");
    assert!(bench.events().is_empty(), "{:?}", bench.events());
    has_ended(students);
}

#[test]
fn students_reject_messages_that_no_bench_sends() {
    for (line, why) in [("nonsense", "is not a message of a bench"), (r#"{"say":"tally"}"#, "must be a join")] {
        let mut command = Process::command(&["bench-students"]);
        let mut students = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        writeln!(students.stdin.take().unwrap(), "{line}").unwrap();
        let ended = students.wait_with_output().unwrap();
        let stderr = String::from_utf8_lossy(&ended.stderr);
        assert_eq!(ended.status.code(), Some(1), "{stderr}");
        assert!(stderr.contains(why), "{stderr}");
    }
}

#[test]
fn a_plan_counts_machines_and_refuses_the_impossible() {
    let run = |arguments: &str| {
        let arguments: Vec<&str> = arguments.split(' ').collect();
        let mut plan = Process::start("plan", Process::command(&arguments));
        let exit = plan.exit_code(DEADLINE);
        (exit, plan.events(), plan.stderr())
    };
    let (exit, mut found, _) = run("plan --students 10000 --cores 2 --uplink 10G --json");
    let found = found.remove(0);
    assert_eq!((exit, &found["one_edge"]["full_first"]), (0, &serde_json::json!("cpu")), "{found}");
    let each = found["students_of_each_edge"].as_u64().unwrap();
    assert!(found["edges"].as_u64().unwrap() * each >= 10_000, "{found}");
    let (exit, _, error) = run("plan --students 100000 --uplink 100M");
    assert_eq!(exit, 2);
    assert!(error.contains("the origin sends to") && error.contains("--uplink"), "{error}");
}
