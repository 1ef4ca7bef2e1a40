//! The budgets of each user: what it may request, and what is read of it. They outlive its connections, because a
//! student that offers again and again must not get fresh ones each time.
//!
//! A stranger may be another user each time. So a network has fresh budgets for a large class, and then for a few users
//! a second; those beyond begin with empty ones, which fill at the usual rate: they connect, somewhat later.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::amplification::CheckBudget;
use super::channel;
use super::unconnected::Origin;
use crate::congestion::RequestBudgets;
use crate::dtls::records;
use crate::id::UserId;
use crate::network::{NetworkTag, Rate, RateLimit};
use crate::token_bucket::SharedTokenBucket;

/// The rate and the burst of STUN messages of one user and kind: each message costs an HMAC or two, a turn of the core
/// and two datagrams. A browser sends some ten checks a second for each candidate pair while it connects, and six
/// addresses at both ends make 36 pairs; later it sends one every few seconds. Further messages are dropped, and the
/// peer retransmits them.
const STUN_PER_SECOND: u32 = 100;
const STUN_BURST: u32 = 300;

/// The budgets of a user without a peer are forgotten after this time: all but those of a user that has requested many
/// key frames are full then.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(60);

/// The most users that are remembered; beyond that, the one that left first is forgotten. Each takes a kilobyte.
const MOST: usize = 8_192;

/// The users of one network that begin with full budgets: a school, and then five a second.
const NEWCOMERS: Rate = Rate { per_second: 5, burst: 1_000, all_per_second: 1_000, all_burst: 20_000 };

/// The budgets of one user. Its peers share them.
#[derive(Debug, Clone)]
pub(super) struct UserBudgets {
    /// Key frames and retransmissions.
    pub(super) requests: RequestBudgets,
    /// ICE checks to addresses that have not proved themselves.
    pub(super) checks: CheckBudget,
    /// DTLS datagrams.
    pub(super) records: SharedTokenBucket,
    /// Messages of the data channel.
    pub(super) messages: SharedTokenBucket,
    pub(super) stun: StunBudget,
}

impl Default for UserBudgets {
    /// Full budgets.
    fn default() -> Self {
        Self {
            requests: RequestBudgets::default(),
            checks: CheckBudget::of_a_user(),
            records: records::pace(),
            messages: channel::pace(),
            stun: StunBudget::default(),
        }
    }
}

impl UserBudgets {
    fn empty(&self, now: Instant) {
        self.requests.empty(now);
        self.checks.empty(now);
        self.records.empty(now);
        self.messages.empty(now);
        self.stun.empty(now);
    }
}

/// Each kind of STUN message has its own budget: a stranger who has overheard a peer's user name fragment must not use
/// up what the peer itself needs for its consent (RFC 7675).
#[derive(Debug, Clone)]
pub(super) struct StunBudget {
    from_path: SharedTokenBucket,
    from_elsewhere: SharedTokenBucket,
    responses: SharedTokenBucket,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StunKind {
    /// A request from an address that the peer claims or owns.
    FromPath,
    /// A request from another address.
    FromElsewhere,
    /// A response to a check from the SFU, or a message that looks like one.
    Response,
}

impl Default for StunBudget {
    fn default() -> Self {
        let full = || SharedTokenBucket::new(STUN_PER_SECOND, STUN_BURST);
        Self { from_path: full(), from_elsewhere: full(), responses: full() }
    }
}

impl StunBudget {
    /// Whether one more message of this kind is accepted.
    pub(super) fn take(&self, now: Instant, kind: StunKind) -> bool {
        let bucket = match kind {
            StunKind::FromPath => &self.from_path,
            StunKind::FromElsewhere => &self.from_elsewhere,
            StunKind::Response => &self.responses,
        };
        bucket.take(now).is_ok()
    }

    fn empty(&self, now: Instant) {
        [&self.from_path, &self.from_elsewhere, &self.responses].into_iter().for_each(|bucket| bucket.empty(now));
    }
}

/// What a user's connection is for. A speaker has one of each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Role {
    Student,
    Publisher,
}

#[derive(Debug)]
struct Remembered {
    budgets: UserBudgets,
    /// When a peer was last known to use them.
    used: Instant,
    /// The peers that use them.
    peers: usize,
}

/// The budgets of all users.
#[derive(Debug)]
pub(super) struct BudgetTable {
    users: HashMap<(UserId, Role), Remembered>,
    newcomers: RateLimit<NetworkTag>,
    /// When forgotten users were last looked for.
    swept: Option<Instant>,
}

impl Default for BudgetTable {
    fn default() -> Self {
        Self { users: HashMap::new(), newcomers: RateLimit::new(NEWCOMERS), swept: None }
    }
}

