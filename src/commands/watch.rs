//! `classroom watch`: joins signalling, one link and a render, and finds its way back to the lecture by itself.

mod course;
mod diagnosis;
mod health;
mod meter;
mod servers;
mod signalling;
mod sink;
mod talk;
mod title;

use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior};

use self::course::{Course, Step};
use self::diagnosis::{Diagnosis, Told};
use self::meter::Meter;
use self::servers::ice_servers;
use self::signalling::Signalling;
use self::sink::numbered;
use self::talk::{Conversation, Heard};
use self::title::Title;
use super::lines::StudentLine;
use super::teach::candidate_init;
use super::typed::Typed;
use super::{blocking, or_never};
use crate::cli::Watch;
use crate::endpoints::RenderInput;
use crate::exit::Failure;
use crate::expect::{self, Run};
use crate::id::UserId;
use crate::media::{self, Render, RenderEvent, RenderOptions, TrackFormat};
use crate::protocol::channel::{Stopped, StudentMessage};
use crate::protocol::{ClientMessage, ErrorCode, IceCandidate, LeaveReason, ServerMessage, User};
use crate::report::{EndReason, Event, Reporter};
use crate::rtp::Track;
use crate::signal::{ServerUrl, SignalEvent};
use crate::suspension::{Heart, Pause};
use crate::viewer::{IceServer, Incoming, Viewer, ViewerConfig, ViewerEvent};

/// How a run of `watch` went.
#[derive(Debug)]
pub(super) struct Watched {
    /// Why it ended.
    pub(super) reason: EndReason,
    /// What was seen.
    pub(super) run: Run,
}

/// Watches until `stop`, the end of the lecture, or the window is closed; then checks the expectations.
pub(super) async fn run(
    watch: Watch,
    reporter: &Reporter,
    stop: impl Future<Output = EndReason>,
) -> Result<Watched, Failure> {
    let begun = Instant::now();
    let stop = std::pin::pin!(stop);
    let mut student = Student {
        watch: &watch,
        reporter,
        sink: sink::choose(&watch.sink, reporter)?,
        signalling: Signalling::start(&watch, begun, reporter),
        server: None,
        link: None,
        screen: Arc::default(),
        formats: Vec::new(),
        meter: Meter::new(begun),
        diagnosis: Diagnosis::default(),
        told: None,
        stopped: Stopped::default(),
        course: Course::new(begun, watch.timeout, watch.retry),
        talk: Conversation::new(watch.user.clone()),
        ice_servers: Vec::new(),
        title: Title::new(watch.room.clone()),
        rests: false,
        files: 0,
        silent_seconds: 0,
        heart: Heart::start(),
        paused: None,
    };
    let ended = student.run(stop).await;
    let run = student.finish(matches!(ended, Ok(EndReason::LectureOver))).await;
    let reason = ended?;
    let unmet = expect::unmet(&watch.expect, &run);
    if unmet.is_empty() { Ok(Watched { reason, run }) } else { Err(Failure::expectation_unmet(&unmet)) }
}

/// A link to the publisher, from its offer on.
struct Attempt {
    link: Viewer,
    events: mpsc::Receiver<ViewerEvent>,
    publisher: UserId,
    answered: bool,
}

struct Student<'a> {
    watch: &'a Watch,
    reporter: &'a Reporter,
    sink: media::Sink,
    signalling: Signalling<'a>,
    /// The server that this student is or was in the room at.
    server: Option<ServerUrl>,
    link: Option<Attempt>,
    screen: Arc<RenderInput>,
    formats: Vec<TrackFormat>,
    meter: Meter,
    diagnosis: Diagnosis,
    /// What the SFU sends over this link.
    told: Option<Told>,
    /// The pictures that have no source any more.
    stopped: Stopped,
    course: Course,
    talk: Conversation,
    /// Those that were typed, else those that the server told of.
    ice_servers: Vec<IceServer>,
    /// Of the window.
    title: Title,
    /// The teacher has left politely, and nobody teaches since.
    rests: bool,
    files: u32,
    /// Seconds in which nothing came, until now.
    silent_seconds: u32,
    heart: Heart,
    /// The newest pause of this process that is known of.
    paused: Option<Pause>,
}

