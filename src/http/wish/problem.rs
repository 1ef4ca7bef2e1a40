//! Refusals: a status, and a JSON body with a stable code and a sentence.

use std::fmt::Display;
use std::time::Duration;

use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::protocol::{ErrorCode, MAX_MESSAGE_BYTES};

/// How long a player should wait for a teacher: a lecture begins on the minute, not on the second.
const TEACHER_RETRY: Duration = Duration::from_secs(3);

/// The time to the next try of a client while the server is full, or after a teacher that did not answer.
const PLACE_RETRY: Duration = Duration::from_secs(5);

/// The time to the next try of a client that restarts ICE twice at the same time.
const RESTART_RETRY: Duration = Duration::from_secs(1);

/// The reason for which a client gets no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unavailable {
    /// There is no such room.
    NoSuchRoom,
    /// The room exists, but has no publisher at the moment.
    NobodyTeaches,
    /// The side that has the media did not answer in time.
    NoAnswer,
    /// Another restart of ICE is being answered.
    Restarting,
    /// The teacher did not admit the player in time.
    NotAdmitted,
    /// The server or the teacher refused the client.
    Refused {
        /// The stable code, for programs.
        code: ErrorCode,
        /// The sentence, for people.
        message: String,
        /// Try again after this time.
        retry_after: Option<Duration>,
    },
}

/// A refusal.
#[derive(Debug)]
pub(in crate::http) struct Problem {
    status: StatusCode,
    code: &'static str,
    message: String,
    retry_after: Option<Duration>,
    /// A header that tells programs what is accepted.
    header: Option<(HeaderName, &'static str)>,
}

#[derive(Serialize)]
struct Body<'a> {
    code: &'a str,
    message: &'a str,
}

impl Problem {
    fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), retry_after: None, header: None }
    }

    fn after(self, time: Duration) -> Self {
        Self { retry_after: Some(time), ..self }
    }

    pub(in crate::http) fn method(allowed: &'static str) -> Self {
        let problem =
            Self::new(StatusCode::METHOD_NOT_ALLOWED, "methodNotAllowed", format!("only {allowed} are served here"));
        Self { header: Some((header::ALLOW, allowed)), ..problem }
    }

    pub(in crate::http) fn media_type(accepted: (HeaderName, &'static str)) -> Self {
        let problem = Self::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupportedMediaType",
            format!("the body must be {}, and Content-Type must name it", accepted.1),
        );
        Self { header: Some(accepted), ..problem }
    }

    pub(in crate::http) fn bad_request(cause: &impl Display) -> Self {
        Self::new(StatusCode::BAD_REQUEST, ErrorCode::BadRequest.as_str(), cause.to_string())
    }

    pub(in crate::http) fn bad_sdp() -> Self {
        let message = "the body is not a session description: send an SDP offer";
        Self::new(StatusCode::BAD_REQUEST, ErrorCode::BadSdp.as_str(), message)
    }

    /// A client of WHIP that wants to receive.
    pub(in crate::http) fn not_sendonly() -> Self {
        let message = "a WHIP client sends: make each section of the offer sendonly";
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "offerNotSendonly", message)
    }

    /// A section of a WHIP client has no codec that is taken.
    pub(in crate::http) fn no_common_codec() -> Self {
        let message = "no common codec: video must be H.264 or VP8, audio must be Opus";
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, ErrorCode::NoCommonCodec.as_str(), message)
    }

    /// RFC 9725, 4.4.2.
    pub(in crate::http) fn too_many_tracks() -> Self {
        let message = "a WHIP session has one audio and one video track: for a second video, use /whip/ROOM/camera";
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, ErrorCode::TooManySections.as_str(), message)
    }

    pub(in crate::http) fn no_text() -> Self {
        let message = "the body is incomplete or not UTF-8";
        Self::new(StatusCode::BAD_REQUEST, ErrorCode::BadSdp.as_str(), message)
    }

    pub(in crate::http) fn bad_fragment(cause: String) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "badFragment", cause)
    }

    /// A restart of ICE without valid credentials.
    pub(in crate::http) fn bad_credentials() -> Self {
        let message =
            "a restart of ICE needs a=ice-ufrag of 4 to 256 and a=ice-pwd of 22 to 256 letters, digits, + and /";
        Self::bad_fragment(message.to_owned())
    }

    pub(in crate::http) fn too_large() -> Self {
        let message = format!("the body has more than {MAX_MESSAGE_BYTES} bytes");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, ErrorCode::MessageTooLarge.as_str(), message)
    }

    pub(in crate::http) fn full() -> Self {
        let message = "the server takes no more sessions at the moment, try again";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, ErrorCode::ServerFull.as_str(), message).after(PLACE_RETRY)
    }

    pub(in crate::http) fn flood(wait: Duration) -> Self {
        let message = "too many offers from your network, try again in a moment";
        Self::new(StatusCode::TOO_MANY_REQUESTS, ErrorCode::FloodedMessages.as_str(), message).after(wait)
    }

    pub(in crate::http) fn no_such_video(protocol: &str) -> Self {
        let message =
            format!("the endpoints are /{protocol}/ROOM, /{protocol}/ROOM/screen and /{protocol}/ROOM/camera");
        Self::new(StatusCode::NOT_FOUND, ErrorCode::NoSuchTrack.as_str(), message)
    }

    pub(in crate::http) fn no_session() -> Self {
        let message = "there is no such session, or it is over: send a new offer";
        Self::new(StatusCode::NOT_FOUND, "noSuchSession", message)
    }

    pub(in crate::http) fn no_match_given() -> Self {
        let message = "If-Match is missing: send the ETag of the session";
        Self::new(StatusCode::PRECONDITION_REQUIRED, "preconditionRequired", message)
    }

    pub(in crate::http) fn no_match() -> Self {
        let message = "If-Match is not the ETag of this session";
        Self::new(StatusCode::PRECONDITION_FAILED, "preconditionFailed", message)
    }

    pub(in crate::http) fn restart() -> Self {
        let message = "a player can't restart ICE here: DELETE this session and send a new offer";
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "iceRestartUnsupported", message)
    }

    pub(in crate::http) fn too_many_candidates(most: usize) -> Self {
        let message = format!("a session takes {most} candidates and no more");
        Self::new(StatusCode::TOO_MANY_REQUESTS, "tooManyCandidates", message)
    }
}

