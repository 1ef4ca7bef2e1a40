//! Students that come and go in a loop.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use classroom::bench::emulator::PathConfig;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::attack::insider::Insider;
use crate::attack::{Target, network};

/// The longest stay.
const MAX_STAY: Duration = Duration::from_secs(2);

/// The pause after a refusal: the server may be dead.
const PAUSE: Duration = Duration::from_millis(200);

/// Networks from which students come.
const NETWORKS: usize = 8;

/// How often students came.
#[derive(Debug, Clone, Copy, Default)]
pub struct Counts {
    /// Students that were connected.
    pub joined: u64,
    /// Students that did not get a connection.
    pub failed: u64,
}

#[derive(Default)]
struct Shared {
    joined: AtomicU64,
    failed: AtomicU64,
    ends: AtomicBool,
}

/// A number of students at a time.
pub struct Students {
    shared: Arc<Shared>,
    tasks: JoinSet<()>,
}

impl Students {
    /// Starts this many loops.
    pub fn start(runtime: &Runtime, target: &Target, at_once: usize) -> Self {
        let (shared, mut tasks) = (Arc::<Shared>::default(), JoinSet::new());
        for n in 0..at_once {
            tasks.spawn_on(come_and_go(target.clone(), n, Arc::clone(&shared)), runtime.handle());
        }
        Self { shared, tasks }
    }

    /// How often students came so far.
    pub fn counts(&self) -> Counts {
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Counts { joined: of(&self.shared.joined), failed: of(&self.shared.failed) }
    }

    /// Lets all students leave.
    pub async fn end(mut self) {
        self.shared.ends.store(true, Ordering::Relaxed);
        while self.tasks.join_next().await.is_some() {}
    }
}

/// A line with loss, delay, jitter and reordering.
fn bad_line() -> PathConfig {
    let ms = Duration::from_millis;
    PathConfig { loss: 0.05, delay: ms(20), jitter: ms(10), reorder: 0.01, ..PathConfig::default() }
}

async fn come_and_go(target: Target, n: usize, shared: Arc<Shared>) {
    let mut round = 0u64;
    while !shared.ends.load(Ordering::Relaxed) {
        round += 1;
        let line = round.is_multiple_of(3).then(bad_line);
        match Insider::join_over(&target, network(n % NETWORKS), &format!("soak-{n}-{round}"), line).await {
            Ok(insider) => {
                shared.joined.fetch_add(1, Ordering::Relaxed);
                sleep(MAX_STAY.mul_f64(rand::random::<f64>().powi(2))).await;
                if round.is_multiple_of(6) { insider.vanish().await } else { insider.leave().await }
            }
            Err(_) => {
                shared.failed.fetch_add(1, Ordering::Relaxed);
                sleep(PAUSE).await;
            }
        }
    }
}
