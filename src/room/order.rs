//! The orders of members that moderate: removal, admission, and the rules for newcomers.

use std::time::{Duration, Instant};

use super::gate::Outcast;
use super::member::Member;
use super::members::{Room, refuse};
use super::{ConnId, Newcomer, Output, RoomLimits, RoomRefusal};
use crate::id::UserId;
use crate::network::Network;
use crate::protocol::{ErrorCode, LeaveReason, RoomOrder, ServerMessage, TrackName};

impl Room {
    /// Carries out an order and tells all who moderate, or refuses the order.
    pub(super) fn order(
        &mut self,
        now: Instant,
        (id, conn): (&UserId, ConnId),
        order: RoomOrder,
        limits: &RoomLimits,
        out: &mut Vec<Output>,
    ) {
        if !self.members.get(id).is_some_and(|member| member.user.moderates) {
            let rule = match self.meeting_or_call() {
                Some(_) => "only the owner and members who moderate give orders",
                None => "only a teacher gives orders",
            };
            return refuse(conn, ErrorCode::NotAllowed, rule, out);
        }
        match self.carry_out(now, id, &order, limits, out) {
            Ok(()) => self.send_to_moderators(ServerMessage::Order { user_id: id.clone(), order }, out),
            Err(refusal) => refusal.answer(conn, out),
        }
    }

    fn carry_out(
        &mut self,
        now: Instant,
        id: &UserId,
        order: &RoomOrder,
        limits: &RoomLimits,
        out: &mut Vec<Output>,
    ) -> Result<(), RoomRefusal> {
        match order {
            RoomOrder::Kick { target_uid } => {
                self.check_target(id, target_uid)?;
                self.expel(now, target_uid, false, limits, out)
            }
            RoomOrder::Ban { target_uid } => {
                self.check_target(id, target_uid)?;
                self.expel(now, target_uid, true, limits, out)
            }
            RoomOrder::Unban { target_uid } => {
                let message = format!("user {target_uid} was not put out of the room");
                self.gate.pardon(target_uid).then_some(()).ok_or(RoomRefusal::new(ErrorCode::UnknownTarget, message))
            }
            RoomOrder::Lock { locked } => {
                self.gate.is_locked = *locked;
                self.conferences.iter_mut().for_each(|known| known.info.changed(now, Duration::ZERO));
                Ok(())
            }
            RoomOrder::Lobby { lobby } => {
                self.gate.has_lobby = *lobby;
                if *lobby { Ok(()) } else { self.admit_all(now, limits, out) }
            }
            RoomOrder::Code { code } => {
                let set = self.gate.set_code(code.as_deref());
                set.map_err(|error| RoomRefusal::new(ErrorCode::NotAllowed, error.to_string()))
            }
            RoomOrder::Admit { target_uid: Some(target) } => self.admit_one(now, target, limits, out),
            RoomOrder::Admit { target_uid: None } => self.admit_all(now, limits, out),
            RoomOrder::Deny { target_uid } => {
                if self.lobby.get(target_uid).is_none() {
                    return Err(not_waiting(target_uid));
                }
                self.expel(now, target_uid, false, limits, out)
            }
            RoomOrder::MuteMicrophone { target_uid } => self.mute_microphone(id, target_uid.as_ref(), out),
            RoomOrder::Rename { .. }
            | RoomOrder::HandOver { .. }
            | RoomOrder::Spotlight { .. }
            | RoomOrder::SpotlightOff { .. }
            | RoomOrder::RestrictSpotlight { .. }
            | RoomOrder::End
            | RoomOrder::Split { .. }
            | RoomOrder::Assign { .. }
            | RoomOrder::NameBreakout { .. }
            | RoomOrder::Announce { .. }
            | RoomOrder::Recall { .. } => self.owner_order(now, id, order, limits, out),
        }
    }

    /// Tells a participant of a meeting, or all that do not moderate, to switch the microphone off. Those who moderate
    /// hear of the order anyway.
    fn mute_microphone(
        &mut self,
        id: &UserId,
        target: Option<&UserId>,
        out: &mut Vec<Output>,
    ) -> Result<(), RoomRefusal> {
        let Some(meeting) = self.conferences.as_ref().filter(|conferences| conferences.is_meeting()) else {
            let message = "only in a meeting, somebody's microphone is switched off by others";
            return Err(RoomRefusal::new(ErrorCode::NotAllowed, message));
        };
        let is_heard = |user: &UserId| meeting.get(user).is_some_and(|known| known.sends.contains(&TrackName::Audio));
        if let Some(target) = target {
            if meeting.get(target).is_none() {
                let message = format!("user {target} does not take part in the meeting");
                return Err(RoomRefusal::new(ErrorCode::UnknownTarget, message));
            }
            if !is_heard(target) {
                let message = format!("the microphone of user {target} is off");
                return Err(RoomRefusal::new(ErrorCode::NotAllowed, message));
            }
        }
        let is_meant = |(user, member): &(&UserId, &Member)| {
            !member.user.moderates && target.is_none_or(|target| target == *user) && is_heard(user)
        };
        let meant: Vec<UserId> = self.members.iter().filter(is_meant).map(|(user, _)| user.clone()).collect();
        for target in meant {
            let order = RoomOrder::MuteMicrophone { target_uid: Some(target.clone()) };
            self.deliver(None, &target, ServerMessage::Order { user_id: id.clone(), order }, out);
        }
        Ok(())
    }

