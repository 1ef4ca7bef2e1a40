//! Reads the RTCP of a sender of media: sender reports and BYE.

use super::{COMMON, Packets, be32};

const SENDER_REPORT: u8 = 200;
const BYE: u8 = 203;

/// A packet of a sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SenderPacket {
    /// A sender report (RFC 3550, 6.4.1).
    Report(SenderReport),
    /// The stream with this SSRC ends (RFC 3550, 6.6).
    Bye(u32),
}

/// The sender information of a sender report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SenderReport {
    /// The SSRC of the sender.
    pub(crate) ssrc: u32,
    /// The sender's wall clock: seconds since 1900 and their fraction.
    pub(crate) ntp_time: u64,
    /// The RTP timestamp of that moment.
    pub(crate) rtp_time: u32,
}

/// Reads the sender reports and BYEs of a compound packet, up to the first malformed packet.
pub(crate) fn read_sender(compound: &[u8]) -> impl Iterator<Item = SenderPacket> + '_ {
    Packets(compound).flat_map(|packet| {
        let report = (packet[1] == SENDER_REPORT).then(|| report(packet)).flatten();
        let leaving = if packet[1] == BYE { packet.get(COMMON..).unwrap_or_default() } else { &[] };
        let count = usize::from(packet[0] & 0x1f);
        let leaving = leaving.as_chunks::<4>().0.iter().take(count).map(|ssrc| u32::from_be_bytes(*ssrc));
        report.map(SenderPacket::Report).into_iter().chain(leaving.map(SenderPacket::Bye))
    })
}

fn report(packet: &[u8]) -> Option<SenderReport> {
    let (high, low) = (be32(packet, 8)?, be32(packet, 12)?);
    let ntp_time = u64::from(high) << 32 | u64::from(low);
    Some(SenderReport { ssrc: be32(packet, 4)?, ntp_time, rtp_time: be32(packet, 16)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_and_byes_of_a_compound_are_read() {
        let mut compound = vec![0x80, 201, 0, 1, 0, 0, 0, 1];
        compound.extend([0x80, 200, 0, 6, 0, 0, 0, 7, 0, 0, 0, 2, 0x80, 0, 0, 0, 0, 0, 0x23, 0x28]);
        compound.extend([0; 8]);
        compound.extend([0x82, 203, 0, 2, 0, 0, 0, 7, 0, 0, 0, 8]);
        let report = SenderReport { ssrc: 7, ntp_time: 0x2_8000_0000, rtp_time: 9000 };
        let expected = [SenderPacket::Report(report), SenderPacket::Bye(7), SenderPacket::Bye(8)];
        assert_eq!(read_sender(&compound).collect::<Vec<_>>(), expected);
        for end in 0..28 {
            assert_eq!(read_sender(&compound[..end]).count(), 0, "{end}");
        }
        assert_eq!(read_sender(&[0x9f, 203, 0, 1, 0, 0, 0, 7]).count(), 1, "a count beyond the packet");
    }
}
