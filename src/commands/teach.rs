//! `classroom teach`: joins pipelines, hub and signalling, and tells what happens.

mod roll;
mod talk;

use std::collections::HashMap;
use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, MissedTickBehavior};

use self::roll::Roll;
use self::talk::Conversation;
use super::link::{room_page, show_qr};
use super::serve::{Served, ice_servers};
use super::typed::Typed;
use super::{blocking, listen, media_failure, or_never, reachable_host, signal_failure, studio};
use crate::cli::{Device, MainSource, Signalling, Sources, Teach};
use crate::exit::Failure;
use crate::id::UserId;
use crate::media::{self, Capture, CaptureEvent, CaptureOptions, VideoOptions, Wanted};
use crate::peer::hub::{Hub, HubConfig, HubEvent, HubStats, RTCIceCandidateInit, Refusal};
use crate::peer::offer::OfferError;
use crate::protocol::{ClientMessage, ErrorCode, IceCandidate, LeaveReason, MAX_ROOM_USERS, ServerMessage, User};
use crate::report::{EndReason, Event, Reporter, StudentState, TeachStats, Watched};
use crate::rtp::{Codec, Encoding, Track};
use crate::signal::{self, Client, ClientConfig, ServerUrl, SessionToken, SignalEvent};

/// How long a server that was named may take to answer.
const SERVER_WITHIN: Duration = Duration::from_secs(3);

/// What a demo must know of its teacher: where the server is.
pub(super) type Ready = oneshot::Sender<ServerUrl>;

/// Teaches until `stop`, or the end of the file.
pub(super) async fn run(
    teach: Teach,
    reporter: &Reporter,
    stop: impl Future<Output = EndReason>,
    ready: Option<Ready>,
) -> Result<EndReason, Failure> {
    let options = capture_options(&teach);
    run_with(teach, options, reporter, stop, ready).await
}

/// Teaches what `options` say.
pub(super) async fn run_with(
    teach: Teach,
    options: CaptureOptions,
    reporter: &Reporter,
    stop: impl Future<Output = EndReason>,
    ready: Option<Ready>,
) -> Result<EndReason, Failure> {
    let mut stop = std::pin::pin!(stop);
    reporter.status("preparing");
    // A desktop may ask its user which screen to share, so this may take long and may be interrupted.
    let prepared = tokio::select! {
        prepared = blocking(move || Capture::prepare(options)) => prepared?.map_err(media_failure)?,
        reason = &mut stop => return Ok(reason),
    };
    prepared.notices().iter().for_each(|notice| reporter.notice(notice));

    let (served, server, udp_ip) = match &teach.signalling {
        Signalling::Embedded { listen: address } => {
            let served = Served::start(listen(*address)?, ice_servers(&teach.stun, &teach.turn))?;
            let host = if address.ip().is_unspecified() { [127, 0, 0, 1].into() } else { address.ip() };
            let server = ServerUrl::new(&host.to_string(), served.address().port());
            // Where signalling listens on all addresses, media does on all IPv4 ones.
            let udp_ip = if address.ip().is_unspecified() { [0, 0, 0, 0].into() } else { address.ip() };
            (Some(served), server, udp_ip)
        }
        Signalling::Remote(server) => (None, server.clone(), [0, 0, 0, 0].into()),
    };
    let config = HubConfig {
        user: teach.user.clone(),
        udp: SocketAddr::new(udp_ip, teach.udp_port),
        advertise: teach.advertise.clone(),
        stun: stun_addresses(&teach, reporter).await,
        max_students: teach.max_students.map_or(MAX_ROOM_USERS, |most| most.get().min(MAX_ROOM_USERS)),
        encodings: prepared.rates(),
        workers: teach.workers,
        adapts: true,
    };
    let (hub, hub_events) = Hub::start(config).map_err(Failure::usage)?;
    let token = SessionToken::acquire(&server, &teach.room, &teach.user);
    let joining = Client::connect(ClientConfig {
        server: server.clone(),
        room: teach.room.clone(),
        room_name: teach.room_name.clone(),
        user: teach.user.clone(),
        nickname: teach.nickname.clone(),
        publishes: true,
        session: token.session().clone(),
        epoch: rand::random(),
        initial_deadline: SERVER_WITHIN,
    });
    let (client, signals) = tokio::select! {
        joined = joining => joined.map_err(signal_failure)?,
        reason = &mut stop => return Ok(reason),
    };
    let (ws, page) = served.as_ref().map(Served::urls).unzip();
    let others = match &served {
        Some(served) => ServerUrl::new(&reachable_host(served.address().ip()).to_string(), served.address().port()),
        None => server.clone(),
    };
    let link = room_page(&others, &teach.room);
    reporter.event(&Event::Listening { ws, page, room_page: Some(link.clone()), udp: Some(hub.udp().port()) });
    reporter.event(&Event::Joined { user: teach.user.clone(), server: server.to_string() });
    if teach.qr {
        show_qr(&link, &others, reporter);
    }
    reporter.notice(format!("students open {link}"));
    reporter.notice(format!(
        "or type: classroom watch --room {} --user 1001 --server {}",
        teach.room,
        others.authority()
    ));
    let announcement = served.as_ref().and_then(|served| announce(&teach, served, reporter));

    let (capture, captured) = studio::start(prepared, &hub).await?;
    if let Some(ready) = ready {
        let _ = ready.send(server);
    }
    reporter.status("live, waiting for students");
    let talk = Conversation::new(teach.user.clone(), teach.nickname.clone());
    let mut lecture = Lecture { teach: &teach, reporter, hub, client, capture, roll: Roll::default(), talk };
    let ended = lecture.run(hub_events, signals, captured, stop).await;

    let Lecture { hub, client, capture, .. } = lecture;
    client.leave().await;
    if let Some(announcement) = announcement {
        announcement.stop().await;
    }
    hub.close().await;
    if let Some(served) = served {
        served.shutdown().await;
    }
    blocking(move || capture.stop()).await?;
    drop(token);
    ended
}

