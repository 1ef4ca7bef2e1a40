//! A publisher's RTP and RTCP.

use std::time::{Duration, Instant};

use super::input::{MAX_DATAGRAM_BYTES, datagrams};
use crate::ingest::{ExtensionIds, Ingest, IngestLimit, IngestSection};
use crate::rtcp;
use crate::rtp::{Codec, HEADER_BYTES, Track, payload_offset};

/// The most packets of an input.
const MAX_PACKETS: usize = 4_096;

/// The longest compound to a publisher, in bytes: a NACK of 250 numbers at worst, behind a report on each encoding.
const MAX_COMPOUND_BYTES: usize = 1_500;

/// The most compounds that are due at once: feedback on 8,192 packets, NACKs and a report.
const MAX_COMPOUNDS: usize = 64;

/// A retransmission does not come after this time.
const TOO_LONG: Duration = Duration::from_secs(60 * 60);

fn section(mid: &str, track: Track, codecs: &[(u8, Codec)]) -> IngestSection {
    IngestSection {
        mid: mid.to_owned(),
        track,
        codecs: codecs.to_vec(),
        rtx: if track.is_video() { vec![(97, 96), (103, 102)] } else { Vec::new() },
        rids: Vec::new(),
        ssrcs: Vec::new(),
    }
}

/// The packets of a publisher with simulcast. Each datagram has a byte in front: whether it is RTCP, and how much later
/// it arrives. Frames are complete and no larger than the input; feedback is readable and bounded.
pub(super) fn ingest(bytes: &[u8]) -> bool {
    let video = [(96, Codec::Vp8), (102, Codec::H264)];
    let mut screen = section("1", Track::Screen, &video);
    screen.rids = ["h", "m", "l"].map(str::to_owned).to_vec();
    let mut camera = section("2", Track::Camera, &video);
    camera.ssrcs = vec![(900, Some(901))];
    let sections = vec![section("0", Track::Audio, &[(111, Codec::Opus)]), screen, camera];
    let ids = ExtensionIds { mid: Some(4), rid: Some(10), repaired_rid: Some(11), twcc: Some(3), audio_level: Some(1) };
    let mut now = Instant::now();
    let mut ingest = Ingest::new(now, sections, ids, IngestLimit { bits_per_second: 1_000_000 });
    let (mut received, mut given, mut frames) = (0, 0, 0);
    for datagram in datagrams(bytes).take(MAX_PACKETS) {
        let Some((first, packet)) = datagram.split_first() else { continue };
        let later = now + Duration::from_millis((first >> 1).into());
        // The caller wakes at each deadline.
        while let Some(deadline) = ingest.deadline().filter(|deadline| *deadline < later) {
            now = now.max(deadline);
            ingest.on_timeout(now);
            feedback(&mut ingest, now);
            assert!(ingest.deadline().is_some_and(|next| next > now), "it wakes for ever");
        }
        now = later;
        if first & 1 != 0 {
            ingest.on_rtcp(now, packet);
        } else {
            received += packet.len();
            ingest.on_rtp(now, packet.into());
        }
        if first & 2 != 0 {
            ingest.encodings().into_iter().for_each(|encoding| ingest.request_key_frame(now, encoding));
        }
        feedback(&mut ingest, now);
        while let Some(frame) = ingest.next_frame() {
            frames += 1;
            given += frame.bytes();
            assert!(!frame.is_empty() && frame.len() <= 1_024 && frame.captured <= now);
            for packet in frame.packets() {
                assert_eq!((packet[0], payload_offset(packet)), (0x80, Some(HEADER_BYTES)));
                assert_eq!(packet[4..8], frame.timestamp.to_be_bytes());
            }
            let is_last = |(n, packet): (usize, &[u8])| (packet[1] & 0x80 != 0) == (n + 1 == frame.len());
            assert!(!frame.track.is_video() || frame.packets().enumerate().all(is_last));
        }
    }
    assert!(given <= received, "{given} bytes of frames from {received} bytes");
    let stats = ingest.stats();
    assert_eq!(stats.encodings.iter().map(|encoding| encoding.frames).sum::<u64>(), frames);
    assert!(stats.unknown_ssrc + stats.malformed + stats.over_limit <= MAX_PACKETS as u64);
    assert!(stats.bits_per_second <= 8 * received as u64 && stats.round_trip.is_none_or(|time| time < TOO_LONG));
    for encoding in stats.encodings {
        assert!((0.0..=1.0).contains(&encoding.loss) && u64::from(encoding.fps) <= encoding.frames);
        assert!(encoding.bits_per_second <= stats.bits_per_second);
        assert!(encoding.awaits_key_frame.is_none_or(|since| since <= now));
        assert!(encoding.audio_level.is_none_or(|level| level <= 127 && encoding.encoding.track == Track::Audio));
    }
    frames > 0
}

/// Takes all RTCP that is due.
fn feedback(ingest: &mut Ingest, now: Instant) {
    let compounds = std::iter::from_fn(|| ingest.next_rtcp(now)).take(MAX_COMPOUNDS + 1);
    let count = compounds
        .inspect(|compound| {
            assert!(compound.len() <= MAX_COMPOUND_BYTES && compound.len() <= MAX_DATAGRAM_BYTES);
            assert!(compound.len().is_multiple_of(4) && compound[1] == 201, "{compound:02x?}");
            assert!(rtcp::read(compound).next().is_some());
        })
        .count();
    assert!(count <= MAX_COMPOUNDS, "RTCP without an end");
}
