//! How a picture of a screen differs from the one before, and whether it shows another scene. Pure.
//!
//! All pixels are compared for equality. Blocks of 16x16 pixels have changed if one of four sampled lines has. A
//! picture that has only moved up or down is found by hashes of its lines.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hasher};
use std::time::Duration;

/// The edge of a block, and the lines of it that are sampled.
const BLOCK: usize = 16;
const SAMPLED: [usize; 4] = [2, 6, 10, 14];

/// A pixel that differs by less may be noise.
const NOISE: u8 = 24;

/// With fewer changed blocks a picture is the same page: a cursor blinks, somebody types, a menu opens.
const BUSY_SHARE: f64 = 0.03;

/// With more changed blocks, after some calm, there is another page.
const SCENE_SHARE: f64 = 0.08;

/// The screen is calm after this time without a busy picture.
const CALM: Duration = Duration::from_millis(300);

/// A screen that moved has come to rest after this time without a busy picture: longer than from one line of output to
/// the next, and short, because the page is unreadable until then.
const SETTLES_AFTER: Duration = Duration::from_millis(120);

/// The least time between two scene changes: each costs a key frame.
const SCENE_INTERVAL: Duration = Duration::from_secs(1);

/// Vertical strips of a picture, in which lines are compared: a navigation bar beside the text stays where it is.
const STRIPS: usize = 4;

/// The share of the changed lines that must be found again at one distance, if a picture has only moved.
const MOVED_SHARE: f64 = 0.5;

/// A plane of a picture.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plane<'a> {
    pub(super) bytes: &'a [u8],
    /// Bytes from one line to the next.
    pub(super) stride: usize,
    pub(super) width: usize,
    pub(super) height: usize,
}

impl<'a> Plane<'a> {
    fn line(&self, n: usize) -> &'a [u8] {
        let from = n * self.stride;
        self.bytes.get(from..from + self.width).unwrap_or_default()
    }
}

/// The difference of two pictures of the same size.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Difference {
    None,
    /// The share of the blocks that have changed.
    Share(f64),
}

/// Compares planes of the same size.
pub(super) fn difference(before: Plane<'_>, now: Plane<'_>) -> Difference {
    if (0..now.height).all(|line| before.line(line) == now.line(line)) {
        return Difference::None;
    }
    Difference::Share(changed_share(before, now))
}

fn changed_share(before: Plane<'_>, now: Plane<'_>) -> f64 {
    let (across, down) = (now.width / BLOCK, now.height / BLOCK);
    let mut changed = vec![false; across];
    let mut count = 0;
    for band in 0..down {
        changed.fill(false);
        for line in SAMPLED.map(|line| band * BLOCK + line) {
            let blocks = before.line(line).chunks_exact(BLOCK).zip(now.line(line).chunks_exact(BLOCK));
            for (is_changed, (one, other)) in changed.iter_mut().zip(blocks) {
                let differs = || one.iter().zip(other).any(|(a, b)| a.abs_diff(*b) >= NOISE);
                *is_changed = *is_changed || one != other && differs();
            }
        }
        count += changed.iter().filter(|changed| **changed).count();
    }
    count as f64 / (across * down).max(1) as f64
}

/// Whether a picture has only moved up or down: most changed lines were elsewhere before, all at the same distance, in
/// most strips that have changed lines. This takes some milliseconds.
pub(super) fn has_moved(before: Plane<'_>, now: Plane<'_>) -> bool {
    let width = now.width / STRIPS;
    let (mut changed_strips, mut moved_strips) = (0, 0);
    for strip in 0..STRIPS {
        let part = |plane: Plane<'_>, line: usize| -> u64 {
            let mut hasher = DefaultHasher::new();
            hasher.write(plane.line(line).get(strip * width..(strip + 1) * width).unwrap_or_default());
            hasher.finish()
        };
        let hashes = |plane| (0..now.height).map(|line| part(plane, line)).collect::<Vec<u64>>();
        let (old, new) = (hashes(before), hashes(now));
        let mut known = HashMap::<u64, Option<usize>>::new();
        for (line, hash) in old.iter().enumerate() {
            // A line that occurs twice, such as an empty one, says nothing about the distance.
            known.entry(*hash).and_modify(|at| *at = None).or_insert(Some(line));
        }
        let mut distances = HashMap::<isize, usize>::new();
        let mut changed = 0;
        for (line, hash) in new.iter().enumerate().filter(|(line, hash)| old[*line] != **hash) {
            match known.get(hash) {
                Some(Some(from)) => *distances.entry(line as isize - *from as isize).or_default() += 1,
                // An empty line.
                Some(None) => continue,
                None => {}
            }
            changed += 1;
        }
        if changed * 20 >= now.height {
            changed_strips += 1;
            let most = distances.values().copied().max().unwrap_or(0);
            moved_strips += usize::from(most as f64 >= changed as f64 * MOVED_SHARE);
        }
    }
    changed_strips > 0 && moved_strips * 2 > changed_strips
}

