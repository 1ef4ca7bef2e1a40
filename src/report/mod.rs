//! What a command says while it runs: events for scripts, a status line and sentences for people.
//!
//! Stdout belongs to what was asked for (`--json`, the lists of `rooms` and `devices`), stderr to everything else.
//! A reader that goes away, as in `classroom watch --json | head -1`, is no error: the lecture goes on in silence.

mod attendance;
mod colour;
mod event;
mod metrics;
mod status;
mod summary;
mod typing;

use std::io::{self, IsTerminal, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anstream::{AutoStream, ColorChoice};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use jiff::Timestamp;
use serde::Serialize;

pub use self::attendance::csv;
pub use self::event::{EndReason, Event, SourceState, StudentState, TeachStats, TroubleKind, WatchStats, Watched};
pub use self::metrics::{EncodingMetrics, LectureMetrics, Metrics, ProcessMetrics, QUANTILES, ServerMetrics};
use self::status::Board;
pub use self::summary::{StudentRow, Summary};
use crate::id::RoomId;

/// Where nothing refreshes, a status line this often: seldom enough for a log, often enough to see that it lives.
const PLAIN_EVERY: Duration = Duration::from_secs(5);

/// How often the spinner turns on a terminal.
const SPINNER_EVERY: Duration = Duration::from_millis(250);

/// The status line.
const TEMPLATE: &str = "{spinner} {wide_msg}";

/// The status line, and below it what is being typed.
const TYPING_TEMPLATE: &str = "{spinner} {wide_msg}\n> {prefix}";

/// For whom the output is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output {
    /// For people: a status line and messages on stderr.
    Human,
    /// For scripts: one JSON object a line on stdout.
    Json,
}

/// How much is said to people.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verbosity {
    /// Warnings and errors.
    Quiet,
    /// Who comes and goes, and the status line.
    Normal,
    /// Details too.
    Verbose,
}

/// Says what happens. Clones say it in the same place; every call returns quickly and none fails.
#[derive(Clone)]
pub struct Reporter {
    shared: Arc<Shared>,
    room: Option<RoomId>,
}

struct Shared {
    mode: Mode,
    verbosity: Verbosity,
    state: Mutex<State>,
}

enum Mode {
    /// Objects on stdout.
    Json,
    /// One line on stderr that refreshes, sentences above it.
    Terminal(ProgressBar),
    /// Lines on stderr.
    Plain,
}

struct State {
    board: Board,
    /// Since when the lecture is on.
    live: Option<Instant>,
    /// When the status was last said in plain mode.
    said: Option<Instant>,
    /// What is shown of a line that is being typed.
    typing: Option<String>,
    /// What a person is being asked.
    question: Option<String>,
    stdout: Stream,
    stderr: Stream,
}

impl Reporter {
    /// A reporter on this process's stdout and stderr, for a command about one room, or none.
    pub fn new(output: Output, verbosity: Verbosity, room: Option<RoomId>) -> Self {
        let mode = match output {
            Output::Json => Mode::Json,
            Output::Human if io::stderr().is_terminal() && verbosity > Verbosity::Quiet => terminal(),
            Output::Human => Mode::Plain,
        };
        // Colours are left out where nobody sees them, and where `$NO_COLOR` says so.
        let stderr = AutoStream::auto(io::stderr());
        Self::on(mode, verbosity, room, Box::new(io::stdout()), Box::new(stderr))
    }

    fn on(mode: Mode, verbosity: Verbosity, room: Option<RoomId>, stdout: Sink, stderr: Sink) -> Self {
        let state = State {
            board: Board::default(),
            live: None,
            said: None,
            typing: None,
            question: None,
            stdout: Stream(Some(stdout)),
            stderr: Stream(Some(stderr)),
        };
        Self { shared: Arc::new(Shared { mode, verbosity, state: Mutex::new(state) }), room }
    }

    /// The same reporter, speaking about another room.
    #[must_use]
    pub fn about(&self, room: RoomId) -> Self {
        Self { shared: self.shared.clone(), room: Some(room) }
    }

