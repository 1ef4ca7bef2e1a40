//! A student's one connection to the publisher, on the async `webrtc` API.
//!
//! [`Viewer::offer`] makes the connection and its recvonly offer; signalling carries it to the publisher and brings the
//! answer back. What arrives goes to a sink as plain packets, what happens is a [`ViewerEvent`].

mod rtx;

use std::collections::HashMap;
use std::io::Cursor;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, RwLock};
use std::time::Duration;

use async_trait::async_trait;
use rtc::interceptor::{NackGeneratorBuilder, Packet, ReceiverReportBuilder, Registry, Slot, TwccReceiverBuilder};
use rtc::rtcp::payload_feedbacks::picture_loss_indication::PictureLossIndication;
use rtc::rtcp::sender_report::SenderReport;
use rtc::rtp_transceiver::rtp_sender::RtpCodecKind;
use rtc::rtp_transceiver::{RTCRtpTransceiverDirection, RTCRtpTransceiverInit};
use rtc::sdp::SessionDescription;
use rtc::shared::marshal::Marshal;
use tokio::sync::mpsc;
use webrtc::data_channel::{DataChannel, DataChannelEvent};
use webrtc::error::Error;
use webrtc::media_stream::track_remote::TrackRemote;
use webrtc::peer_connection::{
    PeerConnection, PeerConnectionBuilder, PeerConnectionEventHandler, RTCConfigurationBuilder, RTCIceCandidateInit,
    RTCIceServer, RTCPeerConnectionIceEvent, RTCPeerConnectionState, RTCSessionDescription,
};

use self::rtx::{RepairedBy, renaming};
use crate::protocol::channel::CHANNEL_LABEL;
use crate::rtp::{Codec, Track, starts_key_frame};
use crate::sdp::engine;

/// Events that may wait: a few states and a candidate for each address of this machine.
const EVENT_QUEUE: usize = 256;

/// How long one missing packet is asked for before the next try, and how often: within the time that a jitter buffer
/// of 80 ms waits there are three tries on a LAN.
const NACK_INTERVAL: Duration = Duration::from_millis(20);
const NACK_TRIES: u16 = 8;

/// How often the publisher is told when packets came.
pub(super) const FEEDBACK_INTERVAL: Duration = Duration::from_millis(100);

/// What may be under way to the publisher over the data channel.
const SEND_BUFFER_BYTES: usize = 64 * 1024;

/// How long a polite end may take.
const CLOSE_WITHIN: Duration = Duration::from_secs(1);

/// A STUN or TURN server, with credentials where it wants some.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IceServer {
    /// `stun:host:port` or `turn:host:port?transport=udp`.
    pub url: String,
    /// TURN: the user.
    pub username: String,
    /// TURN: the password.
    pub credential: String,
}

/// What a link needs to know.
#[derive(Debug, Clone)]
pub struct ViewerConfig {
    /// Where to bind UDP sockets; an unspecified address means one for each interface.
    pub bind: Vec<String>,
    /// STUN and TURN servers.
    pub ice_servers: Vec<IceServer>,
}

