//! WHEP, so that any player can be a student (draft-ietf-wish-whep, with the HTTP rules of RFC 9725).
//!
//! - `POST /whep/{room}` sends an SDP offer; `/whep/{room}/screen` and `/whep/{room}/camera` ask for one video track.
//!   201 comes with the answer, which contains all candidates, and with the session's URL in `Location`.
//! - `PATCH` to the session adds candidates of the player (trickle ICE), with the session's `ETag` in `If-Match`.
//! - `DELETE` of the session is the goodbye.
//!
//! The player is a member of the room like any student: `?nickname=` is the name that others see, `?userId=` the id.
//! `DELETE`, the player's silence (ICE consent, some 10 s) or the end of the lecture ends a session. Its URL is 404
//! then (`GET` checks that without side effects), and the player may send a new offer. While nobody teaches, an offer
//! gets 409 with `Retry-After`. Every refusal has a JSON body, `{"code", "message"}`.
//!
//! `Authorization: Bearer X` carries the join code of the room, or a token; tokens have two dots. Without CORS headers
//! only our own pages and programs can play; [`super::Site::whep_origins`] names further origins.
//!
//! Offers have a rate per network and for all. Sessions without media are bounded per network and for all: the oldest
//! one of the network that has most makes place for a new one.
//!
//! Media needs `SRTP_AEAD_AES_128_GCM`; a player without it gets an answer and then fails in the DTLS handshake.

mod headers;
mod problem;
mod sessions;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, HttpBody};
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use rand::distr::{Alphanumeric, SampleString};
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

use self::problem::Problem;
use self::sessions::{NewSession, Sessions};
use super::guard::AllowedOrigin;
use super::rooms::bearer;
use crate::id::{IdError, Nickname, RoomId};
use crate::network::{ClientAddress, Rate, RateLimit, SharedPhase};
use crate::protocol::{
    ClientKind, Credentials, IceCandidate, IceServer, JoinRequest, MAX_MESSAGE_BYTES, MediaHost, VideoTrack,
};
use crate::sdp::fragment::Fragment;
use crate::sdp::whep_offer::WhepOffer;

pub use self::problem::Unavailable;
pub use self::sessions::MAX_CANDIDATES;

/// Offers. The burst is a class that starts together.
const OFFERS: Rate = Rate { per_second: 5, burst: 600, all_per_second: 50, all_burst: 1_000 };

/// How long an offer may take to arrive.
const BODY_WITHIN: Duration = Duration::from_secs(5);

/// Random letters and digits in a user id that the server makes.
const ID_CHARS: usize = 6;

/// The nickname of a player that has none.
const NAMELESS: &str = "WHEP player";

/// The lectures of a server, as WHEP needs them.
pub trait Lectures: Clone + Send + Sync + 'static {
    /// Joins the player's room and sends the offer to the teacher. Dropping the future removes the player.
    fn watch(
        &self,
        player: Player,
        offer: String,
        video: Option<VideoTrack>,
    ) -> impl Future<Output = Result<Watching, Unavailable>> + Send;
}

/// A player that asks to watch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Player {
    /// The join request, as that of a student.
    pub request: JoinRequest,
    /// The join code or the token.
    pub credentials: Credentials,
    /// Where the player is.
    pub address: ClientAddress,
}

/// A player with an answer.
#[derive(Debug)]
pub struct Watching {
    /// The teacher's answer, with all candidates.
    pub answer: String,
    /// The STUN and TURN servers for the player.
    pub ice_servers: Vec<IceServer>,
    /// Takes the player's candidates; the queue has space for all candidates of a session. Dropping it removes the
    /// player.
    pub candidates: mpsc::Sender<IceCandidate>,
    /// Closed once the player has left the room, for whatever reason.
    pub over: watch::Receiver<()>,
    /// Whether the player's media is connected.
    pub phase: SharedPhase,
}

struct Whep<L> {
    lectures: L,
    sessions: Arc<Sessions>,
    offers: Mutex<RateLimit>,
}