    /// Says that something happened. `stats` also move the status line; the other events are sentences for people.
    pub fn event(&self, event: &Event) {
        let mut state = self.shared.state();
        if let Mode::Json = self.shared.mode {
            state.stdout.object(&AtInRoom { at: now(), event, room: self.room.as_ref() });
            return;
        }
        if state.board.note(event) {
            state.live = Some(Instant::now());
        }
        match event.sentence() {
            Some(sentence) => self.say(&mut state, event, &sentence),
            None => self.refresh(&mut state, false),
        }
        if let Event::Ended { .. } = event {
            self.shared.clear();
        }
    }

    /// Says what is waited for, until numbers tell of a lecture: `waiting for a teacher in room 10013`.
    pub fn status(&self, waiting_for: &str) {
        let mut state = self.shared.state();
        state.board.wait(waiting_for);
        self.refresh(&mut state, true);
    }

    /// Something worth saying that needs no action.
    pub fn notice(&self, message: impl Into<String>) {
        self.event(&Event::Notice { message: message.into() });
    }

    /// Something is wrong, and the lecture goes on.
    pub fn warn(&self, message: impl Into<String>) {
        self.event(&Event::Warning { message: message.into() });
    }

    /// Something that only `--verbose` asks for.
    pub fn detail(&self, message: impl Into<String>) {
        if self.shared.verbosity == Verbosity::Verbose {
            self.notice(message);
        }
    }

    /// Prints a result that was asked for, such as a table, on stdout.
    pub fn result(&self, text: &str) {
        self.shared.state().stdout.line(text);
    }

    /// Prints a result that was asked for as one JSON object on stdout, with the time as `at`.
    pub fn result_object(&self, object: &impl Serialize) {
        self.shared.state().stdout.object(&At { at: now(), object });
    }

    /// Whether events are objects on stdout.
    pub fn is_json(&self) -> bool {
        matches!(self.shared.mode, Mode::Json)
    }

    /// Whether the status is a line that refreshes, which the terminal's own echo of keys would tear apart.
    pub fn refreshes(&self) -> bool {
        matches!(self.shared.mode, Mode::Terminal(_))
    }

    /// How wide the terminal is on which a person reads this; none where there is none, or little is wanted on it.
    pub fn columns(&self) -> Option<usize> {
        self.refreshes().then(typing::columns)
    }

    /// Whether what people read may have colours.
    pub fn has_colours(&self) -> bool {
        self.refreshes() && AutoStream::choice(&io::stderr()) != ColorChoice::Never
    }

    /// Shows the line that is being typed, and its cursor in front of this byte, below the status; none takes the line
    /// away. Does nothing where the status does not refresh: there the terminal itself shows what is typed.
    pub fn typing(&self, line: Option<(&str, usize)>) {
        let Mode::Terminal(bar) = &self.shared.mode else { return };
        let mut state = self.shared.state();
        let shown = line.map(|(line, cursor)| typing::shown(line, cursor, typing::columns()));
        if state.typing == shown {
            return;
        }
        if state.typing.is_some() != shown.is_some() {
            set_template(bar, if shown.is_some() { TYPING_TEMPLATE } else { TEMPLATE });
        }
        bar.set_prefix(shown.clone().unwrap_or_default());
        state.typing = shown;
    }

    /// Takes the status line away, so that what is printed next stands alone. [`Event::Ended`] does it too.
    pub fn finish(&self) {
        self.shared.clear();
    }

    /// Asks a person something, in place of the status line: the answer is typed behind it. What is said from now on
    /// comes before the question, which is then asked again.
    pub fn ask(&self, question: &str) {
        self.shared.clear();
        let mut state = self.shared.state();
        state.stderr.write(question);
        state.question = Some(question.to_owned());
    }

    fn say(&self, state: &mut State, event: &Event, sentence: &str) {
        if self.shared.verbosity == Verbosity::Quiet && !matches!(event, Event::Warning { .. }) {
            return;
        }
        if let Some(question) = state.question.take_if(|_| matches!(event, Event::Ended { .. })) {
            // It was answered, or nobody waits for the answer.
            drop(question);
        } else if let Some(question) = state.question.clone() {
            state.stderr.write(&format!("\n{sentence}\n{question}"));
            return;
        }
        match &self.shared.mode {
            Mode::Terminal(bar) => bar.suspend(|| state.stderr.line(&colour::paint(event, sentence))),
            Mode::Plain | Mode::Json => state.stderr.line(sentence),
        }
    }

