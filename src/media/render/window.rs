//! The texts over the video in a window, and the keys of the window.
//!
//! The elements are in `pipelines/watch-window-over.gst`. They draw texts into the video, so that these look the same
//! on X11 and Wayland. While no frames come, the last frame passes these elements again to show a new text.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Once, PoisonError};
use std::thread::ThreadId;
use std::time::{Duration, Instant};

use super::fullscreen::Fullscreen;
use gstreamer as gst;
use gstreamer::prelude::*;

/// The bus message of a key press. The field `key` has its name.
pub(super) const KEY: &str = "classroom-key";

/// The number of visible chat lines.
const CHAT_LINES: usize = 6;

/// The characters of a chat line that fit into 1280 pixels.
const CHAT_COLUMNS: usize = 90;

/// How long a note is visible: enough to read a few words.
const NOTE_FOR: Duration = Duration::from_secs(2);

/// How long the list of keys is visible.
const KEYS_FOR: Duration = Duration::from_secs(8);

/// Without a frame for this long, redraw the last one. Shorter gaps are normal.
const IDLE_AFTER: Duration = Duration::from_millis(250);

/// The volume change of one key press.
const VOLUME_STEP: f64 = 0.1;

const KEYS: &str = "f or F11   full screen\n\
                    Esc        leave full screen\n\
                    m          sound off and on\n\
                    ↑ ↓        volume\n\
                    space      hold the picture, the sound goes on\n\
                    c          chat\n\
                    h          these keys\n\
                    q          leave";

/// The action that a key press requests of the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum KeyAction {
    /// Nothing: the window has handled the key.
    Nothing,
    /// Close the window and leave.
    Close,
}

/// The texts and state of a window. Clones share the window.
#[derive(Debug, Clone)]
pub struct Window(Arc<WindowInner>);

#[derive(Debug)]
struct WindowInner {
    pipeline: gst::glib::WeakRef<gst::Pipeline>,
    state: Mutex<State>,
    /// The thread that draws the last frame again. The frames of other threads are live.
    repeating: Mutex<Option<ThreadId>>,
    /// The user holds the video.
    holds: AtomicBool,
}

impl WindowInner {
    fn repeating(&self) -> MutexGuard<'_, Option<ThreadId>> {
        self.repeating.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug)]
struct State {
    /// For X11 only: waylandsink has a property.
    fullscreen: Option<Fullscreen>,
    is_full: bool,
    has_audio: bool,
    volume: f64,
    is_muted: bool,
    message: Option<String>,
    chat: VecDeque<String>,
    shows_chat: bool,
    /// When the note disappears.
    note_until: Option<Instant>,
    /// The last frame, and when it came.
    last: Option<(gst::Buffer, Instant)>,
    /// The pipelines of speakers, which are as loud as the lecture.
    speakers: Vec<gst::glib::WeakRef<gst::Pipeline>>,
}

impl Window {
    /// Takes over the window of a pipeline that is about to start.
    pub(super) fn attach(pipeline: &gst::Pipeline, title: &str, fullscreen: bool) -> Self {
        let is_x11 = pipeline.by_name("window").is_some_and(|window| window.find_property("fullscreen").is_none());
        let has_audio = has_audio(pipeline);
        // The part behind the colon changes with room name and teacher.
        let begin = title.split_once(": ").map_or(title, |(begin, _)| begin);
        let state = State {
            // If there is no thread, the window stays as it is.
            fullscreen: is_x11.then(|| Fullscreen::start(begin, fullscreen).ok()).flatten(),
            is_full: fullscreen,
            has_audio,
            volume: 1.0,
            is_muted: false,
            message: None,
            chat: VecDeque::new(),
            shows_chat: false,
            note_until: None,
            last: None,
            speakers: Vec::new(),
        };
        let inner = WindowInner {
            pipeline: pipeline.downgrade(),
            state: Mutex::new(state),
            repeating: Mutex::default(),
            holds: AtomicBool::new(false),
        };
        let window = Self(Arc::new(inner));
        window.watch_frames(pipeline);
        window.watch_keys(pipeline);
        window.set_title(title);
        window
    }

    /// Sets the title. On X11 the window is found by the start of its first title, which must stay.
    pub fn set_title(&self, title: &str) {
        let Some(element) = self.element("window-title") else { return };
        // GLib allows this once per process.
        static NAMED: Once = Once::new();
        NAMED.call_once(|| gst::glib::set_application_name("classroom"));
        let tags = gst::Structure::builder("taglist").field("title", title).build().to_string();
        // The element wants only the fields, without the name and the end of the structure.
        let fields = tags.strip_prefix("taglist, ").unwrap_or_default();
        element.set_property("tags", fields.trim_end_matches(';'));
    }

