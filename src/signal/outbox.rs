//! The messages that wait to be written to one client: bounded in number and bytes.
//!
//! Pushing never blocks. A full outbox refuses the message, and the caller decides who is at fault.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{Notify, mpsc};
use tokio_tungstenite::tungstenite::Utf8Bytes;

use crate::protocol::{self, ErrorCode};

/// An item to write.
#[derive(Debug)]
pub(super) enum Item {
    /// A message. Many outboxes may share the same bytes.
    Text(Utf8Bytes),
    /// Close the WebSocket, with the code as the reason.
    Close(Option<ErrorCode>),
}

/// The sending half, held by the server.
#[derive(Debug)]
pub(super) struct Outbox {
    items: mpsc::Sender<Item>,
    backlog: Arc<Backlog>,
    most: usize,
}

/// The receiving half, held by the connection.
#[derive(Debug)]
pub(super) struct Outgoing {
    items: mpsc::Receiver<Item>,
    backlog: Arc<Backlog>,
}

#[derive(Debug, Default)]
struct Backlog {
    messages: AtomicUsize,
    bytes: AtomicUsize,
    overflow: Notify,
}

/// The outbox is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Full;

/// Space in the channel beyond the counted messages: for a last error, and for the close.
const RESERVE: usize = 4;

/// Makes an outbox for a publisher or for a student.
pub(super) fn outbox(publishes: bool) -> (Outbox, Outgoing) {
    with_room_for(if publishes { protocol::PUBLISHER_QUEUE } else { protocol::STUDENT_QUEUE })
}

fn with_room_for(most: usize) -> (Outbox, Outgoing) {
    let (sender, receiver) = mpsc::channel(most + RESERVE);
    let backlog = Arc::new(Backlog::default());
    (Outbox { items: sender, backlog: backlog.clone(), most }, Outgoing { items: receiver, backlog })
}

impl Outbox {
    /// Queues a message of the server or of the publisher.
    pub(super) fn push(&self, text: Utf8Bytes) -> Result<(), Full> {
        self.push_within(text, self.most, protocol::QUEUE_BYTES)
    }

    /// Queues a message from a student to the publisher, in at most half of the space: whatever students send, the
    /// server's messages still fit, and the publisher is not closed for what others sent.
    pub(super) fn relay(&self, text: Utf8Bytes) -> Result<(), Full> {
        self.push_within(text, self.most / 2, protocol::QUEUE_BYTES / 2)
    }

    fn push_within(&self, text: Utf8Bytes, messages: usize, bytes: usize) -> Result<(), Full> {
        let backlog = &self.backlog;
        // The server's lock is held for every push, so the queue can't fill up between this check and the push.
        let fits = backlog.messages.load(Ordering::Relaxed) < messages
            && backlog.bytes.load(Ordering::Relaxed) + text.len() <= bytes;
        if !fits {
            return Err(Full);
        }
        backlog.messages.fetch_add(1, Ordering::Relaxed);
        backlog.bytes.fetch_add(text.len(), Ordering::Relaxed);
        self.items.try_send(Item::Text(text)).map_err(|_| Full)
    }

    /// The number of waiting messages, and their bytes.
    pub(super) fn waiting(&self) -> (usize, usize) {
        (self.backlog.messages.load(Ordering::Relaxed), self.backlog.bytes.load(Ordering::Relaxed))
    }

    /// Whether this is a student's outbox.
    pub(super) fn is_of_student(&self) -> bool {
        self.most == protocol::STUDENT_QUEUE
    }

    /// Closes the connection once all waiting messages are written.
    pub(super) fn close(&self, code: Option<ErrorCode>) {
        // If there is no space, the outbox is closed already or the connection is gone.
        _ = self.items.try_send(Item::Close(code));
    }

    /// Closes the connection now and discards all waiting messages, because the client does not read.
    pub(super) fn overflowed(&self) {
        self.backlog.overflow.notify_one();
    }
}

impl Outgoing {
    /// Waits for the next item.
    pub(super) async fn next(&mut self) -> Option<Item> {
        self.items.recv().await.inspect(|item| self.backlog.taken(item))
    }

    /// The next item, if one waits.
    pub(super) fn try_next(&mut self) -> Option<Item> {
        self.items.try_recv().ok().inspect(|item| self.backlog.taken(item))
    }

    /// A handle that waits for [`Outbox::overflowed`], for use while writing.
    pub(super) fn overflow(&self) -> Overflow {
        Overflow(self.backlog.clone())
    }
}

/// Waits for [`Outbox::overflowed`].
#[derive(Debug)]
pub(super) struct Overflow(Arc<Backlog>);

impl Overflow {
    pub(super) async fn wait(&self) {
        self.0.overflow.notified().await;
    }
}

impl Backlog {
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
    fn a_full_outbox_still_takes_the_close() {
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
    fn students_fill_at_most_half_of_a_publishers_queue() {
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
