//! The low tier at an edge: it comes over a second connection, while a student needs it.

use tokio::time::Instant;

use super::pull::{Pull, PullEvent, RETRY};
use super::{EdgeHost, LowPull};
use crate::protocol::ServerMessage;
use crate::protocol::channel::{SentTier, SentTiers};
use crate::protocol::edge::FromEdge;
use crate::rtp::{Tier, Track};

impl EdgeHost {
    /// Students need the low tier of a video, or do not need it any more.
    pub(super) async fn need_low(&mut self, track: Track, is_needed: bool) {
        self.low_needed[usize::from(track == Track::Camera)] = is_needed;
        if self.low_needed.contains(&true) {
            self.ask_for_low().await;
            self.connect_low().await;
        } else {
            self.end_low();
        }
    }

    /// Makes the connection if it is needed, beside that for the full tier.
    pub(super) async fn connect_low(&mut self) {
        let now = Instant::now();
        let is_due = self.low_needed.contains(&true) && self.full.is_some() && self.low_retry <= now;
        let Some(publisher) = self.publisher.clone().filter(|_| is_due) else { return };
        let Some(low) = &mut self.low else {
            self.low_retry = now + RETRY;
            // The offer follows once the member is in the room.
            self.low = self.edge.join_to_receive().map(|member| LowPull { member, pull: None });
            return;
        };
        if low.pull.is_none() {
            self.low_retry = now + RETRY;
            let addresses = (self.settings.bind.clone(), self.ice_servers.clone());
            // Without a socket the next try may succeed; the full tier goes on.
            if let Ok((pull, offer)) = Pull::offer(publisher, Tier::Low, &self.feed, addresses).await {
                low.member.send(offer);
                low.pull = Some(pull);
            }
        }
    }

    pub(super) async fn on_low_message(&mut self, message: ServerMessage) {
        if let ServerMessage::Joined { .. } = message {
            self.low_retry = Instant::now();
            return self.connect_low().await;
        }
        if let Some(low) = &mut self.low
            && let Some(pull) = &mut low.pull
            && !pull.on_message(message).await
        {
            self.lose_low();
        }
    }

    pub(super) async fn on_low(&mut self, event: PullEvent) {
        let Some(low) = &self.low else { return };
        match event {
            PullEvent::Nothing | PullEvent::Heard(_) | PullEvent::Connected => {}
            PullEvent::Send(message) => low.member.send(message),
            PullEvent::ChannelOpen => self.ask_for_low().await,
            PullEvent::Gone => self.lose_low(),
        }
    }

    async fn ask_for_low(&self) {
        let tier = |is_needed| Some(if is_needed { SentTier::Low } else { SentTier::None });
        let [screen, camera] = self.low_needed.map(tier);
        if let Some(pull) = self.low.as_ref().and_then(|low| low.pull.as_ref()) {
            pull.say(&FromEdge::Receive(SentTiers { screen, camera }).to_text()).await;
        }
    }

    fn lose_low(&mut self) {
        let pull = self.low.as_mut().and_then(|low| low.pull.take());
        pull.into_iter().for_each(Pull::close);
        self.low_retry = Instant::now() + RETRY;
    }

    pub(super) fn end_low(&mut self) {
        if let Some(pull) = self.low.take().and_then(|low| low.pull) {
            pull.close();
        }
    }
}
