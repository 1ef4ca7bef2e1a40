//! HTTP on the server's port: the page, the rooms as JSON for programs, and WHEP.
//!
//! - `GET /` the page, with all rooms
//! - `GET /room/{id}` the page, in a room
//! - `GET /assets/{hash}/{file}` the page's files, `GET /worker.js` its service worker
//! - `GET /api/ping` 204: a page asks whether the server answers
//! - `GET /api/rooms` the [`RoomSummary`] list as JSON; [`client::rooms`] reads it
//! - `/whep/{room}` players, see [`whep::router`]
//! - `POST /api/rooms` creates a room with a name, see [`creation`]
//! - `GET /healthz`, `GET /metrics` for a monitoring system, see [`health()`]
//! - `GET /ca`, `GET /ca/help` the certificate to install, if the server has a CA of its own
//!
//! A function supplies the rooms, so this module does not depend on signalling; the command that serves both adds the
//! route of the WebSocket. [`bind`] makes a listening socket, [`serve()`] serves a [`Port`] on it, by HTTP alone or by
//! HTTPS as well, within [`ConnectionLimits`].

mod assets;
mod ca;
pub mod client;
mod health;
mod pages;
mod rooms;
mod secure;
mod serve;
pub mod whep;

use std::sync::Arc;

use axum::Router;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use crate::id::RoomId;
use crate::room::RoomSummary;
pub use health::health;
pub use rooms::creation;
pub use secure::Port;
pub use serve::{ConnectionLimits, bind, serve};

/// The path of the rooms.
const ROOMS_PATH: &str = "/api/rooms";

type Rooms = Arc<dyn Fn() -> Vec<RoomSummary> + Send + Sync>;

/// The pages. Each request for the list calls `rooms`.
pub fn router(rooms: impl Fn() -> Vec<RoomSummary> + Send + Sync + 'static) -> Router {
    let rooms: Rooms = Arc::new(rooms);
    assets::prepare();
    Router::new()
        .route("/", get(index))
        .route("/room/{id}", get(room))
        .route("/assets/{hash}/{file}", get(asset))
        .route("/worker.js", get(worker))
        .route("/api/ping", get(nothing))
        .route("/favicon.ico", get(nothing))
        .route(ROOMS_PATH, get(rooms_json))
        .fallback(not_found)
        .with_state(rooms)
}

async fn index(headers: HeaderMap) -> Response {
    pages::page(&headers)
}

/// A room exists once somebody joins it, so a room that does not exist yet has a page too.
async fn room(id: Result<Path<RoomId>, PathRejection>, headers: HeaderMap) -> Response {
    match id {
        Ok(_) => pages::page(&headers),
        Err(_) => pages::not_found(&headers),
    }
}

async fn asset(Path((hash, file)): Path<(String, String)>, headers: HeaderMap) -> Response {
    assets::asset(&hash, &file, &headers)
}

async fn worker(headers: HeaderMap) -> Response {
    assets::worker(&headers)
}

/// For a page that checks whether a path works again. Also in place of an icon: browsers request one for documents that
/// name none, such as the JSON.
async fn nothing() -> StatusCode {
    StatusCode::NO_CONTENT
}

async fn rooms_json(State(rooms): State<Rooms>) -> Response {
    let headers = [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-store")];
    match serde_json::to_string(&rooms()) {
        Ok(json) => (headers, json).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

async fn not_found(headers: HeaderMap) -> Response {
    pages::not_found(&headers)
}
