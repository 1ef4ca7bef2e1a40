//! The store of an edge without Redis: one other node, the origin, owns every room.

use async_trait::async_trait;

use super::{Lease, MemberChange, Node, NodeView, Renewal, Store, StoreError};
use crate::id::{NodeId, RoomId};
use crate::room::RoomSummary;

/// The generation of the origin's leases. A room never changes its owner, so the generation never does.
const GENERATION: u64 = 1;

/// A store that knows one node, the owner of all rooms.
#[derive(Debug)]
pub struct OriginStore(Node);

impl OriginStore {
    /// All rooms are at this node.
    pub fn new(origin: Node) -> Self {
        Self(origin)
    }

    fn lease(&self) -> Lease {
        Lease { node: self.0.id.clone(), generation: GENERATION }
    }
}

#[async_trait]
impl Store for OriginStore {
    async fn acquire(&self, _room: &RoomId, _node: &NodeId) -> Result<Lease, StoreError> {
        Ok(self.lease())
    }

    async fn renew(&self, leases: &[(RoomId, Lease)]) -> Result<Vec<Renewal>, StoreError> {
        Ok(leases.iter().map(|_| Renewal::Taken(self.lease())).collect())
    }

    async fn release(&self, _room: &RoomId, _lease: &Lease) -> Result<(), StoreError> {
        Ok(())
    }

    async fn owners(&self, rooms: &[RoomId]) -> Result<Vec<Option<Lease>>, StoreError> {
        Ok(rooms.iter().map(|_| Some(self.lease())).collect())
    }

    async fn announce(&self, _node: &Node, _rooms: &[RoomSummary]) -> Result<(), StoreError> {
        Ok(())
    }

    async fn withdraw(&self, _node: &NodeId) -> Result<(), StoreError> {
        Ok(())
    }

    async fn node(&self, id: &NodeId) -> Result<Option<Node>, StoreError> {
        Ok((*id == self.0.id).then(|| self.0.clone()))
    }

    async fn nodes(&self) -> Result<Vec<NodeView>, StoreError> {
        Ok(vec![NodeView { node: self.0.clone(), rooms: Vec::new() }])
    }

    async fn write_members(&self, _room: &RoomId, _lease: &Lease, _change: &MemberChange) -> Result<bool, StoreError> {
        Ok(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_room_is_at_the_origin_whoever_asks() {
        let secret = "0123456789abcdef".parse().unwrap();
        let origin =
            Node { id: "origin".parse().unwrap(), url: "ws://h".to_owned(), fingerprint: None, secret, settings: 0 };
        let (store, edge): (_, NodeId) = (OriginStore::new(origin.clone()), "edge".parse().unwrap());
        let rooms: [RoomId; 2] = ["1".parse().unwrap(), "2".parse().unwrap()];
        let lease = store.acquire(&rooms[0], &edge).await.unwrap();
        assert_eq!(lease.node, origin.id);
        assert_eq!(store.owners(&rooms).await.unwrap(), [Some(lease.clone()), Some(lease.clone())]);
        assert_eq!(store.node(&lease.node).await.unwrap(), Some(origin));
        assert_eq!(store.node(&edge).await.unwrap(), None);
        let own = Lease { node: edge, generation: 9 };
        assert_eq!(store.renew(&[(rooms[0].clone(), own)]).await.unwrap(), [Renewal::Taken(lease)]);
    }
}
