//! Viewers that do what the process of the bench says.

use std::sync::Arc;

use anyhow::bail;
use tokio::sync::mpsc;

use super::watcher::{self, Order};
use crate::bench::codes::now_ms;
use crate::bench::wire::{FromStudents, JoinViewers, ToStudents};

/// Orders that a viewer may not have read: an answer, begin and end.
const ORDERS: usize = 4;

/// Runs the viewers until there are no more orders.
pub(in crate::bench) async fn run(
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
                    // A viewer that has ended has said so.
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
