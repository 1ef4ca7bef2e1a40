//! All rooms of a server: which room an input is for, and what clients may ask of all rooms together.

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant};

use super::conference::Conferences;
use super::division::MEETING;
use super::files::FileLedger;
use super::host::MediaPlace;
use super::joining::wrong_kind;
use super::member::{Applicant, Opening};
use super::members::Room;
use super::pairs::offered;
use super::places::{Place, media_place_for};
use super::refusals::Refusals;
use super::{ConnId, Input, Meetings, Newcomer, Output, Reservation, RoomLimits, RoomRefusal, RoomSummary};
use crate::access::Attempts;
use crate::id::{RoomId, RoomName, UserId};
use crate::network::{Network, NetworkTag, RateLimit};
use crate::protocol::{ClientMessage, ErrorCode, MediaMove, NOT_OPEN_RETRY, RoomKind, SessionSecret};

/// The time to the next request of a publisher for a media host, after a refusal.
const MEDIA_FULL_RETRY: Duration = Duration::from_secs(5);

/// All rooms of a server.
#[derive(Debug)]
pub struct Rooms {
    pub(super) limits: RoomLimits,
    pub(super) rooms: BTreeMap<RoomId, Room>,
    /// Connections that are in a room or its lobby. Messages from a refused or closed connection are ignored.
    pub(super) conns: HashMap<ConnId, (RoomId, UserId)>,
    /// The connections of media hosts.
    pub(super) hosts: HashMap<ConnId, RoomId>,
    /// The connections of edges.
    pub(super) edges: HashMap<ConnId, (RoomId, UserId)>,
    joins: RateLimit,
    offers: RateLimit,
    /// Offers about speakers on the stage.
    stage_offers: RateLimit,
    /// Offers of participants of calls and meetings.
    conference_offers: RateLimit,
    /// The time for chat messages, in milliseconds since 1970.
    time: u64,
    openings: RateLimit,
    /// The space that the files of all rooms take.
    pub(super) files: FileLedger,
    /// Wrong join codes.
    attempts: Attempts,
    refusals: Refusals,
    /// The secret of the network tags.
    tags: RandomState,
    /// Not later than the earliest deadline of any room.
    next_tick: Option<Instant>,
}

/// Why a server opens no meeting.
pub(crate) const NO_MEETINGS: &str =
    "this server has no meetings and no calls: start it as `classroom serve --meetings teachers`, or join its lectures";

/// A room to create.
#[derive(Debug, Clone)]
pub struct Creation {
    /// The unused id.
    pub room_id: RoomId,
    /// The name.
    pub name: RoomName,
    /// The kind.
    pub kind: RoomKind,
    /// The creator's network.
    pub network: Network,
    /// Whether the creator may teach.
    pub may_teach: bool,
}

/// The client that needs a room.
pub(super) struct Opener {
    pub(super) network: Network,
    /// Whether the client may teach, or moderate.
    pub(super) teaches: bool,
}

impl Rooms {
    /// A server without rooms.
    pub fn new(limits: RoomLimits) -> Self {
        Self {
            rooms: BTreeMap::new(),
            conns: HashMap::new(),
            hosts: HashMap::new(),
            edges: HashMap::new(),
            joins: RateLimit::new(limits.joins),
            offers: RateLimit::new(limits.offers),
            stage_offers: RateLimit::new(limits.stage_offers),
            conference_offers: RateLimit::new(limits.conference_offers),
            time: 0,
            openings: RateLimit::new(limits.openings),
            files: FileLedger::default(),
            attempts: Attempts::default(),
            refusals: Refusals::default(),
            tags: RandomState::new(),
            next_tick: None,
            limits,
        }
    }

