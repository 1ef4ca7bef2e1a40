//! The stage: a student is invited, accepts, publishes, and speaks once its media has arrived.
//!
//! - A slot of the stage belongs to a student who is invited, has accepted, or speaks. Each state but the last ends by
//!   itself, so that a student who does not come keeps no slot.
//! - The class hears of a student only when its media is there, so nobody waits for a speaker who can't be seen.
//! - A speaker who leaves the room loses its slot. A speaker whose media is lost has [`RETURN_WITHIN`].

use std::time::{Duration, Instant};

use super::slots::{Slot, State};
use super::{Refusal, Talk, TalkOutput, not_allowed, to};
use crate::id::{Nickname, UserId};
use crate::protocol::channel::{MAX_SPEAKERS, OffStage, PublisherMessage, Speaker, Stage};
use crate::protocol::{ErrorCode, TrackName};

/// The time to answer an invitation: a person reads it, and looks into the mirror.
pub const ANSWER_WITHIN: Duration = Duration::from_secs(60);

/// The time from the acceptance to the first key frame. ICE over a TURN server takes some seconds.
pub const PUBLISH_WITHIN: Duration = Duration::from_secs(20);

/// The time for a speaker's media to come back: a page that is loaded again, a change of the network.
pub const RETURN_WITHIN: Duration = Duration::from_secs(10);

/// The interval between two lists of speakers whose tracks or names change. Speakers come and go by the order of a
/// moderator, and that is told at once.
const UPDATE_INTERVAL: Duration = Duration::from_millis(500);

/// What the holder of the room's media does for a speaker, or reports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StageChange {
    /// A student is invited.
    Invited {
        /// The student.
        user: UserId,
        /// The name that others see.
        nickname: Nickname,
    },
    /// A student has accepted and is about to publish: from now on its offers are answered.
    Accepted {
        /// The student.
        user: UserId,
        /// The name that others see.
        nickname: Nickname,
        /// The [`Speaker::id`].
        id: u64,
    },
    /// A student speaks: its media has arrived, and the class was told.
    Speaks {
        /// The student.
        user: UserId,
        /// The name that others see.
        nickname: Nickname,
        /// The [`Speaker::id`].
        id: u64,
        /// The tracks that arrived.
        tracks: Vec<TrackName>,
    },
    /// Nothing arrives from a speaker any more; it has [`RETURN_WITHIN`] to come back.
    Lost {
        /// The student.
        user: UserId,
        /// The name that others see.
        nickname: Nickname,
    },
    /// A slot is free again: the student's media on the stage ends.
    Ended {
        /// The student.
        user: UserId,
        /// The name that others see.
        nickname: Nickname,
        /// Why.
        why: OffStage,
    },
}

impl Talk {
    /// Sets the most speakers, at most [`MAX_SPEAKERS`]; 0 for a lecture without a stage.
    pub fn set_stage(&mut self, most: usize) {
        self.slots.most = most.min(MAX_SPEAKERS);
    }

    /// The stage, as the teacher sees it.
    pub fn stage(&self) -> Stage {
        self.slots.full_list()
    }

    /// Whether the user is invited, has accepted, or speaks. Such a user keeps its slot while it reconnects.
    pub fn has_slot(&self, user: &UserId) -> bool {
        self.slots.get(user).is_some()
    }

    /// Whether the user may publish on the stage: it has accepted, or speaks.
    pub fn may_publish(&self, user: &UserId) -> bool {
        self.slots.get(user).is_some_and(|slot| !matches!(slot.state, State::Invited { .. }))
    }

    /// Whether the user speaks, so that others may receive its media.
    pub fn is_speaker(&self, user: &UserId) -> bool {
        self.slots.get(user).is_some_and(Slot::is_live)
    }

