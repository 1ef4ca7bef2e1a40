//! The counts of the media that a server carries, summed over its rooms and the speakers on their stages.

use std::sync::{Arc, Mutex, PoisonError};

use crate::report::{MediaMetrics, SpeakerMetrics};
use crate::sfu::{FloorCounts, SfuStats};

/// Counts the media of all rooms, for `/metrics`. Clones share the counts.
#[derive(Debug, Clone, Default)]
pub(super) struct MediaMeter {
    totals: Arc<Mutex<Totals>>,
    /// The audio floors of all meetings.
    floors: Arc<FloorCounts>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Totals {
    /// All media, that of speakers included.
    media: MediaMetrics,
    speakers: SpeakerMetrics,
}

/// Counts the media of one source, until it is dropped.
#[derive(Debug)]
pub(super) struct SourceMeter {
    all: MediaMeter,
    kind: Kind,
    students: usize,
    packets: Count,
    bytes: Count,
    ingest_packets: Count,
    ingest_lost: Count,
}

/// The kind of a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Room,
    /// A student that receives from a speaker also receives from the room, and is counted there.
    Speaker,
}

/// A counter that may start again, as with a new publisher.
#[derive(Debug, Default)]
struct Count(u64);

impl Count {
    /// The increase since the last call.
    fn step(&mut self, now: u64) -> u64 {
        let before = std::mem::replace(&mut self.0, now);
        now.checked_sub(before).unwrap_or(now)
    }
}

impl MediaMeter {
    /// The counts now.
    pub(super) fn metrics(&self) -> MediaMetrics {
        let (voices, voice_changes) = (self.floors.voices(), self.floors.changes());
        MediaMetrics { voices, voice_changes, ..self.change(|totals| totals.media) }
    }

    /// The counts of the audio floors of meetings.
    pub(super) fn floors(&self) -> Arc<FloorCounts> {
        Arc::clone(&self.floors)
    }

    /// The counts of the speakers now.
    pub(super) fn speakers(&self) -> SpeakerMetrics {
        self.change(|totals| totals.speakers)
    }

    /// Counts one more room.
    pub(super) fn room(&self) -> SourceMeter {
        self.change(|totals| totals.media.rooms += 1);
        self.source(Kind::Room)
    }

    /// Counts one more speaker.
    pub(super) fn speaker(&self) -> SourceMeter {
        self.change(|totals| totals.speakers.speakers += 1);
        self.source(Kind::Speaker)
    }

    fn source(&self, kind: Kind) -> SourceMeter {
        let new = Count::default;
        let (packets, bytes, ingest_packets, ingest_lost) = (new(), new(), new(), new());
        SourceMeter { all: self.clone(), kind, students: 0, packets, bytes, ingest_packets, ingest_lost }
    }

    fn change<T>(&self, change: impl FnOnce(&mut Totals) -> T) -> T {
        change(&mut self.totals.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl SourceMeter {
    /// The source has these counts now.
    pub(super) fn update(&mut self, stats: &SfuStats) {
        let encodings = stats.ingest.as_ref().map(|ingest| ingest.stats.encodings.as_slice()).unwrap_or_default();
        let students = if self.kind == Kind::Room { stats.students } else { 0 };
        let before = std::mem::replace(&mut self.students, students);
        let (packets, bytes) = (self.packets.step(stats.packets), self.bytes.step(stats.bytes));
        let ingest_packets = self.ingest_packets.step(encodings.iter().map(|encoding| encoding.packets).sum());
        let ingest_lost = self.ingest_lost.step(encodings.iter().map(|encoding| encoding.lost).sum());
        self.all.change(|Totals { media, speakers }| {
            media.students = media.students + students - before;
            media.packets += packets;
            media.bytes += bytes;
            media.ingest_packets += ingest_packets;
            media.ingest_lost += ingest_lost;
            if self.kind == Kind::Speaker {
                speakers.packets += packets;
                speakers.bytes += bytes;
                speakers.ingest_packets += ingest_packets;
                speakers.ingest_lost += ingest_lost;
            }
        });
    }
}

impl Drop for SourceMeter {
    fn drop(&mut self) {
        self.all.change(|Totals { media, speakers }| {
            match self.kind {
                Kind::Room => media.rooms -= 1,
                Kind::Speaker => speakers.speakers -= 1,
            }
            media.students -= self.students;
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_counts_of_all_rooms_add_up_and_never_go_back() {
        let meter = MediaMeter::default();
        let sent = |students, packets| SfuStats { students, packets, bytes: packets * 1_000, ..SfuStats::default() };
        let (mut one, mut two) = (meter.room(), meter.room());
        one.update(&sent(3, 100));
        two.update(&sent(5, 10));
        one.update(&sent(2, 150));
        let MediaMetrics { rooms, students, packets, bytes, .. } = meter.metrics();
        assert_eq!((rooms, students, packets, bytes), (2, 7, 160, 160_000));
        let mut speaker = meter.speaker();
        speaker.update(&sent(6, 40));
        let MediaMetrics { rooms, students, packets, .. } = meter.metrics();
        assert_eq!((rooms, students, packets), (2, 7, 200), "no student is counted twice");
        let SpeakerMetrics { speakers, packets, .. } = meter.speakers();
        assert_eq!((speakers, packets), (1, 40));
        drop((one, speaker));
        let MediaMetrics { rooms, students, packets, .. } = meter.metrics();
        assert_eq!((rooms, students, packets), (1, 5, 200));
        assert_eq!((meter.speakers().speakers, meter.speakers().packets), (0, 40));
        assert_eq!((Count(7).step(9), Count(7).step(3)), (2, 3), "a new publisher starts at 0");
    }
}
