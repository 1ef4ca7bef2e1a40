//! The slots of the stage: each belongs to a student who is invited, has accepted, or speaks.

use std::time::Instant;

use crate::id::{Nickname, UserId};
use crate::protocol::channel::{OffStage, Speaker, Stage};

/// The slots of the stage.
#[derive(Debug, Default)]
pub(super) struct Slots {
    /// The most slots in use; 0 without a stage.
    pub(super) most: usize,
    pub(super) used: Vec<Slot>,
    pub(super) spotlight: Option<UserId>,
    /// Whether students come to the stage without an order.
    pub(super) is_open: bool,
    pub(super) last_id: u64,
    /// When to send a list whose tracks or names have changed.
    pub(super) due: Option<Instant>,
    /// The earliest time of such a list.
    pub(super) rests_until: Option<Instant>,
}

/// A slot in use.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) user: UserId,
    pub(super) nickname: Nickname,
    pub(super) state: State,
}

/// How far a student has come.
#[derive(Debug)]
pub(super) enum State {
    Invited { until: Instant },
    Accepted { until: Instant, id: u64 },
    Live { speaker: Speaker, lost_until: Option<Instant> },
}

impl Slot {
    /// When the state ends by itself, and how.
    pub(super) fn deadline(&self) -> Option<(Instant, OffStage)> {
        match self.state {
            State::Invited { until } => Some((until, OffStage::NoAnswer)),
            State::Accepted { until, .. } => Some((until, OffStage::NoMedia)),
            State::Live { lost_until, .. } => Some((lost_until?, OffStage::NoMedia)),
        }
    }

    pub(super) fn is_live(&self) -> bool {
        matches!(self.state, State::Live { .. })
    }
}

impl Slots {
    /// A student has another nickname.
    pub(super) fn rename(&mut self, user: &UserId, nickname: &Nickname) {
        let Some(slot) = self.get_mut(user).filter(|slot| slot.nickname != *nickname) else { return };
        slot.nickname = nickname.clone();
        if let State::Live { speaker, .. } = &mut slot.state {
            speaker.nickname = nickname.clone();
            // A speaker is listed already, so there is an earlier list.
            self.due = self.due.or(self.rests_until);
        }
    }

    /// The next deadline of a slot, or the next list.
    pub(super) fn due(&self) -> Option<Instant> {
        let deadlines = self.used.iter().filter_map(Slot::deadline).map(|(until, _)| until);
        deadlines.chain(self.due).min()
    }

    pub(super) fn get(&self, user: &UserId) -> Option<&Slot> {
        self.used.iter().find(|slot| slot.user == *user)
    }

    pub(super) fn get_mut(&mut self, user: &UserId) -> Option<&mut Slot> {
        self.used.iter_mut().find(|slot| slot.user == *user)
    }

    pub(super) fn remove(&mut self, user: &UserId) -> Option<Slot> {
        self.spotlight.take_if(|spotlight| spotlight == user);
        self.used.iter().position(|slot| slot.user == *user).map(|at| self.used.remove(at))
    }

    /// The speakers in the order in which they came.
    pub(super) fn list(&self) -> Stage {
        let mut speakers: Vec<Speaker> = self
            .used
            .iter()
            .filter_map(|slot| match &slot.state {
                State::Live { speaker, .. } => Some(speaker.clone()),
                _ => None,
            })
            .collect();
        speakers.sort_by_key(|speaker| speaker.id);
        let (spotlight, most, is_open) = (self.spotlight.clone(), self.most, self.is_open);
        Stage { speakers, spotlight, most, is_open, invited: Vec::new() }
    }

    /// The list for the teacher and those who moderate.
    pub(super) fn full_list(&self) -> Stage {
        let invited = self.used.iter().filter(|slot| !slot.is_live()).map(|slot| slot.user.clone()).collect();
        Stage { invited, ..self.list() }
    }
}
