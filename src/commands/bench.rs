//! `classroom bench`: measures until it is done or asked to end, and prints what it found.

use super::stop;
use crate::bench;
use crate::cli::Bench;
use crate::exit::Failure;
use crate::report::Reporter;

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

/// Runs the students of a bench, in the process that it starts for them.
pub(super) async fn students() -> Result<(), Failure> {
    bench::students().await.map_err(Failure::internal)
}
