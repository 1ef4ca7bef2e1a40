//! Attacks by HTTP alone: pages of other sites, guesses, and requests that never end.

use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::member::{Member, connect, dial};
use super::offer::Offer;
use super::{ATTACKER, PATIENCE, Pace, Tally, Target, attackers, network};

/// The origin of a page of another site.
pub const FOREIGN: &str = "evil.example";

/// A response.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The status line and the headers, in lower case.
    pub head: String,
    /// The body.
    pub body: String,
}

impl Answer {
    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }
}

/// Sends a request with `Connection: close` and reads the whole answer.
///
/// # Errors
/// If the connection breaks, or no answer comes in time.
pub async fn ask(
    target: &Target,
    from: Ipv4Addr,
    method_and_path: &str,
    headers: &str,
    body: &str,
) -> io::Result<Answer> {
    let host = if headers.starts_with("host:") { String::new() } else { format!("host: {}\r\n", target.http) };
    let length = body.len();
    let request = format!(
        "{method_and_path} HTTP/1.1\r\n{host}connection: close\r\ncontent-length: {length}\r\n{headers}\r\n{body}"
    );
    let exchange = async {
        let mut stream = dial(target, from, true).await?;
        stream.write_all(request.as_bytes()).await?;
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).await?;
        let text = String::from_utf8_lossy(&bytes);
        let (head, body) = text.split_once("\r\n\r\n").ok_or(io::ErrorKind::UnexpectedEof)?;
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or(io::ErrorKind::InvalidData)?;
        // Paths in `Location` are case sensitive, names of headers are not.
        let lower = |line: &str| match line.split_once(':') {
            Some((name, value)) => format!("{}:{value}\n", name.to_ascii_lowercase()),
            None => format!("{line}\n"),
        };
        Ok(Answer { status, head: head.lines().map(lower).collect(), body: body.to_owned() })
    };
    timeout(PATIENCE, exchange).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

/// Offers by WHEP.
///
/// # Errors
/// As [`ask`].
pub async fn whep(target: &Target, from: Ipv4Addr, offer: &Offer, headers: &str) -> io::Result<Answer> {
    let path = format!("POST /whep/{}", target.room);
    ask(target, from, &path, &format!("{headers}content-type: application/sdp\r\n"), &offer.sdp).await
}

/// The status of an answer, or how the connection failed.
pub fn outcome(answer: &io::Result<Answer>) -> String {
    match answer {
        Ok(answer) => answer.status.to_string(),
        Err(error) => format!("{:?}", error.kind()),
    }
}

/// A page of another site, and a name of another site that resolves to this server (DNS rebinding): neither may join,
/// create a room, or watch by WHEP.
pub async fn foreign_pages(target: &Target) -> Tally {
    let mut tally = Tally::default();
    let (other_site, rebound) = (format!("http://{FOREIGN}"), format!("http://{FOREIGN}:{}", target.http.port()));
    let rebound_host = format!("{FOREIGN}:{}", target.http.port());
    let pages: [(&str, &str, Option<&str>); 2] =
        [("another site", &other_site, None), ("a rebound name", &rebound, Some(&rebound_host))];
    for (what, origin, host) in pages {
        let mut headers = vec![("origin", origin)];
        headers.extend(host.map(|host| ("host", host)));
        match Member::open(target, ATTACKER, &target.query("foreign"), &headers, true).await {
            Ok(_) => tally.broken.push(format!("{what} opened a WebSocket")),
            Err(refusal) => tally.count(format!("WebSocket {refusal}")),
        }
        let host = host.map_or(String::new(), |host| format!("host: {host}\r\n"));
        let headers = format!("{host}origin: {origin}\r\n");
        let json = format!("{headers}content-type: application/json\r\n");
        let created = ask(target, ATTACKER, "POST /api/rooms", &json, "{\"name\":\"foreign\"}").await;
        tally.count(format!("POST /api/rooms {}", outcome(&created)));
        tally.expect(!created.is_ok_and(|it| it.status == 201), || format!("{what} created a room"));
        let watched = whep(target, ATTACKER, &Offer::new([]), &headers).await;
        tally.count(format!("WHEP {}", outcome(&watched)));
        let reads = watched.as_ref().is_ok_and(|it| it.header("access-control-allow-origin").is_some());
        let is_readable = watched.is_ok_and(|it| it.status == 201) && (reads || !host.is_empty());
        tally.expect(!is_readable, || format!("{what} watches by WHEP"));
    }
    let page = ask(target, ATTACKER, "GET /", &format!("host: {rebound_host}\r\n"), "").await;
    tally.count(format!("GET / {}", outcome(&page)));
    tally.expect(!page.is_ok_and(|it| it.status == 200), || "a rebound name reads the page".into());
    tally
}

