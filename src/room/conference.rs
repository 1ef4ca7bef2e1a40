//! The conferences of a meeting or call room: who takes part, under which entry, and who has to hear of it.
//!
//! A meeting has one conference, which is empty at first. A call is a conference of two, which ends when one of them
//! leaves. A participant whose page is loaded again keeps its place for a while, and gets another entry.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::rings::Rings;
use super::talk::Talk;
use crate::id::{Nickname, UserId};
use crate::protocol::{MediaHost, MediaMove, Participant, Participants, RoomKind, TrackName};

/// The number of the conference of a meeting; calls have higher ones.
pub(super) const MEETING: u32 = 0;

/// A part of the state of a room that only meeting and call rooms have.
#[derive(Debug)]
pub(super) struct Conferences {
    pub(super) kind: RoomKind,
    /// The owner of the room. None until somebody comes who may own it.
    pub(super) owner: Option<UserId>,
    /// Whether a client opened the room that may teach.
    pub(super) is_taught: bool,
    /// Whether the last member that left was lost.
    pub(super) was_lost: bool,
    /// The members, in the order in which they came.
    arrivals: Vec<UserId>,
    /// The last number of an entry or of a call.
    last: u32,
    running: BTreeMap<u32, Conference>,
    /// The conference of each participant, and of those whose place is kept.
    places: BTreeMap<UserId, u32>,
    /// The conferences that wait for a time.
    waiting: BTreeSet<u32>,
    pub(super) rings: Rings,
    /// Whether a participant needs the owner's permission to be large for everybody.
    pub(super) is_spotlight_restricted: bool,
    /// Changes of what the members know of the room.
    pub(super) info: News,
    /// The chat of a meeting.
    pub(super) talk: Option<Talk>,
    /// The time for its next message, in milliseconds since 1970.
    pub(super) time: u64,
}

/// A call, or the meeting.
#[derive(Debug, Default)]
pub(super) struct Conference {
    /// In the order of their entries.
    pub(super) participants: Vec<Participant>,
    /// The places of participants whose page is loaded again, and until when.
    kept: BTreeMap<UserId, Instant>,
    pub(super) media: MediaHost,
    pub(super) moved: Option<MediaMove>,
    pub(super) since: Option<Instant>,
    pub(super) spotlight: Option<Spotlight>,
    news: News,
}

/// The participant that is large for everybody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Spotlight {
    pub(super) user: UserId,
    /// Whether the owner has chosen it: then no other participant takes the spotlight.
    pub(super) is_chosen: bool,
}

/// Changes that have to be told, all in one message, and not too often.
#[derive(Debug, Default)]
pub(super) struct News {
    due: Option<Instant>,
    /// The earliest time of the next message.
    rests_until: Option<Instant>,
}

impl News {
    /// Something has changed, and may be told after `wait`.
    pub(super) fn changed(&mut self, now: Instant, wait: Duration) {
        let due = self.rests_until.map_or(now, |rest| rest.max(now)).max(now + wait);
        self.due = Some(self.due.map_or(due, |earlier| earlier.min(due)));
    }

    /// Whether it is time to tell the changes; the next message follows after `interval`.
    pub(super) fn take(&mut self, now: Instant, interval: Duration) -> bool {
        let is_due = self.due.take_if(|due| *due <= now).is_some();
        if is_due {
            self.rests_until = Some(now + interval);
        }
        is_due
    }

    pub(super) fn due(&self) -> Option<Instant> {
        self.due
    }
}

impl Conference {
    /// The participants, and those whose place is kept.
    pub(super) fn taken(&self) -> usize {
        self.participants.len() + self.kept.len()
    }

    pub(super) fn get(&self, user: &UserId) -> Option<&Participant> {
        self.participants.iter().find(|participant| participant.user_id == *user)
    }

    /// Whether the user has a place.
    pub(super) fn holds(&self, user: &UserId) -> bool {
        self.get(user).is_some() || self.kept.contains_key(user)
    }

    /// All that have a place.
    pub(super) fn holders(&self) -> Vec<UserId> {
        self.participants.iter().map(|participant| &participant.user_id).chain(self.kept.keys()).cloned().collect()
    }

    /// The list for the members.
    pub(super) fn list(&self) -> Participants {
        let spotlight = self.spotlight.as_ref().map(|large| large.user.clone());
        Participants { participants: self.participants.clone(), media: self.media, moved: self.moved, spotlight }
    }

