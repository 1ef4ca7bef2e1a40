//! Why Janus cannot be used, with the next step for people.

use super::url::JanusUrl;
use super::video_room::RoomError;
use super::wire::Text;
use crate::tls::TlsError;

/// `JANUS_ERROR_*` (`apierror.h`) and `JANUS_VIDEOROOM_ERROR_*` (`janus_videoroom.c`) of Janus 1.1.2.
const UNAUTHORIZED: i64 = 403;
const UNAUTHORIZED_PLUGIN: i64 = 405;
const NO_SUCH_PLUGIN: i64 = 460;
const NO_SUCH_ROOM: i64 = 426;
const ROOM_EXISTS: i64 = 427;
const MISSING_ELEMENT: i64 = 429;
const INVALID_ELEMENT: i64 = 430;
const PUBLISHERS_FULL: i64 = 432;
const ROOM_UNAUTHORIZED: i64 = 433;

/// Why Janus cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JanusError {
    /// Nothing answers.
    #[error("can't reach Janus at {url}: {cause}")]
    Unreachable {
        /// The address.
        url: JanusUrl,
        /// The last failure.
        cause: String,
    },
    /// Something answers that does not speak Janus's protocol.
    #[error(
        "{url} is not the WebSocket of a Janus server: {cause}; check host, port and path: Janus listens on port 8188 \
         unless its operator has chosen another one"
    )]
    NotJanus {
        /// The address that answered.
        url: JanusUrl,
        /// The answer.
        cause: String,
    },
    /// There is no secure connection.
    #[error("no secure connection to Janus at {url}: {cause}")]
    Tls {
        /// The address.
        url: JanusUrl,
        /// The cause and the remedy.
        cause: TlsError,
    },
    /// Janus or its VideoRoom plugin refuses.
    #[error("Janus at {url} refuses: {reason} (error {code}){}", advice(*.code))]
    Refused {
        /// The address.
        url: JanusUrl,
        /// Janus's number of the error.
        code: i64,
        /// Janus's reason.
        reason: Text,
    },
    /// Somebody has removed this client from the room.
    #[error("somebody with the secret of the room has removed this program from it, at Janus {url}")]
    Removed {
        /// The address.
        url: JanusUrl,
    },
    /// Janus does what the protocol does not foresee.
    #[error("Janus at {url} {what}")]
    Broken {
        /// The address.
        url: JanusUrl,
        /// What it does, for example `does not answer`.
        what: String,
    },
}

/// The next step for people, after a semicolon.
fn advice(code: i64) -> &'static str {
    match code {
        UNAUTHORIZED | UNAUTHORIZED_PLUGIN => {
            "; it wants a token: give the right one in CLASSROOM_JANUS_TOKEN or --janus-token-file"
        }
        NO_SUCH_PLUGIN => "; it runs without the VideoRoom plugin, which its operator has to load",
        NO_SUCH_ROOM => "; check --room, or create the room, as `classroom teach --janus-create` does",
        PUBLISHERS_FULL => "; wait until another publisher leaves, or take another room",
        MISSING_ELEMENT => "; if the room has a pin, give it in CLASSROOM_JANUS_PIN or --janus-pin-file",
        INVALID_ELEMENT => "; most servers want numbers as room ids, for example --room 1234",
        ROOM_UNAUTHORIZED => "; check the pin (CLASSROOM_JANUS_PIN, --janus-pin-file) and the token of the room",
        _ => "",
    }
}

impl JanusError {
    /// The sentence without the address, about "it".
    pub fn about_it(&self) -> String {
        match self {
            Self::Unreachable { cause, .. } => format!("it can't be reached: {cause}"),
            Self::NotJanus { cause, .. } => format!("it is not the WebSocket of a Janus server: {cause}"),
            Self::Tls { cause, .. } => format!("there is no secure connection: {cause}"),
            Self::Refused { code, reason, .. } => format!("it refuses: {reason} (error {code}){}", advice(*code)),
            Self::Removed { .. } => "somebody with the secret of the room has removed this program".to_owned(),
            Self::Broken { what, .. } => format!("it {what}"),
        }
    }

    pub(super) fn of_room(url: &JanusUrl, error: RoomError) -> Self {
        let RoomError { code, reason } = error;
        match code {
            0 => Self::broken(url, format!("sends what the VideoRoom plugin does not send: {reason}")),
            code => Self::Refused { url: url.clone(), code, reason },
        }
    }

    pub(super) fn broken(url: &JanusUrl, what: impl Into<String>) -> Self {
        Self::Broken { url: url.clone(), what: what.into() }
    }

    /// Whether another attempt can't have another result. A server that has worked may be about to restart, and
    /// somebody else may use its address meanwhile, so after the first success only a refusal of this client is final.
    pub fn is_final(&self, is_first: bool) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Broken { .. } => false,
            Self::NotJanus { .. } | Self::Tls { .. } => is_first,
            Self::Removed { .. } => true,
            Self::Refused { code, .. } => match *code {
                UNAUTHORIZED | UNAUTHORIZED_PLUGIN | ROOM_UNAUTHORIZED | MISSING_ELEMENT | INVALID_ELEMENT => true,
                NO_SUCH_PLUGIN => is_first,
                _ => false,
            },
        }
    }

    /// Whether the room does not exist.
    pub(super) fn is_no_such_room(&self) -> bool {
        matches!(self, Self::Refused { code: NO_SUCH_ROOM, .. })
    }

    /// Whether the room to be created exists.
    pub(super) fn is_room_exists(&self) -> bool {
        matches!(self, Self::Refused { code: ROOM_EXISTS, .. })
    }

    /// Whether Janus wants ids of the other form: text instead of numbers.
    pub(super) fn is_invalid_element(&self) -> bool {
        matches!(self, Self::Refused { code: INVALID_ELEMENT, .. })
    }

    /// Whether Janus or the plugin refuses, and not the network.
    pub fn is_refusal(&self) -> bool {
        matches!(self, Self::Refused { .. } | Self::Removed { .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(code: i64) -> JanusError {
        let url = "ws://h".parse().unwrap();
        JanusError::of_room(&url, RoomError { code, reason: Text::from("No such room (1234)") })
    }

    #[test]
    fn an_error_has_janus_code_and_reason_and_the_next_step() {
        let text = refused(426).to_string();
        assert!(text.starts_with("Janus at ws://h:8188 refuses: No such room (1234) (error 426); "), "{text}");
        assert!(text.contains("--room"), "{text}");
        assert_eq!(refused(499).to_string(), "Janus at ws://h:8188 refuses: No such room (1234) (error 499)");
    }

    #[test]
    fn a_client_that_is_refused_gives_up_and_one_without_a_room_waits() {
        for code in [403, 433, 429, 430] {
            assert!(refused(code).is_final(false), "{code}");
        }
        for code in [426, 432, 436, 428] {
            assert!(!refused(code).is_final(true), "{code}");
        }
        assert!(refused(460).is_final(true) && !refused(460).is_final(false));
        let url: JanusUrl = "ws://h".parse().unwrap();
        let other = JanusError::NotJanus { url: url.clone(), cause: "it answered 404".to_owned() };
        assert!(other.is_final(true) && !other.is_final(false));
        assert!(!JanusError::broken(&url, "does not answer").is_final(true));
    }
}
