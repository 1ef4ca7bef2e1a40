//! Drops frames to reach the frame rate of a tier. Kept frames keep their timestamps, so that a frame has the same RTP
//! timestamp in all tiers. videorate would generate new ones.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use super::config::Reduction;
use gstreamer as gst;

/// How early a frame may come and still be kept. Screen capture has jitter.
const TOLERANCE: gst::ClockTime = gst::ClockTime::from_mseconds(8);

/// Decides per frame whether to keep it.
#[derive(Debug)]
pub(super) struct FrameDropper {
    rule: Rule,
    /// Keep the next frame at any rate: somebody waits for a key frame.
    keeps_next: AtomicBool,
}

#[derive(Debug)]
enum Rule {
    All,
    EveryOther { skips_next: AtomicBool },
    AtMost { fps: u32, due: Mutex<Option<gst::ClockTime>> },
}

impl FrameDropper {
    /// For a tier with at most `fps` frames per second.
    pub(super) fn new(reduction: Reduction, fps: u32) -> Self {
        let rule = match reduction {
            Reduction::None => Rule::All,
            Reduction::HalfSize => Rule::EveryOther { skips_next: AtomicBool::new(false) },
            Reduction::LowFrameRate => Rule::AtMost { fps: fps.max(1), due: Mutex::new(None) },
        };
        Self { rule, keeps_next: AtomicBool::new(false) }
    }

    /// Keeps the next frame even if it is not due.
    pub(super) fn keep_next(&self) {
        self.keeps_next.store(true, Ordering::Relaxed);
    }

    /// Whether somebody waits for the next frame already.
    pub(super) fn is_awaited(&self) -> bool {
        self.keeps_next.load(Ordering::Relaxed)
    }

    /// Whether to keep the frame of this timestamp. A frame that `may_rest` is kept only if somebody waits for it.
    pub(super) fn keeps(&self, time: Option<gst::ClockTime>, may_rest: bool) -> bool {
        let keeps_next = self.keeps_next.swap(false, Ordering::Relaxed);
        if may_rest && !keeps_next {
            return false;
        }
        match &self.rule {
            Rule::All => true,
            Rule::EveryOther { skips_next } if keeps_next => {
                skips_next.store(true, Ordering::Relaxed);
                true
            }
            Rule::EveryOther { skips_next } => !skips_next.fetch_xor(true, Ordering::Relaxed),
            Rule::AtMost { fps, due } => {
                let Some(time) = time else { return true };
                let interval = gst::ClockTime::SECOND / u64::from(*fps);
                let mut due = due.lock().unwrap_or_else(PoisonError::into_inner);
                // A time far from the due time means that the source has restarted its timeline.
                let near = due.filter(|due| time + interval * 2 >= *due && time < *due + interval);
                if !keeps_next && near.is_some_and(|due| time + TOLERANCE < due) {
                    return false;
                }
                // Advance by the interval, not from this frame: then the mean rate is right for any source rate.
                *due = Some(near.filter(|_| !keeps_next).unwrap_or(time) + interval);
                true
            }
        }
    }

    /// The caps with the frame rate that is left, by which encoders divide their bitrate.
    pub(super) fn output_caps(&self, caps: &gst::CapsRef) -> Option<gst::Caps> {
        let rate = caps.structure(0)?.get::<gst::Fraction>("framerate").ok();
        let rate = match &self.rule {
            Rule::All => return None,
            // Unknown for variable rates.
            Rule::EveryOther { .. } => {
                let rate = rate.filter(|rate| rate.numer() > 0)?;
                gst::Fraction::new(rate.numer(), rate.denom().checked_mul(2)?)
            }
            Rule::AtMost { fps, .. } => {
                let most = gst::Fraction::new(i32::try_from(*fps).ok()?, 1);
                rate.filter(|rate| rate.numer() > 0 && *rate < most).unwrap_or(most)
            }
        };
        let mut caps = caps.to_owned();
        caps.make_mut().set("framerate", rate);
        Some(caps)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The kept frames of one second at this rate, as times in milliseconds.
    fn taken(dropper: &FrameDropper, per_second: u64) -> Vec<u64> {
        let times = (0..per_second).map(|n| n * 1_000_000 / per_second);
        times
            .filter(|micros| dropper.keeps(Some(gst::ClockTime::from_useconds(*micros)), false))
            .map(|micros| micros / 1000)
            .collect()
    }

    #[test]
    fn the_frame_dropper_keeps_the_configured_rate() {
        let sparse = || FrameDropper::new(Reduction::LowFrameRate, 5);
        assert_eq!(taken(&sparse(), 30), [0, 200, 400, 600, 800]);
        assert_eq!(taken(&sparse(), 24), [0, 208, 416, 625, 833]);
        assert_eq!(taken(&sparse(), 10), [0, 200, 400, 600, 800]);
        assert_eq!(taken(&sparse(), 4), [0, 250, 500, 750]);
        assert_eq!(taken(&FrameDropper::new(Reduction::HalfSize, 15), 6), [0, 333, 666]);
        assert_eq!(taken(&FrameDropper::new(Reduction::None, 30), 4).len(), 4);
        // Input with jitter.
        let (shaky, time) = (sparse(), gst::ClockTime::from_mseconds);
        let times = [0, 33, 69, 99, 135, 164, 197, 236, 265, 299, 330, 365, 396, 433];
        let kept: Vec<u64> = times.into_iter().filter(|at| shaky.keeps(Some(time(*at)), false)).collect();
        assert_eq!(kept, [0, 197, 396]);
    }

    #[test]
    fn the_next_frame_is_kept_on_demand() {
        let (dropper, time) = (FrameDropper::new(Reduction::LowFrameRate, 5), gst::ClockTime::from_mseconds);
        assert!(dropper.keeps(Some(time(0)), false) && !dropper.keeps(Some(time(33)), false));
        dropper.keep_next();
        assert!(dropper.keeps(Some(time(66)), false) && !dropper.keeps(Some(time(200)), false));
        assert!(dropper.keeps(Some(time(266)), false));
        assert!(!dropper.keeps(Some(time(600)), true));
        dropper.keep_next();
        assert!(dropper.keeps(Some(time(633)), true), "somebody waits, although nothing has changed");
        assert!(dropper.keeps(Some(time(5)), false), "its time began anew");
    }

    #[test]
    fn the_output_caps_have_the_reduced_frame_rate() {
        crate::media::init().unwrap();
        let caps = |text: &str| text.parse::<gst::Caps>().unwrap();
        let told =
            |dropper: &FrameDropper, rate: &str| dropper.output_caps(&caps(&format!("video/x-raw,framerate={rate}")));
        let (small, sparse) =
            (FrameDropper::new(Reduction::HalfSize, 15), FrameDropper::new(Reduction::LowFrameRate, 5));
        assert_eq!(told(&small, "25/1"), Some(caps("video/x-raw,framerate=25/2")));
        assert_eq!(told(&small, "0/1"), None);
        for (rate, left) in [("30/1", "5/1"), ("0/1", "5/1"), ("2/1", "2/1"), ("30000/1001", "5/1")] {
            assert_eq!(told(&sparse, rate), Some(caps(&format!("video/x-raw,framerate={left}"))), "{rate}");
        }
        assert_eq!(told(&FrameDropper::new(Reduction::None, 30), "30/1"), None);
    }
}
