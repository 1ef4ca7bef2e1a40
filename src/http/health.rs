//! The endpoints of a monitoring system: `GET /healthz` and `GET /metrics`.
//!
//! `/healthz` is 200 with `ok`, or 503 while the process shuts down. `/metrics` is Prometheus' text format, made once a
//! second at the most, whatever the number of requests. The text names nobody.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use super::text_cache::TextCache;

/// Prometheus' text format.
const FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The state behind the endpoints.
#[derive(Clone)]
struct Subject {
    is_ending: Arc<dyn Fn() -> bool + Send + Sync>,
    metrics: Arc<dyn Fn() -> String + Send + Sync>,
    cache: Arc<Mutex<TextCache>>,
}

/// The routes; `is_ending` says whether the process shuts down, `metrics` makes the text.
pub fn health(
    is_ending: impl Fn() -> bool + Send + Sync + 'static,
    metrics: impl Fn() -> String + Send + Sync + 'static,
) -> Router {
    let cache = Arc::new(Mutex::new(TextCache::new(1, 1)));
    let subject = Subject { is_ending: Arc::new(is_ending), metrics: Arc::new(metrics), cache };
    Router::new().route("/healthz", get(healthz)).route("/metrics", get(metrics_text)).with_state(subject)
}

async fn healthz(State(subject): State<Subject>) -> Response {
    let (status, word) = if (subject.is_ending)() {
        (StatusCode::SERVICE_UNAVAILABLE, "the server is ending\n")
    } else {
        (StatusCode::OK, "ok\n")
    };
    (status, headers("text/plain; charset=utf-8"), word).into_response()
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
