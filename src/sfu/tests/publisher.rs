//! A publisher for tests: the core does ICE, DTLS and SRTP, and the RTP is written here, packet by packet.

mod offer;

use std::collections::{HashMap, VecDeque};
use std::net::UdpSocket;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use rtc::dtls::extension::extension_use_srtp::SrtpProtectionProfile;
use rtc::interceptor::{Packet, Registry, Slot};
use rtc::peer_connection::message::{RTCMessage, TaggedRTCMessage};
use rtc::peer_connection::sdp::RTCSessionDescription;
use rtc::peer_connection::transport::RTCIceCandidateInit;
use rtc::peer_connection::{RTCPeerConnection, RTCPeerConnectionBuilder};
use rtc::rtcp::payload_feedbacks::picture_loss_indication::PictureLossIndication;
use rtc::rtcp::transport_feedbacks::transport_layer_cc::TransportLayerCc;
use rtc::rtcp::transport_feedbacks::transport_layer_nack::{NackPair, TransportLayerNack};
use rtc::rtp_transceiver::rtp_sender::RtpCodecKind;
use rtc::rtp_transceiver::{RTCRtpTransceiverDirection, RTCRtpTransceiverInit};
use rtc::sansio::Protocol;
use rtc::shared::{TaggedBytesMut, TransportContext, TransportProtocol};

use self::offer::{MID, OPUS, REPAIRED_RID, RID, RTX, TWCC, VP8, line, with_video, without_video};
use crate::protocol::channel::CHANNEL_LABEL;
use crate::rtp::{Codec, Tier, Track};
use crate::sdp::{answer, engine};

/// The interval of pictures and of audio packets.
const PICTURE_EVERY: Duration = Duration::from_millis(33);
const AUDIO_EVERY: Duration = Duration::from_millis(20);

/// The behaviour of a publisher, which a test may change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Behaviour {
    /// The first bytes of all payloads, by which viewers know the publisher.
    pub(super) mark: u8,
    /// Each nth datagram of RTP is lost; 0 for none.
    pub(super) loses_every: u32,
    /// The payload type of video.
    pub(super) video_payload_type: u8,
    /// Whether the full tier is sent.
    pub(super) sends_full: bool,
    /// Whether video is sent at all.
    pub(super) sends_video: bool,
    /// Whether key frames are sent.
    pub(super) sends_key_frames: bool,
    /// Whether it is a sender like FFmpeg: without a data channel, with SHA-1 alone, as the server of DTLS, and without
    /// connectivity checks once it is connected.
    pub(super) is_like_ffmpeg: bool,
}

impl Behaviour {
    pub(super) fn of(mark: u8) -> Self {
        Self {
            mark,
            loses_every: 0,
            video_payload_type: VP8,
            sends_full: true,
            sends_video: true,
            sends_key_frames: true,
            is_like_ffmpeg: false,
        }
    }
}

/// The sent frames and the received feedback of a publisher.
#[derive(Debug, Default)]
pub(super) struct Log {
    /// The payloads of each frame, as students must get them, by track and tier.
    pub(super) frames: HashMap<(Track, Tier), Vec<Vec<Vec<u8>>>>,
    pub(super) key_frame_requests: usize,
    pub(super) nacked: usize,
    pub(super) lost: usize,
    /// Packets that transport-wide feedback reports as received.
    pub(super) reported: usize,
    pub(super) connected: bool,
    /// How often it was connected: once, and once after each restart of ICE.
    pub(super) connections: usize,
    pub(super) closed: bool,
}

/// A publisher on a thread of its own.
pub(super) struct TestPublisher {
    pub(super) offer: String,
    pub(super) log: Arc<Mutex<Log>>,
    behaviour: Arc<Mutex<Behaviour>>,
    orders: std::sync::mpsc::Sender<Order>,
    thread: Option<std::thread::JoinHandle<()>>,
}

enum Order {
    Answer(String),
    /// Restart ICE with another socket. Takes the new user name fragment and the password.
    Restart(std::sync::mpsc::Sender<(String, String)>),
    /// The fragment in answer to a restart.
    Restarted(String),
    Close,
}

