//! Session descriptions: offers and what is rewritten in them, answers, fragments of trickle ICE, the core's part.

use std::time::{Duration, Instant};

use super::input::{MAX_REASON_BYTES, datagrams};
use crate::protocol::VideoTrack;
use crate::rtp::{Codec, Track};
use crate::sdp::answer::{with_level, with_moved_candidates};
use crate::sdp::fragment::Fragment;
use crate::sdp::offer::{MAX_SECTIONS, OfferError, tracks_for};
use crate::sdp::publish::PublishOffer;
use crate::sdp::whep_offer::WhepOffer;
use crate::sdp::whip_offer::WhipOffer;
use crate::sfu::fuzz::{Unanswered, Unconnected, answer_publisher};
use crate::viewer::answer::answered_tracks;

/// The tracks of a lecture.
const LECTURE: [(Track, Codec); 4] = [
    (Track::Audio, Codec::Opus),
    (Track::Screen, Codec::H264),
    (Track::Screen, Codec::Vp8),
    (Track::Camera, Codec::H264),
];

/// An offer or an answer: it asks for tracks of the lecture or is refused with a short reason, and rewriting changes no
/// more than it should.
pub(super) fn sdp(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    let mut accepted = false;
    for video in [None, Some(VideoTrack::Screen), Some(VideoTrack::Camera)] {
        match tracks_for(&text, video, &LECTURE) {
            Ok(tracks) => {
                accepted = true;
                assert!(tracks.iter().all(|track| LECTURE.contains(track)), "{tracks:?}");
                for (at, (track, _)) in tracks.iter().enumerate() {
                    assert!(tracks[..at].iter().all(|(other, _)| other != track), "{tracks:?}");
                }
                let is_wanted = |track: Track| match video {
                    None => true,
                    Some(VideoTrack::Screen) => track != Track::Camera,
                    Some(VideoTrack::Camera) => track != Track::Screen,
                };
                assert!(tracks.iter().all(|(track, _)| is_wanted(*track)), "{tracks:?}");
            }
            Err(error) => assert!(error.to_string().len() <= text.len() + MAX_REASON_BYTES, "{error}"),
        }
    }
    if let Some(offer) = WhepOffer::parse(&text) {
        // Each line gets a carriage return at most, each section a direction.
        assert!(offer.sdp.len() <= 2 * text.len() + MAX_REASON_BYTES, "{} of {}", offer.sdp.len(), text.len());
        assert_eq!(WhepOffer::parse(&offer.sdp).as_ref(), Some(&offer));
        if let Err(OfferError::NotRecvonly(_, direction)) = tracks_for(&offer.sdp, None, &LECTURE) {
            assert_ne!(direction, "sendrecv", "{}", offer.sdp);
        }
    }
    if let Ok(offer) = WhipOffer::parse(&text) {
        assert!(offer.sdp.len() <= 2 * text.len() + MAX_REASON_BYTES, "{} of {}", offer.sdp.len(), text.len());
        assert_eq!(WhipOffer::parse(&offer.sdp).as_ref(), Ok(&offer));
        assert!(offer.audio.is_some() || offer.video.is_some(), "{offer:?}");
    }
    if let Ok(tracks) = answered_tracks(&text) {
        assert!(tracks.len() <= text.matches("m=").count());
    }
    rewritten(&text);
    published(&text) | accepted
}

/// A publisher's offer: the answer has its sections, receives three tracks at the most, and sends nothing.
fn published(text: &str) -> bool {
    let offer = match PublishOffer::parse(text, None, &[]) {
        Ok(offer) => offer,
        Err(error) => {
            assert!(error.to_string().len() <= text.len() + MAX_REASON_BYTES, "{error}");
            return false;
        }
    };
    let (sections, ids) = offer.ingest_sections();
    assert!((1..=3).contains(&sections.len()) && offer.encodings().len() <= 5, "{sections:?}");
    assert!(sections.iter().all(|section| section.rids.len() <= 2 && section.codecs.len() == 1), "{sections:?}");
    let ids = [ids.mid, ids.rid, ids.repaired_rid, ids.twcc, ids.audio_level];
    assert!(ids.iter().flatten().all(|id| (1..=14).contains(id)), "{ids:?}");
    let for_core = offer.for_core();
    assert!(for_core.len() <= 1_000 + text.len() && PublishOffer::parse(&for_core, None, &[]).is_ok(), "{for_core}");
    checked_answer(&offer.answer(&for_core), text);
    true
}

