//! Whether a packet begins a picture that needs no other: read from the payload, so that any encoder will do.

use super::Codec;

/// Whether this RTP payload belongs to the beginning of a key frame. Sound always does.
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

/// The level (`level_idc`) that a sequence parameter set in this RTP payload names, alone or aggregated.
pub(super) fn h264_level(payload: &[u8]) -> Option<u8> {
    const SPS: u8 = 7;
    const STAP_A: u8 = 24;
    // Behind the type: profile, constraints, level (ITU-T H.264, 7.3.2.1.1).
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

/// First packet of the first partition of a picture whose P bit is clear; RFC 7741, 4.2 and 4.3.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_level_is_in_the_parameter_set() {
        assert_eq!(h264_level(&[0x67, 0x42, 0xc0, 0x28, 0xda]), Some(0x28));
        assert_eq!(h264_level(&[0x18, 0, 2, 0x09, 0xf0, 0, 4, 0x67, 0x42, 0xc0, 0x1f]), Some(0x1f));
        for none in [&[0x65u8, 0x42, 0xc0, 0x28][..], &[0x67, 0x42], &[], &[0x18, 0, 9, 0x67], &[0x18, 0, 1, 0x09, 0]] {
            assert_eq!(h264_level(none), None, "{none:?}");
        }
    }

    #[test]
    fn h264_shapes() {
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
    fn vp8_shapes() {
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
}
