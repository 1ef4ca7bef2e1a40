//! Signed tokens: JWT (RFC 7519) with the claims of LiveKit, so that one token opens a room here and there.
//!
//! ```json
//! {"iss": "school", "sub": "1001", "name": "Li Lei", "exp": 1700007200, "nbf": 1700000000, "jti": "5fQ0…",
//!  "video": {"room": "10013", "roomJoin": true, "canPublish": false, "roomAdmin": false}}
//! ```

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jsonwebtoken::dangerous::insecure_decode_claims;
use jsonwebtoken::errors::{Error, ErrorKind};
use jsonwebtoken::{EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};

use super::Rights;
use super::jws;
use super::key_file::{Algorithm, Key, KeyFile, private_key_der};
use crate::id::{KeyId, Nickname, RoomId, UserId};
use crate::protocol::MAX_TOKEN_BYTES;

/// How much the clocks of server and school may differ.
const LEEWAY: Duration = Duration::from_secs(10);

/// The rights of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// Watches.
    Student,
    /// Publishes and moderates.
    Teacher,
    /// Watches and moderates.
    Assistant,
}

impl Role {
    /// The rights of the role.
    pub fn rights(self) -> Rights {
        match self {
            Role::Student => Rights { publishes: false, moderates: false },
            Role::Teacher => Rights { publishes: true, moderates: true },
            Role::Assistant => Rights { publishes: false, moderates: true },
        }
    }
}

/// The content of a new token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// The room that it opens.
    pub room: RoomId,
    /// The user id that its holder has.
    pub user: UserId,
    /// The name that others see.
    pub nickname: Option<Nickname>,
    /// The rights of its holder.
    pub role: Role,
    /// The start of its life.
    pub from: SystemTime,
    /// The end of its life.
    pub until: SystemTime,
    /// An id by which a key file may revoke it.
    pub id: String,
}

/// Why a token is refused, or cannot be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// The server has no key file.
    #[error("this server knows no tokens: start it with --auth FILE, or join without the token")]
    NoKeys,
    /// Longer than any token of this program.
    #[error("the token has {0} bytes, at most {MAX_TOKEN_BYTES} are allowed")]
    TooLong(usize),
    /// Not a JWT, or one with an unknown algorithm.
    #[error("the token is not a JWT signed with HS256 or EdDSA: copy it again, whole")]
    Malformed,
    /// The header demands an extension (RFC 7515, section 4.1.11).
    #[error("the token demands an extension (crit) that this server does not know")]
    Critical,
    /// No key is named.
    #[error("the token names no key: its header needs kid, or its claims iss")]
    NoKeyNamed,
    /// The named key is not in the file.
    #[error("the token is signed with the key {0}, which this server does not know: add the key to the file of --auth")]
    UnknownKey(KeyId),
    /// The name is not the id of a key.
    #[error("the token names a key by an id that no key can have")]
    BadKeyId,
    /// The key is for another algorithm.
    #[error("the token is signed with {found}, but the key {key} is for {expected}")]
    Algorithm {
        /// The key.
        key: KeyId,
        /// The algorithm of the key.
        expected: &'static str,
        /// The algorithm of the token.
        found: String,
    },
    /// The signature is wrong.
    #[error("the signature of the token is wrong: ask for a new token")]
    Signature,
    /// The token is for somebody else.
    #[error("the token is for another service (aud)")]
    Audience,
    /// A claim is missing or invalid.
    #[error("a claim of the token is missing or invalid: {0}")]
    Claim(String),
    /// The life of the token is over.
    #[error("the token expired {} ago: ask for a new token", minutes(*.0))]
    Expired(Duration),
    /// The life of the token has not begun.
    #[error("the token is valid in {} only: come back then, or check the clock of the server", minutes(*.0))]
    NotYet(Duration),
    /// The key file has taken the token back.
    #[error("the token was revoked: ask for a new token")]
    Revoked,
    /// The token does not let its holder join.
    #[error("the token does not allow to join a room (video.roomJoin)")]
    NoJoin,
    /// The token is for another room.
    #[error("the token is for room {0}, not for room {1}")]
    OtherRoom(RoomId, RoomId),
    /// The key cannot sign.
    #[error("the file has only the public key of {0}: add --private-key FILE")]
    PublicOnly(KeyId),
    /// No key was chosen among several, or the chosen one is not there.
    #[error("choose one of the keys of the file with --key: {0}")]
    ChooseKey(String),
    /// The private key is not one of Ed25519.
    #[error("it is not an Ed25519 private key in PEM (PKCS #8)")]
    PrivateKey,
    /// The token cannot be signed.
    #[error("can't sign the token: {0}")]
    Signing(String),
}

