//! A Matroska writer (RFC 9559) to which tracks can be added at any time.
//!
//! This replaces GStreamer's matroskamux, which waits for all tracks before the first byte and whenever one pauses: an
//! unplugged camera would end the recording of the screen. Here the track descriptions go into reserved space at the
//! start of the file. The writer never waits, and after a crash the file is playable up to its last second.

use crate::media::options::Size;
use std::io::{self, Seek, SeekFrom, Write};

/// Space for the descriptions. A track needs 250 bytes, and long parameter sets a few hundred more. Speakers who come
/// and go add tracks.
const HEAD_BYTES: usize = 32 * 1024;

/// The highest track number that a block has in one byte.
const MAX_TRACKS: usize = 126;

/// The bytes of the description that leave room for the end of the file: SeekHead, duration, and the Void element.
const SPARE_BYTES: usize = 128;

/// The duration of a cluster. Clusters are written as a whole, so this is what a crash loses.
const CLUSTER_MS: i64 = 1000;

/// Write a larger cluster early, to bound memory.
const CLUSTER_BYTES: usize = 4_000_000;

/// The unknown size in eight bytes, replaced at the end.
const UNKNOWN: [u8; 8] = [0x01, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];

/// A codec, with what its decoder needs to start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum TrackCodec {
    /// With the AVCDecoderConfigurationRecord (ISO 14496-15).
    H264(Size, Vec<u8>),
    Vp8(Size),
    Opus,
}

/// Whose track it is. Players choose the tracks of the lecture by themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Whose {
    Lecture,
    Speaker,
}

#[derive(Debug)]
struct Track {
    name: String,
    whose: Whose,
    codec: TrackCodec,
}

/// Element ids (RFC 9559, 27.1).
mod id {
    pub(super) const EBML: u32 = 0x1A45_DFA3;
    pub(super) const SEGMENT: u32 = 0x1853_8067;
    pub(super) const SEEK_HEAD: u32 = 0x114D_9B74;
    pub(super) const INFO: u32 = 0x1549_A966;
    pub(super) const TRACKS: u32 = 0x1654_AE6B;
    pub(super) const TRACK: u32 = 0xAE;
    pub(super) const CLUSTER: u32 = 0x1F43_B675;
    pub(super) const CUES: u32 = 0x1C53_BB6B;
    pub(super) const VOID: u32 = 0xEC;
}

/// A file that is being written.
#[derive(Debug)]
pub(crate) struct Matroska<W> {
    file: W,
    /// The start of the segment's content. Positions in the file are relative to it.
    segment: u64,
    /// The position of the next cluster.
    end: u64,
    tracks: Vec<Track>,
    start_ms: Option<i64>,
    duration_ms: i64,
    cluster: Option<Cluster>,
    /// Time in ms, track number and position of clusters that start with a key frame.
    cues: Vec<(i64, u64, u64)>,
    seek_cues: Option<u64>,
}

#[derive(Debug)]
struct Cluster {
    time_ms: i64,
    blocks: Vec<u8>,
}

impl<W: Write + Seek> Matroska<W> {
    /// Starts a file.
    pub(crate) fn new(mut file: W) -> io::Result<Self> {
        let mut head = Vec::new();
        let mut ebml = Vec::new();
        for (id, value) in [(0x4286, 1), (0x42F7, 1), (0x42F2, 4), (0x42F3, 8)] {
            uint(&mut ebml, id, value);
        }
        element(&mut ebml, 0x4282, b"matroska");
        uint(&mut ebml, 0x4287, 4);
        uint(&mut ebml, 0x4285, 2);
        element(&mut head, id::EBML, &ebml);
        put_id(&mut head, id::SEGMENT);
        head.extend(UNKNOWN);
        file.write_all(&head)?;
        let segment = head.len() as u64;
        let end = segment + HEAD_BYTES as u64;
        let mut this = Self {
            file,
            segment,
            end,
            tracks: Vec::new(),
            start_ms: None,
            duration_ms: 0,
            cluster: None,
            cues: Vec::new(),
            seek_cues: None,
        };
        this.describe()?;
        Ok(this)
    }

    /// Adds a track and returns its number. None if the head has no room for it.
    pub(crate) fn add(&mut self, name: &str, whose: Whose, codec: TrackCodec) -> io::Result<Option<u64>> {
        self.tracks.push(Track { name: name.into(), whose, codec });
        if self.tracks.len() > MAX_TRACKS || self.head().len() + SPARE_BYTES > HEAD_BYTES {
            self.tracks.pop();
            return Ok(None);
        }
        self.describe()?;
        Ok(Some(self.tracks.len() as u64))
    }

