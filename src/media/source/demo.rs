//! The demo lecture, which needs no device: slides with a running clock, and a soft melody.
//!
//! This file fills plain areas of each frame. The texts are elements of `pipelines/teach-demo-video.gst`.

use crate::media::options::Size;
use crate::media::pipelines::Values;
use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_video as gst_video;
use gstreamer_video::prelude::*;

/// The duration of a slide, short enough for a demo of ten seconds to show a change.
const SLIDE_SECONDS: f64 = 6.0;

/// The delay from one line to the next.
const LINE_SECONDS: f64 = 1.1;

/// Title and lines, in Pango markup.
const SLIDES: [(&str, &[&str]); 4] = [
    (
        "One lecture, many students",
        &[
            "One teacher, one command",
            "Each picture is encoded once, for everybody",
            "Screen, camera and voice stay together",
        ],
    ),
    (
        "How it travels",
        &["GStreamer captures and encodes", "WebRTC carries it, encrypted", "One UDP port serves the whole class"],
    ),
    (
        "When the network is bad",
        &[
            "Lost packets are sent again",
            "A slow student never slows the others",
            "A lost connection comes back by itself",
        ],
    ),
    (
        "Try it yourself",
        &[
            "<tt>classroom teach --room 10013</tt>",
            "<tt>classroom watch --room 10013 --user 1001</tt>",
            "Open a second terminal, or another machine",
        ],
    ),
];

/// Positions and sizes, in pixels.
#[derive(Debug, Clone, Copy)]
struct Layout {
    size: Size,
    margin: u32,
    header: u32,
    title: u32,
    body: u32,
    footer: u32,
    bar: u32,
}

impl Layout {
    fn new(size: Size) -> Self {
        // A narrow frame limits the letters as much as a low one.
        let unit = size.height.min(size.width * 9 / 16);
        Self {
            size,
            margin: size.width / 16,
            header: size.height / 5,
            title: unit / 14,
            body: unit / 19,
            footer: unit / 34,
            bar: (size.height / 90).max(2) & !1,
        }
    }
}

/// Sets the placeholders of the demo's pipeline.
pub(super) fn values(values: Values, size: Size) -> Values {
    let layout = Layout::new(size);
    values
        .set("demo.margin", layout.margin)
        .set("demo.title-y", layout.header / 2 - layout.title * 2 / 3)
        .set("demo.clock-y", layout.header / 2 - layout.title / 2)
        .set("demo.body-y", layout.header + layout.size.height / 9)
        .set("demo.footer-y", layout.margin / 2)
}

/// Makes a parsed demo draw and play.
pub(in crate::media) fn attach(pipeline: &gst::Pipeline, size: Size) {
    if let Some(pad) = pad_of(pipeline, "demo-canvas") {
        let mut painter = Painter::new(pipeline, size);
        on_buffers(&pad, move |pad, buffer| painter.paint(pad, buffer));
    }
    if let Some(pad) = pad_of(pipeline, "demo-voice") {
        let mut melody = Melody::default();
        on_buffers(&pad, move |_, buffer| {
            if let Ok(mut map) = buffer.map_writable() {
                for sample in map.chunks_exact_mut(2) {
                    sample.copy_from_slice(&melody.next_sample().to_le_bytes());
                }
            }
        });
    }
}

fn pad_of(pipeline: &gst::Pipeline, element: &str) -> Option<gst::Pad> {
    pipeline.by_name(element)?.static_pad("src")
}

/// Calls `change` for each buffer at a pad.
fn on_buffers(pad: &gst::Pad, change: impl FnMut(&gst::Pad, &mut gst::BufferRef) + Send + 'static) {
    // Only the pad's one streaming thread calls the probe, so nobody waits for the lock.
    let change = std::sync::Mutex::new(change);
    pad.add_probe(gst::PadProbeType::BUFFER, move |pad, info| {
        if let (Some(buffer), Ok(mut change)) = (info.buffer_mut(), change.lock()) {
            change(pad, buffer.make_mut());
        }
        gst::PadProbeReturn::Ok
    });
}

/// Draws slides.
struct Painter {
    layout: Layout,
    info: Option<gst_video::VideoInfo>,
    texts: [(Option<gst::Element>, String); 4],
}

impl Painter {
    fn new(pipeline: &gst::Pipeline, size: Size) -> Self {
        let layout = Layout::new(size);
        let text = |name: &str, font: String, color: u32| {
            let element = pipeline.by_name(name);
            if let Some(element) = &element {
                element.set_property("font-desc", font);
                element.set_property("color", color);
            }
            (element, String::new())
        };
        let texts = [
            text("demo-title", format!("Sans Bold {}px", layout.title), 0xffff_ffff),
            text("demo-body", format!("Sans {}px", layout.body), 0xff1f_2933),
            text("demo-clock", format!("Monospace {}px", layout.title * 3 / 4), 0xffff_d166),
            text("demo-footer", format!("Sans {}px", layout.footer), 0xff6b_7680),
        ];
        Self { layout, info: None, texts }
    }

    fn paint(&mut self, pad: &gst::Pad, buffer: &mut gst::BufferRef) {
        let seconds = buffer.pts().map_or(0.0, |pts| pts.mseconds() as f64 / 1000.0);
        if self.info.is_none() {
            self.info = pad.current_caps().and_then(|caps| gst_video::VideoInfo::from_caps(&caps).ok());
        }
        if let Some(info) = &self.info
            && let Ok(mut frame) = gst_video::VideoFrameRef::from_buffer_ref_writable(buffer, info)
        {
            areas(&mut frame, &self.layout, seconds);
        }
        self.write(seconds);
    }

