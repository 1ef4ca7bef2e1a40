//! How long a client waits before it tries to reach its server again.

use std::time::Duration;

use tokio::time::Instant;

/// The first pause, of every backoff.
const FIRST: Duration = Duration::from_millis(100);

/// Pauses between attempts. They double up to a longest one, and each is drawn from half of that to the whole: thirty
/// machines that were switched on together do not come in step.
///
/// A pause counts from the beginning of the attempt, so that an attempt that nobody answered is followed by the next
/// one at once.
#[derive(Debug)]
pub struct Backoff {
    next: Duration,
    longest: Duration,
}

impl Backoff {
    /// Pauses of `longest` at most.
    pub fn up_to(longest: Duration) -> Self {
        Self { next: FIRST.min(longest), longest }
    }

    /// What is left of the next pause, after an attempt that began at `begun`.
    pub fn after(&mut self, begun: Instant) -> Duration {
        let pause = self.next.mul_f64(rand::random_range(0.5..=1.0));
        self.next = (self.next * 2).min(self.longest);
        pause.saturating_sub(begun.elapsed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONGEST: Duration = Duration::from_secs(2);

    #[tokio::test(start_paused = true)]
    async fn pauses_grow_to_the_longest_and_are_never_in_step() {
        let mut backoff = Backoff::up_to(LONGEST);
        let pauses: Vec<Duration> = (0..50).map(|_| backoff.after(Instant::now())).collect();
        assert!(pauses[0] <= FIRST, "{pauses:?}");
        let late = &pauses[10..];
        assert!(late.iter().all(|pause| (LONGEST / 2..=LONGEST).contains(pause)), "{late:?}");
        assert!(late.windows(2).any(|two| two[0].abs_diff(two[1]) > LONGEST / 20), "{late:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn an_attempt_that_took_long_is_followed_by_the_next_one_at_once() {
        let mut backoff = Backoff::up_to(LONGEST);
        for _ in 0..10 {
            let begun = Instant::now();
            tokio::time::advance(LONGEST).await;
            assert_eq!(backoff.after(begun), Duration::ZERO);
        }
    }
}
