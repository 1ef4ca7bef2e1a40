//! The files of meetings whose media the server carries.
//!
//! `/api/files/{room}/{file}?userId={user}`, with the number that signalling has told. `Authorization: Bearer SESSION`
//! has the secret of the member's own connection: who is put out, or leaves the meeting, can't fetch anything any more,
//! and no URL has a secret.
//!
//! - `HEAD` says how much is there: `Upload-Offset`.
//! - `PATCH` adds a part of [`FILE_PART_BYTES`] at `Upload-Offset`, or the rest of the file. 204 has the next
//!   `Upload-Offset`; 409 has the right one, for a sender whose connection broke.
//! - `GET` sends the file, or what one `Range` asks for.
//!
//! A file is sent as `application/octet-stream` to be saved, so that no browser shows it or runs it. Each file takes
//! one part at a time, which bounds the bytes on their way by the space that files may take anyway.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, HttpBody};
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use bytes::Bytes;
use futures_util::stream;
use http_body_util::{BodyExt, Limited};
use serde::Serialize;
use tokio::time::timeout;

use super::rooms::bearer;
use crate::id::{RoomId, UserId};
use crate::protocol::{ErrorCode, FILE_PART_BYTES, FileId, SessionSecret};
use crate::room::{FileClaim, FileDenied, FileState};

/// The longest time for the arrival of a part.
const PART_WITHIN: Duration = Duration::from_secs(25);

/// The header of resumable uploads (IETF draft-ietf-httpbis-resumable-upload).
pub(super) const UPLOAD_OFFSET: HeaderName = HeaderName::from_static("upload-offset");

/// The files of a server.
pub trait Files: Clone + Send + Sync + 'static {
    /// The state of a file.
    ///
    /// # Errors
    /// The client may not fetch it.
    fn state(&self, claim: &FileClaim) -> Result<FileState, FileDenied>;

    /// The bytes `from..to` of a file.
    ///
    /// # Errors
    /// The client may not fetch them, or they are not there yet.
    fn read(&self, claim: &FileClaim, from: u64, to: u64) -> Result<Vec<Bytes>, FileDenied>;

    /// Adds a part, and returns the number of bytes that are there now.
    ///
    /// # Errors
    /// The client may not write, or the part does not fit.
    fn append(&self, claim: &FileClaim, offset: u64, part: Bytes) -> Result<u64, FileDenied>;
}

#[derive(Clone)]
struct Resources<F> {
    files: F,
    arriving: Arc<Mutex<HashSet<(RoomId, FileId)>>>,
}

/// Why a request is refused.
#[derive(Debug)]
enum Problem {
    Denied(FileDenied),
    /// Another part of the file is on its way.
    Busy,
    /// The part did not arrive, or is too long.
    Broken,
    /// The range is outside of the file.
    Range(u64),
    BadRequest(&'static str),
    Method,
}

impl From<FileDenied> for Problem {
    fn from(denied: FileDenied) -> Self {
        Self::Denied(denied)
    }
}

#[derive(Serialize)]
struct Refused {
    code: ErrorCode,
    message: String,
}

/// A part of a file that is on its way, until dropped.
struct Arriving {
    arriving: Arc<Mutex<HashSet<(RoomId, FileId)>>>,
    key: (RoomId, FileId),
}

impl Arriving {
    fn begin(arriving: &Arc<Mutex<HashSet<(RoomId, FileId)>>>, claim: &FileClaim) -> Option<Self> {
        let key = (claim.room.clone(), claim.file);
        let is_first = arriving.lock().unwrap_or_else(PoisonError::into_inner).insert(key.clone());
        is_first.then(|| Self { arriving: arriving.clone(), key })
    }
}

impl Drop for Arriving {
    fn drop(&mut self) {
        self.arriving.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.key);
    }
}

/// The route of files.
pub fn files<F: Files>(files: F) -> Router {
    let resources = Resources { files, arriving: Arc::default() };
    Router::new().route("/api/files/{room}/{file}", any(answer::<F>)).with_state(resources)
}

