//! This end of the process that draws slides.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::de::DeserializeOwned;

use super::draw::{Answer, request};
use super::office::Converted;
use super::{Document, VERB};
use crate::media::options::Size;

/// How long the process may take to open a document. A document of hundreds of megabytes takes seconds.
const OPEN_WITHIN: Duration = Duration::from_secs(30);

/// How long it may take to draw a page. Usual pages take a twentieth of a second.
const DRAW_WITHIN: Duration = Duration::from_secs(10);

/// How soon the end of the lecture ends the drawing.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// The longest line of an answer: the notes of all pages.
const MAX_LINE_BYTES: u64 = 64_000_000;

/// Draws the pages of a document. The process starts again after a page that broke it.
#[derive(Debug)]
pub(super) struct Drawer {
    program: PathBuf,
    path: PathBuf,
    /// In a mutex, because a plan of a capture is shared between threads, and the queue of answers can't be.
    process: Mutex<Option<Process>>,
    /// The PDF document that was made of another presentation; deleted on drop.
    _converted: Option<Converted>,
}

impl Drawer {
    /// Opens a document. The error is the cause, for the user.
    pub(super) fn open(program: &Path, path: &Path, converted: Option<Converted>) -> Result<(Self, Document), String> {
        let path = converted.as_ref().map_or(path, Converted::path).to_owned();
        let (process, document) = Process::start(program, &path)?;
        Ok((
            Self { program: program.to_owned(), path, process: Mutex::new(Some(process)), _converted: converted },
            document,
        ))
    }

    /// Draws a page: four bytes (RGBA) per pixel. Gives up soon after `is_stopping`. The error is the cause, for the
    /// user.
    pub(super) fn draw(&mut self, index: usize, size: Size, is_stopping: &dyn Fn() -> bool) -> Result<Vec<u8>, String> {
        let kept = self.process.get_mut().unwrap_or_else(PoisonError::into_inner);
        let mut process = match kept.take() {
            Some(process) => process,
            None => Process::start(&self.program, &self.path)?.0,
        };
        let drawn = process.draw(index, size, is_stopping);
        // A process that did not answer is not asked again.
        if !matches!(drawn, Err(Failure::Process(_))) {
            *kept = Some(process);
        }
        drawn.map_err(|failure| match failure {
            Failure::Process(cause) | Failure::Page(cause) => cause,
        })
    }
}

/// Why a page was not drawn.
enum Failure {
    /// The process is of no more use.
    Process(String),
    /// The process goes on.
    Page(String),
}

/// A running process. Dropping it kills it.
#[derive(Debug)]
struct Process {
    child: Child,
    requests: ChildStdin,
    /// The number of bytes of the picture that is asked for.
    expected: Sender<usize>,
    answers: Receiver<Result<Vec<u8>, String>>,
}

impl Process {
    fn start(program: &Path, path: &Path) -> Result<(Self, Document), String> {
        let mut child = Command::new(program)
            .arg(VERB)
            .arg("--")
            .arg(path)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // The cause is in the answer, or the process has crashed, and its last words help nobody.
            .stderr(Stdio::null())
            // Ctrl-C is for the lecture, not for this process.
            .process_group(0)
            .spawn()
            .map_err(|error| format!("can't start {}: {error}", program.display()))?;
        let pipes = child.stdin.take().zip(child.stdout.take()).ok_or("no pipe");
        let (requests, stdout) = pipes?;
        let (expected, sizes) = channel();
        let (sender, answers) = channel();
        let (opened, document) = channel();
        let read = move || {
            let mut stdout = BufReader::new(stdout);
            let _ = opened.send(line::<Document>(&mut stdout));
            for size in sizes {
                if sender.send(picture(&mut stdout, size)).is_err() {
                    return;
                }
            }
        };
        let mut process = Self { child, requests, expected, answers };
        let spawned = std::thread::Builder::new().name("slides-read".into()).spawn(read);
        spawned.map_err(|error| error.to_string())?;
        match document.recv_timeout(OPEN_WITHIN) {
            Ok(Ok(document)) => Ok((process, document)),
            Ok(Err(Unreadable::Said(cause))) => Err(cause),
            Ok(Err(Unreadable::Ended)) | Err(RecvTimeoutError::Disconnected) => Err(process.crashed("opening it")),
            Err(RecvTimeoutError::Timeout) => Err(format!("opening it takes longer than {} s", OPEN_WITHIN.as_secs())),
        }
    }

