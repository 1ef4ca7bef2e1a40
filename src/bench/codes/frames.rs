//! Codes in the frames of a capture and of a render: drawn and recorded before encoding, read after decoding.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::{COLUMNS, Code, LOW_TIER, ROWS, draw, edge, film, now_ms, read};
use crate::media::{DecoderOutput, EncoderInput, Prepared, Render};
use crate::rtp::{Tier, Track};

/// Frames whose number is remembered until the slowest encoder has received them: two seconds.
const MAX_NUMBERS: usize = 64;

/// The chroma of grey.
const GREY_CHROMA: u8 = 128;

/// The frames passed to one encoder.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EncodedFrames {
    /// The name of the encoder's element, for example `screen-encoder`.
    pub encoder: String,
    /// The name of the thread that feeds the encoder. Threads that the encoder starts inherit this name.
    pub thread: String,
    /// The width in pixels.
    pub width: u32,
    /// The capture time of each frame, by [`now_ms`], in the order of encoding.
    pub captured_ms: Vec<u64>,
}

impl EncodedFrames {
    /// The tier that the encoder produces.
    pub fn tier(&self) -> Tier {
        tier_of_encoder(&self.encoder)
    }
}

/// Encoders are named after their encodings: `screen-encoder`, `screen-low-vp8-encoder`.
fn tier_of_encoder(name: &str) -> Tier {
    if name.contains("-low-") { Tier::Low } else { Tier::Full }
}

/// Draws a code into every frame that a capture encodes.
#[derive(Debug, Clone)]
pub struct CodeWriter(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    /// Whether the film is drawn too.
    film: bool,
    encoders: Vec<EncodedFrames>,
    /// The numbers of the last frames by running time, which all encodings of a frame share.
    numbers: VecDeque<(Duration, u16)>,
    next: u16,
}

impl CodeWriter {
    /// Draws into all frames that this capture encodes. With `film`, a quarter of the frame is noise, so that encoders
    /// use their whole bitrate.
    pub fn attach(prepared: &Prepared, film: bool) -> Self {
        let writer = Self(Arc::new(Mutex::new(State { film, ..State::default() })));
        let state = writer.clone();
        prepared.on_encoder_input(move |frame| state.lock().draw(frame));
        writer
    }

    /// The frames that have received a code so far, by encoder.
    pub fn written(&self) -> Vec<EncodedFrames> {
        self.lock().encoders.clone()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn draw(&mut self, frame: EncoderInput<'_>) {
        let EncoderInput { encoder, width, height, running_time, captured, mut planes } = frame;
        let captured_ms = now_ms().saturating_sub(captured.elapsed().as_millis() as u64);
        let number = self.number(running_time);
        let tier = if tier_of_encoder(encoder) == Tier::Low { LOW_TIER } else { 0 };
        let Some((luma, chroma)) = planes.split_first_mut() else { return };
        if self.film {
            film::draw(luma.bytes, luma.stride, (width, height), number);
        }
        draw(luma.bytes, luma.stride, width, Code::new(number | tier, captured_ms));
        // I420 has two chroma planes of half the width; NV12 has one of byte pairs.
        let bytes_per_pixel = if chroma.len() == 1 { 2 } else { 1 };
        let [across, down] = [COLUMNS, ROWS].map(|cells| edge(cells, width).div_ceil(2));
        for plane in chroma {
            for line in plane.bytes.chunks_mut(plane.stride.max(1)).take(down) {
                line.iter_mut().take(across * bytes_per_pixel).for_each(|pixel| *pixel = GREY_CHROMA);
            }
        }
        self.note(encoder, width as u32, captured_ms);
    }

    /// The number of the frame with this running time.
    fn number(&mut self, running_time: Duration) -> u16 {
        if let Some((_, number)) = self.numbers.iter().find(|(known, _)| *known == running_time) {
            return *number;
        }
        let number = self.next;
        self.next = number.wrapping_add(1) & !LOW_TIER;
        if self.numbers.len() >= MAX_NUMBERS {
            self.numbers.pop_front();
        }
        self.numbers.push_back((running_time, number));
        number
    }

    fn note(&mut self, encoder: &str, width: u32, captured_ms: u64) {
        let known = self.encoders.iter().position(|frames| frames.encoder == encoder && frames.width == width);
        let at = known.unwrap_or_else(|| {
            let thread = std::fs::read_to_string("/proc/thread-self/comm").unwrap_or_default();
            let (encoder, thread) = (encoder.to_owned(), thread.trim_end().to_owned());
            self.encoders.push(EncodedFrames { encoder, thread, width, captured_ms: Vec::new() });
            self.encoders.len() - 1
        });
        self.encoders[at].captured_ms.push(captured_ms);
    }
}

/// A decoded frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadFrame {
    /// The frame's number, and its capture time by [`now_ms`]; `None` if no code can be read.
    pub code: Option<(u16, u64)>,
    /// When the frame was decoded, by the same clock.
    pub decoded_ms: u64,
    /// When a sink that keeps time shows the frame, by the same clock; `None` if the render does not know.
    pub shown_ms: Option<u64>,
    /// The width in pixels.
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

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::media::PlaneMut;

    #[test]
    fn a_frame_has_the_same_number_for_every_encoder() {
        let mut state = State::default();
        let time = Duration::from_millis;
        assert_eq!([0, 33, 33, 66, 0].map(|ms| state.number(time(ms))), [0, 1, 1, 2, 0]);
        for ms in 100..200 {
            state.number(time(ms));
        }
        assert_eq!(state.numbers.len(), MAX_NUMBERS);
    }

    #[test]
    fn a_code_is_grey_and_the_frame_is_recorded() {
        // I420 has two chroma planes of half the width, NV12 has one of pairs.
        for chroma_planes in [2, 1] {
            let mut state = State::default();
            let (mut luma, mut chroma) = (vec![0; 640 * 360], vec![7; 640 * 180]);
            let chroma_stride = if chroma_planes == 2 { 320 } else { 640 };
            let mut planes = vec![PlaneMut { bytes: &mut luma, stride: 640 }];
            let each = chroma.chunks_mut(320 * 360 / chroma_planes);
            planes.extend(each.take(chroma_planes).map(|bytes| PlaneMut { bytes, stride: chroma_stride }));
            let (running_time, captured) = (Duration::ZERO, Instant::now());
            let encoder = "screen-low-encoder";
            state.draw(EncoderInput { encoder, width: 640, height: 360, running_time, captured, planes });
            let code = read(&luma, 640, 640).unwrap();
            assert_eq!(code.number, LOW_TIER, "frame 0 of the low tier");
            // 16 cells of 8 pixels across, 3 down; chroma has half of each.
            let grey = chroma.iter().filter(|byte| **byte == GREY_CHROMA).count();
            assert_eq!(grey, 64 * 12 * 2, "{chroma_planes} planes");
            let [frames] = &state.encoders[..] else { panic!("{:?}", state.encoders) };
            assert_eq!((&*frames.encoder, frames.width, frames.tier()), (encoder, 640, Tier::Low));
            assert_eq!(code.captured_ms, (frames.captured_ms[0] % super::super::MS_WRAP) as u32);
        }
    }
}
