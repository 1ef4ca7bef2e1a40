//! Reads RTP payloads without decoding: key frames, the H.264 level, and Opus in-band FEC.

use super::Codec;

/// Whether this RTP payload starts a key frame. Audio always does.
pub fn starts_key_frame(codec: Codec, payload: &[u8]) -> bool {
    match codec {
        Codec::Opus => true,
        Codec::H264 => h264(payload).unwrap_or(false),
        Codec::Vp8 => vp8(payload).unwrap_or(false),
    }
}

/// An IDR slice or a sequence parameter set, alone, aggregated (STAP-A) or as a first fragment (FU-A); RFC 6184, 5.
fn h264(payload: &[u8]) -> Option<bool> {
    const IDR: u8 = 5;
    const SPS: u8 = 7;
    const STAP_A: u8 = 24;
    const FU_A: u8 = 28;
    let is_key = |nal: u8| matches!(nal & 0x1f, IDR | SPS);
    match payload.first()? & 0x1f {
        STAP_A => {
            let mut rest = &payload[1..];
            while rest.len() > 2 {
                let size = usize::from(u16::from_be_bytes([rest[0], rest[1]]));
                if is_key(rest[2]) {
                    return Some(true);
                }
                rest = rest.get(2 + size..)?;
            }
            Some(false)
        }
        FU_A => {
            let header = *payload.get(1)?;
            Some(header & 0x80 != 0 && is_key(header))
        }
        _ => Some(is_key(payload[0])),
    }
}

/// Whether this RTP payload of H.264 has a sequence parameter set. In WebRTC every key frame begins with one.
pub(crate) fn has_parameter_sets(payload: &[u8]) -> bool {
    h264_level(payload).is_some()
}

/// The level (`level_idc`) in a sequence parameter set of this RTP payload, alone or aggregated.
pub(super) fn h264_level(payload: &[u8]) -> Option<u8> {
    const SPS: u8 = 7;
    const STAP_A: u8 = 24;
    // After the NAL unit header: profile, constraints, level (ITU-T H.264, 7.3.2.1.1).
    let of_unit = |unit: &[u8]| (unit.first()? & 0x1f == SPS).then(|| unit.get(3).copied()).flatten();
    if payload.first()? & 0x1f != STAP_A {
        return of_unit(payload);
    }
    let mut rest = &payload[1..];
    while rest.len() > 2 {
        let size = usize::from(u16::from_be_bytes([rest[0], rest[1]]));
        if let Some(level) = of_unit(&rest[2..]) {
            return Some(level);
        }
        rest = rest.get(2 + size..)?;
    }
    None
}

/// The first packet of the first partition of a frame whose P bit is clear (RFC 7741, 4.2 and 4.3).
fn vp8(payload: &[u8]) -> Option<bool> {
    let first = *payload.first()?;
    if first & 0x10 == 0 || first & 0x07 != 0 {
        return Some(false);
    }
    let mut at = 1;
    if first & 0x80 != 0 {
        let extension = *payload.get(at)?;
        at += 1;
        if extension & 0x80 != 0 {
            at += if payload.get(at)? & 0x80 != 0 { 2 } else { 1 };
        }
        at += usize::from(extension & 0x40 != 0) + usize::from(extension & 0x30 != 0);
    }
    Some(payload.get(at)? & 1 == 0)
}

