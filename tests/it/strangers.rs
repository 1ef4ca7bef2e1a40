//! What the server's port gives to clients that it does not know: names, proxies, rates and join codes, in one process
//! on loopback.

use std::net::SocketAddr;

use axum::routing::any;
use classroom::http::whep::Lectures;
use classroom::http::{self, MAX_CANDIDATES, MediaClient, Negotiated, Site, Unavailable};
use classroom::network::SharedClientState;
use classroom::protocol::{Credentials, ErrorCode, JoinRequest, VideoTrack};
use classroom::signal::{Server, ServerLimits};
use futures_util::future::join_all;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;
use tokio::sync::{mpsc, oneshot, watch};

use crate::support::DEADLINE;

/// The join code of the room `secret`.
const CODE: &str = "472913";

/// A lecture in every room. Players stay until their session ends.
#[derive(Clone)]
struct Lecture;

impl Lectures for Lecture {
    async fn watch(&self, player: MediaClient, _: String, _: Option<VideoTrack>) -> Result<Negotiated, Unavailable> {
        let MediaClient { request: JoinRequest { room, .. }, credentials: Credentials { code, token, .. }, .. } =
            player;
        let refused = |code| Err(Unavailable::Refused { code, message: "refused".into(), retry_after: None });
        match (room.as_str(), code.as_deref(), token.as_deref()) {
            ("secret", Some(CODE), None) | ("school", None, Some("a.b.c")) => {}
            ("secret", None, None) => return refused(ErrorCode::CodeRequired),
            ("secret", Some("guess"), None) => return refused(ErrorCode::TooManyAttempts),
            ("secret", ..) => return refused(ErrorCode::WrongCode),
            ("school", ..) => return refused(ErrorCode::TokenRequired),
            ("locked", ..) => return refused(ErrorCode::RoomLocked),
            ("strict", ..) => return refused(ErrorCode::Removed),
            _ => {}
        }
        let (candidates, mut queue) = mpsc::channel(MAX_CANDIDATES);
        let (alive, over) = watch::channel(());
        tokio::spawn(async move {
            while queue.recv().await.is_some() {}
            drop(alive);
        });
        let (answer, ice_servers, client_state) = ("v=0\r\n".into(), Vec::new(), SharedClientState::default());
        Ok(Negotiated { answer, ice_servers, candidates, restarts: None, over, client_state })
    }
}

/// A port of a server with these names.
struct Port {
    address: SocketAddr,
    _end: oneshot::Sender<()>,
}

impl Port {
    fn open(site: Site) -> Self {
        let listener = http::bind(([127, 0, 0, 1], 0).into()).unwrap();
        let address = listener.local_addr().unwrap();
        let server = Server::new(ServerLimits::default());
        let (rooms, creating, sockets) = (server.clone(), server.clone(), server.clone());
        let app = http::router(move || rooms.rooms())
            .route("/ws", any(move |request: axum::extract::Request| std::future::ready(sockets.upgrade(request))))
            .merge(http::whep::router(Lecture))
            .merge(http::creation(move |name, kind, credentials, from| {
                let creating = creating.clone();
                async move { creating.create_room(name, kind, &credentials, from).await }
            }));
        let (end, ended) = oneshot::channel::<()>();
        let app = http::guard(app, site);
        tokio::spawn(http::serve(listener, app, http::ConnectionLimits::default(), async {
            _ = ended.await;
        }));
        Self { address, _end: end }
    }

    /// The status and the whole response to a request from an address of this computer.
    async fn ask(&self, from: [u8; 4], request: &str, headers: &[(&str, &str)], body: &str) -> (u16, String) {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((from, 0).into()).unwrap();
        let mut stream = socket.connect(self.address).await.unwrap();
        let own = self.address.to_string();
        let host = if headers.iter().any(|(name, _)| *name == "host") { vec![] } else { vec![("host", own.as_str())] };
        let headers: String = host.iter().chain(headers).map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let head = format!("{request} HTTP/1.1\r\nconnection: close\r\ncontent-length: {}\r\n{headers}", body.len());
        stream.write_all(format!("{head}\r\n{body}").as_bytes()).await.unwrap();
        let mut text = String::new();
        tokio::time::timeout(DEADLINE, stream.read_to_string(&mut text)).await.unwrap().unwrap();
        let status = text.split(' ').nth(1).and_then(|status| status.parse().ok());
        (status.unwrap_or_else(|| panic!("{text:?}")), text)
    }

    async fn offer(&self, from: [u8; 4], room: &str, headers: &[(&str, &str)]) -> (u16, String) {
        let offer = "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\nm=video 9 UDP/TLS/RTP/SAVPF 102\r\n\
                     c=IN IP4 0.0.0.0\r\na=ice-ufrag:abcd\r\na=ice-pwd:abcdefghijklmnopqrstuv\r\na=mid:0\r\n";
        let headers = [headers, &[("content-type", "application/sdp")]].concat();
        self.ask(from, &format!("POST /whep/{room}"), &headers, offer).await
    }

