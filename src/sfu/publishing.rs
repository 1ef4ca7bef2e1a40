//! The current publisher of an SFU, and its next connections until they can take over.
//!
//! A publisher has one connection for all of its tracks, as a page has, or a session for each video, as WHIP has (RFC
//! 9725, 4.4.2). The sound comes from the session that has been there longest among those with audio.
//!
//! A second offer for the same tracks, such as that of a reloaded page, changes in two phases: the frames of the
//! current connection go on until the next one is connected and its first key frame is there. If that never happens,
//! nothing has changed.

use std::time::{Duration, Instant};

use super::PeerId;
use super::event::OfferRefusal;
use super::session::{PublisherSession, SessionId};
use super::timeline::Timeline;
use crate::id::UserId;
use crate::protocol::VideoTrack;
use crate::rtp::{Codec, Encoding, Frame, PerTrack, Track};

/// The least time between two offers for the same tracks; as for students.
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
    /// None for the connection of a page, which has all tracks.
    pub(super) session: Option<PublisherSession>,
    /// The encodings that its offer promises, each track best first.
    encodings: Vec<Encoding>,
    /// The time of the connection; `None` before it.
    connected: Option<Instant>,
    /// Whether a video frame has arrived.
    has_video: bool,
    asked: Option<Instant>,
}

impl Publication {
    pub(super) fn new(id: PeerId, user: UserId, session: Option<PublisherSession>, encodings: Vec<Encoding>) -> Self {
        Self { id, user, session, encodings, connected: None, has_video: false, asked: None }
    }

    /// Whether only one of the two can be current.
    fn excludes(&self, other: &Self) -> bool {
        match (self.session, other.session) {
            (Some(one), Some(other)) => one.video == other.video,
            _ => true,
        }
    }

    fn has(&self, track: Track) -> bool {
        self.encodings.iter().any(|encoding| encoding.track == track)
    }
}

/// The treatment of a frame of a publisher.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Passage {
    /// Send it.
    Send,
    /// Make its connection a current one, then send it.
    TakeOver,
    /// Drop it.
    Drop,
}

/// The consequence of the end of a peer for its user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    /// Nobody publishes any more.
    Gone,
    /// The user has other connections, or is about to.
    Continues,
    /// The new connection has failed, and the earlier one of the same user goes on.
    NeverTookOver,
}

/// A change of the current connections.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Change {
    /// Those that another one has replaced.
    pub(super) replaced: Vec<Publication>,
    /// The tracks that come from another connection now, or from none.
    pub(super) tracks: Vec<Track>,
}

/// The publishers of an SFU.
#[derive(Debug, Default)]
pub(super) struct Publishing {
    /// The connections whose media is sent, the oldest first. All are of one user.
    current: Vec<Publication>,
    /// Those that have not taken over. All are of one user.
    next: Vec<Publication>,
    /// The encodings that students may expect, each track best first. They stay when the publisher leaves.
    encodings: Vec<Encoding>,
    /// The last offers: of pages, of sessions for the screen, of sessions for the camera.
    offered: [Option<Instant>; 3],
    timelines: PerTrack<Timeline>,
}

impl Publishing {
    /// Checks whether a user may publish now.
    pub(super) fn admit(
        &mut self,
        now: Instant,
        user: &UserId,
        session: Option<PublisherSession>,
    ) -> Result<(), OfferRefusal> {
        if let Some(current) = self.current.iter().find(|current| current.user != *user) {
            return Err(OfferRefusal::OtherPublisher(current.user.clone()));
        }
        let last = &mut self.offered[match session.map(|session| session.video) {
            None => 0,
            Some(VideoTrack::Screen) => 1,
            Some(VideoTrack::Camera) => 2,
        }];
        if last.is_some_and(|at| now.saturating_duration_since(at) < OFFER_INTERVAL) {
            return Err(OfferRefusal::TooFast(user.clone()));
        }
        *last = Some(now);
        Ok(())
    }

