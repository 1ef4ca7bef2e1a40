//! Calls: how one rings, and how a call begins and ends.

use std::time::{Duration, Instant};

use super::member::{Connection, Media};
use super::members::{Room, refuse};
use super::rings::Ring;
use super::{ConnId, Output, RoomRefusal};
use crate::id::UserId;
use crate::protocol::{DeclineReason, ErrorCode, Participants, RING_S, RoomKind, ServerMessage, TrackName};

/// How long a call rings.
pub(super) const RING: Duration = Duration::from_secs(RING_S);

impl Room {
    /// A member of a call room calls another one.
    pub(super) fn call(
        &mut self,
        now: Instant,
        (id, conn): (&UserId, ConnId),
        target: &UserId,
        sends: Vec<TrackName>,
        out: &mut Vec<Output>,
    ) {
        let Some(conferences) = &mut self.conferences else { return };
        if conferences.kind != RoomKind::Call {
            return refuse(conn, ErrorCode::NotAllowed, "this room is a meeting: its owner calls all", out);
        }
        if target == id {
            return refuse(conn, ErrorCode::NotAllowed, "nobody calls themselves", out);
        }
        let Some(nickname) = self.members.get(id).map(|member| member.user.nickname.clone()) else { return };
        if !self.members.contains_key(target) {
            return refuse(conn, ErrorCode::UnknownTarget, format!("user {target} is not in the room"), out);
        }
        if conferences.rings.at(id).is_some_and(|ring| ring.caller == *target) {
            return self.accept(now, (id, conn), target, sends, out);
        }
        if conferences.rings.at(target).is_some_and(|ring| ring.caller == *id) {
            return;
        }
        let is_busy = |user: &UserId| {
            let rings = &conferences.rings;
            conferences.place(user).is_some() || rings.at(user).is_some() || rings.is_calling(user)
        };
        if is_busy(id) {
            let message = "you are in a call already: end it, or decline the one that rings";
            return refuse(conn, ErrorCode::NotAllowed, message, out);
        }
        if is_busy(target) {
            let message = ServerMessage::Decline { user_id: target.clone(), reason: DeclineReason::Busy };
            return out.push(Output::Send { to: conn, message });
        }
        if let Err(refusal) = self.take_call(now, id) {
            return refusal.answer(conn, out);
        }
        self.ring(now, id, target, sends.clone());
        self.deliver(None, target, ServerMessage::Call { user_id: id.clone(), nickname, sends }, out);
    }

    /// The owner of a meeting calls all members that take no part.
    pub(super) fn call_all(&mut self, now: Instant, (id, conn): (&UserId, ConnId), out: &mut Vec<Output>) {
        let Some(conferences) = &self.conferences else { return };
        if !conferences.is_meeting() || !conferences.is_owner(id) {
            return refuse(conn, ErrorCode::NotAllowed, "only the owner of a meeting calls all", out);
        }
        if let Err(refusal) = self.take_call(now, id) {
            return refusal.answer(conn, out);
        }
        let Some(conferences) = &mut self.conferences else { return };
        let Some(nickname) = self.members.get(id).map(|member| member.user.nickname.clone()) else { return };
        let sends = conferences.get(id).map(|participant| participant.sends.clone()).unwrap_or_default();
        let others = self.members.iter().filter(|(user, _)| *user != id && conferences.place(user).is_none());
        let others: Vec<_> = others.map(|(user, member)| (user.clone(), member.conn())).collect();
        for (user, _) in &others {
            let ring = Ring { caller: id.clone(), sends: sends.clone(), until: now + RING };
            conferences.rings.start(user.clone(), ring);
        }
        conferences.info.changed(now, Duration::ZERO);
        let to: Vec<ConnId> = others.into_iter().filter_map(|(_, conn)| conn).collect();
        if !to.is_empty() {
            let message = ServerMessage::Call { user_id: id.clone(), nickname, sends };
            out.push(Output::Broadcast { to, message });
        }
    }

    /// A member takes the call that rings.
    pub(super) fn accept(
        &mut self,
        now: Instant,
        (id, conn): (&UserId, ConnId),
        caller: &UserId,
        sends: Vec<TrackName>,
        out: &mut Vec<Output>,
    ) {
        let Some(conferences) = &mut self.conferences else { return };
        if conferences.rings.at(id).is_none_or(|ring| ring.caller != *caller) {
            let message = format!("user {caller} does not call you any more");
            return refuse(conn, ErrorCode::UnknownTarget, message, out);
        }
        if conferences.is_meeting() {
            self.participate(now, (id, conn), sends, out);
            if self.conferences.as_ref().is_some_and(|conferences| conferences.get(id).is_some()) {
                self.deliver(Some(conn), caller, ServerMessage::Accept { user_id: id.clone() }, out);
            }
            return;
        }
        let Some(ring) = conferences.rings.stop(id) else { return };
        let call = conferences.start();
        for (user, sends) in [(caller, ring.sends), (id, sends)] {
            let Some(member) = self.members.get_mut(user) else { continue };
            member.media = Media::Connected;
            conferences.enter(now, call, (user, &member.user.nickname), sends);
        }
        self.retention.entered(true);
        self.deliver(None, caller, ServerMessage::Accept { user_id: id.clone() }, out);
    }