    fn refresh(&self, state: &mut State, at_once: bool) {
        if self.shared.verbosity == Verbosity::Quiet || state.question.is_some() {
            return;
        }
        let now = Instant::now();
        let live = state.live.map_or(Duration::ZERO, |since| now.duration_since(since));
        let Some(line) = state.board.line(live) else { return };
        match &self.shared.mode {
            Mode::Terminal(bar) => bar.set_message(line),
            Mode::Plain if at_once || is_due(state.said, now) => {
                state.said = Some(now);
                state.stderr.line(&line);
            }
            Mode::Plain | Mode::Json => {}
        }
    }
}

impl Shared {
    /// A panic elsewhere while speaking is no reason to fall silent.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn clear(&self) {
        if let Mode::Terminal(bar) = &self.mode {
            bar.finish_and_clear();
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.clear();
    }
}

fn terminal() -> Mode {
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    // Some terminals (TERM=dumb) can't refresh a line.
    if bar.is_hidden() {
        return Mode::Plain;
    }
    set_template(&bar, TEMPLATE);
    bar.enable_steady_tick(SPINNER_EVERY);
    Mode::Terminal(bar)
}

fn set_template(bar: &ProgressBar, template: &str) {
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
}

fn is_due(said: Option<Instant>, now: Instant) -> bool {
    said.is_none_or(|said| now.duration_since(said) >= PLAIN_EVERY)
}

#[derive(Serialize)]
struct AtInRoom<'a> {
    at: String,
    #[serde(flatten)]
    event: &'a Event,
    room: Option<&'a RoomId>,
}

#[derive(Serialize)]
struct At<'a, T> {
    at: String,
    #[serde(flatten)]
    object: &'a T,
}

/// The time as scripts read it: RFC 3339, UTC, milliseconds.
fn now() -> String {
    rfc3339(Timestamp::now())
}

fn rfc3339(at: Timestamp) -> String {
    format!("{at:.3}")
}

type Sink = Box<dyn Write + Send>;

/// A stream until its reader goes away.
struct Stream(Option<Sink>);

impl Stream {
    fn line(&mut self, text: &str) {
        let mut line = String::with_capacity(text.len() + 1);
        line.push_str(text);
        line.push('\n');
        self.write(&line);
    }

    fn write(&mut self, text: &str) {
        if let Some(stream) = &mut self.0
            // At once and flushed: a script waits for it, and another thread may write to the same terminal.
            && stream.write_all(text.as_bytes()).and_then(|()| stream.flush()).is_err()
        {
            self.0 = None;
        }
    }

    fn object(&mut self, object: &impl Serialize) {
        match serde_json::to_string(object) {
            Ok(text) => self.line(&text),
            Err(error) => debug_assert!(false, "not an object: {error}"),
        }
    }
}

#[cfg(test)]
mod tests {
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

    /// A reader that has gone away.
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
    fn a_script_reads_one_object_a_line_and_each_has_the_room() {
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
        let at = |text: &str| rfc3339(text.parse().unwrap());
        assert_eq!(at("2026-03-01T08:30:00+08:00"), "2026-03-01T00:30:00.000Z");
        assert_eq!(at("2026-03-01T00:30:00.1239Z"), "2026-03-01T00:30:00.123Z");
    }

    #[test]
    fn a_log_reads_sentences_and_the_status_now_and_then() {
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
    fn the_status_of_a_log_is_due_every_five_seconds() {
        let start = Instant::now();
        assert!(is_due(None, start));
        assert!(!is_due(Some(start), start + Duration::from_millis(4999)));
        assert!(is_due(Some(start), start + PLAIN_EVERY));
    }

    #[test]
    fn quiet_says_warnings_only() {
        let (reporter, _, err) = reporter(Mode::Plain, Verbosity::Quiet);
        reporter.notice("hello");
        reporter.status("waiting");
        reporter.event(&stats());
        reporter.warn("no sound card");
        assert_eq!(err.lines(), ["warning: no sound card"]);
    }

    #[test]
    fn a_reader_that_goes_away_does_not_end_the_lecture() {
        let reporter = Reporter::on(Mode::Json, Verbosity::Normal, None, Box::new(Gone), Box::new(Gone));
        reporter.event(&stats());
        reporter.result("text");
        reporter.finish();
        assert!(reporter.is_json());
    }
}
