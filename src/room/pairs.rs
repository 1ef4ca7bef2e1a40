//! What participants send: which messages a meeting or call room knows, and the negotiations of two participants.
//!
//! A negotiation belongs to two entries. A message for an entry that is gone is dropped, as its sender learns of the
//! next one anyway.

use std::time::Instant;

use super::members::{Room, refuse};
use super::{ConnId, Output, RoomRefusal};
use crate::id::UserId;
use crate::network::Network;
use crate::protocol::{ClientMessage, ErrorCode, MediaHost, ServerMessage};

/// Why somebody who takes no part sends nothing to participants.
const NO_PART: &str = "you take no part: enter the meeting first, or call somebody";

impl Room {
    /// The network for which an offer of a member counts. `None` for an offer that goes nowhere, so that nobody uses up
    /// the offers of others of the same network with those.
    ///
    /// `entry` is that of an offer of a participant, to another one or to the server.
    pub(super) fn counts_offer(&self, id: &UserId, target: &UserId, entry: Option<Option<u32>>) -> Option<Network> {
        let network = self.members.get(id)?.newcomer.network;
        let Some((conferences, entry)) = self.conferences.as_ref().zip(entry) else { return Some(network) };
        let conference = conferences.of(id)?;
        let target = conference.get(target)?;
        let is_relayed = match entry {
            Some(entry) => target.entry == entry && target.user_id != *id,
            None => conference.media == MediaHost::Server,
        };
        is_relayed.then_some(network)
    }

    /// Whether an offer is one of a participant: of a meeting or call, or of a breakout room of a lecture.
    pub(super) fn is_of_participant(&self, message: &ClientMessage) -> bool {
        let is_named = match message {
            ClientMessage::Offer { entry, .. } => entry.is_some(),
            message => matches!(message, ClientMessage::Conference { .. }),
        };
        is_named || self.meeting_or_call().is_some()
    }

    /// Counts an offer of a participant for its sender, who makes another participant work.
    pub(super) fn take_offer(&mut self, now: Instant, id: &UserId, is_of_participant: bool) -> Result<(), RoomRefusal> {
        if !is_of_participant {
            return Ok(());
        }
        let taken = self.members.get_mut(id).map_or(Ok(()), |member| member.pace.offers.take(now));
        taken.map_err(|wait| {
            let message = "too many offers in a short time: wait a moment";
            RoomRefusal::new(ErrorCode::TargetBusy, message).after(wait)
        })
    }

    /// A message that means the same in a meeting or call, and in a breakout room of a lecture. Returns any other one.
    pub(super) fn participant_message(
        &mut self,
        now: Instant,
        (id, conn): (&UserId, ConnId),
        message: ClientMessage,
        out: &mut Vec<Output>,
    ) -> Option<ClientMessage> {
        match message {
            ClientMessage::Offer { entry: Some(_), .. }
            | ClientMessage::Answer { entry: Some(_), .. }
            | ClientMessage::Candidate { entry: Some(_), .. } => self.relay_pair((id, conn), message, out),
            ClientMessage::Conference { message } => self.relay_to_conference_host((id, conn), *message, out),
            ClientMessage::Participate { sends } => self.participate(now, (id, conn), sends, out),
            ClientMessage::Spotlight { on } => self.spotlight(now, (id, conn), on, out),
            ClientMessage::Visit { breakout } => self.visit(now, (id, conn), breakout, out),
            ClientMessage::Channel { message } => self.chat(now, (id, conn), message, out),
            // A conference moves to the server where the places at the server are known.
            ClientMessage::Overloaded => {}
            rest => return Some(rest),
        }
        None
    }

    /// A message of a member of a meeting or call room. Returns the message if it means the same as in a lecture.
    pub(super) fn conference_message(
        &mut self,
        now: Instant,
        (id, conn): (&UserId, ConnId),
        message: ClientMessage,
        out: &mut Vec<Output>,
    ) -> Option<ClientMessage> {
        match self.participant_message(now, (id, conn), message, out)? {
            message @ (ClientMessage::Offer { .. } | ClientMessage::Candidate { .. }) => {
                self.relay_to_conference_host((id, conn), message, out);
            }
            ClientMessage::Answer { .. }
            | ClientMessage::Reject { .. }
            | ClientMessage::Connected { .. }
            | ClientMessage::Speakers { .. }
            | ClientMessage::Published { .. } => {
                refuse(conn, ErrorCode::NotAllowed, "only the server sends this in a meeting", out);
            }
            ClientMessage::Hangup { target_uid, .. } => self.hang_up(now, id, &target_uid, out),
            ClientMessage::Call { target_uid, sends } => self.call(now, (id, conn), &target_uid, sends, out),
            ClientMessage::CallAll => self.call_all(now, (id, conn), out),
            ClientMessage::Accept { target_uid, sends } => self.accept(now, (id, conn), &target_uid, sends, out),
            ClientMessage::Decline { target_uid, reason } => {
                self.decline(now, (id, conn), &target_uid, reason, out);
            }
            // A file is taken where the space of the server is known.
            ClientMessage::ShareFile(_) => {}
            ClientMessage::WithdrawFile { file } => self.withdraw_file((id, conn), file, out),
            rest => return Some(rest),
        }
        None
    }

    /// Relays to another participant of the same conference.
    pub(super) fn relay_pair(&mut self, (id, conn): (&UserId, ConnId), message: ClientMessage, out: &mut Vec<Output>) {
        let Some((conferences, sender)) = self.conferences.as_ref().zip(self.members.get_mut(id)) else { return };
        let Some((conference, own)) = conferences.of(id).and_then(|of| Some((of, of.get(id)?))) else {
            return refuse(conn, ErrorCode::NotAllowed, NO_PART, out);
        };
        let user_id = id.clone();
        let own = Some(own.entry);
        let (target, message) = match message {
            ClientMessage::Offer { target_uid, entry, sdp, .. } => {
                sender.candidates.offered(&target_uid, entry);
                let (video, tracks, network, source) = (None, None, None, None);
                ((target_uid, entry), ServerMessage::Offer { user_id, sdp, entry: own, video, tracks, network, source })
            }
            ClientMessage::Answer { target_uid, entry, sdp, .. } => {
                sender.candidates.offered(&target_uid, entry);
                ((target_uid, entry), ServerMessage::Answer { user_id, sdp, entry: own })
            }
            ClientMessage::Candidate { target_uid, entry, candidate, .. } => {
                if !sender.candidates.take(&target_uid, entry) {
                    return;
                }
                let source = None;
                ((target_uid, entry), ServerMessage::Candidate { user_id, candidate, entry: own, source })
            }
            _ => return,
        };
        let (target, entry) = target;
        if target == *id {
            return refuse(conn, ErrorCode::NotAllowed, "nobody connects to themselves", out);
        }
        if conference.get(&target).is_some_and(|participant| Some(participant.entry) == entry) {
            self.deliver(Some(conn), &target, message, out);
        }
    }
}

/// The target of an offer, and the entry that the offer names.
pub(super) fn offered(message: &ClientMessage) -> Option<(&UserId, Option<u32>)> {
    match message {
        ClientMessage::Offer { target_uid, entry, .. } => Some((target_uid, *entry)),
        ClientMessage::Conference { message } => match &**message {
            ClientMessage::Offer { target_uid, .. } => Some((target_uid, None)),
            _ => None,
        },
        _ => None,
    }
}