impl BudgetTable {
    /// The budgets for a new peer of a user.
    pub(super) fn begin(&mut self, now: Instant, user: &UserId, role: Role, origin: &Origin) -> UserBudgets {
        self.sweep(now);
        let key = (user.clone(), role);
        if !self.users.contains_key(&key) {
            let budgets = UserBudgets::default();
            if let Origin::Network(network) = origin
                && self.newcomers.take(now, *network).is_err()
            {
                budgets.empty(now);
            }
            self.make_room();
            self.users.insert(key.clone(), Remembered { budgets, used: now, peers: 0 });
        }
        let Some(known) = self.users.get_mut(&key) else { return UserBudgets::default() };
        known.peers += 1;
        known.budgets.clone()
    }

    /// A peer of a user is gone.
    pub(super) fn end(&mut self, now: Instant, user: &UserId, role: Role) {
        if let Some(known) = self.users.get_mut(&(user.clone(), role)) {
            known.peers = known.peers.saturating_sub(1);
            known.used = now;
        }
    }

    /// Forgets the users that have been gone for long enough; once a second at most.
    fn sweep(&mut self, now: Instant) {
        let is_due = self.swept.is_none_or(|at| now.saturating_duration_since(at) >= Duration::from_secs(1));
        if is_due {
            self.swept = Some(now);
            let is_gone =
                |user: &Remembered| user.peers == 0 && now.saturating_duration_since(user.used) >= FORGOTTEN_AFTER;
            self.users.retain(|_, user| !is_gone(user));
        }
    }

    /// Forgets the user that left first, if there are too many. Those that have peers are bounded elsewhere.
    fn make_room(&mut self) {
        if self.users.len() < MOST {
            return;
        }
        let gone = self.users.iter().filter(|(_, user)| user.peers == 0);
        if let Some(first) = gone.min_by_key(|(_, user)| user.used).map(|(key, _)| key.clone()) {
            self.users.remove(&first);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(n: usize) -> UserId {
        n.to_string().parse().unwrap()
    }

    /// The checks that a new peer of a user may send at once.
    fn checks(table: &mut BudgetTable, now: Instant, n: usize, network: Option<u32>) -> usize {
        let origin = Origin::of(&user(n), network.map(NetworkTag));
        let budgets = table.begin(now, &user(n), Role::Student, &origin);
        let taken = (0..1_000).filter(|_| budgets.stun.take(now, StunKind::FromPath)).count();
        table.end(now, &user(n), Role::Student);
        taken
    }

    #[test]
    fn a_user_that_connects_again_has_what_is_left_until_its_budgets_are_full() {
        let (mut table, start) = (BudgetTable::default(), Instant::now());
        assert_eq!(checks(&mut table, start, 1, None), STUN_BURST as usize);
        assert_eq!(checks(&mut table, start, 1, None), 0);
        assert_eq!(checks(&mut table, start + Duration::from_secs(1), 1, None), STUN_PER_SECOND as usize);
        let origin = Origin::of(&user(1), None);
        let of_publisher = table.begin(start, &user(1), Role::Publisher, &origin);
        assert!(of_publisher.stun.take(start, StunKind::FromPath), "it publishes with another budget");
        let later = start + Duration::from_secs(1) + FORGOTTEN_AFTER;
        assert_eq!(checks(&mut table, later, 2, None), STUN_BURST as usize);
        assert_eq!(table.users.len(), 2, "the publisher, who is there, and the second user");
    }

    #[test]
    fn a_network_that_invents_users_gets_few_fresh_budgets() {
        let (mut table, start) = (BudgetTable::default(), Instant::now());
        let fresh = |table: &mut BudgetTable, users: std::ops::Range<usize>, now, network| {
            users.filter(|n| checks(table, now, *n, Some(network)) > 0).count()
        };
        assert_eq!(fresh(&mut table, 0..3_000, start, 1), NEWCOMERS.burst as usize);
        assert_eq!(fresh(&mut table, 3_000..4_000, start, 2), 1_000, "another network");
        let later = start + Duration::from_secs(10);
        assert_eq!(fresh(&mut table, 4_000..5_000, later, 1), 50);
        // Their budgets fill, so they connect.
        assert_eq!(checks(&mut table, later + Duration::from_secs(1), 4_900, Some(1)), STUN_PER_SECOND as usize);
        assert!(fresh(&mut table, 5_000..5_000 + 2 * MOST, later, 3) > 0);
        assert!(table.users.len() <= MOST);
    }

    #[test]
    fn a_flood_is_limited_and_does_not_use_the_budget_of_other_kinds() {
        let (budget, start) = (StunBudget::default(), Instant::now());
        let flood = |kind| (0..50_000u32).filter(|n| budget.take(start + Duration::from_micros(20) * *n, kind)).count();
        let most = (STUN_BURST + STUN_PER_SECOND) as usize;
        assert!((most - 1..=most).contains(&flood(StunKind::FromElsewhere)), "a second of 50,000");
        assert!((most - 1..=most).contains(&flood(StunKind::FromPath)), "these are others");
        let connecting = (0..100).all(|n| budget.take(start + Duration::from_millis(10) * n, StunKind::Response));
        assert!(connecting, "one that connects by ten pairs");
    }
}
