//! Plays a list of files into the teaching pipeline, one after another.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;
use tokio::sync::mpsc;

use super::feed::TrackFeeder;
use super::player::Player;
use super::timeline::{POLL_INTERVAL, Playback, Progress};
use crate::media::error::MediaError;
use crate::media::options::{CaptureEvent, FileList, Size};
use crate::rtp::Track;

/// How long before the end of a file the next one is opened. A slower file leaves a gap.
const OPEN_AHEAD: gst::ClockTime = gst::ClockTime::from_seconds(5);

/// Warn if a file ends this much earlier than announced.
const MIN_MISSING: gst::ClockTime = gst::ClockTime::from_seconds(2);

/// The files to play, and how.
#[derive(Debug)]
pub(in crate::media) struct PlaylistConfig {
    pub list: FileList,
    /// The pipeline text of each file.
    pub pipelines: Vec<String>,
    /// The tracks of all files together.
    pub tracks: Vec<Track>,
    /// The size of all video frames.
    pub canvas: Option<Size>,
    /// Frames per second, at most.
    pub fps: u32,
}

/// A running playlist. Stop the teaching pipeline before dropping this, so that no push blocks.
pub(in crate::media) struct Playlist {
    stopping: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Playlist {
    /// Plays into the appsrcs `file-screen` and `file-audio` of a running pipeline.
    pub(in crate::media) fn start(
        config: PlaylistConfig,
        pipeline: &gst::Pipeline,
        events: mpsc::Sender<CaptureEvent>,
    ) -> Result<Self, MediaError> {
        let stopping = Arc::<AtomicBool>::default();
        let inputs: Vec<TrackFeeder> = (config.tracks.iter().enumerate())
            .filter_map(|(track_index, track)| {
                let source = pipeline.by_name(&format!("file-{track}"))?.downcast::<gst_app::AppSrc>().ok()?;
                let (canvas, fps) = (config.canvas, config.fps);
                Some(TrackFeeder { track_index, track: *track, source, canvas, fps, has_begun: AtomicBool::new(false) })
            })
            .collect();
        let show = PlaylistThread { config, inputs, pipeline: pipeline.clone(), events, stopping: stopping.clone() };
        let thread = std::thread::Builder::new().name("playlist".into()).spawn(move || show.run());
        let failed =
            |error: std::io::Error| MediaError::Pipeline { pipeline: "playlist".into(), cause: error.to_string() };
        Ok(Self { stopping, thread: Some(thread.map_err(failed)?) })
    }

    /// Ends the playback as soon as the teaching pipeline stops too.
    pub(in crate::media) fn stop(&self) {
        self.stopping.store(true, Ordering::SeqCst);
    }
}

impl Drop for Playlist {
    fn drop(&mut self) {
        self.stop();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A file that was opened before its turn.
type Preopened = Option<(usize, Result<Player, String>)>;

/// The state of the playlist's thread.
struct PlaylistThread {
    config: PlaylistConfig,
    inputs: Vec<TrackFeeder>,
    pipeline: gst::Pipeline,
    events: mpsc::Sender<CaptureEvent>,
    stopping: Arc<AtomicBool>,
}

impl PlaylistThread {
    fn run(&self) {
        let (of, mut index) = (self.config.pipelines.len(), 0);
        let (mut base, mut next): (gst::ClockTime, Preopened) = (gst::ClockTime::ZERO, None);
        let (mut rounds, mut broken) = (0, 0);
        while !self.is_stopping() {
            let player = match next.take() {
                Some((at, player)) if at == index => player,
                _ => self.open(index),
            };
            let broke = match player {
                Err(cause) => Some(cause),
                Ok(player) => {
                    // Report a single repeated file only once.
                    if of > 1 || rounds == 0 {
                        self.send(CaptureEvent::Playing { path: self.path(index), index: index + 1, of });
                    }
                    // After a gap, skip to the current time. Late frames would be played in a rush.
                    base = base.max(self.pipeline.current_running_time().unwrap_or(base));
                    let (end, broke) = self.play(index, player, base, &mut next);
                    base = end;
                    broke
                }
            };
            if self.is_stopping() {
                return;
            }
            match broke {
                None => broken = 0,
                Some(cause) => {
                    broken += 1;
                    // All files in a row have failed: nothing is left to play.
                    if broken >= of {
                        return self.send(CaptureEvent::Error(self.config.list.error(index, cause)));
                    }
                    let (path, number) = (self.path(index), index + 1);
                    self.warn(format!("{}, {number} of {of}, is skipped: {cause}", path.display()));
                }
            }
            match self.after(index) {
                Some(following) => index = following,
                None => break,
            }
            rounds += usize::from(index == 0);
        }
        for input in &self.inputs {
            // This fails only while the pipeline stops.
            let _ = input.source.end_of_stream();
        }
    }

    fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::SeqCst)
    }

