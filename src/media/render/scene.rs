//! The places of the pictures in a window: one is large, the others are a column at the right edge. Pure.

use super::grid::{self, Rect};
use crate::media::options::Size;
use crate::rtp::Track;

/// The canvas without a screen, and before the screen has arrived.
const DEFAULT_CANVAS: Size = Size { width: 1280, height: 720 };

/// The lecture's inset has a quarter of the canvas's width, a speaker's a fifth.
const LECTURE_SHARE: u32 = 4;
const SPEAKER_SHARE: u32 = 5;

/// A speaker on the stage, by a number that is unique within a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SpeakerNumber(pub(super) u32);

/// A picture in a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Picture {
    /// The teacher's screen or camera.
    Lecture(Track),
    /// The screen or camera of a speaker.
    Speaker(SpeakerNumber, Track),
}

#[derive(Debug, Clone, Copy)]
struct Arrived {
    picture: Picture,
    size: Size,
    /// Nothing is sent at present, so the picture is hidden.
    is_off: bool,
}

/// How the pictures share the window.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Arrangement {
    /// One is large, the others are a column.
    #[default]
    Column,
    /// All have the same size, unless a speaker is large.
    Grid,
}

/// The pictures of a window.
#[derive(Debug, Clone, Default)]
pub(super) struct Scene {
    /// In the order of arrival, the lecture's first.
    arrived: Vec<Arrived>,
    /// Pictures that are hidden as soon as they arrive.
    off: Vec<Picture>,
    /// The size of a window that was open before this scene.
    window: Option<Size>,
    /// The speaker who is shown large.
    large: Option<SpeakerNumber>,
    arrangement: Arrangement,
}

impl Scene {
    /// Notes the size of a picture.
    pub(super) fn arrived(&mut self, picture: Picture, size: Size) {
        if let Some(known) = self.arrived.iter_mut().find(|known| known.picture == picture) {
            known.size = size;
            return;
        }
        let is_off = self.off.contains(&picture);
        let is_behind = |other: &Arrived| match (picture, other.picture) {
            (Picture::Lecture(track), Picture::Lecture(other)) => track == Track::Screen && other != Track::Screen,
            (Picture::Lecture(_), Picture::Speaker(..)) => true,
            (Picture::Speaker(..), _) => false,
        };
        let at = self.arrived.iter().position(is_behind).unwrap_or(self.arrived.len());
        self.arrived.insert(at, Arrived { picture, size, is_off });
    }

    /// Shows or hides a picture, also one that arrives later.
    pub(super) fn show(&mut self, picture: Picture, shown: bool) {
        self.off.retain(|off| *off != picture);
        if !shown {
            self.off.push(picture);
        }
        if let Some(known) = self.arrived.iter_mut().find(|known| known.picture == picture) {
            known.is_off = !shown;
        }
    }

    /// Forgets a speaker.
    pub(super) fn remove(&mut self, speaker: SpeakerNumber) {
        let is_of = |picture: Picture| matches!(picture, Picture::Speaker(of, _) if of == speaker);
        self.arrived.retain(|known| !is_of(known.picture));
        self.off.retain(|off| !is_of(*off));
        self.large = self.large.filter(|large| *large != speaker);
    }

    /// Shows a speaker large, or the lecture again.
    pub(super) fn enlarge(&mut self, speaker: Option<SpeakerNumber>) {
        self.large = speaker;
    }

    /// Chooses how the pictures share the window.
    pub(super) fn arrange_as(&mut self, arrangement: Arrangement) {
        self.arrangement = arrangement;
    }

    /// Keeps the size of a window that is open already.
    pub(super) fn keep_window(&mut self, size: Option<Size>) {
        self.window = size;
    }

    /// The size of a picture that has arrived.
    pub(super) fn size(&self, picture: Picture) -> Option<Size> {
        self.arrived.iter().find(|known| known.picture == picture).map(|known| known.size)
    }

    /// The size of the composed picture: that of the screen, so that its letters are not scaled. A window keeps its
    /// first size, so a camera that arrives first must not make the window small.
    pub(super) fn canvas(&self) -> Size {
        self.size(Picture::Lecture(Track::Screen)).or(self.window).unwrap_or(DEFAULT_CANVAS)
    }

    /// The place of each visible picture, the one behind the others first.
    pub(super) fn places(&self) -> Vec<(Picture, Rect)> {
        let canvas = self.canvas();
        let visible: Vec<&Arrived> = self.arrived.iter().filter(|known| !known.is_off).collect();
        let is_large = |known: &&&Arrived| match known.picture {
            Picture::Speaker(of, _) => Some(of) == self.large,
            Picture::Lecture(_) => false,
        };
        // A speaker who shares a screen wants that one to be seen.
        let of_speaker = visible.iter().filter(is_large).max_by_key(|known| is_screen(known.picture));
        if self.arrangement == Arrangement::Grid && of_speaker.is_none() {
            let tiles = grid::tiles(canvas, visible.len());
            return visible.iter().map(|known| known.picture).zip(tiles).collect();
        }
        let Some(large) = of_speaker.or(visible.first()).map(|known| known.picture) else { return Vec::new() };
        let insets = visible.iter().filter(|known| known.picture != large).map(|known| **known);
        let mut places = vec![(large, Rect { x: 0, y: 0, size: canvas })];
        places.extend(column(canvas, &insets.collect::<Vec<_>>()));
        places
    }
}

