//! Checks of every request: its client is identified, its rate is limited, its `Host` and `Origin` are checked.
//!
//! `Host` must be an IP address or a name of this server. A site that rebinds its own DNS name to this server's address
//! (DNS rebinding) sends its own name in `Host`; an address can't be rebound, so every address is allowed, also that of
//! a router that forwards the port. `Origin` must be that of our pages. A browser also sends requests for other sites
//! that a person looks at, and through them such a site could join or create rooms in a network that it can't reach
//! itself. Programs send no `Origin`.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::forwarded::forwarded_for;
use super::origin::{Authority, Host, Origin, WhepOrigin};
use super::serve::Peer;
use crate::network::{ClientAddress, Network, Rate, RateLimit};

/// Requests, except for the page's files. A page asks for itself, its service worker, the list of rooms, a WebSocket,
/// and when it reconnects for a ping; 500 pages at once make 3,000 requests.
const REQUESTS: Rate = Rate { per_second: 200, burst: 6_000, all_per_second: 20_000, all_burst: 60_000 };

/// The paths of the page's files; they are in memory, and a browser asks for each of them once.
const ASSETS: &str = "/assets/";

/// The paths of a monitoring system, which may know this computer by any name. They name nobody.
const MONITORING: [&str; 3] = ["/healthz", "/readyz", "/metrics"];

/// The paths of WHEP, which pages of other origins may use if the server says so.
const WHEP: &str = "/whep/";

/// The names of this server, as browsers see them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Site {
    /// The address of the reverse proxy in front of this server.
    pub public_url: Option<Origin>,
    /// Reverse proxies besides those on this computer.
    pub proxies: Vec<IpAddr>,
    /// Further names of this computer.
    pub hosts: Vec<Host>,
    /// The origins whose pages may play by WHEP, besides our own.
    pub whep_origins: Vec<WhepOrigin>,
}

/// An origin that may read the response, an extension of a request by WHEP.
#[derive(Debug, Clone)]
pub(super) struct AllowedOrigin(pub(super) HeaderValue);

struct Guard {
    site: Site,
    requests: Mutex<RateLimit>,
}

/// A request that is not passed on.
struct Refusal {
    status: StatusCode,
    code: &'static str,
    message: String,
    retry_after: Option<Duration>,
}

/// Puts the checks in front of all routes of `app`. Each request then has its [`ClientAddress`] as an extension, also
/// behind a proxy.
pub fn guard(app: Router, site: Site) -> Router {
    let guard = Guard { site, requests: Mutex::new(RateLimit::new(REQUESTS)) };
    app.layer(from_fn_with_state(Arc::new(guard), pass))
}

async fn pass(State(guard): State<Arc<Guard>>, mut request: Request, next: Next) -> Response {
    match guard.check(&mut request) {
        Ok(()) => next.run(request).await,
        Err(refusal) => refusal.into_response(request.headers()),
    }
}

impl Guard {
    fn check(&self, request: &mut Request) -> Result<(), Refusal> {
        let unknown = Peer { ip: IpAddr::from([0, 0, 0, 0]), is_secure: false };
        let peer = request.extensions().get().copied().unwrap_or(unknown);
        let client = self.site.client(peer.ip, request.headers());
        let is_asset = request.uri().path().starts_with(ASSETS);
        if !is_asset {
            let mut requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
            requests.take(Instant::now(), client.network).map_err(Refusal::flood)?;
        }
        request.extensions_mut().insert(client);
        if MONITORING.contains(&request.uri().path()) {
            return Ok(());
        }
        let host = self.site.host(request)?;
        request.extensions_mut().insert(host.host.called());
        if let Some(origin) = self.site.allow_origin(request, &Origin::of(&host, peer.is_secure))? {
            request.extensions_mut().insert(origin);
        }
        Ok(())
    }
}

impl Site {
    /// The client of a request: the peer, or the client of the proxy.
    fn client(&self, peer: IpAddr, headers: &HeaderMap) -> ClientAddress {
        let peer = peer.to_canonical();
        let is_proxy = self.public_url.is_some() && (peer.is_loopback() || self.proxies.contains(&peer));
        if !is_proxy {
            return ClientAddress::of(peer);
        }
        // The proxy runs on this computer, so loopback says nothing about its clients.
        ClientAddress { network: Network::of(forwarded_for(headers).unwrap_or(peer)), is_loopback: false }
    }

