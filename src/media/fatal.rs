//! What GLib says before it ends the process.
//!
//! An assertion of GStreamer, or of a plug-in, prints its text and calls `abort`: a shell then sees 134, and a script
//! nothing. The text passes a handler before that, on the thread that failed. That thread is kept there for ever, so
//! that the process can end by itself, with a sentence and an exit code of its own. (A signal handler would need
//! `unsafe`, and could do less. What calls `abort` without a word, or crashes, still ends the process; files are
//! therefore opened first by another process.)

use std::io::Write;
use std::sync::Once;

use gstreamer::glib;

/// From now on `tell` is called with the text of a fatal assertion, on the thread that failed. Once `tell` returns,
/// that thread waits for the end of the process. Only the first call of this function has an effect.
pub fn on_fatal(tell: impl Fn(&str) + Send + Sync + 'static) {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let tell = std::sync::Arc::new(tell);
        let told = tell.clone();
        // `g_assert` and its like print to stderr.
        glib::set_printerr_handler(move |text| match assertion(text) {
            Some(cause) => stay(cause, &*told),
            None => {
                // Nobody is left to tell when this fails.
                let _ = std::io::stderr().write_all(text.as_bytes());
            }
        });
        // `g_error`, which is also what a machine without memory ends with.
        glib::log_set_writer_func(move |level, fields| {
            if level == glib::LogLevel::Error {
                let message = fields.iter().find(|field| field.key() == "MESSAGE");
                stay(message.and_then(|field| field.value_str()).unwrap_or("no cause was given"), &*tell);
            }
            glib::log_writer_default(level, fields)
        });
    });
}

/// Tells of a failure, and does not return: whoever called would end the process in its own way.
fn stay(cause: &str, tell: &dyn Fn(&str)) -> ! {
    tell(cause);
    loop {
        std::thread::park();
    }
}

/// The text of an assertion in what GLib prints: `**`, and on the next line where and what.
fn assertion(text: &str) -> Option<&str> {
    let text = text.strip_prefix("**\n")?.trim();
    text.contains("ERROR:").then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_assertion_is_told_from_other_words() {
        let text = "**\nERROR:../gst/videorate/gstvideorate.c:740:push: assertion failed: (valid)\n";
        assert_eq!(assertion(text), Some(text[3..].trim()));
        assert_eq!(assertion("** Message: hello\n"), None);
        assert_eq!(assertion("**\nno such thing\n"), None);
    }
}
