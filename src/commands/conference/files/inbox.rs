//! The directory of `--files`: each file that arrives gets a name of its own there, and no more than so many do.

use std::fs::Permissions;
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tempfile::{Builder, NamedTempFile};

use crate::exit::Failure;
use crate::protocol::{FileDecline, FileName};

/// The most files of one run, and the most bytes of all of them: others decide what comes.
const MAX_FILES: usize = 100;
const MAX_BYTES: u64 = 1_000_000_000;

/// The most files that arrive at the same time.
const MAX_ARRIVING: usize = 8;

/// The longest name that file systems take is 255 bytes; some of them are for a number.
const MAX_NAME_BYTES: usize = 240;

/// The most numbers that are tried for a name that is there already.
const MAX_NUMBER: u32 = 1_000;

/// The directory.
#[derive(Debug)]
pub(super) struct Inbox {
    directory: PathBuf,
    arriving: usize,
    files: usize,
    bytes: u64,
}

/// A file that arrives. A file that is dropped is deleted.
#[derive(Debug)]
pub(super) struct Incoming {
    file: NamedTempFile,
    name: FileName,
    directory: PathBuf,
}

impl Inbox {
    /// Opens a directory.
    ///
    /// # Errors
    /// There is no such directory, or no file can be made in it.
    pub(super) fn open(directory: &Path) -> Result<Self, Failure> {
        let refused = |error| Failure::usage(anyhow::anyhow!("can't use --files {}: {error}", directory.display()));
        make(directory).map_err(refused)?;
        Ok(Self { directory: directory.to_owned(), arriving: 0, files: 0, bytes: 0 })
    }

    /// Begins a file of this size.
    ///
    /// # Errors
    /// There is no place for the file.
    pub(super) fn begin(&mut self, name: FileName, size: u64) -> Result<Incoming, FileDecline> {
        if self.arriving >= MAX_ARRIVING || self.files >= MAX_FILES {
            return Err(FileDecline::Busy);
        }
        if self.bytes + size > MAX_BYTES {
            return Err(FileDecline::TooLarge);
        }
        let file = make(&self.directory).map_err(|_| FileDecline::Busy)?;
        self.arriving += 1;
        self.files += 1;
        self.bytes += size;
        Ok(Incoming { file, name, directory: self.directory.clone() })
    }

    /// A file is over, and stays if it is whole.
    pub(super) fn over(&mut self, size: u64, is_whole: bool) {
        self.arriving -= 1;
        if !is_whole {
            self.files -= 1;
            self.bytes -= size;
        }
    }
}

impl Incoming {
    /// The next bytes.
    ///
    /// # Errors
    /// The disk is full, or has failed.
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)
    }

    /// The file is whole. It gets its name, or the name with a number: no file is overwritten, and no link followed.
    ///
    /// # Errors
    /// No name is free, or the directory is gone.
    pub(super) fn keep(self) -> io::Result<PathBuf> {
        let Self { mut file, name, directory } = self;
        for number in 1..=MAX_NUMBER {
            let path = directory.join(numbered(name.as_str(), number));
            match file.persist_noclobber(&path) {
                Ok(_) => return Ok(path),
                Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => file = error.file,
                Err(error) => return Err(error.error),
            }
        }
        Err(io::Error::new(io::ErrorKind::AlreadyExists, format!("{MAX_NUMBER} files have this name")))
    }
}

/// A file without a name that anybody looks for.
fn make(directory: &Path) -> io::Result<NamedTempFile> {
    let mut builder = Builder::new();
    builder.prefix(".classroom-").suffix(".part").permissions(Permissions::from_mode(0o666));
    builder.tempfile_in(directory)
}

/// `notes.pdf`, `notes (2).pdf`.
fn numbered(name: &str, number: u32) -> String {
    let (stem, ending) = match name.rfind('.') {
        Some(dot) if dot > 0 => name.split_at(dot),
        _ => (name, ""),
    };
    let mut end = stem.len().min(MAX_NAME_BYTES.saturating_sub(ending.len()));
    while !stem.is_char_boundary(end) {
        end -= 1;
    }
    let stem = &stem[..end];
    if number == 1 { format!("{stem}{ending}") } else { format!("{stem} ({number}){ending}") }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    fn names(directory: &Path) -> Vec<String> {
        let mut names: Vec<String> =
            fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn files_keep_what_is_there_follow_no_link_and_leave_nothing_behind() {
        let directory = tempfile::tempdir().unwrap();
        let inside = directory.path().join("in");
        let outside = directory.path().join("outside.txt");
        fs::create_dir(&inside).unwrap();
        fs::write(&outside, "mine").unwrap();
        fs::write(inside.join("a.txt"), "older").unwrap();
        symlink(&outside, inside.join("b.txt")).unwrap();
        symlink(directory.path().join("nowhere"), inside.join("c.txt")).unwrap();
        let mut inbox = Inbox::open(&inside).unwrap();
        let mut receive = |name: &str| {
            let mut file = inbox.begin(name.into(), 3).unwrap();
            file.write(b"new").unwrap();
            let path = file.keep().unwrap();
            inbox.over(3, true);
            path.file_name().unwrap().to_str().unwrap().to_owned()
        };
        let kept = ["a.txt", "a.txt", "b.txt", "c.txt", "../outside.txt", "README", ".hidden"].map(&mut receive);
        let expected = ["a (2).txt", "a (3).txt", "b (2).txt", "c (2).txt", "_outside.txt", "README", "hidden"];
        assert_eq!(kept, expected);
        assert_eq!(fs::read_to_string(&outside).unwrap(), "mine");
        assert_eq!(fs::read_to_string(inside.join("a.txt")).unwrap(), "older");
        assert!(!directory.path().join("nowhere").exists());
        let long = receive(&format!("{}.pdf", "作".repeat(200)));
        assert!(long.len() <= 255 && long.ends_with("作.pdf"), "{long}");
        let before = names(&inside);
        drop(inbox.begin("gone.txt".into(), 3).unwrap());
        inbox.over(3, false);
        assert_eq!(names(&inside), before, "nothing is left of a file that broke off");
    }

    #[test]
    fn the_number_and_the_size_of_files_are_bounded() {
        let directory = tempfile::tempdir().unwrap();
        assert!(Inbox::open(&directory.path().join("none")).is_err());
        let mut inbox = Inbox::open(directory.path()).unwrap();
        let arriving: Vec<Incoming> = (0..MAX_ARRIVING).map(|_| inbox.begin("a".into(), 1).unwrap()).collect();
        assert_eq!(inbox.begin("a".into(), 1).unwrap_err(), FileDecline::Busy, "too many at once");
        drop(arriving);
        (0..MAX_ARRIVING).for_each(|_| inbox.over(1, false));
        assert_eq!(inbox.begin("a".into(), MAX_BYTES + 1).unwrap_err(), FileDecline::TooLarge);
        for _ in 0..MAX_FILES {
            drop(inbox.begin("a".into(), 1).unwrap());
            inbox.over(1, true);
        }
        assert_eq!(inbox.begin("a".into(), 1).unwrap_err(), FileDecline::Busy, "too many in all");
    }
}
