//! The messages that wait to be written to one client: bounded in number and bytes, and for all students together.
//!
//! Pushing never blocks. A full outbox refuses the message, and the caller decides who is at fault. A message waits
//! until the socket has taken it, so the buffer of the WebSocket counts too.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{Notify, mpsc};
use tokio_tungstenite::tungstenite::Utf8Bytes;

use crate::network::{CalledHost, ClientState, SharedClientState};
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
    most: Most,
    client_state: SharedClientState,
    /// The host that the client has called.
    called: Option<CalledHost>,
}

/// The limits of an outbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Most {
    messages: usize,
    bytes: usize,
}

const OF_STUDENT: Most = Most { messages: protocol::STUDENT_QUEUE, bytes: protocol::STUDENT_QUEUE_BYTES };
const OF_PUBLISHER: Most = Most { messages: protocol::PUBLISHER_QUEUE, bytes: protocol::PUBLISHER_QUEUE_BYTES };

/// The receiving half, held by the connection.
#[derive(Debug)]
pub(super) struct Outgoing {
    items: mpsc::Receiver<Item>,
    backlog: Arc<Backlog>,
    /// The messages and bytes that were taken from the queue and not written yet.
    taken: (usize, usize),
}

/// The bytes that wait for all students of a server.
#[derive(Debug, Clone, Default)]
pub(super) struct StudentBytes(Arc<AtomicUsize>);

#[derive(Debug)]
struct Backlog {
    messages: AtomicUsize,
    bytes: AtomicUsize,
    overflow: Notify,
    /// None for a publisher.
    of_all: Option<StudentBytes>,
}

/// The outbox is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Full;

/// Space in the channel beyond the counted messages: for a last error, and for the close.
const RESERVE: usize = 4;

/// Makes an outbox for a publisher or for a student.
pub(super) fn outbox(publishes: bool, client_state: SharedClientState, students: &StudentBytes) -> (Outbox, Outgoing) {
    if publishes {
        with_room_for(OF_PUBLISHER, client_state, None)
    } else {
        with_room_for(OF_STUDENT, client_state, Some(students.clone()))
    }
}

fn with_room_for(most: Most, client_state: SharedClientState, of_all: Option<StudentBytes>) -> (Outbox, Outgoing) {
    let (sender, receiver) = mpsc::channel(most.messages + RESERVE);
    let (messages, bytes, overflow) = (AtomicUsize::new(0), AtomicUsize::new(0), Notify::new());
    let backlog = Arc::new(Backlog { messages, bytes, overflow, of_all });
    let outgoing = Outgoing { items: receiver, backlog: backlog.clone(), taken: (0, 0) };
    (Outbox { items: sender, backlog, most, client_state, called: None }, outgoing)
}

impl StudentBytes {
    /// Whether too much waits for all students together.
    pub(super) fn is_too_much(&self) -> bool {
        self.0.load(Ordering::Relaxed) > protocol::ALL_STUDENTS_QUEUE_BYTES
    }
}

impl Outbox {
    /// The same for a client that has called this host.
    pub(super) fn of_caller_at(self, called: Option<CalledHost>) -> Self {
        Self { called, ..self }
    }

    /// The host that the client has called, if that is known.
    pub(super) fn called(&self) -> Option<&CalledHost> {
        self.called.as_ref()
    }

    /// Queues a message of the server or of the publisher.
    pub(super) fn push(&self, text: Utf8Bytes) -> Result<(), Full> {
        self.push_within(text, self.most)
    }

    /// Queues a message from a student to the publisher, in at most half of the space: whatever students send, the
    /// server's messages still fit, and the publisher is not closed for what others sent.
    pub(super) fn relay(&self, text: Utf8Bytes) -> Result<(), Full> {
        self.push_within(text, Most { messages: self.most.messages / 2, bytes: self.most.bytes / 2 })
    }

    fn push_within(&self, text: Utf8Bytes, most: Most) -> Result<(), Full> {
        // The server's lock is held for every push, so the queue can't fill up between this check and the push.
        let (messages, bytes) = self.waiting();
        if messages >= most.messages || bytes + text.len() > most.bytes {
            return Err(Full);
        }
        self.backlog.add(text.len());
        self.items.try_send(Item::Text(text)).map_err(|_| Full)
    }

    /// The number of waiting messages, and their bytes.
    pub(super) fn waiting(&self) -> (usize, usize) {
        (self.backlog.messages.load(Ordering::Relaxed), self.backlog.bytes.load(Ordering::Relaxed))
    }

    /// Whether this is a student's outbox.
    pub(super) fn is_of_student(&self) -> bool {
        self.most == OF_STUDENT
    }

    /// The client is a member of a room now.
    pub(super) fn joined(&self) {
        self.client_state.set(if self.is_of_student() { ClientState::Joined } else { ClientState::Connected });
    }

    /// The client's media is connected.
    pub(super) fn connected(&self) {
        self.client_state.set(ClientState::Connected);
    }

    /// Closes the connection once all waiting messages are written.
    pub(super) fn close(&self, code: Option<ErrorCode>) {
        // If there is no space, the outbox is closed already or the connection is gone.
        _ = self.items.try_send(Item::Close(code));
    }

