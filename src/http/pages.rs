//! The pages and their headers. The HTML is fixed: the page's script fetches who is in which room and shows that as
//! text, so no page contains other people's words.

use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::Response;

use super::assets;

/// The browser features that the page needs, and no others. Camera, microphone and screen are for those who teach, whom
/// the browser asks first; all pages are one document, which a service worker may have cached.
const PERMISSIONS: &str = "fullscreen=(self), picture-in-picture=(self), camera=(self), microphone=(self), \
    display-capture=(self), screen-wake-lock=(self), geolocation=(), usb=(), serial=(), hid=(), midi=(), payment=(), \
    idle-detection=()";

const HEADERS: [(HeaderName, HeaderValue); 4] = [
    (header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
    (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    (HeaderName::from_static("permissions-policy"), HeaderValue::from_static(PERMISSIONS)),
];

/// The page, for the list of rooms and for one room.
pub(super) fn page(request: &HeaderMap) -> Response {
    html(StatusCode::OK, &assets::PAGE, request)
}

/// The page of a 404.
pub(super) fn not_found(request: &HeaderMap) -> Response {
    html(StatusCode::NOT_FOUND, &assets::NOT_FOUND, request)
}

/// A page with the headers of all pages.
pub(super) fn html(status: StatusCode, file: &assets::File, request: &HeaderMap) -> Response {
    let mut response = file.respond(request);
    *response.status_mut() = status;
    response.headers_mut().extend(HEADERS);
    if let Ok(policy) = HeaderValue::from_str(&content_security_policy(request)) {
        response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    response
}

/// The page may run its own script, show the lecture, and connect to the host that it came from.
fn content_security_policy(request: &HeaderMap) -> String {
    // `'self'` includes the WebSocket, but older Safaris need its URL.
    let sockets = host(request).map(|host| format!(" ws://{host} wss://{host}")).unwrap_or_default();
    format!(
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
         media-src 'self' blob: mediastream:; connect-src 'self'{sockets}; base-uri 'none'; form-action 'none'; \
         frame-ancestors 'none'"
    )
}

/// The host name in the request, if a policy can contain it: the syntax has no IPv6 addresses.
fn host(request: &HeaderMap) -> Option<&str> {
    let host = request.get(header::HOST).and_then(|host| host.to_str().ok())?;
    let is_host = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':');
    (!host.is_empty() && host.len() <= 255 && host.chars().all(is_host)).then_some(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(host: &str) -> HeaderMap {
        HeaderMap::from_iter([(header::HOST, host.parse().unwrap())])
    }

    #[test]
    fn an_invalid_host_is_not_in_the_policy() {
        assert_eq!(host(&from("lab-3:18080")), Some("lab-3:18080"));
        for bad in ["", "x;script-src *", "a b", "[::1]:18080", "x,y", "'unsafe-inline'"] {
            assert_eq!(host(&from(bad)), None, "{bad}");
        }
        let policy = content_security_policy(&from("lab:18080"));
        assert!(policy.contains("connect-src 'self' ws://lab:18080 wss://lab:18080; base-uri"), "{policy}");
        assert!(!policy.contains("unsafe") && !policy.contains('*'), "{policy}");
    }

    #[test]
    fn every_page_has_its_security_headers() {
        for (response, status) in [(page(&from("lab")), 200), (not_found(&from("a b")), 404)] {
            assert_eq!(response.status(), status);
            let header = |name: &str| response.headers()[name].to_str().unwrap();
            assert!(header("content-security-policy").starts_with("default-src 'none'; script-src 'self';"));
            let permissions = header("permissions-policy");
            assert!(permissions.contains("camera=(self)") && permissions.contains("geolocation=()"), "{permissions}");
            assert_eq!(header("x-content-type-options"), "nosniff");
            assert_eq!(header("cache-control"), "no-store");
            assert_eq!(header("content-type"), "text/html; charset=utf-8");
        }
    }

    #[test]
    fn without_scripts_the_page_names_the_command_to_type() {
        let index = include_str!("page/index.html");
        let noscript = index.split("<noscript>").nth(1).unwrap().split("</noscript>").next().unwrap();
        assert!(noscript.contains("classroom watch --room"), "{noscript}");
    }
}
