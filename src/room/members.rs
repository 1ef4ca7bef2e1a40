//! A room: its members, and who hears of whom.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::conference::Conferences;
use super::edges::Edges;
use super::gate::Gate;
use super::lobby::Lobby;
use super::member::{Connection, Host, Media, Member};
use super::owner::Owner;
use super::pending::{Mailbox, Presence};
use super::retention::{Eviction, Retention};
use super::{ConnId, Output, Reservation, RoomLimits, RoomRefusal, RoomState, RoomSummary};
use crate::id::{RoomId, RoomName, UserId};
use crate::network::Network;
use crate::protocol::channel::MAX_SPEAKERS;
use crate::protocol::{ErrorCode, LeaveReason, MAX_LISTED_USERS, RoomKind, ServerMessage, User};

/// A room.
#[derive(Debug)]
pub(super) struct Room {
    opened: Instant,
    /// The network of the client that opened or created the room.
    opener: Network,
    pub(super) name: Option<RoomName>,
    pub(super) retention: Retention,
    pub(super) members: BTreeMap<UserId, Member>,
    pub(super) publisher: Option<UserId>,
    /// The media host of a lecture, if the server carries the media.
    pub(super) host: Option<Host>,
    /// The servers that send the media to students in the publisher's name.
    pub(super) edges: Edges,
    /// The state of a meeting or call room, or of the breakout rooms of a lecture: see [`Room::meeting_or_call`].
    pub(super) conferences: Option<Conferences>,
    /// How the last publisher left, until the next one joins.
    pub(super) publisher_went: Option<LeaveReason>,
    /// The number of students on the stage, as the holder of the media says.
    speakers: usize,
    pub(super) owner: Option<Owner>,
    pub(super) gate: Gate,
    pub(super) lobby: Lobby,
    /// Whether the members have passed the gate: from the publisher's arrival to the end of the lecture.
    pub(super) is_governed: bool,
    pub(super) presence: Presence,
    /// Whether a member got an incomplete list of members since the room was last empty.
    pub(super) has_partial_lists: bool,
    /// Not later than the earliest deadline of a lost connection.
    reserved_until: Option<Instant>,
}

impl Room {
    /// A room that somebody enters now.
    pub(super) fn opened(now: Instant, opener: Network) -> Self {
        Self::new(now, opener, Retention::opened(now))
    }

    /// A room that was created for later.
    pub(super) fn created(now: Instant, creator: Network, limits: &RoomLimits) -> Self {
        Self::new(now, creator, Retention::created(now, limits))
    }

    /// A meeting or call room that was created for later. That of a client that may not teach stays for minutes.
    pub(super) fn created_conference(
        now: Instant,
        creator: Network,
        conferences: Conferences,
        limits: &RoomLimits,
    ) -> Self {
        let is_taught = conferences.is_taught;
        let retention = if is_taught { Retention::created(now, limits) } else { Retention::awaited(now, limits) };
        let mut room = Self::new(now, creator, retention);
        room.become_conference(now, conferences);
        room
    }

    /// A room that stays until the server ends.
    pub(super) fn reserved(now: Instant, opener: Network, reservation: &Reservation) -> Self {
        let Reservation { user, session, .. } = reservation.clone();
        Self { owner: Some(Owner::Reserved { user, session }), ..Self::new(now, opener, Retention::reserved()) }
    }

    fn new(now: Instant, opener: Network, retention: Retention) -> Self {
        Self {
            opened: now,
            opener,
            name: None,
            retention,
            members: BTreeMap::new(),
            publisher: None,
            host: None,
            edges: Edges::default(),
            conferences: None,
            publisher_went: None,
            speakers: 0,
            owner: None,
            gate: Gate::default(),
            lobby: Lobby::default(),
            is_governed: false,
            presence: Presence::default(),
            has_partial_lists: false,
            reserved_until: None,
        }
    }

    /// The network of the client that opened or created the room.
    pub(super) fn opener(&self) -> Network {
        self.opener
    }

    /// Whether students opened the room, and no teacher has come yet.
    pub(super) fn is_unclaimed(&self) -> bool {
        if let Some(conferences) = self.meeting_or_call() {
            return !conferences.is_taught && !self.retention.is_created();
        }
        self.owner.is_none() && self.publisher_went.is_none() && !self.retention.is_created()
    }

