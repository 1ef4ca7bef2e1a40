//! How many STUN messages of a student are read: each costs an HMAC or two, a turn of the core and two datagrams.
//!
//! A browser sends some ten checks a second for each pair of candidates while it connects, and one in a few seconds
//! afterwards. More are dropped silently: a student that needs them sends them again.

use std::time::Instant;

use rtc::stun::integrity::MessageIntegrity;
use rtc::stun::message::Message;

use super::Shared;
use crate::token_bucket::TokenBucket;

/// STUN messages a second of one student and kind, and how many may come at once: a student and an SFU with six
/// addresses each try 36 pairs.
const PER_SECOND: u32 = 100;
const BURST: u32 = 300;

/// What is left to one student, of each kind by itself: a stranger who has overheard a student's user name fragment
/// must not use up what the student itself needs for its consent (RFC 7675).
#[derive(Debug)]
pub(super) struct Checks {
    known: TokenBucket,
    unknown: TokenBucket,
    answers: TokenBucket,
}

/// What a STUN message is, and where it comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Check {
    /// A request from an address that the student holds.
    Known,
    /// A request from another address.
    Unknown,
    /// An answer to a check of ours, or what looks like one.
    Answer,
}

impl Default for Checks {
    fn default() -> Self {
        let full = || TokenBucket::new(PER_SECOND, BURST);
        Self { known: full(), unknown: full(), answers: full() }
    }
}

impl Checks {
    /// Whether one more of this kind is read.
    pub(super) fn take(&mut self, now: Instant, check: Check) -> bool {
        let bucket = match check {
            Check::Known => &mut self.known,
            Check::Unknown => &mut self.unknown,
            Check::Answer => &mut self.answers,
        };
        bucket.take(now).is_ok()
    }
}

/// Whether a STUN request was made by somebody who knows the password that only the answer told (RFC 8445, 7.3).
pub(super) fn is_authentic(bytes: &[u8], password: &str, shared: &Shared) -> bool {
    let mut message = Message::new();
    message.unmarshal_binary(bytes).is_ok()
        && MessageIntegrity::check(&mut message, password.as_bytes(), shared.crypto.crypto()).is_ok()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_flood_is_cut_and_takes_nothing_from_the_other_kinds() {
        let (mut checks, start) = (Checks::default(), Instant::now());
        let flood = |checks: &mut Checks, check| {
            (0..50_000u32).filter(|n| checks.take(start + Duration::from_micros(20) * *n, check)).count()
        };
        let most = (BURST + PER_SECOND) as usize;
        assert!((most - 1..=most).contains(&flood(&mut checks, Check::Unknown)), "a second of 50,000");
        assert!((most - 1..=most).contains(&flood(&mut checks, Check::Known)), "these are others");
        let connecting = (0..100).all(|n| checks.take(start + Duration::from_millis(10) * n, Check::Answer));
        assert!(connecting, "one that connects by ten pairs");
    }
}