/// Guesses of WHEP sessions: ends and changes none of them.
pub async fn session_guesses(target: &Target, count: usize, per_second: u32) -> Tally {
    let mine = whep(target, Ipv4Addr::LOCALHOST, &Offer::new([]), "").await;
    let session = mine.ok().and_then(|answer| answer.header("location").map(str::to_owned)).unwrap_or_default();
    // All but the last characters are right, as if most of the secret had leaked.
    let leaked = session[..session.len().saturating_sub(6)].to_owned();
    let mut tally = attackers(target, count, Pace::new(per_second), |target, n| {
        let guess = format!("{leaked}{n:06}");
        async move {
            let mut tally = Tally::default();
            let method = ["DELETE", "PATCH", "GET"][n % 3];
            let headers = "content-type: application/trickle-ice-sdpfrag\r\nif-match: *\r\n";
            let answer = ask(&target, ATTACKER, &format!("{method} {guess}"), headers, "").await;
            tally.count(format!("{method} {}", outcome(&answer)));
            Ok(tally)
        }
    })
    .await;
    tally.expect(!session.is_empty(), || "a player got no session".into());
    let alive = ask(target, Ipv4Addr::LOCALHOST, &format!("GET {session}"), "", "").await;
    let reached: u64 = ["DELETE 200", "PATCH 204", "GET 204"].into_iter().map(|answer| tally.of(answer)).sum();
    tally.expect(reached == 0, || format!("{reached} guesses reached a session"));
    let _ = ask(target, Ipv4Addr::LOCALHOST, &format!("DELETE {session}"), "", "").await;
    tally.expect(alive.is_ok_and(|it| it.status == 204), || "a guess ended the session of a player".into());
    tally
}

/// How the slow connections behave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Slow {
    /// Sends one byte of a head each second (slow loris).
    Writes,
    /// Asks for the largest files without reading the answers.
    Reads,
    /// Sends requests one after another without reading an answer.
    Pipelines,
    /// Sends a head that does not end.
    Headers,
    /// Sends nothing.
    Silent,
}

