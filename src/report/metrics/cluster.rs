//! The metrics of a node of a server on several machines.

use std::fmt;

use super::{Writer, number, one};

/// A node among others.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ClusterMetrics {
    /// Whether Redis can't be reached.
    pub is_degraded: bool,
    /// Nodes that are alive, this one included.
    pub nodes: usize,
    /// Rooms that this node owns.
    pub rooms: usize,
    /// Members of these rooms who are connected to other nodes.
    pub members_of_others: usize,
    /// Members here whose rooms other nodes own.
    pub members_elsewhere: usize,
}

impl ClusterMetrics {
    pub(super) fn write(&self, to: &mut Writer<'_>) -> fmt::Result {
        for (name, help, value) in [
            ("classroom_node_degraded", "1 while Redis does not answer this node", usize::from(self.is_degraded)),
            ("classroom_nodes", "Nodes that are alive, this one included", self.nodes),
            ("classroom_node_rooms", "Rooms that this node owns", self.rooms),
            (
                "classroom_node_members_of_others",
                "Members of these rooms who are connected to other nodes",
                self.members_of_others,
            ),
            ("classroom_node_members_elsewhere", "Members here whose rooms other nodes own", self.members_elsewhere),
        ] {
            to.gauge(name, help, one(number(value)))?;
        }
        Ok(())
    }
}