fn announce(teach: &Teach, served: &Served, reporter: &Reporter) -> Option<signal::Announcement> {
    if served.address().ip().is_loopback() {
        return None;
    }
    match signal::announce(&teach.room, served.address().port(), &teach.nickname) {
        Ok(announcement) => Some(announcement),
        Err(error) => {
            reporter.detail(format!("the lecture can't be announced by DNS-SD: {error}; students need --server"));
            None
        }
    }
}

async fn stun_addresses(teach: &Teach, reporter: &Reporter) -> Vec<SocketAddr> {
    let mut addresses = Vec::new();
    for server in &teach.stun {
        let found = tokio::net::lookup_host((server.host.as_str(), server.port)).await;
        match found.ok().and_then(|mut all| all.find(SocketAddr::is_ipv4)) {
            Some(address) => addresses.push(address),
            None => {
                reporter.warn(format!("the STUN server {} has no IPv4 address here, it is not asked", server.url()));
            }
        }
    }
    addresses
}

fn capture_options(teach: &Teach) -> CaptureOptions {
    let defaults = CaptureOptions::default();
    let wanted = |device: &Option<Device>| match device {
        None => Wanted::No,
        Some(Device::Default) => Wanted::Yes(None),
        Some(Device::Named(name)) => Wanted::Yes(Some(name.clone())),
    };
    let (sources, pipeline) = match &teach.sources {
        Sources::Auto => (media::Sources { audio: teach.audio, ..media::Sources::default() }, None),
        Sources::Pipeline(path) => (media::Sources::default(), Some(path.clone())),
        Sources::Chosen { main, camera, mic } => {
            let main = match main {
                None => media::MainSource::Screen(Wanted::No),
                Some(MainSource::Screen(device)) => media::MainSource::Screen(wanted(&Some(device.clone()))),
                Some(MainSource::File { path, looped }) => {
                    media::MainSource::File { path: path.clone(), repeat: *looped }
                }
                Some(MainSource::Test) => media::MainSource::Test,
            };
            let sources = media::Sources { main, camera: wanted(camera), microphone: wanted(mic), audio: teach.audio };
            (sources, None)
        }
    };
    let video = &teach.video;
    CaptureOptions {
        sources,
        codec: video.codec,
        screen: VideoOptions { size: video.size, fps: video.fps, bitrate: video.bitrate.bits_per_second() },
        camera: VideoOptions { fps: video.fps, ..defaults.camera },
        tiers: video.tiers,
        pipeline,
        ..defaults
    }
}

