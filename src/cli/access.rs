//! Flags of access: the teaching key, tokens, join codes.

use std::path::PathBuf;
use std::str::FromStr;

use clap::parser::ValueSource;
use clap::{ArgMatches, Args};

use super::conflict::Conflict;
use super::secrets::{AccessPolicy, CodeChoice, RoomAccess, Secret, TeachingKeySource};
use crate::access::TurnSecret;

/// The access policy of the server that runs here.
#[derive(Debug, Args)]
#[command(next_help_heading = "Access")]
pub(super) struct TypedPolicy {
    /// The key that a teacher needs, 8 characters or more
    ///
    /// A person with this key may teach and create rooms. The key has at most 200 characters and no spaces; 20 random
    /// characters are enough. Other users of this computer see the arguments of a program, so use the variable
    /// CLASSROOM_TEACH_KEY or --teach-key-file instead. Without a key and --auth, only this computer may teach on
    /// `serve`, and nobody behind a proxy (--public-url).
    #[arg(long, value_name = "KEY", env = "CLASSROOM_TEACH_KEY", hide_env_values = true, hide_short_help = true)]
    teach_key: Option<Secret>,

    /// Read the teaching key from this file; overrules --teach-key
    #[arg(long, value_name = "FILE", hide_short_help = true)]
    teach_key_file: Option<PathBuf>,

    /// Accept tokens signed with the keys in this file
    ///
    /// `classroom token --new-key` makes this JSON file. It is read again when it changes. Nobody watches without a
    /// token then, unless the file says "guests": true.
    #[arg(long, value_name = "FILE", hide_short_help = true)]
    pub(super) auth: Option<PathBuf>,
}

/// How a client shows that it may join.
#[derive(Debug, Args)]
#[command(next_help_heading = "Access")]
pub(super) struct TypedToken {
    /// The signed token that you were given; a link with #token= as --server does the same
    #[arg(long, value_name = "TOKEN", env = "CLASSROOM_TOKEN", hide_env_values = true, hide_short_help = true)]
    token: Option<Secret>,
}

/// The access settings of a room.
#[derive(Debug, Args)]
#[command(next_help_heading = "Lecture")]
pub(super) struct TypedRoomAccess {
    /// Ask students for a join code: six digits, or your own --code=blue-fox
    ///
    /// --code=words makes a code of two words and a number. The link and the QR code that you show contain the code, so
    /// that students who use them need not type it.
    #[arg(long, value_name = "CODE", num_args = 0..=1, require_equals = true)]
    code: Option<Option<TypedCode>>,

    /// Let students wait until you admit them
    #[arg(long, hide_short_help = true)]
    lobby: bool,
}

#[derive(Debug, Clone)]
struct TypedCode(CodeChoice);

impl FromStr for TypedCode {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text.to_ascii_lowercase().as_str() {
            "" | "digits" => Ok(TypedCode(CodeChoice::Digits)),
            "words" => Ok(TypedCode(CodeChoice::Words)),
            own => own.parse().map(|code| TypedCode(CodeChoice::Own(code))).map_err(|error| error.to_string()),
        }
    }
}

impl TypedPolicy {
    pub(super) fn convert(self, turn_secret: Option<TurnSecret>) -> Result<AccessPolicy, Conflict> {
        let given = self.teach_key.and_then(Secret::given);
        let teaching_key = match (self.teach_key_file, given) {
            (Some(file), _) => Some(TeachingKeySource::File(file)),
            (None, Some(key)) => {
                let key = key.as_str().parse().map_err(|error| Conflict::Secret("--teach-key", error))?;
                Some(TeachingKeySource::Given(key))
            }
            (None, None) => None,
        };
        Ok(AccessPolicy { teaching_key, auth: self.auth, turn_secret })
    }
}

impl TypedToken {
    /// The token of a link, or else the typed one.
    pub(super) fn convert(self, of_link: Option<Secret>) -> Option<Secret> {
        of_link.or(self.token).and_then(Secret::given)
    }
}

impl From<TypedRoomAccess> for RoomAccess {
    fn from(typed: TypedRoomAccess) -> Self {
        let code = typed.code.map(|code| code.map_or(CodeChoice::Digits, |TypedCode(choice)| choice));
        RoomAccess { code, lobby: typed.lobby }
    }
}

/// Checks and returns the secret of `--turn-secret`.
pub(super) fn turn_secret(typed: Option<Secret>) -> Result<Option<TurnSecret>, Conflict> {
    let given = typed.and_then(Secret::given);
    given.map(|secret| secret.as_str().parse().map_err(|error| Conflict::Secret("--turn-secret", error))).transpose()
}

/// Refuses typed secrets that would have no effect. Secrets in the environment may be there for other servers.
pub(super) fn check_effect(matches: &ArgMatches) -> Result<(), Conflict> {
    let Some((name, verb)) = matches.subcommand() else { return Ok(()) };
    let source = |flag: &str| verb.try_contains_id(flag).ok().and_then(|_| verb.value_source(flag));
    if source("turn_secret") == Some(ValueSource::CommandLine) && source("turn").is_none() {
        return Err(Conflict::LoginWithoutTurn("--turn-secret"));
    }
    if name == "teach" && source("token") == Some(ValueSource::CommandLine) && source("server").is_none() {
        return Err(Conflict::TokenWithoutServer);
    }
    Ok(())
}
