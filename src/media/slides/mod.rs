//! Slides as a source: the pages of a PDF document.
//!
//! A page is drawn by another process ([`draw`]), so that a document that takes all memory, never ends or breaks the
//! drawing ends nothing but itself. [`drawer`] is this end of that process, [`pages`] keeps pages drawn before they are
//! needed, and [`painter`] makes video of them. [`position`] is the page that is shown, and [`show`] sends it: once a
//! second, and at once when it changes or somebody needs a key frame. [`office`] makes a PDF of other presentations.

mod draw;
mod drawer;
mod office;
mod pages;
mod painter;
mod position;
mod show;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub use self::draw::draw_slides;
use self::drawer::Drawer;
pub(super) use self::pages::{Draw, Pages};
use self::painter::Painter;
pub(super) use self::show::{SlideShow, SlideShowConfig};
use super::error::MediaError;
use super::options::Size;

/// The hidden verb of this program that draws slides.
const VERB: &str = "draw-slides";

/// The most pages, which bounds the list of notes.
const MAX_PAGES: usize = 5_000;

/// The most characters of the notes of a page.
const MAX_NOTE_CHARS: usize = 2_000;

/// A document as the drawing process has found it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Document {
    /// Width and height of the first page, in any unit.
    shape: (f32, f32),
    /// The speaker notes of each page; may be empty.
    notes: Vec<String>,
}

/// An opened presentation.
#[derive(Debug)]
pub(super) struct Deck {
    /// The path as it was typed.
    path: PathBuf,
    document: Document,
    drawer: Drawer,
}

impl Deck {
    /// Opens a PDF document, or a presentation that LibreOffice makes one of. `program` draws by its verb
    /// `draw-slides`. Blocks.
    ///
    /// # Errors
    ///
    /// [`MediaError::File`] with the cause and the next step.
    pub(super) fn open(path: &Path, program: &Path) -> Result<Self, MediaError> {
        let failed = |cause: String| MediaError::File { path: path.to_owned(), cause };
        super::file::check(path).map_err(failed)?;
        let converted = office::converted(path).map_err(failed)?;
        let (drawer, document) = Drawer::open(program, path, converted).map_err(failed)?;
        Ok(Self { path: path.to_owned(), document, drawer })
    }

    /// The speaker notes of each page; may be empty.
    pub(super) fn notes(&self) -> &[String] {
        &self.document.notes
    }

    /// The path as it was typed.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Starts to draw pages in this size, for a pipeline with these caps. `on_drawn` is called after each page. The
    /// error is the cause, for the user.
    pub(super) fn into_pages(
        self,
        size: Size,
        caps: &gstreamer::Caps,
        on_drawn: impl Fn() + Send + 'static,
    ) -> Result<Pages, String> {
        let painter = Painter::new(size, caps).ok_or("no conversion of pictures")?;
        let (count, bytes) = (self.pages(), size.pixels() as usize * 3 / 2);
        let mut drawer = self.drawer;
        let draw: Draw = Box::new(move |index, is_stopping| {
            let picture = drawer.draw(index, size, is_stopping)?;
            painter.convert(picture).ok_or_else(|| "no memory for it".to_owned())
        });
        Pages::start(count, bytes, draw, on_drawn)
    }

    /// The number of pages, at least 1.
    pub(super) fn pages(&self) -> usize {
        self.document.notes.len()
    }

    /// The largest size within `most` that has the shape of the first page.
    pub(super) fn size(&self, most: Size) -> Size {
        let (width, height) = self.document.shape;
        let scale = (most.width as f32 / width).min(most.height as f32 / height);
        let edge = |edge: f32, most: u32| ((edge * scale).round() as u32 & !1).clamp(Size::MIN_EDGE.min(most), most);
        Size { width: edge(width, most.width), height: edge(height, most.height) }
    }
}
