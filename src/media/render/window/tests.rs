//! Sends keys as a window does, and reads the drawn frames, without a display.

use std::sync::mpsc;

use gstreamer_app as gst_app;

use super::*;
use crate::media::pipelines;

/// A window whose frames arrive here.
struct Bed {
    pipeline: gst::Pipeline,
    raw: gst_app::AppSrc,
    window: Window,
    shown: mpsc::Receiver<Vec<u8>>,
}

const WIDTH: usize = 320;
const HEIGHT: usize = 240;

impl Bed {
    fn new() -> Self {
        crate::media::init().unwrap();
        let over = pipelines::text(
            &[pipelines::WATCH_WINDOW_OVER],
            &pipelines::Values::default().set("window.sink", "appsink name=window sync=false"),
        )
        .unwrap();
        let text = format!(
            "appsrc name=raw format=time is-live=true \
             caps=video/x-raw,format=GRAY8,width={WIDTH},height={HEIGHT},framerate=30/1 \
             ! videoconvert ! video/x-raw,format=I420 {over} \
             audiotestsrc is-live=true ! volume name=window-volume ! identity name=speaker ! fakesink"
        );
        let pipeline = pipelines::parse("window", &text).unwrap();
        let sink = pipeline.by_name("window").unwrap().downcast::<gst_app::AppSink>().unwrap();
        let (send, shown) = mpsc::channel();
        let callbacks = gst_app::AppSinkCallbacks::builder().new_sample(move |sink| {
            let sample = sink.pull_sample().map_err(|_| gst::FlowError::Eos)?;
            let luma = sample.buffer().unwrap().map_readable().unwrap()[..WIDTH * HEIGHT].to_vec();
            send.send(luma).map_err(|_| gst::FlowError::Eos)?;
            Ok(gst::FlowSuccess::Ok)
        });
        sink.set_callbacks(callbacks.build());
        let window = Window::attach(&pipeline, "classroom 7", false);
        pipeline.set_state(gst::State::Playing).unwrap();
        let raw = pipeline.by_name("raw").unwrap().downcast::<gst_app::AppSrc>().unwrap();
        Self { pipeline, raw, window, shown }
    }

    /// Pushes a grey frame.
    fn push(&self) {
        let mut frame = gst::Buffer::from_slice(vec![128; WIDTH * HEIGHT]);
        frame.get_mut().unwrap().set_pts(self.pipeline.current_running_time());
        self.raw.push_buffer(frame).unwrap();
    }

    fn next(&self) -> Vec<u8> {
        self.shown.recv_timeout(Duration::from_secs(20)).expect("a frame")
    }

    /// Pretends that the last frame came long ago.
    fn idle(&self) {
        if let Some((_, came)) = &mut self.window.state().last {
            *came = Instant::now().checked_sub(2 * IDLE_AFTER).unwrap();
        }
    }

    fn press(&self, key: &str) -> KeyAction {
        let event =
            gst::Structure::builder("application/x-gst-navigation").field("event", "key-press").field("key", key);
        let event = gst::event::Navigation::new(event.build());
        self.pipeline.by_name("window").unwrap().static_pad("sink").unwrap().push_event(event);
        let bus = self.pipeline.bus().unwrap();
        loop {
            let wanted = [gst::MessageType::Application];
            let message = bus.timed_pop_filtered(gst::ClockTime::from_seconds(20), &wanted).expect("the key");
            if let Some(structure) = message.structure().filter(|structure| structure.name() == KEY) {
                return self.window.on_key(&structure.get::<String>("key").unwrap());
            }
        }
    }

    fn property<T: for<'a> gst::glib::value::FromValue<'a> + 'static>(&self, element: &str, name: &str) -> T {
        self.pipeline.by_name(element).unwrap().property(name)
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        let _ = self.pipeline.set_state(gst::State::Null);
    }
}

fn is_plain(luma: &[u8]) -> bool {
    luma.iter().all(|pixel| pixel.abs_diff(luma[0]) <= 1)
}

#[test]
fn a_message_is_drawn_over_the_dimmed_last_frame() {
    let bed = Bed::new();
    bed.push();
    let before = bed.next();
    assert!(is_plain(&before));
    bed.idle();
    bed.window.set_message(Some("The teacher has left <&> waiting"));
    let told = bed.next();
    assert!(told[0] < before[0] - 20, "dimmed from {} to {}", before[0], told[0]);
    assert!(!is_plain(&told), "the sentence is drawn, markup or not");
    bed.push();
    bed.next();
    bed.window.set_message(None);
    bed.push();
    assert_eq!(bed.next(), before);
}

#[test]
fn the_space_key_holds_and_resumes_the_video() {
    let bed = Bed::new();
    bed.push();
    bed.next();
    bed.press("space");
    assert!(!is_plain(&bed.next()), "the note is drawn into the held frame");
    bed.push();
    bed.window.state().note_until = Some(Instant::now());
    bed.window.expire();
    assert!(is_plain(&bed.next()), "the held frame once more, without the note; the pushed one is held back");
    bed.press("space");
    bed.push();
    assert!(!is_plain(&bed.next()), "live, with a note");
}

#[test]
fn keys_change_and_show_the_volume() {
    let bed = Bed::new();
    for _ in 0..4 {
        assert_eq!(bed.press("Down"), KeyAction::Nothing);
    }
    assert!((bed.property::<f64>("window-volume", "volume") - 0.6).abs() < 0.01);
    assert_eq!(bed.property::<String>("window-note", "text"), "██████░░░░  60 %");
    bed.press("m");
    assert!(bed.property::<bool>("window-volume", "mute"));
    bed.press("Up");
    assert!(!bed.property::<bool>("window-volume", "mute"), "louder means to hear it");
    assert_eq!(level(0.5, false, false), "there is no sound card");
}

#[test]
fn the_c_key_shows_the_newest_chat_lines() {
    let bed = Bed::new();
    for n in 0..CHAT_LINES + 3 {
        bed.window.add_chat(&format!("Anna (1001): line {n} <b>&"));
    }
    assert!(bed.property::<bool>("window-chat", "silent"));
    bed.press("c");
    let text: String = bed.property("window-chat", "text");
    assert_eq!(text.lines().count(), CHAT_LINES);
    assert!(text.starts_with("Anna (1001): line 3 &lt;b&gt;&amp;"), "{text}");
    bed.press("c");
    assert!(bed.property::<bool>("window-chat", "silent"));
    assert_eq!(shortened(&"你".repeat(200)).chars().count(), CHAT_COLUMNS);
}

#[test]
fn a_cleared_chat_is_gone_from_the_window() {
    let bed = Bed::new();
    bed.window.add_chat("Anna (1001): hello");
    bed.press("c");
    assert!(!bed.property::<bool>("window-chat", "silent"));
    bed.window.clear_chat();
    assert!(bed.property::<bool>("window-chat", "silent"));
    bed.window.add_chat("Ms Li (9999): welcome");
    assert_eq!(bed.property::<String>("window-chat", "text"), "Ms Li (9999): welcome");
}

#[test]
fn only_the_q_key_closes_the_window() {
    let bed = Bed::new();
    assert_eq!(bed.press("q"), KeyAction::Close);
    for key in ["x", "Escape", "Return", "Shift_L", "f", "h"] {
        assert_eq!(bed.press(key), KeyAction::Nothing, "{key}");
    }
}
