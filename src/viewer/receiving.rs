//! The receiving half of a connection: its interceptors, and the tracks that arrive.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, RwLock};
use std::time::Duration;

use rtc::interceptor::{NackGeneratorBuilder, ReceiverReportBuilder, Registry, Slot, TwccReceiverBuilder};
use rtc::rtcp::Packet;
use rtc::rtcp::payload_feedbacks::picture_loss_indication::PictureLossIndication;
use rtc::rtcp::receiver_report::ReceiverReport;
use rtc::rtcp::reception_report::ReceptionReport;
use rtc::rtp_transceiver::rtp_sender::RtpCodecKind;
use tokio::sync::mpsc;
use webrtc::media_stream::track_remote::TrackRemote;

use super::answer::Answered;
use super::receive::{RtxStreams, delivering, restoring};
use super::{PacketSink, ViewerEvent, ViewerStats};
use crate::peer_connection::OnTrack;
use crate::rtp::Track;
use crate::sdp::engine;

/// The interval between NACKs for one packet, and the most NACKs for it: a jitter buffer of 80 ms leaves time for three
/// on a LAN.
const NACK_INTERVAL: Duration = Duration::from_millis(20);
const NACK_TRIES: u16 = 8;

/// Our SSRC as a receiver that sends no media, as that of libwebrtc.
const OWN_SSRC: u32 = 1;

/// The interval of transport-wide feedback.
pub(crate) const FEEDBACK_INTERVAL: Duration = Duration::from_millis(100);

/// The library's receiving end of each track, known after its first packet has arrived.
#[derive(Default)]
struct Remotes {
    known: Vec<(Track, Arc<dyn TrackRemote>)>,
    /// Tracks for which a key frame was requested before they were known.
    wanted: Vec<Track>,
}

/// What a connection needs to receive. Clones are about the same connection.
#[derive(Clone)]
pub(crate) struct ReceivingHalf {
    events: mpsc::Sender<ViewerEvent>,
    tracks: Arc<Mutex<Remotes>>,
    by_ssrc: Arc<RwLock<HashMap<u32, Answered>>>,
    rtx: Arc<RwLock<RtxStreams>>,
    nacked: Arc<AtomicU64>,
    plis: Arc<AtomicU64>,
    /// Whether requests for key frames follow a report, see [`pli`].
    reports: Arc<AtomicBool>,
}

impl ReceivingHalf {
    /// Nothing has arrived yet.
    pub(crate) fn new(events: mpsc::Sender<ViewerEvent>) -> Self {
        let (tracks, by_ssrc, rtx) = (Arc::default(), Arc::default(), Arc::default());
        Self { events, tracks, by_ssrc, rtx, nacked: Arc::default(), plis: Arc::default(), reports: Arc::default() }
    }

    /// Adds the interceptors, which pass packets to `sink`.
    pub(crate) fn register(&self, registry: Registry, sink: PacketSink) -> Registry {
        let delivering = delivering(Arc::clone(&self.by_ssrc), sink, self.events.clone());
        let nacks = NackGeneratorBuilder::new().with_interval(NACK_INTERVAL).with_max_nacks_per_packet(NACK_TRIES);
        registry
            // Closest to the wire: all outgoing packets pass here.
            .with(Slot::from(500), engine::Tap::counting(&self.nacked))
            // Farthest from the wire: retransmissions have been restored, and packets pass in the order of arrival.
            .with(Slot::from(14_000), engine::Tap::watching(delivering))
            // Before the NACK generator, which must see the original sequence numbers.
            .with(Slot::from(6_500), engine::Tap::changing(restoring(Arc::clone(&self.rtx))))
            .with(Slot::NackGenerator, nacks.build())
            .with(Slot::TwccReceiver, TwccReceiverBuilder::new().with_interval(FEEDBACK_INTERVAL).build())
            .with(Slot::ReceiverReport, ReceiverReportBuilder::new().build())
    }

    /// The other side sends exactly these tracks.
    pub(crate) fn learn(&self, answered: &[Answered]) {
        if let Ok(mut by_ssrc) = self.by_ssrc.write() {
            *by_ssrc = answered.iter().filter_map(|a| Some((a.ssrc?, *a))).collect();
        }
        if let Ok(mut rtx) = self.rtx.write() {
            rtx.originals = answered.iter().filter_map(|a| Some((a.rtx_ssrc?, (a.ssrc?, a.payload_type)))).collect();
        }
    }