/// Checks the answer to a publisher's offer.
fn checked_answer(answer: &str, offer: &str) {
    // The core's parser also takes a carriage return alone as the end of a line.
    let sections = |text: &str| text.split(['\r', '\n']).filter(|line| line.starts_with("m=")).count();
    assert!(sections(answer) <= MAX_SECTIONS && sections(answer) <= sections(offer), "{answer}");
    let count = |direction: &str| answer.lines().filter(|line| *line == direction).count();
    assert!(count("a=sendonly") + count("a=sendrecv") == 0 && count("a=recvonly") <= 3, "{answer}");
}

/// Rewriting moves candidates and raises levels, and changes no other line.
fn rewritten(text: &str) {
    let is_candidate = |line: &&str| line.starts_with("a=candidate:") || line.starts_with("a=end-of-candidates");
    let others = |text: &str| text.lines().filter(|line| !is_candidate(line)).map(str::to_owned).collect::<Vec<_>>();
    let moved = with_moved_candidates(text);
    assert_eq!(others(&moved), others(text));
    let count = |text: &str| text.lines().filter(is_candidate).count();
    assert!(count(&moved) <= 2 * count(text));
    let raised = with_level(text, 0x28);
    assert_eq!(raised.lines().count(), text.lines().count());
    assert!(raised.lines().zip(text.lines()).all(|(new, old)| new == old || old.starts_with("a=fmtp:")));
    assert_eq!(with_level(&raised, 0x28), raised);
}

/// A trickle ICE fragment of a WHEP or WHIP client (RFC 8840, section 9): its candidates are few and short, and the
/// fragment survives a round trip.
pub(super) fn sdp_fragment(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    let fragment = match Fragment::parse(&text) {
        Ok(fragment) => fragment,
        Err(reason) => {
            assert!(reason.len() <= MAX_REASON_BYTES, "{reason}");
            return false;
        }
    };
    assert!(fragment.candidates.len() <= 64 && fragment.candidates.iter().all(|c| c.check().is_ok()));
    let mut again = String::from("m=audio 9 UDP/TLS/RTP/SAVPF 0\r\n");
    if let Some(ufrag) = &fragment.ufrag {
        again += &format!("a=ice-ufrag:{ufrag}\r\n");
    }
    if let Some(password) = &fragment.password {
        again += &format!("a=ice-pwd:{password}\r\n");
    }
    for candidate in &fragment.candidates {
        again += &format!("a=mid:{}\r\na={}\r\n", candidate.sdp_mid.as_deref().unwrap_or(""), candidate.candidate);
    }
    assert_eq!(Fragment::parse(&again), Ok(fragment));
    true
}

/// These bytes stand between an offer and the datagrams after it.
const DATAGRAMS: &[u8] = b"\0datagrams\0";

/// An offer, and datagrams of a peer that has not connected, through the core: an answer sends and refuses what the
/// offer asks for, and strangers get little for what they send.
pub(super) fn negotiation(bytes: &[u8]) -> bool {
    let now = Instant::now();
    let at = bytes.windows(DATAGRAMS.len()).position(|window| window == DATAGRAMS);
    let (offer, rest) = bytes.split_at(at.unwrap_or(bytes.len()));
    let offer = String::from_utf8_lossy(offer);
    if let Some(answer) = answer_publisher(&offer, now) {
        checked_answer(&answer, &offer);
    }
    let mut peer = match Unconnected::new(&offer, now) {
        Ok(peer) => peer,
        Err(Unanswered::Refused) => return false,
        Err(Unanswered::ByCore(reason)) => {
            assert!(reason.len() <= offer.len() + MAX_REASON_BYTES, "{reason}");
            return false;
        }
    };
    let sections = |text: &str| text.lines().filter(|line| line.starts_with("m=")).count();
    assert!(sections(&peer.answer) <= MAX_SECTIONS && sections(&peer.answer) == sections(&offer), "{}", peer.answer);
    let mut media = peer.answer.split("\r\nm=").skip(1).filter(|section| !section.starts_with("application"));
    let receives = media.any(|section| section.contains("\r\na=sendrecv") || section.contains("\r\na=recvonly"));
    assert!(!receives, "{}", peer.answer);
    let Ok(tracks) = answered_tracks(&peer.answer) else { panic!("the answer is no SDP: {}", peer.answer) };
    assert!(tracks.len() <= 3, "{tracks:?}");
    let (mut received, mut sent) = (0, 0);
    for (n, datagram) in datagrams(rest.get(DATAGRAMS.len()..).unwrap_or_default()).enumerate() {
        received += datagram.len();
        sent += peer.read(now + Duration::from_millis(n as u64), datagram);
    }
    assert!(sent <= 16 * received + 64 * 1024, "{sent} bytes for {received}");
    true
}
