//! Who is assigned to which breakout room, who is where, and until when.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant};

use super::member::Member;
use super::news::News;
use crate::id::{RoomName, UserId};
use crate::protocol::{Breakouts, ClientKind, MAX_LISTED_HERE, MAX_LISTED_USERS, MAX_MESH, MAX_PARTICIPANTS, User};

/// The number of the conference of a meeting, and the place of those who stay in a lecture. Breakout rooms and calls
/// have higher numbers.
pub(super) const MEETING: u32 = 0;

/// The most students of a lecture in breakout rooms whose media the server carries. The teacher visits these rooms.
pub(super) const MAX_CARRIED_STUDENTS: usize = MAX_PARTICIPANTS - 1;

/// Members that have left keep their seats, up to this number beside those of twice the members.
const MORE_SEATS: usize = 64;

/// The breakout rooms of a meeting or a lecture.
#[derive(Debug)]
pub(super) struct Division {
    /// The number of breakout rooms; 0 once they are over.
    rooms: u32,
    /// The most students in breakout rooms whose media the server carries; none in a meeting.
    most_carried: Option<usize>,
    names: BTreeMap<u32, RoomName>,
    seats: BTreeMap<UserId, Seat>,
    /// When everybody is moved back.
    ends: Option<Instant>,
    is_recalled: bool,
    /// Changes of the places.
    news: News,
}

#[derive(Debug, Clone, Copy, Default)]
struct Seat {
    /// The breakout room to which the member is assigned.
    own: Option<u32>,
    at: u32,
}

impl Division {
    /// Distributes the members that are moved: as `assign` says, and the others evenly and at random. Everybody is
    /// still where it was `before`.
    pub(super) fn new(
        now: Instant,
        (rooms, ends, most_carried): (u32, Option<Instant>, Option<usize>),
        assign: &BTreeMap<UserId, u32>,
        members: &BTreeMap<UserId, Member>,
        before: Option<&Self>,
    ) -> Self {
        let mut news = News::default();
        news.changed(now, Duration::ZERO);
        let names = before.map(|before| before.names.clone()).unwrap_or_default();
        let names = names.into_iter().filter(|(breakout, _)| *breakout <= rooms).collect();
        let seats = BTreeMap::new();
        let mut division = Self { rooms, most_carried, names, seats, ends, is_recalled: false, news };
        let at = |user: &UserId| before.map_or(MEETING, |before| before.at(user));
        let mut unassigned = Vec::new();
        for (user, member) in members {
            let own = assign.get(user).copied();
            let seat = Seat { own: own.filter(|own| *own != MEETING && division.moves(&member.user)), at: at(user) };
            division.seats.insert(user.clone(), seat);
            if own.is_none() && division.moves(&member.user) {
                unassigned.push(user);
            }
        }
        // A new state for each division: the order is another one each time, and nobody can know it.
        let order = RandomState::new();
        unassigned.sort_by_key(|user| order.hash_one(user));
        let mut sizes = division.sizes(members);
        for user in unassigned {
            let smallest = smallest(&sizes);
            sizes[smallest as usize - 1] += 1;
            division.seats.entry(user.clone()).or_default().own = Some(smallest);
        }
        division
    }

    /// Where each member has to go: to its own breakout room. Who moderates stays, as long as there is such a room.
    pub(super) fn targets(&self, members: &BTreeMap<UserId, Member>) -> Vec<(UserId, u32)> {
        let target = |(user, member): (&UserId, &Member)| {
            let seat = self.seats.get(user).copied().unwrap_or_default();
            let visited = Some(seat.at).filter(|at| member.user.moderates && *at <= self.rooms);
            (user.clone(), visited.or(seat.own).unwrap_or(MEETING))
        };
        members.iter().map(target).collect()
    }

    /// Whether the user is assigned to a breakout room at all. In a lecture, only a page has what it takes to meet.
    pub(super) fn moves(&self, user: &User) -> bool {
        let has_page = !self.is_lecture() || user.client == Some(ClientKind::Browser);
        has_page && !user.moderates && !user.publishes
    }

    fn is_lecture(&self) -> bool {
        self.most_carried.is_some()
    }

    /// The most students in breakout rooms whose media the server carries; none in a meeting.
    pub(super) fn most_carried(&self) -> Option<usize> {
        self.most_carried
    }

    /// Whether a breakout room takes one more student, if the others are in rooms of these `sizes` and the server
    /// carries the rooms of `on_server` anyway.
    pub(super) fn takes(&self, breakout: u32, mut sizes: Vec<usize>, on_server: &[u32]) -> bool {
        let size = (breakout as usize).checked_sub(1).and_then(|at| sizes.get_mut(at));
        size.into_iter().for_each(|size| *size += 1);
        self.most_carried.is_none_or(|most| carried(&sizes, on_server) <= most)
    }

    /// The number of breakout rooms.
    pub(super) fn rooms(&self) -> u32 {
        self.rooms
    }

    /// Where the user is.
    pub(super) fn at(&self, user: &UserId) -> u32 {
        self.seats.get(user).map_or(MEETING, |seat| seat.at)
    }

