//! Draws the pages of a PDF document, in a process of its own.
//!
//! The process writes one line of JSON about the document. Then it reads lines `INDEX WIDTH HEIGHT` and answers each
//! with a line of JSON, which is followed by the picture, four bytes (RGBA) per pixel.

use std::io::{BufRead, Write};
use std::path::Path;

use hayro::hayro_interpret::{InterpreterSettings, RenderContent};
use hayro::hayro_syntax::object::{Array, Dict, Name, Object, String as PdfString};
use hayro::hayro_syntax::page::Page;
use hayro::hayro_syntax::{DecryptionError, LoadPdfError, Pdf};
use hayro::vello_cpu::color::palette::css::WHITE;
use hayro::{PixmapSettings, RenderCache, RenderSettings};
use rustix::process::{Resource, Rlimit, setrlimit};
use serde::{Deserialize, Serialize};

use super::{Document, MAX_NOTE_CHARS, MAX_PAGES};
use crate::id::is_printable;
use crate::media::options::Size;

/// The largest document: the slides of a year.
const MAX_BYTES: u64 = 500_000_000;

/// The address space of the process. A page in which this is not enough is broken, or meant to break the machine.
const MAX_MEMORY: u64 = 3_000_000_000;

/// An opened document, or a drawn page, whose picture follows. The error is the cause, for the user.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Answer<T> {
    Done(T),
    Failed(String),
}

/// Opens a document and draws pages as `requests` ask.
///
/// # Errors
///
/// The other process has gone.
pub fn draw_slides(path: &Path, requests: impl BufRead, out: impl Write) -> anyhow::Result<()> {
    let limit = Some(MAX_MEMORY);
    setrlimit(Resource::As, Rlimit { current: limit, maximum: limit })?;
    answer(path, requests, out)
}

fn answer(path: &Path, requests: impl BufRead, mut out: impl Write) -> anyhow::Result<()> {
    let mut say = |line: String, picture: &[u8]| -> std::io::Result<()> {
        writeln!(out, "{line}")?;
        out.write_all(picture)?;
        out.flush()
    };
    let opened = open(path);
    let document = opened.as_ref().map(document).map_err(Clone::clone).and_then(|document| document);
    let answer = match &document {
        Ok(document) => Answer::Done(document),
        Err(cause) => Answer::Failed(cause.clone()),
    };
    say(serde_json::to_string(&answer)?, &[])?;
    let (Ok(pdf), Ok(_)) = (&opened, &document) else { return Ok(()) };
    let cache = RenderCache::new();
    for request in requests.lines() {
        let request = request?;
        let Some((index, size)) = parse(&request) else { anyhow::bail!("not a request: {request}") };
        let drawn = pdf.pages().get(index).ok_or("there is no such page".to_owned());
        match drawn.and_then(|page| draw(page, &cache, size)) {
            Ok(picture) => say(serde_json::to_string(&Answer::Done(()))?, &picture)?,
            Err(cause) => say(serde_json::to_string(&Answer::<()>::Failed(cause))?, &[])?,
        }
    }
    Ok(())
}

/// The line that asks for a page.
pub(super) fn request(index: usize, size: Size) -> String {
    format!("{index} {} {}\n", size.width, size.height)
}

fn parse(request: &str) -> Option<(usize, Size)> {
    let mut words = request.split(' ');
    let mut number = || words.next()?.parse::<u32>().ok();
    Some((number()?.try_into().ok()?, Size { width: number()?, height: number()? }))
}

fn open(path: &Path) -> Result<Pdf, String> {
    let length = std::fs::metadata(path).map_err(|error| error.to_string())?.len();
    if length > MAX_BYTES {
        return Err(format!(
            "it has {} MB, more than the {} that are drawn",
            length / 1_000_000,
            MAX_BYTES / 1_000_000
        ));
    }
    let bytes = std::fs::read(path).map_err(|error| error.to_string())?;
    Pdf::new(bytes).map_err(|error| match error {
        LoadPdfError::Decryption(DecryptionError::PasswordProtected) => {
            "it needs a password: save a copy without one, for example with qpdf --decrypt".to_owned()
        }
        LoadPdfError::Decryption(_) => "it is encrypted in an unknown way: save a copy without encryption".to_owned(),
        LoadPdfError::Invalid => "it is no PDF document, or damaged: export it again as PDF".to_owned(),
    })
}