    /// Whether the user is large for everybody.
    pub(super) fn is_large(&self, user: &UserId) -> bool {
        self.spotlight.as_ref().is_some_and(|large| large.user == *user)
    }

    /// The user's entry is gone.
    fn remove(&mut self, user: &UserId) {
        self.participants.retain(|participant| participant.user_id != *user);
        self.spotlight.take_if(|large| large.user == *user);
    }

    fn due(&self) -> Option<Instant> {
        self.kept.values().min().copied().into_iter().chain(self.news.due()).min()
    }
}

impl Conferences {
    /// A room without members. Entries get numbers after `last`.
    pub(super) fn new(kind: RoomKind, last: u32, is_taught: bool) -> Self {
        let is_meeting = kind == RoomKind::Meeting;
        Self {
            kind,
            owner: None,
            is_taught,
            was_lost: false,
            arrivals: Vec::new(),
            last,
            running: is_meeting.then(|| (MEETING, Conference::default())).into_iter().collect(),
            places: BTreeMap::new(),
            waiting: BTreeSet::new(),
            rings: Rings::default(),
            is_spotlight_restricted: false,
            info: News::default(),
            talk: is_meeting.then(Talk::of_meeting),
            time: 0,
        }
    }

    pub(super) fn is_meeting(&self) -> bool {
        self.kind == RoomKind::Meeting
    }

    pub(super) fn is_owner(&self, user: &UserId) -> bool {
        self.owner.as_ref() == Some(user)
    }

    /// A member has come, or come back.
    pub(super) fn arrived(&mut self, user: &UserId, nickname: &Nickname) {
        self.was_lost = false;
        if !self.arrivals.contains(user) {
            self.arrivals.push(user.clone());
        }
        if let Some(participant) = self.get_mut(user) {
            participant.nickname = nickname.clone();
        }
    }

    /// A member has left. Its place is free already.
    pub(super) fn departed(&mut self, user: &UserId) {
        self.arrivals.retain(|known| known != user);
    }

    /// The members, those who came first in front.
    pub(super) fn arrivals(&self) -> impl Iterator<Item = &UserId> {
        self.arrivals.iter()
    }

    /// The conference with this number.
    pub(super) fn conference(&self, id: u32) -> Option<&Conference> {
        self.running.get(&id)
    }

    /// The number of the conference in which the user has a place.
    pub(super) fn place(&self, user: &UserId) -> Option<u32> {
        self.places.get(user).copied()
    }

    /// The conference in which the user has a place.
    pub(super) fn of(&self, user: &UserId) -> Option<&Conference> {
        self.running.get(self.places.get(user)?)
    }

    pub(super) fn of_mut(&mut self, user: &UserId) -> Option<&mut Conference> {
        self.running.get_mut(self.places.get(user)?)
    }

    /// The conference of the meeting; none in a call room.
    pub(super) fn meeting(&self) -> Option<&Conference> {
        self.running.get(&MEETING)
    }

    pub(super) fn meeting_mut(&mut self) -> Option<&mut Conference> {
        self.running.get_mut(&MEETING)
    }

    /// The user as a participant.
    pub(super) fn get(&self, user: &UserId) -> Option<&Participant> {
        self.of(user)?.get(user)
    }

    pub(super) fn get_mut(&mut self, user: &UserId) -> Option<&mut Participant> {
        self.of_mut(user)?.participants.iter_mut().find(|participant| participant.user_id == *user)
    }

    /// The number of participants of all conferences.
    pub(super) fn participants(&self) -> usize {
        self.running.values().map(|conference| conference.participants.len()).sum()
    }

    /// The host of their media; none while nobody takes part.
    pub(super) fn media(&self) -> Option<MediaHost> {
        let running = self.running.values().find(|conference| !conference.participants.is_empty());
        running.map(|conference| conference.media)
    }

    /// Since when the conference runs that runs for longest.
    pub(super) fn since(&self) -> Option<Instant> {
        self.running.values().filter_map(|conference| conference.since).min()
    }

    /// A call begins, without participants.
    pub(super) fn start(&mut self) -> u32 {
        self.last = self.last.wrapping_add(1).max(1);
        self.running.insert(self.last, Conference::default());
        self.last
    }

