//! The target delay of the jitter buffer: how long after its earliest playout time everything is played.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::rtp::Track;

/// The minimum adaptive delay: it covers a late wake-up of a thread at either end.
pub const MIN_DELAY: Duration = Duration::from_millis(20);

/// The maximum adaptive delay: with more, questions and answers overlap.
pub const MAX_DELAY: Duration = Duration::from_millis(500);

/// The initial delay: three retransmissions on a LAN.
const FIRST: Duration = Duration::from_millis(80);

/// The share of frames that must arrive in time. The others are shown late, which is seldom noticed; waiting for all of
/// them would delay everything.
const IN_TIME: f64 = 0.97;

/// The lateness that one column of the histogram covers.
const COLUMN: Duration = Duration::from_millis(5);

/// Columns up to [`MAX_DELAY`].
const COLUMNS: usize = 101;

/// How often the delay is adapted.
const EVERY: Duration = Duration::from_millis(100);

/// The weight that older frames keep at each adaptation: 37 % after 4 s. So 3 % of late frames show within a second.
const KEPT: f64 = 0.9753;

/// Fewer frames than this give no result.
const ENOUGH: f64 = 10.0;

/// The step of the delay. Each change makes GStreamer query the latency of the whole pipeline.
const STEP: Duration = Duration::from_millis(10);

/// How long a smaller delay must have sufficed before each step down, which is [`STEP`] or a tenth of the difference.
const QUIET: Duration = Duration::from_secs(1);

/// The requested delay.
#[derive(Serialize, Deserialize, Debug, Clone, Copy, PartialEq, Eq)]
pub enum Latency {
    /// Always this delay.
    Fixed(Duration),
    /// The delay that the network needs, within bounds.
    Adaptive {
        /// The minimum.
        least: Duration,
        /// The maximum.
        most: Duration,
    },
}

impl Latency {
    /// Between [`MIN_DELAY`] and [`MAX_DELAY`].
    pub const AUTO: Self = Self::Adaptive { least: MIN_DELAY, most: MAX_DELAY };

    /// The delay at the start.
    pub fn first(self) -> Duration {
        match self {
            Self::Fixed(delay) => delay,
            Self::Adaptive { least, most } => FIRST.max(least).min(most),
        }
    }
}

/// `80`, `auto`, `40..200`.
impl fmt::Display for Latency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed(delay) => write!(f, "{}", delay.as_millis()),
            auto if *auto == Self::AUTO => f.pad("auto"),
            Self::Adaptive { least, most } => write!(f, "{}..{}", least.as_millis(), most.as_millis()),
        }
    }
}

/// The current delay: it rises at once and falls slowly. All tracks share it, so that they stay in sync.
#[derive(Debug)]
pub(super) struct TargetDelay {
    latency: Latency,
    now: Duration,
    tracks: [Lateness; 3],
    looked: Duration,
    /// Since when a smaller delay has sufficed.
    quiet: Option<Duration>,
}

/// How late the frames of a track could be played, as a histogram in which newer frames count more.
#[derive(Debug)]
struct Lateness {
    columns: [f64; COLUMNS],
    /// Set after a stall too long for any delay, until a frame is in time again.
    stalled: bool,
}

impl Default for Lateness {
    fn default() -> Self {
        Self { columns: [0.0; COLUMNS], stalled: false }
    }
}

impl TargetDelay {
    pub(super) fn new(latency: Latency) -> Self {
        Self { latency, now: latency.first(), tracks: Default::default(), looked: Duration::ZERO, quiet: None }
    }

    /// The current delay.
    pub(super) fn now(&self) -> Duration {
        self.now
    }

    /// A frame could be played only this much later than the earliest time.
    pub(super) fn note(&mut self, track: Track, late: Duration) {
        let now = self.now;
        let lateness = &mut self.tracks[track as usize];
        // After a stall the first frames are the latest. If no delay covers these, the others are no reason for a
        // longer delay.
        if late > MAX_DELAY {
            lateness.stalled = true;
        } else if late <= now {
            lateness.stalled = false;
        }
        if !lateness.stalled
            && let Some(column) = lateness.columns.get_mut(column(late))
        {
            *column += 1.0;
        }
    }

    /// The receiver was suspended: frames are late for that reason until one is in time again.
    pub(super) fn on_suspension(&mut self) {
        self.tracks.iter_mut().for_each(|track| *track = Lateness { stalled: true, ..Lateness::default() });
    }

    /// Adapts the delay, at most ten times a second. Returns whether it has changed.
    pub(super) fn look(&mut self, at: Duration) -> bool {
        let Latency::Adaptive { least, most } = self.latency else { return false };
        if at < self.looked + EVERY {
            return false;
        }
        self.looked = at;
        let needed = self.tracks.iter().filter_map(Lateness::needed).max();
        self.tracks.iter_mut().flat_map(|track| &mut track.columns).for_each(|column| *column *= KEPT);
        let Some(needed) = needed else { return false };
        let needed = needed.div_duration_f64(STEP).ceil() as u32 * STEP;
        let needed = needed.max(least).min(most);
        if needed > self.now {
            (self.now, self.quiet) = (needed, None);
            return true;
        }
        if needed == self.now {
            self.quiet = None;
            return false;
        }
        if at < *self.quiet.get_or_insert(at) + QUIET {
            return false;
        }
        self.quiet = Some(at);
        let tenth = ((self.now - needed).as_millis() / 100) as u32 * STEP;
        self.now = self.now.saturating_sub(tenth.max(STEP)).max(needed);
        true
    }
}

