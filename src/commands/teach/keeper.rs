//! The attendance file: checked before anything connects, written whole again and again while the lecture runs.

use std::fs::Permissions;
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::register::{Now, Register};
use crate::exit::Failure;
use crate::report::{Reporter, csv};

/// How soon news is written: a class that comes in costs one write, not thirty.
const SOON: Duration = Duration::from_secs(5);

/// How often it is written where only numbers change: a crash loses no more minutes than this.
const EVERY: Duration = Duration::from_secs(60);

/// How long the end of a lecture waits for the disk.
const LAST_WITHIN: Duration = Duration::from_secs(10);

/// The permissions of a new file, before the umask: those of any other.
const MODE: u32 = 0o666;

/// A file that can be written.
#[derive(Debug, Clone)]
pub(super) struct AttendanceFile {
    /// As it was typed.
    typed: PathBuf,
    /// Where it is, symbolic links followed.
    path: PathBuf,
    directory: PathBuf,
}

impl AttendanceFile {
    /// Makes sure that the file can be written, without touching one that is there.
    ///
    /// # Errors
    /// [`Failure::usage`], where it can't.
    pub(super) fn check(typed: &Path) -> Result<Self, Failure> {
        let refuse = |why: &dyn std::fmt::Display| {
            let error = anyhow::anyhow!(
                "can't write the attendance to {}: {why}; name another file with --attendance",
                typed.display()
            );
            Failure::usage(error)
        };
        // A link stays one, and what it leads to is replaced.
        let path = match typed.canonicalize() {
            Ok(there) if !there.is_file() => return Err(refuse(&"it is not a regular file")),
            Ok(there) => there,
            Err(error) if error.kind() == io::ErrorKind::NotFound => typed.to_owned(),
            Err(error) => return Err(refuse(&error)),
        };
        if path.file_name().is_none() {
            return Err(refuse(&"it is not a file name"));
        }
        let directory = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
            _ => PathBuf::from("."),
        };
        let file = Self { typed: typed.to_owned(), path, directory };
        // The way in which it is written later; it goes away by itself.
        file.temporary().map_err(|error| refuse(&error))?;
        Ok(file)
    }

    fn temporary(&self) -> io::Result<tempfile::NamedTempFile> {
        let mut builder = tempfile::Builder::new();
        builder.prefix(".attendance-").suffix(".csv").permissions(Permissions::from_mode(MODE));
        builder.tempfile_in(&self.directory)
    }

    /// Moves the file of an earlier lecture out of the way; gives its new name, if there was one. A teacher who crashed
    /// and begins again with the same command line loses nothing.
    fn make_way(&self) -> io::Result<Option<PathBuf>> {
        if !self.path.exists() {
            return Ok(None);
        }
        let free = (1..).map(|number| numbered(&self.path, number)).find(|path| !path.exists());
        let Some(free) = free else { return Ok(None) };
        std::fs::rename(&self.path, &free)?;
        Ok(Some(free))
    }

    /// Replaces the file: whoever reads it sees the old text or the new one, also after a loss of power.
    fn write(&self, text: &[u8]) -> io::Result<()> {
        let mut file = self.temporary()?;
        file.write_all(text)?;
        file.as_file().sync_all()?;
        file.persist(&self.path)?;
        Ok(())
    }
}

/// `class.csv` becomes `class-1.csv`.
fn numbered(path: &Path, number: u32) -> PathBuf {
    let mut name = path.file_stem().unwrap_or_default().to_owned();
    name.push(format!("-{number}"));
    if let Some(extension) = path.extension() {
        name.push(".");
        name.push(extension);
    }
    path.with_file_name(name)
}

/// Keeps the file up to date. A slow disk holds nobody up: a text that waits for the disk is replaced by the next one.
pub(super) struct Keeper {
    file: AttendanceFile,
    texts: watch::Sender<Vec<u8>>,
    writer: JoinHandle<io::Result<()>>,
    schedule: Schedule,
}

impl Keeper {
    /// Begins to keep the file of a lecture.
    pub(super) fn start(file: AttendanceFile, reporter: &Reporter) -> Self {
        let (texts, queue) = watch::channel(Vec::new());
        let writer = tokio::spawn(write_all(file.clone(), queue, reporter.clone()));
        Self { file, texts, writer, schedule: Schedule::default() }
    }

    /// Writes what is in the register, if it is time to.
    pub(super) fn keep(&mut self, now: Now, register: &mut Register) {
        if self.schedule.is_due(now.instant, register.take_changed()) {
            self.texts.send_replace(csv(&register.rows(now)));
        }
    }

    /// Its name, as it was typed.
    pub(super) fn name(&self) -> String {
        self.file.typed.display().to_string()
    }

    /// Writes the last state, and waits until it is on the disk.
    ///
    /// # Errors
    /// [`Failure::internal`], where it could not be written.
    pub(super) async fn finish(self, now: Now, register: &Register) -> Result<(), Failure> {
        let Self { file, texts, writer, .. } = self;
        texts.send_replace(csv(&register.rows(now)));
        drop(texts);
        let too_slow = io::Error::other(format!("the disk takes more than {} s", LAST_WITHIN.as_secs()));
        let written = match tokio::time::timeout(LAST_WITHIN, writer).await {
            Ok(written) => written.unwrap_or_else(|panic| Err(io::Error::other(panic))),
            Err(_) => Err(too_slow),
        };
        written.map_err(|error| {
            let name = file.typed.display();
            Failure::internal(anyhow::anyhow!("the attendance could not be written to {name}: {error}"))
        })
    }
}

