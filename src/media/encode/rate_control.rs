//! What an encoder may spend on a page, and when it rests. Pure.
//!
//! A new page needs many times the bits of a usual frame. While the screen is still, the encoder refines it until
//! nothing is left to do, and then the rate control buffer (VBV) grows with the bits that are saved. The next page may
//! spend them at once, and the buffer fills again. In motion the buffer is small, so that no burst delays others.
//!
//! A page right after motion finds nothing saved. When the screen has come to rest, the encoder gets a loan: for one
//! picture the encoder is told a bit rate that fills a large buffer, and the next pictures may spend that. The limit is
//! a line that just carries the usual rate: what waits in front of such a line never takes longer than the wide buffer.
//! A still page pays its bits back when nothing is left to refine; in motion the bit rate is half the usual one until
//! then.

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
/// within this time; frames that are a second late are dropped. A page of small text at 1920x1080 is legible (38 dB)
/// from 520 kB on, and one at 1280x720 from 240 kB on.
const WIDE_MS: u32 = 1_000;
const WIDE_BYTES: u32 = 600_000;

impl BufferSizes {
    /// The sizes for a bit rate. The wide buffer is not smaller than the usual one.
    pub(super) fn of(usual: u32, bitrate: u32) -> Self {
        let ms_of_bytes = WIDE_BYTES / (bitrate / 8_000).max(1);
        Self { usual, wide: ms_of_bytes.min(WIDE_MS).max(usual) }
    }
}

/// What an encoder may spend from the next picture on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Limits {
    /// In bits per second.
    pub(super) bitrate: u32,
    /// The size of the rate control buffer, in milliseconds of that bit rate.
    pub(super) buffer_ms: u32,
}

/// The pictures of a loan that may spend it: x264 takes at most half of its buffer for a picture.
const SPENDING_PICTURES: u32 = 3;

/// The least loan, as a share of the wide buffer.
const LEAST_LOAN: f64 = 0.25;

/// A loan of bits for a page right after motion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Loan {
    None,
    /// The next picture fills the buffer.
    Wanted,
    /// So many pictures more may spend it.
    Granted(u32),
}

/// The rate control of one encoder.
#[derive(Debug)]
pub(super) struct RateControl {
    sizes: BufferSizes,
    bitrate: u32,
    fps: u32,
    /// The size of the buffer as saved so far.
    saved: Duration,
    /// The limits that the encoder knows.
    told: Limits,
    at: Option<Duration>,
    is_saving: bool,
    is_moving: bool,
    empty_since: Option<Duration>,
    /// The encoder has rested since the last large change.
    is_refined: bool,
    kept: Option<Duration>,
    loan: Loan,
    /// How often the screen had come to rest.
    rests: Option<u64>,
    /// Bytes that wait in front of a line that just carries the bit rate.
    queue: f64,
}

impl RateControl {
    /// For an encoder with this bit rate and frame rate.
    pub(super) fn new(sizes: BufferSizes, bitrate: u32, fps: u32) -> Self {
        Self {
            sizes,
            bitrate,
            fps: fps.max(1),
            saved: Duration::from_millis(sizes.usual.into()),
            told: Limits { bitrate, buffer_ms: sizes.usual },
            at: None,
            is_saving: false,
            is_moving: false,
            empty_since: None,
            is_refined: false,
            kept: None,
            loan: Loan::None,
            rests: None,
            queue: 0.0,
        }
    }

    /// A picture with this timestamp is due. Returns whether nothing is lost if the picture is not encoded.
    pub(super) fn on_picture(&mut self, time: Duration, picture: PictureState) -> bool {
        let passed = self.at.and_then(|at| time.checked_sub(at)).unwrap_or_default();
        self.at = Some(time);
        self.queue = (self.queue - passed.as_secs_f64() * self.bytes_per_second()).max(0.0);
        self.is_moving = picture.is_moving;
        if picture.is_moving {
            self.saved = Duration::from_millis(self.sizes.usual.into());
        } else if self.is_saving {
            // A pause of the source saves nothing: encoders count frames.
            self.saved += passed.min(STILL_INTERVAL);
            self.saved = self.saved.min(Duration::from_millis(self.sizes.wide.into()));
        }
        let comes_to_rest = self.rests.replace(picture.rests).is_some_and(|rests| rests != picture.rests);
        if picture.is_busy {
            self.loan = Loan::None;
        } else if comes_to_rest && self.room() >= LEAST_LOAN * self.wide_bytes() {
            self.loan = Loan::Wanted;
        }
        if !picture.is_unchanged {
            self.empty_since = None;
        }
        self.is_refined &= !picture.is_busy;
        let after = if self.is_refined { RESTS_AGAIN_AFTER } else { RESTS_AFTER };
        let rests = self.empty_since.is_some_and(|since| time.saturating_sub(since) >= after && time >= since);
        self.is_refined |= rests;
        let is_recent = self.kept.is_some_and(|kept| time >= kept && time - kept < STILL_INTERVAL);
        picture.is_unchanged && rests && is_recent
    }