/// A lecture that goes on.
struct Lecture<'a> {
    teach: &'a Teach,
    reporter: &'a Reporter,
    hub: Hub,
    client: Client,
    capture: Capture,
    roll: Roll,
    talk: Conversation,
}

impl Lecture<'_> {
    async fn run(
        &mut self,
        mut hub_events: mpsc::Receiver<HubEvent>,
        signals: mpsc::Receiver<SignalEvent>,
        captured: mpsc::Receiver<CaptureEvent>,
        mut stop: std::pin::Pin<&mut impl Future<Output = EndReason>>,
    ) -> Result<EndReason, Failure> {
        let mut second = tokio::time::interval(Duration::from_secs(1));
        second.set_missed_tick_behavior(MissedTickBehavior::Delay);
        second.tick().await;
        let mut rates = Rates::default();
        let (mut signals, mut captured) = (Some(signals), Some(captured));
        let (_typed, mut lines) = Typed::start(self.teach.lines, self.reporter).unzip();
        loop {
            tokio::select! {
                reason = &mut stop => return Ok(reason),
                event = hub_events.recv() => match event {
                    Some(event) => self.on_hub(event),
                    None => return Err(Failure::internal(anyhow::anyhow!("the hub ended"))),
                },
                event = or_never(signals.as_mut().map(mpsc::Receiver::recv)) => match event {
                    Some(SignalEvent::Ended(error)) => return Err(signal_failure(error)),
                    Some(event) => self.on_signal(event),
                    // Media goes on without it.
                    None => signals = None,
                },
                event = or_never(captured.as_mut().map(mpsc::Receiver::recv)) => match event {
                    Some(CaptureEvent::Eos) => return Ok(EndReason::EndOfFile),
                    Some(CaptureEvent::Error(error)) => return Err(media_failure(error)),
                    Some(CaptureEvent::Warning(sentence)) => {
                        self.reporter.warn(sentence);
                        studio::offer(&self.capture, &self.hub);
                    }
                    None => captured = None,
                },
                line = or_never(lines.as_mut().map(mpsc::Receiver::recv)) => match line {
                    Some(line) => self.talk.typed(&line, &self.hub, self.reporter),
                    None => lines = None,
                },
                () = or_never(self.talk.next_tick().map(tokio::time::sleep_until)) => {
                    self.talk.tick(&self.hub, self.reporter);
                }
                _ = second.tick() => {
                    if let Some(numbers) = self.hub.stats().await {
                        self.tell(&numbers, &mut rates);
                    }
                }
            }
        }
    }

    fn on_hub(&mut self, event: HubEvent) {
        let Some(event) = studio::obey(&self.capture, event) else { return };
        match event {
            HubEvent::Answer { user, sdp } => self.say(ClientMessage::Answer { target_uid: user, sdp }),
            HubEvent::Refused { user, why } => {
                let (code, message) = (refusal_code(&why), why.to_string());
                self.reporter.detail(format!("{}: {message}", self.hub.key(&user)));
                self.student(&user, StudentState::Refused);
                self.say(ClientMessage::Reject { target_uid: user, code, message });
            }
            HubEvent::Connected(user) => self.student(&user, StudentState::Watching),
            HubEvent::Gone { user, why } => {
                let state = if why == "left" { StudentState::Left } else { StudentState::Lost };
                self.student(&user, state);
                self.talk.gone(&user, &self.hub, self.reporter);
                // To one who has left the room it is not delivered.
                self.say(ClientMessage::Hangup { target_uid: user });
            }
            HubEvent::ChannelOpen(user) => self.talk.opened(&user, &self.hub, self.reporter),
            HubEvent::Heard { user, text } => self.talk.heard(&user, &text, &self.hub, self.reporter),
            HubEvent::Notice(sentence) => self.reporter.notice(sentence),
            // Of the encoders: done above.
            HubEvent::KeyFrameNeeded(_) | HubEvent::Needed(..) => {}
        }
    }

    fn on_signal(&mut self, event: SignalEvent) {
        match event {
            SignalEvent::Joined { users, .. } => self.joined(&users),
            SignalEvent::Lost { reason } => self.reporter.warn(format!(
                "the signalling server is gone ({reason}): the lecture goes on, newcomers must wait; trying to get back"
            )),
            SignalEvent::Message(message) => self.on_message(message),
            SignalEvent::Ended(_) => {}
        }
    }

    fn on_message(&mut self, message: ServerMessage) {
        match message {
            ServerMessage::Offer { user_id, sdp, video } => {
                self.student(&user_id, StudentState::Connecting);
                self.hub.offer(user_id, sdp, video);
            }
            ServerMessage::Candidate { user_id, candidate } => self.hub.candidate(user_id, candidate_init(candidate)),
            ServerMessage::Join { users } => self.joined(&users),
            ServerMessage::Leave { users, reason } => {
                for user in users {
                    let watches = self.roll.state(&user) == Some(StudentState::Watching);
                    self.talk.left(&user, watches && reason != LeaveReason::Left, &self.hub, self.reporter);
                    // Whose signalling was lost may still receive: its media says when it is gone.
                    if reason == LeaveReason::Left {
                        self.hub.remove(user.clone());
                        self.student(&user, StudentState::Left);
                    } else if reason == LeaveReason::Lost && !watches {
                        self.student(&user, StudentState::Lost);
                    }
                }
            }
            ServerMessage::Error { code, message, .. } => match code {
                // Students come and go; an answer to one who has gone is no news.
                ErrorCode::UnknownTarget => {}
                _ => self.reporter.warn(format!("the server says: {message}")),
            },
            ServerMessage::Joined { .. }
            | ServerMessage::RoomUserList { .. }
            | ServerMessage::Pong
            | ServerMessage::Answer { .. }
            | ServerMessage::Hangup { .. } => {}
        }
    }

    fn joined(&mut self, users: &[User]) {
        for user in users.iter().filter(|user| user.user_id != self.teach.user) {
            self.talk.joined(user);
            self.student(&user.user_id, StudentState::Joined);
        }
    }

    fn student(&mut self, user: &UserId, state: StudentState) {
        if self.roll.enter(user, state) {
            self.reporter.event(&Event::Student { user: user.clone(), state });
        }
    }

    fn say(&self, message: ClientMessage) {
        if self.client.send(message).is_err() {
            self.reporter.warn("too many messages wait for the signalling server, a student has to ask again");
        }
    }

    /// The time that the best encoding of a track takes, of those that somebody watches.
    fn encode_ms(&self, track: Track) -> Option<f32> {
        let encodings = self.capture.encodings().into_iter().filter(|encoding| encoding.track == track);
        encodings.into_iter().find_map(|encoding| self.capture.encode_ms(encoding))
    }

    fn tell(&self, numbers: &HubStats, rates: &mut Rates) {
        let main = if self.capture.tracks().iter().any(|(track, _)| *track == Track::Screen) {
            Track::Screen
        } else {
            Track::Camera
        };
        let mut best: Vec<Encoding> = self.capture.encodings();
        best.dedup_by_key(|encoding| encoding.track);
        let (fps, kbps_per_student, kbps_up) = rates.step(numbers, main, &best);
        let event = Event::TeachStats(TeachStats {
            students: numbers.students,
            fps,
            kbps_per_student,
            kbps_up,
            packets: numbers.packets,
            dropped: numbers.dropped,
            encode_ms: self.encode_ms(main).map(f64::from),
            watched: watched(&numbers.watched, &self.capture.tracks()),
            key_frames: numbers.key_frames.iter().filter(|(of, _)| of.track.is_video()).map(|(_, count)| count).sum(),
        });
        self.reporter.event(&event);
        let left_out = rates.left_out(numbers);
        if left_out > 0 {
            self.reporter.warn(format!(
                "{left_out} frames were left out in the last second, because this computer or its network did not keep up: \
                 lower --bitrate, use a wire, or more --workers"
            ));
        }
    }
}

