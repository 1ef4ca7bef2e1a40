//! Requests to a server of ours: the list of rooms, for `classroom rooms`, and the parts of files.

use std::time::Duration;

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::http::request;
use hyper::{Request, Response, StatusCode, header};
use jiff::Timestamp;
use tokio::time::timeout;

use super::ROOMS_PATH;
use super::exchange::{Distance, ExchangeError, Server};
use super::health::HEALTH_PATH;
use crate::room::RoomSummary;
use crate::tls::{TlsError, Trust};

/// How long the exchange about the list may take.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The largest list to read: every room of a full server.
const MAX_BYTES: usize = 4 * 1024 * 1024;

/// The largest answer about the health of a server to read.
const MAX_HEALTH_BYTES: usize = 64 * 1024;

/// Why a request has no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
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

/// A server: its host (a name or an address, IPv6 without brackets), its port, and whom the client trusts, if the
/// server has TLS.
#[derive(Debug, Clone)]
pub struct Address {
    /// The host.
    pub host: String,
    /// The port.
    pub port: u16,
    /// The client's trust; none: without TLS.
    pub trust: Option<Trust>,
}

/// All rooms of a server; takes 5 s at most.
///
/// # Errors
/// The server is not there, is no classroom server, or can't be trusted.
pub async fn rooms(address: &Address) -> Result<Vec<RoomSummary>, ClientError> {
    let response = exchange(address, Request::get(ROOMS_PATH), Bytes::new(), (MAX_BYTES, TIMEOUT)).await?;
    let foreign = |cause: String| ClientError::Foreign { authority: address.authority(), cause };
    if response.status() != StatusCode::OK {
        return Err(foreign(format!("it answered {} to {ROOMS_PATH}", response.status())));
    }
    serde_json::from_slice(response.body()).map_err(|e| foreign(e.to_string()))
}

/// The clock of a server, in whole seconds; takes 5 s at most. `None` if the server does not tell the time.
///
/// # Errors
/// As [`rooms`].
pub async fn clock(address: &Address) -> Result<Option<Timestamp>, ClientError> {
    let response = exchange(address, Request::get(HEALTH_PATH), Bytes::new(), (MAX_HEALTH_BYTES, TIMEOUT)).await?;
    let date = response.headers().get(header::DATE).and_then(|date| date.to_str().ok());
    Ok(date.and_then(|date| jiff::fmt::rfc2822::parse(date).ok()).map(|date| date.timestamp()))
}

/// Sends one request over a connection of its own, and reads the answer: at most so many bytes, within a time.
pub(super) async fn exchange(
    address: &Address,
    request: request::Builder,
    body: Bytes,
    (most, within): (usize, Duration),
) -> Result<Response<Bytes>, ClientError> {
    let authority = address.authority();
    let unreachable = |cause: String| ClientError::Unreachable { authority: authority.clone(), cause };
    let foreign = |cause: String| ClientError::Foreign { authority: authority.clone(), cause };
    let tls = |cause: TlsError| ClientError::Tls { authority: authority.clone(), cause };
    let request = request.body(Full::new(body)).map_err(|e| unreachable(e.to_string()))?;
    let too_slow = |_| unreachable(format!("no answer within {} s", within.as_secs()));
    let answer = timeout(within, address.server().exchange(request, most)).await.map_err(too_slow)?;
    let (response, _) = answer.map_err(|error| match error {
        ExchangeError::Unreachable(cause) => unreachable(cause.to_string()),
        ExchangeError::Tls(cause) => tls(cause),
        ExchangeError::Broken(cause) => foreign(cause),
    })?;
    if is_sent_to_https(&response) { Err(tls(TlsError::WantsTls)) } else { Ok(response) }
}

impl Address {
    /// The address of a server.
    pub fn new(host: &str, port: u16, trust: Option<Trust>) -> Self {
        Self { host: host.to_owned(), port, trust }
    }

    fn server(&self) -> Server<'_> {
        let Self { host, port, trust } = self;
        Server { host, port: *port, trust: trust.as_ref(), nearest: Distance::Computer }
    }

    fn authority(&self) -> String {
        self.server().authority()
    }
}

fn is_sent_to_https<B>(response: &Response<B>) -> bool {
    let location = response.headers().get(header::LOCATION).and_then(|location| location.to_str().ok());
    response.status().is_redirection() && location.is_some_and(|location| location.starts_with("https://"))
}
