//! Breakout rooms: the owner splits a meeting, and the members are moved between its conferences. So does the teacher
//! of a lecture (`lecture_breakouts`), whose word is that of an owner here.
//!
//! - A breakout room is one more conference of the room, so nobody can join one, and gate, owner and orders stay those
//!   of the room. Participants reach only those of the same conference (`pairs`, `conference_host`).
//! - Members that moderate stay in the meeting, and visit any breakout room. The others have one of their own, and go
//!   there and back to the meeting.
//! - A member that comes back goes where it was; a newcomer is assigned to the smallest breakout room.
//! - When the time is over, everybody is in the meeting again. The owner's departure sets such a time.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::division::{Division, MEETING};
use super::meeting::meeting_full;
use super::member::{Media, Member};
use super::members::Room;
use super::{ConnId, Output, RoomLimits, RoomRefusal};
use crate::id::{RoomName, UserId};
use crate::protocol::channel::ChatText;
use crate::protocol::{
    ErrorCode, MAX_BREAKOUT_S, MAX_BREAKOUTS, MAX_MESH, MIN_BREAKOUTS, MediaHost, MediaMove, Participants, RECALL_S,
    RoomKind, RoomOrder, ServerMessage, TrackName,
};

/// A participant between two conferences: what it sends, and where the media of the last one went.
type Carried = (Vec<TrackName>, MediaHost, Option<MediaMove>);

impl Room {
    /// Carries out an order of the owner, or of the teacher, about breakout rooms.
    pub(super) fn carry_out_breakouts(
        &mut self,
        now: Instant,
        id: &UserId,
        order: &RoomOrder,
        limits: &RoomLimits,
        out: &mut Vec<Output>,
    ) -> Result<(), RoomRefusal> {
        match order {
            RoomOrder::Split { rooms, assign, limit_s } => {
                let most_carried = self.most_carried(limits);
                self.split(now, id, (*rooms, assign, *limit_s, most_carried), out)
            }
            RoomOrder::Assign { target_uid, breakout } => self.assign(now, target_uid, *breakout, out),
            RoomOrder::NameBreakout { breakout, name } => self.name_breakout(now, id, (*breakout, name.as_ref()), out),
            RoomOrder::Announce { text } => self.announce(now, id, text, out),
            RoomOrder::Recall { within_s } => self.recall(now, *within_s, out),
            _ => Ok(()),
        }
    }

    /// Splits the room, or splits it anew. `most_carried` as in [`Division`].
    fn split(
        &mut self,
        now: Instant,
        id: &UserId,
        (rooms, assign, limit_s, most_carried): (u32, &BTreeMap<UserId, u32>, Option<u32>, Option<usize>),
        out: &mut Vec<Output>,
    ) -> Result<(), RoomRefusal> {
        let refusal = |message: String| Err(RoomRefusal::new(ErrorCode::NotAllowed, message));
        if self.kind() == RoomKind::Call {
            return refusal("a room for calls has no breakout rooms".into());
        }
        if !(MIN_BREAKOUTS..=MAX_BREAKOUTS).contains(&rooms) || rooms as usize > self.members.len() {
            let most = MAX_BREAKOUTS.min(self.members.len().try_into().unwrap_or(MAX_BREAKOUTS));
            return refusal(format!(
                "a room is split into {MIN_BREAKOUTS} to {MAX_BREAKOUTS} breakout rooms, and not into more than it has \
                 members: at present {most}"
            ));
        }
        if assign.values().any(|breakout| *breakout > rooms) {
            return refusal(format!("assign names a breakout room after number {rooms}"));
        }
        if limit_s.is_some_and(|limit| !(1..=MAX_BREAKOUT_S).contains(&limit)) {
            return refusal(format!("limitS must be from 1 to {MAX_BREAKOUT_S}"));
        }
        let ends = limit_s.map(|limit| now + Duration::from_secs(limit.into()));
        let earlier = self.conferences.as_ref().and_then(|conferences| conferences.division.as_ref());
        let division = Division::new(now, (rooms, ends, most_carried), assign, &self.members, earlier);
        self.check_lecture_fits(&division)?;
        self.take_call(now, id)?;
        self.begin_breakouts();
        let Some(conferences) = &mut self.conferences else { return Ok(()) };
        let chats: Vec<_> = (1..=rooms).map(|_| conferences.chat_of_breakout()).collect();
        let before = conferences.division.as_ref().map_or(0, Division::rooms);
        for (breakout, chat) in (1..).zip(chats) {
            // Another group reads neither the files nor the chat of the last one.
            conferences.files.end(breakout);
            match conferences.conference_mut(breakout) {
                Some(conference) => conference.talk = Some(chat),
                None => conferences.open(breakout, chat),
            }
        }
        let places = division.targets(&self.members);
        conferences.division = Some(division);
        let (stay, go): (Vec<_>, Vec<_>) = places.into_iter().partition(|(user, to)| conferences.at(user) == *to);
        self.move_members(now, &go, out);
        for (user, at) in stay {
            self.tell_breakouts(now, &user, out);
            if at != MEETING {
                self.enter_chat(now, &user, out);
            }
        }
        self.close_breakouts(rooms + 1..=before, out);
        Ok(())
    }

