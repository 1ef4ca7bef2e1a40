//! Sends the page that is shown.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;
use gstreamer_video as gst_video;
use tokio::sync::mpsc;

use super::pages::{Drawn, Pages};
use super::position::Position;
use super::{Deck, Document};
use crate::lecture::Turn;
use crate::media::error::MediaError;
use crate::media::file;
use crate::media::options::{CaptureEvent, Size, SlidePosition};
use crate::rtp::Track;

/// The time between two pictures of the same page.
const EVERY: Duration = Duration::from_secs(1);

/// The shortest time between two pictures. Who holds the key down skips pages, so that key frames do not pile up.
const AT_LEAST: Duration = Duration::from_millis(100);

/// How often, and for how long, a picture is sent after an encoding has become needed: the new encoder needs a picture
/// as soon as it is there.
const OFTEN: Duration = Duration::from_millis(200);
const OFTEN_FOR: Duration = Duration::from_secs(2);

/// What to show, and how large.
#[derive(Debug)]
pub(in crate::media) struct SlideShowConfig {
    pub deck: Deck,
    /// The size of all pictures.
    pub size: Size,
}

/// Running slides. Stop the teaching pipeline before dropping this, so that no push blocks.
pub(in crate::media) struct SlideShow {
    shared: Arc<Shared>,
    pages: Arc<Pages>,
    thread: Option<JoinHandle<()>>,
}

/// What the thread and the teacher change.
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    /// The page that the teacher wants.
    position: Position,
    /// Somebody needs a key frame.
    is_needed: bool,
    /// Until when to send often.
    often_until: Option<Instant>,
    is_stopping: bool,
}

impl SlideShow {
    /// Shows the first page in the appsrc `file-screen` of a running pipeline.
    pub(in crate::media) fn start(
        config: SlideShowConfig,
        pipeline: &gst::Pipeline,
        events: mpsc::Sender<CaptureEvent>,
    ) -> Result<Self, MediaError> {
        let failed = |cause: String| MediaError::Pipeline { pipeline: "slides".into(), cause };
        let SlideShowConfig { deck, size } = config;
        let source = pipeline.by_name(&format!("file-{}", Track::Screen));
        let source = source.and_then(|source| source.downcast::<gst_app::AppSrc>().ok());
        let source = source.ok_or_else(|| failed("no appsrc named file-screen".into()))?;
        let (black, caps) = file::black(size, 1).ok_or_else(|| failed(format!("no picture of {size}")))?;
        let shared = Arc::new(Shared {
            state: Mutex::new(State {
                position: Position::first_of(deck.pages()),
                is_needed: false,
                often_until: None,
                is_stopping: false,
            }),
            changed: Condvar::new(),
        });
        let (name, document) = (deck.path.display().to_string(), deck.document.clone());
        let sender = shared.clone();
        let on_drawn = move || {
            // The thread that sends looks for a page while it holds the lock, so it misses no change.
            drop(sender.lock());
            sender.changed.notify_all();
        };
        let pages = Arc::new(deck.into_pages(size, &caps, on_drawn).map_err(failed)?);
        let send = SendThread {
            shared: shared.clone(),
            pages: pages.clone(),
            source,
            pipeline: pipeline.clone(),
            caps,
            black,
            name,
            document,
            events,
            last: None,
        };
        let thread = std::thread::Builder::new().name("slides-send".into()).spawn(move || send.run());
        let thread = thread.map_err(|error| failed(error.to_string()))?;
        Ok(Self { shared, pages, thread: Some(thread) })
    }

    /// Shows another page.
    ///
    /// # Errors
    ///
    /// A sentence for the teacher if there is no such page.
    pub(in crate::media) fn turn(&self, turn: Turn) -> Result<(), String> {
        let mut state = self.shared.lock();
        state.position = state.position.after(turn)?;
        self.shared.changed.notify_all();
        Ok(())
    }

    /// Somebody needs a key frame: of an encoding that runs, or of one that `is_new` and will soon run.
    pub(in crate::media) fn refresh(&self, is_new: bool) {
        let mut state = self.shared.lock();
        state.is_needed = true;
        if is_new {
            state.often_until = Some(Instant::now() + OFTEN_FOR);
        }
        self.shared.changed.notify_all();
    }

    /// Ends as soon as the teaching pipeline stops too.
    pub(in crate::media) fn stop(&self) {
        self.shared.lock().is_stopping = true;
        self.shared.changed.notify_all();
        self.pages.stop();
    }
}

