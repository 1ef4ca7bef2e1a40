//! The media host of a lecture: the server's own SFU, which answers the students in the publisher's name.
//!
//! A lecture has a media host while its publisher wants one, and for a while after the publisher's connection was lost.
//! On a server that carries as many rooms as it can, a publisher without media loses the host to another one.
//! The host is a connection like a member's, but nobody sees it: its messages have the publisher's id, or that of a
//! speaker on the stage.

use std::time::Instant;

use super::member::{Connection, Host, Media, Member};
use super::members::Room;
use super::relay::of_holder;
use super::{ConnId, Newcomer, Output, RoomLimits, RoomRefusal};
use crate::id::{RoomId, UserId};
use crate::network::Network;
use crate::protocol::{ClientMessage, ErrorCode, LeaveReason, MediaHost, ServerMessage};

impl Newcomer {
    /// Whether the client wants the server to carry its media.
    pub(super) fn wants_host(&self) -> bool {
        self.publishes && self.media == MediaHost::Server
    }
}

/// For what a room takes a place at a server that carries the media of so many rooms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum MediaPlace {
    /// The publisher of a lecture.
    Lecture,
    /// A meeting with its breakout rooms, or the breakout rooms of a lecture.
    Conferences,
}

/// The change of a room's host when a publisher joins.
#[derive(Debug)]
pub(super) enum HostChange {
    /// The room keeps its host, or has none.
    None,
    /// The host of an earlier publisher ends, and perhaps a new one starts.
    Replaced { ended: Option<Host>, starts: bool },
}

impl Room {
    /// Whether the server carries the media of the publisher who is in the room.
    pub(super) fn is_hosted(&self) -> bool {
        self.publisher.as_ref().and_then(|id| self.members.get(id)).is_some_and(|member| member.newcomer.wants_host())
    }

    /// Whether the room takes a place for the media of its lecture.
    pub(super) fn takes_host(&self) -> bool {
        self.host.is_some() || self.is_hosted()
    }

    /// The places at the server that the room takes: one for the media of a lecture, and one for that of its
    /// conferences.
    pub(super) fn media_places(&self) -> usize {
        usize::from(self.takes_host()) + usize::from(self.has_conference_host())
    }

    /// A publisher is about to become a member: decides whether the host stays, and takes it out if not.
    pub(super) fn change_host(&mut self, newcomer: &Newcomer) -> HostChange {
        let starts = newcomer.wants_host();
        match &mut self.host {
            _ if !newcomer.publishes => HostChange::None,
            Some(host) if starts && host.publisher == newcomer.user => {
                host.until = None;
                HostChange::None
            }
            host => HostChange::Replaced { ended: host.take(), starts },
        }
    }

    /// The epoch of a publisher that others see. If the server carries the media, the epoch is another one at another
    /// server: a restarted server has no media, and students offer again at once.
    pub(super) fn shown_epoch(&self, newcomer: &Newcomer, limits: &RoomLimits) -> u32 {
        if !newcomer.wants_host() {
            return newcomer.epoch;
        }
        let host = self.host.as_ref().filter(|host| host.publisher == newcomer.user);
        host.map_or(newcomer.epoch.wrapping_add(limits.host_epochs), |host| host.epoch)
    }

    /// Carries out a change, once the publisher is a member, whom others see with this epoch.
    pub(super) fn host_changed(
        &mut self,
        now: Instant,
        change: HostChange,
        (newcomer, epoch): (&Newcomer, u32),
        out: &mut Vec<Output>,
    ) {
        let HostChange::Replaced { ended, starts } = change else { return };
        close(ended.and_then(|host| host.conn), out);
        if starts {
            self.start_host(now, newcomer, epoch, out);
        }
    }

    fn start_host(&mut self, now: Instant, of: &Newcomer, epoch: u32, out: &mut Vec<Output>) {
        let (publisher, network, without_media_from) = (of.user.clone(), of.network, Some(now));
        out.push(Output::StartHost { room: of.room.clone(), publisher: Some(publisher.clone()) });
        self.host = Some(Host { publisher, epoch, conn: None, until: None, network, without_media_from });
    }

