//! The open floor: students come to the stage without an order.
//!
//! - A raised hand is the floor request (RFC 8855). While the floor is open, hands are invited in the order in which
//!   they went up, as long as the stage has a place.
//! - An invitation or a turn that ends lowers the hand, so that nobody is asked again without wanting it.
//! - A student who is muted alone needs an order: otherwise, whoever was taken off the stage would be back at once.
//! - When the floor closes, whoever is on the stage or invited stays so.

use std::time::Instant;

use super::{Refusal, Talk, TalkOutput};
use crate::id::UserId;

impl Talk {
    /// Opens or closes the floor.
    pub(super) fn set_floor(&mut self, now: Instant, is_open: bool) -> Result<Vec<TalkOutput>, Refusal> {
        self.stage_size()?;
        if std::mem::replace(&mut self.slots.is_open, is_open) == is_open {
            return Ok(Vec::new());
        }
        Ok(self.announce_stage(now))
    }

    /// Invites the next hands, if the floor is open and the stage has a place.
    pub(super) fn fill_stage(&mut self, now: Instant) -> Vec<TalkOutput> {
        if !self.slots.is_open {
            return Vec::new();
        }
        let may_come = |user: &&UserId| !self.has_slot(user) && !self.rights.is_muted_alone(user);
        let places = self.slots.most.saturating_sub(self.slots.used.len());
        let next: Vec<UserId> =
            self.hands().iter().map(|hand| &hand.user_id).filter(may_come).take(places).cloned().collect();
        // Whoever is not in the room any more has no hand.
        next.iter().flat_map(|user| self.invite(now, user).unwrap_or_default()).collect()
    }

    /// Lowers the hand of a student whose turn or invitation has ended, if the floor is open.
    pub(super) fn lower_after_turn(&mut self, now: Instant, user: &UserId) -> Vec<TalkOutput> {
        if self.slots.is_open { self.lower(now, user) } else { Vec::new() }
    }
}
