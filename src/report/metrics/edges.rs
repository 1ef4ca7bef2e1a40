//! The metrics of the edges of a server.

use std::collections::BTreeMap;
use std::fmt;

use super::{Writer, number, one};

/// All edges of a server. Counts of connections and bytes are totals since its start.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EdgeMetrics {
    /// Lectures of which the server is an edge.
    pub lectures: usize,
    /// Students that receive these lectures from here.
    pub students: usize,
    /// Connections that were made to receive a lecture.
    pub pulls: u64,
    /// Bytes of RTP that arrived over them.
    pub received_bytes: u64,
    /// Students by the node of an engine that sends to them, as `--via` has the node.
    pub at_nodes: BTreeMap<String, usize>,
}

impl EdgeMetrics {
    pub(super) fn write(&self, to: &mut Writer<'_>) -> fmt::Result {
        for (name, help, value) in [
            ("classroom_edge_lectures", "Lectures that this server receives and sends on", self.lectures),
            ("classroom_edge_students", "Students that receive these lectures from here", self.students),
        ] {
            to.gauge(name, help, one(number(value)))?;
        }
        if !self.at_nodes.is_empty() {
            let nodes = self.at_nodes.iter().map(|(node, count)| (vec![("node", node.clone())], number(*count)));
            to.gauge("classroom_engine_students", "Students that receive lectures from a node of an engine", nodes)?;
        }
        for (name, help, value) in [
            ("classroom_edge_pulls", "Connections that were made to receive a lecture", self.pulls),
            ("classroom_edge_received_bytes", "Bytes of RTP that arrived over them", self.received_bytes),
        ] {
            to.counter(name, help, one(value))?;
        }
        Ok(())
    }
}