/// What the encoders are told of a picture.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct PictureState {
    /// The number of scene changes so far, including this picture.
    pub(super) scenes: u64,
    /// How often a screen has come to rest after changes that were no scene: movement, or pages in quick succession.
    pub(super) rests: u64,
    /// No pixel differs from the picture before.
    pub(super) is_unchanged: bool,
    /// Much has changed since the picture before.
    pub(super) is_busy: bool,
    /// Much changes all the time.
    pub(super) is_moving: bool,
}

/// Finds scene changes in a series of pictures.
#[derive(Debug, Default)]
pub(super) struct SceneDetector {
    state: PictureState,
    /// The last picture of which much had changed.
    busy: Option<Duration>,
    changed: Option<Duration>,
    /// The last busy picture was no scene, and the screen has not come to rest since.
    is_restless: bool,
}

impl SceneDetector {
    /// A picture with this timestamp differs so much from the one before. `has_moved` is called only if the picture
    /// may show another scene.
    pub(super) fn on_picture(
        &mut self,
        time: Duration,
        difference: Difference,
        has_moved: impl FnOnce() -> bool,
    ) -> PictureState {
        let share = match difference {
            Difference::None => 0.0,
            Difference::Share(share) => share,
        };
        let within = |at: Option<Duration>, length| at.is_some_and(|at| time.saturating_sub(at) < length && time >= at);
        let was_busy = within(self.busy, CALM);
        let is_busy = share >= BUSY_SHARE;
        self.state.is_unchanged = difference == Difference::None;
        self.state.is_busy = is_busy;
        self.state.is_moving = was_busy && (is_busy || self.state.is_moving);
        if is_busy {
            self.busy = Some(time);
        }
        if share >= SCENE_SHARE && !was_busy && !within(self.changed, SCENE_INTERVAL) && !has_moved() {
            self.changed = Some(time);
            self.state.scenes += 1;
            self.is_restless = false;
        } else if is_busy {
            self.is_restless = true;
        } else if self.is_restless && !within(self.busy, SETTLES_AFTER) {
            self.is_restless = false;
            self.state.rests += 1;
        }
        self.state
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WIDTH: usize = 320;
    const HEIGHT: usize = 192;

    /// Lines of text: each line of pixels differs from the others, with a margin of white.
    fn page(seed: usize) -> Vec<u8> {
        let pixel = |x: usize, y: usize| match (x, (y + seed) % 16) {
            (..16 | 304.., _) | (_, 12..) => 255,
            (_, _) if ((x / 2 + 3) * (y + seed + 7) * (y + seed + 7)) % 1_009 < 400 => 20,
            _ => 250,
        };
        (0..WIDTH * HEIGHT).map(|n| pixel(n % WIDTH, n / WIDTH)).collect()
    }

    fn plane(bytes: &[u8]) -> Plane<'_> {
        Plane { bytes, stride: WIDTH, width: WIDTH, height: HEIGHT }
    }

    fn compared(one: &[u8], other: &[u8]) -> Difference {
        difference(plane(one), plane(other))
    }

    #[test]
    fn the_share_of_changed_blocks_is_measured() {
        let (one, mut other) = (page(0), page(0));
        assert_eq!(compared(&one, &other), Difference::None);
        other[WIDTH * 3 + 40] ^= 1;
        assert_eq!(compared(&one, &other), Difference::Share(0.0), "a pixel differs");
        // A letter of 9x16 pixels, black on white.
        (0..16).for_each(|line| other[WIDTH * (32 + line) + 64..][..9].fill(128));
        let Difference::Share(share) = compared(&one, &other) else { panic!("a letter is no movement") };
        assert!(share > 0.0 && share < BUSY_SHARE, "{share}");
        let noise: Vec<u8> = one.iter().enumerate().map(|(n, value)| value ^ (n % 3) as u8).collect();
        assert_eq!(compared(&one, &noise), Difference::Share(0.0), "noise");
        let inverted: Vec<u8> = one.iter().map(|value| 255 - value).collect();
        assert_eq!(compared(&one, &inverted), Difference::Share(1.0));
    }

