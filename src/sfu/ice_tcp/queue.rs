//! The packets that wait for one TCP connection.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::sync::Notify;
use tokio::time::timeout;

/// The most bytes that wait for one connection, those that are being written included: the largest key frame of a
/// detailed screen, and some more.
pub(super) const MAX_WAITING: usize = 512 << 10;

/// The most bytes that wait for all connections of a port.
pub(super) const MAX_WAITING_OF_ALL: usize = 64 << 20;

/// One connection gets at most this part of what is free, so that any number of slow readers leave as much to each
/// other one as they have (dynamic thresholds of shared buffers).
const SHARE: usize = 16;

/// The connections of one network get together at most this many times as much as is free, as connections do: a network
/// alone gets 48 MB, and however many slow readers it has, those of others have 16 MB.
const NETWORK_SHARE: usize = 3;

/// A connection that takes nothing for this long, while something waits, is gone.
const STALLED_FOR: Duration = Duration::from_secs(10);

/// The bytes of the length before each frame (RFC 4571, 2).
pub(super) const LENGTH_BYTES: usize = 2;

/// A bounded queue of frames.
pub(super) struct Queue {
    state: Mutex<State>,
    changed: Notify,
    /// The bytes that wait for all connections, and for those of the same network.
    of_all: Arc<AtomicUsize>,
    of_network: Arc<AtomicUsize>,
}

#[derive(Default)]
struct State {
    frames: Vec<u8>,
    /// The bytes of `frames`, and those that are being written.
    waiting: usize,
    heard: Option<Instant>,
    is_closed: bool,
}

impl Queue {
    /// An empty queue. `of_all` has the bytes that wait for all connections, `of_network` those of its network.
    pub(super) fn new(of_all: Arc<AtomicUsize>, of_network: Arc<AtomicUsize>) -> Self {
        Self { state: Mutex::default(), changed: Notify::new(), of_all, of_network }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a batch of packets of `segment` bytes, whose last one may be shorter: all of them or none. Never waits.
    ///
    /// # Errors
    /// If the queue is closed or full.
    pub(super) fn push(&self, packets: &[u8], segment: usize) -> io::Result<()> {
        let bytes = packets.len() + LENGTH_BYTES * packets.len().div_ceil(segment.max(1));
        let mut state = self.lock();
        if state.is_closed {
            return Err(io::ErrorKind::NotConnected.into());
        }
        let free = MAX_WAITING_OF_ALL.saturating_sub(self.of_all.load(Ordering::Relaxed));
        if state.waiting + bytes > MAX_WAITING.min(free / SHARE)
            || self.of_network.load(Ordering::Relaxed) + bytes > NETWORK_SHARE * free
        {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        state.waiting += bytes;
        self.counters().for_each(|counter| _ = counter.fetch_add(bytes, Ordering::Relaxed));
        for packet in packets.chunks(segment.max(1)) {
            let length = u16::try_from(packet.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
            state.frames.extend_from_slice(&length.to_be_bytes());
            state.frames.extend_from_slice(packet);
        }
        drop(state);
        self.changed.notify_one();
        Ok(())
    }

    fn counters(&self) -> impl Iterator<Item = &AtomicUsize> {
        [&*self.of_all, &*self.of_network].into_iter()
    }

    /// Notes that the peer has been heard.
    pub(super) fn heard(&self, now: Instant) {
        self.lock().heard = Some(now);
    }

    /// When the peer was heard last.
    pub(super) fn last_heard(&self) -> Option<Instant> {
        self.lock().heard
    }

    /// Takes no more packets. Those that wait are written.
    pub(super) fn close(&self) {
        self.lock().is_closed = true;
        self.changed.notify_one();
    }

    /// Writes frames as they come, until the queue is closed and empty.
    ///
    /// # Errors
    /// If the connection is gone, or has taken nothing for [`STALLED_FOR`].
    pub(super) async fn write_to(&self, mut writer: impl AsyncWrite + Unpin) -> io::Result<()> {
        loop {
            let (frames, is_closed) = {
                let mut state = self.lock();
                (std::mem::take(&mut state.frames), state.is_closed)
            };
            if frames.is_empty() {
                if is_closed {
                    return Ok(());
                }
                self.changed.notified().await;
                continue;
            }
            let mut left = frames.as_slice();
            while !left.is_empty() {
                let written = timeout(STALLED_FOR, writer.write(left)).await??;
                if written == 0 {
                    return Err(io::ErrorKind::WriteZero.into());
                }
                left = &left[written..];
            }
            writer.flush().await?;
            self.lock().waiting -= frames.len();
            self.counters().for_each(|counter| _ = counter.fetch_sub(frames.len(), Ordering::Relaxed));
        }
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        let waiting = self.lock().waiting;
        self.counters().for_each(|counter| _ = counter.fetch_sub(waiting, Ordering::Relaxed));
    }
}
