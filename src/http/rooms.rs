//! `POST /api/rooms`: creates a named room for somebody who comes later.
//!
//! The answer to `{"name":"Linear algebra","kind":"lecture"}` is 201 with
//! `{"roomId":"48213","name":"Linear algebra","kind":"lecture"}`. Without `kind` the room is for a lecture. A refusal
//! has a `code` of [`ErrorCode`] and a `message`. The teaching key of the server stands in `Authorization: Bearer KEY`.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::to_bytes;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};

use super::ROOMS_PATH;
use crate::id::{RoomId, RoomName};
use crate::network::{ClientAddress, Rate, RateLimit};
use crate::protocol::{Credentials, ErrorCode, RoomKind};
use crate::room::RoomRefusal;

/// The largest body, in bytes; a name has 320 at most.
const MAX_BODY_BYTES: usize = 4_096;

/// Rooms that can be created: the burst is a staff room full of teachers.
const CREATIONS: Rate = Rate { per_second: 1, burst: 30, all_per_second: 10, all_burst: 100 };

/// Creates a room with this name and of this kind for a client.
type Create = Arc<
    dyn Fn(RoomName, RoomKind, Credentials, ClientAddress) -> BoxFuture<'static, Result<RoomId, RoomRefusal>>
        + Send
        + Sync,
>;

#[derive(Clone)]
struct Creation {
    create: Create,
    limit: Arc<Mutex<RateLimit>>,
}

#[derive(Deserialize)]
struct Wanted {
    name: String,
    #[serde(default)]
    kind: RoomKind,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Created {
    room_id: RoomId,
    name: RoomName,
    kind: RoomKind,
}

#[derive(Serialize)]
struct Refused {
    code: ErrorCode,
    message: String,
}

/// The secret of `Authorization: Bearer SECRET` (RFC 6750, 2.1).
pub(super) fn bearer(headers: &HeaderMap) -> Option<String> {
    let (scheme, secret) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    let secret = secret.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !secret.is_empty()).then(|| secret.to_owned())
}

/// The route that creates rooms by calling `create`.
pub fn creation<C, F>(create: C) -> Router
where
    C: Fn(RoomName, RoomKind, Credentials, ClientAddress) -> F + Send + Sync + 'static,
    F: Future<Output = Result<RoomId, RoomRefusal>> + Send + 'static,
{
    let create: Create = Arc::new(move |name, kind, credentials, from| create(name, kind, credentials, from).boxed());
    let creation = Creation { create, limit: Arc::new(Mutex::new(RateLimit::new(CREATIONS))) };
    Router::new().route(ROOMS_PATH, post(answer)).with_state(creation)
}

impl Creation {
    async fn create(
        &self,
        name: RoomName,
        kind: RoomKind,
        key: Option<String>,
        client: ClientAddress,
    ) -> Result<RoomId, RoomRefusal> {
        let taken = {
            let mut limit = self.limit.lock().unwrap_or_else(PoisonError::into_inner);
            limit.take(Instant::now(), client.network)
        };
        taken.map_err(|wait| RoomRefusal {
            code: ErrorCode::FloodedMessages,
            message: "too many rooms were created from your network, try again in a moment".into(),
            retry_after: Some(wait),
            kind,
        })?;
        (self.create)(name, kind, Credentials { key, ..Credentials::default() }, client).await
    }
}

async fn answer(State(creation): State<Creation>, request: Request) -> Response {
    let client = request.extensions().get().copied().unwrap_or_else(ClientAddress::unknown);
    let key = bearer(request.headers());
    let (name, kind) = match wanted(request).await {
        Ok(wanted) => wanted,
        Err((status, code, message)) => return json(status, &Refused { code, message }),
    };
    match creation.create(name.clone(), kind, key, client).await {
        Ok(room_id) => {
            let location = format!("/room/{room_id}");
            let mut response = json(StatusCode::CREATED, &Created { room_id, name, kind });
            insert(&mut response, header::LOCATION, &location);
            response
        }
        Err(RoomRefusal { code, message, retry_after, .. }) => {
            let status = match code {
                ErrorCode::FloodedMessages | ErrorCode::TooManyAttempts => StatusCode::TOO_MANY_REQUESTS,
                ErrorCode::TeachingKeyRequired => StatusCode::UNAUTHORIZED,
                ErrorCode::WrongKind => StatusCode::FORBIDDEN,
                _ => StatusCode::SERVICE_UNAVAILABLE,
            };
            let mut response = json(status, &Refused { code, message });
            if status == StatusCode::UNAUTHORIZED {
                insert(&mut response, header::WWW_AUTHENTICATE, "Bearer");
            }
            if let Some(wait) = retry_after {
                // Whole seconds, rounded up.
                let seconds = (wait + Duration::from_millis(999)).as_secs();
                insert(&mut response, header::RETRY_AFTER, &seconds.to_string());
            }
            response
        }
    }
}

/// The requested name and kind, or the refusal.
async fn wanted(request: Request) -> Result<(RoomName, RoomKind), (StatusCode, ErrorCode, String)> {
    let (parts, body) = request.into_parts();
    let text = |name| parts.headers.get(name).map(|value: &HeaderValue| value.to_str().unwrap_or_default());
    // A form on another site can't send this type without a CORS preflight.
    let media_type = text(header::CONTENT_TYPE).and_then(|value| value.split(';').next()).unwrap_or_default();
    if !media_type.trim().eq_ignore_ascii_case("application/json") {
        let message = "send application/json, as in {\"name\":\"Linear algebra\"}";
        return Err((StatusCode::UNSUPPORTED_MEDIA_TYPE, ErrorCode::BadRequest, message.into()));
    }
    let said = text(header::CONTENT_LENGTH).and_then(|length| length.parse::<u64>().ok());
    let too_large = said.is_some_and(|length| length > MAX_BODY_BYTES as u64);
    let body = if too_large { None } else { to_bytes(body, MAX_BODY_BYTES).await.ok() };
    let Some(body) = body else {
        let message = format!("the body has more than {MAX_BODY_BYTES} bytes, or broke off");
        return Err((StatusCode::PAYLOAD_TOO_LARGE, ErrorCode::MessageTooLarge, message));
    };
    let wanted: Wanted = serde_json::from_slice(&body).map_err(|error| {
        let message = format!("malformed body: {error}; send {{\"name\":\"Linear algebra\"}}");
        (StatusCode::BAD_REQUEST, ErrorCode::MalformedMessage, message)
    })?;
    let name = wanted.name.parse();
    name.map(|name| (name, wanted.kind))
        .map_err(|error: crate::id::NoName| (StatusCode::BAD_REQUEST, ErrorCode::BadRequest, error.to_string()))
}

fn json(status: StatusCode, body: &impl Serialize) -> Response {
    let headers = [
        (header::CONTENT_TYPE, "application/json"),
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    match serde_json::to_string(body) {
        Ok(json) => (status, headers, json).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// Digits and ids are valid header values.
fn insert(response: &mut Response, name: header::HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
}
