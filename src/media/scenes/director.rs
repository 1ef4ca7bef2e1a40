//! Carries out the changes of a lecture: opens scenes, cuts from one to the next, and reports how they end.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;
use tokio::sync::mpsc;

use super::audio::AudioOutput;
use super::open::{OpenedScene, SceneSource};
use super::source::{Opener, Playing, SceneMedia};
use super::video::{LEAD, VideoOutput, Visible};
use crate::lecture::{Change, Shown};
use crate::media::error::MediaError;
use crate::media::file::RateLimit;
use crate::media::options::{CaptureEvent, SceneEvent, Size, SlidePosition};
use crate::media::slides::Deck;
use crate::rtp::Track;

/// How often the thread looks for something to do. A tenth of what is pushed ahead of time.
const TICK: Duration = Duration::from_millis(8);

/// A frame that is later than this is dropped if another one follows.
const LATE: gst::ClockTime = gst::ClockTime::from_mseconds(100);

/// The scenes of a lecture, and how to show them.
#[derive(Debug)]
pub(in crate::media) struct DirectorConfig {
    pub scenes: Vec<OpenedScene>,
    /// The pipeline text of each scene; empty for slides and slates.
    pub pipelines: Vec<String>,
    pub decks: Vec<Deck>,
    /// The size of all pictures; the width is a multiple of 8.
    pub size: Size,
    /// Frames per second, at most.
    pub fps: u32,
}

/// Shows scenes in a running pipeline. Stop the teaching pipeline before dropping this, so that no push blocks.
pub(in crate::media) struct Director {
    messages: Sender<Message>,
    thread: Option<JoinHandle<()>>,
}

/// A message to the thread.
enum Message {
    Change(Change),
    /// A scene has been opened from a time on.
    Opened {
        scene: usize,
        from: Duration,
        media: Result<SceneMedia, String>,
    },
    Stop,
}

impl Director {
    /// Shows a black picture in the appsrcs `file-screen` and `file-audio` until the first change.
    pub(in crate::media) fn start(
        config: DirectorConfig,
        pipeline: &gst::Pipeline,
        events: mpsc::Sender<CaptureEvent>,
    ) -> Result<Self, MediaError> {
        let failed = |cause: String| MediaError::Pipeline { pipeline: "scenes".into(), cause };
        let DirectorConfig { scenes, pipelines, decks, size, fps } = config;
        let source = |track: Track| pipeline.by_name(&format!("file-{track}"))?.downcast::<gst_app::AppSrc>().ok();
        let video = source(Track::Screen).and_then(|source| VideoOutput::new(source, size, fps));
        let video = video.ok_or_else(|| failed("no appsrc named file-screen".into()))?;
        let mut documents = Vec::new();
        for deck in decks {
            let notes: Arc<[String]> = deck.notes().into();
            let pages = deck.into_pages(size, video.caps(), || ()).map_err(failed)?;
            documents.push((Arc::new(pages), notes));
        }
        let opener = |(scene, pipeline): (OpenedScene, String)| match scene.source {
            SceneSource::Slides(deck) => documents.get(deck).map(|(pages, notes)| {
                let (pages, notes) = (pages.clone(), notes.clone());
                Opener::Slides(pages, notes)
            }),
            SceneSource::Video(path) => Some(Opener::Video { path, pipeline }),
            SceneSource::Image(path) => Some(Opener::Image { path, pipeline }),
            SceneSource::Slate { text, countdown } => Some(Opener::Slate { text, countdown }),
            SceneSource::Test => Some(Opener::Test { pipeline }),
        };
        let openers: Option<Vec<Opener>> = scenes.into_iter().zip(pipelines).map(opener).collect();
        let (messages, received) = channel();
        let thread = DirectorThread {
            openers: openers.ok_or_else(|| failed("a scene without its document".into()))?,
            size,
            fps,
            pipeline: pipeline.clone(),
            video,
            audio: source(Track::Audio).map(AudioOutput::new),
            messages: received,
            sender: messages.clone(),
            events,
            on: None,
            next: None,
            prepared: None,
            preparing: None,
        };
        let thread = std::thread::Builder::new().name("scenes".into()).spawn(move || thread.run());
        Ok(Self { messages, thread: Some(thread.map_err(|error| failed(error.to_string()))?) })
    }

