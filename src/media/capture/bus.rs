//! Turns bus messages of the teaching pipeline into events.

use std::sync::Arc;
use std::time::Instant;

use gstreamer as gst;
use gstreamer::prelude::*;
use tokio::sync::mpsc;

use super::branches::Branches;
use super::source_state::SourceRestart;
use crate::media::error::MediaError;
use crate::media::options::CaptureEvent;
use crate::media::source::CapturePlan;
use crate::rtp::Encoding;

/// Application messages from this program to its own bus watcher.
pub(super) const ENDED: &str = "classroom-ended";
pub(super) const STOP: &str = "classroom-stop";

/// Posts an application message.
pub(super) fn post(bus: &gst::Bus, what: &str) {
    // A closed bus drops the message. Then nobody waits for it.
    let _ = bus.post(gst::message::Application::new(gst::Structure::new_empty(what)));
}

/// Reads the bus on a thread of its own.
pub(super) struct BusWatcher {
    pub bus: gst::Bus,
    pub events: mpsc::Sender<CaptureEvent>,
    pub context: ErrorContext,
    pub branches: Arc<Branches>,
    /// A camera that the lecture can go on without.
    pub camera: Option<SourceRestart>,
}

/// The context that explains an error.
pub(super) struct ErrorContext {
    name: String,
    devices: Vec<(&'static str, String)>,
}

impl ErrorContext {
    /// For the pipeline of this name.
    pub(super) fn new(name: &str, plan: &CapturePlan) -> Self {
        Self { name: name.to_string(), devices: plan.devices.clone() }
    }

    /// Translates an error message for the user.
    pub(super) fn explain(&self, message: &gst::message::Error) -> MediaError {
        let error = message.error();
        let cause = error.message().to_string();
        let factory = factory_of(message);
        if error.matches(gst::CoreError::MissingPlugin) || error.matches(gst::StreamError::CodecNotFound) {
            let package = "gstreamer1.0-libav or gstreamer1.0-plugins-bad".into();
            return MediaError::MissingElement { element: format!("decoder ({cause})"), package };
        }
        if let Some((_, device)) = self.devices.iter().find(|(element, _)| *element == factory) {
            return MediaError::Device { device: device.clone(), cause };
        }
        MediaError::Pipeline { pipeline: self.name.clone(), cause: format!("{factory}: {cause}") }
    }

    /// The short form of an error.
    fn cause(message: &gst::message::Error) -> String {
        format!("{}: {}", factory_of(message), message.error().message())
    }
}

/// The factory name of the element that failed.
fn factory_of(message: &gst::message::Error) -> String {
    let element = message.src().and_then(|source| source.downcast_ref::<gst::Element>());
    element.and_then(gst::Element::factory).map(|factory| factory.name().to_string()).unwrap_or_default()
}

impl BusWatcher {
    /// Reads the bus until the message [`STOP`].
    pub(super) fn run(mut self) {
        while let Some(message) = self.next() {
            let event = match message.view() {
                gst::MessageView::Error(error) if self.camera.as_ref().is_some_and(|it| it.is_source_of(error)) => {
                    if self.camera.as_mut().is_some_and(|camera| camera.failed(Instant::now())) {
                        let sentence = "the lecture goes on without it until it is back";
                        self.send(CaptureEvent::Warning(format!("{}: {sentence}", self.context.explain(error))));
                    }
                    continue;
                }
                gst::MessageView::Error(error) => match self.branch_of(error) {
                    Some(encoding) => {
                        self.branches.give_up(encoding, &ErrorContext::cause(error));
                        continue;
                    }
                    None => CaptureEvent::Error(self.context.explain(error)),
                },
                gst::MessageView::Warning(warning) => CaptureEvent::Warning(warning.error().message().to_string()),
                gst::MessageView::Application(own) => {
                    match own.structure().map(|structure| structure.name().as_str()) {
                        Some(STOP) => return,
                        Some(ENDED) => CaptureEvent::Eos,
                        _ => continue,
                    }
                }
                _ => continue,
            };
            self.send(event);
        }
    }

    /// The next message. While waiting, restarts a failed camera from time to time.
    fn next(&mut self) -> Option<gst::Message> {
        loop {
            let wait = self.camera.as_ref().and_then(|camera| camera.time_to_restart(Instant::now()));
            let timeout = wait.and_then(|wait| gst::ClockTime::try_from(wait).ok());
            let message = self.bus.timed_pop(timeout);
            if let Some(camera) = &mut self.camera {
                camera.restart_if_due(Instant::now());
            }
            if message.is_some() || timeout.is_none() {
                return message;
            }
        }
    }

    /// The encoding that failed, if the lecture can go on without it.
    fn branch_of(&self, error: &gst::message::Error) -> Option<Encoding> {
        let encoding = self.branches.encoding_of(error.src()?)?;
        (!self.branches.is_main(encoding)).then_some(encoding)
    }

    fn send(&self, event: CaptureEvent) {
        // If the queue is full or closed, nobody reads events, so drop this one.
        let _ = self.events.try_send(event);
    }
}
