//! `classroom teach`: joins pipelines, SFU and signalling, and tells what happens.

mod farewell;
mod keeper;
mod numbers;
mod register;
mod roll;
mod talk;
mod telling;

use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::MissedTickBehavior;

use self::farewell::{Question, can_ask};
use self::keeper::{AttendanceFile, Keeper};
use self::numbers::Rates;
use self::register::{Now, Register};
use self::roll::Roll;
use self::talk::Conversation;
use super::lines::TeacherLine;
use super::link::{other_hosts, room_page, show_qr};
use super::metrics::{Meters, MetricsPort};
use super::serve::{Served, ice_servers};
use super::sources;
use super::typed::Typed;
use super::{Stop, blocking, listen, or_never, reachable_host, signal_failure};
use crate::cli::{Bitrate, Device, MainSource, Signalling, Sources, Teach};
use crate::endpoints;
use crate::exit::Failure;
use crate::id::UserId;
use crate::media::{self, Capture, CaptureEvent, CaptureOptions, VideoOptions, Wanted};
use crate::protocol::{ClientMessage, ErrorCode, IceCandidate, LeaveReason, MAX_ROOM_USERS, ServerMessage, User};
use crate::report::{EndReason, Event, Reporter, StudentState};
use crate::sdp::offer::OfferError;
use crate::sfu::{Queue, RTCIceCandidateInit, Refusal, Sfu, SfuConfig, SfuEvent};
use crate::signal::{self, Client, ClientConfig, Goodbye, ServerUrl, SessionToken, SignalEvent};

/// How long a server that was named may take to answer.
const SERVER_WITHIN: Duration = Duration::from_secs(3);

/// What a demo must know of its teacher: where the server is.
pub(super) type Ready = oneshot::Sender<ServerUrl>;

/// Teaches until `stop`, or the end of the last file.
pub(super) async fn run(
    teach: Teach,
    reporter: &Reporter,
    stop: impl Future<Output = Stop>,
) -> Result<EndReason, Failure> {
    let options = capture_options(&teach);
    run_with(teach, options, reporter, stop, None).await
}

