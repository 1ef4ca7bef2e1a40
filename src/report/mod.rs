//! The output of a command while it runs: events for scripts, a status line and sentences for people.
//!
//! Stdout is for requested results (`--json`, the lists of `rooms` and `devices`), stderr for everything else. If the
//! reader of a stream goes away, as in `classroom watch --json | head -1`, the lecture continues without output.

mod attendance;
mod conference;
mod conference_status;
mod event;
mod file;
mod format;
mod metrics;
mod order;
mod path;
mod scene;
mod sentence;
mod slide;
mod source_state;
mod stage;
mod status;
mod summary;
#[cfg(test)]
mod tests;
mod typing;
mod whip;

use std::io::{self, IsTerminal, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anstream::{AutoStream, ColorChoice};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use jiff::Timestamp;
use serde::Serialize;

pub use self::attendance::{csv, json};
pub use self::conference::{CallEnd, CallState, ParticipantState};
pub use self::event::{
    EndReason, Event, SpeakerStats, SpeakingState, StudentState, TeachStats, TroubleKind, Waiting, WatchStats, Watched,
};
pub use self::file::{FileDirection, FileReport, FileState};
pub(crate) use self::format::cut;
use self::format::timestamp;
pub use self::metrics::{
    ClusterMetrics, EdgeMetrics, EncodingMetrics, LectureMetrics, MediaMetrics, Metrics, ProcessMetrics, QUANTILES,
    ServerMetrics, SpeakerMetrics, TurnMetrics,
};
pub use self::order::Order;
pub use self::path::{MediaPath, PathReport};
pub use self::scene::SceneReport;
pub use self::slide::SlideReport;
pub use self::source_state::SourceState;
pub use self::stage::{StageEnd, StageState};
use self::status::StatusLine;
pub use self::summary::{HowLeft, MissingStudent, StudentRow, Summary, missing_sentence};
pub use self::whip::{HostCount, HostKind, HostState};
use crate::id::RoomId;

/// How often to print the status line where it can't refresh, as in a log file.
const PLAIN_EVERY: Duration = Duration::from_secs(5);

/// The most events that are collected.
const MAX_COLLECTED: usize = 1_000;

/// How often the spinner moves on a terminal.
const SPINNER_EVERY: Duration = Duration::from_millis(250);

/// The status line.
const TEMPLATE: &str = "{spinner} {wide_msg}";

/// The status line, and below it the line being typed.
const TYPING_TEMPLATE: &str = "{spinner} {wide_msg}\n> {prefix}";

/// The reader of the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output {
    /// People: a status line and sentences on stderr.
    Human,
    /// Scripts: one JSON object per line on stdout.
    Json,
}

/// How much to print for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verbosity {
    /// Only warnings and errors.
    Quiet,
    /// Events and the status line.
    Normal,
    /// Details as well.
    Verbose,
}

/// Prints events. Clones share the same output. No call fails or blocks for long.
#[derive(Clone)]
pub struct Reporter {
    inner: Arc<Inner>,
    room: Option<RoomId>,
}

struct Inner {
    mode: Mode,
    verbosity: Verbosity,
    state: Mutex<State>,
}

enum Mode {
    /// JSON objects on stdout.
    Json,
    /// A status line on stderr that refreshes, with sentences above it.
    Terminal(ProgressBar),
    /// Plain lines on stderr.
    Plain,
    /// Nothing is printed; the events are kept for [`Reporter::collected`].
    Collecting,
}

struct State {
    status_line: StatusLine,
    /// Since when the lecture is live.
    live: Option<Instant>,
    /// When the status was last printed in plain mode.
    printed: Option<Instant>,
    /// The visible part of the line being typed.
    typing: Option<String>,
    /// The open question.
    question: Option<String>,
    /// The events that a collecting reporter keeps.
    collected: Vec<Event>,
    stdout: Stream,
    stderr: Stream,
}