    /// Adds an encoded frame. All tracks share the clock of `time_ns`.
    pub(crate) fn block(&mut self, track: u64, time_ns: u64, key: bool, data: &[u8]) -> io::Result<()> {
        let time = (time_ns / 1_000_000) as i64;
        let time = (time - *self.start_ms.get_or_insert(time)).max(0);
        self.duration_ms = self.duration_ms.max(time);
        let is_video = self.tracks.get(track as usize - 1).is_some_and(|track| track.codec != TrackCodec::Opus);
        let full = self.cluster.as_ref().is_none_or(|cluster| {
            (time - cluster.time_ms).abs() >= CLUSTER_MS || cluster.blocks.len() >= CLUSTER_BYTES || (key && is_video)
        });
        if full {
            self.flush()?;
            self.cluster = Some(Cluster { time_ms: time, blocks: Vec::new() });
            let only_audio = self.tracks.iter().all(|track| track.codec == TrackCodec::Opus);
            if key && (is_video || only_audio) {
                self.cues.push((time, track, self.end - self.segment));
            }
        }
        let Some(cluster) = &mut self.cluster else { return Ok(()) };
        put_id(&mut cluster.blocks, 0xA3);
        put_size(&mut cluster.blocks, data.len() + 4);
        cluster.blocks.push(0x80 | track as u8);
        // A cluster is at most a second long, so the offset fits.
        cluster.blocks.extend(((time - cluster.time_ms) as i16).to_be_bytes());
        cluster.blocks.push(if key { 0x80 } else { 0 });
        cluster.blocks.extend(data);
        Ok(())
    }

    /// Completes the file with its duration and an index for seeking.
    pub(crate) fn finish(mut self) -> io::Result<W> {
        self.flush()?;
        let cues_at = self.end - self.segment;
        let mut cues = Vec::new();
        for (time, track, position) in &self.cues {
            let mut positions = Vec::new();
            uint(&mut positions, 0xF7, *track);
            uint(&mut positions, 0xF1, *position);
            let mut point = Vec::new();
            uint(&mut point, 0xB3, *time as u64);
            element(&mut point, 0xB7, &positions);
            element(&mut cues, 0xBB, &point);
        }
        let mut tail = Vec::new();
        element(&mut tail, id::CUES, &cues);
        self.append(&tail)?;
        self.seek_cues = Some(cues_at);
        self.describe()?;
        self.file.seek(SeekFrom::Start(self.segment - 8))?;
        self.file.write_all(&((self.end - self.segment) | (1 << 56)).to_be_bytes())?;
        self.file.flush()?;
        Ok(self.file)
    }

    /// Writes the current cluster.
    fn flush(&mut self) -> io::Result<()> {
        let Some(cluster) = self.cluster.take() else { return Ok(()) };
        let mut content = Vec::with_capacity(cluster.blocks.len() + 16);
        uint(&mut content, 0xE7, cluster.time_ms as u64);
        content.extend(cluster.blocks);
        let mut whole = Vec::with_capacity(content.len() + 16);
        element(&mut whole, id::CLUSTER, &content);
        self.append(&whole)?;
        self.file.flush()
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.seek(SeekFrom::Start(self.end))?;
        self.file.write_all(bytes)?;
        self.end += bytes.len() as u64;
        Ok(())
    }

    /// Writes the descriptions into the reserved space, in one piece: a crash must not leave half of them.
    fn describe(&mut self) -> io::Result<()> {
        let mut head = self.head();
        // The Void element behind has an id of one byte and a size of eight.
        let Some(space) = HEAD_BYTES.checked_sub(head.len() + 9) else {
            return Err(io::Error::other("the description of the tracks is too long"));
        };
        put_id(&mut head, id::VOID);
        head.extend((space as u64 | (1 << 56)).to_be_bytes());
        self.file.seek(SeekFrom::Start(self.segment))?;
        self.file.write_all(&head)
    }

