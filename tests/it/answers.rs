//! What the SFU answers to an offer: the candidates of both address families, and the sections that Firefox bundles.

use std::num::NonZeroUsize;
use std::sync::Arc;

use classroom::id::UserId;
use classroom::rtp::{Codec, Encoding, Track};
use classroom::sfu::{Sfu, SfuConfig, SfuEvent, UdpBinding};
use classroom::viewer::{IceServers, Incoming, Viewer, ViewerConfig, ViewerEvent};
use tokio::time::timeout;

use crate::support::DEADLINE;

fn user(n: usize) -> UserId {
    n.to_string().parse().unwrap()
}

/// A STUN server on loopback that reports 203.0.113.7:4711 as the public address of everybody.
fn stun_server() -> std::net::SocketAddr {
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    std::thread::spawn(move || {
        let mut bytes = [0; 1500];
        let (_, from) = socket.recv_from(&mut bytes).unwrap();
        let mut answer = vec![0x01, 0x01, 0, 12];
        answer.extend_from_slice(&bytes[4..20]);
        // XOR-MAPPED-ADDRESS (RFC 8489, 14.2): the port and the address, each XORed with the magic cookie.
        answer.extend_from_slice(&[0x00, 0x20, 0, 8, 0, 1]);
        answer.extend_from_slice(&(4711u16 ^ 0x2112).to_be_bytes());
        answer.extend_from_slice(&(u32::from_be_bytes([203, 0, 113, 7]) ^ 0x2112_a442).to_be_bytes());
        socket.send_to(&answer, from).unwrap();
    });
    address
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_name_the_public_address_and_the_advertised_one() {
    let (sfu, mut events) = Sfu::start(SfuConfig {
        user: user(9999),
        udp: UdpBinding::Own("127.0.0.1:0".parse().unwrap()),
        advertise: vec!["198.51.100.9".parse().unwrap()],
        stun: vec![stun_server()],
        max_students: 1,
        workers: NonZeroUsize::MIN,
        adapts: true,
        encodings: vec![(Encoding::full(Track::Screen, Codec::Vp8), 1_000_000)],
    })
    .unwrap();
    let notice = timeout(DEADLINE, events.recv()).await.unwrap();
    assert!(matches!(notice, Some(SfuEvent::Notice(sentence)) if sentence.contains("203.0.113.7:4711")));
    let config = ViewerConfig { bind: vec!["127.0.0.1:0".to_owned()], ice_servers: IceServers::default() };
    let (viewer, offer, _events) = Viewer::offer(config, Arc::new(|_: Incoming<'_>| {})).await.unwrap();
    sfu.offer(user(1), offer, None, None);
    let Some(SfuEvent::Answer { sdp, .. }) = timeout(DEADLINE, events.recv()).await.unwrap() else {
        panic!("no answer");
    };
    let port = sfu.udp().port();
    assert!(sdp.contains(&format!("127.0.0.1 {port} typ host")), "{sdp}");
    assert!(sdp.contains("203.0.113.7 4711 typ srflx"), "{sdp}");
    assert!(sdp.contains(&format!("198.51.100.9 {port} typ srflx")), "{sdp}");
    viewer.close().await;
    sfu.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_student_that_has_only_ipv6_connects_to_an_sfu_on_all_interfaces() {
    if std::net::UdpSocket::bind("[::1]:0").is_err() {
        println!("skipped: no IPv6 here");
        return;
    }
    let (sfu, mut events) = Sfu::start(SfuConfig {
        user: user(9999),
        udp: UdpBinding::Own("0.0.0.0:0".parse().unwrap()),
        advertise: vec!["198.51.100.9".parse().unwrap(), "2001:db8::9".parse().unwrap()],
        stun: vec![],
        max_students: 1,
        workers: NonZeroUsize::MIN,
        adapts: true,
        encodings: vec![(Encoding::full(Track::Screen, Codec::Vp8), 1_000_000)],
    })
    .unwrap();
    let config = ViewerConfig { bind: vec!["[::1]:0".to_owned()], ice_servers: IceServers::default() };
    let (viewer, offer, mut viewer_events) = Viewer::offer(config, Arc::new(|_: Incoming<'_>| {})).await.unwrap();
    sfu.offer(user(1), offer, None, None);
    let Some(SfuEvent::Answer { sdp, .. }) = timeout(DEADLINE, events.recv()).await.unwrap() else {
        panic!("no answer");
    };
    let port = sfu.udp().port();
    for candidate in ["127.0.0.1 PORT typ host", "::1 PORT typ host", "2001:db8::9 PORT typ srflx raddr"] {
        assert!(sdp.contains(&format!(" {}", candidate.replace("PORT", &port.to_string()))), "{candidate}: {sdp}");
    }
    let related = sdp.lines().find(|line| line.contains("2001:db8::9")).and_then(|line| line.split("raddr ").nth(1));
    assert!(related.is_some_and(|base| base.contains(':')), "the base has the same address family: {sdp}");
    viewer.answer(sdp).await.unwrap();
    let connected = async { while viewer_events.recv().await.unwrap() != ViewerEvent::Connected {} };
    timeout(DEADLINE, connected).await.unwrap();
    viewer.close().await;
    sfu.close().await;
}

/// An offer as Firefox writes it, without the extensions and codecs that do not matter here. Only the first section of
/// each kind has a port; the others have port 0 and `a=bundle-only`.
fn offer_of_firefox() -> String {
    let transport = "c=IN IP4 0.0.0.0\r\na=ice-pwd:8b2c17913c7153223b3690ad06d6e52b\r\na=ice-ufrag:1846ad3e\r\n\
        a=rtcp-mux\r\na=setup:actpass\r\n";
    let fingerprint = vec!["D5"; 32].join(":");
    let video = |port: u16, more: &str| {
        format!(
            "m=video {port} UDP/TLS/RTP/SAVPF 120 121\r\n{transport}{more}a=recvonly\r\n\
             a=fmtp:120 max-fs=12288;max-fr=60\r\na=rtcp-fb:120 nack\r\n\
             a=rtcp-fb:120 nack pli\r\na=rtpmap:120 VP8/90000\r\na=rtpmap:121 VP9/90000\r\n"
        )
    };
    format!(
        "v=0\r\no=mozilla...THIS_IS_SDPARTA-99.0 6821829637301101048 0 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n\
         a=fingerprint:sha-256 {fingerprint}\r\na=group:BUNDLE 0 1 2\r\na=ice-options:trickle\r\n\
         m=audio 9 UDP/TLS/RTP/SAVPF 109\r\n{transport}a=mid:0\r\na=recvonly\r\na=rtpmap:109 opus/48000/2\r\n{}{}",
        video(9, "a=mid:1\r\n"),
        video(0, "a=bundle-only\r\na=mid:2\r\n"),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bundle_only_section_of_firefox_is_answered_like_the_others() {
    let (sfu, mut events) = Sfu::start(SfuConfig {
        user: user(9999),
        udp: UdpBinding::Own("127.0.0.1:0".parse().unwrap()),
        advertise: vec![],
        stun: vec![],
        max_students: 1,
        workers: NonZeroUsize::MIN,
        adapts: true,
        encodings: vec![
            (Encoding::full(Track::Audio, Codec::Opus), 1_000_000),
            (Encoding::full(Track::Screen, Codec::Vp8), 1_000_000),
            (Encoding::full(Track::Camera, Codec::Vp8), 1_000_000),
        ],
    })
    .unwrap();
    sfu.offer(user(1), offer_of_firefox(), None, None);
    let answered = timeout(DEADLINE, events.recv()).await.unwrap();
    let Some(SfuEvent::Answer { sdp, .. }) = answered else { panic!("{answered:?}") };
    let sections: Vec<&str> = sdp.split("m=").skip(1).collect();
    let ports: Vec<&str> = sections.iter().filter_map(|section| section.split(' ').nth(1)).collect();
    assert_eq!(ports, ["9"; 3], "no section is rejected: {sdp}");
    assert!(sections.iter().all(|section| section.contains("a=sendonly")), "{sdp}");
    assert!(sections[2].contains("a=msid:classroom camera") && sdp.contains("a=group:BUNDLE 0 1 2"), "{sdp}");
    let with_candidates = |section: &&str| section.contains("a=candidate:");
    assert!(
        sections[0].contains("a=candidate:") && sections.iter().filter(|s| with_candidates(s)).count() == 1,
        "{sdp}"
    );
    sfu.close().await;
}
