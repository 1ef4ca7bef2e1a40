//! The move to the server: what participants miss of each other, and what they hear twice. All of them record; their
//! recordings have what a window would show, at the times at which it would.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use classroom::protocol::MAX_MESH;

use crate::meeting::{Meeting, Picture};
use crate::recording::times;
use crate::usage::busy;

/// Enough pictures a second to see a short gap.
const PICTURE: Picture = Picture { size: (160, 90), fps: 25, is_noise: false };

/// How long the mesh goes on before the move, and the meeting after it.
const BEFORE: Duration = Duration::from_secs(10);
const AFTER: Duration = Duration::from_secs(12);

/// What is left out at the beginning and at the end of a part of a recording, in ms.
const MARGIN_MS: i64 = 1_500;

/// The time between two blocks of audio, in ms.
const BLOCK_MS: i64 = 20;

/// Measures one move.
pub fn print() {
    let mut meeting = Meeting::new(PICTURE, None);
    let files: Vec<_> = (1..=MAX_MESH + 1).map(|n| meeting.folder().join(format!("{n}.mkv"))).collect();
    let enter = |meeting: &mut Meeting, n: usize| meeting.enter(files[n].to_str().unwrap(), None);
    (0..MAX_MESH).for_each(|n| enter(&mut meeting, n));
    meeting.all_see_all(&[]);
    std::thread::sleep(BEFORE);
    let (moves, worked) = (meeting.age(), busy());
    enter(&mut meeting, MAX_MESH);
    meeting.all_see_all(&[]);
    std::thread::sleep(AFTER);
    let seconds = (meeting.age() - moves).as_secs_f64();
    let load = (busy() - worked) / seconds;
    let since_move = (meeting.age() - moves).as_millis() as i64;
    meeting.end();

    let users: Vec<&str> = meeting.participants.iter().take(MAX_MESH).map(|one| one.user.as_str()).collect();
    println!("the move at participant {}: {} recordings, {:.1} cores busy", MAX_MESH + 1, MAX_MESH, load);
    let (mut before, mut during) = ([Gaps::default(), Gaps::default()], [Gaps::default(), Gaps::default()]);
    for (file, user) in files.iter().zip(&users) {
        add(file, user, &users, since_move, (&mut before, &mut during));
    }
    for (n, kind) in ["sound", "picture"].into_iter().enumerate() {
        println!("  {kind} before the move: {}", before[n]);
        println!("  {kind} during the move: {}", during[n]);
    }
}

/// Adds the gaps of a recording in the time before the move, and from then on: those of sound and those of pictures.
fn add(file: &Path, user: &str, users: &[&str], since_move: i64, (before, during): (&mut [Gaps; 2], &mut [Gaps; 2])) {
    let tracks = times(file);
    let last = tracks.values().filter_map(|at| at.last()).copied().max().unwrap_or(0);
    let moved = last - since_move;
    for other in users.iter().filter(|other| **other != user) {
        for (n, track) in ["audio", "screen"].into_iter().enumerate() {
            let at = tracks.get(&format!("{other} {track}")).map_or(&[][..], Vec::as_slice);
            before[n].add(at, at.first().map_or(0, |first| first + MARGIN_MS)..moved - MARGIN_MS / 3);
            during[n].add(at, moved - MARGIN_MS / 3..last - MARGIN_MS);
        }
    }
}

/// The longest gap of each pair, and what came twice.
#[derive(Debug, Default)]
struct Gaps {
    longest_ms: Vec<i64>,
    /// The longest time in which blocks of audio came twice as fast as they are spoken.
    twice_ms: Vec<i64>,
}

impl Gaps {
    fn add(&mut self, at: &[i64], part: std::ops::Range<i64>) {
        let inside: Vec<i64> = at.iter().copied().filter(|at| part.contains(at)).collect();
        let steps = || inside.windows(2).map(|two| two[1] - two[0]);
        // What never came is missing for the whole part.
        self.longest_ms.push(steps().max().unwrap_or(part.end - part.start));
        self.twice_ms.push(BLOCK_MS * steps().filter(|step| *step < BLOCK_MS / 2).count() as i64);
    }
}

impl fmt::Display for Gaps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sorted = |values: &[i64]| {
            let mut sorted = values.to_vec();
            sorted.sort_unstable();
            sorted
        };
        let (longest, twice) = (sorted(&self.longest_ms), sorted(&self.twice_ms));
        let at = |values: &[i64], share: usize| values.get(values.len() * share / 100).copied().unwrap_or_default();
        let most = |values: &[i64]| values.last().copied().unwrap_or_default();
        write!(
            f,
            "{} pairs, longest gap p50 {} ms, p90 {} ms, most {} ms; twice p50 {} ms, most {} ms",
            longest.len(),
            at(&longest, 50),
            at(&longest, 90),
            most(&longest),
            at(&twice, 50),
            most(&twice)
        )
    }
}