impl Student<'_> {
    async fn run(&mut self, mut stop: Pin<&mut impl Future<Output = EndReason>>) -> Result<EndReason, Failure> {
        let mut second = tokio::time::interval(Duration::from_secs(1));
        second.set_missed_tick_behavior(MissedTickBehavior::Delay);
        second.tick().await;
        let (_typed, mut lines) = Typed::start(self.watch.lines, StudentLine::commands(), self.reporter).unzip();
        let mut rendered: Option<mpsc::Receiver<RenderEvent>> = None;
        loop {
            let due = self.course.due();
            tokio::select! {
                reason = &mut stop => return Ok(reason),
                event = self.signalling.next() => {
                    if let Some(reason) = self.on_signal(event?, &mut rendered).await? {
                        return Ok(reason);
                    }
                }
                event = or_never(self.link.as_mut().map(|attempt| attempt.events.recv())) => self.on_link(event).await,
                event = or_never(rendered.as_mut().map(mpsc::Receiver::recv)) => match event {
                    Some(RenderEvent::WindowClosed) => return Ok(EndReason::WindowClosed),
                    Some(RenderEvent::Error(error)) => return Err(error.into()),
                    Some(event) => self.on_render(event).await,
                    None => rendered = None,
                },
                () = or_never(due.map(tokio::time::sleep_until)) => {
                    // First, lest a time that has passed meanwhile counts.
                    self.look_for_pause();
                    match self.course.step(Instant::now()) {
                        Step::Nothing => {}
                        Step::Connect => self.connect().await?,
                        Step::Explain(why) => self.reporter.warn(why),
                        Step::NobodyTaught(waited) => return Err(Failure::nobody_taught(anyhow::anyhow!(
                            "nobody taught in room {} at {} within {} s (--timeout); is the room right? `classroom rooms` lists them",
                            self.watch.room,
                            self.server.as_ref().map_or_else(String::new, ServerUrl::authority),
                            waited.as_secs_f32()
                        ))),
                        Step::MediaLost(waited) => return Err(Failure::media_lost(anyhow::anyhow!(
                            "the lecture in room {} broke off and did not come back within {} s (--retry)",
                            self.watch.room, waited.as_secs_f32()
                        ))),
                    }
                }
                line = or_never(lines.as_mut().map(mpsc::Receiver::recv)) => match line {
                    Some(line) => self.on_line(&line).await,
                    None => lines = None,
                },
                _ = second.tick() => {
                    self.tell();
                }
            }
        }
    }

    async fn on_signal(
        &mut self,
        event: SignalEvent,
        rendered: &mut Option<mpsc::Receiver<RenderEvent>>,
    ) -> Result<Option<EndReason>, Failure> {
        match event {
            SignalEvent::Joined { room_name, users, ice_servers: told, .. } => {
                self.title.room_is(room_name);
                self.ice_servers = ice_servers(self.watch, told);
                self.on_joined(&users);
            }
            SignalEvent::Lost { reason } => {
                self.course.server_is_lost();
                self.reporter.warn(format!("lost the signalling server ({reason}), trying to reconnect"));
            }
            SignalEvent::Message(message) => return self.on_message(message, rendered).await,
            SignalEvent::Ended(_) => {}
        }
        Ok(None)
    }

    async fn on_message(
        &mut self,
        message: ServerMessage,
        rendered: &mut Option<mpsc::Receiver<RenderEvent>>,
    ) -> Result<Option<EndReason>, Failure> {
        match message {
            ServerMessage::Join { users } => self.look_for_publisher(&users),
            ServerMessage::Leave { users, reason } => {
                let teacher = self.course.publisher().filter(|teacher| users.contains(teacher)).cloned();
                if teacher.is_some() {
                    self.course.publisher_left(Instant::now());
                    self.say_over_picture(Some(
                        "The teacher has left.\nThe lecture goes on here when somebody teaches again.",
                    ));
                    match reason {
                        LeaveReason::Ended => return Ok(Some(EndReason::LectureOver)),
                        LeaveReason::Left | LeaveReason::Lost => {
                            if reason == LeaveReason::Left {
                                self.rests = true;
                                self.screen.with(Render::rest);
                            }
                            self.reporter.event(&Event::Publisher { user: None, nickname: None });
                        }
                        LeaveReason::Replaced => {}
                    }
                }
            }
            ServerMessage::Answer { user_id, sdp } => {
                if let Some(attempt) = self.link.as_mut().filter(|a| a.publisher == user_id && !a.answered) {
                    attempt.answered = true;
                    match attempt.link.answer(sdp).await {
                        Ok(tracks) => *rendered = self.start_render(tracks).await?.or(rendered.take()),
                        Err(error) => {
                            self.reporter.detail(format!("the answer can't be used: {error}"));
                            self.course.failed(Instant::now());
                        }
                    }
                }
            }
            ServerMessage::Candidate { user_id, candidate } => {
                if let Some(attempt) = self.link.as_ref().filter(|attempt| attempt.publisher == user_id) {
                    attempt.link.candidate(candidate_init(candidate)).await;
                }
            }
            ServerMessage::Error { code, message, user_id, .. } => {
                if user_id.is_some() && code.is_final() {
                    return Err(Failure::refused(anyhow::anyhow!("refused by the teacher: {message}")));
                }
                if code != ErrorCode::UnknownTarget {
                    self.reporter.detail(format!("the server says: {message}"));
                }
                self.course.failed(Instant::now());
            }
            // A lost link is noticed here too, by itself.
            ServerMessage::Hangup { .. }
            | ServerMessage::Joined { .. }
            | ServerMessage::RoomUserList { .. }
            | ServerMessage::Pong
            | ServerMessage::Offer { .. } => {}
        }
        Ok(None)
    }

    /// In the room, for the first time or again, and perhaps at another server than before.
    fn on_joined(&mut self, users: &[User]) {
        let server = self.signalling.server().cloned();
        if let Some(server) = server.as_ref().filter(|server| self.server.as_ref() != Some(*server)) {
            let (user, nickname) = (self.watch.user.clone(), self.watch.nickname.clone().into());
            self.reporter.event(&Event::Joined { user, nickname, server: server.to_string() });
        } else {
            self.reporter.notice("the signalling server is back");
        }
        self.server = server;
        let teacher = users.iter().find(|user| user.publishes);
        let publisher = teacher.map(|teacher| (teacher.user_id.clone(), teacher.epoch));
        let is_news = self.course.server_is_here(publisher, Instant::now());
        match teacher.filter(|_| is_news) {
            Some(teacher) => self.on_publisher(teacher),
            None if !self.course.is_live() => self.reporter.status("waiting for a teacher"),
            None => {}
        }
    }

    fn look_for_publisher(&mut self, users: &[User]) {
        let Some(teacher) = users.iter().find(|user| user.publishes) else { return };
        if self.course.publisher_is(teacher.user_id.clone(), teacher.epoch, Instant::now()) {
            self.on_publisher(teacher);
        }
    }

    /// Somebody teaches who did not before.
    fn on_publisher(&mut self, teacher: &User) {
        self.meter.teacher_came();
        self.rests = false;
        self.title.teacher_is(teacher);
        self.screen.with(|render| render.window().map(|window| window.set_title(&self.title.text())));
        let (user, nickname) = (Some(teacher.user_id.clone()), Some(teacher.nickname.clone().into()));
        self.reporter.event(&Event::Publisher { user, nickname });
    }

    /// Offers a new connection to the publisher, in place of the one before.
    async fn connect(&mut self) -> Result<(), Failure> {
        let Some(publisher) = self.course.publisher().cloned() else { return Ok(()) };
        if let Some(before) = self.link.take() {
            // Nobody waits for a farewell that may have nobody to go to.
            tokio::spawn(before.link.close());
            self.forget_link();
        }
        let (screen, arrived) = (Arc::clone(&self.screen), self.meter.arrived());
        let sink = Arc::new(move |incoming: Incoming<'_>| {
            if let Incoming::Rtp(track, packet) = incoming {
                arrived.count(track, packet.len());
            }
            screen.push(incoming);
        });
        let offered =
            Viewer::offer(ViewerConfig { bind: self.bind(), ice_servers: self.ice_servers.clone() }, sink).await;
        let (link, sdp, events) = offered.map_err(|error| {
            Failure::internal(anyhow::anyhow!(
                "no connection can be set up here: {error}; is UDP allowed, are --stun and --turn right?"
            ))
        })?;
        if !self.signalling.send(ClientMessage::Offer { target_uid: publisher.clone(), sdp, video: None }) {
            self.course.failed(Instant::now());
        }
        self.link = Some(Attempt { link, events, publisher, answered: false });
        Ok(())
    }

    /// One socket for each interface; and one on loopback where the server is on this machine, whose other addresses
    /// may not even exist.
    fn bind(&self) -> Vec<String> {
        let host = self.server.as_ref().map_or("", ServerUrl::host);
        let address: Option<IpAddr> = host.parse().ok();
        let mut sockets = match address {
            Some(ip) if ip.is_loopback() => vec![SocketAddr::new(ip, 0).to_string()],
            None if host == "localhost" => vec!["127.0.0.1:0".to_owned()],
            _ => Vec::new(),
        };
        sockets.push("0.0.0.0:0".to_owned());
        if matches!(address, Some(IpAddr::V6(ip)) if !ip.is_loopback()) {
            sockets.push("[::]:0".to_owned());
        }
        sockets
    }

    /// Starts the render that fits the answer, unless the one that runs does.
    async fn start_render(
        &mut self,
        tracks: Vec<(Track, crate::rtp::Codec, u8)>,
    ) -> Result<Option<mpsc::Receiver<RenderEvent>>, Failure> {
        let formats: Vec<TrackFormat> =
            tracks.into_iter().map(|(track, codec, payload_type)| TrackFormat { track, codec, payload_type }).collect();
        if formats.is_empty() {
            self.reporter.warn("the teacher sends nothing that can be received here");
        }
        let runs = self.screen.with(|_| ()).is_some();
        if runs && formats == self.formats {
            return Ok(None);
        }
        if runs {
            self.stop_render(false).await;
        }
        let sink = match &self.sink {
            media::Sink::File(path) if self.files > 0 => media::Sink::File(numbered(path, self.files)),
            sink => sink.clone(),
        };
        self.files += 1;
        let options = RenderOptions {
            sink,
            latency: self.watch.latency,
            tracks: formats.clone(),
            sound: true,
            title: self.title.text(),
        };
        let (render, events) = blocking(move || Render::start(options)).await??;
        self.meter.begin(&formats);
        self.formats = formats;
        self.screen.show(render);
        self.expect_pictures();
        Ok(Some(events))
    }

    async fn stop_render(&mut self, is_over: bool) {
        if let Some(render) = self.screen.take() {
            self.meter.end(&render, is_over);
            let _ = blocking(move || render.finish()).await;
        }
    }

    async fn on_link(&mut self, event: Option<ViewerEvent>) {
        match event {
            Some(ViewerEvent::Candidate(candidate)) => {
                let Some(attempt) = &self.link else { return };
                let candidate = IceCandidate {
                    candidate: candidate.candidate,
                    sdp_mid: candidate.sdp_mid,
                    sdp_m_line_index: candidate.sdp_mline_index,
                    username_fragment: candidate.username_fragment,
                };
                // While the server is lost nobody hears of them: all is offered anew then.
                self.signalling.send(ClientMessage::Candidate { target_uid: attempt.publisher.clone(), candidate });
            }
            Some(ViewerEvent::Connected) => {
                self.course.connected(Instant::now());
                self.say_over_picture(None);
            }
            Some(ViewerEvent::BeginningMissed(track)) => self.ask_for_key_frame(track).await,
            Some(ViewerEvent::ChannelOpen) => {}
            Some(ViewerEvent::Heard(text)) => match self.talk.heard(&text, self.reporter, &self.screen) {
                Heard::Enough => {}
                Heard::Answer(answer) => self.say(answer).await,
                Heard::Sends(told) => self.on_told(told),
                Heard::Stopped(stopped) => self.on_stopped(stopped),
            },
            Some(ViewerEvent::Disturbed) => {
                self.look_for_pause();
                if !self.has_just_paused() {
                    self.course.silent();
                    let silent = "nothing has arrived from the teacher for some seconds, waiting for the connection to come back";
                    self.reporter.warn(silent);
                    self.say_over_picture(Some(
                        "Nothing arrives from the teacher.\nWaiting for the connection to come back.",
                    ));
                }
            }
            Some(ViewerEvent::Gone) | None => {
                if let Some(attempt) = self.link.take() {
                    self.reporter.detail("the connection to the teacher is gone");
                    self.forget_link();
                    tokio::spawn(attempt.link.close());
                }
                self.course.failed(Instant::now());
            }
        }
    }

    /// Says a sentence over the dimmed last picture of a window, until pictures come again.
    fn say_over_picture(&self, sentence: Option<&str>) {
        self.screen.with(|render| render.window().map(|window| window.set_message(sentence)));
    }

    async fn on_line(&mut self, line: &str) {
        if let Some(message) = self.talk.typed(line, self.reporter) {
            self.say(message).await;
        }
    }

    async fn say(&self, message: StudentMessage) {
        let said = match &self.link {
            Some(attempt) => attempt.link.say(&message.to_json()).await,
            None => false,
        };
        if !said && !matches!(message, StudentMessage::Hand { .. }) {
            self.reporter.warn("not sent: there is no connection to the teacher just now");
        }
    }

    async fn on_render(&mut self, event: RenderEvent) {
        match event {
            RenderEvent::FirstFrame { track } => {
                let after = self.meter.first_frame(track);
                self.reporter.event(&Event::FirstFrame {
                    track,
                    after_ms: after.teacher.as_secs_f64() * 1000.0,
                    after_start_ms: after.start.as_secs_f64() * 1000.0,
                });
                self.course.media(Instant::now());
            }
            RenderEvent::KeyFrameNeeded(track) => {
                self.ask_for_key_frame(track).await;
            }
            RenderEvent::Warning(sentence) => self.reporter.warn(sentence),
            RenderEvent::WindowClosed | RenderEvent::Error(_) => {}
        }
    }

    async fn ask_for_key_frame(&self, track: Track) {
        if let Some(attempt) = &self.link {
            attempt.link.request_key_frame(track).await;
        }
    }

    /// Leaves politely, and gives what was seen.
    async fn finish(mut self, is_over: bool) -> Run {
        if let Some(attempt) = self.link.take() {
            attempt.link.close().await;
        }
        self.stop_render(is_over).await;
        self.signalling.leave().await;
        self.meter.run()
    }
}
