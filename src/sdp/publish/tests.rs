//! Offers of browsers and of senders by WHIP.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::*;

const CHROMIUM: &str = include_str!("offers/chromium.sdp");
const FIREFOX: &str = include_str!("offers/firefox.sdp");
const OBS: &str = include_str!("offers/obs.sdp");
const OBS_SIMULCAST: &str = include_str!("offers/obs31_simulcast.sdp");
const GSTREAMER: &str = include_str!("offers/gstreamer.sdp");
const AIORTC: &str = include_str!("offers/aiortc.sdp");
const FFMPEG: &str = include_str!("offers/ffmpeg.sdp");
const FFMPEG_81: &str = include_str!("offers/ffmpeg81.sdp");

/// The answer of the core to an offer for it.
const BY_CORE: &str = "v=0\r\no=- 77 88 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\na=fingerprint:sha-256 AA:BB\r\n\
    a=group:BUNDLE media data\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\nc=IN IP4 0.0.0.0\r\na=setup:passive\r\n\
    a=mid:media\r\na=ice-ufrag:ours\r\na=ice-pwd:secret\r\na=rtcp-mux\r\na=rtpmap:111 opus/48000/2\r\na=recvonly\r\n\
    a=candidate:1 1 udp 5 192.0.2.1 9 typ host\r\na=candidate:1 2 udp 5 192.0.2.1 9 typ host\r\n\
    a=end-of-candidates\r\nm=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 0.0.0.0\r\n\
    a=setup:passive\r\na=mid:data\r\na=sctp-port:5000\r\na=max-message-size:65536\r\na=ice-ufrag:ours\r\n\
    a=ice-pwd:secret\r\n";

fn parse(sdp: &str) -> PublishOffer {
    PublishOffer::parse(sdp, None, &[]).unwrap()
}

fn tracks(entries: &[(&str, Track)]) -> BTreeMap<String, Track> {
    entries.iter().map(|(mid, track)| ((*mid).to_owned(), *track)).collect()
}

/// The lines of a section of the answer.
fn section<'a>(answer: &'a str, mid: &str) -> Vec<&'a str> {
    let sections: Vec<Vec<&str>> = answer.split("\r\nm=").map(|section| section.lines().collect()).collect();
    let has_mid = |section: &Vec<&str>| section.contains(&format!("a=mid:{mid}").as_str());
    sections.into_iter().find(has_mid).unwrap_or_else(|| panic!("no section {mid} in {answer}"))
}

#[test]
fn chromium_with_simulcast_is_answered_by_one_codec_and_two_encodings() {
    let offer = parse(CHROMIUM);
    let (sections, ids) = offer.ingest_sections();
    let [audio, screen, camera] = &sections[..] else { panic!("{sections:?}") };
    assert_eq!((audio.mid.as_str(), audio.track, &audio.codecs[..]), ("0", Track::Audio, &[(111, Codec::Opus)][..]));
    assert_eq!((audio.rtx.len(), &audio.ssrcs[..]), (0, &[(3_510_681_183, None)][..]));
    assert_eq!((screen.mid.as_str(), screen.track, &screen.codecs[..]), ("1", Track::Screen, &[(96, Codec::Vp8)][..]));
    assert_eq!((&screen.rtx[..], &screen.rids[..]), (&[(97, 96)][..], &["f".to_owned(), "q".to_owned()][..]));
    assert!(screen.ssrcs.is_empty());
    assert_eq!(
        (camera.mid.as_str(), camera.track, &camera.codecs[..]),
        ("2", Track::Camera, &[(103, Codec::H264)][..])
    );
    assert_eq!((&camera.ssrcs[..], camera.rids.len()), (&[(1_811_437_182, Some(2_894_403_561))][..], 0));
    let found = (ids.mid, ids.rid, ids.repaired_rid, ids.twcc, ids.audio_level);
    assert_eq!(found, (Some(4), Some(10), Some(11), Some(3), Some(1)));
    let screen = Encoding::full(Track::Screen, Codec::Vp8);
    let promised = [Encoding::full(Track::Audio, Codec::Opus), screen, screen.with(Tier::Low)];
    assert_eq!(offer.encodings()[..3], promised);
    assert_eq!(offer.encodings()[3..], [Encoding::full(Track::Camera, Codec::H264)]);
    assert!(offer.has_data_channel() && !offer.is_dtls_server());

    let answer = offer.answer(BY_CORE);
    assert!(answer.starts_with("v=0\r\no=- 77 88 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0 1 2 3\r\n"));
    let expected = "video 9 UDP/TLS/RTP/SAVPF 96 97|c=IN IP4 0.0.0.0|a=ice-ufrag:ours|a=ice-pwd:secret|a=setup:passive|\
        a=mid:1|a=rtcp-mux|a=rtcp-rsize|a=rtpmap:96 VP8/90000|a=rtcp-fb:96 transport-cc|a=rtcp-fb:96 nack|\
        a=rtcp-fb:96 nack pli|a=rtpmap:97 rtx/90000|a=fmtp:97 apt=96|\
        a=extmap:3 http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01|\
        a=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid|a=extmap:10 urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id|\
        a=extmap:11 urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id|a=rid:f recv|a=rid:q recv|\
        a=simulcast:recv f;q|a=recvonly";
    assert_eq!(section(&answer, "1").join("|"), expected);
    let audio = section(&answer, "0");
    assert_eq!(audio[2..4], ["a=candidate:1 1 udp 5 192.0.2.1 9 typ host", "a=end-of-candidates"]);
    assert_eq!(answer.matches("a=candidate").count(), 1);
    assert!(audio.contains(&"a=recvonly") && audio.contains(&"a=fmtp:111 minptime=10;useinbandfec=1"));
    let camera = section(&answer, "2");
    let fmtp = "a=fmtp:103 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=420034";
    assert!(camera.contains(&fmtp), "{camera:?}");
    let data = section(&answer, "3");
    assert!(data[0] == "application 9 UDP/DTLS/SCTP webrtc-datachannel" && data.contains(&"a=sctp-port:5000"));
    assert!(data.contains(&"a=max-message-size:65536"));
}

