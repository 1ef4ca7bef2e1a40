//! Calls, meetings, and lectures with breakout rooms: what members send to the rooms of a server, in any order.
//!
//! An input is text. Its first line is the kind of the room; each other line is an event:
//!
//! ```text
//! a join                      member a connects, perhaps again
//! a reload                    member a connects in another process
//! a lost                      the connection of member a is lost
//! a {"type":"participate"}    member a sends a message; `@b` in it is the last entry of member b
//! * {"type":"published",...}  the media host of conferences sends a message; `* lost` ends it
//! # {"type":"connected",...}  the same for the media host of a lecture, whose teacher is member a
//! + 500                       the time passes, in milliseconds
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use crate::id::UserId;
use crate::network::Network;
use crate::protocol::{
    ClientKind, ClientMessage, MAX_MESH, MAX_PARTICIPANTS, MediaHost, Participants, RoomKind, ServerMessage,
    SessionSecret,
};
use crate::room::{ConnId, Input, Meetings, Newcomer, Output, RoomLimits, Rooms, Route};

/// The most events of an input.
const MAX_EVENTS: usize = 400;

/// The most time that one event lets pass: longer than any deadline of a conference.
const MAX_PAUSE: Duration = Duration::from_secs(60);

/// The most outputs of an input of the rooms: some for each of 26 members.
const MAX_OUTPUTS: usize = 16 * 26;

/// The most ticks until a room without members is removed.
const MAX_TICKS: usize = 1_000;

/// Drives the rooms with the events of an input. Returns whether anybody took part in a call or in the meeting.
pub(super) fn conference(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    let mut lines = text.lines();
    let Some(mut world) = lines.next().and_then(RoomKind::from_name).map(World::new) else { return false };
    lines.take(MAX_EVENTS).for_each(|line| _ = world.event(line));
    world.end();
    world.met
}

/// A room with its members, as the server sees them.
struct World {
    kind: RoomKind,
    rooms: Rooms,
    now: Instant,
    /// The members by their letters.
    members: BTreeMap<char, Member>,
    /// The media hosts by their signs.
    hosts: BTreeMap<char, ConnId>,
    /// The connections that are open.
    open: BTreeSet<ConnId>,
    last_conn: u64,
    /// The user of every entry that was listed since there is this room.
    entries: BTreeMap<u32, UserId>,
    /// Whether anybody ever took part.
    met: bool,
}

#[derive(Default)]
struct Member {
    conn: Option<ConnId>,
    epoch: u32,
}

impl World {
    fn new(kind: RoomKind) -> Self {
        let limits = RoomLimits { meetings: Meetings::Anyone, max_media_rooms: 2, ..RoomLimits::default() };
        Self {
            kind,
            rooms: Rooms::new(limits),
            now: Instant::now(),
            members: BTreeMap::new(),
            hosts: BTreeMap::new(),
            open: BTreeSet::new(),
            last_conn: 0,
            entries: BTreeMap::new(),
            met: false,
        }
    }

    /// Carries out the event of a line. None for a line that is no event.
    fn event(&mut self, line: &str) -> Option<()> {
        let (who, what) = line.split_once(' ')?;
        match (who.chars().next()?, what) {
            ('+', pause) => self.pass(Duration::from_millis(pause.parse().ok()?).min(MAX_PAUSE)),
            (sign @ ('*' | '#'), "lost") => {
                let host = self.hosts.remove(&sign)?;
                self.lose(host);
            }
            (sign @ ('*' | '#'), message) => self.say(*self.hosts.get(&sign)?, message)?,
            (letter @ 'a'..='z', "join") => self.join(letter, 0)?,
            (letter @ 'a'..='z', "reload") => self.join(letter, 1)?,
            (letter @ 'a'..='z', "lost") => {
                let conn = self.members.get_mut(&letter)?.conn.take()?;
                self.lose(conn);
            }
            (letter, message) => self.say(self.members.get(&letter)?.conn?, message)?,
        }
        self.pass(Duration::ZERO);
        if self.rooms.summaries(self.now).is_empty() {
            self.entries.clear();
        }
        Some(())
    }

    fn join(&mut self, letter: char, epochs: u32) -> Option<()> {
        let conn = self.connection();
        let member = self.members.entry(letter).or_default();
        member.epoch = member.epoch.max(1) + epochs;
        member.conn = Some(conn);
        let epoch = member.epoch;
        let newcomer = newcomer(letter, epoch, self.kind)?;
        self.handle(Input::Join { conn, newcomer });
        Some(())
    }

    fn say(&mut self, conn: ConnId, message: &str) -> Option<()> {
        let mut message = message.to_owned();
        for (entry, user) in self.entries.iter().rev() {
            message = message.replace(&format!("@{user}"), &entry.to_string());
        }
        let message = ClientMessage::parse(&message).ok()?;
        if self.open.contains(&conn) {
            self.handle(Input::Message { conn, message });
        }
        Some(())
    }

    fn lose(&mut self, conn: ConnId) {
        if self.open.remove(&conn) {
            self.handle(Input::Lost { conn });
        }
    }

