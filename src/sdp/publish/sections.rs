//! Chooses the sections of a publisher's offer that are accepted, with their tracks, codecs and header extensions.

use std::collections::BTreeMap;

use rtc::sdp::SessionDescription;
use rtc::sdp::description::media::MediaDescription;

use super::codecs::{self, ChosenCodec};
use super::{MAX_MID_BYTES, PublishError, live};
use crate::ingest::ExtensionIds;
use crate::rtp::{Codec, Track};
use crate::sdp::engine::TRANSPORT_NUMBER_URI;

/// The most simulcast encodings of a section, and the most SSRCs: a browser has two for each encoding.
const MAX_RIDS: usize = 8;
const MAX_SSRCS: usize = 16;

/// The longest restriction identifier in bytes (RFC 8852, 3.1: they are sent in every packet at first).
const MAX_RID_BYTES: usize = 16;

/// Header extensions that are answered (RFC 9143, 15; RFC 8852; RFC 6464).
const MID_URI: &str = "urn:ietf:params:rtp-hdrext:sdes:mid";
const RID_URI: &str = "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id";
const REPAIRED_RID_URI: &str = "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id";
const AUDIO_LEVEL_URI: &str = "urn:ietf:params:rtp-hdrext:ssrc-audio-level";

/// A section of an offer.
#[derive(Debug)]
pub(super) enum Section {
    Media(MediaSection),
    /// The data channel.
    Data {
        mid: String,
        proto: String,
    },
    /// The offerer has rejected it, or nothing of it can be taken.
    Rejected {
        mid: Option<String>,
        kind: &'static str,
        proto: String,
        format: String,
    },
}