    /// A new connection has been answered. Returns those that it displaces, which have not taken over either.
    pub(super) fn begin(&mut self, publication: Publication) -> Vec<Publication> {
        let is_displaced = |next: &mut Publication| next.user != publication.user || next.excludes(&publication);
        let displaced = self.next.extract_if(.., is_displaced).collect();
        self.next.push(publication);
        displaced
    }

    /// A peer is connected. Returns whether it is a publisher that takes over at once, because it replaces none.
    pub(super) fn connected(&mut self, now: Instant, id: PeerId) -> bool {
        let Some(next) = self.next.iter_mut().find(|next| next.id == id) else { return false };
        next.connected = Some(now);
        !self.current.iter().any(|current| current.excludes(next))
    }

    /// Makes a connection a current one.
    pub(super) fn take_over(&mut self, id: PeerId) -> Change {
        let Some(at) = self.next.iter().position(|next| next.id == id) else { return Change::default() };
        let (next, before) = (self.next.remove(at), self.sources());
        let replaced = self.current.extract_if(.., |current| current.excludes(&next)).collect();
        self.current.push(next);
        Change { replaced, tracks: self.change_sources(before) }
    }

    /// Decides about a frame of the peer `id`.
    pub(super) fn on_frame(&mut self, now: Instant, id: PeerId, frame: &Frame) -> Passage {
        if self.current.iter().any(|current| current.id == id) {
            let is_source = self.source(frame.track).is_some_and(|source| source.id == id);
            return if is_source { Passage::Send } else { Passage::Drop };
        }
        let Some(next) = self.next.iter_mut().find(|next| next.id == id) else { return Passage::Drop };
        next.has_video |= frame.track.is_video();
        let is_long = next.connected.is_some_and(|at| now.saturating_duration_since(at) >= AUDIO_ALONE_AFTER);
        let starts = frame.track.is_video() && frame.key;
        if starts || is_long && !next.has_video { Passage::TakeOver } else { Passage::Drop }
    }

    /// Makes the timestamp of the frame continue those of its track, also after a change of the publisher.
    pub(super) fn continue_timestamps(&mut self, frame: &mut Frame) {
        self.timelines[frame.track].continue_with(frame);
    }

    /// The next connection to ask for its first key frame, with its video encodings.
    pub(super) fn awaits_key_frame(&mut self, now: Instant) -> Option<(PeerId, Vec<Encoding>)> {
        let is_due = |asked: Option<Instant>| asked.is_none_or(|at| now.saturating_duration_since(at) >= ASK_EVERY);
        let next = self.next.iter_mut().find(|next| next.connected.is_some() && is_due(next.asked))?;
        next.asked = Some(now);
        Some((next.id, next.encodings.iter().copied().filter(|encoding| encoding.track.is_video()).collect()))
    }

    /// A peer is gone. None if it is no publisher.
    pub(super) fn ended(&mut self, id: PeerId) -> Option<(Publication, Ended, Change)> {
        let (ended, change) = self.take(|publication| publication.id == id)?;
        let never_took_over = self.current.iter().any(|current| current.excludes(&ended));
        let result = match (never_took_over, self.is_empty()) {
            (true, _) => Ended::NeverTookOver,
            (false, true) => Ended::Gone,
            (false, false) => Ended::Continues,
        };
        Some((ended, result, change))
    }

    /// Takes the connection of a session that its client has ended.
    pub(super) fn end_session(&mut self, number: SessionId) -> Option<(Publication, Change)> {
        self.take(|publication| publication.session.is_some_and(|session| session.number == number))
    }

    fn take(&mut self, is_it: impl Fn(&Publication) -> bool) -> Option<(Publication, Change)> {
        if let Some(at) = self.next.iter().position(&is_it) {
            return Some((self.next.remove(at), Change::default()));
        }
        let (at, before) = (self.current.iter().position(is_it)?, self.sources());
        let ended = self.current.remove(at);
        Some((ended, Change { replaced: Vec::new(), tracks: self.change_sources(before) }))
    }

