//! This member's part in a conference: signalling, what it sends, its connections, and what it shows of the others.
//! `call` and `meet` share this code.

mod chat;
mod files;
mod microphone;
mod orders;
mod overload;
mod own_media;
mod pair;
mod pairs;
mod participants;
mod received;
mod room;
mod second;
mod server_media;
mod sharing;
mod signals;
mod spotlight;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};

use self::files::Files;
use self::overload::Overload;
use self::own_media::{CaptureEvents, OwnMedia};
use self::pair::{PairContext, PairInput, PairOutput};
use self::pairs::Pairs;
use self::participants::ParticipantList;
pub(super) use self::received::Received;
use self::room::MeetingRoom;
use self::server_media::{ServerMedia, ServerMediaEvent};
use self::spotlight::Spotlight;
use super::chat_commands::{Place, StudentInput};
use super::client_network::ClientRelays;
use super::server_connection::{Joining, ServerConnection};
use super::sink::choose_sink;
use super::speaker_views::ViewOutput;
use super::stdin::StdinLines;
use super::student_talk::StudentTalk;
use super::uplink_connection::UplinkEvent;
use super::{blocking, or_never};
use crate::cli::{ConferenceOutput, Member};
use crate::endpoints::RenderInput;
use crate::exit::Failure;
use crate::id::UserId;
use crate::media::{CaptureEvent, GridOptions, Render, RenderEvent, Sources};
use crate::protocol::{ClientKind, ClientMessage, IceCandidate, Participants, RoomKind, ServerMessage, TrackName};
use crate::report::{EndReason, Event, ParticipantState, PathReport, Reporter};
use crate::rtp::Track;
use crate::signal::ServerUrl;
use crate::viewer::{IceServers, ViewerConfig};

/// How often to look whose media has arrived from the server, while somebody's has not, or whose picture is to be
/// large: for this long a picture may be shown twice.
const LOOK: Duration = Duration::from_millis(20);

/// The request of a verb.
pub(super) struct ConferenceOptions<'a> {
    pub(super) member: &'a Member,
    pub(super) kind: RoomKind,
    pub(super) client: ClientKind,
    /// None: nothing is sent.
    pub(super) sources: Option<Sources>,
    pub(super) output: &'a ConferenceOutput,
}

/// An event for the verb.
#[derive(Debug)]
pub(super) enum ConferenceEvent {
    /// This member has joined the room, for the first time or again.
    Joined,
    /// The server has sent the list of participants.
    Listed,
    /// The connection to a participant is there, for the first time or again.
    Connected,
    /// Nothing arrives from a participant at present.
    Reconnecting,
    /// Another message of the server.
    Message(ServerMessage),
    /// The user wants to leave, or to hang up.
    Leave,
    /// The user has closed the window, or the file that is sent has ended.
    Over(EndReason),
}

/// This member's part in a conference.
pub(super) struct Conference<'a> {
    relays: ClientRelays,
    member: &'a Member,
    reporter: &'a Reporter,
    signalling: ServerConnection<'a>,
    /// The server at which this member is, or last was, in the room.
    server: Option<ServerUrl>,
    list: ParticipantList,
    pairs: Pairs,
    server_media: ServerMedia,
    spotlight: Spotlight,
    context: Arc<PairContext>,
    /// The render of the grid.
    screen: RenderInput,
    render_events: mpsc::Receiver<RenderEvent>,
    capture_events: Option<CaptureEvents>,
    second: Interval,
    /// When to look whose media has arrived.
    look: Interval,
    /// The messages that wait for the connection to the server's media, in order.
    of_server: VecDeque<OfServer>,
    place: Place,
    files: Files,
    room: MeetingRoom,
    talk: StudentTalk,
    /// The number of the last message of a call.
    message_id: u64,
    /// Reads the lines that are typed until it is dropped.
    _stdin: Option<StdinLines>,
    typed: Option<mpsc::Receiver<String>>,
    received: Received,
    overload: Overload,
}

