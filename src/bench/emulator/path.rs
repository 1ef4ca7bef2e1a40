//! One direction of a link, pure: when a packet that is sent now arrives, and whether it does.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

/// What a packet costs the line beyond its payload: an IPv4 and a UDP header (RFC 791, RFC 768).
pub const OVERHEAD_BYTES: usize = 28;

/// How long packets wait for the line at the most, unless told otherwise: as in the box of a usual home line.
pub const QUEUE: Duration = Duration::from_millis(250);

/// How long a packet is held back so that others get past: more than a picture takes to leave, less than repairs do.
const HELD_BACK: Duration = Duration::from_millis(10);

/// How bad a direction is. The default loses and delays nothing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PathConfig {
    /// The share of packets that is lost, 0 to 1, each for itself.
    pub loss: f64,
    /// Times in which more is lost.
    pub bursts: Vec<Burst>,
    /// How long a packet is under way.
    pub delay: Duration,
    /// Up to so much more, evenly distributed; the order is kept.
    pub jitter: Duration,
    /// The share of packets, 0 to 1, that is held back for 10 ms while those behind go on.
    pub reorder: f64,
    /// Bits per second that the line takes, headers included; none: any number. A lost packet has cost its time too.
    pub rate: Option<u32>,
    /// How long a packet may wait for the line; one that had to wait longer is dropped.
    pub queue: Duration,
}

impl Default for PathConfig {
    fn default() -> Self {
        Self {
            loss: 0.0,
            bursts: Vec::new(),
            delay: Duration::ZERO,
            jitter: Duration::ZERO,
            reorder: 0.0,
            rate: None,
            queue: QUEUE,
        }
    }
}

/// A time in which more is lost; all of it is an outage.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Burst {
    /// The share of packets that is lost, 0 to 1.
    pub loss: f64,
    /// When it begins, after the path did.
    pub at: Duration,
    /// How long it lasts.
    pub length: Duration,
    /// It comes again this long after it began, and again.
    pub every: Option<Duration>,
}

impl Burst {
    /// Whether it is on, this long after the path began.
    fn is_on(&self, time: Duration) -> bool {
        let Some(since) = time.checked_sub(self.at) else { return false };
        match self.every.filter(|every| !every.is_zero()) {
            Some(every) => Duration::from_nanos((since.as_nanos() % every.as_nanos()) as u64) < self.length,
            None => since < self.length,
        }
    }
}

/// What became of the packets of a path.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PathCounts {
    /// They arrive.
    pub passed: u64,
    /// They were lost on the way.
    pub lost: u64,
    /// The queue was full.
    pub dropped: u64,
}

/// One direction of a link. The same seed has the same fate for the same packets at the same times.
#[derive(Debug)]
pub struct Path {
    config: PathConfig,
    random: Random,
    began: Instant,
    /// When the line has sent all that waits.
    free_at: Instant,
    /// When the last packet arrives that keeps its place.
    last_arrival: Instant,
    counts: PathCounts,
}

impl Path {
    /// A path that begins now.
    pub fn new(config: PathConfig, seed: u64, now: Instant) -> Self {
        let (random, counts) = (Random(seed), PathCounts::default());
        Self { config, random, began: now, free_at: now, last_arrival: now, counts }
    }

    /// Another line from now on; what is under way arrives as it would have, and the bursts' clock goes on.
    pub fn set(&mut self, config: PathConfig) {
        self.config = config;
    }

    /// The bursts are counted from now on.
    pub fn begin(&mut self, now: Instant) {
        self.began = now;
    }

    /// A packet of so many bytes without IP and UDP headers is sent; gives when it arrives, or nothing if it does not.
    pub fn offer(&mut self, now: Instant, bytes: usize) -> Option<Instant> {
        // Always as many numbers, so that a packet's luck does not hang on how full the queue is.
        let [luck, late, held] = [(); 3].map(|()| self.random.share());
        let Some(sent) = self.send(now, bytes) else {
            self.counts.dropped += 1;
            return None;
        };
        if luck < self.loss(now) {
            self.counts.lost += 1;
            return None;
        }
        self.counts.passed += 1;
        let arrival = (sent + self.config.delay + self.config.jitter.mul_f64(late)).max(self.last_arrival);
        if held < self.config.reorder {
            return Some(arrival + HELD_BACK);
        }
        self.last_arrival = arrival;
        Some(arrival)
    }

