//! A scene that runs, or is about to run.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use gstreamer as gst;

use super::slate;
use crate::media::file::Player;
use crate::media::options::Size;
use crate::media::slides::Pages;
use crate::rtp::Track;

/// How long to wait for the picture of a file that has been opened.
const PULL: gst::ClockTime = gst::ClockTime::from_seconds(5);

/// How to open a scene.
#[derive(Clone)]
pub(super) enum Opener {
    /// Pages of a document, which is open all the time, with the speaker notes of each page.
    Slides(Arc<Pages>, Arc<[String]>),
    Slate {
        text: String,
        countdown: bool,
    },
    Video {
        path: PathBuf,
        pipeline: String,
    },
    Image {
        path: PathBuf,
        pipeline: String,
    },
    Test {
        pipeline: String,
    },
}

/// An opened scene.
pub(super) enum SceneMedia {
    /// Pictures by index, drawn when they are wanted.
    Pages(Arc<Pages>),
    Still(gst::Buffer),
    Player(Box<Playing>),
}

/// A file that plays.
pub(super) struct Playing {
    player: Player,
    /// The next frame and the next block of audio, with their running times.
    video: Option<(gst::Buffer, gst::ClockTime)>,
    audio: Option<(gst::Buffer, gst::ClockTime)>,
}

impl Opener {
    /// Opens the scene. Blocks. The error is the cause, for the user.
    pub(super) fn open(self, size: Size, from: Duration) -> Result<SceneMedia, String> {
        match self {
            Self::Slides(pages, _) => Ok(SceneMedia::Pages(pages)),
            Self::Slate { text, countdown } => {
                // As many pages as a countdown has seconds: a day.
                let (count, bytes) = (24 * 3600 + 1, size.pixels() as usize * 3 / 2);
                let pages = Pages::start(count, bytes, slate::draw(text, countdown, size), || ())?;
                Ok(SceneMedia::Pages(Arc::new(pages)))
            }
            Self::Video { path, pipeline } => {
                let player = Player::open_at(&path, &pipeline, from)?;
                Ok(SceneMedia::Player(Box::new(Playing { player, video: None, audio: None })))
            }
            Self::Image { path, pipeline } => {
                let player = Player::open(&path, &pipeline)?;
                let sink = player.sink(Track::Screen).ok_or("it has no picture")?;
                let picture = sink.try_pull_sample(PULL).and_then(|sample| sample.buffer_owned());
                Ok(SceneMedia::Still(picture.ok_or("it has no picture")?))
            }
            Self::Test { pipeline } => {
                let player = Player::of_pipeline(&pipeline)?;
                Ok(SceneMedia::Player(Box::new(Playing { player, video: None, audio: None })))
            }
        }
    }
}

impl SceneMedia {
    /// The picture of this index; of a video the first one. `None`: not yet.
    pub(super) fn first(&mut self, picture: usize) -> Option<Result<(), String>> {
        match self {
            Self::Pages(pages) => pages.get(picture).map(|_| Ok(())),
            Self::Still(_) => Some(Ok(())),
            Self::Player(playing) => {
                if let Some(cause) = playing.player.error(Duration::ZERO) {
                    return Some(Err(cause));
                }
                // A video that is resumed at its end has no picture, and ends at once.
                (playing.peek(Track::Screen).is_some() || playing.has_ended()).then_some(Ok(()))
            }
        }
    }
}

impl Playing {
    /// The running time of the next frame or block; `None` if it is not there yet, or never will be.
    pub(super) fn peek(&mut self, track: Track) -> Option<gst::ClockTime> {
        let sink = self.player.sink(track);
        let next = if track.is_video() { &mut self.video } else { &mut self.audio };
        while next.is_none() {
            let sample = sink?.try_pull_sample(gst::ClockTime::ZERO)?;
            let segment = sample.segment().and_then(|segment| segment.downcast_ref::<gst::ClockTime>()).cloned();
            let Some(buffer) = sample.buffer_owned() else { continue };
            // Players skip what lies before the start of the segment.
            let time = buffer.pts().zip(segment).and_then(|(pts, segment)| segment.to_running_time(pts));
            *next = time.map(|time| (buffer, time));
        }
        next.as_ref().map(|(_, time)| *time)
    }

    /// Takes the frame or block that was peeked.
    pub(super) fn take(&mut self, track: Track) -> Option<gst::Buffer> {
        let next = if track.is_video() { &mut self.video } else { &mut self.audio };
        next.take().map(|(buffer, _)| buffer)
    }

    /// Whether nothing more comes of a track.
    pub(super) fn is_over(&self, track: Track) -> bool {
        let waiting = if track.is_video() { &self.video } else { &self.audio };
        waiting.is_none() && self.player.sink(track).is_none_or(gstreamer_app::AppSink::is_eos)
    }

    /// Whether all of it has been taken.
    pub(super) fn has_ended(&self) -> bool {
        self.is_over(Track::Screen) && self.is_over(Track::Audio)
    }

    /// Why the file broke, if it did.
    pub(super) fn error(&self) -> Option<String> {
        self.player.error(Duration::ZERO)
    }
}
