//! A capture and the SFU it teaches through: what `teach` and `bench` have in common.

use tokio::sync::mpsc;

use super::{blocking, media_failure};
use crate::exit::Failure;
use crate::media::{Capture, CaptureEvent, Prepared};
use crate::sfu::{Sfu, SfuEvent};

/// Starts a capture whose frames go to the hub.
pub(super) async fn start(prepared: Prepared, sfu: &Sfu) -> Result<(Capture, mpsc::Receiver<CaptureEvent>), Failure> {
    let input = sfu.input();
    blocking(move || Capture::start(prepared, move |frame| input.push(frame))).await?.map_err(media_failure)
}

/// Tells the SFU what can still be had: a capture that complains may have given an encoding up, and whoever watched that
/// gets another one.
pub(super) fn offer(capture: &Capture, sfu: &Sfu) {
    sfu.encodings(capture.encodings());
}

/// Does what the SFU wants of the encoders; an event that is about something else is given back.
pub(super) fn obey(capture: &Capture, event: SfuEvent) -> Option<SfuEvent> {
    match event {
        SfuEvent::KeyFrameNeeded(encoding) => capture.request_key_frame(encoding),
        SfuEvent::Needed(encoding, needed) => capture.need(encoding, needed),
        other => return Some(other),
    }
    None
}
