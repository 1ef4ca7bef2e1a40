//! A queue of commands between two threads that never loses control entries.
//!
//! The load that strangers can cause is bounded: when the receiver falls behind, requests are refused and the oldest
//! messages are dropped. Control entries have no limit: they come from signalling or from this process, which are
//! bounded, and an entry replaces older ones that it makes obsolete.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// The most requests that may wait: an offer and ten candidates of each of 180 students that arrive at the same time.
pub(super) const MAX_REQUESTS: usize = 2048;

/// The most messages that may wait: as many as a room of 1,000 may send in ten seconds.
const MAX_MESSAGES: usize = 8192;

/// How the queue treats an entry when it is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// The entry is always accepted.
    Control,
    /// The entry is refused; the peer tries again.
    Request,
    /// The oldest message is dropped and counted.
    Message,
}

/// An entry of such a queue.
pub(super) trait Entry {
    fn kind(&self) -> Kind;

    /// Whether this entry makes an `older` one that still waits obsolete.
    fn replaces(&self, older: &Self) -> bool;
}

/// The sending end. Dropping it closes the queue.
pub(super) struct ControlSender<T>(Arc<Queue<T>>);

/// The receiving end.
pub(super) struct ControlReceiver<T>(Arc<Queue<T>>);

struct Queue<T> {
    state: Mutex<State<T>>,
    changed: Notify,
}

struct State<T> {
    waiting: VecDeque<T>,
    /// The number of requests and of messages among the waiting entries.
    requests: usize,
    messages: usize,
    lost_messages: u64,
    is_closed: bool,
}

/// An empty queue.
pub(super) fn control_queue<T: Entry>() -> (ControlSender<T>, ControlReceiver<T>) {
    let state = State { waiting: VecDeque::new(), requests: 0, messages: 0, lost_messages: 0, is_closed: false };
    let queue = Arc::new(Queue { state: Mutex::new(state), changed: Notify::new() });
    (ControlSender(Arc::clone(&queue)), ControlReceiver(queue))
}

impl<T> Queue<T> {
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn close(&self) {
        self.lock().is_closed = true;
        self.changed.notify_one();
    }
}

impl<T: Entry> State<T> {
    fn add(&mut self, entry: T) {
        match entry.kind() {
            Kind::Control => {}
            Kind::Request => self.requests += 1,
            Kind::Message => self.messages += 1,
        }
        self.waiting.push_back(entry);
    }

    fn take(&mut self, at: usize) -> Option<T> {
        let entry = self.waiting.remove(at)?;
        match entry.kind() {
            Kind::Control => {}
            Kind::Request => self.requests -= 1,
            Kind::Message => self.messages -= 1,
        }
        Some(entry)
    }

    /// Drops the entries that `entry` makes obsolete.
    fn make_way(&mut self, entry: &T) {
        self.waiting.retain(|older| !entry.replaces(older));
        let count = |kind| self.waiting.iter().filter(|entry| entry.kind() == kind).count();
        (self.requests, self.messages) = (count(Kind::Request), count(Kind::Message));
    }
}

impl<T: Entry> ControlSender<T> {
    /// Adds an entry. Returns false if the entry is a request and is refused, or if the receiver has been dropped.
    pub(super) fn push(&self, entry: T) -> bool {
        let mut state = self.0.lock();
        if state.is_closed {
            return false;
        }
        match entry.kind() {
            Kind::Control => state.make_way(&entry),
            Kind::Request if state.requests == MAX_REQUESTS => return false,
            Kind::Message if state.messages == MAX_MESSAGES => {
                let oldest = state.waiting.iter().position(|entry| entry.kind() == Kind::Message);
                oldest.and_then(|at| state.take(at));
                state.lost_messages += 1;
            }
            Kind::Request | Kind::Message => {}
        }
        state.add(entry);
        drop(state);
        self.0.changed.notify_one();
        true
    }

    /// The number of requests that wait.
    pub(super) fn requests(&self) -> usize {
        self.0.lock().requests
    }

