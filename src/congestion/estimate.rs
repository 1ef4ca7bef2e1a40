//! What is known of one student's way: how much it carries, and whether it is in trouble.

use std::time::{Duration, Instant};

use super::clusters::{CONTRADICTION, ProbeClusters, VERY_FAST};
use super::delay::QueuingDelay;
use super::loss::Loss;
use super::reports::ReceiverReports;
use super::sent::SendRate;
use super::twcc::TwccHistory;

/// What is told missing may still come for so long after what was sent later, in microseconds: four times the jitter
/// of a bad Wi-Fi.
const REORDERING: u64 = 120_000;

/// Feedback that does not come for so long, and a round trip, is silence, in microseconds: half a second of nothing
/// shall change nothing.
const SILENCE: u64 = 700_000;

/// Nor do three feedbacks that are lost. Browsers send one in 50 to 250 ms.
const SILENT_FEEDBACKS: u64 = 4;

/// The longest interval of feedback that is waited for, in microseconds.
const LONGEST_INTERVAL: u64 = 500_000;

/// The longest round trip that is waited for, in microseconds: longer ones are queues.
const LONGEST_LAG: u64 = 1_000_000;

/// So many trains must tell the same for a capacity to be believed.
const SURE_CLUSTERS: usize = 3;

/// What is wrong with a student's way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// A queue grows, or stays long: more is sent than the line carries.
    Delay,
    /// Far more than a tenth is lost, for more than half a second.
    Loss,
    /// The student got packets and told of it before, and does not any more.
    Silence,
}

/// By what a student tells how it receives, the best that it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Evidence {
    /// Nothing came yet.
    Nothing,
    /// Receiver reports, with or without REMB.
    Reports,
    /// Transport-wide feedback: every packet's time of arrival.
    EveryPacket,
}

/// What is known of one student's way. It is told of all that is sent and of all feedback, knows no clock, and allocates
/// once: 8 kB with the first packet that has a transport-wide number.
///
/// As long as nothing speaks against it, a way carries everything: on a LAN the first picture is a full one. Trains tell
/// the capacity from the first picture on, so that does not cost anybody more than half a second.
#[derive(Debug)]
pub(crate) struct Estimate {
    began: Instant,
    history: Option<TwccHistory>,
    /// Of the last feedback, in units of 64 ms, with all roll-overs of its 24 bits.
    reference: i64,
    send_rate: SendRate,
    delay: QueuingDelay,
    clusters: ProbeClusters,
    loss: Loss,
    reports: ReceiverReports,
    /// When the newest feedback for every packet came.
    heard: Option<u64>,
    /// When the first packet was sent of which no feedback was heard.
    unheard: Option<u64>,
    /// When the last silence ended: what was lost before says nothing about the share that is lost now.
    silent_until: u64,
    /// From the sending of the newest packet that came to the feedback that told of it.
    lag: u64,
    /// Between two feedbacks, smoothed.
    interval: u64,
}

impl Estimate {
    /// Of a student of whom nothing is known.
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

    /// A packet is sent: its transport-wide sequence number, where that was offered, and its length with the RTP header,
    /// be it media, a repair or padding. Packets of one picture have the same `now`.
    pub(crate) fn sent(&mut self, now: Instant, sequence: Option<u16>, bytes: usize) {
        let now = self.micros(now);
        self.send_rate.add(now, bytes);
        if let Some(sequence) = sequence {
            self.history.get_or_insert_with(|| TwccHistory::new(sequence)).sent(now, sequence, bytes);
            self.unheard.get_or_insert(now);
        }
    }

    /// Transport-wide feedback (draft-holmer-rmcat-transport-wide-cc-extensions-01): the first packet's number, the
    /// reference time as on the wire, in units of 64 ms, and for every packet from the first one on, whether it came
    /// and how many microseconds after the one before that came (the first after the reference time).
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

    /// The student can receive so many bits a second, it says (REMB).
    pub(crate) fn on_remb(&mut self, now: Instant, bits_per_second: u64) {
        let now = self.micros(now);
        let sent = self.send_rate.rate(now);
        self.reports.on_remb(now, bits_per_second.min(u32::MAX.into()) as u32, sent);
        self.unheard = None;
    }

    /// A receiver report: the worst share of lost packets of its blocks in 256ths, as on the wire, and the round trip
    /// where it can be told.
    pub(crate) fn on_report(&mut self, now: Instant, fraction_lost: u8, round_trip: Option<Duration>) {
        let round_trip = round_trip.map(|time| time.as_micros().min(u32::MAX.into()) as u32);
        self.reports.on_report(self.micros(now), fraction_lost, round_trip);
        self.unheard = None;
    }

