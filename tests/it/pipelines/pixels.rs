//! Screenshots of a display.

use std::ops::Range;
use std::process::Command;

use crate::support::run_tool;

/// Width and height of the test displays.
const SIZE: (usize, usize) = (1280, 720);

/// A screenshot.
pub struct Pixels {
    data: Vec<u8>,
}

impl Pixels {
    /// Takes a screenshot.
    pub fn of(display: &str) -> Pixels {
        let mut import = Command::new("import");
        import.args(["-silent", "-window", "root", "-depth", "8", "rgb:-"]).env("DISPLAY", display);
        let data = run_tool(&mut import);
        assert_eq!(data.len(), SIZE.0 * SIZE.1 * 3);
        Pixels { data }
    }

    fn area(&self, x: Range<usize>, y: Range<usize>) -> impl Iterator<Item = [u8; 3]> + '_ {
        y.flat_map(move |y| x.clone().map(move |x| (y * SIZE.0 + x) * 3))
            .map(|at| [self.data[at], self.data[at + 1], self.data[at + 2]])
    }

    /// The mean colour of an area.
    pub fn mean(&self, x: Range<usize>, y: Range<usize>) -> [f64; 3] {
        let count = (x.len() * y.len()) as f64;
        let mut sum = [0.0; 3];
        for pixel in self.area(x, y) {
            (0..3).for_each(|c| sum[c] += f64::from(pixel[c]));
        }
        sum.map(|sum| sum / count)
    }
}
