//! The media of one room at the server: receives the publisher's media, answers the students in the publisher's name,
//! and keeps the conversation.

mod publisher;

use std::collections::{BTreeMap, HashSet};
use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;

use self::publisher::PublisherMedia;
use crate::commands::lecture_talk::LectureTalk;
use crate::commands::media_meter::{MediaMeter, RoomMeter};
use crate::commands::negotiation::{candidate_init, rejection};
use crate::commands::waiting_offers::WaitingOffers;
use crate::id::{RoomId, UserId};
use crate::protocol::channel::{PublisherMessage, Stopped};
use crate::protocol::{ClientMessage, ErrorCode, LeaveReason, ServerMessage, User};
use crate::report::Reporter;
use crate::rtp::Track;
use crate::sfu::{Departure, MediaPort, Sfu, SfuConfig, SfuEvent, SfuStats, UdpBinding};
use crate::signal::{LocalHost, LocalMember};
use crate::token_bucket::TokenBucket;

/// The interval between two checks for the first key frame of a publisher.
const START_INTERVAL: Duration = Duration::from_millis(100);

/// The longest wait for the SFU's statistics.
const STATS_WITHIN: Duration = Duration::from_secs(1);

/// The settings that all hosts share.
#[derive(Clone)]
pub(super) struct HostSettings {
    pub(super) port: MediaPort,
    pub(super) advertise: Vec<IpAddr>,
    pub(super) workers: NonZeroUsize,
    pub(super) max_students: usize,
    pub(super) meter: MediaMeter,
    pub(super) silent: SilentRooms,
    pub(super) reporter: Reporter,
}

/// The rooms whose publisher is connected and sends nothing at all. Clones share the set.
#[derive(Debug, Clone, Default)]
pub(super) struct SilentRooms(Arc<Mutex<HashSet<RoomId>>>);

impl SilentRooms {
    /// Records whether the publisher of a room is silent.
    pub(super) fn set(&self, room: &RoomId, is_silent: bool) {
        let mut rooms = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if is_silent {
            rooms.insert(room.clone());
        } else {
            rooms.remove(room);
        }
    }

    /// Whether the publisher of the room is silent.
    pub(super) fn contains(&self, room: &RoomId) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains(room)
    }
}

/// Runs the host of a room until the room or the server ends it.
pub(super) async fn run(host: LocalHost, settings: HostSettings) {
    let LocalHost { room, publisher, member } = host;
    let HostSettings { port, advertise, workers, max_students, meter, silent, reporter } = settings;
    let config = SfuConfig {
        user: publisher.clone(),
        udp: UdpBinding::Shared(port),
        advertise,
        stun: Vec::new(),
        max_students,
        encodings: Vec::new(),
        workers,
        adapts: true,
    };
    let started = tokio::task::spawn_blocking(move || Sfu::start(config)).await;
    let (sfu, events) = match started {
        Ok(Ok(started)) => started,
        // Dropping the host tells the publisher, which offers again.
        Ok(Err(error)) => return reporter.warn(format!("can't carry the media of room {room}: {error}")),
        Err(error) => return reporter.warn(format!("can't carry the media of room {room}: {error}")),
    };
    reporter.detail(format!("the server carries the media of room {room}"));
    let mut host = RoomHost {
        talk: LectureTalk::new(publisher.clone(), "".into()),
        room,
        publisher,
        member,
        sfu,
        media: PublisherMedia::default(),
        waiting: WaitingOffers::default(),
        watching: HashSet::new(),
        stopped: Stopped::default(),
        meter: meter.room(),
        silent,
        reporter,
        warnings: TokenBucket::new(1, 3),
    };
    host.run(events).await;
    host.silent.set(&host.room, false);
    host.reporter.detail(format!("the server no longer carries the media of room {}", host.room));
    host.sfu.close().await;
}

/// A room's host that runs.
struct RoomHost {
    room: RoomId,
    publisher: UserId,
    member: LocalMember,
    sfu: Sfu,
    media: PublisherMedia,
    talk: LectureTalk,
    /// Offers that wait for the publisher's media.
    waiting: WaitingOffers,
    /// The students whose media runs.
    watching: HashSet<UserId>,
    /// The stopped sources in the last message to the students.
    stopped: Stopped,
    meter: RoomMeter,
    silent: SilentRooms,
    reporter: Reporter,
    /// Limits warnings, because strangers may cause many.
    warnings: TokenBucket,
}

