//! The edges that get the lecture from this one, and their students, whose messages this edge passes on.

use super::fanout::Fanout;
use super::{EdgeHost, not_live};
use crate::commands::edges::Meaning;
use crate::id::UserId;
use crate::protocol::{ClientMessage, ErrorCode};
use crate::sfu::SfuEvent;

impl EdgeHost {
    /// An edge below offers.
    pub(super) fn offer_below(&self, edge: UserId, sdp: String) {
        match self.sfu.as_ref().and_then(Fanout::own) {
            Some(sfu) if self.full.is_some() => sfu.sfu().offer_edge(edge, sdp),
            _ => self.send(not_live(edge, ErrorCode::TargetBusy)),
        }
    }

    /// Handles an event of an edge below, or of a student there. Returns any other event.
    pub(super) async fn on_below(&mut self, event: SfuEvent) -> Option<SfuEvent> {
        let Some(sfu) = self.sfu.as_ref().and_then(Fanout::own) else { return Some(event) };
        let of_edge = match &event {
            SfuEvent::Connected(edge) => Some((edge.clone(), true)),
            SfuEvent::Gone { user: edge, .. } => Some((edge.clone(), false)),
            _ => None,
        };
        let meaning = self.below.on_event(event, sfu.sfu(), || sfu.encodings().to_vec());
        if let Some((edge, is_connected)) = of_edge.filter(|(edge, _)| self.below.contains(edge)) {
            self.students.edge_below(edge.clone(), is_connected);
            let target_uid = edge;
            self.send(match is_connected {
                true => ClientMessage::Connected { target_uid },
                false => ClientMessage::Hangup { target_uid, source: None },
            });
        }
        match meaning {
            Meaning::Own(event) => Some(event),
            Meaning::AtEdges(events) => {
                for event in events {
                    if let Some(told) = self.students.on_event_below(event) {
                        self.tell_holder(&told).await;
                    }
                }
                None
            }
        }
    }
}