    /// The breakout room to which the user is assigned.
    pub(super) fn own(&self, user: &UserId) -> Option<u32> {
        self.seats.get(user)?.own
    }

    /// When everybody is moved back.
    pub(super) fn ends(&self) -> Option<Instant> {
        self.ends
    }

    /// When the room has to look after this.
    pub(super) fn due(&self) -> Option<Instant> {
        [self.ends, self.news.due()].into_iter().flatten().min()
    }

    /// Assigns a member, which stays where it is.
    pub(super) fn assign(&mut self, now: Instant, user: &UserId, breakout: u32) {
        self.seats.entry(user.clone()).or_default().own = Some(breakout).filter(|own| *own != MEETING);
        self.changed(now);
    }

    /// A member is in another place now.
    pub(super) fn place(&mut self, now: Instant, user: &UserId, at: u32) {
        self.seats.entry(user.clone()).or_default().at = at;
        self.changed(now);
    }

    /// A client is about to become a member, perhaps again.
    pub(super) fn arrived(&mut self, now: Instant, user: &User, members: &BTreeMap<UserId, Member>, on_server: &[u32]) {
        self.changed(now);
        if self.seats.contains_key(&user.user_id) {
            return;
        }
        if self.seats.len() >= 2 * members.len() + MORE_SEATS {
            self.seats.retain(|known, _| members.contains_key(known));
        }
        let sizes = self.sizes(members);
        let own = (self.moves(user) && self.rooms > 0).then(|| smallest(&sizes));
        let own = own.filter(|own| self.takes(*own, sizes, on_server));
        self.seats.insert(user.user_id.clone(), Seat { own, at: own.unwrap_or(MEETING) });
    }

    /// Names a breakout room, or takes its name away.
    pub(super) fn name(&mut self, breakout: u32, name: Option<&RoomName>) {
        self.names.remove(&breakout);
        self.names.extend(name.map(|name| (breakout, name.clone())));
    }

    /// Everybody is moved back at this time.
    pub(super) fn recall(&mut self, ends: Instant) {
        (self.ends, self.is_recalled) = (Some(ends), true);
    }

    /// The breakout rooms are over; returns how many there were.
    pub(super) fn close(&mut self) -> u32 {
        std::mem::take(&mut self.rooms)
    }

    /// The places have changed.
    pub(super) fn changed(&mut self, now: Instant) {
        self.news.changed(now, Duration::ZERO);
    }

    /// Whether it is time to tell the places; the next time is after `interval`.
    pub(super) fn take_news(&mut self, now: Instant, interval: Duration) -> bool {
        self.news.take(now, interval)
    }

    /// The message for a member.
    pub(super) fn seen_by(&self, now: Instant, member: &Member, members: &BTreeMap<UserId, Member>) -> Breakouts {
        if self.rooms == 0 {
            return Breakouts::default();
        }
        let user = &member.user.user_id;
        let listed = members.keys().filter(|_| member.user.moderates).take(MAX_LISTED_USERS);
        let at = self.at(user);
        let here = members.keys().filter(|other| self.at(other) == at);
        let here = here.take(MAX_LISTED_HERE + 1).cloned().collect::<Vec<_>>();
        let is_here_listed = here.len() <= MAX_LISTED_HERE && (at != MEETING || !self.is_lecture());
        let millis = |ends: Instant| ends.saturating_duration_since(now).as_millis();
        Breakouts {
            rooms: self.rooms,
            at,
            own: self.own(user),
            ends_in_ms: self.ends.map(|ends| millis(ends).try_into().unwrap_or(u64::MAX)),
            is_recalled: self.is_recalled,
            names: self.listed_names(),
            here: if is_here_listed { here } else { Vec::new() },
            places: listed.map(|user| (user.clone(), self.at(user))).collect(),
        }
    }

    /// The names as the message has them.
    fn listed_names(&self) -> Vec<Option<RoomName>> {
        let all = (1..=self.rooms).map(|breakout| self.names.get(&breakout).cloned());
        if self.names.is_empty() { Vec::new() } else { all.collect() }
    }

    /// How many of the members are assigned to each breakout room.
    pub(super) fn sizes(&self, members: &BTreeMap<UserId, Member>) -> Vec<usize> {
        let mut sizes = vec![0; self.rooms as usize];
        for own in members.keys().filter_map(|user| self.own(user)) {
            sizes.get_mut(own as usize - 1).into_iter().for_each(|size| *size += 1);
        }
        sizes
    }
}

/// The number of the smallest breakout room, of those the first.
fn smallest(sizes: &[usize]) -> u32 {
    (1..).zip(sizes).min_by_key(|(_, size)| **size).map_or(MEETING, |(breakout, _)| breakout)
}

/// How many students are in breakout rooms whose media the server carries, if the rooms have these sizes: those of more
/// than [`MAX_MESH`], and those of `on_server`.
pub(super) fn carried(sizes: &[usize], on_server: &[u32]) -> usize {
    let is_carried = |(id, size): &(u32, &usize)| **size > MAX_MESH || on_server.contains(id);
    (1..).zip(sizes).filter(is_carried).map(|(_, size)| size).sum()
}
