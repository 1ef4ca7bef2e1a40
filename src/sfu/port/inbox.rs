//! The datagrams that wait for the SFUs of a shared port.
//!
//! Each SFU has a queue of its own. A datagram that finds its queue full is dropped, and if too much waits for all SFUs
//! together, the fullest queue loses its newest datagram. So each SFU gets what it needs up to an equal share
//! (max-min fairness), and a flood for one room is a loss for that room only.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::tag::Tag;
use crate::sfu::socket::Arrived;
use crate::sfu::udp::UdpSender;

/// The most bytes that wait for one SFU: as much as the kernel queues for the socket of one, and half a second of a
/// publisher and the feedback of a thousand students.
const MAX_BYTES: usize = 4 << 20;

/// The most bytes that wait for all SFUs of a port.
const MAX_BYTES_OF_ALL: usize = 32 << 20;

/// The memory of a datagram beside its bytes.
const OVERHEAD: usize = 128;

/// The most datagrams that are taken at a time.
const BATCH: usize = 64;

/// The queue of one SFU.
pub(super) struct Inbox {
    state: Mutex<State>,
    changed: Notify,
    /// The bytes that wait here, and for all SFUs.
    bytes: AtomicUsize,
    of_all: Arc<AtomicUsize>,
    /// Datagrams that were dropped.
    dropped: AtomicU64,
}

#[derive(Default)]
struct State {
    datagrams: VecDeque<Arrived>,
    /// A sender of the reopened socket.
    sender: Option<UdpSender>,
    /// The reason for the loss of the socket; `None` while the port works.
    lost: Option<String>,
}

/// A change of the socket that an SFU must handle before further datagrams.
pub(super) enum Interruption {
    /// The socket was reopened: send through this sender.
    Reopened(Box<UdpSender>),
    /// The socket is gone.
    Lost(String),
}

