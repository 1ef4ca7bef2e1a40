//! Space for one more room: which room gives way when there are too many.
//!
//! Rooms count for the network that opened or created them. The network with the most rooms loses first, and only to a
//! network that would still have fewer. So nobody takes the rooms of others by opening many.

use std::collections::BTreeMap;
use std::time::Duration;

use super::members::Room;
use super::retention::Eviction;
use super::rooms::{Opener, Rooms};
use super::{Output, RoomRefusal};
use crate::id::RoomId;
use crate::network::Network;
use crate::protocol::{ErrorCode, MAX_UNCLAIMED_ROOMS};

/// The share of all rooms that students may have opened before a teacher came.
const UNCLAIMED_SHARE: usize = 4;

/// When a client whose room had to give way may try again.
const RETRY_AFTER: Duration = Duration::from_secs(5);

impl Rooms {
    /// Makes sure that `room_id` can be opened. This may remove another room.
    ///
    /// # Errors
    /// If the room does not exist and no other room gives way.
    pub(super) fn make_room_for(
        &mut self,
        room_id: &RoomId,
        opener: &Opener,
        out: &mut Vec<Output>,
    ) -> Result<(), RoomRefusal> {
        if self.contains(room_id) {
            return Ok(());
        }
        if !opener.teaches {
            self.limit_unclaimed(opener, out)?;
        }
        if self.rooms.len() < self.limits.max_rooms {
            return Ok(());
        }
        let unused = self
            .oldest_over()
            .or_else(|| self.unclaimed_of_biggest(opener))
            .or_else(|| if opener.teaches { self.pending_of_biggest(opener.network) } else { None });
        match unused {
            Some(unused) => {
                self.remove(&unused, out);
                Ok(())
            }
            None => {
                let message = format!("the server has {} rooms and takes no more", self.limits.max_rooms);
                Err(RoomRefusal::new(ErrorCode::ServerFull, message))
            }
        }
    }

    /// Bounds the rooms that students have opened, for one network and for all.
    fn limit_unclaimed(&mut self, opener: &Opener, out: &mut Vec<Output>) -> Result<(), RoomRefusal> {
        let unclaimed = self.rooms.values().filter(|room| room.is_unclaimed());
        let (mut all, mut own) = (0, 0);
        for room in unclaimed {
            all += 1;
            own += usize::from(room.opener() == opener.network);
        }
        let full = |count: usize| {
            let message = format!("{count} rooms wait for their teachers already: wait until your teacher has come");
            RoomRefusal::new(ErrorCode::ServerFull, message).after(RETRY_AFTER)
        };
        if own >= MAX_UNCLAIMED_ROOMS {
            return Err(full(own));
        }
        if all >= (self.limits.max_rooms / UNCLAIMED_SHARE).max(1) {
            let unused = self.unclaimed_of_biggest(opener).ok_or_else(|| full(all))?;
            self.remove(&unused, out);
        }
        Ok(())
    }

    fn remove(&mut self, room_id: &RoomId, out: &mut Vec<Output>) {
        if let Some(room) = self.rooms.remove(room_id) {
            let message = "too many rooms wait for their teachers, try again when your teacher has come";
            room.close(&RoomRefusal::new(ErrorCode::ServerFull, message).after(RETRY_AFTER), out);
        }
    }

    /// Of the empty rooms whose lecture is over, the one that is empty for longest.
    fn oldest_over(&self) -> Option<RoomId> {
        let ranks = self.rooms.iter().filter_map(|(id, room)| Some((room.rank()?, id)));
        ranks.filter(|((eviction, _), _)| *eviction == Eviction::LectureOver).min().map(|(_, id)| id.clone())
    }

    /// Of the rooms that students of the biggest network have opened, the one with the fewest of them, and of those the
    /// oldest. A teacher needs no such room to be fair.
    fn unclaimed_of_biggest(&self, opener: &Opener) -> Option<RoomId> {
        let unclaimed = self.rooms.iter().filter(|(_, room)| room.is_unclaimed() && !room.is_meeting_now());
        let rooms = of_biggest(unclaimed, opener.network, !opener.teaches)?;
        rooms.into_iter().min_by_key(|(_, room)| room.weight()).map(|(id, _)| id.clone())
    }

    /// Of the empty rooms of the biggest network that wait for their teacher, the one that is empty for longest.
    fn pending_of_biggest(&self, own: Network) -> Option<RoomId> {
        let pending = self
            .rooms
            .iter()
            .filter(|(_, room)| room.rank().is_some_and(|(eviction, _)| eviction == Eviction::LecturePending));
        let rooms = of_biggest(pending, own, true)?;
        rooms.into_iter().min_by_key(|(_, room)| room.rank()).map(|(id, _)| id.clone())
    }
}

/// The rooms of the network that has most of these; none if it is to be `fair`, and the network has no more than `own`
/// would have with one more.
fn of_biggest<'a>(
    rooms: impl Iterator<Item = (&'a RoomId, &'a Room)>,
    own: Network,
    fair: bool,
) -> Option<Vec<(&'a RoomId, &'a Room)>> {
    let mut networks: BTreeMap<Network, Vec<(&RoomId, &Room)>> = BTreeMap::new();
    for (id, room) in rooms {
        networks.entry(room.opener()).or_default().push((id, room));
    }
    let of_own = networks.get(&own).map_or(0, Vec::len);
    let biggest = networks.into_values().max_by_key(Vec::len)?;
    (!fair || biggest.len() > of_own + 1).then_some(biggest)
}
