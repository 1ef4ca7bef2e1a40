//! Requests to the server: methods, paths, headers and bodies of WHEP, of WHIP and of the rooms, and the checks before
//! them.

use std::cell::RefCell;
use std::net::IpAddr;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, Method, Request, StatusCode, Uri, header};
use http_body_util::BodyExt;
use hyper::service::Service;
use hyper_util::service::TowerToHyperService;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{mpsc, watch};

use crate::http::{MAX_CANDIDATES, MediaClient, Negotiated, Site, Unavailable, creation, guard};
use crate::http::{whep, whip};
use crate::id::MAX_NICKNAME_CHARS;
use crate::network::SharedClientState;
use crate::protocol::{ClientKind, MAX_MESSAGE_BYTES, VideoTrack};

/// The longest answer, in bytes: a refusal with its sentence.
const MAX_ANSWER_BYTES: usize = 4_096;

/// The host of a request that names none.
const HOST: &str = "lab.example:18080";

/// The origin whose pages may play, besides those of the server itself.
const SCHOOL: &str = "https://school.example";

/// Requests that one server gets: fewer than its rates allow at once.
const REQUESTS_PER_SERVER: usize = 250;

/// A room in which somebody teaches, and one in which nobody does.
const TAUGHT: &str = "10013";
const EMPTY: &str = "10014";

/// Answers each offer. A player never gets rights or a session by what it writes.
#[derive(Clone)]
struct Lecture;

impl whep::Lectures for Lecture {
    async fn watch(
        &self,
        player: MediaClient,
        _offer: String,
        _video: Option<VideoTrack>,
    ) -> Result<Negotiated, Unavailable> {
        let MediaClient { request: player, credentials, address } = player;
        assert!(credentials.session.is_none() && credentials.key.is_none() && credentials.room.is_none());
        assert!(!address.is_loopback, "{address:?}");
        assert!(!player.publishes && player.room_name.is_none(), "{player:?}");
        assert!(player.client == Some(ClientKind::Whep) && !player.nickname.as_str().is_empty(), "{player:?}");
        assert!(player.nickname.as_str().chars().count() <= MAX_NICKNAME_CHARS, "{player:?}");
        match player.room.as_str() {
            TAUGHT => answered(),
            EMPTY => Err(Unavailable::NobodyTeaches),
            _ => Err(Unavailable::NoSuchRoom),
        }
    }
}

impl whip::Lectures for Lecture {
    async fn publish(&self, publisher: MediaClient, offer: whip::PublisherOffer) -> Result<Negotiated, Unavailable> {
        let MediaClient { request: publisher, credentials, address } = publisher;
        assert!(credentials.session.is_none() && credentials.code.is_none() && credentials.room.is_none());
        assert!(!address.is_loopback, "{address:?}");
        assert!(publisher.publishes && publisher.client == Some(ClientKind::Whip), "{publisher:?}");
        assert!(offer.audio.is_some() || offer.video.is_some(), "{offer:?}");
        assert!(offer.sdp.len() <= 2 * MAX_MESSAGE_BYTES, "{} bytes", offer.sdp.len());
        answered()
    }
}

fn answered() -> Result<Negotiated, Unavailable> {
    let ((candidates, _), (_, over)) = (mpsc::channel(MAX_CANDIDATES), watch::channel(()));
    let client_state = SharedClientState::default();
    let answer = "v=0\r\na=recvonly\r\na=recvonly\r\n".to_owned();
    Ok(Negotiated { answer, ice_servers: Vec::new(), candidates, restarts: None, over, client_state })
}

/// The routes, and the runtime that they run in.
struct Server {
    runtime: Runtime,
    app: TowerToHyperService<Router>,
    requests: usize,
}

impl Server {
    fn new() -> Self {
        let Ok(runtime) = Builder::new_current_thread().enable_time().build() else {
            panic!("the runtime has only a clock")
        };
        let rooms = creation(|_, _, _, _| async { Ok(TAUGHT.parse().unwrap_or_else(|error| panic!("{error}"))) });
        let known = |text: &str| text.parse().unwrap_or_else(|error| panic!("{error}"));
        let hosts = vec!["lab.example".parse().unwrap_or_else(|error| panic!("{error}"))];
        let site = Site { hosts, whep_origins: vec![known(SCHOOL)], ..Site::default() };
        let app =
            TowerToHyperService::new(guard(whep::router(Lecture).merge(whip::router(Lecture)).merge(rooms), site));
        Self { runtime, app, requests: 0 }
    }
}

