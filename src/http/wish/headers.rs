//! The HTTP headers of WHEP.

use std::fmt::Write;

use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::problem::Problem;
use crate::protocol::IceServer;

const SDP: &str = "application/sdp";
const SDP_FRAGMENT: &str = "application/trickle-ice-sdpfrag";
pub(super) const METHODS_OF_ENDPOINT: &str = "GET, HEAD, POST, OPTIONS";
pub(super) const METHODS_OF_SESSION: &str = "GET, HEAD, PATCH, DELETE, OPTIONS";
const ACCEPT_POST: HeaderName = HeaderName::from_static("accept-post");
const ACCEPT_PATCH: HeaderName = HeaderName::from_static("accept-patch");

/// The header that names what a resource accepts, and the media type in it.
pub(super) type Accepted = (HeaderName, &'static str);

/// The body of `POST` to the endpoint.
pub(super) const ACCEPTED_BY_ENDPOINT: Accepted = (ACCEPT_POST, SDP);

/// The body of `PATCH` to a session.
pub(super) const ACCEPTED_BY_SESSION: Accepted = (ACCEPT_PATCH, SDP_FRAGMENT);

/// A `Link` for each ICE server (RFC 9725, 4.6), except those whose name or password is not valid in a header.
pub(super) fn links(servers: &[IceServer]) -> Vec<HeaderValue> {
    let link = |url: &String, server: &IceServer| {
        let mut link = format!("<{url}>; rel=\"ice-server\"");
        if let (Some(username), Some(credential)) = (&server.username, &server.credential) {
            let (username, credential) = (quoted(username), quoted(credential));
            _ = write!(link, "; username={username}; credential={credential}; credential-type=\"password\"");
        }
        HeaderValue::from_str(&link).ok()
    };
    servers.iter().flat_map(|server| server.urls.iter().filter_map(move |url| link(url, server))).collect()
}

/// A quoted-string (RFC 9110, 5.6.4).
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// Lets pages of this other origin read the response. Cookies are not involved.
pub(super) fn allow_origin(headers: &mut HeaderMap, origin: HeaderValue) {
    let exposed = "location, etag, link, accept-patch, retry-after, www-authenticate";
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(exposed));
}

/// The headers of all responses: they differ by origin, and none may be stored.
pub(super) fn common(headers: &mut HeaderMap) {
    headers.insert(header::VARY, HeaderValue::from_static("origin"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
}

pub(super) fn options_of_endpoint(is_preflight: bool) -> Response {
    options(METHODS_OF_ENDPOINT, ACCEPTED_BY_ENDPOINT, is_preflight)
}

pub(super) fn options_of_session(is_preflight: bool) -> Response {
    options(METHODS_OF_SESSION, ACCEPTED_BY_SESSION, is_preflight)
}

/// `is_preflight`: a page of an origin that may play asks what it may send.
fn options(allowed: &'static str, accepted: Accepted, is_preflight: bool) -> Response {
    let mut response = (StatusCode::OK, [(header::ALLOW, allowed), accepted]).into_response();
    if is_preflight {
        let cors = [
            (header::ACCESS_CONTROL_ALLOW_METHODS, allowed),
            (header::ACCESS_CONTROL_ALLOW_HEADERS, "content-type, if-match, authorization"),
            (header::ACCESS_CONTROL_MAX_AGE, "7200"),
        ];
        response.headers_mut().extend(cors.map(|(name, value)| (name, HeaderValue::from_static(value))));
    }
    response
}

/// The headers of a 201.
pub(super) fn created(headers: &mut HeaderMap, location: &str, etag: &str, links: &[HeaderValue]) {
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(SDP));
    headers.insert(ACCEPT_PATCH, HeaderValue::from_static(SDP_FRAGMENT));
    // Both consist of letters, digits and a few signs.
    let made = [(header::LOCATION, location), (header::ETAG, etag)];
    headers.extend(made.into_iter().filter_map(|(name, value)| Some((name, value.parse().ok()?))));
    for link in links {
        headers.append(header::LINK, link.clone());
    }
}

/// The headers of a 200 after a restart of ICE.
pub(super) fn restarted(headers: &mut HeaderMap, etag: &str) {
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(SDP_FRAGMENT));
    headers.extend(etag.parse().ok().map(|etag| (header::ETAG, etag)));
}

/// Checks the media type of the body, without its parameters.
pub(super) fn expect_type(headers: &HeaderMap, accepted: Accepted) -> Result<(), Problem> {
    let given = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let given = given.split(';').next().unwrap_or_default().trim();
    if given.eq_ignore_ascii_case(accepted.1) { Ok(()) } else { Err(Problem::media_type(accepted)) }
}

/// Checks that `If-Match` names this entity tag, by strong comparison (RFC 9110, 13.1.1). An asterisk matches any tag,
/// also in quotes, because the draft's own example quotes it.
pub(super) fn check_match(headers: &HeaderMap, etag: &str) -> Result<(), Problem> {
    let mut given = headers.get_all(header::IF_MATCH).iter().peekable();
    if given.peek().is_none() {
        return Err(Problem::no_match_given());
    }
    let mut tags = given.filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
    if tags.any(|tag| matches!(tag.trim(), "*" | "\"*\"") || tag.trim() == etag) {
        Ok(())
    } else {
        Err(Problem::no_match())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_become_links() {
        let server = |url: &str, login: Option<(&str, &str)>| IceServer {
            urls: vec![url.into()],
            username: login.map(|(name, _)| name.into()),
            credential: login.map(|(_, password)| password.into()),
        };
        let links = links(&[
            server("stun:a:3478", None),
            server("turn:a:3478?transport=udp", Some(("me", "p\"\\w"))),
            server("turn:b:1", Some(("me", "\n"))),
        ]);
        assert_eq!(links.len(), 2);
        assert_eq!(links[0], "<stun:a:3478>; rel=\"ice-server\"");
        let turn = "<turn:a:3478?transport=udp>; rel=\"ice-server\"; username=\"me\"; credential=\"p\\\"\\\\w\"; \
                    credential-type=\"password\"";
        assert_eq!(links[1], turn);
    }

    #[test]
    fn a_precondition_is_a_strong_match() {
        let check = |values: &[&str]| {
            let headers = values.iter().map(|value| (header::IF_MATCH, value.parse().unwrap())).collect();
            check_match(&headers, "\"a\"").is_ok()
        };
        assert!(
            check(&["\"a\""])
                && check(&["*"])
                && check(&["\"*\""])
                && check(&["\"b\", \"a\""])
                && check(&["\"b\"", "\"a\""])
        );
        assert!(!check(&[]) && !check(&["\"b\""]) && !check(&["W/\"a\""]) && !check(&["a"]) && !check(&[""]));
    }
}
