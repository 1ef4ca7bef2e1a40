//! The file of `--auth`: the keys that sign tokens, by id.
//!
//! ```json
//! {
//!   "keys": [
//!     {"id": "school", "alg": "HS256", "secret": "at least 32 characters"},
//!     {"id": "exam", "alg": "EdDSA", "publicKey": "32 bytes in base64, or PEM"}
//!   ],
//!   "guests": false,
//!   "revoked": ["the jti of a token"]
//! }
//! ```

use std::collections::HashSet;
use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::{DecodingKey, EncodingKey};
use ring::signature::{Ed25519KeyPair, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{PrivatePkcs8KeyDer, SubjectPublicKeyInfoDer};
use serde::{Deserialize, Serialize};

use crate::id::KeyId;

/// The shortest secret of HS256 in bytes: the size of its hash (RFC 7518, section 3.2).
const MIN_SECRET_BYTES: usize = 32;

/// Everything before the 32 bytes of an Ed25519 public key in DER (RFC 8410, section 4).
const SPKI_PREFIX: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// Everything before the 32 bytes of an Ed25519 private key in DER (RFC 8410, section 7).
const PKCS8_PREFIX: [u8; 16] =
    [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];

/// A signature algorithm of tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Algorithm {
    /// HMAC with SHA-256: one secret signs and verifies.
    #[serde(rename = "HS256")]
    Hs256,
    /// Ed25519: the server has only the public key, and cannot sign.
    #[serde(rename = "EdDSA")]
    EdDsa,
}

impl Algorithm {
    /// The name in a JWT.
    pub fn as_str(self) -> &'static str {
        match self {
            Algorithm::Hs256 => "HS256",
            Algorithm::EdDsa => "EdDSA",
        }
    }

    pub(super) fn jwt(self) -> jsonwebtoken::Algorithm {
        match self {
            Algorithm::Hs256 => jsonwebtoken::Algorithm::HS256,
            Algorithm::EdDsa => jsonwebtoken::Algorithm::EdDSA,
        }
    }
}

/// Why a file is not a key file. The sentence has the line or the key's id, and no secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct KeyFileError(String);

/// The keys that sign tokens, and who else may watch.
#[derive(Debug, Clone)]
pub struct KeyFile {
    keys: Vec<Key>,
    guests: bool,
    revoked: HashSet<String>,
}

/// A key that verifies tokens, and, if it is a secret, signs them.
#[derive(Clone)]
pub(super) struct Key {
    pub(super) id: KeyId,
    pub(super) algorithm: Algorithm,
    pub(super) verifies: DecodingKey,
    pub(super) signs: Option<EncodingKey>,
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({} {})", self.id, self.algorithm.as_str())
    }
}

/// The file as JSON.
#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    keys: Vec<StoredKey>,
    #[serde(default)]
    guests: bool,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    revoked: Vec<String>,
}

/// One key as JSON.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct StoredKey {
    id: KeyId,
    alg: Algorithm,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    secret: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    public_key: Option<String>,
}

impl StoredKey {
    fn to_key(&self) -> Result<Key, String> {
        let StoredKey { id, alg, secret, public_key } = self;
        let (verifies, signs) = match (alg, secret, public_key) {
            (Algorithm::Hs256, Some(secret), None) => {
                if secret.len() < MIN_SECRET_BYTES {
                    return Err(format!("the secret of key {id} has {} bytes, give 32 or more", secret.len()));
                }
                (DecodingKey::from_secret(secret.as_bytes()), Some(EncodingKey::from_secret(secret.as_bytes())))
            }
            (Algorithm::EdDsa, None, Some(text)) => {
                let key = public_key_bytes(text).ok_or_else(|| {
                    format!("publicKey of key {id} is not an Ed25519 public key: give its 32 bytes in base64, or PEM")
                })?;
                (DecodingKey::from_ed_der(&key), None)
            }
            (Algorithm::Hs256, ..) => return Err(format!("key {id} with alg HS256 needs secret, and nothing else")),
            (Algorithm::EdDsa, ..) => return Err(format!("key {id} with alg EdDSA needs publicKey, and nothing else")),
        };
        Ok(Key { id: id.clone(), algorithm: *alg, verifies, signs })
    }
}

impl Stored {
    fn parse(text: &str) -> Result<Self, KeyFileError> {
        let stored: Stored = serde_json::from_str(text).map_err(|error| {
            let all = error.to_string();
            let sentence = all.split(" at line ").next().unwrap_or_default();
            KeyFileError(format!("line {}: {sentence}", error.line()))
        })?;
        let mut ids = HashSet::new();
        match stored.keys.iter().find(|key| !ids.insert(&key.id)) {
            Some(twice) => Err(KeyFileError(format!("two keys have the id {}", twice.id))),
            None => Ok(stored),
        }
    }
}

