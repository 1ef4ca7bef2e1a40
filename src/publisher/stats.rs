//! The counters of a publisher.

/// The counters of a publisher.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct PublisherStats {
    /// Packets sent, retransmissions and probes included.
    pub packets: u64,
    /// Bytes of these packets with their RTP headers.
    pub bytes: u64,
    /// Packets sent again after a NACK.
    pub retransmitted: u64,
    /// Key frames that the answerer asked for (PLI, FIR).
    pub key_frame_requests: u64,
    /// Packets of video that were not sent because the uplink was too slow.
    pub dropped: u64,
}
