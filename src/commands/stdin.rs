//! Reads lines from stdin during a lecture.
//!
//! A thread reads, because the runtime could not end during a blocking read. On a terminal the thread observes two
//! rules. The system stops a background job that reads its terminal or changes its settings, and with the job the
//! lecture. So the thread first checks that it is in the foreground. And the echo of the terminal would destroy a
//! status line that refreshes. So the thread turns the echo off, and the reporter shows the line.
//!
//! Line editors such as rustyline own the terminal while they read, so they can't share it with the status line.

mod editor;

use std::collections::VecDeque;
use std::io::{PipeReader, PipeWriter};
use std::os::fd::AsFd;
use std::sync::mpsc as sync;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcgetpgrp, tcsetattr};
use tokio::sync::mpsc;

use self::editor::{Editor, Key, MAX_BYTES};
use crate::cli::ChatInput;
use crate::report::Reporter;

/// The capacity of the queue of lines. Nobody types faster, and a script has to wait.
const QUEUE: usize = 64;

/// How often the thread checks that it is in the foreground and that the terminal has the right settings. A shell may
/// have changed them when it continued the job.
const CHECK_EVERY: Duration = Duration::from_millis(250);

/// How soon to try again when the queue is full.
const RETRY: Duration = Duration::from_millis(20);

/// How long to wait for the end of the thread. It only takes longer if another process emptied the pipe meanwhile.
const END_WITHIN: Duration = Duration::from_millis(500);

/// Reads lines until it is dropped, then restores the terminal.
#[derive(Debug)]
pub(super) struct StdinLines {
    /// Dropping this ends the thread.
    wake: Option<PipeWriter>,
    /// Disconnected when the thread has ended.
    ended: sync::Receiver<()>,
}

impl StdinLines {
    /// Starts to read stdin. The lines are trimmed, not empty, and cut to 4,000 bytes. The receiver ends with the
    /// input. `None` if `wanted` excludes this stdin, or if the system gives no thread. Tab completes `commands`.
    pub(super) fn start(
        wanted: ChatInput,
        commands: Vec<String>,
        reporter: &Reporter,
    ) -> Option<(StdinLines, mpsc::Receiver<String>)> {
        let is_terminal = std::io::IsTerminal::is_terminal(&std::io::stdin());
        match wanted {
            ChatInput::Always => {}
            // JSON output may go to a pager, which reads the same keys.
            ChatInput::Terminal if is_terminal && !reporter.is_json() => {}
            ChatInput::Terminal | ChatInput::Never => return None,
        }
        let (woken, wake) = std::io::pipe().ok()?;
        let (lines, received) = mpsc::channel(QUEUE);
        let (end, ended) = sync::channel();
        let reader = Reader { lines, waiting: VecDeque::new(), woken, is_terminal, reporter: reporter.clone() };
        let thread = move || {
            let _ended: sync::Sender<()> = end;
            if is_terminal && reader.reporter.refreshes() { reader.edit(commands) } else { reader.read() }
        };
        std::thread::Builder::new().name("typed".into()).spawn(thread).ok()?;
        Some((StdinLines { wake: Some(wake), ended }, received))
    }
}

impl Drop for StdinLines {
    fn drop(&mut self) {
        self.wake = None;
        let _ = self.ended.recv_timeout(END_WITHIN);
    }
}

/// The state of the thread.
struct Reader {
    lines: mpsc::Sender<String>,
    /// Lines that did not fit into the queue.
    waiting: VecDeque<String>,
    woken: PipeReader,
    is_terminal: bool,
    reporter: Reporter,
}

/// The result of waiting for input.
enum Ready {
    /// Input is available.
    Read,
    /// No input within [`CHECK_EVERY`].
    Idle,
    /// The thread must end.
    End,
}

impl Reader {
    /// Reads lines from a pipe, a file, or a terminal that edits them itself.
    fn read(mut self) {
        let (mut line, mut buffer) = (Vec::new(), [0; 4_096]);
        loop {
            match self.wait(!self.is_terminal || is_in_foreground()) {
                Ready::End => return,
                Ready::Idle => continue,
                Ready::Read => {}
            }
            let read = match rustix::io::read(std::io::stdin(), &mut buffer) {
                Ok(0) => break,
                Ok(bytes) => &buffer[..bytes],
                Err(Errno::INTR | Errno::AGAIN) => continue,
                Err(_) => break,
            };
            for byte in read {
                match byte {
                    b'\n' => self.line(&std::mem::take(&mut line)),
                    // Cut longer lines: a file without line ends must not fill the memory.
                    _ if line.len() >= MAX_BYTES => {}
                    byte => line.push(*byte),
                }
            }
        }
        self.line(&line);
        while !self.waiting.is_empty() && !matches!(self.wait(false), Ready::End) {}
    }

