//! The offer that the core gets instead of the publisher's, and the answer for the publisher.

use super::sections::{MediaSection, Section};
use super::{PublishOffer, Setup};
use crate::sdp::answer::with_level;
use crate::sdp::engine::HIGHEST_H264_LEVEL;

/// The mids of the core's sections.
const CORE_MEDIA: &str = "media";
const CORE_DATA: &str = "data";

impl PublishOffer {
    /// An offer with the publisher's ICE and DTLS parameters, one section for RTP and RTCP, and the data channel if the
    /// publisher has one. It has no candidates; those that the core can't read are refused one by one.
    pub(crate) fn for_core(&self) -> String {
        let setup = match self.setup {
            Setup::Actpass => "actpass",
            Setup::Active => "active",
            Setup::Passive => "passive",
        };
        let has_data = self.has_data_channel();
        let transport = format!("c=IN IP4 0.0.0.0\r\na=setup:{setup}\r\n");
        let mut sdp = "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n".to_owned();
        if self.is_ice_lite {
            sdp += "a=ice-lite\r\n";
        }
        sdp += &format!("a=group:BUNDLE {CORE_MEDIA}{}\r\n", if has_data { " data" } else { "" });
        sdp += &format!("a=ice-ufrag:{}\r\na=ice-pwd:{}\r\na=ice-options:trickle\r\n", self.ufrag, self.password);
        sdp += &format!("a=fingerprint:{}\r\n", self.fingerprint);
        sdp += &format!("m=audio 9 UDP/TLS/RTP/SAVPF 111\r\n{transport}a=mid:{CORE_MEDIA}\r\n");
        sdp += "a=rtcp-mux\r\na=sendonly\r\na=rtpmap:111 opus/48000/2\r\n";
        if has_data {
            sdp += &format!("m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\n{transport}a=mid:{CORE_DATA}\r\n");
            sdp += "a=sctp-port:5000\r\na=max-message-size:262144\r\n";
        }
        sdp
    }

    /// The answer for the publisher, with the ICE and DTLS parameters and the candidates of the core's answer.
    pub(crate) fn answer(&self, by_core: &str) -> String {
        let core = CoreAnswer::of(by_core);
        let mut sdp = core.session(self.is_bundled.then(|| self.mids()));
        let mut candidates = Some(&core.candidates);
        for section in &self.sections {
            match section {
                Section::Rejected { mid, kind, proto, format } => {
                    sdp += &format!("m={kind} 0 {proto} {format}\r\nc=IN IP4 0.0.0.0\r\n");
                    if let Some(mid) = mid {
                        sdp += &format!("a=mid:{mid}\r\n");
                    }
                    sdp += "a=inactive\r\n";
                }
                Section::Data { mid, proto } => {
                    sdp += &format!("m=application 9 {proto} webrtc-datachannel\r\n");
                    sdp += &core.transport(candidates.take(), mid);
                    core.data.iter().for_each(|line| sdp += &format!("{line}\r\n"));
                }
                Section::Media(media) => {
                    sdp += &m_line(media);
                    sdp += &core.transport(candidates.take(), &media.mid);
                    sdp += &body(media);
                }
            }
        }
        with_level(&sdp, HIGHEST_H264_LEVEL)
    }

    /// The answer to a restart of ICE, in the form of `application/trickle-ice-sdpfrag` (RFC 9725, 4.3.3).
    pub(crate) fn fragment(&self, by_core: &str) -> String {
        let core = CoreAnswer::of(by_core);
        let mut lines = vec!["a=ice-options:trickle".to_owned()];
        if self.is_bundled {
            lines.push(format!("a=group:BUNDLE {}", self.mids().join(" ")));
        }
        let first = self.sections.iter().find_map(|section| match section {
            Section::Media(media) => Some((m_line(media).trim_end().to_owned(), &media.mid)),
            Section::Data { mid, proto } => Some((format!("m=application 9 {proto} webrtc-datachannel"), mid)),
            Section::Rejected { .. } => None,
        });
        if let Some((m_line, mid)) = first {
            lines.extend([m_line, format!("a=mid:{mid}")]);
        }
        lines.extend([core.ufrag, core.password].map(str::to_owned));
        lines.extend(core.candidates.iter().map(|line| (*line).to_owned()));
        lines.push("a=end-of-candidates".to_owned());
        lines.into_iter().flat_map(|line| [line, "\r\n".to_owned()]).collect()
    }

