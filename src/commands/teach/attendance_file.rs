//! The attendance file: checked before anything connects, and rewritten as a whole during the lecture.

use std::fs::Permissions;
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::attendance::{Attendance, Now};
use crate::exit::Failure;
use crate::report::{Reporter, Summary, csv, json};

/// The shortest time between two writes when students joined or left. A class of thirty that arrives costs one write.
const SOON: Duration = Duration::from_secs(5);

/// The time between two writes when only statistics change. A crash loses at most this much.
const EVERY: Duration = Duration::from_secs(60);

/// How long the end of a lecture waits for the last write.
const LAST_WITHIN: Duration = Duration::from_secs(10);

/// The permissions of a new file before the umask, the usual ones.
const MODE: u32 = 0o666;

/// A file that has passed [`AttendanceFile::check`].
#[derive(Debug, Clone)]
pub(super) struct AttendanceFile {
    /// The path as it was typed.
    typed: PathBuf,
    /// The path with symbolic links resolved.
    path: PathBuf,
    directory: PathBuf,
}

impl AttendanceFile {
    /// Checks that the file can be written, without changing an existing file.
    ///
    /// # Errors
    /// [`Failure::usage`] with the cause.
    pub(super) fn check(typed: &Path) -> Result<Self, Failure> {
        let refuse = |why: &dyn std::fmt::Display| {
            let error = anyhow::anyhow!(
                "can't write the attendance list to {}: {why}; name another file with --attendance",
                typed.display()
            );
            Failure::usage(error)
        };
        // A symbolic link stays, and the file that it points to is replaced.
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
        // Later writes take the same way. The temporary file is deleted when it is dropped.
        file.temporary().map_err(|error| refuse(&error))?;
        Ok(file)
    }

    fn temporary(&self) -> io::Result<tempfile::NamedTempFile> {
        let mut builder = tempfile::Builder::new();
        builder.prefix(".attendance-").suffix(".part").permissions(Permissions::from_mode(MODE));
        builder.tempfile_in(&self.directory)
    }

    /// Renames the file of an earlier lecture and returns its new name. So nothing is lost when a teacher crashes and
    /// starts the same command again.
    fn move_old_file(&self) -> io::Result<Option<PathBuf>> {
        if !self.path.exists() {
            return Ok(None);
        }
        let free = (1..).map(|number| numbered(&self.path, number)).find(|path| !path.exists());
        let Some(free) = free else { return Ok(None) };
        std::fs::rename(&self.path, &free)?;
        Ok(Some(free))
    }

    /// The content of the file: JSON or CSV, as its name says.
    fn text(&self, now: Now, attendance: &Attendance) -> Vec<u8> {
        let summary = Summary { attendance: Some(self.typed.display().to_string()), ..attendance.summary(now) };
        let is_json = self.path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("json"));
        if is_json { json(&summary) } else { csv(&summary) }
    }

    /// Replaces the file atomically, even in case of a power failure.
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

/// Keeps the file up to date. A slow disk blocks nobody: a newer text replaces the text that waits to be written.
pub(super) struct AttendanceWriter {
    file: AttendanceFile,
    texts: watch::Sender<Vec<u8>>,
    writer: JoinHandle<io::Result<()>>,
    schedule: Schedule,
}

impl AttendanceWriter {
    /// Starts the task that writes.
    pub(super) fn start(file: AttendanceFile, reporter: &Reporter) -> Self {
        let (texts, queue) = watch::channel(Vec::new());
        let writer = tokio::spawn(write_all(file.clone(), queue, reporter.clone()));
        Self { file, texts, writer, schedule: Schedule::default() }
    }

    /// Writes the current list if a write is due.
    pub(super) fn write_if_due(&mut self, now: Now, attendance: &mut Attendance) {
        if self.schedule.is_due(now.instant, attendance.take_changed()) {
            self.texts.send_replace(self.file.text(now, attendance));
        }
    }

    /// The path of the file as it was typed.
    pub(super) fn name(&self) -> String {
        self.file.typed.display().to_string()
    }

