//! A running lecture: reacts to the SFU, signalling, the capture and the teacher, and reports once a second.

use std::future::Future;
use std::time::{Duration, Instant};

use super::attendance::{Attendance, Now};
use super::attendance_file::{AttendanceFile, AttendanceWriter};
use super::ending::can_ask;
use super::inputs::{Input, Inputs};
use super::source::Source;
use super::stats::{self, LastSecond, Rates};
use super::student_states::StudentStates;
use super::talk::TeacherTalk;
use super::throttled_lines::ThrottledLines;
use super::whip_session::{ForSfu, WhipClient};
use crate::cli::Teach;
use crate::commands::metrics::MetricsStore;
use crate::commands::negotiation::{candidate_init, refusal_code, rejection};
use crate::commands::signal_failure;
use crate::commands::source_monitor::SourceMonitor;
use crate::commands::stop::Stop;
use crate::commands::waiting_offers::WaitingOffers;
use crate::commands::whip_in::WhipRequest;
use crate::exit::Failure;
use crate::id::UserId;
use crate::media::CaptureEvent;
use crate::protocol::{ClientMessage, ErrorCode, LeaveReason, RoomSettings, ServerMessage, User};
use crate::report::{EndReason, Event, Reporter, StudentState};
use crate::rtp::Track;
use crate::sfu::{Departure, OfferRefusal, Queue, Sfu, SfuEvent, SfuStats};
use crate::signal::{Client, Goodbye, SignalEvent};

/// How long the end of a lecture waits for the SFU's last statistics.
const LAST_STATS_WITHIN: Duration = Duration::from_secs(1);

/// The time from the teacher's return to the repeated orders, which a restarted server lacks. Students come back within
/// a second ([`Client`]), and a lock or a new code must not keep them out.
const CLASS_IS_BACK_AFTER: Duration = Duration::from_secs(5);

/// The parts of a lecture, and the teacher's settings for its room.
pub(super) struct LectureParts {
    pub(super) sfu: Sfu,
    pub(super) client: Client,
    pub(super) source: Source,
    pub(super) settings: RoomSettings,
}

/// A running lecture.
pub(super) struct Lecture<'a> {
    pub(super) sfu: Sfu,
    pub(super) client: Client,
    pub(super) source: Source,
    /// How to leave the room at the end.
    pub(super) goodbye: Goodbye,
    teach: &'a Teach,
    reporter: &'a Reporter,
    sources: SourceMonitor,
    whip: WhipClient,
    /// Offers of students that came before the encoder.
    waiting: WaitingOffers,
    students: StudentStates,
    talk: TeacherTalk,
    attendance: Attendance,
    attendance_writer: Option<AttendanceWriter>,
    rates: Rates,
    metrics: MetricsStore,
    /// Whether the teacher has read that the server is lost.
    has_lost_server: bool,
    /// Lines about refused offers, and about errors that the server reports.
    refusals: ThrottledLines,
    server_errors: ThrottledLines,
    /// The time to repeat the orders for a restarted server.
    orders_due: Option<Instant>,
}

impl<'a> Lecture<'a> {
    /// A lecture that starts now.
    pub(super) fn new(
        teach: &'a Teach,
        reporter: &'a Reporter,
        parts: LectureParts,
        attendance_file: Option<AttendanceFile>,
        metrics: MetricsStore,
    ) -> Self {
        let LectureParts { sfu, client, source, settings } = parts;
        let talk = TeacherTalk::new(teach.user.clone(), teach.nickname.clone(), teach.allowed, settings, &sfu);
        Self {
            sfu,
            client,
            source,
            goodbye: if teach.end_class { Goodbye::LectureOver } else { Goodbye::Leave },
            teach,
            reporter,
            sources: SourceMonitor::default(),
            whip: WhipClient::default(),
            waiting: WaitingOffers::default(),
            students: StudentStates::default(),
            talk,
            attendance: Attendance::new(Now::read()),
            attendance_writer: attendance_file.map(|file| AttendanceWriter::start(file, reporter)),
            rates: Rates::default(),
            metrics,
            has_lost_server: false,
            refusals: ThrottledLines::default(),
            server_errors: ThrottledLines::default(),
            orders_due: None,
        }
    }

