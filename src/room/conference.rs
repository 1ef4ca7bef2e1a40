//! The conferences of a room: who takes part, under which entry, and who has to hear of it.
//!
//! A meeting has one conference, which is empty at first, and one more for each of its breakout rooms (`breakouts`). A
//! lecture has only those of its breakout rooms. A call is a conference of two, which ends when one of them leaves. A
//! participant whose page is loaded again keeps its place for a while, and gets another entry.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::division::{Division, MEETING};
use super::files::{Reader, RoomFiles};
use super::member::ConferenceHost;
use super::news::News;
use super::rings::Rings;
use super::talk::Talk;
use crate::id::{Nickname, UserId};
use crate::protocol::{MediaHost, MediaMove, Participant, Participants, RoomKind, TrackName};

/// A part of the state of a room that only meeting and call rooms have, and lectures that were split.
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
    /// The last number of an entry, of a call or of a file.
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
    /// The breakout rooms of a meeting.
    pub(super) division: Option<Division>,
    /// The time for the next message of a chat, in milliseconds since 1970.
    pub(super) time: u64,
    /// The files of a meeting whose media the server carries.
    pub(super) files: RoomFiles,
    /// The media host, if the server carries the media of a conference.
    pub(super) host: Option<ConferenceHost>,
}

/// A call, the meeting, or a breakout room.
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
    /// The chat of a meeting or of a breakout room.
    pub(super) talk: Option<Talk>,
    news: News,
}

/// The participant that is large for everybody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Spotlight {
    pub(super) user: UserId,
    /// Whether the owner has chosen it: then no other participant takes the spotlight.
    pub(super) is_chosen: bool,
}