/// What has to be done in order, and may take some time.
enum OfServer {
    Uplink(UplinkEvent),
    Answer(UserId, String),
    Candidate(UserId, IceCandidate),
}

impl<'a> Conference<'a> {
    /// Starts the capture and the sink, and begins to look for the server.
    ///
    /// # Errors
    /// If the sink can't be opened, or the directory of `--files` or the file of `--ca` can't be used.
    pub(super) async fn start(options: ConferenceOptions<'a>, reporter: &'a Reporter) -> Result<Self, Failure> {
        let ConferenceOptions { member, kind, client, sources, output } = options;
        let (begun, latency) = (Instant::now(), output.latency);
        let files = Files::new(output.files.as_deref())?;
        let sink = choose_sink(&output.sink, reporter)?;
        let title = format!("classroom {}", member.room);
        let starting = blocking(move || Render::start_grid(GridOptions { sink, latency, title }));
        let (render, render_events) = starting.await??;
        let Some(stage) = render.stage().cloned() else {
            return Err(Failure::internal(anyhow::anyhow!("a grid has a stage")));
        };
        let (media, capture_events) = OwnMedia::start(sources, reporter).await;
        let joining = Joining { member: member.clone(), kind: Some(kind), client };
        let signalling = ServerConnection::start(joining, begun, reporter)?;
        let network = Mutex::new(ViewerConfig { bind: Vec::new(), ice_servers: IceServers::default() });
        let context = Arc::new(PairContext { network, media, stage, latency });
        let screen = RenderInput::default();
        screen.show(render);
        let place = if kind == RoomKind::Call { Place::Call } else { Place::Meeting };
        let (stdin, typed) = StdinLines::start(output.chat, StudentInput::commands(place), reporter).unzip();
        const SECOND: Duration = Duration::from_secs(1);
        let mut second = interval_at(begun + SECOND, SECOND);
        second.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut look = interval_at(begun, LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Ok(Self {
            relays: ClientRelays::new(member)?,
            member,
            reporter,
            signalling,
            server: None,
            list: ParticipantList::new(member.user.clone()),
            server_media: ServerMedia::new(member.user.clone(), Arc::clone(&context)),
            spotlight: Spotlight::new(member.user.clone()),
            look,
            of_server: VecDeque::new(),
            pairs: Pairs::new(Arc::clone(&context)),
            context,
            screen,
            render_events,
            capture_events,
            second,
            place,
            files,
            room: MeetingRoom::new(member.user.clone()),
            talk: StudentTalk::new(member.user.clone()),
            message_id: 0,
            _stdin: stdin,
            typed,
            received: Received::default(),
            overload: Overload::default(),
        })
    }

    /// The next event. Cancel-safe.
    ///
    /// # Errors
    /// If no server is found in time, the server refuses this member, or the sink fails.
    pub(super) async fn next(&mut self) -> Result<ConferenceEvent, Failure> {
        loop {
            self.do_of_server().await;
            let looks = self.server_media.awaits_media() || self.spotlight.is_awaited();
            let event = tokio::select! {
                event = self.server_media.next() => {
                    self.on_server_media(event);
                    None
                }
                _ = self.look.tick(), if looks => {
                    self.move_pairs();
                    self.enlarge();
                    None
                }
                event = self.signalling.next() => self.on_signal(event?),
                (other, output) = self.pairs.next() => self.on_pair(&other, output),
                news = self.files.next() => {
                    let steps = self.files.apply(news, self.reporter);
                    self.do_files(steps);
                    None
                }
                event = self.render_events.recv() => match event {
                    Some(RenderEvent::WindowClosed) => Some(ConferenceEvent::Over(EndReason::WindowClosed)),
                    Some(RenderEvent::Error(error)) => return Err(error.into()),
                    Some(RenderEvent::Warning(sentence)) => {
                        self.reporter.warn(sentence);
                        None
                    }
                    Some(RenderEvent::FirstFrame { .. } | RenderEvent::KeyFrameNeeded(_)) => None,
                    // The render has ended by an error, which has been told.
                    None => std::future::pending().await,
                },
                event = or_never(self.capture_events.as_mut().map(mpsc::Receiver::recv)) => self.on_capture(event),
                line = or_never(self.typed.as_mut().map(mpsc::Receiver::recv)) => match line {
                    Some(line) => self.on_typed(&line),
                    None => {
                        self.typed = None;
                        None
                    }
                },
                _ = self.second.tick() => {
                    // A render that has started again is small.
                    self.enlarge();
                    self.on_second();
                    None
                }
            };
            if let Some(event) = event {
                return Ok(event);
            }
        }
    }

    /// Sends a message; one that does not reach the server is lost.
    pub(super) fn send(&self, message: ClientMessage) {
        self.signalling.send(message);
    }

    /// The tracks that this member sends.
    pub(super) fn sends(&self) -> Vec<TrackName> {
        self.context.media.sends()
    }

    /// The participants, by the last list.
    pub(super) fn list(&self) -> &ParticipantList {
        &self.list
    }

    /// The server, in a sentence.
    pub(super) fn server(&self) -> String {
        self.server.as_ref().map_or_else(String::new, ServerUrl::authority)
    }

    /// This member takes no part any more: its connections end.
    pub(super) fn clear(&mut self) {
        self.listed(Participants::default());
    }

    /// Leaves the room, and completes a recording. Returns what has arrived.
    pub(super) async fn finish(mut self) -> Received {
        let received = self.take_received();
        let Self { signalling, pairs, server_media, context, screen, .. } = self;
        drop(context);
        server_media.finish().await;
        let context = pairs.end().await;
        signalling.leave().await;
        if let Some(render) = screen.take() {
            let _ = blocking(move || render.finish()).await;
        }
        if let Some(context) = Arc::into_inner(context) {
            context.media.stop().await;
        }
        received
    }

    fn on_server_media(&mut self, event: ServerMediaEvent) {
        match event {
            ServerMediaEvent::Uplink(event) => self.of_server.push_back(OfServer::Uplink(event)),
            ServerMediaEvent::View(user, ViewOutput::Offer(sdp)) => {
                let target_uid = user.clone();
                let offer = ClientMessage::Offer { target_uid, sdp, entry: None, video: None, tracks: None };
                if !self.signalling.send(offer) {
                    self.server_media.not_sent(&user);
                }
            }
            ServerMediaEvent::View(target_uid, ViewOutput::Candidate(candidate)) => {
                self.send(ClientMessage::Candidate { target_uid, candidate, entry: None, source: None });
            }
            ServerMediaEvent::View(_, ViewOutput::Warn(sentence)) => self.reporter.warn(sentence),
            ServerMediaEvent::View(_, ViewOutput::Shows(sentence)) => self.reporter.notice(sentence),
            ServerMediaEvent::View(_, ViewOutput::Rendering) => {}
        }
    }

    /// Does what waits for the connection to the server's media. If this is cancelled, the offer or the answer in hand
    /// is lost, and another offer follows.
    async fn do_of_server(&mut self) {
        while let Some(next) = self.of_server.pop_front() {
            match next {
                OfServer::Uplink(event) => {
                    if let Some(message) = self.server_media.on_uplink(event).await {
                        self.send(message);
                    }
                }
                OfServer::Answer(user, sdp) => self.server_media.answered(&user, sdp).await,
                OfServer::Candidate(user, candidate) => self.server_media.candidate(&user, candidate).await,
            }
        }
    }

    /// Tells the pairs of those whose media has arrived from the server.
    fn move_pairs(&mut self) {
        let pairs = &self.pairs;
        for other in self.server_media.newly_arrived(self.list.others(), |user| pairs.is_connected(user)) {
            self.pairs.release(&other);
            self.tell_of(&other, ParticipantState::Connected);
        }
    }

    /// Shows the participant of the spotlight large, once a frame of it has been decoded.
    fn enlarge(&mut self) {
        let Self { spotlight, list, server_media, pairs, .. } = self;
        let has_picture = |render: &Render, user: &UserId| {
            let sends = list.others().filter(|other| other.user_id == *user).flat_map(|other| &other.sends);
            let mut videos = sends.copied().map(Track::from).filter(|track| track.is_video());
            videos.any(|track| render.stats(track).frames_decoded > 0)
        };
        let has_arrived = |user: &UserId| {
            let on_server = server_media.with_render(user, |render| has_picture(render, user));
            on_server.or_else(|| pairs.with_render(user, |render| has_picture(render, user))).unwrap_or(false)
        };
        let Some(large) = spotlight.look(has_arrived) else { return };
        if server_media.with_render(large, |render| render.enlarge(true)).is_none() {
            pairs.with_render(large, |render| render.enlarge(true));
        }
    }

    fn on_pair(&mut self, other: &UserId, output: PairOutput) -> Option<ConferenceEvent> {
        let (entry, target_uid) = (self.list.entry_of(other), other.clone());
        match output {
            PairOutput::Offer(sdp) => {
                self.send(ClientMessage::Offer { target_uid, sdp, entry, video: None, tracks: None });
            }
            PairOutput::Answer(sdp) => self.send(ClientMessage::Answer { target_uid, sdp, entry, source: None }),
            PairOutput::Candidate(candidate) => {
                self.send(ClientMessage::Candidate { target_uid, candidate, entry, source: None });
            }
            PairOutput::Connected(relayed) => {
                self.tell_of(other, ParticipantState::Connected);
                let path = self.relays.path(relayed);
                self.reporter.event(&Event::Path(PathReport { user: Some(other.clone()), path }));
                return Some(ConferenceEvent::Connected);
            }
            PairOutput::Reconnecting => {
                self.tell_of(other, ParticipantState::Reconnecting);
                return Some(ConferenceEvent::Reconnecting);
            }
            PairOutput::Undecodable(tracks, codec) => {
                let tracks = tracks.into_iter().map(TrackName::from).collect();
                self.tell_of(other, ParticipantState::Undecodable { tracks, codec });
            }
            PairOutput::Moved => self.close_moved(),
            PairOutput::File(message) => self.on_file(other, message),
            PairOutput::FileChannel(channel) => self.files.channel(other, channel),
            PairOutput::FileNotSaid(id) => self.files.not_said(other, &id, self.reporter),
            PairOutput::FilesLost => self.files.lost(other, self.reporter),
            PairOutput::Said(message) => self.on_said(message),
            PairOutput::Heard(text) => self.on_heard(other, &text),
            PairOutput::Warn(sentence) => self.reporter.warn(sentence),
        }
        None
    }

    fn on_capture(&mut self, event: Option<CaptureEvent>) -> Option<ConferenceEvent> {
        match event {
            Some(CaptureEvent::Playing { .. } | CaptureEvent::Slide(_) | CaptureEvent::Scene(_)) => None,
            Some(CaptureEvent::Warning(sentence)) => {
                self.reporter.warn(sentence);
                None
            }
            Some(CaptureEvent::Error(error)) => {
                self.reporter.warn(format!("the others neither see nor hear you any more: {error}"));
                self.capture_events = None;
                None
            }
            Some(CaptureEvent::Eos) | None => {
                self.capture_events = None;
                Some(ConferenceEvent::Over(EndReason::EndOfFile))
            }
        }
    }

    fn tell_of(&self, other: &UserId, state: ParticipantState) {
        let known = self.list.others().find(|participant| participant.user_id == *other);
        self.tell(other, known.map_or("", |participant| participant.nickname.as_str()), state);
    }

    fn tell(&self, user: &UserId, nickname: &str, state: ParticipantState) {
        self.reporter.event(&Event::Participant { user: user.clone(), nickname: nickname.to_owned(), state });
    }
}