    /// The media of a user who may publish has arrived or come back, or its tracks have changed. `silent` are those of
    /// the tracks that deliver nothing at present.
    pub fn speaker_live(
        &mut self,
        now: Instant,
        user: &UserId,
        mut tracks: Vec<TrackName>,
        mut silent: Vec<TrackName>,
    ) -> Vec<TalkOutput> {
        for list in [&mut tracks, &mut silent] {
            list.sort_unstable();
            list.dedup();
        }
        silent.retain(|track| tracks.contains(track));
        let Some(slot) = self.slots.get_mut(user) else { return Vec::new() };
        let (user_id, nickname) = (user.clone(), slot.nickname.clone());
        match &mut slot.state {
            State::Invited { .. } => Vec::new(),
            State::Accepted { id, .. } => {
                let id = *id;
                let change = StageChange::Speaks {
                    user: user_id.clone(),
                    nickname: nickname.clone(),
                    id,
                    tracks: tracks.clone(),
                };
                let speaker = Speaker { user_id, nickname, id, tracks, silent, lost: false };
                slot.state = State::Live { speaker, lost_until: None };
                let mut outputs = vec![TalkOutput::Stage(change)];
                outputs.extend(self.lower(now, user));
                outputs.extend(self.announce_stage(now));
                outputs
            }
            State::Live { speaker, lost_until } => {
                *lost_until = None;
                let was_lost = std::mem::take(&mut speaker.lost);
                if !was_lost && (&speaker.tracks, &speaker.silent) == (&tracks, &silent) {
                    return Vec::new();
                }
                (speaker.tracks, speaker.silent) = (tracks, silent);
                self.announce_soon(now)
            }
        }
    }

    /// The media of a speaker is lost, and nothing has arrived from there for the time of `silence`. The speaker has
    /// [`RETURN_WITHIN`] since then to come back.
    pub fn speaker_lost(&mut self, now: Instant, user: &UserId, silence: Duration) -> Vec<TalkOutput> {
        let Some(slot) = self.slots.get_mut(user) else { return Vec::new() };
        let State::Live { speaker, lost_until } = &mut slot.state else { return Vec::new() };
        lost_until.get_or_insert(now + RETURN_WITHIN.saturating_sub(silence));
        if std::mem::replace(&mut speaker.lost, true) {
            return Vec::new();
        }
        let change = StageChange::Lost { user: user.clone(), nickname: slot.nickname.clone() };
        let mut outputs = vec![TalkOutput::Stage(change)];
        outputs.extend(self.announce_soon(now));
        outputs
    }

    /// The media of a user who may publish is not possible, or ended for good.
    pub fn speaker_failed(&mut self, now: Instant, user: &UserId, why: OffStage) -> Vec<TalkOutput> {
        self.free_slots(now, [(user.clone(), why)])
    }

    pub(super) fn invite(&mut self, now: Instant, user: &UserId) -> Result<Vec<TalkOutput>, Refusal> {
        let most = self.stage_size()?;
        if self.is_teacher(user) {
            return Err(not_allowed("the teacher needs no invitation to the stage"));
        }
        let named = self.named(user);
        let Some(participant) = self.participants.get(user) else {
            return Err((ErrorCode::UnknownTarget, format!("{named} is not in the room")));
        };
        match self.slots.get(user).map(Slot::is_live) {
            Some(true) => return Err(not_allowed(&format!("{named} is on the stage already"))),
            Some(false) => return Err(not_allowed(&format!("{named} is invited to the stage already"))),
            None if self.slots.used.len() >= most => {
                let sentence = format!("the stage is full, with {most} invited or on it: take one off first");
                return Err(not_allowed(&sentence));
            }
            None => {}
        }
        let (user, nickname) = (user.clone(), participant.nickname.clone());
        let state = State::Invited { until: now + ANSWER_WITHIN };
        self.slots.used.push(Slot { user: user.clone(), nickname: nickname.clone(), state });
        let told = to(&user, invited(ANSWER_WITHIN));
        let change = TalkOutput::Stage(StageChange::Invited { user, nickname });
        Ok([told, change].into_iter().chain(self.tell_moderators_of_stage()).collect())
    }

