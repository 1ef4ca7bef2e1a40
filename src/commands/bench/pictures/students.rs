//! The other process: students that really decode, do what they are told on stdin, and end with it.

use std::sync::Arc;

use anyhow::Context;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::sync::mpsc;

use super::watcher::{self, Order};
use super::wire::{FromWatchers, ToWatchers};
use crate::commands::allow_many_files;
use crate::exit::Failure;
use crate::media::now_ms;

/// What students say and nobody has written yet; who says more waits.
const SAYING: usize = 64;

/// Orders that a student may not have read: an answer, begin and end.
const ORDERS: usize = 4;

/// Runs the students until stdin ends, as it does when the teacher's process ends, however that happens.
pub(in crate::commands) async fn run() -> Result<(), Failure> {
    watch().await.map_err(Failure::internal)
}

async fn watch() -> anyhow::Result<()> {
    allow_many_files();
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    let Some(first) = lines.next_line().await? else { return Ok(()) };
    let ToWatchers::Join(join) = heard(&first)? else {
        anyhow::bail!("the first line must be a join; this verb is for `classroom bench`, run that");
    };
    let (say, mut said) = mpsc::channel::<FromWatchers>(SAYING);
    tokio::spawn(async move {
        let mut out = tokio::io::stdout();
        while let Some(message) = said.recv().await {
            let Ok(mut line) = serde_json::to_string(&message) else { continue };
            line.push('\n');
            // When nobody listens any more, stdin ends too.
            if out.write_all(line.as_bytes()).await.is_err() || out.flush().await.is_err() {
                return;
            }
        }
    });
    let join = Arc::new(join);
    let mut students = Vec::with_capacity(join.students);
    for student in 0..join.students {
        let (orders, queue) = mpsc::channel(ORDERS);
        tokio::spawn(watcher::run(student, Arc::clone(&join), queue, say.clone()));
        students.push(orders);
    }
    while let Some(line) = lines.next_line().await? {
        let order = match heard(&line)? {
            ToWatchers::Answer { student, sdp } => {
                if let Some(orders) = students.get(student) {
                    // Who is gone has said so.
                    let _ = orders.send(Order::Answer(sdp)).await;
                }
                continue;
            }
            ToWatchers::Begin => {
                say.send(FromWatchers::Began { at_ms: now_ms()? }).await?;
                Order::Begin
            }
            ToWatchers::End => Order::End,
            ToWatchers::Join(_) => anyhow::bail!("students can't join twice: start another bench"),
        };
        for orders in &students {
            let _ = orders.send(order.clone()).await;
        }
    }
    Ok(())
}

fn heard(line: &str) -> anyhow::Result<ToWatchers> {
    serde_json::from_str(line).with_context(|| format!("{line:?} is nothing that a teacher says"))
}