    /// Checks the `Host` of a request.
    fn host(&self, request: &Request) -> Result<Authority, Refusal> {
        let mut hosts = request.headers().get_all(header::HOST).iter();
        // The authority of an absolute URI overrides the header (RFC 9112, 3.2.2).
        let text = match (request.uri().authority(), hosts.next(), hosts.next()) {
            (Some(authority), _, None) => Some(authority.as_str()),
            (None, Some(host), None) => host.to_str().ok(),
            _ => None,
        };
        let host = text.and_then(Authority::parse).ok_or_else(|| {
            let message = "the request needs one Host header with the name or address of this server";
            Refusal::new(StatusCode::BAD_REQUEST, "badRequest", message)
        })?;
        if self.knows(&host.host) {
            return Ok(host);
        }
        let name = &host.host;
        let message = format!(
            "this server does not know the name {name}: use its address, or start it with --host {name} \
             (behind a reverse proxy: --public-url https://{name})"
        );
        Err(Refusal::new(StatusCode::MISDIRECTED_REQUEST, "notAllowed", message))
    }

    fn knows(&self, host: &Host) -> bool {
        let Host::Name(name) = host else { return true };
        let is_public = self.public_url.as_ref().is_some_and(|url| url.host() == host);
        &**name == "localhost" || is_public || self.hosts.contains(host) || is_name_of_this_computer(name)
    }

    /// Checks the `Origin` of a request; `own` is that of our pages under the request's `Host`. Returns an origin that
    /// may use WHEP, if it is another one.
    fn allow_origin(&self, request: &Request, own: &Origin) -> Result<Option<AllowedOrigin>, Refusal> {
        let mut origins = request.headers().get_all(header::ORIGIN).iter();
        let Some(value) = origins.next() else { return Ok(None) };
        let origin: Option<Origin> = value.to_str().ok().and_then(|text| text.parse().ok());
        if let Some(origin) = origin.filter(|_| origins.next().is_none()) {
            let is_own = match &self.public_url {
                Some(url) if url.host() == own.host() => origin == *url,
                Some(url) => origin == *own || origin == *url,
                None => origin == *own,
            };
            if is_own {
                return Ok(None);
            }
            let may_play = self.whep_origins.iter().any(|allowed| match allowed {
                WhepOrigin::Any => true,
                WhepOrigin::One(one) => *one == origin,
            });
            if may_play && request.uri().path().starts_with(WHEP) {
                return Ok(Some(AllowedOrigin(value.clone())));
            }
        }
        let shown: String = value.to_str().unwrap_or("?").chars().take(80).collect();
        let message = if request.uri().path().starts_with(WHEP) {
            format!("pages of {shown} may not play from this server: start it with --whep-origin {shown}")
        } else {
            format!(
                "this is a request of a page of {shown}, and not of this server's page (behind a reverse proxy: \
                     start the server with --public-url)"
            )
        };
        Err(Refusal::new(StatusCode::FORBIDDEN, "notAllowed", message))
    }
}

/// Whether this is the host name of this computer, or that name in multicast DNS. The name may change at any time.
fn is_name_of_this_computer(name: &str) -> bool {
    let system = rustix::system::uname();
    let Ok(own) = system.nodename().to_str() else { return false };
    let own = own.to_ascii_lowercase();
    let label = own.split('.').next().unwrap_or_default();
    !label.is_empty() && (name == own || name == label || name.strip_suffix(".local") == Some(label))
}