/// Totals of a second ago.
#[derive(Default)]
struct Rates {
    at: Option<Instant>,
    frames: u64,
    frame_bytes: u64,
    bytes: u64,
    dropped: u64,
    refused: u64,
}

impl Rates {
    /// Frames a second, and kbit/s of a student that gets the `best` of each track, and of all.
    fn step(&mut self, numbers: &HubStats, main: Track, best: &[Encoding]) -> (f64, f64, f64) {
        let now = Instant::now();
        let seconds = self.at.replace(now).map_or(1.0, |at| (now - at).as_secs_f64().max(0.001));
        let of = |all: &HashMap<Encoding, u64>, encoding| all.get(encoding).copied().unwrap_or(0);
        let frames = best.iter().filter(|e| e.track == main).map(|encoding| of(&numbers.frames, encoding)).sum();
        let rate = |now: u64, before: &mut u64| {
            let grown = now.saturating_sub(std::mem::replace(before, now));
            grown as f64 / seconds
        };
        let fps = rate(frames, &mut self.frames);
        let one = rate(best.iter().map(|e| of(&numbers.frame_bytes, e)).sum(), &mut self.frame_bytes) * 8.0 / 1000.0;
        let all = rate(numbers.bytes, &mut self.bytes) * 8.0 / 1000.0;
        (fps, one, all)
    }

