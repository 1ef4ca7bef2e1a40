//! How it goes: what a student tells of its numbers and its troubles.

use std::time::Duration;

use tokio::time::Instant;

use super::Student;
use super::diagnosis::Told;
use crate::commands::sources::has_stopped;
use crate::protocol::channel::Stopped;
use crate::report::Event;
use crate::rtp::Track;

/// Seconds without any packet, after which the server is asked whether it is still there. Media of a lecture never
/// pauses: sound comes fifty times a second.
const DOUBT_AFTER: u32 = 2;
/// A pause of this process that is worth a word.
const WORTH_A_WORD: Duration = Duration::from_secs(1);

/// After a pause the connection may look disturbed for so long.
const JUST: Duration = Duration::from_secs(5);

impl Student<'_> {
    /// Whether this process stood still just now: then what looks like a bad line or a bad computer is none.
    pub(super) fn look_for_pause(&mut self) {
        let Some(pause) = self.heart.newest_pause().filter(|pause| self.paused != Some(*pause)) else { return };
        self.paused = Some(pause);
        self.course.stood_still(pause.to - pause.from);
        self.diagnosis.stood_still();
        self.screen.with(|render| render.note_suspension(pause.from, pause.to));
        if pause.lasted >= WORTH_A_WORD {
            let seconds = pause.lasted.as_secs_f32();
            self.reporter.notice(format!("this computer stood still for {seconds:.1} s; the lecture goes on"));
        }
    }

    /// Whether that was a moment ago.
    pub(super) fn has_just_paused(&self) -> bool {
        self.paused.is_some_and(|pause| pause.to.elapsed() < JUST)
    }

    /// Once a second: the numbers, and what is suffered from.
    pub(super) fn tell(&mut self) {
        self.look_for_pause();
        let link = self.link.as_ref().map(|attempt| attempt.link.stats()).unwrap_or_default();
        let Some(step) = self.screen.with(|render| self.meter.step(render, link)) else { return };
        if step.seconds.iter().any(|second| second.packets > 0) {
            self.silent_seconds = 0;
            self.course.heard(Instant::now());
        } else {
            self.silent_seconds += 1;
            // A dead line breaks signalling too, which must be known before the line works again.
            if self.silent_seconds >= DOUBT_AFTER && self.course.is_live() {
                self.signalling.probe();
            }
        }
        // Where nothing is left to be sent, silence is no trouble.
        let is_expected = self.formats.iter().any(|format| !has_stopped(self.stopped, format.track));
        if self.link.as_ref().is_some_and(|attempt| attempt.answered) && self.course.is_live() && is_expected {
            for event in self.diagnosis.second(&step.seconds, step.asked) {
                self.reporter.event(&event);
            }
        }
        let mut moved = false;
        for numbers in step.stats {
            moved |= numbers.fps > 0.0;
            self.reporter.event(&Event::WatchStats(numbers));
        }
        if moved {
            self.say_over_picture(None);
            self.course.media(Instant::now());
        }
    }

    /// Other pictures are sent from now on.
    pub(super) fn on_told(&mut self, told: Told) {
        self.look_for_pause();
        let before = self.told.replace(told);
        self.expect_pictures();
        for track in [Track::Screen, Track::Camera] {
            if told.has_low(track) && !before.is_some_and(|before| before.has_low(track)) {
                self.screen.with(|render| render.expect_fewer(track));
            }
        }
        for event in self.diagnosis.told(&told) {
            self.reporter.event(&event);
        }
    }

    /// Other sources have stopped than before: their pictures are taken off the window, or shown again.
    pub(super) fn on_stopped(&mut self, stopped: Stopped) {
        let before = std::mem::replace(&mut self.stopped, stopped);
        for format in &self.formats {
            let (was, is) = (has_stopped(before, format.track), has_stopped(stopped, format.track));
            if was != is {
                self.reporter.event(&Event::Source { track: format.track, state: is.into() });
            }
        }
        self.expect_pictures();
    }

    /// The link is gone, and all that was known of it.
    pub(super) fn forget_link(&mut self) {
        self.told = None;
        self.expect_pictures();
        for event in self.diagnosis.forget() {
            self.reporter.event(&event);
        }
    }

    /// Tells the render which pictures the publisher withholds, or has none of.
    pub(super) fn expect_pictures(&self) {
        let sends = |track| !self.rests && self.told.is_none_or(|told| told.sends(track));
        self.screen.with(|render| {
            for format in &self.formats {
                let stopped = has_stopped(self.stopped, format.track);
                render.expect(format.track, sends(format.track) && !stopped);
                render.show(format.track, !stopped);
            }
        });
    }
}