impl KeyFile {
    /// Parses the text of a key file.
    ///
    /// # Errors
    /// [`KeyFileError`] with the line or the key's id.
    pub fn parse(text: &str) -> Result<Self, KeyFileError> {
        let stored = Stored::parse(text)?;
        if stored.keys.is_empty() {
            return Err(KeyFileError(
                "there is no key: make one with `classroom token --new-key ID --auth FILE`".into(),
            ));
        }
        let keys: Result<_, String> = stored.keys.iter().map(StoredKey::to_key).collect();
        Ok(Self {
            keys: keys.map_err(KeyFileError)?,
            guests: stored.guests,
            revoked: stored.revoked.into_iter().collect(),
        })
    }

    /// Whether clients without a token may watch.
    pub fn guests(&self) -> bool {
        self.guests
    }

    /// The ids of the keys, in the order of the file.
    pub fn ids(&self) -> impl Iterator<Item = &KeyId> {
        self.keys.iter().map(|key| &key.id)
    }

    pub(super) fn key(&self, id: &str) -> Option<&Key> {
        self.keys.iter().find(|key| key.id.as_str() == id)
    }

    /// The key with this id; without an id, the only key.
    pub(super) fn choose(&self, id: Option<&KeyId>) -> Option<&Key> {
        match (id, &self.keys[..]) {
            (Some(id), _) => self.key(id.as_str()),
            (None, [only]) => Some(only),
            (None, _) => None,
        }
    }

    pub(super) fn has_revoked(&self, token_id: &str) -> bool {
        self.revoked.contains(token_id)
    }

    /// Adds a key to the text of a key file. Without a text, makes a file in which only tokens admit.
    ///
    /// # Errors
    /// [`KeyFileError`] if the text is not a key file, or has a key with this id.
    pub fn text_with(text: Option<&str>, new: &NewKey) -> Result<String, KeyFileError> {
        let mut stored = text.map_or_else(|| Ok(Stored::default()), Stored::parse)?;
        if stored.keys.iter().any(|key| key.id == new.stored.id) {
            return Err(KeyFileError(format!(
                "there is a key with the id {} already: choose another id",
                new.stored.id
            )));
        }
        stored.keys.push(new.stored.clone());
        let text = serde_json::to_string_pretty(&stored).map_err(|error| KeyFileError(error.to_string()))?;
        Ok(text + "\n")
    }
}

/// A new key: the entry for the key file, and the private part that does not belong there.
pub struct NewKey {
    stored: StoredKey,
    private_pem: Option<String>,
}

impl NewKey {
    /// A key made of 32 random bytes.
    pub fn new(id: KeyId, algorithm: Algorithm, random: &[u8; 32]) -> Self {
        let mut stored = StoredKey { id, alg: algorithm, secret: None, public_key: None };
        let mut private_pem = None;
        match algorithm {
            Algorithm::Hs256 => stored.secret = Some(URL_SAFE_NO_PAD.encode(random)),
            Algorithm::EdDsa => {
                let pkcs8 = STANDARD.encode([&PKCS8_PREFIX[..], random].concat());
                private_pem = Some(format!("-----BEGIN PRIVATE KEY-----\n{pkcs8}\n-----END PRIVATE KEY-----\n"));
                // Every 32 bytes are a private key of Ed25519.
                let pair = Ed25519KeyPair::from_seed_unchecked(random);
                stored.public_key = pair.ok().map(|pair| STANDARD.encode(pair.public_key()));
            }
        }
        Self { stored, private_pem }
    }

    /// The private key in PEM (PKCS #8), which the server does not need; `None` for HS256.
    pub fn private_pem(&self) -> Option<&str> {
        self.private_pem.as_deref()
    }
}

impl fmt::Debug for NewKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NewKey({} {})", self.stored.id, self.stored.alg.as_str())
    }
}

/// The 32 bytes of an Ed25519 public key in base64, in base64 of DER, or in PEM.
fn public_key_bytes(text: &str) -> Option<Vec<u8>> {
    let bytes = if text.contains("-----BEGIN") {
        SubjectPublicKeyInfoDer::from_pem_slice(text.as_bytes()).ok()?.to_vec()
    } else {
        STANDARD.decode(text.trim()).or_else(|_| URL_SAFE_NO_PAD.decode(text.trim())).ok()?
    };
    let key = bytes.strip_prefix(&SPKI_PREFIX).unwrap_or(&bytes);
    (key.len() == 32).then(|| key.to_vec())
}

/// An Ed25519 private key in PEM, as DER.
pub(super) fn private_key_der(pem: &str) -> Option<Vec<u8>> {
    let der = PrivatePkcs8KeyDer::from_pem_slice(pem.as_bytes()).ok()?.secret_pkcs8_der().to_vec();
    Ed25519KeyPair::from_pkcs8_maybe_unchecked(&der).ok().map(|_| der)
}
