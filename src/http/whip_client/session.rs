//! An open session at a WHIP server: later candidates, restarts of ICE, and its end.

use std::time::Duration;

use hyper::header::{self, HeaderValue};
use hyper::{Method, StatusCode};
use tokio::time::timeout;

use super::{Endpoint, MAX_CANDIDATES, WhipError, WhipUrl, has_type};
use crate::http::exchange::Distance;
use crate::protocol::IceCandidate;
use crate::sdp::fragment::Fragment;
use crate::sdp::ice::are_credentials;

const SDP_FRAGMENT: &str = "application/trickle-ice-sdpfrag";

/// The time limit of the goodbye, for which a teacher waits.
const GOODBYE_WITHIN: Duration = Duration::from_secs(2);

/// An open session. Without [`Session::end`], the server notices the silence.
#[derive(Debug, Clone)]
pub struct Session {
    endpoint: Endpoint,
    url: WhipUrl,
    nearest: Distance,
    etag: Option<HeaderValue>,
    /// Whether the server takes changes.
    takes_fragments: bool,
}

/// The server's side of the ICE session after a restart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restarted {
    /// The user name fragment.
    pub ufrag: String,
    /// The password.
    pub password: String,
    /// The candidates.
    pub candidates: Vec<IceCandidate>,
}

impl Session {
    pub(super) fn new(endpoint: Endpoint, url: WhipUrl, nearest: Distance, etag: Option<HeaderValue>) -> Self {
        Self { endpoint, url, nearest, takes_fragments: true, etag }
    }

    /// Sends a fragment with later candidates of this side (RFC 9725, 4.3.2). A server that does not take it is not
    /// asked again, as it need not.
    pub async fn add_candidates(&mut self, fragment: &str) {
        if !self.takes_fragments {
            return;
        }
        let etag = self.etag.as_ref().and_then(|etag| etag.to_str().ok()).unwrap_or("*").to_owned();
        let answered = self.patch(&etag, fragment).await;
        self.takes_fragments = answered.is_ok_and(|(status, _)| status.is_success());
    }

    /// Restarts ICE with the credentials and the candidates in a fragment (RFC 9725, 4.3.3). `None`: the server does
    /// not restart, so a new session is needed.
    pub async fn restart_ice(&mut self, fragment: &str) -> Option<Restarted> {
        let (status, body) = self.patch("*", fragment).await.ok()?;
        let fragment = Fragment::parse(&body).ok().filter(|_| status == StatusCode::OK)?;
        let (ufrag, password) = fragment.ufrag.zip(fragment.password)?;
        let candidates: Vec<IceCandidate> = fragment.candidates.into_iter().take(MAX_CANDIDATES).collect();
        are_credentials(&ufrag, &password).then_some(Restarted { ufrag, password, candidates })
    }

    async fn patch(&mut self, etag: &str, fragment: &str) -> Result<(StatusCode, String), WhipError> {
        let headers = [(header::CONTENT_TYPE, SDP_FRAGMENT), (header::IF_MATCH, etag)];
        let sent = self.endpoint.send(&self.url, self.nearest, Method::PATCH, &headers, fragment);
        let (response, _) = sent.await?;
        let (status, headers) = (response.status(), response.headers());
        if status == StatusCode::OK && has_type(headers, SDP_FRAGMENT) {
            self.etag = headers.get(header::ETAG).cloned().or(self.etag.take());
        }
        Ok((status, String::from_utf8_lossy(response.body()).into_owned()))
    }

    /// Says goodbye, and waits a short time for the answer.
    pub async fn end(self) {
        let sent = self.endpoint.send(&self.url, self.nearest, Method::DELETE, &[], "");
        // A server that does not answer notices the silence.
        _ = timeout(GOODBYE_WITHIN, sent).await;
    }
}