/// `count` slow connections that stay for this long. A page must come to an honest browser all the while.
pub async fn slow_connections(target: &Target, slow: Slow, count: usize, lasts: Duration) -> Tally {
    let (mut tally, end, mut attackers) = (Tally::default(), Instant::now() + lasts, JoinSet::new());
    for n in 0..count {
        let target = target.clone();
        attackers.spawn(async move {
            let mut tally = Tally::default();
            let Ok(mut stream) = connect(network(n % 4), target.http, slow != Slow::Reads).await else {
                tally.count("no connection");
                return tally;
            };
            let request = format!("GET /room/{} HTTP/1.1\r\nhost: {}\r\n\r\n", target.room, target.http);
            let bytes: Vec<u8> = match slow {
                Slow::Writes => vec![b'G'],
                Slow::Reads => request.repeat(20).into_bytes(),
                Slow::Pipelines => request.repeat(200).into_bytes(),
                Slow::Headers => format!("x-{n}: {}\r\n", "y".repeat(100)).repeat(40).into_bytes(),
                Slow::Silent => Vec::new(),
            };
            if slow == Slow::Headers {
                let _ = stream.write_all(b"GET / HTTP/1.1\r\n").await;
            }
            while Instant::now() < end {
                // The write blocks when the server reads nothing more, and fails when it has closed the connection.
                match timeout(Duration::from_secs(1), stream.write_all(&bytes)).await {
                    Ok(Err(_)) => {
                        tally.count("closed");
                        return tally;
                    }
                    Ok(Ok(())) => tally.sent_bytes += bytes.len() as u64,
                    Err(_) => continue,
                }
                let pause = if slow == Slow::Pipelines || slow == Slow::Headers { 20 } else { 1_000 };
                tokio::time::sleep(Duration::from_millis(pause)).await;
            }
            tally.count("still open");
            tally
        });
    }
    let mut slowest = Duration::ZERO;
    while Instant::now() < end {
        let begun = Instant::now();
        let path = format!("GET /room/{}", target.room);
        let page = ask(target, Ipv4Addr::LOCALHOST, &path, "", "").await;
        tally.expect(page.as_ref().is_ok_and(|it| it.status == 200), || {
            format!("an honest browser got {} for the page", outcome(&page))
        });
        slowest = slowest.max(begun.elapsed());
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    tally.expect(slowest < Duration::from_secs(2), || format!("the page took {slowest:?}"));
    tally.join(attackers).await;
    tally
}

/// Many half handshakes of TLS: each connection sends the start of a ClientHello, or random bytes in its place.
pub async fn half_handshakes(target: &Target, count: usize, per_second: u32) -> Tally {
    attackers(target, count, Pace::new(per_second), move |target, n| async move {
        let mut tally = Tally::default();
        let Ok(mut stream) = connect(network(n % 4), target.http, true).await else {
            tally.count("no connection");
            return Ok(tally);
        };
        // A record of type handshake whose length of 512 bytes never comes (RFC 8446, 5.1).
        let mut hello = vec![22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3];
        hello.extend_from_slice(&rand::random::<[u8; 32]>());
        let _ = stream.write_all(&hello).await;
        let ended = timeout(PATIENCE, stream.read(&mut [0; 64])).await;
        tally.count(match ended {
            Ok(Ok(0) | Err(_)) => "closed",
            Ok(Ok(_)) => "answered",
            Err(_) => "still open",
        });
        Ok(tally)
    })
    .await
}

/// Handshakes of TLS that cost the server its key exchange and its signature: the client trusts no certificate, and
/// ends each handshake when it has the server's.
pub async fn costly_handshakes(target: &Target, count: usize, per_second: u32) -> Tally {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let Ok(config) = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions() else {
        return Tally::default();
    };
    let config = Arc::new(config.with_root_certificates(RootCertStore::empty()).with_no_client_auth());
    let distrusting = Target { tls: Some(config), ..target.clone() };
    attackers(&distrusting, count, Pace::new(per_second), move |target, n| async move {
        let mut tally = Tally::default();
        tally.count(match dial(&target, network(n % 4), true).await {
            Ok(_) => "trusted".to_owned(),
            Err(error) => format!("{:?}", error.kind()),
        });
        Ok(tally)
    })
    .await
}

/// Sends heads, methods and targets that no client sends, and reads that each is refused.
pub async fn malformed_requests(target: &Target) -> Tally {
    let mut tally = Tally::default();
    let host = target.http;
    let long = "a".repeat(40_000);
    for bytes in [
        format!("GET / HTTP/1.1\r\nhost: {host}\r\nhost: {FOREIGN}\r\nconnection: close\r\n\r\n"),
        format!("GET /{long} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n"),
        format!("GET / HTTP/1.1\r\nhost: {host}\r\n{}\r\n", "a: b\r\n".repeat(2_000)),
        format!("POST /api/rooms HTTP/1.1\r\nhost: {host}\r\ncontent-length: 99999999999999999999\r\n\r\n"),
        format!(
            "POST /whep/{} HTTP/1.1\r\nhost: {host}\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n\
             0\r\n\r\n",
            target.room
        ),
        format!("GET http://{FOREIGN}/ HTTP/1.1\r\nhost: {FOREIGN}\r\nconnection: close\r\n\r\n"),
        format!("GET /../../etc/passwd HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n"),
    ] {
        let exchange = async {
            let mut stream = connect(ATTACKER, target.http, true).await?;
            let _ = stream.write_all(bytes.as_bytes()).await;
            let mut answer = Vec::new();
            let _ = timeout(PATIENCE, stream.read_to_end(&mut answer)).await;
            Ok::<_, io::Error>(answer)
        };
        let answer = exchange.await.unwrap_or_default();
        let status = String::from_utf8_lossy(&answer).split(' ').nth(1).unwrap_or("closed").to_owned();
        let request: String = bytes.chars().take(40).collect();
        tally.expect(!status.starts_with('2'), || format!("{request:?} was answered with {status}"));
        tally.count(status);
    }
    tally
}
