//! The screen of a Wayland session, which only the desktop portal gives away, after it has asked its user.

use std::fmt;
use std::os::fd::OwnedFd;
use std::thread::JoinHandle;
use std::time::Duration;

use crate::media::error::MediaError;
use crate::media::options::Size;
use ashpd::desktop::PersistMode;
use ashpd::desktop::screencast::{CursorMode, Screencast, SelectSourcesOptions, SourceType};
use tokio::sync::oneshot;

/// How long a user may think about the dialogue.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(120);

/// A screen that the user has agreed to share. The desktop end_of_stream it when this is dropped.
pub(in crate::media) struct SharedScreen {
    /// The connection to PipeWire.
    pub connection: OwnedFd,
    /// The stream's node in PipeWire.
    pub node: u32,
    /// The size of the screen or window, where the desktop tells.
    pub size: Option<Size>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl fmt::Debug for SharedScreen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedScreen").field("node", &self.node).finish_non_exhaustive()
    }
}

impl Drop for SharedScreen {
    fn drop(&mut self) {
        // Dropping the sender end_of_stream the thread as well.
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // It can only have failed, and then there is nothing left to end.
            let _ = thread.join();
        }
    }
}

/// Asks the user, by a dialogue of the desktop, and waits for the answer.
///
/// The portal speaks D-Bus, and end_of_stream the session with the connection. So a thread with a runtime of its own keeps it,
/// and this function can be called from anywhere.
pub(super) fn open() -> Result<SharedScreen, MediaError> {
    let failed = |cause: String| MediaError::Device { device: "the screen of the Wayland desktop".into(), cause };
    let (answer, answered) = std::sync::mpsc::sync_channel(1);
    let (stop, stopped) = oneshot::channel();
    let thread = std::thread::Builder::new().name("screen-portal".into()).spawn(move || {
        let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime,
            // The other end gives up with us, so nobody misses this answer.
            Err(error) => return drop(answer.send(Err(error.to_string()))),
        };
        runtime.block_on(async {
            let asked = tokio::time::timeout(ANSWER_TIMEOUT, ask()).await;
            match asked.unwrap_or_else(|_| Err(format!("nobody answered within {} s", ANSWER_TIMEOUT.as_secs()))) {
                Ok((connection, node, size, session)) => {
                    if answer.send(Ok((connection, node, size))).is_ok() {
                        // Either way the end of the graph is meant.
                        let _ = stopped.await;
                    }
                    // The desktop notices the end of the connection as well.
                    let _ = session.close().await;
                }
                Err(cause) => drop(answer.send(Err(cause))),
            }
        });
    });
    let thread = thread.map_err(|error| failed(error.to_string()))?;
    let (connection, node, size) = answered.recv().map_err(|error| failed(error.to_string()))?.map_err(failed)?;
    Ok(SharedScreen { connection, node, size, stop: Some(stop), thread: Some(thread) })
}

type Session = ashpd::desktop::Session<Screencast>;

async fn ask() -> Result<(OwnedFd, u32, Option<Size>, Session), String> {
    let explain = |error: ashpd::Error| match error {
        ashpd::Error::Response(_) => "the dialogue was cancelled".to_string(),
        error => format!("{error}; is xdg-desktop-portal running"),
    };
    let bus = ashpd::zbus::Connection::session().await.map_err(|error| format!("no D-Bus session: {error}"))?;
    let portal = Screencast::with_connection(bus).await.map_err(explain)?;
    let session = portal.create_session(Default::default()).await.map_err(explain)?;
    let options = SelectSourcesOptions::default()
        .set_cursor_mode(CursorMode::Embedded)
        .set_sources(SourceType::Monitor | SourceType::Window)
        .set_multiple(false)
        .set_persist_mode(PersistMode::DoNot);
    portal.select_sources(&session, options).await.map_err(explain)?.response().map_err(explain)?;
    let started = portal.start(&session, None, Default::default()).await.map_err(explain)?;
    let streams = started.response().map_err(explain)?;
    let stream = streams.streams().first().ok_or("no screen was chosen")?;
    let edge = |pixels: i32| u32::try_from(pixels).ok().filter(|pixels| *pixels > 0);
    let size = stream.size().and_then(|(width, height)| Some(Size { width: edge(width)?, height: edge(height)? }));
    let node = stream.pipe_wire_node_id();
    let connection = portal.open_pipe_wire_remote(&session, Default::default()).await.map_err(explain)?;
    Ok((connection, node, size, session))
}
