//! The identity of a client, and its rights: the teaching key, signed tokens, join codes and TURN credentials.
//!
//! [`Access`] is the policy of one server. It is pure: it is told the time, and reads no file. A room compares join
//! codes itself, because a publisher sets them; the rest is decided here before a room sees the client.
//!
//! | the client shows | it may publish | it may moderate | its user id |
//! | --- | --- | --- | --- |
//! | the teaching key | yes | yes | as it asks |
//! | a token | as the token says | as the token says | as the token says |
//! | nothing, from this computer, without a proxy, where no key is set | yes | if it publishes | as it asks |
//! | nothing | no | no | as it asks, where guests are welcome |

mod attempts;
mod join_code;
mod jws;
mod key_file;
mod proof;
mod secret;
mod token;
mod turn;
mod words;

use std::fmt;
use std::sync::{PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use crate::id::{KeyId, Nickname, RoomId, UserId};
use crate::network::ClientAddress;
use crate::protocol::{Credentials, ErrorCode};

pub use attempts::Attempts;
pub use join_code::{JoinCode, JoinCodeError};
pub use key_file::{Algorithm, KeyFile, KeyFileError, NewKey};
pub(crate) use proof::{is_proven, prove};
pub use secret::{SecretError, TeachingKey, TurnSecret};
pub use token::{Grant, Role, SigningKey, TokenError};
pub use turn::{TURN_TTL, TurnCredentials, TurnDenied, turn_credentials, turn_password};

/// The settings of [`Access`].
#[derive(Debug, Default)]
pub struct AccessConfig {
    /// The key of everybody who may teach on this server.
    pub teaching_key: Option<TeachingKey>,
    /// The keys that sign tokens; `None`: the server knows no tokens, and everybody may watch.
    pub keys: Option<KeyFile>,
    /// Whether a connection from loopback proves that the client runs on this computer. Behind a proxy it does not.
    pub trusts_loopback: bool,
    /// The secret that the server shares with its TURN servers.
    pub turn_secret: Option<TurnSecret>,
}

/// The policy of one server.
#[derive(Debug)]
pub struct Access {
    teaching_key: Option<TeachingKey>,
    keys: RwLock<Option<KeyFile>>,
    trusts_loopback: bool,
    turn_secret: Option<TurnSecret>,
}

/// The request of a client.
#[derive(Debug, Clone, Copy)]
pub struct Claim<'a> {
    /// The room.
    pub room: &'a RoomId,
    /// The user id.
    pub user: &'a UserId,
    /// The name for others.
    pub nickname: &'a Nickname,
    /// Whether the client wants to publish.
    pub publishes: bool,
}

/// The rights of a client in its room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rights {
    /// Publish, create and own rooms.
    pub publishes: bool,
    /// Give orders about members and chat.
    pub moderates: bool,
}

/// The proved identity of a client. Two connections with the same identity belong to the same owner.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Identity {
    /// A holder of the teaching key.
    TeachingKey,
    /// The subject of a token.
    Token {
        /// The key that signed the token.
        key: KeyId,
        /// The subject.
        subject: UserId,
    },
    /// A teacher on the computer of the server.
    Loopback,
}

/// The identity and the rights of a client that may go on to its room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authorization {
    /// The rights of the client.
    pub rights: Rights,
    /// The client's proved identity; `None` for a guest, which needs the room's join code.
    pub owner: Option<Identity>,
    /// Whether the user id comes from a token, so that no guest may keep the id from this client.
    pub reserved: bool,
    /// The user id to use.
    pub user: UserId,
    /// The name to use.
    pub nickname: Nickname,
    /// The end of the token's life.
    pub expires: Option<SystemTime>,
}

/// A refusal: a stable code and a sentence for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denied {
    /// The stable code.
    pub code: ErrorCode,
    /// The cause and the next step.
    pub message: String,
    /// When to try again, if that may help.
    pub retry_after: Option<Duration>,
    /// Whether the client may have guessed: [`Attempts`] counts these.
    pub guessed: bool,
}

