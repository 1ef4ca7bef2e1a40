//! The current publisher of an SFU, and the next one until it can take over.
//!
//! A second offer, such as that of a reloaded page, changes in two phases: the frames of the current publisher go on
//! until the next one is connected and its first key frame is there. If that never happens, nothing has changed.

use std::time::{Duration, Instant};

use super::PeerId;
use super::event::OfferRefusal;
use super::timeline::Timeline;
use crate::id::UserId;
use crate::rtp::{Encoding, Frame, PerTrack, Track};

/// The least time between two offers of publishers; as for students.
const OFFER_INTERVAL: Duration = Duration::from_millis(300);

/// A new publisher that sends only audio takes over this long after its connection, without a key frame: only its
/// microphone may be on.
const AUDIO_ALONE_AFTER: Duration = Duration::from_millis(1_500);

/// The interval at which a new publisher is asked for its first key frame.
const ASK_EVERY: Duration = Duration::from_millis(500);

/// A peer that publishes, or will.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Publication {
    pub(super) id: PeerId,
    pub(super) user: UserId,
    /// The encodings that its offer promises, each track best first.
    pub(super) encodings: Vec<Encoding>,
    /// The time of the connection; `None` before it.
    connected: Option<Instant>,
    /// Whether a video frame has arrived.
    has_video: bool,
    asked: Option<Instant>,
}

impl Publication {
    pub(super) fn new(id: PeerId, user: UserId, encodings: Vec<Encoding>) -> Self {
        Self { id, user, encodings, connected: None, has_video: false, asked: None }
    }
}

/// The treatment of a frame of a publisher.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Passage {
    /// Send it.
    Send,
    /// Make its publisher the current one, then send it.
    TakeOver,
    /// Drop it.
    Drop,
}

/// The consequence of the end of a peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Ended {
    /// Nobody publishes any more.
    Gone,
    /// The user's other connection goes on, or is about to.
    Continues,
    /// The new connection has failed, and the earlier one of the same user goes on.
    NeverTookOver,
}

/// The publishers of an SFU.
#[derive(Debug, Default)]
pub(super) struct Publishing {
    current: Option<Publication>,
    next: Option<Publication>,
    /// The encodings of the last publisher.
    encodings: Vec<Encoding>,
    offered: Option<Instant>,
    timelines: PerTrack<Timeline>,
}

impl Publishing {
    /// Checks whether a user may publish now.
    pub(super) fn admit(&mut self, now: Instant, user: &UserId) -> Result<(), OfferRefusal> {
        if let Some(current) = self.current.as_ref().filter(|current| current.user != *user) {
            return Err(OfferRefusal::OtherPublisher(current.user.clone()));
        }
        if self.offered.is_some_and(|at| now.saturating_duration_since(at) < OFFER_INTERVAL) {
            return Err(OfferRefusal::TooFast(user.clone()));
        }
        self.offered = Some(now);
        Ok(())
    }

    /// A new publisher has been answered. Returns the one that it displaces, which has not taken over either.
    pub(super) fn begin(&mut self, publication: Publication) -> Option<Publication> {
        self.next.replace(publication)
    }

    /// A peer is connected. Returns whether it is a publisher that takes over at once, because nobody else publishes.
    pub(super) fn connected(&mut self, now: Instant, id: PeerId) -> bool {
        let Some(next) = self.next.as_mut().filter(|next| next.id == id) else { return false };
        next.connected = Some(now);
        self.current.is_none()
    }

    /// Makes the next publisher the current one, and returns the earlier one.
    pub(super) fn take_over(&mut self) -> Option<Publication> {
        let next = self.next.take()?;
        self.encodings.clone_from(&next.encodings);
        Track::ALL.into_iter().for_each(|track| self.timelines[track].change_source());
        self.current.replace(next)
    }

    /// Decides about a frame of the peer `id`.
    pub(super) fn on_frame(&mut self, now: Instant, id: PeerId, frame: &Frame) -> Passage {
        if self.current.as_ref().is_some_and(|current| current.id == id) {
            return Passage::Send;
        }
        let Some(next) = self.next.as_mut().filter(|next| next.id == id) else { return Passage::Drop };
        next.has_video |= frame.track.is_video();
        let is_long = next.connected.is_some_and(|at| now.saturating_duration_since(at) >= AUDIO_ALONE_AFTER);
        let starts = frame.track.is_video() && frame.key;
        if starts || is_long && !next.has_video { Passage::TakeOver } else { Passage::Drop }
    }

