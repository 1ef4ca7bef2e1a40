//! The students' process, from the point of view of the bench.

use std::process::Stdio;

use anyhow::Context;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use super::wire::{FromStudents, ToStudents};

/// The hidden verb that runs this process.
const VERB: &str = "bench-students";

/// The process. Dropping it kills it.
#[derive(Debug)]
pub(super) struct StudentProcess {
    child: Child,
    stdin: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
}

impl StudentProcess {
    /// Starts this program again and lets the students join.
    pub(super) async fn start(join: &ToStudents) -> anyhow::Result<Self> {
        let program = std::env::current_exe().context("can't find the program itself, to start students")?;
        let mut child = Command::new(program)
            .arg(VERB)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // Ctrl-C is for the bench; the students end when their stdin closes.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .context("can't start the process of the students")?;
        let (stdin, stdout) = child.stdin.take().zip(child.stdout.take()).context("no pipes to the students")?;
        let mut process = Self { child, stdin, lines: BufReader::new(stdout).lines() };
        process.say(join).await?;
        Ok(process)
    }

    /// Sends a message.
    pub(super) async fn say(&mut self, message: &ToStudents) -> anyhow::Result<()> {
        let mut line = serde_json::to_string(message)?;
        line.push('\n');
        self.stdin.write_all(line.as_bytes()).await.context("can't write to the process of the students")
    }

    /// The next message. Cancellation loses nothing.
    pub(super) async fn next(&mut self) -> anyhow::Result<FromStudents> {
        let line = self.lines.next_line().await?;
        let line = line.context("the process of the students ended: see what it said above")?;
        serde_json::from_str(&line).with_context(|| format!("the students said {line:?}"))
    }

    /// Kills the process: closing the connections of hundreds of students would take a while and has no use.
    pub(super) async fn end(mut self) {
        // Fails only if the process has already ended.
        let _ = self.child.kill().await;
    }
}
