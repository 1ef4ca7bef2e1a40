//! Admission to a room: identity, gate, lobby, place, and what everybody is told.

use std::time::{Duration, Instant};

use super::conference::Conferences;
use super::member::{Applicant, Connection, Media, Member, Opening};
use super::members::Room;
use super::owner::Owner;
use super::pending::Mailbox;
use super::places::{Place, place_for};
use super::{ConnId, Newcomer, Output, RoomLimits, RoomRefusal};
use crate::access::Attempts;
use crate::id::{RoomId, UserId, count_of_students, named};
use crate::protocol::{ErrorCode, LeaveReason, MAX_LISTED_USERS, RoomKind, RoomOrder, ServerMessage};

impl Room {
    /// Lets the applicant in, or into the lobby. After a refusal nothing has changed, except for attempts.
    pub(super) fn join(
        &mut self,
        now: Instant,
        applicant: Applicant,
        attempts: &mut Attempts,
        limits: &RoomLimits,
        out: &mut Vec<Output>,
    ) -> Result<(), RoomRefusal> {
        let newcomer = &applicant.newcomer;
        let passes = newcomer.passes_gate() || self.knows(newcomer);
        if !newcomer.passes_gate() && self.gate.refuses(newcomer) {
            let message = format!("{} has put you out of room {}", self.keeper(), newcomer.room);
            return Err(RoomRefusal::new(ErrorCode::Removed, message));
        }
        if !passes {
            self.gate.check(now, newcomer, self.keeper(), attempts)?;
        }
        self.check_id(now, newcomer)?;
        self.check_publisher(now, newcomer)?;
        if !passes && self.gate.has_lobby {
            return self.wait(now, applicant, limits, out);
        }
        self.admit(now, applicant, limits, out)
    }

    /// Whether the client is in the room, or was admitted to it in this lecture.
    pub(super) fn knows(&self, newcomer: &Newcomer) -> bool {
        self.gate.admitted(&newcomer.session)
            || self.members.get(&newcomer.user).is_some_and(|member| member.newcomer.is_same_client(newcomer))
    }

    /// Whether a member may come back once more; `None` for a client that is no member.
    pub(super) fn comes_back(&mut self, now: Instant, newcomer: &Newcomer) -> Option<Result<(), Duration>> {
        let member = self.members.get_mut(&newcomer.user)?;
        member.newcomer.is_same_client(newcomer).then(|| member.returns.take(now))
    }

    /// Lets in a client that has passed the gate, if there is a place.
    pub(super) fn admit(
        &mut self,
        now: Instant,
        applicant: Applicant,
        limits: &RoomLimits,
        out: &mut Vec<Output>,
    ) -> Result<(), RoomRefusal> {
        // Checked first, because an invalid code refuses the publisher.
        let settled = self.take_settings(&applicant.newcomer)?;
        self.make_place(now, &applicant.newcomer, limits, out)?;
        if let Some(opening) = applicant.opens {
            self.open_conference(now, opening, &applicant.newcomer)?;
        }
        self.free_id(now, &applicant.newcomer, limits, out);
        if settled {
            self.govern(now, limits, out);
        }
        self.enter(now, applicant, limits, out);
        Ok(())
    }