/// A section of audio or video with a codec that we can take.
#[derive(Debug)]
pub(super) struct MediaSection {
    pub(super) mid: String,
    pub(super) is_video: bool,
    pub(super) proto: String,
    /// None if the section is answered inactive.
    pub(super) track: Option<Track>,
    pub(super) codec: ChosenCodec,
    /// The header extensions of the answer.
    pub(super) extensions: Vec<(u8, &'static str)>,
    /// Simulcast: the restriction identifiers that are taken, best first. Empty for a single encoding.
    pub(super) rids: Vec<String>,
    /// The SSRCs of media, each with that of its retransmissions.
    pub(super) ssrcs: Vec<(u32, Option<u32>)>,
    /// Whether reduced-size RTCP is offered (RFC 5506).
    pub(super) has_reduced_size: bool,
}

/// All sections, and the ids of header extensions, which are the same in all bundled sections (RFC 9143, 9.2).
pub(super) struct Parsed {
    pub(super) sections: Vec<Section>,
    pub(super) ids: ExtensionIds,
    /// Whether the offer has a BUNDLE group.
    pub(super) is_bundled: bool,
}

pub(super) fn parse(
    session: &SessionDescription,
    tracks: Option<&BTreeMap<String, Track>>,
    preferred: &[(Track, Codec)],
) -> Result<Parsed, PublishError> {
    let sections = &session.media_descriptions;
    let bundle = bundled(session);
    if bundle.is_none() && live(sections).count() > 1 {
        return Err(PublishError::NotBundled);
    }
    for (mid, track) in tracks.into_iter().flatten() {
        let is_it = |section: &&MediaDescription| {
            mid_of(section) == Some(mid) && (section.media_name.media == "video") == track.is_video()
        };
        if !live(sections).any(|section| is_it(&section)) {
            let mid = mid.chars().filter(|c| crate::id::is_printable(*c)).take(MAX_MID_BYTES).collect();
            return Err(PublishError::WrongTrack { mid, track: *track });
        }
    }
    let mut parsed = Parsed { sections: Vec::new(), ids: ExtensionIds::default(), is_bundled: bundle.is_some() };
    let (mut mids, mut free, mut sends) = (Vec::new(), Track::ALL.to_vec(), false);
    for (n, section) in sections.iter().enumerate() {
        let mid = mid_of(section).filter(|mid| is_token(mid, MAX_MID_BYTES));
        let is_live = live(std::slice::from_ref(section)).next().is_some();
        let in_bundle = bundle.as_ref().is_none_or(|bundle| mid.is_some_and(|mid| bundle.contains(&mid)));
        let Some(mid) = mid.filter(|_| is_live && in_bundle) else {
            parsed.sections.push(rejected(section, mid));
            continue;
        };
        if mids.contains(&mid) {
            return Err(PublishError::Malformed(format!("two sections have the mid {mid}")));
        }
        mids.push(mid);
        let name = &section.media_name;
        if name.media == "application" && name.formats == ["webrtc-datachannel"] && is_data_proto(section) {
            parsed.sections.push(Section::Data { mid: mid.to_owned(), proto: proto(section) });
            continue;
        }
        if !matches!(name.media.as_str(), "audio" | "video") || !proto(section).contains("RTP/SAVP") {
            parsed.sections.push(rejected(section, Some(mid)));
            continue;
        }
        let is_video = name.media == "video";
        let is_sent = matches!(direction(session, section), "sendrecv" | "sendonly");
        sends |= is_sent;
        let wanted = match tracks {
            Some(tracks) => tracks.get(mid).copied(),
            None => free.iter().copied().find(|track| track.is_video() == is_video),
        };
        let track = wanted.filter(|track| is_sent && free.contains(track));
        let preferred = preferred.iter().find(|(of, _)| Some(*of) == track).map(|(_, codec)| *codec);
        let Some(codec) = codecs::choose(section, preferred) else {
            parsed.sections.push(rejected(section, Some(mid)));
            continue;
        };
        if track.is_some() && !section.has_attribute("rtcp-mux") && !section.has_attribute("rtcp-mux-only") {
            return Err(PublishError::NoRtcpMux(n));
        }
        free.retain(|other| Some(*other) != track);
        let has_twcc = codec.feedback.iter().any(|feedback| feedback == "transport-cc");
        let media = MediaSection {
            mid: mid.to_owned(),
            is_video,
            proto: proto(section),
            track,
            extensions: extensions(section, &mut parsed.ids, has_twcc),
            rids: if is_video { rids(section) } else { Vec::new() },
            ssrcs: ssrcs(section),
            has_reduced_size: section.has_attribute("rtcp-rsize"),
            codec,
        };
        parsed.sections.push(Section::Media(media));
    }
    let is_taken = |section: &Section| matches!(section, Section::Media(MediaSection { track: Some(_), .. }));
    match parsed.sections.iter().any(is_taken) {
        true => Ok(parsed),
        false if sends => Err(PublishError::NoCommonCodec { offered: offered_codecs(sections) }),
        false => Err(PublishError::NothingSent),
    }
}

fn rejected(section: &MediaDescription, mid: Option<&str>) -> Section {
    let kind = match section.media_name.media.as_str() {
        "audio" => "audio",
        "video" => "video",
        _ => "application",
    };
    let format = section.media_name.formats.first().filter(|format| is_token(format, MAX_MID_BYTES));
    let format = format.map_or("0", String::as_str).to_owned();
    Section::Rejected { mid: mid.map(str::to_owned), kind, proto: proto(section), format }
}

/// The mids of the first BUNDLE group. None if there is no group.
fn bundled(session: &SessionDescription) -> Option<Vec<&str>> {
    let groups = session.attributes.iter().filter(|attribute| attribute.key == "group");
    let mut words = groups.filter_map(|attribute| attribute.value.as_deref()).map(str::split_whitespace);
    words.find_map(|mut words| (words.next() == Some("BUNDLE")).then(|| words.collect()))
}

fn mid_of(section: &MediaDescription) -> Option<&str> {
    section.attribute("mid").flatten().map(str::trim)
}

fn is_token(text: &str, most: usize) -> bool {
    let is_token = |byte: u8| byte.is_ascii_graphic() && !b"\"(),/:;<=>?@[\\]".contains(&byte);
    !text.is_empty() && text.len() <= most && text.bytes().all(is_token)
}

fn proto(section: &MediaDescription) -> String {
    let proto = section.media_name.protos.join("/");
    let is_plain = proto.len() <= MAX_MID_BYTES && proto.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'/');
    if is_plain { proto } else { "UDP/TLS/RTP/SAVPF".to_owned() }
}

fn is_data_proto(section: &MediaDescription) -> bool {
    section.media_name.protos.iter().any(|part| part == "SCTP")
}

/// The direction of a section overrides that of the session (RFC 8866, 6.7).
fn direction(session: &SessionDescription, section: &MediaDescription) -> &'static str {
    let directions = || ["sendrecv", "sendonly", "inactive", "recvonly"].into_iter();
    let own = directions().find(|direction| section.has_attribute(direction));
    own.or_else(|| directions().find(|direction| session.has_attribute(direction))).unwrap_or("sendrecv")
}

