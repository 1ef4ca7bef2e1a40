//! The media of a speaker: a capture, and the connection that sends it to the host of the lecture's media.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::time::Instant;

use crate::commands::own_capture::OwnCapture;
use crate::commands::uplink_connection::{Delays, UplinkConnection, UplinkEvent};
use crate::media::CaptureEvent;
use crate::protocol::OfferedTracks;
use crate::publisher::{FrameInput, Layering, MediaReceiver, Publisher, PublisherConfig};
use crate::rtp::Frame;
use crate::viewer::IceServers;

/// The connection that gets the frames of a capture. The connection may be replaced while the capture runs.
#[derive(Debug, Clone, Default)]
pub(in crate::commands::watch) struct FrameSwitch(Arc<Mutex<Option<FrameInput>>>);

impl FrameSwitch {
    /// Frames go here from now on; `None`: nowhere.
    pub(super) fn set(&self, input: Option<FrameInput>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = input;
    }

    pub(super) fn push(&self, frame: Frame) {
        if let Some(input) = self.0.lock().unwrap_or_else(PoisonError::into_inner).as_ref() {
            input.push(frame);
        }
    }
}

/// The media of a speaker: a capture, and the connection that sends it.
pub(super) struct SpeakerConnection {
    pub(super) capture: OwnCapture,
    switch: FrameSwitch,
    pub(super) uplink: UplinkConnection,
}

/// An event of a speaker's media.
pub(in crate::commands::watch) enum SpeakerEvent {
    Capture(Option<CaptureEvent>),
    Uplink(UplinkEvent),
}

impl SpeakerConnection {
    /// The first offer is due at once.
    pub(super) fn new(now: Instant, (capture, switch): (OwnCapture, FrameSwitch)) -> Self {
        Self { capture, switch, uplink: UplinkConnection::new(now, Delays::OF_CLASSROOM) }
    }

    /// Waits for the next event. Cancellation loses nothing.
    pub(super) async fn next(&mut self) -> SpeakerEvent {
        tokio::select! {
            event = self.capture.events.recv() => SpeakerEvent::Capture(event),
            event = self.uplink.next() => SpeakerEvent::Uplink(event),
        }
    }

    /// Makes an offer, which replaces the connection.
    ///
    /// # Errors
    /// If no socket can be bound or the URL of a server is wrong.
    pub(super) async fn offer(
        &mut self,
        now: Instant,
        bind: Vec<String>,
        ice_servers: IceServers,
    ) -> Result<(String, OfferedTracks), String> {
        let encodings = self.capture.encodings.clone();
        let (layering, receiver) = (Layering::Simulcast, MediaReceiver::Classroom);
        let config = PublisherConfig { bind, ice_servers, encodings, layering, receiver };
        let offered = self.uplink.offer(now, config).await?;
        self.switch.set(self.uplink.publisher().map(Publisher::input));
        Ok(offered)
    }

    /// Ends the media.
    pub(super) async fn close(self) {
        self.switch.set(None);
        self.uplink.close().await;
        let capture = self.capture.capture;
        // Stopping a pipeline waits for its threads.
        let _ = tokio::task::spawn_blocking(move || capture.stop()).await;
    }
}