    /// The number of messages lost since the last call.
    pub(super) fn take_lost_messages(&self) -> u64 {
        std::mem::take(&mut self.0.lock().lost_messages)
    }
}

impl<T> fmt::Debug for ControlSender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ControlSender").field("waiting", &self.0.lock().waiting.len()).finish()
    }
}

impl<T> Drop for ControlSender<T> {
    fn drop(&mut self) {
        self.0.close();
    }
}

impl<T: Entry> ControlReceiver<T> {
    /// The next entry, if one waits.
    pub(super) fn pop(&self) -> Option<T> {
        self.0.lock().take(0)
    }
}

impl<T> ControlReceiver<T> {
    /// Whether the queue is empty and closed.
    pub(super) fn is_over(&self) -> bool {
        let state = self.0.lock();
        state.is_closed && state.waiting.is_empty()
    }

    /// Whether the queue is empty.
    pub(super) fn is_empty(&self) -> bool {
        self.0.lock().waiting.is_empty()
    }

    /// The number of messages lost since the last call.
    pub(super) fn take_lost_messages(&self) -> u64 {
        std::mem::take(&mut self.0.lock().lost_messages)
    }

    /// Waits until an entry is available or the queue is closed.
    pub(super) async fn ready(&self) {
        loop {
            let changed = self.0.changed.notified();
            let is_ready = {
                let state = self.0.lock();
                state.is_closed || !state.waiting.is_empty()
            };
            if is_ready {
                return;
            }
            changed.await;
        }
    }
}

impl<T> Drop for ControlReceiver<T> {
    fn drop(&mut self) {
        // Dropping the entries ends the waits for their replies; no further entry may be accepted.
        let left = {
            let mut state = self.0.lock();
            state.is_closed = true;
            std::mem::take(&mut state.waiting)
        };
        drop(left);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    enum Letter {
        Control(usize),
        Request(usize),
        Message(usize),
    }

    impl Entry for Letter {
        fn kind(&self) -> Kind {
            match self {
                Letter::Control(_) => Kind::Control,
                Letter::Request(_) => Kind::Request,
                Letter::Message(_) => Kind::Message,
            }
        }

        fn replaces(&self, older: &Self) -> bool {
            matches!((self, older), (Letter::Control(new), Letter::Control(old) | Letter::Request(old)) if new == old)
        }
    }

    #[test]
    fn control_entries_are_accepted_when_the_queue_is_flooded() {
        let (sender, receiver) = control_queue();
        assert_eq!((0..10_000).filter(|n| sender.push(Letter::Request(*n))).count(), MAX_REQUESTS);
        assert!((0..10_000).all(|n| sender.push(Letter::Message(n))));
        assert_eq!((sender.take_lost_messages(), receiver.take_lost_messages()), (10_000 - MAX_MESSAGES as u64, 0));
        assert!(sender.push(Letter::Control(7)) && sender.push(Letter::Control(7)));
        assert_eq!(sender.requests(), MAX_REQUESTS - 1, "what it makes needless is gone");
        let all: Vec<Letter> = std::iter::from_fn(|| receiver.pop()).collect();
        assert_eq!(all.len(), MAX_REQUESTS - 1 + MAX_MESSAGES + 1);
        assert_eq!(all.last(), Some(&Letter::Control(7)), "in order, and once");
        assert!(all.contains(&Letter::Message(9_999)) && !all.contains(&Letter::Message(0)), "the oldest go");
        assert!(sender.push(Letter::Request(1)), "there is room again");
    }

    #[tokio::test]
    async fn either_end_notices_that_the_other_is_dropped() {
        let (sender, receiver) = control_queue();
        sender.push(Letter::Control(1));
        drop(sender);
        receiver.ready().await;
        assert!(!receiver.is_over() && receiver.pop().is_some() && receiver.is_over());
        receiver.ready().await;
        let (sender, receiver) = control_queue();
        drop(receiver);
        assert!(!sender.push(Letter::Control(1)));
    }
}
