//! The media of one room at the server: receives the publisher's media, answers the students in the publisher's name,
//! and keeps the conversation.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;

use super::whip::WhipRooms;
use crate::commands::edges::Meaning;
use crate::commands::hosted_source::{Handled, HostedSource, PublishOffer, SourceKind, SourceSettings};
use crate::commands::lecture_talk::LectureTalk;
use crate::commands::media_meter::{MediaMeter, SourceMeter};
use crate::commands::stage::{StageMedia, StageOffer, StageOutput, StageSettings};
use crate::commands::whip::{WhipNews, WhipRequest, WhipSessions};
use crate::id::{RoomId, UserId};
use crate::protocol::channel::Stopped;
use crate::protocol::{ClientMessage, LeaveReason, ServerMessage, User};
use crate::report::Reporter;
use crate::room::talk::TalkOutput;
use crate::sfu::{Departure, SfuEvent, SfuStats};
use crate::signal::LocalMember;
use crate::token_bucket::TokenBucket;

/// The interval between two checks for the first key frame of a publisher.
const START_INTERVAL: Duration = Duration::from_millis(100);

/// The settings that all hosts share.
#[derive(Clone)]
pub(super) struct HostSettings {
    pub(super) source: SourceSettings,
    pub(super) stage: StageSettings,
    /// The settings of the participants of meetings.
    pub(super) meetings: StageSettings,
    /// The most speakers on the stage of a room.
    pub(super) most_speakers: usize,
    pub(super) meter: MediaMeter,
    pub(super) whip: WhipRooms,
    pub(super) reporter: Reporter,
}

/// Runs the host of a room until the room or the server ends it.
pub(super) async fn run(room: RoomId, publisher: UserId, member: LocalMember, settings: HostSettings) {
    let HostSettings { mut source, stage, most_speakers, meter, whip, reporter, .. } = settings;
    source.tracer = source.tracer.in_room(&room);
    let of = publisher.clone();
    let opened = tokio::task::spawn_blocking(move || HostedSource::open(of, SourceKind::Lecture, source)).await;
    let (source, events) = match opened {
        Ok(Ok(opened)) => opened,
        // Dropping the host tells the publisher, which offers again.
        Ok(Err(error)) => return reporter.warn(format!("can't carry the media of room {room}: {error}")),
        Err(error) => return reporter.warn(format!("can't carry the media of room {room}: {error}")),
    };
    reporter.detail(format!("the server carries the media of room {room}"));
    let (registration, requests) = whip.host(room.clone(), publisher.clone());
    let mut host = RoomHost {
        talk: LectureTalk::new(publisher.clone(), "".into()),
        room,
        publisher,
        member,
        source,
        stage: StageMedia::new(stage),
        watching: HashSet::new(),
        stopped: Stopped::default(),
        meter: meter.room(),
        whip: WhipSessions::default(),
        reporter,
        warnings: TokenBucket::new(1, 3),
    };
    host.talk.set_stage(most_speakers);
    host.run(events, requests).await;
    drop(registration);
    host.reporter.detail(format!("the server no longer carries the media of room {}", host.room));
    tokio::join!(host.stage.close(), host.source.close());
}

/// A room's host that runs.
struct RoomHost {
    room: RoomId,
    publisher: UserId,
    member: LocalMember,
    source: HostedSource,
    /// The media of the speakers.
    stage: StageMedia,
    talk: LectureTalk,
    /// The students whose media runs.
    watching: HashSet<UserId>,
    /// The stopped sources in the last message to the students.
    stopped: Stopped,
    meter: SourceMeter,
    /// The WHIP clients of the publisher.
    whip: WhipSessions,
    reporter: Reporter,
    /// Limits warnings, because strangers may cause many.
    warnings: TokenBucket,
}

