//! The way by which the media of a lecture comes, and why TURN servers do not help.

use super::Session;
use crate::report::{Event, MediaPath, PathReport};

impl Session<'_> {
    /// The connection is established: says by which way.
    pub(super) async fn report_path(&mut self) {
        let Some(connection) = &self.connection else { return };
        let relayed = connection.viewer.relayed_address().await;
        let path = match connection.viewer.uses_tcp().await {
            true => MediaPath::Tcp { udp_works: self.relays.reach_by_udp() },
            false => self.relays.path(relayed),
        };
        self.reporter.event(&Event::Path(PathReport { user: None, path }));
    }

    /// To be called once a second while there is no connection: says what the TURN servers have answered, once each.
    pub(super) fn report_relays(&mut self) {
        for problem in self.relays.new_problems() {
            self.reporter.warn(problem);
        }
    }
}
