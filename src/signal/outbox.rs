//! What waits to be written to one client: bounded in messages and bytes.
//!
//! Who fills it never waits. When it is full, the message is refused, and the caller decides whose fault that is.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{Notify, mpsc};
use tokio_tungstenite::tungstenite::Utf8Bytes;

use crate::protocol::{self, ErrorCode};

/// Something to write.
#[derive(Debug)]
pub(super) enum Item {
    /// One message; the same bytes may wait in many outboxes.
    Text(Utf8Bytes),
    /// The end: close the WebSocket, with the code as the reason.
    Close(Option<ErrorCode>),
}

/// The writing end, held by the server.
#[derive(Debug)]
pub(super) struct Outbox {
    items: mpsc::Sender<Item>,
    shared: Arc<Shared>,
    most: usize,
}

/// The reading end, held by the connection.
#[derive(Debug)]
pub(super) struct Outgoing {
    items: mpsc::Receiver<Item>,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    messages: AtomicUsize,
    bytes: AtomicUsize,
    overflow: Notify,
}

/// The outbox is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Full;

/// Room in the channel for what may be sent beside the counted messages: a last error, and the close.
const RESERVE: usize = 4;

/// An outbox for a publisher or for a student.
pub(super) fn outbox(publishes: bool) -> (Outbox, Outgoing) {
    with_room_for(if publishes { protocol::PUBLISHER_QUEUE } else { protocol::STUDENT_QUEUE })
}

fn with_room_for(most: usize) -> (Outbox, Outgoing) {
    let (sender, receiver) = mpsc::channel(most + RESERVE);
    let shared = Arc::new(Shared::default());
    (Outbox { items: sender, shared: shared.clone(), most }, Outgoing { items: receiver, shared })
}

impl Outbox {
    /// Queues what the server or the publisher says.
    pub(super) fn push(&self, text: Utf8Bytes) -> Result<(), Full> {
        self.push_within(text, self.most, protocol::QUEUE_BYTES)
    }

    /// Queues what a student says to the publisher, into half of the space: whatever students do, the server's own words
    /// still fit, and the publisher is not closed for what others sent.
    pub(super) fn relay(&self, text: Utf8Bytes) -> Result<(), Full> {
        self.push_within(text, self.most / 2, protocol::QUEUE_BYTES / 2)
    }

    fn push_within(&self, text: Utf8Bytes, messages: usize, bytes: usize) -> Result<(), Full> {
        let shared = &self.shared;
        // All pushes happen under the server's lock: nobody fills the queue between the check and the push.
        let fits = shared.messages.load(Ordering::Relaxed) < messages
            && shared.bytes.load(Ordering::Relaxed) + text.len() <= bytes;
        if !fits {
            return Err(Full);
        }
        shared.messages.fetch_add(1, Ordering::Relaxed);
        shared.bytes.fetch_add(text.len(), Ordering::Relaxed);
        self.items.try_send(Item::Text(text)).map_err(|_| Full)
    }

    /// How many messages wait, and their bytes.
    pub(super) fn waiting(&self) -> (usize, usize) {
        (self.shared.messages.load(Ordering::Relaxed), self.shared.bytes.load(Ordering::Relaxed))
    }

    /// Whether it is a student's.
    pub(super) fn is_of_student(&self) -> bool {
        self.most == protocol::STUDENT_QUEUE
    }

    /// Closes the connection once what waits is written.
    pub(super) fn close(&self, code: Option<ErrorCode>) {
        // No space means that it was closed already, or that the connection is gone.
        _ = self.items.try_send(Item::Close(code));
    }

    /// Closes the connection now, for not reading: what waits is thrown away.
    pub(super) fn overflowed(&self) {
        self.shared.overflow.notify_one();
    }
}

impl Outgoing {
    /// The next thing to write.
    pub(super) async fn next(&mut self) -> Option<Item> {
        self.items.recv().await.inspect(|item| self.shared.taken(item))
    }

    /// The next thing to write, if one waits.
    pub(super) fn try_next(&mut self) -> Option<Item> {
        self.items.try_recv().ok().inspect(|item| self.shared.taken(item))
    }

    /// Something to wait for [`Outbox::overflowed`] with while writing.
    pub(super) fn overflow(&self) -> Overflow {
        Overflow(self.shared.clone())
    }
}

/// Waits for [`Outbox::overflowed`].
#[derive(Debug)]
pub(super) struct Overflow(Arc<Shared>);

impl Overflow {
    pub(super) async fn wait(&self) {
        self.0.overflow.notified().await;
    }
}

impl Shared {
    fn taken(&self, item: &Item) {
        if let Item::Text(text) = item {
            self.messages.fetch_sub(1, Ordering::Relaxed);
            self.bytes.fetch_sub(text.len(), Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_outbox_still_takes_the_end() {
        let (outbox, mut outgoing) = with_room_for(2);
        assert_eq!(outbox.push("1".into()), Ok(()));
        assert_eq!(outbox.push("2".into()), Ok(()));
        assert_eq!(outbox.push("3".into()), Err(Full));
        outbox.close(Some(ErrorCode::Replaced));
        assert!(matches!(outgoing.try_next(), Some(Item::Text(_))));
        assert_eq!(outbox.push("4".into()), Ok(()));
        assert!(matches!(outgoing.try_next(), Some(Item::Text(_))));
        assert!(matches!(outgoing.try_next(), Some(Item::Close(Some(ErrorCode::Replaced)))));
    }

    #[test]
    fn students_fill_half_of_a_publishers_queue_at_most() {
        let (outbox, _outgoing) = with_room_for(4);
        assert_eq!((0..4).filter(|_| outbox.relay("offer".into()).is_ok()).count(), 2);
        assert_eq!(outbox.push("join".into()), Ok(()));
    }

    #[test]
    fn bytes_count_too() {
        let (outbox, _outgoing) = with_room_for(1_000);
        let big = Utf8Bytes::from("x".repeat(protocol::QUEUE_BYTES / 2));
        assert_eq!(outbox.push(big.clone()), Ok(()));
        assert_eq!(outbox.push(big), Ok(()));
        assert_eq!(outbox.push("x".into()), Err(Full));
    }
}
