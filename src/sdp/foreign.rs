//! A student's offer for an SFU of somebody else, and the answer of that SFU as our students expect it.
//!
//! The offer loses its data channel: the messages of such a student travel by signalling. The answer names the track of
//! each section as ours do (`a=msid:classroom screen`), lists of the video codecs only that of the lecture, and refuses
//! the data channel. Everything else stays as the SFU wrote it.

use crate::rtp::{Codec, Track};

use super::engine;

/// The most bytes of an answer that is read.
const MAX_ANSWER_BYTES: usize = 64 * 1024;

/// A student's offer without its data channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ForeignOffer {
    /// The offer for the SFU.
    pub(crate) sdp: String,
    /// The position of the data channel among the sections, and its mid.
    channel: Option<(usize, String)>,
}

/// The sections of a description: each begins with its `m=` line, and has no line break at its end.
fn sections(sdp: &str) -> (Vec<&str>, Vec<Vec<&str>>) {
    let (mut session, mut sections) = (Vec::new(), Vec::<Vec<&str>>::new());
    for line in sdp.lines().map(str::trim_end).filter(|line| !line.is_empty()) {
        match sections.last_mut() {
            _ if line.starts_with("m=") => sections.push(vec![line]),
            Some(section) => section.push(line),
            None => session.push(line),
        }
    }
    (session, sections)
}

fn mid_of<'a>(section: &[&'a str]) -> Option<&'a str> {
    section.iter().find_map(|line| line.strip_prefix("a=mid:")).map(str::trim)
}

fn join(lines: impl IntoIterator<Item = String>) -> String {
    lines.into_iter().map(|line| line + "\r\n").collect()
}

/// A line of the session, without a mid in its group.
fn without_mid(line: &str, mid: &str) -> String {
    match line.strip_prefix("a=group:BUNDLE") {
        Some(mids) => {
            let mids: Vec<&str> = mids.split(' ').filter(|one| !one.is_empty() && *one != mid).collect();
            format!("a=group:BUNDLE {}", mids.join(" "))
        }
        None => line.to_owned(),
    }
}

impl ForeignOffer {
    /// Takes the data channel out of an offer.
    pub(crate) fn new(offer: &str) -> Self {
        let (session, sections) = sections(offer);
        let is_channel = |section: &Vec<&str>| section[0].starts_with("m=application ");
        let Some(at) = sections.iter().position(is_channel) else {
            return Self { sdp: offer.to_owned(), channel: None };
        };
        let mid = mid_of(&sections[at]).unwrap_or_default().to_owned();
        let session = session.into_iter().map(|line| without_mid(line, &mid));
        let rest = sections.iter().filter(|section| !is_channel(section)).flatten().map(|line| (*line).to_owned());
        Self { sdp: join(session.chain(rest)), channel: Some((at, mid)) }
    }

    /// The answer for the student. `track` names the track of a section that sends, by its mid and its kind (`audio`
    /// or `video`); `codec` is that of the videos. None if this is no answer to the offer.
    pub(crate) fn answered(
        &self,
        answer: &str,
        codec: Codec,
        mut track: impl FnMut(&str, &str) -> Option<Track>,
    ) -> Option<String> {
        if answer.len() > MAX_ANSWER_BYTES {
            return None;
        }
        let (session, mut answered) = sections(answer);
        let offered = sections(&self.sdp).1;
        // An answer has the sections of the offer, in their order (RFC 3264, 6).
        let kind = |section: &Vec<&str>| section[0].split(' ').next().map(str::to_owned);
        if offered.is_empty() || !offered.iter().map(kind).eq(answered.iter().map(kind)) {
            return None;
        }
        let mut lines: Vec<String> = session.into_iter().map(str::to_owned).collect();
        let refused = self.channel.as_ref().map(|(at, mid)| (*at, refused_channel(mid)));
        for (n, section) in answered.drain(..).enumerate() {
            lines.extend(refused.iter().filter(|(at, _)| *at == n).flat_map(|(_, lines)| lines.clone()));
            let is_video = section[0].starts_with("m=video ");
            let sends = section.iter().any(|line| matches!(*line, "a=sendonly" | "a=sendrecv"));
            let mid = mid_of(&section)?;
            let named = if sends { track(mid, if is_video { "video" } else { "audio" }) } else { None };
            let kept = if is_video && named.is_some() { only(&section, codec)? } else { owned(&section) };
            // LiveKit answers a section without a track as if it sent something.
            let direction = |line: String| match line.as_str() {
                "a=sendonly" | "a=sendrecv" | "a=recvonly" if named.is_none() => "a=inactive".to_owned(),
                _ => line,
            };
            lines.extend(kept.into_iter().filter(|line| !names_track(line)).map(direction));
            lines.extend(named.map(|track| format!("a=msid:classroom {}", track.name())));
        }
        let at_end = refused.filter(|(at, _)| *at >= offered.len());
        lines.extend(at_end.into_iter().flat_map(|(_, lines)| lines));
        Some(join(lines))
    }
}

