//! The register: who was in class, when, and what each student got of it. Pure; time is an argument.
//!
//! A student is in class from its first word, of signalling or of media, to the last of both. A student who comes back
//! has the same row.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::talk::Deed;
use crate::id::{Named, UserId, named};
use crate::protocol::{ClientKind, User};
use crate::report::{StudentRow, Summary};
use crate::sfu::{PeerStats, SentPicture};

/// Students in the register at the most. Anybody may join a room under ever new ids: students who have watched keep
/// their rows, and the rows of the others make room.
const MAX_ROWS: usize = 10_000;

/// One moment, by both clocks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Now {
    pub(super) instant: Instant,
    pub(super) at: Timestamp,
}

impl Now {
    /// The present.
    pub(super) fn read() -> Self {
        Self { instant: Instant::now(), at: Timestamp::now() }
    }
}

/// Who was in class.
#[derive(Debug)]
pub(super) struct Register {
    begun: Now,
    rows: HashMap<UserId, Row>,
    /// Students that joined, the number of the next row.
    next: u64,
    /// Students that found no row.
    unlisted: u64,
    most_at_once: usize,
    /// Bytes that all students were sent.
    bytes: u64,
    changed: bool,
}

#[derive(Debug)]
struct Row {
    number: u64,
    nickname: String,
    client: Option<ClientKind>,
    first_joined: Timestamp,
    last_left: Option<Timestamp>,
    times_joined: u32,
    /// In the room, by signalling.
    is_in_room: bool,
    /// Receives media, and that is counted until then.
    watching: Option<Instant>,
    picture: SentPicture,
    watched: Duration,
    low: Duration,
    withheld: Duration,
    /// Of connections that are over.
    earlier: Sent,
    /// Of the connection that stands.
    current: Sent,
    /// Without media since then, after it had some.
    absent: Option<Instant>,
    longest_absence: Duration,
    hands: u32,
    chats: u32,
}

/// What one connection carried.
#[derive(Debug, Clone, Copy, Default)]
struct Sent {
    packets: u64,
    bytes: u64,
    lost: u64,
}

impl Sent {
    fn plus(self, other: Sent) -> Sent {
        Sent { packets: self.packets + other.packets, bytes: self.bytes + other.bytes, lost: self.lost + other.lost }
    }
}

impl Register {
    /// Nobody is there yet.
    pub(super) fn new(begun: Now) -> Self {
        Self { begun, rows: HashMap::new(), next: 1, unlisted: 0, most_at_once: 0, bytes: 0, changed: true }
    }

    /// Signalling says who is in the room.
    pub(super) fn joined(&mut self, now: Now, user: &User) {
        let Some(row) = self.enter(now, &user.user_id) else { return };
        row.nickname = user.nickname.as_str().to_owned();
        row.client = user.client.or(row.client);
        row.is_in_room = true;
    }

    /// Signalling says that a student is not in the room any more; its media may still stand.
    pub(super) fn left(&mut self, now: Now, user: &UserId) {
        let Some(row) = self.rows.get_mut(user) else { return };
        row.is_in_room = false;
        row.leave(now);
        self.changed = true;
    }

    /// A student's media begins.
    pub(super) fn connected(&mut self, now: Now, user: &UserId) {
        let Some(row) = self.enter(now, user) else { return };
        row.begin_watching(now.instant);
        let watching = self.rows.values().filter(|row| row.watching.is_some()).count();
        self.most_at_once = self.most_at_once.max(watching);
    }

    /// A student's media ends.
    pub(super) fn gone(&mut self, now: Now, user: &UserId) {
        let Some(row) = self.rows.get_mut(user) else { return };
        row.end_watching(now.instant);
        row.leave(now);
        self.changed = true;
    }

    /// Once a second: what every student that receives media has got, and the bytes of all.
    pub(super) fn sample(&mut self, now: Now, bytes: u64, peers: &[(UserId, PeerStats)]) {
        self.bytes = bytes;
        self.most_at_once = self.most_at_once.max(peers.len());
        let mut missing: HashMap<&UserId, &mut Row> =
            self.rows.iter_mut().filter(|(_, row)| row.watching.is_some()).collect();
        for (user, stats) in peers {
            // Who is not there yet, or not any more, is told by an event.
            if let Some(row) = missing.remove(user) {
                row.sample(now.instant, stats);
            }
        }
        for row in missing.into_values() {
            row.end_watching(now.instant);
        }
    }

    /// What a student did.
    pub(super) fn note(&mut self, deed: &Deed) {
        let (user, is_chat) = match deed {
            Deed::Said(user) => (user, true),
            Deed::RaisedHand(user) => (user, false),
        };
        let Some(row) = self.rows.get_mut(user) else { return };
        let count = if is_chat { &mut row.chats } else { &mut row.hands };
        *count = count.saturating_add(1);
        self.changed = true;
    }

    /// Whether something is new since the last time that this was asked.
    pub(super) fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    /// What a student is called.
    pub(super) fn nickname(&self, user: &UserId) -> &str {
        self.rows.get(user).map_or("", |row| &row.nickname)
    }

    /// A student in a sentence.
    pub(super) fn named<'a>(&'a self, user: &'a UserId) -> Named<'a> {
        named(user, self.nickname(user))
    }

