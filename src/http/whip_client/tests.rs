//! Against servers that answer what a test says, and keep what they were asked.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;

const ANSWER: &str = "v=0\r\n";

/// A server that answers its requests with these texts, one after another, and the last one for ever.
struct Scripted {
    port: u16,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Scripted {
    async fn start(answers: Vec<String>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let asked: Arc<Mutex<Vec<String>>> = Arc::default();
        let kept = Arc::clone(&asked);
        tokio::spawn(async move {
            let mut n = 0;
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut request = Vec::new();
                let mut buffer = [0; 4_096];
                // The body of these tests is shorter than a segment.
                while !is_whole(&request) {
                    let read = stream.read(&mut buffer).await.unwrap_or(0);
                    if read == 0 {
                        break;
                    }
                    request.extend_from_slice(&buffer[..read]);
                }
                kept.lock().unwrap().push(String::from_utf8_lossy(&request).into_owned());
                let _ = stream.write_all(answers[n.min(answers.len() - 1)].as_bytes()).await;
                n += 1;
            }
        });
        Self { port, asked }
    }

    fn endpoint(&self, bearer: Option<&str>) -> Endpoint {
        let url = format!("http://127.0.0.1:{}/whip/room?key=secret", self.port).parse().unwrap();
        Endpoint { url, bearer: bearer.map(|token| Bearer::new(token).unwrap()), trust: Trust::default() }
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

fn is_whole(request: &[u8]) -> bool {
    let text = String::from_utf8_lossy(request);
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
    body.len() >= length.unwrap_or(0)
}

fn answer(status: &str, headers: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {}\r\n\r\n{body}", body.len())
}

fn created(location: &str) -> String {
    let headers = format!("Content-Type: application/sdp\r\nETag: \"1\"\r\nLocation: {location}\r\n");
    answer("201 Created", &headers, ANSWER)
}

fn redirect(location: &str) -> String {
    answer("307 Temporary Redirect", &format!("Location: {location}\r\n"), "")
}

#[tokio::test]
async fn an_offer_opens_a_session_which_ends() {
    let restarted = "a=ice-ufrag:abcd\r\na=ice-pwd:abcdefghijklmnopqrstuv\r\n";
    let fragment_type = "Content-Type: application/trickle-ice-sdpfrag\r\nETag: \"2\"\r\n";
    let server = Scripted::start(vec![
        created("session/1?s=2"),
        answer("204 No Content", "", ""),
        answer("200 OK", fragment_type, restarted),
        answer("405 Method Not Allowed", "", ""),
    ])
    .await;
    let opened = server.endpoint(Some("tok-1234")).open("offer").await.unwrap();
    let mut session = opened.session.unwrap();
    assert_eq!(opened.answer, ANSWER);
    session.add_candidates("a=candidate").await;
    assert_eq!(session.restart_ice("a=x").await.unwrap().ufrag, "abcd");
    // A server that does not take candidates is not asked again.
    session.add_candidates("a=candidate").await;
    session.add_candidates("a=candidate").await;
    session.end().await;
    let asked = server.asked();
    let has = |n: usize, text: &str| asked[n].to_ascii_lowercase().contains(&text.to_ascii_lowercase());
    let lines = ["POST /whip/room?key=secret HTTP/1.1", "PATCH /whip/session/1?s=2", "PATCH", "PATCH", "DELETE /whip"];
    assert!(asked.len() == 5 && (0..5).all(|n| asked[n].starts_with(lines[n])), "{asked:?}");
    assert!(has(0, "content-type: application/sdp\r\n") && asked[0].ends_with("offer"), "{asked:?}");
    assert!((0..5).all(|n| has(n, "authorization: Bearer tok-1234\r\n")), "{asked:?}");
    assert!(has(1, "if-match: \"1\"\r\n") && has(2, "if-match: *\r\n") && has(3, "if-match: \"2\"\r\n"), "{asked:?}");
}

#[tokio::test]
async fn a_redirect_is_followed_without_the_token_to_another_origin() {
    let other = Scripted::start(vec![answer("401 Unauthorized", "", "who are you?")]).await;
    let there = format!("http://127.0.0.1:{}/whip/x", other.port);
    let server = Scripted::start(vec![redirect("/whip/elsewhere"), redirect(&there)]).await;
    let refused = server.endpoint(Some("tok-1234")).open("offer").await.unwrap_err();
    let sentence = format!(
        "it does not accept the token (401): who are you?; it redirects to http://127.0.0.1:{}, which does not get \
         the token: give the URL there",
        other.port
    );
    assert_eq!(refused.to_string(), sentence);
    let (asked, elsewhere) = (server.asked(), other.asked());
    assert!(asked.len() == 2 && asked[1].starts_with("POST /whip/elsewhere") && asked[1].contains("tok-1234"));
    assert!(elsewhere.len() == 1 && !elsewhere[0].contains("tok-1234") && elsewhere[0].ends_with("offer"));
}

#[tokio::test]
async fn a_session_at_another_origin_does_not_get_the_token() {
    let other = Scripted::start(vec![answer("200 OK", "", "")]).await;
    let server = Scripted::start(vec![created(&format!("http://127.0.0.1:{}/s", other.port))]).await;
    let opened = server.endpoint(Some("tok-1234")).open("offer").await.unwrap();
    opened.session.unwrap().end().await;
    assert!(other.asked()[0].starts_with("DELETE /s") && !other.asked()[0].contains("tok-1234"));
}

#[tokio::test]
async fn a_hostile_server_gets_no_more_than_a_bounded_answer() {
    let many = format!("v=0\r\n{}", "a=candidate:1 1 udp 1 192.0.2.1 1 typ host\r\n".repeat(65));
    let sdp = "Content-Type: application/sdp\r\nLocation: /s\r\n";
    for (answer, expected) in [
        (redirect("/whip/room?key=secret"), "too many redirects"),
        (answer("307 Temporary Redirect", "", ""), "a redirect without Location"),
        (redirect("file:///etc/passwd"), "names a URL that is none"),
        (answer("201 Created", sdp, &"x".repeat(MAX_ANSWER_BYTES + 1)), "can't be reached: length limit exceeded"),
        (answer("201 Created", sdp, &many), "too many candidates"),
        (answer("201 Created", "", "v=0"), "without a session description"),
        (answer("200 OK", sdp, "v=0"), "refused with 200 OK"),
        ("hello\r\n\r\n".to_owned(), "can't be reached"),
        (format!("HTTP/1.1 201 Created\r\nx: {}", "y".repeat(2 * 64 * 1024)), "can't be reached"),
        (String::new(), "can't be reached"),
    ] {
        let server = Scripted::start(vec![answer]).await;
        let error = server.endpoint(None).open("offer").await.unwrap_err().to_string();
        assert!(error.contains(expected), "{error}, not {expected}");
        assert!(server.asked().len() <= MAX_REDIRECTS + 1);
    }
}
