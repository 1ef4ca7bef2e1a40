//! Reads the clock of a sender report (RFC 3550, 6.4.1).

/// An RTP timestamp and the same moment on the sender's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SenderReport {
    /// The stream.
    pub(super) ssrc: u32,
    /// Nanoseconds since 1900.
    pub(super) captured: i64,
    /// The RTP timestamp of that moment.
    pub(super) timestamp: u32,
}

impl SenderReport {
    /// The first sender report of a compound packet.
    pub(super) fn find(mut compound: &[u8]) -> Option<Self> {
        const SENDER_REPORT: u8 = 200;
        loop {
            let header = compound.get(..4)?;
            let bytes = 4 * (1 + usize::from(u16::from_be_bytes([header[2], header[3]])));
            if header[0] >> 6 != 2 {
                return None;
            }
            if header[1] == SENDER_REPORT {
                let word = |n: usize| Some(u32::from_be_bytes(compound.get(4 * n..4 * n + 4)?.try_into().ok()?));
                let fraction = (u64::from(word(3)?) * 1_000_000_000) >> 32;
                let captured = i64::from(word(2)?) * 1_000_000_000 + fraction.cast_signed();
                return Some(Self { ssrc: word(1)?, captured, timestamp: word(4)? });
            }
            compound = compound.get(bytes..)?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sender_report_is_found_behind_other_packets_and_not_in_malformed_ones() {
        let mut compound = vec![0x80, 201, 0, 1, 0, 0, 0, 1];
        compound.extend([0x80, 200, 0, 6, 0, 0, 0, 7, 0, 0, 0, 2, 0x80, 0, 0, 0, 0, 0, 0x23, 0x28]);
        compound.extend([0; 8]);
        let expected = SenderReport { ssrc: 7, captured: 2_500_000_000, timestamp: 9000 };
        assert_eq!(SenderReport::find(&compound), Some(expected));
        for end in 0..27 {
            assert_eq!(SenderReport::find(&compound[..end]), None, "{end}");
        }
        assert_eq!(SenderReport::find(&[0x80, 201, 0xff, 0xff, 0, 0, 0, 0]), None);
        assert_eq!(SenderReport::find(&[0; 64]), None);
    }
}