/// A packet that arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Incoming<'a> {
    /// An RTP packet of this track.
    Rtp(Track, &'a [u8]),
    /// A compound RTCP packet about this track: sender report and description.
    Rtcp(Track, &'a [u8]),
}

/// Where packets go; called on the tasks of the connection, so it must not block.
pub type PacketSink = Arc<dyn Fn(Incoming<'_>) + Send + Sync>;

/// What happens to a link.
#[derive(Debug, Clone, PartialEq)]
pub enum ViewerEvent {
    /// A local candidate, to be sent to the publisher.
    Candidate(RTCIceCandidateInit),
    /// Media may flow.
    Connected,
    /// The first packet of a track was not that of a key frame: ask for one.
    BeginningMissed(Track),
    /// The data channel stands: something may be said.
    ChannelOpen,
    /// The publisher said something over the data channel: text, not parsed yet.
    Heard(String),
    /// Nothing was heard for some seconds; it may come back.
    Disturbed,
    /// The connection is gone: lost, or closed by the publisher.
    Gone,
}

/// Counts of a link.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct ViewerStats {
    /// Packets that were asked for again.
    pub nacks: u64,
    /// Times that a key frame was asked for.
    pub plis: u64,
}

/// The library's end of each track, once its first packet was read.
#[derive(Default)]
struct Remotes {
    known: Vec<(Track, Arc<dyn TrackRemote>)>,
    /// Key frames that were asked for before there was somebody to ask.
    wanted: Vec<Track>,
}

/// A connection to the publisher. [`close`](Self::close) it: a dropped one lives on in the library.
pub struct Viewer {
    connection: Arc<dyn PeerConnection>,
    channel: Arc<dyn DataChannel>,
    tracks: Arc<Mutex<Remotes>>,
    by_ssrc: Arc<RwLock<HashMap<u32, Answered>>>,
    repairs: Arc<RwLock<RepairedBy>>,
    nacked: Arc<AtomicU64>,
    plis: AtomicU64,
}

impl Viewer {
    /// Makes a connection and its offer: sound and two pictures, all recvonly, and the data channel.
    ///
    /// # Errors
    /// When no socket can be bound or a server's URL is wrong.
    pub async fn offer(
        config: ViewerConfig,
        sink: PacketSink,
    ) -> Result<(Self, String, mpsc::Receiver<ViewerEvent>), Error> {
        let (events, event_queue) = mpsc::channel(EVENT_QUEUE);
        let nacked = Arc::new(AtomicU64::new(0));
        let by_ssrc: Arc<RwLock<HashMap<u32, Answered>>> = Arc::default();
        let repairs: Arc<RwLock<RepairedBy>> = Arc::default();
        let arrivals = arrivals(Arc::clone(&by_ssrc), sink, events.clone());
        let nacks = NackGeneratorBuilder::new().with_interval(NACK_INTERVAL).with_max_nacks_per_packet(NACK_TRIES);
        let registry = Registry::new()
            // Closest to the wire, where all that leaves passes.
            .with(Slot::from(500), engine::Tap::counting(&nacked))
            // Farthest from it, where all repairs are done.
            .with(Slot::from(14_000), engine::Tap::watching(arrivals))
            // Before those who look for what is missing.
            .with(Slot::from(6_500), engine::Tap::changing(renaming(Arc::clone(&repairs))))
            .with(Slot::NackGenerator, nacks.build())
            .with(Slot::TwccReceiver, TwccReceiverBuilder::new().with_interval(FEEDBACK_INTERVAL).build())
            .with(Slot::ReceiverReport, ReceiverReportBuilder::new().build());
        let servers = config.ice_servers.into_iter().map(|server| RTCIceServer {
            urls: vec![server.url],
            username: server.username,
            credential: server.credential,
        });
        let tracks = Arc::default();
        let handler = Handler { events: events.clone(), tracks: Arc::clone(&tracks) };
        let building = PeerConnectionBuilder::new()
            .with_configuration(RTCConfigurationBuilder::new().with_ice_servers(servers.collect()).build())
            .with_media_engine(engine::adaptive_media_engine(&[Codec::Opus, Codec::H264, Codec::Vp8])?)
            .with_setting_engine(engine::settings().build())
            .with_interceptor_registry(registry)
            .with_handler(Arc::new(handler))
            .with_udp_addrs(config.bind)
            .with_data_channel_send_buffer_limit(SEND_BUFFER_BYTES)
            .build();
        // On the heap: the library's future is 20 kB.
        let connection = Box::pin(building).await?;
        let connection: Arc<dyn PeerConnection> = Arc::new(connection);
        for kind in [RtpCodecKind::Audio, RtpCodecKind::Video, RtpCodecKind::Video] {
            let direction = RTCRtpTransceiverDirection::Recvonly;
            let init = RTCRtpTransceiverInit { direction, ..Default::default() };
            connection.add_transceiver_from_kind(kind, Some(init)).await?;
        }
        let channel = connection.create_data_channel(CHANNEL_LABEL, None).await?;
        tokio::spawn(listen(Arc::clone(&channel), events));
        let offer = connection.create_offer(None).await?;
        connection.set_local_description(offer).await?;
        let sdp = connection.local_description().await.ok_or(Error::ErrConnectionClosed)?.sdp;
        Ok((Self { connection, channel, tracks, by_ssrc, repairs, nacked, plis: AtomicU64::new(0) }, sdp, event_queue))
    }

    /// Takes the publisher's answer, and gives what will be received: track, codec and payload type.
    ///
    /// # Errors
    /// When it is no answer to our offer.
    pub async fn answer(&self, sdp: String) -> Result<Vec<(Track, Codec, u8)>, Error> {
        let answered = answered_tracks(&sdp)?;
        if let Ok(mut by_ssrc) = self.by_ssrc.write() {
            *by_ssrc = answered.iter().filter_map(|a| Some((a.ssrc?, *a))).collect();
        }
        if let Ok(mut repairs) = self.repairs.write() {
            *repairs = answered.iter().filter_map(|a| Some((a.repair_ssrc?, (a.ssrc?, a.payload_type)))).collect();
        }
        self.connection.set_remote_description(RTCSessionDescription::answer(sdp)?).await?;
        Ok(answered.into_iter().map(|a| (a.track, a.codec, a.payload_type)).collect())
    }

    /// Takes a candidate of the publisher. One that can't be read is no harm.
    pub async fn candidate(&self, candidate: RTCIceCandidateInit) {
        let _ = self.connection.add_ice_candidate(candidate).await;
    }

    /// Asks the publisher for a key frame of a track.
    pub async fn request_key_frame(&self, track: Track) {
        self.plis.fetch_add(1, Ordering::Relaxed);
        let remote = self.tracks.lock().ok().and_then(|mut tracks| {
            let remote = tracks.known.iter().rev().find(|(known, _)| *known == track).map(|(_, remote)| remote.clone());
            if remote.is_none() && !tracks.wanted.contains(&track) {
                tracks.wanted.push(track);
            }
            remote
        });
        if let Some(remote) = remote {
            ask(&*remote).await;
        }
    }

    /// Says something to the publisher over the data channel; gives false when it does not stand, or is full.
    pub async fn say(&self, text: &str) -> bool {
        self.channel.try_send_text(text).await.is_ok()
    }

    /// Counts of now.
    pub fn stats(&self) -> ViewerStats {
        ViewerStats { nacks: self.nacked.load(Ordering::Relaxed), plis: self.plis.load(Ordering::Relaxed) }
    }

    /// Ends the connection politely, within a second.
    pub async fn close(self) {
        let _ = tokio::time::timeout(CLOSE_WITHIN, self.connection.close()).await;
    }
}

/// Hands what the publisher says to the events, until the channel ends. What nobody reads in time is dropped.
async fn listen(channel: Arc<dyn DataChannel>, events: mpsc::Sender<ViewerEvent>) {
    while let Some(event) = channel.poll().await {
        let event = match event {
            DataChannelEvent::OnOpen => ViewerEvent::ChannelOpen,
            DataChannelEvent::OnMessage(message) if message.is_string => {
                ViewerEvent::Heard(String::from_utf8_lossy(&message.data).into_owned())
            }
            _ => continue,
        };
        let _ = events.try_send(event);
    }
}

/// Whether this machine has an IPv6 address by which others reach it. The library binds `[::]` itself where there is none,
/// and offers that as a candidate.
pub fn has_ipv6() -> bool {
    let is_real = |ip| matches!(ip, IpAddr::V6(ip) if !ip.is_loopback() && !ip.is_unicast_link_local());
    if_addrs::get_if_addrs().unwrap_or_default().iter().any(|interface| is_real(interface.ip()))
}

/// What an answer promises for a section that sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Answered {
    pub(super) track: Track,
    pub(super) codec: Codec,
    payload_type: u8,
    pub(super) ssrc: Option<u32>,
    /// That of its retransmissions.
    pub(super) repair_ssrc: Option<u32>,
}

