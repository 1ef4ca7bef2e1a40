//! The publishers of a room: which one a subscriber watches, and which of its streams. Pure.

use super::video_room::{Feed, FeedStream, JanusId, StreamKind};
use crate::rtp::{Codec, Track};

/// The publisher that is watched now.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Current {
    id: JanusId,
    streams: Streams,
}

/// The streams of a feed that are subscribed to, and what cannot be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Streams {
    /// The mid of each stream, and the track that it becomes.
    pub(super) tracks: Vec<(String, Track)>,
    /// The codecs of streams that this program does not decode.
    pub(super) unknown: Vec<String>,
}

/// The consequence of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    Nothing,
    /// Another publisher is to be watched, or the same one with other streams.
    Watch,
    /// Nobody publishes any more.
    Nobody,
}

/// The publishers of a room.
#[derive(Debug)]
pub(super) struct Feeds {
    wanted: Option<JanusId>,
    /// In the order in which they came.
    known: Vec<Feed>,
    current: Option<Current>,
}

impl Feeds {
    /// `wanted` is the only publisher to watch, if the user has named one.
    pub(super) fn new(wanted: Option<JanusId>) -> Self {
        Self { wanted, known: Vec::new(), current: None }
    }

    /// The room has been joined, for the first time or again, perhaps in another process of Janus.
    pub(super) fn joined(&mut self, feeds: Vec<Feed>) -> Change {
        (self.known, self.current) = (feeds, None);
        self.choose()
    }

    /// Publishers have come, or have changed their streams.
    pub(super) fn came(&mut self, feeds: Vec<Feed>) -> Change {
        for feed in feeds {
            match self.known.iter_mut().find(|known| known.id == feed.id) {
                Some(known) => *known = feed,
                None => self.known.push(feed),
            }
        }
        self.choose()
    }

    /// A publisher has left.
    pub(super) fn left(&mut self, id: &JanusId) -> Change {
        self.known.retain(|known| known.id != *id);
        self.choose()
    }

    /// Nothing comes from the current publisher: another one goes before it.
    pub(super) fn failed(&mut self) -> Change {
        let Some(current) = self.current.take() else { return Change::Nothing };
        if let Some(at) = self.known.iter().position(|feed| feed.id == current.id) {
            let feed = self.known.remove(at);
            self.known.insert(0, feed);
        }
        let change = self.choose();
        // The caller tries the same one again by itself.
        if self.current.as_ref() == Some(&current) { Change::Nothing } else { change }
    }

    /// The codecs of a publisher of whom nothing can be watched.
    pub(super) fn undecodable(feed: &Feed) -> Option<Vec<String>> {
        let Streams { tracks, unknown } = streams(feed);
        (tracks.is_empty() && !unknown.is_empty()).then_some(unknown)
    }

    /// The publisher that is watched.
    pub(super) fn current(&self) -> Option<(&Feed, &Streams)> {
        let current = self.current.as_ref()?;
        Some((self.known.iter().find(|feed| feed.id == current.id)?, &current.streams))
    }

    /// How many others could be watched.
    pub(super) fn others(&self) -> usize {
        self.known.iter().filter(|feed| self.current.as_ref().is_none_or(|current| current.id != feed.id)).count()
    }

    /// Keeps the current publisher, or takes the newest one that sends something.
    fn choose(&mut self) -> Change {
        let may_be = |feed: &&Feed| self.wanted.as_ref().is_none_or(|wanted| wanted.to_string() == feed.id.to_string());
        let stays = |feed: &&Feed| self.current.as_ref().is_some_and(|current| current.id == feed.id);
        let usable = || self.known.iter().rev().filter(may_be).filter(|feed| !streams(feed).tracks.is_empty());
        let chosen = usable().find(stays).or_else(|| usable().next());
        let next = chosen.map(|feed| Current { id: feed.id.clone(), streams: streams(feed) });
        let before = std::mem::replace(&mut self.current, next);
        match &self.current {
            now if *now == before => Change::Nothing,
            None => Change::Nobody,
            Some(_) => Change::Watch,
        }
    }
}

