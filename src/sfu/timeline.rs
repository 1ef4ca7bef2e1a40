//! The RTP timestamps of one track, continued from one publisher to the next.
//!
//! A source chooses its first timestamp at random (RFC 3550, 5.1). To a student all publishers of a track are one
//! source, so the timestamps of a new publisher are shifted to go on from the old ones by the time between captures.
//! The clock of the sender reports then stays the same, and audio stays in sync with video.

use std::time::{Duration, Instant};

use crate::rtp::Frame;

/// The least distance of the first frame of a new source from the last one of the old source, in ticks.
const LEAST_STEP: u32 = 10;

/// The longest pause between two sources that timestamps reproduce: far below half of their range, which is 6 h of
/// video.
const LONGEST_PAUSE: Duration = Duration::from_secs(3_600);

/// The timestamps of one track.
#[derive(Debug, Default)]
pub(super) struct Timeline {
    offset: u32,
    /// The latest timestamp, and the capture time of its frame.
    last: Option<(u32, Instant)>,
    /// Whether the next frame is the first one of another source.
    has_new_source: bool,
}

impl Timeline {
    /// Prepares for the first frame of another source.
    pub(super) fn change_source(&mut self) {
        self.has_new_source = true;
    }

    /// Shifts the timestamp of the source's next frame.
    pub(super) fn continue_with(&mut self, frame: &mut Frame) {
        if std::mem::take(&mut self.has_new_source)
            && let Some((last, captured)) = self.last
        {
            let pause = frame.captured.saturating_duration_since(captured).min(LONGEST_PAUSE);
            let ticks = pause.as_nanos() * u128::from(frame.codec.clock_rate()) / 1_000_000_000;
            let wanted = last.wrapping_add((ticks as u32).max(LEAST_STEP));
            self.offset = wanted.wrapping_sub(frame.timestamp);
        }
        frame.timestamp = frame.timestamp.wrapping_add(self.offset);
        let is_later = self.last.is_none_or(|(last, _)| frame.timestamp.wrapping_sub(last) < 1 << 31);
        if is_later {
            self.last = Some((frame.timestamp, frame.captured));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtp::{Codec, Encoding, FrameAssembler, Track};

    fn frame(timestamp: u32, captured: Instant) -> Frame {
        let packet = [&[0x80, 0x80 | 96, 0, 1][..], &timestamp.to_be_bytes(), &[0; 4], &[0x10, 0, 0]].concat();
        FrameAssembler::new(Encoding::full(Track::Screen, Codec::Vp8)).push(&packet, captured).unwrap()
    }

    #[test]
    fn a_new_source_goes_on_where_the_old_one_stopped() {
        let (mut timeline, start) = (Timeline::default(), Instant::now());
        let next = |timeline: &mut Timeline, timestamp: u32, ms: u64| {
            let mut frame = frame(timestamp, start + Duration::from_millis(ms));
            timeline.continue_with(&mut frame);
            frame.timestamp
        };
        assert_eq!(next(&mut timeline, u32::MAX - 99, 0), u32::MAX - 99, "the first source keeps its timestamps");
        assert_eq!(next(&mut timeline, 2_900, 33), 2_900);
        assert_eq!(next(&mut timeline, 2_800, 32), 2_800, "the other tier of the picture");
        timeline.change_source();
        // 67 ms after the last frame, on the clock of 90 kHz.
        assert_eq!(next(&mut timeline, 3_000_000_000, 100), 2_900 + 67 * 90);
        assert_eq!(next(&mut timeline, 3_000_003_000, 133), 2_900 + 67 * 90 + 3_000);
        timeline.change_source();
        assert_eq!(next(&mut timeline, 7, 90), 2_900 + 67 * 90 + 3_000 + LEAST_STEP, "captured before the last one");
        timeline.change_source();
        timeline.change_source();
        let before = 2_900 + 67 * 90 + 3_000 + LEAST_STEP;
        assert_eq!(next(&mut timeline, 7, 90 + 24 * 3_600_000), before + 3_600 * 90_000, "a day later");
    }

    #[test]
    fn a_change_before_the_first_frame_shifts_nothing() {
        let mut timeline = Timeline::default();
        timeline.change_source();
        let mut frame = frame(77, Instant::now());
        timeline.continue_with(&mut frame);
        assert_eq!(frame.timestamp, 77);
    }
}
