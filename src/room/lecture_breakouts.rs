//! Breakout rooms of a lecture: the teacher splits the students, who meet in conferences of the lecture's room.
//!
//! - Only members with a page are moved, as nothing else can meet. The others stay in the lecture.
//! - A breakout room takes as many as connect to each other, and one visitor that moderates. The server carries none of
//!   their media.
//! - The lecture goes on for everybody: its media, and what travels over its data channels, do not change.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::time::Instant;

use super::conference::Conferences;
use super::division::{Division, MEETING};
use super::member::Member;
use super::members::Room;
use super::{ConnId, Output, RoomRefusal};
use crate::id::UserId;
use crate::protocol::{
    Breakouts, ClientKind, ClientMessage, ErrorCode, MAX_BREAKOUTS, MAX_MESH, RoomKind, RoomOrder, ServerMessage,
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
            order => return self.carry_out_breakouts(now, id, order, out),
        };
        Err(RoomRefusal::new(ErrorCode::NotAllowed, rule))
    }

    /// Checks that each breakout room of a lecture takes those who are assigned to it.
    pub(super) fn check_lecture_fits(&self, rooms: u32, assign: &BTreeMap<UserId, u32>) -> Result<(), RoomRefusal> {
        if self.kind() != RoomKind::Lecture {
            return Ok(());
        }
        let refusal = |message: String| Err(RoomRefusal::new(ErrorCode::NotAllowed, message));
        let moves = |user: &&UserId| {
            let user = self.members.get(*user).map(|member| &member.user);
            user.is_some_and(|user| user.client == Some(ClientKind::Browser) && !user.moderates && !user.publishes)
        };
        let mut sizes = vec![0; rooms as usize];
        let mut others = 0;
        for user in self.members.keys().filter(moves) {
            match assign.get(user) {
                None => others += 1,
                Some(breakout) if *breakout == MEETING => {}
                Some(breakout) => sizes.get_mut(*breakout as usize - 1).into_iter().for_each(|size| *size += 1),
            }
        }
        if let Some(size) = sizes.iter().find(|size| **size > MAX_MESH) {
            return refusal(format!("a breakout room of a lecture takes {MAX_MESH} students, and not {size}"));
        }
        let students = others + sizes.iter().sum::<usize>();
        let needed = students.div_ceil(MAX_MESH);
        match needed {
            0 => refusal("nobody is here who has a page with a camera and a microphone".into()),
            needed if needed > MAX_BREAKOUTS as usize => refusal(format!(
                "breakout rooms take {} students in all, and {students} are here: leave the others in the lecture",
                MAX_BREAKOUTS as usize * MAX_MESH
            )),
            needed if needed > rooms as usize => refusal(format!(
                "{students} students do not fit into {rooms} breakout rooms of {MAX_MESH}: split into {needed} or more"
            )),
            _ => Ok(()),
        }
    }

    /// A lecture gets what it needs for breakout rooms. Returns whether the room is one.
    pub(super) fn begin_breakouts(&mut self) -> bool {
        if self.conferences.is_none() {
            // A server that has restarted does not use the entries of the last one.
            let last_entry = RandomState::new().hash_one(self.members.len()) as u32 >> 1;
            let mut conferences = Conferences::new(RoomKind::Lecture, last_entry, true);
            self.members.values().for_each(|known| conferences.arrived(&known.user.user_id, &known.user.nickname));
            self.conferences = Some(conferences);
        }
        self.kind() == RoomKind::Lecture
    }

    /// The members other than this one that are assigned to a breakout room.
    pub(super) fn assigned_to(&self, breakout: u32, except: &UserId) -> usize {
        let division = self.conferences.as_ref().and_then(|conferences| conferences.division.as_ref());
        let own = |user: &UserId| division.and_then(|division: &Division| division.own(user));
        let others = self.members.keys().filter(|user| *user != except);
        others.filter(|user| breakout != MEETING && own(user) == Some(breakout)).count()
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
