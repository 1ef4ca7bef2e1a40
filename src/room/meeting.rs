//! The members of a meeting or call room: what they are told, who owns the room, and who takes part in the meeting.

use std::time::{Duration, Instant};

use super::conference::Conferences;
use super::member::{Media, Member};
use super::members::{Room, refuse};
use super::pending::Presence;
use super::rings::Ring;
use super::{ConnId, Newcomer, Output, RoomLimits, RoomRefusal};
use crate::id::{RoomName, UserId};
use crate::protocol::{
    DeclineReason, ErrorCode, MAX_MESH, MAX_PARTICIPANTS, MediaHost, Participants, RESTLESS_INTERVAL, RoomInfo,
    RoomKind, RoomOrder, ServerMessage, TrackName, User,
};

impl Room {
    /// Whether the room is for a meeting.
    pub(super) fn is_meeting(&self) -> bool {
        self.conferences.as_ref().is_some_and(Conferences::is_meeting)
    }

    /// The kind of the room.
    pub(super) fn kind(&self) -> RoomKind {
        self.conferences.as_ref().map_or(RoomKind::Lecture, |conferences| conferences.kind)
    }

    /// The state of a meeting or call room; none in a lecture, even in one with breakout rooms.
    pub(super) fn meeting_or_call(&self) -> Option<&Conferences> {
        self.conferences.as_ref().filter(|conferences| conferences.kind != RoomKind::Lecture)
    }

