//! What a line can carry, by how far apart the packets of one burst come out of it.
//!
//! A picture leaves as a burst, so the packets of a picture queue up in front of the narrowest link and leave it one
//! after the other: the time between them is what it needs for one. Nothing of it depends on how much is sent, so a
//! line's capacity is known long before it is used up. A probe is such a train of padding.

/// Packets that were sent within this time are one train, in microseconds: a picture is one system call.
const SPREAD: u64 = 500;

/// The fewest packets of a train.
const LEAST_PACKETS: u32 = 3;

/// The fewest bytes after the first packet of a train: some packets of sound that were late together tell too little.
const LEAST_BYTES: u32 = 800;

/// How many trains are looked at: half a second of pictures at 30 fps.
const CLUSTERS: usize = 16;

/// How long a train tells something, in microseconds: two probes.
const TELLS_FOR: u64 = 6_000_000;

/// A line on which the packets of a train come together has at least this, and nobody asks for more: bits a second.
pub(super) const VERY_FAST: u32 = 1_000_000_000;

/// Two trains of one line differ by less than this factor, or its capacity has changed.
pub(super) const CONTRADICTION: u32 = 2;

/// The train that is on its way: sums for the line of least squares through bytes (x) and time of arrival (y), both
/// since the first packet.
///
/// A slope and not the time between first and last, because jitter widens that, always, while it turns a slope to
/// either side: the median of some trains is right.
#[derive(Debug, Default)]
struct Open {
    sent: u64,
    first: i64,
    packets: u32,
    bytes: u32,
    x: f64,
    y: f64,
    xx: f64,
    xy: f64,
}

impl Open {
    fn add(&mut self, arrived: i64, bytes: u32) {
        if self.packets == 0 {
            self.first = arrived;
        } else {
            self.bytes = self.bytes.saturating_add(bytes);
        }
        self.packets += 1;
        let (x, y) = (f64::from(self.bytes), arrived.saturating_sub(self.first) as f64);
        self.x += x;
        self.y += y;
        self.xx += x * x;
        self.xy += x * y;
    }

    /// Nanoseconds a byte, where it was train enough.
    fn slope(&self) -> Option<u32> {
        if self.packets < LEAST_PACKETS || self.bytes < LEAST_BYTES {
            return None;
        }
        let packets = f64::from(self.packets);
        let (xx, xy) = (self.xx - self.x * self.x / packets, self.xy - self.x * self.y / packets);
        (xx > 0.0).then(|| (xy / xx * 1000.0).clamp(0.0, u32::MAX.into()) as u32)
    }
}

#[derive(Debug, Default, Clone, Copy)]
struct Cluster {
    sent: u64,
    nanos_per_byte: u32,
}

/// The trains of the last seconds.
#[derive(Debug, Default)]
pub(super) struct ProbeClusters {
    open: Open,
    clusters: [Cluster; CLUSTERS],
    count: usize,
}

impl ProbeClusters {
    /// A packet came. Packets are told of in the order of sending; one that was passed over before is left out.
    pub(super) fn add(&mut self, sent: u64, arrived: i64, bytes: u32) {
        if sent < self.open.sent {
            return;
        }
        if sent > self.open.sent + SPREAD {
            if let Some(nanos_per_byte) = self.open.slope() {
                self.clusters[self.count % CLUSTERS] = Cluster { sent: self.open.sent, nanos_per_byte };
                self.count += 1;
            }
            self.open = Open { sent, ..Open::default() };
        }
        self.open.add(arrived, bytes);
    }

    /// The line's capacity in bits a second, by the median of the trains that still tell something.
    pub(super) fn rate(&self, now: u64) -> Option<u32> {
        let mut slopes = [0; CLUSTERS];
        let mut count = 0;
        for cluster in self.recent(now, TELLS_FOR) {
            slopes[count] = cluster.nanos_per_byte;
            count += 1;
        }
        let slopes = &mut slopes[..count];
        slopes.sort_unstable();
        slopes.get(count / 2).map(|nanos| rate(*nanos))
    }