impl From<Unavailable> for Problem {
    fn from(why: Unavailable) -> Self {
        match why {
            Unavailable::NoSuchRoom => {
                let message = "there is no such room; `classroom rooms` lists them";
                Self::new(StatusCode::NOT_FOUND, "noSuchRoom", message)
            }
            Unavailable::NobodyTeaches => {
                let message = "nobody teaches in this room just now, try again";
                Self::new(StatusCode::CONFLICT, "nobodyTeaches", message).after(TEACHER_RETRY)
            }
            Unavailable::NoAnswer => {
                let message = "the teacher did not answer in time, try again";
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "noAnswer", message).after(PLACE_RETRY)
            }
            Unavailable::Restarting => {
                let message = "another restart of ICE is being answered, try again";
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "restarting", message).after(RESTART_RETRY)
            }
            Unavailable::NotAdmitted => {
                let message = "the teacher has not admitted this player yet, try again";
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "notAdmitted", message).after(PLACE_RETRY)
            }
            Unavailable::Refused { code, message, retry_after } => {
                let (status, retry) = status(code);
                let header = (status == StatusCode::UNAUTHORIZED).then_some((header::WWW_AUTHENTICATE, "Bearer"));
                Self { retry_after: retry_after.or(retry), header, ..Self::new(status, code.as_str(), message) }
            }
        }
    }
}

/// The status of a refusal, and when to try again.
fn status(code: ErrorCode) -> (StatusCode, Option<Duration>) {
    match code {
        ErrorCode::BadSdp | ErrorCode::BadRequest => (StatusCode::BAD_REQUEST, None),
        ErrorCode::CodeRequired
        | ErrorCode::WrongCode
        | ErrorCode::TokenRequired
        | ErrorCode::BadToken
        | ErrorCode::TeachingKeyRequired => (StatusCode::UNAUTHORIZED, None),
        ErrorCode::NotAllowed | ErrorCode::Removed | ErrorCode::RoomLocked | ErrorCode::MediaNotServed => {
            (StatusCode::FORBIDDEN, None)
        }
        ErrorCode::TooManyAttempts | ErrorCode::FloodedMessages => (StatusCode::TOO_MANY_REQUESTS, Some(PLACE_RETRY)),
        ErrorCode::NoSuchTrack => (StatusCode::NOT_FOUND, None),
        ErrorCode::UserIdTaken | ErrorCode::PublisherExists | ErrorCode::WrongKind => (StatusCode::CONFLICT, None),
        // 406 would need a counter-offer (draft, 4.2.2). A valid request that can't be fulfilled is 422.
        ErrorCode::OfferNotRecvonly | ErrorCode::TooManySections | ErrorCode::NoCommonCodec | ErrorCode::Unknown => {
            (StatusCode::UNPROCESSABLE_ENTITY, None)
        }
        _ => (StatusCode::SERVICE_UNAVAILABLE, Some(PLACE_RETRY)),
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = Body { code: self.code, message: &self.message };
        // Two strings always have a JSON form.
        let json = serde_json::to_string(&body).unwrap_or_default();
        let mut response = (self.status, [(header::CONTENT_TYPE, "application/json")], json).into_response();
        if let Some(time) = self.retry_after {
            let seconds = time.as_millis().div_ceil(1_000) as u64;
            response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
        }
        if let Some((name, value)) = self.header {
            response.headers_mut().insert(name, HeaderValue::from_static(value));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_has_a_status_and_temporary_ones_say_when_to_retry() {
        for code in ErrorCode::ALL {
            let refused = Unavailable::Refused { code: *code, message: "m".into(), retry_after: None };
            let response = Problem::from(refused).into_response();
            assert!(response.status().is_client_error() || response.status().is_server_error(), "{code}");
            let says_when = response.headers().contains_key(header::RETRY_AFTER);
            let is_temporary = [StatusCode::SERVICE_UNAVAILABLE, StatusCode::TOO_MANY_REQUESTS];
            assert_eq!(says_when, is_temporary.contains(&response.status()), "{code}");
            let asks_for_token = response.headers().contains_key(header::WWW_AUTHENTICATE);
            assert_eq!(asks_for_token, response.status() == StatusCode::UNAUTHORIZED, "{code}");
        }
        for (code, expected) in [
            (ErrorCode::CodeRequired, 401),
            (ErrorCode::WrongCode, 401),
            (ErrorCode::BadToken, 401),
            (ErrorCode::TokenRequired, 401),
            (ErrorCode::Removed, 403),
            (ErrorCode::RoomLocked, 403),
            (ErrorCode::PublisherExists, 409),
            (ErrorCode::MediaNotServed, 403),
            (ErrorCode::TooManyAttempts, 429),
        ] {
            assert_eq!(status(code).0.as_u16(), expected, "{code}");
        }
        let held = Duration::from_millis(1_200);
        let taken = Unavailable::Refused { code: ErrorCode::UserIdTaken, message: "m".into(), retry_after: Some(held) };
        assert_eq!(Problem::from(taken).into_response().headers()[header::RETRY_AFTER], "2");
    }
}