    /// Applies an event at the time `now`, which must not go back.
    pub fn handle(&mut self, now: Instant, input: Input) -> Vec<Output> {
        let mut out = Vec::new();
        match input {
            Input::Join { conn, newcomer } if newcomer.route.edge.is_some() => {
                self.edge_joins(now, conn, newcomer, &mut out);
            }
            Input::Message { conn, message } if self.edges.contains_key(&conn) => {
                self.edge_message(now, conn, message, &mut out);
            }
            Input::Lost { conn } if self.edges.contains_key(&conn) => self.edge_lost(now, conn, false, &mut out),
            Input::Join { conn, newcomer } => self.join(now, conn, newcomer, &mut out),
            Input::Message { conn, message } => self.message(now, conn, message, &mut out),
            Input::HostStarted { conn, room, publisher } => {
                self.host_started(conn, room, publisher.as_ref(), &mut out);
            }
            Input::Lost { conn } if self.hosts.contains_key(&conn) => self.host_failed(now, conn, &mut out),
            Input::Lost { conn } => {
                if let Some((room_id, user)) = self.conns.remove(&conn)
                    && let Some(room) = self.rooms.get_mut(&room_id)
                {
                    room.lost(now, &user, conn, &self.limits);
                    self.settle(now, &room_id, &mut out);
                }
            }
            Input::Tick => self.tick(now, &mut out),
        }
        self.refusals.count(&out);
        for output in &out {
            if let Output::Close { conn, .. } = output {
                self.conns.remove(conn);
                self.hosts.remove(conn);
                self.edges.remove(conn);
            }
        }
        out
    }

    /// How often clients were refused because something was full.
    pub fn refusals(&self) -> Refusals {
        self.refusals
    }

    /// Sets the time for the stamps of chat messages, in milliseconds since 1970.
    pub fn set_time(&mut self, unix_ms: u64) {
        self.time = unix_ms;
    }

    /// Whether the member takes part in a call or a meeting.
    pub fn takes_part(&self, conn: ConnId) -> bool {
        let room = self.conns.get(&conn).and_then(|(room, user)| Some((self.rooms.get(room)?, user)));
        room.is_some_and(|(room, user)| room.conferences.as_ref().is_some_and(|known| known.get(user).is_some()))
    }

    /// When [`Input::Tick`] is due; none while no room waits for anything.
    pub fn next_tick(&self) -> Option<Instant> {
        self.next_tick
    }

    /// All rooms, ordered by id.
    pub fn summaries(&self, now: Instant) -> Vec<RoomSummary> {
        self.rooms.iter().map(|(id, room)| room.summary(id, now)).collect()
    }

    /// The room with this id.
    pub fn summary(&self, room_id: &RoomId, now: Instant) -> Option<RoomSummary> {
        Some(self.rooms.get(room_id)?.summary(room_id, now))
    }

    /// The room of a member, of a media host or of an edge; none for a client in a lobby.
    pub fn room_of(&self, conn: ConnId) -> Option<&RoomId> {
        let edge = || self.edges.get(&conn).map(|(room_id, _)| room_id);
        if let Some(room_id) = self.hosts.get(&conn).or_else(edge) {
            return Some(room_id);
        }
        let (room_id, user) = self.conns.get(&conn)?;
        let member = self.rooms.get(room_id)?.members.get(user)?;
        (member.conn() == Some(conn)).then_some(room_id)
    }

    /// The connection of a student, if `conn` belongs to the media host, or to the publisher who carries the media.
    pub fn student_of(&self, conn: ConnId, student: &UserId) -> Option<ConnId> {
        if let Some(room_id) = self.hosts.get(&conn) {
            let member = self.rooms.get(room_id)?.members.get(student)?;
            return member.conn().filter(|_| !member.user.publishes);
        }
        if let Some((room_id, _)) = self.edges.get(&conn) {
            let member = self.rooms.get(room_id)?.members.get(student)?;
            return member.conn().filter(|_| !member.user.publishes);
        }
        let (room, user) = self.conns.get(&conn)?;
        self.rooms.get(room)?.student_of(user, student)
    }

    /// Whether a room with this id exists.
    pub fn contains(&self, room_id: &RoomId) -> bool {
        self.rooms.contains_key(room_id)
    }

