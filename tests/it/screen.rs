//! A captured X11 screen, watched in a window.

use std::process::Command;
use std::time::{Duration, Instant};

use crate::support::{Classroom, DEADLINE, Display, Picture, Process, has_tools, is_picture, run_tool};

/// The limit of the mean difference, of 255: encoding, scaling and a moved clock hand change a frame a little.
const ALIKE: f64 = 12.0;

/// The interval between screenshots.
const LOOK: Duration = Duration::from_millis(200);

/// Looks again and again until `look` succeeds or the deadline has passed.
#[track_caller]
fn wait_to_see(what: &str, mut look: impl FnMut() -> (bool, String)) {
    let deadline = Instant::now() + DEADLINE;
    loop {
        let (seen, detail) = look();
        if seen {
            return;
        }
        assert!(Instant::now() < deadline, "not seen: {what}: {detail}");
        std::thread::park_timeout(LOOK);
    }
}

#[test]
fn a_students_window_shows_the_teachers_screen() {
    if !has_tools("a screen in a window", &["Xvfb", "xclock", "xdotool", "import", "gst-launch-1.0", "display"]) {
        return;
    }
    let class = Classroom::new();
    let (mut school, home) = (Display::new(), Display::new());
    // Show unusual colours, and a moving clock.
    let poster = class.directory().join("poster.png");
    let mut draw = Command::new("gst-launch-1.0");
    draw.args([
        "--quiet",
        "videotestsrc",
        "num-buffers=1",
        "pattern=smpte100",
        "!",
        "video/x-raw,width=1280,height=720",
    ]);
    run_tool(
        draw.args(["!", "videoconvert", "!", "pngenc", "!", "filesink"]).arg(format!("location={}", poster.display())),
    );
    // `display` exits with 1 even on success. The screenshot below shows whether it has drawn.
    school.command("display").args(["-window", "root"]).arg(&poster).output().unwrap();
    school.show("xclock", &["-update", "1", "-geometry", "400x400+440+160"]);
    wait_to_see("the poster and the clock", || {
        let colours = school.look().colours();
        (colours > 8, format!("{colours} colours"))
    });

    let listen = class.url().replace("ws://", "");
    let screen = format!("--screen={}", school.name());
    let mut teach = class.teach(&[&screen, "--no-audio", "--listen", &listen]);
    teach.env("DISPLAY", school.name());
    let teacher = Process::start("teacher", teach);
    teacher.wait_for("joined", |event| event["event"] == "joined");

    let mut watch = class.watch(1001, &["--sink", "window", "--fullscreen"]);
    watch.env("DISPLAY", home.name());
    let student = Process::start("student", watch);
    student.wait_for("picture", is_picture);

    let windows = || home.windows_of(student.pid());
    wait_to_see("the window", || (!windows().is_empty(), "no window".into()));
    let mut seen: Option<Picture> = None;
    wait_to_see("the school's screen in the window", || {
        let picture = home.look_at(&windows()[0]);
        let distance = picture.distance(&school.look());
        seen = Some(picture);
        (distance < ALIKE, format!("the pictures are {distance:.1} apart"))
    });
    // The second hand moves, so two screenshots differ. A window that froze after its first frame fails here.
    wait_to_see("movement", || (Some(home.look_at(&windows()[0])) != seen, "the window stands still".into()));
}

#[test]
fn without_a_display_a_student_only_counts_frames_and_says_so() {
    let class = Classroom::new();
    let _teacher = class.teacher(&["--test", "--size", "320x180"]);
    let mut student = Process::start("student", class.watch(1001, &["--for", "2s"]));
    student.wait_for("notice", |event| {
        event["event"] == "notice" && event["message"].as_str().is_some_and(|text| text.contains("display"))
    });
    student.wait_for("picture", is_picture);
    student.ends_with(0);
}
