//! `classroom watch`: connects signalling, one peer connection and a render, and reconnects by itself.

mod connection;
mod diagnosis;
mod engine;
mod janus;
mod janus_connection;
mod lesson;
mod monitor;
mod path;
mod playback;
mod signalling;
mod speak;
mod stage;
mod stats;
mod viewing;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use self::connection::PublisherConnection;
use self::diagnosis::{Diagnosis, TierReport};
use self::janus_connection::JanusConnection;
use self::lesson::{Action, LessonState};
use self::playback::WindowTitle;
use self::signalling::{ServerEvent, Signalling};
use self::speak::OwnStage;
use self::stage::SpeakersOnStage;
use self::stats::StatsCollector;
use self::viewing::ViewingCounter;
use super::breakouts::{Whereabouts, announced};
use super::chat_commands::{Place, StudentInput};
use super::client_network::ClientRelays;
use super::or_never;
use super::server_connection::{Joining, ServerConnection};
use super::sink::choose_sink;
use super::stdin::StdinLines;
use super::student_talk::StudentTalk;
use crate::cli::Watch;
use crate::endpoints::RenderInput;
use crate::exit::Failure;
use crate::expect::{self, Run};
use crate::media::{self, Render, RenderEvent, TrackFormat};
use crate::protocol::channel::Stopped;
use crate::protocol::{ClientKind, ErrorCode, LeaveReason, RoomKind, ServerMessage, User};
use crate::report::{EndReason, Event, Reporter};
use crate::sdp::accepted;
use crate::signal::{ServerUrl, SignalEvent};
use crate::suspension::{Suspension, SuspensionMonitor};
use crate::viewer::{IceServers, ViewerConfig};

/// The result of a `watch`.
#[derive(Debug)]
pub(super) struct Watched {
    /// Why it ended.
    pub(super) reason: EndReason,
    /// The statistics of the student.
    pub(super) run: Run,
}

/// Watches until `stop`, the end of the lecture, or until the window is closed. Then checks the expectations.
pub(super) async fn run(
    watch: Watch,
    reporter: &Reporter,
    stop: impl Future<Output = EndReason>,
) -> Result<Watched, Failure> {
    let begun = Instant::now();
    let stop = std::pin::pin!(stop);
    let mut session = Session {
        watch: &watch,
        reporter,
        sink: choose_sink(&watch.sink, reporter)?,
        signalling: match &watch.janus {
            Some(janus) => Signalling::Janus(Box::new(JanusConnection::start(&watch, janus, begun, reporter)?)),
            None => {
                let joining = Joining { member: watch.member.clone(), kind: None, client: ClientKind::Watch };
                Signalling::Classroom(Box::new(ServerConnection::start(joining, begun, reporter)?))
            }
        },
        server: None,
        connection: None,
        screen: Arc::default(),
        render_events: None,
        formats: Vec::new(),
        stats: StatsCollector::new(begun),
        diagnosis: Diagnosis::default(),
        tiers: None,
        stopped: Stopped::default(),
        lesson: LessonState::new(begun, watch.member.timeout, watch.retry),
        talk: StudentTalk::new(watch.member.user.clone()),
        breakouts: Whereabouts::default(),
        own_stage: OwnStage::new(&watch, reporter),
        speakers: SpeakersOnStage::new(watch.member.user.clone(), watch.latency, reporter),
        relays: ClientRelays::new(&watch.member)?,
        ice_servers: IceServers::default(),
        title: WindowTitle::new(watch.member.room.clone()),
        is_break: false,
        waits_for_admission: false,
        renders: 0,
        silent_seconds: 0,
        viewing: ViewingCounter::default(),
        heart: SuspensionMonitor::start(),
        last_pause: None,
    };
    let ended = session.run(stop).await;
    let run = session.finish(matches!(ended, Ok(EndReason::LectureOver))).await;
    let reason = ended?;
    let unmet = expect::unmet(&watch.expect, |metric| run.value(metric));
    if unmet.is_empty() { Ok(Watched { reason, run }) } else { Err(Failure::expectation_unmet(&unmet)) }
}