    /// Whether people meet or call each other in the room at present.
    pub(super) fn is_meeting_now(&self) -> bool {
        self.conferences.as_ref().is_some_and(|conferences| conferences.participants() > 1)
    }

    /// Whether the room is empty and has waited long enough.
    pub(super) fn is_over(&self, now: Instant) -> bool {
        self.retention.is_over(now)
    }

    /// How soon an empty room is removed when the server is full; none for a room with members.
    pub(super) fn rank(&self) -> Option<(Eviction, Instant)> {
        self.retention.rank()
    }

    /// How many members and waiting clients the room has, and since when it exists.
    pub(super) fn weight(&self) -> (usize, Instant) {
        (self.members.len() + self.lobby.ids().len(), self.opened)
    }

    /// Puts everybody out, because the server needs the space of this room.
    pub(super) fn close(mut self, refusal: &RoomRefusal, out: &mut Vec<Output>) {
        self.end_hosts(out);
        self.end_edges(out);
        let members = self.members.values().filter_map(Member::conn);
        members.chain(self.lobby.conns()).for_each(|conn| refusal.clone().close(conn, out));
    }

    pub(super) fn next_tick(&self) -> Option<Instant> {
        let host = self.host.as_ref().and_then(|host| host.until);
        let conferences = self.conferences.as_ref().and_then(Conferences::due);
        let due = [self.presence.due(), self.lobby.due(), self.reserved_until, self.retention.due(), host, conferences];
        due.into_iter().chain([self.edges.due()]).flatten().min()
    }

    pub(super) fn summary(&self, id: &RoomId, now: Instant) -> RoomSummary {
        let publisher = self.publisher.as_ref().and_then(|id| self.members.get(id));
        let live = publisher.filter(|member| member.conn().is_some());
        let ended = self.retention.ended_at();
        let conferences = self.meeting_or_call();
        let live_since = conferences.map_or_else(|| live.map(|member| member.since), Conferences::since);
        let state = match (live_since, ended) {
            (Some(_), _) => RoomState::Live,
            (None, Some(_)) => RoomState::Ended,
            (None, None) => RoomState::Waiting,
        };
        let owner = conferences.and_then(|conferences| self.members.get(conferences.owner.as_ref()?));
        let seconds = |since| now.saturating_duration_since(since).as_secs();
        RoomSummary {
            room_id: id.clone(),
            name: self.name.clone(),
            kind: conferences.map_or(RoomKind::Lecture, |conferences| conferences.kind),
            owner: owner.map(|member| member.user.clone()),
            participants: conferences.map_or(0, Conferences::participants),
            breakouts: self.conferences.as_ref().map(Conferences::breakouts).unwrap_or_default(),
            publisher: publisher.map(|member| member.user.clone()),
            media: conferences.map_or_else(|| publisher.map(|member| member.newcomer.media), Conferences::media),
            watching: self.members.len() - usize::from(publisher.is_some()),
            speakers: if publisher.is_some() { self.speakers } else { 0 },
            state,
            open_s: seconds(self.opened),
            live_s: live_since.map(seconds),
            ended_s: ended.map(seconds),
            has_code: self.gate.code.is_some(),
            has_lobby: self.gate.has_lobby,
            is_locked: self.gate.is_locked,
        }
    }

    /// The holder of the media says how many students speak.
    pub(super) fn set_speakers(&mut self, count: usize) {
        self.speakers = count.min(MAX_SPEAKERS);
    }

    /// A client says goodbye. `over`: a publisher ends the lecture, too.
    pub(super) fn leave(
        &mut self,
        now: Instant,
        (id, conn): (&UserId, ConnId),
        over: bool,
        limits: &RoomLimits,
        out: &mut Vec<Output>,
    ) {
        out.push(Output::Close { conn, code: None });
        if self.lobby.holds(id, conn) {
            self.lobby.take(now, id, limits.lobby_interval);
        } else if let Some(member) = self.members.remove(id) {
            let reason = if over && member.user.publishes { LeaveReason::Ended } else { LeaveReason::Left };
            match reason {
                LeaveReason::Ended => self.end_lecture(now),
                _ if member.user.publishes => self.retention.left(),
                _ => {}
            }
            self.tell_left(now, &member.user, reason, limits, out);
        }
        self.look_around(now, limits);
    }