fn is_screen(picture: Picture) -> bool {
    matches!(picture, Picture::Lecture(Track::Screen) | Picture::Speaker(_, Track::Screen))
}

/// A column of insets, from the bottom right corner upwards: where a lecture has least. The first one is the lowest.
fn column(canvas: Size, insets: &[Arrived]) -> Vec<(Picture, Rect)> {
    let (margin, gap) = (canvas.width / 50, canvas.width / 100);
    let room = canvas.height.saturating_sub(2 * margin + gap * (insets.len() as u32).saturating_sub(1));
    let sizes: Vec<Size> = insets.iter().map(|inset| inset_size(canvas, inset)).collect();
    let needed: u32 = sizes.iter().map(|size| size.height).sum();
    let mut bottom = canvas.height.saturating_sub(margin);
    let mut places = Vec::new();
    for (inset, size) in insets.iter().zip(sizes) {
        // All shrink alike if the column is too high for the canvas.
        let fitted = |edge: u32| if needed > room { (edge * room / needed).max(2) & !1 } else { edge };
        let size = Size { width: fitted(size.width), height: fitted(size.height) };
        let x = canvas.width.saturating_sub(size.width + margin) as i32 & !1;
        let y = bottom.saturating_sub(size.height) as i32 & !1;
        places.push((inset.picture, Rect { x, y, size }));
        bottom = (y as u32).saturating_sub(gap);
    }
    places
}