#[test]
fn firefox_with_bundle_only_sections_is_taken() {
    let offer = parse(FIREFOX);
    let (sections, ids) = offer.ingest_sections();
    assert_eq!(sections.len(), 2);
    assert_eq!(sections[1].codecs, [(120, Codec::Vp8)]);
    assert_eq!((&sections[1].rids[..], ids.rid), (&["full".to_owned(), "low".to_owned()][..], Some(8)));
    assert!(offer.has_data_channel());
    let answer = offer.answer(BY_CORE);
    let video = section(&answer, "1");
    assert!(video[0].starts_with("video 9 ") && video.contains(&"a=simulcast:recv full;low"));
    assert!(video.contains(&"a=fmtp:120 max-fs=12288;max-fr=60"));
}

#[test]
fn senders_by_whip_are_taken() {
    let obs = parse(OBS);
    let (sections, ids) = obs.ingest_sections();
    assert_eq!(
        (&sections[1].codecs[..], &sections[1].ssrcs[..]),
        (&[(96, Codec::H264)][..], &[(1_364_982_016, None)][..])
    );
    assert_eq!((ids.mid, ids.twcc, sections[1].rtx.len()), (None, None, 0));
    assert!(!obs.has_data_channel() && obs.candidates().count() == 1);
    // High profile is the only one.
    let obs = parse(OBS_SIMULCAST);
    let rids = &obs.ingest_sections().0[1].rids;
    assert_eq!(rids, &["0", "2"]);
    assert_eq!(obs.encodings().len(), 3);
    let gstreamer = parse(GSTREAMER);
    let (sections, ids) = gstreamer.ingest_sections();
    assert_eq!((sections[0].track, sections[1].track, sections.len()), (Track::Screen, Track::Audio, 2));
    assert_eq!((&sections[0].rtx[..], ids.twcc), (&[(97, 96)][..], Some(1)));
    assert_eq!(sections[0].ssrcs, [(2_641_978_913, Some(1_187_339_172))]);
    assert_eq!(gstreamer.encodings()[0], Encoding::full(Track::Audio, Codec::Opus), "audio first");
    let aiortc = parse(AIORTC);
    assert_eq!(aiortc.ingest_sections().0[1].codecs, [(97, Codec::Vp8)]);
    assert!(aiortc.for_core().contains("a=fingerprint:sha-256 90:0C"));
    let ffmpeg = parse(FFMPEG);
    assert!(ffmpeg.is_dtls_server() && ffmpeg.for_core().contains("a=setup:passive"));
    assert_eq!(ffmpeg.ingest_sections().0[1].codecs, [(106, Codec::H264)]);
    let ffmpeg = parse(FFMPEG_81);
    let video = &ffmpeg.ingest_sections().0[1];
    assert_eq!((&video.codecs[..], &video.rtx[..]), (&[(106, Codec::H264)][..], &[(105, 106)][..]), "it retransmits");
    assert_eq!(video.ssrcs, [(2_385_414_813, Some(2_385_414_814))]);
    assert!(section(&ffmpeg.answer(BY_CORE), "1").contains(&"a=rtcp-fb:106 nack"));
}

