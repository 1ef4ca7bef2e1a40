//! WHIP, so that OBS and other encoders can teach (RFC 9725).
//!
//! `/whip/{room}` and `/whip/{room}/screen` take the video as the screen of the lecture, `/whip/{room}/camera` as the
//! camera. See `super::wish` for the requests.
//!
//! The client is the publisher of the room, which is opened if it does not exist. `?nickname=` is the name that
//! students see, `?userId=` the publisher's id, `?roomName=` the name of the room. A room has one publisher, and a
//! publisher one session for the screen and one for the camera, opened with the same secret. Another offer for the same
//! video gets 409 while the media of the first one runs; once that is lost, the new offer replaces the session. If both
//! sessions have audio, students hear the older one.
//!
//! `Authorization: Bearer X` carries the teaching key of the server, or a token with the right to publish; tokens have
//! two dots. Where no key is set, clients on the same computer need none.
//!
//! An offer has one section of audio, one of video, or both, and sends (RFC 9725, 4.4.2). `DELETE`, the client's
//! silence (ICE consent, some 10 s) or the end of the server ends a session. The students then wait for the publisher.
//! Only our own pages and programs can publish.
//!
//! If another node of the server has the room, the answer is 307 with the URL there in `Location` (RFC 9725, 4.5), as
//! the media belongs to the node that has the room.

use axum::Router;

use super::wish::client::{Client, DefaultUser, NameOf, is_token};
use super::wish::problem::{Problem, Unavailable};
use super::wish::{Answered, Negotiated, Protocol, router as routes};
use crate::protocol::{ClientKind, Credentials, VideoTrack};
use crate::sdp::whip_offer::{WhipOffer, WhipOfferError};

/// The user id of a client that has none.
pub const DEFAULT_USER: &str = "whip";

/// The nickname of a client that has none.
const NAMELESS: &str = "WHIP";

/// The lectures of a server, as WHIP needs them.
pub trait Lectures: Clone + Send + Sync + 'static {
    /// The origin of the server that has the room, if that is another one.
    fn elsewhere(&self, _publisher: &Client) -> impl Future<Output = Result<Option<String>, Unavailable>> + Send {
        std::future::ready(Ok(None))
    }

    /// Joins the room as its publisher and negotiates the media. Dropping the future removes the publisher.
    fn publish(
        &self,
        publisher: Client,
        offer: PublisherOffer,
    ) -> impl Future<Output = Result<Negotiated, Unavailable>> + Send;
}

/// The offer of a WHIP client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublisherOffer {
    /// The session description. Its sections of media only send.
    pub sdp: String,
    /// The `mid` of the audio section.
    pub audio: Option<String>,
    /// The `mid` of the video section.
    pub video: Option<String>,
    /// The track that the video becomes, by the path. A session without video has one, too.
    pub path: VideoTrack,
}

struct Whip<L>(L);

/// The routes below `/whip`.
pub fn router<L: Lectures>(lectures: L) -> Router {
    routes(Whip(lectures))
}

impl<L: Lectures> Protocol for Whip<L> {
    const NAME: &'static str = "whip";
    const NAMED: NameOf =
        NameOf { kind: ClientKind::Whip, publishes: true, user: DefaultUser::Fixed(DEFAULT_USER), nickname: NAMELESS };

    fn credentials(bearer: Option<String>) -> Credentials {
        match bearer {
            Some(token) if is_token(&token) => Credentials { token: Some(token), ..Credentials::default() },
            key => Credentials { key, ..Credentials::default() },
        }
    }

    async fn elsewhere(&self, client: &Client) -> Result<Option<String>, Problem> {
        Ok(self.0.elsewhere(client).await?)
    }

    async fn answer(&self, client: Client, offer: String, video: Option<VideoTrack>) -> Result<Answered, Problem> {
        let WhipOffer { sdp, ufrag, audio, video: mid } = WhipOffer::parse(&offer)?;
        let path = video.unwrap_or(VideoTrack::Screen);
        let tracks = usize::from(audio.is_some()) + usize::from(mid.is_some());
        let mut negotiated = self.0.publish(client, PublisherOffer { sdp, audio, video: mid, path }).await?;
        // An answer to a part of the offer would mislead the person who sends (RFC 9725, 4.4.3).
        if received(&negotiated.answer) < tracks {
            drop(negotiated.candidates);
            // Always an error, because nothing is ever sent: the channel closes once the client has left the room.
            _ = negotiated.over.changed().await;
            return Err(Problem::no_common_codec());
        }
        Ok(Answered { ufrag, negotiated })
    }
}

/// The number of sections that an answer receives.
fn received(answer: &str) -> usize {
    answer.lines().filter(|line| line.trim_end() == "a=recvonly").count()
}

impl From<WhipOfferError> for Problem {
    fn from(error: WhipOfferError) -> Self {
        match error {
            WhipOfferError::Malformed | WhipOfferError::NoTracks => Problem::bad_sdp(),
            WhipOfferError::NotSending => Problem::not_sendonly(),
            WhipOfferError::TooManyTracks => Problem::too_many_tracks(),
        }
    }
}