/// Teaches what `options` say.
pub(super) async fn run_with(
    teach: Teach,
    options: CaptureOptions,
    reporter: &Reporter,
    stop: impl Future<Output = Stop>,
    ready: Option<Ready>,
) -> Result<EndReason, Failure> {
    let mut stop = std::pin::pin!(stop);
    let attendance = teach.attendance.as_deref().map(AttendanceFile::check).transpose()?;
    reporter.status("preparing");
    // A desktop may ask its user which screen to share, so this may take long and may be interrupted.
    let prepared = tokio::select! {
        prepared = blocking(move || Capture::prepare(options)) => prepared??,
        stopped = &mut stop => return Ok(stopped.reason()),
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
    let meters = served.as_ref().map_or_else(|| Meters::new(None), |served| served.meters().clone());
    let metrics_port = teach.metrics.map(|address| MetricsPort::start(listen_for_metrics(address)?, &meters));
    let metrics_port = metrics_port.transpose()?;
    let config = SfuConfig {
        user: teach.user.clone(),
        udp: SocketAddr::new(udp_ip, teach.udp_port),
        advertise: teach.advertise.clone(),
        stun: stun_addresses(&teach, reporter).await,
        max_students: teach.max_students.map_or(MAX_ROOM_USERS, |most| most.get().min(MAX_ROOM_USERS)),
        encodings: prepared.rates(),
        workers: teach.workers,
        adapts: true,
    };
    let (sfu, sfu_events) = Sfu::start(config).map_err(Failure::usage)?;
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
        stopped = &mut stop => return Ok(stopped.reason()),
    };
    let (ws, page) = served.as_ref().map(Served::urls).unzip();
    let others = match &served {
        Some(served) => ServerUrl::new(&reachable_host(served.address().ip()).to_string(), served.address().port()),
        None => server.clone(),
    };
    let link = room_page(&others, &teach.room);
    let more = match &served {
        Some(served) => other_hosts(served.address(), others.host()),
        None => Vec::new(),
    };
    reporter.event(&Event::Listening { ws, page, room_page: Some(link.clone()), udp: Some(sfu.udp().port()) });
    let nickname = teach.nickname.clone().into();
    reporter.event(&Event::Joined { user: teach.user.clone(), nickname, server: server.to_string() });
    if let Some(port) = &metrics_port {
        reporter.notice(format!("metrics for a monitoring system at http://{}/metrics", port.address()));
    }
    if teach.qr {
        show_qr(&link, &others, reporter);
    }
    reporter.notice(format!("students open {link}"));
    for (host, interface) in more {
        let server = ServerUrl::new(&host.to_string(), others.port());
        reporter.notice(format!("  or, by {interface}: {}", room_page(&server, &teach.room)));
    }
    reporter.notice(format!(
        "or type: classroom watch --room {} --user 1001 --server {}",
        teach.room,
        others.authority()
    ));
    let announcement = served.as_ref().and_then(|served| announce(&teach, served, reporter));

    let (capture, captured) = endpoints::start_capture(prepared, &sfu).await?;
    if let Some(ready) = ready {
        let _ = ready.send(server);
    }
    reporter.status("live, waiting for students");
    let talk = Conversation::new(teach.user.clone(), teach.nickname.clone(), teach.allowed);
    let mut lecture = Lecture {
        teach: &teach,
        reporter,
        sfu,
        client,
        capture,
        sources: sources::Sources::default(),
        roll: Roll::default(),
        talk,
        goodbye: if teach.end_class { Goodbye::LectureOver } else { Goodbye::Leave },
        register: Register::new(Now::read()),
        keeper: attendance.map(|file| Keeper::start(file, reporter)),
        meters,
    };
    let ended = lecture.run(sfu_events, signals, captured, stop).await;
    lecture.meters.end();
    let concluded = lecture.conclude().await;

    let Lecture { sfu, client, capture, goodbye, .. } = lecture;
    // A lecture that failed is worth waiting for, whatever was asked for.
    client.leave(if ended.is_ok() { goodbye } else { Goodbye::Leave }).await;
    if let Some(announcement) = announcement {
        announcement.stop().await;
    }
    sfu.close().await;
    if let Some(served) = served {
        served.shutdown().await;
    }
    if let Some(port) = metrics_port {
        port.shutdown().await;
    }
    blocking(move || capture.stop()).await?;
    drop(token);
    match (ended, concluded) {
        (Ok(reason), concluded) => concluded.map(|()| reason),
        (Err(failure), concluded) => {
            // The process ends with the first failure, and the second is no less true.
            concluded.unwrap_or_else(|second| reporter.warn(second.to_string()));
            Err(failure)
        }
    }
}

/// Binds the port of `--metrics`.
fn listen_for_metrics(address: SocketAddr) -> Result<tokio::net::TcpListener, Failure> {
    crate::http::bind(address).map_err(|cause| {
        let advice = "choose another address with --metrics";
        Failure::usage(anyhow::anyhow!("can't serve metrics on {address}: {cause}; {advice}"))
    })
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
                reporter.warn(format!("the STUN server {} has no IPv4 address and is not asked", server.url()));
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
                Some(MainSource::Files(list)) => media::MainSource::Files(list.clone()),
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
        screen: VideoOptions { size: video.size, fps: video.fps, bitrate: video.bitrate.map(Bitrate::bits_per_second) },
        camera: VideoOptions { fps: video.fps, ..defaults.camera },
        content: video.content,
        tiers: video.tiers,
        pipeline,
        // Where this program can't be found, it opens its files itself.
        inspector: std::env::current_exe().ok(),
        ..defaults
    }
}

/// A lecture that goes on.
struct Lecture<'a> {
    teach: &'a Teach,
    reporter: &'a Reporter,
    sfu: Sfu,
    client: Client,
    capture: Capture,
    sources: sources::Sources,
    roll: Roll,
    talk: Conversation,
    /// How the class is left.
    goodbye: Goodbye,
    register: Register,
    keeper: Option<Keeper>,
    meters: Meters,
}

