//! For [`crate::fuzz`]: answers offers and reads datagrams as the router does, without sockets and threads.

use std::net::SocketAddr;
use std::sync::OnceLock;
use std::time::Instant;

use rtc::sansio::Protocol;

use super::candidates::Advertised;
use super::config::AnswerContext;
use super::peer::Peer;
use crate::id::UserId;
use crate::rtp::{Codec, Encoding, Track};
use crate::sdp::offer;
use crate::sdp::publish::PublishOffer;

/// The address of the SFU, and the one that datagrams come from.
const ADDRESSES: [([u8; 4], u16); 2] = [([192, 0, 2, 1], 5_000), ([192, 0, 2, 2], 6_000)];

/// The answer to a publisher's offer. None if it is refused.
pub(crate) fn answer_publisher(offer: &str, now: Instant) -> Option<String> {
    let offer = PublishOffer::parse(offer, None, &[]).ok()?;
    let addresses = Advertised::new(SocketAddr::from(ADDRESSES[0]), &[]);
    let user: UserId = "9999".parse().ok()?;
    Some(Peer::answer_publisher(user, offer, context()?, &addresses, now).ok()?.1)
}

fn context() -> Option<&'static AnswerContext> {
    static CONTEXT: OnceLock<Option<AnswerContext>> = OnceLock::new();
    CONTEXT.get_or_init(|| AnswerContext::new(true, 1).ok()).as_ref()
}

/// A peer that has not connected.
pub(crate) struct Unconnected {
    peer: Peer,
    /// The answer to its offer.
    pub(crate) answer: String,
}

/// Why there is no answer.
#[derive(Debug)]
pub(crate) enum Unanswered {
    /// The offer was refused before the core read it.
    Refused,
    /// The core refused it.
    ByCore(String),
}

impl Unconnected {
    /// Answers an offer of a lecture with audio, a screen in both codecs and a camera.
    ///
    /// # Errors
    /// If the offer can't be answered.
    pub(crate) fn new(offer: &str, now: Instant) -> Result<Self, Unanswered> {
        let by_core = |error: &dyn std::fmt::Display| Unanswered::ByCore(error.to_string());
        let context = context().ok_or_else(|| by_core(&"no certificate"))?;
        let sent = [
            (Track::Audio, Codec::Opus),
            (Track::Screen, Codec::H264),
            (Track::Screen, Codec::Vp8),
            (Track::Camera, Codec::H264),
        ];
        let tracks = offer::tracks_for(offer, None, &sent).map_err(|_| Unanswered::Refused)?;
        let tiers = sent.map(|(track, codec)| Encoding::full(track, codec));
        let user: UserId = "1001".parse().map_err(|error| by_core(&error))?;
        let addresses = Advertised::new(SocketAddr::from(ADDRESSES[0]), &[]);
        let (peer, answer) = Peer::answer(user, offer.to_owned(), &tracks, &tiers, context, &addresses, now)
            .map_err(|error| by_core(&error))?;
        Ok(Self { peer, answer })
    }

    /// Reads a datagram; returns the bytes that the core sends in response.
    pub(crate) fn read(&mut self, now: Instant, datagram: &[u8]) -> usize {
        let path = (SocketAddr::from(ADDRESSES[0]), SocketAddr::from(ADDRESSES[1]));
        let transport = &mut self.peer.transport;
        transport.receive(now, path, false, datagram.into());
        let connection = &mut transport.connection;
        while connection.poll_event().is_some() {}
        while connection.poll_read().is_some() {}
        std::iter::from_fn(|| connection.poll_write()).map(|sent| sent.message.len()).sum()
    }
}