/// A student who watches, from the start of the process to its end.
struct Session<'a> {
    watch: &'a Watch,
    reporter: &'a Reporter,
    sink: media::Sink,
    signalling: Signalling<'a>,
    /// The server at which this student is, or last was, in the room.
    server: Option<ServerUrl>,
    connection: Option<PublisherConnection>,
    screen: Arc<RenderInput>,
    render_events: Option<mpsc::Receiver<RenderEvent>>,
    /// The tracks of the running render.
    formats: Vec<TrackFormat>,
    stats: StatsCollector,
    diagnosis: Diagnosis,
    /// The tiers of this connection, by the report of the SFU.
    tiers: Option<TierReport>,
    /// The video sources of the teacher that have stopped.
    stopped: Stopped,
    lesson: LessonState,
    talk: StudentTalk,
    breakouts: Whereabouts,
    own_stage: OwnStage<'a>,
    speakers: SpeakersOnStage<'a>,
    /// The typed STUN and TURN servers, or those that the server names.
    ice_servers: IceServers,
    /// The ways to the TURN servers among them.
    relays: ClientRelays,
    title: WindowTitle,
    /// Whether the teacher has left on purpose and nobody has taught since. Silence is no trouble then.
    is_break: bool,
    /// Whether this student waits in the lobby of the room.
    waits_for_admission: bool,
    /// How many renders have run, which numbers the files of a recording.
    renders: u32,
    /// How many seconds in a row brought no packet.
    silent_seconds: u32,
    /// For the attendance list of the teacher.
    viewing: ViewingCounter,
    heart: SuspensionMonitor,
    /// The last suspension of this process that has been handled.
    last_pause: Option<Suspension>,
}

