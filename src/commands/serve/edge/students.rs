//! The students of an edge and of the edges below it, and their messages to the holder of the media and back.

use std::collections::{BTreeMap, BTreeSet};

use super::fanout::Fanout;
use crate::commands::edges::Edges;
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
    /// The same of the students of edges below.
    below: BTreeMap<UserId, bool>,
    /// The edges below whose media runs.
    edges: BTreeSet<UserId>,
}

impl Students {
    /// Everybody who gets media from here: students and edges.
    pub(super) fn all(&self) -> Vec<UserId> {
        self.connected.keys().chain(&self.edges).cloned().collect()
    }

    /// Whether the media of this student runs.
    pub(super) fn contains(&self, user: &UserId) -> bool {
        self.connected.contains_key(user)
    }

    /// The number of students who get media from here.
    pub(super) fn len(&self) -> usize {
        self.connected.len()
    }

    /// Whether nobody gets media from here.
    pub(super) fn is_empty(&self) -> bool {
        self.connected.is_empty() && self.edges.is_empty()
    }

    /// Takes everybody out. Returns who got media from here.
    pub(super) fn take(&mut self) -> Vec<UserId> {
        let all = self.all();
        *self = Self::default();
        all
    }

    /// Everything that the holder of the media has to know of the students.
    pub(super) fn announcements(&self) -> Vec<FromEdge> {
        let all = self.connected.iter().chain(&self.below).flat_map(|(user, has_channel)| {
            let opened = has_channel.then(|| FromEdge::Opened(user.clone()));
            [Some(FromEdge::Connected(user.clone())), opened]
        });
        all.flatten().collect()
    }

    /// Whether the media of an edge below runs.
    pub(super) fn edge_below(&mut self, edge: UserId, is_connected: bool) {
        match is_connected {
            true => self.edges.insert(edge),
            false => self.edges.remove(&edge),
        };
    }

    /// An event of a student of an edge below. Returns a message for the holder of the media.
    pub(super) fn on_event_below(&mut self, event: SfuEvent) -> Option<FromEdge> {
        match event {
            SfuEvent::Connected(user) => {
                // It may have come from here, whose event of that is not passed on.
                self.connected.remove(&user);
                self.below.insert(user.clone(), false);
                Some(FromEdge::Connected(user))
            }
            SfuEvent::ChannelOpen(user) => {
                self.below.insert(user.clone(), true);
                Some(FromEdge::Opened(user))
            }
            SfuEvent::Heard { user, text } => Some(FromEdge::Heard(user, text)),
            SfuEvent::Gone { user, why } => {
                self.below.remove(&user);
                Some(FromEdge::Gone { user, has_left: why == Departure::Left })
            }
            _ => None,
        }
    }

    /// The holder of the media says something: passes it on to the students that it concerns. Returns the encodings of
    /// the lecture, if it is that.
    pub(super) fn told(&self, text: &str, below: &Edges, sfu: Option<&Fanout>) -> Option<Vec<Encoding>> {
        match (ToEdge::parse(text)?, sfu) {
            (ToEdge::Encodings(json), _) => serde_json::from_str(&json).ok(),
            (ToEdge::To(user, text), Some(sfu)) => {
                match sfu.own() {
                    Some(own) => below.tell(user, text, own.sfu()),
                    None => sfu.tell(user, &text),
                }
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
                self.below.remove(&user);
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
