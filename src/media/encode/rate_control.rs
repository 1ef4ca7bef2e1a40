//! What an encoder may spend on a new page, and when it rests. Pure.
//!
//! A new page needs many times the bits of a usual frame. While the screen is still, the encoder refines it until
//! nothing is left to do, and then the rate control buffer (VBV) grows with the bits that are saved. The next page may
//! spend them at once, and the buffer fills again. In motion the buffer is small, so that no burst delays others.

use std::time::Duration;

use super::changes::PictureState;

/// A still picture that has been refined is encoded at this interval, for a steady flow of feedback, and so that a
/// decoder sees that the source lives. At 30 frames per second, gaps of more than 183 ms would count as freezes (W3C
/// webrtc-stats).
const STILL_INTERVAL: Duration = Duration::from_millis(120);

/// A frame of at most this many bytes says that nothing has changed.
const EMPTY_BYTES: usize = 400;

/// The encoder rests after this time of empty frames. An encoder that has spent too much gives empty frames of a coarse
/// picture for a while.
const RESTS_AFTER: Duration = Duration::from_secs(2);

/// The same after a small change of a picture that was refined: a cursor blinks, somebody types.
const RESTS_AGAIN_AFTER: Duration = Duration::from_millis(100);

/// A frame below this share of a mean frame saves bits.
const SAVING_SHARE: usize = 4;

/// The least growth of the buffer that an encoder is told, in milliseconds.
const STEP_MS: u32 = 100;

/// The sizes of the rate control buffer of an encoder, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BufferSizes {
    /// In motion.
    pub(super) usual: u32,
    /// After a rest.
    pub(super) wide: u32,
}

/// The wide buffer: x264 spends all of it for one frame. A student on a line that just carries the tier gets that frame
/// within this time; frames that are a second late are dropped. Sent at once, most of a frame of 600 kB was lost in the
/// sockets of one computer.
const WIDE_MS: u32 = 1_000;
const WIDE_BYTES: u32 = 312_500;

impl BufferSizes {
    /// The sizes for a bit rate. The wide buffer is not smaller than the usual one.
    pub(super) fn of(usual: u32, bitrate: u32) -> Self {
        let ms_of_bytes = WIDE_BYTES / (bitrate / 8_000).max(1);
        Self { usual, wide: ms_of_bytes.min(WIDE_MS).max(usual) }
    }
}

/// What to do with a picture.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Treatment {
    /// Nothing is lost if the picture is not encoded.
    pub(super) may_rest: bool,
    /// The new size of the rate control buffer, in milliseconds.
    pub(super) buffer_ms: Option<u32>,
}

/// The rate control of one encoder.
#[derive(Debug)]
pub(super) struct RateControl {
    sizes: BufferSizes,
    /// Bytes of a mean frame.
    mean: usize,
    /// The size of the buffer as saved so far, and as the encoder knows it.
    saved: Duration,
    told: u32,
    at: Option<Duration>,
    is_saving: bool,
    empty_since: Option<Duration>,
    /// The encoder has rested since the last large change.
    is_refined: bool,
    kept: Option<Duration>,
}

impl RateControl {
    /// For an encoder with this bit rate and frame rate.
    pub(super) fn new(sizes: BufferSizes, bitrate: u32, fps: u32) -> Self {
        Self {
            sizes,
            mean: (bitrate / 8 / fps.max(1)) as usize,
            saved: Duration::from_millis(sizes.usual.into()),
            told: sizes.usual,
            at: None,
            is_saving: false,
            empty_since: None,
            is_refined: false,
            kept: None,
        }
    }

    /// A picture with this timestamp is due.
    pub(super) fn on_picture(&mut self, time: Duration, picture: PictureState) -> Treatment {
        let passed = self.at.and_then(|at| time.checked_sub(at)).unwrap_or_default();
        self.at = Some(time);
        let usual = Duration::from_millis(self.sizes.usual.into());
        if picture.is_moving {
            self.saved = usual;
        } else if self.is_saving {
            // A pause of the source saves nothing: encoders count frames.
            self.saved += passed.min(STILL_INTERVAL);
            self.saved = self.saved.min(Duration::from_millis(self.sizes.wide.into()));
        }
        let saved = self.saved.as_millis() as u32;
        let is_news =
            saved < self.told || saved >= self.told + STEP_MS || saved > self.told && saved == self.sizes.wide;
        let buffer_ms = is_news.then_some(saved);
        self.told = buffer_ms.unwrap_or(self.told);
        if !picture.is_unchanged {
            self.empty_since = None;
        }
        self.is_refined &= !picture.is_busy;
        let after = if self.is_refined { RESTS_AGAIN_AFTER } else { RESTS_AFTER };
        let rests = self.empty_since.is_some_and(|since| time.saturating_sub(since) >= after && time >= since);
        self.is_refined |= rests;
        let is_recent = self.kept.is_some_and(|kept| time >= kept && time - kept < STILL_INTERVAL);
        Treatment { may_rest: picture.is_unchanged && rests && is_recent, buffer_ms }
    }

