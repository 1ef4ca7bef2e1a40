//! The WHIP sessions of a lecture: at most one for the screen and one for the camera.

use std::collections::BTreeMap;

use tokio::sync::oneshot;

use super::{Accepted, WhipOffer};
use crate::commands::negotiation::{candidate_init, refusal_code};
use crate::http::whip::PublisherOffer;
use crate::http::{self, Unavailable};
use crate::id::{Nickname, UserId};
use crate::protocol::{ErrorCode, VideoTrack};
use crate::rtp::Track;
use crate::sfu::{Departure, IceRestart, OfferRefusal, PublisherSession, SessionEvent, SessionId, SessionOffer};

/// The sessions of a lecture.
#[derive(Debug, Default)]
pub(in crate::commands) struct WhipSessions {
    screen: Place,
    camera: Place,
}

/// The place of a session for one video.
#[derive(Debug, Default)]
struct Place {
    current: Option<Current>,
    /// An offer that the SFU has not answered.
    pending: Option<Pending>,
}

#[derive(Debug)]
struct Current {
    number: SessionId,
    nickname: Nickname,
    tracks: Vec<Track>,
    is_connected: bool,
    /// Whether nothing has arrived for some seconds, by the SFU's last statistics.
    is_silent: bool,
    /// A restart of ICE that the SFU has not answered.
    restart: Option<oneshot::Sender<Result<String, Unavailable>>>,
    /// Dropped at the end of the session.
    _ends: oneshot::Sender<()>,
}

#[derive(Debug)]
struct Pending {
    number: SessionId,
    nickname: Nickname,
    tracks: Vec<Track>,
    answer: oneshot::Sender<Result<Accepted, Unavailable>>,
}

/// A change of the sessions, for the terminal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::commands) enum WhipNews {
    /// A client is connected.
    Connected(Nickname),
    /// The media of a client has ended.
    Gone(Nickname, Departure),
}

impl WhipSessions {
    /// A client offers. The offer is refused while the media of another session for the same video runs.
    pub(in crate::commands) fn offer(&mut self, user: &UserId, offer: WhipOffer) -> Option<SessionOffer> {
        let WhipOffer { number, nickname, offer: PublisherOffer { sdp, audio, video, path }, answer } = offer;
        let (place, taken) = match path {
            VideoTrack::Screen => (
                &mut self.screen,
                "another encoder sends the screen of this lecture: stop that one first, or send the camera to \
                 /whip/ROOM/camera",
            ),
            VideoTrack::Camera => (
                &mut self.camera,
                "another encoder sends the camera of this lecture: stop that one first, or send the screen to \
                 /whip/ROOM",
            ),
        };
        let runs = place.current.as_ref().is_some_and(|current| current.is_connected && !current.is_silent);
        let refusal = match (runs, &place.pending) {
            (true, _) => Some((ErrorCode::PublisherExists, taken)),
            (false, Some(_)) => Some((ErrorCode::TargetBusy, "another offer is being answered, try again")),
            (false, None) => None,
        };
        if let Some((code, message)) = refusal {
            // The client may have gone.
            _ = answer.send(Err(Unavailable::Refused { code, message: message.into(), retry_after: None }));
            return None;
        }
        let track = match path {
            VideoTrack::Screen => Track::Screen,
            VideoTrack::Camera => Track::Camera,
        };
        let audio = audio.map(|mid| (mid, Track::Audio));
        let tracks: BTreeMap<String, Track> = audio.into_iter().chain(video.map(|mid| (mid, track))).collect();
        place.pending = Some(Pending { number, nickname, tracks: tracks.values().copied().collect(), answer });
        Some(SessionOffer { user: user.clone(), session: PublisherSession { number, video: path }, sdp, tracks })
    }

    /// Handles an event of the SFU about a session.
    pub(in crate::commands) fn on_event(&mut self, number: SessionId, event: SessionEvent) -> Option<WhipNews> {
        match event {
            SessionEvent::Answer { sdp } => self.answered(number, sdp),
            SessionEvent::Refused(why) => {
                if let Some(Pending { answer, .. }) = self.take_pending(number) {
                    _ = answer.send(Err(refused(&why)));
                }
            }
            SessionEvent::Restarted(result) => {
                let answer = self.current(number)?.restart.take()?;
                // The client may have gone.
                _ = answer.send(result.map_err(|why| refused(&why)));
            }
            SessionEvent::Connected => {
                let current = self.current(number)?;
                current.is_connected = true;
                return Some(WhipNews::Connected(current.nickname.clone()));
            }
            SessionEvent::Gone(why) => {
                self.take_pending(number);
                return self.take_current(number).map(|current| WhipNews::Gone(current.nickname, why));
            }
        }
        None
    }