    /// Makes the timestamp of the frame continue those of its track, also after a change of the publisher.
    pub(super) fn continue_timestamps(&mut self, frame: &mut Frame) {
        self.timelines[frame.track].continue_with(frame);
    }

    /// The publisher to ask for its first key frame, with its video encodings.
    pub(super) fn awaits_key_frame(&mut self, now: Instant) -> Option<(PeerId, Vec<Encoding>)> {
        let next = self.next.as_mut().filter(|next| next.connected.is_some())?;
        let is_due = next.asked.is_none_or(|at| now.saturating_duration_since(at) >= ASK_EVERY);
        is_due.then(|| {
            next.asked = Some(now);
            (next.id, next.encodings.iter().copied().filter(|encoding| encoding.track.is_video()).collect())
        })
    }

    /// A peer is gone. None if it is no publisher.
    pub(super) fn ended(&mut self, id: PeerId) -> Option<Ended> {
        if let Some(next) = self.next.take_if(|next| next.id == id) {
            let goes_on = self.current.as_ref().is_some_and(|current| current.user == next.user);
            return Some(if goes_on { Ended::NeverTookOver } else { Ended::Gone });
        }
        let current = self.current.take_if(|current| current.id == id)?;
        let returns = self.next.as_ref().is_some_and(|next| next.user == current.user);
        Some(if returns { Ended::Continues } else { Ended::Gone })
    }

    /// Takes the publications of a user that has left.
    pub(super) fn remove(&mut self, user: &UserId) -> Vec<Publication> {
        let of_user = |publication: &mut Publication| publication.user == *user;
        [self.next.take_if(of_user), self.current.take_if(of_user)].into_iter().flatten().collect()
    }

    /// The current publisher.
    pub(super) fn current(&self) -> Option<&Publication> {
        self.current.as_ref()
    }

    /// Whether a connected publisher waits and nobody else publishes any more.
    pub(super) fn next_is_connected(&self) -> bool {
        self.current.is_none() && self.next.as_ref().is_some_and(|next| next.connected.is_some())
    }

    /// The peers of a user that publish or will.
    pub(super) fn of_user(&self, user: &UserId) -> impl Iterator<Item = PeerId> {
        let all = [self.next.as_ref(), self.current.as_ref()];
        all.into_iter().flatten().filter(|publication| publication.user == *user).map(|publication| publication.id)
    }

