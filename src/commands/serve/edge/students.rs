//! The students of an edge, and their messages to the holder of the media and back.

use std::collections::BTreeMap;

use super::fanout::Fanout;
use crate::commands::negotiation::rejection;
use crate::id::UserId;
use crate::protocol::channel::{PublisherMessage, StudentMessage};
use crate::protocol::edge::{FromEdge, ToEdge};
use crate::protocol::{ClientMessage, LeaveReason};
use crate::rtp::Encoding;
use crate::sfu::{Departure, SfuEvent};

/// The students of an edge.
#[derive(Debug, Default)]
pub(super) struct Students {
    /// The students whose media runs, and whether each has a data channel.
    connected: BTreeMap<UserId, bool>,
}

impl Students {
    /// The students whose media runs.
    pub(super) fn all(&self) -> Vec<UserId> {
        self.connected.keys().cloned().collect()
    }

    /// Whether the media of this student runs.
    pub(super) fn contains(&self, user: &UserId) -> bool {
        self.connected.contains_key(user)
    }

    /// The number of them.
    pub(super) fn len(&self) -> usize {
        self.connected.len()
    }

    /// Takes all students out.
    pub(super) fn take(&mut self) -> Vec<UserId> {
        std::mem::take(&mut self.connected).into_keys().collect()
    }

    /// Everything that the holder of the media has to know of the students.
    pub(super) fn announcements(&self) -> Vec<FromEdge> {
        let all = self.connected.iter().flat_map(|(user, has_channel)| {
            let opened = has_channel.then(|| FromEdge::Opened(user.clone()));
            [Some(FromEdge::Connected(user.clone())), opened]
        });
        all.flatten().collect()
    }

    /// The holder of the media says something: passes it on to the students that it concerns. Returns the encodings of
    /// the lecture, if it is that.
    pub(super) fn told(&self, text: &str, sfu: Option<&Fanout>) -> Option<Vec<Encoding>> {
        match (ToEdge::parse(text)?, sfu) {
            (ToEdge::Encodings(json), _) => serde_json::from_str(&json).ok(),
            (ToEdge::To(user, text), Some(sfu)) => {
                sfu.tell(user, &text);
                None
            }
            (ToEdge::All(text), Some(sfu)) => {
                // The tiers are those of this edge, and each student is told its own ones.
                if !matches!(PublisherMessage::parse(&text), Ok(PublisherMessage::Tier { .. }) | Err(_)) {
                    sfu.tell_all(&text);
                }
                None
            }
            (_, None) => None,
        }
    }

    /// An event of the SFU. Returns a message for the room, and one for the holder of the media.
    pub(super) fn on_event(
        &mut self,
        event: SfuEvent,
        sfu: Option<&Fanout>,
    ) -> (Option<ClientMessage>, Option<FromEdge>) {
        match event {
            SfuEvent::Answer { user: target_uid, sdp } => {
                (Some(ClientMessage::Answer { entry: None, target_uid, sdp, source: None }), None)
            }
            SfuEvent::Refused { user, why } => (Some(rejection(user, None, &why)), None),
            SfuEvent::Connected(user) => {
                self.connected.insert(user.clone(), false);
                (Some(ClientMessage::Connected { target_uid: user.clone() }), Some(FromEdge::Connected(user)))
            }
            SfuEvent::ChannelOpen(user) => {
                self.connected.insert(user.clone(), true);
                (None, Some(FromEdge::Opened(user)))
            }
            SfuEvent::Heard { user, text } => match (StudentMessage::parse(&text), sfu) {
                (Ok(StudentMessage::Receive(tiers)), Some(sfu)) => {
                    sfu.limit(user, tiers);
                    (None, None)
                }
                _ => (None, Some(FromEdge::Heard(user, text))),
            },
            SfuEvent::Gone { user, why } => {
                self.connected.remove(&user);
                let hangup = ClientMessage::Hangup { target_uid: user.clone(), source: None };
                (Some(hangup), Some(FromEdge::Gone { user, has_left: why == Departure::Left }))
            }
            SfuEvent::Session { .. } | SfuEvent::Encodings(_) | SfuEvent::KeyFrameNeeded(_) => (None, None),
            SfuEvent::Needed(..) | SfuEvent::Notice(_) => (None, None),
        }
    }

    /// A student has left the room, as signalling sees it.
    pub(super) fn leaves(user: UserId, reason: LeaveReason, sfu: &Fanout) {
        match reason {
            LeaveReason::Left | LeaveReason::Removed => sfu.remove(user),
            // It may still receive media. Then the SFU reports the end.
            LeaveReason::Lost => sfu.signalling_lost(user),
            LeaveReason::Ended | LeaveReason::Replaced => {}
        }
    }
}