impl Inbox {
    fn new(of_all: Arc<AtomicUsize>) -> Self {
        Self {
            state: Mutex::default(),
            changed: Notify::new(),
            bytes: AtomicUsize::new(0),
            of_all,
            dropped: AtomicU64::new(0),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    fn count(&self, arrived: &Arrived) {
        let size = size(arrived);
        self.bytes.fetch_add(size, Ordering::Relaxed);
        self.of_all.fetch_add(size, Ordering::Relaxed);
    }

    fn discount(&self, arrived: &Arrived) {
        let size = size(arrived);
        self.bytes.fetch_sub(size, Ordering::Relaxed);
        self.of_all.fetch_sub(size, Ordering::Relaxed);
    }

    fn push(&self, arrived: Arrived) {
        let mut state = self.lock();
        self.count(&arrived);
        state.datagrams.push_back(arrived);
        let is_first = state.datagrams.len() == 1;
        drop(state);
        // An SFU waits only for an empty queue, so other datagrams need no wake-up.
        if is_first {
            self.changed.notify_one();
        }
    }

    /// Drops the newest datagram.
    fn drop_newest(&self) {
        if let Some(newest) = self.lock().datagrams.pop_back() {
            self.discount(&newest);
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Tells the SFU that the socket was reopened.
    pub(super) fn reopened(&self, sender: UdpSender) {
        self.lock().sender = Some(sender);
        self.changed.notify_one();
    }

    /// Tells the SFU that no datagram will come any more.
    pub(super) fn lost(&self, why: String) {
        self.lock().lost.get_or_insert(why);
        self.changed.notify_one();
    }

    /// Takes the oldest datagrams, up to one batch. Returns whether more wait.
    pub(super) fn take(&self, batch: &mut Vec<Arrived>) -> Result<bool, Interruption> {
        let mut state = self.lock();
        if let Some(why) = state.lost.take() {
            return Err(Interruption::Lost(why));
        }
        if let Some(sender) = state.sender.take() {
            return Err(Interruption::Reopened(Box::new(sender)));
        }
        let count = state.datagrams.len().min(BATCH);
        batch.extend(state.datagrams.drain(..count).inspect(|arrived| self.discount(arrived)));
        Ok(!state.datagrams.is_empty())
    }

    /// Waits until something can be taken, after [`take`](Self::take) has found nothing more. Cancel-safe.
    pub(super) async fn ready(&self) {
        self.changed.notified().await;
    }

    /// The number of datagrams that were dropped.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

impl Drop for Inbox {
    fn drop(&mut self) {
        self.of_all.fetch_sub(*self.bytes.get_mut(), Ordering::Relaxed);
    }
}

fn size(arrived: &Arrived) -> usize {
    arrived.bytes.len() + OVERHEAD
}

/// Makes the queues of one port.
#[derive(Debug, Default, Clone)]
pub(super) struct Pool(Arc<AtomicUsize>);

impl Pool {
    /// An empty queue.
    pub(super) fn inbox(&self) -> Arc<Inbox> {
        Arc::new(Inbox::new(Arc::clone(&self.0)))
    }
}

/// The queues of all SFUs of a port.
pub(super) struct Inboxes {
    by_tag: HashMap<Tag, Arc<Inbox>>,
    pool: Pool,
    max_bytes: usize,
    max_bytes_of_all: usize,
}

impl Inboxes {
    pub(super) fn new(pool: Pool) -> Self {
        Self { by_tag: HashMap::new(), pool, max_bytes: MAX_BYTES, max_bytes_of_all: MAX_BYTES_OF_ALL }
    }

    pub(super) fn add(&mut self, tag: Tag, inbox: Arc<Inbox>) {
        self.by_tag.insert(tag, inbox);
    }

    pub(super) fn remove(&mut self, tag: Tag) {
        self.by_tag.remove(&tag);
    }

    pub(super) fn has(&self, tag: Tag) -> bool {
        self.by_tag.contains_key(&tag)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Inbox> {
        self.by_tag.values().map(|inbox| &**inbox)
    }

    /// Puts a datagram into the queue of an SFU, or drops one. Returns the number of dropped ones.
    pub(super) fn deliver(&self, tag: Tag, arrived: Arrived) -> u64 {
        let Some(inbox) = self.by_tag.get(&tag) else { return 0 };
        let size = size(&arrived);
        let mut dropped = 0;
        while self.pool.0.load(Ordering::Relaxed) + size > self.max_bytes_of_all {
            let others = self.by_tag.values().filter(|other| other.bytes() > inbox.bytes());
            let Some(fullest) = others.max_by_key(|other| other.bytes()) else {
                inbox.dropped.fetch_add(1, Ordering::Relaxed);
                return dropped + 1;
            };
            fullest.drop_newest();
            dropped += 1;
        }
        if inbox.bytes() + size > self.max_bytes {
            inbox.dropped.fetch_add(1, Ordering::Relaxed);
            return dropped + 1;
        }
        inbox.push(arrived);
        dropped
    }
}

#[cfg(test)]
mod tests {
    use super::super::tag::Tags;
    use super::*;

    const SIZE: usize = 1_000;

    fn arrived(n: u64) -> Arrived {
        let mut bytes = bytes::BytesMut::zeroed(SIZE - OVERHEAD);
        bytes[..8].copy_from_slice(&n.to_be_bytes());
        let any = ([127, 0, 0, 1], 1).into();
        Arrived { at: any, from: any, bytes }
    }

    /// Queues of this number of SFUs. One of them takes 100 datagrams, all together take 300.
    fn inboxes<const N: usize>() -> (Inboxes, [(Tag, Arc<Inbox>); N]) {
        let (pool, mut tags) = (Pool::default(), Tags::default());
        let mut inboxes = Inboxes { max_bytes: 100 * SIZE, max_bytes_of_all: 300 * SIZE, ..Inboxes::new(pool.clone()) };
        let all = std::array::from_fn(|_| (tags.take(), pool.inbox()));
        all.iter().for_each(|(tag, inbox)| inboxes.add(*tag, Arc::clone(inbox)));
        (inboxes, all)
    }

    fn take_all(inbox: &Inbox) -> Vec<u64> {
        let mut batch = Vec::new();
        while let Ok(true) = inbox.take(&mut batch) {}
        batch.iter().map(|arrived| u64::from_be_bytes(arrived.bytes[..8].try_into().unwrap())).collect()
    }

    #[test]
    fn a_flood_for_one_sfu_is_a_loss_for_that_one_only() {
        let (inboxes, [flooded, calm]) = inboxes();
        for n in 0..10_000 {
            inboxes.deliver(flooded.0, arrived(n));
            if n % 200 == 0 {
                assert_eq!(inboxes.deliver(calm.0, arrived(n)), 0);
            }
        }
        assert_eq!((flooded.1.dropped(), calm.1.dropped()), (9_900, 0));
        assert_eq!(take_all(&flooded.1), (0..100).collect::<Vec<_>>(), "in the order of arrival");
        assert_eq!(take_all(&calm.1), (0..10_000).step_by(200).collect::<Vec<_>>());
    }

    #[test]
    fn floods_for_many_sfus_leave_an_equal_share_to_each() {
        let (inboxes, all) = inboxes::<10>();
        let (few, many) = all.split_at(2);
        for n in 0..10_000 {
            for (tag, _) in many {
                inboxes.deliver(*tag, arrived(n));
            }
        }
        // Eight have 300 datagrams: two that come late get up to their equal share of 30.
        for n in 0..25 {
            for (tag, _) in few {
                assert_eq!(inboxes.deliver(*tag, arrived(n)), 1, "from the fullest");
            }
        }
        assert!(few.iter().all(|(_, inbox)| inbox.dropped() == 0 && take_all(inbox).len() == 25));
        let held: Vec<usize> = many.iter().map(|(_, inbox)| take_all(inbox).len()).collect();
        assert!(held.iter().all(|held| (31..=32).contains(held)), "{held:?}");
        assert_eq!(inboxes.pool.0.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn the_bytes_of_an_sfu_that_has_ended_are_free() {
        let (mut inboxes, [(ended, inbox), (other, _)]) = inboxes();
        for n in 0..100 {
            inboxes.deliver(ended, arrived(n));
        }
        inboxes.deliver(other, arrived(0));
        inboxes.remove(ended);
        drop(inbox);
        assert_eq!(inboxes.pool.0.load(Ordering::Relaxed), SIZE);
        assert!(!inboxes.has(ended));
        inboxes.deliver(ended, arrived(0));
        assert_eq!(inboxes.pool.0.load(Ordering::Relaxed), SIZE);
    }
}
