//! The attendance list: who was in class, when, and how much of the lecture each student received. Pure: the time is an
//! argument.
//!
//! A student is in class while it is in the room or receives media. A student who comes back keeps its row.

mod viewed;

use std::collections::HashMap;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use self::viewed::Viewed;
use super::roster::Roster;
use super::talk::StudentAction;
use crate::id::{Named, UserId, named};
use crate::protocol::{ClientKind, LeaveReason, RoomOrder, User};
use crate::report::{HowLeft, MissingStudent, StudentRow, Summary};
use crate::sfu::{Departure, PeerStats, SentPicture};

/// The maximum number of rows. Anybody can join a room with many ids, so a full list drops students who never watched.
const MAX_ROWS: usize = 10_000;

/// A moment on the monotonic clock and on the wall clock.
#[derive(Debug, Clone, Copy)]
pub(super) struct Now {
    pub(super) instant: Instant,
    pub(super) at: Timestamp,
}

impl Now {
    /// Reads both clocks.
    pub(super) fn read() -> Self {
        Self { instant: Instant::now(), at: Timestamp::now() }
    }
}

/// The attendance list of a lecture.
#[derive(Debug)]
pub(super) struct Attendance {
    begun: Now,
    /// The students who should come.
    roster: Roster,
    rows: HashMap<UserId, Row>,
    /// The number of the next row.
    next: u64,
    /// Students without a row, because the list was full.
    unlisted: u64,
    most_at_once: usize,
    /// Bytes sent to all students.
    bytes: u64,
    /// Whether anything but statistics changed since [`Attendance::take_changed`].
    changed: bool,
}

#[derive(Debug)]
struct Row {
    number: u64,
    nickname: String,
    client: Option<ClientKind>,
    first_joined: Timestamp,
    last_left: Option<Timestamp>,
    /// The manner of leaving, as far as known; reported with `last_left`.
    how_left: Option<HowLeft>,
    times_joined: u32,
    /// Whether signalling has the student in the room.
    is_in_room: bool,
    /// Set while the student receives media: the time up to which `watched` counts.
    watching: Option<Instant>,
    picture: SentPicture,
    watched: Duration,
    low: Duration,
    withheld: Duration,
    /// The traffic of closed connections.
    earlier: Traffic,
    /// The traffic of the current connection.
    current: Traffic,
    /// Set while the student has no media after it had some: since when.
    absent: Option<Instant>,
    longest_absence: Duration,
    /// Set while the student speaks on the stage: since when.
    speaking: Option<Instant>,
    /// The time on the stage before that.
    spoken: Duration,
    hands: u32,
    chats: u32,
    /// The student's own report.
    viewed: Viewed,
}

/// The traffic to one student.
#[derive(Debug, Clone, Copy, Default)]
struct Traffic {
    packets: u64,
    bytes: u64,
    lost: u64,
}

impl Traffic {
    fn plus(self, other: Traffic) -> Traffic {
        Traffic { packets: self.packets + other.packets, bytes: self.bytes + other.bytes, lost: self.lost + other.lost }
    }
}

impl Attendance {
    /// An empty list of a lecture that starts now.
    pub(super) fn new(begun: Now, roster: Roster) -> Self {
        Self { begun, roster, rows: HashMap::new(), next: 1, unlisted: 0, most_at_once: 0, bytes: 0, changed: true }
    }

    /// A student has joined the room.
    pub(super) fn joined(&mut self, now: Now, user: &User) {
        let Some(row) = self.row(now, &user.user_id) else { return };
        row.nickname = user.nickname.as_str().to_owned();
        row.client = user.client.or(row.client);
        row.is_in_room = true;
        row.how_left = None;
    }

    /// A student has left the room. It may still receive media.
    pub(super) fn left(&mut self, now: Now, user: &UserId, reason: LeaveReason) {
        let Some(row) = self.rows.get_mut(user) else { return };
        row.is_in_room = false;
        row.leave(
            now,
            match reason {
                LeaveReason::Left | LeaveReason::Ended => HowLeft::Left,
                LeaveReason::Removed => HowLeft::Removed,
                LeaveReason::Lost | LeaveReason::Replaced => HowLeft::Lost,
            },
        );
        self.changed = true;
    }

    /// A student starts to receive media.
    pub(super) fn connected(&mut self, now: Now, user: &UserId) {
        let Some(row) = self.row(now, user) else { return };
        row.begin_watching(now.instant);
        let watching = self.rows.values().filter(|row| row.watching.is_some()).count();
        self.most_at_once = self.most_at_once.max(watching);
    }

