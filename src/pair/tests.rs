//! Two connections of this process with each other: real ICE, DTLS and SRTP, synthetic frames.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use tokio::time::timeout;

use super::*;
use crate::rtp::{Frame, FrameAssembler};
use crate::viewer::IceServers;

const DEADLINE: Duration = Duration::from_secs(30);

/// The codec and the payload types of the packets of each track that have arrived.
type Got = Arc<Mutex<Vec<(Track, u8)>>>;

struct Side {
    peer: Peer,
    events: PeerEvents,
    got: Got,
    heard: Vec<String>,
    is_connected: bool,
    is_open: bool,
    formats: Vec<(Track, Codec, u8)>,
}

impl Side {
    async fn new(is_polite: bool, codec: Codec) -> Self {
        let network = ViewerConfig { bind: vec!["127.0.0.1:0".to_owned()], ice_servers: IceServers::default() };
        let encodings = vec![(Encoding::full(Track::Camera, codec), 100_000)];
        let got = Got::default();
        let of_sink = Arc::clone(&got);
        let sink: PacketSink = Arc::new(move |incoming: Incoming<'_>| {
            if let Incoming::Rtp(track, packet) = incoming {
                of_sink.lock().unwrap().push((track, packet[1] & 0x7f));
            }
        });
        let (peer, events) = Peer::new(PeerConfig { network, encodings, is_polite }, sink).await.unwrap();
        let (heard, formats) = (Vec::new(), Vec::new());
        Self { peer, events, got, heard, is_connected: false, is_open: false, formats }
    }

    /// Handles the next event. Returns a candidate for the other side.
    async fn step(&mut self) -> Option<RTCIceCandidateInit> {
        match self.events.next().await {
            PeerEvent::Candidate(candidate) => return Some(candidate),
            PeerEvent::Connected => self.is_connected = true,
            PeerEvent::ChannelOpen => self.is_open = true,
            PeerEvent::Heard(text) => self.heard.push(text),
            PeerEvent::Format(track, codec, payload_type) => self.formats.push((track, codec, payload_type)),
            PeerEvent::Disturbed | PeerEvent::Gone => panic!("the connection is lost"),
            PeerEvent::File(_)
            | PeerEvent::BeginningMissed(_)
            | PeerEvent::KeyFrameNeeded(_)
            | PeerEvent::Encodings(_) => {}
        }
        None
    }

    fn has(&self, track: Track) -> bool {
        self.got.lock().unwrap().iter().filter(|(of, _)| *of == track).count() > 20
    }
}

/// Lets both sides work until something holds.
async fn until(sides: &mut [Side; 2], what: &str, holds: impl Fn(&[Side; 2]) -> bool) {
    let work = async {
        while !holds(sides) {
            let [a, b] = &mut *sides;
            tokio::select! {
                candidate = a.step() => if let Some(candidate) = candidate { b.peer.candidate(candidate).await },
                candidate = b.step() => if let Some(candidate) = candidate { a.peer.candidate(candidate).await },
                () = tokio::time::sleep(Duration::from_millis(20)) => {}
            }
        }
    };
    timeout(DEADLINE, work).await.unwrap_or_else(|_| panic!("no {what}"));
}

/// A source of key frames of one packet, thirty a second.
async fn film(input: FrameInput, codec: Codec) {
    let mut assembler = FrameAssembler::new(Encoding::full(Track::Camera, codec));
    for number in 0_u32.. {
        let mut packet = vec![0x80, 0x80 | engine::payload_type(codec)];
        packet.extend_from_slice(&(number as u16).to_be_bytes());
        packet.extend_from_slice(&(number * 3_000).to_be_bytes());
        packet.extend_from_slice(&[0, 0, 0, 1]);
        // A key frame of VP8, or a slice of an IDR picture after its parameter sets.
        packet.extend_from_slice(match codec {
            Codec::Vp8 => &[0x10, 0, 0, 0][..],
            _ => &[0x78, 0, 2, 0x67, 0, 0, 2, 0x68, 0, 0, 2, 0x65, 0],
        });
        let frame: Option<Frame> = assembler.push(&packet, Instant::now());
        input.push(frame.expect("a frame in one packet"));
        tokio::time::sleep(Duration::from_millis(33)).await;
    }
}

