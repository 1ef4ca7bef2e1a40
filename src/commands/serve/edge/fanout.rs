//! The sender of a lecture to the students of an edge: an SFU of this process, or a node of an engine.

use super::lecture_sfu::{LectureSfu, rate, tracks};
use crate::commands::hosted_source::SourceSettings;
use crate::commands::serve::engine::{EngineEvent, EngineLecture, EngineOrder, Lines, Node};
use crate::id::UserId;
use crate::network::NetworkTag;
use crate::protocol::channel::{SentTiers, Viewing};
use crate::protocol::{ClientMessage, IceCandidate, VideoTrack};
use crate::rtp::{Codec, Encoding, Frame, Tier, Track};
use crate::sfu::{Departure, SfuEvent, SfuStats};

/// The sender of a lecture.
pub(super) enum Fanout {
    Sfu(LectureSfu),
    /// With the tracks that students get.
    Engine(Box<EngineLecture>, Vec<(Track, Codec)>),
}

/// An event of the sender.
pub(super) enum FanoutEvent {
    /// Students can be served from now on.
    Ready,
    Sfu(SfuEvent),
    /// A message for the room.
    Send(ClientMessage),
    /// A student is connected that has no data channel.
    Connected(UserId),
    /// The end; why a node of an engine can't be used.
    Ended(Option<String>),
}

impl Fanout {
    /// Starts to send. `publisher` names the SFU in logs.
    ///
    /// # Errors
    /// If the sender can't be started.
    pub(super) async fn start(
        publisher: UserId,
        encodings: Vec<Encoding>,
        source: SourceSettings,
        engine: Option<(&Node, Lines)>,
    ) -> Result<Self, String> {
        Ok(match engine {
            None => Self::Sfu(LectureSfu::start(publisher, encodings, source).await?),
            Some((node, lines)) => {
                let tracks = tracks(&encodings);
                let encodings = encodings.into_iter().map(|encoding| (encoding, rate(encoding))).collect();
                Self::Engine(Box::new(EngineLecture::start(node, encodings, source.max_receivers, lines)?), tracks)
            }
        })
    }

    /// A function for the frames of the lecture.
    pub(super) fn input(&self) -> Box<dyn Fn(Frame) + Send> {
        match self {
            Self::Sfu(sfu) => {
                let input = sfu.sfu().input();
                Box::new(move |frame| input.push(frame))
            }
            Self::Engine(engine, _) => Box::new(engine.input()),
        }
    }

    /// The next event. Cancel-safe.
    pub(super) async fn next(&mut self) -> FanoutEvent {
        match self {
            Self::Sfu(sfu) => sfu.next().await.map_or(FanoutEvent::Ended(None), FanoutEvent::Sfu),
            Self::Engine(engine, tracks) => match engine.next().await {
                EngineEvent::Ready => FanoutEvent::Ready,
                EngineEvent::Send(message) => FanoutEvent::Send(message),
                EngineEvent::Connected(user) => FanoutEvent::Connected(user),
                EngineEvent::Gone(user) => FanoutEvent::Sfu(SfuEvent::Gone { user, why: Departure::Lost }),
                EngineEvent::KeyFrameNeeded(encoding) => FanoutEvent::Sfu(SfuEvent::KeyFrameNeeded(encoding)),
                EngineEvent::NeedsLow(track, is_needed) => {
                    let codec = tracks.iter().find(|(of, _)| *of == track).map_or(Codec::H264, |(_, codec)| *codec);
                    FanoutEvent::Sfu(SfuEvent::Needed(Encoding { track, tier: Tier::Low, codec }, is_needed))
                }
                EngineEvent::Notice(sentence) => FanoutEvent::Sfu(SfuEvent::Notice(sentence)),
                EngineEvent::Lost(why) => FanoutEvent::Ended(Some(why)),
            },
        }
    }

