//! Requests the list of rooms from a server, for `classroom rooms`.
//!
//! This uses hyper alone, which the server needs anyway: reqwest or ureq would add a tree of crates, and hyper-util's
//! client a connection pool, to save some 20 lines of this file.

use std::time::Duration;

use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::{Request, Response, StatusCode, header};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::ROOMS_PATH;
use crate::room::RoomSummary;
use crate::tls::{Stream, TlsError, Trust};

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
    let authority = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
    let unreachable = |cause: String| RoomsError::Unreachable { authority: authority.clone(), cause };
    let foreign = |cause: String| RoomsError::Foreign { authority: authority.clone(), cause };
    let exchange = async {
        let stream = TcpStream::connect((host, port)).await.map_err(|e| unreachable(e.to_string()))?;
        let tls = |cause: TlsError| RoomsError::Tls { authority: authority.clone(), cause };
        let stream: Stream = match trust {
            Some(trust) => trust.connect(stream, host).await.map_err(tls)?,
            None => Box::new(stream),
        };
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|e| foreign(e.to_string()))?;
        let request = Request::get(ROOMS_PATH)
            .header(header::HOST, &authority)
            .header(header::CONNECTION, "close")
            .body(Empty::<Bytes>::new())
            .map_err(|e| unreachable(e.to_string()))?;
        let answer = async {
            let response = sender.send_request(request).await.map_err(|e| foreign(e.to_string()))?;
            if is_sent_to_https(&response) {
                return Err(tls(TlsError::WantsTls));
            }
            if response.status() != StatusCode::OK {
                return Err(foreign(format!("it answered {} to {ROOMS_PATH}", response.status())));
            }
            let body = Limited::new(response.into_body(), MAX_BYTES).collect().await;
            Ok(body.map_err(|e| foreign(e.to_string()))?.to_bytes())
        };
        // The connection must be polled while the answer is awaited.
        let mut connection = std::pin::pin!(connection);
        let mut answer = std::pin::pin!(answer);
        let body = tokio::select! {
            body = &mut answer => body?,
            _ = &mut connection => answer.await?,
        };
        serde_json::from_slice(&body).map_err(|e| foreign(e.to_string()))
    };
    let too_slow = |_| unreachable(format!("no answer within {} s", TIMEOUT.as_secs()));
    timeout(TIMEOUT, exchange).await.map_err(too_slow)?
}

fn is_sent_to_https<B>(response: &Response<B>) -> bool {
    let location = response.headers().get(header::LOCATION).and_then(|location| location.to_str().ok());
    response.status().is_redirection() && location.is_some_and(|location| location.starts_with("https://"))
}
