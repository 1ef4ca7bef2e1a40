//! The bandwidth estimate of one peer: the capacity of its path, and whether the path is in trouble.

use std::time::{Duration, Instant};

use super::delay::QueuingDelay;
use super::loss::Loss;
use super::probe::{CONTRADICTION, ProbeClusters, VERY_FAST};
use super::reports::ReceiverReports;
use super::sent::{SendRate, TwccHistory};

/// A packet may arrive this long after a later one, in microseconds: four times the jitter of a bad Wi-Fi.
const REORDERING: u64 = 120_000;

/// No feedback for this time plus a round trip is silence, in microseconds: half a second without feedback changes
/// nothing.
const SILENCE: u64 = 700_000;

/// Three lost feedback packets are not silence. Browsers send one every 50 to 250 ms.
const SILENT_FEEDBACKS: u64 = 4;

/// The longest feedback interval that counts, in microseconds.
const LONGEST_INTERVAL: u64 = 500_000;

/// The longest round trip that counts, in microseconds: longer ones are queues.
const LONGEST_LAG: u64 = 1_000_000;

/// The number of clusters needed for a reliable capacity.
const SURE_CLUSTERS: usize = 3;

/// The kind of trouble on a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PathTrouble {
    /// A queue grows or stays long: more is sent than the path carries.
    Delay,
    /// Far more than a tenth is lost, for more than half a second.
    Loss,
    /// Feedback arrived before and has stopped.
    Silence,
}

/// The best kind of feedback that a peer sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Evidence {
    /// None so far.
    Nothing,
    /// Receiver reports, with or without REMB.
    Reports,
    /// Transport-wide feedback: the arrival time of every packet.
    EveryPacket,
}

/// The state of one path. It receives every sent packet and all feedback, reads no clock, and allocates once: 8 kB with
/// the first packet that has a transport-wide sequence number.
///
/// A path is assumed to carry everything until a measurement contradicts that, so on a LAN video starts with the full
/// tier. Probe clusters measure the capacity from the first frame on, so a wrong start lasts half a second at most.
#[derive(Debug)]
pub(crate) struct Estimate {
    began: Instant,
    history: Option<TwccHistory>,
    /// The reference time of the last feedback packet in units of 64 ms, extended beyond its 24 bits.
    reference: i64,
    send_rate: SendRate,
    delay: QueuingDelay,
    clusters: ProbeClusters,
    loss: Loss,
    reports: ReceiverReports,
    /// When the newest transport-wide feedback arrived.
    heard: Option<u64>,
    /// When the first packet after the newest feedback was sent.
    unheard: Option<u64>,
    /// When the last silence ended: earlier losses say nothing about the current loss.
    silent_until: u64,
    /// From sending the newest received packet to the feedback on it.
    lag: u64,
    /// The smoothed time between two feedback packets.
    interval: u64,
}

/// A queue that has stood for this long shows the rate of the link.
pub(super) const FULL_FOR: Duration = Duration::from_millis(80);

