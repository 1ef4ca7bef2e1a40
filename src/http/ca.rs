//! The certificate of the server's own CA, for users to install.
//!
//! - `GET /ca` the certificate in PEM
//! - `GET /ca/help` how to install it, and its fingerprint to compare
//!
//! Both are served by plain HTTP too, because a browser warns of HTTPS until the certificate is installed. Somebody in
//! the network may replace what is sent by plain HTTP, so the page shows the fingerprint that the teacher's screen
//! shows.

use std::sync::Arc;

use axum::Router;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use bytes::Bytes;

use super::{assets, pages};

/// The path of the page about the certificate.
pub(super) const HELP_PATH: &str = "/ca/help";

/// The routes for this certificate in PEM and its SHA-256 fingerprint.
pub(super) fn router(pem: &str, fingerprint: &str) -> Router {
    let pem = Bytes::copy_from_slice(pem.as_bytes());
    let page = include_str!("page/ca.html").replace("{{fingerprint}}", fingerprint);
    let page = Arc::new(assets::File::html(&page));
    // Firefox, iOS and Android offer to install a certificate of this type that is not an attachment.
    let headers = [
        (header::CONTENT_TYPE, "application/x-x509-ca-cert"),
        (header::CONTENT_DISPOSITION, "inline; filename=\"classroom-ca.crt\""),
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    let certificate = move || async move { (headers, pem).into_response() };
    let help = move |headers: HeaderMap| async move { pages::html(StatusCode::OK, &page, &headers) };
    Router::new().route("/ca", get(certificate)).route(HELP_PATH, get(help))
}