    /// Carries out a change of the timeline.
    pub(in crate::media) fn change(&self, change: Change) {
        // This fails only while the lecture ends.
        let _ = self.messages.send(Message::Change(change));
    }

    /// Ends as soon as the teaching pipeline stops too.
    pub(in crate::media) fn stop(&self) {
        let _ = self.messages.send(Message::Stop);
    }
}

impl Drop for Director {
    fn drop(&mut self) {
        self.stop();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The scene that the class sees.
struct On {
    shown: Shown,
    media: SceneMedia,
    /// The speaker notes of slides.
    notes: Option<Arc<[String]>>,
    /// The running time at which a video began, or would have begun without pauses.
    base: gst::ClockTime,
    /// Since when the scene stands still.
    paused: Option<gst::ClockTime>,
    is_black: bool,
    /// The last frame of a video.
    last: Option<gst::Buffer>,
    limit: RateLimit,
    /// The end, or the failure, has been reported.
    is_done: bool,
}

/// A scene that was ordered and is not there yet. The one before stays meanwhile.
struct Next {
    shown: Shown,
    media: Option<SceneMedia>,
    is_paused: bool,
    is_black: bool,
}

struct DirectorThread {
    openers: Vec<Opener>,
    size: Size,
    fps: u32,
    pipeline: gst::Pipeline,
    video: VideoOutput,
    /// `None` if the lecture has no sound, or that of a microphone.
    audio: Option<AudioOutput>,
    messages: Receiver<Message>,
    sender: Sender<Message>,
    events: mpsc::Sender<CaptureEvent>,
    on: Option<On>,
    next: Option<Next>,
    /// The scene that probably follows, opened before its time.
    prepared: Option<(usize, SceneMedia)>,
    /// The scene that is being opened before its time.
    preparing: Option<usize>,
}

impl DirectorThread {
    fn run(mut self) {
        loop {
            let mut message = match self.messages.recv_timeout(TICK) {
                Ok(message) => Some(message),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => return,
            };
            let now = self.pipeline.current_running_time().unwrap_or_default();
            while let Some(known) = message {
                match known {
                    Message::Stop => return,
                    Message::Change(change) => self.change(change, now),
                    Message::Opened { scene, from, media } => self.opened(scene, from, media),
                }
                message = self.messages.try_recv().ok();
            }
            self.cut(now);
            self.show(now);
            self.sound(now);
            self.report_end();
        }
    }

    fn change(&mut self, change: Change, now: gst::ClockTime) {
        match (change, &mut self.next, &mut self.on) {
            (Change::Show(shown), ..) => self.order(shown),
            (Change::Picture(picture), Some(next), _) => next.shown.picture = picture,
            (Change::Picture(picture), None, Some(on)) => on.shown.picture = picture,
            (Change::Pause(is_paused), Some(next), _) => next.is_paused = is_paused,
            (Change::Pause(is_paused), None, Some(on)) => match (is_paused, on.paused) {
                (true, None) => on.paused = Some(now),
                (false, Some(since)) => {
                    on.base += now.saturating_sub(since);
                    on.paused = None;
                }
                _ => {}
            },
            (Change::Black(is_black), Some(next), _) => next.is_black = is_black,
            (Change::Black(is_black), None, Some(on)) => on.is_black = is_black,
            (_, None, None) => {}
        }
    }

    /// A scene is ordered: takes it from those that are open, or opens it.
    fn order(&mut self, shown: Shown) {
        let from = shown.from;
        let prepared = self.prepared.take_if(|(scene, _)| *scene == shown.scene && from.is_zero());
        let media = prepared.map(|(_, media)| media);
        let is_coming = from.is_zero() && self.preparing == Some(shown.scene);
        if media.is_none() && !is_coming {
            self.open(shown.scene, from);
        }
        let next = Next { shown, media, is_paused: false, is_black: false };
        if let Some(Next { media: Some(media), .. }) = self.next.replace(next) {
            close(media);
        }
    }

    /// Opens a scene on a thread of its own, because a file may take seconds.
    fn open(&mut self, scene: usize, from: Duration) {
        let Some(opener) = self.openers.get(scene).cloned() else { return };
        let (size, sender) = (self.size, self.sender.clone());
        let opened = move |media| {
            // This fails only while the lecture ends.
            let _ = sender.send(Message::Opened { scene, from, media });
        };
        let failed = opened.clone();
        let open = move || opened(opener.open(size, from));
        if let Err(error) = std::thread::Builder::new().name("scene-open".into()).spawn(open) {
            failed(Err(error.to_string()));
        }
    }

    fn opened(&mut self, scene: usize, from: Duration, media: Result<SceneMedia, String>) {
        let is_ahead = from.is_zero() && self.preparing == Some(scene);
        if is_ahead {
            self.preparing = None;
        }
        match &mut self.next {
            Some(next) if next.shown.scene == scene && next.shown.from == from && next.media.is_none() => match media {
                Ok(media) => next.media = Some(media),
                Err(cause) => {
                    let number = next.shown.number;
                    self.next = None;
                    self.send(CaptureEvent::Scene(SceneEvent::Failed { scene, number, cause }));
                }
            },
            // A scene that can't be opened before its time fails when its time has come.
            _ => match media {
                Ok(media) if is_ahead => self.prepared = Some((scene, media)),
                Ok(media) => close(media),
                Err(_) => {}
            },
        }
    }

    /// Cuts to the next scene, if its first picture is there.
    fn cut(&mut self, now: gst::ClockTime) {
        let Some(next) = &mut self.next else { return };
        let Some(media) = &mut next.media else { return };
        match media.first(next.shown.picture) {
            None => return,
            Some(Ok(())) => {}
            Some(Err(cause)) => {
                let (scene, number) = (next.shown.scene, next.shown.number);
                self.next = None;
                return self.send(CaptureEvent::Scene(SceneEvent::Failed { scene, number, cause }));
            }
        }
        let Some(Next { shown, media: Some(media), is_paused, is_black }) = self.next.take() else { return };
        let sound = self.audio.as_ref().map_or(gst::ClockTime::ZERO, AudioOutput::free_at);
        let base = now.max(sound).max(self.video.free_at());
        let notes = match &self.openers[shown.scene] {
            Opener::Slides(_, notes) => Some(notes.clone()),
            _ => None,
        };
        let on = On {
            shown,
            media,
            notes,
            base,
            paused: is_paused.then_some(base),
            is_black,
            last: None,
            limit: RateLimit::new(self.fps),
            is_done: false,
        };
        if let Some(before) = self.on.replace(on) {
            close(before.media);
        }
        self.send(CaptureEvent::Scene(SceneEvent::Shown { scene: shown.scene, from: shown.from }));
        let following = shown.scene + 1;
        let is_slow = self.openers.get(following).is_some_and(|opener| !matches!(opener, Opener::Slides(..)));
        if is_slow && self.prepared.as_ref().is_none_or(|(scene, _)| *scene != following) {
            if let Some((_, media)) = self.prepared.take() {
                close(media);
            }
            self.preparing = Some(following);
            self.open(following, Duration::ZERO);
        }
    }

    /// Pushes what is due of the picture.
    fn show(&mut self, now: gst::ClockTime) {
        let black = self.video.black();
        let Some(on) = &mut self.on else {
            self.video.still(&black, Visible::Black, now);
            return;
        };
        let visible = match on.is_black {
            true => Visible::Black,
            false => {
                let Shown { number, picture, .. } = on.shown;
                Visible::Scene { number, picture, is_page: on.notes.is_some() }
            }
        };
        if let SceneMedia::Player(playing) = &mut on.media {
            if on.paused.is_none() {
                while let Some(frame) = due(playing, on.base, now, &mut on.limit) {
                    if let (false, Some((picture, time))) = (on.is_black, &frame) {
                        self.video.frame(picture, visible, *time);
                    }
                    on.last = frame.map(|(picture, _)| picture).or(on.last.take());
                }
            }
            match (&on.last, on.is_black) {
                (_, true) => self.video.still(&black, visible, now),
                (Some(last), false) => self.video.still(last, visible, now),
                (None, false) => self.video.repeat(now),
            };
            return;
        }
        let picture = match &on.media {
            _ if on.is_black => Some(Ok(black.clone())),
            SceneMedia::Pages(pages) => pages.get(on.shown.picture),
            SceneMedia::Still(picture) => Some(Ok(picture.clone())),
            SceneMedia::Player(_) => None,
        };
        let Some(picture) = picture else {
            // The page is not drawn yet, so the picture before stays.
            self.video.repeat(now);
            return;
        };
        let (picture, failed) = match picture {
            Ok(picture) => (picture, None),
            Err(cause) => (black, Some(cause)),
        };
        if self.video.still(&picture, visible, now) {
            self.report_picture(failed);
        }
    }

    /// Tells which page the class sees, or why it sees none.
    fn report_picture(&self, failed: Option<String>) {
        let Some(on) = &self.on else { return };
        let picture = on.shown.picture;
        if let Some(notes) = &on.notes {
            let (page, pages) = (picture + 1, notes.len());
            let is_black = on.is_black || failed.is_some();
            let notes = notes.get(picture).cloned().unwrap_or_default();
            self.send(CaptureEvent::Slide(SlidePosition { page, pages, is_black, notes }));
        }
        if let Some(cause) = failed {
            let what = if on.notes.is_some() { format!("page {}", picture + 1) } else { "the slate".into() };
            self.send(CaptureEvent::Warning(format!("{what} can't be shown, the picture is black: {cause}")));
        }
    }

    /// Pushes what is due of the sound.
    fn sound(&mut self, now: gst::ClockTime) {
        let Some(audio) = &mut self.audio else { return };
        let (playing, is_muted): (Option<(&mut Playing, gst::ClockTime)>, bool) = match &mut self.on {
            Some(On { media: SceneMedia::Player(playing), base, paused: None, is_black, .. }) => {
                (Some((&mut **playing, *base)), *is_black)
            }
            _ => (None, false),
        };
        audio.run(now, playing, is_muted);
    }

    /// Reports once that a video has ended or failed.
    fn report_end(&mut self) {
        let has_sound = self.audio.is_some();
        let Some(on) = &mut self.on else { return };
        let SceneMedia::Player(playing) = &mut on.media else { return };
        if on.is_done {
            return;
        }
        let Shown { scene, number, .. } = on.shown;
        let event = match playing.error() {
            Some(cause) => CaptureEvent::Scene(SceneEvent::Failed { scene, number, cause }),
            None if playing.is_over(Track::Screen) && (!has_sound || playing.is_over(Track::Audio)) => {
                CaptureEvent::Scene(SceneEvent::Ended { number })
            }
            None => return,
        };
        // The lecture waits for this event, so try again if the queue is full.
        on.is_done = self.events.try_send(event).is_ok();
    }

    fn send(&self, event: CaptureEvent) {
        // If the queue is full or closed, nobody reads events, so drop this one.
        let _ = self.events.try_send(event);
    }
}

/// A frame that is due, with its time. The outer `None`: not yet; the inner one: a frame to drop.
type Due = Option<Option<(gst::Buffer, gst::ClockTime)>>;

/// Takes a frame of a video that began at `base`, if it is due.
fn due(playing: &mut Playing, base: gst::ClockTime, now: gst::ClockTime, limit: &mut RateLimit) -> Due {
    let running = playing.peek(Track::Screen)?;
    let time = base + running;
    if time > now + LEAD {
        return None;
    }
    let picture = playing.take(Track::Screen)?;
    let is_late = time + LATE < now && playing.peek(Track::Screen).is_some();
    Some((limit.takes(running) && !is_late).then_some((picture, time)))
}

/// Closes a scene on a thread of its own, because a decoder may take some time to stop.
fn close(media: SceneMedia) {
    // Without a thread, the scene closes here.
    let _ = std::thread::Builder::new().name("scene-close".into()).spawn(move || drop(media));
}
