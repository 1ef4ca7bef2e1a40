//! A queue of commands between two threads, in which control is never lost.
//!
//! What strangers can cause is bounded: requests are refused and the oldest messages dropped where the receiver does
//! not keep up. Control has no limit of its own: it comes from signalling or from this process, which are bounded, and
//! an entry takes the place of older ones that it makes needless.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// Requests that may wait: an offer and ten candidates of 180 students that arrive in the same instant.
pub(super) const MAX_REQUESTS: usize = 2048;

/// Messages that may wait: what a room of 1,000 may say in ten seconds.
const MAX_MESSAGES: usize = 8192;

/// What becomes of an entry for which there is no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// It always has room.
    Control,
    /// It is refused; the peer asks again.
    Request,
    /// The oldest message goes, and is counted.
    Message,
}

/// What such a queue carries.
pub(super) trait Entry {
    fn kind(&self) -> Kind;

    /// Whether an `older` entry that still waits need not be carried out any more.
    fn replaces(&self, older: &Self) -> bool;
}

/// The sending end. The queue is closed when it is dropped.
pub(super) struct ControlSender<T>(Arc<Queue<T>>);

/// The receiving end.
pub(super) struct ControlReceiver<T>(Arc<Queue<T>>);

struct Queue<T> {
    state: Mutex<State<T>>,
    changed: Notify,
}

struct State<T> {
    waiting: VecDeque<T>,
    /// How many of those are requests, and messages.
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

    /// Drops what `entry` makes needless.
    fn make_way(&mut self, entry: &T) {
        self.waiting.retain(|older| !entry.replaces(older));
        let count = |kind| self.waiting.iter().filter(|entry| entry.kind() == kind).count();
        (self.requests, self.messages) = (count(Kind::Request), count(Kind::Message));
    }
}

impl<T: Entry> ControlSender<T> {
    /// Adds an entry; false where a request is refused, or the receiver is gone.
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

    /// How many requests wait.
    pub(super) fn requests(&self) -> usize {
        self.0.lock().requests
    }

    /// How many messages were lost since this was last asked.
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
    /// Whether nothing waits, and nothing will.
    pub(super) fn is_over(&self) -> bool {
        let state = self.0.lock();
        state.is_closed && state.waiting.is_empty()
    }

    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.0.lock().waiting.is_empty()
    }

    /// How many messages were lost since this was last asked.
    pub(super) fn take_lost_messages(&self) -> u64 {
        std::mem::take(&mut self.0.lock().lost_messages)
    }

    /// Waits until something waits, or nothing will.
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
        // Replies that are waited for end with the entries, and no entry may follow them.
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
    fn control_has_room_where_a_flood_has_none() {
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
    async fn either_end_sees_the_other_go() {
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
