//! Sends the traces of joins to a collector, if the user has named one.

use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use crate::http::OtlpEndpoint;
use crate::report::Reporter;
use crate::trace::{Spans, Tracer, export_request};

/// The most spans of a request.
const BATCH: usize = 512;

/// The time in which spans gather for a request.
const GATHERED_FOR: Duration = Duration::from_secs(1);

/// The time for the last request.
const LAST_WITHIN: Duration = Duration::from_secs(2);

/// The exporter. Dropping it ends it at once.
pub(super) struct Traces {
    end: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

impl Traces {
    /// Starts the exporter. Without a collector the tracer is off.
    pub(super) fn start(collector: Option<OtlpEndpoint>, reporter: &Reporter) -> (Tracer, Option<Self>) {
        let Some(collector) = collector else { return (Tracer::default(), None) };
        let (tracer, spans) = Tracer::new();
        let (end, ended) = oneshot::channel();
        let task = tokio::spawn(export(collector, spans, reporter.clone(), ended));
        (tracer, Some(Self { end: Some(end), task }))
    }

    /// Sends what still waits.
    pub(super) async fn finish(mut self) {
        drop(self.end.take());
        let _ = timeout(LAST_WITHIN, &mut self.task).await;
    }
}

impl Drop for Traces {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Sends spans in batches. A batch that the collector does not take is lost, and said once until one succeeds.
async fn export(collector: OtlpEndpoint, mut spans: Spans, reporter: Reporter, mut ended: oneshot::Receiver<()>) {
    let instance = format!("{:016x}", rand::random::<u64>());
    let (mut lost, mut is_said, mut is_over) = (0, false, false);
    while !is_over {
        tokio::select! {
            _ = &mut ended => is_over = true,
            () = sleep(GATHERED_FOR) => {}
        }
        while let Some(batch) = spans.take(BATCH) {
            let sent = collector.send(export_request(&batch, &instance)).await;
            let dropped = spans.take_dropped();
            match sent {
                Ok(()) if dropped == 0 => is_said = false,
                Ok(()) => lost += dropped,
                Err(cause) => {
                    lost += dropped + batch.len() as u64;
                    if !std::mem::replace(&mut is_said, true) {
                        reporter.warn(format!("traces are lost, because {collector} does not take them: {cause}"));
                    }
                }
            }
        }
    }
    if lost > 0 {
        reporter.notice(format!("{lost} spans of traces were lost"));
    }
}
