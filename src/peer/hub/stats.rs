//! The numbers of a hub, added up over its shards.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::oneshot;

use super::shard::ShardStats;
use super::{HubStats, PerTrack};
use crate::rtp::{KeyRequests, Track};

/// Waits for the numbers of each shard, then replies.
pub(super) struct Collector(Mutex<Option<Sum>>);

struct Sum {
    numbers: HubStats,
    missing: usize,
    reply: oneshot::Sender<HubStats>,
}

impl Collector {
    /// For so many `shards`, beside what the hub counts itself: frames, key frames and bytes by track.
    pub(super) fn new(
        counts: &PerTrack<(u64, u64, u64)>,
        requests: &PerTrack<KeyRequests>,
        shards: usize,
        reply: oneshot::Sender<HubStats>,
    ) -> Arc<Self> {
        let by_track = |f: &dyn Fn(Track) -> u64| Track::ALL.into_iter().map(|track| (track, f(track))).collect();
        let numbers = HubStats {
            frames: by_track(&|track| counts[track].0),
            key_frames: by_track(&|track| counts[track].1),
            frame_bytes: by_track(&|track| counts[track].2),
            key_requests: by_track(&|track| requests[track].count()),
            ..HubStats::default()
        };
        Arc::new(Self(Mutex::new(Some(Sum { numbers, missing: shards, reply }))))
    }

    /// Takes the numbers of one shard.
    pub(super) fn add(&self, shard: ShardStats) {
        let mut sum = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(Sum { numbers, missing, .. }) = sum.as_mut() else { return };
        numbers.students += shard.students;
        numbers.connecting += shard.connecting;
        numbers.disturbed += shard.disturbed;
        numbers.packets += shard.sent.packets;
        numbers.bytes += shard.sent.bytes;
        numbers.calls += shard.sent.calls;
        numbers.refused += shard.sent.refused;
        numbers.dropped += shard.dropped;
        numbers.send_delay.merge(&shard.delays);
        numbers.sound_delay.merge(&shard.sound_delays);
        numbers.peers.extend(shard.peers);
        *missing -= 1;
        if *missing == 0
            && let Some(Sum { numbers, reply, .. }) = sum.take()
        {
            let _ = reply.send(numbers);
        }
    }
}