    /// Shows a sentence over the dimmed video. None shows the video alone.
    pub fn set_message(&self, message: Option<&str>) {
        let mut state = self.state();
        if state.message.as_deref() == message {
            return;
        }
        state.message = message.map(str::to_owned);
        drop(state);
        self.set_text("window-message", message);
        if let Some(dim) = self.element("window-dim") {
            let (brightness, contrast, saturation) = if message.is_some() { (-0.2, 0.5, 0.3) } else { (0.0, 1.0, 1.0) };
            dim.set_property("brightness", brightness);
            dim.set_property("contrast", contrast);
            dim.set_property("saturation", saturation);
        }
        self.redraw();
    }

    /// Makes the audio of a speaker as loud as that of the lecture, now and later.
    pub(super) fn join_audio(&self, pipeline: &gst::Pipeline) {
        let mut state = self.state();
        state.has_audio |= has_audio(pipeline);
        state.speakers.retain(|pipeline| pipeline.upgrade().is_some());
        state.speakers.push(pipeline.downgrade());
        apply_volume(pipeline, state.volume, state.is_muted);
    }

    /// Adds a chat line. The key `c` shows the last ones.
    pub fn add_chat(&self, line: &str) {
        let mut state = self.state();
        state.chat.push_back(shortened(line));
        while state.chat.len() > CHAT_LINES {
            state.chat.pop_front();
        }
        let shows = state.shows_chat;
        drop(state);
        if shows {
            self.show_chat();
        }
    }

    /// Removes all chat lines.
    pub fn clear_chat(&self) {
        let mut state = self.state();
        state.chat.clear();
        let shows = state.shows_chat;
        drop(state);
        if shows {
            self.show_chat();
        }
    }

    /// Handles a key press, by its X11 name.
    pub(super) fn on_key(&self, key: &str) -> KeyAction {
        match key {
            "q" | "Q" => return KeyAction::Close,
            "f" | "F" | "F11" => {
                let is_full = self.state().is_full;
                self.set_fullscreen(!is_full);
            }
            "Escape" => self.set_fullscreen(false),
            "m" | "M" => {
                let mut state = self.state();
                state.is_muted = !state.is_muted;
                drop(state);
                self.set_volume(0.0);
            }
            "Up" | "Right" | "plus" | "equal" | "KP_Add" => self.set_volume(VOLUME_STEP),
            "Down" | "Left" | "minus" | "KP_Subtract" => self.set_volume(-VOLUME_STEP),
            "space" => self.hold(),
            "c" | "C" => {
                let mut state = self.state();
                state.shows_chat = !state.shows_chat;
                let is_empty = state.shows_chat && state.chat.is_empty();
                drop(state);
                if is_empty {
                    self.note("there are no chat messages yet", NOTE_FOR);
                }
                self.show_chat();
            }
            "h" | "H" | "question" | "slash" | "F1" => self.note(KEYS, KEYS_FOR),
            _ => {}
        }
        KeyAction::Nothing
    }

    /// When [`expire`](Self::expire) is due.
    pub(super) fn due(&self) -> Option<Instant> {
        self.state().note_until
    }

    /// Removes the note if its time is over.
    pub(super) fn expire(&self) {
        let mut state = self.state();
        if state.note_until.is_none_or(|until| Instant::now() < until) {
            return;
        }
        state.note_until = None;
        drop(state);
        self.set_text("window-note", None);
        self.redraw();
    }

    fn set_fullscreen(&self, full: bool) {
        let mut state = self.state();
        state.is_full = full;
        match &state.fullscreen {
            Some(fullscreen) => fullscreen.set(full),
            None => {
                drop(state);
                if let Some(window) = self.element("window").filter(|w| w.find_property("fullscreen").is_some()) {
                    window.set_property("fullscreen", full);
                }
            }
        }
    }

    /// Changes the volume by a step. A step of 0 only applies a changed mute; any other step unmutes.
    fn set_volume(&self, step: f64) {
        let mut state = self.state();
        if step != 0.0 {
            state.volume = (state.volume + step).clamp(0.0, 1.0);
            state.is_muted = false;
        }
        let (volume, is_muted, has_audio) = (state.volume, state.is_muted, state.has_audio);
        state.speakers.retain(|pipeline| pipeline.upgrade().is_some());
        let pipelines: Vec<_> =
            [&self.0.pipeline].into_iter().chain(&state.speakers).filter_map(gst::glib::WeakRef::upgrade).collect();
        drop(state);
        pipelines.iter().for_each(|pipeline| apply_volume(pipeline, volume, is_muted));
        self.note(&level(volume, is_muted, has_audio), NOTE_FOR);
    }

    /// Holds the video, or shows it live again. Decoding goes on.
    fn hold(&self) {
        if self.0.holds.load(Ordering::Relaxed) {
            // The first live picture has the note, too.
            self.note("live", NOTE_FOR);
            self.0.holds.store(false, Ordering::Relaxed);
        } else {
            self.0.holds.store(true, Ordering::Relaxed);
            self.note("picture held; space shows the live picture", NOTE_FOR);
        }
    }

    fn show_chat(&self) {
        let state = self.state();
        let lines: Vec<&str> = state.chat.iter().map(String::as_str).collect();
        let text = (state.shows_chat && !lines.is_empty()).then(|| lines.join("\n"));
        drop(state);
        self.set_text("window-chat", text.as_deref());
        self.redraw();
    }