    /// A student no longer receives media.
    pub(super) fn disconnected(&mut self, now: Now, user: &UserId, why: Departure) {
        let Some(row) = self.rows.get_mut(user) else { return };
        row.end_watching(now.instant);
        // A student in the room may connect again, and leaves later.
        if !row.is_in_room {
            row.leave(now, if why == Departure::Left { HowLeft::Left } else { HowLeft::Lost });
        }
        self.changed = true;
    }

    /// The server carried out an order. Those who are put out have left the room already.
    pub(super) fn ordered(&mut self, order: &RoomOrder) {
        let (user, how) = match order {
            RoomOrder::Kick { target_uid } => (target_uid, HowLeft::Kicked),
            RoomOrder::Ban { target_uid } => (target_uid, HowLeft::Banned),
            _ => return,
        };
        if let Some(row) = self.rows.get_mut(user).filter(|row| !row.is_in_room) {
            row.how_left = row.how_left.max(Some(how));
            self.changed = true;
        }
    }

    /// Takes the SFU's statistics, once a second: `bytes` sent to all students, and the totals of each.
    pub(super) fn sample(&mut self, now: Now, bytes: u64, peers: &[(UserId, PeerStats)]) {
        self.bytes = bytes;
        self.most_at_once = self.most_at_once.max(peers.len());
        let mut missing: HashMap<&UserId, &mut Row> =
            self.rows.iter_mut().filter(|(_, row)| row.watching.is_some()).collect();
        for (user, stats) in peers {
            // `connected` adds new students.
            if let Some(row) = missing.remove(user) {
                row.sample(now.instant, stats);
            }
        }
        for row in missing.into_values() {
            row.end_watching(now.instant);
        }
    }

    /// The students to ask now how much they have seen. Call this once a second.
    pub(super) fn due_reports(&mut self, now: Now) -> Vec<UserId> {
        let watching = self.rows.iter_mut().filter(|(_, row)| row.watching.is_some());
        watching.filter_map(|(user, row)| row.viewed.is_due(now.instant).then(|| user.clone())).collect()
    }

    /// Counts an action of a student.
    pub(super) fn count(&mut self, now: Now, deed: &StudentAction) {
        let (StudentAction::Chatted(user) | StudentAction::RaisedHand(user) | StudentAction::Viewed(user, _)) = deed;
        let Some(row) = self.rows.get_mut(user) else { return };
        match deed {
            StudentAction::Chatted(_) => row.chats = row.chats.saturating_add(1),
            StudentAction::RaisedHand(_) => row.hands = row.hands.saturating_add(1),
            StudentAction::Viewed(_, viewing) => return row.viewed.report(now.instant, *viewing),
        }
        self.changed = true;
    }

    /// A student speaks on the stage.
    pub(super) fn speaks(&mut self, now: Now, user: &UserId) {
        if let Some(row) = self.rows.get_mut(user) {
            row.speaking.get_or_insert(now.instant);
            self.changed = true;
        }
    }

    /// A student is not on the stage any more, or did not come.
    pub(super) fn speaks_no_more(&mut self, now: Now, user: &UserId) {
        if let Some(row) = self.rows.get_mut(user) {
            row.spoken = row.spoken(now.instant);
            row.speaking = None;
            self.changed = true;
        }
    }

    /// Whether anything but statistics changed since the last call.
    pub(super) fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    /// The nickname of a student; may be empty.
    pub(super) fn nickname(&self, user: &UserId) -> &str {
        self.rows.get(user).map_or("", |row| &row.nickname)
    }

    /// Names a student in a sentence.
    pub(super) fn named<'a>(&'a self, user: &'a UserId) -> Named<'a> {
        named(user, self.nickname(user))
    }

    /// All rows, in the order in which the students joined.
    pub(super) fn rows(&self, now: Now) -> Vec<StudentRow> {
        let mut rows: Vec<(&UserId, &Row)> = self.rows.iter().collect();
        rows.sort_unstable_by_key(|(_, row)| row.number);
        rows.into_iter().map(|(user, row)| row.report(user, now.instant)).collect()
    }

    /// The students of the roster who have not come yet.
    pub(super) fn missing(&self) -> Vec<MissingStudent> {
        self.roster.missing(self.rows.iter().map(|(user, row)| (user.as_str(), row.nickname.as_str())))
    }

    /// Whether there is a roster.
    pub(super) fn has_roster(&self) -> bool {
        !self.roster.is_empty()
    }

