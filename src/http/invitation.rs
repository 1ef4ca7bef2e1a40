//! The invitation on a teacher's page: an address that other computers reach, and QR codes.
//!
//! - `GET /api/origin` the origin of this server for other computers, as text; a page at `localhost` needs that
//! - `POST /api/qr` the QR code of the text in the body, as SVG. A link may have the code of a room, and the URLs of
//!   requests appear in logs

use std::fmt::Write;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use axum::Router;
use axum::body::to_bytes;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use qrcode::{Color, EcLevel, QrCode};

use crate::network::{ClientAddress, Rate, RateLimit};

/// The longest text of a QR code, in bytes: a link with the longest host, room and code has 400.
const MAX_TEXT_BYTES: usize = 512;

/// The light modules around a QR code (ISO/IEC 18004).
const QUIET_ZONE: usize = 4;

/// QR codes: each takes about a millisecond, and a page asks for one when the link changes.
const CODES: Rate = Rate { per_second: 2, burst: 30, all_per_second: 20, all_burst: 200 };

/// The routes for a server that other computers reach by this origin.
pub fn invitation(origin: String) -> Router {
    let origin: Arc<str> = origin.into();
    let limit = Arc::new(Mutex::new(RateLimit::new(CODES)));
    let text = move || async move { ([(header::CACHE_CONTROL, "no-store")], origin.to_string()) };
    Router::new().route("/api/origin", get(text)).route("/api/qr", post(qr)).with_state(limit)
}

async fn qr(State(limit): State<Arc<Mutex<RateLimit>>>, request: Request) -> Response {
    let client = request.extensions().get().copied().unwrap_or_else(ClientAddress::unknown);
    let taken = limit.lock().unwrap_or_else(PoisonError::into_inner).take(Instant::now(), client.network);
    if taken.is_err() {
        return StatusCode::TOO_MANY_REQUESTS.into_response();
    }
    let Ok(text) = to_bytes(request.into_body(), MAX_TEXT_BYTES).await else {
        return StatusCode::PAYLOAD_TOO_LARGE.into_response();
    };
    match QrCode::with_error_correction_level(&text, EcLevel::M) {
        Ok(code) => ([(header::CONTENT_TYPE, "image/svg+xml")], svg(&code)).into_response(),
        Err(_) => StatusCode::PAYLOAD_TOO_LARGE.into_response(),
    }
}

/// The code as SVG, black on white whatever the scheme of the page: cameras read no inverted codes.
fn svg(code: &QrCode) -> String {
    let width = code.width();
    let side = width + 2 * QUIET_ZONE;
    let mut path = String::new();
    for (y, x) in (0..width).flat_map(|y| (0..width).map(move |x| (y, x))) {
        if code[(x, y)] == Color::Dark {
            // Writing to a string can't fail.
            let _ = write!(path, "M{} {}h1v1h-1z", x + QUIET_ZONE, y + QUIET_ZONE);
        }
    }
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {side} {side}\" shape-rendering=\"crispEdges\">\
         <path fill=\"#fff\" d=\"M0 0h{side}v{side}H0z\"/><path d=\"{path}\"/></svg>"
    )
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    async fn code_of(text: String) -> (StatusCode, String) {
        let response = qr(State(Arc::new(Mutex::new(RateLimit::new(CODES)))), Request::new(Body::from(text))).await;
        let status = response.status();
        let body = to_bytes(response.into_body(), 1 << 20).await.unwrap();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn a_qr_code_has_all_dark_modules_and_a_quiet_zone() {
        let link = "http://192.168.1.5:18080/room/10013#code=472913";
        let (status, svg) = code_of(link.into()).await;
        assert_eq!(status, StatusCode::OK);
        let code = QrCode::with_error_correction_level(link, EcLevel::M).unwrap();
        let dark = code.to_colors().iter().filter(|color| **color == Color::Dark).count();
        assert_eq!(svg.matches("h1v1h-1z").count(), dark);
        assert!(svg.contains(&format!("viewBox=\"0 0 {0} {0}\"", code.width() + 8)), "{svg:.100}");
        assert!(svg.contains("M4 4h1v1h-1z") && !svg.contains("M3 "), "the finder begins after the quiet zone");
    }

    #[tokio::test]
    async fn a_long_text_is_refused() {
        assert_eq!(code_of("x".repeat(MAX_TEXT_BYTES)).await.0, StatusCode::OK);
        assert_eq!(code_of("x".repeat(MAX_TEXT_BYTES + 1)).await.0, StatusCode::PAYLOAD_TOO_LARGE);
    }

    #[tokio::test]
    async fn a_flood_of_codes_is_refused() {
        let limit = Arc::new(Mutex::new(RateLimit::new(CODES)));
        let mut answers = Vec::new();
        // Twice the burst: on a busy machine, some places become free meanwhile.
        for _ in 0..2 * CODES.burst {
            answers.push(qr(State(limit.clone()), Request::new(Body::from("x"))).await.status());
        }
        assert_eq!((answers[0], answers.last().copied()), (StatusCode::OK, Some(StatusCode::TOO_MANY_REQUESTS)));
    }
}