/// Writes each text for which there is time, and always the last one; gives the result of the last one.
async fn write_all(file: AttendanceFile, mut texts: watch::Receiver<Vec<u8>>, reporter: Reporter) -> io::Result<()> {
    let mut last = Ok(());
    let mut is_first = true;
    while texts.changed().await.is_ok() {
        let text = texts.borrow_and_update().clone();
        let file = file.clone();
        let work = move || {
            let moved = if is_first { file.make_way()? } else { None };
            file.write(&text).map(|()| moved)
        };
        let written = tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(io::Error::other(error)));
        is_first &= written.is_err();
        match &written {
            Ok(Some(moved)) => reporter.notice(format!("the earlier attendance list is now in {}", moved.display())),
            Ok(None) => {}
            // Said once, not every minute.
            Err(error) if last.is_ok() => {
                reporter.warn(format!("the attendance can't be written now: {error}; trying again"));
            }
            Err(_) => {}
        }
        last = written.map(|_| ());
    }
    last
}

/// When the file is written.
#[derive(Debug, Default)]
struct Schedule {
    /// When it was last written.
    written: Option<Instant>,
    /// Something is new since then.
    is_news: bool,
}

impl Schedule {
    /// Whether it is to be written now; `is_news` says whether something is new since the last time.
    fn is_due(&mut self, now: Instant, is_news: bool) -> bool {
        self.is_news |= is_news;
        let wait = if self.is_news { SOON } else { EVERY };
        let due = self.written.is_none_or(|written| now.saturating_duration_since(written) >= wait);
        if due {
            (self.written, self.is_news) = (Some(now), false);
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(directory: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(directory).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_that_cannot_be_written_is_refused_with_the_cause() {
        let directory = tempfile::tempdir().unwrap();
        let refused = |path: &Path| {
            let failure = AttendanceFile::check(path).unwrap_err();
            assert_eq!(failure.exit.code(), 2);
            failure.to_string()
        };
        let nowhere = refused(&directory.path().join("nowhere").join("a.csv"));
        assert!(nowhere.contains("nowhere/a.csv") && nowhere.contains("No such file"), "{nowhere}");
        assert!(refused(directory.path()).contains("not a regular file"));
        assert!(refused(Path::new("/dev/null")).contains("not a regular file"));
        assert!(refused(Path::new("")).contains("not a file name"));
        assert!(refused(Path::new("/proc/attendance.csv")).contains("/proc/attendance.csv"));
    }

    #[test]
    fn a_check_leaves_everything_as_it_was() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("class.csv");
        AttendanceFile::check(&path).unwrap();
        assert_eq!(names(directory.path()), [""; 0]);
        std::fs::write(&path, "monday").unwrap();
        AttendanceFile::check(&path).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "monday");
    }

    #[test]
    fn an_earlier_lecture_is_not_overwritten() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("class.csv");
        for day in ["monday", "tuesday", "wednesday"] {
            let file = AttendanceFile::check(&path).unwrap();
            file.make_way().unwrap();
            file.write(b"half of it").unwrap();
            file.write(day.as_bytes()).unwrap();
        }
        assert_eq!(names(directory.path()), ["class-1.csv", "class-2.csv", "class.csv"], "and no temporary file");
        let read = |name: &str| std::fs::read_to_string(directory.path().join(name)).unwrap();
        assert_eq!(["class-1.csv", "class-2.csv", "class.csv"].map(read), ["monday", "tuesday", "wednesday"]);
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o600, 0o600);
    }

    #[test]
    fn a_link_stays_a_link() {
        let directory = tempfile::tempdir().unwrap();
        let (target, link) = (directory.path().join("target.csv"), directory.path().join("link.csv"));
        std::fs::write(&target, "old").unwrap();
        std::os::unix::fs::symlink(&target, &link).unwrap();
        AttendanceFile::check(&link).unwrap().write(b"new").unwrap();
        assert_eq!(std::fs::read_to_string(&target).unwrap(), "new");
        assert!(std::fs::symlink_metadata(&link).unwrap().is_symlink());
    }

    #[test]
    fn names_are_numbered_before_their_ending() {
        let number = |name: &str| numbered(Path::new(name), 2).display().to_string();
        assert_eq!(number("/a.b/class.csv"), "/a.b/class-2.csv");
        assert_eq!(number("class"), "class-2");
        assert_eq!(number(".csv"), ".csv-2");
    }

    #[test]
    fn news_are_written_soon_and_numbers_every_minute() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut schedule = Schedule::default();
        assert!(schedule.is_due(at(0), false), "a file is there from the beginning");
        assert!(!schedule.is_due(at(1), true));
        assert!(!schedule.is_due(at(4), false));
        assert!(schedule.is_due(at(5), false), "what was new at 1 s");
        assert!(!schedule.is_due(at(64), false));
        assert!(schedule.is_due(at(65), false));
        assert!(schedule.is_due(at(71), true), "long after the last");
    }
}