    /// Frames that were left out since the last time: late, or refused by the kernel.
    fn left_out(&mut self, numbers: &HubStats) -> u64 {
        let dropped = numbers.dropped.saturating_sub(std::mem::replace(&mut self.dropped, numbers.dropped));
        let refused = numbers.refused.saturating_sub(std::mem::replace(&mut self.refused, numbers.refused));
        if refused > 0 { dropped.max(1) } else { dropped }
    }
}

/// What students watch, as it is reported of a class that goes with these codecs.
fn watched(numbers: &[(Encoding, usize)], class: &[(Track, Codec)]) -> Vec<Watched> {
    let report = |&(encoding, students): &(Encoding, usize)| Watched {
        encoding,
        students,
        is_class_codec: class.contains(&(encoding.track, encoding.codec)),
    };
    numbers.iter().map(report).collect()
}

fn refusal_code(why: &Refusal) -> ErrorCode {
    match why {
        Refusal::Offer(OfferError::TooManySections(_)) => ErrorCode::TooManySections,
        Refusal::Offer(OfferError::NotRecvonly(..)) => ErrorCode::OfferNotRecvonly,
        Refusal::Offer(OfferError::NoCommonCodec { .. }) => ErrorCode::NoCommonCodec,
        Refusal::Offer(OfferError::NoSuchTrack { .. }) => ErrorCode::NoSuchTrack,
        Refusal::Offer(OfferError::Malformed(_) | OfferError::NothingAsked) | Refusal::Unanswerable(_) => {
            ErrorCode::BadSdp
        }
        Refusal::Full(_) => ErrorCode::RoomFull,
        Refusal::TooFast(_) => ErrorCode::FloodedMessages,
    }
}

/// The wire's candidate as the peer connection takes it.
pub(super) fn candidate_init(candidate: IceCandidate) -> RTCIceCandidateInit {
    RTCIceCandidateInit {
        candidate: candidate.candidate,
        sdp_mid: candidate.sdp_mid,
        sdp_mline_index: candidate.sdp_m_line_index,
        username_fragment: candidate.username_fragment,
        url: None,
    }
}