impl Conference {
    /// The meeting, or a breakout room, without participants.
    pub(super) fn with_chat(talk: Talk) -> Self {
        Self { talk: Some(talk), ..Self::default() }
    }

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
            running: is_meeting.then(|| (MEETING, Conference::with_chat(Talk::of_meeting()))).into_iter().collect(),
            places: BTreeMap::new(),
            waiting: BTreeSet::new(),
            rings: Rings::default(),
            is_spotlight_restricted: false,
            info: News::default(),
            division: None,
            time: 0,
            files: RoomFiles::default(),
            host: None,
        }
    }

    pub(super) fn is_meeting(&self) -> bool {
        self.kind == RoomKind::Meeting
    }

    pub(super) fn is_call(&self) -> bool {
        self.kind == RoomKind::Call
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

    /// Where a member of a meeting or a lecture is: the number of a breakout room, or [`MEETING`].
    pub(super) fn at(&self, user: &UserId) -> u32 {
        self.division.as_ref().map_or(MEETING, |division| division.at(user))
    }

    /// The list of a conference for its members.
    pub(super) fn list(&self, id: u32) -> Participants {
        let breakout = if self.is_call() { MEETING } else { id };
        let Some(Conference { participants, media, moved, spotlight, .. }) = self.running.get(&id) else {
            return Participants { breakout, ..Participants::default() };
        };
        let spotlight = spotlight.as_ref().map(|large| large.user.clone());
        Participants { participants: participants.clone(), breakout, media: *media, moved: *moved, spotlight }
    }

    pub(super) fn conference_mut(&mut self, id: u32) -> Option<&mut Conference> {
        self.running.get_mut(&id)
    }

    /// Adds a breakout room, or replaces it.
    pub(super) fn open(&mut self, id: u32, talk: Talk) {
        self.running.insert(id, Conference::with_chat(talk));
    }

    /// The conversation of a new breakout room: empty, under the rules of the meeting.
    pub(super) fn chat_of_breakout(&self) -> Talk {
        let meeting = self.conference(MEETING).and_then(|meeting| meeting.talk.as_ref());
        meeting.map_or_else(Talk::of_meeting, Talk::of_breakout)
    }

    /// Removes a breakout room, which nobody is in any more.
    pub(super) fn remove(&mut self, id: u32) {
        self.waiting.remove(&id);
        self.running.remove(&id);
    }

    /// The numbers of all conferences.
    pub(super) fn ids(&self) -> Vec<u32> {
        self.running.keys().copied().collect()
    }

    /// The chats of a meeting and of its breakout rooms, by their numbers.
    pub(super) fn chats(&self) -> impl Iterator<Item = (u32, &Talk)> {
        // A call has no chat here, and a room for calls may have thousands of them.
        let all = (!self.is_call()).then_some(&self.running).into_iter().flatten();
        all.filter_map(|(id, conference)| Some((*id, conference.talk.as_ref()?)))
    }

    /// The chat where a member is.
    pub(super) fn chat_of(&mut self, user: &UserId) -> Option<&mut Talk> {
        let at = self.at(user);
        self.running.get_mut(&at)?.talk.as_mut()
    }

    /// The participants whose media the server carries, and those whose place is kept there.
    pub(super) fn on_server(&self) -> usize {
        self.carried().map(|(_, conference)| conference.taken()).sum()
    }

    /// The conferences whose media the server carries, with their numbers.
    pub(super) fn carried(&self) -> impl Iterator<Item = (u32, &Conference)> {
        let all = self.running.iter().map(|(id, conference)| (*id, conference));
        all.filter(|(_, conference)| conference.media == MediaHost::Server)
    }

    /// All users that have a place.
    pub(super) fn holders(&self) -> Vec<UserId> {
        self.places.keys().cloned().collect()
    }

    /// The user as a participant.
    pub(super) fn get(&self, user: &UserId) -> Option<&Participant> {
        self.of(user)?.get(user)
    }

    pub(super) fn get_mut(&mut self, user: &UserId) -> Option<&mut Participant> {
        self.of_mut(user)?.participants.iter_mut().find(|participant| participant.user_id == *user)
    }

    /// The user as a participant that may fetch files.
    pub(super) fn reader<'a>(&self, user: &'a UserId) -> Option<Reader<'a>> {
        self.get(user)?;
        Some(Reader { user, conference: self.place(user)? })
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

    /// The number of participants of each breakout room.
    pub(super) fn breakouts(&self) -> Vec<usize> {
        let rooms = self.division.as_ref().map_or(0, Division::rooms);
        (1..=rooms).map(|id| self.conference(id).map_or(0, |breakout| breakout.participants.len())).collect()
    }

    /// Since when the conference runs that runs for longest.
    pub(super) fn since(&self) -> Option<Instant> {
        self.running.values().filter_map(|conference| conference.since).min()
    }

    /// A call begins, without participants.
    pub(super) fn start(&mut self) -> u32 {
        let id = self.next_number();
        self.running.insert(id, Conference::default());
        id
    }

    /// A number that no entry, call or file of this room had.
    pub(super) fn next_number(&mut self) -> u32 {
        self.last = self.last.wrapping_add(1).max(1);
        self.last
    }

    /// The user enters, and gets an entry.
    pub(super) fn enter(&mut self, now: Instant, id: u32, user: (&UserId, &Nickname), sends: Vec<TrackName>) {
        let entry = self.next_number();
        let Some(conference) = self.running.get_mut(&id) else { return };
        let (user_id, nickname) = (user.0.clone(), user.1.clone());
        conference.since.get_or_insert(now);
        conference.kept.remove(&user_id);
        self.places.insert(user_id.clone(), id);
        conference.participants.push(Participant::new(user_id, nickname, entry, sends));
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
        self.files.drop_unfinished(user);
        let Some(conference) = self.running.get_mut(&id) else { return };
        conference.remove(user);
        conference.kept.insert(user.clone(), until);
        self.changed(now, id, Duration::ZERO);
    }

    /// Frees the place of a user in the meeting.
    pub(super) fn leave(&mut self, now: Instant, user: &UserId) {
        let Some(id) = self.places.remove(user) else { return };
        self.files.drop_unfinished(user);
        let Some(conference) = self.running.get_mut(&id) else { return };
        conference.kept.remove(user);
        conference.remove(user);
        if conference.taken() == 0 {
            let (news, talk) = (std::mem::take(&mut conference.news), conference.talk.take());
            *conference = Conference { news, talk, ..Conference::default() };
            self.files.end(id);
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
        let division = self.division.as_ref().and_then(Division::due);
        let others = [self.rings.due(), self.info.due(), division, self.files.due()];
        let chats = self.chats().filter_map(|(_, talk)| talk.next_tick());
        waiting.chain(others.into_iter().flatten()).chain(chats).min()
    }

    /// The lists that have changed and are due, with the numbers of their conferences.
    pub(super) fn take_lists(&mut self, now: Instant, interval: Duration) -> Vec<(u32, Participants)> {
        let mut changed = Vec::new();
        self.waiting.retain(|id| {
            let Some(conference) = self.running.get_mut(id) else { return false };
            if conference.news.take(now, interval) {
                changed.push(*id);
            }
            conference.due().is_some()
        });
        changed.into_iter().map(|id| (id, self.list(id))).collect()
    }

    /// The users whose places are not kept any longer.
    pub(super) fn lapsed(&self, now: Instant) -> Vec<UserId> {
        let waiting = self.waiting.iter().filter_map(|id| self.running.get(id));
        let kept = waiting.flat_map(|conference| &conference.kept);
        kept.filter(|(_, until)| **until <= now).map(|(user, _)| user.clone()).collect()
    }
}
