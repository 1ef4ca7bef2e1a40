//! The sending half of a connection: frames of a capture become packets of the tracks that the connection sends.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use rtc::interceptor::{Registry, SenderReportBuilder, Slot};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use webrtc::media_stream::track_local::TrackLocal;
use webrtc::media_stream::track_local::static_rtp::TrackLocalStaticRTP;

use super::PublisherEvent;
use super::extensions::ExtensionIds;
use super::interceptor::{SharedUplink, UplinkInterceptor};
use super::offer::{self, OfferedTrack};
use super::stream::PayloadTypes;
use super::uplink::Uplink;
use crate::rtp::{Codec, Encoding, Frame, Tier, Track, payload_offset};

/// The most frames that wait for the connection: half a second of audio and two videos.
const FRAME_QUEUE: usize = 64;

/// The interval of sender reports, by which the receiver synchronises audio and video.
const REPORT_EVERY: Duration = Duration::from_secs(1);

/// The way of frames into a connection.
#[derive(Debug, Clone)]
pub struct FrameInput {
    frames: mpsc::Sender<Frame>,
    /// Whether a frame found no room.
    has_lost: Arc<AtomicBool>,
}

impl FrameInput {
    /// Sends a frame, if somebody needs its encoding. Does not block: a frame that finds no room is lost, and its track
    /// goes on with a key frame.
    pub fn push(&self, frame: Frame) {
        if let Err(mpsc::error::TrySendError::Full(_)) = self.frames.try_send(frame) {
            self.has_lost.store(true, Ordering::Relaxed);
        }
    }
}

/// What a connection needs to send: its tracks, its interceptors, and the task that turns frames into packets.
pub(crate) struct SendingHalf {
    uplink: SharedUplink,
    events: mpsc::Sender<PublisherEvent>,
    input: FrameInput,
    locals: Vec<Arc<TrackLocalStaticRTP>>,
    task: JoinHandle<()>,
}

impl SendingHalf {
    /// For the tracks of an offer. `encodings` are those of the capture with their bits per second.
    pub(super) fn new(
        offered: Vec<OfferedTrack>,
        mut encodings: Vec<(Encoding, u32)>,
        events: mpsc::Sender<PublisherEvent>,
    ) -> Self {
        let (mut streams, mut of_streams, mut locals) = (Vec::new(), Vec::new(), Vec::new());
        for OfferedTrack { media, streams: of_track } in offered {
            let local = Arc::new(TrackLocalStaticRTP::new(media));
            of_streams.extend(of_track.iter().map(|stream| (Arc::clone(&local), stream.ssrc)));
            locals.push(local);
            streams.extend(of_track);
        }
        encodings.retain(|(e, _)| streams.iter().any(|stream| (stream.track, stream.codec) == (e.track, e.codec)));
        let uplink = SharedUplink::new(Uplink::new(Instant::now(), streams, encodings));
        let (frames, frame_queue) = mpsc::channel(FRAME_QUEUE);
        let input = FrameInput { frames, has_lost: Arc::default() };
        let sending = Sending {
            uplink: uplink.clone(),
            events: events.clone(),
            streams: of_streams,
            has_lost: Arc::clone(&input.has_lost),
        };
        Self { uplink, events, input, locals, task: tokio::spawn(sending.run(frame_queue)) }
    }

    /// For a connection that also receives: a track for each of [`Track::ALL`], one stream each. A track without an
    /// encoding is negotiated and never sent. A video is negotiated in any codec, and sent in that of its first
    /// encoding.
    pub(crate) fn of_pair(encodings: Vec<(Encoding, u32)>, events: mpsc::Sender<PublisherEvent>) -> Self {
        Self::new(offer::tracks_of_pair(&encodings), encodings, events)
    }

    /// Adds the interceptors.
    pub(crate) fn register(&self, registry: Registry) -> Registry {
        registry
            .with(Slot::CongestionControl, UplinkInterceptor::new(self.uplink.clone(), self.events.clone()))
            .with(Slot::SenderReport, SenderReportBuilder::new().with_interval(REPORT_EVERY).build())
    }

    pub(super) fn uplink(&self) -> &SharedUplink {
        &self.uplink
    }

    /// The tracks to add to the connection, in the order of its sections.
    pub(crate) fn locals(&self) -> &[Arc<TrackLocalStaticRTP>] {
        &self.locals
    }

    /// The way of frames into the connection.
    pub(crate) fn input(&self) -> FrameInput {
        self.input.clone()
    }

    /// Somebody needs exactly these encodings of videos.
    pub(crate) fn need(&self, needed: Vec<(Track, Tier)>) {
        self.uplink.lock().need(Instant::now(), needed);
        self.uplink.pass_orders(&self.events);
    }

    /// Whether the path carries less than the best tier of each video that is sent.
    pub(crate) fn is_narrow(&self) -> bool {
        self.uplink.lock().is_narrow()
    }

    /// A description of the other side has been agreed on: the answer, and the payload types of a codec in it with
    /// those of its retransmissions. A stream whose codec has none is not sent.
    pub(crate) fn agreed(&self, answer: &str, payload_types: impl Fn(Track, Codec) -> Option<PayloadTypes>) {
        let mut uplink = self.uplink.lock();
        uplink.answered(ExtensionIds::of(answer));
        uplink.set_payload_types(Instant::now(), payload_types);
    }

    /// Media may flow. Returns a function for the connection's handler.
    pub(crate) fn on_connected(&self) -> impl Fn() + Send + Sync + use<> {
        let (uplink, events) = (self.uplink.clone(), self.events.clone());
        move || {
            uplink.lock().connected(Instant::now());
            uplink.pass_orders(&events);
        }
    }

    /// Ends the sending.
    pub(crate) fn stop(&self) {
        self.task.abort();
    }
}

/// The task that turns frames into packets.
struct Sending {
    uplink: SharedUplink,
    events: mpsc::Sender<PublisherEvent>,
    /// The track and the SSRC of each stream.
    streams: Vec<(Arc<TrackLocalStaticRTP>, u32)>,
    has_lost: Arc<AtomicBool>,
}

impl Sending {
    async fn run(self, mut frames: mpsc::Receiver<Frame>) {
        while let Some(frame) = frames.recv().await {
            let taken = {
                let (mut uplink, now) = (self.uplink.lock(), Instant::now());
                if self.has_lost.swap(false, Ordering::Relaxed) {
                    uplink.lost_frames(now);
                }
                uplink.takes(now, &frame)
            };
            self.uplink.pass_orders(&self.events);
            let Some((n, payload_type)) = taken else { continue };
            let Some((local, ssrc)) = self.streams.get(n) else { continue };
            for packet in frame.packets() {
                let Some(payload) = payload_offset(packet).and_then(|at| packet.get(at..)) else { continue };
                let header = rtc::rtp::Header {
                    version: 2,
                    marker: packet[1] & 0x80 != 0,
                    payload_type,
                    timestamp: frame.timestamp,
                    ssrc: *ssrc,
                    ..Default::default()
                };
                let packet = rtc::rtp::Packet { header, payload: Bytes::copy_from_slice(payload) };
                // This fails before the answer and after the end; nothing is sent then.
                let _ = local.write_rtp(packet).await;
            }
        }
    }
}
