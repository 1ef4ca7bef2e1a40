//! Sends the page that is shown, and draws pages before they are needed.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;
use gstreamer_video as gst_video;
use tokio::sync::mpsc;

use super::position::{Position, Turn};
use super::{Deck, Document};
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

/// The memory for drawn pages, and the fewest of them: the page, the next one and the one before.
const MAX_KEPT_BYTES: usize = 64_000_000;
const MIN_KEPT: usize = 3;

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
    threads: Vec<JoinHandle<()>>,
}

/// What both threads and the teacher change.
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    /// The page that the teacher wants.
    position: Position,
    /// Drawn pages, the latest use last; an error is the cause for the teacher.
    pages: Vec<(usize, Drawn)>,
    /// Somebody needs a key frame.
    is_needed: bool,
    /// Until when to send often.
    often_until: Option<Instant>,
    is_stopping: bool,
}

/// A picture, or why there is none.
type Drawn = Result<gst::Buffer, String>;

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
                pages: Vec::new(),
                is_needed: false,
                often_until: None,
                is_stopping: false,
            }),
            changed: Condvar::new(),
        });
        let painter = Painter::new(size, &caps).ok_or_else(|| failed("no conversion of pictures".into()))?;
        let (name, document) = (deck.path.display().to_string(), deck.document.clone());
        let kept = (MAX_KEPT_BYTES / black.size().max(1)).max(MIN_KEPT);
        let pages = PagesThread { shared: shared.clone(), deck, size, painter, kept };
        let send = SendThread {
            shared: shared.clone(),
            source,
            pipeline: pipeline.clone(),
            caps,
            black,
            name,
            document,
            events,
            last: None,
        };
        let spawn = |name: &str, run: Box<dyn FnOnce() + Send>| {
            std::thread::Builder::new().name(name.into()).spawn(run).map_err(|error| failed(error.to_string()))
        };
        let mut show = Self { shared, threads: Vec::new() };
        show.threads.push(spawn("slides-draw", Box::new(move || pages.run()))?);
        show.threads.push(spawn("slides-send", Box::new(move || send.run()))?);
        Ok(show)
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
    }
}

