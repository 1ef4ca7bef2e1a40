//! Passes packets to the render, or queues them while the render starts.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::media::Render;
use crate::rtp::Track;
use crate::viewer::Incoming;

/// The most packets to queue while the render starts. The publisher first sends some 500 packets from its ring, and the
/// first of them carry the key frame. Starting the render takes some ten milliseconds.
const MOST_EARLY: usize = 2048;

#[derive(Debug)]
enum Stage {
    Early(Vec<(Track, Kind, Vec<u8>)>),
    Running(Render),
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Rtp,
    Rtcp,
}

/// The render of a student, or the packets that wait for it.
#[derive(Debug)]
pub(in crate::commands) struct Screen(Mutex<Stage>);

impl Default for Screen {
    fn default() -> Self {
        Self(Mutex::new(Stage::Early(Vec::new())))
    }
}

impl Screen {
    /// Takes a packet. Does not block for long, because nobody holds the lock while a render starts or stops.
    pub(in crate::commands) fn push(&self, incoming: Incoming<'_>) {
        match (&mut *self.lock(), incoming) {
            (Stage::Running(render), Incoming::Rtp(track, packet)) => render.push_rtp(track, packet),
            (Stage::Running(render), Incoming::Rtcp(track, packet)) => render.push_rtcp(track, packet),
            (Stage::Early(early), _) if early.len() >= MOST_EARLY => {}
            (Stage::Early(early), Incoming::Rtp(track, packet)) => early.push((track, Kind::Rtp, packet.to_vec())),
            (Stage::Early(early), Incoming::Rtcp(track, packet)) => early.push((track, Kind::Rtcp, packet.to_vec())),
        }
    }

    /// Sets the running render, and gives it the queued packets.
    pub(in crate::commands) fn show(&self, render: Render) {
        let mut stage = self.lock();
        if let Stage::Early(early) = &mut *stage {
            for (track, kind, packet) in early.drain(..) {
                match kind {
                    Kind::Rtp => render.push_rtp(track, &packet),
                    Kind::Rtcp => render.push_rtcp(track, &packet),
                }
            }
        }
        *stage = Stage::Running(render);
    }

    /// Takes the render out. The caller has to finish it.
    pub(in crate::commands) fn take(&self) -> Option<Render> {
        match std::mem::replace(&mut *self.lock(), Stage::Early(Vec::new())) {
            Stage::Running(render) => Some(render),
            Stage::Early(_) => None,
        }
    }

    /// Calls `look` with the render, if there is one.
    pub(in crate::commands) fn with<T>(&self, look: impl FnOnce(&Render) -> T) -> Option<T> {
        match &*self.lock() {
            Stage::Running(render) => Some(look(render)),
            Stage::Early(_) => None,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Stage> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