    /// Closes the connection now and discards all waiting messages, because the client does not read.
    pub(super) fn overflowed(&self) {
        // The connection frees the messages within a moment; until then they must not count against other clients.
        self.backlog.remove(usize::MAX, usize::MAX);
        self.backlog.overflow.notify_one();
    }
}

impl Outgoing {
    /// Waits for the next item.
    pub(super) async fn next(&mut self) -> Option<Item> {
        let item = self.items.recv().await?;
        Some(self.take(item))
    }

    /// The next item, if one waits.
    pub(super) fn try_next(&mut self) -> Option<Item> {
        let item = self.items.try_recv().ok()?;
        Some(self.take(item))
    }

    fn take(&mut self, item: Item) -> Item {
        if let Item::Text(text) = &item {
            self.taken = (self.taken.0 + 1, self.taken.1 + text.len());
        }
        item
    }

    /// All items taken so far are written.
    pub(super) fn written(&mut self) {
        let (messages, bytes) = std::mem::take(&mut self.taken);
        self.backlog.remove(messages, bytes);
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
    fn add(&self, bytes: usize) {
        self.messages.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        if let Some(StudentBytes(all)) = &self.of_all {
            all.fetch_add(bytes, Ordering::Relaxed);
        }
    }

    /// Removes at most this much: after an overflow, nothing is counted any more.
    fn remove(&self, messages: usize, bytes: usize) {
        let subtract = |from: &AtomicUsize, most: usize| {
            let update = from.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |now| Some(now.saturating_sub(most)));
            update.unwrap_or_default().min(most)
        };
        subtract(&self.messages, messages);
        let removed = subtract(&self.bytes, bytes);
        if let Some(StudentBytes(all)) = &self.of_all {
            all.fetch_sub(removed, Ordering::Relaxed);
        }
    }
}

impl Drop for Backlog {
    fn drop(&mut self) {
        self.remove(usize::MAX, usize::MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_messages(messages: usize) -> (Outbox, Outgoing) {
        with_room_for(Most { messages, ..OF_PUBLISHER }, SharedClientState::default(), None)
    }

    #[test]
    fn a_full_outbox_still_takes_the_close() {
        let (outbox, mut outgoing) = with_messages(2);
        assert_eq!(outbox.push("1".into()), Ok(()));
        assert_eq!(outbox.push("2".into()), Ok(()));
        assert_eq!(outbox.push("3".into()), Err(Full));
        outbox.close(Some(ErrorCode::Replaced));
        assert!(matches!(outgoing.try_next(), Some(Item::Text(_))));
        outgoing.written();
        assert_eq!(outbox.push("4".into()), Ok(()));
        assert!(matches!(outgoing.try_next(), Some(Item::Text(_))));
        assert!(matches!(outgoing.try_next(), Some(Item::Close(Some(ErrorCode::Replaced)))));
    }

    #[test]
    fn students_fill_at_most_half_of_a_publishers_queue() {
        let (outbox, _outgoing) = with_messages(4);
        assert_eq!((0..4).filter(|_| outbox.relay("offer".into()).is_ok()).count(), 2);
        assert_eq!(outbox.push("join".into()), Ok(()));
    }

    #[test]
    fn bytes_count_too() {
        let (outbox, _outgoing) = with_messages(1_000);
        let big = Utf8Bytes::from("x".repeat(protocol::PUBLISHER_QUEUE_BYTES / 2));
        assert_eq!(outbox.push(big.clone()), Ok(()));
        assert_eq!(outbox.push(big), Ok(()));
        assert_eq!(outbox.push("x".into()), Err(Full));
    }

    #[test]
    fn a_message_waits_until_the_socket_has_taken_it() {
        let all = StudentBytes::default();
        let (outbox, mut outgoing) = outbox(false, SharedClientState::default(), &all);
        let bytes = || all.0.load(Ordering::Relaxed);
        let big = Utf8Bytes::from("x".repeat(protocol::STUDENT_QUEUE_BYTES));
        assert_eq!(outbox.push(big.clone()), Ok(()));
        assert!(outgoing.try_next().is_some());
        assert_eq!((outbox.push("x".into()), bytes()), (Err(Full), big.len()), "still in the buffer of the socket");
        outgoing.written();
        assert_eq!((outbox.push("x".into()), bytes()), (Ok(()), 1));
    }

    #[test]
    fn what_waits_for_a_client_counts_until_the_client_is_gone() {
        let all = StudentBytes::default();
        let bytes = || all.0.load(Ordering::Relaxed);
        let text = Utf8Bytes::from("x".repeat(1_000));
        let (one, mut outgoing_one) = outbox(false, SharedClientState::default(), &all);
        let (two, outgoing_two) = outbox(false, SharedClientState::default(), &all);
        assert!(one.push(text.clone()).is_ok() && two.push(text.clone()).is_ok());
        assert_eq!(bytes(), 2_000);
        one.overflowed();
        assert_eq!(bytes(), 1_000, "the connection is about to free its messages");
        assert!(outgoing_one.try_next().is_some());
        outgoing_one.written();
        assert_eq!(bytes(), 1_000, "and frees them once");
        drop((two, outgoing_two));
        assert_eq!(bytes(), 0);
    }
}
