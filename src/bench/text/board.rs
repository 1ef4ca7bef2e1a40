//! The pictures that the teacher has drawn, and a comparison of each decoded picture with them.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::lesson::{Lesson, Picture, at};
use super::quality::{IDENTICAL_DB, psnr, ssim};
use crate::media::{DecoderOutput, Prepared, RawFrame};
use crate::rtp::Track;

/// The drawn pictures with which a decoded one is compared: 0.4 s of scrolling at 30 a second.
const RECENT: usize = 12;

/// A picture, and when it was drawn first.
#[derive(Debug, Clone)]
struct Drawn {
    at: Instant,
    scene: usize,
    picture: Arc<Picture>,
}

/// A decoded picture, compared with what the teacher saw.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Shown {
    /// When it was decoded.
    pub(super) at: Instant,
    /// The scene of the newest picture drawn then.
    pub(super) scene: usize,
    /// PSNR in dB and SSIM against that picture.
    pub(super) db: f64,
    pub(super) ssim: f64,
    /// PSNR against the recent picture that is most alike, and the time since that one was drawn.
    pub(super) best_db: f64,
    pub(super) age: Duration,
}

/// The teacher's drawing.
#[derive(Debug)]
pub(super) struct Board(Mutex<State>);

#[derive(Debug)]
struct State {
    lesson: Lesson,
    /// When the lesson began; its first picture is drawn before, too.
    began: Option<Instant>,
    recent: VecDeque<Drawn>,
    /// When each scene was drawn first.
    scenes: Vec<(usize, Instant)>,
}

impl Board {
    pub(super) fn new(lesson: Lesson) -> Arc<Self> {
        let state = State { lesson, began: None, recent: VecDeque::new(), scenes: Vec::new() };
        Arc::new(Self(Mutex::new(state)))
    }

    /// Draws into all frames of the screen.
    pub(super) fn attach(self: &Arc<Self>, prepared: &Prepared) {
        let board = Arc::clone(self);
        prepared.on_raw_video(Track::Screen, move |frame| board.draw(frame));
    }

    /// Lets the lesson begin.
    pub(super) fn begin(&self) {
        self.lock().began = Some(Instant::now());
    }

    /// When each scene was drawn first, in order.
    pub(super) fn scenes(&self) -> Vec<(usize, Instant)> {
        self.lock().scenes.clone()
    }

    /// Compares a decoded picture. None if it has another size.
    pub(super) fn compare(&self, output: DecoderOutput<'_>) -> Option<Shown> {
        let now = Instant::now();
        let recent: Vec<Drawn> = self.lock().recent.iter().rev().cloned().collect();
        let newest = recent.first()?;
        let (width, height) = (newest.picture.size.width as usize, newest.picture.size.height as usize);
        let (bytes, stride) = output.luma.filter(|_| output.width == width)?;
        let lines: Vec<&[u8]> = bytes.chunks(stride).take(height).filter_map(|line| line.get(..width)).collect();
        let decoded = lines.concat();
        if decoded.len() != width * height {
            return None;
        }
        let db = psnr(&decoded, newest.picture.luma());
        let (mut best_db, mut best) = (db, newest);
        for drawn in &recent[1..] {
            // A picture that is nearly the same can't be beaten by an older one.
            if best_db >= IDENTICAL_DB / 2.0 {
                break;
            }
            let other = psnr(&decoded, drawn.picture.luma());
            if other > best_db {
                (best_db, best) = (other, drawn);
            }
        }
        let ssim = ssim(&decoded, newest.picture.luma(), width);
        Some(Shown { at: now, scene: newest.scene, db, ssim, best_db, age: now.saturating_duration_since(best.at) })
    }

    fn draw(&self, frame: RawFrame<'_>) {
        let picture = self.lock().next();
        for (plane, (bytes, width, lines)) in frame.planes.into_iter().zip(picture.parts()) {
            let targets = plane.bytes.chunks_mut(plane.stride.max(1)).take(lines);
            for (line, source) in targets.zip(bytes.chunks_exact(width)) {
                line[..width].copy_from_slice(source);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn next(&mut self) -> Arc<Picture> {
        let now = Instant::now();
        let time = self.began.map_or(Duration::ZERO, |began| now.saturating_duration_since(began));
        let picture = self.lesson.picture(time);
        let (scene, _) = at(time);
        if self.began.is_some() && self.scenes.last().is_none_or(|(last, _)| *last != scene) {
            self.scenes.push((scene, now));
        }
        match self.recent.back_mut() {
            Some(last) if Arc::ptr_eq(&last.picture, &picture) => last.scene = scene,
            _ => {
                if self.recent.len() == RECENT {
                    self.recent.pop_front();
                }
                self.recent.push_back(Drawn { at: now, scene, picture: Arc::clone(&picture) });
            }
        }
        picture
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::{PlaneMut, Size};

    #[test]
    fn a_picture_that_was_drawn_is_found_again() {
        let size = Size { width: 320, height: 240 };
        let board = Board::new(Lesson::new(size).unwrap());
        let mut planes = [vec![0; 320 * 240], vec![0; 160 * 120], vec![0; 160 * 120]];
        let strides = [320, 160, 160];
        let frame = planes.iter_mut().zip(strides).map(|(bytes, stride)| PlaneMut { bytes, stride }).collect();
        board.draw(RawFrame { width: 320, height: 240, planes: frame });
        assert!(board.scenes().is_empty(), "the lesson has not begun");
        let output = |luma| DecoderOutput { width: 320, luma: Some((luma, 320)), shown_in: None };
        let same = board.compare(output(&planes[0])).unwrap();
        assert!((same.db - IDENTICAL_DB).abs() < 1e-9 && (same.ssim - 1.0).abs() < 1e-9, "{same:?}");
        let grey = vec![128; 320 * 240];
        assert!(board.compare(output(&grey)).unwrap().db < 10.0);
        assert!(board.compare(DecoderOutput { width: 160, ..output(&grey) }).is_none(), "another size");
    }
}
