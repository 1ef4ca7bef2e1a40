//! The times of the frames in a recording: what was shown and heard, and when.

use std::collections::BTreeMap;
use std::path::Path;

/// Element ids of Matroska (RFC 9559, 27.1).
const SEGMENT: u32 = 0x1853_8067;
const TRACKS: u32 = 0x1654_AE6B;
const TRACK: u32 = 0xAE;
const TRACK_NUMBER: u32 = 0xD7;
const TRACK_NAME: u32 = 0x536E;
const CLUSTER: u32 = 0x1F43_B675;
const CLUSTER_TIME: u32 = 0xE7;
const SIMPLE_BLOCK: u32 = 0xA3;

/// The times of the frames of each track in ms, in order, by the name of the track such as `1001 camera`.
pub fn times(file: &Path) -> BTreeMap<String, Vec<i64>> {
    let bytes = std::fs::read(file).unwrap();
    let (mut names, mut times) = (BTreeMap::new(), BTreeMap::<u64, Vec<i64>>::new());
    let segment = children(&bytes).find(|(id, _)| *id == SEGMENT).map_or(&[][..], |(_, content)| content);
    for (id, content) in children(segment) {
        match id {
            TRACKS => {
                for (_, track) in children(content).filter(|(id, _)| *id == TRACK) {
                    let find = |wanted| children(track).find(|(id, _)| *id == wanted).map(|(_, content)| content);
                    let name = find(TRACK_NAME).map(String::from_utf8_lossy).unwrap_or_default().into_owned();
                    names.insert(find(TRACK_NUMBER).map_or(0, number), name);
                }
            }
            CLUSTER => {
                let begins = children(content).find(|(id, _)| *id == CLUSTER_TIME).map_or(0, |(_, time)| number(time));
                for (_, block) in children(content).filter(|(id, _)| *id == SIMPLE_BLOCK) {
                    // The number of the track in one byte, and the time after that of the cluster in two.
                    if let [track, high, low, ..] = *block {
                        let at = begins as i64 + i64::from(i16::from_be_bytes([high, low]));
                        times.entry(u64::from(track & 0x7f)).or_default().push(at);
                    }
                }
            }
            _ => {}
        }
    }
    let mut by_name = BTreeMap::<String, Vec<i64>>::new();
    for (track, at) in times {
        // A participant whose codec has changed has another track of the same name.
        by_name.entry(names.get(&track).cloned().unwrap_or_default()).or_default().extend(at);
    }
    by_name.values_mut().for_each(|at| at.sort_unstable());
    by_name
}

/// The elements in these bytes: ids and contents. One that is cut off ends at the end.
fn children(mut bytes: &[u8]) -> impl Iterator<Item = (u32, &[u8])> {
    std::iter::from_fn(move || {
        let id_length = bytes.first()?.leading_zeros() as usize + 1;
        let (id, rest) = bytes.split_at_checked(id_length)?;
        let size_length = rest.first()?.leading_zeros() as usize + 1;
        let (size, rest) = rest.split_at_checked(size_length)?;
        let size = number(size) & !(1 << (7 * size_length));
        let (content, rest) = rest.split_at(rest.len().min(size as usize));
        bytes = rest;
        Some((number(id) as u32, content))
    })
}

fn number(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
}