impl Drop for SlideShow {
    fn drop(&mut self) {
        self.stop();
        for thread in self.threads.drain(..) {
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

impl State {
    /// The drawn page of this index.
    fn page(&self, index: usize) -> Option<&Drawn> {
        self.pages.iter().find(|(of, _)| *of == index).map(|(_, drawn)| drawn)
    }

    /// The page to draw next: the wanted one, then those that probably follow.
    fn missing(&self) -> Option<usize> {
        let Position { index, pages, .. } = self.position;
        let near = [Some(index), Some(index + 1).filter(|next| *next < pages), index.checked_sub(1)];
        near.into_iter().flatten().find(|index| self.page(*index).is_none())
    }

    /// Keeps a page, and forgets those that have not been used for the longest time.
    fn keep(&mut self, index: usize, drawn: Drawn, most: usize) {
        self.pages.push((index, drawn));
        let excess = self.pages.len().saturating_sub(most);
        self.pages.drain(..excess);
    }

    /// Notes that a page is used.
    fn touch(&mut self, index: usize) {
        if let Some(at) = self.pages.iter().position(|(of, _)| *of == index) {
            let page = self.pages.remove(at);
            self.pages.push(page);
        }
    }
}

/// Turns RGBA into the video of the pipeline.
struct Painter {
    converter: gst_video::VideoConverter,
    rgba: gst_video::VideoInfo,
    video: gst_video::VideoInfo,
}

impl Painter {
    fn new(size: Size, caps: &gst::Caps) -> Option<Self> {
        let video = gst_video::VideoInfo::from_caps(caps).ok()?;
        let format = gst_video::VideoFormat::Rgba;
        let rgba = gst_video::VideoInfo::builder(format, size.width, size.height).fps(video.fps()).build().ok()?;
        let converter = gst_video::VideoConverter::new(&rgba, &video, None).ok()?;
        Some(Self { converter, rgba, video })
    }

    /// Converts a picture of four bytes per pixel.
    fn convert(&self, picture: Vec<u8>) -> Option<gst::Buffer> {
        let from = gst::Buffer::from_mut_slice(picture);
        let mut to = gst::Buffer::with_size(self.video.size()).ok()?;
        {
            let from = gst_video::VideoFrameRef::from_buffer_ref_readable(&from, &self.rgba).ok()?;
            let mut to = gst_video::VideoFrameRef::from_buffer_ref_writable(to.get_mut()?, &self.video).ok()?;
            self.converter.frame_ref(&from, &mut to);
        }
        Some(to)
    }
}

/// The thread that draws.
struct PagesThread {
    shared: Arc<Shared>,
    deck: Deck,
    size: Size,
    painter: Painter,
    /// The number of pages to keep.
    kept: usize,
}

impl PagesThread {
    fn run(mut self) {
        loop {
            let mut state = self.shared.lock();
            let index = loop {
                if state.is_stopping {
                    return;
                }
                match state.missing() {
                    Some(index) => break index,
                    None => state = self.shared.wait(state, None),
                }
            };
            drop(state);
            let shared = &self.shared;
            let drawn = self.deck.drawer.draw(index, self.size, &|| shared.lock().is_stopping);
            let drawn = drawn.and_then(|picture| self.painter.convert(picture).ok_or("no memory for it".into()));
            self.shared.lock().keep(index, drawn, self.kept);
            self.shared.changed.notify_all();
        }
    }
}

/// The thread that sends.
struct SendThread {
    shared: Arc<Shared>,
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
            let drawn = if wanted.is_black { Some(Ok(self.black.clone())) } else { state.page(wanted.index).cloned() };
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
                (Some(drawn), _) => {
                    state.touch(wanted.index);
                    Some((drawn.unwrap_or_else(|_| self.black.clone()), wanted))
                }
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
        let failed = match self.shared.lock().page(index) {
            Some(Err(cause)) if !is_black => Some(cause.clone()),
            _ => None,
        };
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

#[cfg(test)]
mod tests {
    use super::*;

    fn state(index: usize, pages: usize) -> State {
        let position = Position { index, ..Position::first_of(pages) };
        State { position, pages: Vec::new(), is_needed: false, often_until: None, is_stopping: false }
    }

    #[test]
    fn the_wanted_page_is_drawn_first_and_then_its_neighbours() {
        let mut state = state(4, 6);
        let mut drawn = Vec::new();
        while let Some(index) = state.missing() {
            state.keep(index, Err(String::new()), 10);
            drawn.push(index);
        }
        assert_eq!(drawn, [4, 5, 3]);
        state.position.index = 5;
        assert_eq!(state.missing(), None, "the last page has no next one");
        state.position.index = 0;
        assert_eq!(state.missing(), Some(0));
    }

    #[test]
    fn the_page_that_was_not_used_for_the_longest_time_is_forgotten() {
        let mut state = state(0, 9);
        for index in 0..3 {
            state.keep(index, Err(String::new()), 3);
        }
        state.touch(0);
        state.keep(3, Err(String::new()), 3);
        assert_eq!([0, 1, 2, 3].map(|index| state.page(index).is_some()), [true, false, true, true]);
    }

    #[test]
    fn a_picture_is_converted_to_video() {
        crate::media::init().unwrap();
        let size = Size { width: 64, height: 64 };
        let (_, caps) = file::black(size, 1).unwrap();
        let painter = Painter::new(size, &caps).unwrap();
        let white = painter.convert([255, 255, 255, 255].repeat(64 * 64)).unwrap();
        let map = white.map_readable().unwrap();
        assert!(map[0] > 230 && map[64 * 64 - 1] > 230 && map[64 * 64].abs_diff(128) < 3, "{:?}", &map[..4]);
    }
}