    /// Takes the publications of a user that has left.
    pub(super) fn remove(&mut self, user: &UserId) -> Vec<Publication> {
        let next = self.next.extract_if(.., |publication| publication.user == *user);
        next.chain(self.current.extract_if(.., |publication| publication.user == *user)).collect()
    }

    /// The connections whose media is sent.
    pub(super) fn current(&self) -> &[Publication] {
        &self.current
    }

    /// Whether nobody publishes or is about to.
    pub(super) fn is_empty(&self) -> bool {
        self.current.is_empty() && self.next.is_empty()
    }

    /// A connection that waits although it replaces none any more.
    pub(super) fn waits_for_none(&self) -> Option<PeerId> {
        let waits = |next: &&Publication| {
            next.connected.is_some() && !self.current.iter().any(|current| current.excludes(next))
        };
        self.next.iter().find(waits).map(|next| next.id)
    }

    /// The peers of a user that publish or will.
    pub(super) fn of_user(&self, user: &UserId) -> impl Iterator<Item = PeerId> {
        let all = self.next.iter().chain(&self.current);
        all.filter(|publication| publication.user == *user).map(|publication| publication.id)
    }

    /// The peer of a session.
    pub(super) fn of_session(&self, number: SessionId) -> Option<PeerId> {
        let is_it = |session: PublisherSession| session.number == number;
        self.next.iter().chain(&self.current).find(|one| one.session.is_some_and(is_it)).map(|one| one.id)
    }

    /// Whether the last publisher has this encoding. That publisher may have left.
    pub(super) fn has(&self, encoding: Encoding) -> bool {
        self.encodings.contains(&encoding)
    }

    /// The connection from which a track comes.
    pub(super) fn source(&self, track: Track) -> Option<&Publication> {
        self.current.iter().find(|current| current.has(track))
    }

    /// The encodings that students may expect, each track best first. If a publisher has sessions, these include the
    /// tracks that a further session may bring, so that students need not connect again for them.
    pub(super) fn encodings(&self) -> &[Encoding] {
        &self.encodings
    }

    /// The encodings that somebody sends, each track best first.
    pub(super) fn sent(&self) -> Vec<Encoding> {
        Track::ALL.into_iter().flat_map(|track| self.sent_of(track)).collect()
    }

    fn sent_of(&self, track: Track) -> impl Iterator<Item = Encoding> {
        let all = self.source(track).into_iter().flat_map(|source| &source.encodings);
        all.copied().filter(move |encoding| encoding.track == track)
    }

    fn sources(&self) -> PerTrack<Option<PeerId>> {
        let mut sources = PerTrack::default();
        for track in Track::ALL {
            sources[track] = self.source(track).map(|source| source.id);
        }
        sources
    }

    /// The current connections have changed: returns the tracks that have another source than before.
    fn change_sources(&mut self, before: PerTrack<Option<PeerId>>) -> Vec<Track> {
        let now = self.sources();
        let changed: Vec<Track> = Track::ALL.into_iter().filter(|track| before[*track] != now[*track]).collect();
        changed.iter().for_each(|track| self.timelines[*track].change_source());
        if !self.current.is_empty() {
            self.encodings = Track::ALL.into_iter().flat_map(|track| self.expected_of(track)).collect();
        }
        changed
    }

