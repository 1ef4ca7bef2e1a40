//! Files in place of the screen, with the real program: lists, still images, and files that can't be played.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::support::{Classroom, DEADLINE, Process, has_tools, is_picture, run_tool};

const MAKE: [&str; 2] = ["gst-launch-1.0", "convert"];

/// A film in one colour at 25 frames per second, with a tone if `sound` is set.
fn film(class: &Classroom, name: &str, size: (u32, u32), colour: &str, pictures: u32, sound: bool) -> PathBuf {
    let path = class.directory().join(name);
    let (width, height) = size;
    let tone = format!(
        "audiotestsrc num-buffers={} samplesperbuffer=960 wave=sine ! audio/x-raw,rate=48000,channels=1 \
         ! opusenc ! out.",
        pictures * 2
    );
    let graph = format!(
        "videotestsrc num-buffers={pictures} pattern=solid-color foreground-color={colour} \
         ! video/x-raw,format=I420,width={width},height={height},framerate=25/1 ! timeoverlay \
         ! x264enc speed-preset=ultrafast ! h264parse ! matroskamux name=out ! filesink location=\"{}\" {}",
        path.display(),
        if sound { &tone } else { "" },
    );
    run_tool(Command::new("gst-launch-1.0").arg("--quiet").args(graph.split_whitespace()));
    path
}

/// A still image, created by ImageMagick.
fn still(class: &Classroom, name: &str, arguments: &[&str]) -> PathBuf {
    let path = class.directory().join(name);
    run_tool(Command::new("convert").args(arguments).arg(&path));
    path
}

fn playing(index: u32) -> impl Fn(&Value) -> bool {
    move |event| event["event"] == "playing" && event["index"] == index
}

fn flags<'a>(paths: &[&'a Path]) -> Vec<&'a str> {
    paths.iter().flat_map(|path| ["--file", path.to_str().unwrap()]).collect()
}

#[test]
fn students_see_two_files_as_one_lecture() {
    if !has_tools("two files in turn", &MAKE) {
        return;
    }
    let class = Classroom::undisturbed();
    let first = film(&class, "first.mkv", (320, 180), "0xff2040c0", 100, true);
    let second = film(&class, "second film.mkv", (180, 160), "0xffc04020", 75, false);
    let list = flags(&[&first, &second]);
    let _server = class.server();
    let mut student = class.student(1001, &[]);
    student.wait_for("joined", |event| event["event"] == "joined");
    let url = class.url();
    let guest = ["--server", &url, "--udp-port", "0", "--end-class"];
    let mut teacher = Process::start("teacher", class.teach(&[&list[..], &guest].concat()));
    let begins = teacher.wait_for("the first file", playing(1));
    assert_eq!((&begins["file"], &begins["of"]), (&first.to_str().unwrap().into(), &2.into()));
    student.wait_for("picture", is_picture);
    let begins = teacher.wait_for("the second file", playing(2));
    assert_eq!(begins["file"], second.to_str().unwrap());
    teacher.ends_with(0);
    assert_eq!(teacher.events().last().unwrap()["reason"], "end-of-file");
    student.ends_with(0);
    let seen = student.events();
    assert_eq!(seen.last().unwrap()["reason"], "lecture-over");
    let count = |name: &str| seen.iter().filter(|event| event["event"] == name).count();
    assert_eq!(count("publisher"), 1, "one teacher, from the first file to the end of the last");
    assert_eq!(count("first-frame"), 2, "a picture and sound, once each");
    // The decoded height is always that of the list, whatever frames were decoded.
    let sizes: Vec<_> = seen.iter().filter(|event| is_picture(event)).map(|event| event["height"].clone()).collect();
    assert!(!sizes.is_empty() && sizes.iter().all(|height| *height == 180), "{sizes:?}");
    let frozen = seen.iter().filter_map(|event| event["freeze_ms"].as_u64()).max();
    assert_eq!(frozen, Some(0), "the picture never stood still");
    let told = teacher.events();
    let keys = told.iter().filter_map(|event| event["key_frames"].as_u64()).max();
    assert!(keys >= Some(2), "each file begins with a key frame: {keys:?}");
}