    /// Reads keys and edits the line, on a terminal whose echo is off.
    fn edit(mut self, commands: Vec<String>) {
        let (mut editor, mut buffer) = (Editor::completing(commands), [0; 256]);
        let mut terminal = Terminal::default();
        loop {
            let ours = is_in_foreground();
            if ours {
                terminal.configure();
            }
            self.reporter.typing(ours.then(|| (editor.line(), editor.cursor())));
            match self.wait(ours) {
                Ready::End => break,
                Ready::Idle => {
                    editor.pause();
                    continue;
                }
                Ready::Read if !is_in_foreground() => continue,
                Ready::Read => {}
            }
            let read = match rustix::io::read(std::io::stdin(), &mut buffer) {
                Ok(bytes) => &buffer[..bytes],
                Err(Errno::INTR | Errno::AGAIN) => continue,
                Err(_) => break,
            };
            let mut ends = false;
            for byte in read {
                match editor.key(*byte) {
                    Key::Nothing | Key::Edited => {}
                    Key::Entered(line) => self.line(line.as_bytes()),
                    Key::End => ends = true,
                }
            }
            if ends {
                break;
            }
        }
        self.reporter.typing(None);
        drop(terminal);
        while !self.waiting.is_empty() && !matches!(self.wait(false), Ready::End) {}
    }

    /// Waits for the end, for [`CHECK_EVERY`], or for input if `wants_input`.
    fn wait(&mut self, wants_input: bool) -> Ready {
        while let Some(line) = self.waiting.pop_front() {
            match self.lines.try_send(line) {
                Ok(()) => {}
                Err(mpsc::error::TrySendError::Closed(_)) => return Ready::End,
                Err(mpsc::error::TrySendError::Full(line)) => {
                    self.waiting.push_front(line);
                    break;
                }
            }
        }
        let is_full = !self.waiting.is_empty();
        let patience = if is_full { RETRY } else { CHECK_EVERY };
        let patience = Timespec { tv_sec: 0, tv_nsec: patience.subsec_nanos().into() };
        let stdin = std::io::stdin();
        let mut both = [PollFd::new(&self.woken, PollFlags::IN), PollFd::new(&stdin, PollFlags::IN)];
        let asked = if wants_input && !is_full { &mut both[..] } else { &mut both[..1] };
        match poll(asked, Some(&patience)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(_) => return Ready::End,
        }
        if !both[0].revents().is_empty() || self.lines.is_closed() {
            return Ready::End;
        }
        let input = both[1].revents();
        if self.is_terminal && input.intersects(PollFlags::HUP | PollFlags::ERR | PollFlags::NVAL) {
            // The terminal was closed. On a pipe these flags may come before the last line.
            return Ready::End;
        }
        if input.is_empty() { Ready::Idle } else { Ready::Read }
    }

    fn line(&mut self, bytes: &[u8]) {
        let text = String::from_utf8_lossy(bytes);
        let text = text[..text.floor_char_boundary(MAX_BYTES)].trim();
        if !text.is_empty() {
            self.waiting.push_back(text.to_owned());
        }
    }
}

/// Whether this process may read the terminal without being stopped. A terminal of another session has no foreground
/// job, and everybody may read it.
fn is_in_foreground() -> bool {
    match tcgetpgrp(std::io::stdin()) {
        Ok(group) => group == rustix::process::getpgrp(),
        Err(error) => error == Errno::NOTTY,
    }
}

/// The original settings of the terminal, which are restored on drop.
#[derive(Default)]
struct Terminal(Option<Termios>);

impl Terminal {
    /// Turns off line mode and echo, if they are on. Ctrl-C and Ctrl-Z still work. Call this only in the foreground.
    fn configure(&mut self) {
        let Ok(mut settings) = tcgetattr(std::io::stdin()) else { return };
        let ours = LocalModes::ICANON | LocalModes::ECHO;
        if !settings.local_modes.intersects(ours) {
            return;
        }
        self.0.get_or_insert_with(|| settings.clone());
        settings.local_modes.remove(ours);
        // A read never waits; `poll` does.
        settings.special_codes[SpecialCodeIndex::VMIN] = 0;
        settings.special_codes[SpecialCodeIndex::VTIME] = 0;
        set(&settings);
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        if let Some(before) = self.0.take()
            && is_in_foreground()
        {
            set(&before);
        }
    }
}

/// An error means that the terminal is gone, so nobody sees its state.
fn set(settings: &Termios) {
    let _ = tcsetattr(std::io::stdin().as_fd(), OptionalActions::Now, settings);
}
