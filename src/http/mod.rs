//! HTTP on the server's port: the page, the rooms as JSON for programs, WHEP and WHIP.
//!
//! - `GET /` the page, with all rooms
//! - `GET /room/{id}` the page, in a room
//! - `GET /assets/{hash}/{file}` the page's files, `GET /worker.js` its service worker
//! - `GET /api/ping` 204: a page asks whether the server answers
//! - `GET /api/rooms` the [`RoomSummary`] list as JSON; [`client::rooms`] reads it
//! - `/whep/{room}` players, see [`whep::router`]
//! - `/whip/{room}` publishers, see [`whip::router`]
//! - `POST /api/rooms` creates a room with a name, see [`creation`]
//! - `/api/files/{room}/{file}` the files of meetings, see [`files()`]
//! - `GET /healthz`, `GET /readyz`, `GET /metrics` for a monitoring system, see [`health()`]
//! - `GET /api/origin`, `POST /api/qr` for a teacher's page, see [`invitation()`]
//! - `GET /ca`, `GET /ca/help` the certificate to install, if the server has a CA of its own
//!
//! A function supplies the rooms, so this module does not depend on signalling; the command that serves both adds the
//! route of the WebSocket. [`bind`] makes a listening socket, [`serve()`] serves a [`Port`] on it, by HTTP or by HTTP
//! and HTTPS, within [`ConnectionLimits`], and [`guard()`] checks each request before the routes.

mod asset_files;
mod assets;
mod ca;
pub mod client;
mod connections;
mod exchange;
pub mod file_client;
mod files;
mod forwarded;
mod guard;
mod health;
mod invitation;
mod origin;
mod otlp;
mod pages;
mod rooms;
mod secure;
mod serve;
mod streams;
mod text_cache;
pub mod whep;
pub mod whip;
pub mod whip_client;
mod wish;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use axum::Router;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use crate::id::RoomId;
use crate::room::{RoomState, RoomSummary};
pub use ca::certificate;
pub use files::{Files, files};
pub use guard::{Site, guard};
pub use health::{Health, health};
pub use invitation::invitation;
pub use origin::{Host, Origin, OriginError, WhepOrigin};
pub use otlp::{OtlpEndpoint, OtlpUrlError};
pub use rooms::creation;
pub use secure::Port;
pub use serve::{ConnectionLimits, bind, serve};
pub use streams::{StunHandler, StunStream};
use text_cache::TextCache;
pub use wish::client::Client as MediaClient;
pub use wish::problem::Unavailable;
pub use wish::sessions::MAX_CANDIDATES;
pub use wish::{IceRestart, Negotiated};

/// The path of the rooms.
const ROOMS_PATH: &str = "/api/rooms";

/// The most rooms in a list: more than a person reads, and less than a flood of rooms needs to hide the lectures.
const MAX_LISTED_ROOMS: usize = 1_000;

/// Lists of rooms per second, and in a burst. More requests get the latest list.
const LISTS: (u32, u32) = (20, 40);

/// Makes the list of rooms.
#[derive(Clone)]
struct Rooms {
    all: Arc<dyn Fn() -> Vec<RoomSummary> + Send + Sync>,
    json: Arc<Mutex<TextCache>>,
}

/// The pages. A request for the list calls `rooms`, unless there are very many requests.
pub fn router(rooms: impl Fn() -> Vec<RoomSummary> + Send + Sync + 'static) -> Router {
    let rooms = Rooms { all: Arc::new(rooms), json: Arc::new(Mutex::new(TextCache::new(LISTS.0, LISTS.1))) };
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
    let json = {
        // Concurrent requests wait for this list and do not make another.
        let mut json = rooms.json.lock().unwrap_or_else(PoisonError::into_inner);
        // Names and numbers always have a JSON form.
        json.get(Instant::now(), || serde_json::to_string(&listed((rooms.all)())).unwrap_or_default())
    };
    (headers, json).into_response()
}

/// At most [`MAX_LISTED_ROOMS`], in their order: those with a teacher before those that wait for one, and those that
/// are over last.
fn listed(mut rooms: Vec<RoomSummary>) -> Vec<RoomSummary> {
    if rooms.len() > MAX_LISTED_ROOMS {
        let rank = |room: &RoomSummary| match room.state {
            RoomState::Live => 0,
            RoomState::Waiting => 1,
            RoomState::Ended => 2,
        };
        rooms.sort_by_key(rank);
        rooms.truncate(MAX_LISTED_ROOMS);
        rooms.sort_by(|one, other| one.room_id.cmp(&other.room_id));
    }
    rooms
}

async fn not_found(headers: HeaderMap) -> Response {
    pages::not_found(&headers)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::RoomKind;

    #[test]
    fn lectures_stay_on_the_list_when_strangers_open_thousands_of_rooms() {
        let room = |n: u32, state| RoomSummary {
            room_id: n.to_string().parse().unwrap(),
            name: None,
            kind: RoomKind::Lecture,
            owner: None,
            participants: 0,
            breakouts: Vec::new(),
            publisher: None,
            media: None,
            watching: 0,
            speakers: 0,
            state,
            open_s: 0,
            live_s: None,
            ended_s: None,
            has_code: false,
            has_lobby: false,
            is_locked: false,
        };
        let mut rooms: Vec<_> = (10_000..14_000).map(|n| room(n, RoomState::Waiting)).collect();
        rooms.extend((90_000..90_050).map(|n| room(n, RoomState::Live)));
        let list = listed(rooms);
        assert_eq!(list.len(), MAX_LISTED_ROOMS);
        assert_eq!(list.iter().filter(|room| room.state == RoomState::Live).count(), 50);
        assert!(list.is_sorted_by(|one, other| one.room_id < other.room_id));
    }
}
