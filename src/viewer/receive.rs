//! Processes packets between the wire and the sink: restores the original packets from retransmissions, then delivers
//! media.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, RwLock};

use bytes::Buf;
use rtc::interceptor::Packet;
use rtc::rtcp::sender_report::SenderReport;
use rtc::shared::marshal::Marshal;
use tokio::sync::mpsc;

use super::answer::Answered;
use super::{Incoming, PacketSink, ViewerEvent};
use crate::rtp::{Codec, Track, starts_key_frame};
use crate::sdp::engine::{self, Change};

/// The streams of retransmissions.
#[derive(Debug, Default)]
pub(super) struct RtxStreams {
    /// The SSRC and the payload type of the original packets, by RTX SSRC.
    pub(super) originals: HashMap<u32, (u32, u8)>,
    /// The payload types of the original packets, by that of the retransmissions, where a stream may change its codec.
    pub(super) payload_types: HashMap<u8, u8>,
}

/// Restores the original packets from retransmissions (RFC 4588), before anything counts packets. The answer contains
/// the SSRCs.
pub(super) fn restoring(streams: Arc<RwLock<RtxStreams>>) -> Change {
    Box::new(move |packet| {
        if let Packet::Rtp(rtp) = packet
            && let Ok(streams) = streams.read()
            && let Some((ssrc, usual)) = streams.originals.get(&rtp.header.ssrc)
        {
            let payload_type = streams.payload_types.get(&rtp.header.payload_type).unwrap_or(usual);
            restore(rtp, (*ssrc, *payload_type));
        }
    })
}

/// Restores an original packet. A packet of padding alone is not changed: only its time of arrival matters.
fn restore(packet: &mut rtc::rtp::Packet, (ssrc, payload_type): (u32, u8)) {
    if packet.payload.len() >= 2 {
        packet.header.sequence_number = packet.payload.get_u16();
        (packet.header.ssrc, packet.header.payload_type) = (ssrc, payload_type);
    }
}

/// Passes packets to the sink, with the track by the SSRCs of the answer, or else by payload type.
pub(super) fn delivering(
    by_ssrc: Arc<RwLock<HashMap<u32, Answered>>>,
    sink: PacketSink,
    events: mpsc::Sender<ViewerEvent>,
) -> engine::Hook {
    let answered = move |ssrc: u32| by_ssrc.read().ok()?.get(&ssrc).copied();
    let seen = Mutex::new(Vec::new());
    // This is called only for SSRCs of the answer, so the list is no longer than the answer.
    let is_first = move |ssrc: u32| {
        seen.lock().is_ok_and(|mut seen| {
            let is_first = !seen.contains(&ssrc);
            if is_first {
                seen.push(ssrc);
            }
            is_first
        })
    };
    Box::new(move |packet| match packet {
        // A packet of padding alone is a probe of the publisher. It has a sequence number of the RTX stream, which must
        // not be taken for one of the media stream.
        Packet::Rtp(rtp) if rtp.payload.is_empty() => {}
        Packet::Rtp(rtp) => {
            let known = answered(rtp.header.ssrc);
            if let Some(known) = known.filter(|known| known.track.is_video())
                && is_first(rtp.header.ssrc)
                && !starts_key_frame(known.codec, &rtp.payload)
            {
                let _ = events.try_send(ViewerEvent::BeginningMissed(known.track));
            }
            let is_audio = rtp.header.payload_type == engine::payload_type(Codec::Opus);
            let by_type = if is_audio { Track::Audio } else { Track::Screen };
            if let Ok(bytes) = rtp.marshal() {
                sink(Incoming::Rtp(known.map_or(by_type, |known| known.track), &bytes));
            }
        }
        Packet::Rtcp(packets) => {
            let reports = packets.iter().filter_map(|p| p.as_any().downcast_ref::<SenderReport>());
            for known in reports.filter_map(|report| answered(report.ssrc)) {
                if let Ok(bytes) = rtc::rtcp::packet::marshal(packets) {
                    sink(Incoming::Rtcp(known.track, &bytes));
                }
            }
        }
        _ => {}
    })
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn a_retransmission_becomes_the_original_packet() {
        let (originals, payload_types) = (HashMap::from([(8, (7, 102))]), HashMap::from([(97, 96)]));
        let streams = Arc::new(RwLock::new(RtxStreams { originals, payload_types }));
        let restores = restoring(streams);
        let packet = |ssrc: u32, payload: &'static [u8]| rtc::rtp::Packet {
            header: rtc::rtp::Header { ssrc, sequence_number: 1, payload_type: 103, ..Default::default() },
            payload: Bytes::from_static(payload),
        };
        let restored = |packet: rtc::rtp::Packet| {
            let mut packet = Packet::Rtp(packet);
            restores(&mut packet);
            let Packet::Rtp(packet) = packet else { unreachable!("it stays RTP") };
            packet
        };
        let original = restored(packet(8, b"\x12\x34picture"));
        let header = &original.header;
        assert_eq!((header.ssrc, header.sequence_number, header.payload_type), (7, 0x1234, 102));
        assert_eq!(&original.payload[..], b"picture");
        let mut other_codec = packet(8, b"\x12\x34picture");
        other_codec.header.payload_type = 97;
        assert_eq!(restored(other_codec).header.payload_type, 96);
        for (ssrc, payload) in [(8, &b""[..]), (8, b"x"), (9, b"\x12\x34picture")] {
            let other = restored(packet(ssrc, payload));
            assert_eq!(
                (other.header.ssrc, other.header.sequence_number, other.payload.len()),
                (ssrc, 1, payload.len())
            );
        }
    }

    #[test]
    fn a_probe_is_not_taken_for_media() {
        let screen =
            Answered { track: Track::Screen, codec: Codec::Vp8, payload_type: 96, ssrc: Some(7), rtx_ssrc: Some(8) };
        let by_ssrc = Arc::new(RwLock::new(HashMap::from([(7, screen)])));
        let got = Arc::new(Mutex::new(Vec::new()));
        let g = Arc::clone(&got);
        let sink: PacketSink = Arc::new(move |incoming| {
            if let Incoming::Rtp(track, packet) = incoming {
                g.lock().unwrap().push((track, packet[11]));
            }
        });
        let arrived = delivering(by_ssrc, sink, mpsc::channel(8).0);
        for (ssrc, payload) in [(7, &b"\x10\0"[..]), (8, b""), (7, b"\x10\0"), (9, b"\x10\0")] {
            let header = rtc::rtp::Header { version: 2, ssrc, payload_type: 97, ..Default::default() };
            arrived(&Packet::Rtp(rtc::rtp::Packet { header, payload: Bytes::from_static(payload) }));
        }
        assert_eq!(*got.lock().unwrap(), [(Track::Screen, 7), (Track::Screen, 7), (Track::Screen, 9)]);
    }
}