/// The routes below `/whep`.
pub fn router<L: Lectures>(lectures: L) -> Router {
    let whep = Whep { lectures, sessions: Arc::default(), offers: Mutex::new(RateLimit::new(OFFERS)) };
    Router::new()
        .route("/whep/{room}", any(any_video::<L>))
        .route("/whep/{room}/{video}", any(one_video::<L>))
        .route("/whep/{room}/session/{id}", any(session::<L>))
        .with_state(Arc::new(whep))
}

type WhepState<L> = State<Arc<Whep<L>>>;

async fn any_video<L: Lectures>(State(whep): WhepState<L>, Path(room): Path<String>, request: Request) -> Response {
    let origin = allowed_origin(&request);
    answered(whep.endpoint(&room, None, request).await, origin)
}

async fn one_video<L: Lectures>(
    State(whep): WhepState<L>,
    Path((room, video)): Path<(String, String)>,
    request: Request,
) -> Response {
    let origin = allowed_origin(&request);
    let result = match video.as_str() {
        "screen" => whep.endpoint(&room, Some(VideoTrack::Screen), request).await,
        "camera" => whep.endpoint(&room, Some(VideoTrack::Camera), request).await,
        _ => Err(Problem::no_such_video()),
    };
    answered(result, origin)
}

async fn session<L: Lectures>(
    State(whep): WhepState<L>,
    Path((room, id)): Path<(String, String)>,
    request: Request,
) -> Response {
    let origin = allowed_origin(&request);
    answered(whep.session(&room, &id, request).await, origin)
}

/// Another origin than ours that may play.
fn allowed_origin(request: &Request) -> Option<HeaderValue> {
    request.extensions().get().map(|AllowedOrigin(origin)| origin.clone())
}

/// Pages of other origins that may play may also read refusals.
fn answered(result: Result<Response, Problem>, origin: Option<HeaderValue>) -> Response {
    let mut response = result.unwrap_or_else(Problem::into_response);
    headers::common(response.headers_mut());
    if let Some(origin) = origin {
        headers::allow_origin(response.headers_mut(), origin);
    }
    response
}

impl<L: Lectures> Whep<L> {
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
        let address = request.extensions().get().copied().unwrap_or_else(ClientAddress::unknown);
        let (headers, query) = (request.headers(), request.uri().query().unwrap_or_default());
        let player = Player { request: player(&room, query, headers)?, credentials: credentials(headers), address };
        self.admit_offer(address)?;
        // Taken before the body is read, so that bodies in transit are bounded too.
        let place = self.sessions.reserve(address.network).ok_or_else(Problem::full)?;
        let offer = timeout(BODY_WITHIN, text(request.into_body())).await.map_err(|_| Problem::no_text())??;
        let WhepOffer { sdp, ufrag } = WhepOffer::parse(&offer).ok_or_else(Problem::bad_sdp)?;
        let watching = self.lectures.watch(player, sdp, video).await?;
        let Watching { answer, ice_servers, candidates, over, phase } = watching;
        let new = NewSession { room: room.clone(), ufrag, candidates, over, phase };
        let (id, etag) = self.sessions.begin(place, new);
        let links = headers::links(&ice_servers);
        let mut response = (StatusCode::CREATED, answer).into_response();
        headers::created(response.headers_mut(), &format!("/whep/{room}/session/{id}"), &etag, &links);
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
                // Always an error, because nothing is ever sent: the channel closes once the player has left the room.
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
        headers::check_match(request.headers(), &etag)?;
        let fragment = Fragment::parse(&text(request.into_body()).await?).map_err(Problem::bad_fragment)?;
        // The session is not held while the body arrives, because holding it keeps its player in the room.
        let session = find()?;
        if fragment.ufrag.is_some() && fragment.ufrag != session.ufrag {
            return Err(Problem::restart());
        }
        session.add(fragment.candidates)?;
        Ok(StatusCode::NO_CONTENT.into_response())
    }
}