    /// A student declines an invitation, or takes back that it comes.
    pub(super) fn decline_invitation(
        &mut self,
        now: Instant,
        user: &UserId,
        why: OffStage,
    ) -> Result<Vec<TalkOutput>, Refusal> {
        match self.slots.get(user).map(Slot::is_live) {
            None => Ok(Vec::new()),
            Some(true) => Err(not_allowed("you are on the stage: step down instead")),
            Some(false) => Ok(self.free_slots(now, [(user.clone(), why)])),
        }
    }

    /// A student accepts an invitation; `at` is the time in milliseconds since 1970.
    pub(super) fn accept_invitation(
        &mut self,
        now: Instant,
        at: u64,
        user: &UserId,
    ) -> Result<Vec<TalkOutput>, Refusal> {
        let last_id = self.slots.last_id;
        let Some(slot) = self.slots.get_mut(user) else {
            return Err(not_allowed("you are not invited to the stage at present"));
        };
        match slot.state {
            State::Invited { .. } => {
                // Ids follow the clock, so they also increase across a restart of the holder.
                let id = at.max(last_id + 1);
                slot.state = State::Accepted { until: now + PUBLISH_WITHIN, id };
                let (user, nickname) = (user.clone(), slot.nickname.clone());
                self.slots.last_id = id;
                Ok(vec![TalkOutput::Stage(StageChange::Accepted { user, nickname, id })])
            }
            // The student has reconnected, and was invited again.
            State::Accepted { .. } | State::Live { .. } => Ok(Vec::new()),
        }
    }

    pub(super) fn take_off_stage(&mut self, now: Instant, user: &UserId) -> Result<Vec<TalkOutput>, Refusal> {
        self.stage_size()?;
        if !self.has_slot(user) {
            return Err((ErrorCode::UnknownTarget, format!("{} is not on the stage", self.named(user))));
        }
        Ok(self.free_slots(now, [(user.clone(), OffStage::Ended)]))
    }

    pub(super) fn clear_stage(&mut self, now: Instant) -> Result<Vec<TalkOutput>, Refusal> {
        self.stage_size()?;
        let users: Vec<_> = self.slots.used.iter().map(|slot| (slot.user.clone(), OffStage::Ended)).collect();
        Ok(self.free_slots(now, users))
    }

    /// Shows a speaker large; `None` for the teacher.
    pub(super) fn set_spotlight(&mut self, now: Instant, user: Option<&UserId>) -> Result<Vec<TalkOutput>, Refusal> {
        self.stage_size()?;
        if let Some(user) = user.filter(|user| !self.is_speaker(user)) {
            return Err((ErrorCode::UnknownTarget, format!("{} is not on the stage", self.named(user))));
        }
        if self.slots.spotlight.as_ref() == user {
            return Ok(Vec::new());
        }
        self.slots.spotlight = user.cloned();
        Ok(self.announce_stage(now))
    }

    /// Ends the slots of those users who have one.
    pub(super) fn free_slots(
        &mut self,
        now: Instant,
        users: impl IntoIterator<Item = (UserId, OffStage)>,
    ) -> Vec<TalkOutput> {
        let (mut outputs, mut was_live) = (Vec::new(), false);
        for (user, why) in users {
            let Some(slot) = self.slots.remove(&user) else { continue };
            was_live |= slot.is_live();
            outputs.push(to(&user, PublisherMessage::OffStage { reason: why }));
            let (user_id, nickname) = (user.clone(), slot.nickname.clone());
            let ended = PublisherMessage::StageEnded { user_id, nickname, reason: why };
            outputs.extend(self.tell_moderators(&ended).into_iter().filter(|output| !is_to(output, &user)));
            outputs.extend(self.lower_after_turn(now, &user));
            outputs.push(TalkOutput::Stage(StageChange::Ended { user, nickname: slot.nickname, why }));
        }
        if was_live {
            outputs.extend(self.announce_stage(now));
        } else if !outputs.is_empty() {
            outputs.extend(self.tell_moderators_of_stage());
        }
        if !outputs.is_empty() {
            outputs.extend(self.fill_stage(now));
        }
        outputs
    }

