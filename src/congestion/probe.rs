//! The capacity of a link, from the spacing of the packets of one burst.
//!
//! The packets of a video frame are sent as one burst, queue in front of the narrowest link and leave it one after the
//! other. Their spacing is the time the link needs for one packet, whatever else is sent. So the capacity is known long
//! before it is used up. If frames give too few measurements, a [`Probe`] of padding serves as such a burst.

use std::ops::RangeInclusive;

/// Packets sent within this time form one cluster, in microseconds: a frame is one system call.
const SPREAD: u64 = 500;

/// The fewest packets of a cluster.
const LEAST_PACKETS: u32 = 3;

/// The fewest bytes after the first packet of a cluster: audio packets that were sent late together give no result.
const LEAST_BYTES: u32 = 800;

/// How many clusters are remembered: half a second of video at 30 fps.
const CLUSTERS: usize = 16;

/// How long a cluster counts, in microseconds: two probe intervals.
const TELLS_FOR: u64 = 6_000_000;

/// The capacity in bits per second of a link whose clusters arrive without gaps: no peer needs more.
pub(super) const VERY_FAST: u32 = 1_000_000_000;

/// Clusters of one link differ by less than this factor, or its capacity has changed.
pub(super) const CONTRADICTION: u32 = 2;

/// The cluster that is arriving: sums for a least-squares fit of arrival time (y) over bytes (x), both since the first
/// packet.
///
/// Jitter always widens the time between the first and the last packet, but it changes a slope in either direction. So
/// the median of the slopes is correct.
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

    /// Nanoseconds per byte; `None` if the cluster is too small.
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

/// The recent clusters.
#[derive(Debug, Default)]
pub(super) struct ProbeClusters {
    open: Open,
    clusters: [Cluster; CLUSTERS],
    count: usize,
}

impl ProbeClusters {
    /// A packet arrived. Packets come in the order of sending; a packet out of order is ignored.
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

    /// The capacity in bits per second: the median of the recent clusters.
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

    /// The same from the fastest cluster: a busy receiver makes a link look slower, never faster.
    pub(super) fn fastest(&self, now: u64) -> Option<u32> {
        self.recent(now, TELLS_FOR).map(|cluster| rate(cluster.nanos_per_byte)).max()
    }

    /// Discards the cluster that is arriving.
    pub(super) fn forget_under_way(&mut self) {
        self.open = Open::default();
    }

    /// Discards all clusters: they were those of another link.
    pub(super) fn forget(&mut self) {
        self.count = 0;
    }

    /// The number of clusters sent in the `micros` before `now`, at most [`CLUSTERS`].
    pub(super) fn count_within(&self, now: u64, micros: u64) -> usize {
        self.recent(now, micros).count()
    }

    /// Whether the newest cluster is much faster than the median, so that another probe is worthwhile.
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

/// A probe occupies a link for at most this time, in milliseconds, unless the link is very slow.
const PROBE_MILLIS: u64 = 50;

/// At least enough packets for a reliable cluster, at most those of a frame.
const PROBE_PACKETS: RangeInclusive<u32> = 5..=10;

/// Bytes of one packet.
const PROBE_BYTES: RangeInclusive<u32> = 250..=1000;

/// Padding to be sent at once as a cluster that measures the capacity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Probe {
    /// The nominal number of packets. The sender splits the total into packets of 255 bytes of padding.
    pub(crate) packets: u32,
    /// The nominal size of each packet in bytes.
    pub(crate) bytes_each: u32,
}

impl Probe {
    /// Before video starts: 85 ms at 120 kbit/s with all headers, less than the first target delay of a jitter buffer.
    pub(crate) const FIRST: Self = Self { packets: 4, bytes_each: 255 };

    /// The smallest probe that gives a result: 100 ms at 100 kbit/s.
    pub(super) const SHORTEST: Self = Self { packets: *PROBE_PACKETS.start(), bytes_each: *PROBE_BYTES.start() };

    /// For an unknown capacity: 50 ms at 500 kbit/s.
    pub(super) const UNKNOWN_CAPACITY: Self = Self { packets: *PROBE_PACKETS.end(), bytes_each: 312 };

    /// For a capacity in bits per second.
    pub(super) fn for_capacity(bits: u32) -> Self {
        let bytes = (u64::from(bits) / 8 * PROBE_MILLIS / 1000).min(u32::MAX.into()) as u32;
        let packets = (bytes / PROBE_BYTES.start()).clamp(*PROBE_PACKETS.start(), *PROBE_PACKETS.end());
        Self { packets, bytes_each: (bytes / packets).clamp(*PROBE_BYTES.start(), *PROBE_BYTES.end()) }
    }
}

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    use super::*;

    /// Sends clusters of `packets` packets each, one frame interval apart, over a link of this rate and jitter; returns
    /// the measured capacity.
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
    fn a_cluster_measures_the_rate_of_the_link() {
        for rate in [120_000, 600_000, 3_000_000, 50_000_000] {
            let found = measured(1, 5, 1000, rate, 0).unwrap() as f64;
            assert!((found / rate as f64 - 1.0).abs() < 0.02, "{rate}: {found}");
        }
        assert_eq!(measured(1, 2, 1000, 600_000, 0), None, "two packets are no cluster");
        assert_eq!(measured(1, 4, 200, 600_000, 0), None, "too few bytes");
        assert!(measured(1, 9, 1200, 9_000_000_000, 0).unwrap() >= VERY_FAST, "a LAN");
    }

    #[test]
    fn jitter_does_not_hide_the_rate() {
        let found = measured(16, 9, 1200, 10_000_000, 30_000).unwrap();
        assert!((5_000_000..40_000_000).contains(&found), "{found}");
        let found = measured(16, 9, 1200, 2_000_000, 30_000).unwrap();
        assert!((1_600_000..2_600_000).contains(&found), "{found}");
    }

    #[test]
    fn old_clusters_expire_and_a_faster_new_one_contradicts() {
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

    #[test]
    fn a_probe_blocks_no_link_for_long() {
        for bits in [0, 50_000, 120_000, 300_000, 600_000, 10_000_000, u32::MAX] {
            let probe = Probe::for_capacity(bits);
            assert!(PROBE_PACKETS.contains(&probe.packets) && PROBE_BYTES.contains(&probe.bytes_each));
            let millis = probe.packets * probe.bytes_each * 8 / (bits / 1000).max(1);
            assert!(bits < 210_000 || millis <= 50, "{bits}: {millis}");
        }
        assert_eq!(Probe::for_capacity(0), Probe::SHORTEST);
        assert_eq!(Probe::for_capacity(500_000), Probe::UNKNOWN_CAPACITY);
        assert_eq!(Probe::for_capacity(u32::MAX), Probe { packets: 10, bytes_each: 1000 });
    }
}
