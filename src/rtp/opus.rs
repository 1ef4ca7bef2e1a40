//! What a packet of Opus tells without being decoded (RFC 6716).

/// Whether a packet carries a copy of the block before it, for those who lost that (in-band FEC, RFC 6716, 2.1.7).
///
/// Only the mode for speech has copies. There the first bits of a frame say for each 20 ms whether somebody speaks, and
/// the next one whether there is a copy: once for the first channel, and once for the second (RFC 6716, 4.2.3 and 4.2.4).
pub(super) fn has_copy(payload: &[u8]) -> bool {
    let [toc, rest @ ..] = payload else { return false };
    let (config, stereo, count) = (toc >> 3, toc & 0b100 != 0, toc & 0b11);
    // 16 and up are the mode for music, which has none; only packets of one frame tell at once where it begins.
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
    fn only_speech_has_copies_and_says_so_in_its_first_bits() {
        // Wideband speech, one frame of 20 ms, one channel and two: somebody speaks, is there a copy?
        let (mono, stereo) = (9 << 3, 9 << 3 | 0b100);
        assert!(has_copy(&[mono, 0b1100_0000]) && has_copy(&[mono, 0b0100_0000]));
        assert!(!has_copy(&[mono, 0b1011_1111]));
        assert!(has_copy(&[stereo, 0b1001_0000]) && has_copy(&[stereo, 0b0100_0000]));
        assert!(!has_copy(&[stereo, 0b1010_1111]));
        // 60 ms: three blocks before the flag.
        assert!(has_copy(&[11 << 3, 0b0001_0000]) && !has_copy(&[11 << 3, 0b1110_1111]));
        // Hybrid has, music has not.
        assert!(has_copy(&[15 << 3, 0b0100_0000]));
        assert!(!has_copy(&[31 << 3, 0xff]) && !has_copy(&[16 << 3, 0xff]));
        // Nothing there, or several frames of lengths that would have to be read first.
        assert!(!has_copy(&[]) && !has_copy(&[mono]) && !has_copy(&[mono | 0b11, 0xff]));
    }
}