/// A length of time as people say it.
fn minutes(time: Duration) -> String {
    match time.as_secs() {
        seconds @ 0..120 => format!("{seconds} s"),
        seconds @ 120..7_200 => format!("{} min", seconds / 60),
        seconds @ 7_200..172_800 => format!("{} h", seconds / 3_600),
        seconds => format!("{} days", seconds / 86_400),
    }
}

/// The claims of a token. Unknown ones have no meaning here.
#[derive(Serialize, Deserialize)]
struct Claims {
    #[serde(default)]
    iss: Option<String>,
    sub: UserId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    exp: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    nbf: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    jti: Option<String>,
    video: VideoGrant,
}

/// The claim `video` of LiveKit. There, an absent right to publish is granted; here it is not, so tokens of this
/// program state it.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct VideoGrant {
    room: RoomId,
    #[serde(default)]
    room_join: bool,
    #[serde(default)]
    can_publish: bool,
    #[serde(default = "yes")]
    can_subscribe: bool,
    /// Chat and hands go over a data channel.
    #[serde(default = "yes")]
    can_publish_data: bool,
    #[serde(default)]
    room_admin: bool,
}

fn yes() -> bool {
    true
}

/// The issuer alone, to find the key of a token without `kid`.
#[derive(Deserialize)]
struct Issuer {
    #[serde(default)]
    iss: Option<String>,
}

/// The content of a valid token.
pub(super) struct Verified {
    pub(super) key: KeyId,
    pub(super) subject: UserId,
    pub(super) nickname: Option<Nickname>,
    pub(super) rights: Rights,
    pub(super) expires: SystemTime,
}

impl KeyFile {
    /// Verifies the token of a client that wants to join `room`.
    pub(super) fn verify(&self, now: SystemTime, token: &str, room: &RoomId) -> Result<Verified, TokenError> {
        jws::install();
        if token.len() > MAX_TOKEN_BYTES {
            return Err(TokenError::TooLong(token.len()));
        }
        let header = jsonwebtoken::decode_header(token).map_err(|_| TokenError::Malformed)?;
        if header.crit.is_some() {
            return Err(TokenError::Critical);
        }
        let key = self.key_of(&header, token)?;
        if header.alg != key.algorithm.jwt() {
            return Err(TokenError::Algorithm {
                key: key.id.clone(),
                expected: key.algorithm.as_str(),
                found: format!("{:?}", header.alg),
            });
        }
        let mut validation = Validation::new(key.algorithm.jwt());
        // The library would read the clock itself.
        (validation.validate_exp, validation.validate_nbf) = (false, false);
        let claims = jsonwebtoken::decode::<Claims>(token, &key.verifies, &validation).map_err(refusal)?.claims;
        let expires = check_times(now, &claims)?;
        if claims.jti.as_ref().is_some_and(|id| self.has_revoked(id)) {
            return Err(TokenError::Revoked);
        }
        let video = claims.video;
        if !video.room_join {
            return Err(TokenError::NoJoin);
        }
        if video.room != *room {
            return Err(TokenError::OtherRoom(video.room, room.clone()));
        }
        Ok(Verified {
            key: key.id.clone(),
            subject: claims.sub,
            nickname: claims.name.map(Nickname::from).filter(|name| !name.as_str().is_empty()),
            rights: Rights { publishes: video.can_publish, moderates: video.room_admin },
            expires,
        })
    }

    /// The key that a token names by `kid`, or by its issuer as LiveKit's do.
    fn key_of(&self, header: &Header, token: &str) -> Result<&Key, TokenError> {
        let named = match &header.kid {
            Some(kid) => kid.clone(),
            None => {
                let claims: Issuer = insecure_decode_claims(token).map_err(|_| TokenError::Malformed)?;
                claims.iss.ok_or(TokenError::NoKeyNamed)?
            }
        };
        let id: KeyId = named.parse().map_err(|_| TokenError::BadKeyId)?;
        self.key(id.as_str()).ok_or(TokenError::UnknownKey(id))
    }
}

