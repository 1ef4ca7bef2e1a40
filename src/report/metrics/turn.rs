//! The metrics of a TURN server.

use std::fmt;

use super::{Writer, labelled, number, one};

/// The TURN server of a process. Counts are totals since its start.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TurnMetrics {
    /// Allocations that exist.
    pub allocations: usize,
    /// Allocations that were made.
    pub allocated: u64,
    /// Relayed bytes by where they went, without TURN.
    pub bytes: [(&'static str, u64); 2],
    /// Packets of clients that sent too many.
    pub dropped: u64,
    /// Refused requests by their reason.
    pub refused: Vec<(&'static str, u64)>,
}

impl TurnMetrics {
    pub(super) fn write(&self, to: &mut Writer<'_>) -> fmt::Result {
        to.gauge("classroom_turn_allocations", "Allocations of the TURN server", one(number(self.allocations)))?;
        to.counter("classroom_turn_made_allocations", "Allocations that were made", one(self.allocated))?;
        let bytes = labelled("to", self.bytes);
        to.counter("classroom_turn_relayed_bytes", "Bytes that the TURN server relayed", bytes)?;
        to.counter("classroom_turn_dropped_packets", "Packets of clients that sent too many", one(self.dropped))?;
        let refused = labelled("reason", self.refused.iter().copied());
        to.counter("classroom_turn_refused_requests", "Requests that the TURN server refused", refused)
    }
}
