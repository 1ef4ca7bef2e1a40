//! Chooses the codec of a publisher's section.

use rtc::sdp::description::media::MediaDescription;

use crate::rtp::Codec;

/// Payload types that would look like RTCP together with the marker bit (RFC 5761, 4).
const RTCP_PAYLOAD_TYPES: std::ops::RangeInclusive<u8> = 64..=95;

/// The codec of a section, with its attributes in the offer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ChosenCodec {
    pub(super) codec: Codec,
    pub(super) payload_type: u8,
    /// The value of `a=rtpmap`, without the payload type.
    pub(super) name: String,
    /// The value of `a=fmtp`, without the payload type.
    pub(super) fmtp: Option<String>,
    /// The payload type of retransmissions (RFC 4588).
    pub(super) rtx: Option<u8>,
    /// The values of `a=rtcp-fb`, without the payload type, that we answer.
    pub(super) feedback: Vec<String>,
}

/// A payload type of a section.
struct Offered<'a> {
    payload_type: u8,
    name: &'a str,
    fmtp: Option<&'a str>,
}

/// The codec for a section: `preferred` if it is offered, otherwise the first one that can be taken. A profile of H.264
/// other than constrained baseline is taken only if there is nothing else, because few decoders must support it.
pub(super) fn choose(section: &MediaDescription, preferred: Option<Codec>) -> Option<ChosenCodec> {
    let offered: Vec<Offered<'_>> = offered(section).collect();
    let takes = |offered: &&Offered<'_>, any_profile: bool| match codec(offered, &section.media_name.media) {
        Some(Codec::H264) => is_fragmented(offered.fmtp) && (any_profile || is_constrained_baseline(offered.fmtp)),
        Some(Codec::Vp8 | Codec::Opus) => true,
        None => false,
    };
    let is_preferred = |offered: &&Offered<'_>| codec(offered, &section.media_name.media) == preferred;
    let chosen = None
        .or_else(|| offered.iter().filter(is_preferred).find(|offered| takes(offered, false)))
        .or_else(|| offered.iter().find(|offered| takes(offered, false)))
        .or_else(|| offered.iter().find(|offered| takes(offered, true)))?;
    let apt = format!("apt={}", chosen.payload_type);
    let is_rtx = |offered: &&Offered<'_>| {
        let has_apt = offered.fmtp.is_some_and(|fmtp| parameters(fmtp).any(|parameter| parameter == apt));
        offered.name.split('/').next().is_some_and(|name| name.eq_ignore_ascii_case("rtx")) && has_apt
    };
    Some(ChosenCodec {
        codec: codec(chosen, &section.media_name.media)?,
        payload_type: chosen.payload_type,
        name: chosen.name.to_owned(),
        fmtp: chosen.fmtp.map(str::to_owned),
        rtx: offered.iter().find(is_rtx).map(|offered| offered.payload_type),
        feedback: feedback(section, chosen.payload_type),
    })
}

/// The names of the codecs of a section, for a sentence.
pub(super) fn names(section: &MediaDescription) -> Vec<String> {
    offered(section)
        .filter_map(|offered| offered.name.split('/').next().map(str::to_owned))
        .filter(|name| !["rtx", "red", "ulpfec", "flexfec-03", "CN", "telephone-event"].contains(&name.as_str()))
        .map(|name| name.chars().filter(|c| crate::id::is_printable(*c)).take(16).collect())
        .collect()
}

/// The payload types of a section that have a name, in the order of preference.
fn offered(section: &MediaDescription) -> impl Iterator<Item = Offered<'_>> {
    let of = |key: &'static str, payload_type: u8| {
        let values = section.attributes.iter().filter(move |attribute| attribute.key == key);
        values.filter_map(move |attribute| {
            let (number, value) = attribute.value.as_deref()?.trim().split_once(' ')?;
            let is_plain = value.bytes().all(|byte| (b' '..=b'~').contains(&byte));
            (number.parse() == Ok(payload_type) && is_plain).then_some(value.trim())
        })
    };
    let formats = section.media_name.formats.iter().filter_map(|format| format.parse::<u8>().ok());
    let usable = formats.filter(|number| *number <= 127 && !RTCP_PAYLOAD_TYPES.contains(number));
    usable.filter_map(move |payload_type| {
        let (name, fmtp) = (of("rtpmap", payload_type).next()?, of("fmtp", payload_type).next());
        Some(Offered { payload_type, name, fmtp })
    })
}

fn codec(offered: &Offered<'_>, kind: &str) -> Option<Codec> {
    let (name, rest) = offered.name.split_once('/')?;
    let codec = Codec::from_encoding_name(name)?;
    let (rate, has_kind) = (rest.split('/').next()?, (kind == "audio") == (codec == Codec::Opus));
    (has_kind && rate.parse() == Ok(codec.clock_rate())).then_some(codec)
}

fn parameters(fmtp: &str) -> impl Iterator<Item = &str> {
    fmtp.split(';').map(str::trim)
}

/// Whether fragmentation is allowed (RFC 6184, 5.4).
fn is_fragmented(fmtp: Option<&str>) -> bool {
    fmtp.is_some_and(|fmtp| parameters(fmtp).any(|parameter| parameter == "packetization-mode=1"))
}

/// Whether an H.264 profile is constrained baseline or baseline, the default (RFC 6184, 8.1).
fn is_constrained_baseline(fmtp: Option<&str>) -> bool {
    let mut profiles = fmtp.into_iter().flat_map(parameters).filter_map(|one| one.strip_prefix("profile-level-id="));
    profiles.next().is_none_or(|profile| profile.get(..2) == Some("42"))
}

/// The feedback of a payload type that the publisher understands and that we send.
fn feedback(section: &MediaDescription, payload_type: u8) -> Vec<String> {
    let mut answered = Vec::new();
    let lines = section.attributes.iter().filter(|attribute| attribute.key == "rtcp-fb");
    for (number, value) in lines.filter_map(|attribute| attribute.value.as_deref()?.trim().split_once(' ')) {
        let value = value.trim();
        let is_for_it = number == "*" || number.parse() == Ok(payload_type);
        if is_for_it && ["nack", "nack pli", "transport-cc"].contains(&value) && !answered.iter().any(|a| a == value) {
            answered.push(value.to_owned());
        }
    }
    answered
}