    /// Checks that the user id is free for the newcomer.
    fn check_id(&self, now: Instant, newcomer: &Newcomer) -> Result<(), RoomRefusal> {
        let id = &newcomer.user;
        let taken = || {
            let room = &newcomer.room;
            let message = if newcomer.publishes {
                format!("somebody teaches in room {room} as {id}, choose another --room or ask them to leave")
            } else {
                format!("user {id} is already in room {room}, choose another --user")
            };
            RoomRefusal::new(ErrorCode::UserIdTaken, message)
        };
        if self.edges.contains(id) || self.owner.as_ref().is_some_and(|owner| owner.keeps_id_from(newcomer)) {
            return Err(taken());
        }
        let gives_way = |reserved: bool| newcomer.takes_id_from_guests() && !reserved;
        if let Some(member) = self.members.get(id).filter(|member| !member.newcomer.is_same_client(newcomer))
            && (member.user.publishes || !gives_way(member.newcomer.reserved))
        {
            // The user id of a lost connection may soon be free.
            return Err(match member.lost_until() {
                Some(until) => taken().after(until.saturating_duration_since(now)),
                None => taken(),
            });
        }
        match self.lobby.get(id).map(|waiting| &waiting.newcomer) {
            Some(waiting) if !waiting.is_same_client(newcomer) && !gives_way(waiting.reserved) => Err(taken()),
            _ => Ok(()),
        }
    }

    /// Checks that nobody else owns the room of a publisher, or publishes in it.
    fn check_publisher(&self, now: Instant, newcomer: &Newcomer) -> Result<(), RoomRefusal> {
        if !newcomer.publishes {
            return Ok(());
        }
        let room = &newcomer.room;
        if let Some(kind) = self.meeting_or_call().map(|conferences| conferences.kind) {
            return Err(wrong_kind(room, kind));
        }
        let owns = self.owner.as_ref().is_none_or(|owner| owner.is(newcomer));
        let publisher = self.publisher.as_ref().and_then(|id| self.members.get(id));
        if let Some(member) = publisher.filter(|member| !owns || member.user.user_id != newcomer.user) {
            let teacher = named(&member.user.user_id, member.user.nickname.as_str());
            let message = format!("{teacher} teaches in room {room}, choose another --room or ask them to leave");
            let refusal = RoomRefusal::new(ErrorCode::PublisherExists, message);
            return Err(match member.lost_until().filter(|_| owns) {
                Some(until) => refusal.after(until.saturating_duration_since(now)),
                None => refusal,
            });
        }
        if !owns {
            let message = format!("room {room} belongs to another teacher, choose another --room");
            return Err(RoomRefusal::new(ErrorCode::PublisherExists, message));
        }
        Ok(())
    }

    /// Puts the applicant into the lobby.
    fn wait(
        &mut self,
        now: Instant,
        applicant: Applicant,
        limits: &RoomLimits,
        out: &mut Vec<Output>,
    ) -> Result<(), RoomRefusal> {
        let (conn, room_id) = (applicant.conn, applicant.newcomer.room.clone());
        let waiting = self.lobby.get(&applicant.newcomer.user);
        if waiting.is_some_and(|waiting| waiting.newcomer.is_same_client(&applicant.newcomer)) {
            if let Some(older) = self.lobby.reconnect(now, applicant, limits.lobby_interval) {
                replace(older.conn, &older.newcomer, true, out);
            }
        } else {
            if let Some(displaced) = self.lobby.make_space(&applicant.newcomer)? {
                let message = format!("too many clients of your network wait for room {room_id}");
                RoomRefusal::new(ErrorCode::RoomFull, message).close(displaced.conn, out);
            }
            self.free_id(now, &applicant.newcomer, limits, out);
            self.lobby.put(now, applicant, limits.lobby_interval);
        }
        self.retention.entered(false);
        let (room_name, kind) = (self.name.clone(), self.kind());
        out.push(Output::Send { to: conn, message: ServerMessage::Waiting { room_id, room_name, kind } });
        Ok(())
    }

    /// Takes the settings of a new publisher; returns whether the members have to be judged by the gate.
    fn take_settings(&mut self, newcomer: &Newcomer) -> Result<bool, RoomRefusal> {
        if !newcomer.publishes {
            return Ok(false);
        }
        // A publisher that only reconnects does not undo the orders that it gave since it came.
        let is_same_process =
            self.members.get(&newcomer.user).is_some_and(|member| member.newcomer.is_same_process(newcomer));
        if let Some(settings) = newcomer.settings.as_ref().filter(|_| !self.is_governed || !is_same_process) {
            self.gate.set(settings).map_err(|error| RoomRefusal::new(ErrorCode::BadRequest, error.to_string()))?;
        }
        Ok(!std::mem::replace(&mut self.is_governed, true))
    }