async fn answer<F: Files>(
    State(resources): State<Resources<F>>,
    Path((room, file)): Path<(String, String)>,
    request: Request,
) -> Response {
    let answered = match claim_of(&room, &file, &request) {
        Ok(claim) => match *request.method() {
            Method::GET => resources.get(&claim, request.headers()),
            Method::HEAD => resources.head(&claim),
            Method::PATCH => resources.patch(&claim, request).await,
            _ => Err(Problem::Method),
        },
        Err(problem) => Err(problem),
    };
    let mut response = answered.unwrap_or_else(Problem::into_response);
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'; sandbox"));
    response
}

/// The member and the file of a request.
fn claim_of(room: &str, file: &str, request: &Request) -> Result<FileClaim, Problem> {
    let query = request.uri().query().unwrap_or_default();
    let user = form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "userId").map(|(_, value)| value);
    let user = user.and_then(|user| user.parse::<UserId>().ok());
    let session = bearer(request.headers()).and_then(|secret| secret.parse::<SessionSecret>().ok());
    let (Some(user), Some(session)) = (user, session) else {
        let message = "name the member in ?userId= and show the session in Authorization: Bearer";
        return Err(Problem::BadRequest(message));
    };
    let (room, file) = (room.parse().ok(), file.parse().ok());
    let (Some(room), Some(file)) = (room, file.map(FileId)) else { return Err(FileDenied::NoSuchFile.into()) };
    Ok(FileClaim { room, user, session, file })
}

impl<F: Files> Resources<F> {
    fn head(&self, claim: &FileClaim) -> Result<Response, Problem> {
        let FileState { received, .. } = self.files.state(claim)?;
        Ok((StatusCode::NO_CONTENT, [(UPLOAD_OFFSET, HeaderValue::from(received))]).into_response())
    }

    async fn patch(&self, claim: &FileClaim, request: Request) -> Result<Response, Problem> {
        let FileState { is_sender, received, .. } = self.files.state(claim)?;
        if !is_sender {
            return Err(FileDenied::NotSender.into());
        }
        let offset = request.headers().get(UPLOAD_OFFSET).and_then(|value| value.to_str().ok()?.parse().ok());
        let offset: u64 = offset.ok_or(Problem::BadRequest("say in Upload-Offset where the part begins"))?;
        if offset != received {
            return Err(FileDenied::Offset { received }.into());
        }
        let _arriving = Arriving::begin(&self.arriving, claim).ok_or(Problem::Busy)?;
        let body = request.into_body();
        // Refuse at once, because a client that is still writing may never read a later answer.
        if body.size_hint().lower() > FILE_PART_BYTES {
            return Err(FileDenied::PartSize.into());
        }
        let part = Limited::new(body, FILE_PART_BYTES as usize).collect();
        let part = timeout(PART_WITHIN, part).await.map_err(|_| Problem::Broken)?.map_err(|_| Problem::Broken)?;
        let received = self.files.append(claim, offset, part.to_bytes())?;
        Ok((StatusCode::NO_CONTENT, [(UPLOAD_OFFSET, HeaderValue::from(received))]).into_response())
    }

    fn get(&self, claim: &FileClaim, headers: &HeaderMap) -> Result<Response, Problem> {
        let FileState { file, .. } = self.files.state(claim)?;
        let size = file.share.size;
        let range = headers.get(header::RANGE).and_then(|value| value.to_str().ok());
        let (from, to) = match range {
            Some(range) => range_of(range, size).ok_or(Problem::Range(size))?,
            None => (0, size),
        };
        let bytes = self.files.read(claim, from, to)?;
        let body = Body::from_stream(stream::iter(bytes.into_iter().map(Ok::<_, std::convert::Infallible>)));
        let status = if range.is_some() { StatusCode::PARTIAL_CONTENT } else { StatusCode::OK };
        let mut response = (status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(to - from));
        headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        if range.is_some() {
            insert(headers, header::CONTENT_RANGE, &format!("bytes {from}-{}/{size}", to - 1));
        }
        insert(headers, header::CONTENT_DISPOSITION, &disposition(file.share.name.as_str()));
        Ok(response)
    }
}

