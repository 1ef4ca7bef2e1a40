//! Full screen for GStreamer's X11 sinks, which open a plain window: ask the window manager to change it.

use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::Duration;

use x11rb::connection::Connection;
use x11rb::protocol::xproto::{
    AtomEnum, ClientMessageEvent, ConfigureWindowAux, ConnectionExt, EventMask, InputFocus, MapState, Screen, Window,
};
use x11rb::rust_connection::RustConnection;

/// How often to look for the window, which opens with the first frame.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

/// How often to repeat the request. A sink that is opening its window may resize it once more. Give up in the end: with
/// several monitors the window never gets the whole size, and the user may have resized it.
const MAX_TRIES: usize = 20;

/// How many looks to leave a new window alone. Its sink still negotiates the video size and may miss a new window size.
const SETTLE_LOOKS: usize = 3;

/// The depth below the root window: window managers add one or two frames.
const MAX_DEPTH: usize = 3;

/// x, y, width and height in pixels.
type Geometry = (i16, i16, u16, u16);

type XError = Box<dyn std::error::Error>;

/// The thread that asks the window manager. Dropping this ends the thread.
#[derive(Debug)]
pub(super) struct Fullscreen {
    /// None only during the drop.
    wanted: Option<Sender<bool>>,
    thread: Option<JoinHandle<()>>,
}

impl Fullscreen {
    /// Watches for the window on `$DISPLAY` whose title starts with `title`. `wanted`: full screen from the start.
    pub(super) fn start(title: &str, wanted: bool) -> std::io::Result<Self> {
        let (sender, orders) = mpsc::channel();
        let title = title.to_owned();
        let thread = std::thread::Builder::new().name("fullscreen".into());
        let thread = thread.spawn(move || drop(follow(&title, wanted, &orders)))?;
        Ok(Self { wanted: Some(sender), thread: Some(thread) })
    }

    /// Fills the screen, or restores the previous geometry.
    pub(super) fn set(&self, wanted: bool) {
        if let Some(sender) = &self.wanted {
            // This fails if the thread has lost the display. Then the window stays as it is.
            let _ = sender.send(wanted);
        }
    }
}

impl Drop for Fullscreen {
    fn drop(&mut self) {
        self.wanted = None;
        if let Some(thread) = self.thread.take() {
            // A failed thread leaves nothing to end.
            let _ = thread.join();
        }
    }
}

/// Follows the orders until the channel closes or the display fails.
fn follow(title: &str, mut wanted: bool, orders: &Receiver<bool>) -> Result<(), XError> {
    let (display, screen) = x11rb::connect(None)?;
    let screen = display.setup().roots.get(screen).cloned().ok_or("no screen")?;
    let (mut seen, mut tries, mut before) = (0, 0, None);
    let mut is_done = !wanted;
    loop {
        let order = if is_done {
            orders.recv().map_err(|_| RecvTimeoutError::Disconnected)
        } else {
            orders.recv_timeout(LOOK_INTERVAL)
        };
        match order {
            Ok(order) => (wanted, tries, is_done) = (order, 0, false),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return Ok(()),
        }
        let Some(window) = find(&display, screen.root, title, MAX_DEPTH) else { continue };
        seen += 1;
        if seen <= SETTLE_LOOKS {
            continue;
        }
        let done = if wanted {
            fill(&display, &screen, window, &mut before)
        } else {
            restore(&display, &screen, window, &mut before)
        };
        // The window has been asked again, or has gone and may come back.
        tries += 1;
        is_done = done.unwrap_or(false) || tries >= MAX_TRIES;
    }
}

/// Finds the window by the start of its title. (The sink appends the program's name.)
fn find(display: &RustConnection, below: Window, title: &str, depth: usize) -> Option<Window> {
    let children = display.query_tree(below).ok()?.reply().ok()?.children;
    children.into_iter().find_map(|window| {
        let name = display.get_property(false, window, AtomEnum::WM_NAME, AtomEnum::ANY, 0, 256).ok()?.reply();
        if name.is_ok_and(|name| name.value.starts_with(title.as_bytes())) {
            // Before the window is mapped, its sink does not listen and would miss the new size.
            let seen = display.get_window_attributes(window).ok()?.reply().ok()?.map_state == MapState::VIEWABLE;
            return seen.then_some(window);
        }
        if depth == 0 { None } else { find(display, window, title, depth - 1) }
    })
}

/// Returns whether the window fills the screen. If not, asks the window manager, or resizes the window if there is
/// none.
fn fill(
    display: &RustConnection,
    screen: &Screen,
    window: Window,
    before: &mut Option<Geometry>,
) -> Result<bool, XError> {
    let now = display.get_geometry(window)?.reply()?;
    let (width, height) = (screen.width_in_pixels, screen.height_in_pixels);
    if (now.width, now.height) == (width, height) {
        return Ok(true);
    }
    before.get_or_insert((now.x, now.y, now.width, now.height));
    if !ask_manager(display, screen.root, window, true)? {
        place(display, window, (0, 0, width, height))?;
        display.set_input_focus(InputFocus::PARENT, window, x11rb::CURRENT_TIME)?;
    }
    display.flush()?;
    Ok(false)
}

/// Returns whether the window is smaller than the screen. If not, asks the window manager, or restores the previous
/// geometry.
fn restore(
    display: &RustConnection,
    screen: &Screen,
    window: Window,
    before: &mut Option<Geometry>,
) -> Result<bool, XError> {
    let now = display.get_geometry(window)?.reply()?;
    let (width, height) = (screen.width_in_pixels, screen.height_in_pixels);
    if (now.width, now.height) != (width, height) {
        *before = None;
        return Ok(true);
    }
    if !ask_manager(display, screen.root, window, false)? {
        // A window that started in full screen has no previous geometry.
        let centre = ((width / 8).cast_signed(), (height / 8).cast_signed(), width / 4 * 3, height / 4 * 3);
        place(display, window, before.unwrap_or(centre))?;
    }
    display.flush()?;
    Ok(false)
}

/// Asks the window manager by `_NET_WM_STATE` (freedesktop.org, EWMH). False if there is none.
fn ask_manager(display: &RustConnection, root: Window, window: Window, full: bool) -> Result<bool, XError> {
    let atom = |name: &str| -> Result<u32, XError> { Ok(display.intern_atom(false, name.as_bytes())?.reply()?.atom) };
    let check = atom("_NET_SUPPORTING_WM_CHECK")?;
    if display.get_property(false, root, check, AtomEnum::WINDOW, 0, 1)?.reply()?.value_len == 0 {
        return Ok(false);
    }
    // 1 adds the state and 0 removes it. The last 1 marks a normal application.
    let data = [u32::from(full), atom("_NET_WM_STATE_FULLSCREEN")?, 0, 1, 0];
    let message = ClientMessageEvent::new(32, window, atom("_NET_WM_STATE")?, data);
    let mask = EventMask::SUBSTRUCTURE_REDIRECT | EventMask::SUBSTRUCTURE_NOTIFY;
    display.send_event(false, root, mask, message)?;
    Ok(true)
}

fn place(display: &RustConnection, window: Window, (x, y, width, height): Geometry) -> Result<(), XError> {
    let place = ConfigureWindowAux::new().x(i32::from(x)).y(i32::from(y));
    display.configure_window(window, &place.width(u32::from(width)).height(u32::from(height)))?;
    Ok(())
}