    /// The lecture is over: all students leave now.
    pub(super) fn close(&mut self, now: Now) {
        for row in self.rows.values_mut() {
            if row.is_in_class() {
                row.how_left = None;
            }
            row.end_watching(now.instant);
            row.spoken = row.spoken(now.instant);
            row.speaking = None;
            row.is_in_room = false;
            row.leave(now, HowLeft::Stayed);
        }
    }

    /// The time since the start of the lecture.
    pub(super) fn duration(&self, now: Now) -> Duration {
        now.instant.saturating_duration_since(self.begun.instant)
    }

    /// The summary of the lecture.
    pub(super) fn summary(&self, now: Now) -> Summary {
        Summary {
            duration_s: self.duration(now).as_secs_f64(),
            most_at_once: self.most_at_once,
            bytes: self.bytes,
            unlisted: self.unlisted,
            attendance: None,
            students: self.rows(now),
            missing: self.missing(),
        }
    }

    /// The row of a student who comes into class; `None` if the list is full.
    fn row(&mut self, now: Now, user: &UserId) -> Option<&mut Row> {
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
            (row.last_left, row.how_left) = (None, None);
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
            how_left: None,
            times_joined: 0,
            is_in_room: false,
            watching: None,
            picture: SentPicture::Full,
            watched: Duration::ZERO,
            low: Duration::ZERO,
            withheld: Duration::ZERO,
            earlier: Traffic::default(),
            current: Traffic::default(),
            absent: None,
            longest_absence: Duration::ZERO,
            speaking: None,
            spoken: Duration::ZERO,
            hands: 0,
            chats: 0,
            viewed: Viewed::default(),
        }
    }

    fn is_in_class(&self) -> bool {
        self.is_in_room || self.watching.is_some()
    }

    /// Sets `last_left` if the student is neither in the room nor receives media.
    fn leave(&mut self, now: Now, how: HowLeft) {
        if self.last_left.is_some() {
            return;
        }
        self.how_left = self.how_left.max(Some(how));
        if !self.is_in_class() {
            self.last_left = Some(now.at);
        }
    }

    fn begin_watching(&mut self, now: Instant) {
        self.watching.get_or_insert(now);
        self.viewed.begin(now);
        self.longest_absence = self.absence(now);
        self.absent = None;
    }

    fn end_watching(&mut self, now: Instant) {
        if self.watching.is_some() {
            self.add_time(now);
            self.watching = None;
            self.absent = Some(now);
            self.earlier = self.earlier.plus(std::mem::take(&mut self.current));
        }
    }

    fn sample(&mut self, now: Instant, stats: &PeerStats) {
        self.add_time(now);
        self.picture = stats.picture;
        let PeerStats { packets, bytes, lost, .. } = *stats;
        if packets < self.current.packets {
            // A new connection counts from 0.
            self.earlier = self.earlier.plus(self.current);
        }
        self.current = Traffic { packets, bytes, lost };
    }

    /// Adds the time since the last call to the totals.
    fn add_time(&mut self, now: Instant) {
        let Some(since) = self.watching.replace(now) else { return };
        let time = now.saturating_duration_since(since);
        self.watched += time;
        match self.picture {
            SentPicture::Full => {}
            SentPicture::Low => self.low += time,
            SentPicture::Withheld => self.withheld += time,
        }
    }

    /// The longest time without media after the student first had some.
    fn absence(&self, now: Instant) -> Duration {
        let running = self.absent.map(|since| now.saturating_duration_since(since));
        self.longest_absence.max(running.unwrap_or_default())
    }

    /// The time on the stage.
    fn spoken(&self, now: Instant) -> Duration {
        self.spoken + self.speaking.map(|since| now.saturating_duration_since(since)).unwrap_or_default()
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
            how_left: self.how_left.filter(|_| self.last_left.is_some()),
            watched_s: watched.as_secs_f64(),
            times_joined: self.times_joined,
            loss_percent: percent(sent.lost as f64, sent.packets as f64),
            low_percent: share(self.low),
            no_picture_percent: share(self.withheld),
            bytes: sent.bytes,
            longest_absence_s: self.absence(now).as_secs_f64(),
            hands: self.hands,
            chats: self.chats,
            stage_s: self.spoken(now).as_secs_f64(),
            seen_s: self.viewed.seen().map(|time| time.as_secs_f64()),
            away_s: self.viewed.away().map(|time| time.as_secs_f64()),
            freezes: self.viewed.freezes(),
        }
    }
}

/// The share in percent; `None` if the whole is 0.
fn percent(part: f64, whole: f64) -> Option<f64> {
    (whole > 0.0).then(|| part * 100.0 / whole)
}

#[cfg(test)]
mod tests;
