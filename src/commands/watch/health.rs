//! How it goes: what a student tells of its numbers and its troubles.

use tokio::time::Instant;

use super::Student;
use super::diagnosis::Told;
use crate::report::Event;
use crate::rtp::Track;

impl Student<'_> {
    /// Once a second: the numbers, and what is suffered from.
    pub(super) fn tell(&mut self) {
        let link = self.link.as_ref().map(|attempt| attempt.link.stats()).unwrap_or_default();
        let Some(step) = self.screen.with(|render| self.meter.step(render, link)) else { return };
        if self.link.as_ref().is_some_and(|attempt| attempt.answered) && self.course.is_live() {
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
            self.course.media(Instant::now());
        }
    }

    /// Other pictures are sent from now on.
    pub(super) fn on_told(&mut self, told: Told) {
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

    /// The link is gone, and all that was known of it.
    pub(super) fn forget_link(&mut self) {
        self.told = None;
        self.expect_pictures();
        for event in self.diagnosis.forget() {
            self.reporter.event(&event);
        }
    }

    /// Where the hub sends no picture, there is no freeze.
    pub(super) fn expect_pictures(&self) {
        let sends = |track| self.told.is_none_or(|told| told.sends(track));
        self.screen.with(|render| {
            for format in &self.formats {
                render.expect(format.track, sends(format.track));
            }
        });
    }
}