    /// The payload types of original packets, by those of their retransmissions, where a track may change its codec.
    pub(crate) fn learn_rtx(&self, payload_types: HashMap<u8, u8>) {
        if let Ok(mut rtx) = self.rtx.write() {
            rtx.payload_types = payload_types;
        }
    }

    /// Requests a key frame of a track.
    pub(crate) async fn request_key_frame(&self, track: Track) {
        self.plis.fetch_add(1, Ordering::Relaxed);
        let remote = self.tracks.lock().ok().and_then(|mut tracks| {
            let remote = tracks.known.iter().rev().find(|(known, _)| *known == track).map(|(_, remote)| remote.clone());
            if remote.is_none() && !tracks.wanted.contains(&track) {
                tracks.wanted.push(track);
            }
            remote
        });
        if let Some(remote) = remote {
            send_pli(&*remote, self.reports.load(Ordering::Relaxed)).await;
        }
    }

    /// The other side is an SFU of somebody else.
    pub(crate) fn set_foreign(&self) {
        self.reports.store(true, Ordering::Relaxed);
    }

    /// The current counters.
    pub(crate) fn stats(&self) -> ViewerStats {
        ViewerStats { nacks: self.nacked.load(Ordering::Relaxed), plis: self.plis.load(Ordering::Relaxed) }
    }

    /// A function for the connection, which handles a track whose first packet has arrived.
    pub(crate) fn on_track_hook(&self) -> OnTrack {
        let receiving = self.clone();
        Box::new(move |remote| {
            let receiving = receiving.clone();
            Box::pin(async move { receiving.on_track(remote).await })
        })
    }

    async fn on_track(&self, remote: Arc<dyn TrackRemote>) {
        let ssrc = remote.ssrcs().await.first().copied();
        let answered = ssrc.and_then(|ssrc| Some(self.by_ssrc.read().ok()?.get(&ssrc)?.track));
        let named = Track::from_name(&remote.track_id().await);
        let by_kind = if remote.kind().await == RtpCodecKind::Audio { Track::Audio } else { Track::Screen };
        let track = answered.or(named).unwrap_or(by_kind);
        let wanted = self.tracks.lock().is_ok_and(|mut tracks| {
            tracks.known.push((track, Arc::clone(&remote)));
            let wanted = tracks.wanted.contains(&track);
            tracks.wanted.retain(|other| *other != track);
            wanted
        });
        // The interceptor has delivered the packets; here they are discarded so that they do not pile up. Callbacks run
        // on the driver's task, which must not wait for a track.
        let has_report = self.reports.load(Ordering::Relaxed);
        tokio::spawn(async move {
            if wanted {
                send_pli(&*remote, has_report).await;
            }
            while remote.poll().await.is_some() {}
        });
    }
}

/// Sends a picture loss indication.
async fn send_pli(remote: &dyn TrackRemote, has_report: bool) {
    if let Some(media_ssrc) = remote.ssrcs().await.first().copied() {
        let _ = remote.write_rtcp(pli(media_ssrc, has_report)).await;
    }
}

/// A picture loss indication (RFC 4585, 6.3.1), perhaps after a report. Janus 1.1.2 finds the stream by the sender's
/// SSRC, which must not be 0, and otherwise by the first report block: it ignores a PLI without a report.
fn pli(media_ssrc: u32, has_report: bool) -> Vec<Box<dyn Packet>> {
    let pli = PictureLossIndication { sender_ssrc: OWN_SSRC, media_ssrc };
    let block = ReceptionReport { ssrc: media_ssrc, ..ReceptionReport::default() };
    let report = ReceiverReport { ssrc: OWN_SSRC, reports: vec![block], ..ReceiverReport::default() };
    let report = has_report.then(|| Box::new(report) as Box<dyn Packet>);
    report.into_iter().chain([Box::new(pli) as Box<dyn Packet>]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_for_a_key_frame_names_the_stream_where_janus_looks() {
        let sent = pli(7, true);
        let report = sent[0].as_any().downcast_ref::<ReceiverReport>().unwrap();
        assert!(report.ssrc != 0 && report.reports[0].ssrc == 7);
        assert_eq!((sent.len(), pli(7, false).len()), (2, 1), "our own SFU reads reports");
    }
}