    fn draw(&mut self, index: usize, size: Size, is_stopping: &dyn Fn() -> bool) -> Result<Vec<u8>, Failure> {
        let bytes = size.width as usize * size.height as usize * 4;
        let asked = self.requests.write_all(request(index, size).as_bytes());
        if asked.is_err() || self.expected.send(bytes).is_err() {
            return Err(Failure::Process(self.crashed("drawing it")));
        }
        let deadline = Instant::now() + DRAW_WITHIN;
        let answer = loop {
            let answer = self.answers.recv_timeout(LOOK_EVERY);
            if answer != Err(RecvTimeoutError::Timeout) || is_stopping() || Instant::now() >= deadline {
                break answer;
            }
        };
        match answer {
            Ok(Ok(picture)) if picture.len() == bytes => Ok(picture),
            Ok(Err(cause)) => Err(Failure::Page(cause)),
            Ok(Ok(_)) | Err(RecvTimeoutError::Disconnected) => Err(Failure::Process(self.crashed("drawing it"))),
            Err(RecvTimeoutError::Timeout) => {
                Err(Failure::Process(format!("drawing it takes longer than {} s", DRAW_WITHIN.as_secs())))
            }
        }
    }

    fn crashed(&mut self, what: &str) -> String {
        let _ = self.child.kill();
        let signal = self.child.wait().ok().and_then(|status| status.signal());
        // An own kill comes too late for a process that has ended.
        let how = signal.map(|signal| format!(" (signal {signal})")).unwrap_or_default();
        format!("{what} needs too much memory, or breaks the drawing{how}: export it again as PDF")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Why there is no answer.
enum Unreadable {
    Said(String),
    Ended,
}

fn line<T: DeserializeOwned>(stdout: &mut BufReader<ChildStdout>) -> Result<T, Unreadable> {
    let mut line = String::new();
    stdout.by_ref().take(MAX_LINE_BYTES).read_line(&mut line).map_err(|_| Unreadable::Ended)?;
    match serde_json::from_str::<Answer<T>>(&line) {
        Ok(Answer::Done(done)) => Ok(done),
        Ok(Answer::Failed(cause)) => Err(Unreadable::Said(cause)),
        Err(_) => Err(Unreadable::Ended),
    }
}

/// Reads a picture; shorter if the process has ended.
fn picture(stdout: &mut BufReader<ChildStdout>, size: usize) -> Result<Vec<u8>, String> {
    match line::<()>(stdout) {
        Ok(()) => {
            let mut picture = Vec::with_capacity(size);
            let _ = stdout.by_ref().take(size as u64).read_to_end(&mut picture);
            Ok(picture)
        }
        Err(Unreadable::Said(cause)) => Err(cause),
        Err(Unreadable::Ended) => Ok(Vec::new()),
    }
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt;

    use tempfile::TempDir;

    use super::*;

    const SIZE: Size = Size { width: 1, height: 1 };

    /// A drawer whose process is a shell script, which may start again while the folder exists.
    fn scripted(script: &str) -> Result<(Drawer, Document, TempDir), String> {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("program");
        std::fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&program, Permissions::from_mode(0o700)).unwrap();
        loop {
            match Drawer::open(&program, Path::new("deck.pdf"), None) {
                // A process that another test is just starting may still have the script open.
                Err(cause) if cause.contains("Text file busy") => {}
                opened => return opened.map(|(drawer, document)| (drawer, document, folder)),
            }
        }
    }

    const OPENED: &str = r#"echo '{"Done":{"shape":[16.0,9.0],"notes":["a","b"]}}'"#;

    #[test]
    fn a_page_that_breaks_the_process_costs_only_itself() {
        let answers = r#"while read page rest; do
            case $page in 0) echo '{"Done":null}'; printf abcd;; 1) kill -9 $$;; *) echo '{"Failed":"no ink"}';; esac
        done"#;
        let (mut drawer, document, _folder) = scripted(&format!("{OPENED}\n{answers}")).unwrap();
        assert_eq!(document.notes, ["a", "b"]);
        assert_eq!(drawer.draw(0, SIZE, &|| false), Ok(b"abcd".to_vec()));
        assert_eq!(drawer.draw(2, SIZE, &|| false), Err("no ink".into()));
        let broken = drawer.draw(1, SIZE, &|| false).unwrap_err();
        assert!(broken.contains("too much memory, or breaks the drawing (signal 9)"), "{broken}");
        assert_eq!(drawer.draw(0, SIZE, &|| false), Ok(b"abcd".to_vec()), "the process has started again");
    }

    #[test]
    fn the_end_of_the_lecture_does_not_wait_for_a_page() {
        let (mut drawer, _, _folder) = scripted(&format!("{OPENED}\nread page\nexec sleep 60")).unwrap();
        assert!(drawer.draw(0, SIZE, &|| true).is_err());
    }

    #[test]
    fn a_document_that_breaks_the_process_is_refused() {
        let refused = |script: &str| scripted(script).map(|_| ()).unwrap_err();
        assert!(refused("kill -6 $$").contains("opening it needs too much memory, or breaks the drawing (signal 6)"));
        assert_eq!(refused(r#"echo '{"Failed":"it needs a password"}'"#), "it needs a password");
        assert!(refused("echo hello").contains("breaks the drawing"));
        let nobody = Drawer::open(Path::new("/nowhere/classroom"), Path::new("deck.pdf"), None).unwrap_err();
        assert!(nobody.contains("can't start /nowhere/classroom"), "{nobody}");
    }
}
