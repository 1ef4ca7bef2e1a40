//! A lecture from a file, with the real program.

use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value as Event;

use crate::slides::document;
use crate::support::{Classroom, DEADLINE, Process, has_tools, is_picture, is_stats, poll, run_tool};

/// Writes a lecture with this text, and the slides and the video that it may show.
fn lecture(class: &Classroom, text: &str) -> String {
    let path = class.directory().join("monday.toml");
    std::fs::write(&path, text).unwrap();
    std::fs::write(class.directory().join("deck.pdf"), document(&["1 0 0", "0 1 0"])).unwrap();
    path.to_str().unwrap().to_owned()
}

/// A video of a second, with sound.
fn video(path: &Path) {
    let text = format!(
        "-q videotestsrc num-buffers=30 ! video/x-raw,width=320,height=180,framerate=30/1 ! x264enc tune=zerolatency \
         ! matroskamux name=m ! filesink location={} \
         audiotestsrc num-buffers=50 samplesperbuffer=960 ! audio/x-raw,rate=48000 ! opusenc ! m.",
        path.display()
    );
    run_tool(Command::new("gst-launch-1.0").args(text.split_whitespace()));
}

fn teacher(class: &Classroom, flags: &[&str]) -> Process {
    let listen = class.url().replace("ws://", "");
    let mut command = class.teach(&[&["--listen", &listen, "--size", "320x180", "--chat"], flags].concat());
    command.stdin(Stdio::piped());
    Process::start("teacher", command)
}

fn is_scene(number: u32) -> impl Fn(&Event) -> bool {
    move |event| event["event"] == "scene" && event["number"] == number
}

#[test]
fn a_class_sees_scene_after_scene() {
    if !has_tools("scenes", &["gst-launch-1.0"]) {
        return;
    }
    let class = Classroom::new();
    video(&class.directory().join("film.mkv"));
    let text = r#"
        [[scene]]
        name = "welcome"
        slate = "We begin soon"
        until = "key"
        [[scene]]
        video = "film.mkv"
        chapter = "Waves"
        chat = "Look at the waves"
        [[scene]]
        slides = "deck.pdf"
        until = "key"
    "#;
    let mut teacher = teacher(&class, &["--lecture", &lecture(&class, text)]);
    let first = teacher.wait_for("the first scene", is_scene(1));
    assert_eq!((&first["scene"], &first["of"], &first["chapter"]), (&"welcome".into(), &3.into(), &Event::Null));
    let student = class.student(1001, &[]);
    student.wait_for("a picture", is_picture);
    teacher.types("/next");
    let film = teacher.wait_for("the film", is_scene(2));
    assert_eq!((&film["file"], &film["chapter"]), (&"film.mkv".into(), &"Waves".into()));
    student.wait_for("the text", |event| event["event"] == "chat" && event["text"] == "Look at the waves");
    // The film ends by itself.
    teacher.wait_for("the slides", is_scene(3));
    teacher.wait_for("a page", |event| event["event"] == "slide" && event["page"] == 1);
    teacher.types("/next");
    teacher.wait_for("the second page", |event| event["event"] == "slide" && event["page"] == 2);
    let mark = student.mark();
    student.wait_since(mark, DEADLINE, "pictures go on", is_picture);
    let is_sound = |event: &Event| event["event"] == "stats" && event["track"] == "audio" && event["kbps"] != 0.0;
    student.wait_since(mark, DEADLINE, "sound goes on", is_sound);
    let sizes = student.events().into_iter().filter(|event| is_stats(event) && event["track"] == "screen");
    let sizes: Vec<(Event, Event)> = sizes.map(|event| (event["width"].clone(), event["height"].clone())).collect();
    let is_one = |size: &&(Event, Event)| **size != (0.into(), 0.into()) && **size != (320.into(), 180.into());
    assert_eq!(sizes.iter().find(is_one), None, "all scenes have one size");
    teacher.types("/next");
    teacher.ends_with(0);
    assert_eq!(teacher.events().last().unwrap()["reason"], "end-of-file");
}

#[test]
fn a_lecture_goes_on_where_it_crashed() {
    let class = Classroom::new();
    let text = "[[scene]]\nslate = \"soon\"\nuntil = \"key\"\n[[scene]]\nname = \"b\"\ntest = true\nfor = \"10m\"\n";
    let path = lecture(&class, text);
    let flags = ["--lecture", &path, "--resume", "--no-audio"];
    let mut crashed = teacher(&class, &flags);
    let usual = |event: &Event| event["message"].as_str().is_some_and(|text| text.contains("begins as usual"));
    crashed.wait_for("the first scene, as nothing is saved", usual);
    crashed.wait_for("the first scene", is_scene(1));
    crashed.types("/next");
    crashed.wait_for("the second scene", is_scene(2));
    let saved = class.directory().join("classroom/lecture-10013-9999.json");
    let found = poll(DEADLINE, || {
        let saved: Event = serde_json::from_str(&std::fs::read_to_string(&saved).ok()?).ok()?;
        (saved["scene"] == "b" && saved["elapsedMs"].as_u64()? > 1_000).then_some(())
    });
    assert!(found.is_some(), "no saved position in the second scene");
    crashed.kill();
    let mut teacher = teacher(&class, &flags);
    let resumed = teacher.wait_for("the second scene again", is_scene(2));
    assert!(resumed["from"].as_f64().unwrap() >= 1.0, "{resumed}");
    teacher.types("/next");
    teacher.ends_with(0);
    assert!(!saved.exists(), "nothing is left to resume");
}

#[test]
fn a_dry_run_says_what_would_fail() {
    let class = Classroom::new();
    let text = "[[scene]]\nslides = \"deck.pdf\"\nevery = \"5s\"\n[[scene]]\nvideo = \"gone.mp4\"\n";
    let path = lecture(&class, text);
    let run = || {
        let mut run = class.teach(&["--lecture", &path, "--dry-run", "--no-audio", "--size", "320x180"]);
        let output = run.stdin(Stdio::null()).output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        let found: Event = output
            .stdout
            .split(|byte| *byte == b'\n')
            .next()
            .map(|line| serde_json::from_slice(line).unwrap_or_default())
            .unwrap();
        (output.status.code(), found, stderr)
    };
    let (code, found, stderr) = run();
    assert_eq!((code, stderr.contains("1 of 2 scenes")), (Some(2), true), "{stderr}");
    assert_eq!(
        (&found["scenes"][0]["lasts"], &found["scenes"][1]["begins"]),
        (&"00:00:10".into(), &"+00:00:10".into())
    );
    assert!(found["scenes"][1]["problem"].as_str().unwrap().contains("gone.mp4"), "{found}");
    std::fs::write(&path, "[[scene]]\nslides = \"deck.pdf\"\nevery = \"5s\"\n").unwrap();
    let (code, found, stderr) = run();
    assert_eq!(code, Some(0), "{stderr}");
    assert!(found["scenes"][0]["problem"].is_null() && !found["notices"].as_array().unwrap().is_empty(), "{found}");
    std::fs::write(&path, "[[scene]]\nscreen = true\n").unwrap();
    let (code, _, stderr) = run();
    assert!(code == Some(2) && stderr.contains("monday.toml:2:1: ") && stderr.contains("screen"), "{stderr}");
}
