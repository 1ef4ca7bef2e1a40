//! The media that an edge receives: the packets of its connections become frames for its SFU. Nothing is decoded.
//!
//! Each tier comes over a connection of its own, which requests missing packets itself. One [`Ingest`] makes the frames
//! of all of them, so that the tiers of a track have one timeline, also across a new connection.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use bytes::BytesMut;

use crate::ingest::{ExtensionIds, Ingest, IngestLimit, IngestSection};
use crate::rtcp::{self, Feedback};
use crate::rtp::{Codec, Encoding, Tier, Track};
use crate::sdp::engine;
use crate::sfu::FrameInput;
use crate::viewer::{Answered, Incoming, PacketSink};

/// The feed of an edge's SFU. Clones are the same feed.
#[derive(Clone)]
pub(super) struct Feed(Arc<Mutex<State>>);

struct State {
    ingest: Ingest,
    /// The input of the SFU, once it runs.
    input: Option<FrameInput>,
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
        Self(Arc::new(Mutex::new(State { ingest, input: None, streams: Vec::new(), bytes: 0 })))
    }

    /// Gives the frames to this SFU from now on.
    pub(super) fn start(&self, input: FrameInput) {
        self.lock().input = Some(input);
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

    /// Time has passed. Returns the videos of which a key frame is to be requested.
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
            if let Some(input) = &self.input {
                input.push(frame);
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
        let answered = |ssrc| {
            let (track, codec, payload_type) = (Track::Screen, Codec::Vp8, engine::payload_type(Codec::Vp8));
            [Answered { track, codec, payload_type, ssrc: Some(ssrc), rtx_ssrc: None }]
        };
        let sink = feed.sink();
        let frames = |packet: &[u8]| {
            sink(Incoming::Rtp(Track::Screen, packet));
            let mut state = feed.lock();
            std::iter::from_fn(|| state.ingest.next_frame()).collect::<Vec<_>>()
        };
        // Nobody has answered yet. `pass_on` without an SFU would drop the frames, so they are read here.
        feed.assign(Tier::Full, &answered(7));
        feed.assign(Tier::Low, &answered(8));
        let full = frames(&key_frame(7, 1, 90_000));
        assert!(full.is_empty(), "the sink has passed it on");
        assert_eq!(feed.bytes(), 15);
        assert_eq!(feed.tick(), []);
    }
}
