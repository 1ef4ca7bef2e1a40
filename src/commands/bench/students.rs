//! The other process: a crowd of students that does what it is told on stdin, and ends with it.

use std::io::{self, BufRead, Write};
use std::sync::Mutex;

use anyhow::Context;

use super::super::allow_many_files;
use super::wire::{FromStudents, ToStudents};
use crate::bench::crowd::Crowd;

/// Runs the students until stdin ends, as it does when the teacher's process ends, however that happens.
pub(super) fn run() -> anyhow::Result<()> {
    allow_many_files();
    let mut lines = io::stdin().lock().lines().map(|line| {
        let line = line.context("can't read from the teacher's process")?;
        serde_json::from_str(&line).with_context(|| format!("{line:?} is nothing that a teacher says"))
    });
    let Some(first) = lines.next() else { return Ok(()) };
    let ToStudents::Join { students, threads, clock } = first? else {
        anyhow::bail!("the first line must be a join; this verb is for `classroom bench`, run that");
    };
    let (crowd, events) = Crowd::start(students, threads, clock)?;
    // Two speak: this thread, and the one that passes on what happens.
    let out = Mutex::new(io::stdout());
    let say = |message: &FromStudents| {
        let line = serde_json::to_string(message).unwrap_or_default();
        // When nobody listens any more, stdin ends too.
        if let Ok(mut out) = out.lock() {
            let _ = writeln!(out, "{line}").and_then(|()| out.flush());
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(|| events.into_iter().for_each(|event| say(&event.into())));
        for message in lines {
            match message? {
                ToStudents::Answer { student, sdp } => crowd.answer(student, sdp),
                ToStudents::Tally => say(&FromStudents::Tally(crowd.tally())),
                ToStudents::Join { .. } => anyhow::bail!("students can't join twice: start another bench"),
            }
        }
        crowd.leave();
        Ok(())
    })
}