    /// The user enters, and gets an entry.
    pub(super) fn enter(&mut self, now: Instant, id: u32, user: (&UserId, &Nickname), sends: Vec<TrackName>) {
        self.last = self.last.wrapping_add(1).max(1);
        let Some(conference) = self.running.get_mut(&id) else { return };
        let (user_id, nickname) = (user.0.clone(), user.1.clone());
        conference.since.get_or_insert(now);
        conference.kept.remove(&user_id);
        self.places.insert(user_id.clone(), id);
        conference.participants.push(Participant::new(user_id, nickname, self.last, sends));
        self.changed(now, id, Duration::ZERO);
    }

    /// A participant sends these tracks now.
    pub(super) fn set_sends(&mut self, now: Instant, user: &UserId, sends: Vec<TrackName>, wait: Duration) {
        if let Some(participant) = self.get_mut(user).filter(|participant| participant.sends != sends) {
            participant.sends = sends;
            self.place(user).into_iter().for_each(|id| self.changed(now, id, wait));
        }
    }

    /// The media host has a participant's media, or not. False if the participant has another entry now.
    pub(super) fn set_published(&mut self, now: Instant, user: &UserId, entry: u32, on: bool) -> bool {
        let participant = self.get_mut(user).filter(|participant| participant.entry == entry);
        let Some(participant) = participant else { return false };
        if std::mem::replace(&mut participant.published, on) != on {
            self.place(user).into_iter().for_each(|id| self.changed(now, id, Duration::ZERO));
        }
        true
    }

    /// The participant's process is gone. Its place is kept for the next one.
    pub(super) fn keep(&mut self, now: Instant, user: &UserId, until: Instant) {
        let Some(id) = self.place(user) else { return };
        let Some(conference) = self.running.get_mut(&id) else { return };
        conference.remove(user);
        conference.kept.insert(user.clone(), until);
        self.changed(now, id, Duration::ZERO);
    }

    /// Frees the place of a user in the meeting.
    pub(super) fn leave(&mut self, now: Instant, user: &UserId) {
        let Some(id) = self.places.remove(user) else { return };
        let Some(conference) = self.running.get_mut(&id) else { return };
        conference.kept.remove(user);
        conference.remove(user);
        if conference.taken() == 0 {
            let news = std::mem::take(&mut conference.news);
            *conference = Conference { news, ..Conference::default() };
        }
        self.changed(now, id, Duration::ZERO);
    }

    /// Ends a call; returns those who had a place.
    pub(super) fn end(&mut self, id: u32) -> Vec<UserId> {
        self.waiting.remove(&id);
        let Some(Conference { participants, kept, .. }) = self.running.remove(&id) else { return Vec::new() };
        let users = participants.into_iter().map(|participant| participant.user_id).chain(kept.into_keys());
        let users: Vec<UserId> = users.collect();
        users.iter().for_each(|user| _ = self.places.remove(user));
        users
    }

    /// The numbers of the calls.
    pub(super) fn calls(&self) -> Vec<u32> {
        self.running.keys().copied().filter(|id| *id != MEETING).collect()
    }

    /// The list of this conference has changed.
    pub(super) fn changed(&mut self, now: Instant, id: u32, wait: Duration) {
        if let Some(conference) = self.running.get_mut(&id) {
            conference.news.changed(now, wait);
            self.waiting.insert(id);
        }
    }

    /// When the room has to look after its conferences.
    pub(super) fn due(&self) -> Option<Instant> {
        let waiting = self.waiting.iter().filter_map(|id| self.running.get(id)?.due());
        let others = [self.rings.due(), self.info.due(), self.talk.as_ref().and_then(Talk::next_tick)];
        waiting.chain(others.into_iter().flatten()).min()
    }

    /// The lists that have changed and are due, with the numbers of their conferences.
    pub(super) fn take_lists(&mut self, now: Instant, interval: Duration) -> Vec<(u32, Participants)> {
        let mut lists = Vec::new();
        self.waiting.retain(|id| {
            let Some(conference) = self.running.get_mut(id) else { return false };
            if conference.news.take(now, interval) {
                lists.push((*id, conference.list()));
            }
            conference.due().is_some()
        });
        lists
    }

    /// The users whose places are not kept any longer.
    pub(super) fn lapsed(&self, now: Instant) -> Vec<UserId> {
        let waiting = self.waiting.iter().filter_map(|id| self.running.get(id));
        let kept = waiting.flat_map(|conference| &conference.kept);
        kept.filter(|(_, until)| **until <= now).map(|(user, _)| user.clone()).collect()
    }
}
