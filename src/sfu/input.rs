//! The input of the SFU for frames.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::mpsc;

use crate::rtp::{Frame, PerEncoding};

/// The most frames that wait between the pipelines and the SFU: with three tracks at 50 a second, those of more than a
/// second in which the SFU is suspended.
pub(super) const FRAME_QUEUE: usize = 256;

/// A frame on its way to the SFU.
pub(super) struct Pushed {
    pub(super) frame: Frame,
    /// Whether the previous frame of the same encoding was dropped because the queue was full.
    pub(super) after_gap: bool,
}

/// Encodings of which a frame was dropped and the SFU has not been told yet.
pub(super) type Gaps = PerEncoding<AtomicBool>;

/// The input of the SFU for frames; it is cheap to clone and never blocks.
#[derive(Debug, Clone)]
pub struct FrameInput {
    frames: mpsc::Sender<Pushed>,
    gaps: Arc<Gaps>,
}

impl FrameInput {
    pub(super) fn new(frames: mpsc::Sender<Pushed>, gaps: Arc<Gaps>) -> Self {
        Self { frames, gaps }
    }

    /// Passes the next frame of an encoding to the SFU; one thread at a time may do so for each encoding. If the SFU
    /// does not keep up, the frame is dropped and the students of its track wait for a key frame.
    pub fn push(&self, frame: Frame) {
        let gap = &self.gaps[frame.encoding()];
        let pushed = Pushed { after_gap: gap.swap(false, Ordering::Relaxed), frame };
        if self.frames.try_send(pushed).is_err() {
            gap.store(true, Ordering::Relaxed);
        }
    }

    /// The number of frames that wait, and the capacity.
    pub(super) fn length(&self) -> (usize, usize) {
        let capacity = self.frames.max_capacity();
        (capacity - self.frames.capacity(), capacity)
    }
}
