//! The verb `token`, which makes tokens and keys.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::conflict::Conflict;
use super::values;
use crate::access::{Algorithm, Role};
use crate::id::{KeyId, Nickname, RoomId, UserId};

/// The flags of `classroom token`.
#[derive(Debug, Args)]
pub(super) struct TypedTokenVerb {
    /// The room that the token opens
    #[arg(long, value_name = "ID", required_unless_present = "new_key")]
    room: Option<RoomId>,

    /// The user id that its holder has
    #[arg(long, value_name = "ID", required_unless_present = "new_key")]
    user: Option<UserId>,

    /// The name that others see [default: chosen by its holder]
    #[arg(long, value_name = "NAME", hide_short_help = true)]
    nickname: Option<String>,

    /// student, teacher or assistant
    ///
    /// The rights of the holder: a student watches, a teacher also teaches and moderates, an assistant watches and
    /// moderates.
    #[arg(long, value_name = "ROLE", default_value = "student", value_parser = role)]
    role: Role,

    /// How long the token is valid
    #[arg(long, value_name = "DURATION", default_value = "2h", value_parser = values::duration)]
    ttl: Duration,

    /// The file with the keys of the server, as for serve --auth
    #[arg(long, value_name = "FILE")]
    auth: Option<PathBuf>,

    /// The key to sign with [default: the only key of the file]
    #[arg(long, value_name = "ID", hide_short_help = true)]
    key: Option<KeyId>,

    /// Sign with the Ed25519 private key in this file instead of --auth; with --new-key, write it there
    #[arg(long, value_name = "FILE", hide_short_help = true)]
    private_key: Option<PathBuf>,

    /// Print a link to the room on this server, such as https://school.example:18080
    #[arg(long, value_name = "URL", value_parser = page_url)]
    link: Option<String>,

    /// Make a key with this id, and add it to the file of --auth
    #[arg(long, value_name = "ID", conflicts_with_all = ["room", "user", "nickname", "role", "ttl", "key", "link"])]
    new_key: Option<KeyId>,

    /// The algorithm of the new key: HS256 (the server's file can sign) or EdDSA (only the private key can) [default:
    /// HS256]
    #[arg(long, value_name = "ALG", value_parser = algorithm, hide_short_help = true)]
    alg: Option<Algorithm>,
}

/// `classroom token`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Token {
    /// Sign a token.
    Sign(SignToken),
    /// Make a key.
    NewKey(NewKey),
}

/// A token to sign.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignToken {
    /// The room that the token opens.
    pub room: RoomId,
    /// The user id that its holder has.
    pub user: UserId,
    /// The name that others see; `None`: as its holder chooses.
    pub nickname: Option<Nickname>,
    /// The rights of its holder.
    pub role: Role,
    /// How long it is valid.
    pub ttl: Duration,
    /// The key that signs it.
    pub signer: Signer,
    /// The base of the link to print instead of the token.
    pub link: Option<String>,
}

/// The key that signs a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Signer {
    /// A secret in the server's key file.
    KeyFile {
        /// The file.
        path: PathBuf,
        /// The key; `None`: the only one.
        key: Option<KeyId>,
    },
    /// An Ed25519 private key.
    PrivateKey {
        /// The PEM file.
        path: PathBuf,
        /// The id by which the server knows the public key.
        key: KeyId,
    },
}

/// A key to make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewKey {
    /// Its id.
    pub id: KeyId,
    /// The key file of the server, which is made if it does not exist.
    pub auth: PathBuf,
    /// The kind of the key.
    pub kind: NewKeyKind,
}

/// A kind of key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NewKeyKind {
    /// HS256: the secret is in the key file.
    Secret,
    /// EdDSA: the private key is in a file of its own.
    KeyPair {
        /// The file to write the private key to; it must not exist.
        private_key: PathBuf,
    },
}

impl TryFrom<TypedTokenVerb> for Token {
    type Error = Conflict;
    fn try_from(typed: TypedTokenVerb) -> Result<Self, Conflict> {
        if let Some(id) = typed.new_key {
            let auth = typed.auth.ok_or(Conflict::NewKeyWithoutFile)?;
            let kind = match (typed.alg.unwrap_or(Algorithm::Hs256), typed.private_key) {
                (Algorithm::Hs256, None) => NewKeyKind::Secret,
                (Algorithm::EdDsa, Some(private_key)) => NewKeyKind::KeyPair { private_key },
                (Algorithm::Hs256, Some(_)) => return Err(Conflict::PrivateKeyOfSecret),
                (Algorithm::EdDsa, None) => return Err(Conflict::KeyPairWithoutFile),
            };
            return Ok(Token::NewKey(NewKey { id, auth, kind }));
        }
        if typed.alg.is_some() {
            return Err(Conflict::AlgorithmWithoutNewKey);
        }
        let signer = match (typed.auth, typed.private_key, typed.key) {
            (Some(_), Some(_), _) => return Err(Conflict::TwoSources("--auth", "--private-key")),
            (Some(path), None, key) => Signer::KeyFile { path, key },
            (None, Some(path), Some(key)) => Signer::PrivateKey { path, key },
            (None, Some(_), None) => return Err(Conflict::PrivateKeyWithoutId),
            (None, None, _) => return Err(Conflict::TokenWithoutKey),
        };
        let (Some(room), Some(user)) = (typed.room, typed.user) else { return Err(Conflict::TokenWithoutKey) };
        let nickname = typed.nickname.map(Nickname::from).filter(|name| !name.as_str().is_empty());
        let (role, ttl, link) = (typed.role, typed.ttl, typed.link);
        Ok(Token::Sign(SignToken { room, user, nickname, role, ttl, signer, link }))
    }
}

fn role(text: &str) -> Result<Role, String> {
    match text {
        "student" => Ok(Role::Student),
        "teacher" => Ok(Role::Teacher),
        "assistant" => Ok(Role::Assistant),
        _ => Err("is not a role, give student, teacher or assistant".into()),
    }
}

fn algorithm(text: &str) -> Result<Algorithm, String> {
    [Algorithm::Hs256, Algorithm::EdDsa]
        .into_iter()
        .find(|known| known.as_str().eq_ignore_ascii_case(text))
        .ok_or_else(|| "is not an algorithm of tokens, give HS256 or EdDSA".into())
}

/// Checks the base of a link, without the slash at its end.
fn page_url(text: &str) -> Result<String, String> {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let is_url = rest.is_some_and(|rest| {
        !rest.is_empty()
            && !rest.starts_with('/')
            && rest.bytes().all(|b| b.is_ascii_graphic() && !b"?#\"<>".contains(&b))
    });
    let base = is_url.then(|| text.trim_end_matches('/').to_owned());
    base.ok_or_else(|| "is not the address of a server, for example https://school.example:18080".into())
}