#[test]
fn a_restart_of_ice_is_answered_by_a_fragment() {
    let mut offer = parse(OBS);
    let password = "p".repeat(22);
    for (ufrag, password) in [("abc", password.as_str()), ("abcd", "short"), ("ab\"cd", &password), ("abcd", "p p")] {
        assert!(!offer.restart_ice(ufrag, password), "{ufrag} {password}");
    }
    assert!(offer.for_core().contains("a=ice-ufrag:Rk7u\r\n") && offer.restart_ice("abcd", &password));
    let for_core = offer.for_core();
    assert!(for_core.contains("a=ice-ufrag:abcd\r\na=ice-pwd:pppppppppppppppppppppp\r\n"), "{for_core}");
    let fragment = offer.fragment(BY_CORE);
    assert!(fragment.contains("\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\n"), "{fragment}");
    let end = "a=ice-ufrag:ours\r\na=ice-pwd:secret\r\na=candidate:1 1 udp 5 192.0.2.1 9 typ host\r\n\
               a=end-of-candidates\r\n";
    assert!(fragment.ends_with(end), "{fragment}");
    crate::sdp::fragment::Fragment::parse(&fragment).unwrap();
}

#[test]
fn the_publisher_says_which_section_is_which_track() {
    let camera = tracks(&[("1", Track::Camera), ("0", Track::Audio)]);
    let offer = PublishOffer::parse(OBS, Some(&camera), &[]).unwrap();
    assert_eq!(offer.ingest_sections().0.iter().map(|s| s.track).collect::<Vec<_>>(), [Track::Audio, Track::Camera]);
    let only = tracks(&[("2", Track::Screen)]);
    let offer = PublishOffer::parse(CHROMIUM, Some(&only), &[]).unwrap();
    let (sections, _) = offer.ingest_sections();
    assert_eq!((sections.len(), sections[0].mid.as_str(), sections[0].track), (1, "2", Track::Screen));
    let answer = offer.answer(BY_CORE);
    let inactive = section(&answer, "1");
    assert!(inactive.contains(&"a=inactive") && inactive[0].starts_with("video 9 "), "{inactive:?}");
    assert!(!inactive.iter().any(|line| line.starts_with("a=simulcast")));
    for wrong in [("7", Track::Screen), ("0", Track::Screen), ("1", Track::Audio)] {
        let error = PublishOffer::parse(CHROMIUM, Some(&tracks(&[wrong])), &[]).unwrap_err();
        assert_eq!(error, PublishError::WrongTrack { mid: wrong.0.to_owned(), track: wrong.1 });
    }
    let twice = tracks(&[("1", Track::Screen), ("2", Track::Screen)]);
    let offer = PublishOffer::parse(CHROMIUM, Some(&twice), &[]).unwrap();
    assert_eq!(offer.ingest_sections().0.len(), 1, "a track has one section");
}

#[test]
fn a_section_gets_the_codec_that_students_have() {
    let preferred = [(Track::Screen, Codec::H264), (Track::Camera, Codec::Vp8)];
    let offer = PublishOffer::parse(CHROMIUM, None, &preferred).unwrap();
    let codecs: Vec<_> = offer.ingest_sections().0.iter().map(|section| section.codecs[0]).collect();
    assert_eq!(codecs[1..], [(103, Codec::H264), (96, Codec::Vp8)]);
    let offer = PublishOffer::parse(OBS, None, &[(Track::Screen, Codec::Vp8)]).unwrap();
    assert_eq!(offer.ingest_sections().0[1].codecs, [(96, Codec::H264)], "it has no other");
}

#[test]
fn sections_beyond_three_tracks_are_answered_inactive_or_rejected() {
    let video = &CHROMIUM[CHROMIUM.rfind("m=video").unwrap()..CHROMIUM.find("m=application").unwrap()];
    let third = video.replace("a=mid:2", "a=mid:9");
    let vp9 = "m=video 9 UDP/TLS/RTP/SAVPF 98\r\na=mid:8\r\na=sendonly\r\na=rtcp-mux\r\na=rtpmap:98 VP9/90000\r\n";
    let bundled = CHROMIUM.replace("BUNDLE 0 1 2 3", "BUNDLE 0 1 2 3 9 8");
    let offer = parse(&format!("{bundled}{third}{vp9}m=video 0 UDP/TLS/RTP/SAVPF 96\r\na=mid:7\r\n"));
    assert_eq!(offer.ingest_sections().0.len(), 3);
    let answer = offer.answer(BY_CORE);
    assert!(section(&answer, "9").contains(&"a=inactive") && section(&answer, "9")[0].starts_with("video 9 "));
    assert_eq!(section(&answer, "8")[0], "video 0 UDP/TLS/RTP/SAVPF 98");
    assert_eq!(section(&answer, "7")[0], "video 0 UDP/TLS/RTP/SAVPF 96");
    assert!(answer.contains("a=group:BUNDLE 0 1 2 3 9\r\n"), "{answer}");
}

