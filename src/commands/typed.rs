//! Lines that a person types, or a script writes, while a lecture runs.
//!
//! A thread of its own reads them: the runtime would not end before a read of stdin does. On a terminal it is careful
//! in two ways. A job in the background that reads its terminal, or changes its settings, is stopped by the system, and
//! the lecture with it: so the thread looks first whether it is in the foreground. And where the status line refreshes,
//! the terminal must not write what is typed into it: so its echo is turned off, and the reporter shows the line.

mod editor;
mod history;

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
use crate::cli::Lines;
use crate::report::Reporter;

/// Lines that may wait. A script that writes faster waits; nobody types so fast.
const QUEUE: usize = 64;

/// How often the thread looks whether it is in the foreground, and whether the terminal still is as wanted: a shell
/// that continues a job may have changed it.
const GLANCE: Duration = Duration::from_millis(250);

/// How soon a line is tried again when the queue was full.
const RETRY: Duration = Duration::from_millis(20);

/// How long the end may take; only a read of a pipe that somebody else emptied takes longer.
const END_WITHIN: Duration = Duration::from_millis(500);

/// Reads lines until it is dropped; then the terminal is as it was before.
#[derive(Debug)]
pub(super) struct Typed {
    /// Closed to end the thread.
    wake: Option<PipeWriter>,
    /// Closed by the thread when it has ended.
    ended: sync::Receiver<()>,
}

impl Typed {
    /// Begins to read stdin. The lines are trimmed, not empty, of 4,000 bytes at most (the rest is cut off); they end
    /// where the input does. None where stdin is not what is wanted, or the system gives no thread.
    /// `commands` are the words that Tab completes.
    pub(super) fn start(
        wanted: Lines,
        commands: Vec<String>,
        reporter: &Reporter,
    ) -> Option<(Typed, mpsc::Receiver<String>)> {
        let is_terminal = std::io::IsTerminal::is_terminal(&std::io::stdin());
        match wanted {
            Lines::Always => {}
            // Output for a script may go into a pager, which reads the same keys.
            Lines::OfTerminal if is_terminal && !reporter.is_json() => {}
            Lines::OfTerminal | Lines::Never => return None,
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
        Some((Typed { wake: Some(wake), ended }, received))
    }
}

impl Drop for Typed {
    fn drop(&mut self) {
        self.wake = None;
        let _ = self.ended.recv_timeout(END_WITHIN);
    }
}

/// What the thread has.
struct Reader {
    lines: mpsc::Sender<String>,
    /// Lines that found the queue full.
    waiting: VecDeque<String>,
    woken: PipeReader,
    is_terminal: bool,
    reporter: Reporter,
}

/// What there is to do.
enum Turn {
    /// There is input.
    Read,
    /// There is none.
    Idle,
    /// It is over.
    End,
}

impl Reader {
    /// Lines as the terminal, the pipe or the file gives them.
    fn read(mut self) {
        let (mut line, mut buffer) = (Vec::new(), [0; 4_096]);
        loop {
            match self.turn(!self.is_terminal || is_in_foreground()) {
                Turn::End => return,
                Turn::Idle => continue,
                Turn::Read => {}
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
                    // What is longer is cut: a file without an end of line must not fill the memory.
                    _ if line.len() >= MAX_BYTES => {}
                    byte => line.push(*byte),
                }
            }
        }
        self.line(&line);
        while !self.waiting.is_empty() && !matches!(self.turn(false), Turn::End) {}
    }

    /// Lines as keys make them, on a terminal that shows none of them by itself.
    fn edit(mut self, commands: Vec<String>) {
        let (mut editor, mut buffer) = (Editor::completing(commands), [0; 256]);
        let mut terminal = Terminal::default();
        loop {
            let ours = is_in_foreground();
            if ours {
                terminal.keep();
            }
            self.reporter.typing(ours.then(|| (editor.line(), editor.cursor())));
            match self.turn(ours) {
                Turn::End => break,
                Turn::Idle => {
                    editor.pause();
                    continue;
                }
                Turn::Read if !is_in_foreground() => continue,
                Turn::Read => {}
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
        while !self.waiting.is_empty() && !matches!(self.turn(false), Turn::End) {}
    }

    /// Waits for input if it is wanted, for the end, or for a [`GLANCE`].
    fn turn(&mut self, wants_input: bool) -> Turn {
        while let Some(line) = self.waiting.pop_front() {
            match self.lines.try_send(line) {
                Ok(()) => {}
                Err(mpsc::error::TrySendError::Closed(_)) => return Turn::End,
                Err(mpsc::error::TrySendError::Full(line)) => {
                    self.waiting.push_front(line);
                    break;
                }
            }
        }
        let is_full = !self.waiting.is_empty();
        let patience = if is_full { RETRY } else { GLANCE };
        let patience = Timespec { tv_sec: 0, tv_nsec: patience.subsec_nanos().into() };
        let stdin = std::io::stdin();
        let mut both = [PollFd::new(&self.woken, PollFlags::IN), PollFd::new(&stdin, PollFlags::IN)];
        let asked = if wants_input && !is_full { &mut both[..] } else { &mut both[..1] };
        match poll(asked, Some(&patience)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(_) => return Turn::End,
        }
        if !both[0].revents().is_empty() || self.lines.is_closed() {
            return Turn::End;
        }
        let input = both[1].revents();
        if self.is_terminal && input.intersects(PollFlags::HUP | PollFlags::ERR | PollFlags::NVAL) {
            // The terminal was closed; of a pipe, that may come before its last line.
            return Turn::End;
        }
        if input.is_empty() { Turn::Idle } else { Turn::Read }
    }

    fn line(&mut self, bytes: &[u8]) {
        let text = String::from_utf8_lossy(bytes);
        let text = text[..text.floor_char_boundary(MAX_BYTES)].trim();
        if !text.is_empty() {
            self.waiting.push_back(text.to_owned());
        }
    }
}

/// Whether the terminal may be read and changed without being stopped for it. One that is not the terminal of this
/// session knows no foreground, and lets everybody.
fn is_in_foreground() -> bool {
    match tcgetpgrp(std::io::stdin()) {
        Ok(group) => group == rustix::process::getpgrp(),
        Err(error) => error == Errno::NOTTY,
    }
}

/// The terminal's settings from before; they are put back when this is dropped.
#[derive(Default)]
struct Terminal(Option<Termios>);

impl Terminal {
    /// Lines and echo are off from now on; Ctrl-C, Ctrl-Z and the rest go on to work. Call it in the foreground only.
    fn keep(&mut self) {
        let Ok(mut settings) = tcgetattr(std::io::stdin()) else { return };
        let ours = LocalModes::ICANON | LocalModes::ECHO;
        if !settings.local_modes.intersects(ours) {
            return;
        }
        self.0.get_or_insert_with(|| settings.clone());
        settings.local_modes.remove(ours);
        // A read takes what is there and never waits: that is poll's.
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

/// Where it fails, the terminal is gone, and nobody sees what it shows.
fn set(settings: &Termios) {
    let _ = tcsetattr(std::io::stdin().as_fd(), OptionalActions::Now, settings);
}