impl TestPublisher {
    /// Starts the thread, which waits for the answer to the offer.
    pub(super) fn start(behaviour: Behaviour) -> Self {
        let log: Arc<Mutex<Log>> = Arc::default();
        let behaviour = Arc::new(Mutex::new(behaviour));
        let (orders, order_queue) = std::sync::mpsc::channel();
        let (source, offer) = Source::new(Arc::clone(&log), Arc::clone(&behaviour));
        let thread = std::thread::spawn(move || source.run(&order_queue));
        Self { offer, log, behaviour, orders, thread: Some(thread) }
    }

    pub(super) fn answer(&self, sdp: String) {
        self.orders.send(Order::Answer(sdp)).unwrap();
    }

    /// Restarts ICE from another port. Returns the new credentials.
    pub(super) fn restart(&self) -> (String, String) {
        let (reply, credentials) = std::sync::mpsc::channel();
        self.orders.send(Order::Restart(reply)).unwrap();
        credentials.recv().unwrap()
    }

    /// The other side has restarted ICE, too.
    pub(super) fn restarted(&self, fragment: String) {
        self.orders.send(Order::Restarted(fragment)).unwrap();
    }

    pub(super) fn change(&self, change: impl FnOnce(&mut Behaviour)) {
        change(&mut self.behaviour.lock().unwrap());
    }

    pub(super) fn read<T>(&self, read: impl FnOnce(&Log) -> T) -> T {
        read(&self.log.lock().unwrap())
    }

    /// Closes the connection with a goodbye.
    pub(super) fn close(mut self) {
        let _ = self.orders.send(Order::Close);
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

/// One RTP stream.
struct Stream {
    track: Track,
    tier: Tier,
    mid: &'static str,
    rid: Option<&'static str>,
    ssrc: u32,
    rtx_ssrc: u32,
    sequence_number: u16,
    rtx_sequence_number: u16,
    timestamp: u32,
    wants_key_frame: bool,
    /// The last packets, for retransmissions.
    sent: VecDeque<rtc::rtp::Packet>,
}

impl Stream {
    fn new(track: Track, tier: Tier, mid: &'static str, rid: Option<&'static str>) -> Self {
        let (ssrc, rtx_ssrc, timestamp) = (rand::random(), rand::random(), rand::random());
        // Soon rolls over.
        let sequence_number = 65_000 + rand::random::<u16>() % 400;
        Self {
            track,
            tier,
            mid,
            rid,
            ssrc,
            rtx_ssrc,
            sequence_number,
            rtx_sequence_number: rand::random::<u16>() / 2,
            timestamp,
            wants_key_frame: true,
            sent: VecDeque::new(),
        }
    }
}

struct Source {
    /// The answer for the core.
    answer: String,
    socket: UdpSocket,
    connection: RTCPeerConnection,
    streams: Vec<Stream>,
    transport_number: u16,
    frames: u32,
    datagrams: u32,
    heard: Arc<Mutex<Vec<Heard>>>,
    log: Arc<Mutex<Log>>,
    behaviour: Arc<Mutex<Behaviour>>,
}

#[derive(Debug)]
enum Heard {
    Pli(u32),
    Nack(u32, Vec<u16>),
    Reported(usize),
}

impl Source {
    fn new(log: Arc<Mutex<Log>>, behaviour: Arc<Mutex<Behaviour>>) -> (Self, String) {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(2))).unwrap();
        let heard: Arc<Mutex<Vec<Heard>>> = Arc::default();
        let of_hook = Arc::clone(&heard);
        let hook = engine::Tap::watching(Box::new(move |packet| {
            let Packet::Rtcp(packets) = packet else { return };
            let mut heard = of_hook.lock().unwrap();
            for packet in packets.iter().map(|packet| packet.as_any()) {
                if let Some(pli) = packet.downcast_ref::<PictureLossIndication>() {
                    heard.push(Heard::Pli(pli.media_ssrc));
                } else if let Some(nack) = packet.downcast_ref::<TransportLayerNack>() {
                    let numbers = nack.nacks.iter().flat_map(NackPair::packet_list).collect();
                    heard.push(Heard::Nack(nack.media_ssrc, numbers));
                } else if let Some(feedback) = packet.downcast_ref::<TransportLayerCc>() {
                    heard.push(Heard::Reported(feedback.recv_deltas.len()));
                }
            }
        }));
        let is_like_ffmpeg = behaviour.lock().unwrap().is_like_ffmpeg;
        let settings = match is_like_ffmpeg {
            true => engine::settings()
                .with_srtp_protection_profiles(vec![SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_80]),
            false => engine::settings().with_discard_local_candidates_during_ice_restart(true),
        };
        let now = Instant::now();
        let mut connection = RTCPeerConnectionBuilder::new()
            .with_media_engine(engine::media_engine(&[Codec::Opus]).unwrap())
            .with_setting_engine(settings.build())
            .with_interceptor_registry(Registry::new().with(Slot::from(14_000), hook))
            .build(now)
            .unwrap();
        let direction = RTCRtpTransceiverDirection::Recvonly;
        let init = RTCRtpTransceiverInit { direction, ..Default::default() };
        connection.add_transceiver_from_kind(RtpCodecKind::Audio, Some(init)).unwrap();
        if !is_like_ffmpeg {
            connection.create_data_channel(CHANNEL_LABEL, None).unwrap();
        }
        let offer = connection.create_offer(None).unwrap();
        connection.set_local_description(now, offer).unwrap();
        let local = socket.local_addr().unwrap();
        connection.add_local_candidate(answer::host_candidate(local).unwrap()).unwrap();
        connection.add_local_candidate(RTCIceCandidateInit::default()).unwrap();
        let mut offer = with_video(&connection.local_description().unwrap().sdp);
        if is_like_ffmpeg {
            offer = offer.replace("a=setup:actpass", "a=setup:passive");
        }
        let streams = vec![
            Stream::new(Track::Audio, Tier::Full, "0", None),
            Stream::new(Track::Screen, Tier::Full, "v", Some("h")),
            Stream::new(Track::Screen, Tier::Low, "v", Some("l")),
        ];
        let answer = String::new();
        let source = Self {
            answer,
            socket,
            connection,
            streams,
            transport_number: 0,
            frames: 0,
            datagrams: 0,
            heard,
            log,
            behaviour,
        };
        (source, offer)
    }

