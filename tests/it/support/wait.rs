//! Waiting for what gives no notice: another process, a file, a display, a counter of a thread.

use std::time::{Duration, Instant};

/// How long anything may take that has no limit of its own: a debug build on two busy cores.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// The pause between two looks.
const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// Looks again and again until `look` finds something; `None` when nothing was found within the time.
pub fn poll<T>(within: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + within;
    loop {
        if let Some(found) = look() {
            return Some(found);
        }
        if Instant::now() >= deadline {
            return None;
        }
        std::thread::sleep(POLL_INTERVAL);
    }
}

/// Waits for a condition inside of a tokio test; panics when the condition is not met within [`DEADLINE`].
#[track_caller]
pub fn until(what: &str, mut condition: impl FnMut() -> bool) -> impl Future<Output = ()> {
    let caller = std::panic::Location::caller();
    async move {
        let deadline = Instant::now() + DEADLINE;
        while !condition() {
            assert!(Instant::now() < deadline, "{caller}: not within {DEADLINE:?}: {what}");
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }
}