    /// Creates a room with an unused id, for somebody who comes later. The outputs close the connections of students
    /// whose room had to give way.
    ///
    /// # Errors
    /// If the creator's network creates too many rooms, if the room exists, or if the server is full.
    pub fn create(&mut self, now: Instant, creation: Creation) -> Result<Vec<Output>, RoomRefusal> {
        let Creation { room_id, name, kind, network, may_teach } = creation;
        self.openings.take(now, network).map_err(|wait| {
            let message = "too many rooms were created just now, try again in a moment";
            RoomRefusal::new(ErrorCode::FloodedMessages, message).after(wait)
        })?;
        if self.contains(&room_id) {
            let message = format!("room {room_id} exists already");
            return Err(RoomRefusal::new(ErrorCode::NotAllowed, message));
        }
        let mut out = Vec::new();
        self.make_room_for(&room_id, &Opener { network, teaches: may_teach }, &mut out)?;
        let mut room = match kind {
            RoomKind::Lecture => Room::created(now, network, &self.limits),
            kind => {
                let conferences = Conferences::new(kind, self.last_entry(&room_id), may_teach);
                Room::created_conference(now, network, conferences, &self.limits)
            }
        };
        room.name = Some(name);
        self.rooms.insert(room_id.clone(), room);
        self.wake_for(&room_id);
        Ok(out)
    }

    /// Reserves a room for the client that this process itself will connect. Call this before the server can be
    /// reached.
    pub fn reserve(&mut self, now: Instant, network: Network, reservation: &Reservation) {
        self.rooms.insert(reservation.room.clone(), Room::reserved(now, network, reservation));
    }

    /// Whether the room is reserved for the client with this secret.
    pub fn is_reserved_for(&self, room_id: &RoomId, session: &SessionSecret) -> bool {
        let owner = self.rooms.get(room_id).and_then(|room| room.owner.as_ref());
        owner.is_some_and(|owner| owner.is_reserved_for(session))
    }

    fn join(&mut self, now: Instant, conn: ConnId, newcomer: Newcomer, out: &mut Vec<Output>) {
        let (room_id, user) = (newcomer.room.clone(), newcomer.user.clone());
        match self.try_join(now, conn, newcomer, out) {
            Ok(()) => {
                self.conns.insert(conn, (room_id.clone(), user));
            }
            Err(refusal) => {
                let kind = self.rooms.get(&room_id).map_or(RoomKind::Lecture, Room::kind);
                refusal.of(kind).close(conn, out);
            }
        }
        self.settle(now, &room_id, out);
    }

    fn try_join(
        &mut self,
        now: Instant,
        conn: ConnId,
        newcomer: Newcomer,
        out: &mut Vec<Output>,
    ) -> Result<(), RoomRefusal> {
        let (room_id, network) = (newcomer.room.clone(), newcomer.network);
        let opens = self.opening(&newcomer)?;
        let teaches = newcomer.passes_gate() || opens.is_some() && newcomer.may_teach;
        let back = self.rooms.get_mut(&room_id).and_then(|room| room.comes_back(now, &newcomer));
        let passes = match back {
            // An abandoned room of a teacher stays for minutes.
            _ if teaches && !self.rooms.contains_key(&room_id) => self.openings.take(now, network),
            _ if teaches => Ok(()),
            Some(passes) => passes,
            None => self.joins.take(now, network),
        };
        passes.map_err(|wait| {
            let message = "too many joins, or too many from your network: try again in a moment";
            RoomRefusal::new(ErrorCode::FloodedMessages, message).after(wait)
        })?;
        let has_place = self.rooms.get(&room_id).is_some_and(Room::takes_host);
        let displaced = if newcomer.wants_host() { self.media_place(now, network, has_place)? } else { None };
        self.make_room_for(&room_id, &Opener { network, teaches }, out)?;
        let tag = self.tag(network);
        let room = self.rooms.entry(room_id).or_insert_with(|| Room::opened(now, network));
        room.join(now, Applicant { conn, newcomer, tag, opens }, &mut self.attempts, &self.limits, out)?;
        displaced.into_iter().for_each(|place| self.take_media_place(now, place, out));
        Ok(())
    }

    /// The meeting or call room that the newcomer opens: one that does not exist, or one in which students wait for a
    /// teacher.
    fn opening(&self, newcomer: &Newcomer) -> Result<Option<Opening>, RoomRefusal> {
        let Some(kind) = newcomer.kind.filter(|kind| *kind != RoomKind::Lecture) else { return Ok(None) };
        let room_id = &newcomer.room;
        let room = self.rooms.get(room_id);
        if room.is_some_and(|room| room.meeting_or_call().is_some() || !room.is_unclaimed()) {
            return Ok(None);
        }
        if newcomer.publishes {
            return Err(wrong_kind(room_id, kind));
        }
        if self.limits.meetings.may_open(newcomer) {
            return Ok(Some(Opening { kind, last_entry: self.last_entry(room_id) }));
        }
        match (room, self.limits.meetings) {
            // Students wait there, and this one waits with them.
            (Some(_), _) => Ok(None),
            (None, Meetings::Off) => Err(RoomRefusal::new(ErrorCode::WrongKind, NO_MEETINGS)),
            (None, _) => {
                let what = if kind == RoomKind::Call { "call room" } else { "meeting" };
                let message = format!("{what} {room_id} is not open yet: wait until a teacher opens it");
                Err(RoomRefusal::new(ErrorCode::RoomNotOpen, message).after(NOT_OPEN_RETRY))
            }
        }
    }

