//! The tracks of a lecture, as engines that answer offers need them. Pure.

use crate::protocol::VideoTrack;
use crate::rtp::{Codec, Encoding, Track};

/// The tracks of a lecture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Lecture {
    has_audio: bool,
    /// The videos, the screen first.
    pub(super) videos: Vec<Track>,
    /// The codec of the videos.
    pub(super) codec: Codec,
}

impl Lecture {
    pub(super) fn of(encodings: &[(Encoding, u32)]) -> Self {
        let has = |track| encodings.iter().any(|(encoding, _)| encoding.track == track);
        let video = encodings.iter().map(|(encoding, _)| *encoding).find(|encoding| encoding.track.is_video());
        let videos = [Track::Screen, Track::Camera].into_iter().filter(|track| has(*track)).collect();
        Self { has_audio: has(Track::Audio), videos, codec: video.map_or(Codec::H264, |encoding| encoding.codec) }
    }

    /// The tracks for a student: one video for each section of its offer, or the video that it names.
    pub(super) fn wanted(&self, offer: &str, video: Option<VideoTrack>) -> Vec<Track> {
        let sections = |kind: &str| offer.lines().filter(|line| line.starts_with(kind)).count();
        let is_wanted = |track: &Track| match video {
            None => true,
            Some(VideoTrack::Screen) => *track == Track::Screen,
            Some(VideoTrack::Camera) => *track == Track::Camera,
        };
        let audio = (self.has_audio && sections("m=audio ") > 0).then_some(Track::Audio);
        let videos = self.videos.iter().copied().filter(is_wanted).take(sections("m=video "));
        audio.into_iter().chain(videos).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_student_gets_what_it_has_sections_for_and_asks_for() {
        let of = |track, codec| (Encoding::full(track, codec), 1);
        let (audio, screen) = (of(Track::Audio, Codec::Opus), of(Track::Screen, Codec::Vp8));
        let lecture = Lecture::of(&[audio, screen, of(Track::Camera, Codec::Vp8)]);
        assert_eq!((lecture.codec, lecture.videos.len()), (Codec::Vp8, 2));
        let page = "v=0\r\nm=audio 9 x\r\nm=video 9 x\r\nm=video 9 x\r\n";
        let player = "v=0\r\nm=audio 9 x\r\nm=video 9 x\r\n";
        assert_eq!(lecture.wanted(page, None), [Track::Audio, Track::Screen, Track::Camera]);
        assert_eq!(lecture.wanted(player, None), [Track::Audio, Track::Screen]);
        assert_eq!(lecture.wanted(player, Some(VideoTrack::Camera)), [Track::Audio, Track::Camera]);
        assert_eq!(lecture.wanted("v=0\r\nm=video 9 x\r\n", None), [Track::Screen]);
        assert_eq!(Lecture::of(&[audio]).wanted(page, None), [Track::Audio]);
    }
}
