//! HTTPS on the port of HTTP: the first byte of a connection tells which of the two a client speaks.
//!
//! Plain HTTP is redirected, with three exceptions: clients on this computer, whose bytes nobody else can read; the
//! certificate to install and the page about it ([`super::certificate`]); and `/healthz`.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::{Next, from_fn, map_response};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::time::timeout;

use super::ca;
use super::health::HEALTH_PATH;
use super::streams::{STUN_REQUEST, StunHandler};
use crate::network::Network;
use crate::protocol::ErrorCode;
use crate::tls::{HANDSHAKE_RECORD, ServerTls, ServerTlsStream};

/// How long a handshake may take, from the first byte.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// Handshakes at a time. A class of 500 that arrives at once fits.
const MAX_HANDSHAKES: usize = 512;

/// How long a browser uses only HTTPS for a name (RFC 6797): 30 days, as a school may go back to plain HTTP.
const STRICT_TRANSPORT_SECURITY: HeaderValue = HeaderValue::from_static("max-age=2592000");

/// The service of a port: an application by HTTP, or by HTTP and HTTPS.
#[derive(Debug, Clone)]
pub struct Port {
    pub(super) app: Router,
    pub(super) secure: Option<Arc<SecurePort>>,
    /// Takes the connections that begin with a STUN request.
    pub(super) stun: Option<StunHandler>,
}

impl From<Router> for Port {
    fn from(app: Router) -> Self {
        Self { app, secure: None, stun: None }
    }
}

impl Port {
    /// A port that also serves HTTPS, and redirects to that.
    pub fn with_tls(app: Router, tls: ServerTls) -> Self {
        // Browsers ignore the header if the user accepted a certificate by hand, and a CA of our own may be removed.
        let secured = if tls.root().is_none() { app.clone().layer(map_response(strict)) } else { app.clone() };
        let redirecting = app.clone().layer(from_fn(to_https));
        let secure = SecurePort { tls, app: secured, redirecting, handshakes: Handshakes::default() };
        Self { app, secure: Some(Arc::new(secure)), stun: None }
    }

    /// Gives connections that begin with a STUN request, with or without TLS, to `handler`.
    pub fn with_stun(self, handler: StunHandler) -> Self {
        Self { stun: Some(handler), ..self }
    }
}

/// The parts of a port with TLS.
#[derive(Debug)]
pub(super) struct SecurePort {
    tls: ServerTls,
    /// The application for HTTPS.
    pub(super) app: Router,
    /// The application for plain HTTP from other computers.
    pub(super) redirecting: Router,
    handshakes: Handshakes,
}

/// The protocol of a client.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Spoken {
    Tls,
    Stun,
    Http,
}

/// The protocol of the first byte; `None` if it is silent or gone.
pub(super) async fn spoken(stream: &TcpStream, within: Duration) -> Option<Spoken> {
    let mut first = [0];
    match timeout(within, stream.peek(&mut first)).await {
        Ok(Ok(1)) => Some(match first {
            [HANDSHAKE_RECORD] => Spoken::Tls,
            [STUN_REQUEST] => Spoken::Stun,
            _ => Spoken::Http,
        }),
        _ => None,
    }
}

impl SecurePort {
    /// Does the handshake; `None` if it fails, takes too long, or must make room for others.
    pub(super) async fn accept<S>(&self, stream: S, network: Network) -> Option<ServerTlsStream<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let handshake = self.handshakes.begin(network);
        tokio::select! {
            accepted = timeout(HANDSHAKE_TIMEOUT, self.tls.accept(stream)) => accepted.ok()?.ok(),
            () = handshake.given_up.notified() => None,
        }
    }
}

/// The handshakes in progress. If there are too many, the network with most of them loses its oldest one: an honest
/// handshake takes milliseconds, so the oldest one belongs to a client that does not go on.
#[derive(Debug, Default)]
struct Handshakes(Arc<Mutex<InProgress>>);

#[derive(Debug, Default)]
struct InProgress {
    count: usize,
    next: u64,
    by_network: HashMap<Network, BTreeMap<u64, Arc<Notify>>>,
}

#[derive(Debug)]
struct Handshake {
    number: u64,
    network: Network,
    given_up: Arc<Notify>,
    all: Arc<Mutex<InProgress>>,
}

