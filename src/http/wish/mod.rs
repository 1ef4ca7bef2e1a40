//! The common part of WHIP and WHEP: resources of HTTP that exchange an offer for an answer. Both come from the IETF
//! working group WISH; RFC 9725 has the rules of HTTP for both.
//!
//! An endpoint is `/{name}/{room}`, or `/{name}/{room}/screen` and `/{name}/{room}/camera` for one video track:
//!
//! - `POST` sends an SDP offer. 201 comes with the answer, which contains all candidates of this side, with the URL of
//!   the session in `Location`, its `ETag`, and a `Link` for each ICE server.
//! - `GET` has no effect and answers 204 (RFC 9725, 4.1), as do `HEAD`, and `GET` of a session that exists.
//!
//! A session is `/{name}/{room}/session/{id}`:
//!
//! - `PATCH` adds candidates of the client (trickle ICE), with the session's `ETag` or `*` in `If-Match`: 428 without
//!   `If-Match`, 412 with another tag. A fragment with another `ice-ufrag` than the last one restarts ICE (RFC 9725,
//!   4.3.3): 200 comes with the credentials and candidates of this side and a new `ETag`. WHEP refuses a restart with
//!   422, because the player's peer may be in another process; the session goes on.
//! - `DELETE` is the goodbye. Afterwards, and after any other end, the URL is 404.
//!
//! Every refusal has a JSON body, `{"code", "message"}`; a temporary one has `Retry-After`.
//!
//! Offers have a rate per network and for all. Sessions without media are bounded per network and for all: the oldest
//! one of the network that has most makes place for a new one.

pub(super) mod client;
mod headers;
pub(super) mod problem;
pub(super) mod sessions;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, HttpBody};
use axum::extract::{Path, Request, State};
use axum::http::{HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::any;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::timeout;

use self::client::{Client, NameOf};
use self::problem::{Problem, Unavailable};
use self::sessions::{NewSession, Session, Sessions};
use super::guard::AllowedOrigin;
use crate::id::RoomId;
use crate::network::{ClientAddress, Rate, RateLimit, SharedClientState};
use crate::protocol::{Credentials, IceCandidate, IceServer, MAX_MESSAGE_BYTES, VideoTrack};
use crate::sdp::fragment::Fragment;
use crate::sdp::ice::are_credentials;

/// Offers. The burst is a class that starts together.
const OFFERS: Rate = Rate { per_second: 5, burst: 600, all_per_second: 50, all_burst: 1_000 };

/// The longest wait for the answer to a restart of ICE, which takes milliseconds.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// The longest time for the arrival of an offer.
const BODY_WITHIN: Duration = Duration::from_secs(5);

/// One of the two protocols, with the lectures that it leads to.
pub(super) trait Protocol: Send + Sync + 'static {
    /// The first part of the paths.
    const NAME: &'static str;

    /// The kind and the default names of clients.
    const NAMED: NameOf;

    /// The secret of `Authorization: Bearer`, if there is one.
    fn credentials(bearer: Option<String>) -> Credentials;

    /// The origin of the server that the client has to ask instead, if there is one.
    fn elsewhere(&self, _client: &Client) -> impl Future<Output = Result<Option<String>, Problem>> + Send {
        std::future::ready(Ok(None))
    }

    /// Answers an offer.
    fn answer(
        &self,
        client: Client,
        offer: String,
        video: Option<VideoTrack>,
    ) -> impl Future<Output = Result<Answered, Problem>> + Send;
}

/// A client with an answer.
pub(super) struct Answered {
    /// The `ice-ufrag` of the offer.
    pub(super) ufrag: Option<String>,
    pub(super) negotiated: Negotiated,
}

/// The answer to an offer, and the ties between the client and its room.
#[derive(Debug)]
pub struct Negotiated {
    /// The answer, with all candidates.
    pub answer: String,
    /// The STUN and TURN servers for the client.
    pub ice_servers: Vec<IceServer>,
    /// Takes the client's candidates; the queue has space for all candidates of a session. Dropping it removes the
    /// client from its room.
    pub candidates: mpsc::Sender<IceCandidate>,
    /// Takes restarts of ICE, where they are possible.
    pub restarts: Option<mpsc::Sender<IceRestart>>,
    /// Closed once the client has left the room, for whatever reason.
    pub over: watch::Receiver<()>,
    /// Whether the client's media is connected.
    pub client_state: SharedClientState,
}