#[test]
fn a_repeating_list_reports_each_file() {
    if !has_tools("a list that repeats", &MAKE) {
        return;
    }
    let class = Classroom::new();
    let first = film(&class, "a.mkv", (160, 120), "0xff2040c0", 20, true);
    let slide = still(&class, "b.png", &["-size", "160x120", "xc:orange"]);
    let list = [&flags(&[&first, &slide])[..], &["--loop", "--still", "1s"]].concat();
    let teacher = class.teacher(&list);
    for index in [1, 2] {
        teacher.wait_for("the first round", playing(index));
    }
    let mark = teacher.mark();
    teacher.wait_since(mark, DEADLINE, "the second round", playing(1));
    let mark = teacher.mark();
    teacher.wait_since(mark, DEADLINE, "the second round of the still", playing(2));
}

/// Still images in all formats that GStreamer can decode, some with problematic names.
#[test]
fn still_images_of_all_formats_are_sent() {
    if !has_tools("stills", &MAKE) {
        return;
    }
    let class = Classroom::new();
    let animated = class.directory().join("moves.gif");
    run_tool(
        Command::new("convert")
            .args(["-delay", "20", "-size", "120x90", "xc:red", "xc:green", "xc:blue"])
            .arg(&animated),
    );
    let drawn = class.directory().join("drawn.svg");
    let svg =
        r##"<svg xmlns="http://www.w3.org/2000/svg" width="120" height="90"><rect width="99" height="9"/></svg>"##;
    std::fs::write(&drawn, svg).unwrap();
    let files = [
        still(&class, "slide 1 #ä%20?.png", &["-size", "640x360", "gradient:red-blue"]),
        still(&class, "photo.jpg", &["-size", "641x479", "plasma:"]),
        still(&class, "dot.png", &["-size", "1x1", "xc:red"]),
        still(&class, "grey.png", &["-size", "300x200", "-depth", "16", "gradient:", "-colorspace", "gray"]),
        still(&class, "large.jpg", &["-size", "6000x4000", "xc:navy"]),
        still(&class, "old.bmp", &["-size", "64x48", "xc:green"]),
        still(&class, "scan.tiff", &["-size", "100x80", "plasma:"]),
        still(&class, "web.webp", &["-size", "100x80", "plasma:"]),
        animated,
        drawn,
    ];
    for file in files {
        let teacher = class.teacher(&[&flags(&[&file])[..], &["--loop"]].concat());
        let mut student = class.student(1001, &["--expect", "lost==0", "--for", "3s"]);
        student.wait_for(&format!("picture of {}", file.display()), is_picture);
        student.ends_with(0);
        let stats = teacher.events();
        assert!(stats.iter().all(|event| event["event"] != "warning"), "{}: {stats:?}", file.display());
    }
}

