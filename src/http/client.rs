//! Requests the list of rooms from a server, for `classroom rooms`.

use std::time::Duration;

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::{Request, Response, StatusCode, header};
use tokio::time::timeout;

use super::ROOMS_PATH;
use super::exchange::{Distance, ExchangeError, Server};
use crate::room::RoomSummary;
use crate::tls::{TlsError, Trust};

/// How long the whole exchange may take.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The largest list to read: every room of a full server.
const MAX_BYTES: usize = 4 * 1024 * 1024;

/// Why the list could not be read.
#[derive(Debug, thiserror::Error)]
pub enum RoomsError {
    /// Nothing answered.
    #[error("can't reach the server at {authority}: {cause}")]
    Unreachable {
        /// The server's address.
        authority: String,
        /// The cause.
        cause: String,
    },
    /// There is no secure connection.
    #[error("no secure connection to {authority}: {cause}")]
    Tls {
        /// The server's address.
        authority: String,
        /// The cause and the remedy.
        cause: TlsError,
    },
    /// Something else than a classroom server answered.
    #[error("{authority} is not a classroom server: {cause}")]
    Foreign {
        /// The address that answered.
        authority: String,
        /// The answer.
        cause: String,
    },
}

/// All rooms of the server at `host` (a name or an address, IPv6 without brackets) and `port`; takes 5 s at most. With
/// `trust`, by TLS.
pub async fn rooms(host: &str, port: u16, trust: Option<&Trust>) -> Result<Vec<RoomSummary>, RoomsError> {
    let server = Server { host, port, trust, nearest: Distance::Computer };
    let authority = server.authority();
    let unreachable = |cause: String| RoomsError::Unreachable { authority: authority.clone(), cause };
    let foreign = |cause: String| RoomsError::Foreign { authority: authority.clone(), cause };
    let tls = |cause: TlsError| RoomsError::Tls { authority: authority.clone(), cause };
    let request = Request::get(ROOMS_PATH).body(Full::<Bytes>::default()).map_err(|e| unreachable(e.to_string()))?;
    let too_slow = |_| unreachable(format!("no answer within {} s", TIMEOUT.as_secs()));
    let answer = timeout(TIMEOUT, server.exchange(request, MAX_BYTES)).await.map_err(too_slow)?;
    let (response, _) = answer.map_err(|error| match error {
        ExchangeError::Unreachable(cause) => unreachable(cause.to_string()),
        ExchangeError::Tls(cause) => tls(cause),
        ExchangeError::Broken(cause) => foreign(cause),
    })?;
    if is_sent_to_https(&response) {
        return Err(tls(TlsError::WantsTls));
    }
    if response.status() != StatusCode::OK {
        return Err(foreign(format!("it answered {} to {ROOMS_PATH}", response.status())));
    }
    serde_json::from_slice(response.body()).map_err(|e| foreign(e.to_string()))
}

fn is_sent_to_https<B>(response: &Response<B>) -> bool {
    let location = response.headers().get(header::LOCATION).and_then(|location| location.to_str().ok());
    response.status().is_redirection() && location.is_some_and(|location| location.starts_with("https://"))
}