/// Whether an Opus packet carries a copy of the previous packet (in-band FEC; RFC 6716, 2.1.7).
///
/// Only SILK and hybrid frames can. They start with one voice activity bit per 20 ms followed by the LBRR bit, which
/// indicates a copy: first for one channel, then for the other (RFC 6716, 4.2.3 and 4.2.4).
pub(super) fn opus_has_fec(payload: &[u8]) -> bool {
    let [toc, rest @ ..] = payload else { return false };
    let (config, stereo, count) = (toc >> 3, toc & 0b100 != 0, toc & 0b11);
    // Configurations from 16 on are CELT, without FEC. The start of the frame is at a fixed place only in packets of
    // one frame.
    let blocks = match config {
        0..=11 => [1, 1, 2, 3][usize::from(config % 4)],
        12..=15 => 1,
        _ => return false,
    };
    let (Some(first), 0) = (rest.first(), count) else { return false };
    let flag = |bit: u32| (first << bit) & 0x80 != 0;
    flag(blocks) || stereo && flag(2 * blocks + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_h264_level_is_read_from_the_parameter_set() {
        assert_eq!(h264_level(&[0x67, 0x42, 0xc0, 0x28, 0xda]), Some(0x28));
        assert_eq!(h264_level(&[0x18, 0, 2, 0x09, 0xf0, 0, 4, 0x67, 0x42, 0xc0, 0x1f]), Some(0x1f));
        assert!(has_parameter_sets(&[0x18, 0, 2, 0x09, 0xf0, 0, 4, 0x67, 0x42, 0xc0, 0x1f]));
        assert!(!has_parameter_sets(&[0x65, 0x88, 0x84]));
        for none in [&[0x65u8, 0x42, 0xc0, 0x28][..], &[0x67, 0x42], &[], &[0x18, 0, 9, 0x67], &[0x18, 0, 1, 0x09, 0]] {
            assert_eq!(h264_level(none), None, "{none:?}");
        }
    }

    #[test]
    fn h264_key_frames_are_recognized() {
        for (payload, key) in [
            (&[0x65u8, 0][..], true),
            (&[0x67, 0], true),
            (&[0x41, 0], false),
            (&[0x06, 0], false),
            (&[0x18, 0, 1, 0x09, 0, 2, 0x67, 1], true),
            (&[0x18, 0, 1, 0x09, 0, 2, 0x41, 1], false),
            (&[0x7c, 0x85, 1], true),
            (&[0x7c, 0x05, 1], false),
            (&[0x7c, 0x81, 1], false),
            (&[0x18, 0xff, 0xff, 0x09], false),
            (&[0x7c], false),
            (&[], false),
        ] {
            assert_eq!(starts_key_frame(Codec::H264, payload), key, "{payload:x?}");
        }
    }

    #[test]
    fn vp8_key_frames_are_recognized() {
        for (payload, key) in [
            (&[0x10u8, 0x00][..], true),
            (&[0x10, 0x01], false),
            (&[0x00, 0x00], false),
            (&[0x11, 0x00], false),
            (&[0x90, 0x80, 0x05, 0x00], true),
            (&[0x90, 0x80, 0x85, 0x01, 0x00], true),
            (&[0x90, 0xf0, 0x85, 0x01, 0x00, 0x00, 0x01], false),
            (&[0x90, 0x80], false),
        ] {
            assert_eq!(starts_key_frame(Codec::Vp8, payload), key, "{payload:x?}");
        }
    }

    #[test]
    fn only_silk_and_hybrid_frames_have_fec() {
        // Wideband SILK, one frame of 20 ms, mono and stereo: voice activity, then LBRR.
        let (mono, stereo) = (9 << 3, 9 << 3 | 0b100);
        assert!(opus_has_fec(&[mono, 0b1100_0000]) && opus_has_fec(&[mono, 0b0100_0000]));
        assert!(!opus_has_fec(&[mono, 0b1011_1111]));
        assert!(opus_has_fec(&[stereo, 0b1001_0000]) && opus_has_fec(&[stereo, 0b0100_0000]));
        assert!(!opus_has_fec(&[stereo, 0b1010_1111]));
        // 60 ms: three bits before LBRR.
        assert!(opus_has_fec(&[11 << 3, 0b0001_0000]) && !opus_has_fec(&[11 << 3, 0b1110_1111]));
        // Hybrid frames can have FEC, CELT frames cannot.
        assert!(opus_has_fec(&[15 << 3, 0b0100_0000]));
        assert!(!opus_has_fec(&[31 << 3, 0xff]) && !opus_has_fec(&[16 << 3, 0xff]));
        // An empty packet, or several frames, whose lengths would have to be parsed first.
        assert!(!opus_has_fec(&[]) && !opus_has_fec(&[mono]) && !opus_has_fec(&[mono | 0b11, 0xff]));
    }
}
