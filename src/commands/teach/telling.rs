//! What a lecture tells of itself: its numbers once a second, and at its end what is left of it.

use std::time::Duration;

use super::Lecture;
use super::keeper::Keeper;
use super::numbers::{self, Rates, Second};
use super::register::Now;
use crate::exit::Failure;
use crate::report::Event;
use crate::sfu::{Queue, SfuStats};

/// How long the SFU may take to tell its last numbers.
const LAST_NUMBERS_WITHIN: Duration = Duration::from_secs(1);

impl Lecture<'_> {
    /// Once a second: the numbers for people, scripts and a monitoring system, and what students got.
    pub(super) fn tell(&mut self, numbers: &SfuStats, rates: &mut Rates, waiting_events: Queue) {
        let now = Now::read();
        self.note(now, numbers);
        let Second { stats, mut metrics, left_out } = rates.step(numbers, &self.capture, self.register.lasted(now));
        let [commands, frames] = self.sfu.queues();
        metrics.queues = numbers::queues(&[commands, frames, waiting_events]);
        self.meters.lecture(metrics);
        self.reporter.event(&Event::TeachStats(stats));
        if left_out > 0 {
            self.reporter.warn(format!(
                "{left_out} frames were left out in the last second, because this computer or its network did not keep up: \
                 lower --bitrate, use a wire, or more --workers"
            ));
        }
        if let Some(keeper) = &mut self.keeper {
            keeper.keep(now, &mut self.register);
        }
    }

    /// Enters into the register what students got and did.
    fn note(&mut self, now: Now, numbers: &SfuStats) {
        self.talk.take_deeds().iter().for_each(|deed| self.register.note(deed));
        self.register.sample(now, numbers.bytes, &numbers.peers);
    }

    /// The lecture is over, however it ended: says what is left of it, and completes the attendance file.
    pub(super) async fn conclude(&mut self) -> Result<(), Failure> {
        // An SFU that does not answer any more has told what it did a second ago.
        let numbers = tokio::time::timeout(LAST_NUMBERS_WITHIN, self.sfu.stats()).await.ok().flatten();
        let now = Now::read();
        if let Some(numbers) = numbers {
            self.note(now, &numbers);
        }
        self.register.close(now);
        let mut summary = self.register.summary(now);
        summary.attendance = self.keeper.as_ref().map(Keeper::name);
        let written = match self.keeper.take() {
            Some(keeper) => keeper.finish(now, &self.register).await,
            None => Ok(()),
        };
        if written.is_err() {
            summary.attendance = None;
        }
        self.reporter.event(&Event::Summary(summary));
        written
    }
}