    /// A member does not take the call that rings.
    pub(super) fn decline(
        &mut self,
        now: Instant,
        (id, conn): (&UserId, ConnId),
        caller: &UserId,
        reason: DeclineReason,
        out: &mut Vec<Output>,
    ) {
        if matches!(reason, DeclineReason::NoAnswer | DeclineReason::Left) {
            return refuse(conn, ErrorCode::NotAllowed, "only the server gives this reason", out);
        }
        let Some(conferences) = &mut self.conferences else { return };
        if conferences.rings.at(id).is_none_or(|ring| ring.caller != *caller) {
            // The caller has given up at the same moment, and `hangup` is on its way.
            return;
        }
        conferences.rings.stop(id);
        if conferences.is_meeting() && conferences.rings.is_empty() {
            conferences.info.changed(now, Duration::ZERO);
        }
        let reason = if reason == DeclineReason::Unknown { DeclineReason::Declined } else { reason };
        self.deliver(Some(conn), caller, ServerMessage::Decline { user_id: id.clone(), reason }, out);
    }

    /// A member ends its call, or gives up one that rings; in a meeting it leaves the meeting.
    pub(super) fn hang_up(&mut self, now: Instant, id: &UserId, target: &UserId, out: &mut Vec<Output>) {
        let Some(conferences) = &mut self.conferences else { return };
        if conferences.is_meeting() {
            if target == id {
                self.leave_meeting(now, id, out);
            }
            return;
        }
        let is_with = |conference: &super::conference::Conference| target == id || conference.holds(target);
        if let Some(call) = conferences.place(id).filter(|call| conferences.conference(*call).is_some_and(is_with)) {
            self.end_call(now, call, id, out);
        } else if conferences.rings.at(target).is_some_and(|ring| ring.caller == *id) {
            conferences.rings.stop(target);
            self.deliver(None, target, ServerMessage::Hangup { user_id: id.clone() }, out);
        }
    }

    /// Ends a call for both. `by` has ended it, and need not be told why.
    pub(super) fn end_call(&mut self, now: Instant, call: u32, by: &UserId, out: &mut Vec<Output>) {
        let Some(conferences) = &mut self.conferences else { return };
        for user in conferences.end(call) {
            if let Some(member) = self.members.get_mut(&user) {
                member.media = Media::Missing { since: now };
            }
            if user != *by {
                self.deliver(None, &user, ServerMessage::Hangup { user_id: by.clone() }, out);
            }
            if let Some(to) = self.members.get(&user).and_then(super::member::Member::conn) {
                out.push(Output::Send { to, message: ServerMessage::Participants(Participants::default()) });
            }
        }
    }

    /// A member is gone, or its process is: its own calls do not ring any more.
    pub(super) fn stop_calling(&mut self, now: Instant, id: &UserId, out: &mut Vec<Output>) {
        let Some(conferences) = &mut self.conferences else { return };
        let callees = conferences.rings.callees(id);
        if callees.is_empty() {
            return;
        }
        callees.iter().for_each(|callee| _ = conferences.rings.stop(callee));
        conferences.info.changed(now, Duration::ZERO);
        for callee in callees {
            self.deliver(None, &callee, ServerMessage::Hangup { user_id: id.clone() }, out);
        }
    }

    /// Ends the calls that nobody has answered in time.
    pub(super) fn end_rings(&mut self, now: Instant, out: &mut Vec<Output>) {
        let Some(conferences) = &mut self.conferences else { return };
        let is_meeting = conferences.is_meeting();
        let over = conferences.rings.over(now);
        if !over.is_empty() {
            conferences.info.changed(now, Duration::ZERO);
        }
        for (callee, Ring { caller, .. }) in over {
            self.deliver(None, &callee, ServerMessage::Hangup { user_id: caller.clone() }, out);
            // The owner of a meeting sees who has come, and a whole class that has not would fill its queue.
            if !is_meeting {
                let reason = DeclineReason::NoAnswer;
                self.deliver(None, &caller, ServerMessage::Decline { user_id: callee, reason }, out);
            }
        }
    }

    /// A call rings at a member.
    fn ring(&mut self, now: Instant, caller: &UserId, callee: &UserId, sends: Vec<TrackName>) {
        if let Some(conferences) = &mut self.conferences {
            conferences.rings.start(callee.clone(), Ring { caller: caller.clone(), sends, until: now + RING });
        }
    }

    /// Counts a call, or an entry into a conference.
    pub(super) fn take_call(&mut self, now: Instant, id: &UserId) -> Result<(), RoomRefusal> {
        let taken = self.members.get_mut(id).map_or(Ok(()), |member| member.pace.calls.take(now));
        taken.map_err(|wait| {
            let message = "too many calls, or too many entries, in a short time: wait a moment";
            RoomRefusal::new(ErrorCode::TargetBusy, message).after(wait)
        })
    }

    /// Sends to a member, or keeps the message until the member is back. A message `from` another member is dropped if
    /// too many wait for the receiver, and the sender is told.
    pub(super) fn deliver(&mut self, from: Option<ConnId>, to: &UserId, message: ServerMessage, out: &mut Vec<Output>) {
        let Some(member) = self.members.get_mut(to) else { return };
        match (&mut member.connection, from) {
            (Connection::Open(to), Some(from)) => out.push(Output::Relay { from, to: *to, message }),
            (Connection::Open(to), None) => out.push(Output::Send { to: *to, message }),
            // A member that comes back learns what rings.
            (Connection::Lost { .. }, _) if matches!(message, ServerMessage::Call { .. }) => {}
            (Connection::Lost { mailbox, .. }, from) => {
                if !mailbox.push(message, false)
                    && let Some(from) = from
                {
                    out.push(Output::Send { to: from, message: ServerMessage::target_busy() });
                }
            }
        }
    }
}