/// A section that refuses a data channel (RFC 8829, 5.3.1).
fn refused_channel(mid: &str) -> Vec<String> {
    vec![
        "m=application 0 UDP/DTLS/SCTP webrtc-datachannel".to_owned(),
        "c=IN IP4 0.0.0.0".to_owned(),
        format!("a=mid:{mid}"),
        "a=inactive".to_owned(),
    ]
}

/// Whether a line has a name of the SFU for a track. The name of a section is another line.
fn names_track(line: &str) -> bool {
    let of_source = line.strip_prefix("a=ssrc:").and_then(|rest| rest.split_once(' ')).map(|(_, attribute)| attribute);
    line.starts_with("a=msid:")
        || of_source.is_some_and(|name| ["msid:", "mslabel:", "label:"].iter().any(|of| name.starts_with(of)))
}

fn owned(section: &[&str]) -> Vec<String> {
    section.iter().map(|line| (*line).to_owned()).collect()
}

/// A section with the payload types of one codec, and those of their retransmissions. None if there are none.
fn only(section: &[&str], codec: Codec) -> Option<Vec<String>> {
    let numbered = |line: &&str, attribute: &str| {
        let (number, rest) = line.strip_prefix(attribute)?.split_once(' ')?;
        Some((number.to_owned(), rest.to_owned()))
    };
    let of_codec =
        |(number, name): (String, String)| name.eq_ignore_ascii_case(engine::rtpmap(codec)).then_some(number);
    let mut kept: Vec<String> =
        section.iter().filter_map(|line| numbered(line, "a=rtpmap:")).filter_map(of_codec).collect();
    let repairs = section.iter().filter_map(|line| numbered(line, "a=fmtp:")).filter(|(_, parameters)| {
        parameters.split(';').any(|one| one.trim().strip_prefix("apt=").is_some_and(|of| kept.iter().any(|k| k == of)))
    });
    let repairs: Vec<String> = repairs.map(|(number, _)| number).collect();
    if kept.is_empty() {
        return None;
    }
    kept.extend(repairs);
    let mut lines = Vec::new();
    for line in section {
        if line.starts_with("m=") {
            let words: Vec<&str> = line.split(' ').collect();
            let (head, formats) = words.split_at_checked(3)?;
            let formats = formats.iter().filter(|format| kept.iter().any(|k| k == *format));
            lines.push(head.iter().chain(formats).copied().collect::<Vec<_>>().join(" "));
            continue;
        }
        let number = ["a=rtpmap:", "a=fmtp:", "a=rtcp-fb:"].iter().find_map(|of| numbered(line, of)).map(|(n, _)| n);
        if number.is_none_or(|number| number == "*" || kept.contains(&number)) {
            lines.push((*line).to_owned());
        }
    }
    Some(lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OFFER: &str = "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0 1 2 3\r\n\
        m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\na=recvonly\r\n\
        m=video 9 UDP/TLS/RTP/SAVPF 96 97 102 103\r\na=mid:1\r\na=recvonly\r\n\
        m=video 9 UDP/TLS/RTP/SAVPF 96 97 102 103\r\na=mid:2\r\na=recvonly\r\n\
        m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\na=mid:3\r\na=sctp-port:5000\r\n";

    /// What LiveKit 1.13.5 answers, shortened.
    const ANSWER: &str = "v=0\r\no=- 2 2 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0 1 2\r\n\
        m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\na=rtpmap:111 opus/48000/2\r\n\
        a=ssrc:7 cname:PA_x|TR_a\r\na=ssrc:7 msid:PA_x|TR_a TR_a\r\na=msid:PA_x|TR_a TR_a\r\na=sendonly\r\n\
        m=video 9 UDP/TLS/RTP/SAVPF 96 97 102 103\r\na=mid:1\r\na=rtpmap:96 VP8/90000\r\na=rtcp-fb:96 nack\r\n\
        a=rtpmap:97 rtx/90000\r\na=fmtp:97 apt=96\r\na=rtpmap:102 H264/90000\r\na=rtcp-fb:102 nack pli\r\n\
        a=fmtp:102 packetization-mode=1;profile-level-id=42e01f\r\na=rtpmap:103 rtx/90000\r\na=fmtp:103 apt=102\r\n\
        a=ssrc:8 mslabel:PA_x|TR_s\r\na=ssrc:8 label:TR_s\r\na=msid:PA_x|TR_s TR_s\r\na=sendonly\r\n\
        m=video 9 UDP/TLS/RTP/SAVPF 96 97 102 103\r\na=mid:2\r\na=sendrecv\r\n";

    fn track(mid: &str, kind: &str) -> Option<Track> {
        match (mid, kind) {
            ("0", "audio") => Some(Track::Audio),
            ("1", "video") => Some(Track::Screen),
            _ => None,
        }
    }

    #[test]
    fn an_answer_names_tracks_as_ours_do_and_has_the_codec_of_the_lecture() {
        let offer = ForeignOffer::new(OFFER);
        assert!(
            !offer.sdp.contains("m=application") && offer.sdp.contains("a=group:BUNDLE 0 1 2\r\n"),
            "{}",
            offer.sdp
        );
        let answer = offer.answered(ANSWER, Codec::H264, track).unwrap();
        let (_, sections) = sections(&answer);
        let msid = |n: usize| sections[n].iter().filter_map(|line| line.strip_prefix("a=msid:")).collect::<Vec<_>>();
        assert_eq!([msid(0), msid(1), msid(2)], [vec!["classroom audio"], vec!["classroom screen"], vec![]]);
        assert!(sections[2].contains(&"a=inactive") && !sections[2].contains(&"a=sendrecv"));
        assert_eq!(sections[1][0], "m=video 9 UDP/TLS/RTP/SAVPF 102 103");
        assert!(
            !answer.contains("VP8") && !answer.contains("TR_s") && answer.contains("a=fmtp:103 apt=102"),
            "{answer}"
        );
        assert_eq!(sections[3][0], "m=application 0 UDP/DTLS/SCTP webrtc-datachannel");
        assert_eq!(mid_of(&sections[3]), Some("3"));
    }

    #[test]
    fn a_data_channel_may_stand_anywhere_or_nowhere() {
        let channel = "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\na=mid:d\r\n";
        let audio = "m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\n";
        let answer = format!("v=0\r\n{audio}a=sendonly\r\n");
        let first = ForeignOffer::new(&format!("v=0\r\n{channel}{audio}a=recvonly\r\n"));
        let answered = first.answered(&answer, Codec::Vp8, |_, _| Some(Track::Audio)).unwrap();
        let kinds: Vec<&str> = answered.lines().filter(|line| line.starts_with("m=")).map(|l| &l[..7]).collect();
        assert_eq!(kinds, ["m=appli", "m=audio"]);
        let none = ForeignOffer::new(&format!("v=0\r\n{audio}"));
        assert_eq!(none.sdp, format!("v=0\r\n{audio}"));
        assert!(!none.answered(&answer, Codec::Vp8, |_, _| None).unwrap().contains("application"));
    }

    #[test]
    fn what_is_no_answer_to_the_offer_is_refused() {
        let offer = ForeignOffer::new(OFFER);
        let answered = |answer: &str| offer.answered(answer, Codec::H264, track);
        for bad in ["", "nonsense", &ANSWER.replacen("m=video", "m=audio", 1), &ANSWER.replace("a=mid:2", "a=x")] {
            assert_eq!(answered(bad), None, "{bad}");
        }
        assert_eq!(answered(&ANSWER.replace("H264/90000", "AV1/90000")), None, "not the codec of the lecture");
        assert_eq!(answered(&format!("{ANSWER}{}", "a=x\r\n".repeat(20_000))), None);
    }
}