    /// Orders against oneself, the publisher and other moderators are refused.
    fn check_target(&self, sender: &UserId, target: &UserId) -> Result<(), RoomRefusal> {
        let refusal = |message: String| Err(RoomRefusal::new(ErrorCode::NotAllowed, message));
        match self.members.get(target) {
            Some(_) if sender == target => refusal("nobody puts themselves out, leave instead".into()),
            Some(member) if !member.is_student() => {
                let role = if self.meeting_or_call().is_some() { "moderates" } else { "teaches" };
                refusal(format!("user {target} {role} too, and can't be put out"))
            }
            _ => Ok(()),
        }
    }

    /// Puts a member or a waiting client out for the rest of the lecture.
    pub(super) fn expel(
        &mut self,
        now: Instant,
        target: &UserId,
        is_ban: bool,
        limits: &RoomLimits,
        out: &mut Vec<Output>,
    ) -> Result<(), RoomRefusal> {
        let message = format!("{} has put you out of the room", self.keeper());
        let refusal = RoomRefusal::new(ErrorCode::Removed, message).of(self.kind());
        let outcast = |client: Option<&Newcomer>, network| Outcast {
            user: target.clone(),
            session: client.map(|client| client.session.clone()),
            identity: client.and_then(|client| client.identity.clone()),
            is_banned: is_ban,
            network,
        };
        if let Some(waiting) = self.lobby.take(now, target, limits.lobby_interval) {
            let network = self.network_to_ban(target, &waiting.newcomer).filter(|_| is_ban);
            self.gate.put_out(outcast(Some(&waiting.newcomer), network));
            refusal.close(waiting.conn, out);
        } else if let Some(member) = self.members.get(target) {
            let network = self.network_to_ban(target, &member.newcomer).filter(|_| is_ban);
            let outcast = outcast(Some(&member.newcomer), network);
            self.gate.put_out(outcast);
            self.put_out(now, target, (refusal, LeaveReason::Removed), limits, out);
        } else if is_ban {
            self.gate.put_out(outcast(None, None));
        } else {
            let message = format!("user {target} is not in the room");
            return Err(RoomRefusal::new(ErrorCode::UnknownTarget, message));
        }
        self.look_around(now, limits);
        Ok(())
    }

    /// The network of a client, unless another member shares it: a whole school may be behind one NAT.
    fn network_to_ban(&self, target: &UserId, client: &Newcomer) -> Option<Network> {
        let mut others = self.members.iter().filter(|(id, _)| *id != target);
        let is_shared = others.any(|(_, member)| member.newcomer.network == client.network);
        (!is_shared).then_some(client.network)
    }

    fn admit_one(
        &mut self,
        now: Instant,
        target: &UserId,
        limits: &RoomLimits,
        out: &mut Vec<Output>,
    ) -> Result<(), RoomRefusal> {
        let waiting = self.lobby.get(target).ok_or_else(|| not_waiting(target))?;
        // `roomFull` would close the connection of the teacher.
        self.make_place(now, &waiting.newcomer.clone(), limits, out).map_err(|full| RoomRefusal {
            code: ErrorCode::NotAllowed,
            retry_after: None,
            ..full
        })?;
        if let Some(applicant) = self.lobby.take(now, target, limits.lobby_interval) {
            self.gate.admit(&applicant.newcomer.session);
            self.enter(now, applicant, limits, out);
        }
        Ok(())
    }

    /// Admits those who have waited longest, until the room is full.
    fn admit_all(&mut self, now: Instant, limits: &RoomLimits, out: &mut Vec<Output>) -> Result<(), RoomRefusal> {
        self.lobby.ids().iter().try_for_each(|id| self.admit_one(now, id, limits, out))
    }
}

fn not_waiting(target: &UserId) -> RoomRefusal {
    RoomRefusal::new(ErrorCode::UnknownTarget, format!("user {target} does not wait for admission"))
}
