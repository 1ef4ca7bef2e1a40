//! The endpoints of a monitoring system: `GET /healthz`, `GET /readyz` and `GET /metrics`.
//!
//! `/healthz` is 200 with `ok`, or 503 while the process shuts down. `/readyz` is 200 while the process takes new
//! members; a load balancer sends them elsewhere otherwise. `/metrics` is Prometheus' text format, made once a
//! second at the most, whatever the number of requests. The text names nobody.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use super::text_cache::TextCache;

/// The path of the health of a server.
pub(super) const HEALTH_PATH: &str = "/healthz";

/// Prometheus' text format.
const FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The state behind the endpoints.
#[derive(Clone)]
struct Subject {
    health: Arc<dyn Fn() -> Health + Send + Sync>,
    metrics: Arc<dyn Fn() -> String + Send + Sync>,
    cache: Arc<Mutex<TextCache>>,
}

/// The state of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    /// It takes new members.
    Ready,
    /// It has been without Redis for long: members stay, and new ones should go elsewhere.
    Alone,
    /// It sends its members elsewhere.
    Draining,
    /// It shuts down.
    Ending,
}

/// The routes; `health` tells the state of the process, `metrics` makes the text.
pub fn health(
    health: impl Fn() -> Health + Send + Sync + 'static,
    metrics: impl Fn() -> String + Send + Sync + 'static,
) -> Router {
    let cache = Arc::new(Mutex::new(TextCache::new(1, 1)));
    let subject = Subject { health: Arc::new(health), metrics: Arc::new(metrics), cache };
    Router::new()
        .route(HEALTH_PATH, get(healthz))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics_text))
        .with_state(subject)
}

async fn healthz(State(subject): State<Subject>) -> Response {
    answer(match (subject.health)() {
        Health::Ready | Health::Alone | Health::Draining => Ok(()),
        Health::Ending => Err("the server is ending"),
    })
}

async fn readyz(State(subject): State<Subject>) -> Response {
    answer(match (subject.health)() {
        Health::Ready => Ok(()),
        Health::Alone => Err("the server can't reach Redis"),
        Health::Draining | Health::Ending => Err("the server is ending"),
    })
}

fn answer(state: Result<(), &str>) -> Response {
    let (status, words) = match state {
        Ok(()) => (StatusCode::OK, "ok"),
        Err(why) => (StatusCode::SERVICE_UNAVAILABLE, why),
    };
    (status, headers("text/plain; charset=utf-8"), format!("{words}\n")).into_response()
}

async fn metrics_text(State(subject): State<Subject>) -> Response {
    let text = {
        // Concurrent requests wait for this text and do not make another.
        let mut cache = subject.cache.lock().unwrap_or_else(PoisonError::into_inner);
        cache.get(Instant::now(), || (subject.metrics)())
    };
    (headers(FORMAT), text).into_response()
}

fn headers(media_type: &'static str) -> [(header::HeaderName, &'static str); 3] {
    [
        (header::CONTENT_TYPE, media_type),
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ]
}
