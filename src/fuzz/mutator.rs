//! Makes inputs from seeds, the same in every run with the same seed.

use std::io;
use std::path::Path;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// Bytes that parsers often mishandle: limits of lengths, counts and signs, and the separators of text.
const ODD_BYTES: [u8; 16] =
    [0, 1, 0x1f, 0x7f, 0x80, 0xc0, 0xfe, 0xff, b' ', b'\r', b'\n', b'"', b'\\', b':', b'=', b'%'];

/// Numbers that overflow something: in text, and in two bytes.
const ODD_NUMBERS: [&str; 8] = ["0", "-1", "255", "256", "65536", "4294967296", "18446744073709551616", "1e999"];

/// The longest input, in bytes: as long as the longest message of signalling.
const MAX_BYTES: usize = 64 * 1024;

/// The contents of a folder of seeds, in the order of the file names.
///
/// # Errors
/// If the folder or a file can't be read.
pub fn seeds(folder: &Path) -> io::Result<Vec<Vec<u8>>> {
    let mut files =
        std::fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.path())).collect::<io::Result<Vec<_>>>()?;
    files.sort();
    files.iter().map(std::fs::read).collect()
}

/// Mutates the seeds of one target.
#[derive(Debug)]
pub struct Mutator {
    seeds: Vec<Vec<u8>>,
    random: StdRng,
    next: usize,
}

impl Mutator {
    /// A mutator of these seeds; each `number` gives other mutations.
    pub fn new(seeds: Vec<Vec<u8>>, number: u64) -> Self {
        Self { seeds, random: StdRng::seed_from_u64(number), next: 0 }
    }

    /// The next input: a seed with one to eight changes.
    pub fn mutation(&mut self) -> Vec<u8> {
        let mut input = self.seeds.get(self.next).cloned().unwrap_or_default();
        self.next = (self.next + 1) % self.seeds.len().max(1);
        // One change alone finds most; a combination of many hardly passes the first check of a parser.
        for _ in 0..1 << self.random.random_range(0..4) {
            self.change(&mut input);
        }
        input.truncate(MAX_BYTES);
        input
    }

    /// Changes, removes, repeats, moves or borrows some bytes.
    fn change(&mut self, input: &mut Vec<u8>) {
        let random = &mut self.random;
        let at = random.random_range(0..=input.len());
        let end = input.len().min(at + random.random_range(1..=16));
        match random.random_range(0..10) {
            0 if at < input.len() => input[at] ^= 1 << random.random_range(0..8),
            1 if at < input.len() => input[at] = ODD_BYTES[random.random_range(0..ODD_BYTES.len())],
            2 if at < input.len() => input[at] = random.random(),
            3 => input.truncate(at),
            4 => drop(input.drain(at..end)),
            5 => {
                let repeated = input[at..end].repeat(1 << random.random_range(0..7));
                input.splice(at..at, repeated);
            }
            6 => {
                let number = ODD_NUMBERS[random.random_range(0..ODD_NUMBERS.len())];
                input.splice(at..end, number.bytes());
            }
            // A length, a count or a sequence number, slightly wrong.
            7 if at + 2 <= input.len() => {
                let number = u16::from_be_bytes([input[at], input[at + 1]]);
                let other = number.wrapping_add_signed(random.random_range(-4..=4));
                input[at..at + 2].copy_from_slice(&other.to_be_bytes());
            }
            8 => {
                let moved: Vec<u8> = input.drain(at..end).collect();
                let to = random.random_range(0..=input.len());
                input.splice(to..to, moved);
            }
            _ => {
                let other = self.seeds.get(random.random_range(0..self.seeds.len().max(1))).map_or(&[][..], |s| s);
                let from = random.random_range(0..=other.len());
                let to = random.random_range(from..=other.len());
                input.splice(at..end, other[from..to].iter().copied());
            }
        }
    }
}
