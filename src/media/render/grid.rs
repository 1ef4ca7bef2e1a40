//! The places of the pictures of a meeting: tiles of one size in rows. Pure.

use crate::media::options::Size;

/// A rectangle in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rect {
    pub(super) x: i32,
    pub(super) y: i32,
    pub(super) size: Size,
}

/// The tiles of this many pictures, row by row. The last row is centred.
///
/// The number of columns is the one that gives the largest tiles of the shape of the canvas, so that no picture of a
/// camera or a screen is cut.
pub(super) fn tiles(canvas: Size, count: usize) -> Vec<Rect> {
    let columns = (1..=count).find(|columns| columns * columns >= count).unwrap_or(1);
    let rows = count.div_ceil(columns);
    let edge = |whole: u32, parts: usize| (whole / parts as u32).max(2) & !1;
    let size = Size { width: edge(canvas.width, columns), height: edge(canvas.height, columns) };
    let top = canvas.height.saturating_sub(size.height * rows as u32) / 2;
    let place = |n: usize| {
        let (row, column) = (n / columns, n % columns);
        let in_row = if row + 1 == rows { count - row * columns } else { columns };
        let left = canvas.width.saturating_sub(size.width * in_row as u32) / 2;
        let (x, y) = (left + size.width * column as u32, top + size.height * row as u32);
        Rect { x: x as i32 & !1, y: y as i32 & !1, size }
    };
    (0..count).map(place).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_fill_the_canvas_and_do_not_overlap() {
        let hd = Size { width: 1280, height: 720 };
        assert_eq!(tiles(hd, 0), []);
        assert_eq!(tiles(hd, 1), [Rect { x: 0, y: 0, size: hd }]);
        let half = Size { width: 640, height: 360 };
        assert_eq!(tiles(hd, 2), [(0, 180), (640, 180)].map(|(x, y)| Rect { x, y, size: half }));
        assert_eq!(tiles(hd, 3)[2], Rect { x: 320, y: 360, size: half }, "the last row is centred");
        for canvas in [hd, Size { width: 1920, height: 1200 }, Size { width: 320, height: 180 }] {
            for count in 1..=50 {
                let tiles = tiles(canvas, count);
                assert_eq!(tiles.len(), count);
                for (n, tile) in tiles.iter().enumerate() {
                    let (right, bottom) = (tile.x + tile.size.width as i32, tile.y + tile.size.height as i32);
                    assert!(tile.x >= 0 && tile.y >= 0, "{tile:?}");
                    assert!(right <= canvas.width as i32 && bottom <= canvas.height as i32, "{tile:?} of {count}");
                    for other in &tiles[n + 1..] {
                        assert!(other.x >= right || other.y >= bottom || other.x + (other.size.width as i32) <= tile.x);
                    }
                }
            }
        }
    }
}