    fn connection(&mut self) -> ConnId {
        self.last_conn += 1;
        self.open.insert(ConnId(self.last_conn));
        ConnId(self.last_conn)
    }

    /// The time passes.
    fn pass(&mut self, pause: Duration) {
        let end = self.now + pause;
        while let Some(due) = self.rooms.next_tick().filter(|due| *due <= end) {
            self.now = due.max(self.now);
            self.handle(Input::Tick);
            assert!(self.rooms.next_tick().is_none_or(|next| next > self.now), "a tick leaves nothing due");
        }
        self.now = end;
    }

    /// All connections are lost: in the end there is no room.
    fn end(&mut self) {
        for conn in self.open.clone() {
            self.lose(conn);
        }
        for _ in 0..MAX_TICKS {
            let Some(due) = self.rooms.next_tick() else { break };
            self.now = due.max(self.now);
            self.handle(Input::Tick);
        }
        assert!(self.rooms.summaries(self.now).is_empty(), "the room stays");
    }

    fn handle(&mut self, input: Input) {
        let outputs = self.rooms.handle(self.now, input);
        assert!(outputs.len() <= MAX_OUTPUTS, "{} outputs", outputs.len());
        let mut starts = Vec::new();
        for output in outputs {
            match output {
                Output::Send { to, message } | Output::Relay { to, message, .. } => self.tell(to, &message),
                Output::Broadcast { to, message } => {
                    let receivers: BTreeSet<ConnId> = to.iter().copied().collect();
                    assert_eq!(receivers.len(), to.len(), "twice to the same one: {message:?}");
                    to.into_iter().for_each(|to| self.tell(to, &message));
                }
                Output::StartHost { room, publisher } => starts.push((room, publisher)),
                Output::Close { conn, .. } => {
                    assert!(self.open.remove(&conn), "{conn:?} is closed already");
                    self.hosts.retain(|_, host| *host != conn);
                }
            }
        }
        for (room, publisher) in starts {
            let conn = self.connection();
            let sign = if publisher.is_some() { '#' } else { '*' };
            assert_eq!(self.hosts.insert(sign, conn), None, "one host of each at a time");
            self.handle(Input::HostStarted { conn, room, publisher });
        }
    }

    /// Checks a message of the rooms.
    fn tell(&mut self, to: ConnId, message: &ServerMessage) {
        assert!(self.open.contains(&to), "{to:?} is not open: {message:?}");
        match message {
            ServerMessage::Participants(list) => self.listed(list),
            ServerMessage::Offer { user_id, entry: Some(entry), .. }
            | ServerMessage::Answer { user_id, entry: Some(entry), .. }
            | ServerMessage::Candidate { user_id, entry: Some(entry), .. } => {
                // The list with this entry may still be to come.
                assert!(self.entries.get(entry).is_none_or(|user| user == user_id), "{entry} is not of {user_id}");
            }
            _ => {}
        }
    }

    fn listed(&mut self, list: &Participants) {
        let Participants { participants, media, spotlight, .. } = list;
        let most = match (self.kind, media) {
            (RoomKind::Call, _) => 2,
            (_, MediaHost::Server) => MAX_PARTICIPANTS,
            // The teacher visits.
            (RoomKind::Lecture, MediaHost::Publisher) => MAX_MESH + 1,
            (RoomKind::Meeting, MediaHost::Publisher) => MAX_MESH,
        };
        assert!(participants.len() <= most, "{} take part", participants.len());
        assert!(participants.is_sorted_by(|a, b| a.entry < b.entry), "in the order of their entries: {list:?}");
        let users: BTreeSet<&UserId> = participants.iter().map(|one| &one.user_id).collect();
        assert_eq!(users.len(), participants.len(), "one entry each: {list:?}");
        assert!(spotlight.as_ref().is_none_or(|large| users.contains(large)), "the large one takes part: {list:?}");
        self.met |= !participants.is_empty();
        for one in participants {
            assert!(*media == MediaHost::Server || !one.published, "{list:?}");
            let user = self.entries.entry(one.entry).or_insert_with(|| one.user_id.clone());
            assert_eq!(*user, one.user_id, "an entry belongs to one user");
        }
    }
}

fn newcomer(letter: char, epoch: u32, kind: RoomKind) -> Option<Newcomer> {
    let session: SessionSecret = letter.to_string().repeat(16).parse().ok()?;
    let is_lecture = kind == RoomKind::Lecture;
    let publishes = is_lecture && letter == 'a';
    Some(Newcomer {
        room: "7".parse().ok()?,
        room_name: None,
        user: letter.to_string().parse().ok()?,
        nickname: "".into(),
        publishes,
        media: if publishes { MediaHost::Server } else { MediaHost::Publisher },
        epoch,
        session,
        client: Some(ClientKind::Browser),
        network: Network::of("192.0.2.1".parse().ok()?),
        moderates: publishes,
        code: None,
        kind: Some(kind).filter(|_| !is_lecture),
        may_teach: false,
        settings: None,
        identity: None,
        reserved: false,
        route: Route::default(),
    })
}
