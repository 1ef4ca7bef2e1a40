//! Messages of members: offers, answers and candidates on their way, and what a member asks of the server.

use std::time::Instant;

use super::member::{Connection, Media};
use super::members::{Room, refuse};
use super::{ConnId, Output, RoomLimits};
use crate::id::UserId;
use crate::protocol::{ClientMessage, ErrorCode, MAX_CANDIDATES_PER_OFFER, ServerMessage};

impl Room {
    /// A message of a member or of a client in the lobby. `leave` is not for this function, because the room may have
    /// to be removed.
    pub(super) fn message(
        &mut self,
        now: Instant,
        (id, conn): (&UserId, ConnId),
        message: ClientMessage,
        limits: &RoomLimits,
        out: &mut Vec<Output>,
    ) {
        let Some(sender) = self.members.get_mut(id).filter(|member| member.conn() == Some(conn)) else {
            match message {
                ClientMessage::Ping => out.push(Output::Send { to: conn, message: ServerMessage::Pong }),
                _ => refuse(conn, ErrorCode::NotAllowed, "wait until the teacher admits you", out),
            }
            return;
        };
        let user_id = id.clone();
        let (target, message) = match message {
            ClientMessage::Offer { target_uid, sdp, video, tracks } => {
                sender.candidates = 0;
                let (tracks, network) = (tracks.filter(|_| sender.user.publishes), Some(sender.tag));
                (target_uid, ServerMessage::Offer { user_id, sdp, video, tracks, network, source: None })
            }
            ClientMessage::Answer { target_uid, sdp, .. } => (target_uid, ServerMessage::Answer { user_id, sdp }),
            ClientMessage::Candidate { target_uid, candidate, .. } => {
                sender.candidates += 1;
                let answers = sender.user.publishes && !sender.newcomer.wants_host();
                if sender.candidates > MAX_CANDIDATES_PER_OFFER && !answers {
                    return;
                }
                (target_uid, ServerMessage::Candidate { user_id, candidate, source: None })
            }
            ClientMessage::Reject { target_uid, code, message, codec, .. } => {
                if !code.may_reject() {
                    return refuse(conn, ErrorCode::NotAllowed, format!("{code} is not for clients to send"), out);
                }
                (target_uid, ServerMessage::rejected(user_id, code, message, codec))
            }
            ClientMessage::Hangup { target_uid, .. } => {
                self.set_media(id, &target_uid, Media::Missing { since: now });
                (target_uid, ServerMessage::Hangup { user_id })
            }
            ClientMessage::Connected { target_uid } => return self.set_media(id, &target_uid, Media::Connected),
            ClientMessage::RoomUserList => {
                let receiver = sender.user.clone();
                let message = ServerMessage::RoomUserList { users: self.listed(&receiver), count: self.members.len() };
                return out.push(Output::Send { to: conn, message });
            }
            ClientMessage::Ping => return out.push(Output::Send { to: conn, message: ServerMessage::Pong }),
            ClientMessage::Order(order) => return self.order(now, (id, conn), order, limits, out),
            ClientMessage::Leave { .. } => return,
        };
        let offers_to_itself = matches!(message, ServerMessage::Offer { .. }) && target == *id;
        if offers_to_itself && self.is_hosted() && self.publisher.as_ref() == Some(id) {
            self.restart_host(now, limits, out);
        }
        self.relay((id, conn), &target, message, out);
    }

    /// The connection of a student, if `id` is the publisher who carries the media.
    pub(super) fn student_of(&self, id: &UserId, student: &UserId) -> Option<ConnId> {
        let answers = self.publisher.as_ref() == Some(id) && id != student && !self.is_hosted();
        self.members.get(student).filter(|_| answers)?.conn()
    }

    fn relay(&mut self, (id, conn): (&UserId, ConnId), target: &UserId, message: ServerMessage, out: &mut Vec<Output>) {
        let publishes = self.publisher.as_ref() == Some(id);
        let to_publisher = self.publisher.as_ref() == Some(target);
        let is_hosted = self.is_hosted();
        let Some(member) = self.members.get_mut(target) else {
            return refuse(conn, ErrorCode::UnknownTarget, format!("user {target} is not in the room"), out);
        };
        let rule = match message {
            ServerMessage::Offer { .. } | ServerMessage::Candidate { .. } if publishes && to_publisher && is_hosted => {
                None
            }
            _ if publishes && is_hosted => Some("the server carries the media of this room and answers the students"),
            ServerMessage::Offer { .. } if publishes => Some("the publisher answers, students offer"),
            ServerMessage::Answer { .. } | ServerMessage::Error { .. } | ServerMessage::Hangup { .. } if !publishes => {
                Some("only the publisher answers, rejects or hangs up")
            }
            _ if publishes == to_publisher => Some("students talk to the publisher, not to one another"),
            _ => None,
        };
        if let Some(rule) = rule {
            return refuse(conn, ErrorCode::NotAllowed, rule, out);
        }
        if to_publisher && is_hosted {
            return self.relay_to_host(conn, message, out);
        }
        match &mut member.connection {
            Connection::Open(to) if to_publisher => out.push(Output::Relay { from: conn, to: *to, message }),
            Connection::Open(to) => out.push(Output::Send { to: *to, message }),
            Connection::Lost { mailbox, .. } => {
                if !mailbox.push(message, to_publisher) {
                    out.push(Output::Send { to: conn, message: ServerMessage::target_busy() });
                }
            }
        }
    }

    /// Sets the media state of a student. Only a publisher who carries the media may do that. The student may have left
    /// meanwhile.
    fn set_media(&mut self, sender: &UserId, target: &UserId, media: Media) {
        if self.publisher.as_ref() == Some(sender)
            && !self.is_hosted()
            && let Some(member) = self.members.get_mut(target).filter(|member| member.user.user_id != *sender)
        {
            member.media = media;
        }
    }
}
