//! What an edge does from time to time: connects again, requests key frames, and ends when nobody needs it.

use std::time::Duration;

use tokio::time::Instant;

use super::pull::{Pull, RETRY};
use super::{EdgeHost, not_live};
use crate::protocol::ErrorCode;
use crate::rtp::Tier;

/// The interval of counts.
const COUNT: Duration = Duration::from_secs(1);

impl EdgeHost {
    /// Returns false at the end of the edge.
    pub(super) async fn on_tick(&mut self) -> bool {
        let now = Instant::now();
        for (track, tier) in self.feed.tick() {
            let low = self.low.as_ref().and_then(|low| low.pull.as_ref());
            if let Some(pull) = if tier == Tier::Full { self.full.as_ref() } else { low } {
                pull.request_key_frame(track).await;
            }
        }
        for user in self.waiting.expired(now.into_std()) {
            // The lecture has not arrived at the engine in time, so the student is served elsewhere.
            let code = if self.engine.is_some() { ErrorCode::RoomFull } else { ErrorCode::TargetBusy };
            self.send(not_live(user, code));
        }
        if !self.students.is_empty() || !self.waiting.is_empty() {
            self.busy.touch(now);
        }
        if self.counted + COUNT <= now {
            self.counted = now;
            self.meter.update(self.students.len(), self.feed.bytes());
            if let Some(sfu) = &self.sfu
                && let Some(stats) = sfu.stats().await
            {
                self.source_meter.update(&stats);
            }
        }
        self.connect_low().await;
        !self.busy.is_idle(now) && self.connect(now).await
    }

    /// Joins the room, or connects to the publisher, if that is due. Returns false once the server ends.
    async fn connect(&mut self, now: Instant) -> bool {
        if self.retry > now {
            return true;
        }
        if self.member.is_none() {
            self.retry = now + RETRY;
            self.member = self.edge.join();
            return self.member.is_some();
        }
        let Some(publisher) = self.publisher.clone().filter(|_| self.full.is_none()) else { return true };
        self.retry = now + RETRY;
        let addresses = (self.settings.bind.clone(), self.ice_servers.clone());
        match Pull::offer(publisher, Tier::Full, &self.feed, addresses).await {
            Ok((pull, offer)) => {
                self.send(offer);
                self.full = Some(pull);
            }
            Err(error) => {
                let room = self.edge.room();
                self.settings.reporter.detail(format!("can't receive the media of room {room}: {error}"));
            }
        }
        true
    }
}