    /// SeekHead, Info and Tracks.
    fn head(&self) -> Vec<u8> {
        let mut head = Vec::new();
        if let Some(cues) = self.seek_cues {
            let mut entry = Vec::new();
            element(&mut entry, 0x53AB, &id::CUES.to_be_bytes());
            uint(&mut entry, 0x53AC, cues);
            let mut seek = Vec::new();
            element(&mut seek, 0x4DBB, &entry);
            element(&mut head, id::SEEK_HEAD, &seek);
        }
        let mut info = Vec::new();
        uint(&mut info, 0x2AD7B1, 1_000_000);
        element(&mut info, 0x4D80, b"classroom");
        element(&mut info, 0x5741, concat!("classroom ", env!("CARGO_PKG_VERSION")).as_bytes());
        if self.seek_cues.is_some() {
            element(&mut info, 0x4489, &(self.duration_ms as f64).to_be_bytes());
        }
        element(&mut head, id::INFO, &info);
        let mut tracks = Vec::new();
        // Players select the first track of a kind. Make that the screen, even if it was added later.
        let mut sorted: Vec<_> = self.tracks.iter().enumerate().collect();
        sorted.sort_by_key(|(_, track)| (track.codec == TrackCodec::Opus, track.whose, track.name != "screen"));
        for (index, described) in sorted {
            element(&mut tracks, id::TRACK, &track(index as u64 + 1, described));
        }
        element(&mut head, id::TRACKS, &tracks);
        head
    }
}

/// The description of a track.
fn track(number: u64, Track { name, whose, codec }: &Track) -> Vec<u8> {
    let mut track = Vec::new();
    uint(&mut track, 0xD7, number);
    uint(&mut track, 0x73C5, number);
    uint(&mut track, 0x83, if *codec == TrackCodec::Opus { 2 } else { 1 });
    // FlagDefault, FlagLacing.
    uint(&mut track, 0x88, u64::from(*whose == Whose::Lecture));
    uint(&mut track, 0x9C, 0);
    element(&mut track, 0x536E, name.as_bytes());
    element(&mut track, 0x22B59C, b"und");
    let mut video = |codec: &[u8], size: &Size| {
        element(&mut track, 0x86, codec);
        let mut video = Vec::new();
        uint(&mut video, 0xB0, u64::from(size.width));
        uint(&mut video, 0xBA, u64::from(size.height));
        element(&mut track, 0xE0, &video);
    };
    match codec {
        TrackCodec::H264(size, record) => {
            video(b"V_MPEG4/ISO/AVC", size);
            element(&mut track, 0x63A2, record);
        }
        TrackCodec::Vp8(size) => video(b"V_VP8", size),
        TrackCodec::Opus => {
            element(&mut track, 0x86, b"A_OPUS");
            // RFC 7845, 5.1: version 1, two channels, 312 samples of pre-skip, 48 kHz, no gain, mapping 0.
            element(&mut track, 0x63A2, b"OpusHead\x01\x02\x38\x01\x80\xbb\x00\x00\x00\x00\x00");
            // CodecDelay of 312 samples, and the SeekPreRoll of 80 ms that RFC 7845 recommends, in nanoseconds.
            uint(&mut track, 0x56AA, 6_500_000);
            uint(&mut track, 0x56BB, 80_000_000);
            let mut audio = Vec::new();
            element(&mut audio, 0xB5, &48_000f64.to_be_bytes());
            uint(&mut audio, 0x9F, 2);
            element(&mut track, 0xE1, &audio);
        }
    }
    track
}

fn put_id(out: &mut Vec<u8>, id: u32) {
    // The leading zeros of an id encode its length.
    out.extend(id.to_be_bytes().into_iter().skip_while(|byte| *byte == 0));
}

/// A size in four bytes, for up to 256 MB.
fn put_size(out: &mut Vec<u8>, size: usize) {
    out.extend(((size as u32 & 0x0fff_ffff) | 0x1000_0000).to_be_bytes());
}

fn element(out: &mut Vec<u8>, id: u32, content: &[u8]) {
    put_id(out, id);
    put_size(out, content.len());
    out.extend(content);
}

