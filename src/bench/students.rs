//! The students' process: follows the orders of the bench's process on stdin, and answers on stdout.

use std::sync::Arc;

use anyhow::{Context, bail};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;

use super::codes::now_ms;
use super::crowd::Crowd;
use super::video::watcher::{self, Order};
use super::wire::{FromStudents, JoinCrowd, JoinViewers, ToStudents};
use crate::process::allow_many_files;

/// The maximum number of unwritten messages; a student with more to report waits.
const MESSAGES: usize = 64;

/// The maximum number of orders that a viewer may not have read: an answer, begin and end.
const ORDERS: usize = 4;

/// Runs the students for [`run`](super::run), in the process that it starts for them. Ends when stdin closes, that is,
/// when the bench's process ends.
///
/// # Errors
/// If a line cannot be parsed or the students cannot be set up.
pub async fn students() -> anyhow::Result<()> {
    allow_many_files();
    let (orders_in, mut orders) = mpsc::channel(1);
    let read = tokio::spawn(read(orders_in));
    let (say, said) = mpsc::channel(MESSAGES);
    tokio::spawn(write(said));
    match orders.recv().await {
        Some(ToStudents::JoinCrowd(join)) => crowd(join, orders, say).await?,
        Some(ToStudents::JoinViewers(join)) => viewers(join, orders, say).await?,
        Some(_) => bail!("the first line must be a join; this verb is for `classroom bench`, run that"),
        None => {}
    }
    read.await?
}

/// Reads orders until stdin closes or the receiver is dropped.
async fn read(orders: mpsc::Sender<ToStudents>) -> anyhow::Result<()> {
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Some(line) = lines.next_line().await.context("can't read from the process of the bench")? {
        let order = serde_json::from_str(&line).with_context(|| format!("{line:?} is not a message of a bench"))?;
        if orders.send(order).await.is_err() {
            break;
        }
    }
    Ok(())
}

/// Writes messages until there are no more.
async fn write(mut messages: mpsc::Receiver<FromStudents>) {
    let mut out = tokio::io::stdout();
    while let Some(message) = messages.recv().await {
        let Ok(mut line) = serde_json::to_string(&message) else { continue };
        line.push('\n');
        // If stdout has no reader any more, stdin closes too.
        if out.write_all(line.as_bytes()).await.is_err() || out.flush().await.is_err() {
            return;
        }
    }
}

/// Runs a crowd until there are no more orders.
async fn crowd(
    join: JoinCrowd,
    mut orders: mpsc::Receiver<ToStudents>,
    say: mpsc::Sender<FromStudents>,
) -> anyhow::Result<()> {
    let (crowd, events) = Crowd::start(join.students, join.threads, join.clock)?;
    let crowd = Arc::new(crowd);
    let say_events = say.clone();
    spawn_blocking(move || {
        // Ends with the crowd, or when the receiver is dropped.
        for event in events {
            if say_events.blocking_send(event.into()).is_err() {
                return;
            }
        }
    });
    while let Some(order) = orders.recv().await {
        match order {
            ToStudents::Answer { student, sdp } => crowd.answer(student, sdp),
            ToStudents::Tally => {
                let crowd = Arc::clone(&crowd);
                let tally = spawn_blocking(move || crowd.tally()).await?;
                say.send(FromStudents::Tally(tally)).await?;
            }
            other => bail!("a crowd can't do this: {other:?}"),
        }
    }
    spawn_blocking(move || crowd.leave()).await?;
    Ok(())
}

/// Runs viewers until there are no more orders.
async fn viewers(
    join: JoinViewers,
    mut orders: mpsc::Receiver<ToStudents>,
    say: mpsc::Sender<FromStudents>,
) -> anyhow::Result<()> {
    let join = Arc::new(join);
    let mut viewers = Vec::with_capacity(join.students);
    for student in 0..join.students {
        let (orders, queue) = mpsc::channel(ORDERS);
        tokio::spawn(watcher::run(student, Arc::clone(&join), queue, say.clone()));
        viewers.push(orders);
    }
    while let Some(order) = orders.recv().await {
        let order = match order {
            ToStudents::Answer { student, sdp } => {
                if let Some(orders) = viewers.get(student) {
                    // A viewer that has ended has reported that.
                    let _ = orders.send(Order::Answer(sdp)).await;
                }
                continue;
            }
            ToStudents::Begin => {
                say.send(FromStudents::Began { at_ms: now_ms() }).await?;
                Order::Begin
            }
            ToStudents::End => Order::End,
            other => bail!("viewers can't do this: {other:?}"),
        };
        for orders in &viewers {
            let _ = orders.send(order.clone()).await;
        }
    }
    Ok(())
}
