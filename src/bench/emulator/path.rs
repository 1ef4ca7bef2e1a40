//! One direction of a network path: whether and when a packet sent now arrives. Does no I/O.

use std::time::{Duration, Instant};

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use serde::{Deserialize, Serialize};

/// Bytes of a packet on the link in addition to its payload: the IPv4 and UDP headers (RFC 791, RFC 768).
pub const OVERHEAD_BYTES: usize = 28;

/// The default limit of the queuing delay: as in a usual home router.
pub const QUEUE: Duration = Duration::from_millis(250);

/// How long a packet is held back so that others overtake it: longer than a frame takes to leave, shorter than a
/// retransmission takes.
const HELD_BACK: Duration = Duration::from_millis(10);

/// The faults of a direction. The default neither loses nor delays packets.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PathConfig {
    /// The fraction of packets lost, 0 to 1, independently.
    pub loss: f64,
    /// Periods with a higher loss.
    pub bursts: Vec<Burst>,
    /// The propagation delay.
    pub delay: Duration,
    /// The maximum additional delay, uniformly distributed; the order is kept.
    pub jitter: Duration,
    /// The fraction of packets, 0 to 1, held back for 10 ms while later packets pass.
    pub reorder: f64,
    /// The rate of the link in bits per second, headers included; `None` for unlimited. A lost packet also takes its
    /// time.
    pub rate: Option<u32>,
    /// The maximum queuing delay; a packet that would wait longer is dropped.
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

/// A period in which more packets are lost; with a loss of 1, an outage.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Burst {
    /// The fraction of packets lost, 0 to 1.
    pub loss: f64,
    /// When it starts, relative to the start of the path.
    pub at: Duration,
    /// How long it lasts.
    pub length: Duration,
    /// The interval at which it repeats.
    pub every: Option<Duration>,
}

impl Burst {
    /// Whether the burst is active at this time since the start of the path.
    fn is_on(&self, time: Duration) -> bool {
        let Some(since) = time.checked_sub(self.at) else { return false };
        match self.every.filter(|every| !every.is_zero()) {
            Some(every) => Duration::from_nanos((since.as_nanos() % every.as_nanos()) as u64) < self.length,
            None => since < self.length,
        }
    }
}

/// The packet counts of a path.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PathCounts {
    /// Packets that arrive.
    pub passed: u64,
    /// Packets that are lost.
    pub lost: u64,
    /// Packets dropped because the queue is full.
    pub dropped: u64,
}

/// One direction of a network path. The same seed has the same effect on the same packets at the same times.
#[derive(Debug)]
pub struct Path {
    config: PathConfig,
    random: SmallRng,
    began: Instant,
    /// When the queue of the link is empty.
    free_at: Instant,
    /// The arrival time of the last packet that was not held back.
    last_arrival: Instant,
    counts: PathCounts,
}

impl Path {
    /// A path that starts now.
    pub fn new(config: PathConfig, seed: u64, now: Instant) -> Self {
        let (random, counts) = (SmallRng::seed_from_u64(seed), PathCounts::default());
        Self { config, random, began: now, free_at: now, last_arrival: now, counts }
    }

    /// Changes the faults from now on. Packets in flight arrive as before, and the clock of the bursts continues.
    pub fn set(&mut self, config: PathConfig) {
        self.config = config;
    }

    /// Starts the clock of the bursts.
    pub fn begin(&mut self, now: Instant) {
        self.began = now;
    }

    /// Sends a packet of `bytes` bytes without IP and UDP headers. Returns its arrival time; `None` if it does not
    /// arrive.
    pub fn offer(&mut self, now: Instant, bytes: usize) -> Option<Instant> {
        // Three numbers for every packet, so that the state of the queue does not change the fate of later packets.
        let [loss, jitter, hold]: [f64; 3] = self.random.random();
        let Some(sent) = self.send(now, bytes) else {
            self.counts.dropped += 1;
            return None;
        };
        if loss < self.loss(now) {
            self.counts.lost += 1;
            return None;
        }
        self.counts.passed += 1;
        let arrival = (sent + self.config.delay + self.config.jitter.mul_f64(jitter)).max(self.last_arrival);
        if hold < self.config.reorder {
            return Some(arrival + HELD_BACK);
        }
        self.last_arrival = arrival;
        Some(arrival)
    }

