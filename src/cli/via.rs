//! `--via`: the media of lectures over nodes of an engine, an SFU of somebody else.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use clap::Args;

use super::janus::SecretSource;
use super::secrets::Secret;
use crate::http::whip_client::WhipUrl;
use crate::janus::JanusUrl;
use crate::livekit::{LiveKitKey, LiveKitUrl};

/// The most nodes.
const MAX_NODES: usize = 32;

/// A node of an engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EngineNode {
    /// A Janus with the VideoRoom plugin.
    Janus(JanusUrl),
    /// A LiveKit server.
    LiveKit {
        /// Its address.
        url: LiveKitUrl,
        /// The API key, once it has been read.
        key: Option<LiveKitKey>,
    },
    /// A MediaMTX: the origin of its WebRTC server.
    MediaMtx(WhipUrl),
}

/// The flags, which `serve` and `teach` share.
#[derive(Debug, Args)]
#[command(next_help_heading = "Media")]
pub(super) struct TypedVia {
    /// Send the media of lectures to students over these nodes of an engine, for example
    /// janus=ws://10.0.0.5:8188,ws://10.0.0.6:8188
    ///
    /// Each node gets a lecture once. This server, which for teach is the built-in one, places students at the nodes;
    /// students whose node dies get the lecture from another one, or from the process that has the media.
    /// docs/engines.md has examples.
    #[arg(long, value_name = "ENGINE=URL,...", hide_short_help = true)]
    via: Vec<Via>,

    /// The API key of --via livekit=..., as KEY: SECRET
    ///
    /// Other users of this computer see the arguments of a program, so use the variable CLASSROOM_LIVEKIT_KEY or
    /// --livekit-key-file instead. All nodes have the same key.
    #[arg(long, value_name = "KEY", env = "CLASSROOM_LIVEKIT_KEY", hide_env_values = true, hide_short_help = true)]
    livekit_key: Option<Secret>,

    /// Read the API key of --via livekit=... from the first line of this file
    #[arg(long, value_name = "FILE", hide_short_help = true)]
    livekit_key_file: Option<PathBuf>,
}

impl TypedVia {
    /// Whether there are nodes.
    pub(super) fn is_typed(&self) -> bool {
        !self.via.is_empty()
    }

    pub(super) fn convert(self) -> Engines {
        let livekit_key = match (self.livekit_key_file, self.livekit_key.and_then(Secret::given)) {
            (Some(file), _) => Some(SecretSource::File(file)),
            (None, given) => given.map(SecretSource::Given),
        };
        Engines { nodes: self.via.into_iter().flat_map(|Via(nodes)| nodes).collect(), livekit_key }
    }
}

/// The nodes of engines, and the secrets for them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Engines {
    /// The nodes.
    pub nodes: Vec<EngineNode>,
    /// The API key of the LiveKit servers among them.
    pub livekit_key: Option<SecretSource>,
}

/// `ENGINE=URL[,URL...]`: nodes of one engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Via(pub Vec<EngineNode>);

impl FromStr for Via {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (engine, urls) = text.split_once('=').ok_or("write an engine and its nodes, as janus=ws://HOST:8188")?;
        let node = |url: &str| match engine {
            "janus" => url.parse().map(EngineNode::Janus).map_err(|error| format!("{url:?}: {error}")),
            "livekit" => match url.parse() {
                Ok(url) => Ok(EngineNode::LiveKit { url, key: None }),
                Err(error) => Err(format!("{url:?}: {error}")),
            },
            "mediamtx" => match url.parse::<WhipUrl>() {
                Ok(url) if url.has_path() => Err(format!("{url}: give no path, as http://HOST:8889")),
                Ok(url) => Ok(EngineNode::MediaMtx(url)),
                Err(_) => Err(format!("{url:?} is no address of MediaMTX, as http://HOST:8889")),
            },
            _ => Err(format!("{engine:?} is no engine; use janus, livekit or mediamtx")),
        };
        let nodes = urls.split(',').map(node).collect::<Result<Vec<_>, _>>()?;
        if nodes.len() > MAX_NODES {
            return Err(format!("an engine has at most {MAX_NODES} nodes"));
        }
        Ok(Self(nodes))
    }
}

/// The node as it is typed, without a secret.
impl fmt::Display for EngineNode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Janus(url) => url.fmt(f),
            Self::LiveKit { url, .. } => url.fmt(f),
            Self::MediaMtx(url) => url.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Command, Signalling};

    #[test]
    fn the_server_with_the_nodes_runs_in_this_process() {
        let parse = |line: &str| crate::cli::parse(line.split(' ')).map(|cli| cli.command);
        let teach = match parse("classroom teach --room 1 --via janus=ws://a") {
            Ok(Command::Teach(teach)) => teach,
            other => panic!("{other:?}"),
        };
        assert_eq!((teach.via.nodes.len(), matches!(teach.signalling, Signalling::Embedded { .. })), (1, true));
        let error = parse("classroom teach --room 1 --server ws://b --via janus=ws://a").unwrap_err().to_string();
        assert!(error.contains("classroom serve --via"), "{error}");
    }

    #[test]
    fn an_engine_has_nodes() {
        let Via(nodes) = "janus=ws://a,wss://b:99/janus".parse().unwrap();
        let shown: Vec<String> = nodes.iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["ws://a:8188", "wss://b:99/janus"]);
        let Via(nodes) = "livekit=ws://a,wss://b:99".parse().unwrap();
        let shown: Vec<String> = nodes.iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["ws://a:7880", "wss://b:99"]);
        let Via(nodes) = "mediamtx=http://a:8889,https://b".parse().unwrap();
        let shown: Vec<String> = nodes.iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["http://a:8889", "https://b"]);
        for (bad, word) in [
            ("ws://a", "janus="),
            ("janus=", "\"\""),
            ("janus=http://a", "http"),
            ("sfu=ws://a", "sfu"),
            ("livekit=ws://a/rtc", "path"),
            ("mediamtx=ws://a", "8889"),
            ("mediamtx=http://a/live", "path"),
        ] {
            let error = bad.parse::<Via>().unwrap_err();
            assert!(error.contains(word), "{bad}: {error}");
        }
        assert!(format!("janus={}", vec!["ws://a"; 33].join(",")).parse::<Via>().is_err());
    }
}
