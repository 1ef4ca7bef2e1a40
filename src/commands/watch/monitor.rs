//! Once a second: statistics, silence, troubles, and suspensions of this process.

use std::time::Duration;

use tokio::time::Instant;

use super::Session;
use super::diagnosis::TierReport;
use crate::commands::source_monitor::has_stopped;
use crate::report::Event;
use crate::rtp::Track;

/// After this many seconds without any packet, ask the server whether it is still there. Audio comes fifty times a
/// second, so a lecture is never silent by itself.
const PROBE_AFTER: u32 = 2;

/// The shortest suspension that is reported.
const REPORTED_PAUSE: Duration = Duration::from_secs(1);

/// How long after a suspension a disturbed connection means nothing.
const AFTER_PAUSE: Duration = Duration::from_secs(5);

impl Session<'_> {
    /// Checks whether this process has just been suspended. The time of a suspension counts neither as silence nor as
    /// waiting time, and is no sign of a slow computer.
    pub(super) fn check_for_pause(&mut self) {
        let Some(pause) = self.heart.newest_pause().filter(|pause| self.last_pause != Some(*pause)) else { return };
        self.last_pause = Some(pause);
        self.lesson.paused(pause.to - pause.from);
        self.diagnosis.paused();
        self.screen.with(|render| render.note_suspension(pause.from, pause.to));
        self.speakers.each_render(|render| render.note_suspension(pause.from, pause.to));
        if pause.lasted >= REPORTED_PAUSE {
            let seconds = pause.lasted.as_secs_f32();
            self.reporter.notice(format!("this computer was suspended for {seconds:.1} s; the lecture continues"));
        }
    }

    /// Whether a suspension has ended within the last seconds.
    pub(super) fn has_just_paused(&self) -> bool {
        self.last_pause.is_some_and(|pause| pause.to.elapsed() < AFTER_PAUSE)
    }

    pub(super) fn on_second(&mut self) {
        self.check_for_pause();
        self.speakers.on_second(Instant::now());
        if !self.lesson.is_connected() {
            self.report_relays();
        }
        let viewer = self.connection.as_ref().map(|connection| connection.viewer.stats()).unwrap_or_default();
        let Some(last) = self.screen.with(|render| self.stats.step(render, viewer)) else { return };
        if last.tracks.iter().any(|track| track.packets > 0) {
            self.silent_seconds = 0;
            self.lesson.packets_received(Instant::now());
        } else {
            self.silent_seconds += 1;
            // A broken path breaks signalling, too. Find that out before the path works again.
            if self.silent_seconds >= PROBE_AFTER && self.lesson.is_live() {
                self.signalling.probe();
            }
        }
        // If all sources have stopped, silence is no trouble.
        let is_expected = self.formats.iter().any(|format| !has_stopped(self.stopped, format.track));
        let is_answered = self.connection.as_ref().is_some_and(|connection| connection.answered);
        if is_answered && self.lesson.is_live() && is_expected && !self.is_break {
            for event in self.diagnosis.second(&last.tracks, last.nacked) {
                self.reporter.event(&event);
            }
        }
        self.viewing.second(&last.stats);
        let mut has_picture = false;
        for stats in last.stats {
            has_picture |= stats.fps > 0.0;
            self.reporter.event(&Event::WatchStats(stats));
        }
        // The last pictures of a teacher who has left still come out of the jitter buffer.
        if self.is_break && self.silent_seconds == PROBE_AFTER {
            self.reporter.status("waiting for a teacher");
        }
        if has_picture {
            if !self.is_break {
                self.show_message(None);
            }
            self.lesson.picture_shown(Instant::now());
        }
    }

    /// The SFU sends other tiers from now on.
    pub(super) fn on_tier_report(&mut self, tiers: TierReport) {
        self.check_for_pause();
        let before = self.tiers.replace(tiers);
        self.expect_pictures();
        for track in [Track::Screen, Track::Camera] {
            if tiers.has_low(track) && !before.is_some_and(|before| before.has_low(track)) {
                self.screen.with(|render| render.expect_fewer(track));
            }
        }
        for event in self.diagnosis.tiers(&tiers) {
            self.reporter.event(&event);
        }
    }
}