thread_local! {
    static SERVER: RefCell<Option<Server>> = const { RefCell::new(None) };
}

/// A request: a line with method, path and query, lines of headers, an empty line, a body. It gets a status that is no
/// error of the server, and a refusal has a code. Only requests to this server by its own pages, by the school's or by
/// programs succeed.
pub(super) fn http_request(bytes: &[u8]) -> bool {
    let Some(request) = parsed(bytes) else { return false };
    let is_head = request.method() == Method::HEAD;
    let text = |name: HeaderName| request.headers().get(name).map(|value| value.to_str().unwrap_or("?").to_owned());
    // The authority of an absolute URI overrides the header (RFC 9112, 3.2.2).
    let authority = request.uri().authority().map(ToString::to_string).or_else(|| text(header::HOST));
    let (host, origin) = (name_of(&authority.unwrap_or_default()), text(header::ORIGIN));
    let (status, headers, body) = SERVER.with(|server| {
        let mut server = server.borrow_mut();
        let server = server.get_or_insert_with(Server::new);
        server.requests += 1;
        if server.requests > REQUESTS_PER_SERVER {
            *server = Server::new();
        }
        server.runtime.block_on(async {
            let Ok(response) = server.app.call(request).await;
            let (head, body) = response.into_parts();
            let Ok(body) = body.collect().await else { panic!("an answer stands in memory") };
            (head.status, head.headers, body.to_bytes())
        })
    });
    if status.is_success() {
        let own = rustix::system::uname().nodename().to_string_lossy().to_ascii_lowercase();
        let is_known =
            ["lab.example", "localhost"].contains(&&*host) || own.starts_with(host.trim_end_matches(".local"));
        assert!(is_known || host.parse::<IpAddr>().is_ok(), "{status} for {host}");
        let page = origin.as_deref().map(|origin| name_of(origin.split_once("://").map_or("?", |(_, rest)| rest)));
        assert!(page.is_none_or(|page| page == host || page == "school.example"), "{status} for a page of {origin:?}");
    }
    assert!(status != StatusCode::INTERNAL_SERVER_ERROR, "{status}: {body:?}");
    assert!(body.len() <= MAX_ANSWER_BYTES, "{} bytes", body.len());
    let is_json = headers.get("content-type").is_some_and(|kind| kind == "application/json");
    if (status.is_client_error() || status.is_server_error()) && is_json && !is_head {
        let refusal: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
        assert!(refusal["code"].is_string() && refusal["message"].is_string(), "{body:?}");
    }
    status.is_success()
}

/// The host in an authority, without brackets, port, and dot at the end.
fn name_of(authority: &str) -> String {
    let authority = authority.trim_end_matches('/');
    let host = match authority.strip_prefix('[') {
        Some(rest) => rest.split(']').next(),
        None => authority.split(':').next(),
    };
    host.unwrap_or_default().trim_end_matches('.').to_ascii_lowercase()
}

/// Reads what an HTTP parser has found in a request. None for what it refuses.
fn parsed(bytes: &[u8]) -> Option<Request<Body>> {
    let end = bytes.windows(2).position(|window| window == b"\n\n").unwrap_or(bytes.len());
    let (head, body) = bytes.split_at(end);
    let mut lines = head.split(|byte| *byte == b'\n');
    let mut words = lines.next()?.splitn(2, |byte| *byte == b' ');
    let method = Method::from_bytes(words.next()?).ok()?;
    let uri = Uri::try_from(words.next()?).ok().filter(|uri| uri.path().starts_with('/'))?;
    let mut request = Request::builder().method(method).uri(uri);
    if !head.to_ascii_lowercase().windows(6).any(|window| window == b"\nhost:") {
        request = request.header(header::HOST, HOST);
    }
    for line in lines {
        let colon = line.iter().position(|byte| *byte == b':')?;
        let name = HeaderName::from_bytes(&line[..colon]).ok()?;
        let value = HeaderValue::from_bytes(line[colon + 1..].trim_ascii()).ok()?;
        request = request.header(name, value);
    }
    request.body(Body::from(body.get(2..).unwrap_or_default().to_vec())).ok()
}