    fn note(&self, text: &str, time: Duration) {
        self.state().note_until = Some(Instant::now() + time);
        self.set_text("window-note", Some(text));
        self.redraw();
    }

    fn set_text(&self, element: &str, text: Option<&str>) {
        let Some(element) = self.element(element) else { return };
        // The element reads Pango markup, and the text may come from anybody.
        element.set_property("text", gst::glib::markup_escape_text(text.unwrap_or_default()).as_str());
        element.set_property("silent", text.is_none());
    }

    /// Shows the last frame again with the current texts, unless a new frame comes soon anyway.
    fn redraw(&self) {
        let is_held = self.0.holds.load(Ordering::Relaxed);
        let last = {
            let state = self.state();
            state.last.as_ref().filter(|(_, came)| is_held || came.elapsed() > IDLE_AFTER).map(|(last, _)| last.clone())
        };
        let (Some(mut frame), Some(pipeline)) = (last, self.0.pipeline.upgrade()) else { return };
        let Some(pad) = pipeline.by_name("window-dim").and_then(|dim| dim.static_pad("sink")) else { return };
        let latency = pipeline.latency().unwrap_or_default();
        if let Some(now) = pipeline.current_running_time() {
            frame.make_mut().set_pts(now.saturating_sub(latency));
        }
        *self.0.repeating() = Some(std::thread::current().id());
        // This fails only while the pipeline stops.
        let _ = pad.chain(frame);
        *self.0.repeating() = None;
    }

    /// Keeps the last frame, and drops frames while the user holds the video.
    fn watch_frames(&self, pipeline: &gst::Pipeline) {
        let Some(pad) = pipeline.by_name("window-dim").and_then(|dim| dim.static_pad("sink")) else { return };
        let inner = Arc::downgrade(&self.0);
        pad.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
            let Some(inner) = inner.upgrade() else { return gst::PadProbeReturn::Ok };
            if *inner.repeating() == Some(std::thread::current().id()) {
                return gst::PadProbeReturn::Ok;
            }
            if inner.holds.load(Ordering::Relaxed) {
                return gst::PadProbeReturn::Drop;
            }
            if let Some(frame) = info.buffer() {
                let mut state = inner.state.lock().unwrap_or_else(PoisonError::into_inner);
                state.last = Some((frame.clone(), Instant::now()));
            }
            gst::PadProbeReturn::Ok
        });
    }

    /// Posts key presses to the bus, because this is the window's own thread and must not wait.
    fn watch_keys(&self, pipeline: &gst::Pipeline) {
        let Some(pad) = pipeline.by_name("window").and_then(|window| window.static_pad("sink")) else { return };
        let weak = pipeline.downgrade();
        pad.add_probe(gst::PadProbeType::EVENT_UPSTREAM, move |_, info| {
            if let Some(key) = info.event().and_then(|event| pressed(event))
                && let Some(pipeline) = weak.upgrade()
            {
                let message = gst::Structure::builder(KEY).field("key", key).build();
                // This fails only while the pipeline stops.
                let _ = pipeline.post_message(gst::message::Application::new(message));
            }
            gst::PadProbeReturn::Ok
        });
    }

    fn element(&self, name: &str) -> Option<gst::Element> {
        self.0.pipeline.upgrade()?.by_name(name)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a pipeline has a sound card.
fn has_audio(pipeline: &gst::Pipeline) -> bool {
    let speaker = pipeline.by_name("speaker").and_then(|speaker| speaker.factory());
    speaker.is_some_and(|factory| factory.name() != "fakesink")
}

fn apply_volume(pipeline: &gst::Pipeline, volume: f64, is_muted: bool) {
    if let Some(element) = pipeline.by_name("window-volume") {
        element.set_property("volume", volume);
        element.set_property("mute", is_muted);
    }
}

/// The key of a navigation event (GstNavigation), if it is a key press.
fn pressed(event: &gst::EventRef) -> Option<String> {
    let structure = event.structure().filter(|_| event.type_() == gst::EventType::Navigation)?;
    let is_press = structure.get::<&str>("event").is_ok_and(|kind| kind == "key-press");
    is_press.then(|| structure.get::<String>("key").ok()).flatten()
}

/// The volume as a bar of ten blocks.
fn level(volume: f64, is_muted: bool, has_audio: bool) -> String {
    if !has_audio {
        return "there is no sound card".to_owned();
    }
    let percent = (volume * 100.0).round() as usize;
    let blocks = percent.div_ceil(10).min(10);
    let bar = format!("{}{}", "█".repeat(blocks), "░".repeat(10 - blocks));
    if is_muted { format!("{bar}  sound off, m turns it on") } else { format!("{bar}  {percent} %") }
}

fn shortened(line: &str) -> String {
    if line.chars().count() <= CHAT_COLUMNS {
        return line.to_owned();
    }
    line.chars().take(CHAT_COLUMNS - 1).chain(['…']).collect()
}

#[cfg(test)]
mod tests;