impl Handshakes {
    fn begin(&self, network: Network) -> Handshake {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.count >= MAX_HANDSHAKES {
            let most = all.by_network.iter().max_by_key(|(_, numbers)| numbers.len());
            let oldest = most.and_then(|(network, numbers)| Some((*network, *numbers.first_key_value()?.0)));
            if let Some(given_up) = oldest.and_then(|(network, number)| all.remove(network, number)) {
                given_up.notify_one();
            }
        }
        let number = all.next;
        all.next += 1;
        all.count += 1;
        let given_up = Arc::new(Notify::new());
        all.by_network.entry(network).or_default().insert(number, given_up.clone());
        Handshake { number, network, given_up, all: self.0.clone() }
    }
}

impl InProgress {
    fn remove(&mut self, network: Network, number: u64) -> Option<Arc<Notify>> {
        let numbers = self.by_network.get_mut(&network)?;
        let removed = numbers.remove(&number)?;
        if numbers.is_empty() {
            self.by_network.remove(&network);
        }
        self.count -= 1;
        Some(removed)
    }
}

impl Drop for Handshake {
    fn drop(&mut self) {
        self.all.lock().unwrap_or_else(PoisonError::into_inner).remove(self.network, self.number);
    }
}

async fn strict(mut response: Response) -> Response {
    response.headers_mut().insert(header::STRICT_TRANSPORT_SECURITY, STRICT_TRANSPORT_SECURITY);
    response
}

/// Answers plain HTTP from another computer.
async fn to_https(request: Request, next: Next) -> Response {
    let path = request.uri().path();
    // The page about the certificate needs its style sheet.
    if path == HEALTH_PATH || path == "/ca" || path == ca::HELP_PATH || path.starts_with("/assets/") {
        return next.run(request).await;
    }
    let Some(authority) = authority(request.headers()) else { return StatusCode::BAD_REQUEST.into_response() };
    let is_web_socket = request.headers().get(header::UPGRADE).is_some_and(|upgrade| upgrade == "websocket");
    if is_web_socket {
        return refuse_web_socket(&authority);
    }
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    let Ok(location) = HeaderValue::from_str(&format!("https://{authority}{path}")) else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    (StatusCode::PERMANENT_REDIRECT, [(header::LOCATION, location)]).into_response()
}

#[derive(Serialize)]
struct Refused {
    code: ErrorCode,
    message: String,
}

/// 426 with the version of TLS to use (RFC 2817, 4.2). A browser's script sees only that the connection failed, but its
/// page was redirected before.
fn refuse_web_socket(authority: &str) -> Response {
    let message = format!("this server wants TLS: connect with wss://{authority}");
    let refused = Refused { code: ErrorCode::BadRequest, message };
    let headers = [
        (header::UPGRADE, "TLS/1.2, HTTP/1.1"),
        (header::CONNECTION, "upgrade"),
        (header::CONTENT_TYPE, "application/json"),
    ];
    let body = serde_json::to_string(&refused).unwrap_or_default();
    (StatusCode::UPGRADE_REQUIRED, headers, body).into_response()
}

