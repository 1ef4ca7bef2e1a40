//! The lesson of the text bench: pages of a deck, and a terminal in which somebody types and text scrolls.

use std::sync::Arc;
use std::time::Duration;

use crate::media::{MediaError, Size, TextBlock, typeset};

/// The height of a line of small text, and the width of its letters, in pixels.
const LINE: u32 = 18;
const FONT: &str = "DejaVu Sans Mono 15px";

/// Where small text begins, from the left and from the top.
const MARGIN: (u32, u32) = (36, 18);

/// Letters that are typed in a second.
const TYPED_PER_SECOND: f64 = 12.0;

/// The time from one new line of the terminal to the next.
const OUTPUT_EVERY: f64 = 0.1;

/// The speed of smooth scrolling, in pixels a second.
const SCROLL: f64 = 1_200.0;

/// The cursor changes at this interval.
const BLINK: f64 = 0.5;

/// Luma of the cursor, and of the ground of the terminal.
const CURSOR: u8 = 200;

/// A picture in I420, its planes one after another without padding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Picture {
    pub(super) size: Size,
    pub(super) planes: Vec<u8>,
}

impl Picture {
    pub(super) fn luma(&self) -> &[u8] {
        &self.planes[..(self.size.width * self.size.height) as usize]
    }

    /// The planes, with the width and the height of each.
    pub(super) fn parts(&self) -> [(&[u8], usize, usize); 3] {
        let (width, height) = (self.size.width as usize, self.size.height as usize);
        let (luma, chroma) = self.planes.split_at(width * height);
        let (half, lines) = (width.div_ceil(2), height.div_ceil(2));
        let (blue, red) = chroma.split_at(half * lines);
        [(luma, width, height), (blue, half, lines), (red, half, lines)]
    }

    /// The part of this tall picture that begins at an even line and has the height of `size`.
    fn window(&self, from: u32, size: Size) -> Self {
        let from = from.min(self.size.height - size.height) & !1;
        let mut planes = Vec::with_capacity((size.width * size.height * 3 / 2) as usize);
        for (n, (plane, width, _)) in self.parts().into_iter().enumerate() {
            let (first, lines) = if n == 0 { (from, size.height) } else { (from / 2, size.height / 2) };
            planes.extend_from_slice(&plane[first as usize * width..(first + lines) as usize * width]);
        }
        Self { size, planes }
    }

    /// Fills a rectangle of luma.
    fn fill(&mut self, (x, y): (u32, u32), (width, height): (u32, u32), value: u8) {
        let across = self.size.width as usize;
        for line in self.planes.chunks_mut(across).skip(y as usize).take(height as usize) {
            line[x as usize..((x + width) as usize).min(across)].fill(value);
        }
    }

    /// Copies a rectangle of luma from another picture of this size.
    fn copy(&mut self, from: &Self, (x, y): (u32, u32), (width, height): (u32, u32)) {
        let across = self.size.width as usize;
        for line in y as usize..(y + height) as usize {
            let part = line * across + x as usize..line * across + ((x + width) as usize).min(across);
            self.planes[part.clone()].copy_from_slice(&from.planes[part]);
        }
    }
}

/// The content of a scene.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A page that does not change.
    Page(usize),
    /// Somebody types.
    Typing,
    /// A terminal gets a line after another.
    Output,
    /// A page moves up smoothly.
    Scroll,
    /// A page on which only a cursor blinks.
    Still,
}

/// A scene of the lesson.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Scene {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) seconds: f64,
}

const fn scene(name: &'static str, kind: Kind, seconds: f64) -> Scene {
    Scene { name, kind, seconds }
}

/// The lesson, scene after scene. The first one gives rate control and estimates time to settle.
pub(super) const SCENES: [Scene; 11] = [
    scene("title", Kind::Page(0), 3.0),
    scene("slide", Kind::Page(1), 3.0),
    scene("dense page", Kind::Page(2), 3.0),
    scene("code", Kind::Page(3), 3.0),
    scene("next dense page", Kind::Page(4), 3.0),
    scene("slide again", Kind::Page(1), 3.0),
    scene("typing", Kind::Typing, 3.0),
    scene("lines of output", Kind::Output, 3.0),
    scene("page before scrolling", Kind::Page(2), 2.0),
    scene("scrolling", Kind::Scroll, 2.0),
    scene("cursor", Kind::Still, 12.0),
];