impl Session<'_> {
    /// Handles events until one of them ends the session.
    async fn run(&mut self, mut stop: Pin<&mut impl Future<Output = EndReason>>) -> Result<EndReason, Failure> {
        const SECOND: Duration = Duration::from_secs(1);
        let mut second = interval_at(Instant::now() + SECOND, SECOND);
        second.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let commands = StudentInput::commands(Place::Lecture);
        let (_stdin, mut lines) = StdinLines::start(self.watch.chat, commands, self.reporter).unzip();
        loop {
            let due = self.lesson.due();
            tokio::select! {
                reason = &mut stop => return Ok(reason),
                event = self.signalling.next() => match event? {
                    ServerEvent::Classroom(event) => {
                        if let Some(reason) = self.on_signal(event).await? {
                            return Ok(reason);
                        }
                    }
                    ServerEvent::Janus(event) => self.on_janus(event).await?,
                },
                event = or_never(self.connection.as_mut().map(|connection| connection.events.recv())) => {
                    self.on_viewer(event).await;
                }
                event = or_never(self.render_events.as_mut().map(mpsc::Receiver::recv)) => {
                    if let Some(reason) = self.on_render(event).await? {
                        return Ok(reason);
                    }
                }
                output = self.speakers.next(), if self.lesson.is_connected() => self.on_speaker(output),
                event = self.own_stage.next() => self.on_own_stage(event).await,
                () = or_never(due.map(tokio::time::sleep_until)) => self.on_due().await?,
                line = or_never(lines.as_mut().map(mpsc::Receiver::recv)) => match line {
                    Some(line) => self.on_line(&line).await,
                    None => lines = None,
                },
                _ = second.tick() => self.on_second(),
            }
        }
    }

    /// Does what the lesson state asks for at this time.
    async fn on_due(&mut self) -> Result<(), Failure> {
        // The time of a suspension must not count as waiting time.
        self.check_for_pause();
        match self.lesson.step(Instant::now()) {
            Action::Nothing => Ok(()),
            Action::Connect => self.connect().await,
            Action::Explain(why) => {
                self.reporter.warn(why);
                Ok(())
            }
            Action::GiveUpWaiting(waited) if self.waits_for_admission => Err(Failure::refused(anyhow::anyhow!(
                "the teacher did not admit you to room {} within {} s (--timeout)",
                self.watch.member.room,
                waited.as_secs_f32()
            ))),
            Action::GiveUpWaiting(waited) => Err(Failure::nobody_taught(anyhow::anyhow!(
                "nobody taught in room {} at {} within {} s (--timeout); check the room id{}",
                self.watch.member.room,
                self.server.as_ref().map_or_else(String::new, ServerUrl::authority),
                waited.as_secs_f32(),
                if self.watch.janus.is_some() { "" } else { ": `classroom rooms` lists all rooms" }
            ))),
            Action::GiveUpLecture(waited) if !self.lesson.had_picture() => Err(Failure::media_lost(anyhow::anyhow!(
                "no picture of the lecture in room {} came within {} s (--retry): the teacher sends none, or a \
                 firewall blocks its UDP port",
                self.watch.member.room,
                waited.as_secs_f32()
            ))),
            Action::GiveUpLecture(waited) => Err(Failure::media_lost(anyhow::anyhow!(
                "the lecture in room {} broke off and did not come back within {} s (--retry)",
                self.watch.member.room,
                waited.as_secs_f32()
            ))),
        }
    }

    async fn on_signal(&mut self, event: SignalEvent) -> Result<Option<EndReason>, Failure> {
        match event {
            SignalEvent::Joined { room_name, users, kind, ice_servers: named, .. } => {
                self.check_kind(kind)?;
                self.title.set_room_name(room_name);
                self.ice_servers = self.relays.update(&self.watch.member, named);
                self.on_joined(&users);
            }
            SignalEvent::Waiting { room_name } => {
                self.title.set_room_name(room_name);
                self.on_waiting();
            }
            SignalEvent::Lost { reason } => {
                self.lesson.server_lost();
                self.reporter.warn(format!("lost the signalling server ({reason}), trying to reconnect"));
            }
            SignalEvent::Message(message) => return self.on_message(message).await,
            SignalEvent::Ended(_) => {}
        }
        Ok(None)
    }

    async fn on_message(&mut self, message: ServerMessage) -> Result<Option<EndReason>, Failure> {
        match message {
            ServerMessage::Join { users } => self.find_publisher(&users),
            ServerMessage::Leave { users, reason } => {
                if self.lesson.publisher().is_some_and(|publisher| users.contains(publisher)) {
                    return Ok(self.on_publisher_left(reason));
                }
            }
            ServerMessage::Answer { user_id, sdp, .. } if user_id == self.watch.member.user => {
                self.on_own_answer(sdp).await;
            }
            ServerMessage::Answer { user_id, sdp, .. } => {
                let Some(connection) = self.connection.as_mut().filter(|c| c.publisher == user_id) else {
                    self.on_speaker_answer(&user_id, sdp);
                    return Ok(None);
                };
                if !connection.answered {
                    connection.answered = true;
                    // An engine answers without our data channel.
                    connection.is_of_engine = !accepted::has_channel(&sdp);
                    match connection.viewer.answer(sdp).await {
                        Ok(tracks) => self.start_render(tracks).await?,
                        Err(error) => {
                            self.reporter.detail(format!("can't use the teacher's answer: {error}"));
                            self.lesson.failed(Instant::now());
                        }
                    }
                }
            }
            ServerMessage::Candidate { user_id, candidate, .. } if user_id == self.watch.member.user => {
                self.on_own_candidate(candidate).await;
            }
            ServerMessage::Candidate { user_id, candidate, .. } => self.on_candidate(&user_id, candidate).await,
            ServerMessage::Error { code, message, user_id, .. } => {
                if self.on_own_error(code, &message, user_id.as_ref()).await
                    || self.on_speaker_error(code, &message, user_id.as_ref())
                {
                    return Ok(None);
                }
                if user_id.is_some() && code.is_final() {
                    return Err(Failure::refused(anyhow::anyhow!("the teacher refused this student: {message}")));
                }
                if code != ErrorCode::UnknownTarget {
                    self.reporter.detail(format!("the server reports an error: {message}"));
                }
                self.lesson.failed(Instant::now());
            }
            ServerMessage::Hangup { user_id } if self.is_publisher(&user_id) => self.on_hangup(),
            ServerMessage::Hangup { user_id } => self.on_speaker_hangup(&user_id),
            ServerMessage::Offer { user_id, sdp, tracks: Some(tracks), .. } => {
                return self.on_engine_offer(&user_id, sdp, tracks).await.map(|()| None);
            }
            ServerMessage::Talk { message, .. } => {
                let effect = self.talk.received(message, self.reporter, &self.screen);
                self.on_effect(effect).await;
            }
            ServerMessage::Breakouts(breakouts) => {
                self.breakouts.watched(&breakouts).into_iter().for_each(|sentence| self.reporter.notice(sentence));
            }
            ServerMessage::Announcement { user_id, nickname, text } => {
                self.reporter.notice(announced(&user_id, &nickname, &text));
            }
            // Somebody has opened a meeting in the room in which this student waited for a teacher.
            ServerMessage::Room(room) => self.check_kind(room.kind)?,
            ServerMessage::Joined { .. }
            | ServerMessage::Waiting { .. }
            | ServerMessage::Lobby { .. }
            | ServerMessage::Order { .. }
            | ServerMessage::RoomUserList { .. }
            | ServerMessage::Call { .. }
            | ServerMessage::Accept { .. }
            | ServerMessage::Decline { .. }
            | ServerMessage::Participants(_)
            | ServerMessage::Channel { .. }
            | ServerMessage::Conference { .. }
            | ServerMessage::Heard { .. }
            | ServerMessage::FilePlace { .. }
            | ServerMessage::File(_)
            | ServerMessage::FileGone { .. }
            | ServerMessage::Pong
            | ServerMessage::MemberCount { .. }
            | ServerMessage::Edges { .. }
            | ServerMessage::Offer { .. } => {}
        }
        Ok(None)
    }

    /// Nobody teaches in a meeting or a call room.
    fn check_kind(&self, kind: RoomKind) -> Result<(), Failure> {
        let room = &self.watch.member.room;
        let (what, verb) = match kind {
            RoomKind::Lecture => return Ok(()),
            RoomKind::Meeting => ("a meeting", "meet"),
            RoomKind::Call => ("for calls", "call"),
        };
        let advice = format!("use `classroom {verb} --room {room}`, or watch another room");
        Err(Failure::refused(anyhow::anyhow!("room {room} is {what}, where nobody teaches: {advice}")))
    }

    /// The teacher has to admit this student. Media that runs goes on.
    fn on_waiting(&mut self) {
        let server = self.signalling.server().map_or_else(String::new, ToString::to_string);
        // Nothing can be offered until the student is in the room.
        self.lesson.server_lost();
        self.waits_for_admission = true;
        let (user, nickname) = (self.watch.member.user.clone(), self.watch.member.nickname.clone().into());
        self.reporter.event(&Event::Waiting { user, nickname, server });
        self.reporter.status("waiting for the teacher to admit you");
    }

    /// This student has joined the room, for the first time or again, perhaps at another server than before.
    fn on_joined(&mut self, users: &[User]) {
        self.waits_for_admission = false;
        let server = self.signalling.server().cloned();
        if let Some(server) = server.as_ref().filter(|server| self.server.as_ref() != Some(*server)) {
            let (user, nickname) = (self.watch.member.user.clone(), self.watch.member.nickname.clone().into());
            self.reporter.event(&Event::Joined { user, nickname, server: server.to_string() });
        } else if self.lesson.is_server_lost() {
            self.reporter.notice(format!("{} is back", self.signalling.noun()));
        }
        self.server = server;
        let (bind, ice_servers) = (self.bind_addresses(), self.ice_servers.clone());
        self.speakers.set_viewer(ViewerConfig { bind, ice_servers });
        let teacher = users.iter().find(|user| user.publishes);
        let publisher = teacher.map(|teacher| (teacher.user_id.clone(), teacher.epoch));
        let is_new = self.lesson.server_joined(publisher, Instant::now());
        match teacher.filter(|_| is_new) {
            Some(teacher) => self.on_publisher(teacher),
            None if !self.lesson.is_live() => self.reporter.status("waiting for a teacher"),
            None => {}
        }
    }

    fn find_publisher(&mut self, users: &[User]) {
        let Some(teacher) = users.iter().find(|user| user.publishes) else { return };
        if self.lesson.publisher_joined(teacher.user_id.clone(), teacher.epoch, Instant::now()) {
            self.on_publisher(teacher);
        }
    }

    /// A teacher has come who was not in the room before.
    fn on_publisher(&mut self, teacher: &User) {
        self.stats.teacher_joined();
        self.is_break = false;
        self.title.set_teacher(teacher);
        self.screen.with(|render| render.window().map(|window| window.set_title(&self.title.text())));
        let (user, nickname) = (Some(teacher.user_id.clone()), Some(teacher.nickname.clone().into()));
        self.reporter.event(&Event::Publisher { user, nickname });
    }

    fn on_publisher_left(&mut self, reason: LeaveReason) -> Option<EndReason> {
        self.lesson.publisher_left(Instant::now());
        self.show_message(Some("The teacher has left.\nThe lecture continues here when somebody teaches again."));
        match reason {
            LeaveReason::Ended => return Some(EndReason::LectureOver),
            LeaveReason::Left => {
                self.is_break = true;
                self.speakers.clear();
                self.screen.with(Render::expect_nothing);
                self.reporter.event(&Event::Publisher { user: None, nickname: None });
            }
            LeaveReason::Lost | LeaveReason::Removed => {
                self.reporter.event(&Event::Publisher { user: None, nickname: None });
            }
            LeaveReason::Replaced => {}
        }
        None
    }

    async fn on_line(&mut self, line: &str) {
        let (is_answer, reply) = self.own_stage.typed(line);
        if let Some(reply) = reply {
            self.send_to_teacher(reply).await;
        }
        if is_answer {
            return;
        }
        let message = match StudentInput::parse(line, Place::Lecture) {
            StudentInput::Speak => return self.speak().await,
            StudentInput::StepDown if self.own_stage.is_on() => return self.step_down().await,
            StudentInput::Pin(whom) => return self.speakers.pin(whom),
            input => self.talk.typed(input, self.reporter),
        };
        if let Some(message) = message {
            self.send_to_teacher(message).await;
        }
    }

    /// Leaves the room and returns what the student received.
    async fn finish(mut self, is_over: bool) -> Run {
        self.step_down().await;
        self.speakers.end().await;
        if let Some(connection) = self.connection.take() {
            connection.viewer.close().await;
        }
        self.stop_render(is_over).await;
        self.signalling.leave().await;
        self.stats.run()
    }
}
