//! Conferences whose media the server carries: when one moves there, what goes to the media host, and what if that
//! fails.
//!
//! This media host has no publisher. Its messages are about a participant each, their `source`. The same host carries
//! the media of a meeting and of its breakout rooms, or of the breakout rooms of a lecture; each of them moves on its
//! own. Beside the host of a lecture, the room has this one as a second host.

use std::time::{Duration, Instant};

use super::host::{close, relay};
use super::meeting::meeting_full;
use super::member::{ConferenceHost, Media, Member};
use super::members::{Room, refuse};
use super::relay::of_holder;
use super::{ConnId, Output, RoomLimits};
use crate::id::{RoomId, UserId};
use crate::network::Network;
use crate::protocol::{
    ClientMessage, ErrorCode, MAX_MESH, MAX_PARTICIPANTS, MediaHost, MediaMove, RoomKind, ServerMessage,
};

impl Room {
    /// The conference that has to move to the server before this message of a member is carried out, and why.
    pub(super) fn move_before(
        &self,
        id: &UserId,
        message: &ClientMessage,
        limits: &RoomLimits,
    ) -> Option<(u32, MediaMove)> {
        let conferences = self.conferences.as_ref().filter(|_| limits.max_media_rooms > 0)?;
        let here = conferences.at(id);
        let to = match message {
            ClientMessage::Visit { breakout } if *breakout != here && self.may_visit(id, *breakout) => *breakout,
            _ => here,
        };
        let conference = conferences.conference(to).filter(|_| !conferences.is_call())?;
        // Once its server has failed, a conference stays where it is.
        if conference.media == MediaHost::Server || conference.moved.is_some() {
            return None;
        }
        let is_possible = conferences.on_server() + conference.taken() < MAX_PARTICIPANTS;
        // A visit of the teacher alone moves no breakout room.
        let moderates = self.members.get(id).is_some_and(|member| member.user.moderates);
        let is_full = conference.taken() >= conferences.most_for(to, moderates) && is_possible;
        match message {
            ClientMessage::Participate { .. } | ClientMessage::Accept { .. } => {
                (conferences.place(id).is_none() && is_full).then_some((to, MediaMove::Size))
            }
            ClientMessage::Visit { .. } => {
                (to != here && conferences.get(id).is_some() && is_full).then_some((to, MediaMove::Size))
            }
            ClientMessage::Overloaded => {
                let is_alone = conference.get(id).is_none() || conference.participants.len() < 2;
                let is_possible = is_possible && self.carries_more(to, conference.taken());
                (!is_alone && is_possible).then_some((to, MediaMove::Overload))
            }
            _ => None,
        }
    }

    /// A conference of the room moves to the server, which has a place for the room.
    pub(super) fn move_to_server(
        &mut self,
        now: Instant,
        room: &RoomId,
        (id, why): (u32, MediaMove),
        out: &mut Vec<Output>,
    ) {
        let network = self.opener();
        let Some(conferences) = &mut self.conferences else { return };
        let Some(conference) = conferences.conference_mut(id) else { return };
        (conference.media, conference.moved) = (MediaHost::Server, Some(why));
        conferences.changed(now, id, Duration::ZERO);
        if conferences.host.is_none() {
            out.push(Output::StartHost { room: room.clone(), publisher: None });
            conferences.host = Some(ConferenceHost { conn: None, network, without_media_from: Some(now) });
        }
    }

    /// Whether the room has a media host for its conferences, perhaps one that is about to start.
    pub(super) fn has_conference_host(&self) -> bool {
        self.conferences.as_ref().is_some_and(|conferences| conferences.host.is_some())
    }

    /// The connection of the media host of the conferences.
    pub(super) fn conference_host(&self) -> Option<ConnId> {
        self.conferences.as_ref()?.host.as_ref()?.conn
    }

    pub(super) fn conference_host_mut(&mut self) -> Option<&mut ConferenceHost> {
        self.conferences.as_mut()?.host.as_mut()
    }

    /// Tells the media host, which has just started, who takes part.
    pub(super) fn tell_conference_host(&self, out: &mut Vec<Output>) {
        let Some((conferences, to)) = self.conferences.as_ref().zip(self.conference_host()) else { return };
        let lists = conferences.ids().into_iter().map(|id| ServerMessage::Participants(conferences.list(id)));
        out.extend(lists.map(|message| Output::Send { to, message }));
    }

    /// The network that took the place for the conferences, and since when no media of a participant has arrived.
    pub(super) fn conferences_without_media(&self) -> Option<(Network, Instant)> {
        let host = self.conferences.as_ref()?.host.as_ref()?;
        Some((host.network, host.without_media_from?))
    }

    pub(super) fn end_conference_host(&mut self, out: &mut Vec<Output>) {
        let host = self.conferences.as_mut().and_then(|conferences| conferences.host.take());
        close(host.and_then(|host| host.conn), out);
    }

