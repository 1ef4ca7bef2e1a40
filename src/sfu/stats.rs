//! Counters of a peer, of a worker, and of an SFU.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::oneshot;

use super::SfuStats;
use super::udp::SentCounts;
use crate::id::UserId;
use crate::rtp::{Delays, Encoding, KeyFrameRequests, PerEncoding};

/// The tier of the picture that a student gets: of the screen, or of the camera if it gets no screen.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum SentPicture {
    /// The full tier; also for a student that asked for sound alone.
    #[default]
    Full,
    /// The low tier.
    Low,
    /// No picture, because the student's path can't carry video.
    Withheld,
}

/// Counters and measurements of one student.
#[derive(Debug, Default, Clone, Copy)]
pub struct PeerStats {
    /// Packets that the student requested by NACK.
    pub nacked: u64,
    /// Packets that were retransmitted.
    pub resent: u64,
    /// Requests for a key frame (PLI, FIR).
    pub picture_losses: u64,
    /// Frames that were dropped for the student.
    pub dropped: u64,
    /// The highest fraction of lost packets in the student's last receiver report, 0 to 1.
    pub fraction_lost: f32,
    /// Data channel messages that were dropped because the student did not read them.
    pub unread: u64,
    /// Changes of tier.
    pub changes: u64,
    /// The student's DTLS datagrams and SCTP packets that were not read, because no student needs to send them.
    pub refused: u64,
    /// The queueing delay on the student's path, in milliseconds.
    pub queue_ms: u32,
    /// The estimated bandwidth of the student's path in kbit/s, if it is known.
    pub estimate_kbps: Option<u32>,
    /// RTP packets that were sent, retransmissions and padding included.
    pub packets: u64,
    /// The bytes of these packets, without SRTP's tag and the headers of UDP and IP.
    pub bytes: u64,
    /// Packets that the student reported lost (RFC 3550, 6.4.1), before any retransmission.
    pub lost: u64,
    /// The tier of the picture that the student gets now.
    pub picture: SentPicture,
}

/// Counters summed over all students, including those that have left.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct PeerTotals {
    /// Packets that students requested by NACK.
    pub nacked: u64,
    /// Packets that were retransmitted.
    pub resent: u64,
    /// Packets that students reported lost.
    pub lost: u64,
    /// Requests for a key frame (PLI, FIR).
    pub picture_losses: u64,
    /// Data channel messages that were dropped because a student did not read them.
    pub unread: u64,
    /// Changes of tier.
    pub changes: u64,
}

impl PeerTotals {
    /// Adds the counters of one student.
    pub(super) fn add(&mut self, stats: &PeerStats) {
        let PeerStats { nacked, resent, lost, picture_losses, unread, changes, .. } = *stats;
        *self = self.plus(Self { nacked, resent, lost, picture_losses, unread, changes });
    }

    /// The sum of both.
    pub(super) fn plus(self, other: Self) -> Self {
        Self {
            nacked: self.nacked + other.nacked,
            resent: self.resent + other.resent,
            lost: self.lost + other.lost,
            picture_losses: self.picture_losses + other.picture_losses,
            unread: self.unread + other.unread,
            changes: self.changes + other.changes,
        }
    }
}

/// Counters of a worker.
#[derive(Debug, Default)]
pub(super) struct WorkerStats {
    pub(super) students: usize,
    pub(super) connecting: usize,
    pub(super) disturbed: usize,
    pub(super) sent: SentCounts,
    pub(super) delays: Delays,
    pub(super) sound_delays: Delays,
    pub(super) dropped: u64,
    /// Peers whose RTP the core encrypts, because the session key is not known.
    pub(super) sealed_by_core: usize,
    /// The number of peers that get each encoding, or will get it from its next key frame on.
    pub(super) watched: PerEncoding<usize>,
    pub(super) peers: Vec<(UserId, PeerStats)>,
    /// The sum over all peers, including those that have left.
    pub(super) totals: PeerTotals,
}

/// Collects the counters of all workers, then replies with their sum.
pub(super) struct Collector(Mutex<Option<Sum>>);

struct Sum {
    stats: SfuStats,
    missing: usize,
    reply: oneshot::Sender<SfuStats>,
}

impl Collector {
    /// The counters of the router itself: frames, key frames and bytes by encoding, and STUN messages that it dropped.
    pub(super) fn numbers(
        counts: &PerEncoding<(u64, u64, u64)>,
        requests: &PerEncoding<KeyFrameRequests>,
        checks_left_out: u64,
    ) -> SfuStats {
        let by_encoding = |f: &dyn Fn(Encoding) -> u64| {
            Encoding::all().map(|encoding| (encoding, f(encoding))).filter(|(_, count)| *count > 0).collect()
        };
        SfuStats {
            frames: by_encoding(&|encoding| counts[encoding].0),
            key_frames: by_encoding(&|encoding| counts[encoding].1),
            frame_bytes: by_encoding(&|encoding| counts[encoding].2),
            key_requests: by_encoding(&|encoding| requests[encoding].count()),
            checks_left_out,
            ..SfuStats::default()
        }
    }

    /// A collector that adds the counters of this number of workers to `stats`, those of the router.
    pub(super) fn new(stats: SfuStats, workers: usize, reply: oneshot::Sender<SfuStats>) -> Arc<Self> {
        Arc::new(Self(Mutex::new(Some(Sum { stats, missing: workers, reply }))))
    }

    /// Adds the counters of one worker; the last one sends the reply.
    pub(super) fn add(&self, worker: WorkerStats) {
        let mut sum = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(Sum { stats, missing, .. }) = sum.as_mut() else { return };
        stats.students += worker.students;
        stats.connecting += worker.connecting;
        stats.disturbed += worker.disturbed;
        stats.packets += worker.sent.packets;
        stats.bytes += worker.sent.bytes;
        stats.calls += worker.sent.calls;
        stats.refused += worker.sent.refused;
        stats.sealed_by_core += worker.sealed_by_core;
        for encoding in Encoding::all().filter(|encoding| worker.watched[*encoding] > 0) {
            match stats.watched.iter_mut().find(|(known, _)| *known == encoding) {
                Some((_, students)) => *students += worker.watched[encoding],
                None => stats.watched.push((encoding, worker.watched[encoding])),
            }
        }
        stats.dropped += worker.dropped;
        stats.send_delay.merge(&worker.delays);
        stats.sound_delay.merge(&worker.sound_delays);
        stats.peers.extend(worker.peers);
        stats.totals = stats.totals.plus(worker.totals);
        *missing -= 1;
        if *missing == 0
            && let Some(Sum { stats, reply, .. }) = sum.take()
        {
            let _ = reply.send(stats);
        }
    }
}
