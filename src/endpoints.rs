//! The two ends of a lecture. Each connects two adapters that do not know each other: a capture and the SFU that sends
//! its frames; a student's connection and the render that shows them. `teach`, `watch` and `bench` share this code.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::mpsc;

use crate::exit::Failure;
use crate::media::{Capture, CaptureEvent, Prepared, Render};
use crate::rtp::{Frame, Track};
use crate::sfu::{Sfu, SfuEvent};
use crate::viewer::Incoming;

/// Starts a capture and feeds its frames to the SFU, and to `also`, which must not block.
///
/// # Errors
/// If the capture cannot start: [`Failure`] with the exit code of its [`MediaError`](crate::media::MediaError).
pub(crate) async fn start_capture(
    prepared: Prepared,
    sfu: &Sfu,
    also: impl Fn(&Frame) + Send + Sync + 'static,
) -> Result<(Capture, mpsc::Receiver<CaptureEvent>), Failure> {
    let input = sfu.input();
    let on_frame = move |frame: Frame| {
        also(&frame);
        input.push(frame);
    };
    let started = tokio::task::spawn_blocking(move || Capture::start(prepared, on_frame));
    Ok(started.await.map_err(Failure::internal)??)
}

/// Tells the SFU which encodings the capture still produces. Call this after a warning: the capture may have dropped an
/// encoding, and its viewers need another one.
pub(crate) fn announce_encodings(capture: &Capture, sfu: &Sfu) {
    sfu.encodings(capture.encodings());
}

/// Passes the SFU's requests to the encoders. Returns an event that is about something else.
pub(crate) fn serve_encoders(capture: &Capture, event: SfuEvent) -> Option<SfuEvent> {
    match event {
        SfuEvent::KeyFrameNeeded(encoding) => capture.request_key_frame(encoding),
        SfuEvent::Needed(encoding, needed) => capture.need(encoding, needed),
        other => return Some(other),
    }
    None
}

/// The maximum number of packets kept until the render runs. A start from the publisher's ring is about 500 packets,
/// and building the graph takes about ten milliseconds. The first packets carry the key frame, so they must not be
/// lost.
const MAX_EARLY: usize = 2048;

#[derive(Debug)]
enum Stage {
    Early(Vec<(Track, Kind, Vec<u8>)>),
    Running(Box<Render>),
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Rtp,
    Rtcp,
}

/// A student's render, and the packets that wait until it runs.
#[derive(Debug)]
pub(crate) struct RenderInput(Mutex<Stage>);

impl Default for RenderInput {
    fn default() -> Self {
        Self(Mutex::new(Stage::Early(Vec::new())))
    }
}

impl RenderInput {
    /// Takes a packet. Never blocks for long: the lock is not held while a graph is built or torn down.
    pub(crate) fn push(&self, incoming: Incoming<'_>) {
        match (&mut *self.lock(), incoming) {
            (Stage::Running(render), Incoming::Rtp(track, packet)) => render.push_rtp(track, packet),
            (Stage::Running(render), Incoming::Rtcp(track, packet)) => render.push_rtcp(track, packet),
            (Stage::Early(early), _) if early.len() >= MAX_EARLY => {}
            (Stage::Early(early), Incoming::Rtp(track, packet)) => early.push((track, Kind::Rtp, packet.to_vec())),
            (Stage::Early(early), Incoming::Rtcp(track, packet)) => early.push((track, Kind::Rtcp, packet.to_vec())),
        }
    }

    /// Switches to a running render, which first gets the packets that have waited.
    pub(crate) fn show(&self, render: Render) {
        let mut stage = self.lock();
        if let Stage::Early(early) = &mut *stage {
            for (track, kind, packet) in early.drain(..) {
                match kind {
                    Kind::Rtp => render.push_rtp(track, &packet),
                    Kind::Rtcp => render.push_rtcp(track, &packet),
                }
            }
        }
        *stage = Stage::Running(Box::new(render));
    }

    /// Takes the render out; the caller must finish it.
    pub(crate) fn take(&self) -> Option<Render> {
        match std::mem::replace(&mut *self.lock(), Stage::Early(Vec::new())) {
            Stage::Running(render) => Some(*render),
            Stage::Early(_) => None,
        }
    }

    /// Calls `look` with the render, if one is running.
    pub(crate) fn with<T>(&self, look: impl FnOnce(&Render) -> T) -> Option<T> {
        match &*self.lock() {
            Stage::Running(render) => Some(look(render)),
            Stage::Early(_) => None,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Stage> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