    /// The encoder gets the picture with this timestamp next. Returns the limits if they change.
    pub(super) fn on_kept(&mut self, time: Duration) -> Option<Limits> {
        self.kept = Some(time);
        let limits = match self.loan {
            Loan::Wanted => {
                self.loan = Loan::Granted(SPENDING_PICTURES);
                let bits = self.loan_bytes() * 8.0 * f64::from(self.fps);
                Limits { bitrate: bits as u32, buffer_ms: 1_000_u32.div_ceil(self.fps) }
            }
            Loan::Granted(left) if left > 0 && self.room() > 0.0 => {
                self.loan = Loan::Granted(left - 1);
                let ms = self.loan_bytes() * 1_000.0 / self.bytes_per_second();
                Limits { bitrate: self.bitrate, buffer_ms: (ms as u32).max(self.sizes.usual) }
            }
            _ if self.is_moving && self.queue > self.usual_bytes() => {
                self.loan = Loan::None;
                Limits { bitrate: self.bitrate / 2, buffer_ms: self.sizes.usual }
            }
            _ => {
                self.loan = Loan::None;
                self.saving_limits()
            }
        };
        let is_news = limits != self.told;
        self.told = limits;
        is_news.then_some(limits)
    }

    /// The usual bit rate, with a buffer that grows in steps.
    fn saving_limits(&self) -> Limits {
        let saved = self.saved.as_millis() as u32;
        let Limits { bitrate, buffer_ms: told } = self.told;
        let is_news = bitrate != self.bitrate
            || saved < told
            || saved >= told + STEP_MS
            || saved > told && saved == self.sizes.wide;
        Limits { bitrate: self.bitrate, buffer_ms: if is_news { saved } else { told } }
    }

    fn bytes_per_second(&self) -> f64 {
        f64::from(self.bitrate.max(1)) / 8.0
    }

    fn wide_bytes(&self) -> f64 {
        self.bytes_per_second() * f64::from(self.sizes.wide) / 1_000.0
    }

    fn usual_bytes(&self) -> f64 {
        self.bytes_per_second() * f64::from(self.sizes.usual) / 1_000.0
    }

    /// What may be spent at once.
    fn room(&self) -> f64 {
        (self.wide_bytes() - self.queue).max(0.0)
    }

    /// The buffer of a loan: twice the loan, because x264 spends half of the buffer for one picture.
    fn loan_bytes(&self) -> f64 {
        2.0 * self.room()
    }

