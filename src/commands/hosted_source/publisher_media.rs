//! The state of a publisher's media at its host, and the reports on it for the publisher and the class. The publisher
//! of a lecture and a speaker on the stage are publishers. Pure.

use std::time::{Duration, Instant};

use crate::ingest::{EncodingStats, IngestStats};
use crate::protocol::TrackName;
use crate::protocol::channel::{
    IngestReport, IngestTrack, IngestTrouble, NeededEncoding, Stopped, Unsent, WatchedEncoding,
};
use crate::rtp::{Encoding, PerEncoding, Track};
use crate::sfu::{PublisherStats, SfuStats};

/// The longest time from the need of an encoding to its first frame: a page switches the layer on, and its encoder
/// makes a key frame.
const STARTS_WITHIN: Duration = Duration::from_secs(2);

/// The longest wait for a key frame of a connected publisher. It may send audio alone.
const KEY_FRAME_WITHIN: Duration = Duration::from_secs(2);

/// The media that a connected publisher must send before others receive it.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) enum Start {
    /// A key frame, or nothing for a while: students see an empty lecture rather than an error.
    #[default]
    EvenSilent,
    /// A key frame, or audio: nobody is shown a speaker who sends nothing.
    WithMedia,
}

/// The media of a publisher.
#[derive(Debug, Default)]
pub(super) struct PublisherMedia {
    start: Start,
    /// The encodings that students may get, each track best first.
    encodings: Vec<Encoding>,
    /// For each needed encoding, the start of the need.
    needed: PerEncoding<Option<Instant>>,
    state: State,
    /// Whether a frame of the screen, and of the camera, has arrived.
    begun: [bool; 2],
    /// Packets that were dropped up to the last report, for each kind of trouble.
    dropped: [u64; 4],
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum State {
    /// No publisher has connected yet.
    #[default]
    Awaited,
    /// The publisher is connected, and its first key frame has not arrived.
    Starting { since: Instant },
    /// The publisher is connected, and others can receive its media.
    Live { since: Instant },
    /// The publisher was live, and its connection is gone.
    Gone,
}

impl PublisherMedia {
    /// The media of a publisher that has not connected yet.
    pub(super) fn new(start: Start) -> Self {
        Self { start, ..Self::default() }
    }

    /// A publisher has connected, or other encodings are available.
    pub(super) fn available(&mut self, now: Instant, encodings: Vec<Encoding>) {
        self.encodings = encodings;
        self.state = match self.state {
            State::Awaited => State::Starting { since: now },
            State::Gone => State::Live { since: now },
            connected => connected,
        };
    }

    /// The publisher's connection is gone. Students that have media keep their connections.
    pub(super) fn gone(&mut self) {
        self.state = match self.state {
            State::Live { .. } | State::Gone => State::Gone,
            State::Awaited | State::Starting { .. } => State::Awaited,
        };
    }

    /// Records whether an encoding is needed. Returns whether that has changed.
    pub(super) fn need(&mut self, now: Instant, encoding: Encoding, is_needed: bool) -> bool {
        let before = self.needed[encoding];
        self.needed[encoding] = is_needed.then_some(before.unwrap_or(now));
        before.is_some() != is_needed
    }

    /// Whether students' offers can be answered.
    pub(super) fn takes_students(&self) -> bool {
        matches!(self.state, State::Live { .. } | State::Gone)
    }

    /// Whether the first key frame is awaited.
    pub(super) fn is_starting(&self) -> bool {
        matches!(self.state, State::Starting { .. })
    }

    /// Whether the publisher is connected, and others can receive its media.
    pub(super) fn is_live(&self) -> bool {
        matches!(self.state, State::Live { .. })
    }

    /// Looks for the first key frame.
    pub(super) fn look_for_key_frame(&mut self, now: Instant, stats: &SfuStats) {
        let State::Starting { since } = self.state else { return };
        let has_key_frame = stats.key_frames.keys().any(|encoding| encoding.track.is_video());
        let is_long = now.saturating_duration_since(since) >= KEY_FRAME_WITHIN;
        let starts_without = match self.start {
            Start::EvenSilent => is_long,
            Start::WithMedia => {
                let awaits_video = self.encodings.iter().any(|encoding| encoding.track.is_video());
                (is_long || !awaits_video) && stats.frames.values().any(|frames| *frames > 0)
            }
        };
        if has_key_frame || starts_without {
            self.state = State::Live { since };
        }
    }

