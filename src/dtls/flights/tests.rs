//! Connections of two cores over a network that loses packets, with simulated time.

use std::collections::VecDeque;

use bytes::BytesMut;
use rtc::interceptor::Registry;
use rtc::peer_connection::event::RTCPeerConnectionEvent;
use rtc::peer_connection::sdp::RTCSessionDescription;
use rtc::peer_connection::state::RTCPeerConnectionState;
use rtc::peer_connection::transport::{RTCDtlsRole, RTCIceCandidateInit};
use rtc::peer_connection::{RTCPeerConnection, RTCPeerConnectionBuilder};
use rtc::rtp_transceiver::rtp_sender::RtpCodecKind;
use rtc::rtp_transceiver::{RTCRtpTransceiverDirection, RTCRtpTransceiverInit};
use rtc::sansio::Protocol;
use rtc::shared::{TaggedBytesMut, TransportContext, TransportProtocol};

use super::*;
use crate::rtp::Codec;
use crate::sdp::answer;
use crate::sdp::engine;
use crate::srtp::random::Random;

const MS: Duration = Duration::from_millis(1);

/// The delay from one side to the other.
const ONE_WAY: Duration = Duration::from_millis(25);

const STEP: Duration = Duration::from_millis(5);

/// The number of steps in the time that a peer has to connect.
const STEPS: u32 = 4000;

/// Teacher and student.
const ADDRESSES: [&str; 2] = ["127.0.0.1:1111", "127.0.0.1:2222"];

fn core(now: Instant) -> RTCPeerConnection {
    RTCPeerConnectionBuilder::new()
        .with_media_engine(engine::media_engine(&[Codec::Opus]).unwrap())
        .with_setting_engine(engine::settings().with_answering_dtls_role(RTCDtlsRole::Server).build())
        .with_interceptor_registry(Registry::new())
        .build(now)
        .unwrap()
}

/// Two cores that have exchanged offer and answer.
fn cores(now: Instant) -> [RTCPeerConnection; 2] {
    let [mut teacher, mut student] = [core(now), core(now)];
    let candidate = |n: usize| answer::host_candidate(ADDRESSES[n].parse().unwrap()).unwrap();
    let direction = RTCRtpTransceiverDirection::Recvonly;
    let init = RTCRtpTransceiverInit { direction, ..Default::default() };
    student.add_transceiver_from_kind(RtpCodecKind::Audio, Some(init)).unwrap();
    let offer = student.create_offer(None).unwrap();
    student.set_local_description(now, offer).unwrap();
    student.add_local_candidate(candidate(1)).unwrap();
    student.add_local_candidate(RTCIceCandidateInit::default()).unwrap();
    let offer = student.local_description().unwrap().sdp;
    teacher.set_remote_description(now, RTCSessionDescription::offer(offer).unwrap()).unwrap();
    teacher.add_local_candidate(candidate(0)).unwrap();
    teacher.add_local_candidate(RTCIceCandidateInit::default()).unwrap();
    let answer = teacher.create_answer(None).unwrap();
    teacher.set_local_description(now, answer).unwrap();
    let answer = teacher.local_description().unwrap().sdp;
    student.set_remote_description(now, RTCSessionDescription::answer(answer).unwrap()).unwrap();
    [teacher, student]
}