impl RoomHost {
    async fn run(&mut self, mut events: mpsc::Receiver<SfuEvent>) {
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
                () = due(self.talk.next_tick()) => { self.talk.tick(&self.sfu); }
                _ = second.tick() => self.on_second().await,
                _ = start.tick(), if self.media.is_starting() || !self.waiting.is_empty() => self.on_start_tick().await,
            }
        }
    }

    fn on_message(&mut self, message: ServerMessage) {
        match message {
            ServerMessage::Joined { users, .. } | ServerMessage::Join { users } => {
                users.iter().for_each(|user| self.joined(user));
            }
            ServerMessage::Leave { users, reason } => users.into_iter().for_each(|user| self.left(user, reason)),
            ServerMessage::Offer { user_id, sdp, tracks, network, .. } if user_id == self.publisher => {
                let tracks: Option<BTreeMap<String, Track>> =
                    tracks.map(|tracks| tracks.into_iter().map(|(mid, track)| (mid, track.into())).collect());
                self.sfu.publish(user_id, sdp, tracks, network);
            }
            ServerMessage::Offer { user_id, sdp, video, network, .. } => {
                if self.media.takes_students() {
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
            // An answer whose receiver does not read is lost, and that student offers again.
            ServerMessage::Error { .. }
            | ServerMessage::Waiting { .. }
            | ServerMessage::Lobby { .. }
            | ServerMessage::Order { .. }
            | ServerMessage::RoomUserList { .. }
            | ServerMessage::MemberCount { .. }
            | ServerMessage::Pong
            | ServerMessage::Answer { .. }
            | ServerMessage::Hangup { .. } => {}
        }
    }

    fn joined(&mut self, user: &User) {
        if user.user_id != self.publisher {
            self.talk.joined(user);
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
        self.talk.left(&user, has_media && !has_gone, &self.sfu);
        self.waiting.remove(&user);
        if has_gone {
            self.sfu.remove(user);
        }
    }

    fn on_event(&mut self, event: SfuEvent) {
        match event {
            SfuEvent::Answer { user, sdp } => {
                self.member.send(ClientMessage::Answer { target_uid: user, sdp, source: None })
            }
            SfuEvent::Refused { user, why } => self.member.send(rejection(user, &why)),
            SfuEvent::Connected(user) if user == self.publisher => {}
            SfuEvent::Connected(user) => {
                self.watching.insert(user.clone());
                // From now on nobody takes the student's place in a full room.
                self.member.send(ClientMessage::Connected { target_uid: user });
            }
            SfuEvent::Gone { user, why } => self.on_gone(user, why),
            SfuEvent::ChannelOpen(user) => {
                self.talk.channel_opened(&user, &self.sfu);
                if user == self.publisher {
                    self.tell_needed();
                }
            }
            // The terminal of the server shows no conversation.
            SfuEvent::Heard { user, text } => _ = self.talk.received(&user, &text, &self.sfu),
            SfuEvent::Encodings(encodings) => self.media.available(Instant::now(), encodings),
            SfuEvent::Needed(encoding, is_needed) => {
                if self.media.need(Instant::now(), encoding, is_needed) {
                    self.tell_needed();
                }
            }
            SfuEvent::Notice(sentence) => self.warn(&sentence),
            // The SFU asks the publisher itself.
            SfuEvent::KeyFrameNeeded(_) => {}
        }
    }

    fn on_gone(&mut self, user: UserId, why: Departure) {
        if why == Departure::Failed {
            self.warn("a connection failed because of a bug in this program; please report the bug");
        }
        if user == self.publisher {
            self.media.gone();
            self.tell_stopped(None);
        } else {
            self.watching.remove(&user);
            self.talk.disconnected(&user, &self.sfu);
        }
        // The room drops this message if the user has left.
        self.member.send(ClientMessage::Hangup { target_uid: user, source: None });
    }

    /// Looks for the first key frame of the publisher, and answers the students that wait for it.
    async fn on_start_tick(&mut self) {
        let now = Instant::now();
        if self.media.is_starting()
            && let Some(stats) = self.stats().await
        {
            self.media.look_for_key_frame(now, &stats);
        }
        if self.media.takes_students() {
            for (user, offer) in self.waiting.take() {
                self.sfu.offer(user.clone(), offer.sdp, offer.video, offer.network);
                for candidate in offer.candidates {
                    self.sfu.candidate(user.clone(), candidate_init(candidate));
                }
            }
        }
        for user in self.waiting.expired(now) {
            self.reject_waiting(user);
        }
    }

    async fn on_second(&mut self) {
        let Some(stats) = self.stats().await else { return };
        self.tell_stopped(Some(&stats));
        let report = self.media.report(Instant::now(), &stats);
        self.tell_publisher(&PublisherMessage::Ingest(report));
        self.silent.set(&self.room, self.media.is_silent(stats.ingest.as_ref()));
        self.meter.update(&stats);
    }

    async fn stats(&self) -> Option<SfuStats> {
        let stats = tokio::time::timeout(STATS_WITHIN, self.sfu.stats()).await.ok().flatten()?;
        let ingest = stats.ingest.filter(|ingest| ingest.user == self.publisher);
        Some(SfuStats { ingest, ..stats })
    }

    fn tell_stopped(&mut self, stats: Option<&SfuStats>) {
        let stopped = self.media.stopped(Instant::now(), stats.and_then(|stats| stats.ingest.as_ref()));
        if std::mem::replace(&mut self.stopped, stopped) != stopped {
            self.talk.sources_stopped(stopped, &self.sfu);
        }
    }

    fn tell_needed(&self) {
        self.tell_publisher(&PublisherMessage::Encodings { needed: self.media.needed() });
    }

    fn tell_publisher(&self, message: &PublisherMessage) {
        self.sfu.tell(self.publisher.clone(), &message.to_json());
    }

    fn reject_waiting(&self, user: UserId) {
        let message = "the teacher's picture and sound have not arrived yet, try again in a moment".to_owned();
        self.member.send(ClientMessage::Reject {
            target_uid: user,
            code: ErrorCode::TargetBusy,
            message,
            codec: None,
            source: None,
        });
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