    /// Assigns a member to another breakout room, and moves it there.
    fn assign(
        &mut self,
        now: Instant,
        target: &UserId,
        breakout: u32,
        out: &mut Vec<Output>,
    ) -> Result<(), RoomRefusal> {
        let unknown = |message: String| Err(RoomRefusal::new(ErrorCode::UnknownTarget, message));
        let Some(member) = self.members.get(target) else {
            return unknown(format!("user {target} is not in the room"));
        };
        let user = member.user.clone();
        let is_full = !self.takes_student(target, breakout);
        let division = self.division_mut()?;
        if breakout > division.rooms() {
            return unknown(format!("there are {} breakout rooms", division.rooms()));
        }
        let rule = if user.moderates {
            Some(format!("user {target} moderates, and visits any breakout room without being assigned"))
        } else if !division.moves(&user) {
            Some(format!("user {target} has no page with a camera and a microphone, and stays in the lecture"))
        } else {
            let most = division.most_carried().unwrap_or_default();
            is_full.then(|| {
                format!(
                    "a breakout room takes {MAX_MESH} students, but for larger ones of {most} in all, which the server \
                     carries: choose another one"
                )
            })
        };
        if let Some(message) = rule {
            return Err(RoomRefusal::new(ErrorCode::NotAllowed, message));
        }
        division.assign(now, target, breakout);
        self.move_members(now, &[(target.clone(), breakout)], out);
        Ok(())
    }

    /// A member goes to a breakout room, or back to the meeting.
    pub(super) fn visit(&mut self, now: Instant, (id, conn): (&UserId, ConnId), breakout: u32, out: &mut Vec<Output>) {
        let refusal = match self.division_mut().map(|division| division.rooms()) {
            Err(refusal) => refusal,
            Ok(rooms) if breakout > rooms => {
                RoomRefusal::new(ErrorCode::UnknownTarget, format!("there are {rooms} breakout rooms"))
            }
            Ok(_) if !self.may_visit(id, breakout) => {
                let message = format!("you are not assigned to this breakout room: ask {}", self.keeper());
                RoomRefusal::new(ErrorCode::NotAllowed, message)
            }
            Ok(_) => match self.take_call(now, id) {
                Err(refusal) => refusal,
                Ok(()) => return self.move_members(now, &[(id.clone(), breakout)], out),
            },
        };
        refusal.answer(conn, out);
    }

    /// Whether the member may go to this breakout room.
    pub(super) fn may_visit(&self, id: &UserId, breakout: u32) -> bool {
        let Some(division) = self.conferences.as_ref().and_then(|known| known.division.as_ref()) else { return false };
        let moderates = self.members.get(id).is_some_and(|member| member.user.moderates);
        let is_own = breakout == MEETING || division.own(id) == Some(breakout);
        (moderates || is_own) && breakout <= division.rooms()
    }

    /// Says a sentence everywhere: it stands in each chat, and every member is told.
    fn announce(
        &mut self,
        now: Instant,
        id: &UserId,
        text: &ChatText,
        out: &mut Vec<Output>,
    ) -> Result<(), RoomRefusal> {
        self.division_mut()?;
        if text.is_empty() {
            return Err(RoomRefusal::new(ErrorCode::NotAllowed, "the sentence is empty"));
        }
        self.take_call(now, id)?;
        let nickname = self.members.get(id).map_or_else(|| "".into(), |member| member.user.nickname.clone());
        let Some(conferences) = &mut self.conferences else { return Ok(()) };
        let time = conferences.time;
        for breakout in conferences.ids() {
            let conference = self.conferences.as_mut().and_then(|known| known.conference_mut(breakout));
            let chat = conference.and_then(|conference| conference.talk.as_mut());
            let outputs = chat.map(|chat| chat.announce(time, (id, &nickname), text)).unwrap_or_default();
            self.send_chat(breakout, outputs, out);
        }
        let message = ServerMessage::Announcement { user_id: id.clone(), nickname, text: text.clone() };
        self.broadcast(message, None, out);
        Ok(())
    }