impl Denied {
    fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), retry_after: None, guessed: false }
    }
}

impl fmt::Display for Denied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.message)
    }
}

impl Access {
    /// The policy with these settings.
    pub fn new(config: AccessConfig) -> Self {
        let AccessConfig { teaching_key, keys, trusts_loopback, turn_secret } = config;
        Self { teaching_key, keys: RwLock::new(keys), trusts_loopback, turn_secret }
    }

    /// Replaces the keys that sign tokens. Clients that were admitted before stay.
    pub fn set_keys(&self, keys: KeyFile) {
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = Some(keys);
    }

    /// The ids of the keys that sign tokens.
    pub fn key_ids(&self) -> Vec<KeyId> {
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        keys.iter().flat_map(KeyFile::ids).cloned().collect()
    }

    /// Whether there is neither a teaching key nor a key for tokens. Then nobody can teach from another computer, and
    /// nobody at all behind a proxy.
    pub fn teaches_only_here(&self) -> bool {
        self.teaching_key.is_none() && self.keys.read().unwrap_or_else(PoisonError::into_inner).is_none()
    }

    /// The start of a sentence about the right to teach, for a server without a teaching key and without token keys.
    pub fn who_may_without_keys(&self) -> &'static str {
        if self.trusts_loopback { "only its own computer may" } else { "nobody behind its proxy may" }
    }

    /// Decides about a client that wants to join or to create a room.
    ///
    /// # Errors
    /// [`ErrorCode::BadToken`], [`ErrorCode::TokenRequired`] or [`ErrorCode::TeachingKeyRequired`].
    pub fn check(
        &self,
        now: SystemTime,
        credentials: &Credentials,
        claim: &Claim<'_>,
        address: ClientAddress,
    ) -> Result<Authorization, Denied> {
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        let has_key = self.has_teaching_key(credentials)?;
        let mut authorization = match (&credentials.token, keys.as_ref()) {
            (Some(token), Some(keys)) => authorization_of(&keys.verify(now, token, claim.room)?, claim),
            (Some(_), None) => return Err(TokenError::NoKeys.into()),
            (None, keys) => {
                let is_loopback = self.trusts_loopback && address.is_loopback;
                let is_trusted = is_loopback && self.teaching_key.is_none() && keys.is_none();
                if keys.is_some_and(|keys| !keys.guests()) && !has_key {
                    return Err(token_required());
                }
                guest(claim, is_trusted)
            }
        };
        if has_key {
            authorization.rights = Rights { publishes: true, moderates: true };
            authorization.owner.get_or_insert(Identity::TeachingKey);
        }
        if claim.publishes && !authorization.rights.publishes {
            let message = match (&authorization.owner, &self.teaching_key, keys.as_ref()) {
                (None, None, None) => {
                    let who = self.who_may_without_keys();
                    let message = format!(
                        "this server has no teaching key, so {who} teach: start the server with --teach-key, or teach \
                         without --server"
                    );
                    return Err(Denied::new(ErrorCode::TeachingKeyRequired, message));
                }
                (Some(_), ..) => "this token does not allow teaching: use a token of the role teacher",
                (None, Some(_), None) => {
                    "teaching on this server needs its teaching key: set $CLASSROOM_TEACH_KEY or add --teach-key"
                }
                (None, Some(_), Some(_)) => {
                    "teaching on this server needs its teaching key or a token of the role teacher: set \
                     $CLASSROOM_TEACH_KEY or $CLASSROOM_TOKEN"
                }
                (None, None, Some(_)) => {
                    "teaching on this server needs a token of the role teacher: set $CLASSROOM_TOKEN"
                }
            };
            return Err(Denied::new(ErrorCode::TeachingKeyRequired, message));
        }
        Ok(authorization)
    }

    /// Decides about a client that wants to create a room, whose id the server draws. A token is for a room that exists
    /// already, so it does not help.
    ///
    /// # Errors
    /// [`ErrorCode::TeachingKeyRequired`].
    pub fn may_create(&self, credentials: &Credentials, address: ClientAddress) -> Result<(), Denied> {
        let has_keys = self.keys.read().unwrap_or_else(PoisonError::into_inner).is_some();
        let is_trusted = self.trusts_loopback && address.is_loopback && self.teaching_key.is_none() && !has_keys;
        if is_trusted || self.has_teaching_key(credentials)? {
            return Ok(());
        }
        let message = match &self.teaching_key {
            Some(_) => "creating a room needs the teaching key of this server".to_owned(),
            None if has_keys => "this server has no teaching key, so nobody may create rooms: a teacher with a token \
                                 teaches in the room of the token"
                .to_owned(),
            None => format!("this server has no teaching key, so {} create rooms", self.who_may_without_keys()),
        };
        Err(Denied::new(ErrorCode::TeachingKeyRequired, message))
    }

    /// Credentials for the TURN servers that share the secret, valid for [`TURN_TTL`]; `None` without a secret.
    pub fn turn_credentials(&self, now: SystemTime, member: (&RoomId, &UserId)) -> Option<TurnCredentials> {
        self.turn_secret.as_ref().map(|secret| turn_credentials(secret, member, TURN_TTL, now))
    }

    /// The secret of the TURN servers.
    pub fn turn_secret(&self) -> Option<&TurnSecret> {
        self.turn_secret.as_ref()
    }

    /// A digest of the secrets, by which the nodes of a server notice that theirs differ. It is too short to tell a
    /// guess of a secret from another one.
    pub fn digest(&self) -> u16 {
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        let key = self.teaching_key.as_ref().map_or("", TeachingKey::as_str).as_bytes();
        // Each node has its own secret for its own TURN server.
        let turn = self.turn_secret.as_ref().filter(|secret| !secret.is_own()).map_or(&[][..], TurnSecret::as_bytes);
        let ids: Vec<&str> = keys.iter().flat_map(KeyFile::ids).map(KeyId::as_str).collect();
        let guests = format!("{:?}", keys.as_ref().map(KeyFile::guests));
        secret::short_digest(&[key, turn, ids.join(" ").as_bytes(), guests.as_bytes()])
    }

    /// Whether the client has the server's teaching key. A key for a server without one has no meaning: a teacher may
    /// have the key of another server in the environment.
    fn has_teaching_key(&self, credentials: &Credentials) -> Result<bool, Denied> {
        let (Some(key), Some(given)) = (&self.teaching_key, &credentials.key) else { return Ok(false) };
        if key.matches(given) {
            return Ok(true);
        }
        let message = "the teaching key is wrong: ask the person who runs the server";
        Err(Denied { guessed: key.is_guessable(), ..Denied::new(ErrorCode::TeachingKeyRequired, message) })
    }
}

fn guest(claim: &Claim<'_>, is_trusted: bool) -> Authorization {
    let is_teacher = is_trusted && claim.publishes;
    Authorization {
        rights: Rights { publishes: is_trusted, moderates: is_teacher },
        owner: is_teacher.then_some(Identity::Loopback),
        reserved: false,
        user: claim.user.clone(),
        nickname: claim.nickname.clone(),
        expires: None,
    }
}

fn authorization_of(token: &token::Verified, claim: &Claim<'_>) -> Authorization {
    Authorization {
        rights: token.rights,
        owner: Some(Identity::Token { key: token.key.clone(), subject: token.subject.clone() }),
        reserved: true,
        user: token.subject.clone(),
        nickname: token.nickname.clone().unwrap_or_else(|| claim.nickname.clone()),
        expires: Some(token.expires),
    }
}

fn token_required() -> Denied {
    let message = "this server admits only clients with a token: open the link that you were given, or add --token";
    Denied::new(ErrorCode::TokenRequired, message)
}

impl From<TokenError> for Denied {
    fn from(error: TokenError) -> Self {
        Denied::new(ErrorCode::BadToken, error.to_string())
    }
}

#[cfg(test)]
mod tests;
