//! The slide that the class sees.

use serde::Serialize;

/// The slide that the class sees from now on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SlideReport {
    /// The number of the page, from 1.
    pub page: usize,
    /// The number of pages.
    pub pages: usize,
    /// Whether the picture is black instead.
    pub black: bool,
    /// The speaker notes of the page; may be empty.
    pub notes: String,
}

impl SlideReport {
    /// `page 3 of 12`, for the status line.
    pub(super) fn words(&self) -> String {
        let black = if self.black { ", black" } else { "" };
        format!("page {} of {}{black}", self.page, self.pages)
    }

    /// The sentence for people.
    pub(super) fn sentence(&self) -> String {
        match self.notes.as_str() {
            "" => self.words(),
            notes => format!("{}: {}", self.words(), notes.replace('\n', " / ")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_teacher_reads_the_page_and_its_notes() {
        let slide = SlideReport { page: 3, pages: 12, black: false, notes: String::new() };
        assert_eq!(slide.sentence(), "page 3 of 12");
        let slide = SlideReport { notes: "Ask Anna\nthen Ben".into(), ..slide };
        assert_eq!(slide.sentence(), "page 3 of 12: Ask Anna / then Ben");
        assert_eq!(SlideReport { black: true, ..slide }.words(), "page 3 of 12, black");
    }
}