/// The header extensions that we answer in a section. Two sections that use one id for different extensions, or
/// different ids for one, contradict RFC 9143, 9.2; then the first one counts.
fn extensions(section: &MediaDescription, ids: &mut ExtensionIds, has_twcc: bool) -> Vec<(u8, &'static str)> {
    let mut answered: Vec<(u8, &'static str)> = Vec::new();
    for attribute in section.attributes.iter().filter(|attribute| attribute.key == "extmap") {
        let mut words = attribute.value.as_deref().unwrap_or_default().split_whitespace();
        let number = words.next().and_then(|id| id.split('/').next()).and_then(|id| id.parse::<u8>().ok());
        // Higher ids need the two-byte form of header extensions (RFC 8285, 4.3).
        let (Some(number @ 1..=14), Some(uri)) = (number, words.next()) else { continue };
        let taken = [ids.mid, ids.rid, ids.repaired_rid, ids.twcc, ids.audio_level];
        let (known, uri) = match uri {
            MID_URI => (&mut ids.mid, MID_URI),
            RID_URI => (&mut ids.rid, RID_URI),
            REPAIRED_RID_URI => (&mut ids.repaired_rid, REPAIRED_RID_URI),
            TRANSPORT_NUMBER_URI if has_twcc => (&mut ids.twcc, TRANSPORT_NUMBER_URI),
            AUDIO_LEVEL_URI => (&mut ids.audio_level, AUDIO_LEVEL_URI),
            _ => continue,
        };
        if known.is_none() && !taken.contains(&Some(number)) {
            *known = Some(number);
        }
        if *known == Some(number) && !answered.iter().any(|(_, other)| *other == uri) {
            answered.push((number, uri));
        }
    }
    answered
}

/// The simulcast encodings (RFC 8853): the best one and the smallest one, because a lecture has two tiers. Empty if
/// there is only one.
fn rids(section: &MediaDescription) -> Vec<String> {
    let declared: Vec<&str> = section
        .attributes
        .iter()
        .filter(|attribute| attribute.key == "rid")
        .filter_map(|attribute| {
            let mut words = attribute.value.as_deref()?.split_whitespace();
            let (rid, direction) = (words.next()?, words.next()?);
            (direction == "send" && is_token(rid, MAX_RID_BYTES)).then_some(rid)
        })
        .take(MAX_RIDS)
        .collect();
    let simulcast = section.attribute("simulcast").flatten().unwrap_or_default();
    let mut words = simulcast.split_whitespace().skip_while(|word| *word != "send").skip(1);
    // Of the alternatives of a stream the first one is preferred; `~` marks a stream that is paused at first.
    let streams = words.next().unwrap_or_default().split(';');
    let mut order: Vec<&str> = streams
        .filter_map(|stream| stream.split(',').next())
        .map(|rid| rid.trim_start_matches('~'))
        .filter(|rid| declared.contains(rid))
        .collect();
    order.dedup();
    if is_worst_first(&order) {
        order.reverse();
    }
    match order[..] {
        [best, .., smallest] if best != smallest => vec![best.to_owned(), smallest.to_owned()],
        _ => Vec::new(),
    }
}

/// RFC 8853, 5.2 has the preferred stream first. Browsers list streams in the order of `sendEncodings`, which many
/// pages sort by size, and name by the letters of quarter, half and full.
fn is_worst_first(rids: &[&str]) -> bool {
    const SMALL: [&str; 7] = ["q", "l", "lo", "low", "quarter", "small", "r0"];
    const LARGE: [&str; 6] = ["f", "hi", "high", "full", "large", "r2"];
    let first = rids.first().is_some_and(|rid| SMALL.contains(&rid.to_ascii_lowercase().as_str()));
    let last = rids.last().is_some_and(|rid| LARGE.contains(&rid.to_ascii_lowercase().as_str()));
    first || last
}

/// The SSRCs of media, each with that of its retransmissions (RFC 5576).
fn ssrcs(section: &MediaDescription) -> Vec<(u32, Option<u32>)> {
    let values = |key: &'static str| {
        let attributes = section.attributes.iter().filter(move |attribute| attribute.key == key);
        attributes.filter_map(|attribute| attribute.value.as_deref())
    };
    let mut pairs: Vec<(u32, u32)> = Vec::new();
    for group in values("ssrc-group") {
        let mut words = group.split_whitespace();
        if words.next() == Some("FID")
            && let (Some(media), Some(rtx)) = (words.next(), words.next())
            && let (Ok(media), Ok(rtx)) = (media.parse(), rtx.parse())
            && pairs.len() < MAX_SSRCS
        {
            pairs.push((media, rtx));
        }
    }
    let mut ssrcs: Vec<(u32, Option<u32>)> = Vec::new();
    for value in values("ssrc") {
        let ssrc = value.split_whitespace().next().and_then(|ssrc| ssrc.parse().ok());
        let Some(ssrc) = ssrc.filter(|ssrc| pairs.iter().all(|(_, rtx)| rtx != ssrc)) else { continue };
        if ssrcs.len() < MAX_SSRCS && ssrcs.iter().all(|(known, _)| *known != ssrc) {
            ssrcs.push((ssrc, pairs.iter().find(|(media, _)| *media == ssrc).map(|(_, rtx)| *rtx)));
        }
    }
    ssrcs
}

fn offered_codecs(sections: &[MediaDescription]) -> String {
    let media = live(sections).filter(|section| matches!(section.media_name.media.as_str(), "audio" | "video"));
    let mut names: Vec<String> = media.flat_map(codecs::names).filter(|name| !name.is_empty()).collect();
    names.sort();
    names.dedup();
    names.truncate(8);
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}
