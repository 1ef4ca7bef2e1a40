//! `classroom bench`: measures until it is done or asked to end, and prints what it found.

use std::num::NonZeroUsize;
use std::time::Duration;

use super::stop;
use crate::bench;
use crate::cli::{Bench, Bitrate, FanOutBench};
use crate::exit::Failure;
use crate::plan::Costs;
use crate::report::Reporter;

/// The students with whom costs are measured: a core carries them, and a join is a small part of the whole.
const MEASURED_STUDENTS: NonZeroUsize = NonZeroUsize::new(100).unwrap();

/// How long costs are measured.
const MEASURED_FOR: Duration = Duration::from_secs(10);

/// Measures, and prints the table or the object.
pub(super) async fn run(bench: Bench, reporter: &Reporter) -> Result<(), Failure> {
    tokio::select! {
        // First, so that a wish to end is heard before there are students.
        biased;
        _ = stop(None) => reporter.warn("interrupted, so nothing was measured"),
        found = bench::run(&bench, reporter) => {
            let found = found?;
            if reporter.is_json() {
                reporter.result_object(&found.object);
            } else {
                reporter.finish();
                reporter.result(&found.table);
            }
        }
    }
    Ok(())
}

/// Measures what a packet, a join and a student cost on this machine. The fan-out bench has no encoder, so the cost of
/// that stays the default.
pub(super) async fn costs(bitrate: Bitrate, fps: u32, reporter: &Reporter) -> Result<Costs, Failure> {
    let bench = Bench::FanOut(FanOutBench {
        students: MEASURED_STUDENTS,
        bitrate,
        fps,
        workers: NonZeroUsize::MIN,
        key_every: Duration::from_secs(100),
        length: MEASURED_FOR,
        published: false,
    });
    let found = tokio::select! {
        // First, so that a wish to end is heard before there are students.
        biased;
        _ = stop(None) => return Err(Failure::internal(anyhow::anyhow!("interrupted, so nothing was measured"))),
        found = bench::run(&bench, reporter) => found?.object,
    };
    let measured = |name: &str| {
        let value = found[name].as_f64().filter(|value| value.is_finite() && *value > 0.0);
        value.ok_or_else(|| Failure::internal(anyhow::anyhow!("the measurement has no {name}, try again")))
    };
    Ok(Costs {
        packet: Duration::from_secs_f64(measured("us_per_packet")? / 1e6),
        join: Duration::from_secs_f64(measured("join_cpu_ms")? / 1e3),
        memory: measured("kb_per_student")? * 1e3,
        ..Costs::default()
    })
}

/// Runs the students of a bench, in the process that it starts for them.
pub(super) async fn students() -> Result<(), Failure> {
    bench::students().await.map_err(Failure::internal)
}