    /// Whether the last publisher has this encoding. That publisher may have left.
    pub(super) fn has(&self, encoding: Encoding) -> bool {
        self.encodings.contains(&encoding)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtp::{Codec, FrameAssembler};

    const MS: Duration = Duration::from_millis(1);

    fn user(n: u32) -> UserId {
        n.to_string().parse().unwrap()
    }

    fn publication(id: PeerId, of: u32) -> Publication {
        let encodings = [Encoding::full(Track::Audio, Codec::Opus), Encoding::full(Track::Screen, Codec::Vp8)];
        Publication::new(id, user(of), encodings.to_vec())
    }

    fn frame(track: Track, key: bool) -> Frame {
        let codec = if track.is_video() { Codec::Vp8 } else { Codec::Opus };
        let packet = [&[0x80, 0x80 | 96, 0, 1][..], &[0; 8], &[0x10, u8::from(!key), 0]].concat();
        FrameAssembler::new(Encoding::full(track, codec)).push(&packet, Instant::now()).unwrap()
    }

    /// User 1 publishes as peer 10.
    fn live(now: Instant) -> Publishing {
        let mut publishing = Publishing::default();
        publishing.admit(now, &user(1)).unwrap();
        assert_eq!(publishing.begin(publication(10, 1)), None);
        assert!(publishing.connected(now, 10), "nobody else publishes");
        assert_eq!(publishing.take_over(), None);
        publishing
    }

    #[test]
    fn the_next_publisher_takes_over_with_its_first_key_frame() {
        let now = Instant::now();
        let mut publishing = live(now);
        assert!(matches!(publishing.admit(now + OFFER_INTERVAL, &user(2)), Err(OfferRefusal::OtherPublisher(_))));
        assert!(matches!(publishing.admit(now, &user(1)), Err(OfferRefusal::TooFast(_))));
        publishing.admit(now + OFFER_INTERVAL, &user(1)).unwrap();
        assert_eq!(publishing.begin(publication(11, 1)), None);
        assert!(!publishing.connected(now, 11), "the current one goes on");
        let mut on_frame = |id, track, key| publishing.on_frame(now, id, &frame(track, key));
        assert_eq!(on_frame(11, Track::Screen, false), Passage::Drop);
        assert_eq!(on_frame(11, Track::Audio, true), Passage::Drop);
        assert_eq!(on_frame(10, Track::Screen, false), Passage::Send);
        assert_eq!(on_frame(12, Track::Screen, true), Passage::Drop, "it has been replaced");
        assert_eq!(on_frame(11, Track::Screen, true), Passage::TakeOver);
        assert_eq!(publishing.take_over().map(|older| older.id), Some(10));
        assert_eq!(publishing.on_frame(now, 10, &frame(Track::Screen, true)), Passage::Drop);
        assert_eq!(publishing.on_frame(now, 11, &frame(Track::Screen, false)), Passage::Send);
        assert_eq!(publishing.ended(10), None, "it was announced already");
        assert_eq!(publishing.ended(11), Some(Ended::Gone));
        assert!(publishing.has(Encoding::full(Track::Screen, Codec::Vp8)), "students may still join");
    }

    #[test]
    fn a_publisher_with_a_microphone_alone_takes_over_after_a_while() {
        let now = Instant::now();
        let mut publishing = live(now);
        publishing.begin(publication(11, 1));
        publishing.connected(now, 11);
        let audio = frame(Track::Audio, true);
        assert_eq!(publishing.on_frame(now + AUDIO_ALONE_AFTER - MS, 11, &audio), Passage::Drop);
        assert_eq!(publishing.on_frame(now + AUDIO_ALONE_AFTER, 11, &audio), Passage::TakeOver);
        let mut publishing = live(now);
        publishing.begin(publication(11, 1));
        publishing.connected(now, 11);
        publishing.on_frame(now, 11, &frame(Track::Screen, false));
        assert_eq!(publishing.on_frame(now + AUDIO_ALONE_AFTER, 11, &audio), Passage::Drop, "its video follows");
    }

    #[test]
    fn a_new_connection_that_fails_changes_nothing() {
        let now = Instant::now();
        let mut publishing = live(now);
        publishing.begin(publication(11, 1));
        assert_eq!(publishing.begin(publication(12, 1)).map(|displaced| displaced.id), Some(11));
        assert_eq!(publishing.ended(12), Some(Ended::NeverTookOver));
        assert_eq!(publishing.on_frame(now, 10, &frame(Track::Screen, false)), Passage::Send);
        publishing.begin(publication(13, 1));
        assert_eq!(publishing.ended(10), Some(Ended::Continues), "a page that is being loaded again");
        assert!(!publishing.next_is_connected() && publishing.connected(now, 13) && publishing.next_is_connected());
        assert_eq!(publishing.ended(13), Some(Ended::Gone));
    }

    #[test]
    fn the_next_publisher_is_asked_for_a_key_frame_until_it_takes_over() {
        let now = Instant::now();
        let mut publishing = live(now);
        publishing.begin(publication(11, 1));
        assert_eq!(publishing.awaits_key_frame(now), None, "it is not connected");
        publishing.connected(now, 11);
        let asked = (11, vec![Encoding::full(Track::Screen, Codec::Vp8)]);
        assert_eq!(publishing.awaits_key_frame(now), Some(asked.clone()));
        assert_eq!(publishing.awaits_key_frame(now + ASK_EVERY - MS), None);
        assert_eq!(publishing.awaits_key_frame(now + ASK_EVERY), Some(asked));
        publishing.take_over();
        assert_eq!(publishing.awaits_key_frame(now + 9 * ASK_EVERY), None);
    }

    #[test]
    fn a_user_that_leaves_takes_both_its_connections_along() {
        let mut publishing = live(Instant::now());
        publishing.begin(publication(11, 1));
        assert_eq!(publishing.of_user(&user(1)).collect::<Vec<_>>(), [11, 10]);
        assert!(publishing.remove(&user(2)).is_empty());
        assert_eq!(publishing.remove(&user(1)).len(), 2);
        assert!(publishing.current().is_none() && publishing.admit(Instant::now(), &user(2)).is_err(), "too fast");
    }
}