/// The length of the lesson.
pub(super) fn length() -> Duration {
    Duration::from_secs_f64(SCENES.iter().map(|scene| scene.seconds).sum())
}

/// The scene at a time, and the time since it began. The last one goes on.
pub(super) fn at(time: Duration) -> (usize, f64) {
    let mut left = time.as_secs_f64();
    for (n, scene) in SCENES.iter().enumerate() {
        if left < scene.seconds || n + 1 == SCENES.len() {
            return (n, left);
        }
        left -= scene.seconds;
    }
    (0, 0.0)
}

/// Draws the lesson.
#[derive(Debug)]
pub(super) struct Lesson {
    size: Size,
    pages: Vec<Arc<Picture>>,
    /// A terminal with a prompt, and the same with a typed line.
    prompt: Picture,
    typed: Picture,
    /// The terminal's output, and a page, each higher than the picture.
    output: Picture,
    tall: Picture,
    /// The last drawing.
    last: Option<(usize, u32, Arc<Picture>)>,
}

impl Lesson {
    /// Sets all pages.
    ///
    /// # Errors
    /// If Pango is missing or fails.
    pub(super) fn new(size: Size) -> Result<Self, MediaError> {
        let lines = size.height.saturating_sub(2 * MARGIN.1) / LINE;
        let columns = size.width / 10;
        let (white, dark, paper, ink) = (0xffff_ffff, 0xff1e_2430, 0xffff_ffff, 0xff10_1010);
        let page = |size: Size, ground: u32, blocks: &[TextBlock]| -> Result<Picture, MediaError> {
            Ok(Picture { size, planes: typeset(size, ground, blocks)? })
        };
        let tall = Size { width: size.width, height: (size.height * 4) & !1 };
        let headings = |title: &str, text: &str| {
            let large = |text: &str, px: u32, y: u32, colour| TextBlock {
                text: text.into(),
                font: format!("DejaVu Sans {px}px"),
                at: Some((size.width / 16, y)),
                colour,
            };
            [
                large(title, size.height / 14, size.height / 9, 0xff1a_4b8c),
                large(text, size.height / 24, size.height / 3, 0xff20_2020),
            ]
        };
        let pages = vec![
            page(
                size,
                paper,
                &headings("Linear algebra, lesson 7", "Eigenvalues and eigenvectors\n\n2026, room 10013"),
            )?,
            page(
                size,
                paper,
                &headings(
                    "What an eigenvector is",
                    "A vector that keeps its direction: A v = \u{3bb} v\n\nThe determinant of A - \u{3bb} I is zero\n\n\
                     A symmetric matrix has real eigenvalues\n\nTheir sum is the trace, their product the determinant",
                ),
            )?,
            page(size, paper, &[small(&prose(lines, columns, 0), ink)])?,
            page(size, dark, &[small(&code(lines, 0), 0xffd8_dee9)])?,
            page(size, paper, &[small(&prose(lines, columns, 5), ink)])?,
        ];
        let prompt = "$ cargo test --release\n\n   Compiling lesson v0.7.0\n\nrunning 12 tests\n\n$ ";
        let typed = format!("{prompt}git commit --all --message 'Eigenvalues'");
        let (ground, letters) = (0xff10_1418, white);
        Ok(Self {
            size,
            pages: pages.into_iter().map(Arc::new).collect(),
            prompt: page(size, ground, &[small(prompt, letters)])?,
            typed: page(size, ground, &[small(&typed, letters)])?,
            output: page(tall, ground, &[small(&code(lines * 3, 3), letters)])?,
            tall: page(tall, paper, &[small(&prose(lines * 4 - 2, columns, 2), ink)])?,
            last: None,
        })
    }

