//! Wayland screen capture through the desktop portal, which asks the user.

use std::fmt;
use std::os::fd::OwnedFd;
use std::thread::JoinHandle;
use std::time::Duration;

use crate::media::error::MediaError;
use crate::media::options::Size;
use ashpd::desktop::PersistMode;
use ashpd::desktop::screencast::{CursorMode, Screencast, SelectSourcesOptions, SourceType};
use tokio::sync::oneshot;

/// How long the user may take to answer the dialogue.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(120);

/// A screen that the user has agreed to share. Dropping it ends the session.
pub(in crate::media) struct SharedScreen {
    /// The connection to PipeWire.
    pub connection: OwnedFd,
    /// The node id of the PipeWire stream.
    pub node: u32,
    /// The size of the screen or window, if the desktop tells it.
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
        // Dropping the sender ends the thread.
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A failed thread leaves nothing to end.
            let _ = thread.join();
        }
    }
}

/// Opens the desktop's dialogue and waits for the answer.
///
/// The portal speaks D-Bus and ends the session with the connection. A thread with a runtime of its own keeps the
/// connection, so this function can be called from anywhere.
///
/// # Errors
///
/// There is no portal, the user cancels, or nobody answers in time.
pub(super) fn open() -> Result<SharedScreen, MediaError> {
    let failed = |cause: String| MediaError::Device { device: "the screen of the Wayland desktop".into(), cause };
    let (answer, answered) = std::sync::mpsc::sync_channel(1);
    let (stop, stopped) = oneshot::channel();
    let thread = std::thread::Builder::new().name("screen-portal".into()).spawn(move || {
        let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime,
            // If this fails, the caller has gone.
            Err(error) => return drop(answer.send(Err(error.to_string()))),
        };
        runtime.block_on(async {
            let asked = tokio::time::timeout(ANSWER_TIMEOUT, ask()).await;
            match asked.unwrap_or_else(|_| Err(format!("nobody answered within {} s", ANSWER_TIMEOUT.as_secs()))) {
                Ok((connection, node, size, session)) => {
                    if answer.send(Ok((connection, node, size))).is_ok() {
                        // A message and a dropped sender mean the same: the capture is over.
                        let _ = stopped.await;
                    }
                    // The portal also notices the end of the connection.
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
        error => format!("{error}: is xdg-desktop-portal running?"),
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
    let stream = streams.streams().first().ok_or("no screen was selected")?;
    let edge = |pixels: i32| u32::try_from(pixels).ok().filter(|pixels| *pixels > 0);
    let size = stream.size().and_then(|(width, height)| Some(Size { width: edge(width)?, height: edge(height)? }));
    let node = stream.pipe_wire_node_id();
    let connection = portal.open_pipe_wire_remote(&session, Default::default()).await.map_err(explain)?;
    Ok((connection, node, size, session))
}