    fn answered(&mut self, number: SessionId, sdp: String) {
        let Some(place) = self.places().find(|place| place.is_pending(number)) else { return };
        let Some(Pending { nickname, tracks, answer, .. }) = place.pending.take() else { return };
        let (ends, ended) = oneshot::channel();
        if answer.send(Ok(Accepted { sdp, ended })).is_ok() {
            let (is_connected, is_silent, restart) = (false, false, None);
            place.current = Some(Current { number, nickname, tracks, is_connected, is_silent, restart, _ends: ends });
        }
    }

    /// A client restarts ICE. Dropping the request tells the client that the session is over.
    pub(in crate::commands) fn restart(&mut self, number: SessionId, restart: http::IceRestart) -> Option<IceRestart> {
        let http::IceRestart { ufrag, password, candidates, answer } = restart;
        let current = self.current(number)?;
        if current.restart.as_ref().is_some_and(|answer| !answer.is_closed()) {
            _ = answer.send(Err(Unavailable::Restarting));
            return None;
        }
        current.restart = Some(answer);
        let candidates = candidates.into_iter().map(candidate_init).collect();
        Some(IceRestart { number, ufrag, password, candidates })
    }

    /// Takes the numbers of the sessions from which nothing has arrived for some seconds.
    pub(in crate::commands) fn hears(&mut self, silent: &[SessionId]) {
        for current in self.places().filter_map(|place| place.current.as_mut()) {
            current.is_silent = silent.contains(&current.number);
        }
    }

    /// A client has ended its session. Returns whether the session had been answered and was not over.
    pub(in crate::commands) fn ended(&mut self, number: SessionId) -> bool {
        self.take_pending(number);
        self.take_current(number).is_some()
    }

    /// Whether a session is connected.
    pub(in crate::commands) fn is_live(&self) -> bool {
        self.all().any(|current| current.is_connected)
    }

    /// Whether a session has promised this track.
    pub(in crate::commands) fn promises(&self, track: Track) -> bool {
        self.all().any(|current| current.tracks.contains(&track))
    }

    fn all(&self) -> impl Iterator<Item = &Current> {
        [&self.screen, &self.camera].into_iter().filter_map(|place| place.current.as_ref())
    }

    fn places(&mut self) -> impl Iterator<Item = &mut Place> {
        [&mut self.screen, &mut self.camera].into_iter()
    }

    fn current(&mut self, number: SessionId) -> Option<&mut Current> {
        self.places().filter_map(|place| place.current.as_mut()).find(|current| current.number == number)
    }

    fn take_current(&mut self, number: SessionId) -> Option<Current> {
        self.places().find_map(|place| place.current.take_if(|current| current.number == number))
    }

    fn take_pending(&mut self, number: SessionId) -> Option<Pending> {
        self.places().find_map(|place| place.pending.take_if(|pending| pending.number == number))
    }
}

fn refused(why: &OfferRefusal) -> Unavailable {
    Unavailable::Refused { code: refusal_code(why), message: why.to_string(), retry_after: None }
}