    /// Sets the texts that have changed. An unchanged text would be laid out again too.
    fn write(&mut self, seconds: f64) {
        let slide = (seconds / SLIDE_SECONDS) as usize;
        let (title, lines) = SLIDES[slide % SLIDES.len()];
        let shown = 1 + ((seconds % SLIDE_SECONDS) / LINE_SECONDS) as usize;
        let body: Vec<String> =
            lines.iter().take(shown).map(|line| format!("<span color=\"#2a7de1\">\u{2022}</span>  {line}")).collect();
        let now = gst::glib::DateTime::now_local().and_then(|now| now.format("%H:%M:%S")).unwrap_or_default();
        let texts = [
            title.to_string(),
            body.join("\n<span size=\"50%\">\n</span>"),
            now.to_string(),
            format!(
                "classroom demo   \u{b7}   slide {} of {}   \u{b7}   {:02}:{:02}",
                slide % SLIDES.len() + 1,
                SLIDES.len(),
                seconds as u64 / 60,
                seconds as u64 % 60
            ),
        ];
        for ((element, before), text) in self.texts.iter_mut().zip(texts) {
            if *before != text
                && let Some(element) = element
            {
                element.set_property("text", &text);
                *before = text;
            }
        }
    }
}

/// Draws paper, a dark header, and a bar that fills during a slide.
fn areas(frame: &mut gst_video::VideoFrameRef<&mut gst::BufferRef>, layout: &Layout, seconds: f64) {
    let Size { width, height } = layout.size;
    let done = (f64::from(width) * (seconds % SLIDE_SECONDS) / SLIDE_SECONDS) as u32 & !1;
    let header = layout.header & !1;
    fill(frame, [0, header, width, height - header], 0xf7f7f2);
    fill(frame, [0, 0, width, header], 0x1d3346);
    fill(frame, [0, header, width, layout.bar], 0xd9dee3);
    fill(frame, [0, header, done, layout.bar], 0x2a7de1);
    // A moving dot shows that frames arrive. The other corner belongs to the camera.
    let travel = f64::from(width) * 0.55;
    let x = layout.margin + (travel * (0.5 - 0.5 * (seconds * 0.8).cos())) as u32;
    let dot = layout.footer & !1;
    fill(frame, [x & !1, (height - layout.margin / 2 - 3 * dot) & !1, dot, dot], 0x2fa37a);
}

/// Fills the rectangle `x, y, width, height`, all even, of an I420 frame with an RGB colour.
fn fill(frame: &mut gst_video::VideoFrameRef<&mut gst::BufferRef>, area: [u32; 4], rgb: u32) {
    let [r, g, b] = [16, 8, 0].map(|shift| ((rgb >> shift) & 0xff) as f32);
    // BT.709, GStreamer's default for larger frames. Smaller ones get a slight tint.
    let y = 16.0 + 0.1826 * r + 0.6142 * g + 0.0620 * b;
    let u = 128.0 - 0.1006 * r - 0.3386 * g + 0.4392 * b;
    let v = 128.0 + 0.4392 * r - 0.3989 * g - 0.0403 * b;
    for (plane, value) in [(0u32, y), (1, u), (2, v)] {
        let [x, top, width, height] = area.map(|n| (if plane == 0 { n } else { n / 2 }) as usize);
        let stride = frame.plane_stride()[plane as usize] as usize;
        let Ok(data) = frame.plane_data_mut(plane) else { continue };
        for row in data.chunks_mut(stride).skip(top).take(height) {
            if let Some(part) = row.get_mut(x..x + width) {
                part.fill(value as u8);
            }
        }
    }
}

/// A pentatonic melody, four notes per second, at about -20 dB.
#[derive(Debug, Default)]
struct Melody {
    sample: u64,
    phase: f32,
}

impl Melody {
    const RATE: u64 = 48_000;
    const NOTE_SAMPLES: u64 = Self::RATE / 4;
    /// Semitones above A3, all from A minor pentatonic, in which no two notes clash.
    const NOTES: [f32; 16] = [0., 7., 12., 15., 12., 7., 10., 7., 3., 10., 15., 19., 15., 10., 12., 7.];

    fn next_sample(&mut self) -> i16 {
        let note = Self::NOTES[(self.sample / Self::NOTE_SAMPLES) as usize % Self::NOTES.len()];
        let at = (self.sample % Self::NOTE_SAMPLES) as f32 / Self::NOTE_SAMPLES as f32;
        self.sample += 1;
        self.phase = (self.phase + 220.0 * (note / 12.0).exp2() / Self::RATE as f32).fract();
        // Rise within 10 ms and fade to zero, so that notes join without a click.
        let loudness = (at * 25.0).min(1.0) * (1.0 - at).powi(2);
        let turn = self.phase * std::f32::consts::TAU;
        (loudness * (turn.sin() + 0.25 * (2.0 * turn).sin()) * 3200.0) as i16
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_melody_is_soft_and_has_no_clicks() {
        let mut melody = Melody::default();
        let samples: Vec<i32> = (0..Melody::RATE * 8).map(|_| i32::from(melody.next_sample())).collect();
        let loudest = samples.iter().map(|s| s.abs()).max().unwrap();
        assert!((1000..4000).contains(&loudest), "{loudest}");
        let step = samples.windows(2).map(|w| (w[1] - w[0]).abs()).max().unwrap();
        assert!(step < 400, "{step}");
    }
}