    /// Names a breakout room, or takes its name away.
    fn name_breakout(
        &mut self,
        now: Instant,
        id: &UserId,
        (breakout, name): (u32, Option<&RoomName>),
        out: &mut Vec<Output>,
    ) -> Result<(), RoomRefusal> {
        let rooms = self.division_mut()?.rooms();
        if !(1..=rooms).contains(&breakout) {
            let message = format!("there are {rooms} breakout rooms");
            return Err(RoomRefusal::new(ErrorCode::UnknownTarget, message));
        }
        // Everybody is told.
        self.take_call(now, id)?;
        self.division_mut()?.name(breakout, name);
        self.tell_all_breakouts(now, out);
        Ok(())
    }

    /// Calls everybody back. The next tick moves them, also at once.
    fn recall(&mut self, now: Instant, within_s: u32, out: &mut Vec<Output>) -> Result<(), RoomRefusal> {
        let within = Duration::from_secs(within_s.min(MAX_BREAKOUT_S).into());
        self.division_mut()?.recall(now + within);
        self.tell_all_breakouts(now, out);
        Ok(())
    }

    /// The owner, or the teacher, has left the room for good: nobody else knows what the breakout rooms are for.
    pub(super) fn owner_left_breakouts(&mut self, now: Instant, out: &mut Vec<Output>) {
        let until = now + Duration::from_secs(RECALL_S.into());
        let Ok(division) = self.division_mut() else { return };
        if division.ends().is_none_or(|ends| ends > until) {
            division.recall(until);
            self.tell_all_breakouts(now, out);
        }
    }

    /// Moves everybody back once the time is over.
    pub(super) fn tick_breakouts(&mut self, now: Instant, out: &mut Vec<Output>) {
        if self.division_mut().is_ok_and(|division| division.ends().is_some_and(|ends| ends <= now)) {
            self.end_breakouts(now, out);
        }
    }

    /// Whether the time is over at `now`, and more participants come back than connect to each other.
    pub(super) fn return_needs_server(&self, now: Instant) -> bool {
        let Some(conferences) = self.conferences.as_ref().filter(|conferences| conferences.division.is_some()) else {
            return false;
        };
        let ends = conferences.division.as_ref().and_then(Division::ends);
        let is_mesh = conferences.conference(MEETING).is_some_and(|meeting| meeting.media != MediaHost::Server);
        ends.is_some_and(|ends| ends <= now) && is_mesh && conferences.participants() > MAX_MESH
    }

    /// Moves everybody back, and ends the breakout rooms.
    pub(super) fn end_breakouts(&mut self, now: Instant, out: &mut Vec<Output>) {
        let Ok(division) = self.division_mut() else { return };
        let rooms = division.close();
        let Some(conferences) = &self.conferences else { return };
        let away = conferences.arrivals().filter(|user| conferences.at(user) != MEETING);
        let moves: Vec<(UserId, u32)> = away.map(|user| (user.clone(), MEETING)).collect();
        self.move_members(now, &moves, out);
        self.tell_all_breakouts(now, out);
        self.close_breakouts(1..=rooms, out);
        self.conferences.iter_mut().for_each(|conferences| conferences.division = None);
    }

    /// A member has left the room, and was here. Of an empty breakout room, nothing is kept that was written in it.
    pub(super) fn left_breakout(&mut self, now: Instant, was_at: u32) {
        let is_empty = self.members_at(was_at).next().is_none();
        let Some(conferences) = &mut self.conferences else { return };
        let Some(division) = &mut conferences.division else { return };
        division.changed(now);
        if was_at == MEETING || !is_empty {
            return;
        }
        let chat = conferences.chat_of_breakout();
        if let Some(breakout) = conferences.conference_mut(was_at) {
            breakout.talk = Some(chat);
        }
    }

    /// Moves members to other conferences; a participant goes on there. All leave before the first one enters, so that
    /// two full breakout rooms can change places.
    fn move_members(&mut self, now: Instant, moves: &[(UserId, u32)], out: &mut Vec<Output>) {
        let mut moved: Vec<(&UserId, u32, Option<Carried>)> = Vec::new();
        for (user, to) in moves {
            let from = self.place_of(user);
            if from == *to || !self.members.contains_key(user) {
                continue;
            }
            self.leave_chat(now, user, out);
            let Some(conferences) = &mut self.conferences else { return };
            let carried = conferences.of(user).and_then(|conference| {
                let sends = conference.get(user)?.sends.clone();
                Some((sends, conference.media, conference.moved))
            });
            // A page that is loaded again at this moment enters by itself.
            conferences.leave(now, user);
            conferences.changed(now, from, Duration::ZERO);
            conferences.division.iter_mut().for_each(|division| division.place(now, user, *to));
            self.left_breakout(now, from);
            moved.push((user, *to, carried));
        }
        for (user, to, carried) in moved {
            self.tell_breakouts(now, user, out);
            self.enter_chat(now, user, out);
            if let Some(conferences) = &mut self.conferences {
                conferences.changed(now, to, Duration::ZERO);
            }
            if let Some(carried) = carried {
                self.carry_on(now, user, to, carried, out);
            }
        }
        self.end_unused_host(out);
    }

