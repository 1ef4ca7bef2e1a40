//! The media hosts of rooms, for the requests of WHIP clients.

use std::collections::HashMap;

use tokio::sync::{mpsc, watch};

use crate::commands::whip::{WhipRequest, requests};
use crate::id::{RoomId, UserId};

/// The queues of the running media hosts, by room. Clones share them.
#[derive(Debug, Clone)]
pub(in crate::commands::serve) struct WhipRooms(watch::Sender<HashMap<RoomId, Host>>);

#[derive(Debug)]
struct Host {
    publisher: UserId,
    requests: mpsc::Sender<WhipRequest>,
}

/// A media host takes requests until this is dropped.
#[derive(Debug)]
pub(in crate::commands::serve) struct Registration {
    rooms: WhipRooms,
    room: RoomId,
    requests: mpsc::WeakSender<WhipRequest>,
}

impl Default for WhipRooms {
    fn default() -> Self {
        Self(watch::Sender::new(HashMap::new()))
    }
}

impl WhipRooms {
    /// A media host of this publisher takes requests from now on.
    pub(in crate::commands::serve) fn host(
        &self,
        room: RoomId,
        publisher: UserId,
    ) -> (Registration, mpsc::Receiver<WhipRequest>) {
        let (requests, receiver) = requests();
        let (rooms, weak) = (self.clone(), requests.downgrade());
        self.0.send_modify(|hosts| drop(hosts.insert(room.clone(), Host { publisher, requests })));
        (Registration { rooms, room, requests: weak }, receiver)
    }

    /// The queue of the room's media host, once it runs.
    pub(super) async fn of(&self, room: &RoomId, publisher: &UserId) -> mpsc::Sender<WhipRequest> {
        let of_room = |hosts: &HashMap<RoomId, Host>| {
            let host = hosts.get(room).filter(|host| host.publisher == *publisher && !host.requests.is_closed())?;
            Some(host.requests.clone())
        };
        let mut changes = self.0.subscribe();
        loop {
            if let Some(requests) = of_room(&changes.borrow_and_update()) {
                return requests;
            }
            // This fails only without a sender, and `self` is one.
            _ = changes.changed().await;
        }
    }

    /// The publisher leaves, and so the host is about to end: it must get no request of the next publisher.
    pub(super) fn forget(&self, room: &RoomId) {
        self.0.send_modify(|hosts| drop(hosts.remove(room)));
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let Some(requests) = self.requests.upgrade() else { return };
        self.rooms.0.send_modify(|hosts| {
            if hosts.get(&self.room).is_some_and(|host| host.requests.same_channel(&requests)) {
                hosts.remove(&self.room);
            }
        });
    }
}
