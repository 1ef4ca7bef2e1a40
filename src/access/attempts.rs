//! Wrong join codes and teaching keys, slowed down by network and for all together.
//!
//! An attacker tries codes until one is right, so attempts are limited. A network over its limit is refused whether its
//! next code is right or wrong: otherwise the answer would still tell. Six digits are a million
//! codes: at one guess in six seconds, one network finds a code in two hours with a probability of 0.12 %.
//!
//! A class behind one NAT is one network, and of 500 students some mistype, so the burst is large. Wrong codes of
//! others never refuse a network, but if many networks guess at the same time, each may do so less often.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::Denied;
use crate::network::Network;
use crate::protocol::ErrorCode;

/// Wrong attempts of one network in a burst: 500 students that mistype once in twenty.
const BURST: f64 = 30.0;

/// The time after which one wrong attempt of a network is forgotten.
const FORGET_AFTER: Duration = Duration::from_secs(6);

/// Wrong attempts of all networks together before each has [`BURST_UNDER_ATTACK`] only. They are forgotten at one a
/// second.
const BURST_OF_ALL: f64 = 120.0;

/// Wrong attempts of one network in a burst while many networks guess.
const BURST_UNDER_ATTACK: f64 = 5.0;

/// The most networks to remember. Beyond that, those with the fewest wrong attempts are forgotten.
const MAX_NETWORKS: usize = 8_192;

/// Wrong attempts that are forgotten one by one.
#[derive(Debug, Clone, Copy)]
struct Wrong {
    count: f64,
    counted: Instant,
}

impl Wrong {
    fn at(self, now: Instant, forget_after: Duration) -> f64 {
        let forgotten = now.saturating_duration_since(self.counted).as_secs_f64() / forget_after.as_secs_f64();
        (self.count - forgotten).max(0.0)
    }
}

/// Counts wrong attempts of one kind: join codes, or teaching keys.
#[derive(Debug, Default)]
pub struct Attempts {
    each: HashMap<Network, Wrong>,
    all: Option<Wrong>,
}

impl Attempts {
    /// Whether the network may try a code or a key now; otherwise the time until it may.
    pub fn check(&self, now: Instant, network: Network) -> Result<(), Duration> {
        let wrong = self.each.get(&network).map_or(0.0, |wrong| wrong.at(now, FORGET_AFTER));
        let of_all = self.all.map_or(0.0, |wrong| wrong.at(now, Duration::from_secs(1)));
        let most = if of_all < BURST_OF_ALL { BURST } else { BURST_UNDER_ATTACK };
        let over = wrong + 1.0 - most;
        if over <= 0.0 { Ok(()) } else { Err(FORGET_AFTER.mul_f64(over)) }
    }

    /// Counts a wrong attempt.
    pub fn wrong(&mut self, now: Instant, network: Network) {
        if self.each.len() >= MAX_NETWORKS && !self.each.contains_key(&network) {
            self.forget_some(now);
        }
        let count = self.each.get(&network).map_or(0.0, |wrong| wrong.at(now, FORGET_AFTER));
        self.each.insert(network, Wrong { count: count + 1.0, counted: now });
        let count = self.all.map_or(0.0, |wrong| wrong.at(now, Duration::from_secs(1)));
        self.all = Some(Wrong { count: (count + 1.0).min(BURST_OF_ALL), counted: now });
    }

    /// Refuses a network over its limit; otherwise lets `decide` decide, and counts a denial that may be a guess.
    /// Call this only for a client that shows a code or a key: a network over its limit still has guests.
    ///
    /// # Errors
    /// [`ErrorCode::TooManyAttempts`], or the denial of `decide`.
    pub fn guard<T>(
        &mut self,
        now: Instant,
        network: Network,
        decide: impl FnOnce() -> Result<T, Denied>,
    ) -> Result<T, Denied> {
        if let Err(wait) = self.check(now, network) {
            let seconds = wait.as_secs_f64().ceil();
            let message = format!("too many wrong codes or keys from your network: try again in {seconds} s");
            return Err(Denied { retry_after: Some(wait), ..Denied::new(ErrorCode::TooManyAttempts, message) });
        }
        let decided = decide();
        if decided.as_ref().is_err_and(|denied| denied.guessed) {
            self.wrong(now, network);
        }
        decided
    }

