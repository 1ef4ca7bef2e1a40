//! The endpoints of a monitoring system: `GET /healthz` and `GET /metrics`.
//!
//! `/healthz` is 200 with `ok`, or 503 while the process shuts down. `/metrics` is Prometheus' text format, made once a
//! second at the most, whatever the number of requests.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

/// How long a text is reused.
const FRESH: Duration = Duration::from_secs(1);

/// Prometheus' text format.
const FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The state behind the endpoints.
#[derive(Clone)]
struct Subject {
    is_ending: Arc<dyn Fn() -> bool + Send + Sync>,
    metrics: Arc<dyn Fn() -> String + Send + Sync>,
    cache: Arc<Mutex<Cache>>,
}

/// The routes; `is_ending` says whether the process shuts down, `metrics` makes the text.
pub fn health(
    is_ending: impl Fn() -> bool + Send + Sync + 'static,
    metrics: impl Fn() -> String + Send + Sync + 'static,
) -> Router {
    let subject = Subject { is_ending: Arc::new(is_ending), metrics: Arc::new(metrics), cache: Arc::default() };
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

/// The latest text.
#[derive(Debug, Default)]
struct Cache(Option<(Instant, Bytes)>);

impl Cache {
    fn get(&mut self, now: Instant, make: impl FnOnce() -> String) -> Bytes {
        match &self.0 {
            Some((made, text)) if now.saturating_duration_since(*made) < FRESH => text.clone(),
            _ => {
                let text = Bytes::from(make());
                self.0 = Some((now, text.clone()));
                text
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_makes_one_text_a_second() {
        let start = Instant::now();
        let mut cache = Cache::default();
        let mut made = 0;
        for request in 0..5_000u64 {
            // 5,000 requests in two and a half seconds.
            let text = cache.get(start + Duration::from_micros(500 * request), || {
                made += 1;
                format!("text {made}")
            });
            assert_eq!(text, format!("text {made}"));
        }
        assert_eq!(made, 3);
    }
}
