//! Why a WHIP server does not take an offer, in sentences.

use std::fmt;
use std::time::Duration;

use hyper::body::Bytes;
use hyper::{Response, StatusCode, header};

use super::has_type;
use crate::tls::TlsError;

/// The most characters of a server's own text.
const MAX_TEXT: usize = 200;

/// A secret that is shorter may be part of any word.
const MIN_SECRET_BYTES: usize = 4;

/// The longest wait that a server can ask for.
const LONGEST_WAIT: Duration = Duration::from_secs(600);

/// Why an offer is not accepted. Each is a sentence about "it", the server.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WhipError {
    /// Nothing answered, or the connection broke off.
    #[error("it can't be reached: {0}")]
    Unreachable(String),
    /// No answer in time.
    #[error("it did not answer within {} s", .0.as_secs())]
    Slow(Duration),
    /// There is no secure connection.
    #[error("there is no secure connection: {0}")]
    Tls(TlsError),
    /// The server refused.
    #[error("{0}")]
    Refused(Refusal),
    /// The answer is not that of a WHIP server.
    #[error("it is not a WHIP server: {0}")]
    Answer(&'static str),
}

impl WhipError {
    /// Whether another offer would get the same answer until somebody changes the URL, the token or the server.
    pub fn is_final(&self) -> bool {
        match self {
            Self::Refused(refusal) => refusal.is_final(),
            Self::Tls(error) => !error.may_change(),
            Self::Answer(_) => true,
            Self::Unreachable(_) | Self::Slow(_) => false,
        }
    }

    /// Whether the server has nothing at this URL, which may be so only at present.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Refused(refusal) if refusal.status == StatusCode::NOT_FOUND)
    }

    /// The time for which the server wants no other offer.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Refused(refusal) => refusal.retry_after,
            _ => None,
        }
    }
}

/// A server's refusal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    status: StatusCode,
    /// The server's own words, one line.
    text: String,
    retry_after: Option<Duration>,
    /// The server to which a redirect led, which did not get the token.
    without_token: Option<String>,
}

impl Refusal {
    /// `secrets` are replaced in the server's words.
    pub(super) fn of(response: &Response<Bytes>, secrets: &[&str], without_token: Option<String>) -> Self {
        let headers = response.headers();
        let seconds = headers.get(header::RETRY_AFTER).and_then(|value| value.to_str().ok()?.trim().parse().ok());
        let retry_after = seconds.map(|seconds| Duration::from_secs(seconds).min(LONGEST_WAIT));
        let text = if has_type(headers, "text/html") { String::new() } else { words(response.body()) };
        let secrets = secrets.iter().filter(|secret| secret.len() >= MIN_SECRET_BYTES);
        let text = secrets.fold(text, |text, secret| text.replace(secret, "..."));
        Self { status: response.status(), text: one_line(&text), retry_after, without_token }
    }

    fn is_final(&self) -> bool {
        matches!(self.status.as_u16(), 300..=399 | 400 | 401 | 403..=406 | 410 | 413..=415 | 422 | 501 | 505)
            || self.status.is_success()
    }
}

/// The message in a JSON body, or the body.
fn words(body: &[u8]) -> String {
    let json = serde_json::from_slice::<serde_json::Value>(body).ok();
    let named = |name: &str| Some(json.as_ref()?.get(name)?.as_str()?.to_owned());
    let message = named("message").or_else(|| named("error")).or_else(|| named("detail"));
    message.unwrap_or_else(|| String::from_utf8_lossy(body).into_owned())
}

/// The first [`MAX_TEXT`] printable characters, without line breaks.
fn one_line(text: &str) -> String {
    let words: Vec<&str> =
        text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|w| !w.is_empty()).collect();
    let printable = words.join(" ");
    let printable = printable.chars().filter(|c| !matches!(*c, '\u{200e}'..='\u{200f}' | '\u{202a}'..='\u{202e}'));
    printable.filter(|c| !matches!(*c, '\u{2066}'..='\u{2069}' | '\u{fffd}')).take(MAX_TEXT).collect()
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = self.status.as_u16();
        match number {
            401 | 403 => write!(f, "it does not accept the token ({number})")?,
            404 | 410 => write!(f, "it has no such endpoint ({number})")?,
            406 | 415 | 422 => write!(f, "it does not take this media ({number})")?,
            409 => write!(f, "somebody else publishes there ({number})")?,
            429 | 503 => write!(f, "it takes no more at present ({number})")?,
            _ => write!(f, "it refused with {}", self.status)?,
        }
        if !self.text.is_empty() {
            write!(f, ": {}", self.text)?;
        }
        match &self.without_token {
            Some(other) if matches!(number, 401 | 403) => {
                write!(f, "; it redirects to {other}, which does not get the token: give the URL there")
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(status: u16, headers: &[(&str, &str)], body: &str) -> Refusal {
        let mut response = Response::builder().status(status);
        for (name, value) in headers {
            response = response.header(*name, *value);
        }
        let response = response.body(Bytes::copy_from_slice(body.as_bytes())).unwrap();
        Refusal::of(&response, &["tok-1234", "/secret/whip", ""], None)
    }

    #[test]
    fn the_servers_words_are_short_and_show_no_secret() {
        let json = refusal(401, &[], r#"{"status":"error","error":"bad token tok-1234 for /secret/whip"}"#);
        assert_eq!(json.to_string(), "it does not accept the token (401): bad token ... for ...");
        let text = refusal(503, &[], "busy\r\n\u{1b}[31mred\u{202e}x\0");
        assert_eq!(text.to_string(), "it takes no more at present (503): busy [31mredx");
        assert_eq!(refusal(500, &[], &"x".repeat(10_000)).text.len(), MAX_TEXT);
        let page = refusal(404, &[("Content-Type", "text/html; charset=utf-8")], "<html>");
        assert_eq!(page.to_string(), "it has no such endpoint (404)");
    }

    #[test]
    fn a_server_asks_for_a_bounded_wait() {
        let wait = |value: &str| refusal(503, &[("Retry-After", value)], "").retry_after;
        assert_eq!(wait("5"), Some(Duration::from_secs(5)));
        assert_eq!(wait("18446744073709551615"), Some(LONGEST_WAIT));
        assert_eq!((wait("-1"), wait("Fri, 31 Dec 1999 23:59:59 GMT")), (None, None));
    }

    #[test]
    fn some_refusals_are_final() {
        let is_final = |status| refusal(status, &[], "").is_final();
        assert!([400, 401, 403, 404, 405, 406, 415, 422, 301, 200].into_iter().all(is_final));
        assert!(![408, 409, 429, 500, 502, 503, 504].into_iter().any(is_final));
    }
}