    /// Counts a packet dropped for lack of memory.
    pub(super) fn count_dropped(&mut self) {
        self.counts.dropped += 1;
    }

    /// The packet counts so far.
    pub fn counts(&self) -> PathCounts {
        self.counts
    }

    /// When the link has sent a packet; `None` if its queue is full. An idle link takes any packet.
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

#[cfg(test)]
mod tests {
    use super::*;

    const PACKETS: u64 = 100_000;
    const MS: Duration = Duration::from_millis(1);

    fn path(config: PathConfig) -> (Path, Instant) {
        let now = Instant::now();
        (Path::new(config, 7, now), now)
    }

    /// The fraction of packets lost, at one packet per millisecond.
    fn lost(config: PathConfig) -> f64 {
        let (mut path, now) = path(config);
        let lost = (0..PACKETS as u32).filter(|n| path.offer(now + MS * *n, 1000).is_none()).count();
        assert_eq!(path.counts().lost, lost as u64);
        assert_eq!(path.counts().passed + path.counts().lost, PACKETS);
        lost as f64 / PACKETS as f64
    }

    #[test]
    fn the_loss_is_as_configured() {
        for loss in [0.0, 0.01, 0.05, 0.2, 1.0] {
            let found = lost(PathConfig { loss, ..PathConfig::default() });
            assert!((found - loss).abs() < 0.01, "{loss}: {found}");
        }
    }

    #[test]
    fn a_seed_determines_the_fate_of_each_packet() {
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
    fn bursts_start_on_time_and_repeat() {
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
            // Far enough apart that no packet waits for the previous one.
            let sent = now + 50 * MS * n;
            let arrival = path.offer(sent, 1000).unwrap();
            assert!((25 * MS..55 * MS).contains(&(arrival - sent)) && arrival >= last);
            (last, sum) = (arrival, sum + (arrival - sent));
        }
        let mean = sum.as_secs_f64() * 1000.0 / PACKETS as f64;
        assert!((mean - 40.0).abs() < 0.4, "{mean} ms");
        for n in 0..1000u32 {
            let arrival = path.offer(last + MS * n, 1000).unwrap();
            assert!(arrival >= last, "packets close together keep their order, too");
            last = last.max(arrival);
        }
    }

    #[test]
    fn the_reordering_is_as_configured_and_loses_no_packet() {
        let (mut path, now) = path(PathConfig { delay: 5 * MS, reorder: 0.1, ..PathConfig::default() });
        let arrivals: Vec<Instant> = (0..PACKETS as u32).map(|n| path.offer(now + MS * n, 1000).unwrap()).collect();
        let overtaken = arrivals.windows(2).filter(|two| two[0] > two[1]).count() as f64 / PACKETS as f64;
        // A packet is overtaken by the next one unless that one is held back too.
        assert!((overtaken - 0.09).abs() < 0.005, "{overtaken}");
    }

    #[test]
    fn a_link_carries_its_rate_and_its_queue_is_bounded() {
        for (rate, queue) in [(120_000, 250 * MS), (600_000, 250 * MS), (10_000_000, 20 * MS)] {
            let (mut path, now) = path(PathConfig { rate: Some(rate), queue, ..PathConfig::default() });
            let (mut bits, mut first, mut last) = (0u64, None, now);
            // Twice the capacity, in packets of 1,228 bytes including headers.
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
    fn an_idle_link_takes_a_packet_larger_than_its_queue() {
        let (mut path, now) = path(PathConfig { rate: Some(8000), queue: MS, ..PathConfig::default() });
        assert_eq!(path.offer(now, 972), Some(now + 1000 * MS));
        assert_eq!(path.offer(now, 972), None);
        assert_eq!(path.offer(now + 1000 * MS, 972), Some(now + 2000 * MS));
    }

    #[test]
    fn a_restored_link_is_fast_at_once_and_keeps_the_order() {
        let slow = PathConfig { rate: Some(100_000), ..PathConfig::default() };
        let (mut path, now) = path(slow);
        let waiting: Vec<Instant> = (0..4).filter_map(|_| path.offer(now, 972)).collect();
        assert_eq!(waiting.last(), Some(&(now + 320 * MS)));
        path.set(PathConfig { delay: 5 * MS, ..PathConfig::default() });
        assert_eq!(path.offer(now + MS, 972), Some(now + 320 * MS));
        assert_eq!(path.offer(now + 400 * MS, 972), Some(now + 405 * MS));
    }
}
