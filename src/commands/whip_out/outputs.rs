//! The connections to WHIP servers that get the frames of the capture.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::publisher::FrameInput;
use crate::rtp::{Encoding, Frame, PerEncoding};

/// The longest time between two pictures of a lecture that runs: a slide is sent once a second.
const PAUSE: Duration = Duration::from_secs(3);

/// The connections that get frames. Clones are about the same ones.
#[derive(Clone, Default)]
pub(in crate::commands) struct FrameOutputs(Arc<Mutex<Outputs>>);

#[derive(Default)]
struct Outputs {
    /// By the number of the server.
    inputs: Vec<(usize, FrameInput)>,
    /// The time of the last key frame of each encoding.
    key_frames: PerEncoding<Option<Instant>>,
    /// When pictures began to come without a pause, and when the last one came.
    pictures: Option<(Instant, Instant)>,
}

impl Outputs {
    fn pictures_since(&self, now: Instant) -> Option<Instant> {
        let (since, _) = self.pictures.filter(|(_, last)| now.saturating_duration_since(*last) <= PAUSE)?;
        Some(since)
    }
}

impl FrameOutputs {
    /// Passes a frame on. Never blocks for long, whatever a connection does.
    pub(in crate::commands) fn push(&self, frame: &Frame) {
        let mut outputs = self.lock();
        if frame.track.is_video() {
            let now = Instant::now();
            if frame.key {
                outputs.key_frames[frame.encoding()] = Some(now);
            }
            outputs.pictures = Some((outputs.pictures_since(now).unwrap_or(now), now));
        }
        for (_, input) in &outputs.inputs {
            input.push(frame.clone());
        }
    }

    /// A connection gets the frames from now on, in place of an earlier one to the same server.
    pub(super) fn attach(&self, server: usize, input: FrameInput) {
        self.detach(server);
        self.lock().inputs.push((server, input));
    }

    /// The connection to a server gets no frames any more.
    pub(super) fn detach(&self, server: usize) {
        self.lock().inputs.retain(|(number, _)| *number != server);
    }

    /// The time of the last key frame.
    pub(in crate::commands) fn key_frame(&self, encoding: Encoding) -> Option<Instant> {
        self.lock().key_frames[encoding]
    }

    /// The time of the last key frame of each encoding.
    pub(in crate::commands) fn key_frames(&self) -> PerEncoding<Option<Instant>> {
        self.lock().key_frames.clone()
    }

    /// Since when pictures come without a pause; none in a pause.
    pub(in crate::commands) fn pictures_since(&self, now: Instant) -> Option<Instant> {
        self.lock().pictures_since(now)
    }

    fn lock(&self) -> MutexGuard<'_, Outputs> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