    /// The encodings that students may get.
    pub(super) fn encodings(&self) -> Vec<Encoding> {
        self.encodings.clone()
    }

    /// The tracks that the publisher has promised.
    pub(super) fn tracks(&self) -> Vec<TrackName> {
        let is_promised = |track: &Track| self.encodings.iter().any(|encoding| encoding.track == *track);
        Track::ALL.into_iter().filter(is_promised).map(TrackName::from).collect()
    }

    /// The tracks that deliver nothing: a muted microphone, a camera that is off.
    pub(super) fn silent_tracks(&self, now: Instant, stats: Option<&PublisherStats>) -> Vec<TrackName> {
        Track::ALL.into_iter().filter(|track| self.is_stopped(now, *track, stats)).map(TrackName::from).collect()
    }

    /// The video encodings that somebody needs.
    pub(super) fn needed(&self) -> Vec<NeededEncoding> {
        let is_needed = |encoding: &Encoding| encoding.track.is_video() && self.needed[*encoding].is_some();
        let mut needed: Vec<NeededEncoding> = Vec::new();
        for encoding in Encoding::all().filter(is_needed) {
            let encoding = NeededEncoding { track: encoding.track.into(), tier: encoding.tier.into() };
            // The codec is the publisher's own.
            if !needed.contains(&encoding) {
                needed.push(encoding);
            }
        }
        needed
    }

    /// The report on the last second. Call this once a second.
    pub(super) fn report(&mut self, now: Instant, stats: &SfuStats) -> IngestReport {
        let none = IngestStats::default();
        let ingest = stats.ingest.as_ref().map_or(&none, |ingest| &ingest.stats);
        let watched = stats.watched.iter().filter(|(encoding, _)| encoding.track.is_video());
        let watched = watched.map(|(encoding, students)| WatchedEncoding {
            track: encoding.track.into(),
            tier: encoding.tier.into(),
            students: *students,
        });
        IngestReport {
            bitrate: ingest.bits_per_second,
            round_trip_ms: ingest.round_trip.map(|time| time.as_millis().try_into().unwrap_or(u32::MAX)),
            trouble: self.trouble(now, ingest),
            tracks: tracks(&ingest.encodings),
            watched: watched.collect(),
            students: stats.students,
        }
    }

    fn trouble(&mut self, now: Instant, ingest: &IngestStats) -> Vec<IngestTrouble> {
        let has_no_key_frame = ingest.encodings.iter().any(|arrived| {
            let awaited = arrived.awaits_key_frame.is_some_and(|at| now.saturating_duration_since(at) >= STARTS_WITHIN);
            awaited && self.needed[arrived.encoding].is_some()
        });
        let counts = [
            (IngestTrouble::OverLimit, ingest.over_limit),
            (IngestTrouble::UnknownStream, ingest.unknown_ssrc),
            (IngestTrouble::WrongCodec, ingest.encodings.iter().map(|arrived| arrived.wrong_payload_type).sum()),
            (IngestTrouble::Malformed, ingest.malformed),
        ];
        let before = std::mem::replace(&mut self.dropped, counts.map(|(_, count)| count));
        let grown = counts.into_iter().zip(before).filter(|((_, count), before)| count > before);
        has_no_key_frame
            .then_some(IngestTrouble::NoKeyFrame)
            .into_iter()
            .chain(grown.map(|((what, _), _)| what))
            .collect()
    }

    /// The stopped videos. Without a publisher, all are stopped; with one, a needed video without packets is stopped.
    pub(super) fn stopped(&self, now: Instant, stats: Option<&PublisherStats>) -> Stopped {
        let is_stopped = |track| self.is_stopped(now, track, stats);
        let (screen, camera) = (is_stopped(Track::Screen), is_stopped(Track::Camera));
        let unsent = Unsent { screen: screen && !self.begun[0], camera: camera && !self.begun[1] };
        Stopped { screen, camera, unsent }
    }

    /// Notes which videos have begun.
    pub(super) fn count(&mut self, stats: &SfuStats) {
        for (begun, track) in self.begun.iter_mut().zip([Track::Screen, Track::Camera]) {
            *begun |= stats.frames.iter().any(|(encoding, frames)| encoding.track == track && *frames > 0);
        }
    }

