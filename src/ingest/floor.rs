//! The audio floor of a meeting: of all participants, the class hears the loudest few.
//!
//! Each packet of audio tells its level (RFC 6464). A participant has the floor while it is among the loudest; whoever
//! has it keeps it against a participant that is only a little louder, so that a pause between two words loses nothing.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

/// The level of silence, in -dBov.
const SILENCE: u8 = 127;

/// The level assumed of a participant whose client tells none: quiet speech.
const UNKNOWN: u8 = 60;

/// The decrease of the loudness after a loud packet, in dB per second: a pause between two sentences costs nobody the
/// floor.
const DECAY_DB_PER_SECOND: f32 = 10.0;

/// A participant takes the floor from another one if it is louder by this, in dB.
const MARGIN_DB: f32 = 6.0;

/// The floor of one meeting. Clones are the same floor.
#[derive(Debug, Clone)]
pub struct AudioFloor(Arc<Mutex<State>>);

/// Counts of all floors of a process.
#[derive(Debug, Default)]
pub struct FloorCounts {
    voices: AtomicUsize,
    changes: AtomicU64,
}

#[derive(Debug)]
struct State {
    most: usize,
    counts: Arc<FloorCounts>,
    next_id: u64,
    members: Vec<Member>,
}

#[derive(Debug)]
struct Member {
    id: u64,
    /// The loudness at the time `at`, in dB above silence.
    loudness: f32,
    at: Option<Instant>,
    has_floor: bool,
}

/// The audio of one publisher, judged by a floor. It leaves the floor when it is dropped.
#[derive(Debug)]
pub(crate) struct Voice {
    floor: AudioFloor,
    id: u64,
    has_floor: bool,
}

impl AudioFloor {
    /// A floor for at most `most` voices at once, which adds to these counts.
    pub fn new(most: usize, counts: Arc<FloorCounts>) -> Self {
        Self(Arc::new(Mutex::new(State { most, counts, next_id: 0, members: Vec::new() })))
    }

    /// One more publisher.
    pub(crate) fn join(&self) -> Voice {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let id = state.next_id;
        state.next_id += 1;
        state.members.push(Member { id, loudness: 0.0, at: None, has_floor: false });
        Voice { floor: self.clone(), id, has_floor: false }
    }
}

impl FloorCounts {
    /// The publishers that have the floor now.
    pub fn voices(&self) -> usize {
        self.voices.load(Ordering::Relaxed)
    }

    /// How often a publisher took the floor from a quieter one.
    pub fn changes(&self) -> u64 {
        self.changes.load(Ordering::Relaxed)
    }
}

impl Voice {
    /// A packet of audio with this level in -dBov, if it tells one.
    pub(crate) fn speaks(&mut self, now: Instant, level: Option<u8>) {
        let mut state = self.floor.0.lock().unwrap_or_else(PoisonError::into_inner);
        self.has_floor = state.speaks(now, self.id, level.unwrap_or(UNKNOWN));
    }

    /// Whether the publisher's audio is passed on, as of its last packet.
    pub(crate) fn has_floor(&self) -> bool {
        self.has_floor
    }
}

impl Drop for Voice {
    fn drop(&mut self) {
        let mut state = self.floor.0.lock().unwrap_or_else(PoisonError::into_inner);
        for member in state.members.extract_if(.., |member| member.id == self.id).collect::<Vec<_>>() {
            state.counts.voices.fetch_sub(usize::from(member.has_floor), Ordering::Relaxed);
        }
    }
}

impl State {
    fn speaks(&mut self, now: Instant, id: u64, level: u8) -> bool {
        let Some(index) = self.members.iter().position(|member| member.id == id) else { return false };
        let member = &mut self.members[index];
        member.loudness = f32::from(SILENCE.saturating_sub(level)).max(member.loudness_at(now));
        member.at = Some(now);
        if member.has_floor {
            return true;
        }
        let (own, others) = (member.loudness, self.members.iter().filter(|member| member.has_floor));
        if others.clone().count() < self.most {
            self.members[index].has_floor = true;
            self.counts.voices.fetch_add(1, Ordering::Relaxed);
            return true;
        }
        let loudness = |member: &&Member| member.loudness_at(now);
        let quietest = others.min_by(|a, b| loudness(a).total_cmp(&loudness(b)));
        let Some(quietest) = quietest.filter(|other| own >= other.loudness_at(now) + MARGIN_DB) else { return false };
        let quietest = quietest.id;
        self.counts.changes.fetch_add(1, Ordering::Relaxed);
        for member in &mut self.members {
            member.has_floor = (member.has_floor && member.id != quietest) || member.id == id;
        }
        true
    }
}

impl Member {
    fn loudness_at(&self, now: Instant) -> f32 {
        let Some(at) = self.at else { return 0.0 };
        (self.loudness - DECAY_DB_PER_SECOND * now.saturating_duration_since(at).as_secs_f32()).max(0.0)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// All voices send a packet with their level every 20 ms.
    fn speak(voices: &mut [Voice], levels: &[u8], now: &mut Instant, packets: usize) {
        for _ in 0..packets {
            *now += Duration::from_millis(20);
            voices.iter_mut().zip(levels).for_each(|(voice, level)| voice.speaks(*now, Some(*level)));
        }
    }

    fn heard(voices: &[Voice]) -> Vec<usize> {
        (0..voices.len()).filter(|n| voices[*n].has_floor()).collect()
    }

    #[test]
    fn the_three_loudest_are_heard() {
        let (floor, mut now) = (AudioFloor::new(3, Arc::default()), Instant::now());
        let mut voices: Vec<_> = (0..5).map(|_| floor.join()).collect();
        speak(&mut voices, &[127; 5], &mut now, 10);
        assert_eq!(heard(&voices), [0, 1, 2], "silence displaces nobody");
        speak(&mut voices, &[30, 127, 127, 127, 30], &mut now, 2);
        assert_eq!(heard(&voices).len(), 3);
        assert!(voices[0].has_floor() && voices[4].has_floor(), "whoever speaks is heard with the first packet");
        speak(&mut voices, &[30, 32, 127, 31, 30], &mut now, 2);
        assert!(voices[3].has_floor() != voices[1].has_floor(), "there is one place, and both are about as loud");
        speak(&mut voices, &[127, 32, 127, 31, 30], &mut now, 20);
        assert!(voices[0].has_floor(), "a pause of 0.4 s");
        speak(&mut voices, &[127, 32, 127, 31, 30], &mut now, 60);
        assert_eq!(heard(&voices), [1, 3, 4]);
    }

    #[test]
    fn a_voice_that_leaves_makes_room_and_one_without_levels_is_heard() {
        let counts = Arc::<FloorCounts>::default();
        let (floor, mut now) = (AudioFloor::new(1, Arc::clone(&counts)), Instant::now());
        let mut voices = vec![floor.join(), floor.join()];
        speak(&mut voices, &[20, 20], &mut now, 5);
        assert_eq!(heard(&voices), [0]);
        drop(voices.remove(0));
        voices[0].speaks(now, None);
        assert_eq!(heard(&voices), [0], "the only one that is left");
        voices.push(floor.join());
        now += Duration::from_secs(10);
        voices[1].speaks(now, Some(20));
        assert_eq!((counts.voices(), counts.changes()), (1, 1), "the louder one took the floor");
        drop(voices);
        assert_eq!(counts.voices(), 0);
    }
}