    fn run(mut self, orders: &std::sync::mpsc::Receiver<Order>) {
        let Ok(Order::Answer(sdp)) = orders.recv() else { return };
        let for_core = without_video(&sdp);
        self.answer.clone_from(&for_core);
        self.connection
            .set_remote_description(Instant::now(), RTCSessionDescription::answer(for_core).unwrap())
            .unwrap();
        let (mut picture, mut audio) = (Instant::now(), Instant::now());
        let mut bytes = [0; 2_048];
        loop {
            match orders.try_recv() {
                Ok(Order::Restart(reply)) => reply.send(self.restart()).unwrap(),
                Ok(Order::Restarted(fragment)) => self.restarted(&fragment),
                Ok(Order::Close | Order::Answer(_)) | Err(std::sync::mpsc::TryRecvError::Disconnected) => break,
                Err(std::sync::mpsc::TryRecvError::Empty) => {}
            }
            let now = Instant::now();
            if self.connection.poll_timeout().is_some_and(|at| at <= now) {
                let _ = self.connection.handle_timeout(now);
            }
            if self.log.lock().unwrap().connected {
                if now >= audio {
                    audio += AUDIO_EVERY;
                    self.send_audio(now);
                }
                if now >= picture {
                    picture += PICTURE_EVERY;
                    self.send_picture(now);
                }
            } else {
                (picture, audio) = (now, now);
            }
            self.turn(now);
            if let Ok((length, from)) = self.socket.recv_from(&mut bytes) {
                let transport = TransportContext {
                    local_addr: self.socket.local_addr().unwrap(),
                    peer_addr: from,
                    ecn: None,
                    transport_protocol: TransportProtocol::UDP,
                };
                let message = BytesMut::from(&bytes[..length]);
                let _ = self.connection.handle_read(TaggedBytesMut { now: Instant::now(), transport, message });
            }
            self.turn(Instant::now());
        }
        let _ = self.connection.close();
        self.turn(Instant::now());
    }