impl Drop for SlideShow {
    fn drop(&mut self) {
        self.stop();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a change, at most until `deadline`.
    fn wait<'a>(&self, state: MutexGuard<'a, State>, deadline: Option<Instant>) -> MutexGuard<'a, State> {
        match deadline {
            None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
            Some(deadline) => {
                let time = deadline.saturating_duration_since(Instant::now());
                self.changed.wait_timeout(state, time).unwrap_or_else(PoisonError::into_inner).0
            }
        }
    }
}

/// The thread that sends.
struct SendThread {
    shared: Arc<Shared>,
    pages: Arc<Pages>,
    source: gst_app::AppSrc,
    pipeline: gst::Pipeline,
    caps: gst::Caps,
    black: gst::Buffer,
    /// The document, for the teacher.
    name: String,
    document: Document,
    events: mpsc::Sender<CaptureEvent>,
    /// The picture that was sent last, for which position and when.
    last: Option<(gst::Buffer, Position, Instant)>,
}

impl SendThread {
    fn run(mut self) {
        while let Some((picture, position)) = self.next() {
            let (is_first, is_new) = match &self.last {
                None => (true, true),
                Some((_, before, _)) => (false, *before != position),
            };
            if is_new && !is_first {
                self.request_key_frame();
            }
            let time = self.pipeline.current_running_time().unwrap_or_default();
            let mut buffer = picture.copy();
            let about = buffer.make_mut();
            about.set_pts(time);
            about.set_dts(gst::ClockTime::NONE);
            let sample = gst::Sample::builder().buffer(&buffer).caps(&self.caps).build();
            if self.source.push_sample(&sample).is_err() {
                return;
            }
            self.last = Some((picture, position, Instant::now()));
            if is_new {
                self.report(position);
            }
        }
    }

    /// Waits until a picture is to be sent. None at the end.
    fn next(&self) -> Option<(gst::Buffer, Position)> {
        let mut state = self.shared.lock();
        loop {
            if state.is_stopping {
                return None;
            }
            let now = Instant::now();
            let wanted = state.position;
            let drawn: Option<Drawn> =
                if wanted.is_black { Some(Ok(self.black.clone())) } else { self.pages.get(wanted.index) };
            let due = match (&self.last, &drawn) {
                (None, None) => None,
                (None, Some(_)) => Some(now),
                (Some((_, shown, at)), drawn) => {
                    let is_often = state.often_until.is_some_and(|until| now < until);
                    let is_urgent = state.is_needed || (*shown != wanted && drawn.is_some());
                    Some(
                        *at + if is_urgent {
                            AT_LEAST
                        } else if is_often {
                            OFTEN
                        } else {
                            EVERY
                        },
                    )
                }
            };
            if due.is_none_or(|due| now < due) {
                state = self.shared.wait(state, due);
                continue;
            }
            state.is_needed = false;
            return match (drawn, &self.last) {
                (Some(drawn), _) => Some((drawn.unwrap_or_else(|_| self.black.clone()), wanted)),
                // The page is not drawn yet, so the one before stays.
                (None, Some((picture, shown, _))) => Some((picture.clone(), *shown)),
                (None, None) => None,
            };
        }
    }

    /// Requests a key frame for the next picture: nothing of another page can predict it.
    fn request_key_frame(&self) {
        let event = gst_video::DownstreamForceKeyUnitEvent::builder().all_headers(true).build();
        // If this fails, the encoder decides by itself.
        let _ = self.source.send_event(event);
    }

    /// Tells which page the class sees, or why it sees none.
    fn report(&self, position: Position) {
        let Position { index, pages, is_black } = position;
        let failed = if is_black { None } else { self.pages.get(index).and_then(Result::err) };
        let notes = self.document.notes.get(index).cloned().unwrap_or_default();
        let shown = SlidePosition { page: index + 1, pages, is_black: is_black || failed.is_some(), notes };
        let warning = failed.map(|cause| {
            let (page, name) = (index + 1, &self.name);
            CaptureEvent::Warning(format!("page {page} of {name} can't be shown, the picture is black: {cause}"))
        });
        for event in [Some(CaptureEvent::Slide(shown)), warning].into_iter().flatten() {
            // If the queue is full or closed, nobody reads events, so drop this one.
            let _ = self.events.try_send(event);
        }
    }
}