pub(super) fn answered_tracks(sdp: &str) -> Result<Vec<Answered>, Error> {
    let session = SessionDescription::unmarshal(&mut Cursor::new(sdp.as_bytes()))?;
    let mut tracks: Vec<Answered> = Vec::new();
    for section in &session.media_descriptions {
        let sends = section.has_attribute("sendonly") || section.has_attribute("sendrecv");
        if section.media_name.port.value == 0 || !sends {
            continue;
        }
        let named = section
            .attributes
            .iter()
            .filter(|attribute| attribute.key == "msid")
            .find_map(|attribute| Track::from_name(attribute.value.as_deref()?.split(' ').nth(1)?));
        let by_order = || match section.media_name.media.as_str() {
            "audio" => Some(Track::Audio),
            "video" if tracks.iter().any(|known| known.track == Track::Screen) => Some(Track::Camera),
            "video" => Some(Track::Screen),
            _ => None,
        };
        let Some(track) = named.or_else(by_order) else { continue };
        let formats = section.media_name.formats.iter().filter_map(|format| format.parse::<u8>().ok());
        let codecs = section.codecs();
        let chosen = formats.filter_map(|pt| Some((Codec::from_encoding_name(&codecs.get(&pt)?.name)?, pt))).next();
        if let Some((codec, payload_type)) = chosen {
            let ssrcs = section.attributes.iter().filter(|attribute| attribute.key == "ssrc");
            let ssrc = ssrcs.filter_map(|a| a.value.as_deref()?.split(' ').next()?.parse().ok()).next();
            let groups = section.attributes.iter().filter(|attribute| attribute.key == "ssrc-group");
            let repair_ssrc = groups.filter_map(|group| repaired_by(group.value.as_deref()?, ssrc?)).next();
            tracks.push(Answered { track, codec, payload_type, ssrc, repair_ssrc });
        }
    }
    Ok(tracks)
}