    /// Ends the host of the conferences once the server carries the media of nobody.
    pub(super) fn end_unused_host(&mut self, out: &mut Vec<Output>) {
        if self.conferences.as_ref().is_some_and(|conferences| conferences.on_server() == 0) {
            self.end_conference_host(out);
        }
    }

    /// Relays an offer for the media of a participant, or a candidate for it, to the media host.
    pub(super) fn relay_to_conference_host(
        &mut self,
        (id, conn): (&UserId, ConnId),
        message: ClientMessage,
        out: &mut Vec<Output>,
    ) {
        let Some((conferences, sender)) = self.conferences.as_ref().zip(self.members.get_mut(id)) else { return };
        let meeting = conferences.of(id).filter(|meeting| meeting.media == MediaHost::Server);
        let Some((meeting, own)) = meeting.and_then(|meeting| Some((meeting, meeting.get(id)?))) else {
            let rule = "the server does not carry your media: name the entry of the participant you connect to";
            return refuse(conn, ErrorCode::NotAllowed, rule, out);
        };
        let (user_id, entry) = (id.clone(), Some(own.entry));
        let (target, message) = match message {
            ClientMessage::Offer { target_uid, sdp, video, tracks, .. } => {
                sender.candidates.offered(&target_uid, None);
                let (tracks, network) = (tracks.filter(|_| target_uid == *id), Some(sender.tag));
                let source = Some(target_uid.clone());
                (target_uid, ServerMessage::Offer { user_id, sdp, entry, video, tracks, network, source })
            }
            ClientMessage::Candidate { target_uid, candidate, .. } => {
                if !sender.candidates.take(&target_uid, None) {
                    return;
                }
                let source = Some(target_uid.clone());
                (target_uid, ServerMessage::Candidate { user_id, candidate, entry, source })
            }
            _ => return,
        };
        if meeting.get(&target).is_none() {
            let message = format!("user {target} takes no part here");
            return refuse(conn, ErrorCode::UnknownTarget, message, out);
        }
        relay(conn, self.conference_host(), message, out);
    }

    /// A message of the media host.
    pub(super) fn conference_host_message(&mut self, now: Instant, message: ClientMessage, out: &mut Vec<Output>) {
        let Some(conferences) = &mut self.conferences else { return };
        let is_lecture = conferences.kind == RoomKind::Lecture;
        match message {
            ClientMessage::Published { target_uid, entry, on } => {
                if conferences.set_published(now, &target_uid, entry, on)
                    && on
                    && let Some(host) = &mut conferences.host
                {
                    // From now on no other room takes the place of this one.
                    host.without_media_from = None;
                }
            }
            ClientMessage::Answer { source: Some(ref source), .. }
            | ClientMessage::Candidate { source: Some(ref source), .. }
            | ClientMessage::Reject { source: Some(ref source), .. }
            | ClientMessage::Hangup { source: Some(ref source), .. } => {
                let source = source.clone();
                // A participant that has left meanwhile does not need the message.
                if let Some((target, message)) = of_holder(message, &source)
                    && conferences.get(&target).is_some()
                {
                    let message = if is_lecture { in_conference(message) } else { message };
                    self.deliver(None, &target, message, out);
                }
            }
            _ => {}
        }
    }

    /// The media host has ended by itself, or its place went to another room: the participants connect to each other
    /// again, as many as that takes.
    pub(super) fn conference_host_failed(&mut self, now: Instant, out: &mut Vec<Output>) {
        self.end_conference_host(out);
        let Some(conferences) = &mut self.conferences else { return };
        let mut late = Vec::new();
        for id in conferences.ids() {
            let conference = conferences.conference_mut(id);
            let Some(conference) = conference.filter(|known| known.media == MediaHost::Server) else { continue };
            (conference.media, conference.moved) = (MediaHost::Publisher, Some(MediaMove::Failure));
            conference.participants.iter_mut().for_each(|participant| participant.published = false);
            // A place that is kept for a reload counts, too.
            late.extend(conference.holders().into_iter().skip(MAX_MESH));
            conferences.changed(now, id, Duration::ZERO);
        }
        for user in &late {
            conferences.leave(now, user);
        }
        let is_meeting = conferences.is_meeting();
        for user in late {
            let Some(member) = self.members.get_mut(&user) else { continue };
            if is_meeting {
                member.media = Media::Missing { since: now };
            }
            if let Some(conn) = Member::conn(member) {
                meeting_full(MAX_MESH).answer(conn, out);
            }
        }
    }
}

/// The message for a page of a lecture, which takes it for one about the lecture otherwise.
fn in_conference(message: ServerMessage) -> ServerMessage {
    ServerMessage::Conference { message: Box::new(message) }
}