    fn restart(&mut self) -> (String, String) {
        let now = Instant::now();
        self.socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        self.socket.set_read_timeout(Some(Duration::from_millis(2))).unwrap();
        self.connection.restart_ice();
        let offer = self.connection.create_offer(None).unwrap();
        self.connection.set_local_description(now, offer).unwrap();
        let local = self.socket.local_addr().unwrap();
        self.connection.add_local_candidate(answer::host_candidate(local).unwrap()).unwrap();
        self.connection.add_local_candidate(RTCIceCandidateInit::default()).unwrap();
        let offer = self.connection.local_description().unwrap().sdp;
        (line(&offer, "a=ice-ufrag:"), line(&offer, "a=ice-pwd:"))
    }

    fn restarted(&mut self, fragment: &str) {
        let mut answer = self.answer.clone();
        for name in ["a=ice-ufrag:", "a=ice-pwd:"] {
            answer = answer.replace(&line(&answer, name), &line(fragment, name));
        }
        let answer = RTCSessionDescription::answer(answer).unwrap();
        self.connection.set_remote_description(Instant::now(), answer).unwrap();
    }

    fn turn(&mut self, now: Instant) {
        use rtc::peer_connection::event::RTCPeerConnectionEvent::OnConnectionStateChangeEvent;
        use rtc::peer_connection::state::RTCPeerConnectionState;
        while let Some(event) = self.connection.poll_event() {
            match event {
                OnConnectionStateChangeEvent(RTCPeerConnectionState::Connected) => {
                    let mut log = self.log.lock().unwrap();
                    (log.connected, log.connections) = (true, log.connections + 1);
                }
                OnConnectionStateChangeEvent(RTCPeerConnectionState::Closed | RTCPeerConnectionState::Failed) => {
                    self.log.lock().unwrap().closed = true;
                }
                _ => {}
            }
        }
        while self.connection.poll_read().is_some() {}
        let heard: Vec<Heard> = std::mem::take(&mut *self.heard.lock().unwrap());
        for heard in heard {
            self.on_rtcp(now, heard);
        }
        let sends_checks = !self.behaviour.lock().unwrap().is_like_ffmpeg || !self.log.lock().unwrap().connected;
        while let Some(out) = self.connection.poll_write() {
            let is_check = out.message.starts_with(&[0, 1]);
            if is_check && !sends_checks {
                continue;
            }
            let is_rtp = out.message.len() > 12 && out.message[0] >> 6 == 2 && !(192..=223).contains(&out.message[1]);
            if is_rtp {
                self.datagrams += 1;
                let every = self.behaviour.lock().unwrap().loses_every;
                if every > 0 && self.datagrams.is_multiple_of(every) {
                    self.log.lock().unwrap().lost += 1;
                    continue;
                }
            }
            let _ = self.socket.send_to(&out.message, out.transport.peer_addr);
        }
    }

    fn on_rtcp(&mut self, now: Instant, heard: Heard) {
        match heard {
            Heard::Reported(count) => self.log.lock().unwrap().reported += count,
            Heard::Pli(ssrc) => {
                self.log.lock().unwrap().key_frame_requests += 1;
                let asked = self.streams.iter_mut().filter(|stream| stream.ssrc == ssrc);
                asked.for_each(|stream| stream.wants_key_frame = true);
            }
            Heard::Nack(ssrc, numbers) => {
                self.log.lock().unwrap().nacked += numbers.len();
                let Some(n) = self.streams.iter().position(|stream| stream.ssrc == ssrc) else { return };
                for number in numbers {
                    self.retransmit(now, n, number);
                }
            }
        }
    }

    fn retransmit(&mut self, now: Instant, n: usize, number: u16) {
        let stream = &mut self.streams[n];
        let Some(mut packet) = stream.sent.iter().find(|packet| packet.header.sequence_number == number).cloned()
        else {
            return;
        };
        let original = packet.header.sequence_number.to_be_bytes();
        if stream.track.is_video() {
            packet.payload = [&original[..], &packet.payload].concat().into();
            packet.header.ssrc = stream.rtx_ssrc;
            packet.header.payload_type = RTX;
            packet.header.sequence_number = stream.rtx_sequence_number;
            stream.rtx_sequence_number = stream.rtx_sequence_number.wrapping_add(1);
            packet.header.extensions.clear();
            packet.header.set_extension(MID, Bytes::from_static(stream.mid.as_bytes())).unwrap();
            packet.header.set_extension(REPAIRED_RID, Bytes::from_static(stream.rid.unwrap().as_bytes())).unwrap();
        }
        self.write(now, packet);
    }

