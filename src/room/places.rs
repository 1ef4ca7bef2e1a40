//! Whose place a newcomer gets in a full room.
//!
//! A place is safe once media runs. Without that, somebody who opens many connections would keep a class out. First
//! loses the network with the most members without media, if it has more of them than the newcomer's network would
//! have. Within one network the server can't tell an attacker from a class behind the same NAT, so time decides: while
//! somebody teaches, a student has media within seconds.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::Newcomer;
use super::member::{Media, Member};
use crate::id::UserId;
use crate::network::Network;

/// The place for a newcomer in a full room.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Place<'a> {
    /// The place of this member.
    Of(&'a UserId),
    /// Perhaps one after this time.
    After(Duration),
    /// None.
    Nowhere,
}

/// Finds a place. `is_taught` says whether a publisher is present, which could connect media. `media_within`: after
/// this time without media, a member loses its place to any newcomer.
pub(super) fn place_for<'a>(
    now: Instant,
    newcomer: &Newcomer,
    members: impl Iterator<Item = (&'a UserId, &'a Member)>,
    is_taught: bool,
    media_within: Duration,
) -> Place<'a> {
    // Guests before clients with a token, and then the longest without media.
    let mut networks: BTreeMap<Network, Vec<(bool, Instant, &UserId)>> = BTreeMap::new();
    for (id, member) in members {
        if let Media::Missing { since } = member.media
            && member.has_place()
            && (newcomer.reserved || !member.newcomer.reserved)
        {
            networks.entry(member.newcomer.network).or_default().push((member.newcomer.reserved, since, id));
        }
    }
    let of_own = networks.get(&newcomer.network).map_or(0, Vec::len);
    let biggest = networks.into_values().max_by_key(Vec::len);
    let Some((missing, (_, since, longest))) = biggest.and_then(|all| Some((all.len(), *all.iter().min()?))) else {
        return Place::Nowhere;
    };
    let is_over = since + media_within;
    if newcomer.reserved || missing > of_own + 1 || is_taught && is_over <= now {
        Place::Of(longest)
    } else if is_taught {
        Place::After(is_over - now)
    } else {
        Place::Nowhere
    }
}