/// Negotiates by an offer of the first side.
async fn negotiate(sides: &mut [Side; 2], offer: String) {
    let answer = sides[1].peer.offered(offer).await.unwrap().expect("an answer");
    assert_eq!(sides[0].peer.answered(answer).await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_see_and_hear_each_other_and_restart_their_path_at_the_same_time() {
    let mut sides = [Side::new(true, Codec::Vp8).await, Side::new(false, Codec::H264).await];
    let offer = sides[0].peer.offer().await.unwrap();
    let kinds: Vec<&str> = offer.lines().filter_map(|line| line.strip_prefix("m=")).map(|m| &m[..5]).collect();
    assert_eq!(kinds, ["audio", "video", "video", "appli"]);
    assert!(!["a=recvonly", "a=sendonly", "a=inactive"].iter().any(|other| offer.contains(other)), "{offer}");
    negotiate(&mut sides, offer).await;
    assert_eq!((sides[0].peer.undecodable(), sides[1].peer.undecodable()), (vec![], vec![]));
    until(&mut sides, "connection", |sides| sides.iter().all(|side| side.is_connected && side.is_open)).await;
    let films = [(0, Codec::Vp8), (1, Codec::H264)].map(|(n, codec)| tokio::spawn(film(sides[n].peer.input(), codec)));
    until(&mut sides, "media both ways", |sides| sides.iter().all(|side| side.has(Track::Camera))).await;
    // Each sends its own codec. The side that expected another one is told.
    assert_eq!(sides[0].formats, [(Track::Camera, Codec::H264, 102)]);
    assert_eq!(sides[1].formats, []);
    assert!(sides[0].peer.say("hello").await);
    until(&mut sides, "message", |sides| sides[1].heard == ["hello"]).await;
    // Both restart ICE at the same time: the offer of the impolite one counts.
    let (polite, impolite) = (sides[0].peer.restart().await.unwrap(), sides[1].peer.restart().await.unwrap());
    assert_eq!(sides[1].peer.offered(polite.unwrap()).await.unwrap(), None);
    let answer = sides[0].peer.offered(impolite.unwrap()).await.unwrap().expect("an answer after a rollback");
    assert!(!sides[1].peer.is_foreign(&answer) && sides[1].peer.is_foreign("a=fingerprint:sha-256 00"));
    sides[1].peer.answered(answer).await.unwrap();
    sides.iter().for_each(|side| side.got.lock().unwrap().clear());
    until(&mut sides, "media after a restart", |sides| sides.iter().all(|side| side.has(Track::Camera))).await;
    films.iter().for_each(tokio::task::JoinHandle::abort);
    for side in sides {
        side.peer.close().await;
    }
}

#[tokio::test]
async fn who_can_not_decode_a_codec_is_named_and_gets_nothing() {
    let mut sides = [Side::new(true, Codec::Vp8).await, Side::new(false, Codec::H264).await];
    let offer = sides[0].peer.offer().await.unwrap();
    // An offer of somebody who has no H.264.
    let lacks = |line: &&str| !line.contains(":102 ") && !line.contains(":103 ");
    let offer: Vec<String> =
        offer.lines().filter(lacks).map(|line| line.replace(" 102", "").replace(" 103", "")).collect();
    negotiate(&mut sides, offer.join("\r\n") + "\r\n").await;
    assert_eq!(sides[1].peer.undecodable(), [(Track::Camera, Codec::H264)]);
    assert_eq!(sides[0].peer.undecodable(), []);
    for side in sides {
        side.peer.close().await;
    }
}