    fn send_audio(&mut self, now: Instant) {
        let mark = self.behaviour.lock().unwrap().mark;
        let stream = &mut self.streams[0];
        stream.timestamp = stream.timestamp.wrapping_add(960);
        let payload = [&[mark][..], &stream.timestamp.to_be_bytes(), &[7; 60]].concat();
        self.send_frame(now, 0, OPUS, &[(payload.clone(), payload)]);
    }

    fn send_picture(&mut self, now: Instant) {
        let behaviour = *self.behaviour.lock().unwrap();
        self.frames += 1;
        let frame = self.frames;
        for n in 1..self.streams.len() {
            let stream = &mut self.streams[n];
            stream.timestamp = stream.timestamp.wrapping_add(2_970);
            let is_sent = behaviour.sends_video && (behaviour.sends_full || stream.tier == Tier::Low);
            if !is_sent {
                continue;
            }
            let key = std::mem::take(&mut stream.wants_key_frame) && behaviour.sends_key_frames;
            let count = if key { 12 } else { 3 } + u8::from(stream.tier == Tier::Full);
            let packets = (0..count).map(|at| {
                // A payload descriptor with a picture id (RFC 7741, 4.2), which students get without.
                let start = if at == 0 { 0x10 } else { 0 };
                let descriptor = [0x80 | start, 0x80, frame as u8 & 0x7f];
                let tag = [u8::from(!key), behaviour.mark, at, 0x9d, 0x01, 0x2a, 64, 1, 240, 0];
                let content = [&tag[..], &frame.to_be_bytes(), &vec![at; 400]].concat();
                ([&descriptor[..], &content].concat(), [&[start][..], &content].concat())
            });
            let packets: Vec<(Vec<u8>, Vec<u8>)> = packets.collect();
            self.send_frame(now, n, behaviour.video_payload_type, &packets);
        }
    }

    /// Sends the packets of a frame: each as it is sent, and as students must get it.
    fn send_frame(&mut self, now: Instant, n: usize, payload_type: u8, packets: &[(Vec<u8>, Vec<u8>)]) {
        let stream = &self.streams[n];
        let received = packets.iter().map(|(_, received)| received.clone()).collect();
        self.log.lock().unwrap().frames.entry((stream.track, stream.tier)).or_default().push(received);
        for (at, (payload, _)) in packets.iter().enumerate() {
            let stream = &mut self.streams[n];
            let mut header = rtc::rtp::Header {
                version: 2,
                marker: at + 1 == packets.len(),
                payload_type,
                sequence_number: stream.sequence_number,
                timestamp: stream.timestamp,
                ssrc: stream.ssrc,
                ..Default::default()
            };
            stream.sequence_number = stream.sequence_number.wrapping_add(1);
            header.set_extension(MID, Bytes::from_static(stream.mid.as_bytes())).unwrap();
            if let Some(rid) = stream.rid {
                header.set_extension(RID, Bytes::from_static(rid.as_bytes())).unwrap();
            }
            let packet = rtc::rtp::Packet { header, payload: Bytes::copy_from_slice(payload) };
            stream.sent.push_back(packet.clone());
            if stream.sent.len() > 500 {
                stream.sent.pop_front();
            }
            self.write(now, packet);
        }
    }

    fn write(&mut self, now: Instant, mut packet: rtc::rtp::Packet) {
        packet.header.set_extension(TWCC, Bytes::copy_from_slice(&self.transport_number.to_be_bytes())).unwrap();
        self.transport_number = self.transport_number.wrapping_add(1);
        let message = RTCMessage::RtpPacket(String::new(), packet);
        self.connection.handle_write(TaggedRTCMessage { now, message }).unwrap();
    }
}
