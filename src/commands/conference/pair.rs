//! The connection to one other participant, and its render.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::own_media::{OwnMedia, SentVideo};
use super::participants::PairSide;
use crate::commands::negotiation::{candidate_init, wire_candidate};
use crate::commands::{blocking, or_never};
use crate::endpoints::RenderInput;
use crate::id::named;
use crate::media::{RenderEvent, RenderStage, SpeakerOptions, TrackFormat};
use crate::pair::{FileChannel, Peer, PeerConfig, PeerEvent, PeerEvents};
use crate::protocol::channel::StudentMessage;
use crate::protocol::{IceCandidate, PairFileId, PairFileMessage, TrackName};
use crate::rtp::{Codec, Latency, Track};
use crate::token_bucket::TokenBucket;
use crate::viewer::{Incoming, ViewerConfig};

/// How long a connection may take to be established, or to come back.
const CONNECTS_WITHIN: Duration = Duration::from_secs(10);

/// The pause after a connection that could not be set up.
const RETRY: Duration = Duration::from_secs(1);

/// The time from the jitter buffer to the sound card.
const PLAYS_WITHIN: Duration = Duration::from_millis(80);

/// The message by which each side says that it needs no media over this pair any more.
const MOVED: &str = r#"{"type":"moved"}"#;

/// An input of a pair.
pub(super) enum PairInput {
    /// The other one offers.
    Offer(String),
    /// The other one answers.
    Answer(String),
    /// A candidate of the other one.
    Candidate(IceCandidate),
    /// The other one sends these tracks.
    Sends(Vec<TrackName>),
    /// The other one's media arrives from the server, or the other one sends nothing: nothing is wanted from here any
    /// more.
    Moved,
    /// A message for the other one, in the chat of a call.
    Say(StudentMessage),
    /// A message about a file for the other one.
    File(PairFileMessage),
    /// Open the channel of an own file.
    OpenFile(PairFileId),
}

/// An output of a pair.
pub(super) enum PairOutput {
    /// An offer for the other one.
    Offer(String),
    /// An answer for it.
    Answer(String),
    /// A candidate for it.
    Candidate(IceCandidate),
    /// Media may flow, relayed from this address at a TURN server if there is one.
    Connected(Option<SocketAddr>),
    /// Nothing arrives at present.
    Reconnecting,
    /// The other one can't decode the video of this member.
    Undecodable(Vec<Track>, Codec),
    /// Nobody needs media over this pair any more.
    Moved,
    /// This message has gone to the other one.
    Said(StudentMessage),
    /// A text of the other one; it is not parsed yet.
    Heard(String),
    /// A message of the other one about a file.
    File(PairFileMessage),
    /// The channel of a file, which either side has made.
    FileChannel(FileChannel),
    /// A word about this file did not reach the other one.
    FileNotSaid(PairFileId),
    /// The connection has ended, and with it the files.
    FilesLost,
    /// A problem, for the user.
    Warn(String),
}

/// What all pairs share.
pub(super) struct PairContext {
    pub(super) network: std::sync::Mutex<ViewerConfig>,
    pub(super) media: OwnMedia,
    pub(super) stage: RenderStage,
    pub(super) latency: Latency,
}

/// A pair that runs.
pub(super) struct Pair {
    pub(super) context: Arc<PairContext>,
    pub(super) side: PairSide,
    /// The number of this pair, which no other had.
    pub(super) number: u64,
    pub(super) outputs: mpsc::Sender<(u64, PairOutput)>,
    pub(super) screen: Arc<RenderInput>,
    pub(super) render_events: Option<mpsc::Receiver<RenderEvent>>,
    pub(super) formats: Vec<TrackFormat>,
    pub(super) sends: Vec<TrackName>,
    /// Whether the other one's media arrives from the server, and is not taken from here any more.
    pub(super) has_moved: Arc<AtomicBool>,
    /// When the last frame of the other one that was taken from here has been shown.
    pub(super) drained: Option<Instant>,
    /// Limits the messages of the other one.
    pub(super) pace: TokenBucket,
}

/// How a connection ended.
enum Ended {
    /// The pair ends.
    Closed,
    /// Another connection follows, perhaps by this offer of the other one.
    Again(Option<String>),
    /// Nothing could be set up.
    Failed,
}