    /// Judges the students who came before the publisher: the banned ones and those without the right code are out, and
    /// with a lobby they wait.
    fn govern(&mut self, now: Instant, limits: &RoomLimits, out: &mut Vec<Output>) {
        let early = self.members.iter().filter(|(_, member)| member.is_student() && !member.is_admitted);
        for id in early.map(|(id, _)| id.clone()).collect::<Vec<_>>() {
            let Some(member) = self.members.get_mut(&id) else { continue };
            if self.gate.refuses(&member.newcomer) {
                // This fails only for a user who is not in the room.
                let _ = self.expel(now, &id, true, limits, out);
                continue;
            }
            let code = self.gate.code.as_ref().filter(|_| member.newcomer.identity.is_none());
            if code.is_some_and(|code| member.newcomer.code.as_ref().is_none_or(|given| !code.matches(given))) {
                let message = "the room has a join code now: ask the teacher for it, and add --code CODE";
                let refusal = RoomRefusal::new(ErrorCode::CodeRequired, message);
                self.put_out(now, &id, (refusal, LeaveReason::Removed), limits, out);
            } else if self.gate.has_lobby {
                self.move_to_lobby(now, &id, limits, out);
            } else {
                member.is_admitted = true;
                self.gate.admit(&member.newcomer.session);
            }
        }
    }

    /// The client opens a meeting or a call room, with its settings.
    fn open_conference(&mut self, now: Instant, opening: Opening, newcomer: &Newcomer) -> Result<(), RoomRefusal> {
        if let Some(settings) = &newcomer.settings {
            self.gate.set(settings).map_err(|error| RoomRefusal::new(ErrorCode::BadRequest, error.to_string()))?;
        }
        let Opening { kind, last_entry } = opening;
        self.name = newcomer.room_name.clone().or(self.name.take());
        self.become_conference(now, Conferences::new(kind, last_entry, newcomer.may_teach));
        Ok(())
    }

    /// Makes a place for a student in a full room, if one can be made.
    pub(super) fn make_place(
        &mut self,
        now: Instant,
        newcomer: &Newcomer,
        limits: &RoomLimits,
        out: &mut Vec<Output>,
    ) -> Result<(), RoomRefusal> {
        let has_place = self.members.get(&newcomer.user).is_some_and(Member::has_place);
        let taken = self.members.values().filter(|member| member.has_place()).count();
        if newcomer.passes_gate() || has_place || taken < limits.max_room_users {
            return Ok(());
        }
        let is_taught = self.publisher.as_ref().and_then(|id| self.members.get(id)).is_some_and(|p| p.conn().is_some());
        let is_taught = is_taught || self.host.is_some() || self.is_meeting() && self.has_conference_host();
        match place_for(now, newcomer, self.members.iter(), is_taught, limits.media_within) {
            Place::Of(displaced) => {
                let displaced = displaced.clone();
                let other = if self.meeting_or_call().is_some() { "member" } else { "student" };
                let message =
                    format!("the room is full, and your place went to another {other}, as your media did not run");
                let refusal = RoomRefusal::new(ErrorCode::RoomFull, message).after(limits.media_within);
                self.put_out(now, &displaced, (refusal, LeaveReason::Removed), limits, out);
                Ok(())
            }
            place => {
                let members = || format!("{taken} members");
                let most = self.meeting_or_call().map_or_else(|| count_of_students(taken), |_| members());
                let message = format!("room {} is full: it takes {most}", newcomer.room);
                let refusal = RoomRefusal::new(ErrorCode::RoomFull, message);
                Err(if let Place::After(wait) = place { refusal.after(wait) } else { refusal })
            }
        }
    }