#[test]
fn the_order_of_simulcast_encodings_is_found() {
    let rids = |order: &str| {
        let lines: String =
            order.replace('~', "").split([';', ',']).map(|rid| format!("a=rid:{rid} send\r\n")).collect();
        let (from, to) = (CHROMIUM.find("a=rid:f").unwrap(), CHROMIUM.rfind("m=video").unwrap());
        let sdp = format!("{}{lines}a=simulcast:send {order}\r\n{}", &CHROMIUM[..from], &CHROMIUM[to..]);
        parse(&sdp).ingest_sections().0[1].rids.join(" ")
    };
    for (order, expected) in [
        ("h;l", "h l"),
        ("full;low", "full low"),
        ("low;full", "full low"),
        ("q;h;f", "f q"),
        ("r0;r1;r2", "r2 r0"),
        ("1;2,3", "1 2"),
        ("a;~b", "a b"),
        ("only", ""),
    ] {
        assert_eq!(rids(order), expected, "{order}");
    }
}

#[test]
fn a_refused_offer_names_the_reason() {
    let error = |sdp: &str| PublishOffer::parse(sdp, None, &[]).unwrap_err();
    assert!(matches!(error("hello"), PublishError::Malformed(_)));
    assert_eq!(error(&OBS.replace("a=group:BUNDLE 0 1", "")), PublishError::NotBundled);
    assert_eq!(error(&OBS.replace("a=ice-ufrag", "a=x-ufrag")), PublishError::Missing("ice-ufrag"));
    assert_eq!(error(&OBS.replace("a=fingerprint", "a=x-print")), PublishError::Missing("fingerprint"));
    assert_eq!(error(&OBS.replace("a=rtcp-mux", "a=x-mux")), PublishError::NoRtcpMux(0));
    assert_eq!(error(&OBS.replace("a=sendonly", "a=recvonly")), PublishError::NothingSent);
    assert!(matches!(error(&OBS.replace("a=mid:1", "a=mid:0")), PublishError::Malformed(_)));
    let many = format!("{OBS}{}", "m=video 9 UDP/TLS/RTP/SAVPF 96\r\n".repeat(9));
    assert_eq!(error(&many), PublishError::TooManySections(11));
    let hevc = OBS.replace("H264/90000", "H265/90000").replace("opus/48000/2", "PCMU/8000");
    let PublishError::NoCommonCodec { offered } = error(&hevc) else { panic!("{:?}", error(&hevc)) };
    assert_eq!(offered, "H265, PCMU");
    let unfragmented = OBS.replace("packetization-mode=1", "packetization-mode=0").replace("a=mid:0", "a=mid:5");
    assert!(matches!(error(&unfragmented), PublishError::NoCommonCodec { .. }), "and the audio is not bundled");
}

#[test]
fn a_payload_type_that_looks_like_rtcp_is_not_taken() {
    let offer = parse(&CHROMIUM.replace("SAVPF 96 97", "SAVPF 72 96 97").replace("a=rtpmap:96 VP8", "a=rtpmap:72 VP8"));
    assert_eq!(offer.ingest_sections().0[1].codecs, [(103, Codec::H264)]);
}

#[test]
fn no_truncated_or_modified_offer_panics_or_is_answered_with_other_sections() {
    let mut rng = StdRng::seed_from_u64(1);
    let count = |sdp: &str| sdp.lines().filter(|line| line.starts_with("m=")).count();
    for good in [CHROMIUM, FIREFOX, OBS_SIMULCAST, GSTREAMER] {
        let mut answered = 0;
        for n in 0..3_000 {
            let mut bad = good.as_bytes().to_vec();
            for _ in 0..rng.random_range(1..=4) {
                let at = rng.random_range(0..bad.len());
                bad[at] = b" \r\n=:/0129azAZ-,\xff"[rng.random_range(0..17)];
            }
            if n % 10 == 0 {
                bad.truncate(rng.random_range(0..good.len()));
            }
            let bad = String::from_utf8_lossy(&bad);
            let Ok(offer) = PublishOffer::parse(&bad, None, &[]) else { continue };
            answered += 1;
            let answer = offer.answer(BY_CORE);
            assert_eq!(count(&answer), offer.sections.len(), "{answer}");
            assert!(answer.len() < 4 * good.len() && offer.ingest_sections().0.len() <= 3);
            assert!(!answer.contains("a=sendonly") && !answer.contains("a=sendrecv"), "{answer}");
        }
        assert!(answered > 100, "{answered}");
    }
}