impl RoomHost {
    async fn run(&mut self, mut events: mpsc::Receiver<SfuEvent>, mut requests: mpsc::Receiver<WhipRequest>) {
        let mut second = tokio::time::interval(Duration::from_secs(1));
        second.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut start = tokio::time::interval(START_INTERVAL);
        start.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                message = self.member.receive() => match message {
                    Some(message) => self.on_message(message),
                    None => return,
                },
                event = events.recv() => match event {
                    Some(event) => self.on_event(event),
                    None => {
                        self.warn("its SFU has ended");
                        return;
                    }
                },
                Some(request) = requests.recv() => self.on_whip(request),
                output = self.stage.next() => self.on_stage(output),
                () = due(self.talk.next_tick()) => self.on_talk_tick(),
                _ = second.tick() => self.on_second().await,
                _ = start.tick(), if self.source.awaits_media() => self.on_start_tick().await,
            }
        }
    }

    fn on_message(&mut self, message: ServerMessage) {
        match message {
            ServerMessage::Joined { users, .. } | ServerMessage::Join { users } => {
                users.iter().for_each(|user| self.joined(user));
            }
            ServerMessage::Leave { users, reason } => users.into_iter().for_each(|user| self.left(user, reason)),
            ServerMessage::Offer { user_id: user, source: Some(source), sdp, video, tracks, network, .. } => {
                self.stage.offer(StageOffer { user, source, sdp, video, tracks, network });
            }
            ServerMessage::Offer { user_id, sdp, tracks, network, .. } if user_id == self.publisher => {
                self.source.publish(PublishOffer { sdp, tracks, network });
            }
            ServerMessage::Edges { edges } => self.talk.edges().set(edges),
            ServerMessage::Offer { user_id, sdp, .. } if self.talk.edges().contains(&user_id) => {
                self.source.offer_edge(user_id, sdp).into_iter().for_each(|rejection| self.member.send(rejection));
            }
            ServerMessage::Offer { user_id, sdp, video, network, .. } => {
                let rejection = self.source.offer(Instant::now(), user_id, sdp, video, network);
                rejection.into_iter().for_each(|rejection| self.member.send(rejection));
            }
            ServerMessage::Candidate { user_id, candidate, source: Some(source), .. } => {
                self.stage.candidate(user_id, &source, candidate);
            }
            ServerMessage::Candidate { user_id, candidate, .. } => self.source.candidate(user_id, candidate),
            // An answer whose receiver does not read is lost, and that student offers again.
            ServerMessage::Error { .. }
            | ServerMessage::Waiting { .. }
            | ServerMessage::Lobby { .. }
            | ServerMessage::Order { .. }
            | ServerMessage::RoomUserList { .. }
            | ServerMessage::MemberCount { .. }
            | ServerMessage::Call { .. }
            | ServerMessage::Accept { .. }
            | ServerMessage::Decline { .. }
            | ServerMessage::Participants(_)
            | ServerMessage::Room(_)
            | ServerMessage::Breakouts(_)
            | ServerMessage::Announcement { .. }
            | ServerMessage::Channel { .. }
            | ServerMessage::Conference { .. }
            | ServerMessage::Talk { .. }
            | ServerMessage::Heard { .. }
            | ServerMessage::FilePlace { .. }
            | ServerMessage::File(_)
            | ServerMessage::FileGone { .. }
            | ServerMessage::Pong
            | ServerMessage::Answer { .. }
            | ServerMessage::Hangup { .. } => {}
        }
    }

    fn joined(&mut self, user: &User) {
        if user.user_id != self.publisher {
            self.talk.joined(user);
            self.stage.signalling_back(&user.user_id);
            self.source.signalling_back(user.user_id.clone());
        } else if user.publishes {
            // While the publisher is away, a guest may have its user id.
            self.talk.rename_teacher(user.nickname.clone());
        }
    }

    /// A user has left the room, as signalling sees it. The room closes the host when the publisher leaves for good.
    fn left(&mut self, user: UserId, reason: LeaveReason) {
        if user == self.publisher {
            return;
        }
        let has_gone = matches!(reason, LeaveReason::Left | LeaveReason::Removed);
        // A student who lost signalling may still receive media, or speak. Then the SFU reports the end.
        let has_media = self.watching.contains(&user) || self.talk.rules().has_slot(&user);
        let outputs = self.talk.left(&user, has_media && !has_gone, self.source.sfu());
        self.obey(outputs);
        if has_gone {
            self.stage.left(&user);
            self.source.remove(user);
        } else {
            self.stage.signalling_lost(&user);
            self.source.signalling_lost(user);
        }
    }

    fn on_talk_tick(&mut self) {
        let outputs = self.talk.tick(self.source.sfu());
        self.obey(outputs);
    }

    /// The media of the stage follows the rules. The terminal of the server shows no conversation.
    fn obey(&mut self, outputs: Vec<TalkOutput>) {
        for output in outputs {
            if let TalkOutput::Stage(change) = output {
                self.stage.changed(change);
            }
        }
    }

    fn on_stage(&mut self, output: StageOutput) {
        match output {
            StageOutput::Send(message) => self.member.send(message),
            StageOutput::Warn(sentence) => self.warn(&sentence),
            StageOutput::Fact(fact) => {
                let outputs = self.talk.speaker(fact, self.source.sfu());
                self.obey(outputs);
            }
        }
    }

    fn on_event(&mut self, event: SfuEvent) {
        let Handled { message, event } = self.source.on_event(Instant::now(), event);
        let encodings = || self.source.encodings();
        match event.map(|event| self.talk.edges().on_event(event, self.source.sfu(), encodings)) {
            Some(Meaning::Own(event)) => self.on_student_event(event),
            Some(Meaning::AtEdges(events)) => events.into_iter().for_each(|event| self.on_student_event(event)),
            None => {}
        }
        message.into_iter().for_each(|message| self.member.send(message));
    }

    /// An event of a student here or at an edge.
    fn on_student_event(&mut self, event: SfuEvent) {
        match event {
            SfuEvent::Connected(user) => {
                // From now on nobody takes the student's place in a full room, or the room's place at the server.
                self.member.send(ClientMessage::Connected { target_uid: user.clone() });
                if user != self.publisher {
                    self.watching.insert(user);
                }
            }
            SfuEvent::Session { number, event } => {
                if let Some(WhipNews::Connected(_)) = self.whip.on_event(number, event) {
                    self.member.send(ClientMessage::Connected { target_uid: self.publisher.clone() });
                }
            }
            SfuEvent::Gone { user, why } => self.on_gone(&user, why),
            SfuEvent::ChannelOpen(user) => {
                self.talk.channel_opened(&user, self.source.sfu());
                if user == self.publisher {
                    self.source.tell_needed();
                }
            }
            SfuEvent::Heard { user, text } => {
                let outputs = self.talk.received(&user, &text, self.source.sfu());
                self.obey(outputs);
            }
            SfuEvent::Notice(sentence) => self.warn(&sentence),
            _ => {}
        }
    }

    fn on_whip(&mut self, request: WhipRequest) {
        match request {
            WhipRequest::Offer(offer) => {
                if let Some(offer) = self.whip.offer(&self.publisher, offer) {
                    self.source.open_session(offer);
                }
            }
            WhipRequest::Restart(number, restart) => {
                if let Some(restart) = self.whip.restart(number, restart) {
                    self.source.restart_ice(restart);
                }
            }
            WhipRequest::Candidate(number, candidate) => self.source.session_candidate(number, candidate),
            WhipRequest::End(number) => {
                self.whip.ended(number);
                self.source.end_session(number);
            }
        }
    }

    fn on_gone(&mut self, user: &UserId, why: Departure) {
        if why == Departure::Failed {
            self.warn("a connection failed because of a bug in this program; please report the bug");
        }
        if *user == self.publisher {
            self.tell_stopped(None);
        } else {
            self.watching.remove(user);
            let outputs = self.talk.disconnected(user, self.source.sfu());
            self.obey(outputs);
        }
    }

    /// Looks for the first key frame of the publisher, and answers the students that wait for it.
    async fn on_start_tick(&mut self) {
        let stats = if self.source.is_starting() { self.source.stats().await } else { None };
        let rejections = self.source.look_for_media(Instant::now(), stats.as_ref());
        rejections.into_iter().for_each(|rejection| self.member.send(rejection));
    }

    async fn on_second(&mut self) {
        let Some(stats) = self.source.stats().await else { return };
        self.tell_stopped(Some(&stats));
        self.source.report(Instant::now(), &stats);
        if let Some(ingest) = &stats.ingest {
            self.whip.hears(&ingest.silent_sessions);
        }
        self.meter.update(&stats);
        self.talk.edges().tell_encodings(self.source.encodings(), self.source.sfu());
    }

    fn tell_stopped(&mut self, stats: Option<&SfuStats>) {
        let stopped = self.source.stopped(Instant::now(), stats);
        if std::mem::replace(&mut self.stopped, stopped) != stopped {
            self.talk.sources_stopped(stopped, self.source.sfu());
        }
    }

    fn warn(&mut self, sentence: &str) {
        if self.warnings.take(Instant::now()).is_ok() {
            self.reporter.warn(format!("room {}: {sentence}", self.room));
        }
    }
}

/// Waits until a time, or for ever.
async fn due(at: Option<tokio::time::Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
