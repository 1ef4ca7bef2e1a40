//! The router's way of a frame: to each worker, and what is missing when one has no room for it.

use super::Router;
use crate::rtp::{Frame, Track};
use crate::sfu::worker::WorkerCommand;

impl Router {
    /// Passes a frame to all workers.
    pub(super) fn frame(&mut self, frame: Frame) {
        let (frames, keys, bytes) = &mut self.counts[frame.encoding()];
        *frames += 1;
        *keys += u64::from(frame.key);
        *bytes += frame.bytes() as u64;
        let keys = *keys;
        let mut has_gap = false;
        for worker in &mut self.workers {
            has_gap |= worker.frame(frame.clone(), keys);
        }
        if has_gap {
            self.want_key_frames(frame.track);
        }
        if frame.key {
            self.context.h264_level = self.context.h264_level.max(frame.h264_level());
            self.requests[frame.encoding()].fulfilled();
        }
        self.own_worker.handle(WorkerCommand::Frame { frame, keys });
    }

    /// Requests key frames of a track after a gap, in each encoding that a peer needs.
    pub(super) fn want_key_frames(&mut self, track: Track) {
        let watched = self.encodings.iter().filter(|encoding| encoding.track == track);
        watched.filter(|e| self.active.is_needed(**e)).for_each(|e| self.requests[*e].want());
    }
}