    /// The number before the first entry of a new room. A server that has restarted starts elsewhere, so that nobody
    /// takes a new entry for an old one.
    fn last_entry(&self, room_id: &RoomId) -> u32 {
        self.tags.hash_one(room_id) as u32 >> 1
    }

    /// Checks that the server can carry the media of one more lecture or of more conferences, unless those have a
    /// place. Returns the place that has to be given up.
    fn media_place(
        &self,
        now: Instant,
        own: Network,
        has_place: bool,
    ) -> Result<Option<(RoomId, MediaPlace)>, RoomRefusal> {
        let most = self.limits.max_media_rooms;
        if most == 0 {
            let message = "this server carries no media: teach with `classroom teach`, or start `classroom serve` \
                           without --no-media";
            return Err(RoomRefusal::new(ErrorCode::MediaNotServed, message));
        }
        let carried = self.rooms.values().map(Room::media_places).sum::<usize>();
        if carried < most || has_place {
            return Ok(None);
        }
        let wait = match media_place_for(now, own, self.rooms.iter(), self.limits.media_within) {
            Place::Of((room_id, place)) => return Ok(Some((room_id.clone(), place))),
            Place::After(wait) => wait,
            Place::Nowhere => MEDIA_FULL_RETRY,
        };
        let message = format!(
            "the server carries the media of {carried} rooms and takes no more: try again later, or start it with a \
             larger --max-media-rooms"
        );
        Err(RoomRefusal::new(ErrorCode::ServerFull, message).after(wait))
    }

    /// A place for media goes to another room, or to other media of the same one.
    fn take_media_place(&mut self, now: Instant, (room_id, place): (RoomId, MediaPlace), out: &mut Vec<Output>) {
        if let Some(room) = self.rooms.get_mut(&room_id) {
            room.lose_media_place(now, place, &self.limits, out);
            self.settle(now, &room_id, out);
        }
    }

    fn host_started(&mut self, conn: ConnId, room_id: RoomId, publisher: Option<&UserId>, out: &mut Vec<Output>) {
        let room = self.rooms.get_mut(&room_id);
        if room.is_some_and(|room| room.host_started(&room_id, publisher, conn, out)) {
            self.hosts.insert(conn, room_id);
        } else {
            out.push(Output::Close { conn, code: None });
        }
    }

    fn host_failed(&mut self, now: Instant, conn: ConnId, out: &mut Vec<Output>) {
        if let Some(room_id) = self.hosts.remove(&conn)
            && let Some(room) = self.rooms.get_mut(&room_id)
        {
            room.host_failed(now, conn, out);
            self.settle(now, &room_id, out);
        }
    }

    /// The tag of a network on this server.
    pub(super) fn tag(&self, network: Network) -> NetworkTag {
        NetworkTag(self.tags.hash_one(network) as u32)
    }