impl Refusal {
    fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), retry_after: None }
    }

    fn flood(wait: Duration) -> Self {
        let message = "too many requests from your network, try again in a moment";
        let refusal = Self::new(StatusCode::TOO_MANY_REQUESTS, "floodedMessages", message);
        Self { retry_after: Some(wait), ..refusal }
    }

    /// A sentence for a person in a browser, JSON for a program.
    fn into_response(self, request: &HeaderMap) -> Response {
        #[derive(Serialize)]
        struct Body<'a> {
            code: &'a str,
            message: &'a str,
        }
        let accepts = request.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
        let (media_type, text) = if accepts.contains("text/html") {
            ("text/plain; charset=utf-8", self.message)
        } else {
            let body = Body { code: self.code, message: &self.message };
            // Two strings always have a JSON form.
            ("application/json", serde_json::to_string(&body).unwrap_or_default())
        };
        let headers: [(HeaderName, &str); 3] = [
            (header::CONTENT_TYPE, media_type),
            (header::CACHE_CONTROL, "no-store"),
            (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        ];
        let mut response = (self.status, headers, text).into_response();
        if let Some(wait) = self.retry_after {
            let seconds = wait.as_millis().div_ceil(1_000) as u64;
            response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Body;

    fn request(path: &str, headers: &[(&str, &str)]) -> Request {
        let builder = Request::builder().uri(path);
        headers
            .iter()
            .fold(builder, |builder, (name, value)| builder.header(*name, *value))
            .body(Body::empty())
            .unwrap()
    }

    fn status(site: &Site, path: &str, headers: &[(&str, &str)], is_secure: bool) -> u16 {
        let request = request(path, headers);
        let checked = site.host(&request).and_then(|host| site.allow_origin(&request, &Origin::of(&host, is_secure)));
        checked.map_or_else(|refusal| refusal.status.as_u16(), |_| 200)
    }

    #[test]
    fn a_foreign_name_for_this_server_is_refused() {
        let own = rustix::system::uname().nodename().to_str().unwrap().to_owned();
        let site = Site { hosts: vec!["lab.school.example".parse().unwrap()], ..Site::default() };
        let mut known = vec!["localhost", "LOCALHOST:18080", "127.0.0.1:1", "192.168.1.20", "[fe80::1]:18080", &own];
        known.push("lab.school.example:18080");
        for host in known {
            assert_eq!(status(&site, "/", &[("host", host)], false), 200, "{host}");
        }
        // A page of this name has the same origin as its Host, which passed before.
        let rebound = [("host", "evil.example:18080"), ("origin", "http://evil.example:18080")];
        assert_eq!(status(&site, "/ws", &rebound, false), 421);
        for host in ["evil.example", "localhost.evil.example", "evil-localhost", "local", "127.0.0.1.evil.example"] {
            assert_eq!(status(&site, "/", &[("host", host)], false), 421, "{host}");
        }
        for headers in [&[][..], &[("host", "a"), ("host", "localhost")], &[("host", "")], &[("host", "a b")]] {
            assert_eq!(status(&site, "/", headers, false), 400, "{headers:?}");
        }
        let absolute = "http://evil.example/ws";
        assert_eq!(status(&site, absolute, &[("host", "localhost")], false), 421);
        let Err(refusal) = site.host(&request("/", &[("host", "evil.example")])) else { panic!() };
        assert!(refusal.message.contains("--host evil.example") && refusal.message.contains("--public-url"));
    }

    #[test]
    fn requests_of_other_sites_are_refused() {
        let site = Site::default();
        let at = |origin: &str, is_secure| {
            status(&site, "/ws", &[("host", "127.0.0.1:18080"), ("origin", origin)], is_secure)
        };
        assert_eq!(at("http://127.0.0.1:18080", false), 200);
        assert_eq!(at("https://127.0.0.1:18080", true), 200);
        for origin in ["http://127.0.0.1", "http://127.0.0.1:3000", "https://127.0.0.1:18080", "http://localhost:18080"]
        {
            assert_eq!(at(origin, false), 403, "{origin}");
        }
        for origin in ["null", "", "http://evil.example", "127.0.0.1:18080", "http://127.0.0.1:18080/x"] {
            assert_eq!(at(origin, false), 403, "{origin}");
        }
        assert_eq!(at("http://127.0.0.1:18080", true), 403, "a page without TLS");
        let two = [("host", "a"), ("origin", "http://127.0.0.1"), ("origin", "http://127.0.0.1")];
        assert_ne!(status(&site, "/ws", &two, false), 200);
    }

    #[test]
    fn behind_a_proxy_the_public_origin_is_our_own() {
        let site = Site { public_url: "https://class.school.example".parse().ok(), ..Site::default() };
        for host in ["127.0.0.1:18080", "class.school.example"] {
            let own = [("host", host), ("origin", "https://class.school.example")];
            assert_eq!(status(&site, "/ws", &own, false), 200, "{host}");
            for origin in ["http://class.school.example", "https://class.school.example:444", "https://evil.example"] {
                assert_eq!(status(&site, "/ws", &[("host", host), ("origin", origin)], false), 403, "{origin}");
            }
        }
    }

    #[test]
    fn other_origins_play_by_whep_only_if_the_server_names_them() {
        let allow = |origins: &[&str]| {
            let whep_origins = origins.iter().map(|text| text.parse().unwrap()).collect();
            Site { whep_origins, ..Site::default() }
        };
        let at = |site: &Site, path: &str, origin: &str| {
            status(site, path, &[("host", "127.0.0.1:18080"), ("origin", origin)], false)
        };
        let page = "https://page.school.example";
        assert_eq!(at(&Site::default(), "/whep/1", page), 403);
        assert_eq!(at(&allow(&[page]), "/whep/1", page), 200);
        assert_eq!(at(&allow(&[page]), "/whep/1", "https://evil.example"), 403);
        assert_eq!(at(&allow(&["*"]), "/whep/1", "https://evil.example"), 200);
        assert_eq!(at(&allow(&["*"]), "/whep/1", "null"), 403);
        for path in ["/ws", "/api/rooms", "/", "/whepx"] {
            assert_eq!(at(&allow(&["*", page]), path, page), 403, "{path}");
        }
    }

    #[test]
    fn a_proxys_client_is_known_by_the_proxys_word_only() {
        let client = |site: &Site, peer: &str, forwarded: &str| {
            let headers = HeaderMap::from_iter([("x-forwarded-for".parse().unwrap(), forwarded.parse().unwrap())]);
            site.client(peer.parse().unwrap(), &headers)
        };
        let network = |ip: &str| Network::of(ip.parse().unwrap());
        let direct = Site::default();
        let forged = client(&direct, "10.0.0.7", "127.0.0.1");
        assert_eq!(forged, ClientAddress { network: network("10.0.0.7"), is_loopback: false });
        assert!(client(&direct, "127.0.0.1", "10.0.0.7").is_loopback);
        assert!(client(&direct, "::ffff:127.0.0.1", "10.0.0.7").is_loopback);
        let public_url = "https://class.school.example".parse().ok();
        let proxied = Site { public_url, proxies: vec!["10.0.0.2".parse().unwrap()], ..Site::default() };
        for proxy in ["127.0.0.1", "::1", "10.0.0.2", "::ffff:10.0.0.2"] {
            let found = client(&proxied, proxy, "127.0.0.1, 203.0.113.9");
            assert_eq!(found, ClientAddress { network: network("203.0.113.9"), is_loopback: false }, "{proxy}");
            let local = client(&proxied, proxy, "127.0.0.1");
            assert!(!local.is_loopback, "loopback proves nothing behind a proxy");
        }
        assert_eq!(client(&proxied, "10.0.0.7", "127.0.0.1").network, network("10.0.0.7"), "not the proxy");
        assert_eq!(client(&proxied, "127.0.0.1", "unknown").network, network("127.0.0.1"));
    }

    #[test]
    fn a_class_loads_its_pages_at_once_and_a_flood_is_refused() {
        let guard = Guard { site: Site::default(), requests: Mutex::new(RateLimit::new(REQUESTS)) };
        let at = |ip: [u8; 4], path: &str| {
            let mut request = request(path, &[("host", "127.0.0.1")]);
            request.extensions_mut().insert(Peer { ip: ip.into(), is_secure: false });
            guard.check(&mut request).map_err(|refusal| (refusal.status.as_u16(), refusal.retry_after.is_some()))
        };
        for _ in 0..500 {
            for path in ["/room/1", "/worker.js", "/api/rooms", "/api/ping", "/ws"] {
                assert_eq!(at([10, 0, 0, 1], path), Ok(()));
            }
            for _ in 0..25 {
                assert_eq!(at([10, 0, 0, 1], "/assets/0/main.js"), Ok(()));
            }
        }
        let refused = (0..8_000).find_map(|_| at([10, 0, 0, 1], "/").err());
        assert_eq!(refused, Some((429, true)));
        assert_eq!(at([10, 0, 0, 2], "/"), Ok(()), "another network");
    }
}