/// The second of `FID first second`, the retransmissions of the first (RFC 5576, 4.2; RFC 4588).
fn repaired_by(group: &str, ssrc: u32) -> Option<u32> {
    let mut words = group.split(' ');
    let is_repair = words.next() == Some("FID") && words.next()?.parse() == Ok(ssrc);
    words.next().filter(|_| is_repair)?.parse().ok()
}

struct Handler {
    events: mpsc::Sender<ViewerEvent>,
    tracks: Arc<Mutex<Remotes>>,
}

#[async_trait]
impl PeerConnectionEventHandler for Handler {
    async fn on_ice_candidate(&self, event: RTCPeerConnectionIceEvent) {
        if let Ok(candidate) = event.candidate.to_json() {
            let _ = self.events.try_send(ViewerEvent::Candidate(candidate));
        }
    }

    async fn on_connection_state_change(&self, state: RTCPeerConnectionState) {
        let event = match state {
            RTCPeerConnectionState::Connected => ViewerEvent::Connected,
            RTCPeerConnectionState::Disconnected => ViewerEvent::Disturbed,
            RTCPeerConnectionState::Failed | RTCPeerConnectionState::Closed => ViewerEvent::Gone,
            _ => return,
        };
        let _ = self.events.try_send(event);
    }

    async fn on_track(&self, remote: Arc<dyn TrackRemote>) {
        let named = Track::from_name(&remote.track_id().await);
        let by_kind = if remote.kind().await == RtpCodecKind::Audio { Track::Audio } else { Track::Screen };
        let track = named.unwrap_or(by_kind);
        let wanted = self.tracks.lock().is_ok_and(|mut tracks| {
            tracks.known.push((track, Arc::clone(&remote)));
            let wanted = tracks.wanted.contains(&track);
            tracks.wanted.retain(|other| *other != track);
            wanted
        });
        // The packets were seen on arrival; here they only must not pile up. Callbacks run on the driver's task, which
        // must not wait for a track.
        tokio::spawn(async move {
            if wanted {
                ask(&*remote).await;
            }
            while remote.poll().await.is_some() {}
        });
    }
}

/// Sends a picture loss indication (RFC 4585, 6.3.1).
async fn ask(remote: &dyn TrackRemote) {
    if let Some(media_ssrc) = remote.ssrcs().await.first().copied() {
        let _ = remote.write_rtcp(vec![Box::new(PictureLossIndication { sender_ssrc: 0, media_ssrc })]).await;
    }
}

