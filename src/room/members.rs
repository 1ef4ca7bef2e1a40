//! One room: its members and the rules between them.

use std::collections::BTreeMap;
use std::time::Instant;

use super::pending::{Mailbox, Presence};
use super::retention::{Eviction, Retention};
use super::{ConnId, Newcomer, Output, RoomLimits, RoomRefusal, RoomState, RoomSummary};
use crate::id::{RoomId, RoomName, UserId, count_of_students, named};
use crate::protocol::{ClientMessage, ErrorCode, LeaveReason, MAX_LISTED_USERS, ServerMessage, SessionSecret, User};

/// A room.
#[derive(Debug)]
pub(super) struct Room {
    opened: Instant,
    name: Option<RoomName>,
    retention: Retention,
    members: BTreeMap<UserId, Member>,
    publisher: Option<UserId>,
    /// How the last publisher left, until the next one joins.
    publisher_went: Option<LeaveReason>,
    presence: Presence,
    /// Not later than the earliest deadline of a lost connection.
    reserved_until: Option<Instant>,
}

#[derive(Debug)]
struct Member {
    user: User,
    session: SessionSecret,
    since: Instant,
    connection: Connection,
}

/// How messages reach a member.
#[derive(Debug)]
enum Connection {
    Open(ConnId),
    Lost { until: Instant, mailbox: Mailbox },
}

impl Room {
    /// A room that somebody enters now.
    pub(super) fn opened(now: Instant) -> Self {
        Self::new(now, Retention::opened(now))
    }

    /// A room that was created for later.
    pub(super) fn created(now: Instant, limits: &RoomLimits) -> Self {
        Self::new(now, Retention::created(now, limits))
    }

    fn new(now: Instant, retention: Retention) -> Self {
        Self {
            opened: now,
            name: None,
            retention,
            members: BTreeMap::new(),
            publisher: None,
            publisher_went: None,
            presence: Presence::default(),
            reserved_until: None,
        }
    }

    pub(super) fn rename(&mut self, name: RoomName) {
        self.name = Some(name);
    }

    /// Whether the room is empty and has waited long enough.
    pub(super) fn is_over(&self, now: Instant) -> bool {
        self.retention.is_over(now)
    }

    /// How soon an empty room is removed when the server is full; none for a room with members.
    pub(super) fn rank(&self) -> Option<(Eviction, Instant)> {
        self.retention.rank()
    }

    pub(super) fn next_tick(&self) -> Option<Instant> {
        [self.presence.due(), self.reserved_until, self.retention.due()].into_iter().flatten().min()
    }

    pub(super) fn summary(&self, id: &RoomId, now: Instant) -> RoomSummary {
        let publisher = self.publisher.as_ref().and_then(|id| self.members.get(id));
        let live = publisher.filter(|member| matches!(member.connection, Connection::Open(_)));
        let ended = self.retention.ended_at();
        let state = match (live, ended) {
            (Some(_), _) => RoomState::Live,
            (None, Some(_)) => RoomState::Ended,
            (None, None) => RoomState::Waiting,
        };
        let seconds = |since| now.saturating_duration_since(since).as_secs();
        RoomSummary {
            room_id: id.clone(),
            name: self.name.clone(),
            publisher: publisher.map(|member| member.user.clone()),
            watching: self.members.len() - usize::from(publisher.is_some()),
            state,
            open_s: seconds(self.opened),
            live_s: live.map(|member| seconds(member.since)),
            ended_s: ended.map(seconds),
        }
    }

