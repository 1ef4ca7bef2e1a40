//! The answers of a WHIP server to an offer of `teach --whip`.

use hyper::Response;
use hyper::body::Bytes;

use crate::http::whip_client::{Bearer, Endpoint, Opened};
use crate::sdp::{accepted, restart};
use crate::tls::Trust;

/// The longest sentence about an answer, in characters.
const MAX_SENTENCE: usize = 500;

/// The token of the client, which no sentence may have.
const TOKEN: &str = "tok-of-the-client";

/// An answer: a status, lines of headers, an empty line, the body. Whatever it is, what is taken over is bounded, no
/// sentence has the token, and no later description is longer than the answer allows.
pub(super) fn whip_answer(input: &[u8]) -> bool {
    let Some((response, body)) = response(input) else { return false };
    let (Ok(url), Ok(bearer)) = ("https://live.example/whip".parse(), Bearer::new(TOKEN)) else { return false };
    let endpoint = Endpoint { url, bearer: Some(bearer), trust: Trust::default() };
    match endpoint.read_answer(response) {
        Ok(Opened { answer, session: _, ice_servers }) => {
            assert!(ice_servers.len() <= 4 && answer.len() <= body);
            let sections = accepted::sections(&answer);
            assert!(sections.len() <= answer.lines().count());
            let candidate = "candidate:1 1 udp 1 192.0.2.1 9 typ host";
            let restarted = restart::restarted_answer(&answer, ("abcd", "secret"), std::iter::once(candidate));
            assert!(restarted.len() <= 3 * answer.len() + 100 && restarted.contains(candidate), "{restarted}");
            assert!(restart::fragment(&answer).len() <= 2 * answer.len() + 100);
            true
        }
        Err(error) => {
            let sentence = error.to_string();
            assert!(sentence.chars().count() <= MAX_SENTENCE && !sentence.contains(TOKEN), "{sentence}");
            assert!(!sentence.chars().any(char::is_control), "{sentence:?}");
            false
        }
    }
}

/// The response, and the number of bytes of its body.
fn response(input: &[u8]) -> Option<(Response<Bytes>, usize)> {
    let end = input.windows(2).position(|two| two == b"\n\n")?;
    let head = std::str::from_utf8(&input[..end]).ok()?;
    let mut lines = head.lines();
    let mut response = Response::builder().status(lines.next()?.trim());
    for line in lines {
        let (name, value) = line.split_once(':')?;
        response = response.header(name, value.trim());
    }
    let body = Bytes::copy_from_slice(&input[end + 2..]);
    let length = body.len();
    Some((response.body(body).ok()?, length))
}
