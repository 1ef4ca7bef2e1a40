//! Codes in what a capture encodes, whatever encoders it has and will have.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_video as gst_video;
use gstreamer_video::prelude::*;

use super::super::capture::Prepared;
use super::super::encode::output::instant_of;
use super::{COLUMNS, Code, OF_LOW, ROWS, clock_ms, draw, edge, film};
use crate::rtp::Tier;

/// Pictures whose number is remembered until the slowest encoder has them: two seconds.
const MOST_NUMBERS: usize = 64;

/// What an encoder was given.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Drawn {
    /// The element's name, as `screen-encoder`.
    pub encoder: String,
    /// The name of the thread that brings it pictures. Those that it starts have the same.
    pub thread: String,
    /// Pixels from left to right.
    pub width: u32,
    /// When each picture was captured, by [`now_ms`](super::now_ms), in this order.
    pub captured_ms: Vec<u64>,
}

/// Draws a code into every picture before it is encoded, and notes it.
#[derive(Debug, Clone, Default)]
pub struct Codes(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    /// Whether a film is drawn too.
    film: bool,
    drawn: Vec<Drawn>,
    /// Numbers of the last pictures by their running time, which all encodings of a picture share.
    numbers: VecDeque<(gst::ClockTime, u16)>,
    next: u16,
}

impl Drawn {
    /// The tier that the encoder makes.
    pub fn tier(&self) -> Tier {
        tier_of_encoder(&self.encoder)
    }
}

/// The names of encoders are those of their encodings: `screen-encoder`, `screen-low-vp8-encoder`.
fn tier_of_encoder(name: &str) -> Tier {
    if name.contains("-low-") { Tier::Low } else { Tier::Full }
}

impl State {
    /// The number of the picture of a running time.
    fn number(&mut self, running: gst::ClockTime) -> u16 {
        if let Some((_, number)) = self.numbers.iter().find(|(known, _)| *known == running) {
            return *number;
        }
        let number = self.next;
        self.next = number.wrapping_add(1) & !OF_LOW;
        if self.numbers.len() >= MOST_NUMBERS {
            self.numbers.pop_front();
        }
        self.numbers.push_back((running, number));
        number
    }

    fn note(&mut self, encoder: &str, width: u32, captured_ms: u64) {
        let known = self.drawn.iter().position(|drawn| drawn.encoder == encoder && drawn.width == width);
        let at = known.unwrap_or_else(|| {
            let thread = std::fs::read_to_string("/proc/thread-self/comm").unwrap_or_default();
            self.drawn.push(Drawn {
                encoder: encoder.into(),
                thread: thread.trim_end().into(),
                width,
                ..Drawn::default()
            });
            self.drawn.len() - 1
        });
        self.drawn[at].captured_ms.push(captured_ms);
    }
}

impl Codes {
    /// Draws into all that this capture will encode, encoders that it makes later included. Pictures must be I420 or NV12
    /// there, as they are in the graphs of this program; others are left alone and not noted. With a `film` a quarter of
    /// the picture is noise, so that encoders use all their bits.
    pub fn draw_into(prepared: &Prepared, film: bool) -> Self {
        let codes = Self(Arc::new(Mutex::new(State { film, ..State::default() })));
        let pipeline = prepared.pipeline();
        for element in pipeline.iterate_recurse().into_iter().flatten() {
            codes.attach(&element);
        }
        let later = codes.clone();
        pipeline.connect_deep_element_added(move |_, _, element| later.attach(element));
        codes
    }