    /// Who keeps order in the room, in a sentence.
    pub(super) fn keeper(&self) -> &'static str {
        match self.kind() {
            RoomKind::Lecture => "the teacher",
            RoomKind::Meeting | RoomKind::Call => "the owner",
        }
    }

    /// Makes a new room, or one in which students wait for a teacher, a meeting or a call room.
    pub(super) fn become_conference(&mut self, now: Instant, mut conferences: Conferences) {
        let mut early: Vec<&Member> = self.members.values().collect();
        early.sort_by_key(|member| member.since);
        for member in early {
            conferences.arrived(&member.user.user_id, &member.user.nickname);
            conferences.chat_of(&member.user.user_id).into_iter().for_each(|talk| talk.joined(&member.user));
            self.gate.admit(&member.newcomer.session);
        }
        self.members.values_mut().for_each(|member| member.is_admitted = true);
        self.is_governed = true;
        conferences.info.changed(now, Duration::ZERO);
        self.conferences = Some(conferences);
    }

    /// A client is about to become a member. The first one that may own the room does.
    pub(super) fn conference_arrived(&mut self, now: Instant, member: &mut Member, limits: &RoomLimits) {
        let is_lecture = self.kind() == RoomKind::Lecture;
        let Some(conferences) = &mut self.conferences else { return };
        let user = &mut member.user;
        conferences.arrived(&user.user_id, &user.nickname);
        if !is_lecture && conferences.owner.is_none() && limits.meetings.may_open(&member.newcomer) {
            conferences.owner = Some(user.user_id.clone());
            conferences.info.changed(now, Duration::ZERO);
        }
        user.moderates |= conferences.is_owner(&user.user_id);
        let on_server: Vec<u32> = conferences.carried().map(|(id, _)| id).collect();
        if let Some(division) = &mut conferences.division {
            division.arrived(now, user, &self.members, &on_server);
        }
        conferences.chat_of(&user.user_id).into_iter().for_each(|talk| talk.joined(user));
    }

    /// Tells a member that has just joined, perhaps again, what the room is, who takes part, and what rings.
    pub(super) fn tell_conference(&mut self, now: Instant, id: &UserId, limits: &RoomLimits, out: &mut Vec<Output>) {
        if self.kind() == RoomKind::Lecture {
            return self.tell_lecture(now, id, out);
        }
        let Some(conferences) = &mut self.conferences else { return };
        let Some(member) = self.members.get(id) else { return };
        let Some(to) = member.conn() else { return };
        let conference = if conferences.is_meeting() { Some(conferences.at(id)) } else { conferences.place(id) };
        let participants = conference.map_or_else(Participants::default, |conference| conferences.list(conference));
        if conferences.is_meeting()
            && member.since == now
            && conferences.place(id).is_none()
            && let Some(ring) = conferences.rings.any().cloned().filter(|ring| ring.caller != *id)
        {
            conferences.rings.start(id.clone(), ring);
        }
        let ring = conferences.rings.at(id).cloned();
        let Some(info) = self.room_info(limits) else { return };
        out.push(Output::Send { to, message: ServerMessage::Room(info) });
        out.push(Output::Send { to, message: ServerMessage::Participants(participants) });
        if let Some(Ring { caller, sends, .. }) = ring {
            let nickname = self.members.get(&caller).map(|member| member.user.nickname.clone());
            let nickname = nickname.unwrap_or_else(|| "".into());
            out.push(Output::Send { to, message: ServerMessage::Call { user_id: caller, nickname, sends } });
        }
        self.tell_breakouts(now, id, out);
        self.tell_files(id, out);
        self.open_chat(now, id, out);
    }

    /// A member's process is gone, and the next one is here: a participant keeps its place.
    pub(super) fn conference_replaced(
        &mut self,
        now: Instant,
        id: &UserId,
        limits: &RoomLimits,
        out: &mut Vec<Output>,
    ) {
        self.stop_calling(now, id, out);
        if let Some(conferences) = &mut self.conferences {
            conferences.keep(now, id, now + limits.conference_grace);
        }
    }

    /// A member has left the room for good, and is not in the list of members any more.
    pub(super) fn conference_left(
        &mut self,
        now: Instant,
        id: &UserId,
        is_lost: bool,
        limits: &RoomLimits,
        out: &mut Vec<Output>,
    ) {
        if self.conferences.is_none() {
            return;
        }
        self.stop_calling(now, id, out);
        self.free_place(now, id, out);
        let Some(conferences) = &mut self.conferences else { return };
        // Only a meeting is opened again by its members.
        conferences.was_lost = is_lost && conferences.kind != RoomKind::Lecture;
        conferences.departed(id);
        let was_at = conferences.at(id);
        if let Some(Ring { caller, .. }) = conferences.rings.stop(id) {
            if !conferences.is_call() {
                conferences.info.changed(now, Duration::ZERO);
            } else {
                let message = ServerMessage::Decline { user_id: id.clone(), reason: DeclineReason::Left };
                self.deliver(None, &caller, message, out);
            }
        }
        self.leave_chat(now, id, out);
        self.left_breakout(now, was_at);
        if self.conferences.as_ref().is_some_and(|conferences| conferences.is_owner(id)) {
            self.owner_left_breakouts(now, out);
            let next = self.next_owner();
            self.set_owner(now, next, limits, out);
        }
    }

    /// Frees the place of a member that has left the room, or whose place was kept long enough.
    pub(super) fn free_place(&mut self, now: Instant, id: &UserId, out: &mut Vec<Output>) {
        let Some(conferences) = &self.conferences else { return };
        match conferences.place(id) {
            Some(call) if conferences.is_call() => self.end_call(now, call, id, out),
            Some(_) => self.leave_meeting(now, id, out),
            None => {}
        }
    }

    /// A member enters the meeting, or comes back to its call, or a participant sends other tracks.
    pub(super) fn participate(
        &mut self,
        now: Instant,
        (id, conn): (&UserId, ConnId),
        sends: Vec<TrackName>,
        out: &mut Vec<Output>,
    ) {
        let Some(conferences) = &mut self.conferences else { return };
        let Some(member) = self.members.get_mut(id) else { return };
        if conferences.get(id).is_some() {
            let is_restless = member.pace.changes.take(now).is_err();
            let wait = if is_restless { RESTLESS_INTERVAL } else { Duration::ZERO };
            return conferences.set_sends(now, id, sends, wait);
        }
        let place = conferences.place(id);
        let here = (!conferences.is_call()).then(|| conferences.at(id));
        // Nobody takes part in a lecture itself.
        let here = here.filter(|at| conferences.conference(*at).is_some());
        let Some(conference) = place.or(here) else {
            let rule = match conferences.kind {
                RoomKind::Lecture => "you are in no breakout room",
                RoomKind::Meeting | RoomKind::Call => "you are in no call: call somebody",
            };
            return refuse(conn, ErrorCode::NotAllowed, rule, out);
        };
        let most = conferences.most_for(conference, member.user.moderates);
        if place.is_none() && conferences.conference(conference).is_none_or(|meeting| meeting.taken() >= most) {
            return meeting_full(most).answer(conn, out);
        }
        if let Err(refusal) = self.take_call(now, id) {
            return refusal.answer(conn, out);
        }
        let (Some(conferences), Some(member)) = (&mut self.conferences, self.members.get_mut(id)) else { return };
        if conferences.is_meeting() || conferences.is_call() {
            member.media = Media::Connected;
        }
        conferences.enter(now, conference, (id, &member.user.nickname), sends);
        let was_rung = conferences.rings.stop(id).is_some();
        if was_rung && conferences.is_meeting() && conferences.rings.is_empty() {
            conferences.info.changed(now, Duration::ZERO);
        }
        // Somebody meets again in a room whose meeting was over.
        self.retention.entered(self.meeting_or_call().is_some());
        self.tell_files(id, out);
    }

    /// A participant leaves the meeting, or a place is not kept any longer.
    pub(super) fn leave_meeting(&mut self, now: Instant, id: &UserId, out: &mut Vec<Output>) {
        let Some(conferences) = &mut self.conferences else { return };
        conferences.leave(now, id);
        if conferences.is_meeting()
            && let Some(member) = self.members.get_mut(id)
        {
            member.media = Media::Missing { since: now };
        }
        self.end_unused_host(out);
    }

    /// Carries out an order that only the owner of a meeting or call room gives.
    pub(super) fn owner_order(
        &mut self,
        now: Instant,
        id: &UserId,
        order: &RoomOrder,
        limits: &RoomLimits,
        out: &mut Vec<Output>,
    ) -> Result<(), RoomRefusal> {
        let refusal = |message: &str| Err(RoomRefusal::new(ErrorCode::NotAllowed, message));
        if self.kind() == RoomKind::Lecture {
            return self.breakout_order(now, id, order, limits, out);
        }
        let Some(conferences) = &mut self.conferences else { return Ok(()) };
        if !conferences.is_owner(id) {
            return refusal("only the owner of the room gives this order");
        }
        match order {
            RoomOrder::HandOver { target_uid } if !self.members.contains_key(target_uid) => {
                let message = format!("user {target_uid} is not in the room");
                return Err(RoomRefusal::new(ErrorCode::UnknownTarget, message));
            }
            RoomOrder::HandOver { target_uid } => self.set_owner(now, Some(target_uid.clone()), limits, out),
            RoomOrder::Rename { name } => self.rename(now, name),
            RoomOrder::End => self.end_conferences(now, id, out),
            RoomOrder::Spotlight { .. } | RoomOrder::SpotlightOff { .. } | RoomOrder::RestrictSpotlight { .. } => {
                self.spotlight_order(now, order)?;
            }
            order => return self.carry_out_breakouts(now, id, order, limits, out),
        }
        Ok(())
    }

    /// Ends the meeting, or all calls. The members stay.
    fn end_conferences(&mut self, now: Instant, by: &UserId, out: &mut Vec<Output>) {
        let Some(conferences) = &mut self.conferences else { return };
        let callers: Vec<UserId> = conferences.rings.callers();
        for caller in callers {
            self.stop_calling(now, &caller, out);
        }
        let Some(conferences) = &self.conferences else { return };
        if conferences.is_meeting() {
            conferences.holders().iter().for_each(|user| self.leave_meeting(now, user, out));
            self.end_breakouts(now, out);
        } else {
            conferences.ids().into_iter().for_each(|call| self.end_call(now, call, by, out));
        }
        self.retention.ended(now);
        // What was decided about people counts until now.
        self.gate.forget_people();
        self.members.values().for_each(|member| self.gate.admit(&member.newcomer.session));
    }

    fn rename(&mut self, now: Instant, name: &RoomName) {
        self.name = Some(name.clone());
        self.conferences.iter_mut().for_each(|conferences| conferences.info.changed(now, Duration::ZERO));
    }

    /// Of the members that are connected, or else of all, the one that is there for longest.
    fn next_owner(&self) -> Option<UserId> {
        let conferences = self.conferences.as_ref()?;
        let members = || conferences.arrivals().filter_map(|user| Some((user, self.members.get(user)?)));
        let connected = members().find(|(_, member)| member.conn().is_some());
        connected.or_else(|| members().next()).map(|(user, _)| user.clone())
    }

    /// Somebody else owns the room: it moderates, and the last owner only if it has the right anyway.
    fn set_owner(&mut self, now: Instant, owner: Option<UserId>, limits: &RoomLimits, out: &mut Vec<Output>) {
        let Some(conferences) = &mut self.conferences else { return };
        let before = std::mem::replace(&mut conferences.owner, owner.clone());
        conferences.info.changed(now, Duration::ZERO);
        for id in [before, owner].into_iter().flatten() {
            let Some(conferences) = &mut self.conferences else { return };
            let Some(member) = self.members.get_mut(&id) else { continue };
            let moderates = member.newcomer.moderates || conferences.is_owner(&id);
            if std::mem::replace(&mut member.user.moderates, moderates) == moderates {
                continue;
            }
            let (user, conn) = (member.user.clone(), member.conn());
            conferences.chat_of(&id).into_iter().for_each(|talk| talk.joined(&user));
            self.tell_joined(now, &user, limits, out);
            if let Some(conn) = conn.filter(|_| moderates) {
                self.tell_order(conn, &user, out);
            }
        }
    }

    /// What a member that moderates from now on has to know.
    fn tell_order(&mut self, conn: ConnId, user: &User, out: &mut Vec<Output>) {
        self.tell_gate(conn, &user.user_id, out);
        if !self.lobby.is_empty() {
            let message = self.lobby.list();
            self.send_to_moderators(message, out);
        }
    }

    /// What the members know of the room; none in a lecture.
    pub(super) fn room_info(&self, limits: &RoomLimits) -> Option<RoomInfo> {
        let conferences = self.meeting_or_call()?;
        let is_meeting = conferences.is_meeting();
        let most = match conferences.kind {
            RoomKind::Meeting if limits.max_media_rooms > 0 => MAX_PARTICIPANTS,
            RoomKind::Meeting => MAX_MESH,
            _ => 2,
        };
        Some(RoomInfo {
            kind: conferences.kind,
            name: self.name.clone(),
            owner: conferences.owner.clone(),
            is_locked: self.gate.is_locked,
            is_calling: is_meeting && !conferences.rings.is_empty(),
            is_spotlight_restricted: conferences.is_spotlight_restricted,
            most,
        })
    }

    /// The deadlines of a meeting or call room.
    pub(super) fn tick_conferences(&mut self, now: Instant, out: &mut Vec<Output>) {
        self.end_rings(now, out);
        let lapsed = self.conferences.as_ref().map(|conferences| conferences.lapsed(now)).unwrap_or_default();
        lapsed.iter().for_each(|user| self.free_place(now, user, out));
        self.tick_chat(now, out);
        self.expire_files(now, out);
    }

    /// Tells the members what has changed and is due.
    pub(super) fn tell_news(&mut self, now: Instant, limits: &RoomLimits, out: &mut Vec<Output>) {
        let interval = Presence::interval(self.members.len(), limits);
        let Some(conferences) = &mut self.conferences else { return };
        let (has_info, lists) = (conferences.info.take(now, interval), conferences.take_lists(now, interval));
        self.tell_places(now, interval, out);
        if has_info && let Some(info) = self.room_info(limits) {
            self.broadcast(ServerMessage::Room(info), None, out);
        }
        for (id, list) in lists {
            if self.kind() != RoomKind::Call {
                self.tell_place(id, ServerMessage::Participants(list), out);
                continue;
            }
            let participants = list.participants.iter().filter_map(|known| self.members.get(&known.user_id));
            let to: Vec<ConnId> = participants.filter_map(Member::conn).collect();
            if !to.is_empty() {
                out.push(Output::Broadcast { to, message: ServerMessage::Participants(list) });
            }
        }
    }
}

