//! A bad student: the sans-I/O core on a thread, without the interceptors that would send feedback.

use std::net::UdpSocket;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use classroom::protocol::channel::CHANNEL_LABEL;
use classroom::rtp::{Codec, HEADER_BYTES};
use classroom::sdp::engine;
use rtc::data_channel::{RTCDataChannelId, RTCDataChannelState};
use rtc::interceptor::Registry;
use rtc::peer_connection::event::RTCPeerConnectionEvent;
use rtc::peer_connection::sdp::RTCSessionDescription;
use rtc::peer_connection::state::RTCPeerConnectionState;
use rtc::peer_connection::transport::RTCIceCandidateInit;
use rtc::peer_connection::{RTCPeerConnection, RTCPeerConnectionBuilder};
use rtc::rtcp::Packet as Rtcp;
use rtc::rtcp::payload_feedbacks::picture_loss_indication::PictureLossIndication;
use rtc::rtcp::transport_feedbacks::transport_layer_nack::{TransportLayerNack, nack_pairs_from_sequence_numbers};
use rtc::rtp_transceiver::rtp_sender::RtpCodecKind;
use rtc::rtp_transceiver::{RTCRtpTransceiverDirection, RTCRtpTransceiverInit};
use rtc::sansio::Protocol;
use rtc::shared::{TaggedBytesMut, TransportContext, TransportProtocol};

use super::forger::{self, Forgery};

/// How often a bad student acts.
const INTERVAL: Duration = Duration::from_millis(20);

/// What a bad student does once [`Bad::misbehave`] is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Misbehaviour {
    /// Sends no feedback at all.
    Silent,
    /// Sends a NACK for every packet that it has received.
    NacksAll,
    /// Sends a PLI every 20 ms.
    FloodsPli,
    /// Sends this packet in place of a message of its data channel.
    Forges(Forgery),
}

/// What the thread and the test share.
#[derive(Default)]
struct Shared {
    connected: AtomicBool,
    misbehaves: AtomicBool,
    ends: AtomicBool,
    /// Packets in NACKs, PLIs, or forged packets.
    asked: AtomicU64,
}

/// A bad student whose thread runs.
pub struct Bad {
    shared: Arc<Shared>,
    answer: mpsc::Sender<String>,
    thread: JoinHandle<()>,
}

impl Bad {
    /// Starts the thread, and returns the offer: with RTX and transport-wide sequence numbers.
    pub fn offer(misbehaviour: Misbehaviour) -> (Self, String) {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(5))).unwrap();
        let (now, port) = (Instant::now(), socket.local_addr().unwrap().port());
        let codecs = [Codec::Opus, Codec::H264, Codec::Vp8];
        let forger =
            if let Misbehaviour::Forges(forgery) = misbehaviour { Some(forger::provider(forgery)) } else { None };
        let settings = match &forger {
            Some((provider, _)) => engine::settings().with_crypto_provider(Arc::clone(provider)),
            None => engine::settings(),
        };
        let mut connection = RTCPeerConnectionBuilder::new()
            .with_media_engine(engine::adaptive_media_engine(&codecs).unwrap())
            .with_setting_engine(settings.build())
            .with_interceptor_registry(Registry::new())
            .build(now)
            .unwrap();
        let direction = RTCRtpTransceiverDirection::Recvonly;
        let init = RTCRtpTransceiverInit { direction, ..Default::default() };
        connection.add_transceiver_from_kind(RtpCodecKind::Video, Some(init)).unwrap();
        let channel = forger.is_some().then(|| connection.create_data_channel(CHANNEL_LABEL, None).unwrap().id());
        let offer = connection.create_offer(None).unwrap();
        connection.set_local_description(now, offer).unwrap();
        let candidate = format!("candidate:1 1 udp 2130706431 127.0.0.1 {port} typ host");
        connection.add_local_candidate(RTCIceCandidateInit { candidate, ..Default::default() }).unwrap();
        connection.add_local_candidate(RTCIceCandidateInit::default()).unwrap();
        let sdp = connection.local_description().unwrap().sdp;
        let (answer, answers) = mpsc::channel();
        let shared = Arc::new(Shared::default());
        let forges = forger.map(|(_, begun)| begun);
        let student = Student {
            misbehaviour,
            socket,
            connection,
            shared: Arc::clone(&shared),
            channel,
            forges,
            ssrc: None,
            received: Vec::new(),
            acted: now,
        };
        (Self { shared, answer, thread: std::thread::spawn(move || student.run(&answers)) }, sdp)
    }

    /// Takes the answer to the offer.
    pub fn answer(&self, sdp: String) {
        self.answer.send(sdp).unwrap();
    }

    /// Whether the connection is established.
    pub fn is_connected(&self) -> bool {
        self.shared.connected.load(Ordering::Relaxed)
    }

    /// From now on the student misbehaves; until now it has only received.
    pub fn misbehave(&self) {
        self.shared.misbehaves.store(true, Ordering::Relaxed);
    }

    /// Packets in NACKs, PLIs, or forged packets so far.
    pub fn asked(&self) -> u64 {
        self.shared.asked.load(Ordering::Relaxed)
    }

    /// Ends the thread.
    pub fn end(self) {
        self.shared.ends.store(true, Ordering::Relaxed);
        self.thread.join().unwrap();
    }
}

