//! Recordings. Nothing here reads Matroska, but what is written depends on the network: times, sizes, codecs.

use std::io::Cursor;

use super::input::{be, datagrams};
use crate::media::Size;
use crate::media::render::matroska::{Matroska, TrackCodec, Whose};

/// Element ids (RFC 9559, 27.1).
const EBML: u64 = 0x1A45_DFA3;
const SEGMENT: u64 = 0x1853_8067;
const CLUSTER: u64 = 0x1F43_B675;
const CUES: u64 = 0x1C53_BB6B;
const CUE_POINT: u64 = 0xBB;
const CUE_TRACK_POSITIONS: u64 = 0xB7;
const CUE_CLUSTER_POSITION: u64 = 0xF1;
const TRACKS: u64 = 0x1654_AE6B;
const TIMESTAMP: u64 = 0xE7;
const SIMPLE_BLOCK: u64 = 0xA3;

/// A frame: track, milliseconds since the first one, whether it is a key frame, content.
type Block = (u64, i64, bool, Vec<u8>);

/// A recording of any frames at any times is a well-formed file with all of them, each at its time. Each datagram is a
/// frame: a byte for its track and kind, three of time, content.
pub(super) fn matroska(bytes: &[u8]) -> bool {
    let mut recording = written(Matroska::new(Cursor::new(Vec::new())));
    let (mut tracks, mut blocks, mut start, mut time) = (Vec::new(), Vec::new(), None, 0_u64);
    for frame in datagrams(bytes) {
        let Some((&[kind, a, b, c], content)) = frame.split_first_chunk::<4>() else { continue };
        // Up to 16 s later, or earlier.
        let step = be(&[a, b, c]) * 1_000;
        time = if kind & 0x40 != 0 { time.saturating_sub(step) } else { time + step };
        let size = Size { width: u32::from(a) * 16, height: u32::from(b) * 16 };
        let codec = match kind & 3 {
            0 => TrackCodec::Opus,
            1 => TrackCodec::H264(size, content.iter().copied().take(64).collect()),
            _ => TrackCodec::Vp8(size),
        };
        let place = usize::from(kind & 3);
        if tracks.iter().all(|(known, _)| *known != place) {
            let whose = if place == 3 { Whose::Speaker } else { Whose::Lecture };
            let added = written(recording.add(["audio", "screen", "camera", "1001 camera"][place], whose, codec));
            tracks.push((place, added.expect("four tracks have room")));
        }
        let Some((_, track)) = tracks.iter().find(|(known, _)| *known == place) else { continue };
        let is_key = kind & 0x80 != 0 || place == 0;
        written(recording.block(*track, time, is_key, content));
        let ms = (time / 1_000_000) as i64;
        blocks.push((*track, (ms - *start.get_or_insert(ms)).max(0), is_key, content.to_vec()));
    }
    let file = written(recording.finish()).into_inner();
    let found = read(&file, tracks.len());
    assert_eq!(found.len(), blocks.len());
    for (found, written) in found.iter().zip(&blocks) {
        assert_eq!(found, written);
    }
    !blocks.is_empty()
}

fn written<T>(result: std::io::Result<T>) -> T {
    result.unwrap_or_else(|error| panic!("memory and the reserved space are large enough: {error}"))
}

/// The blocks of a file, in order. Everything in it is an element, and cues point to clusters.
fn read(file: &[u8], tracks: usize) -> Vec<Block> {
    let top = children(file);
    let [(EBML, _, _), (SEGMENT, _, segment)] = top[..] else { panic!("{:x?}", ids(&top)) };
    let segment = children(segment);
    let described = segment.iter().find(|(id, ..)| *id == TRACKS).map_or(0, |(.., content)| children(content).len());
    assert_eq!(described, tracks, "{:x?}", ids(&segment));
    let clusters: Vec<_> = segment.iter().filter(|(id, ..)| *id == CLUSTER).collect();
    let points = segment.iter().filter(|(id, ..)| *id == CUES).flat_map(|(.., content)| children(content));
    for point in points.filter(|(id, ..)| *id == CUE_POINT) {
        let positions = children(point.2).into_iter().filter(|(id, ..)| *id == CUE_TRACK_POSITIONS);
        for (id, _, position) in positions.flat_map(|(.., content)| children(content)) {
            let is_cluster = clusters.iter().any(|(_, at, _)| *at as u64 == be(position));
            assert!(id != CUE_CLUSTER_POSITION || is_cluster, "a cue points to {position:x?}");
        }
    }
    let mut blocks = Vec::new();
    for (_, _, cluster) in clusters {
        let mut time = 0;
        for (id, _, content) in children(cluster) {
            match id {
                TIMESTAMP => time = be(content) as i64,
                SIMPLE_BLOCK => {
                    let [track, high, low, flags, content @ ..] = content else { panic!("{content:x?}") };
                    let offset = i16::from_be_bytes([*high, *low]);
                    blocks.push((u64::from(track & 0x7f), time + i64::from(offset), flags & 0x80 != 0, content.into()));
                }
                other => panic!("{other:x} in a cluster"),
            }
        }
    }
    blocks
}

/// The elements in `data`: ids, positions and contents (RFC 8794, 4 and 5).
fn children(data: &[u8]) -> Vec<(u64, usize, &[u8])> {
    let (mut found, mut at) = (Vec::new(), 0);
    while at < data.len() {
        let id_bytes = data[at].leading_zeros() as usize + 1;
        let size_at = at + id_bytes;
        let size_bytes = data[size_at].leading_zeros() as usize + 1;
        let content = size_at + size_bytes;
        let size = be(&data[size_at..content]) & !(1 << (7 * size_bytes));
        let end = content + size as usize;
        found.push((be(&data[at..size_at]), at, &data[content..end]));
        at = end;
    }
    found
}

fn ids(elements: &[(u64, usize, &[u8])]) -> Vec<u64> {
    elements.iter().map(|(id, ..)| *id).collect()
}
