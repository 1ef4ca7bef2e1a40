//! The file of a lecture: reads it, and prints its timeline for `--dry-run`.

use std::io::Read;
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::cli::{LectureFile, LectureStart, Teach};
use crate::commands::blocking;
use crate::exit::Failure;
use crate::lecture::{self, Lecture, MAX_FILE_BYTES, Row, Source};
use crate::media::{Capture, CaptureOptions, MediaError, check_scenes};
use crate::report::Reporter;

/// A lecture that was read from its file.
#[derive(Debug, Clone)]
pub(super) struct Script {
    /// The path as it was typed.
    typed: PathBuf,
    /// The absolute path.
    pub(super) file: PathBuf,
    pub(super) lecture: Lecture,
    pub(super) start: LectureStart,
}

impl Script {
    /// Reads the lecture of `--lecture`.
    ///
    /// # Errors
    /// [`Failure::usage`] with the place of a mistake; the scene of `--from` is not in the lecture.
    pub(super) fn read(wanted: &LectureFile) -> Result<Self, Failure> {
        let LectureFile { path, start, .. } = wanted;
        let name = path.display();
        let unreadable = |error: std::io::Error| Failure::usage(anyhow::anyhow!("can't read {name}: {error}"));
        let file = path.canonicalize().map_err(unreadable)?;
        if !file.is_file() {
            return Err(Failure::usage(anyhow::anyhow!("{name} is not a regular file: give the file of a lecture")));
        }
        let mut bytes = Vec::new();
        let opened = std::fs::File::open(&file).map_err(unreadable)?;
        // One byte more than is allowed, so that the parser refuses what is cut.
        opened.take(MAX_FILE_BYTES as u64 + 1).read_to_end(&mut bytes).map_err(unreadable)?;
        let text = String::from_utf8(bytes);
        let text = text.map_err(|_| Failure::usage(anyhow::anyhow!("{name} is not UTF-8: save it as UTF-8 text")))?;
        let lecture = lecture::parse(&text).map_err(|error| Failure::usage(anyhow::anyhow!("{name}:{error}")))?;
        let script = Self { typed: path.clone(), file, lecture, start: start.clone() };
        if let LectureStart::From(scene) = start {
            script.lecture.find(scene).map_err(|sentence| Failure::usage(anyhow::anyhow!("--from: {sentence}")))?;
        }
        Ok(script)
    }

    /// The sources of the scenes, with paths from the folder of the file.
    pub(super) fn sources(&self) -> Vec<Source> {
        let folder = self.file.parent().unwrap_or(Path::new("/"));
        self.lecture.scenes.iter().map(|scene| scene.source.clone().below(folder)).collect()
    }

    /// A mistake in a scene, with its place in the file.
    pub(super) fn mistake(&self, index: usize, cause: impl std::fmt::Display) -> String {
        let place =
            self.lecture.scenes.get(index).map(|scene| format!("{}:{}: ", scene.place.line, scene.place.column));
        format!("{}:{}{cause}", self.typed.display(), place.unwrap_or_default())
    }

    /// An error of the capture, with the place of the scene that it is about.
    pub(super) fn explained(&self, error: MediaError) -> Failure {
        match error {
            MediaError::Scene { index, cause } => {
                let exit = Failure::from(*cause.clone()).exit;
                Failure::new(exit, anyhow::anyhow!(self.mistake(index, cause)))
            }
            other => other.into(),
        }
    }
}

/// Prints when each scene begins, and what would fail.
///
/// # Errors
/// [`Failure::usage`] if something would fail.
pub(in crate::commands) async fn dry_run(teach: &Teach, reporter: &Reporter) -> Result<(), Failure> {
    let Some(wanted) = teach.lecture() else { return Ok(()) };
    let script = Script::read(wanted)?;
    let (sources, program) = (script.sources(), std::env::current_exe().unwrap_or_default());
    let facts = blocking(move || check_scenes(&sources, &program)).await??;
    let facts: Vec<_> = facts.into_iter().map(|facts| facts.map_err(|error| error.to_string())).collect();
    let rows = lecture::outline(&script.lecture, &facts);
    let failing = rows.iter().filter(|row| row.fails()).count();
    // Devices and encoders are only worth a look if the scenes themselves can be shown.
    let capture = match (failing, super::capture_options(teach, Some(&script))) {
        (0, Some(options)) => Some(notices(options, &script).await),
        _ => None,
    };
    print(&script, &rows, capture.as_ref(), reporter);
    match capture {
        Some(Err(failure)) => Err(failure),
        _ if failing > 0 => {
            let (of, name) = (rows.len(), script.typed.display());
            Err(Failure::usage(anyhow::anyhow!("{failing} of {of} scenes of {name} would fail")))
        }
        _ => Ok(()),
    }
}

/// Prepares the capture and says what it would use.
async fn notices(options: CaptureOptions, script: &Script) -> Result<Vec<String>, Failure> {
    let prepared = blocking(move || Capture::prepare(options)).await?;
    prepared.map(|prepared| prepared.notices().to_vec()).map_err(|error| script.explained(error))
}

fn print(script: &Script, rows: &[Row], capture: Option<&Result<Vec<String>, Failure>>, reporter: &Reporter) {
    let notices = capture.and_then(|capture| capture.as_ref().ok()).map(Vec::as_slice).unwrap_or_default();
    if reporter.is_json() {
        let lecture = script.typed.display().to_string();
        return reporter.result_object(&json!({ "lecture": lecture, "scenes": rows, "notices": notices }));
    }
    let table: Vec<String> = std::iter::once(Row::titles()).chain(rows.iter().map(Row::words)).collect();
    let notices = notices.iter().map(|notice| format!("\n{notice}")).collect::<String>();
    reporter.finish();
    reporter.result(&format!("{}{notices}", table.join("\n")));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(folder: &Path, text: &str, start: LectureStart) -> Result<Script, String> {
        let path = folder.join("monday.toml");
        std::fs::write(&path, text).unwrap();
        Script::read(&LectureFile { path, start, dry_run: false }).map_err(|failure| failure.to_string())
    }

    #[test]
    fn mistakes_name_the_file_and_the_place() {
        let folder = tempfile::tempdir().unwrap();
        let refused = |text, start| read(folder.path(), text, start).unwrap_err();
        let error = refused("[[scene]]\nvideo = 1\n", LectureStart::ByClock);
        assert!(error.contains("monday.toml:2:9: "), "{error}");
        let error = refused("[[scene]]\nvideo = \"a.mp4\"\n", LectureStart::From("b".into()));
        assert!(error.contains("--from: there is no scene \"b\"; the scenes are 1"), "{error}");
        let folder_itself = LectureFile { path: folder.path().into(), start: LectureStart::ByClock, dry_run: false };
        assert!(Script::read(&folder_itself).unwrap_err().to_string().contains("not a regular file"));
    }

    #[test]
    fn files_stand_beside_the_lecture() {
        let folder = tempfile::tempdir().unwrap();
        let text = "[[scene]]\nvideo = \"a.mp4\"\n[[scene]]\nimage = \"/b.png\"\nfor = \"1s\"\n";
        let script = read(folder.path(), text, LectureStart::ByClock).unwrap();
        let folder = folder.path().canonicalize().unwrap();
        assert_eq!(script.sources(), [Source::Video(folder.join("a.mp4")), Source::Image("/b.png".into())]);
        assert!(script.mistake(1, "no").ends_with("monday.toml:4:9: no"));
    }
}