impl Pair {
    /// Works until the sender of the inputs is dropped.
    pub(super) async fn run(mut self, mut inputs: mpsc::Receiver<PairInput>) {
        let mut offer = None;
        loop {
            match self.connection(offer.take(), &mut inputs).await {
                Ended::Closed => break,
                Ended::Again(of_other) => offer = of_other,
                Ended::Failed => match self.pause(&mut inputs).await {
                    Ok(of_other) => offer = of_other,
                    Err(()) => break,
                },
            }
            self.tell(PairOutput::FilesLost).await;
        }
        if let Some(drained) = self.drained.take() {
            sleep_until(drained).await;
        }
        self.stop_render().await;
    }

    /// Waits a while. Returns an offer that has come; the error means that the pair ends.
    async fn pause(&mut self, inputs: &mut mpsc::Receiver<PairInput>) -> Result<Option<String>, ()> {
        let (until, mut offer) = (Instant::now() + RETRY, None);
        while let Ok(input) = timeout_at(until, inputs.recv()).await {
            match input.ok_or(())? {
                PairInput::Offer(sdp) => offer = Some(sdp),
                PairInput::Sends(sends) => self.set_sends(sends),
                PairInput::Moved => {
                    self.takes_no_more();
                    // A pair that does not work has nothing that could be interrupted.
                    self.tell(PairOutput::Moved).await;
                }
                PairInput::Say(_) => self.not_said().await,
                PairInput::File(message) => self.tell(PairOutput::FileNotSaid(message.into_id())).await,
                PairInput::OpenFile(id) => self.tell(PairOutput::FileNotSaid(id)).await,
                PairInput::Answer(_) | PairInput::Candidate(_) => {}
            }
        }
        Ok(offer)
    }