    /// The owner has ended the lecture: any teacher may start the next one, and it decides anew about people.
    fn end_lecture(&mut self, now: Instant) {
        self.retention.ended(now);
        if self.owner.as_ref().is_some_and(|owner| !owner.is_permanent()) {
            self.owner = None;
        }
        self.is_governed = false;
        self.gate.forget_people();
        self.members.values_mut().for_each(|member| member.is_admitted = false);
    }

    /// Starts the room's retention once nobody is left.
    pub(super) fn look_around(&mut self, now: Instant, limits: &RoomLimits) {
        if self.members.is_empty() && self.lobby.is_empty() {
            // Members of a meeting that were lost may come back, and perhaps only one of them may open it again.
            let was_lost = self.meeting_or_call().is_some_and(|conferences| conferences.was_lost);
            self.retention.emptied(now, self.owner.is_some() || was_lost, limits);
            self.has_partial_lists = false;
        }
    }

    /// Reserves the user id, if `conn` is still the member's connection. A client in the lobby just leaves.
    pub(super) fn lost(&mut self, now: Instant, id: &UserId, conn: ConnId, limits: &RoomLimits) {
        if self.lobby.holds(id, conn) {
            self.lobby.take(now, id, limits.lobby_interval);
            return self.look_around(now, limits);
        }
        let takes_part = self.meeting_or_call().is_some_and(|conferences| conferences.place(id).is_some());
        if let Some(member) = self.members.get_mut(id).filter(|member| member.conn() == Some(conn)) {
            let until = now + if takes_part { limits.conference_grace } else { limits.resume_grace };
            member.connection = Connection::Lost { until, mailbox: Mailbox::default() };
            self.reserved_until = Some(self.reserved_until.map_or(until, |earlier| earlier.min(until)));
        }
    }

    pub(super) fn tick(&mut self, now: Instant, limits: &RoomLimits, out: &mut Vec<Output>) {
        if self.reserved_until.is_some_and(|due| due <= now) {
            let is_gone = |member: &Member| member.lost_until().is_some_and(|until| until <= now);
            let gone = self.members.extract_if(.., |_, member| is_gone(member));
            for (_, member) in gone.collect::<Vec<_>>() {
                self.tell_left(now, &member.user, LeaveReason::Lost, limits, out);
            }
            self.reserved_until = self.members.values().filter_map(Member::lost_until).min();
            self.look_around(now, limits);
        }
        if self.host.as_ref().and_then(|host| host.until).is_some_and(|until| until <= now) {
            self.end_host(out);
            self.forget_media(now);
        }
        self.tick_edges(now, out);
        self.tick_conferences(now, out);
        self.tick_breakouts(now, out);
        if self.presence.due().is_some_and(|due| due <= now) {
            let to: Vec<_> =
                self.members.values().filter(|member| !member.user.publishes).filter_map(Member::conn).collect();
            let mut messages = self.presence.take(now + self.presence_interval(limits), self.members.len());
            if self.has_partial_lists {
                messages.push(ServerMessage::MemberCount { count: self.members.len() });
            }
            if !to.is_empty() {
                out.extend(messages.into_iter().map(|message| Output::Broadcast { to: to.clone(), message }));
            }
        }
        if self.lobby.due().is_some_and(|due| due <= now) {
            let message = self.lobby.list();
            self.send_to_moderators(message, out);
        }
        self.tell_news(now, limits, out);
    }

    /// Closes a member's connection with an error. The member is not in the room any more.
    pub(super) fn put_out(
        &mut self,
        now: Instant,
        id: &UserId,
        (refusal, reason): (RoomRefusal, LeaveReason),
        limits: &RoomLimits,
        out: &mut Vec<Output>,
    ) {
        let Some(member) = self.members.remove(id) else { return };
        if let Some(conn) = member.conn() {
            refusal.of(self.kind()).close(conn, out);
        }
        self.tell_left(now, &member.user, reason, limits, out);
    }

    /// Announces a member who is in the room already.
    pub(super) fn tell_joined(&mut self, now: Instant, user: &User, limits: &RoomLimits, out: &mut Vec<Output>) {
        let message = ServerMessage::Join { users: vec![user.clone()] };
        if user.publishes {
            self.presence.forget(&user.user_id);
            self.broadcast(message, Some(&user.user_id), out);
        } else {
            self.presence.joined(now, user, self.presence_interval(limits));
            self.send_to_publisher(&user.user_id, message, out);
        }
    }

