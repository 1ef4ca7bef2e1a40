//! The reports on a lecture: statistics once a second, sources that stopped, attendance, the summary.

use std::future::Future;
use std::time::{Duration, Instant};

use super::Lecture;
use crate::commands::stop::Stop;
use crate::commands::teach::attendance::Now;
use crate::commands::teach::attendance_file::AttendanceWriter;
use crate::commands::teach::inputs::Inputs;
use crate::commands::teach::stats::{self, LastSecond};
use crate::exit::Failure;
use crate::protocol::ClientMessage;
use crate::report::{EndReason, Event, HostKind};
use crate::rtp::Track;
use crate::sfu::{Queue, SfuStats};

/// How long the end of a lecture waits for the SFU's last statistics.
const LAST_STATS_WITHIN: Duration = Duration::from_secs(1);

impl Lecture<'_> {
    /// Reports the statistics of the last second, and sources that stopped or came back.
    pub(super) async fn on_second<S: Future<Output = Stop>>(
        &mut self,
        inputs: &mut Inputs<'_, S>,
    ) -> Option<EndReason> {
        self.check_sources();
        if let Some(reason) = self.check_class(Instant::now()) {
            return Some(reason);
        }
        self.talk.ask_viewing(self.attendance.due_reports(Now::read()), &self.sfu);
        for user in self.waiting.expired(Instant::now()) {
            self.reject_waiting(user);
        }
        if self.orders_due.take_if(|due| Instant::now() >= *due).is_some() {
            let orders = self.talk.membership().orders_after_restart();
            orders.into_iter().for_each(|order| self.send(ClientMessage::Order(order)));
        }
        // An SFU that does not answer must not keep the teacher from stopping.
        match inputs.unless_stopped(self.sfu.stats()).await {
            Ok(Some(sfu_stats)) => self.report_second(&sfu_stats, inputs.sfu_queue()),
            Ok(None) => {}
            Err(stop) => return Some(stop.reason()),
        }
        None
    }

    fn check_sources(&mut self) {
        let changed = self.sources.second(self.source.frame_counts().into_iter());
        self.report_sources(&changed);
    }

    /// Reports the sources that have stopped or resumed.
    pub(super) fn report_sources(&mut self, changed: &[(Track, bool)]) {
        for (track, stopped) in changed {
            self.reporter.event(&Event::Source { track: *track, state: (*stopped).into() });
        }
        // A source that nobody has sent yet begins without a report.
        self.talk.sources_stopped(self.sources.stopped(), &self.sfu);
    }

    fn report_second(&mut self, sfu_stats: &SfuStats, event_queue: Queue) {
        let now = Now::read();
        self.source.count(sfu_stats);
        self.talk.edges().tell_encodings(self.source.encodings(), &self.sfu);
        if let Some(ingest) = &sfu_stats.ingest {
            self.whip.hears(&ingest.silent_sessions);
        }
        self.record_attendance(now, sfu_stats);
        let duration = self.attendance.duration(now);
        let LastSecond { mut stats, mut metrics, dropped } = self.rates.step(sfu_stats, &self.source, duration);
        let [commands, frames] = self.sfu.queues();
        metrics.queues = stats::queues(&[commands, frames, event_queue]);
        metrics.whip = self.whip_out.count(HostKind::Whip);
        self.metrics.set_lecture(metrics);
        stats.stage = self.talk.rules().stage().speakers.into_iter().map(|speaker| speaker.user_id).collect();
        stats.whip = self.whip_out.count(HostKind::Whip);
        stats.janus = self.whip_out.count(HostKind::Janus);
        self.reporter.event(&Event::TeachStats(stats));
        if dropped > 0 {
            self.reporter.warn(format!(
                "dropped {dropped} frames in the last second, because this computer or its network is too slow: lower \
                 --bitrate, use a cable instead of Wi-Fi, or raise --workers"
            ));
        }
        self.write_attendance(now);
    }

    fn record_attendance(&mut self, now: Now, sfu_stats: &SfuStats) {
        self.talk.take_actions().iter().for_each(|action| self.attendance.count(now, action));
        self.attendance.sample(now, sfu_stats.bytes, &sfu_stats.peers);
    }

    pub(super) fn write_attendance(&mut self, now: Now) {
        if let Some(writer) = &mut self.attendance_writer {
            writer.write_if_due(now, &mut self.attendance);
        }
    }

    /// After the end of the lecture, for whatever reason: reports the summary and completes the attendance file.
    pub(in crate::commands::teach) async fn conclude(&mut self) -> Result<(), Failure> {
        self.metrics.set_ending();
        // If the SFU does not answer, the statistics of a second ago count.
        let sfu_stats = tokio::time::timeout(LAST_STATS_WITHIN, self.sfu.stats()).await.ok().flatten();
        let now = Now::read();
        if let Some(sfu_stats) = sfu_stats {
            self.record_attendance(now, &sfu_stats);
        }
        self.attendance.close(now);
        let mut summary = self.attendance.summary(now);
        summary.attendance = self.attendance_writer.as_ref().map(AttendanceWriter::name);
        let written = match self.attendance_writer.take() {
            Some(writer) => writer.finish(now, &self.attendance).await,
            None => Ok(()),
        };
        if written.is_err() {
            summary.attendance = None;
        }
        self.reporter.event(&Event::Summary(summary));
        written
    }
}