    /// The encodings of a track that students may expect: those that are sent, or else one that a further session may
    /// bring.
    fn expected_of(&self, track: Track) -> Vec<Encoding> {
        let sent: Vec<Encoding> = self.sent_of(track).collect();
        if !sent.is_empty() || self.current.iter().any(|current| current.session.is_none()) {
            return sent;
        }
        let codec = match track {
            Track::Audio => Some(Codec::Opus),
            // An encoder that sends both videos has one codec for both.
            Track::Screen | Track::Camera => {
                let last = self.encodings.iter().find(|encoding| encoding.track == track);
                let other = self.current.iter().flat_map(|current| &current.encodings);
                last.or(other.into_iter().find(|encoding| encoding.track.is_video())).map(|encoding| encoding.codec)
            }
        };
        codec.map(|codec| Encoding::full(track, codec)).into_iter().collect()
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

    fn encodings(video: Track) -> Vec<Encoding> {
        vec![Encoding::full(Track::Audio, Codec::Opus), Encoding::full(video, Codec::Vp8)]
    }

    fn publication(id: PeerId, of: u32) -> Publication {
        Publication::new(id, user(of), None, encodings(Track::Screen))
    }

    /// User 1 has a session with audio and this video; its number is that of the peer.
    fn session(id: PeerId, video: VideoTrack) -> Publication {
        let track = if video == VideoTrack::Screen { Track::Screen } else { Track::Camera };
        Publication::new(id, user(1), Some(PublisherSession { number: id, video }), encodings(track))
    }

    fn frame(track: Track, key: bool) -> Frame {
        let codec = if track.is_video() { Codec::Vp8 } else { Codec::Opus };
        let packet = [&[0x80, 0x80 | 96, 0, 1][..], &[0; 8], &[0x10, u8::from(!key), 0]].concat();
        FrameAssembler::new(Encoding::full(track, codec)).push(&packet, Instant::now()).unwrap()
    }

    fn ids(publications: &[Publication]) -> Vec<PeerId> {
        publications.iter().map(|publication| publication.id).collect()
    }

    fn ended(publishing: &mut Publishing, id: PeerId) -> Option<Ended> {
        publishing.ended(id).map(|(_, ended, _)| ended)
    }

    /// User 1 publishes as peer 10.
    fn live(now: Instant) -> Publishing {
        let mut publishing = Publishing::default();
        publishing.admit(now, &user(1), None).unwrap();
        assert_eq!(publishing.begin(publication(10, 1)), []);
        assert!(publishing.connected(now, 10), "nobody else publishes");
        let tracks = vec![Track::Audio, Track::Screen];
        assert_eq!(publishing.take_over(10), Change { replaced: vec![], tracks });
        publishing
    }

    #[test]
    fn the_next_publisher_takes_over_with_its_first_key_frame() {
        let now = Instant::now();
        let mut publishing = live(now);
        assert!(matches!(publishing.admit(now + OFFER_INTERVAL, &user(2), None), Err(OfferRefusal::OtherPublisher(_))));
        assert!(matches!(publishing.admit(now, &user(1), None), Err(OfferRefusal::TooFast(_))));
        publishing.admit(now + OFFER_INTERVAL, &user(1), None).unwrap();
        assert_eq!(publishing.begin(publication(11, 1)), []);
        assert!(!publishing.connected(now, 11), "the current one goes on");
        let mut on_frame = |id, track, key| publishing.on_frame(now, id, &frame(track, key));
        assert_eq!(on_frame(11, Track::Screen, false), Passage::Drop);
        assert_eq!(on_frame(11, Track::Audio, true), Passage::Drop);
        assert_eq!(on_frame(10, Track::Screen, false), Passage::Send);
        assert_eq!(on_frame(12, Track::Screen, true), Passage::Drop, "it has been replaced");
        assert_eq!(on_frame(11, Track::Screen, true), Passage::TakeOver);
        assert_eq!(ids(&publishing.take_over(11).replaced), [10]);
        assert_eq!(publishing.on_frame(now, 10, &frame(Track::Screen, true)), Passage::Drop);
        assert_eq!(publishing.on_frame(now, 11, &frame(Track::Screen, false)), Passage::Send);
        assert_eq!(ended(&mut publishing, 10), None, "it was announced already");
        assert_eq!(ended(&mut publishing, 11), Some(Ended::Gone));
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
        assert_eq!(ids(&publishing.begin(publication(12, 1))), [11]);
        assert_eq!(ended(&mut publishing, 12), Some(Ended::NeverTookOver));
        assert_eq!(publishing.on_frame(now, 10, &frame(Track::Screen, false)), Passage::Send);
        publishing.begin(publication(13, 1));
        assert_eq!(ended(&mut publishing, 10), Some(Ended::Continues), "a page that is being loaded again");
        assert_eq!(publishing.waits_for_none(), None);
        assert!(publishing.connected(now, 13) && publishing.waits_for_none() == Some(13));
        assert_eq!(ended(&mut publishing, 13), Some(Ended::Gone));
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
        publishing.take_over(11);
        assert_eq!(publishing.awaits_key_frame(now + 9 * ASK_EVERY), None);
    }

    #[test]
    fn a_user_that_leaves_takes_both_its_connections_along() {
        let mut publishing = live(Instant::now());
        publishing.begin(publication(11, 1));
        assert_eq!(publishing.of_user(&user(1)).collect::<Vec<_>>(), [11, 10]);
        assert!(publishing.remove(&user(2)).is_empty());
        assert_eq!(publishing.remove(&user(1)).len(), 2);
        assert!(
            publishing.current().is_empty() && publishing.admit(Instant::now(), &user(2), None).is_err(),
            "too fast"
        );
    }

    #[test]
    fn two_sessions_of_a_publisher_are_its_screen_and_its_camera() {
        let now = Instant::now();
        let mut publishing = Publishing::default();
        for (n, video) in [(20, VideoTrack::Screen), (21, VideoTrack::Camera)] {
            let offered = session(n, video);
            publishing.admit(now, &user(1), offered.session).unwrap();
            let again = publishing.admit(now, &user(1), offered.session);
            assert!(matches!(again, Err(OfferRefusal::TooFast(_))), "{video:?}");
            publishing.begin(offered);
        }
        assert!(publishing.connected(now, 21));
        publishing.take_over(21);
        let all = [Track::Audio, Track::Screen, Track::Camera];
        let expected = || publishing.encodings().iter().map(|encoding| encoding.track).collect::<Vec<_>>();
        assert_eq!(expected(), all, "a screen may follow");
        assert_eq!(publishing.sent(), encodings(Track::Camera));
        assert!(publishing.connected(now, 20), "it replaces none");
        assert_eq!(publishing.take_over(20), Change { replaced: vec![], tracks: vec![Track::Screen] });
        assert_eq!((publishing.sent().len(), publishing.of_session(20)), (3, Some(20)));
        let passes = |publishing: &mut Publishing, id, track| publishing.on_frame(now, id, &frame(track, true));
        assert_eq!(passes(&mut publishing, 21, Track::Camera), Passage::Send);
        assert_eq!(passes(&mut publishing, 20, Track::Screen), Passage::Send);
        assert_eq!(passes(&mut publishing, 21, Track::Audio), Passage::Send);
        assert_eq!(passes(&mut publishing, 20, Track::Audio), Passage::Drop, "the other one was first");
        // Another session for the camera replaces that one alone, and the sound changes.
        publishing.begin(session(22, VideoTrack::Camera));
        assert!(!publishing.connected(now, 22));
        assert_eq!(passes(&mut publishing, 22, Track::Camera), Passage::TakeOver);
        let change = publishing.take_over(22);
        assert_eq!((ids(&change.replaced), change.tracks), (vec![21], vec![Track::Audio, Track::Camera]));
        assert_eq!(passes(&mut publishing, 20, Track::Audio), Passage::Send);
        let (gone, change) = publishing.end_session(20).unwrap();
        assert_eq!((gone.id, change.tracks), (20, vec![Track::Audio, Track::Screen]));
        assert_eq!(publishing.encodings().len(), 3, "the screen may return");
        assert_eq!(publishing.sent(), encodings(Track::Camera));
        assert_eq!(ended(&mut publishing, 22), Some(Ended::Gone));
        assert!(publishing.is_empty() && publishing.encodings().len() == 3);
    }
}
