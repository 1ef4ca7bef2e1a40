//! The spotlight of a meeting: the participant that is large for everybody, and those that ask the owner for that.

use std::time::{Duration, Instant};

use super::conference::{Conferences, Spotlight};
use super::members::Room;
use super::{ConnId, Output, RoomRefusal};
use crate::id::UserId;
use crate::protocol::{ErrorCode, RESTLESS_INTERVAL, RoomOrder};

impl Room {
    /// A participant wants to be large for everybody, or no longer.
    pub(super) fn spotlight(&mut self, now: Instant, (id, conn): (&UserId, ConnId), on: bool, out: &mut Vec<Output>) {
        let (Some(conferences), Some(member)) = (&mut self.conferences, self.members.get_mut(id)) else { return };
        let is_restless = member.pace.changes.take(now).is_err();
        let changed = match on {
            true => conferences.ask_for_spotlight(id),
            false => Ok(conferences.end_spotlight(id)),
        };
        match changed {
            Ok(true) => {
                let wait = if is_restless { RESTLESS_INTERVAL } else { Duration::ZERO };
                conferences.place(id).into_iter().for_each(|place| conferences.changed(now, place, wait));
            }
            Ok(false) => {}
            Err(refusal) => refusal.answer(conn, out),
        }
    }

    /// Carries out an order of the owner about the spotlight.
    pub(super) fn spotlight_order(&mut self, now: Instant, order: &RoomOrder) -> Result<(), RoomRefusal> {
        let Some(conferences) = self.conferences.as_mut().filter(|conferences| conferences.is_meeting()) else {
            return Err(no_meeting());
        };
        let target = match order {
            RoomOrder::Spotlight { target_uid } => {
                conferences.check_picture(target_uid)?;
                conferences.show_large(target_uid, true);
                target_uid
            }
            RoomOrder::SpotlightOff { target_uid } => {
                if !conferences.end_spotlight(target_uid) {
                    let message = format!("user {target_uid} is not large for everybody, and does not ask for it");
                    return Err(RoomRefusal::new(ErrorCode::UnknownTarget, message));
                }
                target_uid
            }
            RoomOrder::RestrictSpotlight { restricted } => {
                conferences.is_spotlight_restricted = *restricted;
                conferences.info.changed(now, Duration::ZERO);
                return Ok(());
            }
            _ => return Ok(()),
        };
        conferences.place(target).into_iter().for_each(|place| conferences.changed(now, place, Duration::ZERO));
        Ok(())
    }
}

impl Conferences {
    /// The participant becomes large, or has to wait for the owner. Returns whether something has changed.
    fn ask_for_spotlight(&mut self, id: &UserId) -> Result<bool, RoomRefusal> {
        self.check_picture(id)?;
        if self.of(id).is_some_and(|meeting| meeting.is_large(id)) {
            return Ok(false);
        }
        let is_owner = self.is_owner(id);
        let of_other = self.of(id).and_then(|meeting| meeting.spotlight.as_ref()).filter(|large| large.user != *id);
        if is_owner || !self.is_spotlight_restricted && !of_other.is_some_and(|large| large.is_chosen) {
            return Ok(self.show_large(id, is_owner));
        }
        let Some(participant) = self.get_mut(id) else { return Ok(false) };
        Ok(!std::mem::replace(&mut participant.asks_for_spotlight, true))
    }

    /// Checks that the user takes part in the meeting, and sends a picture.
    fn check_picture(&self, id: &UserId) -> Result<(), RoomRefusal> {
        match self.get(id) {
            _ if !self.is_meeting() => Err(no_meeting()),
            None => {
                let message = format!("user {id} does not take part in the meeting");
                Err(RoomRefusal::new(ErrorCode::UnknownTarget, message))
            }
            Some(participant) if !participant.sends_picture() => {
                let message = format!("user {id} sends no picture that could be large: camera or screen has to be on");
                Err(RoomRefusal::new(ErrorCode::NotAllowed, message))
            }
            Some(_) => Ok(()),
        }
    }

    /// Returns whether something has changed.
    fn show_large(&mut self, id: &UserId, is_chosen: bool) -> bool {
        let Some(meeting) = self.of_mut(id) else { return false };
        let large = Spotlight { user: id.clone(), is_chosen };
        let is_news = meeting.spotlight.replace(large.clone()).is_none_or(|before| before.user != large.user);
        let asked = self.get_mut(id).is_some_and(|participant| std::mem::take(&mut participant.asks_for_spotlight));
        is_news || asked
    }

    /// The participant is not large any more, and does not ask for it. Returns whether something has changed.
    fn end_spotlight(&mut self, id: &UserId) -> bool {
        let Some(meeting) = self.of_mut(id) else { return false };
        let was_large = meeting.spotlight.take_if(|large| large.user == *id).is_some();
        let asked = self.get_mut(id).is_some_and(|participant| std::mem::take(&mut participant.asks_for_spotlight));
        was_large || asked
    }
}

fn no_meeting() -> RoomRefusal {
    RoomRefusal::new(ErrorCode::NotAllowed, "only a meeting shows a participant large for everybody")
}