    /// Whether students who are connected can go on with these encodings.
    pub(super) fn carries(&self, encodings: &[Encoding]) -> bool {
        let known: &[(Track, Codec)] = match self {
            Self::Sfu(sfu) => sfu.tracks(),
            Self::Engine(_, tracks) => tracks,
        };
        known == tracks(encodings)
    }

    /// The SFU of this process.
    pub(super) fn own(&self) -> Option<&LectureSfu> {
        match self {
            Self::Sfu(sfu) => Some(sfu),
            Self::Engine(..) => None,
        }
    }

    /// Whether students can be served: at an engine, once the lecture has arrived there.
    pub(super) fn is_ready(&self) -> bool {
        match self {
            Self::Sfu(_) => true,
            Self::Engine(engine, _) => engine.is_ready(),
        }
    }

    /// Whether the students have no data channel.
    pub(super) fn is_engine(&self) -> bool {
        matches!(self, Self::Engine(..))
    }

    /// An offer of a student.
    pub(super) fn offer(&self, user: UserId, sdp: String, video: Option<VideoTrack>, network: Option<NetworkTag>) {
        match self {
            Self::Sfu(sfu) => sfu.sfu().offer(user, sdp, video, network),
            Self::Engine(engine, _) => engine.order(EngineOrder::Offer(user, sdp, video)),
        }
    }

    /// The answer of a student to the offer of an engine.
    pub(super) fn answer(&self, user: UserId, sdp: String) {
        if let Self::Engine(engine, _) = self {
            engine.order(EngineOrder::Answer(user, sdp));
        }
    }

    /// A candidate of a student.
    pub(super) fn candidate(&self, user: UserId, candidate: IceCandidate) {
        match self {
            Self::Sfu(sfu) => sfu.candidate(user, candidate),
            Self::Engine(engine, _) => engine.order(EngineOrder::Candidate(user, candidate)),
        }
    }

    /// Sends a message of the channel of the lecture to one student.
    pub(super) fn tell(&self, user: UserId, text: &str) {
        match self {
            Self::Sfu(sfu) => sfu.sfu().tell(user, text),
            Self::Engine(engine, _) => engine.tell(Some(user), text),
        }
    }

    /// Sends a message of the channel of the lecture to all students.
    pub(super) fn tell_all(&self, text: &str) {
        match self {
            Self::Sfu(sfu) => sfu.sfu().tell_all(text),
            Self::Engine(engine, _) => engine.tell(None, text),
        }
    }

    /// The student wants at most these tiers. At an engine it gets those that its line carries.
    pub(super) fn limit(&self, user: UserId, tiers: SentTiers) {
        if let Self::Sfu(sfu) = self {
            sfu.sfu().limit(user, tiers.into());
        }
    }

    /// A student says what it has seen.
    pub(super) fn sees(&self, user: UserId, viewing: Viewing) {
        if let Self::Engine(engine, _) = self {
            engine.order(EngineOrder::Sees(user, viewing));
        }
    }

    /// The student has left.
    pub(super) fn remove(&self, user: UserId) {
        match self {
            Self::Sfu(sfu) => sfu.sfu().remove(user),
            Self::Engine(engine, _) => engine.order(EngineOrder::Remove(user)),
        }
    }

    /// Signalling of the student is lost. An engine notices by itself whether media still flows.
    pub(super) fn signalling_lost(&self, user: UserId) {
        if let Self::Sfu(sfu) = self {
            sfu.sfu().signalling_lost(user);
        }
    }

    /// Signalling of the student is back.
    pub(super) fn signalling_back(&self, user: UserId) {
        if let Self::Sfu(sfu) = self {
            sfu.sfu().signalling_back(user);
        }
    }

    /// The counters of an SFU, if it answers.
    pub(super) async fn stats(&self) -> Option<SfuStats> {
        match self {
            Self::Sfu(sfu) => sfu.stats().await,
            Self::Engine(..) => None,
        }
    }

    /// Says goodbye to all students.
    pub(super) async fn close(self) {
        match self {
            Self::Sfu(sfu) => sfu.close().await,
            Self::Engine(engine, _) => engine.close().await,
        }
    }
}