impl Reporter {
    /// A reporter on stdout and stderr, for a command about one room or none.
    pub fn new(output: Output, verbosity: Verbosity, room: Option<RoomId>) -> Self {
        let mode = match output {
            Output::Json => Mode::Json,
            Output::Human if io::stderr().is_terminal() && verbosity > Verbosity::Quiet => terminal(),
            Output::Human => Mode::Plain,
        };
        // No colours without a terminal, or if `$NO_COLOR` is set.
        let stderr = AutoStream::auto(io::stderr());
        Self::on(mode, verbosity, room, Box::new(io::stdout()), Box::new(stderr))
    }

    fn on(mode: Mode, verbosity: Verbosity, room: Option<RoomId>, stdout: Sink, stderr: Sink) -> Self {
        let state = State {
            status_line: StatusLine::default(),
            live: None,
            printed: None,
            typing: None,
            question: None,
            collected: Vec::new(),
            stdout: Stream(Some(stdout)),
            stderr: Stream(Some(stderr)),
        };
        Self { inner: Arc::new(Inner { mode, verbosity, state: Mutex::new(state) }), room }
    }

    /// A reporter that prints nothing and keeps its events, up to `MAX_COLLECTED` of them.
    pub fn collecting() -> Self {
        Self::on(Mode::Collecting, Verbosity::Normal, None, Box::new(io::sink()), Box::new(io::sink()))
    }

    /// The events of a reporter from [`Reporter::collecting`] since the last call.
    pub fn collected(&self) -> Vec<Event> {
        std::mem::take(&mut self.inner.state().collected)
    }

    /// A reporter for another room with the same output.
    #[must_use]
    pub fn about(&self, room: RoomId) -> Self {
        Self { inner: self.inner.clone(), room: Some(room) }
    }

    /// Prints an event: JSON for scripts, a sentence for people. Statistics only change the status line.
    pub fn event(&self, event: &Event) {
        let mut state = self.inner.state();
        if let Mode::Json = self.inner.mode {
            state.stdout.object(&AtInRoom { at: now(), event, room: self.room.as_ref() });
            return;
        }
        if let Mode::Collecting = self.inner.mode {
            if state.collected.len() < MAX_COLLECTED {
                state.collected.push(event.clone());
            }
            return;
        }
        if state.status_line.apply(event) {
            state.live = Some(Instant::now());
        }
        match event.sentence() {
            Some(sentence) => self.print(&mut state, event, &sentence),
            None => self.refresh(&mut state, false),
        }
        if let Event::Ended { .. } = event {
            self.inner.clear();
        }
    }

    /// Shows what the program waits for, such as `waiting for a teacher`, until statistics show a lecture.
    pub fn status(&self, waiting_for: &str) {
        let mut state = self.inner.state();
        state.status_line.wait(waiting_for);
        self.refresh(&mut state, true);
    }

    /// Prints information that needs no action.
    pub fn notice(&self, message: impl Into<String>) {
        self.event(&Event::Notice { message: message.into() });
    }

    /// Prints a problem that does not end the lecture.
    pub fn warn(&self, message: impl Into<String>) {
        self.event(&Event::Warning { message: message.into() });
    }

    /// Prints a detail, only with `--verbose`.
    pub fn detail(&self, message: impl Into<String>) {
        if self.inner.verbosity == Verbosity::Verbose {
            self.notice(message);
        }
    }

    /// Prints a requested result, such as a table, on stdout.
    pub fn result(&self, text: &str) {
        let mut state = self.inner.state();
        match &self.inner.mode {
            // Stdout may be the terminal of the status line.
            Mode::Terminal(bar) => bar.suspend(|| state.stdout.line(text)),
            Mode::Plain | Mode::Json | Mode::Collecting => state.stdout.line(text),
        }
    }

    /// Prints a requested result as one JSON object on stdout, with the time as `at`.
    pub fn result_object(&self, object: &impl Serialize) {
        self.inner.state().stdout.object(&At { at: now(), object });
    }