    /// The places of the room without media, with the network that took them, and since when.
    pub(super) fn places_without_media(&self) -> impl Iterator<Item = (MediaPlace, Network, Instant)> {
        let of = |place, known: Option<(Network, Instant)>| known.map(|(network, since)| (place, network, since));
        let lecture = of(MediaPlace::Lecture, self.lecture_without_media());
        lecture.into_iter().chain(of(MediaPlace::Conferences, self.conferences_without_media()))
    }

    fn lecture_without_media(&self) -> Option<(Network, Instant)> {
        if let Some(host) = &self.host {
            return Some((host.network, host.without_media_from?));
        }
        // The host has failed, and the publisher has not offered again.
        let publisher = self.members.get(self.publisher.as_ref()?).filter(|member| member.newcomer.wants_host())?;
        match publisher.media {
            Media::Missing { since } => Some((publisher.newcomer.network, since)),
            Media::Connected => None,
        }
    }

    /// A place of this room goes to another one: its publisher has to come again, or its participants connect to each
    /// other.
    pub(super) fn lose_media_place(
        &mut self,
        now: Instant,
        place: MediaPlace,
        limits: &RoomLimits,
        out: &mut Vec<Output>,
    ) {
        if place == MediaPlace::Conferences {
            return self.conference_host_failed(now, out);
        }
        let message = "the server carries the media of as many rooms as it can, and your place went to another \
                       teacher, as your picture and sound did not arrive";
        let refusal = RoomRefusal::new(ErrorCode::ServerFull, message).after(limits.media_within);
        if let Some(publisher) = self.publisher.clone() {
            self.put_out(now, &publisher, (refusal, LeaveReason::Removed), limits, out);
        } else {
            self.end_host(out);
            self.forget_media(now);
        }
        self.look_around(now, limits);
    }

    /// The server has started the host of this publisher, or that of the conferences; returns false if no such host is
    /// wanted any more.
    pub(super) fn host_started(
        &mut self,
        room_id: &RoomId,
        publisher: Option<&UserId>,
        conn: ConnId,
        out: &mut Vec<Output>,
    ) -> bool {
        let place = match publisher {
            Some(publisher) => self.host.as_mut().filter(|host| host.publisher == *publisher).map(|it| &mut it.conn),
            None => self.conference_host_mut().map(|host| &mut host.conn),
        };
        let Some(place) = place.filter(|place| place.is_none()) else { return false };
        *place = Some(conn);
        // Nobody sees the host of conferences, and the id of a room has the form of a user id.
        let Some(user_id) = publisher.cloned().or_else(|| room_id.as_str().parse().ok()) else { return false };
        let kind = self.kind();
        out.push(Output::Send {
            to: conn,
            message: ServerMessage::Joined {
                kind,
                room_id: room_id.clone(),
                room_name: self.name.clone(),
                user_id,
                users: self.members.values().map(|member| member.user.clone()).collect(),
                count: self.members.len(),
                publisher: self.publisher.clone(),
                publisher_went: None,
                ice_servers: Vec::new(),
            },
        });
        if publisher.is_none() {
            self.tell_conference_host(out);
        } else if !self.edges.ids().is_empty() {
            self.tell_edges(out);
        }
        true
    }

    /// Ends the host, because the publisher has left for good.
    pub(super) fn end_host(&mut self, out: &mut Vec<Output>) {
        close(self.host.take().and_then(|host| host.conn), out);
    }

    /// Ends all hosts of the room, which is over.
    pub(super) fn end_hosts(&mut self, out: &mut Vec<Output>) {
        self.end_host(out);
        self.end_conference_host(out);
    }

    /// The connections of the room's media hosts.
    pub(super) fn host_conns(&self) -> impl Iterator<Item = ConnId> {
        let lecture = self.host.as_ref().and_then(|host| host.conn);
        lecture.into_iter().chain(self.conference_host())
    }

    /// The publisher's connection was lost. The media may still flow.
    pub(super) fn keep_host(&mut self, now: Instant, limits: &RoomLimits) {
        if let Some(host) = &mut self.host {
            host.until = Some(now + limits.media_stays);
        }
    }

