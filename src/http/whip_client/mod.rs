//! The client of WHIP, which publishes at any server (RFC 9725). The media is the caller's: this part exchanges the
//! descriptions.
//!
//! - [`Endpoint::open`] sends the offer and reads the answer. Redirects of the kinds 307 and 308 are followed, a few of
//!   them (RFC 9725, 4.5).
//! - [`Session`] adds candidates, restarts ICE, and ends the session.
//!
//! The server may be anybody's: what is read of each answer is bounded, and so is the time. The bearer token goes only
//! to the origin that the user has typed, never by HTTP after HTTPS, and never into a sentence. A server can name
//! another one, but none that is nearer to this computer than itself.

mod link;
mod refusal;
mod session;
mod url;

use std::fmt;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use tokio::time::timeout;

use self::refusal::Refusal;
pub use self::refusal::WhipError;
pub use self::session::{Restarted, Session};
pub use self::url::{WhipUrl, WhipUrlError};
use super::exchange::{Distance, ExchangeError, Server};
use crate::sdp::ice::IceServer;
use crate::tls::{TlsError, Trust};

/// The time limit of one request, from the name lookup to the last byte of the answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// The largest answer. That of a server with many addresses has some 10 kB.
const MAX_ANSWER_BYTES: usize = 64 * 1024;

/// The most candidates in an answer: this computer sends packets to each of them.
const MAX_CANDIDATES: usize = 64;

/// The most redirects of one offer.
const MAX_REDIRECTS: usize = 4;

const SDP: &str = "application/sdp";

/// A bearer token. `Debug` hides it.
#[derive(Clone, PartialEq, Eq)]
pub struct Bearer(Box<str>);

impl Bearer {
    /// A token as the server wrote it.
    ///
    /// # Errors
    /// If it is empty or has other than visible ASCII characters, which no `Authorization` can carry.
    pub fn new(token: &str) -> Result<Self, WhipUrlError> {
        let is_valid = !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic());
        if is_valid { Ok(Self(token.into())) } else { Err(WhipUrlError::Token) }
    }

    fn header(&self) -> Option<HeaderValue> {
        let mut value = HeaderValue::from_str(&format!("Bearer {}", self.0)).ok()?;
        value.set_sensitive(true);
        Some(value)
    }
}

impl fmt::Debug for Bearer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Bearer(..)")
    }
}

/// A WHIP endpoint with what a client needs for it.
#[derive(Debug, Clone)]
pub struct Endpoint {
    /// The URL as typed.
    pub url: WhipUrl,
    /// The token for its origin.
    pub bearer: Option<Bearer>,
    /// The trust in HTTPS servers.
    pub trust: Trust,
}

/// An accepted offer.
#[derive(Debug)]
pub struct Opened {
    /// The answer.
    pub answer: String,
    /// The session; `None` if the server named none, so that only silence ends it.
    pub session: Option<Session>,
    /// The server's own STUN and TURN servers.
    pub ice_servers: Vec<IceServer>,
}

impl Endpoint {
    /// Sends an offer.
    ///
    /// # Errors
    /// [`WhipError`] if there is no answer, or the server refuses.
    pub async fn open(&self, offer: &str) -> Result<Opened, WhipError> {
        let (mut url, mut nearest) = (self.url.clone(), Distance::Computer);
        for _ in 0..=MAX_REDIRECTS {
            let sent = self.send(&url, nearest, Method::POST, &[(header::CONTENT_TYPE, SDP)], offer).await?;
            let (response, distance) = sent;
            nearest = nearest.max(distance);
            if matches!(response.status(), StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT) {
                url = url.follow(&location(&response).ok_or(WhipError::Answer("a redirect without Location"))?)?;
                continue;
            }
            return self.opened(&url, nearest, response);
        }
        Err(WhipError::Answer("too many redirects"))
    }

