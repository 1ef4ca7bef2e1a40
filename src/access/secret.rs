//! Secrets that people choose and type: compared in constant time, never printed.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::digest;
use subtle::ConstantTimeEq;

/// The shortest teaching key in characters, as NIST SP 800-63B demands for secrets that people choose.
/// [`Attempts`](super::Attempts) allows ten guesses a minute, so a list of 10,000 common passwords takes most of a day.
const MIN_KEY_CHARS: usize = 8;

/// A teaching key of this length can't be guessed over a network.
const UNGUESSABLE_CHARS: usize = 20;

/// The shortest secret that is shared with a TURN server, in characters. It is guessed offline: everybody who joins
/// gets a user name with its HMAC.
const MIN_TURN_CHARS: usize = 16;

/// The longest secret in characters.
const MAX_CHARS: usize = 200;

/// Why a text is not a secret of its kind. The text is not in the error.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// Too few characters.
    #[error("the {what} has {chars} characters, give {least} to {MAX_CHARS}")]
    Length {
        /// The kind of secret.
        what: &'static str,
        /// The length of the text.
        chars: usize,
        /// The least length.
        least: usize,
    },
    /// A character that is not printable ASCII.
    #[error("the {what} contains a space or a character that is not ASCII, give letters, digits and punctuation")]
    Character {
        /// The kind of secret.
        what: &'static str,
    },
}

/// Whether two secrets are equal. The time depends on neither content nor common prefix, as digests are compared.
pub(super) fn same(one: &[u8], other: &[u8]) -> bool {
    let digest = |bytes| digest::digest(&digest::SHA256, bytes);
    digest(one).as_ref().ct_eq(digest(other).as_ref()).into()
}

/// The first 16 bits of a hash of these texts, which contain no line break.
pub(super) fn short_digest(texts: &[&[u8]]) -> u16 {
    let digest = digest::digest(&digest::SHA256, &texts.join(&b'\n'));
    digest.as_ref().iter().take(2).fold(0, |bits, byte| bits << 8 | u16::from(*byte))
}

fn check(what: &'static str, text: &str, least: usize) -> Result<(), SecretError> {
    // Keyboards differ in how they write other characters (Unicode normal forms).
    if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(SecretError::Character { what });
    }
    if !(least..=MAX_CHARS).contains(&text.len()) {
        return Err(SecretError::Length { what, chars: text.len(), least });
    }
    Ok(())
}

/// The key of everybody who may teach on a server: 8 to 200 printable ASCII characters. `Debug` hides it.
#[derive(Clone, PartialEq, Eq)]
pub struct TeachingKey(Box<str>);

impl TeachingKey {
    /// The key as text, for the first message to a server.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether wrong keys must be slowed down. That has a price: a student behind the same NAT as the teacher can use
    /// up the attempts of both. A longer key avoids it.
    pub fn is_guessable(&self) -> bool {
        self.0.len() < UNGUESSABLE_CHARS
    }

    /// Whether a client gave this key.
    pub fn matches(&self, given: &str) -> bool {
        same(self.0.as_bytes(), given.as_bytes())
    }
}

impl FromStr for TeachingKey {
    type Err = SecretError;
    fn from_str(text: &str) -> Result<Self, SecretError> {
        check("teaching key", text, MIN_KEY_CHARS)?;
        Ok(Self(text.into()))
    }
}

impl fmt::Debug for TeachingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TeachingKey(..)")
    }
}

/// The secret that a server shares with its TURN servers (coturn's `static-auth-secret`): 16 to 200 printable ASCII
/// characters. `Debug` hides it.
#[derive(Clone, PartialEq, Eq)]
pub struct TurnSecret {
    text: Box<str>,
    /// Whether nobody else has it: the secret of a server whose only TURN server is its own.
    is_own: bool,
}

impl TurnSecret {
    /// The secret of a server that needs to share it with nobody, from random bits.
    pub fn own(random: [u8; 32]) -> Self {
        Self { text: STANDARD.encode(random).into(), is_own: true }
    }

    /// Whether nobody else has the secret.
    pub(super) fn is_own(&self) -> bool {
        self.is_own
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        self.text.as_bytes()
    }
}

impl FromStr for TurnSecret {
    type Err = SecretError;
    fn from_str(text: &str) -> Result<Self, SecretError> {
        check("TURN secret", text, MIN_TURN_CHARS)?;
        Ok(Self { text: text.into(), is_own: false })
    }
}

impl fmt::Debug for TurnSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TurnSecret(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_long_enough_printable_and_never_shown() {
        let key: TeachingKey = "correct-horse".parse().unwrap();
        assert!(key.matches("correct-horse") && !key.matches("correct-horsE") && !key.matches("correct-hors"));
        assert!(!key.matches("") && !key.matches("correct-horse "));
        assert_eq!(format!("{key:?}"), "TeachingKey(..)");
        for (text, part) in
            [("seven77", "7 characters, give 8 to 200"), ("two words", "a space"), ("schlüssel", "ASCII")]
        {
            let error = text.parse::<TeachingKey>().unwrap_err().to_string();
            assert!(error.contains(part) && !error.contains(text), "{error}");
        }
        assert!("x".repeat(201).parse::<TeachingKey>().is_err());
        let secret: TurnSecret = "north-south-east-west".parse().unwrap();
        assert_eq!(format!("{secret:?}"), "TurnSecret(..)");
        assert!("fifteen-letters".parse::<TurnSecret>().is_err());
    }
}