    /// The picture at a time. Pictures that do not differ are the same.
    pub(super) fn picture(&mut self, time: Duration) -> Arc<Picture> {
        let (scene, since) = at(time);
        let kind = SCENES[scene].kind;
        if let Kind::Page(page) = kind {
            return Arc::clone(&self.pages[page]);
        }
        let (blinks, typed) = ((since / BLINK) as u32, (since * TYPED_PER_SECOND) as u32);
        let step = match kind {
            Kind::Page(_) => 0,
            Kind::Typing => typed * 64 + blinks,
            Kind::Output => (since / OUTPUT_EVERY) as u32,
            Kind::Scroll => (since * SCROLL) as u32 & !1,
            Kind::Still => blinks,
        };
        if let Some((last, at, picture)) = &self.last
            && (*last, *at) == (scene, step)
        {
            return Arc::clone(picture);
        }
        // The width of a letter of the small font, which has 0.602 of its height.
        let (letter, line) = (9, 6);
        let cell = |column: u32| (MARGIN.0 + column * letter, MARGIN.1 + line * LINE);
        let mut picture = match kind {
            Kind::Output => self.output.window(step * LINE, self.size),
            // A whole page is always visible: the text begins anew before its end.
            Kind::Scroll => self.tall.window(step % (self.size.height * 2), self.size),
            Kind::Still => (*self.pages[4]).clone(),
            Kind::Page(_) | Kind::Typing => self.prompt.clone(),
        };
        if kind == Kind::Typing {
            picture.copy(&self.typed, cell(2), (typed * letter, LINE));
        }
        if matches!(kind, Kind::Typing | Kind::Still) && blinks % 2 == 0 {
            picture.fill(cell(2 + typed * u32::from(kind == Kind::Typing)), (letter, LINE - 2), CURSOR);
        }
        let picture = Arc::new(picture);
        self.last = Some((scene, step, Arc::clone(&picture)));
        picture
    }
}

fn small(text: &str, colour: u32) -> TextBlock {
    TextBlock { text: text.into(), font: FONT.into(), at: Some(MARGIN), colour }
}

/// Lines that differ from each other, of words with letters that are easily taken for others.
fn prose(lines: u32, columns: u32, seed: u32) -> String {
    const WORDS: [&str; 13] =
        ["eigenvalue", "Il0O", "the", "matrix", "rn", "m", "vector", "8B6G", "determinant", "of", "cl", "d", "0xB8E3"];
    let line = |n: u32| {
        let (mut line, mut word) = (format!("{n:03}"), n * 7 + seed * 3);
        while line.len() < columns as usize {
            word = word.wrapping_mul(5).wrapping_add(n + 3) % 1_009;
            line.push(' ');
            line.push_str(WORDS[(word + n) as usize % WORDS.len()]);
        }
        line
    };
    (0..lines).map(line).collect::<Vec<_>>().join("\n")
}

/// Indented lines of a program, half as long as prose.
fn code(lines: u32, seed: u32) -> String {
    const LINES: [&str; 7] = [
        "fn eigenvalue(matrix: &Matrix, n: usize) -> Option<f64> {",
        "    let trace: f64 = (0..n).map(|i| matrix[(i, i)]).sum();",
        "    if trace.abs() < 1e-9 { return None; }",
        "    // Power iteration: x(k+1) = A x(k) / |A x(k)|",
        "    for step in 0..MAX_STEPS {",
        "        let next = matrix.multiply(&vector).normalised();",
        "    }",
    ];
    let line = |n: u32| format!("{:>4} {}", n + 1, LINES[((n * 3 + seed + n / 7) % 7) as usize]);
    (0..lines).map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scenes_follow_each_other() {
        assert_eq!(at(Duration::ZERO), (0, 0.0));
        assert_eq!(at(Duration::from_millis(3_500)), (1, 0.5));
        assert_eq!(at(length() * 2).0, SCENES.len() - 1);
    }

    #[test]
    fn pages_stay_and_letters_come_one_by_one() {
        let mut lesson = Lesson::new(Size { width: 640, height: 360 }).unwrap();
        let seconds = Duration::from_secs_f64;
        let mut of = |time| lesson.picture(seconds(time));
        assert!(Arc::ptr_eq(&of(0.1), &of(2.9)), "a page");
        let start: f64 = SCENES[..6].iter().map(|scene| scene.seconds).sum();
        let (one, two) = (of(start + 0.05), of(start + 0.1));
        let differ = one.planes.iter().zip(&two.planes).filter(|(a, b)| a != b).count();
        assert!((1..1_000).contains(&differ), "{differ} pixels of a letter and a cursor");
        assert_ne!(of(start + 3.05), of(start + 3.15), "a line of output");
        let still = start + 10.0;
        assert!(Arc::ptr_eq(&of(still + 0.1), &of(still + 0.4)) && of(still + 0.1) != of(still + 0.6), "a cursor");
        assert_eq!(of(still).planes.len(), 640 * 360 * 3 / 2);
    }
}