    /// Takes the user id from guests, for a client with a better right to it.
    fn free_id(&mut self, now: Instant, newcomer: &Newcomer, limits: &RoomLimits, out: &mut Vec<Output>) {
        let id = &newcomer.user;
        let lost_id = || RoomRefusal::new(ErrorCode::UserIdTaken, format!("user id {id} belongs to somebody else"));
        if self.members.get(id).is_some_and(|member| !member.newcomer.is_same_client(newcomer)) {
            self.put_out(now, id, (lost_id(), LeaveReason::Removed), limits, out);
        }
        if let Some(waiting) = self.lobby.take(now, id, limits.lobby_interval) {
            if waiting.newcomer.is_same_client(newcomer) {
                replace(waiting.conn, newcomer, waiting.newcomer.is_same_process(newcomer), out);
            } else {
                lost_id().close(waiting.conn, out);
            }
        }
    }

    /// Drops the oldest lost connection when there are as many of them as places.
    fn drop_ghost(&mut self, now: Instant, limits: &RoomLimits, out: &mut Vec<Output>) {
        if self.members.len() >= 2 * limits.max_room_users {
            let ghosts = self.members.iter().filter(|(_, member)| member.is_student() && !member.has_place());
            let oldest = ghosts.filter_map(|(id, member)| Some((member.lost_until()?, id))).min();
            if let Some(oldest) = oldest.map(|(_, id)| id.clone()) {
                let refusal = RoomRefusal::new(ErrorCode::RoomFull, "the room is full");
                self.put_out(now, &oldest, (refusal, LeaveReason::Lost), limits, out);
            }
        }
    }

    /// The applicant becomes a member.
    pub(super) fn enter(&mut self, now: Instant, applicant: Applicant, limits: &RoomLimits, out: &mut Vec<Output>) {
        self.drop_ghost(now, limits, out);
        let (conn, newcomer) = (applicant.conn, applicant.newcomer.clone());
        let is_admitted = self.is_governed || self.gate.admitted(&newcomer.session);
        let host = self.change_host(&newcomer);
        let mut member = Member::new(now, applicant, is_admitted);
        member.user.epoch = self.shown_epoch(&newcomer, limits);
        self.conference_arrived(now, &mut member, limits);
        let id = newcomer.user.clone();
        let mut waiting = Mailbox::default();
        let mut news = true;
        if let Some(old) = self.members.remove(&id) {
            let is_same_process = old.newcomer.is_same_process(&newcomer);
            match old.connection {
                Connection::Open(older) => replace(older, &newcomer, is_same_process, out),
                // The waiting messages belong to a negotiation with the previous process.
                Connection::Lost { mailbox, .. } if is_same_process => waiting = mailbox,
                Connection::Lost { .. } => {}
            }
            (member.returns, member.pace) = (old.returns, old.pace);
            if is_same_process {
                news = old.user != member.user;
                let candidates = old.candidates;
                member = Member { since: old.since, media: old.media, candidates, ..member };
            } else if newcomer.wants_host() && self.host.is_some() {
                // The media of the students goes on.
                (news, member.since) = (old.user != member.user, old.since);
            } else {
                self.tell_left(now, &old.user, LeaveReason::Replaced, limits, out);
            }
        }

        self.retention.entered(newcomer.publishes);
        if newcomer.publishes {
            if self.publisher.as_ref() != Some(&id) && self.host.is_none() {
                // From now on students can get media.
                self.forget_media(now);
            }
            self.publisher = Some(id.clone());
            self.publisher_went = None;
            self.name = newcomer.room_name.clone().or(self.name.take());
            if self.owner.as_ref().is_none_or(|owner| !owner.is_permanent()) {
                self.owner = Some(Owner::publisher(&newcomer));
            }
        }
        if member.is_admitted {
            self.gate.admit(&newcomer.session);
        }
        if self.edges.has_media(&id) {
            member.media = Media::Connected;
        }
        let user = member.user.clone();
        self.members.insert(id.clone(), member);
        self.has_partial_lists |= self.members.len() > MAX_LISTED_USERS;
        out.push(Output::Send {
            to: conn,
            message: ServerMessage::Joined {
                kind: self.kind(),
                room_id: newcomer.room.clone(),
                room_name: self.name.clone(),
                user_id: id,
                users: self.listed(&user),
                count: self.members.len(),
                publisher: self.publisher.clone(),
                publisher_went: self.publisher_went,
                // The server adds them.
                ice_servers: Vec::new(),
            },
        });
        out.extend(waiting.into_messages().into_iter().map(|message| Output::Send { to: conn, message }));
        if news {
            self.tell_joined(now, &user, limits, out);
        }
        self.host_changed(now, host, (&newcomer, user.epoch), out);
        if newcomer.publishes && !self.edges.ids().is_empty() {
            self.tell_edges(out);
        }
        self.tell_conference(now, &newcomer.user, limits, out);
        if user.moderates && !user.publishes {
            self.tell_gate(conn, &user.user_id, out);
        }
        if user.moderates && !self.lobby.is_empty() {
            let message = self.lobby.list();
            self.send_to_moderators(message, out);
        }
    }

