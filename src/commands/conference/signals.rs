//! The messages of the server: the participants, their descriptions and candidates, and the room.

use std::sync::PoisonError;

use super::pair::PairInput;
use super::participants::Change;
use super::spotlight::SpotlightChange;
use super::{Conference, ConferenceEvent, OfServer};
use crate::commands::client_network::bind_addresses;
use crate::id::UserId;
use crate::protocol::{MediaHost, Participants, ServerMessage};
use crate::report::{Event, ParticipantState};
use crate::signal::SignalEvent;
use crate::viewer::{IceServers, ViewerConfig};

impl Conference<'_> {
    pub(super) fn on_signal(&mut self, event: SignalEvent) -> Option<ConferenceEvent> {
        match event {
            SignalEvent::Joined { ice_servers: named, users, .. } => {
                self.room.joined(&users);
                let servers = self.relays.update(self.member, named);
                self.on_joined(servers);
                Some(ConferenceEvent::Joined)
            }
            SignalEvent::Waiting { .. } => {
                self.reporter.status("waiting to be admitted");
                None
            }
            SignalEvent::Lost { reason } => {
                self.reporter.warn(format!("lost the signalling server ({reason}), trying to reconnect"));
                None
            }
            SignalEvent::Message(message) => self.on_message(message),
            SignalEvent::Ended(_) => None,
        }
    }

    fn on_joined(&mut self, ice_servers: IceServers) {
        let server = self.signalling.server().cloned();
        if let Some(server) = server.as_ref().filter(|server| self.server.as_ref() != Some(*server)) {
            let (user, nickname) = (self.member.user.clone(), self.member.nickname.clone().into());
            self.reporter.event(&Event::Joined { user, nickname, server: server.to_string() });
        } else {
            self.reporter.notice("the signalling server is back");
        }
        self.server = server;
        let network = ViewerConfig { bind: bind_addresses(self.server.as_ref()), ice_servers };
        *self.context.network.lock().unwrap_or_else(PoisonError::into_inner) = network;
    }

    fn on_message(&mut self, message: ServerMessage) -> Option<ConferenceEvent> {
        match message {
            ServerMessage::Participants(list) => {
                self.listed(list);
                return Some(ConferenceEvent::Listed);
            }
            ServerMessage::Answer { user_id, sdp, entry: None } => {
                self.of_server.push_back(OfServer::Answer(user_id, sdp));
            }
            ServerMessage::Candidate { user_id, candidate, entry: None, .. } => {
                self.of_server.push_back(OfServer::Candidate(user_id, candidate));
            }
            message if self.is_about_files(&message) => {}
            message if self.mutes_me(&message) => {
                self.room.told(&message, self.reporter);
                self.muted();
            }
            message if self.room.told(&message, self.reporter) => {}
            ServerMessage::Error { user_id: Some(user), ref message, .. } if self.server_media.failed(Some(&user)) => {
                self.reporter.detail(format!("the server does not carry the media of {user} yet: {message}"));
            }
            ServerMessage::Hangup { ref user_id } if self.server_media.failed(Some(user_id)) => {}
            ServerMessage::Offer { user_id, sdp, entry, .. } => self.pass(&user_id, entry, PairInput::Offer(sdp)),
            ServerMessage::Answer { user_id, sdp, entry } => self.pass(&user_id, entry, PairInput::Answer(sdp)),
            ServerMessage::Candidate { user_id, candidate, entry, .. } => {
                self.pass(&user_id, entry, PairInput::Candidate(candidate));
            }
            ServerMessage::Channel { message } => self.on_chat(message),
            message => return Some(ConferenceEvent::Message(message)),
        }
        None
    }

    /// Passes a message of another participant to its pair. One of an entry that is gone is dropped.
    fn pass(&self, other: &UserId, entry: Option<u32>, input: PairInput) {
        if entry.is_some() && entry == self.list.entry_of(other) {
            self.pairs.pass(other, input);
        }
    }

    pub(super) fn listed(&mut self, list: Participants) {
        let spotlight = list.spotlight.clone();
        self.look_at_received();
        for change in self.list.listed(list) {
            match change {
                Change::Entered(who) => {
                    self.tell(&who.user_id, who.nickname.as_str(), ParticipantState::Entered { sends: who.sends });
                }
                Change::Sends(who) => {
                    self.pairs.pass(&who.user_id, PairInput::Sends(who.sends.clone()));
                    self.tell(&who.user_id, who.nickname.as_str(), ParticipantState::Sends { sends: who.sends });
                }
                Change::Left(who) => {
                    self.spotlight.gone(&who.user_id);
                    self.tell(&who.user_id, who.nickname.as_str(), ParticipantState::Left);
                }
                Change::Asks(user) => self.tell_of(&user, ParticipantState::AsksForSpotlight),
                Change::Open(side) => {
                    self.files.lost(&side.other.user_id, self.reporter);
                    self.pairs.open(side);
                }
                Change::Close(user) => {
                    self.files.lost(&user, self.reporter);
                    self.pairs.close(&user);
                }
            }
        }
        let (changes, is_over) = self.spotlight.listed(spotlight);
        for change in changes {
            match change {
                SpotlightChange::Large(user) => self.tell_of(&user, ParticipantState::Large),
                SpotlightChange::Ended(user) => self.tell_of(&user, ParticipantState::NotLarge),
            }
        }
        if is_over {
            self.context.stage.enlarge_lecture();
        }
        if self.list.media() == MediaHost::Server && self.list.takes_part() {
            self.server_media.listed(self.list.others());
            for other in self.list.others().filter(|other| other.sends.is_empty() && !other.published) {
                self.pairs.release(&other.user_id);
            }
        } else {
            self.server_media.end();
        }
    }
}