/// The client's side of a restart of ICE (RFC 9725, 4.3.3).
#[derive(Debug)]
pub struct IceRestart {
    /// The new user name fragment of the client.
    pub ufrag: String,
    /// The new password of the client.
    pub password: String,
    /// The candidates that the client knows already.
    pub candidates: Vec<IceCandidate>,
    /// Takes the new credentials and the candidates of this side, as `application/trickle-ice-sdpfrag`. Dropped if the
    /// session is over.
    pub answer: oneshot::Sender<Result<String, Unavailable>>,
}

struct Resources<P> {
    protocol: P,
    sessions: Arc<Sessions>,
    offers: Mutex<RateLimit>,
}

/// The routes of a protocol.
pub(super) fn router<P: Protocol>(protocol: P) -> Router {
    let name = P::NAME;
    let resources = Resources { protocol, sessions: Arc::default(), offers: Mutex::new(RateLimit::new(OFFERS)) };
    Router::new()
        .route(&format!("/{name}/{{room}}"), any(any_video::<P>))
        .route(&format!("/{name}/{{room}}/{{video}}"), any(one_video::<P>))
        .route(&format!("/{name}/{{room}}/session/{{id}}"), any(session::<P>))
        .with_state(Arc::new(resources))
}

type Shared<P> = State<Arc<Resources<P>>>;

async fn any_video<P: Protocol>(State(all): Shared<P>, Path(room): Path<String>, request: Request) -> Response {
    let origin = allowed_origin(&request);
    answered(all.endpoint(&room, None, request).await, origin)
}

async fn one_video<P: Protocol>(
    State(all): Shared<P>,
    Path((room, video)): Path<(String, String)>,
    request: Request,
) -> Response {
    let origin = allowed_origin(&request);
    let result = match video.as_str() {
        "screen" => all.endpoint(&room, Some(VideoTrack::Screen), request).await,
        "camera" => all.endpoint(&room, Some(VideoTrack::Camera), request).await,
        _ => Err(Problem::no_such_video(P::NAME)),
    };
    answered(result, origin)
}

async fn session<P: Protocol>(
    State(all): Shared<P>,
    Path((room, id)): Path<(String, String)>,
    request: Request,
) -> Response {
    let origin = allowed_origin(&request);
    answered(all.session(&room, &id, request).await, origin)
}

/// Another origin than ours that may use the protocol.
fn allowed_origin(request: &Request) -> Option<HeaderValue> {
    request.extensions().get().map(|AllowedOrigin(origin)| origin.clone())
}

/// Pages of other origins that may use the protocol may also read refusals.
fn answered(result: Result<Response, Problem>, origin: Option<HeaderValue>) -> Response {
    let mut response = result.unwrap_or_else(Problem::into_response);
    headers::common(response.headers_mut());
    if let Some(origin) = origin {
        headers::allow_origin(response.headers_mut(), origin);
    }
    response
}

impl<P: Protocol> Resources<P> {
    async fn endpoint(&self, room: &str, video: Option<VideoTrack>, request: Request) -> Result<Response, Problem> {
        match *request.method() {
            Method::POST => self.offer(room, video, request).await,
            Method::OPTIONS => Ok(headers::options_of_endpoint(allowed_origin(&request).is_some())),
            Method::GET | Method::HEAD => Ok(StatusCode::NO_CONTENT.into_response()),
            _ => Err(Problem::method(headers::METHODS_OF_ENDPOINT)),
        }
    }

    async fn offer(&self, room: &str, video: Option<VideoTrack>, request: Request) -> Result<Response, Problem> {
        let room: RoomId = room.parse().map_err(|_| Unavailable::NoSuchRoom)?;
        headers::expect_type(request.headers(), headers::ACCEPTED_BY_ENDPOINT)?;
        let client = Client::of::<P>(&room, &request)?;
        let address = client.address;
        self.admit_offer(address)?;
        if let Some(origin) = self.protocol.elsewhere(&client).await? {
            let path = request.uri().path_and_query().map_or("", |path| path.as_str());
            return Ok(Redirect::temporary(&format!("{origin}{path}")).into_response());
        }
        // Taken before the body is read, so that bodies in transit are bounded too.
        let place = self.sessions.reserve(address.network).ok_or_else(Problem::full)?;
        let offer = timeout(BODY_WITHIN, text(request.into_body())).await.map_err(|_| Problem::no_text())??;
        let Answered { ufrag, negotiated } = self.protocol.answer(client, offer, video).await?;
        let Negotiated { answer, ice_servers, candidates, restarts, over, client_state } = negotiated;
        let new = NewSession { room: room.clone(), ufrag, candidates, restarts, over, client_state };
        let (id, etag) = self.sessions.begin(place, new);
        let links = headers::links(&ice_servers);
        let mut response = (StatusCode::CREATED, answer).into_response();
        let location = format!("/{}/{room}/session/{id}", P::NAME);
        headers::created(response.headers_mut(), &location, &etag, &links);
        Ok(response)
    }