impl Estimate {
    /// For a path about which nothing is known.
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            began: now,
            history: None,
            reference: 0,
            send_rate: SendRate::default(),
            delay: QueuingDelay::default(),
            clusters: ProbeClusters::default(),
            loss: Loss::default(),
            reports: ReceiverReports::default(),
            heard: None,
            unheard: None,
            silent_until: 0,
            lag: 0,
            interval: 0,
        }
    }

    /// A packet of media, a retransmission or padding is sent: its transport-wide sequence number, if negotiated, and
    /// its length including the RTP header. Packets of one frame have the same `now`.
    pub(crate) fn sent(&mut self, now: Instant, sequence: Option<u16>, bytes: usize) {
        let now = self.micros(now);
        self.send_rate.add(now, bytes);
        if let Some(sequence) = sequence {
            self.history.get_or_insert_with(|| TwccHistory::new(sequence)).sent(now, sequence, bytes);
            self.unheard.get_or_insert(now);
        }
    }

    /// Transport-wide feedback (draft-holmer-rmcat-transport-wide-cc-extensions-01): the base sequence number, the
    /// reference time as on the wire in units of 64 ms, and for each packet the receive delta in microseconds (the
    /// first is relative to the reference time), or `None` if the packet was not received.
    pub(crate) fn on_feedback(
        &mut self,
        now: Instant,
        base: u16,
        reference: u32,
        deltas: impl IntoIterator<Item = Option<i32>>,
    ) {
        let now = self.micros(now);
        if self.is_silent(now) {
            self.silent_until = now;
        }
        let Some(history) = &mut self.history else { return };
        let ahead = (reference << 8).wrapping_sub((self.reference as u32) << 8) as i32 >> 8;
        self.reference = match self.heard {
            None => (reference & 0xff_ffff).into(),
            Some(_) => self.reference + i64::from(ahead),
        };
        let (delay, clusters) = (&mut self.delay, &mut self.clusters);
        let mut newest = None;
        history.acknowledge(now, base, self.reference * 64_000, deltas, |packet| {
            delay.add(packet.sent, packet.arrived, packet.bytes);
            clusters.add(packet.sent, packet.arrived, packet.bytes);
            newest = newest.max(Some(packet.sent));
        });
        delay.end();
        let interval = self.heard.map_or(0, |heard| now.saturating_sub(heard)).min(LONGEST_INTERVAL);
        self.interval = (self.interval * 7 + interval) / 8;
        self.heard = Some(now);
        self.unheard = None;
        if let Some(newest) = newest {
            self.lag = now.saturating_sub(newest).min(LONGEST_LAG);
            let (loss, silent_until) = (&mut self.loss, self.silent_until);
            history.decide(now, newest.saturating_sub(REORDERING), |sent, lost| {
                if sent >= silent_until {
                    loss.record(sent, lost);
                }
            });
        }
    }

    /// A REMB: the maximum bitrate that the peer reports.
    pub(crate) fn on_remb(&mut self, now: Instant, bits_per_second: u64) {
        let now = self.micros(now);
        let sent = self.send_rate.rate(now);
        self.reports.on_remb(now, bits_per_second.min(u32::MAX.into()) as u32, sent);
        self.unheard = None;
    }

    /// A receiver report: the highest fraction lost of its blocks in 256ths, and the round-trip time if known.
    pub(crate) fn on_report(&mut self, now: Instant, fraction_lost: u8, round_trip: Option<Duration>) {
        let round_trip = round_trip.map(|time| time.as_micros().min(u32::MAX.into()) as u32);
        self.reports.on_report(self.micros(now), fraction_lost, round_trip);
        self.unheard = None;
    }

    /// The capacity of the path in bits per second, if known: the rate out of a saturated link, otherwise from probe
    /// clusters or REMB.
    pub(crate) fn bits_per_second(&self, now: Instant) -> Option<u32> {
        self.link_rate().or_else(|| self.capacity(now))
    }

    /// The same in kbit/s, for people. `None` for a path that is too fast to measure.
    pub(crate) fn told_kbps(&self, now: Instant) -> Option<u32> {
        self.bits_per_second(now).filter(|bits| *bits < VERY_FAST).map(|bits| bits / 1000)
    }

    /// This process was suspended until now: packets in flight do not count, and the peer was not silent. The capacity
    /// stays known.
    pub(super) fn on_suspension(&mut self, now: Instant) {
        let now = self.micros(now);
        self.history.iter_mut().for_each(TwccHistory::forget_under_way);
        self.delay.forget_windows();
        self.clusters.forget_under_way();
        self.loss = Loss::default();
        self.reports.on_suspension(now);
        self.heard = self.heard.map(|_| now);
        self.unheard = self.unheard.map(|_| now);
    }

    /// The fraction of packets lost, 0 to 1.
    pub(crate) fn lost(&self) -> f32 {
        match self.evidence() {
            Evidence::EveryPacket => self.loss.share(),
            Evidence::Reports | Evidence::Nothing => self.reports.lost(),
        }
    }

    /// The queuing delay in front of the narrowest link; zero if unknown.
    pub(crate) fn queue(&self) -> Duration {
        Duration::from_millis(self.delay.queue().into())
    }

    /// The number of recent probe clusters, and the capacity from the fastest of them in bits per second. Nothing else
    /// is known before video starts.
    pub(crate) fn first_clusters(&self, now: Instant) -> (usize, Option<u32>) {
        let now = self.micros(now);
        (self.clusters.count_within(now, now), self.clusters.fastest(now))
    }

    /// The present trouble, if any.
    pub(crate) fn trouble(&mut self, now: Instant) -> Option<PathTrouble> {
        let now = self.micros(now);
        match self.evidence() {
            Evidence::Nothing => None,
            Evidence::Reports if self.reports.is_delayed(now) => Some(PathTrouble::Delay),
            Evidence::Reports => self.reports.is_lossy(now).then_some(PathTrouble::Loss),
            Evidence::EveryPacket if self.is_silent(now) => Some(PathTrouble::Silence),
            Evidence::EveryPacket if self.delay.is_trouble() => Some(PathTrouble::Delay),
            Evidence::EveryPacket => self.loss.is_trouble().then_some(PathTrouble::Loss),
        }
    }

    /// Whether the peer reports the arrival of every packet.
    pub(super) fn knows_every_packet(&self) -> bool {
        self.evidence() == Evidence::EveryPacket
    }

    pub(super) fn evidence(&self) -> Evidence {
        match self.heard {
            Some(_) => Evidence::EveryPacket,
            None if self.reports.is_empty() => Evidence::Nothing,
            None => Evidence::Reports,
        }
    }

    /// The capacity in bits per second from probe clusters, from the arrival rate, or from REMB, saturated or not.
    /// `None` if there is no measurement.
    pub(super) fn capacity(&self, now: Instant) -> Option<u32> {
        let now = self.micros(now);
        match self.evidence() {
            Evidence::EveryPacket => self.clusters.rate(now).map(|rate| rate.max(self.delay.rate().unwrap_or(0))),
            Evidence::Reports | Evidence::Nothing => self.reports.rate(now),
        }
    }

    /// The rate out of a saturated link, in bits per second.
    pub(super) fn full_link(&self) -> Option<u32> {
        self.delay.rate_of_full_link()
    }

    /// The rate out of a saturated link, also if its queue is new.
    pub(super) fn link_rate(&self) -> Option<u32> {
        self.full_link().or_else(|| self.backlog(FULL_FOR).map(|(rate, _)| rate))
    }

    /// The rate out of a queue that has stood for at least this long, and how long a new packet will wait in it.
    pub(super) fn backlog(&self, time: Duration) -> Option<(u32, Duration)> {
        let (rate, queue) = self.delay.backlog(time.as_micros().min(1 << 40) as i64)?;
        // The packets in flight wait as well, and the newest of them for longest.
        let in_flight = self.history.as_ref().map_or(0, TwccHistory::in_flight);
        let drains = (in_flight * 8_000).checked_div(rate.into()).unwrap_or(0).min(10_000);
        Some((rate, Duration::from_millis(u64::from(queue).max(drains))))
    }

    /// The arrival rate over the last windows, in bits per second.
    pub(super) fn received(&self) -> Option<u32> {
        self.delay.rate()
    }

    /// The send rate over the last second, in bits per second.
    pub(super) fn sent_of_a_second(&mut self, now: Instant) -> u32 {
        self.send_rate.rate_of_a_second(self.micros(now))
    }

    /// Whether the clusters of the last `time` suffice for a reliable capacity.
    pub(super) fn is_sure(&self, now: Instant, time: Duration) -> bool {
        let now = self.micros(now);
        let clusters = self.clusters.count_within(now, time.as_micros().min(u64::MAX.into()) as u64);
        clusters >= SURE_CLUSTERS && !self.clusters.contradicts_itself(now)
    }

    /// Whether the newest cluster was far faster than those before.
    pub(super) fn contradicts_itself(&self, now: Instant) -> bool {
        self.clusters.contradicts_itself(self.micros(now))
    }

    /// Drops the clusters if the link is saturated at a far lower rate than they measured: the link has changed.
    pub(super) fn doubt_capacity(&mut self, now: Instant) {
        let told = self.clusters.rate(self.micros(now));
        if self.link_rate().zip(told).is_some_and(|(line, told)| line.saturating_mul(CONTRADICTION) < told) {
            self.clusters.forget();
        }
    }

    /// How long it takes until a report covers packets sent from now on.
    pub(super) fn report_interval(&self) -> Duration {
        match self.evidence() {
            Evidence::Reports => Duration::from_micros(self.reports.interval()),
            Evidence::EveryPacket | Evidence::Nothing => Duration::ZERO,
        }
    }

    /// Accepts the present delay as that of an empty path.
    pub(super) fn believe_delay(&mut self) {
        self.delay.believe();
    }

    fn is_silent(&self, now: u64) -> bool {
        let silence = SILENCE.max(self.interval * SILENT_FEEDBACKS) + self.lag;
        self.unheard.is_some_and(|since| now.saturating_sub(since) > silence)
    }

    fn micros(&self, now: Instant) -> u64 {
        let since = now.saturating_duration_since(self.began);
        since.as_secs() * 1_000_000 + u64::from(since.subsec_micros())
    }
}
