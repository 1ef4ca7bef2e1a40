//! The flags about a VideoRoom of a Janus server: `--janus` and what belongs to it.

use std::path::PathBuf;

use clap::parser::ValueSource;
use clap::{ArgMatches, Args};

use super::conflict::Conflict;
use super::janus::{JanusAccess, SecretSource, TaughtJanus, WatchedJanus};
use super::secrets::Secret;
use crate::janus::{JanusId, JanusUrl};

/// The access flags, which `watch` and `teach` share.
#[derive(Debug, Args)]
#[command(next_help_heading = "Janus")]
pub(super) struct TypedJanusAccess {
    /// The pin of the VideoRoom
    ///
    /// Other users of this computer see the arguments of a program, so use the variable CLASSROOM_JANUS_PIN or
    /// --janus-pin-file instead.
    #[arg(long, value_name = "PIN", env = "CLASSROOM_JANUS_PIN", hide_env_values = true, hide_short_help = true)]
    janus_pin: Option<Secret>,

    /// Read the pin from the first line of this file
    #[arg(long, value_name = "FILE", requires = "janus", hide_short_help = true)]
    janus_pin_file: Option<PathBuf>,

    /// The token of a Janus or a VideoRoom that asks for one; see --janus-pin about secrets in arguments
    #[arg(long, value_name = "TOKEN", env = "CLASSROOM_JANUS_TOKEN", hide_env_values = true, hide_short_help = true)]
    janus_token: Option<Secret>,

    /// Read the token from the first line of this file
    #[arg(long, value_name = "FILE", requires = "janus", hide_short_help = true)]
    janus_token_file: Option<PathBuf>,
}

/// The flags of `watch`.
#[derive(Debug, Args)]
#[command(next_help_heading = "Janus")]
pub(super) struct TypedWatchedJanus {
    /// Watch the VideoRoom --room of this Janus server, for example ws://janus.example:8188
    #[arg(long, value_name = "URL", hide_short_help = true)]
    janus: Option<JanusUrl>,

    /// Watch only the publisher with this id [default: the one that came last]
    #[arg(long, value_name = "ID", requires = "janus", hide_short_help = true)]
    janus_feed: Option<String>,

    #[command(flatten)]
    access: TypedJanusAccess,
}

/// The flags of `teach`.
#[derive(Debug, Args)]
#[command(next_help_heading = "Janus")]
pub(super) struct TypedTaughtJanus {
    /// Also publish the lecture in the VideoRoom --room of this Janus server, for example ws://janus.example:8188
    ///
    /// A Janus that is away, or slow, costs the class nothing: teach tries again until the end. docs/engines.md has
    /// examples.
    #[arg(long, value_name = "URL", hide_short_help = true)]
    janus: Option<JanusUrl>,

    /// Create the VideoRoom if it does not exist, with the pin if one is given
    #[arg(long, requires = "janus", hide_short_help = true)]
    janus_create: bool,

    #[command(flatten)]
    access: TypedJanusAccess,
}

impl TypedJanusAccess {
    pub(super) fn convert(self, url: JanusUrl) -> JanusAccess {
        let source = |file: Option<PathBuf>, given: Option<Secret>| match file {
            Some(file) => Some(SecretSource::File(file)),
            None => given.and_then(Secret::given).map(SecretSource::Given),
        };
        let pin = source(self.janus_pin_file, self.janus_pin);
        JanusAccess { url, pin, token: source(self.janus_token_file, self.janus_token) }
    }
}

impl TypedWatchedJanus {
    pub(super) fn convert(self) -> Option<WatchedJanus> {
        let access = self.access.convert(self.janus?);
        Some(WatchedJanus { access, feed: self.janus_feed.map(|feed| JanusId::from(feed.as_str())) })
    }
}

impl TypedTaughtJanus {
    /// Whether there is a server.
    pub(super) fn is_typed(&self) -> bool {
        self.janus.is_some()
    }

    pub(super) fn convert(self) -> Option<TaughtJanus> {
        Some(TaughtJanus { access: self.access.convert(self.janus?), creates: self.janus_create })
    }
}

/// Refuses flags that have no effect with, or without, `--janus`. Values in the environment may be there for other
/// commands.
pub(super) fn check_effect(matches: &ArgMatches) -> Result<(), Conflict> {
    let Some((name, verb)) = matches.subcommand() else { return Ok(()) };
    let is_typed = |flag: &&(&str, &str)| {
        let source = verb.try_contains_id(flag.0).ok().and_then(|_| verb.value_source(flag.0));
        source == Some(ValueSource::CommandLine)
    };
    const SECRETS: [(&str, &str); 2] = [("janus_pin", "--janus-pin"), ("janus_token", "--janus-token")];
    /// The flags for things that a Janus server does not have.
    const OURS: [(&str, &str); 5] = [
        ("server", "--server"),
        ("code", "--code"),
        ("token", "--token"),
        ("chat", "--chat"),
        ("may_speak", "--may-speak"),
    ];
    let has_janus = is_typed(&&("janus", "--janus"));
    match (SECRETS.iter().find(is_typed), OURS.iter().find(is_typed)) {
        (Some((_, flag)), _) if !has_janus => Err(Conflict::JanusFlagWithoutJanus(flag)),
        (_, Some((_, flag))) if has_janus && name == "watch" => Err(Conflict::NotWithJanus(flag)),
        _ => Ok(()),
    }
}