    async fn create_room(&self, from: [u8; 4], headers: &[(&str, &str)]) -> (u16, String) {
        let headers = [headers, &[("content-type", "application/json")]].concat();
        self.ask(from, "POST /api/rooms", &headers, r#"{"name":"x"}"#).await
    }
}

const LOCAL: [u8; 4] = [127, 0, 0, 1];

#[tokio::test]
async fn a_server_answers_only_to_its_own_names() {
    let port = Port::open(Site { hosts: vec!["lab.school.example".parse().unwrap()], ..Site::default() });
    for host in ["127.0.0.1", "localhost:1", "192.0.2.1:18080", "[2001:db8::1]:5", "LAB.school.example:18080"] {
        assert_eq!(port.ask(LOCAL, "GET /", &[("host", host)], "").await.0, 200, "{host}");
    }
    for path in ["/", "/room/1", "/api/rooms", "/api/ping", "/ws", "/nowhere", "/whep/1", "/worker.js"] {
        let (status, answer) = port.ask(LOCAL, &format!("GET {path}"), &[("host", "evil.example:18080")], "").await;
        assert_eq!(status, 421, "{path}");
        assert!(answer.contains("--host evil.example") && answer.contains("\"code\":\"notAllowed\""), "{answer}");
    }
    let html = [("host", "evil.example"), ("accept", "text/html,application/xhtml+xml")];
    let (_, answer) = port.ask(LOCAL, "GET /", &html, "").await;
    assert!(answer.contains("content-type: text/plain") && answer.contains("--public-url"), "{answer}");
}

#[tokio::test]
async fn behind_a_proxy_loopback_proves_nothing_and_its_clients_are_told_apart() {
    let direct = Port::open(Site::default());
    assert_eq!(direct.create_room(LOCAL, &[("x-forwarded-for", "203.0.113.9")]).await.0, 201, "this computer may");
    let public_url = "https://class.school.example".parse().ok();
    let proxied = Port::open(Site { public_url, ..Site::default() });
    for headers in [&[][..], &[("x-forwarded-for", "127.0.0.1")], &[("x-forwarded-for", "203.0.113.9")]] {
        let (status, answer) = proxied.create_room(LOCAL, headers).await;
        assert_eq!(status, 401, "{headers:?}: {answer}");
        assert!(answer.contains("www-authenticate: Bearer") && answer.contains("teachingKeyRequired"), "{answer}");
    }
    // One client uses its rate up, and another one has its own.
    let flood = join_all((0..40).map(|_| proxied.create_room(LOCAL, &[("x-forwarded-for", "1.2.3.4, 203.0.113.7")])));
    assert!(flood.await.iter().any(|(status, _)| *status == 429));
    let forged = proxied.create_room(LOCAL, &[("x-forwarded-for", "9.9.9.9, 203.0.113.7")]).await;
    assert_eq!(forged.0, 429, "the first entry is the client's own word");
    assert_eq!(proxied.create_room(LOCAL, &[("x-forwarded-for", "203.0.113.8")]).await.0, 401);
    // Pages of the public origin are our own, also if the proxy does not pass the Host on.
    let page = ("origin", "https://class.school.example");
    assert_eq!(proxied.create_room(LOCAL, &[page, ("x-forwarded-for", "203.0.113.6")]).await.0, 401);
    assert_eq!(proxied.create_room(LOCAL, &[("origin", "https://evil.example")]).await.0, 403);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn offers_of_a_class_pass_at_once_and_a_flood_leaves_the_rate_of_others() {
    let port = Port::open(Site::default());
    let mut statuses = Vec::new();
    for _ in 0..8 {
        statuses.extend(join_all((0..100).map(|_| port.offer([127, 0, 0, 2], "1", &[]))).await);
    }
    let count = |wanted: u16| statuses.iter().filter(|(status, _)| *status == wanted).count();
    assert!((600..=700).contains(&count(201)) && count(201) + count(429) == 800, "{} of 800", count(201));
    let flooded = statuses.iter().find(|(status, _)| *status == 429).unwrap();
    assert!(flooded.1.contains("retry-after: 1") && flooded.1.contains("floodedMessages"), "{}", flooded.1);
    assert_eq!(port.offer([127, 0, 0, 3], "1", &[]).await.0, 201, "another network");
}

#[tokio::test]
async fn a_player_gives_its_join_code_or_token_as_a_bearer_token() {
    let port = Port::open(Site::default());
    let with = async |room: &str, secret: Option<&str>| {
        let value = secret.map(|secret| format!("Bearer {secret}")).unwrap_or_default();
        let headers: Vec<_> = secret.iter().map(|_| ("authorization", value.as_str())).collect();
        port.offer(LOCAL, room, &headers).await
    };
    assert_eq!(with("secret", Some(CODE)).await.0, 201);
    assert_eq!(with("school", Some("a.b.c")).await.0, 201);
    for (room, secret, status, code) in [
        ("secret", None, 401, "codeRequired"),
        ("secret", Some("000000"), 401, "wrongCode"),
        ("secret", Some("a.b.c"), 401, "wrongCode"),
        ("school", Some(CODE), 401, "tokenRequired"),
        ("locked", None, 403, "roomLocked"),
        ("strict", None, 403, "removed"),
        ("secret", Some("guess"), 429, "tooManyAttempts"),
    ] {
        let (found, answer) = with(room, secret).await;
        assert_eq!(found, status, "{answer}");
        assert!(answer.contains(&format!("\"code\":\"{code}\"")), "{answer}");
        assert_eq!(answer.contains("www-authenticate: Bearer"), status == 401, "{answer}");
        assert_eq!(answer.contains("retry-after: "), status == 429, "{answer}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_class_of_500_behind_one_address_loads_the_page_at_once() {
    let port = Port::open(Site::default());
    for path in ["/room/1", "/worker.js", "/api/rooms", "/api/ping"] {
        for _ in 0..5 {
            let request = format!("GET {path}");
            let answers = join_all((0..100).map(|_| port.ask([127, 0, 0, 2], &request, &[], ""))).await;
            assert!(answers.iter().all(|(status, _)| matches!(status, 200 | 204)), "{path}");
        }
    }
}
