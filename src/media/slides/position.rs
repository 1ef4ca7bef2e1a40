//! The page that is shown. Pure.

use crate::lecture::Turn;

/// The page that is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Position {
    /// The index of the page.
    pub index: usize,
    /// The number of pages, at least 1.
    pub pages: usize,
    /// Whether the picture is black instead.
    pub is_black: bool,
}

impl Position {
    /// The first of so many pages.
    pub(super) fn first_of(pages: usize) -> Self {
        Self { index: 0, pages, is_black: false }
    }

    /// The position after an order. Every page that is asked for ends the black picture.
    ///
    /// # Errors
    ///
    /// A sentence for the teacher if there is no such page.
    pub(super) fn after(self, turn: Turn) -> Result<Self, String> {
        let last = self.pages - 1;
        let index = match turn {
            Turn::Black => return Ok(Self { is_black: !self.is_black, ..self }),
            Turn::Next if self.index == last && !self.is_black => return Err("this is the last page".into()),
            Turn::Previous if self.index == 0 && !self.is_black => return Err("this is the first page".into()),
            Turn::Next => (self.index + 1).min(last),
            Turn::Previous => self.index.saturating_sub(1),
            Turn::First => 0,
            Turn::Last => last,
            Turn::Page(number) if (1..=self.pages).contains(&number) => number - 1,
            Turn::Page(number) => {
                return Err(format!("there is no page {number}: the slides have pages 1 to {}", self.pages));
            }
        };
        Ok(Self { index, is_black: false, ..self })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_turn_within_the_document() {
        let mut position = Position::first_of(3);
        let mut turn = |turn| {
            let turned = position.after(turn)?;
            position = turned;
            Ok::<_, String>((turned.index + 1, turned.is_black))
        };
        assert!(turn(Turn::Previous).unwrap_err().contains("first page"));
        assert_eq!(turn(Turn::Next), Ok((2, false)));
        assert_eq!(turn(Turn::Last), Ok((3, false)));
        assert!(turn(Turn::Next).unwrap_err().contains("last page"));
        assert_eq!(turn(Turn::Page(2)), Ok((2, false)));
        for number in [0, 4, usize::MAX] {
            assert!(turn(Turn::Page(number)).unwrap_err().contains("pages 1 to 3"));
        }
        assert_eq!((turn(Turn::Black), turn(Turn::Black)), (Ok((2, true)), Ok((2, false))));
        assert_eq!((turn(Turn::Black), turn(Turn::Next)), (Ok((2, true)), Ok((3, false))), "a page ends the black");
        assert_eq!((turn(Turn::Black), turn(Turn::Next)), (Ok((3, true)), Ok((3, false))));
        assert_eq!(turn(Turn::First), Ok((1, false)));
    }
}