/// Hands what arrives to the sink, by the SSRCs that the answer named, else by payload type.
fn arrivals(
    by_ssrc: Arc<RwLock<HashMap<u32, Answered>>>,
    sink: PacketSink,
    events: mpsc::Sender<ViewerEvent>,
) -> engine::Hook {
    let answered = move |ssrc: u32| by_ssrc.read().ok()?.get(&ssrc).copied();
    let begun = Mutex::new(Vec::new());
    // Only for SSRCs that the answer named, so that the list stays as short as the answer.
    let is_first = move |ssrc: u32| {
        begun.lock().is_ok_and(|mut begun| {
            let is_first = !begun.contains(&ssrc);
            if is_first {
                begun.push(ssrc);
            }
            is_first
        })
    };
    Box::new(move |packet| match packet {
        // Nothing but padding, by which the publisher measures the way: it has a number of retransmissions, which would
        // be taken for one of a picture.
        Packet::Rtp(rtp) if rtp.payload.is_empty() => {}
        Packet::Rtp(rtp) => {
            let known = answered(rtp.header.ssrc);
            if let Some(known) = known.filter(|known| known.track.is_video())
                && is_first(rtp.header.ssrc)
                && !starts_key_frame(known.codec, &rtp.payload)
            {
                let _ = events.try_send(ViewerEvent::BeginningMissed(known.track));
            }
            let is_sound = rtp.header.payload_type == engine::payload_type(Codec::Opus);
            let by_type = if is_sound { Track::Audio } else { Track::Screen };
            if let Ok(bytes) = rtp.marshal() {
                sink(Incoming::Rtp(known.map_or(by_type, |known| known.track), &bytes));
            }
        }
        Packet::Rtcp(packets) => {
            let reports = packets.iter().filter_map(|p| p.as_any().downcast_ref::<SenderReport>());
            for known in reports.filter_map(|report| answered(report.ssrc)) {
                if let Ok(bytes) = rtc::rtcp::packet::marshal(packets) {
                    sink(Incoming::Rtcp(known.track, &bytes));
                }
            }
        }
        _ => {}
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_says_what_will_come() {
        let sdp = "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n\
            m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=sendonly\r\na=rtpmap:111 opus/48000/2\r\na=msid:classroom audio\r\n\
            m=video 9 UDP/TLS/RTP/SAVPF 102\r\na=sendonly\r\na=rtpmap:102 H264/90000\r\na=msid:classroom camera\r\na=ssrc-group:FID 7 8\r\na=ssrc:7 cname:x\r\na=ssrc:8 cname:x\r\n\
            m=video 9 UDP/TLS/RTP/SAVPF 102\r\na=inactive\r\na=rtpmap:102 H264/90000\r\n";
        let tracks = answered_tracks(sdp).unwrap();
        let audio =
            Answered { track: Track::Audio, codec: Codec::Opus, payload_type: 111, ssrc: None, repair_ssrc: None };
        let camera = Answered {
            track: Track::Camera,
            codec: Codec::H264,
            payload_type: 102,
            ssrc: Some(7),
            repair_ssrc: Some(8),
        };
        assert_eq!(tracks, [audio, camera]);
        assert!(answered_tracks("nonsense").is_err());
    }

    #[test]
    fn a_probe_is_not_taken_for_a_picture() {
        let screen =
            Answered { track: Track::Screen, codec: Codec::Vp8, payload_type: 96, ssrc: Some(7), repair_ssrc: Some(8) };
        let by_ssrc = Arc::new(RwLock::new(HashMap::from([(7, screen)])));
        let got = Arc::new(Mutex::new(Vec::new()));
        let g = Arc::clone(&got);
        let sink: PacketSink = Arc::new(move |incoming| {
            if let Incoming::Rtp(track, packet) = incoming {
                g.lock().unwrap().push((track, packet[11]));
            }
        });
        let arrived = arrivals(by_ssrc, sink, mpsc::channel(8).0);
        for (ssrc, payload) in [(7, &b"\x10\0"[..]), (8, b""), (7, b"\x10\0"), (9, b"\x10\0")] {
            let header = rtc::rtp::Header { version: 2, ssrc, payload_type: 97, ..Default::default() };
            arrived(&Packet::Rtp(rtc::rtp::Packet { header, payload: bytes::Bytes::from_static(payload) }));
        }
        assert_eq!(*got.lock().unwrap(), [(Track::Screen, 7), (Track::Screen, 7), (Track::Screen, 9)]);
    }
}