    /// Writes the final list and waits until it is on the disk.
    ///
    /// # Errors
    /// [`Failure::internal`] if the write fails or takes too long.
    pub(super) async fn finish(self, now: Now, attendance: &Attendance) -> Result<(), Failure> {
        let Self { file, texts, writer, .. } = self;
        texts.send_replace(file.text(now, attendance));
        drop(texts);
        let too_slow = io::Error::other(format!("the disk did not respond within {} s", LAST_WITHIN.as_secs()));
        let written = match tokio::time::timeout(LAST_WITHIN, writer).await {
            Ok(written) => written.unwrap_or_else(|panic| Err(io::Error::other(panic))),
            Err(_) => Err(too_slow),
        };
        written.map_err(|error| {
            let name = file.typed.display();
            Failure::internal(anyhow::anyhow!("can't write the attendance list to {name}: {error}"))
        })
    }
}

/// Writes the newest text, again and again until the sender is dropped. Returns the result of the last write.
async fn write_all(file: AttendanceFile, mut texts: watch::Receiver<Vec<u8>>, reporter: Reporter) -> io::Result<()> {
    let mut last = Ok(());
    let mut is_first = true;
    while texts.changed().await.is_ok() {
        let text = texts.borrow_and_update().clone();
        let file = file.clone();
        let work = move || {
            let moved = if is_first { file.move_old_file()? } else { None };
            file.write(&text).map(|()| moved)
        };
        let written = tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(io::Error::other(error)));
        is_first &= written.is_err();
        match &written {
            Ok(Some(moved)) => reporter.notice(format!("the earlier attendance list is now in {}", moved.display())),
            Ok(None) => {}
            // Warn once, not every minute.
            Err(error) if last.is_ok() => {
                reporter.warn(format!("can't write the attendance list: {error}; trying again"));
            }
            Err(_) => {}
        }
        last = written.map(|_| ());
    }
    last
}

/// Decides when to write.
#[derive(Debug, Default)]
struct Schedule {
    /// The time of the last write.
    written: Option<Instant>,
    /// Whether a student joined, left or did something since then.
    has_changed: bool,
}

impl Schedule {
    /// Whether to write now; `has_changed` says whether something changed since the last call.
    fn is_due(&mut self, now: Instant, has_changed: bool) -> bool {
        self.has_changed |= has_changed;
        let wait = if self.has_changed { SOON } else { EVERY };
        let due = self.written.is_none_or(|written| now.saturating_duration_since(written) >= wait);
        if due {
            (self.written, self.has_changed) = (Some(now), false);
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
    fn a_check_changes_no_file() {
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
            file.move_old_file().unwrap();
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
    fn a_symbolic_link_is_kept() {
        let directory = tempfile::tempdir().unwrap();
        let (target, link) = (directory.path().join("target.csv"), directory.path().join("link.csv"));
        std::fs::write(&target, "old").unwrap();
        std::os::unix::fs::symlink(&target, &link).unwrap();
        AttendanceFile::check(&link).unwrap().write(b"new").unwrap();
        assert_eq!(std::fs::read_to_string(&target).unwrap(), "new");
        assert!(std::fs::symlink_metadata(&link).unwrap().is_symlink());
    }

    #[test]
    fn numbers_go_before_the_file_extension() {
        let number = |name: &str| numbered(Path::new(name), 2).display().to_string();
        assert_eq!(number("/a.b/class.csv"), "/a.b/class-2.csv");
        assert_eq!(number("class"), "class-2");
        assert_eq!(number(".csv"), ".csv-2");
    }

    #[test]
    fn changes_are_written_soon_and_statistics_every_minute() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut schedule = Schedule::default();
        assert!(schedule.is_due(at(0), false), "the file exists from the start");
        assert!(!schedule.is_due(at(1), true));
        assert!(!schedule.is_due(at(4), false));
        assert!(schedule.is_due(at(5), false), "the change at 1 s");
        assert!(!schedule.is_due(at(64), false));
        assert!(schedule.is_due(at(65), false));
        assert!(schedule.is_due(at(71), true), "6 s after the last write");
    }
}
