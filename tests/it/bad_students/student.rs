//! A bad student: the sans-I/O core on a thread of its own, with none of the feedback that it would give by itself.

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

/// Fifty times a second.
const EVERY: Duration = Duration::from_millis(20);

/// What one does, once it is told to begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// Nothing: it never says how its packets come.
    Silent,
    /// Asks again for every packet that it got.
    NacksAll,
    /// Says that it can't decode.
    Begs,
    /// Writes this over its data channel.
    Forges(Forgery),
}

/// What the thread and the test both know.
#[derive(Default)]
struct Known {
    connected: AtomicBool,
    misbehaves: AtomicBool,
    ends: AtomicBool,
    /// Packets that were asked for again, key frames, or forgeries.
    asked: AtomicU64,
}

/// A bad student whose thread runs.
pub struct Bad {
    known: Arc<Known>,
    answer: mpsc::Sender<String>,
    thread: JoinHandle<()>,
}

impl Bad {
    /// One that polls its socket, and its offer: one with retransmissions and transport-wide numbers.
    pub fn offer(manner: Manner) -> (Self, String) {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(5))).unwrap();
        let (now, port) = (Instant::now(), socket.local_addr().unwrap().port());
        let codecs = [Codec::Opus, Codec::H264, Codec::Vp8];
        let forger = if let Manner::Forges(forgery) = manner { Some(forger::provider(forgery)) } else { None };
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
        let known = Arc::new(Known::default());
        let forges = forger.map(|(_, begun)| begun);
        let student = Student {
            manner,
            socket,
            connection,
            known: Arc::clone(&known),
            channel,
            forges,
            ssrc: None,
            came: Vec::new(),
            acted: now,
        };
        (Self { known, answer, thread: std::thread::spawn(move || student.run(&answers)) }, sdp)
    }

    pub fn answer(&self, sdp: String) {
        self.answer.send(sdp).unwrap();
    }

    pub fn is_connected(&self) -> bool {
        self.known.connected.load(Ordering::Relaxed)
    }

    /// Until now it only took what came.
    pub fn misbehave(&self) {
        self.known.misbehaves.store(true, Ordering::Relaxed);
    }

    /// Packets that it asked for again, key frames, or forgeries.
    pub fn asked(&self) -> u64 {
        self.known.asked.load(Ordering::Relaxed)
    }

    pub fn end(self) {
        self.known.ends.store(true, Ordering::Relaxed);
        self.thread.join().unwrap();
    }
}

/// The thread's side.
struct Student {
    manner: Manner,
    socket: UdpSocket,
    connection: RTCPeerConnection,
    known: Arc<Known>,
    /// The channel of one that forges, and what tells it to.
    channel: Option<RTCDataChannelId>,
    forges: Option<Arc<AtomicBool>>,
    /// That of the picture.
    ssrc: Option<u32>,
    /// Numbers of packets that came since it last asked.
    came: Vec<u16>,
    acted: Instant,
}

impl Student {
    fn run(mut self, answers: &mpsc::Receiver<String>) {
        let local = self.socket.local_addr().unwrap();
        let mut bytes = [0; 2048];
        while !self.known.ends.load(Ordering::Relaxed) {
            if let Ok(sdp) = answers.try_recv() {
                let answer = RTCSessionDescription::answer(sdp).unwrap();
                self.connection.set_remote_description(Instant::now(), answer).unwrap();
            }
            if let Ok((length, peer_addr)) = self.socket.recv_from(&mut bytes) {
                let datagram = &bytes[..length];
                self.note(datagram);
                let (now, transport_protocol) = (Instant::now(), TransportProtocol::UDP);
                let transport = TransportContext { local_addr: local, peer_addr, ecn: None, transport_protocol };
                // It can't make sense of retransmissions, as nothing here puts them where they belong.
                let _ = self.connection.handle_read(TaggedBytesMut { now, transport, message: datagram.into() });
            }
            let now = Instant::now();
            if self.connection.poll_timeout().is_some_and(|at| at <= now) {
                let _ = self.connection.handle_timeout(now);
            }
            while let Some(event) = self.connection.poll_event() {
                if let RTCPeerConnectionEvent::OnConnectionStateChangeEvent(state) = event {
                    self.known.connected.fetch_or(state == RTCPeerConnectionState::Connected, Ordering::Relaxed);
                }
            }
            while self.connection.poll_read().is_some() {}
            if now - self.acted >= EVERY {
                self.acted = now;
                self.act(now);
            }
            while let Some(out) = self.connection.poll_write() {
                let _ = self.socket.send_to(&out.message, out.transport.peer_addr);
            }
        }
    }

    /// Looks at the header of what may be RTP (RFC 7983; RFC 5761, 4).
    fn note(&mut self, datagram: &[u8]) {
        if datagram.len() < HEADER_BYTES || datagram[0] >> 6 != 2 || (192..=223).contains(&datagram[1]) {
            return;
        }
        let ssrc = u32::from_be_bytes(datagram[8..12].try_into().unwrap());
        if *self.ssrc.get_or_insert(ssrc) == ssrc {
            self.came.push(u16::from_be_bytes([datagram[2], datagram[3]]));
        }
    }

    fn act(&mut self, now: Instant) {
        if let Manner::Forges(forgery) = self.manner {
            return self.forge(now, forgery);
        }
        let came = std::mem::take(&mut self.came);
        let Some(media_ssrc) = self.ssrc.filter(|_| self.known.misbehaves.load(Ordering::Relaxed)) else { return };
        let (asked, packet): (usize, Box<dyn Rtcp>) = match self.manner {
            Manner::NacksAll if !came.is_empty() => {
                let nacks = nack_pairs_from_sequence_numbers(&came);
                (came.len(), Box::new(TransportLayerNack { sender_ssrc: 0, media_ssrc, nacks }))
            }
            Manner::Begs => (1, Box::new(PictureLossIndication { sender_ssrc: 0, media_ssrc })),
            Manner::Silent | Manner::NacksAll | Manner::Forges(_) => return,
        };
        let receiver = self.connection.get_receivers().next().unwrap();
        self.connection.rtp_receiver(receiver).unwrap().write_rtcp(now, vec![packet]).unwrap();
        self.known.asked.fetch_add(asked as u64, Ordering::Relaxed);
    }
    fn forge(&mut self, now: Instant, forgery: Forgery) {
        let (Some(id), Some(forges)) = (self.channel, &self.forges) else { return };
        if !self.known.misbehaves.load(Ordering::Relaxed) {
            return;
        }
        forges.store(true, Ordering::Relaxed);
        let Some(mut channel) = self.connection.data_channel(id) else { return };
        if channel.ready_state() == RTCDataChannelState::Open && channel.send_text(now, forgery.message()).is_ok() {
            self.known.asked.fetch_add(1, Ordering::Relaxed);
        }
    }
}
