//! What a browser sees on the server's port: who teaches where, as a page for people and as JSON for programs.
//!
//! - `GET /` all rooms
//! - `GET /room/{id}` one room
//! - `GET /api/rooms` the [`RoomSummary`] list as JSON; [`client::rooms`] reads it
//! - `/whep/{room}` players; its routes are made by [`whep::router`]
//! - `POST /api/rooms` a new room with a name, see [`creation`]
//!
//! The rooms come from a function, so that this knows nothing of signalling; the command that serves both hangs the
//! WebSocket's route beside these. [`bind`] makes a listening socket, [`serve()`] takes it and keeps clients within
//! [`Limits`].

pub mod client;
mod pages;
mod rooms;
mod serve;
pub mod whep;

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;

use crate::id::RoomId;
use crate::room::RoomSummary;
pub use rooms::creation;
pub use serve::{Limits, bind, serve};

/// Where the rooms' JSON is.
const ROOMS_PATH: &str = "/api/rooms";

type Rooms = Arc<dyn Fn() -> Vec<RoomSummary> + Send + Sync>;

/// The pages; `rooms` is asked on each request.
pub fn router(rooms: impl Fn() -> Vec<RoomSummary> + Send + Sync + 'static) -> Router {
    let rooms: Rooms = Arc::new(rooms);
    Router::new()
        .route("/", get(index))
        .route("/room/{id}", get(room))
        .route(ROOMS_PATH, get(rooms_json))
        .fallback(not_found)
        .with_state(rooms)
}

async fn index(State(rooms): State<Rooms>, headers: HeaderMap) -> Response {
    page(StatusCode::OK, pages::index(&rooms(), host(&headers)))
}

async fn room(State(rooms): State<Rooms>, Path(id): Path<String>, headers: HeaderMap) -> Response {
    let Ok(id) = id.parse::<RoomId>() else { return not_found().await };
    let summary = rooms().into_iter().find(|room| room.room_id == id);
    // A room is there as soon as somebody comes in, so one that is not there yet has a page too.
    page(StatusCode::OK, pages::room(&id, summary.as_ref(), host(&headers)))
}

async fn rooms_json(State(rooms): State<Rooms>) -> Response {
    let headers = [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-store")];
    match serde_json::to_string(&rooms()) {
        Ok(json) => (headers, json).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

async fn not_found() -> Response {
    page(StatusCode::NOT_FOUND, pages::not_found())
}

/// The pages load nothing and run nothing, and the browser is told so.
fn page(status: StatusCode, html: String) -> Response {
    const HEADERS: [(HeaderName, HeaderValue); 5] = [
        (
            header::CONTENT_SECURITY_POLICY,
            HeaderValue::from_static(
                "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
            ),
        ),
        (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        (header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
        (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    (status, HEADERS, Html(html)).into_response()
}

/// The name under which the browser found us is the one that works for its machine.
fn host(headers: &HeaderMap) -> &str {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    // It is shown in a command to copy: nothing that a shell would read as more than a word.
    let is_host = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '[' | ']');
    if !host.is_empty() && host.len() <= 255 && host.chars().all(is_host) { host } else { "HOST:18080" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_that_is_no_host_is_not_shown() {
        let shown = |host: &str| super::host(&HeaderMap::from_iter([(header::HOST, host.parse().unwrap())])).to_owned();
        assert_eq!(shown("lab-3:18080"), "lab-3:18080");
        assert_eq!(shown("[::1]:18080"), "[::1]:18080");
        assert_eq!(shown("x;reboot"), "HOST:18080");
    }
}