    /// Every student, in the order in which they came.
    pub(super) fn rows(&self, now: Now) -> Vec<StudentRow> {
        let mut rows: Vec<(&UserId, &Row)> = self.rows.iter().collect();
        rows.sort_unstable_by_key(|(_, row)| row.number);
        rows.into_iter().map(|(user, row)| row.report(user, now.instant)).collect()
    }

    /// The lecture is over: who is still in class leaves now.
    pub(super) fn close(&mut self, now: Now) {
        for row in self.rows.values_mut() {
            row.end_watching(now.instant);
            row.is_in_room = false;
            row.leave(now);
        }
    }

    /// How long it has lasted.
    pub(super) fn lasted(&self, now: Now) -> Duration {
        now.instant.saturating_duration_since(self.begun.instant)
    }

    /// The whole lecture.
    pub(super) fn summary(&self, now: Now) -> Summary {
        Summary {
            duration_s: self.lasted(now).as_secs_f64(),
            most_at_once: self.most_at_once,
            bytes: self.bytes,
            unlisted: self.unlisted,
            attendance: None,
            students: self.rows(now),
        }
    }

    /// The row of a student that is in class from now on, if there is one or room for one.
    fn enter(&mut self, now: Now, user: &UserId) -> Option<&mut Row> {
        self.changed = true;
        if !self.rows.contains_key(user) {
            if self.rows.len() >= MAX_ROWS {
                let before = self.rows.len();
                self.rows.retain(|_, row| row.is_in_class() || !row.watched.is_zero());
                self.unlisted += (before - self.rows.len()) as u64;
            }
            if self.rows.len() >= MAX_ROWS {
                self.unlisted += 1;
                return None;
            }
            self.rows.insert(user.clone(), Row::new(self.next, now.at));
            self.next += 1;
        }
        let row = self.rows.get_mut(user)?;
        if !row.is_in_class() {
            row.times_joined += 1;
            row.last_left = None;
        }
        Some(row)
    }
}

impl Row {
    fn new(number: u64, first_joined: Timestamp) -> Self {
        Self {
            number,
            nickname: String::new(),
            client: None,
            first_joined,
            last_left: None,
            times_joined: 0,
            is_in_room: false,
            watching: None,
            picture: SentPicture::Full,
            watched: Duration::ZERO,
            low: Duration::ZERO,
            withheld: Duration::ZERO,
            earlier: Sent::default(),
            current: Sent::default(),
            absent: None,
            longest_absence: Duration::ZERO,
            hands: 0,
            chats: 0,
        }
    }

    fn is_in_class(&self) -> bool {
        self.is_in_room || self.watching.is_some()
    }

    /// Is out of class, if neither signalling nor media is left.
    fn leave(&mut self, now: Now) {
        if !self.is_in_class() && self.last_left.is_none() {
            self.last_left = Some(now.at);
        }
    }

    fn begin_watching(&mut self, now: Instant) {
        self.watching.get_or_insert(now);
        self.longest_absence = self.absence(now);
        self.absent = None;
    }

    fn end_watching(&mut self, now: Instant) {
        if self.watching.is_some() {
            self.count(now);
            self.watching = None;
            self.absent = Some(now);
            self.earlier = self.earlier.plus(std::mem::take(&mut self.current));
        }
    }

    fn sample(&mut self, now: Instant, stats: &PeerStats) {
        self.count(now);
        self.picture = stats.picture;
        let PeerStats { packets, bytes, lost, .. } = *stats;
        if packets < self.current.packets {
            // A new connection counts from 0.
            self.earlier = self.earlier.plus(self.current);
        }
        self.current = Sent { packets, bytes, lost };
    }

    /// Counts the time until now for what is watched.
    fn count(&mut self, now: Instant) {
        let Some(since) = self.watching.replace(now) else { return };
        let time = now.saturating_duration_since(since);
        self.watched += time;
        match self.picture {
            SentPicture::Full => {}
            SentPicture::Low => self.low += time,
            SentPicture::Withheld => self.withheld += time,
        }
    }

    /// The longest time without media, after the first.
    fn absence(&self, now: Instant) -> Duration {
        let running = self.absent.map(|since| now.saturating_duration_since(since));
        self.longest_absence.max(running.unwrap_or_default())
    }

    fn report(&self, user: &UserId, now: Instant) -> StudentRow {
        let running = self.watching.map(|since| now.saturating_duration_since(since)).unwrap_or_default();
        let watched = self.watched + running;
        let share = |time: Duration| percent(time.as_secs_f64(), watched.as_secs_f64());
        let sent = self.earlier.plus(self.current);
        StudentRow {
            user: user.clone(),
            nickname: self.nickname.clone(),
            client: self.client.map(ClientKind::name),
            first_joined: self.first_joined,
            last_left: self.last_left,
            watched_s: watched.as_secs_f64(),
            times_joined: self.times_joined,
            loss_percent: percent(sent.lost as f64, sent.packets as f64),
            low_percent: share(self.low),
            no_picture_percent: share(self.withheld),
            bytes: sent.bytes,
            longest_absence_s: self.absence(now).as_secs_f64(),
            hands: self.hands,
            chats: self.chats,
        }
    }
}

/// The share in percent; none of nothing.
fn percent(part: f64, whole: f64) -> Option<f64> {
    (whole > 0.0).then(|| part * 100.0 / whole)
}

#[cfg(test)]
mod tests;