    /// The host has ended by itself. Its students and the publisher offer again, and then there is a new one.
    pub(super) fn host_failed(&mut self, now: Instant, conn: ConnId, out: &mut Vec<Output>) {
        if self.conference_host() == Some(conn) {
            // The connection is gone, so nothing closes it.
            self.conferences.iter_mut().for_each(|conferences| conferences.host = None);
            return self.conference_host_failed(now, out);
        }
        let Some(Host { publisher, .. }) = self.host.take_if(|host| host.conn == Some(conn)) else { return };
        let has_media = |member: &Member| member.user.publishes || member.media == Media::Connected;
        let to: Vec<ConnId> =
            self.members.values().filter(|member| has_media(member)).filter_map(Member::conn).collect();
        if !to.is_empty() {
            out.push(Output::Broadcast { to, message: ServerMessage::Hangup { user_id: publisher } });
        }
        self.forget_media(now);
    }

    /// Starts a host again for a publisher that offers after the last host has failed. Students see another epoch, so
    /// that they offer again.
    pub(super) fn restart_host(&mut self, now: Instant, limits: &RoomLimits, out: &mut Vec<Output>) {
        let publisher = self.publisher.as_ref().and_then(|id| self.members.get_mut(id));
        let Some(member) = publisher.filter(|_| self.host.is_none()) else { return };
        let before = member.user.clone();
        member.user.epoch = before.epoch.wrapping_add(1);
        let (user, newcomer) = (member.user.clone(), member.newcomer.clone());
        let left = ServerMessage::Leave { users: vec![before.user_id], reason: LeaveReason::Replaced };
        self.broadcast(left, Some(&user.user_id), out);
        self.start_host(now, &newcomer, user.epoch, out);
        self.tell_joined(now, &user, limits, out);
    }

    /// Relays a message for the publisher's media. `conn` sent it.
    pub(super) fn relay_to_host(&self, conn: ConnId, message: ServerMessage, out: &mut Vec<Output>) {
        relay(conn, self.host.as_ref().and_then(|host| host.conn), message, out);
    }

    /// A message of the host. Messages for somebody who has left meanwhile are dropped, and those that only the
    /// publisher itself sends.
    pub(super) fn host_message(
        &mut self,
        now: Instant,
        (conn, message): (ConnId, ClientMessage),
        limits: &RoomLimits,
        out: &mut Vec<Output>,
    ) {
        if self.conference_host() == Some(conn) {
            return self.conference_host_message(now, message, out);
        }
        let Some(host) = &mut self.host else { return };
        let publisher = host.publisher.clone();
        if let ClientMessage::Speakers { count } = message {
            return self.set_speakers(count);
        }
        if let ClientMessage::Hangup { target_uid, source: None } = &message
            && self.edges.serve(target_uid)
        {
            // The hangup is about an earlier connection.
            return;
        }
        let media = match &message {
            ClientMessage::Connected { target_uid } => Some((target_uid, Media::Connected)),
            ClientMessage::Hangup { target_uid, source: None } => Some((target_uid, Media::Missing { since: now })),
            _ => None,
        };
        match media {
            Some((target, Media::Connected)) if *target == publisher => host.without_media_from = None,
            Some((target, Media::Missing { .. })) if *target == publisher => {
                // The class waits for a publisher whose media is lost.
                host.without_media_from.get_or_insert(now + limits.media_stays);
            }
            Some((target, media)) => {
                if let Some(member) = self.members.get_mut(target) {
                    member.media = media;
                }
            }
            None => {}
        }
        let Some((target, message)) = of_holder(message, &publisher) else { return };
        if let Some(to) = self.edges.conn(&target) {
            return out.push(Output::Send { to, message });
        }
        let Some(member) = self.members.get_mut(&target) else { return };
        match &mut member.connection {
            Connection::Open(to) => out.push(Output::Send { to: *to, message }),
            // A receiver whose mailbox is full offers again.
            Connection::Lost { mailbox, .. } => _ = mailbox.push(message, member.user.publishes),
        }
    }
}

/// Ends a host with this connection.
pub(super) fn close(conn: Option<ConnId>, out: &mut Vec<Output>) {
    out.extend(conn.map(|conn| Output::Close { conn, code: None }));
}

/// Relays a message of `conn` to a media host, if that runs.
pub(super) fn relay(conn: ConnId, host: Option<ConnId>, message: ServerMessage, out: &mut Vec<Output>) {
    out.push(match host {
        Some(to) => Output::Relay { from: conn, to, message },
        None => Output::Send { to: conn, message: ServerMessage::target_busy() },
    });
}
