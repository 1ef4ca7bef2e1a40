//! Everything that a running lecture waits for, as one stream of inputs.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at, sleep_until};

use super::ending::EndQuestion;
use crate::cli::Teach;
use crate::commands::chat_commands::TeacherInput;
use crate::commands::or_never;
use crate::commands::stdin::StdinLines;
use crate::commands::stop::Stop;
use crate::commands::whip::WhipRequest;
use crate::media::CaptureEvent;
use crate::report::Reporter;
use crate::sfu::{Queue, SfuEvent};
use crate::signal::{Goodbye, SignalEvent};

/// The next event for the lecture.
pub(super) enum Input {
    /// The process was asked to stop, or its time is over.
    Stop(Stop),
    /// The teacher answered the question about the class.
    Answer(Goodbye),
    Sfu(SfuEvent),
    /// The SFU's threads have ended.
    SfuEnded,
    Signal(SignalEvent),
    Capture(CaptureEvent),
    /// A WHIP client asks for something.
    Whip(WhipRequest),
    /// A sentence of the media port for the teacher.
    Notice(String),
    /// A line of stdin.
    Line(String),
    /// The time passed to [`Inputs::next`] has come.
    TalkTick,
    /// A second has passed.
    Second,
}

/// The events of the media.
pub(super) struct MediaEvents {
    pub(super) sfu: mpsc::Receiver<SfuEvent>,
    /// Sentences of the UDP port for the teacher.
    pub(super) port: mpsc::Receiver<String>,
    pub(super) source: SourceEvents,
}

/// The events of the source of the lecture.
pub(super) enum SourceEvents {
    Capture(mpsc::Receiver<CaptureEvent>),
    Whip(mpsc::Receiver<WhipRequest>),
}

/// The sources of the inputs.
pub(super) struct Inputs<'a, S> {
    stop: Pin<&'a mut S>,
    /// When the time of `--for` is over, which begins with the lecture.
    ends: Option<Instant>,
    /// `None` until the teacher is asked. While the question is open, `stop` has completed and is not polled.
    question: Option<EndQuestion>,
    sfu: mpsc::Receiver<SfuEvent>,
    port: Option<mpsc::Receiver<String>>,
    signals: Option<mpsc::Receiver<SignalEvent>>,
    captured: Option<mpsc::Receiver<CaptureEvent>>,
    whip: Option<mpsc::Receiver<WhipRequest>>,
    stdin: Option<(StdinLines, mpsc::Receiver<String>)>,
    second: Interval,
}

impl<'a, S: Future<Output = Stop>> Inputs<'a, S> {
    /// Starts to read stdin as well, where `teach` wants it.
    pub(super) fn new(
        teach: &Teach,
        reporter: &Reporter,
        stop: Pin<&'a mut S>,
        media: MediaEvents,
        signals: mpsc::Receiver<SignalEvent>,
    ) -> Self {
        const SECOND: Duration = Duration::from_secs(1);
        let mut second = interval_at(Instant::now() + SECOND, SECOND);
        second.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let ends = teach.length.map(|length| Instant::now() + length);
        let stdin = StdinLines::start(teach.chat, TeacherInput::commands(), reporter);
        let MediaEvents { sfu, port, source } = media;
        let (captured, whip) = match source {
            SourceEvents::Capture(captured) => (Some(captured), None),
            SourceEvents::Whip(whip) => (None, Some(whip)),
        };
        let (port, signals) = (Some(port), Some(signals));
        Self { stop, ends, question: None, sfu, port, signals, captured, whip, stdin, second }
    }

    /// Waits for the next input, or until `talk_tick`.
    pub(super) async fn next(&mut self, talk_tick: Option<Instant>) -> Input {
        loop {
            tokio::select! {
                stop = &mut self.stop, if self.question.is_none() => return Input::Stop(stop),
                () = or_never(self.ends.map(sleep_until)), if self.question.is_none() => {
                    return Input::Stop(Stop::Duration);
                }
                goodbye = or_never(self.question.as_mut().map(EndQuestion::answered)) => return Input::Answer(goodbye),
                event = self.sfu.recv() => return event.map_or(Input::SfuEnded, Input::Sfu),
                event = or_never(self.signals.as_mut().map(mpsc::Receiver::recv)) => match event {
                    Some(event) => return Input::Signal(event),
                    // Media goes on without signalling.
                    None => self.signals = None,
                },
                event = or_never(self.captured.as_mut().map(mpsc::Receiver::recv)) => match event {
                    Some(event) => return Input::Capture(event),
                    None => self.captured = None,
                },
                request = or_never(self.whip.as_mut().map(mpsc::Receiver::recv)) => match request {
                    Some(request) => return Input::Whip(request),
                    None => self.whip = None,
                },
                notice = or_never(self.port.as_mut().map(mpsc::Receiver::recv)) => match notice {
                    Some(notice) => return Input::Notice(notice),
                    // The SFU reports the end of the port.
                    None => self.port = None,
                },
                line = or_never(self.stdin.as_mut().map(|(_, lines)| lines.recv())) => match line {
                    Some(line) => return Input::Line(line),
                    None => self.stdin = None,
                },
                () = or_never(talk_tick.map(sleep_until)) => return Input::TalkTick,
                _ = self.second.tick() => return Input::Second,
            }
        }
    }

    /// Asks the teacher whether the class ends too; returns false if that is not possible. From now on stdin belongs to
    /// the answer.
    pub(super) fn ask(&mut self, reporter: &Reporter) -> bool {
        self.stdin = None;
        self.question = EndQuestion::ask(reporter);
        self.question.is_some()
    }

    /// Waits for `work`, unless the process is asked to stop meanwhile.
    pub(super) async fn unless_stopped<T>(&mut self, work: impl Future<Output = T>) -> Result<T, Stop> {
        tokio::select! {
            stop = &mut self.stop, if self.question.is_none() => Err(stop),
            () = or_never(self.ends.map(sleep_until)), if self.question.is_none() => Err(Stop::Duration),
            done = work => Ok(done),
        }
    }

    /// The length of the queue of SFU events, for the metrics.
    pub(super) fn sfu_queue(&self) -> Queue {
        Queue { name: "events", length: self.sfu.len(), capacity: self.sfu.max_capacity() }
    }
}
