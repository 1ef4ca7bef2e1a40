//! Tokens, the credentials of a client.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use super::input::MAX_REASON_BYTES;
use crate::access::{Access, AccessConfig, Authorization, Claim, Denied, KeyFile, SigningKey};
use crate::id::{MAX_NICKNAME_CHARS, Nickname, RoomId, UserId};
use crate::network::ClientAddress;
use crate::protocol::{Credentials, ErrorCode, MAX_TOKEN_BYTES};

/// The time of the server, in seconds since 1970.
const NOW: u64 = 1_700_000_000;

/// The key file of the server. The secret signed the tokens among the seeds.
const KEYS: &str = r#"{"keys": [
    {"id": "school", "alg": "HS256", "secret": "0123456789abcdef0123456789abcdef"},
    {"id": "exam", "alg": "EdDSA", "publicKey": "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="}
], "revoked": ["lost"]}"#;

/// The room that the client asks for.
const ROOM: &str = "10013";

/// A token, or claims in JSON that the school has signed: its holder gets what the claims say, if they are authentic,
/// of this room and of this time, and no more.
pub(super) fn token(bytes: &[u8]) -> bool {
    let Ok(keys) = KeyFile::parse(KEYS) else { panic!("the key file is valid") };
    let Ok(school) = "school".parse().map(|id| SigningKey::from_file(&keys, Some(&id))) else { panic!("an id") };
    let access = Access::new(AccessConfig { keys: Some(keys), ..AccessConfig::default() });
    let text = String::from_utf8_lossy(bytes);
    let signed = serde_json::from_str::<Value>(&text).ok().filter(Value::is_object).and_then(|claims| {
        let token = school.as_ref().ok()?.sign_claims(&claims).ok()?;
        Some((token, claims))
    });
    let (token, claims) = signed.map_or_else(|| (text.into_owned(), None), |(token, claims)| (token, Some(claims)));
    let authorization = match check(&access, &token, true).or_else(|_| check(&access, &token, false)) {
        Ok(authorization) => authorization,
        Err(denied) => {
            let is_known = matches!(denied.code, ErrorCode::BadToken | ErrorCode::TeachingKeyRequired);
            assert!(is_known && denied.message.len() <= MAX_TOKEN_BYTES + MAX_REASON_BYTES, "{denied}");
            return false;
        }
    };
    assert!(
        token.len() <= MAX_TOKEN_BYTES && authorization.reserved && authorization.owner.is_some(),
        "{authorization:?}"
    );
    assert!(authorization.nickname.as_str().chars().count() <= MAX_NICKNAME_CHARS);
    let claims = claims.unwrap_or_else(|| claims_of(&token));
    let video = &claims["video"];
    assert!(
        claims["sub"] == authorization.user.as_str() && video["room"] == ROOM && video["roomJoin"] == true,
        "{claims}"
    );
    assert_eq!(authorization.rights.publishes, video["canPublish"] == true, "{claims}");
    assert_eq!(authorization.rights.moderates, video["roomAdmin"] == true, "{claims}");
    let is_current = claims["exp"].as_u64().is_some_and(|exp| exp + 10 > NOW);
    assert!(
        is_current && claims["nbf"].as_u64().is_none_or(|nbf| nbf <= NOW + 10) && claims["jti"] != "lost",
        "{claims}"
    );
    // Every character counts: of the header, the claims and the signature.
    for (at, character) in token.char_indices().step_by(7) {
        let other = if character == 'A' { "B" } else { "A" };
        let forged = [&token[..at], other, &token[at + 1..]].concat();
        assert!(check(&access, &forged, false).is_err(), "character {at} of {token} is not authenticated");
    }
    true
}

/// Decides about a student or a teacher with this token.
fn check(access: &Access, token: &str, publishes: bool) -> Result<Authorization, Denied> {
    let [room, user] = [ROOM, "guest"];
    let (Ok(room), Ok(user)) = (room.parse::<RoomId>(), user.parse::<UserId>()) else { panic!("ids") };
    let nickname = Nickname::from("");
    let claim = Claim { room: &room, user: &user, nickname: &nickname, publishes };
    let credentials = Credentials { token: Some(token.to_owned()), ..Credentials::default() };
    let now: SystemTime = UNIX_EPOCH + Duration::from_secs(NOW);
    access.check(now, &credentials, &claim, ClientAddress::unknown())
}

/// The claims of an authentic token.
fn claims_of(token: &str) -> Value {
    let part = token.split('.').nth(1).unwrap_or_default();
    let json = URL_SAFE_NO_PAD.decode(part).unwrap_or_else(|error| panic!("{token}: {error}"));
    serde_json::from_slice(&json).unwrap_or_else(|error| panic!("{token}: {error}"))
}