    /// Forgets the networks without wrong attempts; if there are none, the half with the fewest.
    fn forget_some(&mut self, now: Instant) {
        self.each.retain(|_, wrong| wrong.at(now, FORGET_AFTER) > 0.0);
        if self.each.len() >= MAX_NETWORKS {
            let mut networks: Vec<(Network, f64)> =
                self.each.iter().map(|(network, wrong)| (*network, wrong.at(now, FORGET_AFTER))).collect();
            networks.sort_unstable_by(|(_, one), (_, other)| one.total_cmp(other));
            for (network, _) in networks.drain(..MAX_NETWORKS / 2) {
                self.each.remove(&network);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn network(n: u32) -> Network {
        Network::of(Ipv4Addr::from_bits(n).into())
    }

    /// How many wrong attempts pass at one instant.
    fn pass(attempts: &mut Attempts, now: Instant, from: Network, tries: usize) -> usize {
        let mut passed = 0;
        for _ in 0..tries {
            if attempts.check(now, from).is_ok() {
                attempts.wrong(now, from);
                passed += 1;
            }
        }
        passed
    }

    #[test]
    fn a_network_has_a_burst_and_then_one_attempt_in_six_seconds() {
        let (mut attempts, start) = (Attempts::default(), Instant::now());
        assert_eq!(pass(&mut attempts, start, network(1), 1_000), 30);
        assert_eq!(attempts.check(start, network(1)), Err(FORGET_AFTER));
        assert_eq!(attempts.check(start, network(2)), Ok(()), "another network is not over");
        let in_an_hour: usize = (1..=36_000)
            .map(|tenth| pass(&mut attempts, start + Duration::from_millis(100 * tenth), network(1), 10))
            .sum();
        assert!((590..=601).contains(&in_an_hour), "{in_an_hour}");
        let next_day = start + Duration::from_secs(86_400);
        assert_eq!(pass(&mut attempts, next_day, network(1), 1_000), 30, "more than a burst is not saved up");
    }

    #[test]
    fn guesses_from_many_networks_shorten_the_burst_and_refuse_nobody_else() {
        let (mut attempts, now) = (Attempts::default(), Instant::now());
        assert_eq!(pass(&mut attempts, now, network(1), 4), 4, "a class mistypes four times");
        let by_network: Vec<usize> = (2..1_000).map(|n| pass(&mut attempts, now, network(n), 100)).collect();
        assert_eq!((by_network[0], by_network[3], by_network[900]), (30, 26, 5));
        assert_eq!(attempts.check(now, network(1)), Ok(()), "the class may go on");
        assert_eq!(attempts.check(now, network(77_777)), Ok(()), "and so may a newcomer");
    }

    #[test]
    fn the_table_of_networks_is_bounded_and_keeps_the_worst() {
        let (mut attempts, now) = (Attempts::default(), Instant::now());
        pass(&mut attempts, now, network(1), 100);
        for n in 2..4 * MAX_NETWORKS as u32 {
            attempts.wrong(now, network(n));
            assert!(attempts.each.len() <= MAX_NETWORKS);
        }
        assert!(attempts.check(now, network(1)).is_err());
    }

    #[test]
    fn only_guesses_count() {
        let (mut attempts, now) = (Attempts::default(), Instant::now());
        let denied = |guessed| Denied { guessed, ..Denied::new(ErrorCode::WrongCode, "wrong") };
        let mut decide = |result: Result<(), Denied>| attempts.guard(now, network(1), || result);
        for _ in 0..100 {
            decide(Ok(())).unwrap();
            assert_eq!(decide(Err(denied(false))).unwrap_err().code, ErrorCode::WrongCode);
        }
        for _ in 0..30 {
            assert_eq!(decide(Err(denied(true))).unwrap_err().code, ErrorCode::WrongCode);
        }
        let over = decide(Ok(())).unwrap_err();
        assert_eq!((over.code, over.retry_after), (ErrorCode::TooManyAttempts, Some(FORGET_AFTER)));
        assert!(over.message.contains("in 6 s"), "{}", over.message);
    }
}
