//! WHEP, so that any player can be a student (draft-ietf-wish-whep, with the HTTP rules of RFC 9725).
//!
//! `/whep/{room}` is the endpoint; `/whep/{room}/screen` and `/whep/{room}/camera` ask for one video track. See
//! `super::wish` for the requests.
//!
//! The player is a member of the room like any student: `?nickname=` is the name that others see, `?userId=` the id.
//! `DELETE`, the player's silence (ICE consent, some 10 s) or the end of the lecture ends a session. Its URL is 404
//! then (`GET` checks that without side effects), and the player may send a new offer. While nobody teaches, an offer
//! gets 409 with `Retry-After`.
//!
//! `Authorization: Bearer X` carries the join code of the room, or a token; tokens have two dots. Without CORS headers
//! only our own pages and programs can play; [`super::Site::whep_origins`] names further origins.
//!
//! Media needs `SRTP_AEAD_AES_128_GCM`; a player without it gets an answer and then fails in the DTLS handshake.

use axum::Router;

use super::wish::client::{Client, DefaultUser, NameOf, is_token};
use super::wish::problem::{Problem, Unavailable};
use super::wish::{Answered, Negotiated, Protocol, router as routes};
use crate::protocol::{ClientKind, Credentials, VideoTrack};
use crate::sdp::whep_offer::WhepOffer;

/// The nickname of a player that has none.
const NAMELESS: &str = "WHEP player";

/// The lectures of a server, as WHEP needs them.
pub trait Lectures: Clone + Send + Sync + 'static {
    /// Joins the player's room and sends the offer to the teacher. Dropping the future removes the player.
    fn watch(
        &self,
        player: Client,
        offer: String,
        video: Option<VideoTrack>,
    ) -> impl Future<Output = Result<Negotiated, Unavailable>> + Send;
}

struct Whep<L>(L);

/// The routes below `/whep`.
pub fn router<L: Lectures>(lectures: L) -> Router {
    routes(Whep(lectures))
}

impl<L: Lectures> Protocol for Whep<L> {
    const NAME: &'static str = "whep";
    const NAMED: NameOf =
        NameOf { kind: ClientKind::Whep, publishes: false, user: DefaultUser::Random("whep"), nickname: NAMELESS };

    fn credentials(bearer: Option<String>) -> Credentials {
        match bearer {
            Some(token) if is_token(&token) => Credentials { token: Some(token), ..Credentials::default() },
            code => Credentials { code, ..Credentials::default() },
        }
    }

    async fn answer(&self, client: Client, offer: String, video: Option<VideoTrack>) -> Result<Answered, Problem> {
        let WhepOffer { sdp, ufrag } = WhepOffer::parse(&offer).ok_or_else(Problem::bad_sdp)?;
        let negotiated = self.0.watch(client, sdp, video).await?;
        Ok(Answered { ufrag, negotiated })
    }
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderMap, header};

    use super::super::rooms::bearer;
    use super::super::wish::client::join_request;
    use super::*;
    use crate::protocol::JoinRequest;

    /// Lectures for the constants and functions of [`Whep`] alone.
    #[derive(Clone)]
    struct NoLectures;

    impl Lectures for NoLectures {
        async fn watch(&self, _: Client, _: String, _: Option<VideoTrack>) -> Result<Negotiated, Unavailable> {
            Err(Unavailable::NobodyTeaches)
        }
    }

    fn player(query: &str, headers: &HeaderMap) -> Result<JoinRequest, Problem> {
        join_request(&Whep::<NoLectures>::NAMED, &"1".parse().unwrap(), query, headers)
    }

    fn named(query: &str, agent: &str) -> (String, String) {
        let headers = HeaderMap::from_iter([(header::USER_AGENT, agent.parse().unwrap())]);
        let player = player(query, &headers).unwrap();
        assert!(!player.publishes && player.room.as_str() == "1" && player.room_name.is_none());
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
        named("roomId=2&pub=pub&session=0123456789abcdef&epoch=-1&roomName=x", "");
        let client = player("client=browser", &HeaderMap::new()).ok().and_then(|it| it.client);
        assert_eq!(client, Some(ClientKind::Whep));
        assert!(player("userId=a%20b", &HeaderMap::new()).is_err());
    }

    #[test]
    fn a_secret_with_two_dots_is_a_token_and_another_one_is_a_join_code() {
        let given = |value: &str| {
            let headers = HeaderMap::from_iter([(header::AUTHORIZATION, value.parse().unwrap())]);
            let Credentials { code, token, .. } = Whep::<NoLectures>::credentials(bearer(&headers));
            (code, token)
        };
        assert_eq!(given("Bearer 472913"), (Some("472913".into()), None));
        assert_eq!(given("bearer  brave-otter "), (Some("brave-otter".into()), None));
        assert_eq!(given("Bearer a.b.c"), (None, Some("a.b.c".into())));
        for other in ["Basic YTpi", "Bearer", "Bearer ", "472913", ""] {
            assert_eq!(given(other), (None, None), "{other}");
        }
        assert_eq!(Whep::<NoLectures>::credentials(None), Credentials::default());
    }
}
