//! The client of an offer: its names, its secret and its address.

use axum::extract::Request;
use axum::http::{HeaderMap, header};
use rand::distr::{Alphanumeric, SampleString};

use super::Protocol;
use super::problem::Problem;
use crate::http::rooms::bearer;
use crate::id::{IdError, Nickname, RoomId};
use crate::network::ClientAddress;
use crate::protocol::{ClientKind, Credentials, JoinRequest, MediaHost};

/// Random letters and digits in a user id that the server makes.
const ID_CHARS: usize = 6;

/// A client that asks to join a room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Client {
    /// The join request, as it would stand in the URL of a WebSocket.
    pub request: JoinRequest,
    /// The secret that the client showed.
    pub credentials: Credentials,
    /// The address of the client.
    pub address: ClientAddress,
}

/// The kind and the default names of the clients of a protocol.
pub(in crate::http) struct NameOf {
    pub(in crate::http) kind: ClientKind,
    pub(in crate::http) publishes: bool,
    /// The user id of a client that has none.
    pub(in crate::http) user: DefaultUser,
    /// The nickname of a client that gives neither a nickname nor the name of its program.
    pub(in crate::http) nickname: &'static str,
}

/// The user id of a client that has none.
pub(in crate::http) enum DefaultUser {
    /// This id.
    Fixed(&'static str),
    /// This word and random characters.
    Random(&'static str),
}

impl Client {
    pub(super) fn of<P: Protocol>(room: &RoomId, request: &Request) -> Result<Self, Problem> {
        let address = request.extensions().get().copied().unwrap_or_else(ClientAddress::unknown);
        let (headers, query) = (request.headers(), request.uri().query().unwrap_or_default());
        let credentials = P::credentials(bearer(headers));
        Ok(Self { request: join_request(&P::NAMED, room, query, headers)?, credentials, address })
    }
}

impl DefaultUser {
    fn id(&self) -> String {
        match self {
            Self::Fixed(id) => (*id).to_owned(),
            Self::Random(word) => {
                let random = Alphanumeric.sample_string(&mut rand::rng(), ID_CHARS);
                format!("{word}-{}", random.to_lowercase())
            }
        }
    }
}

/// A token has three parts with dots between them (RFC 7519, 3.1); join codes and teaching keys have no such form.
pub(in crate::http) fn is_token(secret: &str) -> bool {
    secret.matches('.').count() == 2
}

/// The request of a client, named by the query if possible.
pub(in crate::http) fn join_request(
    names: &NameOf,
    room: &RoomId,
    query: &str,
    headers: &HeaderMap,
) -> Result<JoinRequest, Problem> {
    let get = |wanted: &str| {
        form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == wanted).map(|(_, value)| value.into_owned())
    };
    let user = get("userId").unwrap_or_else(|| names.user.id());
    let user = user.parse().map_err(|error: IdError| Problem::bad_request(&error))?;
    let nickname = Nickname::from(get("nickname").unwrap_or_default());
    Ok(JoinRequest {
        kind: None,
        room: room.clone(),
        room_name: get("roomName").filter(|_| names.publishes).and_then(|name| name.parse().ok()),
        user,
        nickname: if nickname.as_str().is_empty() { product(headers, names.nickname) } else { nickname },
        publishes: names.publishes,
        media: if names.publishes { MediaHost::Server } else { MediaHost::Publisher },
        epoch: rand::random(),
        client: Some(names.kind),
        auth: false,
    })
}

/// The first product of `User-Agent`. Browsers all have the same one, so theirs is left out.
fn product(headers: &HeaderMap, nameless: &str) -> Nickname {
    let agent = headers.get(header::USER_AGENT).and_then(|agent| agent.to_str().ok()).unwrap_or_default();
    let product = Nickname::from(agent.split(['/', ' ']).next().unwrap_or_default());
    if matches!(product.as_str(), "" | "Mozilla") { nameless.into() } else { product }
}