    /// Whether events are JSON objects on stdout.
    pub fn is_json(&self) -> bool {
        matches!(self.inner.mode, Mode::Json)
    }

    /// Whether the status line refreshes. Then the echo of the terminal would destroy it.
    pub fn refreshes(&self) -> bool {
        matches!(self.inner.mode, Mode::Terminal(_))
    }

    /// The width of the terminal; `None` without a terminal, or with `--quiet`.
    pub fn columns(&self) -> Option<usize> {
        self.refreshes().then(typing::columns)
    }

    /// Whether sentences have colours.
    pub fn has_colours(&self) -> bool {
        self.refreshes() && AutoStream::choice(&io::stderr()) != ColorChoice::Never
    }

    /// Shows the line being typed below the status line, with the cursor before this byte; `None` removes it. Does
    /// nothing if the status line does not refresh, because then the terminal echoes the keys.
    pub fn typing(&self, line: Option<(&str, usize)>) {
        let Mode::Terminal(bar) = &self.inner.mode else { return };
        let mut state = self.inner.state();
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

    /// Removes the status line. [`Event::Ended`] does this, too.
    pub fn finish(&self) {
        self.inner.clear();
    }

    /// Asks a question in place of the status line. Sentences that follow are printed before the question, which is
    /// then repeated, until [`Reporter::answered`] or the end.
    pub fn ask(&self, question: &str) {
        self.inner.clear();
        let mut state = self.inner.state();
        state.stderr.write(question);
        state.question = Some(question.to_owned());
    }

    /// Nobody waits for the answer to the question any more. `typed`: a line was typed, so the cursor is on a new line.
    pub fn answered(&self, typed: bool) {
        let mut state = self.inner.state();
        if state.question.take().is_some() && !typed {
            state.stderr.write("\n");
        }
    }

    fn print(&self, state: &mut State, event: &Event, sentence: &str) {
        if self.inner.verbosity == Verbosity::Quiet && !matches!(event, Event::Warning { .. }) {
            return;
        }
        if state.question.take_if(|_| matches!(event, Event::Ended { .. })).is_some() {
            state.stderr.write("\n");
        } else if let Some(question) = state.question.clone() {
            state.stderr.write(&format!("\n{sentence}\n{question}"));
            return;
        }
        match &self.inner.mode {
            Mode::Terminal(bar) => bar.suspend(|| state.stderr.line(&sentence::coloured(event, sentence))),
            Mode::Plain | Mode::Json | Mode::Collecting => state.stderr.line(sentence),
        }
    }

    fn refresh(&self, state: &mut State, at_once: bool) {
        if self.inner.verbosity == Verbosity::Quiet || state.question.is_some() {
            return;
        }
        let now = Instant::now();
        let live = state.live.map_or(Duration::ZERO, |since| now.duration_since(since));
        let Some(line) = state.status_line.line(live) else { return };
        match &self.inner.mode {
            Mode::Terminal(bar) => bar.set_message(line),
            Mode::Plain if at_once || is_due(state.printed, now) => {
                state.printed = Some(now);
                state.stderr.line(&line);
            }
            Mode::Plain | Mode::Json | Mode::Collecting => {}
        }
    }
}

impl Inner {
    /// A panic of another thread while it prints must not silence this one.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn clear(&self) {
        if let Mode::Terminal(bar) = &self.mode {
            bar.finish_and_clear();
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.clear();
    }
}

fn terminal() -> Mode {
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    // A terminal with TERM=dumb can't refresh a line.
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

fn is_due(printed: Option<Instant>, now: Instant) -> bool {
    printed.is_none_or(|printed| now.duration_since(printed) >= PLAIN_EVERY)
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

fn now() -> String {
    timestamp(Timestamp::now())
}

type Sink = Box<dyn Write + Send>;

/// A stream; `None` after its reader has gone away.
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
            // One write and a flush: a script waits for the line, and other threads may write to the same terminal.
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