    fn admit_offer(&self, address: ClientAddress) -> Result<(), Problem> {
        let mut offers = self.offers.lock().unwrap_or_else(PoisonError::into_inner);
        offers.take(Instant::now(), address.network).map_err(Problem::flood)
    }

    async fn session(&self, room: &str, id: &str, request: Request) -> Result<Response, Problem> {
        match *request.method() {
            Method::OPTIONS => Ok(headers::options_of_session(allowed_origin(&request).is_some())),
            Method::GET | Method::HEAD => self
                .sessions
                .find(room, id)
                .map(|_| StatusCode::NO_CONTENT.into_response())
                .ok_or_else(Problem::no_session),
            Method::PATCH => self.trickle(room, id, request).await,
            Method::DELETE => {
                let mut over = self.sessions.take(room, id).ok_or_else(Problem::no_session)?;
                // Always an error, because nothing is ever sent: the channel closes once the client has left the room.
                _ = over.changed().await;
                Ok(StatusCode::OK.into_response())
            }
            _ => Err(Problem::method(headers::METHODS_OF_SESSION)),
        }
    }

    async fn trickle(&self, room: &str, id: &str, request: Request) -> Result<Response, Problem> {
        let find = || self.sessions.find(room, id).ok_or_else(Problem::no_session);
        let etag = find()?.etag;
        headers::expect_type(request.headers(), headers::ACCEPTED_BY_SESSION)?;
        let (parts, body) = request.into_parts();
        headers::check_match(&parts.headers, &etag)?;
        let fragment = Fragment::parse(&text(body).await?).map_err(Problem::bad_fragment)?;
        // The session is not held while the body arrives, because holding it keeps its client in the room.
        let session = find()?;
        // Another request may have restarted ICE meanwhile.
        headers::check_match(&parts.headers, &session.etag)?;
        let Fragment { ufrag, password, candidates } = fragment;
        match ufrag.filter(|ufrag| session.ufrag.as_ref() != Some(ufrag)) {
            Some(ufrag) => {
                let password = password.filter(|password| are_credentials(&ufrag, password));
                let password = password.ok_or_else(Problem::bad_credentials)?;
                let address = parts.extensions.get().copied().unwrap_or_else(ClientAddress::unknown);
                self.admit_offer(address)?;
                self.restart(room, id, session, (ufrag, password, candidates)).await
            }
            None => {
                session.add(candidates)?;
                Ok(StatusCode::NO_CONTENT.into_response())
            }
        }
    }

    /// Restarts ICE: answers with the new credentials of this side, and with another entity tag.
    async fn restart(
        &self,
        room: &str,
        id: &str,
        session: Session,
        (ufrag, password, candidates): (String, String, Vec<IceCandidate>),
    ) -> Result<Response, Problem> {
        let (restarts, etag) = (session.restarts.clone().ok_or_else(Problem::restart)?, session.etag.clone());
        // Holding the session would keep its client in the room.
        drop(session);
        let (answer, answered) = oneshot::channel();
        let restart = IceRestart { ufrag: ufrag.clone(), password, candidates, answer };
        // One restart waits at a time.
        restarts.try_send(restart).map_err(|error| match error {
            TrySendError::Full(_) => Unavailable::Restarting.into(),
            TrySendError::Closed(_) => Problem::no_session(),
        })?;
        drop(restarts);
        let answered = timeout(ANSWER_WITHIN, answered).await.map_err(|_| Unavailable::NoAnswer)?;
        let fragment = answered.map_err(|_| Problem::no_session())??;
        let etag = self.sessions.restarted(room, id, &etag, ufrag).ok_or_else(Problem::no_session)?;
        let mut response = (StatusCode::OK, fragment).into_response();
        headers::restarted(response.headers_mut(), &etag);
        Ok(response)
    }
}

async fn text(body: Body) -> Result<String, Problem> {
    // Refuse at once if the announced length is too large: a client that is still writing may never read a later
    // answer.
    if body.size_hint().lower() > MAX_MESSAGE_BYTES as u64 {
        return Err(Problem::too_large());
    }
    let bytes = Limited::new(body, MAX_MESSAGE_BYTES)
        .collect()
        .await
        .map_err(|error| if error.is::<LengthLimitError>() { Problem::too_large() } else { Problem::no_text() })?;
    String::from_utf8(bytes.to_bytes().into()).map_err(|_| Problem::no_text())
}