    /// Announces that a removed member left, and clears the publisher if it was that.
    pub(super) fn tell_left(
        &mut self,
        now: Instant,
        user: &User,
        reason: LeaveReason,
        limits: &RoomLimits,
        out: &mut Vec<Output>,
    ) {
        let message = ServerMessage::Leave { users: vec![user.user_id.clone()], reason };
        if user.publishes {
            self.publisher = None;
            if reason != LeaveReason::Lost {
                self.speakers = 0;
            }
            self.publisher_went = Some(reason);
            self.presence.forget(&user.user_id);
            self.broadcast(message, None, out);
            match reason {
                LeaveReason::Lost => self.keep_host(now, limits),
                // The host was replaced too.
                LeaveReason::Replaced => {}
                LeaveReason::Left | LeaveReason::Ended | LeaveReason::Removed => self.end_host(out),
            }
            if self.host.is_none() {
                self.forget_media(now);
            }
        } else {
            self.presence.left(now, &user.user_id, reason, self.presence_interval(limits));
            self.send_to_publisher(&user.user_id, message, out);
            self.edges.left(&user.user_id, reason);
        }
        match reason {
            LeaveReason::Replaced => self.conference_replaced(now, &user.user_id, limits, out),
            _ => self.conference_left(now, &user.user_id, reason == LeaveReason::Lost, limits, out),
        }
        if user.publishes && reason != LeaveReason::Replaced {
            self.owner_left_breakouts(now, out);
        }
    }

    /// The media of all members ended with their publisher.
    pub(super) fn forget_media(&mut self, now: Instant) {
        self.members.values_mut().for_each(|member| member.media = Media::Missing { since: now });
    }

    pub(super) fn broadcast(&self, message: ServerMessage, except: Option<&UserId>, out: &mut Vec<Output>) {
        let others = self.members.iter().filter(|(id, _)| Some(*id) != except);
        let to = others.filter_map(|(_, member)| member.conn()).chain(self.host_conns()).chain(self.edges.conns());
        let to: Vec<_> = to.collect();
        if !to.is_empty() {
            out.push(Output::Broadcast { to, message });
        }
    }

    pub(super) fn send_to_moderators(&self, message: ServerMessage, out: &mut Vec<Output>) {
        let moderators = self.members.values().filter(|member| member.user.moderates);
        let to: Vec<_> = moderators.filter_map(Member::conn).collect();
        if !to.is_empty() {
            out.push(Output::Broadcast { to, message });
        }
    }

    /// Tells the publisher, the media hosts, and the edge that serves the student `about`. A publisher that is away
    /// gets the message later: it must release the peers of students who left meanwhile, and after a server's restart
    /// it can't tell them from students on their way back.
    fn send_to_publisher(&mut self, about: &UserId, message: ServerMessage, out: &mut Vec<Output>) {
        if let Some(to) = self.edges.of_student(about) {
            out.push(Output::Send { to, message: message.clone() });
        }
        out.extend(self.host_conns().map(|to| Output::Send { to, message: message.clone() }));
        let publisher = self.publisher.as_ref().and_then(|id| self.members.get_mut(id));
        match publisher.map(|member| &mut member.connection) {
            Some(Connection::Open(to)) => out.push(Output::Send { to: *to, message }),
            // The senders were told that this mailbox is full. ICE consent detects a leave that was missed.
            Some(Connection::Lost { mailbox, .. }) => _ = mailbox.push(message, true),
            None => {}
        }
    }

    fn presence_interval(&self, limits: &RoomLimits) -> Duration {
        Presence::interval(self.members.len(), limits)
    }

    /// The members that `receiver` is told of.
    pub(super) fn listed(&self, receiver: &User) -> Vec<User> {
        let all = self.members.values().map(|member| &member.user);
        if receiver.publishes || self.members.len() <= MAX_LISTED_USERS {
            return all.cloned().collect();
        }
        // The publisher and the receiver are certain to be on the list.
        let publisher = self.publisher.as_ref().and_then(|id| self.members.get(id)).map(|member| &member.user);
        let first = publisher.into_iter().chain([receiver]);
        let others = all.filter(|user| !user.publishes && user.user_id != receiver.user_id);
        first.chain(others).take(MAX_LISTED_USERS).cloned().collect()
    }
}

/// Refuses one message of a member.
pub(super) fn refuse(conn: ConnId, code: ErrorCode, message: impl Into<String>, out: &mut Vec<Output>) {
    RoomRefusal::new(code, message).answer(conn, out);
}
