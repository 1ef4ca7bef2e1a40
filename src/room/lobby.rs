//! The clients that wait until the teacher admits them. They are not members: nobody but moderators hears of them.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::member::Applicant;
use super::{ConnId, Newcomer, RoomRefusal};
use crate::id::UserId;
use crate::network::Network;
use crate::protocol::{ErrorCode, MAX_LOBBY, MAX_LOBBY_LIST, ServerMessage, User};

/// The lobby of a room.
#[derive(Debug, Default)]
pub(super) struct Lobby {
    waiting: BTreeMap<UserId, Waiting>,
    /// When moderators get the next list.
    due: Option<Instant>,
    /// The next client waits behind all others.
    next_turn: u64,
}

#[derive(Debug)]
struct Waiting {
    applicant: Applicant,
    /// Lower numbers have waited longer.
    turn: u64,
}

impl Lobby {
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(super) fn get(&self, id: &UserId) -> Option<&Applicant> {
        self.waiting.get(id).map(|waiting| &waiting.applicant)
    }

    /// Whether this connection waits under this id.
    pub(super) fn holds(&self, id: &UserId, conn: ConnId) -> bool {
        self.get(id).is_some_and(|applicant| applicant.conn == conn)
    }

    /// All that wait, by their ids.
    pub(super) fn applicants(&self) -> impl Iterator<Item = &Applicant> {
        self.waiting.values().map(|waiting| &waiting.applicant)
    }

    /// The connections of all that wait.
    pub(super) fn conns(&self) -> impl Iterator<Item = ConnId> {
        self.applicants().map(|applicant| applicant.conn)
    }

    /// All that wait, the longest first.
    pub(super) fn ids(&self) -> Vec<UserId> {
        let mut turns: Vec<_> = self.waiting.iter().map(|(id, waiting)| (waiting.turn, id)).collect();
        turns.sort_unstable();
        turns.into_iter().map(|(_, id)| id.clone()).collect()
    }

    /// Makes space for one more client. A full lobby loses the newest client of the network that has most in it; that
    /// client is returned.
    ///
    /// # Errors
    /// If the lobby is full, and no network has more clients in it than the newcomer's would have.
    pub(super) fn make_space(&mut self, newcomer: &Newcomer) -> Result<Option<Applicant>, RoomRefusal> {
        if self.waiting.len() < MAX_LOBBY {
            return Ok(None);
        }
        let network = self.biggest_network(newcomer.network).ok_or_else(|| {
            let message = format!("{MAX_LOBBY} clients wait for admission to room {}", newcomer.room);
            RoomRefusal::new(ErrorCode::RoomFull, message)
        })?;
        let of_network = self.waiting.iter().filter(|(_, waiting)| waiting.applicant.newcomer.network == network);
        let newest = of_network.max_by_key(|(_, waiting)| waiting.turn).map(|(id, _)| id.clone());
        Ok(newest.and_then(|newest| self.waiting.remove(&newest)).map(|waiting| waiting.applicant))
    }

    /// The network with the most clients here, if it has more than `own` would have with one more.
    fn biggest_network(&self, own: Network) -> Option<Network> {
        let mut counts: BTreeMap<Network, usize> = BTreeMap::new();
        for waiting in self.waiting.values() {
            *counts.entry(waiting.applicant.newcomer.network).or_default() += 1;
        }
        let of_own = counts.get(&own).copied().unwrap_or_default();
        let (network, most) = counts.into_iter().max_by_key(|(_, count)| *count)?;
        (most > of_own + 1).then_some(network)
    }

    /// Adds a client behind all others. Its id is free in the lobby.
    pub(super) fn put(&mut self, now: Instant, applicant: Applicant, interval: Duration) {
        let turn = self.next_turn;
        self.next_turn += 1;
        self.waiting.insert(applicant.newcomer.user.clone(), Waiting { applicant, turn });
        self.due.get_or_insert(now + interval);
    }

    /// Replaces the connection of a client that waits and has reconnected; returns the older connection.
    pub(super) fn reconnect(&mut self, now: Instant, applicant: Applicant, interval: Duration) -> Option<Applicant> {
        let waiting = self.waiting.get_mut(&applicant.newcomer.user)?;
        self.due.get_or_insert(now + interval);
        Some(std::mem::replace(&mut waiting.applicant, applicant))
    }

    /// Removes a client.
    pub(super) fn take(&mut self, now: Instant, id: &UserId, interval: Duration) -> Option<Applicant> {
        let taken = self.waiting.remove(id)?;
        self.due.get_or_insert(now + interval);
        Some(taken.applicant)
    }

    pub(super) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// The list for moderators; nothing more is due.
    pub(super) fn list(&mut self) -> ServerMessage {
        self.due = None;
        let ids = self.ids();
        let users: Vec<User> =
            ids.iter().take(MAX_LOBBY_LIST).filter_map(|id| Some(self.get(id)?.newcomer.user_entry())).collect();
        ServerMessage::Lobby { users, count: ids.len() }
    }
}
