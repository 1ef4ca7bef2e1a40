//! The way by which media comes.

use serde::Serialize;
use serde::ser::{SerializeStruct, Serializer};

use crate::id::UserId;
use crate::turn::TurnTransport;

/// The way by which media comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MediaPath {
    /// Directly from the publisher.
    Direct,
    /// Directly from the publisher, by TCP.
    Tcp {
        /// Whether a TURN server has answered by UDP.
        udp_works: bool,
    },
    /// Through a TURN server.
    Turn {
        /// The transport to the TURN server.
        transport: TurnTransport,
        /// Whether a TURN server has answered by UDP.
        udp_works: bool,
    },
}

/// The way by which the media of somebody comes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PathReport {
    /// A participant of a call or a meeting; `None`: the publisher of a lecture.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<UserId>,
    /// The way.
    #[serde(flatten)]
    pub path: MediaPath,
}

impl PathReport {
    /// `the lecture comes over TURN/TCP: your network blocks UDP`; `None` for the usual way.
    pub(super) fn sentence(&self) -> Option<String> {
        let words = self.path.words()?;
        Some(match &self.user {
            Some(user) => format!("picture and sound of {user} come {words}"),
            None => format!("the lecture comes {words}"),
        })
    }
}

impl MediaPath {
    /// `over TURN/TCP: your network blocks UDP`; `None` for the usual way.
    pub fn words(self) -> Option<String> {
        let (transport, udp_works) = match self {
            Self::Direct => return None,
            Self::Tcp { .. } => return Some("over TCP: UDP does not reach the teacher".to_owned()),
            Self::Turn { transport, udp_works } => (transport, udp_works),
        };
        let why = match (transport, udp_works) {
            (TurnTransport::Udp, _) | (_, true) => "no direct path works",
            (_, false) => "your network blocks UDP",
        };
        Some(format!("over TURN/{transport}: {why}"))
    }
}

impl Serialize for MediaPath {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (path, is_blocked) = match self {
            Self::Direct => ("direct", false),
            Self::Tcp { udp_works } => ("tcp", !udp_works),
            Self::Turn { transport: TurnTransport::Udp, .. } => ("turn/udp", false),
            Self::Turn { transport: TurnTransport::Tcp, udp_works } => ("turn/tcp", !udp_works),
            Self::Turn { transport: TurnTransport::Tls, udp_works } => ("turn/tls", !udp_works),
        };
        let mut fields = serializer.serialize_struct("MediaPath", 2)?;
        fields.serialize_field("path", path)?;
        fields.serialize_field("udp_blocked", &is_blocked)?;
        fields.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_says_why_it_is_not_the_direct_one() {
        let turn = |transport, udp_works| MediaPath::Turn { transport, udp_works };
        let said = |path: MediaPath| (path.words().unwrap_or_default(), serde_json::to_string(&path).unwrap());
        let blocked = r#"{"path":"turn/tls","udp_blocked":true}"#;
        assert_eq!(
            said(turn(TurnTransport::Tls, false)),
            ("over TURN/TLS: your network blocks UDP".into(), blocked.into())
        );
        let works = r#"{"path":"turn/tcp","udp_blocked":false}"#;
        assert_eq!(said(turn(TurnTransport::Tcp, true)), ("over TURN/TCP: no direct path works".into(), works.into()));
        let tcp = r#"{"path":"tcp","udp_blocked":true}"#;
        let words = "over TCP: UDP does not reach the teacher";
        assert_eq!(said(MediaPath::Tcp { udp_works: false }), (words.into(), tcp.into()));
        assert_eq!(said(MediaPath::Direct), (String::new(), r#"{"path":"direct","udp_blocked":false}"#.into()));
        let user = Some("1002".parse().unwrap());
        let report = PathReport { user, path: turn(TurnTransport::Tls, false) };
        let sentence = "picture and sound of 1002 come over TURN/TLS: your network blocks UDP";
        assert_eq!(report.sentence().as_deref(), Some(sentence));
        let json = r#"{"user":"1002","path":"turn/tls","udp_blocked":true}"#;
        assert_eq!(serde_json::to_string(&report).unwrap(), json);
    }
}
