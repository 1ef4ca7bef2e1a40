//! The media that an edge receives: the packets of its connections become frames for its SFU. Nothing is decoded.
//!
//! Each tier comes over a connection of its own, which requests missing packets itself. One [`Ingest`] makes the frames
//! of all of them, so that the tiers of a track have one timeline, also across a new connection.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use bytes::BytesMut;

use crate::ingest::{ExtensionIds, Ingest, IngestLimit, IngestSection};
use crate::rtcp::{self, Feedback};
use crate::rtp::{Codec, Encoding, Frame, Tier, Track};
use crate::sdp::engine;
use crate::viewer::{Answered, Incoming, PacketSink};

/// The feed of an edge's SFU. Clones are the same feed.
#[derive(Clone)]
pub(super) struct Feed(Arc<Mutex<State>>);

type Output = Box<dyn Fn(Frame) + Send>;

struct State {
    ingest: Ingest,
    /// Takes the frames, once the SFU runs.
    output: Option<Output>,
    /// The streams by SSRC.
    streams: Vec<(u32, (Track, Tier))>,
    /// Bytes of RTP that arrived.
    bytes: u64,
}

impl Feed {
    /// A feed without connections.
    pub(super) fn new() -> Self {
        let codec = |codec| (engine::payload_type(codec), codec);
        let section = |track: Track| IngestSection {
            mid: track.name().to_owned(),
            track,
            codecs: match track {
                Track::Audio => vec![codec(Codec::Opus)],
                Track::Screen | Track::Camera => vec![codec(Codec::H264), codec(Codec::Vp8)],
            },
            // The connections have restored the original packets.
            rtx: Vec::new(),
            rids: if track.is_video() { Tier::ALL.map(|tier| tier.name().to_owned()).into() } else { Vec::new() },
            ssrcs: Vec::new(),
        };
        let sections = Track::ALL.map(section).into();
        let ingest = Ingest::new(Instant::now(), sections, ExtensionIds::default(), IngestLimit::default());
        Self(Arc::new(Mutex::new(State { ingest, output: None, streams: Vec::new(), bytes: 0 })))
    }

    /// Gives the frames to this function from now on. It must not block.
    pub(super) fn start(&self, output: impl Fn(Frame) + Send + 'static) {
        self.lock().output = Some(Box::new(output));
    }

    /// The publisher has answered: these streams carry the tracks in this tier.
    pub(super) fn assign(&self, tier: Tier, answered: &[Answered]) {
        let (mut state, now) = (self.lock(), Instant::now());
        for (track, ssrc) in answered.iter().filter_map(|one| Some((one.track, one.ssrc?))) {
            state.streams.retain(|(_, known)| *known != (track, tier));
            state.streams.push((ssrc, (track, tier)));
            state.ingest.assign(now, (track, tier), ssrc);
        }
    }

    /// A function for a connection, which takes its packets.
    pub(super) fn sink(&self) -> PacketSink {
        let feed = self.clone();
        Arc::new(move |incoming| {
            let (mut state, now) = (feed.lock(), Instant::now());
            match incoming {
                Incoming::Rtp(_, packet) => {
                    state.bytes += packet.len() as u64;
                    state.ingest.on_rtp(now, BytesMut::from(packet));
                    state.pass_on();
                }
                Incoming::Rtcp(_, compound) => state.ingest.on_rtcp(now, compound),
            }
        })
    }

    /// The SFU needs a key frame.
    pub(super) fn request_key_frame(&self, encoding: Encoding) {
        self.lock().ingest.request_key_frame(Instant::now(), encoding);
    }

    /// Time has passed. Returns the videos that need a key frame.
    pub(super) fn tick(&self) -> Vec<(Track, Tier)> {
        let (mut state, now) = (self.lock(), Instant::now());
        state.ingest.on_timeout(now);
        state.pass_on();
        let mut wanted = Vec::new();
        // The connections write their feedback themselves, except for requests for key frames.
        while let Some(compound) = state.ingest.next_rtcp(now) {
            for feedback in rtcp::read(&compound) {
                let Feedback::Pli(ssrc) = feedback else { continue };
                wanted.extend(state.streams.iter().find(|(known, _)| *known == ssrc).map(|(_, stream)| *stream));
            }
        }
        wanted
    }

    /// Bytes of RTP that have arrived.
    pub(super) fn bytes(&self) -> u64 {
        self.lock().bytes
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn pass_on(&mut self) {
        while let Some(frame) = self.ingest.next_frame() {
            if let Some(output) = &self.output {
                output(frame);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A packet of VP8 that is a whole key frame.
    fn key_frame(ssrc: u32, number: u16, timestamp: u32) -> Vec<u8> {
        let header = [&[0x80, 0x80 | engine::payload_type(Codec::Vp8)][..], &number.to_be_bytes()].concat();
        [&header[..], &timestamp.to_be_bytes(), &ssrc.to_be_bytes(), &[0x10, 0, 0]].concat()
    }

    #[test]
    fn both_tiers_of_a_track_have_one_timeline_and_a_new_connection_goes_on() {
        let feed = Feed::new();
        let frames = Arc::new(Mutex::new(Vec::new()));
        let taken = Arc::clone(&frames);
        feed.start(move |frame| taken.lock().unwrap().push((frame.tier, frame.timestamp)));
        let answered = |ssrc| {
            let (track, codec, payload_type) = (Track::Screen, Codec::Vp8, engine::payload_type(Codec::Vp8));
            [Answered { track, codec, payload_type, ssrc: Some(ssrc), rtx_ssrc: None }]
        };
        let sink = feed.sink();
        let arrives = |packet: Vec<u8>| sink(Incoming::Rtp(Track::Screen, &packet));
        arrives(key_frame(7, 1, 90_000));
        assert_eq!(frames.lock().unwrap().len(), 0, "nobody has answered");
        feed.assign(Tier::Full, &answered(7));
        feed.assign(Tier::Low, &answered(8));
        arrives(key_frame(7, 1, 90_000));
        arrives(key_frame(8, 500, 7_000_000));
        // The publisher connects again, with another timestamp.
        feed.assign(Tier::Full, &answered(9));
        arrives(key_frame(9, 9_000, 5));
        arrives(key_frame(7, 2, 93_000));
        let frames = frames.lock().unwrap();
        let tiers: Vec<Tier> = frames.iter().map(|(tier, _)| *tier).collect();
        assert_eq!(tiers, [Tier::Full, Tier::Low, Tier::Full], "the first connection is over");
        let seconds = |timestamp: u32| (timestamp - 90_000) / 90_000;
        assert!(frames.iter().all(|(_, timestamp)| *timestamp >= 90_000 && seconds(*timestamp) < 60), "{frames:?}");
        assert!(frames[2].1 > frames[0].1, "{frames:?}");
    }
}