    /// Handles inputs until one of them ends the lecture.
    pub(super) async fn run<S: Future<Output = Stop>>(
        &mut self,
        mut inputs: Inputs<'_, S>,
    ) -> Result<EndReason, Failure> {
        self.write_attendance(Now::read());
        loop {
            let ended = match inputs.next(self.talk.next_tick()).await {
                Input::Stop(stop) => self.on_stop(stop, &mut inputs),
                Input::Answer(goodbye) => {
                    self.goodbye = goodbye;
                    Some(EndReason::Interrupted)
                }
                Input::Sfu(event) => {
                    self.on_sfu(event);
                    None
                }
                Input::SfuEnded => return Err(Failure::internal(anyhow::anyhow!("the SFU has ended"))),
                Input::Signal(event) => {
                    self.on_signal(event)?;
                    None
                }
                Input::Capture(event) => self.on_capture(event)?,
                Input::Whip(request) => {
                    self.on_whip(request);
                    None
                }
                Input::Line(line) => {
                    if let Some(order) = self.talk.typed(&line, &self.sfu, self.reporter) {
                        self.send(ClientMessage::Order(order));
                    }
                    None
                }
                Input::TalkTick => {
                    self.talk.tick(&self.sfu);
                    None
                }
                Input::Second => self.on_second(&mut inputs).await,
            };
            if let Some(reason) = ended {
                return Ok(reason);
            }
        }
    }

    /// Ends the lecture, or first asks the teacher whether the class ends too. The lecture goes on meanwhile.
    fn on_stop<S: Future<Output = Stop>>(&self, stop: Stop, inputs: &mut Inputs<'_, S>) -> Option<EndReason> {
        let is_open = stop == Stop::Interrupt && self.goodbye == Goodbye::Leave && !self.students.is_empty();
        let asks = is_open && can_ask(self.reporter) && inputs.ask(self.reporter);
        (!asks).then(|| stop.reason())
    }

    fn on_sfu(&mut self, event: SfuEvent) {
        let Some(event) = self.source.on_sfu(event) else { return self.offer_waiting() };
        let Some(event) = self.on_own_media(event) else { return };
        match event {
            SfuEvent::Answer { user, sdp } => self.send(ClientMessage::Answer { target_uid: user, sdp, source: None }),
            SfuEvent::Refused { user, why } => {
                let line = format!("refused {}: {why}", self.attendance.named(&user));
                self.refusals.line(line).into_iter().for_each(|line| self.reporter.detail(line));
                self.set_state(&user, StudentState::Refused);
                self.send(rejection(user, &why));
            }
            SfuEvent::Connected(user) => {
                self.attendance.connected(Now::read(), &user);
                self.set_state(&user, StudentState::Watching);
                // From now on nobody takes the student's place in a full room.
                self.send(ClientMessage::Connected { target_uid: user });
            }
            SfuEvent::Gone { user, why } => {
                self.attendance.disconnected(Now::read(), &user, why);
                if why == Departure::Failed {
                    self.reporter.warn(format!(
                        "the connection of {} failed because of a bug in this program; the student can connect again; \
                         please report the bug",
                        self.attendance.named(&user)
                    ));
                }
                let state = match why {
                    Departure::Left => StudentState::Left,
                    Departure::Lost
                    | Departure::NeverConnected
                    | Departure::Misbehaved
                    | Departure::OtherCodec
                    | Departure::Failed => StudentState::Lost,
                };
                self.set_state(&user, state);
                self.talk.disconnected(&user, &self.sfu, self.reporter);
                // The server drops this message if the student has left the room.
                self.send(ClientMessage::Hangup { target_uid: user, source: None });
            }
            SfuEvent::ChannelOpen(user) => self.talk.channel_opened(&user, &self.sfu),
            SfuEvent::Heard { user, text } => self.talk.received(&user, &text, &self.sfu, self.reporter),
            SfuEvent::Notice(sentence) => self.reporter.notice(sentence),
            // The source has handled these, and without a publisher there are no encodings to tell.
            SfuEvent::KeyFrameNeeded(_) | SfuEvent::Needed(..) | SfuEvent::Encodings(_) => {}
        }
    }

    /// Handles an event about the media that a WHIP client sends for this teacher. Returns an event of a student.
    fn on_own_media(&mut self, event: SfuEvent) -> Option<SfuEvent> {
        let user = match &event {
            SfuEvent::Answer { user, .. } | SfuEvent::Refused { user, .. } | SfuEvent::Gone { user, .. } => user,
            SfuEvent::Connected(user) | SfuEvent::ChannelOpen(user) | SfuEvent::Heard { user, .. } => user,
            _ => return Some(event),
        };
        if *user != self.teach.user {
            return Some(event);
        }
        match event {
            SfuEvent::Answer { sdp, .. } => self.whip.answered(sdp),
            SfuEvent::Refused { why, .. } => self.whip.refused(refusal_code(&why), &why),
            SfuEvent::Connected(_) => {
                if let Some(name) = self.whip.connected() {
                    self.reporter.notice(format!("{name} sends"));
                }
                self.source.set_live(true);
            }
            SfuEvent::Gone { why, .. } => {
                if let Some(name) = self.whip.gone() {
                    self.reporter.warn(format!("{name} sends no more ({why}): the students wait for it"));
                }
                self.end_sources();
            }
            _ => {}
        }
        None
    }

