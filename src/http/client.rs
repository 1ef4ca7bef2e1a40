//! Requests to a server: the list of rooms, for `classroom rooms`, and the parts of files.
//!
//! This uses hyper alone, which the server needs anyway: reqwest or ureq would add a tree of crates, and hyper-util's
//! client a connection pool, to save some 20 lines of this file.

use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::http::request;
use hyper::{Request, Response, StatusCode, header};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::ROOMS_PATH;
use crate::room::RoomSummary;
use crate::tls::{Stream, TlsError, Trust};

/// How long the exchange about the list may take.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The largest list to read: every room of a full server.
const MAX_BYTES: usize = 4 * 1024 * 1024;

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

/// A server: its host (a name or an address, IPv6 without brackets), its port, and whom the client trusts, if the server
/// has TLS.
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
    let exchange = async {
        let (host, port) = (address.host.as_str(), address.port);
        let stream = TcpStream::connect((host, port)).await.map_err(|e| unreachable(e.to_string()))?;
        let tls = |cause: TlsError| ClientError::Tls { authority: authority.clone(), cause };
        let stream: Stream = match &address.trust {
            Some(trust) => trust.connect(stream, host).await.map_err(tls)?,
            None => Box::new(stream),
        };
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|e| foreign(e.to_string()))?;
        let request = request
            .header(header::HOST, &authority)
            .header(header::CONNECTION, "close")
            .body(Full::new(body))
            .map_err(|e| unreachable(e.to_string()))?;
        let answer = async {
            let response = sender.send_request(request).await.map_err(|e| foreign(e.to_string()))?;
            if is_sent_to_https(&response) {
                return Err(tls(TlsError::WantsTls));
            }
            let (head, body) = response.into_parts();
            let body = Limited::new(body, most).collect().await.map_err(|e| foreign(e.to_string()))?;
            Ok(Response::from_parts(head, body.to_bytes()))
        };
        // The connection must be polled while the answer is awaited.
        let mut connection = std::pin::pin!(connection);
        let mut answer = std::pin::pin!(answer);
        tokio::select! {
            answer = &mut answer => answer,
            _ = &mut connection => answer.await,
        }
    };
    let too_slow = |_| unreachable(format!("no answer within {} s", within.as_secs()));
    timeout(within, exchange).await.map_err(too_slow)?
}

impl Address {
    /// The address of a server.
    pub fn new(host: &str, port: u16, trust: Option<Trust>) -> Self {
        Self { host: host.to_owned(), port, trust }
    }

    fn authority(&self) -> String {
        let Self { host, port, .. } = self;
        if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
    }
}

fn is_sent_to_https<B>(response: &Response<B>) -> bool {
    let location = response.headers().get(header::LOCATION).and_then(|location| location.to_str().ok());
    response.status().is_redirection() && location.is_some_and(|location| location.starts_with("https://"))
}
