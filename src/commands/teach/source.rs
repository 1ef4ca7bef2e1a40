//! The source of a lecture: a capture on this computer, or the media of a WHIP client.

mod shared_capture;

use std::collections::HashMap;
use std::time::Duration;

pub(super) use self::shared_capture::SharedCapture;
use crate::rtp::{Codec, Encoding, Track};
use crate::sfu::{Sfu, SfuEvent, SfuStats};

/// The source of a lecture.
pub(super) enum Source {
    /// GStreamer captures and encodes.
    Capture(Box<SharedCapture>),
    /// A WHIP client sends encoded media.
    Whip(WhipMedia),
}

/// The media of the WHIP client, as the SFU sees it.
#[derive(Debug, Default)]
pub(super) struct WhipMedia {
    /// Each track best first. They stay when the client leaves.
    encodings: Vec<Encoding>,
    /// Frames so far. The counts stand still while no client sends.
    frames: HashMap<Encoding, u64>,
    is_live: bool,
}

impl Source {
    /// The encodings, each track best first.
    pub(super) fn encodings(&self) -> Vec<Encoding> {
        match self {
            Self::Capture(shared) => shared.capture().encodings(),
            Self::Whip(media) => media.encodings.clone(),
        }
    }

    /// The tracks with their codecs.
    pub(super) fn tracks(&self) -> Vec<(Track, Codec)> {
        let mut tracks: Vec<(Track, Codec)> = self.encodings().into_iter().map(|e| (e.track, e.codec)).collect();
        tracks.dedup_by_key(|(track, _)| *track);
        tracks
    }

    /// The mean encode time of about the last second, in milliseconds. None while the encoding is not produced, and for
    /// media that comes encoded.
    pub(super) fn encode_ms(&self, encoding: Encoding) -> Option<f32> {
        match self {
            Self::Capture(shared) => shared.capture().encode_ms(encoding),
            Self::Whip(_) => None,
        }
    }

    /// Per video source: the frames so far, and the announced frame interval (zero if unknown).
    pub(super) fn frame_counts(&self) -> Vec<(Track, u64, Duration)> {
        match self {
            Self::Capture(shared) => shared.capture().frame_counts().collect(),
            Self::Whip(media) => media.frame_counts(),
        }
    }

    /// Takes the SFU's counters of a second.
    pub(super) fn count(&mut self, stats: &SfuStats) {
        if let Self::Whip(media) = self
            && media.is_live
        {
            media.frames.clone_from(&stats.frames);
        }
    }

    /// Whether a WHIP client sends.
    pub(super) fn set_live(&mut self, is_live: bool) {
        if let Self::Whip(media) = self {
            media.is_live = is_live;
        }
    }

    /// Whether students can be answered: not before a WHIP client has come for the first time.
    pub(super) fn takes_students(&self) -> bool {
        match self {
            Self::Capture(_) => true,
            Self::Whip(media) => !media.encodings.is_empty(),
        }
    }

    /// Handles an event about the encodings. Returns an event that is about something else.
    pub(super) fn on_sfu(&mut self, event: SfuEvent) -> Option<SfuEvent> {
        match (self, event) {
            (Self::Capture(shared), event) => shared.on_sfu(event),
            (Self::Whip(media), SfuEvent::Encodings(encodings)) => {
                media.encodings = encodings;
                None
            }
            // The SFU asks the client itself.
            (Self::Whip(_), SfuEvent::KeyFrameNeeded(_) | SfuEvent::Needed(..)) => None,
            (Self::Whip(_), event) => Some(event),
        }
    }

    /// Tells the SFU which encodings a capture still produces. The SFU itself knows those of a WHIP client.
    pub(super) fn announce_encodings(&self, sfu: &Sfu) {
        if let Self::Capture(shared) = self {
            crate::endpoints::announce_encodings(shared.capture(), sfu);
        }
    }

    /// The capture, if there is one.
    pub(super) fn shared_capture(&mut self) -> Option<&mut SharedCapture> {
        match self {
            Self::Capture(shared) => Some(shared),
            Self::Whip(_) => None,
        }
    }
}

impl WhipMedia {
    fn frame_counts(&self) -> Vec<(Track, u64, Duration)> {
        let mut counts: Vec<(Track, u64, Duration)> = Vec::new();
        for encoding in self.encodings.iter().filter(|encoding| encoding.track.is_video()) {
            let frames = self.frames.get(encoding).copied().unwrap_or_default();
            match counts.iter_mut().find(|(track, ..)| *track == encoding.track) {
                Some((_, sum, _)) => *sum += frames,
                None => counts.push((encoding.track, frames, Duration::ZERO)),
            }
        }
        counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtp::Tier;

    #[test]
    fn the_frames_of_all_encodings_of_a_track_count() {
        let encoding = |track, codec, tier| Encoding { track, codec, tier };
        let (full, low) =
            (encoding(Track::Screen, Codec::H264, Tier::Full), encoding(Track::Screen, Codec::H264, Tier::Low));
        let audio = encoding(Track::Audio, Codec::Opus, Tier::Full);
        let mut source = Source::Whip(WhipMedia::default());
        assert!(!source.takes_students());
        assert!(source.on_sfu(SfuEvent::Encodings(vec![audio, full, low])).is_none());
        assert_eq!(source.tracks(), [(Track::Audio, Codec::Opus), (Track::Screen, Codec::H264)]);
        assert!(source.takes_students());
        let stats = |full_frames| {
            let frames = HashMap::from([(full, full_frames), (low, 12), (audio, 50)]);
            SfuStats { frames, ..SfuStats::default() }
        };
        source.count(&stats(30));
        assert_eq!(source.frame_counts(), [(Track::Screen, 0, Duration::ZERO)], "no client sends");
        source.set_live(true);
        source.count(&stats(30));
        assert_eq!(source.frame_counts(), [(Track::Screen, 42, Duration::ZERO)]);
        source.set_live(false);
        source.count(&stats(31));
        assert_eq!(source.frame_counts(), [(Track::Screen, 42, Duration::ZERO)], "the last frames come late");
    }
}