/// The time that teacher and student take to connect; None if they never connect. `arrives` decides about each datagram
/// of one of them. Those that are `ours` use our retransmission.
fn connects(ours: [bool; 2], mut arrives: impl FnMut(usize, &[u8]) -> bool) -> Option<Duration> {
    let start = Instant::now();
    let addresses: [SocketAddr; 2] = ADDRESSES.map(|address| address.parse().unwrap());
    let (mut cores, mut connected) = (cores(start), [false; 2]);
    let mut handshakes = [Handshake::default(), Handshake::default()];
    let mut wire: VecDeque<(Instant, usize, BytesMut)> = VecDeque::new();
    for step in 0..STEPS {
        let now = start + STEP * step;
        while wire.front().is_some_and(|(at, ..)| *at <= now) {
            let (_, to, message) = wire.pop_front().unwrap();
            if Handshake::is_dtls(&message) {
                handshakes[to].on_receive(now, &message);
            }
            let transport = TransportContext {
                local_addr: addresses[to],
                peer_addr: addresses[1 - to],
                ecn: None,
                transport_protocol: TransportProtocol::UDP,
            };
            let _ = cores[to].handle_read(TaggedBytesMut { now, transport, message });
        }
        for n in [0, 1] {
            let core = &mut cores[n];
            if core.poll_timeout().is_some_and(|at| at <= now) {
                let _ = core.handle_timeout(now);
            }
            while let Some(event) = core.poll_event() {
                if let RTCPeerConnectionEvent::OnConnectionStateChangeEvent(state) = event {
                    connected[n] |= state == RTCPeerConnectionState::Connected;
                }
            }
            while core.poll_read().is_some() {}
            let mut sent: Vec<BytesMut> = Vec::new();
            let handshake = &mut handshakes[n];
            if ours[n] {
                sent.extend(handshake.retransmit(now).iter().map(|(.., datagram)| BytesMut::from(&datagram[..])));
            }
            while let Some(out) = core.poll_write() {
                let is_ours = ours[n] && Handshake::is_dtls(&out.message);
                // A student sends the retransmissions of the core, too.
                if !is_ours || handshake.on_send(now, addresses[n], addresses[1 - n], &out.message) || n == 1 {
                    sent.push(out.message);
                }
            }
            sent.retain(|message| arrives(n, message));
            wire.extend(sent.into_iter().map(|message| (now + ONE_WAY, 1 - n, message)));
        }
        if connected == [true; 2] {
            return Some(now - start);
        }
    }
    None
}

/// Makes 100 connections. Returns the number that succeed, and the times within which half and nine tenths of them do.
fn hundred(loss_percent: u64, ours: [bool; 2]) -> (usize, Duration, Duration) {
    let mut random = Random::new(0x5eed + loss_percent);
    let mut arrives = |_: usize, _: &[u8]| random.below(100) >= loss_percent;
    let mut times: Vec<Duration> = (0..100).filter_map(|_| connects(ours, &mut arrives)).collect();
    times.sort_unstable();
    let at = |n: usize| times.get(n).copied().unwrap_or(Duration::MAX);
    println!("{loss_percent} % lost, {ours:?}: {} connect, {:?}, {:?}", times.len(), at(50), at(90));
    (times.len(), at(50), at(90))
}

#[test]
fn every_connection_succeeds_over_a_path_that_loses_packets() {
    for loss_percent in [0, 5, 10, 20] {
        assert_eq!(hundred(loss_percent, [true; 2]).0, 100, "{loss_percent} %");
    }
    assert_eq!(hundred(10, [true, false]).0, 100, "students who do not retransmit early");
    // When this fails, the library retransmits correctly, and flights.rs is not needed any more.
    let (without, ..) = hundred(10, [false; 2]);
    assert!(without < 95, "{without} of 100 connect without us");
}

#[test]
fn a_lost_client_hello_does_not_cost_the_second_of_the_library() {
    let without_first = |ours| {
        let mut lost = false;
        let hello = |from: usize, datagram: &[u8]| from == 1 && Handshake::is_dtls(datagram);
        connects(ours, |from, datagram| !hello(from, datagram) || std::mem::replace(&mut lost, true))
    };
    let (ours, of_library) = (without_first([true; 2]).unwrap(), without_first([true, false]).unwrap());
    assert!(ours < 700 * MS && of_library > 1000 * MS, "{ours:?}, {of_library:?}");
}

#[test]
fn a_client_is_done_when_the_server_changes_to_the_new_keys() {
    let (start, mut handshake) = (Instant::now(), Handshake::default());
    let [to, from] = ADDRESSES.map(|address| address.parse().unwrap());
    let record =
        |kind: u8, body: &[u8]| [&[kind, 254, 253, 0, 0, 0, 0, 0, 0, 0, 0, 0, body.len() as u8], body].concat();
    let (hello, change) = (record(HANDSHAKE, &[CLIENT_HELLO]), record(CHANGE_CIPHER_SPEC, &[1]));
    let ticket = [record(HANDSHAKE, &[4]), change].concat();
    handshake.on_receive(start, &ticket);
    assert!(handshake.on_send(start, from, to, &hello) && handshake.due().is_some(), "no client before");
    handshake.on_receive(start + MS, &record(HANDSHAKE, &[2]));
    assert!(handshake.due().is_some());
    handshake.on_receive(start + MS, &ticket);
    assert_eq!(handshake.due(), None);
    (0..ticket.len()).for_each(|cut| _ = changes_cipher(&ticket[..cut]));
}

