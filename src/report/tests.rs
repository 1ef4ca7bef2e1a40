use super::*;

#[derive(Clone, Default)]
struct Page(Arc<Mutex<Vec<u8>>>);

impl Page {
    fn lines(&self) -> Vec<String> {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap().lines().map(str::to_owned).collect()
    }
}

impl Write for Page {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A stream whose reader has gone away.
struct Gone;

impl Write for Gone {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::BrokenPipe.into())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn reporter(mode: Mode, verbosity: Verbosity) -> (Reporter, Page, Page) {
    let (out, err) = (Page::default(), Page::default());
    let room = Some("10013".parse().unwrap());
    (Reporter::on(mode, verbosity, room, Box::new(out.clone()), Box::new(err.clone())), out, err)
}

fn stats() -> Event {
    Event::TeachStats(TeachStats { students: 2, ..TeachStats::default() })
}

#[test]
fn a_script_reads_one_object_per_line_with_time_and_room() {
    let (reporter, out, err) = reporter(Mode::Json, Verbosity::Normal);
    reporter.status("waiting for a teacher");
    let before = Timestamp::now();
    reporter.event(&Event::Publisher { user: Some("9999".parse().unwrap()), nickname: Some("Ms Li".into()) });
    reporter.about("7".parse().unwrap()).warn("no sound card");
    reporter.result_object(&serde_json::json!({"roomId": "7"}));
    let mut objects: Vec<serde_json::Value> =
        out.lines().iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    for object in &mut objects {
        let at = object.as_object_mut().unwrap().remove("at").unwrap();
        let at: Timestamp = at.as_str().unwrap().parse().unwrap();
        assert!(at.as_millisecond() >= before.as_millisecond() && at <= Timestamp::now(), "{at}");
    }
    assert_eq!(
        objects,
        [
            serde_json::json!({"event": "publisher", "user": "9999", "nickname": "Ms Li", "room": "10013"}),
            serde_json::json!({"event": "warning", "message": "no sound card", "room": "7"}),
            serde_json::json!({"roomId": "7"}),
        ]
    );
    assert!(err.lines().is_empty());
}

#[test]
fn times_are_utc_with_milliseconds() {
    let at = |text: &str| timestamp(text.parse().unwrap());
    assert_eq!(at("2026-03-01T08:30:00+08:00"), "2026-03-01T00:30:00.000Z");
    assert_eq!(at("2026-03-01T00:30:00.1239Z"), "2026-03-01T00:30:00.123Z");
}

#[test]
fn a_log_has_sentences_and_sometimes_the_status() {
    let (reporter, out, err) = reporter(Mode::Plain, Verbosity::Normal);
    reporter.notice("screen :0 by ximagesrc");
    for _ in 0..3 {
        reporter.event(&stats());
    }
    reporter.detail("only for the verbose");
    let lines = err.lines();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert_eq!(lines[0], "screen :0 by ximagesrc");
    assert!(lines[1].starts_with("live  00:00:00  2 students"), "{lines:?}");
    assert!(out.lines().is_empty());
}

#[test]
fn a_log_has_the_status_every_five_seconds() {
    let start = Instant::now();
    assert!(is_due(None, start));
    assert!(!is_due(Some(start), start + Duration::from_millis(4999)));
    assert!(is_due(Some(start), start + PLAIN_EVERY));
}

#[test]
fn quiet_prints_only_warnings() {
    let (reporter, _, err) = reporter(Mode::Plain, Verbosity::Quiet);
    reporter.notice("hello");
    reporter.status("waiting");
    reporter.event(&stats());
    reporter.warn("no sound card");
    assert_eq!(err.lines(), ["warning: no sound card"]);
}

#[test]
fn a_question_is_repeated_until_it_is_answered() {
    let screen = |answer: &dyn Fn(&Reporter)| {
        let (reporter, _, err) = reporter(Mode::Plain, Verbosity::Normal);
        reporter.ask("End? ");
        reporter.notice("student 1 has left");
        answer(&reporter);
        reporter.notice("the lecture took an hour");
        reporter.event(&Event::Ended { reason: EndReason::Interrupted, exit: 0, message: None });
        err.lines()
    };
    let asked = ["End? ", "student 1 has left", "End? "];
    let took = "the lecture took an hour";
    assert_eq!(screen(&|reporter| reporter.answered(false)), [&asked[..], &[took, "ended: interrupted"]].concat());
    assert_eq!(screen(&|_| {}), [&asked[..], &[took, "End? ", "ended: interrupted"]].concat());
    // The terminal shows the line break that a person types.
    let typed = screen(&|reporter| reporter.answered(true));
    assert_eq!(typed, [&asked[..2], &["End? the lecture took an hour", "ended: interrupted"]].concat());
}

#[test]
fn a_reader_that_goes_away_does_not_end_the_lecture() {
    let reporter = Reporter::on(Mode::Json, Verbosity::Normal, None, Box::new(Gone), Box::new(Gone));
    reporter.event(&stats());
    reporter.result("text");
    reporter.finish();
    assert!(reporter.is_json());
}