#[test]
fn an_unplayable_file_is_refused_with_its_name_and_a_remedy() {
    if !has_tools("refused files", &MAKE) {
        return;
    }
    let class = Classroom::new();
    let write = |name: &str, bytes: &[u8]| {
        let path = class.directory().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    };
    let good = film(&class, "good.mkv", (160, 120), "0xff2040c0", 20, true);
    let png = std::fs::read(still(&class, "whole.png", &["-size", "64x48", "plasma:"])).unwrap();
    let fifo = class.directory().join("pipe");
    run_tool(Command::new("mkfifo").arg(&fifo));
    let mp4 = class.directory().join("whole.mp4");
    let graph =
        "videotestsrc num-buffers=50 ! video/x-raw,width=160,height=120 ! x264enc ! mp4mux ! filesink location=";
    let graph = format!("{graph}{}", mp4.display());
    run_tool(Command::new("gst-launch-1.0").arg("--quiet").args(graph.split_whitespace()));
    let mp4 = std::fs::read(mp4).unwrap();
    // A header that announces 400 million pixels.
    let mut huge = png.clone();
    huge[16..24].copy_from_slice(&[0, 0, 0x4e, 0x20, 0, 0, 0x4e, 0x20]);
    let mut crc = flate2::Crc::new();
    crc.update(&huge[12..29]);
    huge[29..33].copy_from_slice(&crc.sum().to_be_bytes());
    let locked = write("locked.png", &png);
    std::fs::set_permissions(&locked, std::fs::Permissions::from_mode(0o000)).unwrap();
    // Root can read every file.
    let may_read = std::fs::File::open(&locked).is_ok();
    let mut refused: Vec<(PathBuf, &[&str])> = vec![
        ("/nowhere/a.mp4".into(), &["there is no such file"]),
        (class.directory().to_owned(), &["folder", "one by one"]),
        (fifo, &["named pipe"]),
        (write("empty.mp4", b""), &["it is empty"]),
        (write("notes.mp4", "this is not a film\n".repeat(100).as_bytes()), &["it is a text"]),
        (write("noise.mp4", &[0x80; 5000]), &["damaged"]),
        (write("slides.pdf", b"%PDF-1.4\n1 0 obj\n<< /Type /Catalog >>\nendobj\n"), &["PDF", "--slides"]),
        (write("cut.mp4", &mp4[..mp4.len() / 2]), &["video/quicktime", "ffmpeg"]),
        (write("cut.png", &png[..60]), &["image/png", "damaged"]),
        (write("huge.png", &huge), &["20000x20000", "convert"]),
    ];
    if !may_read {
        refused.push((locked, &["may not read"]));
    }
    for (path, words) in refused {
        // The bad file is the second of two, so that the error must name its position.
        let paths = [good.as_path(), &path];
        let list = [&flags(&paths)[..], &["--listen", "127.0.0.1:0"]].concat();
        let mut teacher = Process::start("teacher", class.teach(&list));
        let stderr = teacher.ends_with(2);
        let shown = path.display();
        let error =
            stderr.lines().find(|line| line.starts_with("error: ")).unwrap_or_else(|| panic!("{shown}: {stderr}"));
        for word in words.iter().copied().chain([path.to_str().unwrap(), "--file number 2 of 2"]) {
            assert!(error.contains(word), "no {word:?} in {error:?}");
        }
        let events = teacher.events();
        assert_eq!(events.len(), 1, "nothing but the end: {events:?}");
    }
}

#[test]
fn a_film_that_breaks_in_the_middle_is_followed_by_the_next_file() {
    if !has_tools("a film that breaks", &MAKE) {
        return;
    }
    let class = Classroom::new();
    let whole = std::fs::read(film(&class, "whole.mkv", (160, 120), "0xff2040c0", 200, true)).unwrap();
    let broken = class.directory().join("broken.mkv");
    // Overwrite the second half.
    let half = whole.len() / 2;
    std::fs::write(&broken, [&whole[..half], &vec![0x11; half]].concat()).unwrap();
    let last = still(&class, "last.png", &["-size", "160x120", "xc:orange"]);
    let teacher = class.teacher(&[&flags(&[&broken, &last])[..], &["--loop"]].concat());
    teacher.wait_for("the broken film", playing(1));
    teacher.wait_for("a warning that names it", |event| {
        event["event"] == "warning" && event["message"].as_str().is_some_and(|text| text.contains("broken.mkv"))
    });
    teacher.wait_for("the file after it", playing(2));
    let student = class.student(1001, &[]);
    student.wait_for("picture", is_picture);
}

#[test]
fn a_crash_in_a_plug_in_ends_the_process_with_an_error_message() {
    if !has_tools("a plug-in that breaks down", &MAKE) {
        return;
    }
    let class = Classroom::new();
    let picture = still(&class, "a.png", &["-size", "640x360", "gradient:red-blue"]);
    let graph = class.directory().join("own.gst");
    // videorate of GStreamer 1.22 asserts that each frame has a duration.
    let text = format!(
        "filesrc location=\"{}\" ! decodebin ! videoconvert ! videorate drop-only=true max-rate=30 \
         ! {{screen.pictures}}",
        picture.display()
    );
    std::fs::write(&graph, text).unwrap();
    let mut teacher =
        Process::start("teacher", class.teach(&["--pipeline", graph.to_str().unwrap(), "--listen", "127.0.0.1:0"]));
    let stderr = teacher.ends_with(1);
    let errors: Vec<&str> = stderr.lines().filter(|line| line.starts_with("error: ")).collect();
    let [error] = errors[..] else { panic!("not one error line: {stderr:?}") };
    assert!(error.contains("GStreamer crashed") && error.contains("gstvideorate.c"), "{error}");
    let ended = teacher.events().last().cloned().unwrap();
    assert_eq!((&ended["event"], &ended["exit"]), (&"ended".into(), &1.into()), "{ended}");
}
