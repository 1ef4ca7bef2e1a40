//! A publisher between the lecture and the SFU: the same packets arrive by a connection, as those of a browser do.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};

use super::lecture::LectureControl;
use crate::bench::emulator::PathConfig;
use crate::bench::publisher::{EmulatedPublisher, PublisherEvent, PublisherSetup};
use crate::cli::IngestOffer;
use crate::id::UserId;
use crate::rtp::{Encoding, Frame};
use crate::sfu::{Sfu, SfuEvent};

/// The time limit for its connection.
const CONNECTED_WITHIN: Duration = Duration::from_secs(10);

/// The task of a connected publisher. It ends when it is aborted.
pub(super) type Published = JoinHandle<()>;

/// The input of a publisher, and its task, which asks the lecture for key frames.
type Input = Box<dyn Fn(Frame) + Send + Sync>;

/// Connects a publisher of these encodings. The lecture must be silent until then.
///
/// # Errors
/// If the SFU refuses the publisher, or if the connection takes too long.
pub(super) async fn connect(
    sfu: &Sfu,
    events: &mut mpsc::Receiver<SfuEvent>,
    encodings: Vec<(Encoding, u32)>,
    control: Arc<LectureControl>,
) -> anyhow::Result<(Input, Published)> {
    let user: UserId = "9999".parse().map_err(|e| anyhow!("{e}"))?;
    let line = PathConfig::default();
    let setup = PublisherSetup { sfu: sfu.udp(), offer: IngestOffer::Single, encodings, line, seed: 0 };
    let (mut publisher, sdp) = EmulatedPublisher::start(setup).await?;
    sfu.publish(user, sdp, None, None);
    let deadline = Instant::now() + CONNECTED_WITHIN;
    loop {
        let event = timeout_at(deadline, events.recv()).await.context("the publisher was not connected in time")?;
        match event.context("the SFU ended")? {
            SfuEvent::Answer { sdp, .. } => publisher.answer(&sdp),
            SfuEvent::Refused { why, .. } => bail!("the SFU does not take the publisher: {why}"),
            SfuEvent::Encodings(_) => break,
            _ => {}
        }
    }
    let input = publisher.input();
    let task = async move {
        loop {
            match publisher.next().await {
                PublisherEvent::KeyFrameNeeded(_) => control.key_frame_needed.store(true, Ordering::Relaxed),
                // The students miss the packets, and the table says so.
                PublisherEvent::Gone(_) => return,
            }
        }
    };
    Ok((Box::new(input), tokio::spawn(task)))
}
