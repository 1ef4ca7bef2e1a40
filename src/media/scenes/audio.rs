//! One stream of sound for the encoder: blocks of videos, and silence between them.

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;

use super::source::Playing;
use crate::media::file::sound_caps;
use crate::rtp::Track;

/// How far ahead of time blocks are pushed: a thread that wakes late leaves no gap, and a cut comes soon.
const LEAD: gst::ClockTime = gst::ClockTime::from_mseconds(80);

/// A block of silence: 20 ms at 48 kHz, two channels of two bytes.
const BLOCK: gst::ClockTime = gst::ClockTime::from_mseconds(20);
const BLOCK_BYTES: usize = 960 * 4;
const BYTES_PER_SECOND: u64 = 48_000 * 4;

/// After a stall of the process, sound goes on from now instead of in a rush.
const STALL: gst::ClockTime = gst::ClockTime::from_mseconds(200);

/// The most sound in the queue of the pipeline. The queue takes 300 ms, and must not block.
const MAX_QUEUED: gst::ClockTime = gst::ClockTime::from_mseconds(220);

/// The appsrc for sound.
pub(super) struct AudioOutput {
    source: gst_app::AppSrc,
    caps: gst::Caps,
    silence: gst::Buffer,
    /// The end of what was pushed.
    time: gst::ClockTime,
}

impl AudioOutput {
    pub(super) fn new(source: gst_app::AppSrc) -> Self {
        let caps = sound_caps();
        Self { source, caps, silence: gst::Buffer::from_slice([0u8; BLOCK_BYTES]), time: gst::ClockTime::ZERO }
    }

    /// The first time that is free.
    pub(super) fn free_at(&self) -> gst::ClockTime {
        self.time
    }

    /// Pushes sound up to [`LEAD`] from now: that of a file that began at a time, unless it is muted, and silence.
    pub(super) fn run(
        &mut self,
        now: gst::ClockTime,
        mut playing: Option<(&mut Playing, gst::ClockTime)>,
        is_muted: bool,
    ) {
        if self.time + STALL < now {
            self.time = now;
        }
        while self.time < now + LEAD && self.source.property::<u64>("current-level-time") < MAX_QUEUED.nseconds() {
            let Some((file, base)) = &mut playing else {
                self.push_silence();
                continue;
            };
            match file.peek(Track::Audio).map(|time| *base + time) {
                // A block that lags behind by less than a block of silence follows without a gap.
                Some(due) if due <= self.time + BLOCK => {
                    let Some(block) = file.take(Track::Audio) else { return };
                    let length = length(&block);
                    if due + length + BLOCK < self.time {
                        continue;
                    }
                    if is_muted {
                        self.push_silence();
                    } else {
                        self.push(&block, length);
                    }
                }
                Some(_) => self.push_silence(),
                None if file.is_over(Track::Audio) => self.push_silence(),
                // The decoder is late: wait for it as long as possible.
                None if self.time < now + BLOCK => self.push_silence(),
                None => return,
            }
        }
    }

    fn push_silence(&mut self) {
        let silence = self.silence.clone();
        self.push(&silence, BLOCK);
    }

    fn push(&mut self, block: &gst::Buffer, length: gst::ClockTime) {
        let mut buffer = block.copy();
        let about = buffer.make_mut();
        about.set_pts(self.time);
        about.set_dts(gst::ClockTime::NONE);
        about.set_duration(length);
        let sample = gst::Sample::builder().buffer(&buffer).caps(&self.caps).build();
        // This fails only while the pipeline stops.
        let _ = self.source.push_sample(&sample);
        self.time += length;
    }
}

/// The length of a block.
fn length(block: &gst::Buffer) -> gst::ClockTime {
    gst::ClockTime::from_nseconds((block.size() as u64).saturating_mul(1_000_000_000) / BYTES_PER_SECOND)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_length_of_a_block_follows_from_its_size() {
        crate::media::init().unwrap();
        assert_eq!(length(&gst::Buffer::from_slice([0u8; BLOCK_BYTES])), BLOCK);
    }
}
