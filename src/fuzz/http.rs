//! Requests to the server: methods, paths, headers and bodies of WHEP and of the rooms.

use std::cell::RefCell;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, Method, Request, StatusCode, Uri};
use http_body_util::BodyExt;
use hyper::service::Service;
use hyper_util::service::TowerToHyperService;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{mpsc, watch};

use crate::http::creation;
use crate::http::whep::{Lectures, MAX_CANDIDATES, Player, Unavailable, Watching, router};
use crate::id::MAX_NICKNAME_CHARS;
use crate::network::SharedAdmission;
use crate::protocol::{ClientKind, VideoTrack};

/// The longest answer, in bytes: a refusal with its sentence.
const MAX_ANSWER_BYTES: usize = 4_096;

/// A room in which somebody teaches, and one in which nobody does.
const TAUGHT: &str = "10013";
const EMPTY: &str = "10014";

/// Answers each offer. A player never gets rights or a session by what it writes.
#[derive(Clone)]
struct Lecture;

impl Lectures for Lecture {
    async fn watch(&self, player: Player, _offer: String, _video: Option<VideoTrack>) -> Result<Watching, Unavailable> {
        let player = player.request;
        assert!(!player.publishes && player.room_name.is_none(), "{player:?}");
        assert!(player.client == Some(ClientKind::Whep) && !player.nickname.as_str().is_empty(), "{player:?}");
        assert!(player.nickname.as_str().chars().count() <= MAX_NICKNAME_CHARS, "{player:?}");
        match player.room.as_str() {
            TAUGHT => {
                let ((candidates, _), (_, over)) = (mpsc::channel(MAX_CANDIDATES), watch::channel(()));
                let admission = SharedAdmission::default();
                Ok(Watching { answer: "v=0\r\n".to_owned(), candidates, over, admission })
            }
            EMPTY => Err(Unavailable::NobodyTeaches),
            _ => Err(Unavailable::NoSuchRoom),
        }
    }
}

/// The routes, and the runtime that they run in.
struct Server {
    runtime: Runtime,
    app: TowerToHyperService<Router>,
}

impl Server {
    fn new() -> Self {
        let Ok(runtime) = Builder::new_current_thread().build() else { panic!("the runtime has no threads") };
        let rooms = creation(|_| Ok(TAUGHT.parse().unwrap_or_else(|error| panic!("{error}"))));
        Self { runtime, app: TowerToHyperService::new(router(Lecture, &[]).merge(rooms)) }
    }
}

/// Requests to one server; its rate limits would refuse later ones.
const REQUESTS_OF_A_SERVER: usize = 20;

thread_local! {
    /// The server, and the requests that it has answered.
    static SERVER: RefCell<Option<(Server, usize)>> = const { RefCell::new(None) };
}

/// A request: a line with method, path and query, lines of headers, an empty line, a body. It gets a status that is no
/// error of the server, and a refusal has a code.
pub(super) fn http_request(bytes: &[u8]) -> bool {
    let Some(request) = parsed(bytes) else { return false };
    let is_head = request.method() == Method::HEAD;
    let (status, headers, body) = SERVER.with_borrow_mut(|known| {
        known.take_if(|(_, answered)| *answered == REQUESTS_OF_A_SERVER);
        let (server, answered) = known.get_or_insert_with(|| (Server::new(), 0));
        *answered += 1;
        server.runtime.block_on(async {
            let Ok(response) = server.app.call(request).await;
            let (head, body) = response.into_parts();
            let Ok(body) = body.collect().await else { panic!("an answer stands in memory") };
            (head.status, head.headers, body.to_bytes())
        })
    });
    assert!(status != StatusCode::INTERNAL_SERVER_ERROR, "{status}: {body:?}");
    assert!(body.len() <= MAX_ANSWER_BYTES, "{} bytes", body.len());
    let is_json = headers.get("content-type").is_some_and(|kind| kind == "application/json");
    if (status.is_client_error() || status.is_server_error()) && is_json && !is_head {
        let refusal: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
        assert!(refusal["code"].is_string() && refusal["message"].is_string(), "{body:?}");
    }
    status.is_success()
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
    for line in lines {
        let colon = line.iter().position(|byte| *byte == b':')?;
        let name = HeaderName::from_bytes(&line[..colon]).ok()?;
        let value = HeaderValue::from_bytes(line[colon + 1..].trim_ascii()).ok()?;
        request = request.header(name, value);
    }
    request.body(Body::from(body.get(2..).unwrap_or_default().to_vec())).ok()
}
