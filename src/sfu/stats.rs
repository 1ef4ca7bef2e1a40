//! The numbers of an SFU, added up over its workers.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::oneshot;

use super::SfuStats;
use super::worker::WorkerStats;
use crate::rtp::{Encoding, KeyFrameRequests, PerEncoding};

/// Waits for the numbers of each worker, then replies.
pub(super) struct Collector(Mutex<Option<Sum>>);

struct Sum {
    numbers: SfuStats,
    missing: usize,
    reply: oneshot::Sender<SfuStats>,
}

impl Collector {
    /// What the SFU counts itself: frames, key frames and bytes by encoding, and STUN messages that it did not read.
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

    /// For so many `workers`, beside the numbers of the SFU itself.
    pub(super) fn new(numbers: SfuStats, workers: usize, reply: oneshot::Sender<SfuStats>) -> Arc<Self> {
        Arc::new(Self(Mutex::new(Some(Sum { numbers, missing: workers, reply }))))
    }

    /// Takes the numbers of one worker.
    pub(super) fn add(&self, worker: WorkerStats) {
        let mut sum = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(Sum { numbers, missing, .. }) = sum.as_mut() else { return };
        numbers.students += worker.students;
        numbers.connecting += worker.connecting;
        numbers.disturbed += worker.disturbed;
        numbers.packets += worker.sent.packets;
        numbers.bytes += worker.sent.bytes;
        numbers.calls += worker.sent.calls;
        numbers.refused += worker.sent.refused;
        numbers.sealed_by_core += worker.sealed_by_core;
        for encoding in Encoding::all().filter(|encoding| worker.watched[*encoding] > 0) {
            match numbers.watched.iter_mut().find(|(known, _)| *known == encoding) {
                Some((_, students)) => *students += worker.watched[encoding],
                None => numbers.watched.push((encoding, worker.watched[encoding])),
            }
        }
        numbers.dropped += worker.dropped;
        numbers.send_delay.merge(&worker.delays);
        numbers.sound_delay.merge(&worker.sound_delays);
        numbers.peers.extend(worker.peers);
        numbers.totals = numbers.totals.plus(worker.totals);
        *missing -= 1;
        if *missing == 0
            && let Some(Sum { numbers, reply, .. }) = sum.take()
        {
            let _ = reply.send(numbers);
        }
    }
}