    pub(super) fn join(
        &mut self,
        now: Instant,
        conn: ConnId,
        newcomer: Newcomer,
        limits: &RoomLimits,
        out: &mut Vec<Output>,
    ) -> Result<(), RoomRefusal> {
        self.check(now, &newcomer, limits)?;
        let Newcomer { room, room_name, user: id, nickname, publishes, epoch, session, client, moderates, .. } =
            newcomer;
        let user = User { user_id: id.clone(), nickname, publishes, epoch, client, moderates };

        let mut waiting = Mailbox::default();
        let mut since = now;
        let mut news = true;
        if let Some(old) = self.members.remove(&id) {
            let same_process = old.user.epoch == epoch && old.user.publishes == publishes;
            match old.connection {
                // The same process has given this attempt up, and the attempt arrived late over a path that works
                // again. The process must not read `replaced`, which is final. Epoch 0 means that the epoch is unknown,
                // so the process may be another.
                Connection::Open(older) if same_process && epoch != 0 => {
                    out.push(Output::Close { conn: older, code: None });
                }
                Connection::Open(older) => {
                    let message = format!("user {id} joined room {room} again over a newer connection");
                    out.push(Output::Send { to: older, message: ServerMessage::error(ErrorCode::Replaced, message) });
                    out.push(Output::Close { conn: older, code: Some(ErrorCode::Replaced) });
                }
                // The waiting messages belong to a negotiation with the previous process.
                Connection::Lost { mailbox, .. } if same_process => waiting = mailbox,
                Connection::Lost { .. } => {}
            }
            if same_process {
                since = old.since;
                news = old.user != user;
            } else {
                self.tell_left(now, &old.user, LeaveReason::Replaced, limits, out);
            }
        }

        self.retention.entered(publishes);
        if publishes {
            self.publisher = Some(id.clone());
            self.publisher_went = None;
            self.name = room_name.or(self.name.take());
        }
        self.members
            .insert(id.clone(), Member { user: user.clone(), session, since, connection: Connection::Open(conn) });
        out.push(Output::Send {
            to: conn,
            message: ServerMessage::Joined {
                room_id: room,
                room_name: self.name.clone(),
                user_id: id,
                users: self.listed(&user),
                count: self.members.len(),
                publisher: self.publisher.clone(),
                publisher_went: self.publisher_went,
                // The server adds them.
                ice_servers: Vec::new(),
            },
        });
        out.extend(waiting.into_messages().into_iter().map(|message| Output::Send { to: conn, message }));
        if news {
            self.tell_joined(now, &user, limits, out);
        }
        Ok(())
    }

    /// Checks whether the newcomer may join, without changing anything.
    fn check(&self, now: Instant, newcomer: &Newcomer, limits: &RoomLimits) -> Result<(), RoomRefusal> {
        let id = &newcomer.user;
        // The user id of a lost connection may soon be free.
        let retry_after = |member: &Member| match member.connection {
            Connection::Open(_) => None,
            Connection::Lost { until, .. } => Some(until.saturating_duration_since(now)),
        };
        let own = self.members.get(id);
        if let Some(member) = own.filter(|member| member.session != newcomer.session) {
            return Err(RoomRefusal {
                code: ErrorCode::UserIdTaken,
                message: format!("user {id} is already in room {}, choose another --user", newcomer.room),
                retry_after: retry_after(member),
            });
        }
        if newcomer.publishes {
            let other = self.publisher.as_ref().filter(|publisher| *publisher != id);
            if let Some(member) = other.and_then(|publisher| self.members.get(publisher)) {
                return Err(RoomRefusal {
                    code: ErrorCode::PublisherExists,
                    message: format!(
                        "{} teaches in room {}, choose another --room or ask them to leave",
                        named(&member.user.user_id, member.user.nickname.as_str()),
                        newcomer.room
                    ),
                    retry_after: retry_after(member),
                });
            }
        }
        let students = self.members.len() - usize::from(self.publisher.is_some());
        let adds_a_student = !newcomer.publishes && own.is_none_or(|member| member.user.publishes);
        if adds_a_student && students >= limits.max_room_users {
            return Err(RoomRefusal {
                code: ErrorCode::RoomFull,
                message: format!("room {} is full: it takes {}", newcomer.room, count_of_students(students)),
                retry_after: None,
            });
        }
        Ok(())
    }

