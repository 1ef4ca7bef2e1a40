//! Makes a PDF document of another presentation, by LibreOffice.

use std::io::ErrorKind;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// The file names that LibreOffice opens as presentations.
const PRESENTATIONS: [&str; 5] = ["odp", "ppt", "pptx", "ppsx", "fodp"];

/// The PDF filter of LibreOffice Impress. Comments stay, and are shown to the teacher.
const TO_PDF: &str = r#"pdf:impress_pdf_Export:{"ExportNotes":{"type":"boolean","value":"true"}}"#;

/// How long LibreOffice may take. Its first start on a slow disk takes half a minute.
const WITHIN: Duration = Duration::from_secs(120);
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// A PDF document in a temporary folder, deleted on drop.
#[derive(Debug)]
pub(super) struct Converted {
    _folder: TempDir,
    path: PathBuf,
}

impl Converted {
    /// The PDF document.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

/// Converts a presentation; none for a PDF document. The error is the cause with the next step.
pub(super) fn converted(path: &Path) -> Result<Option<Converted>, String> {
    let extension = path.extension().map(std::ffi::OsStr::to_ascii_lowercase);
    let is_presentation = extension.as_deref().is_some_and(|found| PRESENTATIONS.iter().any(|known| found == *known));
    if !is_presentation {
        return Ok(None);
    }
    let failed = |cause: String| format!("{cause}; open it in your presentation program and save it as PDF");
    let absolute = path.canonicalize().map_err(|error| error.to_string())?;
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    // With a profile of its own, the conversion also works while LibreOffice is open.
    let profile = format!("-env:UserInstallation=file://{}/profile", folder.path().display());
    let child = Command::new("soffice")
        .args([profile.as_str(), "--headless", "--convert-to", TO_PDF, "--outdir"])
        .arg(folder.path())
        .arg(absolute)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn();
    let mut child = child.map_err(|error| match error.kind() {
        ErrorKind::NotFound => {
            "only LibreOffice can open it: install the package libreoffice-impress, or save it as PDF".to_owned()
        }
        _ => failed(format!("LibreOffice can't start: {error}")),
    })?;
    if !ends(&mut child) {
        // soffice starts other processes in its group.
        if let Some(group) = rustix::process::Pid::from_raw(child.id() as i32) {
            let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        }
        let _ = child.wait();
        return Err(failed(format!("LibreOffice takes longer than {} s", WITHIN.as_secs())));
    }
    let mut name = path.file_stem().unwrap_or_default().to_owned();
    name.push(".pdf");
    let pdf = folder.path().join(name);
    if !pdf.is_file() {
        return Err(failed("LibreOffice can't make a PDF of it".to_owned()));
    }
    Ok(Some(Converted { _folder: folder, path: pdf }))
}

/// Waits for the end of a process. Returns whether it came in time.
fn ends(child: &mut Child) -> bool {
    let deadline = Instant::now() + WITHIN;
    while Instant::now() < deadline {
        match child.try_wait() {
            Ok(None) => std::thread::sleep(LOOK_EVERY),
            Ok(Some(_)) | Err(_) => return true,
        }
    }
    false
}