    /// The encoder gets the picture with this timestamp.
    pub(super) fn on_kept(&mut self, time: Duration) {
        self.kept = Some(time);
    }

    /// The encoder gave a frame.
    pub(super) fn on_encoded(&mut self, bytes: usize) {
        self.is_saving = bytes * SAVING_SHARE <= self.mean;
        if bytes > EMPTY_BYTES {
            self.empty_since = None;
        } else if self.empty_since.is_none() {
            self.empty_since = self.at;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZES: BufferSizes = BufferSizes { usual: 350, wide: 2_000 };
    const STILL: PictureState = PictureState { scenes: 0, is_unchanged: true, is_busy: false, is_moving: false };
    const MOVING: PictureState = PictureState { scenes: 0, is_unchanged: false, is_busy: true, is_moving: true };
    const CURSOR: PictureState = PictureState { is_unchanged: false, ..STILL };

    /// Pictures of 30 a second from one second to another, each encoded into this many bytes: the times in
    /// milliseconds of those that were encoded, and the last size of the buffer.
    fn run(control: &mut RateControl, from: u64, to: u64, picture: PictureState, bytes: usize) -> (Vec<u64>, u32) {
        let mut kept = Vec::new();
        for n in from * 30..to * 30 {
            let time = Duration::from_millis(n * 1000 / 30);
            if !control.on_picture(time, picture).may_rest {
                control.on_kept(time);
                control.on_encoded(bytes);
                kept.push(n * 1000 / 30);
            }
        }
        (kept, control.told)
    }

    #[test]
    fn a_page_of_the_wide_buffer_is_bounded_in_time_and_in_bytes() {
        let wide = |usual, bitrate| BufferSizes::of(usual, bitrate).wide;
        assert_eq!([wide(350, 450_000), wide(350, 2_500_000), wide(350, 5_000_000)], [1_000, 1_000, 500]);
        assert_eq!(wide(350, 20_000_000), 350, "never smaller than the usual buffer");
        assert_eq!(wide(350, 0), 1_000);
    }

    #[test]
    fn a_refined_picture_is_encoded_seldom_and_saves_bits_for_the_next_page() {
        let mut control = RateControl::new(SIZES, 2_400_000, 30);
        assert_eq!(run(&mut control, 0, 1, STILL, 9_000), ((0..30).map(|n| n * 1000 / 30).collect(), 350), "refines");
        let (kept, buffer) = run(&mut control, 1, 6, STILL, 80);
        assert_eq!(buffer, 2_000);
        let (busy, resting): (Vec<u64>, Vec<u64>) = kept.into_iter().partition(|at| *at < 3_000);
        assert_eq!(busy.len(), 60, "it waits until the frames have been empty for a while");
        assert!(resting.windows(2).all(|two| (120..=160).contains(&(two[1] - two[0]))), "{resting:?}");
        let (kept, buffer) = run(&mut control, 6, 7, MOVING, 10_000);
        assert_eq!((kept.len(), buffer), (30, 350));
    }

    #[test]
    fn a_changed_picture_is_encoded_at_once() {
        let mut control = RateControl::new(SIZES, 2_400_000, 30);
        run(&mut control, 0, 5, STILL, 80);
        let time = Duration::from_millis(5_010);
        control.on_kept(Duration::from_secs(5));
        assert!(control.on_picture(time, STILL).may_rest);
        assert!(!control.on_picture(time, CURSOR).may_rest);
        assert!(!control.on_picture(Duration::ZERO, STILL).may_rest, "the source began anew");
    }

    #[test]
    fn after_a_blink_of_a_cursor_the_encoder_rests_soon_and_after_a_page_it_does_not() {
        let page = PictureState { is_busy: true, ..CURSOR };
        for (change, least, most) in [(CURSOR, 5, 7), (page, 15, 15)] {
            let mut control = RateControl::new(SIZES, 2_400_000, 30);
            run(&mut control, 0, 5, STILL, 80);
            let mut kept = 0;
            for n in 0..15 {
                let time = Duration::from_millis(5_000 + n * 1000 / 30);
                if !control.on_picture(time, if n == 0 { change } else { STILL }).may_rest {
                    control.on_kept(time);
                    control.on_encoded(if n == 0 { 2_000 } else { 80 });
                    kept += 1;
                }
            }
            assert!((least..=most).contains(&kept), "{change:?}: {kept} of 15");
        }
    }

    #[test]
    fn a_page_does_not_shrink_the_buffer() {
        let mut control = RateControl::new(SIZES, 2_400_000, 30);
        run(&mut control, 0, 5, STILL, 80);
        let page = PictureState { scenes: 1, is_busy: true, ..CURSOR };
        assert_eq!(control.on_picture(Duration::from_secs(5), page).buffer_ms, None);
        control.on_encoded(300_000);
        assert_eq!(run(&mut control, 5, 6, STILL, 9_000).1, 2_000);
    }
}