impl Place {
    fn is_pending(&self, number: SessionId) -> bool {
        self.pending.as_ref().is_some_and(|pending| pending.number == number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Answer = oneshot::Receiver<Result<Accepted, Unavailable>>;

    fn offer(sessions: &mut WhipSessions, number: SessionId, path: VideoTrack) -> (Option<SessionOffer>, Answer) {
        let (answer, answered) = oneshot::channel();
        let offer = PublisherOffer { sdp: "v=0".into(), audio: Some("0".into()), video: Some("1".into()), path };
        let offer = WhipOffer { number, nickname: "OBS".into(), offer, answer };
        (sessions.offer(&"9999".parse().unwrap(), offer), answered)
    }

    fn answered(sessions: &mut WhipSessions, number: SessionId) {
        assert_eq!(sessions.on_event(number, SessionEvent::Answer { sdp: "v=0".into() }), None);
    }

    fn refusal(mut answer: Answer) -> ErrorCode {
        match answer.try_recv() {
            Ok(Err(Unavailable::Refused { code, .. })) => code,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn each_video_has_one_session_at_a_time() {
        let mut sessions = WhipSessions::default();
        let (for_sfu, mut answer) = offer(&mut sessions, 1, VideoTrack::Camera);
        let tracks = for_sfu.unwrap().tracks;
        assert_eq!(tracks, BTreeMap::from([("0".to_owned(), Track::Audio), ("1".to_owned(), Track::Camera)]));
        assert_eq!(refusal(offer(&mut sessions, 2, VideoTrack::Camera).1), ErrorCode::TargetBusy);
        answered(&mut sessions, 1);
        let mut accepted = answer.try_recv().unwrap().unwrap();
        assert!(!sessions.is_live());
        let news = sessions.on_event(1, SessionEvent::Connected);
        assert_eq!(news, Some(WhipNews::Connected("OBS".into())));
        assert_eq!(refusal(offer(&mut sessions, 3, VideoTrack::Camera).1), ErrorCode::PublisherExists);
        assert!(sessions.is_live() && !sessions.ended(3));
        // The screen goes beside the camera.
        let (for_sfu, mut screen) = offer(&mut sessions, 4, VideoTrack::Screen);
        assert_eq!(for_sfu.unwrap().session, PublisherSession { number: 4, video: VideoTrack::Screen });
        answered(&mut sessions, 4);
        sessions.on_event(4, SessionEvent::Connected);
        let mut screen = screen.try_recv().unwrap().unwrap();
        assert!(sessions.promises(Track::Screen) && sessions.promises(Track::Camera));
        // The media of the camera stops, so another session takes its place.
        sessions.hears(&[1]);
        let (for_sfu, _answer) = offer(&mut sessions, 5, VideoTrack::Camera);
        assert!(for_sfu.is_some() && accepted.ended.try_recv() == Err(oneshot::error::TryRecvError::Empty));
        answered(&mut sessions, 5);
        assert_eq!(accepted.ended.try_recv(), Err(oneshot::error::TryRecvError::Closed), "the first session is over");
        assert!(!sessions.ended(1) && sessions.ended(5) && !sessions.promises(Track::Camera));
        assert!(sessions.is_live() && screen.ended.try_recv() == Err(oneshot::error::TryRecvError::Empty));
        let news = sessions.on_event(4, SessionEvent::Gone(Departure::Lost));
        assert_eq!((news, sessions.is_live()), (Some(WhipNews::Gone("OBS".into(), Departure::Lost)), false));
    }

    #[test]
    fn a_session_restarts_ice_once_at_a_time() {
        let mut sessions = WhipSessions::default();
        let (_, _answer) = offer(&mut sessions, 1, VideoTrack::Screen);
        let restart = |sessions: &mut WhipSessions| {
            let (answer, answered) = oneshot::channel();
            let (ufrag, password, candidates) = ("abcd".into(), "p".repeat(22), Vec::new());
            let for_sfu = sessions.restart(1, http::IceRestart { ufrag, password, candidates, answer });
            (for_sfu.is_some(), answered)
        };
        assert!(!restart(&mut sessions).0, "it has not been answered");
        answered(&mut sessions, 1);
        let (is_first, mut first) = restart(&mut sessions);
        let (is_second, mut second) = restart(&mut sessions);
        assert!(is_first && !is_second && second.try_recv() == Ok(Err(Unavailable::Restarting)));
        sessions.on_event(1, SessionEvent::Restarted(Ok("a=ice-ufrag:x".into())));
        assert_eq!(first.try_recv(), Ok(Ok("a=ice-ufrag:x".into())));
        assert!(restart(&mut sessions).0);
    }

    #[test]
    fn a_client_that_goes_away_leaves_no_session() {
        let mut sessions = WhipSessions::default();
        let (for_sfu, answer) = offer(&mut sessions, 1, VideoTrack::Screen);
        assert!(for_sfu.is_some());
        drop(answer);
        answered(&mut sessions, 1);
        assert!(sessions.all().next().is_none());
        let (_, answer) = offer(&mut sessions, 2, VideoTrack::Screen);
        sessions.on_event(2, SessionEvent::Refused(OfferRefusal::Busy));
        assert_eq!(refusal(answer), ErrorCode::TargetBusy);
        assert_eq!(sessions.on_event(2, SessionEvent::Gone(Departure::Lost)), None);
        let (_, _answer) = offer(&mut sessions, 3, VideoTrack::Screen);
        assert!(!sessions.ended(3) && offer(&mut sessions, 4, VideoTrack::Screen).0.is_some());
    }
}
