//! Why LiveKit cannot be used. Each is a sentence about "it", the server.

use crate::access::TokenError;
use crate::http::whip_client::WhipUrlError;
use crate::tls::TlsError;

/// Why LiveKit cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LiveKitError {
    /// Nothing answers.
    #[error("it can't be reached: {0}")]
    Unreachable(String),
    /// There is no secure connection.
    #[error("there is no secure connection: {0}")]
    Tls(TlsError),
    /// LiveKit refuses the token.
    #[error("it does not accept the API key ({0}): check key and secret, and the clocks of both servers")]
    Key(u16),
    /// Something answers that is no LiveKit server, or an older one.
    #[error("it is not a LiveKit server with /rtc/v1, such as 1.13.5: {0}")]
    NotLiveKit(String),
    /// The lecture has not arrived there.
    #[error("the lecture has not arrived there yet")]
    NotYet,
    /// LiveKit does what the protocol does not foresee, or ends the session.
    #[error("it {0}")]
    Broken(String),
    /// No token can be signed.
    #[error("{0}")]
    Token(#[from] TokenError),
    /// The URL can't be used for WHIP.
    #[error("its address {0}")]
    Url(#[from] WhipUrlError),
}

impl LiveKitError {
    pub(super) fn broken(what: impl Into<String>) -> Self {
        Self::Broken(what.into())
    }

    /// Whether another attempt has the same result until somebody changes a setting.
    pub fn is_final(&self) -> bool {
        matches!(self, Self::Key(_) | Self::NotLiveKit(_) | Self::Token(_) | Self::Url(_))
    }
}