#[test]
fn the_shortest_round_trip_of_the_handshake_decides_whether_a_peer_is_near() {
    let (start, mut handshake) = (Instant::now(), Handshake::default());
    let [from, to] = ADDRESSES.map(|address| address.parse().unwrap());
    handshake.on_receive(start, &[HANDSHAKE]);
    assert!(!handshake.is_near(), "nothing was sent before");
    assert!(handshake.on_send(start, from, to, &[HANDSHAKE]));
    handshake.on_receive(start + 45 * MS, &[HANDSHAKE]);
    assert!(!handshake.is_near());
    assert!(handshake.on_send(start + 46 * MS, from, to, &[HANDSHAKE]));
    handshake.on_receive(start + 48 * MS, &[HANDSHAKE]);
    // A second datagram of the same flight.
    handshake.on_receive(start + 90 * MS, &[HANDSHAKE]);
    assert!(handshake.is_near());
    assert!(Handshake::is_dtls(&[22]) && !Handshake::is_dtls(&[0]) && !Handshake::is_dtls(&[128]));
    assert!(!Handshake::is_dtls(&[]));
}

#[test]
fn a_flight_is_retransmitted_unchanged_until_the_next_one_or_the_end() {
    let (start, mut handshake) = (Instant::now(), Handshake::default());
    let [from, to] = ADDRESSES.map(|address| address.parse().unwrap());
    let sent = |handshake: &mut Handshake, at: u32| -> Vec<u8> {
        handshake.retransmit(start + MS * at).iter().map(|(.., datagram)| datagram[1]).collect()
    };
    assert_eq!(handshake.due(), None);
    assert!(
        handshake.on_send(start, from, to, &[HANDSHAKE, 1]) && handshake.on_send(start + MS, from, to, &[HANDSHAKE, 2])
    );
    assert_eq!((sent(&mut handshake, 199), sent(&mut handshake, 200)), (vec![], vec![1, 2]));
    assert!(!handshake.on_send(start + 1000 * MS, from, to, &[HANDSHAKE, 3]), "the core's retransmission");
    assert_eq!((sent(&mut handshake, 599), sent(&mut handshake, 600)), (vec![], vec![1, 2]));
    // The peer retransmits, which the core does not answer.
    handshake.on_receive(start + 700 * MS, &[HANDSHAKE]);
    assert_eq!(sent(&mut handshake, 1400), [1, 2]);
    assert!(handshake.on_send(start + 1500 * MS, from, to, &[CHANGE_CIPHER_SPEC, 4]));
    assert_eq!(sent(&mut handshake, 1700), [4]);
    handshake.on_receive(start + 1800 * MS, &[APPLICATION_DATA]);
    assert_eq!((sent(&mut handshake, 9000), handshake.due()), (vec![], None));
    assert!(handshake.on_send(start + 9000 * MS, from, to, &[HANDSHAKE, 5]), "the core decides now");
    // For a peer with a longer round trip time the timeout is longer.
    let mut slow = Handshake::default();
    assert!(slow.on_send(start, from, to, &[HANDSHAKE, 1]));
    slow.on_receive(start + 150 * MS, &[HANDSHAKE]);
    assert!(slow.on_send(start + 150 * MS, from, to, &[HANDSHAKE, 2]));
    assert_eq!((sent(&mut slow, 599), sent(&mut slow, 600)), (vec![], vec![2]));
    // Retransmission ends.
    let mut silent = Handshake::default();
    assert!(
        silent.on_send(start, from, to, &[HANDSHAKE, 1]) && silent.on_send(start, from, to, &[APPLICATION_DATA, 2])
    );
    let repeated: usize = (0..100_000).step_by(10).map(|at| sent(&mut silent, at).len()).sum();
    assert_eq!((repeated, silent.due()), (MAX_RETRANSMISSIONS as usize, None));
}