    fn is_stopped(&self, now: Instant, track: Track, stats: Option<&PublisherStats>) -> bool {
        let is_long_ago = |since: Instant| now.saturating_duration_since(since) >= STARTS_WITHIN;
        let mut of_track = self.encodings.iter().filter(|encoding| encoding.track == track).peekable();
        match self.state {
            State::Gone => of_track.peek().is_some(),
            State::Live { since } if is_long_ago(since) => {
                let is_due = |encoding: &Encoding| !track.is_video() || self.needed[*encoding].is_some_and(is_long_ago);
                of_track.clone().any(is_due)
                    && stats.is_some_and(|stats| of_track.all(|encoding| stats.silent.contains(encoding)))
            }
            State::Live { .. } | State::Starting { .. } | State::Awaited => false,
        }
    }
}

/// The tracks of a publisher in the last second, each with all of its encodings.
fn tracks(encodings: &[EncodingStats]) -> Vec<IngestTrack> {
    let mut tracks: Vec<IngestTrack> = Vec::new();
    for arrived in encodings {
        let track = TrackName::from(arrived.encoding.track);
        let loss_percent = (arrived.loss * 100.0).round().clamp(0.0, 100.0) as u8;
        let (bitrate, fps, audio_level) = (arrived.bits_per_second, arrived.fps, arrived.audio_level);
        match tracks.iter_mut().find(|known| known.track == track) {
            Some(known) => {
                known.bitrate += bitrate;
                known.loss_percent = known.loss_percent.max(loss_percent);
                known.fps = known.fps.max(fps);
            }
            None => tracks.push(IngestTrack { track, bitrate, loss_percent, fps, audio_level }),
        }
    }
    tracks
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::protocol::channel::SentTier;
    use crate::rtp::{Codec, Tier};

    const SECOND: Duration = Duration::from_secs(1);

    fn screen() -> Encoding {
        Encoding::full(Track::Screen, Codec::Vp8)
    }

    fn encodings() -> Vec<Encoding> {
        vec![Encoding::full(Track::Audio, Codec::Opus), screen(), screen().with(Tier::Low)]
    }

    fn silent(silent: &[Encoding]) -> PublisherStats {
        let (user, stats) = ("9999".parse().unwrap(), IngestStats::default());
        let (silent_sessions, silence) = (Vec::new(), Duration::ZERO);
        PublisherStats { user, stats, silent: silent.to_vec(), silent_sessions, silence }
    }

    /// A publisher that went live at `now`.
    fn live(now: Instant) -> PublisherMedia {
        let mut media = PublisherMedia::default();
        media.available(now, encodings());
        assert!(!media.takes_students() && media.is_starting());
        let key_frames = [(screen(), 1)].into();
        media.look_for_key_frame(now, &SfuStats { key_frames, ..SfuStats::default() });
        assert!(media.takes_students());
        media
    }

    #[test]
    fn students_wait_for_the_first_key_frame_or_a_lecture_without_video() {
        let now = Instant::now();
        let mut media = PublisherMedia::default();
        media.look_for_key_frame(now + 10 * SECOND, &SfuStats::default());
        assert!(!media.takes_students(), "nobody is connected");
        media.available(now, encodings());
        let audio = [(Encoding::full(Track::Audio, Codec::Opus), 40)].into();
        let stats = SfuStats { key_frames: audio, ..SfuStats::default() };
        media.look_for_key_frame(now + SECOND, &stats);
        assert!(!media.takes_students());
        media.gone();
        assert!(!media.takes_students() && !media.is_starting(), "nothing has arrived yet");
        media.available(now, encodings());
        media.look_for_key_frame(now + KEY_FRAME_WITHIN, &stats);
        assert!(media.takes_students());
        media.gone();
        assert!(media.takes_students(), "the replay of the last publisher is there");
    }

    #[test]
    fn a_speaker_is_live_once_something_arrives() {
        let now = Instant::now();
        let mut media = PublisherMedia::new(Start::WithMedia);
        media.available(now, encodings());
        let audio = Encoding::full(Track::Audio, Codec::Opus);
        let some = SfuStats { frames: [(audio, 1)].into(), ..SfuStats::default() };
        media.look_for_key_frame(now + 9 * KEY_FRAME_WITHIN, &SfuStats::default());
        media.look_for_key_frame(now, &some);
        assert!(media.is_starting(), "its screen may follow");
        media.look_for_key_frame(now + KEY_FRAME_WITHIN, &some);
        assert!(media.is_live());
        assert_eq!(media.tracks(), [TrackName::Audio, TrackName::Screen]);

        let mut media = PublisherMedia::new(Start::WithMedia);
        media.available(now, vec![audio]);
        media.look_for_key_frame(now, &some);
        assert!(media.is_live(), "it has a microphone alone");
        let mute = silent(&[audio]);
        assert_eq!(media.silent_tracks(now + STARTS_WITHIN, Some(&mute)), [TrackName::Audio]);
        assert_eq!(media.silent_tracks(now, Some(&mute)), [], "it has just come");
        media.gone();
        assert_eq!(media.silent_tracks(now, None), [TrackName::Audio]);
    }

    #[test]
    fn a_video_has_stopped_if_it_is_needed_and_nothing_of_it_arrives() {
        let now = Instant::now();
        let mut media = live(now);
        let stopped =
            |media: &PublisherMedia, at, none: &[Encoding]| media.stopped(now + at, Some(&silent(none))).screen;
        let (full, low) = (screen(), screen().with(Tier::Low));
        assert!(!stopped(&media, 60 * SECOND, &[full, low]), "nobody needs it");
        media.need(now + 60 * SECOND, low, true);
        assert!(!stopped(&media, 61 * SECOND, &[full, low]), "the page is switching it on");
        assert!(stopped(&media, 62 * SECOND, &[full, low]));
        assert!(!stopped(&media, 62 * SECOND, &[full]), "the low tier arrives");
        media.gone();
        let unsent = Unsent { screen: true, camera: false };
        let stopped_screen = Stopped { screen: true, camera: false, unsent };
        assert_eq!(media.stopped(now, None), stopped_screen, "there is no camera, and the screen never came");
        media.count(&SfuStats { frames: HashMap::from([(low, 1)]), ..SfuStats::default() });
        assert_eq!(media.stopped(now, None), Stopped { unsent: Unsent::default(), ..stopped_screen });
        media.available(now + 70 * SECOND, encodings());
        assert!(!stopped(&media, 71 * SECOND, &[full, low]), "it has just come back");
        assert!(stopped(&media, 72 * SECOND, &[full, low]));
    }

    #[test]
    fn the_publisher_is_told_which_encodings_are_needed() {
        let now = Instant::now();
        let mut media = live(now);
        assert!(media.need(now, screen(), true) && !media.need(now, screen(), true));
        media.need(now, Encoding::full(Track::Screen, Codec::H264), true);
        media.need(now, Encoding::full(Track::Audio, Codec::Opus), true);
        media.need(now, Encoding::full(Track::Camera, Codec::Vp8).with(Tier::Low), true);
        let needed = |track, tier| NeededEncoding { track, tier };
        let (full, low) = (needed(TrackName::Screen, SentTier::Full), needed(TrackName::Camera, SentTier::Low));
        assert_eq!(media.needed(), [full, low]);
        assert!(media.need(now, screen(), false) && !media.need(now, screen(), false));
    }

    #[test]
    fn the_publisher_is_told_of_trouble_while_it_lasts() {
        let now = Instant::now();
        let mut media = live(now);
        let mut trouble = |ingest: IngestStats| {
            let ingest = Some(PublisherStats { stats: ingest, ..silent(&[]) });
            media.report(now, &SfuStats { ingest, ..SfuStats::default() }).trouble
        };
        let stats = |over_limit, unknown_ssrc| IngestStats { over_limit, unknown_ssrc, ..IngestStats::default() };
        assert_eq!(trouble(stats(0, 0)), []);
        assert_eq!(trouble(stats(5, 0)), [IngestTrouble::OverLimit]);
        assert_eq!(trouble(stats(9, 2)), [IngestTrouble::OverLimit, IngestTrouble::UnknownStream]);
        assert_eq!(trouble(stats(9, 2)), [], "it has stopped");
        assert_eq!(trouble(stats(0, 0)), [], "another publisher");
    }
}
