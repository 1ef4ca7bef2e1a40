//! The gate of a room: join code, lock and lobby, and the people that were put out or admitted in this lecture.

use std::collections::{HashSet, VecDeque};
use std::time::Instant;

use super::{Newcomer, RoomRefusal};
use crate::access::{Attempts, Identity, JoinCode, JoinCodeError};
use crate::id::UserId;
use crate::network::Network;
use crate::protocol::{self, ErrorCode, RoomSettings, SessionSecret};

/// The most clients that a room remembers as put out. The oldest one is forgotten.
const MAX_OUTCASTS: usize = 1_024;

/// The most clients that a room remembers as admitted: each place twice.
const MAX_ADMITTED: usize = 2 * protocol::MAX_ROOM_USERS;

/// The gate of a room.
#[derive(Debug, Default)]
pub(super) struct Gate {
    pub(super) code: Option<JoinCode>,
    pub(super) has_lobby: bool,
    pub(super) is_locked: bool,
    outcasts: VecDeque<Outcast>,
    admitted: Admitted,
}

/// A client that was put out.
#[derive(Debug)]
pub(super) struct Outcast {
    pub(super) user: UserId,
    /// `None` if nobody with this user id was in the room.
    pub(super) session: Option<SessionSecret>,
    pub(super) identity: Option<Identity>,
    /// A ban refuses the user id, too.
    pub(super) is_banned: bool,
    /// A ban refuses the network, too, if nobody else in the room shares it.
    pub(super) network: Option<Network>,
}

/// The sessions that were admitted, in the order of their first admission.
#[derive(Debug, Default)]
struct Admitted {
    known: HashSet<String>,
    order: VecDeque<String>,
}

impl Gate {
    /// Takes a publisher's settings.
    ///
    /// # Errors
    /// If the code is not a join code. Then nothing has changed.
    pub(super) fn set(&mut self, settings: &RoomSettings) -> Result<(), JoinCodeError> {
        self.set_code(settings.code.as_deref())?;
        self.has_lobby = settings.lobby;
        self.is_locked = settings.locked;
        for user in &settings.banned {
            if !self.outcasts.iter().any(|outcast| outcast.is_banned && outcast.user == *user) {
                let user = user.clone();
                self.put_out(Outcast { user, session: None, identity: None, is_banned: true, network: None });
            }
        }
        Ok(())
    }

    /// Sets or removes the code.
    ///
    /// # Errors
    /// If the code is not a join code.
    pub(super) fn set_code(&mut self, code: Option<&str>) -> Result<(), JoinCodeError> {
        self.code = code.map(str::parse).transpose()?;
        Ok(())
    }

    /// Remembers that a client was admitted: it may return for the rest of the lecture.
    pub(super) fn admit(&mut self, session: &SessionSecret) {
        let Admitted { known, order } = &mut self.admitted;
        if known.insert(session.as_str().to_owned()) {
            order.push_back(session.as_str().to_owned());
        }
        if order.len() > MAX_ADMITTED
            && let Some(oldest) = order.pop_front()
        {
            known.remove(&oldest);
        }
    }

    /// Whether the client was admitted in this lecture.
    pub(super) fn admitted(&self, session: &SessionSecret) -> bool {
        self.admitted.known.contains(session.as_str())
    }

    /// Remembers a client that was put out.
    pub(super) fn put_out(&mut self, outcast: Outcast) {
        if let Some(session) = &outcast.session {
            self.admitted.known.remove(session.as_str());
            self.admitted.order.retain(|known| known != session.as_str());
        }
        if self.outcasts.len() >= MAX_OUTCASTS {
            self.outcasts.pop_front();
        }
        self.outcasts.push_back(outcast);
    }

    /// Lets everybody with this user id in again; returns false if nobody was put out with it.
    pub(super) fn pardon(&mut self, user: &UserId) -> bool {
        let before = self.outcasts.len();
        self.outcasts.retain(|outcast| outcast.user != *user);
        self.outcasts.len() < before
    }

    /// A new lecture: what was decided about people in the last one no longer counts.
    pub(super) fn forget_people(&mut self) {
        self.outcasts.clear();
        self.admitted = Admitted::default();
    }

    /// Whether the client was put out.
    pub(super) fn refuses(&self, newcomer: &Newcomer) -> bool {
        self.outcasts.iter().any(|outcast| outcast.is(newcomer))
    }

    /// Checks a student who was not in the room before. A wrong code counts as an attempt of the student's network.
    /// `keeper` keeps order in the room, in a sentence.
    pub(super) fn check(
        &self,
        now: Instant,
        newcomer: &Newcomer,
        keeper: &str,
        attempts: &mut Attempts,
    ) -> Result<(), RoomRefusal> {
        let room = &newcomer.room;
        if self.is_locked {
            return Err(RoomRefusal::new(ErrorCode::RoomLocked, format!("{keeper} has locked room {room}")));
        }
        // A token is more than a code.
        let Some(code) = self.code.as_ref().filter(|_| newcomer.identity.is_none()) else { return Ok(()) };
        let Some(given) = &newcomer.code else {
            let message = format!("room {room} has a join code: ask {keeper} for it, and add --code CODE");
            return Err(RoomRefusal::new(ErrorCode::CodeRequired, message));
        };
        attempts.check(now, newcomer.network).map_err(|wait| {
            let seconds = wait.as_secs_f64().ceil();
            let message = format!("too many wrong codes from your network: try again in {seconds} s");
            RoomRefusal::new(ErrorCode::TooManyAttempts, message).after(wait)
        })?;
        if !code.matches(given) {
            attempts.wrong(now, newcomer.network);
            let message = format!("this is not the join code of room {room}: compare it with what {keeper} shows");
            return Err(RoomRefusal::new(ErrorCode::WrongCode, message));
        }
        Ok(())
    }
}

impl Outcast {
    fn is(&self, newcomer: &Newcomer) -> bool {
        let same_identity = self.identity.is_some() && self.identity == newcomer.identity;
        self.session.as_ref() == Some(&newcomer.session)
            || same_identity
            // A token proves that its holder is not the guest who was banned under the same user id.
            || self.is_banned && !newcomer.reserved && self.user == newcomer.user
            || self.network == Some(newcomer.network)
    }
}
