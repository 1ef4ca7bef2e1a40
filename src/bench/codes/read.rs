//! Reads the codes in the frames that a render decodes.

use super::{now_ms, read};
use crate::media::{DecoderOutput, Render};
use crate::rtp::Track;

/// A decoded frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadFrame {
    /// The frame's number, and when it was captured by [`now_ms`]; none where no code can be read.
    pub code: Option<(u16, u64)>,
    /// When the frame was decoded, by the same clock.
    pub decoded_ms: u64,
    /// When a sink that keeps time shows the frame, by the same clock; none where the render does not know.
    pub shown_ms: Option<u64>,
    /// Pixels from left to right.
    pub width: u32,
}

/// Reads the codes of a track from now on. `on_frame` runs on the decoder's thread and must not block.
pub fn read_codes(render: &Render, track: Track, on_frame: impl Fn(ReadFrame) + Send + Sync + 'static) {
    render.on_decoder_output(track, move |frame| {
        let DecoderOutput { width, luma, shown_in } = frame;
        let decoded_ms = now_ms();
        let code = luma.and_then(|(luma, stride)| read(luma, stride, width));
        let code = code.map(|code| (code.number, code.captured(decoded_ms)));
        let shown_ms = shown_in.map(|time| decoded_ms + time.as_millis() as u64);
        on_frame(ReadFrame { code, decoded_ms, shown_ms, width: width as u32 });
    });
}