    /// What was drawn until now.
    pub fn drawn(&self) -> Vec<Drawn> {
        self.state().drawn.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn attach(&self, element: &gst::Element) {
        let class = element.factory().and_then(|factory| factory.metadata("klass").map(str::to_owned));
        if !class.is_some_and(|class| class.contains("Encoder/Video")) {
            return;
        }
        let Some(pad) = element.static_pad("sink") else { return };
        let codes = self.clone();
        pad.add_probe(gst::PadProbeType::BUFFER, move |pad, info| {
            if let Some(buffer) = info.buffer_mut() {
                // Whatever is not as expected is not drawn, and so neither noted nor missed.
                let _ = codes.draw(pad, buffer);
            }
            gst::PadProbeReturn::Ok
        });
    }

    fn draw(&self, pad: &gst::Pad, buffer: &mut gst::Buffer) -> Option<()> {
        let encoder = pad.parent_element()?;
        let info = gst_video::VideoInfo::from_caps(&*pad.current_caps()?).ok()?;
        if !matches!(info.format(), gst_video::VideoFormat::I420 | gst_video::VideoFormat::Nv12) {
            return None;
        }
        let segment = pad.sticky_event::<gst::event::Segment>(0)?;
        let running = segment.segment().downcast_ref::<gst::ClockTime>()?.to_running_time(buffer.pts()?)?;
        let age = instant_of(&encoder, running).map_or(Duration::ZERO, |captured| captured.elapsed());
        let captured_ms = clock_ms().saturating_sub(age.as_millis() as u64);
        let mut state = self.state();
        let number = state.number(running);
        let of_tier = if tier_of_encoder(&encoder.name()) == Tier::Low { OF_LOW } else { 0 };
        let code = Code::new(number | of_tier, captured_ms);
        // Shared with another encoding: then this makes a copy.
        let mut frame = gst_video::VideoFrameRef::from_buffer_ref_writable(buffer.make_mut(), &info).ok()?;
        let width = info.width();
        let strides: Vec<usize> = frame.plane_stride().iter().map(|stride| (*stride).max(0) as usize).collect();
        let (luma, stride) = (frame.plane_data_mut(0).ok()?, *strides.first()?);
        if state.film {
            film::draw(luma, stride, (width as usize, info.height() as usize), number);
        }
        draw(luma, stride, width as usize, code);
        // Without colour: both planes of I420 have half the width, the one of NV12 has pairs.
        let pairs = if strides.len() == 2 { 2 } else { 1 };
        let [across, down] = [COLUMNS, ROWS].map(|cells| edge(cells, width as usize).div_ceil(2));
        for (plane, stride) in (1..).zip(strides.iter().skip(1)) {
            let Ok(data) = frame.plane_data_mut(plane) else { continue };
            for line in data.chunks_mut((*stride).max(1)).take(down) {
                line.iter_mut().take(across * pairs).for_each(|pixel| *pixel = 128);
            }
        }
        state.note(&encoder.name(), width, captured_ms);
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_has_one_number_whichever_encoder_has_it_first() {
        let mut state = State::default();
        let time = gst::ClockTime::from_mseconds;
        assert_eq!([0, 33, 33, 66, 0].map(|ms| state.number(time(ms))), [0, 1, 1, 2, 0]);
        for ms in 100..200 {
            state.number(time(ms));
        }
        assert_eq!(state.numbers.len(), MOST_NUMBERS);
    }

    #[test]
    fn encoders_that_come_later_are_drawn_into_too() {
        super::super::super::init().unwrap();
        let is_drawn = |text: &str| {
            let pipeline = gst::Pipeline::new();
            let codes = Codes::default();
            let later = codes.clone();
            pipeline.connect_deep_element_added(move |_, _, element| later.attach(element));
            let bin = gst::parse::bin_from_description(text, false).unwrap();
            pipeline.add(&bin).unwrap();
            // The closure and this one; each probe holds one more.
            Arc::strong_count(&codes.0) - 2
        };
        let source = "videotestsrc ! queue !";
        assert_eq!(is_drawn(&format!("{source} vp8enc ! fakesink {source} x264enc ! fakesink")), 2);
        assert_eq!(is_drawn(&format!("{source} jpegenc ! fakesink audiotestsrc ! opusenc ! fakesink")), 0);
    }
}
