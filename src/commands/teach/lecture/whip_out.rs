//! The servers of somebody else that get the lecture as well.

use super::Lecture;
use crate::commands::whip_out::WhipOutput;
use crate::report::{Event, HostKind};

impl Lecture<'_> {
    pub(super) fn on_whip_out(&mut self, output: WhipOutput) {
        match output {
            WhipOutput::State { kind, number, server, state } => self.reporter.event(&match kind {
                HostKind::Whip => Event::Whip { number, server, state },
                HostKind::Janus => Event::Janus { server, state },
            }),
            WhipOutput::Encodings(encodings) => {
                if let Some(shared) = self.source.shared_capture() {
                    shared.need_for_servers(&encodings);
                }
            }
            WhipOutput::KeyFrame(encoding) => {
                if let Some(shared) = self.source.shared_capture() {
                    shared.capture().request_key_frame(encoding);
                }
            }
        }
    }
}