/// The size of an inset: as wide as its share of the canvas, with the shape of the picture, at most half as high as the
/// canvas. The portrait picture of a phone gets the whole place and is centred in it.
fn inset_size(canvas: Size, inset: &Arrived) -> Size {
    let (share, highest) = match inset.picture {
        Picture::Lecture(_) => (LECTURE_SHARE, canvas.height / 2),
        Picture::Speaker(..) => (SPEAKER_SHARE, canvas.height / 4),
    };
    let width = (canvas.width / share).max(2) & !1;
    let height = u64::from(width) * u64::from(inset.size.height) / u64::from(inset.size.width.max(1));
    let height = (height.min(u64::from(highest)) as u32).max(2) & !1;
    Size { width, height }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HD: Size = Size { width: 1280, height: 720 };
    const CAMERA: Size = Size { width: 640, height: 360 };
    const SCREEN_OF_LECTURE: Picture = Picture::Lecture(Track::Screen);
    const CAMERA_OF_LECTURE: Picture = Picture::Lecture(Track::Camera);

    fn scene(pictures: &[(Picture, Size)]) -> Scene {
        let mut scene = Scene::default();
        pictures.iter().for_each(|(picture, size)| scene.arrived(*picture, *size));
        scene
    }

    fn speaker(number: u32, track: Track) -> Picture {
        Picture::Speaker(SpeakerNumber(number), track)
    }

    fn place(scene: &Scene, picture: Picture) -> Option<Rect> {
        scene.places().into_iter().find(|(other, _)| *other == picture).map(|(_, rect)| rect)
    }

    fn whole(size: Size) -> Option<Rect> {
        Some(Rect { x: 0, y: 0, size })
    }

    #[test]
    fn the_camera_is_in_the_corner_or_fills_the_window_alone() {
        let alone = scene(&[(CAMERA_OF_LECTURE, CAMERA)]);
        assert_eq!(place(&alone, CAMERA_OF_LECTURE), whole(HD));
        let mut both = scene(&[(CAMERA_OF_LECTURE, CAMERA), (SCREEN_OF_LECTURE, HD)]);
        let corner = Rect { x: 934, y: 514, size: Size { width: 320, height: 180 } };
        assert_eq!(place(&both, CAMERA_OF_LECTURE), Some(corner));
        both.show(SCREEN_OF_LECTURE, false);
        assert_eq!(place(&both, CAMERA_OF_LECTURE), whole(HD), "a screen that has stopped leaves all to the camera");
        assert_eq!(place(&both, SCREEN_OF_LECTURE), None);
        // Portrait video of a phone stays out of the upper half.
        let tall = scene(&[(SCREEN_OF_LECTURE, HD), (CAMERA_OF_LECTURE, Size { width: 360, height: 640 })]);
        assert_eq!(place(&tall, CAMERA_OF_LECTURE).unwrap().size, Size { width: 320, height: 360 });
    }

    /// Whether no two insets overlap, and all are within the canvas.
    fn check(scene: &Scene) {
        let places = scene.places();
        let (canvas, insets) = (scene.canvas(), &places[1..]);
        for (at, (picture, rect)) in insets.iter().enumerate() {
            let (right, bottom) = (rect.x + rect.size.width as i32, rect.y + rect.size.height as i32);
            assert!(rect.x >= 0 && rect.y >= 0, "{picture:?}: {rect:?}");
            assert!(right <= canvas.width as i32 && bottom <= canvas.height as i32, "{picture:?}: {rect:?}");
            for (_, above) in &insets[at + 1..] {
                assert!(above.y + above.size.height as i32 <= rect.y, "{rect:?} and {above:?}");
            }
        }
    }

    #[test]
    fn speakers_stand_above_the_camera_and_leave_with_their_place() {
        let mut lecture = scene(&[(SCREEN_OF_LECTURE, HD), (CAMERA_OF_LECTURE, CAMERA)]);
        let before = place(&lecture, CAMERA_OF_LECTURE);
        lecture.arrived(speaker(1, Track::Camera), CAMERA);
        lecture.arrived(speaker(2, Track::Camera), Size { width: 480, height: 640 });
        assert_eq!(place(&lecture, CAMERA_OF_LECTURE), before, "the camera of the teacher stays where it is");
        let first = place(&lecture, speaker(1, Track::Camera)).unwrap();
        assert_eq!(first, Rect { x: 998, y: 358, size: Size { width: 256, height: 144 } });
        assert_eq!(place(&lecture, speaker(2, Track::Camera)).unwrap().size.height, 180, "a portrait is no tower");
        check(&lecture);
        lecture.remove(SpeakerNumber(1));
        assert_eq!(place(&lecture, speaker(1, Track::Camera)), None);
        assert!(place(&lecture, speaker(2, Track::Camera)).unwrap().y > 300, "the others move down");
        // Eight pictures of four speakers shrink until they fit, whatever the shape of the canvas.
        for canvas in [HD, Size { width: 1920, height: 1200 }, Size { width: 320, height: 180 }] {
            let mut full = scene(&[(SCREEN_OF_LECTURE, canvas), (CAMERA_OF_LECTURE, CAMERA)]);
            for number in 0..4 {
                full.arrived(speaker(number, Track::Camera), CAMERA);
                full.arrived(speaker(number, Track::Screen), HD);
            }
            assert_eq!(full.places().len(), 10);
            check(&full);
        }
    }

    #[test]
    fn one_speaker_can_be_large_and_the_lecture_is_then_in_the_corner() {
        let mut scene = scene(&[(SCREEN_OF_LECTURE, HD), (speaker(7, Track::Camera), CAMERA)]);
        scene.enlarge(Some(SpeakerNumber(7)));
        assert_eq!(place(&scene, speaker(7, Track::Camera)), whole(HD));
        let corner = Rect { x: 934, y: 514, size: Size { width: 320, height: 180 } };
        assert_eq!(place(&scene, SCREEN_OF_LECTURE), Some(corner));
        scene.arrived(speaker(7, Track::Screen), HD);
        assert_eq!(place(&scene, speaker(7, Track::Screen)), whole(HD), "the shared screen is the large one");
        check(&scene);
        scene.show(speaker(7, Track::Screen), false);
        assert_eq!(place(&scene, speaker(7, Track::Camera)), whole(HD));
        scene.show(speaker(7, Track::Camera), false);
        assert_eq!(place(&scene, SCREEN_OF_LECTURE), whole(HD), "a speaker without a picture is not large");
        scene.remove(SpeakerNumber(7));
        scene.arrived(speaker(7, Track::Camera), CAMERA);
        assert_eq!(place(&scene, SCREEN_OF_LECTURE), whole(HD), "a speaker who returns is not large by itself");
    }

    #[test]
    fn in_a_grid_all_have_one_size_until_one_is_large() {
        let mut meeting = scene(&[1, 2, 3].map(|number| (speaker(number, Track::Camera), CAMERA)));
        meeting.arrange_as(Arrangement::Grid);
        assert_eq!(place(&meeting, speaker(1, Track::Camera)).unwrap().size, CAMERA);
        meeting.enlarge(Some(SpeakerNumber(2)));
        assert_eq!(place(&meeting, speaker(2, Track::Camera)), whole(HD));
        assert_eq!(meeting.places().len(), 3);
        check(&meeting);
        meeting.remove(SpeakerNumber(2));
        assert_eq!(place(&meeting, speaker(3, Track::Camera)).unwrap().size, CAMERA);
    }

    #[test]
    fn a_lecture_without_a_picture_shows_the_speaker() {
        let mut scene = scene(&[(speaker(1, Track::Camera), CAMERA)]);
        assert_eq!(place(&scene, speaker(1, Track::Camera)), whole(HD));
        scene.show(SCREEN_OF_LECTURE, false);
        scene.arrived(SCREEN_OF_LECTURE, HD);
        assert_eq!(place(&scene, speaker(1, Track::Camera)), whole(HD));
        scene.show(SCREEN_OF_LECTURE, true);
        assert_eq!(place(&scene, SCREEN_OF_LECTURE), whole(HD));
    }
}
