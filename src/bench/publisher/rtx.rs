//! Labels retransmissions as browsers do: the library's NACK responder gives an RTX packet no header extensions, so a
//! receiver of simulcast could not tell which encoding the packet belongs to (RFC 8852, 3).

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Instant;

use bytes::Bytes;
use rtc::interceptor::{Interceptor, Packet, StreamInfo, TaggedPacket};
use rtc::sansio::Protocol;
use rtc::shared::error::Error;

/// The header extensions of a packet: ids and values.
type Labels = Vec<(u8, String)>;

/// The header extensions of RTX packets by SSRC.
#[derive(Debug, Clone, Default)]
pub(super) struct RtxLabels(Arc<RwLock<HashMap<u32, Labels>>>);

impl RtxLabels {
    pub(super) fn set(&self, labels: impl Iterator<Item = (u32, Labels)>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = labels.collect();
    }
}

/// The interceptor.
pub(super) struct LabelRtx {
    labels: RtxLabels,
    inbound: VecDeque<TaggedPacket>,
    outbound: VecDeque<TaggedPacket>,
}

impl LabelRtx {
    pub(super) fn new(labels: &RtxLabels) -> Self {
        Self { labels: labels.clone(), inbound: VecDeque::new(), outbound: VecDeque::new() }
    }
}

impl Protocol<TaggedPacket, TaggedPacket, ()> for LabelRtx {
    type Rout = TaggedPacket;
    type Wout = TaggedPacket;
    type Eout = ();
    type Error = Error;
    type Time = Instant;

    fn handle_read(&mut self, packet: TaggedPacket) -> Result<(), Error> {
        self.inbound.push_back(packet);
        Ok(())
    }

    fn poll_read(&mut self) -> Option<TaggedPacket> {
        self.inbound.pop_front()
    }

    fn handle_write(&mut self, mut packet: TaggedPacket) -> Result<(), Error> {
        if let Packet::Rtp(rtp) = &mut packet.message.packet {
            let labels = self.labels.0.read().unwrap_or_else(PoisonError::into_inner);
            for (id, value) in labels.get(&rtp.header.ssrc).into_iter().flatten() {
                // This fails only for an id outside 1 to 14; no such id is negotiated.
                let _ = rtp.header.set_extension(*id, Bytes::copy_from_slice(value.as_bytes()));
            }
        }
        self.outbound.push_back(packet);
        Ok(())
    }

    fn poll_write(&mut self) -> Option<TaggedPacket> {
        self.outbound.pop_front()
    }

    fn handle_timeout(&mut self, _now: Instant) -> Result<(), Error> {
        Ok(())
    }

    fn poll_timeout(&mut self) -> Option<Instant> {
        None
    }
}

impl Interceptor for LabelRtx {
    fn bind_local_stream(&mut self, _: &StreamInfo) {}
    fn unbind_local_stream(&mut self, _: &StreamInfo) {}
    fn bind_remote_stream(&mut self, _: &StreamInfo) {}
    fn unbind_remote_stream(&mut self, _: &StreamInfo) {}
}

#[cfg(test)]
mod tests {
    use rtc::interceptor::AttributedPacket;
    use rtc::shared::TransportContext;

    use super::*;

    #[test]
    fn only_packets_of_a_labelled_stream_get_extensions() {
        let labels = RtxLabels::default();
        let mut interceptor = LabelRtx::new(&labels);
        labels.set([(7, vec![(2, "1".to_owned()), (4, "f".to_owned())])].into_iter());
        let mut labelled = |ssrc| {
            let header = rtc::rtp::Header { version: 2, ssrc, ..Default::default() };
            let message = AttributedPacket::new(Packet::Rtp(rtc::rtp::Packet { header, payload: Bytes::new() }));
            let (now, transport) = (Instant::now(), TransportContext::default());
            interceptor.handle_write(TaggedPacket { now, transport, message }).unwrap();
            let Packet::Rtp(rtp) = interceptor.poll_write().unwrap().message.packet else { panic!("it was RTP") };
            [2, 4].map(|id| rtp.header.get_extension(id).map(|value| value.to_vec()))
        };
        assert_eq!(labelled(7), [Some(b"1".to_vec()), Some(b"f".to_vec())]);
        assert_eq!(labelled(8), [None, None]);
    }
}
