//! The first message of LiveKit, a `JoinResponse`. LiveKit sends it before it can know that a client speaks JSON, so it
//! is in the binary form of protobuf, of which this file reads the few fields that matter. Pure.
//!
//! Source: livekit/protocol, `livekit_rtc.proto` and `livekit_models.proto`.

use crate::rtp::Track;

/// The most tracks that are kept: a lecture has three.
const MAX_TRACKS: usize = 8;

/// The longest id of a track or a participant.
const MAX_ID_BYTES: usize = 64;

/// A track of the lecture at LiveKit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PublishedTrack {
    /// LiveKit's id.
    pub(super) sid: String,
    pub(super) track: Track,
}

/// The part of a `JoinResponse` that matters.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Joined {
    /// The tracks of the publisher, in the order of [`Track`].
    pub(super) tracks: Vec<PublishedTrack>,
}

/// Reads a `SignalResponse` with a `JoinResponse`. `publisher` is the identity of the participant that sends the
/// lecture. None for any other message.
pub(super) fn read(message: &[u8], publisher: &str) -> Option<Joined> {
    let join = Fields(message).bytes(1)?;
    let of_publisher = Fields(join).all_bytes(3).filter(|other| id(other, 2).as_deref() == Some(publisher));
    let tracks = of_publisher.flat_map(|other| Fields(other).all_bytes(4)).filter_map(track);
    let mut tracks: Vec<PublishedTrack> = tracks.take(MAX_TRACKS).collect();
    tracks.sort_by_key(|published| published.track);
    tracks.dedup_by_key(|published| published.track);
    Some(Joined { tracks })
}

/// A `TrackInfo`. The name that the publisher gave to the track is the `cid` of its codec.
fn track(info: &[u8]) -> Option<PublishedTrack> {
    let sid = id(info, 1)?;
    let track = Fields(info).all_bytes(13).find_map(|codec| Track::from_name(&id(codec, 3)?))?;
    Some(PublishedTrack { sid, track })
}

/// A field of text, if it is no longer than an id.
fn id(message: &[u8], field: u64) -> Option<String> {
    let bytes = Fields(message).bytes(field).filter(|bytes| !bytes.is_empty() && bytes.len() <= MAX_ID_BYTES)?;
    String::from_utf8(bytes.to_vec()).ok()
}

/// The fields of a message of protobuf, up to the first malformed one.
#[derive(Clone, Copy)]
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    /// The last value of a field (protobuf's rule for a field that is not repeated).
    fn bytes(self, field: u64) -> Option<&'a [u8]> {
        self.all_bytes(field).last()
    }

    /// All values of a repeated field with the wire type LEN.
    fn all_bytes(self, field: u64) -> impl Iterator<Item = &'a [u8]> {
        self.filter(move |(number, _)| *number == field).filter_map(|(_, value)| value)
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.0.split_first()?;
            self.0 = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    fn take(&mut self, bytes: u64) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(usize::try_from(bytes).ok()?)?;
        self.0 = rest;
        Some(taken)
    }
}

impl<'a> Iterator for Fields<'a> {
    /// The number of a field, and its value if its wire type is LEN.
    type Item = (u64, Option<&'a [u8]>);

    fn next(&mut self) -> Option<Self::Item> {
        let tag = self.varint()?;
        let value = match tag & 7 {
            0 => self.varint().map(|_| None)?,
            1 => self.take(8).map(|_| None)?,
            2 => {
                let length = self.varint()?;
                Some(self.take(length)?)
            }
            5 => self.take(4).map(|_| None)?,
            _ => return None,
        };
        Some((tag >> 3, value))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A field with the wire type LEN.
    fn field(number: u8, value: &[u8]) -> Vec<u8> {
        // Values of up to 127 bytes have a length of one byte, longer ones of two.
        let length = value.len();
        let length =
            if length < 128 { vec![length as u8] } else { vec![(length & 0x7f) as u8 | 0x80, (length >> 7) as u8] };
        [&[number << 3 | 2][..], &length, value].concat()
    }

    fn info(sid: &str, cid: &str) -> Vec<u8> {
        let codec = [field(1, b"video/H264"), field(2, b"1"), field(3, cid.as_bytes())].concat();
        // The type, a varint, stands between.
        [field(1, sid.as_bytes()), vec![2 << 3, 1], field(13, &codec)].concat()
    }

    fn participant(identity: &str, tracks: &[Vec<u8>]) -> Vec<u8> {
        let tracks = tracks.iter().flat_map(|track| field(4, track));
        [field(1, b"PA_x"), field(2, identity.as_bytes())].concat().into_iter().chain(tracks).collect()
    }

    /// A `SignalResponse` with a `JoinResponse`.
    pub(in crate::livekit) fn join(publisher: &str, tracks: &[(&str, &str)]) -> Vec<u8> {
        let tracks: Vec<Vec<u8>> = tracks.iter().map(|(sid, cid)| info(sid, cid)).collect();
        let other = participant("somebody", &[info("TR_other", "screen")]);
        let join = [
            field(1, b"\x0a\x05RM_xx"),
            field(2, &field(1, b"PA_me")),
            field(3, &other),
            field(3, &participant(publisher, &tracks)),
        ];
        field(1, &join.concat())
    }

    #[test]
    fn the_tracks_of_the_publisher_are_found_by_their_names() {
        let message = join("classroom", &[("TR_c", "camera"), ("TR_s", "screen"), ("TR_a", "audio"), ("TR_x", "none")]);
        let joined = read(&message, "classroom").unwrap();
        let tracks: Vec<_> = joined.tracks.iter().map(|one| (one.sid.as_str(), one.track)).collect();
        assert_eq!(tracks, [("TR_a", Track::Audio), ("TR_s", Track::Screen), ("TR_c", Track::Camera)]);
        assert_eq!(read(&message, "nobody").unwrap().tracks, []);
    }

    #[test]
    fn other_messages_and_malformed_ones_are_refused_or_cut() {
        assert_eq!(read(b"", "classroom"), None);
        assert_eq!(read(&field(2, b"answer"), "classroom"), None);
        let message = join("classroom", &[("TR_s", "screen")]);
        for length in 0..message.len() {
            // The length of the whole does not fit any more.
            assert_eq!(read(&message[..length], "classroom"), None, "{length}");
        }
        assert_eq!(read(&[0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01], "classroom"), None);
        let long = "T".repeat(65);
        assert_eq!(read(&join("classroom", &[(&long, "screen")]), "classroom").unwrap().tracks, []);
    }
}