/// The host and port that the client used. Without a port in `Host` the client used port 80, and HTTPS is on that port.
fn authority(headers: &HeaderMap) -> Option<String> {
    let host = headers.get(header::HOST)?.to_str().ok()?;
    let is_host = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '[' | ']');
    if host.is_empty() || host.len() > 255 || !host.chars().all(is_host) {
        return None;
    }
    let after_address = host.rsplit(']').next().unwrap_or(host);
    Some(if after_address.contains(':') { host.to_owned() } else { format!("{host}:80") })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(last: u8) -> Network {
        Network::of([10, 0, 0, last].into())
    }

    fn is_given_up(handshake: &Handshake) -> bool {
        use futures_util::FutureExt;
        handshake.given_up.notified().now_or_never().is_some()
    }

    #[test]
    fn the_network_with_most_handshakes_loses_its_oldest() {
        let handshakes = Handshakes::default();
        let school: Vec<Handshake> = (0..100).map(|_| handshakes.begin(network(1))).collect();
        let stuck: Vec<Handshake> = (0..1_000).map(|_| handshakes.begin(network(2))).collect();
        let late = handshakes.begin(network(3));
        assert!(!school.iter().any(is_given_up) && !is_given_up(&late));
        let lost = stuck.iter().map(is_given_up).collect::<Vec<_>>();
        let first_kept = lost.iter().position(|lost| !lost).unwrap();
        assert!(lost[..first_kept].iter().all(|lost| *lost) && lost[first_kept..].iter().all(|lost| !lost));
        assert_eq!(handshakes.0.lock().unwrap().count, MAX_HANDSHAKES);
        drop((school, stuck, late));
        let all = handshakes.0.lock().unwrap();
        assert!(all.count == 0 && all.by_network.is_empty());
    }

    #[test]
    fn a_redirection_keeps_host_and_port() {
        let authority = |host: &str| authority(&HeaderMap::from_iter([(header::HOST, host.parse().unwrap())]));
        assert_eq!(authority("lab-3:18080").unwrap(), "lab-3:18080");
        assert_eq!(authority("[fe80::1]:18080").unwrap(), "[fe80::1]:18080");
        assert_eq!(authority("[fe80::1]").unwrap(), "[fe80::1]:80");
        assert_eq!(authority("lab").unwrap(), "lab:80");
        for bad in ["", "a/b", "a b", "user@host", "a\\b"] {
            assert_eq!(authority(bad), None, "{bad}");
        }
    }

    /// The answer of the router for plain HTTP from other computers.
    async fn answer(request: &str) -> String {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};

        let app = Router::new().route("/healthz", axum::routing::get(|| async { "ok" }));
        let app = app.merge(ca::router("PEM", "AB:CD")).fallback(|| async { "the app" });
        let listener = crate::http::bind(([127, 0, 0, 1], 0).into()).unwrap();
        let address = listener.local_addr().unwrap();
        let (end, ended) = tokio::sync::oneshot::channel::<()>();
        let serving = tokio::spawn(crate::http::serve(
            listener,
            app.layer(from_fn(to_https)),
            crate::http::ConnectionLimits::default(),
            async { _ = ended.await },
        ));
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(request.replace('\n', "\r\n").as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        _ = end.send(());
        serving.await.unwrap();
        answer
    }

    async fn get(path: &str, headers: &str) -> String {
        answer(&format!("GET {path} HTTP/1.1\nHost: lab:18080\nConnection: close\n{headers}\n")).await
    }

    #[tokio::test]
    async fn plain_http_is_redirected_to_the_same_page() {
        for method in ["GET", "POST"] {
            let request = format!("{method} /room/1?a=b HTTP/1.1\nHost: lab:18080\nConnection: close\n\n");
            let answer = answer(&request).await;
            assert!(answer.starts_with("HTTP/1.1 308 "), "{answer}");
            assert!(answer.contains("location: https://lab:18080/room/1?a=b\r\n"), "{answer}");
            assert!(!answer.contains("the app"));
        }
        let bad = answer("GET / HTTP/1.1\nHost: a/b\nConnection: close\n\n").await;
        assert!(bad.starts_with("HTTP/1.1 400 "), "{bad}");
    }

    #[tokio::test]
    async fn a_plain_web_socket_is_refused_with_the_address_to_use() {
        let upgrade = "Upgrade: websocket\nSec-WebSocket-Version: 13\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\n";
        let answer = get("/ws?roomId=1", upgrade).await;
        assert!(answer.starts_with("HTTP/1.1 426 ") && answer.contains("upgrade: TLS/1.2, HTTP/1.1"), "{answer}");
        assert!(answer.contains("connect with wss://lab:18080"), "{answer}");
    }

    #[tokio::test]
    async fn the_certificate_and_health_are_served_without_tls() {
        let certificate = get("/ca", "").await;
        assert!(certificate.starts_with("HTTP/1.1 200 ") && certificate.ends_with("PEM"), "{certificate}");
        assert!(certificate.contains("content-type: application/x-x509-ca-cert\r\n"), "{certificate}");
        let help = get("/ca/help", "").await;
        assert!(help.contains("AB:CD") && help.contains("content-security-policy"), "{help}");
        assert!(get("/healthz", "").await.ends_with("ok"));
        assert!(get("/healthz/x", "").await.starts_with("HTTP/1.1 308 "));
        assert!(get("/ca/other", "").await.starts_with("HTTP/1.1 308 "));
    }
}