    /// A participant that was moved takes part again, but for the way back to a lecture. The first one of a conference
    /// takes its media along.
    fn carry_on(&mut self, now: Instant, user: &UserId, to: u32, (sends, media, why): Carried, out: &mut Vec<Output>) {
        let is_large = self.has_many_students(to);
        let Some(conferences) = &mut self.conferences else { return };
        let takes_along = conferences.is_meeting() || is_large;
        let Some(conference) = conferences.conference_mut(to) else { return };
        if takes_along && conference.taken() == 0 && conference.media == MediaHost::Publisher {
            (conference.media, conference.moved) = (media, why);
        }
        let Some(member) = self.members.get_mut(user) else { return };
        let most = conferences.most_for(to, member.user.moderates);
        if conferences.conference(to).is_some_and(|conference| conference.taken() < most) {
            conferences.enter(now, to, (user, &member.user.nickname), sends);
            return self.tell_files(user, out);
        }
        if is_large {
            // The page asks for a place, and the room moves to the server for that.
            return;
        }
        if conferences.is_meeting() {
            member.media = Media::Missing { since: now };
        }
        if let Some(conn) = member.conn() {
            meeting_full(most).answer(conn, out);
        }
    }

    /// A member is in the chat of the conference to which it has come.
    fn enter_chat(&mut self, now: Instant, user: &UserId, out: &mut Vec<Output>) {
        let Some(member) = self.members.get(user) else { return };
        let chat = self.conferences.as_mut().and_then(|conferences| conferences.chat_of(user));
        chat.into_iter().for_each(|chat| chat.joined(&member.user));
        self.open_chat(now, user, out);
    }

    /// Ends breakout rooms that nobody is in. The media host may still know of participants there.
    fn close_breakouts(&mut self, rooms: std::ops::RangeInclusive<u32>, out: &mut Vec<Output>) {
        for breakout in rooms {
            if let Some(to) = self.conference_host() {
                let message = ServerMessage::Participants(Participants { breakout, ..Participants::default() });
                out.push(Output::Send { to, message });
            }
            self.conferences.iter_mut().for_each(|conferences| conferences.remove(breakout));
        }
    }

    /// Tells a member of the breakout rooms, if there are any.
    pub(super) fn tell_breakouts(&self, now: Instant, id: &UserId, out: &mut Vec<Output>) {
        let division = self.conferences.as_ref().and_then(|conferences| conferences.division.as_ref());
        let Some((division, member)) = division.zip(self.members.get(id)) else { return };
        if let Some(to) = member.conn() {
            let message = ServerMessage::Breakouts(division.seen_by(now, member, &self.members));
            out.push(Output::Send { to, message });
        }
    }

    fn tell_all_breakouts(&self, now: Instant, out: &mut Vec<Output>) {
        self.members.keys().for_each(|user| self.tell_breakouts(now, user, out));
    }

    /// Tells those who moderate where everybody is, and the others who is with them, if that has changed.
    pub(super) fn tell_places(&mut self, now: Instant, interval: Duration, out: &mut Vec<Output>) {
        if self.division_mut().is_ok_and(|division| division.take_news(now, interval)) {
            // Whoever stays in a lecture is told nothing of the others.
            let is_told = |user: &UserId| self.is_meeting() || self.place_of(user) != MEETING;
            let told = self.members.iter().filter(|(user, member)| member.user.moderates || is_told(user));
            told.for_each(|(user, _)| self.tell_breakouts(now, user, out));
        }
    }

    /// Tells the members that are in a conference, and the media host of the conferences.
    pub(super) fn tell_place(&self, at: u32, message: ServerMessage, out: &mut Vec<Output>) {
        let host = self.conference_host();
        let to: Vec<ConnId> = self.members_at(at).filter_map(|(_, member)| member.conn()).chain(host).collect();
        if !to.is_empty() {
            out.push(Output::Broadcast { to, message });
        }
    }

    /// The members that are in a conference of the room.
    pub(super) fn members_at(&self, at: u32) -> impl Iterator<Item = (&UserId, &Member)> {
        self.members.iter().filter(move |(user, _)| self.place_of(user) == at)
    }

    /// Where a member of a meeting or a lecture is.
    pub(super) fn place_of(&self, user: &UserId) -> u32 {
        self.conferences.as_ref().map_or(MEETING, |conferences| conferences.at(user))
    }

    pub(super) fn division_mut(&mut self) -> Result<&mut Division, RoomRefusal> {
        let division = self.conferences.as_mut().and_then(|conferences| conferences.division.as_mut());
        division.ok_or_else(|| RoomRefusal::new(ErrorCode::NotAllowed, "there are no breakout rooms"))
    }
}