fn document(pdf: &Pdf) -> Result<Document, String> {
    let pages = pdf.pages();
    let Some(first) = pages.first() else { return Err("it has no page".to_owned()) };
    if pages.len() > MAX_PAGES {
        return Err(format!("it has {} pages, more than {MAX_PAGES}: split it", pages.len()));
    }
    let notes = pages.iter().map(notes).collect();
    // An unusable first page gets the shape of a screen, and fails when it is drawn.
    Ok(Document { shape: shape(first).unwrap_or((16.0, 9.0)), notes })
}

/// Width and height of a page, if they can be drawn.
fn shape(page: &Page<'_>) -> Option<(f32, f32)> {
    let (width, height) = page.render_dimensions();
    let is_sane = |edge: f32| (1.0..=100_000.0).contains(&edge);
    // A strip would be drawn with no pixel in one direction.
    let is_strip = width > 50.0 * height || height > 50.0 * width;
    (is_sane(width) && is_sane(height) && !is_strip).then_some((width, height))
}

/// The texts of the page's comments. Acrobat exports the speaker notes of PowerPoint so.
fn notes(page: &Page<'_>) -> String {
    let Some(annotations) = page.raw().get::<Array<'_>>("Annots") else { return String::new() };
    let mut notes = Vec::new();
    for annotation in annotations.iter::<Object<'_>>().take(100) {
        let Object::Dict(annotation) = annotation else { continue };
        if annotation.get::<Name<'_>>("Subtype").is_some_and(|kind| &*kind == b"Text") {
            notes.extend(contents(&annotation).filter(|text| !text.is_empty()));
        }
    }
    notes.join("\n").chars().take(MAX_NOTE_CHARS).collect()
}

/// The text of an annotation: UTF-16 or UTF-8 with a byte order mark, or Latin (PDF 2.0, 7.9.2.2).
fn contents(annotation: &Dict<'_>) -> Option<String> {
    let text = annotation.get::<PdfString<'_>>("Contents")?;
    let bytes = text.as_bytes();
    let text = if let Some(bytes) = bytes.strip_prefix(b"\xfe\xff") {
        let units: Vec<u16> = bytes.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])).collect();
        String::from_utf16_lossy(&units)
    } else if let Some(bytes) = bytes.strip_prefix(b"\xef\xbb\xbf") {
        String::from_utf8_lossy(bytes).into_owned()
    } else {
        bytes.iter().map(|byte| char::from(*byte)).collect()
    };
    // A terminal obeys control characters.
    let text = text.replace('\r', "\n");
    Some(text.chars().filter(|c| *c == '\n' || is_printable(*c)).collect::<String>().trim().to_owned())
}

/// Draws a page into the middle of a black picture.
fn draw<'a>(page: &'a Page<'a>, cache: &RenderCache<'a>, size: Size) -> Result<Vec<u8>, String> {
    let (width, height) = shape(page).ok_or("it has no usable size")?;
    let scale = (size.width as f32 / width).min(size.height as f32 / height);
    let settings = InterpreterSettings { render_content: RenderContent::all(), ..InterpreterSettings::default() };
    let scaled = PixmapSettings { x_scale: scale, y_scale: scale, bg_color: WHITE };
    let drawn = hayro::render(page, cache, &settings, &RenderSettings::default(), &scaled);
    let (drawn_width, drawn_height) = (usize::from(drawn.width()), usize::from(drawn.height()));
    if drawn_width == 0 || drawn_height == 0 {
        return Err("it has no usable size".to_owned());
    }
    let (width, height) = (size.width as usize, size.height as usize);
    let mut picture = [0, 0, 0, 255].repeat(width * height);
    let (left, top) = (width.saturating_sub(drawn_width) / 2, height.saturating_sub(drawn_height) / 2);
    let bytes = 4 * drawn_width.min(width);
    let from = drawn.data_as_u8_slice().chunks_exact(4 * drawn_width);
    for (row, to) in from.zip(picture.chunks_exact_mut(4 * width).skip(top)) {
        to[4 * left..4 * left + bytes].copy_from_slice(&row[..bytes]);
    }
    Ok(picture)
}

#[cfg(test)]
mod tests;
