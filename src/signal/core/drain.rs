//! A server that is about to end sends its clients elsewhere: it takes nobody in any more, and tells those who are here
//! to connect again, some at a time.

use std::time::Duration;

use tokio::time::Instant;
use tokio_tungstenite::tungstenite::Utf8Bytes;

use super::{Core, State};
use crate::protocol::{ErrorCode, RoomKind, ServerMessage};
use crate::room::ConnId;

/// The time between two clients that are sent away, so that the others are not stormed.
const APART: Duration = Duration::from_millis(2);

/// The interval of looks at those who are left.
const LOOK: Duration = Duration::from_millis(20);

/// The least time that a server stays. A client that has just loaded the page, or that a load balancer sends here
/// before it asks `/readyz` again, is told to go elsewhere instead of being cut off.
const AT_LEAST: Duration = Duration::from_secs(1);

/// When a client that comes to a server that is about to end tries again.
const RETRY: Duration = Duration::from_secs(1);

impl Core {
    /// Sends all clients away. Returns when they are gone, or when the time is over.
    pub(in crate::signal) async fn drain(&self, within: Duration) {
        let begun = Instant::now();
        self.lock().draining = true;
        let clients = self.lock().clients();
        let apart = APART.min(within / 2 / u32::try_from(clients.len().max(1)).unwrap_or(u32::MAX));
        for conn in clients {
            self.lock().send_away(conn);
            tokio::time::sleep(apart).await;
        }
        while begun.elapsed() < AT_LEAST.min(within) || (begun.elapsed() < within && !self.lock().clients().is_empty())
        {
            tokio::time::sleep(LOOK).await;
        }
    }
}

impl State {
    /// The clients that are connected to this node.
    fn clients(&self) -> Vec<ConnId> {
        let is_client = |conn: &ConnId| {
            let placements = self.placements.as_ref();
            let is_elsewhere = placements.is_some_and(|known| known.forwarded.contains(conn) || known.is_edge(*conn));
            !is_elsewhere && !self.rooms.is_host_or_edge(*conn)
        };
        self.outboxes.keys().copied().filter(is_client).collect()
    }

    fn send_away(&mut self, conn: ConnId) {
        let Some(outbox) = self.outboxes.get(&conn) else { return };
        // If the outbox is full, the close frame has the same code.
        _ = outbox.push(ending());
        outbox.close(Some(ErrorCode::ServerShutdown));
    }
}

/// The refusal of a server that is about to end.
pub(super) fn ending() -> Utf8Bytes {
    let (code, message) = (ErrorCode::ServerShutdown, "the server is ending".to_owned());
    let (retry_after_ms, kind) = (Some(RETRY.as_millis() as u64), RoomKind::Lecture);
    ServerMessage::Error { code, message, user_id: None, retry_after_ms, codec: None, kind }.to_json().into()
}