    /// The mids of all sections that are not rejected.
    fn mids(&self) -> Vec<&str> {
        let mids = self.sections.iter().filter_map(|section| match section {
            Section::Media(media) => Some(media.mid.as_str()),
            Section::Data { mid, .. } => Some(mid.as_str()),
            Section::Rejected { .. } => None,
        });
        mids.collect()
    }
}

/// The parts of the core's answer that go into the answer for the publisher.
#[derive(Debug, Default)]
struct CoreAnswer<'a> {
    origin: &'a str,
    fingerprint: &'a str,
    ufrag: &'a str,
    password: &'a str,
    setup: &'a str,
    candidates: Vec<&'a str>,
    /// The SCTP parameters.
    data: Vec<&'a str>,
}

impl<'a> CoreAnswer<'a> {
    fn of(sdp: &'a str) -> Self {
        let mut core = Self::default();
        for line in sdp.lines().map(str::trim_end) {
            let field = match line.split_once(':').map_or(line, |(name, _)| name) {
                "a=fingerprint" => &mut core.fingerprint,
                "a=ice-ufrag" => &mut core.ufrag,
                "a=ice-pwd" => &mut core.password,
                "a=setup" => &mut core.setup,
                // Component 2 is RTCP, which `rtcp-mux` makes pointless.
                "a=candidate" if line.split(' ').nth(1) != Some("2") && !core.candidates.contains(&line) => {
                    core.candidates.push(line);
                    continue;
                }
                "a=sctp-port" | "a=max-message-size" => {
                    core.data.push(line);
                    continue;
                }
                _ if line.starts_with("o=") => &mut core.origin,
                _ => continue,
            };
            *field = line;
        }
        core
    }

    /// The session-level section, with a BUNDLE group of `mids` if the offer has one.
    fn session(&self, mids: Option<Vec<&str>>) -> String {
        let group = mids.map(|mids| format!("a=group:BUNDLE {}\r\n", mids.join(" "))).unwrap_or_default();
        format!("v=0\r\n{}\r\ns=-\r\nt=0 0\r\n{group}{}\r\n", self.origin, self.fingerprint)
    }

    /// The attributes of a section's transport. The first section that is not rejected has the candidates.
    fn transport(&self, candidates: Option<&Vec<&'a str>>, mid: &str) -> String {
        let mut lines = vec!["c=IN IP4 0.0.0.0"];
        if let Some(candidates) = candidates {
            lines.extend(candidates);
            lines.push("a=end-of-candidates");
        }
        lines.extend([self.ufrag, self.password, self.setup]);
        let lines: String = lines.into_iter().flat_map(|line| [line, "\r\n"]).collect();
        format!("{lines}a=mid:{mid}\r\n")
    }
}

fn m_line(media: &MediaSection) -> String {
    let kind = if media.is_video { "video" } else { "audio" };
    let rtx = media.codec.rtx.map(|rtx| format!(" {rtx}")).unwrap_or_default();
    format!("m={kind} 9 {} {}{rtx}\r\n", media.proto, media.codec.payload_type)
}

/// The attributes of a media section after those of the transport.
fn body(media: &MediaSection) -> String {
    let codec = &media.codec;
    let payload_type = codec.payload_type;
    let mut lines = vec!["a=rtcp-mux".to_owned()];
    if media.has_reduced_size {
        lines.push("a=rtcp-rsize".to_owned());
    }
    lines.push(format!("a=rtpmap:{payload_type} {}", codec.name));
    lines.extend(codec.feedback.iter().map(|feedback| format!("a=rtcp-fb:{payload_type} {feedback}")));
    lines.extend(codec.fmtp.iter().map(|fmtp| format!("a=fmtp:{payload_type} {fmtp}")));
    if let Some(rtx) = codec.rtx {
        lines.push(format!("a=rtpmap:{rtx} rtx/{}", codec.codec.clock_rate()));
        lines.push(format!("a=fmtp:{rtx} apt={payload_type}"));
    }
    lines.extend(media.extensions.iter().map(|(id, uri)| format!("a=extmap:{id} {uri}")));
    if media.track.is_none() {
        lines.push("a=inactive".to_owned());
    } else {
        if !media.rids.is_empty() {
            lines.extend(media.rids.iter().map(|rid| format!("a=rid:{rid} recv")));
            lines.push(format!("a=simulcast:recv {}", media.rids.join(";")));
        }
        lines.push("a=recvonly".to_owned());
    }
    lines.into_iter().flat_map(|line| [line, "\r\n".to_owned()]).collect()
}