    /// A member says goodbye. `over`: a publisher ends the lecture, too.
    pub(super) fn leave(
        &mut self,
        now: Instant,
        (id, conn): (&UserId, ConnId),
        over: bool,
        limits: &RoomLimits,
        out: &mut Vec<Output>,
    ) {
        out.push(Output::Close { conn, code: None });
        if let Some(member) = self.members.remove(id) {
            let reason = if over && member.user.publishes { LeaveReason::Ended } else { LeaveReason::Left };
            match reason {
                LeaveReason::Ended => self.retention.ended(now),
                _ if member.user.publishes => self.retention.left(),
                _ => {}
            }
            self.tell_left(now, &member.user, reason, limits, out);
        }
        self.look_around(now, limits);
    }

    /// Starts the room's retention once the last member has gone.
    fn look_around(&mut self, now: Instant, limits: &RoomLimits) {
        if self.members.is_empty() {
            self.retention.emptied(now, limits);
        }
    }

    /// Reserves the user id, if `conn` is still the member's connection.
    pub(super) fn lost(&mut self, id: &UserId, conn: ConnId, until: Instant) {
        if let Some(member) = self.members.get_mut(id)
            && matches!(member.connection, Connection::Open(here) if here == conn)
        {
            member.connection = Connection::Lost { until, mailbox: Mailbox::default() };
            self.reserved_until = Some(self.reserved_until.map_or(until, |earlier| earlier.min(until)));
        }
    }

    /// The connection of a student, if `id` is the publisher.
    pub(super) fn student_of(&self, id: &UserId, student: &UserId) -> Option<ConnId> {
        self.members.get(student).filter(|_| self.publisher.as_ref() == Some(id) && id != student)?.conn()
    }

    pub(super) fn message(&mut self, id: &UserId, conn: ConnId, message: ClientMessage, out: &mut Vec<Output>) {
        let sender = id.clone();
        let (target, message) = match message {
            ClientMessage::Offer { target_uid, sdp, video } => {
                (target_uid, ServerMessage::Offer { user_id: sender, sdp, video, network: None })
            }
            ClientMessage::Answer { target_uid, sdp } => (target_uid, ServerMessage::Answer { user_id: sender, sdp }),
            ClientMessage::Candidate { target_uid, candidate } => {
                (target_uid, ServerMessage::Candidate { user_id: sender, candidate })
            }
            ClientMessage::Reject { target_uid, code, message, codec } => {
                if !code.may_reject() {
                    return refuse(conn, ErrorCode::NotAllowed, format!("{code} is not for clients to send"), out);
                }
                let (user_id, retry_after_ms) = (Some(sender), None);
                (target_uid, ServerMessage::Error { code, message, user_id, retry_after_ms, codec })
            }
            ClientMessage::Hangup { target_uid } => (target_uid, ServerMessage::Hangup { user_id: sender }),
            ClientMessage::RoomUserList => {
                let Some(member) = self.members.get(id) else { return };
                let users = self.listed(&member.user);
                let message = ServerMessage::RoomUserList { users, count: self.members.len() };
                return out.push(Output::Send { to: conn, message });
            }
            ClientMessage::Ping => return out.push(Output::Send { to: conn, message: ServerMessage::Pong }),
            ClientMessage::Connected { .. } => return,
            ClientMessage::Order(_) => {
                return refuse(conn, ErrorCode::NotAllowed, "only the teacher gives orders".into(), out);
            }
            // `Rooms::message` handles this one, because the room may have to be removed.
            ClientMessage::Leave { .. } => return,
        };
        let publishes = self.publisher.as_ref() == Some(id);
        let to_publisher = self.publisher.as_ref() == Some(&target);
        let Some(member) = self.members.get_mut(&target) else {
            return refuse(conn, ErrorCode::UnknownTarget, format!("user {target} is not in the room"), out);
        };
        let rule = match message {
            ServerMessage::Offer { .. } if publishes => Some("the publisher answers, students offer"),
            ServerMessage::Answer { .. } | ServerMessage::Error { .. } | ServerMessage::Hangup { .. } if !publishes => {
                Some("only the publisher answers, rejects or hangs up")
            }
            _ if publishes == to_publisher => Some("students talk to the publisher, not to one another"),
            _ => None,
        };
        if let Some(rule) = rule {
            return refuse(conn, ErrorCode::NotAllowed, rule.into(), out);
        }
        match &mut member.connection {
            Connection::Open(to) if to_publisher => out.push(Output::Relay { from: conn, to: *to, message }),
            Connection::Open(to) => out.push(Output::Send { to: *to, message }),
            Connection::Lost { mailbox, .. } => {
                if !mailbox.push(message, to_publisher) {
                    out.push(Output::Send { to: conn, message: ServerMessage::target_busy() });
                }
            }
        }
    }