    /// Reads an answer to an offer to the URL as typed.
    ///
    /// # Errors
    /// [`WhipError`] if the server refuses, or if this is no answer to an offer.
    pub(crate) fn read_answer(&self, response: Response<Bytes>) -> Result<Opened, WhipError> {
        self.opened(&self.url, Distance::Computer, response)
    }

    fn opened(&self, url: &WhipUrl, nearest: Distance, response: Response<Bytes>) -> Result<Opened, WhipError> {
        if response.status() != StatusCode::CREATED {
            return Err(self.refusal(url, &response));
        }
        if !has_type(response.headers(), SDP) {
            return Err(WhipError::Answer("it answers without a session description"));
        }
        let answer = String::from_utf8(response.body().to_vec())
            .map_err(|_| WhipError::Answer("its session description is no text"))?;
        if answer.lines().filter(|line| line.starts_with("a=candidate:")).count() > MAX_CANDIDATES {
            return Err(WhipError::Answer("its answer has too many candidates"));
        }
        let at = location(&response).map(|at| url.follow(&at)).transpose()?;
        let etag = response.headers().get(header::ETAG).cloned();
        let session = at.map(|at| Session::new(self.clone(), at, nearest, etag));
        Ok(Opened { answer, session, ice_servers: link::ice_servers(response.headers()) })
    }

    fn refusal(&self, url: &WhipUrl, response: &Response<Bytes>) -> WhipError {
        let secrets = [self.bearer.as_ref().map_or("", |bearer| &bearer.0), url.path(), self.url.path()];
        let lost_token = self.bearer.is_some() && !url.is_of(&self.url);
        WhipError::Refused(Refusal::of(response, &secrets, lost_token.then(|| url.to_string())))
    }

    /// Sends a request within [`ANSWER_WITHIN`].
    async fn send(
        &self,
        url: &WhipUrl,
        nearest: Distance,
        method: Method,
        headers: &[(header::HeaderName, &str)],
        body: &str,
    ) -> Result<(Response<Bytes>, Distance), WhipError> {
        let mut request = Request::builder().method(method).uri(url.path());
        for (name, value) in headers {
            request = request.header(name, *value);
        }
        let bearer = self.bearer.as_ref().filter(|_| url.is_of(&self.url)).and_then(Bearer::header);
        if let Some(bearer) = bearer {
            request = request.header(header::AUTHORIZATION, bearer);
        }
        let body = Full::new(Bytes::copy_from_slice(body.as_bytes()));
        let request = request.body(body).map_err(|_| WhipError::Answer("it names a URL that is none"))?;
        let trust = url.uses_tls().then_some(&self.trust);
        let server = Server { host: url.host(), port: url.port(), trust, nearest };
        match timeout(ANSWER_WITHIN, server.exchange(request, MAX_ANSWER_BYTES)).await {
            Err(_) => Err(WhipError::Slow(ANSWER_WITHIN)),
            Ok(Ok(answered)) => Ok(answered),
            Ok(Err(ExchangeError::Unreachable(cause))) => Err(WhipError::Unreachable(cause.to_string())),
            Ok(Err(ExchangeError::Tls(TlsError::NotTls))) => {
                Err(WhipError::Answer("it does not speak TLS on this port, write http:// instead of https://"))
            }
            Ok(Err(ExchangeError::Tls(cause))) => Err(WhipError::Tls(cause)),
            Ok(Err(ExchangeError::Broken(cause))) => Err(WhipError::Unreachable(cause)),
        }
    }
}

fn location(response: &Response<Bytes>) -> Option<String> {
    response.headers().get(header::LOCATION)?.to_str().ok().map(str::to_owned)
}

/// Whether a body has this media type, whose parameters don't matter.
fn has_type(headers: &HeaderMap, wanted: &str) -> bool {
    let given = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    given.split(';').next().is_some_and(|given| given.trim().eq_ignore_ascii_case(wanted))
}

#[cfg(test)]
mod tests;