/// The thread's side.
struct Student {
    misbehaviour: Misbehaviour,
    socket: UdpSocket,
    connection: RTCPeerConnection,
    shared: Arc<Shared>,
    /// The data channel of a student that forges, and the switch of its forger.
    channel: Option<RTCDataChannelId>,
    forges: Option<Arc<AtomicBool>>,
    /// The SSRC of the video.
    ssrc: Option<u32>,
    /// Sequence numbers of the packets received since the last NACK.
    received: Vec<u16>,
    acted: Instant,
}

impl Student {
    fn run(mut self, answers: &mpsc::Receiver<String>) {
        let local = self.socket.local_addr().unwrap();
        let mut bytes = [0; 2048];
        while !self.shared.ends.load(Ordering::Relaxed) {
            if let Ok(sdp) = answers.try_recv() {
                let answer = RTCSessionDescription::answer(sdp).unwrap();
                self.connection.set_remote_description(Instant::now(), answer).unwrap();
            }
            if let Ok((length, peer_addr)) = self.socket.recv_from(&mut bytes) {
                let datagram = &bytes[..length];
                self.note(datagram);
                let (now, transport_protocol) = (Instant::now(), TransportProtocol::UDP);
                let transport = TransportContext { local_addr: local, peer_addr, ecn: None, transport_protocol };
                // The core refuses retransmissions, as no interceptor here expects them.
                let _ = self.connection.handle_read(TaggedBytesMut { now, transport, message: datagram.into() });
            }
            let now = Instant::now();
            if self.connection.poll_timeout().is_some_and(|at| at <= now) {
                let _ = self.connection.handle_timeout(now);
            }
            while let Some(event) = self.connection.poll_event() {
                if let RTCPeerConnectionEvent::OnConnectionStateChangeEvent(state) = event {
                    self.shared.connected.fetch_or(state == RTCPeerConnectionState::Connected, Ordering::Relaxed);
                }
            }
            while self.connection.poll_read().is_some() {}
            if now - self.acted >= INTERVAL {
                self.acted = now;
                self.act(now);
            }
            while let Some(out) = self.connection.poll_write() {
                let _ = self.socket.send_to(&out.message, out.transport.peer_addr);
            }
        }
    }

    /// Notes the sequence number if the datagram is RTP (RFC 7983; RFC 5761, 4).
    fn note(&mut self, datagram: &[u8]) {
        if datagram.len() < HEADER_BYTES || datagram[0] >> 6 != 2 || (192..=223).contains(&datagram[1]) {
            return;
        }
        let ssrc = u32::from_be_bytes(datagram[8..12].try_into().unwrap());
        if *self.ssrc.get_or_insert(ssrc) == ssrc {
            self.received.push(u16::from_be_bytes([datagram[2], datagram[3]]));
        }
    }

    fn act(&mut self, now: Instant) {
        if let Misbehaviour::Forges(forgery) = self.misbehaviour {
            return self.forge(now, forgery);
        }
        let received = std::mem::take(&mut self.received);
        let Some(media_ssrc) = self.ssrc.filter(|_| self.shared.misbehaves.load(Ordering::Relaxed)) else { return };
        let (asked, packet): (usize, Box<dyn Rtcp>) = match self.misbehaviour {
            Misbehaviour::NacksAll if !received.is_empty() => {
                let nacks = nack_pairs_from_sequence_numbers(&received);
                (received.len(), Box::new(TransportLayerNack { sender_ssrc: 0, media_ssrc, nacks }))
            }
            Misbehaviour::FloodsPli => (1, Box::new(PictureLossIndication { sender_ssrc: 0, media_ssrc })),
            Misbehaviour::Silent | Misbehaviour::NacksAll | Misbehaviour::Forges(_) => return,
        };
        let receiver = self.connection.get_receivers().next().unwrap();
        self.connection.rtp_receiver(receiver).unwrap().write_rtcp(now, vec![packet]).unwrap();
        self.shared.asked.fetch_add(asked as u64, Ordering::Relaxed);
    }

    fn forge(&mut self, now: Instant, forgery: Forgery) {
        let (Some(id), Some(forges)) = (self.channel, &self.forges) else { return };
        if !self.shared.misbehaves.load(Ordering::Relaxed) {
            return;
        }
        forges.store(true, Ordering::Relaxed);
        let Some(mut channel) = self.connection.data_channel(id) else { return };
        for _ in 0..forgery.burst() {
            if channel.ready_state() == RTCDataChannelState::Open && channel.send_text(now, forgery.message()).is_ok() {
                self.shared.asked.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}