    /// Tells a co-teacher that the room is locked or has a lobby, in the form of the orders that made it so.
    pub(super) fn tell_gate(&self, conn: ConnId, id: &UserId, out: &mut Vec<Output>) {
        let user_id = self.publisher.as_ref().unwrap_or(id);
        let orders = [
            self.gate.is_locked.then_some(RoomOrder::Lock { locked: true }),
            self.gate.has_lobby.then_some(RoomOrder::Lobby { lobby: true }),
        ];
        let told = orders.into_iter().flatten().map(|order| ServerMessage::Order { user_id: user_id.clone(), order });
        out.extend(told.map(|message| Output::Send { to: conn, message }));
    }

    /// A member has to wait until the teacher admits it.
    fn move_to_lobby(&mut self, now: Instant, id: &UserId, limits: &RoomLimits, out: &mut Vec<Output>) {
        let Some(member) = self.members.remove(id) else { return };
        self.tell_left(now, &member.user, LeaveReason::Removed, limits, out);
        let Some(conn) = member.conn() else { return };
        let (Member { newcomer, tag, .. }, opens) = (member, None);
        let (room_id, room_name, kind) = (newcomer.room.clone(), self.name.clone(), self.kind());
        out.push(Output::Send { to: conn, message: ServerMessage::Waiting { room_id, room_name, kind } });
        self.lobby.put(now, Applicant { conn, newcomer, tag, opens }, limits.lobby_interval);
    }
}

/// The refusal of a publisher, as the room is a meeting or a call room.
pub(super) fn wrong_kind(room: &RoomId, kind: RoomKind) -> RoomRefusal {
    let (what, verb) = if kind == RoomKind::Call { ("for calls", "call") } else { ("a meeting", "meet") };
    let message =
        format!("room {room} is {what}, where nobody teaches: use `classroom {verb}`, or choose another room");
    RoomRefusal::new(ErrorCode::WrongKind, message)
}

/// Closes the older connection of a client. The same process has given that attempt up, and the attempt arrived late
/// over a path that works again; the process must not read `replaced`, which is final. Epoch 0 means that the epoch is
/// unknown, so the process may be another.
fn replace(older: ConnId, newcomer: &Newcomer, is_same_process: bool, out: &mut Vec<Output>) {
    if is_same_process && newcomer.epoch != 0 {
        out.push(Output::Close { conn: older, code: None });
    } else {
        let message = format!("user {} joined room {} again over a newer connection", newcomer.user, newcomer.room);
        RoomRefusal::new(ErrorCode::Replaced, message).close(older, out);
    }
}
