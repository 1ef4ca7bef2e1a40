//! A virtual display, and screenshots of it.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use super::run_tool;

/// The size of screenshots, in pixels: so small that scaling and encoding make no difference.
const ACROSS: usize = 32;
const DOWN: usize = 18;

/// An X server that no other test uses. Dropping ends the server and the programs on it.
pub struct Display {
    server: Child,
    name: String,
    guests: Vec<Child>,
}

impl Display {
    /// A display of 1280x720.
    pub fn new() -> Self {
        let mut server = Command::new("Xvfb")
            .args(["-displayfd", "1", "-screen", "0", "1280x720x24", "-nolisten", "tcp", "-noreset"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // Xvfb chooses a free display number and prints the number when it is ready.
        let mut number = String::new();
        BufReader::new(server.stdout.take().unwrap()).read_line(&mut number).unwrap();
        let number = number.trim();
        assert!(number.parse::<u32>().is_ok(), "Xvfb did not start: {number:?}");
        Self { name: format!(":{number}"), server, guests: Vec::new() }
    }

    /// The value for `$DISPLAY`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Starts a program on this display.
    pub fn show(&mut self, program: &str, arguments: &[&str]) {
        let guest = self.command(program).args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        self.guests.push(guest.unwrap_or_else(|error| panic!("{program}: {error}")));
    }

    /// A program on this display, not started.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env("DISPLAY", &self.name).stdin(Stdio::null());
        command
    }

    /// A screenshot of the whole display.
    pub fn look(&self) -> Picture {
        self.look_at("root")
    }

    /// A screenshot of a window, given by its id.
    pub fn look_at(&self, window: &str) -> Picture {
        let size = format!("{ACROSS}x{DOWN}!");
        let mut import = self.command("import");
        import.args(["-silent", "-window", window, "-resize", &size, "-depth", "8", "rgb:-"]);
        Picture(run_tool(&mut import))
    }

    /// The ids of the visible windows of a process.
    pub fn windows_of(&self, pid: u32) -> Vec<String> {
        let mut search = self.command("xdotool");
        search.args(["search", "--onlyvisible", "--pid", &pid.to_string()]);
        let output = search.output().unwrap();
        String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
    }
}

impl Drop for Display {
    fn drop(&mut self) {
        for child in self.guests.iter_mut().chain([&mut self.server]) {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// A screenshot: red, green and blue of each pixel.
#[derive(Clone, PartialEq)]
pub struct Picture(Vec<u8>);

impl Picture {
    /// Width and height in pixels.
    pub const SIZE: (usize, usize) = (ACROSS, DOWN);

    /// From red, green and blue of each pixel.
    pub fn of(points: Vec<u8>) -> Self {
        assert_eq!(points.len(), 3 * ACROSS * DOWN, "another size");
        Self(points)
    }

    /// The mean difference of two pictures: 0 for the same picture, 255 for black and white.
    pub fn distance(&self, other: &Picture) -> f64 {
        assert_eq!(self.0.len(), other.0.len(), "pictures of different sizes");
        let sum: u64 = self.0.iter().zip(&other.0).map(|(a, b)| u64::from(a.abs_diff(*b))).sum();
        sum as f64 / self.0.len() as f64
    }

    /// The number of different colours, with 8 levels for each channel: 1 for a blank screen.
    pub fn colours(&self) -> usize {
        let coarse = self.0.chunks_exact(3).map(|rgb| (rgb[0] >> 5, rgb[1] >> 5, rgb[2] >> 5));
        coarse.collect::<std::collections::BTreeSet<_>>().len()
    }
}
