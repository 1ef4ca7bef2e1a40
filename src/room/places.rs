//! Whose place a newcomer gets in a full room, or a publisher on a server that carries the media of as many rooms as it
//! can.
//!
//! A place is safe once media runs. Without that, somebody who opens many connections would keep a class out. First
//! loses the network with the most holders without media, if it has more of them than the newcomer's network would
//! have. Within one network the server can't tell an attacker from a class behind the same NAT, so time decides: while
//! somebody teaches, a student has media within seconds.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::Newcomer;
use super::host::MediaPlace;
use super::member::{Media, Member};
use super::members::Room;
use crate::id::{RoomId, UserId};
use crate::network::Network;

/// The place for a newcomer.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Place<T> {
    /// The place of this holder.
    Of(T),
    /// Perhaps one after this time.
    After(Duration),
    /// None.
    Nowhere,
}

/// A holder of a place, without media.
struct Missing<T> {
    network: Network,
    /// Guests lose their places before clients with a token.
    reserved: bool,
    since: Instant,
    holder: T,
}

/// Finds a place in a full room. `is_taught` says whether a publisher is present, which could connect media.
/// `media_within`: after this time without media, a member loses its place to any newcomer.
pub(super) fn place_for<'a>(
    now: Instant,
    newcomer: &Newcomer,
    members: impl Iterator<Item = (&'a UserId, &'a Member)>,
    is_taught: bool,
    media_within: Duration,
) -> Place<&'a UserId> {
    let missing = members.filter_map(|(holder, member)| match member.media {
        Media::Missing { since } if member.has_place() && (newcomer.reserved || !member.newcomer.reserved) => {
            let (network, reserved) = (member.newcomer.network, member.newcomer.reserved);
            Some(Missing { network, reserved, since, holder })
        }
        _ => None,
    });
    let Some(Longest { missing, of_biggest, of_own }) = longest(newcomer.network, missing) else {
        return Place::Nowhere;
    };
    let is_over = missing.since + media_within;
    if newcomer.reserved || of_biggest > of_own + 1 || is_taught && is_over <= now {
        Place::Of(missing.holder)
    } else if is_taught {
        Place::After(is_over - now)
    } else {
        Place::Nowhere
    }
}

/// Finds a place for the media of one more lecture or of more conferences, for somebody in the network `own`. After
/// `media_within` without media, a holder loses its place to any other.
pub(super) fn media_place_for<'a>(
    now: Instant,
    own: Network,
    rooms: impl Iterator<Item = (&'a RoomId, &'a Room)>,
    media_within: Duration,
) -> Place<(&'a RoomId, MediaPlace)> {
    let places = rooms.flat_map(|(id, room)| room.places_without_media().map(move |place| (id, place)));
    let missing = places.filter_map(|(id, (place, network, since))| {
        (since <= now).then_some(Missing { network, reserved: false, since, holder: (id, place) })
    });
    let Some(Longest { missing, of_biggest, of_own }) = longest(own, missing) else { return Place::Nowhere };
    match (missing.since + media_within).checked_duration_since(now) {
        Some(wait) if !wait.is_zero() && of_biggest <= of_own + 1 => Place::After(wait),
        _ => Place::Of(missing.holder),
    }
}

/// Of the network with the most holders without media, the one that loses its place first.
struct Longest<T> {
    missing: Missing<T>,
    of_biggest: usize,
    of_own: usize,
}

fn longest<T: Ord + Copy>(own: Network, missing: impl Iterator<Item = Missing<T>>) -> Option<Longest<T>> {
    let mut networks: BTreeMap<Network, Vec<Missing<T>>> = BTreeMap::new();
    for missing in missing {
        networks.entry(missing.network).or_default().push(missing);
    }
    let of_own = networks.get(&own).map_or(0, Vec::len);
    let biggest = networks.into_values().max_by_key(Vec::len)?;
    let of_biggest = biggest.len();
    let missing = biggest.into_iter().min_by_key(|missing| (missing.reserved, missing.since, missing.holder))?;
    Some(Longest { missing, of_biggest, of_own })
}