    /// What the student's way carries, where that is known: what came through while it was full, or what trains or the
    /// student say.
    pub(crate) fn bits_per_second(&self, now: Instant) -> Option<u32> {
        self.full_link().or_else(|| self.capacity(now))
    }

    /// The same in kbit/s, to be told to people. None for a line that was never seen full, and on which trains come
    /// together: it carries more than anybody has measured.
    pub(crate) fn told_kbps(&self, now: Instant) -> Option<u32> {
        self.bits_per_second(now).filter(|bits| *bits < VERY_FAST).map(|bits| bits / 1000)
    }

    /// This process stood still until now: what is under way tells nothing, and nobody was silent. What the line
    /// carries is known as before.
    pub(super) fn stood_still(&mut self, now: Instant) {
        let now = self.micros(now);
        self.history.iter_mut().for_each(TwccHistory::forget_under_way);
        self.delay.forget_windows();
        self.clusters.forget_under_way();
        self.loss = Loss::default();
        self.reports.stood_still(now);
        self.heard = self.heard.map(|_| now);
        self.unheard = self.unheard.map(|_| now);
    }

    /// The share of packets that is lost, 0 to 1.
    pub(crate) fn lost(&self) -> f32 {
        match self.evidence() {
            Evidence::EveryPacket => self.loss.share(),
            Evidence::Reports | Evidence::Nothing => self.reports.lost(),
        }
    }

    /// How long packets wait in front of the narrowest link; zero where that is not known.
    pub(crate) fn queue(&self) -> Duration {
        Duration::from_millis(self.delay.queue().into())
    }

    /// How many trains have told something lately, and what the line carries by the best of them in bits a second: all
    /// that is known before the first picture.
    pub(crate) fn first_clusters(&self, now: Instant) -> (usize, Option<u32>) {
        let now = self.micros(now);
        (self.clusters.count_within(now, now), self.clusters.fastest(now))
    }

    /// Whether something is wrong, and what.
    pub(crate) fn trouble(&mut self, now: Instant) -> Option<Trouble> {
        let now = self.micros(now);
        match self.evidence() {
            Evidence::Nothing => None,
            Evidence::Reports if self.reports.is_delayed(now) => Some(Trouble::Delay),
            Evidence::Reports => self.reports.is_lossy(now).then_some(Trouble::Loss),
            Evidence::EveryPacket if self.is_silent(now) => Some(Trouble::Silence),
            Evidence::EveryPacket if self.delay.is_trouble() => Some(Trouble::Delay),
            Evidence::EveryPacket => self.loss.is_trouble().then_some(Trouble::Loss),
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

    /// What the line can carry by trains, by what it just carried, or by what the student says, whether it is full or
    /// not. None where nothing tells.
    pub(super) fn capacity(&self, now: Instant) -> Option<u32> {
        let now = self.micros(now);
        match self.evidence() {
            Evidence::EveryPacket => self.clusters.rate(now).map(|rate| rate.max(self.delay.rate().unwrap_or(0))),
            Evidence::Reports | Evidence::Nothing => self.reports.rate(now),
        }
    }

    /// What came through while there was a queue.
    pub(super) fn full_link(&self) -> Option<u32> {
        self.delay.rate_of_full_link()
    }

    /// What came through in the last second, in bits a second.
    pub(super) fn received(&self) -> Option<u32> {
        self.delay.rate()
    }

    /// What was sent in the last second, in bits a second.
    pub(super) fn sent_of_a_second(&mut self, now: Instant) -> u32 {
        self.send_rate.rate_of_a_second(self.micros(now))
    }

    /// Whether trains of the last `time` are enough to tell the capacity.
    pub(super) fn is_sure(&self, now: Instant, time: Duration) -> bool {
        let now = self.micros(now);
        let clusters = self.clusters.count_within(now, time.as_micros().min(u64::MAX.into()) as u64);
        clusters >= SURE_CLUSTERS && !self.clusters.contradicts_itself(now)
    }

    /// Whether the newest train told of far more than those before.
    pub(super) fn contradicts_itself(&self, now: Instant) -> bool {
        self.clusters.contradicts_itself(self.micros(now))
    }

    /// A line that is full and carries far less than trains told has become another one: they tell nothing any more.
    pub(super) fn doubt_capacity(&mut self, now: Instant) {
        let told = self.clusters.rate(self.micros(now));
        if self.full_link().zip(told).is_some_and(|(line, told)| line.saturating_mul(CONTRADICTION) < told) {
            self.clusters.forget();
        }
    }

    /// How long it takes until what is reported is later than now.
    pub(super) fn report_interval(&self) -> Duration {
        match self.evidence() {
            Evidence::Reports => Duration::from_micros(self.reports.interval()),
            Evidence::EveryPacket | Evidence::Nothing => Duration::ZERO,
        }
    }

    /// The present delay is that of an empty line, whatever it was before.
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
