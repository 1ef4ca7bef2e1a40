//! The way by which the media of a lecture comes, and why TURN servers do not help.

use super::Session;
use crate::report::{Event, MediaPath};

impl Session<'_> {
    /// The connection is established: says by which way.
    pub(super) async fn report_path(&mut self) {
        let Some(connection) = &self.connection else { return };
        let relayed = connection.viewer.relayed_address().await;
        let path = match relayed.and_then(|relayed| self.relays.transport_of(relayed)) {
            Some(transport) => MediaPath::Turn { transport, udp_works: self.relays.reach_by_udp() },
            None if connection.viewer.uses_tcp().await => MediaPath::Tcp { udp_works: self.relays.reach_by_udp() },
            None => MediaPath::Direct,
        };
        self.reporter.event(&Event::Path(path));
    }

    /// To be called once a second while there is no connection: says what the TURN servers have answered, once each.
    pub(super) fn report_relays(&mut self) {
        for problem in self.relays.new_problems() {
            self.reporter.warn(problem);
        }
    }
}
