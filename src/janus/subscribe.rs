//! One subscription: a handle of its own, and Janus's offer of the publisher's streams.

use super::error::JanusError;
use super::feeds::Streams;
use super::session::Session;
use super::url::JanusUrl;
use super::video_room::{Access, JanusId, Join, RoomEvent, RoomRequest};
use super::wire::{HandleId, JsepKind};
use crate::rtp::Track;

/// Janus's offer of the publisher's streams.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JanusOffer {
    /// The session description.
    pub sdp: String,
    /// The mid of each section, and its track.
    pub tracks: Vec<(String, Track)>,
}

/// A session, and what its subscribers show to the room.
#[derive(Debug, Clone, Copy)]
pub(super) struct Subscribing<'a> {
    pub(super) session: &'a Session,
    pub(super) url: &'a JanusUrl,
    pub(super) access: Access<'a>,
    pub(super) private_id: Option<u64>,
}

/// Asks for the streams of a feed in a handle of its own, which is returned as well, if there is one.
pub(super) async fn subscribe(
    by: Subscribing<'_>,
    feed: &JanusId,
    streams: &Streams,
) -> (Option<HandleId>, Result<JanusOffer, JanusError>) {
    let handle = match by.session.attach().await {
        Ok(handle) => handle,
        Err(error) => return (None, Err(error)),
    };
    (Some(handle), offer(by, handle, feed, streams).await)
}

async fn offer(
    Subscribing { session, url, access, private_id }: Subscribing<'_>,
    handle: HandleId,
    feed: &JanusId,
    streams: &Streams,
) -> Result<JanusOffer, JanusError> {
    let mids = streams.tracks.iter().map(|(mid, _)| mid.as_str());
    let request = RoomRequest::Join(Join::subscriber(access, private_id, feed, mids));
    let offer = match session.room(handle, request, None).await? {
        (RoomEvent::Attached(mids), Some(jsep)) => jsep.of_kind(JsepKind::Offer).map(|sdp| (mids, sdp)),
        _ => None,
    };
    let (mids, sdp) = offer.ok_or_else(|| JanusError::broken(url, "subscribes without a usable offer"))?;
    let track = |of: &str| streams.tracks.iter().find(|(mid, _)| mid == of).map(|(_, track)| *track);
    let tracks = mids.into_iter().filter_map(|(mid, of)| Some((mid, track(&of)?))).collect();
    Ok(JanusOffer { sdp, tracks })
}