impl Lateness {
    /// The delay by which the share [`IN_TIME`] of frames has arrived; `None` if there are too few frames.
    fn needed(&self) -> Option<Duration> {
        let all: f64 = self.columns.iter().sum();
        if all < ENOUGH {
            return None;
        }
        let mut seen = 0.0;
        let reached = self.columns.iter().position(|column| {
            seen += column;
            seen >= all * IN_TIME
        });
        Some(COLUMN * (reached.unwrap_or(COLUMNS - 1) + 1) as u32)
    }
}

fn column(late: Duration) -> usize {
    (late.as_micros() / COLUMN.as_micros()).try_into().unwrap_or(COLUMNS)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// Plays 30 frames per second and returns the delay at the end of each second.
    fn play(delay: &mut TargetDelay, seconds: std::ops::Range<u64>, late: impl Fn(u64) -> u64) -> Vec<u128> {
        let mut ends = Vec::new();
        for n in seconds.start * 30..seconds.end * 30 {
            delay.note(Track::Screen, ms(late(n)));
            delay.look(ms(n * 1000 / 30));
            if n % 30 == 29 {
                ends.push(delay.now().as_millis());
            }
        }
        ends
    }

    #[test]
    fn the_delay_of_a_steady_network_falls_to_the_minimum() {
        let mut delay = TargetDelay::new(Latency::AUTO);
        let ends = play(&mut delay, 0..20, |_| 2);
        assert_eq!((ends[0], ends[3], ends[10], ends[19]), (80, 50, 20, 20), "{ends:?}");
    }

    #[test]
    fn the_delay_rises_at_once_and_falls_slowly() {
        let mut delay = TargetDelay::new(Latency::AUTO);
        play(&mut delay, 0..20, |_| 2);
        // Every tenth frame needs a retransmission, which takes 90 ms.
        let repaired = play(&mut delay, 20..40, |n| if n % 10 == 0 { 90 } else { 3 });
        assert_eq!((repaired[1], repaired[19]), (100, 100), "{repaired:?}");
        let after = play(&mut delay, 40..80, |_| 3);
        assert!(after[3] == 100 && after[39] == 20, "{after:?}");
        assert!(after.windows(2).all(|pair| pair[0] - pair[1] <= 20), "{after:?}");
    }

    #[test]
    fn the_delay_covers_jitter_within_its_bounds() {
        for (jitter, least, most) in [(40u64, 40, 50), (150, 140, 160), (450, 430, 460)] {
            let mut delay = TargetDelay::new(Latency::AUTO);
            let ends = play(&mut delay, 0..30, |n| n * 7919 % jitter);
            assert!(ends[5..].iter().all(|end| (least..=most).contains(end)), "{jitter}: {ends:?}");
        }
        let mut bounded = TargetDelay::new(Latency::Adaptive { least: ms(40), most: ms(200) });
        assert_eq!(play(&mut bounded, 0..1, |n| n * 7919 % 450), [200]);
        assert_eq!(play(&mut bounded, 1..60, |_| 0)[58], 40);
    }

    #[test]
    fn only_a_stall_that_a_delay_can_cover_raises_the_delay() {
        let mut delay = TargetDelay::new(Latency::AUTO);
        play(&mut delay, 0..20, |_| 2);
        let stall = |length: u64| move |n: u64| if n < 630 { length.saturating_sub((n - 600) * 33) } else { 2 };
        assert!(play(&mut delay, 20..30, stall(1000)).iter().all(|end| *end == 20));
        let mut delay = TargetDelay::new(Latency::AUTO);
        play(&mut delay, 0..20, |_| 2);
        assert!(play(&mut delay, 20..21, stall(400))[0] > 200);
    }

    #[test]
    fn a_receiver_suspension_does_not_raise_the_delay() {
        let mut delay = TargetDelay::new(Latency::AUTO);
        play(&mut delay, 0..20, |_| 2);
        delay.on_suspension();
        let late = |n: u64| if n < 615 { 400u64.saturating_sub((n - 600) * 33) } else { 2 };
        assert!(play(&mut delay, 20..40, late).iter().all(|end| *end == 20));
    }

    #[test]
    fn a_fixed_delay_never_changes_and_the_latest_track_determines_an_adaptive_one() {
        let mut fixed = TargetDelay::new(Latency::Fixed(ms(20)));
        assert_eq!(play(&mut fixed, 0..2, |_| 300), [20, 20]);
        let mut delay = TargetDelay::new(Latency::AUTO);
        for n in 0..300u64 {
            delay.note(Track::Audio, ms(1));
            delay.note(Track::Camera, ms(130));
            delay.look(ms(n * 20));
        }
        assert_eq!(delay.now(), ms(140));
    }

    #[test]
    fn latencies_are_displayed_as_they_are_typed() {
        let range = Latency::Adaptive { least: ms(40), most: ms(200) };
        assert_eq!([Latency::AUTO, Latency::Fixed(ms(80)), range].map(|l| l.to_string()), ["auto", "80", "40..200"]);
        assert_eq!(
            [Latency::AUTO, Latency::Fixed(ms(5)), Latency::Adaptive { least: ms(100), most: ms(200) }]
                .map(Latency::first),
            [ms(80), ms(5), ms(100)]
        );
    }
}
