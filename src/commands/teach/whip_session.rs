//! The WHIP client that sends the media of a lecture: at most one at a time.

use std::collections::BTreeMap;

use tokio::sync::oneshot;

use crate::commands::whip_in::{Accepted, WhipOffer, WhipSession};
use crate::http::Unavailable;
use crate::http::whip::PublisherOffer;
use crate::id::Nickname;
use crate::protocol::{ErrorCode, VideoTrack};
use crate::rtp::{Encoding, Track};
use crate::sfu::OfferRefusal;

/// The client of a lecture.
#[derive(Debug, Default)]
pub(super) struct WhipClient {
    current: Option<Current>,
    /// An offer that the SFU has not answered.
    pending: Option<Pending>,
}

#[derive(Debug)]
struct Current {
    session: WhipSession,
    nickname: Nickname,
    is_connected: bool,
    /// Whether nothing has arrived for some seconds, by the SFU's last statistics.
    is_silent: bool,
    /// Dropped at the end of the session.
    _ends: oneshot::Sender<()>,
}

#[derive(Debug)]
struct Pending {
    session: WhipSession,
    nickname: Nickname,
    answer: oneshot::Sender<Result<Accepted, Unavailable>>,
}

/// An offer for the SFU.
pub(super) struct ForSfu {
    pub(super) sdp: String,
    pub(super) tracks: BTreeMap<String, Track>,
}

impl WhipClient {
    /// A client offers. It is refused while the media of another session runs: that may be the one of the screen.
    pub(super) fn offer(&mut self, offer: WhipOffer) -> Option<ForSfu> {
        let WhipOffer { session, nickname, offer, answer } = offer;
        let runs = self.current.as_ref().is_some_and(|current| current.is_connected && !current.is_silent);
        let refusal = match (runs, &self.pending) {
            (true, _) => Some((
                ErrorCode::PublisherExists,
                "another encoder sends to this lecture, which takes one: stop that one first",
            )),
            (false, Some(_)) => Some((ErrorCode::TargetBusy, "another offer is being answered, try again")),
            (false, None) => None,
        };
        if let Some((code, message)) = refusal {
            // The client may have gone.
            _ = answer.send(Err(Unavailable::Refused { code, message: message.into(), retry_after: None }));
            return None;
        }
        self.pending = Some(Pending { session, nickname, answer });
        let PublisherOffer { sdp, audio, video } = offer;
        let track = |video| match video {
            VideoTrack::Screen => Track::Screen,
            VideoTrack::Camera => Track::Camera,
        };
        let audio = audio.map(|mid| (mid, Track::Audio));
        let tracks = audio.into_iter().chain(video.map(|(mid, video)| (mid, track(video)))).collect();
        Some(ForSfu { sdp, tracks })
    }

    /// The SFU has answered the last offer.
    pub(super) fn answered(&mut self, sdp: String) {
        let Some(Pending { session, nickname, answer }) = self.pending.take() else { return };
        let (ends, ended) = oneshot::channel();
        if answer.send(Ok(Accepted { sdp, ended })).is_ok() {
            self.current = Some(Current { session, nickname, is_connected: false, is_silent: false, _ends: ends });
        }
    }

    /// The SFU has refused the last offer.
    pub(super) fn refused(&mut self, code: ErrorCode, why: &OfferRefusal) {
        if let Some(Pending { answer, .. }) = self.pending.take() {
            let refused = Unavailable::Refused { code, message: why.to_string(), retry_after: None };
            _ = answer.send(Err(refused));
        }
    }

    /// The media of the session is connected. Returns the name of the client.
    pub(super) fn connected(&mut self) -> Option<Nickname> {
        let current = self.current.as_mut()?;
        current.is_connected = true;
        Some(current.nickname.clone())
    }

    /// The encodings of the client's offer, and those without a packet for some seconds.
    pub(super) fn hears(&mut self, promised: &[Encoding], silent: &[Encoding]) {
        if let Some(current) = &mut self.current {
            current.is_silent = promised.iter().all(|encoding| silent.contains(encoding));
        }
    }

    /// The media has ended. Returns the name of the client.
    pub(super) fn gone(&mut self) -> Option<Nickname> {
        self.current.take().map(|current| current.nickname)
    }

    /// The client has ended its session. Returns whether the media has to end.
    pub(super) fn ended(&mut self, session: WhipSession) -> bool {
        self.pending.take_if(|pending| pending.session == session);
        self.current.take_if(|current| current.session == session).is_some()
    }

    /// Whether this is the session whose media may run.
    pub(super) fn is(&self, session: WhipSession) -> bool {
        self.current.as_ref().is_some_and(|current| current.session == session)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Answer = oneshot::Receiver<Result<Accepted, Unavailable>>;

    fn offer(client: &mut WhipClient, session: WhipSession) -> (Option<ForSfu>, Answer) {
        let (answer, answered) = oneshot::channel();
        let video = Some(("1".to_owned(), VideoTrack::Camera));
        let offer = PublisherOffer { sdp: "v=0".into(), audio: Some("0".into()), video };
        (client.offer(WhipOffer { session, nickname: "OBS".into(), offer, answer }), answered)
    }

    fn refusal(mut answer: Answer) -> ErrorCode {
        match answer.try_recv() {
            Ok(Err(Unavailable::Refused { code, .. })) => code,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn one_client_sends_at_a_time() {
        let mut client = WhipClient::default();
        let (for_sfu, mut answer) = offer(&mut client, 1);
        let tracks = for_sfu.unwrap().tracks;
        assert_eq!(tracks, BTreeMap::from([("0".to_owned(), Track::Audio), ("1".to_owned(), Track::Camera)]));
        assert_eq!(refusal(offer(&mut client, 2).1), ErrorCode::TargetBusy);
        client.answered("v=0".into());
        let mut accepted = answer.try_recv().unwrap().unwrap();
        assert_eq!(client.connected().unwrap().as_str(), "OBS");
        assert_eq!(refusal(offer(&mut client, 3).1), ErrorCode::PublisherExists);
        assert!(client.is(1) && !client.is(3) && !client.ended(3));
        // The media of the first one stops, so another one takes its place.
        client.current.as_mut().unwrap().is_silent = true;
        let (for_sfu, _answer) = offer(&mut client, 4);
        assert!(for_sfu.is_some() && accepted.ended.try_recv() == Err(oneshot::error::TryRecvError::Empty));
        client.answered("v=0".into());
        assert_eq!(accepted.ended.try_recv(), Err(oneshot::error::TryRecvError::Closed), "the first session is over");
        assert!(!client.ended(1) && client.ended(4) && client.gone().is_none());
    }

    #[test]
    fn a_client_that_goes_away_leaves_no_session() {
        let mut client = WhipClient::default();
        let (for_sfu, answer) = offer(&mut client, 1);
        assert!(for_sfu.is_some());
        drop(answer);
        client.answered("v=0".into());
        assert!(!client.is(1));
        let (_, answer) = offer(&mut client, 2);
        let why = OfferRefusal::Busy;
        client.refused(ErrorCode::TargetBusy, &why);
        assert_eq!(refusal(answer), ErrorCode::TargetBusy);
        assert!(client.gone().is_none());
    }
}