    fn path(&self, index: usize) -> PathBuf {
        self.config.list.paths[index].clone()
    }

    fn open(&self, index: usize) -> Result<Player, String> {
        Player::open(&self.config.list.paths[index], &self.config.pipelines[index])
    }

    /// The index of the following file.
    fn after(&self, index: usize) -> Option<usize> {
        match index + 1 {
            next if next < self.config.pipelines.len() => Some(next),
            _ => self.config.list.repeat.then_some(0),
        }
    }

    /// Plays a file from `base` on. Returns its end, and why it broke if it did.
    fn play(
        &self,
        index: usize,
        player: Player,
        base: gst::ClockTime,
        next: &mut Preopened,
    ) -> (gst::ClockTime, Option<String>) {
        let playback = Playback::new(base, self.inputs.len());
        let duration = player.duration();
        let still = self.config.list.still_length().and_then(|still| gst::ClockTime::try_from(still).ok());
        let is_silent = player.sink(Track::Audio).is_none();
        let mut broke = None;
        std::thread::scope(|scope| {
            for input in &self.inputs {
                let (playback, sink) = (&playback, player.sink(input.track));
                let feed = move || input.feed(playback, sink, is_silent.then_some(still));
                let name = format!("file-{}", input.track);
                if let Err(error) = std::thread::Builder::new().name(name).spawn_scoped(scope, feed) {
                    broke = Some(error.to_string());
                    playback.give_up();
                }
            }
            while !playback.is_over() {
                if self.is_stopping() {
                    playback.give_up();
                } else if let Some(cause) = player.error(POLL_INTERVAL) {
                    broke = Some(cause);
                    playback.give_up();
                } else if next.is_none()
                    && is_near_end(&playback.progress(), base, duration)
                    && let Some(following) = self.after(index)
                {
                    *next = Some((following, self.open(following)));
                }
            }
        });
        let end = playback.progress().furthest();
        if let (None, Some(duration)) = (&broke, duration)
            && !playback.is_given_up()
            && end.saturating_sub(base) + MIN_MISSING < duration
        {
            let (played, path) = (end.saturating_sub(base).seconds(), self.path(index));
            let all = duration.seconds();
            self.warn(format!("{} ends after {played} s of {all} s: is the file complete?", path.display()));
        }
        (end, broke)
    }

    fn warn(&self, sentence: String) {
        self.send(CaptureEvent::Warning(sentence));
    }

    fn send(&self, event: CaptureEvent) {
        // If the queue is full or closed, nobody reads events, so drop this one.
        let _ = self.events.try_send(event);
    }
}

/// Whether a file that started at `base` ends soon, or nobody knows.
fn is_near_end(progress: &Progress, base: gst::ClockTime, duration: Option<gst::ClockTime>) -> bool {
    let end = match (progress.least_end(), duration) {
        // A still image that stays for ever.
        (None, _) => return false,
        (Some(least), _) if least > base => least,
        (Some(_), Some(duration)) => base + duration,
        (Some(_), None) => return true,
    };
    progress.furthest() + OPEN_AHEAD >= end
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_file_opens_near_the_end_of_the_current_one() {
        let seconds = gst::ClockTime::from_seconds;
        let mut progress = Progress::new(seconds(100), 1);
        progress.fed(0, seconds(110));
        assert!(!is_near_end(&progress, seconds(100), Some(seconds(20))));
        assert!(is_near_end(&progress, seconds(100), Some(seconds(15))));
        assert!(is_near_end(&progress, seconds(100), None), "nobody knows");
        progress.set_still(Some(seconds(30)));
        assert!(!is_near_end(&progress, seconds(100), None));
        progress.set_still(None);
        assert!(!is_near_end(&progress, seconds(100), Some(seconds(0))));
    }
}