impl Lecture<'_> {
    async fn run(
        &mut self,
        mut sfu_events: mpsc::Receiver<SfuEvent>,
        signals: mpsc::Receiver<SignalEvent>,
        captured: mpsc::Receiver<CaptureEvent>,
        mut stop: std::pin::Pin<&mut impl Future<Output = Stop>>,
    ) -> Result<EndReason, Failure> {
        let mut second = tokio::time::interval(Duration::from_secs(1));
        second.set_missed_tick_behavior(MissedTickBehavior::Delay);
        second.tick().await;
        let mut rates = Rates::default();
        if let Some(keeper) = &mut self.keeper {
            keeper.keep(Now::read(), &mut self.register);
        }
        let (mut signals, mut captured) = (Some(signals), Some(captured));
        let (mut typed, mut lines) = Typed::start(self.teach.lines, TeacherLine::commands(), self.reporter).unzip();
        let mut question: Option<Question> = None;
        loop {
            tokio::select! {
                stopped = &mut stop, if question.is_none() => {
                    let asks = stopped == Stop::Interrupt && self.goodbye == Goodbye::Leave && !self.roll.is_empty();
                    if asks && can_ask(self.reporter) {
                        // Stdin is for the answer now.
                        lines = None;
                        drop(typed.take());
                        question = Question::ask(self.reporter);
                    }
                    if question.is_none() {
                        return Ok(stopped.reason());
                    }
                }
                goodbye = or_never(question.as_mut().map(Question::answered)) => {
                    self.goodbye = goodbye;
                    return Ok(EndReason::Interrupted);
                }
                event = sfu_events.recv() => match event {
                    Some(event) => self.on_sfu(event),
                    None => return Err(Failure::internal(anyhow::anyhow!("the SFU ended"))),
                },
                event = or_never(signals.as_mut().map(mpsc::Receiver::recv)) => match event {
                    Some(SignalEvent::Ended(error)) => return Err(signal_failure(error)),
                    Some(event) => self.on_signal(event),
                    // Media goes on without it.
                    None => signals = None,
                },
                event = or_never(captured.as_mut().map(mpsc::Receiver::recv)) => match event {
                    Some(CaptureEvent::Playing { path, index, of }) => {
                        self.reporter.event(&Event::Playing { file: path.display().to_string(), index, of });
                    }
                    Some(CaptureEvent::Eos) => return Ok(EndReason::EndOfFile),
                    Some(CaptureEvent::Error(error)) => return Err(error.into()),
                    Some(CaptureEvent::Warning(sentence)) => {
                        self.reporter.warn(sentence);
                        endpoints::announce_encodings(&self.capture, &self.sfu);
                    }
                    None => captured = None,
                },
                line = or_never(lines.as_mut().map(mpsc::Receiver::recv)) => match line {
                    Some(line) => self.talk.typed(&line, &self.sfu, self.reporter),
                    None => lines = None,
                },
                () = or_never(self.talk.next_tick().map(tokio::time::sleep_until)) => {
                    self.talk.tick(&self.sfu, self.reporter);
                }
                _ = second.tick() => {
                    self.look_at_sources();
                    // An SFU that does not answer must not keep a teacher who wants to end.
                    let numbers = tokio::select! {
                        stopped = &mut stop, if question.is_none() => return Ok(stopped.reason()),
                        numbers = self.sfu.stats() => numbers,
                    };
                    if let Some(numbers) = numbers {
                        let capacity = sfu_events.max_capacity();
                        self.tell(&numbers, &mut rates, Queue { name: "events", length: sfu_events.len(), capacity });
                    }
                }
            }
        }
    }

    fn on_sfu(&mut self, event: SfuEvent) {
        let Some(event) = endpoints::serve_encoders(&self.capture, event) else { return };
        match event {
            SfuEvent::Answer { user, sdp } => self.say(ClientMessage::Answer { target_uid: user, sdp }),
            SfuEvent::Refused { user, why } => {
                let (code, message) = (refusal_code(&why), why.to_string());
                self.reporter.detail(format!("{}: {message}", self.register.named(&user)));
                self.student(&user, StudentState::Refused);
                self.say(ClientMessage::Reject { target_uid: user, code, message });
            }
            SfuEvent::Connected(user) => {
                self.register.connected(Now::read(), &user);
                self.student(&user, StudentState::Watching);
            }
            SfuEvent::Gone { user, why } => {
                self.register.gone(Now::read(), &user);
                if why == "failed" {
                    self.reporter.warn(format!(
                        "the connection of {} failed because of a bug in this program, please report it; the student can connect again",
                        self.register.named(&user)
                    ));
                }
                let state = if why == "left" { StudentState::Left } else { StudentState::Lost };
                self.student(&user, state);
                self.talk.gone(&user, &self.sfu, self.reporter);
                // To one who has left the room it is not delivered.
                self.say(ClientMessage::Hangup { target_uid: user });
            }
            SfuEvent::ChannelOpen(user) => self.talk.opened(&user, &self.sfu, self.reporter),
            SfuEvent::Heard { user, text } => self.talk.heard(&user, &text, &self.sfu, self.reporter),
            SfuEvent::Notice(sentence) => self.reporter.notice(sentence),
            // Of the encoders: done above.
            SfuEvent::KeyFrameNeeded(_) | SfuEvent::Needed(..) => {}
        }
    }

    fn on_signal(&mut self, event: SignalEvent) {
        match event {
            SignalEvent::Joined { users, .. } => self.joined(&users),
            SignalEvent::Lost { reason } => self.reporter.warn(format!(
                "lost the signalling server ({reason}): the lecture goes on, new students must wait; trying to reconnect"
            )),
            SignalEvent::Message(message) => self.on_message(message),
            SignalEvent::Ended(_) => {}
        }
    }

    fn on_message(&mut self, message: ServerMessage) {
        match message {
            ServerMessage::Offer { user_id, sdp, video } => {
                self.student(&user_id, StudentState::Connecting);
                self.sfu.offer(user_id, sdp, video);
            }
            ServerMessage::Candidate { user_id, candidate } => self.sfu.candidate(user_id, candidate_init(candidate)),
            ServerMessage::Join { users } => self.joined(&users),
            ServerMessage::Leave { users, reason } => {
                for user in users {
                    let watches = self.roll.state(&user) == Some(StudentState::Watching);
                    self.talk.left(&user, watches && reason != LeaveReason::Left, &self.sfu, self.reporter);
                    self.register.left(Now::read(), &user);
                    // Whose signalling was lost may still receive: its media says when it is gone.
                    if reason == LeaveReason::Left {
                        self.sfu.remove(user.clone());
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
            self.register.joined(Now::read(), user);
            self.student(&user.user_id, StudentState::Joined);
        }
    }

    fn student(&mut self, user: &UserId, state: StudentState) {
        if self.roll.enter(user, state) {
            let nickname = self.register.nickname(user).to_owned();
            self.reporter.event(&Event::Student { user: user.clone(), nickname, state });
        }
    }

    fn say(&self, message: ClientMessage) {
        if self.client.send(message).is_err() {
            self.reporter.warn("too many messages wait for the signalling server, a student has to ask again");
        }
    }

    /// Once a second: which sources have stopped, and which are back.
    fn look_at_sources(&mut self) {
        let changed = self.sources.second(self.capture.pulses());
        for (track, stopped) in &changed {
            self.reporter.event(&Event::Source { track: *track, state: (*stopped).into() });
        }
        if !changed.is_empty() {
            self.talk.stopped(self.sources.stopped(), &self.sfu, self.reporter);
        }
    }
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
        // Not `floodedMessages`, which only the server may say.
        Refusal::TooFast(_) => ErrorCode::TargetBusy,
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
