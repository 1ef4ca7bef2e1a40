//! Breakout rooms of a lecture: the teacher splits the students, who meet in conferences of the lecture's room.
//!
//! - Only members with a page are moved, as nothing else can meet. The others stay in the lecture.
//! - A breakout room takes as many as connect to each other, and one visitor that moderates. Larger ones share the
//!   places that the server has for the participants of a room, and leave one for the teacher.
//! - The lecture goes on for everybody: its media, and what travels over its data channels, do not change.

use std::hash::{BuildHasher, RandomState};
use std::time::Instant;

use super::conference::Conferences;
use super::division::{Division, MAX_CARRIED_STUDENTS, MEETING, carried};
use super::member::Member;
use super::members::Room;
use super::{ConnId, Output, RoomLimits, RoomRefusal};
use crate::id::UserId;
use crate::protocol::{
    Breakouts, ClientMessage, ErrorCode, MAX_BREAKOUTS, MAX_MESH, RoomKind, RoomOrder, ServerMessage,
};

impl Room {
    /// A message of a member of a lecture that was split. Returns the message if it is for the lecture.
    pub(super) fn breakout_message(
        &mut self,
        now: Instant,
        (id, conn): (&UserId, ConnId),
        message: ClientMessage,
        out: &mut Vec<Output>,
    ) -> Option<ClientMessage> {
        match self.participant_message(now, (id, conn), message, out)? {
            ClientMessage::Hangup { target_uid, .. } if target_uid == *id => self.leave_meeting(now, id, out),
            rest => return Some(rest),
        }
        None
    }

    /// Carries out an order that only the teacher of a lecture gives.
    pub(super) fn breakout_order(
        &mut self,
        now: Instant,
        id: &UserId,
        order: &RoomOrder,
        limits: &RoomLimits,
        out: &mut Vec<Output>,
    ) -> Result<(), RoomRefusal> {
        let rule = match order {
            RoomOrder::Rename { .. }
            | RoomOrder::HandOver { .. }
            | RoomOrder::Spotlight { .. }
            | RoomOrder::SpotlightOff { .. }
            | RoomOrder::RestrictSpotlight { .. }
            | RoomOrder::End => "this order is for meetings and calls",
            _ if self.publisher.as_ref() != Some(id) => "only the teacher splits the lecture into breakout rooms",
            order => return self.carry_out_breakouts(now, id, order, limits, out),
        };
        Err(RoomRefusal::new(ErrorCode::NotAllowed, rule))
    }

    /// The most students that the server carries in breakout rooms; none in a meeting.
    pub(super) fn most_carried(&self, limits: &RoomLimits) -> Option<usize> {
        let most = if limits.max_media_rooms > 0 { MAX_CARRIED_STUDENTS } else { 0 };
        Some(most).filter(|_| self.kind() == RoomKind::Lecture)
    }

    /// Checks that the breakout rooms of a lecture take those who are assigned to them.
    pub(super) fn check_lecture_fits(&self, division: &Division) -> Result<(), RoomRefusal> {
        let Some(most) = division.most_carried() else { return Ok(()) };
        let refusal = |message: String| Err(RoomRefusal::new(ErrorCode::NotAllowed, message));
        let sizes = division.sizes(&self.members);
        let (students, carried) = (sizes.iter().sum::<usize>(), carried(&sizes, &[]));
        if students == 0 {
            return refusal("nobody is here who has a page with a camera and a microphone".into());
        }
        if carried <= most {
            return Ok(());
        }
        let server = match most {
            0 => "no more, as it carries no media".to_owned(),
            most => format!("{most} in larger ones, and not {carried}"),
        };
        let rooms = students.div_ceil(MAX_MESH).max(sizes.len());
        let advice = match rooms <= MAX_BREAKOUTS as usize {
            true => format!("split into {rooms} or more, of at most {MAX_MESH}"),
            false => "leave some students in the lecture".to_owned(),
        };
        refusal(format!("breakout rooms take {MAX_MESH} students each, and this server {server}: {advice}"))
    }

    /// Whether a breakout room takes this student, who is elsewhere. In a meeting, participants find a place or not as
    /// they enter.
    pub(super) fn takes_student(&self, student: &UserId, breakout: u32) -> bool {
        let Some(conferences) = &self.conferences else { return true };
        let Some(division) = &conferences.division else { return true };
        let mut sizes = division.sizes(&self.members);
        let own = division.own(student).and_then(|own| sizes.get_mut(own as usize - 1));
        own.into_iter().for_each(|size| *size -= 1);
        let on_server: Vec<u32> = conferences.carried().map(|(id, _)| id).collect();
        breakout == MEETING || division.takes(breakout, sizes, &on_server)
    }

    /// Whether more students are assigned to a breakout room of a lecture than connect to each other.
    pub(super) fn has_many_students(&self, breakout: u32) -> bool {
        let division = self.conferences.as_ref().and_then(|conferences| conferences.division.as_ref());
        let sizes = division.filter(|division| division.most_carried().is_some()).map(|it| it.sizes(&self.members));
        sizes.is_some_and(|sizes| (1..).zip(sizes).any(|(id, size)| id == breakout && size > MAX_MESH))
    }

    /// Whether the server carries one more breakout room of a lecture, with so many participants, beside the larger
    /// ones, whose students may still be on their way.
    pub(super) fn carries_more(&self, breakout: u32, participants: usize) -> bool {
        let Some(conferences) = &self.conferences else { return false };
        let Some(division) = &conferences.division else { return true };
        let on_server: Vec<u32> = conferences.carried().map(|(id, _)| id).collect();
        let others = carried(&division.sizes(&self.members), &on_server);
        let own = if self.has_many_students(breakout) { 0 } else { participants };
        division.most_carried().is_none_or(|most| others + own <= most)
    }

    /// A lecture gets what it needs for breakout rooms.
    pub(super) fn begin_breakouts(&mut self) {
        if self.conferences.is_none() {
            // A server that has restarted does not use the entries of the last one.
            let last_entry = RandomState::new().hash_one(self.members.len()) as u32 >> 1;
            let mut conferences = Conferences::new(RoomKind::Lecture, last_entry, true);
            self.members.values().for_each(|known| conferences.arrived(&known.user.user_id, &known.user.nickname));
            self.conferences = Some(conferences);
        }
    }

    /// Tells a member that has just joined a lecture, perhaps again, of its breakout room.
    pub(super) fn tell_lecture(&mut self, now: Instant, id: &UserId, out: &mut Vec<Output>) {
        let Some((conferences, to)) = self.conferences.as_ref().zip(self.members.get(id).and_then(Member::conn)) else {
            return;
        };
        if conferences.division.is_none() {
            let message = ServerMessage::Breakouts(Breakouts::default());
            return out.push(Output::Send { to, message });
        }
        // The place first: a page that is loaded again understands the list only then.
        self.tell_breakouts(now, id, out);
        let at = conferences.at(id);
        if at != MEETING {
            out.push(Output::Send { to, message: ServerMessage::Participants(conferences.list(at)) });
        }
        self.open_chat(now, id, out);
    }
}