    /// Passes on the offers that have waited for the encoder, once it sends.
    fn offer_waiting(&mut self) {
        if !self.source.takes_students() {
            return;
        }
        for (user, offer) in self.waiting.take() {
            self.sfu.offer(user.clone(), offer.sdp, offer.video, offer.network);
            for candidate in offer.candidates {
                self.sfu.candidate(user.clone(), candidate_init(candidate));
            }
        }
    }

    fn reject_waiting(&self, user: UserId) {
        self.send(rejection(user, &OfferRefusal::NotLive));
    }

    fn on_whip(&mut self, request: WhipRequest) {
        match request {
            WhipRequest::Offer(offer) => {
                if let Some(ForSfu { sdp, tracks }) = self.whip.offer(offer) {
                    self.sfu.publish(self.teach.user.clone(), sdp, Some(tracks), None);
                }
            }
            WhipRequest::Candidate(session, candidate) => {
                if self.whip.is(session) {
                    self.sfu.candidate(self.teach.user.clone(), candidate_init(candidate));
                }
            }
            WhipRequest::End(session) => {
                if self.whip.ended(session) {
                    self.sfu.remove(self.teach.user.clone());
                    self.reporter.notice("the encoder has stopped: the students wait for it");
                    self.end_sources();
                }
            }
        }
    }

    /// The client's tracks have ended.
    fn end_sources(&mut self) {
        self.source.set_live(false);
        let tracks = self.source.tracks();
        let changed = self.sources.end(tracks.into_iter().map(|(track, _)| track));
        self.report_sources(&changed);
    }

    fn on_signal(&mut self, event: SignalEvent) -> Result<(), Failure> {
        match event {
            SignalEvent::Joined { users, .. } => {
                if std::mem::take(&mut self.has_lost_server) {
                    self.reporter.notice("the signalling server is back: new students can join again");
                }
                self.joined(&users);
                // A server that has restarted does not know whose media runs.
                for target_uid in self.students.watching() {
                    self.send(ClientMessage::Connected { target_uid });
                }
                self.orders_due = Some(Instant::now() + CLASS_IS_BACK_AFTER);
            }
            // The server never lets a teacher wait.
            SignalEvent::Waiting { .. } => {}
            SignalEvent::Lost { reason } => {
                self.has_lost_server = true;
                self.reporter.warn(format!(
                    "lost the signalling server ({reason}): the lecture goes on, but new students must wait; \
                     trying to reconnect"
                ));
            }
            SignalEvent::Message(message) => self.on_message(message),
            SignalEvent::Ended(error) => return Err(signal_failure(error)),
        }
        Ok(())
    }

    fn on_message(&mut self, message: ServerMessage) {
        match message {
            ServerMessage::Offer { user_id, sdp, video, network, .. } => {
                self.set_state(&user_id, StudentState::Connecting);
                if self.source.takes_students() {
                    self.sfu.offer(user_id, sdp, video, network);
                } else if !self.waiting.push(Instant::now(), user_id.clone(), sdp, video, network) {
                    self.reject_waiting(user_id);
                }
            }
            ServerMessage::Candidate { user_id, candidate, .. } => {
                if let Some(candidate) = self.waiting.add_candidate(&user_id, candidate) {
                    self.sfu.candidate(user_id, candidate_init(candidate));
                }
            }
            ServerMessage::Join { users } => self.joined(&users),
            ServerMessage::Leave { users, reason } => users.into_iter().for_each(|user| self.left(user, reason)),
            ServerMessage::Error { code, message, .. } => match code {
                // The answer was for a student who has left meanwhile.
                ErrorCode::UnknownTarget => {}
                _ => {
                    let line = format!("the server reports an error: {message}");
                    self.server_errors.line(line).into_iter().for_each(|line| self.reporter.warn(line));
                }
            },
            ServerMessage::Lobby { users, count } => self.talk.lobby_changed(users, count, self.reporter),
            ServerMessage::Order { user_id, order } => {
                self.attendance.ordered(&order);
                let nickname = |user: &UserId| self.attendance.nickname(user).into();
                self.talk.ordered(user_id, &order, nickname, self.reporter);
                self.client.set_room(self.talk.membership().after_restart());
            }
            ServerMessage::Joined { .. }
            | ServerMessage::Waiting { .. }
            | ServerMessage::RoomUserList { .. }
            | ServerMessage::Pong
            | ServerMessage::Answer { .. }
            | ServerMessage::MemberCount { .. }
            | ServerMessage::Hangup { .. } => {}
        }
    }