    /// A packet is dropped because nobody could hold it.
    pub(super) fn refuse(&mut self) {
        self.counts.dropped += 1;
    }

    /// The packets until now.
    pub fn counts(&self) -> PathCounts {
        self.counts
    }

    /// When the line has sent a packet, or nothing if its queue is full. An idle line takes any packet.
    fn send(&mut self, now: Instant, bytes: usize) -> Option<Instant> {
        let Some(rate) = self.config.rate else {
            self.free_at = now;
            return Some(now);
        };
        let wait = self.free_at.saturating_duration_since(now);
        if !wait.is_zero() && wait > self.config.queue {
            return None;
        }
        let bits = (bytes + OVERHEAD_BYTES) as u64 * 8;
        self.free_at = now + wait + Duration::from_nanos(bits * 1_000_000_000 / u64::from(rate.max(1)));
        Some(self.free_at)
    }

    fn loss(&self, now: Instant) -> f64 {
        let time = now.saturating_duration_since(self.began);
        let bursts = self.config.bursts.iter().filter(|burst| burst.is_on(time));
        bursts.map(|burst| burst.loss).fold(self.config.loss, f64::max)
    }
}

/// SplitMix64 (Steele, Lea and Flood 2014): any seed is good, and four lines are enough.
#[derive(Debug)]
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number from 0 on, below 1, of the 53 bits that fit.
    fn share(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACKETS: u64 = 100_000;
    const MS: Duration = Duration::from_millis(1);

    fn path(config: PathConfig) -> (Path, Instant) {
        let now = Instant::now();
        (Path::new(config, 7, now), now)
    }

    /// The share of packets that is lost, one a millisecond.
    fn lost(config: PathConfig) -> f64 {
        let (mut path, now) = path(config);
        let lost = (0..PACKETS as u32).filter(|n| path.offer(now + MS * *n, 1000).is_none()).count();
        assert_eq!(path.counts().lost, lost as u64);
        assert_eq!(path.counts().passed + path.counts().lost, PACKETS);
        lost as f64 / PACKETS as f64
    }

    #[test]
    fn as_many_are_lost_as_said() {
        for loss in [0.0, 0.01, 0.05, 0.2, 1.0] {
            let found = lost(PathConfig { loss, ..PathConfig::default() });
            assert!((found - loss).abs() < 0.01, "{loss}: {found}");
        }
    }

    #[test]
    fn a_seed_is_a_fate_and_another_seed_another() {
        let config =
            PathConfig { loss: 0.1, jitter: 9 * MS, reorder: 0.1, rate: Some(9_000_000), ..Default::default() };
        let now = Instant::now();
        let run = |seed| -> Vec<Option<Duration>> {
            let mut path = Path::new(config.clone(), seed, now);
            (0..1000u32).map(|n| path.offer(now + MS * n, 1000).map(|at| at - now)).collect()
        };
        assert_eq!(run(1), run(1));
        assert_ne!(run(1), run(2));
    }

    #[test]
    fn bursts_come_when_they_were_said_to_and_again() {
        let burst = |every| Burst { loss: 1.0, at: 50 * MS, length: 20 * MS, every };
        let lost = |every: Option<Duration>| -> Vec<u32> {
            let (mut path, now) = path(PathConfig { bursts: vec![burst(every)], ..PathConfig::default() });
            path.begin(now + 100 * MS);
            (0..300).filter(|n| path.offer(now + MS * *n, 1000).is_none()).collect()
        };
        assert_eq!(lost(None), (150..170).collect::<Vec<_>>());
        assert_eq!(lost(Some(100 * MS)), (150..170).chain(250..270).collect::<Vec<_>>());
    }

    #[test]
    fn jitter_delays_and_keeps_the_order() {
        let (mut path, now) = path(PathConfig { delay: 25 * MS, jitter: 30 * MS, ..PathConfig::default() });
        let mut last = now;
        let mut sum = Duration::ZERO;
        for n in 0..PACKETS as u32 {
            // Far enough apart that none has to wait for the one before.
            let sent = now + 50 * MS * n;
            let arrival = path.offer(sent, 1000).unwrap();
            assert!((25 * MS..55 * MS).contains(&(arrival - sent)) && arrival >= last);
            (last, sum) = (arrival, sum + (arrival - sent));
        }
        let mean = sum.as_secs_f64() * 1000.0 / PACKETS as f64;
        assert!((mean - 40.0).abs() < 0.4, "{mean} ms");
        for n in 0..1000u32 {
            let arrival = path.offer(last + MS * n, 1000).unwrap();
            assert!(arrival >= last, "close together they keep their order too");
            last = last.max(arrival);
        }
    }

    #[test]
    fn as_many_are_overtaken_as_said_and_none_is_lost() {
        let (mut path, now) = path(PathConfig { delay: 5 * MS, reorder: 0.1, ..PathConfig::default() });
        let arrivals: Vec<Instant> = (0..PACKETS as u32).map(|n| path.offer(now + MS * n, 1000).unwrap()).collect();
        let overtaken = arrivals.windows(2).filter(|two| two[0] > two[1]).count() as f64 / PACKETS as f64;
        // A packet is overtaken by the next one unless that is held back too.
        assert!((overtaken - 0.09).abs() < 0.005, "{overtaken}");
    }

    #[test]
    fn a_line_carries_its_rate_and_its_queue_is_bounded() {
        for (rate, queue) in [(120_000, 250 * MS), (600_000, 250 * MS), (10_000_000, 20 * MS)] {
            let (mut path, now) = path(PathConfig { rate: Some(rate), queue, ..PathConfig::default() });
            let (mut bits, mut first, mut last) = (0u64, None, now);
            // Twice as much as it carries, in packets of 1,228 bytes with their headers.
            let apart = Duration::from_secs_f64(1228.0 * 8.0 / f64::from(rate) / 2.0);
            let own = 2 * apart;
            for n in 0..PACKETS as u32 {
                let sent = now + apart * n;
                let Some(arrival) = path.offer(sent, 1200) else { continue };
                assert!(arrival - sent <= queue + own + MS, "waits {:?}", arrival - sent);
                (bits, last) = (bits + 1228 * 8, arrival);
                first.get_or_insert(arrival);
            }
            let carried = bits as f64 / (last - first.unwrap()).as_secs_f64() / f64::from(rate);
            assert!((carried - 1.0).abs() < 0.01, "{rate}: {carried}");
            let dropped = path.counts().dropped as f64 / PACKETS as f64;
            assert!((dropped - 0.5).abs() < 0.01, "{rate}: {dropped}");
        }
    }

    #[test]
    fn an_idle_line_takes_what_is_larger_than_its_queue() {
        let (mut path, now) = path(PathConfig { rate: Some(8000), queue: MS, ..PathConfig::default() });
        assert_eq!(path.offer(now, 972), Some(now + 1000 * MS));
        assert_eq!(path.offer(now, 972), None);
        assert_eq!(path.offer(now + 1000 * MS, 972), Some(now + 2000 * MS));
    }

    #[test]
    fn a_restored_line_is_fast_at_once_and_overtakes_nothing() {
        let slow = PathConfig { rate: Some(100_000), ..PathConfig::default() };
        let (mut path, now) = path(slow);
        let waiting: Vec<Instant> = (0..4).filter_map(|_| path.offer(now, 972)).collect();
        assert_eq!(waiting.last(), Some(&(now + 320 * MS)));
        path.set(PathConfig { delay: 5 * MS, ..PathConfig::default() });
        assert_eq!(path.offer(now + MS, 972), Some(now + 320 * MS));
        assert_eq!(path.offer(now + 400 * MS, 972), Some(now + 405 * MS));
    }
}