    /// The messages about the stage for a student, a moderator or the teacher whose channel has opened.
    pub(super) fn stage_of_newcomer(&self, now: Instant, user: &UserId) -> Vec<TalkOutput> {
        let moderates = self.participants.get(user).is_some_and(|participant| participant.moderates);
        let stage = if moderates || self.is_teacher(user) {
            (self.slots.most > 0).then(|| self.slots.full_list())
        } else {
            Some(self.slots.list()).filter(|stage| stage.is_open || !stage.speakers.is_empty())
        };
        let invitation = self.slots.get(user).filter(|slot| !slot.is_live()).and_then(Slot::deadline);
        let invitation = invitation.map(|(until, _)| invited(until.saturating_duration_since(now)));
        stage.map(PublisherMessage::Stage).into_iter().chain(invitation).map(|message| to(user, message)).collect()
    }

    /// Ends the slots whose time is over, and sends the list if it has changed and is due.
    pub(super) fn tick_stage(&mut self, now: Instant) -> Vec<TalkOutput> {
        let ends = |slot: &Slot| slot.deadline().filter(|(until, _)| *until <= now);
        let over: Vec<_> = self.slots.used.iter().filter_map(|slot| Some((slot.user.clone(), ends(slot)?.1))).collect();
        let mut outputs = self.free_slots(now, over);
        outputs.extend(self.announce_if_due(now));
        outputs
    }

    pub(super) fn stage_size(&self) -> Result<usize, Refusal> {
        if self.slots.most == 0 {
            return Err(not_allowed("this lecture has no stage: start it with --stage 2"));
        }
        Ok(self.slots.most)
    }

    /// Tells everybody who speaks, now or at the end of [`UPDATE_INTERVAL`].
    fn announce_soon(&mut self, now: Instant) -> Vec<TalkOutput> {
        let rests_until = self.slots.rests_until.map_or(now, |rest| rest.max(now));
        self.slots.due.get_or_insert(rests_until);
        self.announce_if_due(now)
    }

    fn announce_if_due(&mut self, now: Instant) -> Vec<TalkOutput> {
        if self.slots.due.is_some_and(|due| due <= now) { self.announce_stage(now) } else { Vec::new() }
    }

    /// Tells everybody who speaks. Only those who moderate hear of invitations.
    pub(super) fn announce_stage(&mut self, now: Instant) -> Vec<TalkOutput> {
        (self.slots.due, self.slots.rests_until) = (None, Some(now + UPDATE_INTERVAL));
        let mut outputs = vec![TalkOutput::All(PublisherMessage::Stage(self.slots.list()))];
        if self.slots.used.iter().any(|slot| !slot.is_live()) {
            outputs.extend(self.tell_moderators_of_stage());
        }
        outputs
    }

    fn tell_moderators_of_stage(&self) -> Vec<TalkOutput> {
        self.tell_moderators(&PublisherMessage::Stage(self.slots.full_list()))
    }

    /// The message to the teacher and to those who moderate.
    fn tell_moderators(&self, message: &PublisherMessage) -> Vec<TalkOutput> {
        let moderators = self.participants.present().filter(|(_, participant)| participant.moderates);
        let users = self.teacher.iter().map(|(teacher, _)| teacher).chain(moderators.map(|(user, _)| user));
        users.map(|user| to(user, message.clone())).collect()
    }
}

fn is_to(output: &TalkOutput, user: &UserId) -> bool {
    matches!(output, TalkOutput::To(to, _) if to == user)
}

fn invited(within: Duration) -> PublisherMessage {
    PublisherMessage::Invited { within_ms: within.as_millis().try_into().unwrap_or(u32::MAX) }
}
