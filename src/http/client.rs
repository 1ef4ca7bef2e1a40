//! Asks a server for its rooms, as `classroom rooms` does.

use std::time::Duration;

use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::{Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::ROOMS_PATH;
use crate::room::RoomSummary;

/// How long the whole exchange may take.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The largest list that is read: every room of a full server.
const MAX_BYTES: usize = 4 * 1024 * 1024;

/// Why there is no list.
#[derive(Debug, thiserror::Error)]
pub enum RoomsError {
    /// Nothing answered.
    #[error("can't reach the server at {authority}: {cause}")]
    Unreachable {
        /// Where it should be.
        authority: String,
        /// What happened instead.
        cause: String,
    },
    /// Something answered that is no classroom server.
    #[error("{authority} is not a classroom server: {cause}")]
    Foreign {
        /// Where it was looked for.
        authority: String,
        /// What it said.
        cause: String,
    },
}

/// Every room of the server at `host` (a name or an address, IPv6 without brackets) and `port`; takes 5 s at most.
pub async fn rooms(host: &str, port: u16) -> Result<Vec<RoomSummary>, RoomsError> {
    let authority = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
    let unreachable = |cause: String| RoomsError::Unreachable { authority: authority.clone(), cause };
    let foreign = |cause: String| RoomsError::Foreign { authority: authority.clone(), cause };
    let exchange = async {
        let stream = TcpStream::connect((host, port)).await.map_err(|e| unreachable(e.to_string()))?;
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|e| foreign(e.to_string()))?;
        let request = Request::get(ROOMS_PATH)
            .header(header::HOST, &authority)
            .header(header::CONNECTION, "close")
            .body(Empty::<Bytes>::new())
            .map_err(|e| unreachable(e.to_string()))?;
        let answer = async {
            let response = sender.send_request(request).await.map_err(|e| foreign(e.to_string()))?;
            if response.status() != StatusCode::OK {
                return Err(foreign(format!("it answered {} to {ROOMS_PATH}", response.status())));
            }
            let body = Limited::new(response.into_body(), MAX_BYTES).collect().await;
            Ok(body.map_err(|e| foreign(e.to_string()))?.to_bytes())
        };
        // The connection works while the answer is waited for, and ends with it.
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
