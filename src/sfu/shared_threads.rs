//! Threads that run many SFUs: each participant of a meeting has an SFU, which serves few peers and mostly waits. A
//! thread for each of them would wake up two hundred times a second for each of them.
//!
//! SFUs of one thread take turns by the limits of [`event_loop`](super::event_loop): a round of one delays the others
//! by a few milliseconds at most.

use std::future::Future;
use std::io;
use std::num::NonZeroUsize;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::mpsc;
use tokio::task::{LocalSet, spawn_local};

/// The work of an SFU, which stays on its thread.
type Work = Pin<Box<dyn Future<Output = ()>>>;

/// Makes the work on its thread.
type MakeWork = Box<dyn FnOnce() -> Work + Send>;

/// Threads for SFUs. They end with the last clone.
#[derive(Debug, Clone)]
pub struct SharedThreads(Arc<[SharedThread]>);

#[derive(Debug)]
struct SharedThread {
    works: mpsc::UnboundedSender<MakeWork>,
    /// The number of SFUs on this thread.
    running: Arc<AtomicUsize>,
}

/// An SFU runs on a thread until this is dropped.
struct Running(Arc<AtomicUsize>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl SharedThreads {
    /// Starts this many threads.
    ///
    /// # Errors
    /// If a thread can't be created.
    pub fn start(count: NonZeroUsize) -> io::Result<Self> {
        (0..count.get()).map(|_| SharedThread::start()).collect::<io::Result<Vec<_>>>().map(|all| Self(all.into()))
    }

    /// Runs the work of an SFU on the thread with the fewest SFUs.
    pub(super) fn run(&self, make: impl FnOnce() -> Work + Send + 'static) -> io::Result<()> {
        let ended = || io::Error::other("the threads of the SFUs have ended");
        let least = |thread: &&SharedThread| thread.running.load(Ordering::Relaxed);
        let thread = self.0.iter().min_by_key(least).ok_or_else(ended)?;
        thread.running.fetch_add(1, Ordering::Relaxed);
        let running = Running(Arc::clone(&thread.running));
        let make = Box::new(move || -> Work {
            let work = make();
            Box::pin(async move {
                let _running = running;
                work.await;
            })
        });
        thread.works.send(make).map_err(|_| ended())
    }
}

impl SharedThread {
    fn start() -> io::Result<Self> {
        let (works, mut queue) = mpsc::unbounded_channel::<MakeWork>();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let run = move || {
            LocalSet::new().block_on(&runtime, async {
                while let Some(make) = queue.recv().await {
                    spawn_local(make());
                }
            });
        };
        std::thread::Builder::new().name("sfus".to_owned()).spawn(run)?;
        Ok(Self { works, running: Arc::default() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sfus_are_spread_over_the_threads_and_make_room_when_they_end() {
        let threads = SharedThreads::start(NonZeroUsize::new(2).unwrap()).unwrap();
        let counts = || threads.0.iter().map(|thread| thread.running.load(Ordering::Relaxed)).collect::<Vec<_>>();
        let mut ends = Vec::new();
        for _ in 0..4 {
            let (end, ended) = tokio::sync::oneshot::channel::<()>();
            let (name, named) = std::sync::mpsc::channel();
            let make = move || -> Work {
                name.send(std::thread::current().id()).unwrap();
                Box::pin(async move { drop(ended.await) })
            };
            threads.run(make).unwrap();
            ends.push((named.recv().unwrap(), end));
        }
        assert_eq!(counts(), [2, 2]);
        assert!(ends[0].0 != ends[1].0 && ends[0].0 == ends[2].0);
        let first = ends[0].0;
        ends.retain(|(thread, _)| *thread != first);
        while counts() != [0, 2] {
            std::thread::yield_now();
        }
        // One that panics harms no other one.
        threads.run(|| Box::pin(async { panic!("a test") })).unwrap();
        while counts() != [0, 2] {
            std::thread::yield_now();
        }
    }
}