    fn joined(&mut self, users: &[User]) {
        for user in users.iter().filter(|user| user.user_id != self.teach.user) {
            self.talk.joined(user);
            self.attendance.joined(Now::read(), user);
            self.set_state(&user.user_id, StudentState::Joined);
        }
    }

    /// A user has left the room, as signalling sees it.
    fn left(&mut self, user: UserId, reason: LeaveReason) {
        let watches = self.students.get(&user) == Some(StudentState::Watching);
        // A student who lost signalling may still receive media. Then the SFU reports the end.
        let may_return = watches && !matches!(reason, LeaveReason::Left | LeaveReason::Removed);
        self.talk.left(&user, may_return, &self.sfu, self.reporter);
        self.attendance.left(Now::read(), &user, reason);
        self.waiting.remove(&user);
        match reason {
            LeaveReason::Left | LeaveReason::Removed => {
                self.sfu.remove(user.clone());
                self.set_state(&user, StudentState::Left);
            }
            LeaveReason::Lost if !watches => self.set_state(&user, StudentState::Lost),
            _ => {}
        }
    }

    fn on_capture(&mut self, event: CaptureEvent) -> Result<Option<EndReason>, Failure> {
        match event {
            CaptureEvent::Playing { path, index, of } => {
                self.reporter.event(&Event::Playing { file: path.display().to_string(), index, of });
            }
            CaptureEvent::Eos => return Ok(Some(EndReason::EndOfFile)),
            CaptureEvent::Error(error) => return Err(error.into()),
            CaptureEvent::Warning(sentence) => {
                self.reporter.warn(sentence);
                // The capture may have given up an encoding.
                self.source.announce_encodings(&self.sfu);
            }
        }
        Ok(None)
    }

    /// Reports the statistics of the last second, and sources that stopped or came back.
    async fn on_second<S: Future<Output = Stop>>(&mut self, inputs: &mut Inputs<'_, S>) -> Option<EndReason> {
        self.check_sources();
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
    fn report_sources(&mut self, changed: &[(Track, bool)]) {
        for (track, stopped) in changed {
            self.reporter.event(&Event::Source { track: *track, state: (*stopped).into() });
        }
        if !changed.is_empty() {
            self.talk.sources_stopped(self.sources.stopped(), &self.sfu);
        }
    }

    fn report_second(&mut self, sfu_stats: &SfuStats, event_queue: Queue) {
        let now = Now::read();
        self.source.count(sfu_stats);
        if let Some(ingest) = &sfu_stats.ingest {
            self.whip.hears(&self.source.encodings(), &ingest.silent);
        }
        self.record_attendance(now, sfu_stats);
        let duration = self.attendance.duration(now);
        let LastSecond { stats, mut metrics, dropped } = self.rates.step(sfu_stats, &self.source, duration);
        let [commands, frames] = self.sfu.queues();
        metrics.queues = stats::queues(&[commands, frames, event_queue]);
        self.metrics.set_lecture(metrics);
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
        self.talk.take_actions().iter().for_each(|action| self.attendance.count(action));
        self.attendance.sample(now, sfu_stats.bytes, &sfu_stats.peers);
    }

    fn write_attendance(&mut self, now: Now) {
        if let Some(writer) = &mut self.attendance_writer {
            writer.write_if_due(now, &mut self.attendance);
        }
    }

    /// After the end of the lecture, for whatever reason: reports the summary and completes the attendance file.
    pub(super) async fn conclude(&mut self) -> Result<(), Failure> {
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

    fn set_state(&mut self, user: &UserId, state: StudentState) {
        if self.students.set(user, state) {
            let nickname = self.attendance.nickname(user).to_owned();
            self.reporter.event(&Event::Student { user: user.clone(), nickname, state });
        }
    }

    fn send(&self, message: ClientMessage) {
        if self.client.send(message).is_err() {
            self.reporter.warn("the queue to the signalling server is full; a student has to connect again");
        }
    }
}