    pub(super) fn tick(&mut self, now: Instant, limits: &RoomLimits, out: &mut Vec<Output>) {
        if self.reserved_until.is_some_and(|due| due <= now) {
            let until = |member: &Member| match member.connection {
                Connection::Lost { until, .. } => Some(until),
                Connection::Open(_) => None,
            };
            let gone = self.members.extract_if(.., |_, member| until(member).is_some_and(|until| until <= now));
            for (_, member) in gone.collect::<Vec<_>>() {
                self.tell_left(now, &member.user, LeaveReason::Lost, limits, out);
            }
            self.reserved_until = self.members.values().filter_map(until).min();
            self.look_around(now, limits);
        }
        if self.presence.due().is_some_and(|due| due <= now) {
            let to: Vec<_> =
                self.members.values().filter(|member| !member.user.publishes).filter_map(Member::conn).collect();
            let messages = self.presence.take(now + limits.presence_interval);
            if !to.is_empty() {
                out.extend(messages.into_iter().map(|message| Output::Broadcast { to: to.clone(), message }));
            }
        }
    }

    /// Announces a member who is in the room already.
    fn tell_joined(&mut self, now: Instant, user: &User, limits: &RoomLimits, out: &mut Vec<Output>) {
        let message = ServerMessage::Join { users: vec![user.clone()] };
        if user.publishes {
            self.presence.forget(&user.user_id);
            self.broadcast(message, Some(&user.user_id), out);
        } else {
            self.presence.joined(now, user, limits.presence_interval);
            self.send_to_publisher(message, out);
        }
    }

    /// Announces that a removed member left, and clears the publisher if it was that.
    fn tell_left(
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
            self.publisher_went = Some(reason);
            self.presence.forget(&user.user_id);
            self.broadcast(message, None, out);
        } else {
            self.presence.left(now, &user.user_id, reason, limits.presence_interval);
            self.send_to_publisher(message, out);
        }
    }

    fn broadcast(&self, message: ServerMessage, except: Option<&UserId>, out: &mut Vec<Output>) {
        let others = self.members.iter().filter(|(id, _)| Some(*id) != except);
        let to: Vec<_> = others.filter_map(|(_, member)| member.conn()).collect();
        if !to.is_empty() {
            out.push(Output::Broadcast { to, message });
        }
    }

    /// A publisher that is away gets the message later: it must release the peers of students who left meanwhile, and
    /// after a server's restart it can't tell them from students on their way back.
    fn send_to_publisher(&mut self, message: ServerMessage, out: &mut Vec<Output>) {
        let publisher = self.publisher.as_ref().and_then(|id| self.members.get_mut(id));
        match publisher.map(|member| &mut member.connection) {
            Some(Connection::Open(to)) => out.push(Output::Send { to: *to, message }),
            // The senders were told that this mailbox is full. ICE consent detects a leave that was missed.
            Some(Connection::Lost { mailbox, .. }) => _ = mailbox.push(message, true),
            None => {}
        }
    }

    /// The members that `receiver` is told of.
    fn listed(&self, receiver: &User) -> Vec<User> {
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

impl Member {
    fn conn(&self) -> Option<ConnId> {
        match self.connection {
            Connection::Open(conn) => Some(conn),
            Connection::Lost { .. } => None,
        }
    }
}

fn refuse(conn: ConnId, code: ErrorCode, message: String, out: &mut Vec<Output>) {
    out.push(Output::Send { to: conn, message: ServerMessage::error(code, message) });
}