/// The secret of `Authorization`: a token has three parts with dots between them (RFC 7519, 3.1), a join code none.
fn credentials(headers: &HeaderMap) -> Credentials {
    match bearer(headers) {
        Some(token) if token.matches('.').count() == 2 => Credentials { token: Some(token), ..Credentials::default() },
        code => Credentials { code, ..Credentials::default() },
    }
}

/// The player, named by the query if possible.
fn player(room: &RoomId, query: &str, headers: &HeaderMap) -> Result<JoinRequest, Problem> {
    let get = |wanted: &str| {
        form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == wanted).map(|(_, value)| value.into_owned())
    };
    let random_id = || format!("whep-{}", Alphanumeric.sample_string(&mut rand::rng(), ID_CHARS).to_lowercase());
    let user =
        get("userId").unwrap_or_else(random_id).parse().map_err(|error: IdError| Problem::bad_request(&error))?;
    let nickname = Nickname::from(get("nickname").unwrap_or_default());
    Ok(JoinRequest {
        room: room.clone(),
        room_name: None,
        user,
        nickname: if nickname.as_str().is_empty() { product(headers) } else { nickname },
        publishes: false,
        media: MediaHost::Publisher,
        epoch: rand::random(),
        client: Some(ClientKind::Whep),
        auth: false,
    })
}

/// The first product of `User-Agent`. That of browsers says nothing.
fn product(headers: &HeaderMap) -> Nickname {
    let agent = headers.get(header::USER_AGENT).and_then(|agent| agent.to_str().ok()).unwrap_or_default();
    let product = Nickname::from(agent.split(['/', ' ']).next().unwrap_or_default());
    if matches!(product.as_str(), "" | "Mozilla") { NAMELESS.into() } else { product }
}

async fn text(body: Body) -> Result<String, Problem> {
    // Refuse at once if the announced length is too large: a player that is still writing may never read a later
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

#[cfg(test)]
mod tests {
    use super::*;

    fn named(query: &str, agent: &str) -> (String, String) {
        let headers = HeaderMap::from_iter([(header::USER_AGENT, agent.parse().unwrap())]);
        let player = player(&"1".parse().unwrap(), query, &headers).unwrap();
        assert!(!player.publishes && player.room.as_str() == "1");
        (player.user.to_string(), player.nickname.to_string())
    }

    #[test]
    fn a_player_is_named_by_the_query_or_by_its_program() {
        assert_eq!(named("userId=7&nickname=Hall+B", "x").1, "Hall B");
        assert_eq!(named("userId=7", "GStreamer souphttpsrc 1.22.0 libsoup/3.2"), ("7".into(), "GStreamer".into()));
        assert_eq!(named("", "Mozilla/5.0 (X11)").1, NAMELESS);
        assert_eq!(named("nickname=", "").1, NAMELESS);
        assert_ne!(named("", "").0, named("", "").0);
        assert!(named("", "").0.starts_with("whep-"));
        // The query can't set what only the server decides.
        named("roomId=2&pub=pub&session=0123456789abcdef&epoch=-1", "");
        let client = player(&"1".parse().unwrap(), "client=browser", &HeaderMap::new()).ok().and_then(|it| it.client);
        assert_eq!(client, Some(ClientKind::Whep));
        assert!(player(&"1".parse().unwrap(), "userId=a%20b", &HeaderMap::new()).is_err());
    }

    #[test]
    fn a_secret_with_two_dots_is_a_token_and_another_one_is_a_join_code() {
        let given = |value: &str| {
            let headers = HeaderMap::from_iter([(header::AUTHORIZATION, value.parse().unwrap())]);
            let Credentials { code, token, .. } = credentials(&headers);
            (code, token)
        };
        assert_eq!(given("Bearer 472913"), (Some("472913".into()), None));
        assert_eq!(given("bearer  brave-otter "), (Some("brave-otter".into()), None));
        assert_eq!(given("Bearer a.b.c"), (None, Some("a.b.c".into())));
        for other in ["Basic YTpi", "Bearer", "Bearer ", "472913", ""] {
            assert_eq!(given(other), (None, None), "{other}");
        }
        assert_eq!(credentials(&HeaderMap::new()), Credentials::default());
    }
}