    /// The encoder gave a frame.
    pub(super) fn on_encoded(&mut self, bytes: usize) {
        self.queue += bytes as f64;
        self.is_saving = (bytes * SAVING_SHARE) as f64 <= self.bytes_per_second() / f64::from(self.fps);
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
    const STILL: PictureState =
        PictureState { scenes: 0, rests: 0, is_unchanged: true, is_busy: false, is_moving: false };
    const MOVING: PictureState =
        PictureState { scenes: 0, rests: 0, is_unchanged: false, is_busy: true, is_moving: true };
    const CURSOR: PictureState = PictureState { is_unchanged: false, ..STILL };

    /// Pictures of 30 a second from one second to another, each encoded into this many bytes: the times in
    /// milliseconds of those that were encoded, and the last size of the buffer.
    fn run(control: &mut RateControl, from: u64, to: u64, picture: PictureState, bytes: usize) -> (Vec<u64>, u32) {
        let mut kept = Vec::new();
        for n in from * 30..to * 30 {
            let time = Duration::from_millis(n * 1000 / 30);
            if !control.on_picture(time, picture) {
                control.on_kept(time);
                control.on_encoded(bytes);
                kept.push(n * 1000 / 30);
            }
        }
        (kept, control.told.buffer_ms)
    }

    #[test]
    fn a_page_of_the_wide_buffer_is_bounded_in_time_and_in_bytes() {
        let wide = |usual, bitrate| BufferSizes::of(usual, bitrate).wide;
        assert_eq!([wide(350, 450_000), wide(350, 4_600_000), wide(350, 9_600_000)], [1_000, 1_000, 500]);
        assert_eq!(wide(350, 40_000_000), 350, "never smaller than the usual buffer");
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
        assert!(control.on_picture(time, STILL));
        assert!(!control.on_picture(time, CURSOR));
        assert!(!control.on_picture(Duration::ZERO, STILL), "the source began anew");
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
                if !control.on_picture(time, if n == 0 { change } else { STILL }) {
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
        control.on_picture(Duration::from_secs(5), page);
        assert_eq!(control.on_kept(Duration::from_secs(5)), None);
        control.on_encoded(300_000);
        assert_eq!(run(&mut control, 5, 6, STILL, 9_000).1, 2_000);
    }

    /// The limits of the pictures after a screen has come to rest, each encoded into so many bytes.
    fn after_motion(control: &mut RateControl, from: u64, bytes: &[usize]) -> Vec<Limits> {
        let still = PictureState { rests: control.rests.unwrap_or(0) + 1, ..STILL };
        let limits = bytes.iter().enumerate().map(|(n, bytes)| {
            let time = Duration::from_millis(from + n as u64 * 1000 / 30);
            control.on_picture(time, still);
            control.on_kept(time);
            control.on_encoded(*bytes);
            control.told
        });
        limits.collect()
    }

    #[test]
    fn a_page_right_after_motion_gets_a_loan_and_pays_it_back() {
        let sizes = BufferSizes::of(350, 2_400_000);
        let mut control = RateControl::new(sizes, 2_400_000, 30);
        run(&mut control, 0, 2, MOVING, 10_000);
        let limits = after_motion(&mut control, 2_000, &[10_000, 200_000, 60_000, 2_000, 2_000]);
        // The fill of one picture is the size of the buffer, twice the 300 kB of a second.
        assert_eq!((limits[0].bitrate / 240 * 34 / 1_000, limits[0].buffer_ms), (20_400, 34));
        assert_eq!(limits[1].bitrate, 2_400_000);
        assert!((1_900..2_000).contains(&limits[1].buffer_ms), "{limits:?}");
        assert!((650..800).contains(&limits[2].buffer_ms), "what is left: {limits:?}");
        assert_eq!(limits[4].bitrate, 2_400_000, "a still page is refined: {limits:?}");
        // Much more motion begins before anything has been paid back.
        after_motion(&mut control, 5_000, &[10_000, 250_000, 10_000]);
        control.on_picture(Duration::from_millis(5_100), MOVING);
        let half = Limits { bitrate: 1_200_000, buffer_ms: 350 };
        assert_eq!(control.on_kept(Duration::from_millis(5_100)), Some(half));
        run(&mut control, 6, 8, MOVING, 5_000);
        assert_eq!(control.told, Limits { bitrate: 2_400_000, buffer_ms: 350 });
    }

    #[test]
    fn there_is_no_second_loan_before_the_first_is_paid_back() {
        let mut control = RateControl::new(BufferSizes::of(350, 2_400_000), 2_400_000, 30);
        run(&mut control, 0, 2, MOVING, 10_000);
        after_motion(&mut control, 2_000, &[10_000, 290_000, 10_000, 10_000, 10_000]);
        assert_eq!(control.loan, Loan::None, "nothing is left");
        after_motion(&mut control, 2_200, &[10_000]);
        assert_eq!(control.loan, Loan::None);
        // An encoder that has just been made has seen no motion.
        let mut fresh = RateControl::new(BufferSizes::of(350, 2_400_000), 2_400_000, 30);
        fresh.on_picture(Duration::ZERO, PictureState { rests: 7, ..STILL });
        assert_eq!(fresh.loan, Loan::None);
    }
}