/// The bytes `from..to` of one range such as `bytes=0-99` (RFC 9110, 14.1.2); none if it is another one, or empty.
fn range_of(text: &str, size: u64) -> Option<(u64, u64)> {
    let (from, last) = text.strip_prefix("bytes=")?.split_once('-')?;
    let from: u64 = from.trim().parse().ok()?;
    let last: u64 = if last.trim().is_empty() { size } else { last.trim().parse().ok()? };
    let to = last.saturating_add(1).min(size);
    (from < to).then_some((from, to))
}

/// The header by which a browser saves the file under this name (RFC 6266; the name as in RFC 8187).
fn disposition(name: &str) -> String {
    let mut text = String::from("attachment; filename*=UTF-8''");
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"!#$&+-.^_`|~".contains(&byte) {
            text.push(byte.into());
        } else {
            text.push_str(&format!("%{byte:02X}"));
        }
    }
    text
}

fn insert(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    // Digits and encoded names are valid.
    headers.extend(value.parse().ok().map(|value: HeaderValue| (name, value)));
}

impl Problem {
    fn into_response(self) -> Response {
        use StatusCode as S;
        let (status, code) = match &self {
            Self::Denied(FileDenied::NoSuchFile) => (S::NOT_FOUND, ErrorCode::UnknownTarget),
            Self::Denied(FileDenied::NotSender) => (S::FORBIDDEN, ErrorCode::NotAllowed),
            Self::Denied(FileDenied::Offset { .. } | FileDenied::Incomplete) | Self::Busy => {
                (S::CONFLICT, ErrorCode::TargetBusy)
            }
            Self::Denied(FileDenied::PartSize) => (S::PAYLOAD_TOO_LARGE, ErrorCode::MessageTooLarge),
            Self::Range(_) => (S::RANGE_NOT_SATISFIABLE, ErrorCode::BadRequest),
            Self::Broken | Self::BadRequest(_) => (S::BAD_REQUEST, ErrorCode::BadRequest),
            Self::Method => (S::METHOD_NOT_ALLOWED, ErrorCode::BadRequest),
        };
        let message = match &self {
            Self::Denied(denied) => denied.to_string(),
            Self::Busy => "another part of this file is on its way: wait for its answer".into(),
            Self::Broken => format!("the part broke off, was too slow or has more than {FILE_PART_BYTES} bytes"),
            Self::Range(size) => format!("ask for one range of bytes within the {size} bytes of the file"),
            Self::BadRequest(message) => (*message).into(),
            Self::Method => "use GET, HEAD or PATCH".into(),
        };
        // Words and numbers always have a JSON form.
        let body = serde_json::to_string(&Refused { code, message }).unwrap_or_default();
        let mut response = (status, [(header::CONTENT_TYPE, "application/json")], body).into_response();
        let headers = response.headers_mut();
        match self {
            Self::Denied(FileDenied::Offset { received }) => _ = headers.insert(UPLOAD_OFFSET, received.into()),
            Self::Range(size) => insert(headers, header::CONTENT_RANGE, &format!("bytes */{size}")),
            Self::Method => _ = headers.insert(header::ALLOW, HeaderValue::from_static("GET, HEAD, PATCH")),
            _ => {}
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_within_the_file_or_refused() {
        assert_eq!(range_of("bytes=0-99", 1_000), Some((0, 100)));
        assert_eq!(range_of("bytes=900-", 1_000), Some((900, 1_000)));
        assert_eq!(range_of("bytes=900-99999999999999999999", 1_000), None);
        assert_eq!(range_of("bytes=900-18446744073709551615", 1_000), Some((900, 1_000)));
        for text in ["", "bytes=", "bytes=-5", "bytes=5-4", "bytes=1000-", "bytes=0-1,4-5", "lines=0-1", "bytes=a-b"] {
            assert_eq!(range_of(text, 1_000), None, "{text}");
        }
    }

    #[test]
    fn a_name_in_a_header_is_encoded() {
        let text = disposition("作业 \"1\".pdf");
        assert_eq!(text, "attachment; filename*=UTF-8''%E4%BD%9C%E4%B8%9A%20%221%22.pdf");
    }
}