    /// The same by the train that tells of most: who was busy makes a line look narrower, and never wider.
    pub(super) fn fastest(&self, now: u64) -> Option<u32> {
        self.recent(now, TELLS_FOR).map(|cluster| rate(cluster.nanos_per_byte)).max()
    }

    /// The train that is on its way tells nothing.
    pub(super) fn forget_under_way(&mut self) {
        self.open = Open::default();
    }

    /// What was told until now is of another line.
    pub(super) fn forget(&mut self) {
        self.count = 0;
    }

    /// How many trains were sent in the `micros` before `now`, [`CLUSTERS`] at most.
    pub(super) fn count_within(&self, now: u64, micros: u64) -> usize {
        self.recent(now, micros).count()
    }

    /// Whether the newest train tells of much more than the others do, so that it is worth another one.
    pub(super) fn contradicts_itself(&self, now: u64) -> bool {
        let newest = self.recent(now, TELLS_FOR).max_by_key(|cluster| cluster.sent);
        newest.zip(self.rate(now)).is_some_and(|(newest, all)| rate(newest.nanos_per_byte) / CONTRADICTION > all)
    }

    fn recent(&self, now: u64, micros: u64) -> impl Iterator<Item = &Cluster> {
        self.clusters.iter().take(self.count).filter(move |cluster| cluster.sent + micros >= now)
    }
}

fn rate(nanos_per_byte: u32) -> u32 {
    8_000_000_000u64.checked_div(nanos_per_byte.into()).map_or(VERY_FAST, |bits| bits.min(VERY_FAST.into()) as u32)
}

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    use super::*;

    /// Sends `clusters` of `packets` each, a picture apart, over a line with this rate and jitter; gives its capacity.
    fn measured(clusters: u64, packets: u64, bytes: u32, rate: u64, jitter: i64) -> Option<u32> {
        let (mut all, mut rng) = (ProbeClusters::default(), StdRng::seed_from_u64(3));
        for cluster in 0..=clusters {
            let sent = cluster * 33_333;
            for n in 0..packets {
                let leaves = sent + (n + 1) * u64::from(bytes) * 8_000_000 / rate;
                all.add(sent, leaves as i64 + rng.random_range(0..=jitter), bytes);
            }
        }
        all.rate(clusters * 33_333)
    }

    #[test]
    fn a_train_tells_the_rate_of_the_line() {
        for rate in [120_000, 600_000, 3_000_000, 50_000_000] {
            let found = measured(1, 5, 1000, rate, 0).unwrap() as f64;
            assert!((found / rate as f64 - 1.0).abs() < 0.02, "{rate}: {found}");
        }
        assert_eq!(measured(1, 2, 1000, 600_000, 0), None, "two packets are no cluster");
        assert_eq!(measured(1, 4, 200, 600_000, 0), None, "too few bytes");
        assert!(measured(1, 9, 1200, 9_000_000_000, 0).unwrap() >= VERY_FAST, "a LAN");
    }

    #[test]
    fn jitter_does_not_hide_it() {
        let found = measured(16, 9, 1200, 10_000_000, 30_000).unwrap();
        assert!((5_000_000..40_000_000).contains(&found), "{found}");
        let found = measured(16, 9, 1200, 2_000_000, 30_000).unwrap();
        assert!((1_600_000..2_600_000).contains(&found), "{found}");
    }

    #[test]
    fn old_trains_tell_nothing_and_new_ones_contradict() {
        let mut clusters = ProbeClusters::default();
        let mut send = |sent: u64, apart: i64| {
            (0..5).for_each(|n| clusters.add(sent, n * apart, 250));
            clusters.add(sent + 20_000, 0, 200);
            (clusters.rate(sent + 100_000), clusters.contradicts_itself(sent + 100_000))
        };
        assert_eq!(send(0, 20_000), (Some(100_000), false));
        assert_eq!(send(3_000_000, 20_000), (Some(100_000), false));
        assert_eq!(send(5_000_000, 200), (Some(100_000), true));
        assert_eq!(send(5_500_000, 200).0, Some(100_000));
        assert_eq!(send(6_500_000, 200), (Some(10_000_000), false));
        assert_eq!(clusters.rate(20_000_000), None);
    }
}
