//! The way into the SFU for frames.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::mpsc;

use crate::rtp::{Frame, PerEncoding};

/// Frames between the pipelines and the SFU: three tracks at 50 a second, so more than a second of an SFU that stands
/// still.
pub(super) const FRAME_QUEUE: usize = 256;

/// A frame on its way to the SFU.
pub(super) struct Pushed {
    pub(super) frame: Frame,
    /// Whether the frame before it, of the same encoding, found no room.
    pub(super) after_gap: bool,
}

/// Encodings that have lost a frame, which the SFU has not been told yet.
pub(super) type Gaps = PerEncoding<AtomicBool>;

/// The way into the SFU for frames; cheap to clone, never blocks.
#[derive(Debug, Clone)]
pub struct FrameInput {
    frames: mpsc::Sender<Pushed>,
    gaps: Arc<Gaps>,
}

impl FrameInput {
    pub(super) fn new(frames: mpsc::Sender<Pushed>, gaps: Arc<Gaps>) -> Self {
        Self { frames, gaps }
    }

    /// Hands over the next frame of its encoding; one thread does so at a time. If the SFU does not keep up the frame
    /// is dropped and the students of that track wait for a key frame.
    pub fn push(&self, frame: Frame) {
        let gap = &self.gaps[frame.encoding()];
        let pushed = Pushed { after_gap: gap.swap(false, Ordering::Relaxed), frame };
        if self.frames.try_send(pushed).is_err() {
            gap.store(true, Ordering::Relaxed);
        }
    }

    /// How many frames wait, and how many may.
    pub(super) fn length(&self) -> (usize, usize) {
        let capacity = self.frames.max_capacity();
        (capacity - self.frames.capacity(), capacity)
    }
}