impl Conferences {
    /// The most participants of the meeting or of a breakout room at present. The server carries [`MAX_PARTICIPANTS`]
    /// of all of them together.
    pub(super) fn most_now(&self, id: u32) -> usize {
        match self.conference(id) {
            Some(conference) if conference.media == MediaHost::Server => {
                (MAX_PARTICIPANTS + conference.taken()).saturating_sub(self.on_server())
            }
            _ => MAX_MESH,
        }
    }

    /// The most participants for a newcomer that moderates, or does not. In a lecture, a breakout room of as many as
    /// connect to each other takes the teacher, too; at the server, the students leave a place.
    pub(super) fn most_for(&self, id: u32, moderates: bool) -> usize {
        let is_mesh = self.conference(id).is_none_or(|conference| conference.media != MediaHost::Server);
        self.most_now(id) + usize::from(moderates && is_mesh && self.kind == RoomKind::Lecture)
    }
}

/// The refusal of a meeting that takes no more participants.
pub(super) fn meeting_full(most: usize) -> RoomRefusal {
    RoomRefusal::new(ErrorCode::MeetingFull, format!("the meeting is full: it takes {most} participants at present"))
}

impl super::Meetings {
    /// Whether the client may open meeting and call rooms, and own them.
    pub(super) fn may_open(self, newcomer: &Newcomer) -> bool {
        match self {
            Self::Anyone => true,
            Self::Teachers => newcomer.may_teach,
            Self::Off => false,
        }
    }
}