    #[test]
    fn a_scrolled_page_has_moved_and_another_page_has_not() {
        let is_other = |a: &[u8], b: &[u8]| matches!(compared(a, b), Difference::Share(share) if share > SCENE_SHARE);
        let one = page(0);
        for distance in [16, 18, 40] {
            let scrolled = page(distance);
            assert!(is_other(&one, &scrolled) && has_moved(plane(&one), plane(&scrolled)), "{distance}");
        }
        let other: Vec<u8> = page(3).iter().zip(page(1_000)).map(|(a, b)| a ^ b).collect();
        assert!(is_other(&one, &other) && !has_moved(plane(&one), plane(&other)));
    }

    /// The scenes after pictures of 30 a second, and whether the last one moves.
    fn scenes(differences: impl IntoIterator<Item = Difference>) -> (u64, bool) {
        scenes_of(differences, false)
    }

    fn scenes_of(differences: impl IntoIterator<Item = Difference>, has_moved: bool) -> (u64, bool) {
        let mut detector = SceneDetector::default();
        let mut state = PictureState::default();
        for (n, difference) in differences.into_iter().enumerate() {
            state = detector.on_picture(Duration::from_secs(1) * n as u32 / 30, difference, || has_moved);
        }
        (state.scenes, state.is_moving)
    }

    #[test]
    fn a_page_after_some_calm_is_a_scene_and_a_film_or_a_cursor_is_none() {
        use Difference::{None, Share};
        let calm = |pictures| std::iter::repeat_n(None, pictures);
        assert_eq!(scenes(calm(30).chain([Share(0.5)]).chain(calm(5))), (1, false));
        assert_eq!(scenes(calm(30).chain([Share(0.5)]).chain(calm(40)).chain([Share(0.5)])), (2, false));
        assert_eq!(scenes(calm(30).chain([Share(0.5)]).chain(calm(15)).chain([Share(0.5)])).0, 1, "too soon");
        assert_eq!(scenes_of(calm(30).chain([Share(0.8); 30]), true), (0, true), "scrolling");
        assert_eq!(scenes(calm(30).chain([Share(0.8); 90])), (1, true), "a film begins");
        assert_eq!(scenes(calm(30).chain([Share(0.8); 90]).chain(calm(12))), (1, false), "and ends");
        let cursor = (0..200).map(|n| if n % 15 == 0 { Share(0.001) } else { None });
        assert_eq!(scenes(cursor), (0, false));
    }

    #[test]
    fn a_screen_rests_after_movement_and_not_between_lines_of_output() {
        use Difference::{None, Share};
        let rests = |differences: &[Difference]| {
            let mut detector = SceneDetector::default();
            let mut state = PictureState::default();
            for (n, difference) in differences.iter().enumerate() {
                state = detector.on_picture(Duration::from_secs(1) * n as u32 / 30, *difference, || false);
            }
            state.rests
        };
        let of = |parts: &[&[Difference]]| rests(&parts.concat());
        let (calm, film) = ([None; 30], [Share(0.8); 30]);
        assert_eq!(of(&[&calm, &[Share(0.5)], &calm]), 0, "a page after some calm has a key frame");
        assert_eq!(of(&[&calm, &film, &calm]), 1, "the end of a film");
        assert_eq!(of(&[&calm, &film, &calm[..3], &film, &calm[..4]]), 1, "120 ms are 4 pictures");
        assert_eq!(of(&[&calm, &[Share(0.2), None, None].repeat(20)]), 0, "a line of output every 100 ms");
        assert_eq!(of(&[&calm, &[Share(0.5)], &calm[..15], &[Share(0.5)], &calm]), 1, "a page soon after another");
    }

    #[test]
    fn pictures_from_before_do_not_disturb() {
        let mut detector = SceneDetector::default();
        detector.on_picture(Duration::from_secs(9), Difference::Share(0.5), || false);
        let state = detector.on_picture(Duration::ZERO, Difference::Share(0.5), || false);
        assert_eq!((state.scenes, state.is_moving), (2, false), "the source began anew");
    }
}