/// Checks `exp` and `nbf`. Returns the end of the token's life.
fn check_times(now: SystemTime, claims: &Claims) -> Result<SystemTime, TokenError> {
    let time = |name: &str, seconds: u64| {
        let time = UNIX_EPOCH.checked_add(Duration::from_secs(seconds));
        time.ok_or_else(|| TokenError::Claim(format!("{name} is no time")))
    };
    let expires = time("exp", claims.exp)?;
    if let Ok(over) = now.duration_since(expires)
        && over >= LEEWAY
    {
        return Err(TokenError::Expired(over));
    }
    if let Some(nbf) = claims.nbf
        && let Ok(wait) = time("nbf", nbf)?.duration_since(now)
        && wait > LEEWAY
    {
        return Err(TokenError::NotYet(wait));
    }
    Ok(expires)
}

fn refusal(error: Error) -> TokenError {
    match error.into_kind() {
        ErrorKind::InvalidSignature => TokenError::Signature,
        ErrorKind::InvalidAudience => TokenError::Audience,
        ErrorKind::MissingRequiredClaim(name) => TokenError::Claim(format!("{name} is missing")),
        ErrorKind::Json(error) => TokenError::Claim(error.to_string()),
        _ => TokenError::Malformed,
    }
}

/// A key that signs tokens. `Debug` hides the secret.
pub struct SigningKey {
    id: KeyId,
    algorithm: Algorithm,
    key: EncodingKey,
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({} {})", self.id, self.algorithm.as_str())
    }
}

impl SigningKey {
    /// The secret with this id in a key file; without an id, the only key of the file.
    ///
    /// # Errors
    /// [`TokenError::ChooseKey`], or [`TokenError::PublicOnly`] for a key of EdDSA.
    pub fn from_file(file: &KeyFile, id: Option<&KeyId>) -> Result<Self, TokenError> {
        let key = file.choose(id).ok_or_else(|| {
            let ids: Vec<&str> = file.ids().map(KeyId::as_str).collect();
            TokenError::ChooseKey(ids.join(", "))
        })?;
        let signs = key.signs.clone().ok_or_else(|| TokenError::PublicOnly(key.id.clone()))?;
        Ok(Self { id: key.id.clone(), algorithm: key.algorithm, key: signs })
    }

    /// An Ed25519 private key in PEM (PKCS #8).
    ///
    /// # Errors
    /// [`TokenError::PrivateKey`].
    pub fn from_pem(id: KeyId, pem: &str) -> Result<Self, TokenError> {
        let der = private_key_der(pem).ok_or(TokenError::PrivateKey)?;
        Ok(Self { id, algorithm: Algorithm::EdDsa, key: EncodingKey::from_ed_der(&der) })
    }

    /// A secret for HS256, such as that of an API key of LiveKit.
    pub(crate) fn from_secret(id: KeyId, secret: &[u8]) -> Self {
        Self { id, algorithm: Algorithm::Hs256, key: EncodingKey::from_secret(secret) }
    }

    /// Makes a token.
    ///
    /// # Errors
    /// [`TokenError::Signing`].
    pub fn sign(&self, grant: &Grant) -> Result<String, TokenError> {
        let seconds = |time: SystemTime| time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let rights = grant.role.rights();
        let claims = Claims {
            iss: Some(self.id.as_str().to_owned()),
            sub: grant.user.clone(),
            name: grant.nickname.as_ref().map(|name| name.as_str().to_owned()),
            exp: seconds(grant.until),
            nbf: Some(seconds(grant.from)),
            jti: Some(grant.id.clone()),
            video: VideoGrant {
                room: grant.room.clone(),
                room_join: true,
                can_publish: rights.publishes,
                can_subscribe: true,
                can_publish_data: true,
                room_admin: rights.moderates,
            },
        };
        self.sign_claims(&claims)
    }

    /// Signs any claims: those of another service, or of no valid token for [`crate::fuzz`].
    ///
    /// # Errors
    /// [`TokenError::Signing`].
    pub(crate) fn sign_claims(&self, claims: &impl Serialize) -> Result<String, TokenError> {
        jws::install();
        let mut header = Header::new(self.algorithm.jwt());
        header.kid = Some(self.id.as_str().to_owned());
        jsonwebtoken::encode(&header, claims, &self.key).map_err(|error| TokenError::Signing(error.to_string()))
    }
}