fn uint(out: &mut Vec<u8>, id: u32, value: u64) {
    element(out, id, &value.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    const VP8: TrackCodec = TrackCodec::Vp8(Size { width: 640, height: 360 });

    /// The child elements of `data`: ids and contents.
    fn children(mut data: &[u8]) -> Vec<(u32, &[u8])> {
        let mut found = Vec::new();
        while !data.is_empty() {
            let length = data[0].leading_zeros() as usize + 1;
            let id = data[..length].iter().fold(0, |id, byte| (id << 8) | u32::from(*byte));
            data = &data[length..];
            let length = data[0].leading_zeros() as usize + 1;
            let size = data[..length].iter().fold(0u64, |size, byte| (size << 8) | u64::from(*byte));
            let size = (size & !(1 << (7 * length))) as usize;
            data = &data[length..];
            found.push((id, &data[..size]));
            data = &data[size..];
        }
        found
    }

    #[test]
    fn a_late_track_is_described_in_a_valid_file() {
        let mut file = Matroska::new(Cursor::new(Vec::new())).unwrap();
        let audio = file.add("audio", Whose::Lecture, TrackCodec::Opus).unwrap().unwrap();
        for n in 0..100u64 {
            file.block(audio, n * 20_000_000, true, &[n as u8; 10]).unwrap();
        }
        let picture = file.add("screen", Whose::Lecture, VP8).unwrap().unwrap();
        file.block(picture, 2_000_000_000, true, &[1; 2000]).unwrap();
        file.block(audio, 1_990_000_000, true, &[2; 10]).unwrap();
        let bytes = file.finish().unwrap().into_inner();
        let top = children(&bytes);
        assert_eq!(top.iter().map(|(id, _)| *id).collect::<Vec<_>>(), [id::EBML, id::SEGMENT]);
        let segment = children(top[1].1);
        let ids: Vec<u32> = segment.iter().map(|(id, _)| *id).collect();
        let clusters = [id::CLUSTER; 3];
        assert_eq!(ids, [&[id::SEEK_HEAD, id::INFO, id::TRACKS, id::VOID], &clusters[..], &[id::CUES]].concat());
        assert_eq!(children(segment[2].1).len(), 2);
        // The last cluster has the video frame, and an audio block from just before.
        let blocks = children(segment[6].1);
        assert_eq!((blocks.len(), &blocks[2].1[..4]), (3, &[0x81, 0xff, 0xf6, 0x80][..]));
        let duration = children(segment[1].1).into_iter().find(|(id, _)| *id == 0x4489).unwrap().1;
        assert_eq!(f64::from_be_bytes(duration.try_into().unwrap()), 2000.0);
    }
    #[test]
    fn a_file_without_its_end_describes_the_tracks_of_its_clusters() {
        let mut file = Matroska::new(Cursor::new(Vec::new())).unwrap();
        let screen = file.add("screen", Whose::Lecture, VP8).unwrap().unwrap();
        for n in 0..30u64 {
            file.block(screen, n * 100_000_000, n % 10 == 0, &[n as u8; 100]).unwrap();
        }
        let speaker = file.add("1001 camera", Whose::Speaker, VP8).unwrap().unwrap();
        file.block(speaker, 3_000_000_000, true, &[0; 100]).unwrap();
        file.block(screen, 4_000_000_000, true, &[0; 100]).unwrap();
        // As after a crash: without the last cluster, the cues and the size of the segment.
        let bytes = file.file.into_inner();
        let at = bytes.windows(8).position(|window| window == UNKNOWN).unwrap();
        let segment = children(&bytes[at + 8..]);
        let ids: Vec<u32> = segment.iter().map(|(id, _)| *id).collect();
        assert_eq!(ids, [&[id::INFO, id::TRACKS, id::VOID][..], &[id::CLUSTER; 4]].concat());
        let names: Vec<&[u8]> = children(segment[1].1)
            .into_iter()
            .map(|(_, track)| children(track).into_iter().find(|(id, _)| *id == 0x536E).unwrap().1)
            .collect();
        assert_eq!(names, [&b"screen"[..], b"1001 camera"]);
        let default = |at: usize| children(children(segment[1].1)[at].1).into_iter().find(|(id, _)| *id == 0x88);
        assert_eq!((default(0).unwrap().1[7], default(1).unwrap().1[7]), (1, 0), "players choose the lecture");
        let last = children(segment[6].1);
        assert_eq!(last[1].1[0], 0x80 | speaker as u8);
    }

    #[test]
    fn a_track_without_room_is_left_out_and_the_file_stays_valid() {
        let mut file = Matroska::new(Cursor::new(Vec::new())).unwrap();
        let long = TrackCodec::H264(Size { width: 640, height: 360 }, vec![1; 40_000]);
        assert_eq!(file.add("1001 camera", Whose::Speaker, long).unwrap(), None);
        let added = (0..200).filter(|_| file.add("1001 camera", Whose::Speaker, VP8).unwrap().is_some()).count();
        assert!((100..=MAX_TRACKS).contains(&added), "{added}");
        file.block(added as u64, 0, true, &[1; 10]).unwrap();
        let bytes = file.finish().unwrap().into_inner();
        let segment = children(children(&bytes)[1].1);
        assert_eq!(children(segment[2].1).len(), added);
    }
}
