//! Messages of members: offers, answers and candidates on their way, and what a member asks of the server.

use std::time::Instant;

use super::member::{Connection, Media};
use super::members::{Room, refuse};
use super::{ConnId, Output, RoomLimits};
use crate::id::UserId;
use crate::protocol::{ClientMessage, ErrorCode, RoomKind, ServerMessage};

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
        if self.members.get(id).is_none_or(|member| member.conn() != Some(conn)) {
            match message {
                ClientMessage::Ping => out.push(Output::Send { to: conn, message: ServerMessage::Pong }),
                _ => {
                    let message = format!("wait until {} admits you", self.keeper());
                    refuse(conn, ErrorCode::NotAllowed, message, out);
                }
            }
            return;
        }
        let message = match self.conferences.as_ref().map(|conferences| conferences.kind) {
            Some(RoomKind::Lecture) => self.breakout_message(now, (id, conn), message, out),
            Some(_) => self.conference_message(now, (id, conn), message, out),
            None => Some(message),
        };
        let Some(message) = message else { return };
        let Some(sender) = self.members.get_mut(id) else { return };
        let is_publisher = self.publisher.as_ref() == Some(id);
        let is_holder = is_publisher && !sender.newcomer.wants_host();
        let source = |target: &UserId| (self.publisher.as_ref() != Some(target)).then(|| target.clone());
        let user_id = id.clone();
        match message {
            ClientMessage::Offer { .. } if is_holder => {
                refuse(conn, ErrorCode::NotAllowed, "the publisher answers, students offer", out);
            }
            ClientMessage::Offer { target_uid, sdp, video, tracks, .. } => {
                sender.candidates.offered(&target_uid, None);
                let (tracks, network) = (tracks.filter(|_| target_uid == *id), Some(sender.tag));
                let source = source(&target_uid);
                if is_publisher && source.is_none() {
                    self.restart_host(now, limits, out);
                }
                let is_for_class = source.is_none() && !is_publisher;
                let offer = ServerMessage::Offer { entry: None, user_id, sdp, video, tracks, network, source };
                if !is_for_class || !self.offer_to_edge((id, conn), &offer, out) {
                    self.relay_to_holder(conn, &target_uid, offer, out);
                }
            }
            ClientMessage::Candidate { target_uid, candidate, .. } if !is_holder => {
                if !sender.candidates.take(&target_uid, None) {
                    return;
                }
                let source = source(&target_uid);
                let edge = self.edges.of_student(id).filter(|_| source.is_none());
                let candidate = ServerMessage::Candidate { entry: None, user_id, candidate, source };
                match edge {
                    Some(to) => out.push(Output::Relay { from: conn, to, message: candidate }),
                    None => self.relay_to_holder(conn, &target_uid, candidate, out),
                }
            }
            ClientMessage::Answer { target_uid, sdp, source: None, .. }
                if !is_publisher && !self.edges.is_empty() && self.publisher.as_ref() == Some(&target_uid) =>
            {
                sender.candidates.offered(&target_uid, None);
                if let Some(to) = self.edges.of_student(id) {
                    let message = ServerMessage::Answer { user_id, sdp, entry: None };
                    out.push(Output::Relay { from: conn, to, message });
                }
            }
            ClientMessage::Talk { message } => {
                self.student_talks((id, conn), message, out);
            }
            ClientMessage::Reject { code, .. } if !code.may_reject() => {
                refuse(conn, ErrorCode::NotAllowed, format!("{code} is not for clients to send"), out);
            }
            ClientMessage::Answer { .. }
            | ClientMessage::Candidate { .. }
            | ClientMessage::Reject { .. }
            | ClientMessage::Hangup { .. } => match (is_publisher, is_holder) {
                (_, true) => self.relay_from_publisher(now, (id, conn), message, out),
                (true, _) => {
                    let rule = "the server carries the media of this room and answers the students";
                    refuse(conn, ErrorCode::NotAllowed, rule, out);
                }
                _ => refuse(conn, ErrorCode::NotAllowed, "only the publisher answers, rejects or hangs up", out),
            },
            ClientMessage::Connected { target_uid } => self.set_media(id, &target_uid, Media::Connected),
            ClientMessage::Speakers { count } if is_holder => self.set_speakers(count),
            ClientMessage::Speakers { .. } => {
                refuse(conn, ErrorCode::NotAllowed, "only the holder of the media tells who speaks", out);
            }
            ClientMessage::RoomUserList => {
                let receiver = sender.user.clone();
                let message = ServerMessage::RoomUserList { users: self.listed(&receiver), count: self.members.len() };
                out.push(Output::Send { to: conn, message });
            }
            ClientMessage::Ping => out.push(Output::Send { to: conn, message: ServerMessage::Pong }),
            ClientMessage::Order(order) => self.order(now, (id, conn), order, limits, out),
            ClientMessage::Visit { .. } => refuse(conn, ErrorCode::NotAllowed, "there are no breakout rooms", out),
            ClientMessage::CallAll
            | ClientMessage::Call { .. }
            | ClientMessage::Accept { .. }
            | ClientMessage::Decline { .. }
            | ClientMessage::Participate { .. }
            | ClientMessage::Spotlight { .. }
            | ClientMessage::Overloaded
            | ClientMessage::Conference { .. }
            | ClientMessage::Published { .. }
            | ClientMessage::Channel { .. }
            | ClientMessage::Tell { .. }
            | ClientMessage::ShareFile(_)
            | ClientMessage::WithdrawFile { .. } => {
                refuse(conn, ErrorCode::NotAllowed, "this room is a lecture, which has no calls", out);
            }
            ClientMessage::Leave { .. } => {}
        }
    }

    /// The connection of a student, if `id` is the publisher who carries the media.
    pub(super) fn student_of(&self, id: &UserId, student: &UserId) -> Option<ConnId> {
        let answers = self.publisher.as_ref() == Some(id) && id != student && !self.is_hosted();
        self.members.get(student).filter(|_| answers)?.conn()
    }

    /// Relays an offer, or a candidate for it, to the holder of the room's media: the media host, or else the
    /// publisher.
    pub(super) fn relay_to_holder(
        &mut self,
        conn: ConnId,
        target: &UserId,
        message: ServerMessage,
        out: &mut Vec<Output>,
    ) {
        if !self.members.contains_key(target) {
            return refuse(conn, ErrorCode::UnknownTarget, format!("user {target} is not in the room"), out);
        }
        if self.takes_host() {
            return self.relay_to_host(conn, message, out);
        }
        let Some(publisher) = self.publisher.as_ref().and_then(|id| self.members.get_mut(id)) else {
            return refuse(conn, ErrorCode::UnknownTarget, "nobody teaches in the room at present", out);
        };
        match &mut publisher.connection {
            Connection::Open(to) => out.push(Output::Relay { from: conn, to: *to, message }),
            Connection::Lost { mailbox, .. } => {
                if !mailbox.push(message, true) {
                    out.push(Output::Send { to: conn, message: ServerMessage::target_busy() });
                }
            }
        }
    }

    /// Relays a message of a publisher who carries the media.
    fn relay_from_publisher(
        &mut self,
        now: Instant,
        (id, conn): (&UserId, ConnId),
        message: ClientMessage,
        out: &mut Vec<Output>,
    ) {
        if let ClientMessage::Hangup { target_uid, source: None } = &message {
            if self.edges.serve(target_uid) {
                // The hangup is about an earlier connection.
                return;
            }
            self.set_media(id, target_uid, Media::Missing { since: now });
        }
        let Some((target, message)) = of_holder(message, id) else { return };
        if let Some(to) = self.edges.conn(&target) {
            return out.push(Output::Send { to, message });
        }
        let Some(member) = self.members.get_mut(&target) else {
            return refuse(conn, ErrorCode::UnknownTarget, format!("user {target} is not in the room"), out);
        };
        if target == *id {
            return refuse(conn, ErrorCode::NotAllowed, "the publisher answers students, not itself", out);
        }
        match &mut member.connection {
            Connection::Open(to) => out.push(Output::Send { to: *to, message }),
            Connection::Lost { mailbox, .. } => {
                if !mailbox.push(message, false) {
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

/// The receiver of a message of the holder, and the message as the receiver gets it: from the speaker whom it is about,
/// or else from the publisher. `None` for a message that a holder does not send.
pub(super) fn of_holder(message: ClientMessage, publisher: &UserId) -> Option<(UserId, ServerMessage)> {
    let from = |source: Option<UserId>| source.unwrap_or_else(|| publisher.clone());
    Some(match message {
        ClientMessage::Answer { target_uid, sdp, source, .. } => {
            (target_uid, ServerMessage::Answer { entry: None, user_id: from(source), sdp })
        }
        ClientMessage::Candidate { target_uid, candidate, source, .. } => {
            (target_uid, ServerMessage::Candidate { entry: None, user_id: from(source), candidate, source: None })
        }
        ClientMessage::Reject { target_uid, code, message, codec, source } => {
            (target_uid, ServerMessage::rejected(from(source), code, message, codec))
        }
        ClientMessage::Hangup { target_uid, source } => (target_uid, ServerMessage::Hangup { user_id: from(source) }),
        _ => return None,
    })
}
