//! `--via`: the media of lectures over nodes of an engine, an SFU of somebody else.

use std::fmt;
use std::str::FromStr;

use super::janus::SecretSource;
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