    fn message(&mut self, now: Instant, conn: ConnId, message: ClientMessage, out: &mut Vec<Output>) {
        if let Some(room_id) = self.hosts.get(&conn) {
            return match (message, self.rooms.get_mut(room_id)) {
                (ClientMessage::Leave { .. }, _) => self.host_failed(now, conn, out),
                (message, Some(room)) => {
                    room.host_message(now, (conn, message), &self.limits, out);
                    let room_id = room_id.clone();
                    self.settle(now, &room_id, out);
                }
                _ => {}
            };
        }
        self.move_meeting(now, conn, &message, out);
        if let ClientMessage::ShareFile(share) = &message
            && let Some(network) = self.file_network(conn, share.size)
        {
            self.make_space(network, share.size, out);
        }
        let Some((room_id, user)) = self.conns.get(&conn) else { return };
        let Some(room) = self.rooms.get_mut(room_id) else { return };
        if let ClientMessage::Leave { over } = message {
            room.leave(now, (user, conn), over, &self.limits, out);
        } else if let ClientMessage::ShareFile(share) = message {
            room.share_file(now, (user, conn), share, &self.files, out);
        } else {
            let of_participant = room.is_of_participant(&message);
            if let Some((target, entry)) = offered(&message)
                && let Some(network) = room.counts_offer(user, target, of_participant.then_some(entry))
                && let is_for_lecture = room.publisher.as_ref() == Some(target)
                && let offers = match (of_participant, is_for_lecture) {
                    (true, _) => &mut self.conference_offers,
                    (false, true) => &mut self.offers,
                    (false, false) => &mut self.stage_offers,
                }
                && let Err(refusal) =
                    room.take_offer(now, user, of_participant).and_then(|()| take_offer(offers, now, network))
            {
                return refusal.answer(conn, out);
            }
            room.conferences.iter_mut().for_each(|conferences| conferences.time = self.time);
            room.message(now, (user, conn), message, &self.limits, out);
        }
        let room_id = room_id.clone();
        if self.rooms.get(&room_id).is_some_and(|room| room.is_over(now)) {
            if let Some(mut room) = self.rooms.remove(&room_id) {
                room.end_hosts(out);
                room.end_edges(out);
            }
        } else {
            self.settle(now, &room_id, out);
        }
    }

    /// Moves a conference to the server if this message makes that necessary and the server has a place for it.
    fn move_meeting(&mut self, now: Instant, conn: ConnId, message: &ClientMessage, out: &mut Vec<Output>) {
        let Some((room_id, user)) = self.conns.get(&conn) else { return };
        let Some(room) = self.rooms.get(room_id) else { return };
        let Some(moves) = room.move_before(user, message, &self.limits) else { return };
        let room_id = room_id.clone();
        self.move_to_server(now, &room_id, moves, out);
    }

    /// Moves a conference to the server, if that has a place for those of the room.
    fn move_to_server(&mut self, now: Instant, room_id: &RoomId, moves: (u32, MediaMove), out: &mut Vec<Output>) {
        let Some(room) = self.rooms.get(room_id) else { return };
        let Ok(displaced) = self.media_place(now, room.opener(), room.has_conference_host()) else { return };
        if let Some(room) = self.rooms.get_mut(room_id) {
            room.move_to_server(now, room_id, moves, out);
        }
        displaced.into_iter().for_each(|place| self.take_media_place(now, place, out));
    }

    fn tick(&mut self, now: Instant, out: &mut Vec<Output>) {
        if self.next_tick.is_none_or(|due| now < due) {
            return;
        }
        let returning = self.rooms.iter().filter(|(_, room)| room.return_needs_server(now));
        for room_id in returning.map(|(id, _)| id.clone()).collect::<Vec<_>>() {
            self.move_to_server(now, &room_id, (MEETING, MediaMove::Size), out);
        }
        self.rooms.retain(|_, room| {
            room.tick(now, &self.limits, out);
            let is_over = room.is_over(now);
            if is_over {
                room.end_hosts(out);
                room.end_edges(out);
            }
            !is_over
        });
        self.next_tick = self.rooms.values().filter_map(Room::next_tick).min();
    }

    /// Tells the members of a room what has changed, and wakes up for its next deadline.
    pub(super) fn settle(&mut self, now: Instant, room_id: &RoomId, out: &mut Vec<Output>) {
        if let Some(room) = self.rooms.get_mut(room_id) {
            room.tell_news(now, &self.limits, out);
        }
        self.wake_for(room_id);
    }

    fn wake_for(&mut self, room_id: &RoomId) {
        let due = self.rooms.get(room_id).and_then(Room::next_tick);
        self.next_tick = [self.next_tick, due].into_iter().flatten().min();
    }
}

/// Counts an offer for a network.
fn take_offer(offers: &mut RateLimit, now: Instant, network: Network) -> Result<(), RoomRefusal> {
    offers.take(now, network).map_err(|wait| {
        let message = "too many offers come from your network, try again in a moment";
        RoomRefusal::new(ErrorCode::TargetBusy, message).after(wait)
    })
}