/// The streams of a feed: the first audio in Opus, and two videos. A description says which one is the screen and
/// which one the camera; without that the first one is the screen.
fn streams(feed: &Feed) -> Streams {
    let mut found = Streams::default();
    let mut videos: Vec<&FeedStream> = Vec::new();
    for stream in feed.streams.iter().filter(|stream| !stream.disabled && stream.kind != StreamKind::Other) {
        let is_audio = stream.kind == StreamKind::Audio;
        match Codec::from_encoding_name(stream.codec.as_str()) {
            Some(Codec::Opus) if is_audio => {
                if found.tracks.is_empty() {
                    found.tracks.push((stream.mid.clone(), Track::Audio));
                }
            }
            Some(Codec::H264 | Codec::Vp8) if !is_audio => videos.push(stream),
            _ => found.unknown.push(stream.codec.to_string()),
        }
    }
    let says = |stream: &FeedStream, word: &str| stream.description.as_str().to_lowercase().contains(word);
    let named = |word: &str| videos.iter().position(|stream| says(stream, word));
    let camera = named("camera").or_else(|| named("webcam"));
    let screen = named("screen").or_else(|| (0..videos.len()).find(|at| Some(*at) != camera));
    let camera = camera.or_else(|| (0..videos.len()).find(|at| Some(*at) != screen));
    for (at, track) in [(screen, Track::Screen), (camera, Track::Camera)] {
        found.tracks.extend(at.map(|at| (videos[at].mid.clone(), track)));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::wire::Text;
    use super::*;

    fn stream(kind: StreamKind, mid: &str, codec: &str, description: &str) -> FeedStream {
        let description = Text::from(description);
        FeedStream { kind, mid: mid.to_owned(), codec: Text::from(codec), description, disabled: false }
    }

    fn feed(id: u64, streams: Vec<FeedStream>) -> Feed {
        Feed { id: JanusId::Number(id), display: Text::default(), streams, dummy: false }
    }

    fn speaker(id: u64) -> Feed {
        feed(id, vec![stream(StreamKind::Audio, "0", "opus", ""), stream(StreamKind::Video, "1", "vp8", "")])
    }

    fn watched(feeds: &Feeds) -> Option<u64> {
        feeds.current().map(|(feed, _)| match feed.id {
            JanusId::Number(id) => id,
            JanusId::Text(_) => 0,
        })
    }

    #[test]
    fn the_newest_publisher_is_watched_until_it_leaves() {
        let mut feeds = Feeds::new(None);
        assert_eq!((feeds.joined(Vec::new()), watched(&feeds)), (Change::Nothing, None));
        assert_eq!((feeds.came(vec![speaker(1)]), watched(&feeds)), (Change::Watch, Some(1)));
        assert_eq!((feeds.came(vec![speaker(2)]), watched(&feeds), feeds.others()), (Change::Nothing, Some(1), 1));
        assert_eq!((feeds.left(&JanusId::Number(1)), watched(&feeds)), (Change::Watch, Some(2)));
        assert_eq!((feeds.left(&JanusId::Number(2)), watched(&feeds)), (Change::Nobody, None));
        assert_eq!((feeds.joined(vec![speaker(3), speaker(4)]), watched(&feeds)), (Change::Watch, Some(4)));
        assert_eq!(feeds.joined(vec![speaker(4)]), Change::Watch, "in a new session");
        let more = feed(4, vec![stream(StreamKind::Video, "1", "h264", "")]);
        assert_eq!(feeds.came(vec![more]), Change::Watch, "the same one with other streams");
    }

    #[test]
    fn a_publisher_from_whom_nothing_comes_goes_behind_the_others() {
        let mut feeds = Feeds::new(None);
        feeds.joined(vec![speaker(1)]);
        assert_eq!((feeds.failed(), watched(&feeds)), (Change::Nothing, Some(1)), "there is no other one");
        feeds.came(vec![speaker(2)]);
        assert_eq!((feeds.failed(), watched(&feeds)), (Change::Watch, Some(2)));
        assert_eq!((feeds.failed(), watched(&feeds)), (Change::Watch, Some(1)));
    }

    #[test]
    fn only_the_wanted_publisher_is_watched() {
        let mut feeds = Feeds::new(Some(JanusId::from("2")));
        assert_eq!(feeds.joined(vec![speaker(1)]), Change::Nothing);
        assert_eq!((feeds.came(vec![speaker(2)]), watched(&feeds)), (Change::Watch, Some(2)));
        assert_eq!(feeds.failed(), Change::Nothing);
    }

    #[test]
    fn descriptions_tell_the_screen_from_the_camera() {
        let video = |mid: &str, description: &str| stream(StreamKind::Video, mid, "H264", description);
        let tracks = |list: Vec<FeedStream>| streams(&feed(1, list)).tracks;
        let named = tracks(vec![video("0", "My Camera"), video("1", "Screen"), video("2", "")]);
        assert_eq!(named, [("1".to_owned(), Track::Screen), ("0".to_owned(), Track::Camera)]);
        let by_order = tracks(vec![video("0", ""), video("1", "")]);
        assert_eq!(by_order, [("0".to_owned(), Track::Screen), ("1".to_owned(), Track::Camera)]);
        assert_eq!(tracks(vec![video("0", "webcam")]), [("0".to_owned(), Track::Camera)]);
    }

    #[test]
    fn streams_in_other_codecs_are_named_and_left_out() {
        let av1 = stream(StreamKind::Video, "1", "av1", "");
        let disabled = FeedStream { disabled: true, ..stream(StreamKind::Video, "3", "vp8", "") };
        let list =
            vec![stream(StreamKind::Audio, "0", "opus", ""), av1, stream(StreamKind::Other, "2", "", ""), disabled];
        let found = streams(&feed(1, list));
        assert_eq!((found.tracks, found.unknown), (vec![("0".to_owned(), Track::Audio)], vec!["av1".to_owned()]));
        let vp9 = feed(1, vec![stream(StreamKind::Video, "0", "vp9", "")]);
        assert_eq!(Feeds::undecodable(&vp9), Some(vec!["vp9".to_owned()]));
        assert_eq!(Feeds::new(None).joined(vec![vp9]), Change::Nothing);
    }
}