    /// One connection, from its first description to its end.
    async fn connection(&mut self, offer: Option<String>, inputs: &mut mpsc::Receiver<PairInput>) -> Ended {
        let (screen, has_moved) = (Arc::clone(&self.screen), Arc::clone(&self.has_moved));
        let sink = Arc::new(move |incoming: Incoming<'_>| {
            if !has_moved.load(Ordering::Relaxed) {
                screen.push(incoming);
            }
        });
        let network = self.context.network.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
        let encodings = self.context.media.encodings();
        let config = PeerConfig { network, encodings, is_polite: self.side.is_polite };
        let (mut peer, mut events) = match Peer::new(config, sink).await {
            Ok(peer) => peer,
            Err(error) => {
                self.tell(PairOutput::Warn(format!("can't set up a connection to {}: {error}", self.name()))).await;
                return Ended::Failed;
            }
        };
        self.context.media.attach(self.number, peer.input());
        let ended = match self.begin(&mut peer, offer).await {
            Ok(()) => self.converse(&mut peer, &mut events, inputs).await,
            Err(ended) => ended,
        };
        self.context.media.detach(self.number);
        peer.close().await;
        ended
    }

    /// The first description of this side: an answer, an offer, or none yet.
    async fn begin(&mut self, peer: &mut Peer, offer: Option<String>) -> Result<(), Ended> {
        match offer {
            Some(offer) => self.offered(peer, offer).await,
            None if self.side.offers => match peer.offer().await {
                Ok(sdp) => {
                    self.tell(PairOutput::Offer(sdp)).await;
                    Ok(())
                }
                Err(_) => Err(Ended::Failed),
            },
            None => Ok(()),
        }
    }

    async fn converse(
        &mut self,
        peer: &mut Peer,
        events: &mut PeerEvents,
        inputs: &mut mpsc::Receiver<PairInput>,
    ) -> Ended {
        let (mut is_said, mut is_heard, mut is_connected) = (false, false, false);
        // The side that waits for an offer waits as long as it takes.
        let mut deadline = self.side.offers.then(|| Instant::now() + CONNECTS_WITHIN);
        loop {
            tokio::select! {
                input = inputs.recv() => match input {
                    Some(PairInput::Offer(sdp)) if peer.is_foreign(&sdp) => return Ended::Again(Some(sdp)),
                    Some(PairInput::Offer(sdp)) => if let Err(ended) = self.offered(peer, sdp).await {
                        return ended;
                    },
                    Some(PairInput::Answer(sdp)) => match peer.answered(sdp).await {
                        Ok(another) => {
                            if let Some(sdp) = another {
                                self.tell(PairOutput::Offer(sdp)).await;
                            }
                            self.negotiated(peer).await;
                        }
                        Err(_) => return Ended::Failed,
                    },
                    Some(PairInput::Candidate(candidate)) => peer.candidate(candidate_init(candidate)).await,
                    Some(PairInput::Sends(sends)) => self.set_sends(sends),
                    Some(PairInput::Moved) => {
                        self.takes_no_more();
                        is_said = peer.say(MOVED).await;
                        // A pair that does not work has nothing that could be interrupted.
                        let is_over = if is_said { is_heard } else { !is_connected };
                        if is_over {
                            self.tell(PairOutput::Moved).await;
                        }
                    }
                    Some(PairInput::Say(message)) => {
                        if peer.say(&message.to_json()).await {
                            self.tell(PairOutput::Said(message)).await;
                        } else {
                            self.not_said().await;
                        }
                    }
                    Some(PairInput::File(message)) => if !peer.say(&message.to_json()).await {
                        self.tell(PairOutput::FileNotSaid(message.into_id())).await;
                    },
                    Some(PairInput::OpenFile(id)) => self.tell(match peer.open_file(id.clone()).await {
                        Ok(channel) => PairOutput::FileChannel(channel),
                        Err(_) => PairOutput::FileNotSaid(id),
                    }).await,
                    None => return Ended::Closed,
                },
                event = events.next() => match event {
                    PeerEvent::Candidate(candidate) => {
                        self.tell(PairOutput::Candidate(wire_candidate(candidate))).await;
                    }
                    PeerEvent::Connected => {
                        deadline = None;
                        is_connected = true;
                        self.context.media.connected(self.number);
                        self.tell(PairOutput::Connected(peer.relayed_address().await)).await;
                    }
                    PeerEvent::Format(..) => self.start_render(peer.formats()).await,
                    PeerEvent::BeginningMissed(track) => peer.request_key_frame(track).await,
                    PeerEvent::KeyFrameNeeded(encoding) => self.context.media.request_key_frame(encoding),
                    PeerEvent::Encodings(encodings) => {
                        let is_narrow = peer.is_narrow();
                        self.context.media.set_sent(self.number, SentVideo { encodings, is_narrow });
                    }
                    PeerEvent::ChannelOpen if self.has_moved() && !is_said => is_said = peer.say(MOVED).await,
                    PeerEvent::File(channel) => self.tell(PairOutput::FileChannel(channel)).await,
                    PeerEvent::Heard(text) if text == MOVED => {
                        is_heard = true;
                        self.context.media.detach(self.number);
                        if is_said {
                            self.tell(PairOutput::Moved).await;
                        }
                    }
                    PeerEvent::Heard(text) if self.pace.take(std::time::Instant::now()).is_ok() => {
                        self.tell(match PairFileMessage::parse(&text) {
                            Some(message) => PairOutput::File(message),
                            None => PairOutput::Heard(text),
                        }).await;
                    }
                    PeerEvent::ChannelOpen | PeerEvent::Heard(_) => {}
                    // The other side has closed the pair, and its last message was lost with it.
                    PeerEvent::Disturbed if is_said => self.tell(PairOutput::Moved).await,
                    PeerEvent::Gone if is_said => {
                        self.tell(PairOutput::FilesLost).await;
                        self.tell(PairOutput::Moved).await;
                    }
                    PeerEvent::Disturbed => {
                        is_connected = false;
                        self.tell(PairOutput::Reconnecting).await;
                        deadline = Some(Instant::now() + CONNECTS_WITHIN);
                        // One side is enough, and the other one may not have noticed.
                        if self.side.offers && let Ok(Some(sdp)) = peer.restart().await {
                            self.tell(PairOutput::Offer(sdp)).await;
                        }
                    }
                    PeerEvent::Gone => {
                        self.tell(PairOutput::Reconnecting).await;
                        return Ended::Failed;
                    }
                },
                event = or_never(self.render_events.as_mut().map(mpsc::Receiver::recv)) => match event {
                    Some(RenderEvent::KeyFrameNeeded(track)) => peer.request_key_frame(track).await,
                    event => self.on_render(event).await,
                },
                () = or_never(self.drained.map(sleep_until)) => {
                    self.drained = None;
                    self.stop_render().await;
                }
                () = or_never(deadline.map(sleep_until)) => return Ended::Again(None),
            }
        }
    }

    async fn offered(&mut self, peer: &mut Peer, sdp: String) -> Result<(), Ended> {
        match peer.offered(sdp).await {
            Ok(Some(answer)) => {
                self.tell(PairOutput::Answer(answer)).await;
                self.negotiated(peer).await;
                Ok(())
            }
            Ok(None) => Ok(()),
            Err(_) => Err(Ended::Failed),
        }
    }

    /// Both sides have agreed on the codecs.
    async fn negotiated(&mut self, peer: &Peer) {
        let lacking = peer.undecodable();
        if let Some((_, codec)) = lacking.first() {
            let tracks = lacking.iter().map(|(track, _)| *track).collect();
            self.tell(PairOutput::Undecodable(tracks, *codec)).await;
        }
        self.start_render(peer.formats()).await;
    }

    /// Starts a render for these tracks, unless the running one has the same.
    async fn start_render(&mut self, tracks: Vec<(Track, Codec, u8)>) {
        let mut formats: Vec<TrackFormat> =
            tracks.into_iter().map(|(track, codec, payload_type)| TrackFormat { track, codec, payload_type }).collect();
        formats.sort_by_key(|format| format.track);
        if self.has_moved() || formats.is_empty() || formats == self.formats && self.render_events.is_some() {
            return;
        }
        self.stop_render().await;
        self.formats.clone_from(&formats);
        let (user, latency) = (self.side.other.user_id.clone(), self.context.latency);
        let options = SpeakerOptions { user, name: self.name(), latency, tracks: formats };
        let stage = self.context.stage.clone();
        match blocking(move || stage.start(&options)).await {
            Ok(Ok((render, events))) => {
                self.screen.show(render);
                self.render_events = Some(events);
                self.set_sends(self.sends.clone());
            }
            Ok(Err(error)) => self.tell(PairOutput::Warn(format!("can't show {}: {error}", self.name()))).await,
            Err(failure) => self.tell(PairOutput::Warn(format!("can't show {}: {failure}", self.name()))).await,
        }
    }

    async fn on_render(&mut self, event: Option<RenderEvent>) {
        match event {
            Some(RenderEvent::FirstFrame { .. } | RenderEvent::KeyFrameNeeded(_) | RenderEvent::WindowClosed) => {}
            Some(RenderEvent::Warning(sentence)) => self.tell(PairOutput::Warn(sentence)).await,
            Some(RenderEvent::Error(error)) => {
                self.tell(PairOutput::Warn(format!("can't show {}: {error}", self.name()))).await;
                self.stop_render().await;
            }
            None => self.render_events = None,
        }
    }

    fn has_moved(&self) -> bool {
        self.has_moved.load(Ordering::Relaxed)
    }

    /// The other one's media arrives from the server: what waits in the jitter buffer is still heard, so that the audio
    /// from the server, which waits as long in another one, follows without a gap.
    fn takes_no_more(&mut self) {
        self.has_moved.store(true, Ordering::Relaxed);
        let videos = || self.formats.iter().map(|format| format.track).filter(|track| track.is_video());
        let delay = self.screen.with(|render| {
            for track in videos() {
                render.expect(track, false);
                render.show(track, false);
            }
            render.delay()
        });
        self.drained = delay.map(|delay| Instant::now() + delay + PLAYS_WITHIN);
    }

    async fn stop_render(&mut self) {
        self.render_events = None;
        if let Some(render) = self.screen.take() {
            let _ = blocking(move || render.finish()).await;
        }
    }

    /// Hides the pictures that the other one does not send.
    fn set_sends(&mut self, sends: Vec<TrackName>) {
        self.sends = sends;
        self.screen.with(|render| {
            for track in self.formats.iter().map(|format| format.track).filter(|track| track.is_video()) {
                let is_sent = self.sends.contains(&TrackName::from(track));
                render.expect(track, is_sent);
                render.show(track, is_sent);
            }
        });
    }

    async fn not_said(&self) {
        let sentence = format!("not sent: there is no connection to {} at the moment; try again later", self.name());
        self.tell(PairOutput::Warn(sentence)).await;
    }

    /// The other one in a sentence.
    fn name(&self) -> String {
        named(&self.side.other.user_id, self.side.other.nickname.as_str()).to_string()
    }

    /// After the end nobody reads.
    async fn tell(&self, output: PairOutput) {
        let _ = self.outputs.send((self.number, output)).await;
    }
}
