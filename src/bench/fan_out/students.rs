//! A crowd that does what the process of the bench says.

use std::sync::Arc;

use anyhow::bail;
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;

use crate::bench::crowd::Crowd;
use crate::bench::wire::{FromStudents, JoinCrowd, ToStudents};

/// Runs the crowd until there are no more orders.
pub(in crate::bench) async fn run(
    join: JoinCrowd,
    mut orders: mpsc::Receiver<ToStudents>,
    say: mpsc::Sender<FromStudents>,
) -> anyhow::Result<()> {
    let (crowd, events) = Crowd::start(join.students, join.threads, join.clock)?;
    let crowd = Arc::new(crowd);
    let happens = say.clone();
    spawn_blocking(move || {
        // Ends with the crowd, or when nobody listens.
        for event in events {
            if happens.blocking_send(event.into()).is_err() {
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
