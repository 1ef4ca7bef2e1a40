//! A window over the whole screen. GStreamer's X11 sinks open a plain window, so its manager is asked here.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use x11rb::connection::Connection;
use x11rb::protocol::xproto::{
    AtomEnum, ClientMessageEvent, ConfigureWindowAux, ConnectionExt, EventMask, InputFocus, MapState, Window,
};
use x11rb::rust_connection::RustConnection;

/// How often the window is looked for: it opens with the first picture.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// How often it is told: a sink that is just opening its window may give it the picture's size once more. With several
/// monitors the window never gets the size of all, and a user may have changed it.
const MOST_TRIES: usize = 20;

/// How many looks a window is left alone after it was first seen: its sink is still agreeing on the picture's size with
/// what is before it, and may miss that the window has another by now.
const LEAVE_ALONE: usize = 3;

/// How deep a window may be below the root: window managers put one or two frames around it.
const MOST_DEEP: usize = 3;

/// Waits for the window of this title on `$DISPLAY`, and lets it fill the screen. Ends when `stop` is set, or when the
/// display can't be asked: then the window stays as it is.
pub(super) fn follow(title: &str, stop: &Arc<AtomicBool>) {
    let Ok((display, screen)) = x11rb::connect(None) else { return };
    let Some(screen) = display.setup().roots.get(screen).cloned() else { return };
    let size = (screen.width_in_pixels, screen.height_in_pixels);
    let (mut seen, mut tries) = (0, 0);
    while !stop.load(Ordering::Relaxed) && tries < MOST_TRIES {
        if let Some(window) = find(&display, screen.root, title, MOST_DEEP) {
            seen += 1;
            if seen > LEAVE_ALONE {
                match fill(&display, screen.root, window, size) {
                    Ok(true) => return,
                    // It was told again, or it has just gone and may come back.
                    Ok(false) | Err(_) => tries += 1,
                }
            }
        }
        std::thread::park_timeout(LOOK_EVERY);
    }
}

/// The window whose name begins with a title. (The sink adds the name of the program.)
fn find(display: &RustConnection, below: Window, title: &str, depth: usize) -> Option<Window> {
    let children = display.query_tree(below).ok()?.reply().ok()?.children;
    children.into_iter().find_map(|window| {
        let name = display.get_property(false, window, AtomEnum::WM_NAME, AtomEnum::ANY, 0, 256).ok()?.reply();
        if name.is_ok_and(|name| name.value.starts_with(title.as_bytes())) {
            // Before it is seen its sink does not listen yet, and would never learn of its new size.
            let seen = display.get_window_attributes(window).ok()?.reply().ok()?.map_state == MapState::VIEWABLE;
            return seen.then_some(window);
        }
        if depth == 0 { None } else { find(display, window, title, depth - 1) }
    })
}

/// Whether the window fills the screen. If not, asks the window manager (freedesktop.org's EWMH, `_NET_WM_STATE`), or
/// resizes the window where there is none.
fn fill(
    display: &RustConnection,
    root: Window,
    window: Window,
    (width, height): (u16, u16),
) -> Result<bool, Box<dyn std::error::Error>> {
    let now = display.get_geometry(window)?.reply()?;
    if (now.width, now.height) == (width, height) {
        return Ok(true);
    }
    let atom = |name: &str| -> Result<u32, Box<dyn std::error::Error>> {
        Ok(display.intern_atom(false, name.as_bytes())?.reply()?.atom)
    };
    let check = atom("_NET_SUPPORTING_WM_CHECK")?;
    let managed = display.get_property(false, root, check, AtomEnum::WINDOW, 0, 1)?.reply()?.value_len > 0;
    if managed {
        // 1 adds the state, and the other 1 says that an ordinary program asks.
        let data = [1, atom("_NET_WM_STATE_FULLSCREEN")?, 0, 1, 0];
        let message = ClientMessageEvent::new(32, window, atom("_NET_WM_STATE")?, data);
        let mask = EventMask::SUBSTRUCTURE_REDIRECT | EventMask::SUBSTRUCTURE_NOTIFY;
        display.send_event(false, root, mask, message)?;
    } else {
        let whole = ConfigureWindowAux::new().x(0).y(0).width(u32::from(width)).height(u32::from(height));
        display.configure_window(window, &whole)?;
        display.set_input_focus(InputFocus::PARENT, window, x11rb::CURRENT_TIME)?;
    }
    display.flush()?;
    Ok(false)
}
