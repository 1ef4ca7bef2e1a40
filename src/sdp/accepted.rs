//! The formats that an answer accepts, section by section. Reads lines, so that any server's answer can be read.

/// A media section of an answer.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct AcceptedSection {
    /// Whether the other side receives in this section.
    receives: bool,
    /// Payload types with their `a=rtpmap`, the preferred one first.
    formats: Vec<(u8, String)>,
    /// Payload types of retransmissions with those of the originals.
    retransmissions: Vec<(u8, u8)>,
}

impl AcceptedSection {
    /// The payload type of a format such as `H264/90000`, and that of its retransmissions. `None` if the other side
    /// does not receive it.
    pub(crate) fn payload_types(&self, rtpmap: &str) -> Option<(u8, Option<u8>)> {
        let is_wanted = |(_, name): &&(u8, String)| name.eq_ignore_ascii_case(rtpmap);
        let (media, _) = self.formats.iter().find(is_wanted).filter(|_| self.receives)?;
        let rtx = self.retransmissions.iter().find(|(_, of)| of == media).map(|(rtx, _)| *rtx);
        Some((*media, rtx))
    }
}

/// The media sections of an answer, in order.
pub(crate) fn sections(sdp: &str) -> Vec<AcceptedSection> {
    let mut sections: Vec<AcceptedSection> = Vec::new();
    // The direction before the first section is that of all (RFC 8866, 6.7).
    let mut receives = true;
    for line in sdp.lines().map(str::trim_end) {
        if let Some(media) = line.strip_prefix("m=") {
            let port = media.split(' ').nth(1).unwrap_or("0");
            let formats = media.split(' ').skip(3).filter_map(|number| Some((number.parse().ok()?, String::new())));
            let is_bundled = port != "0";
            let formats = if is_bundled { formats.collect() } else { Vec::new() };
            sections.push(AcceptedSection { receives, formats, retransmissions: Vec::new() });
            continue;
        }
        let direction = match line {
            "a=recvonly" | "a=sendrecv" => Some(true),
            "a=sendonly" | "a=inactive" => Some(false),
            _ => None,
        };
        match (sections.last_mut(), direction) {
            (None, Some(direction)) => receives = direction,
            (Some(section), Some(direction)) => section.receives = direction,
            (Some(section), None) => section.read(line),
            (None, None) => {}
        }
    }
    sections
}

/// Whether an answer accepts a data channel.
pub(crate) fn has_channel(sdp: &str) -> bool {
    let refuses = |line: &str| line.split(' ').nth(1) == Some("0");
    sdp.lines().any(|line| line.starts_with("m=application ") && !refuses(line))
}

impl AcceptedSection {
    fn read(&mut self, line: &str) {
        let numbered = |rest: &str| {
            let (number, rest) = rest.split_once(' ')?;
            Some((number.parse::<u8>().ok()?, rest.trim().to_owned()))
        };
        if let Some((number, name)) = line.strip_prefix("a=rtpmap:").and_then(numbered) {
            if let Some(format) = self.formats.iter_mut().find(|(of, _)| *of == number) {
                format.1 = name;
            }
        } else if let Some((number, parameters)) = line.strip_prefix("a=fmtp:").and_then(numbered) {
            let apt = parameters.split(';').find_map(|part| part.trim().strip_prefix("apt=")?.trim().parse().ok());
            self.retransmissions.extend(apt.map(|of| (number, of)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PION: &str = "v=0\r\na=group:BUNDLE 0 1\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=rtpmap:111 opus/48000/2\r\n\
        a=recvonly\r\nm=video 9 UDP/TLS/RTP/SAVPF 109\r\na=rtpmap:109 H264/90000\r\na=recvonly\r\n";

    #[test]
    fn a_section_names_its_payload_types() {
        let read = sections(PION);
        assert_eq!(read[0].payload_types("opus/48000/2"), Some((111, None)));
        assert_eq!(read[1].payload_types("H264/90000"), Some((109, None)));
        assert_eq!(read[1].payload_types("VP8/90000"), None);
        let rtx = PION.replace("SAVPF 109", "SAVPF 109 114") + "a=rtpmap:114 rtx/90000\r\na=fmtp:114 x=1;apt=109\r\n";
        assert_eq!(sections(&rtx)[1].payload_types("h264/90000"), Some((109, Some(114))));
    }

    #[test]
    fn a_section_that_is_rejected_or_sends_receives_nothing() {
        for (from, to) in [("m=video 9", "m=video 0"), ("a=recvonly\r\nm=video", "m=video")] {
            let read = sections(&PION.replace(from, to));
            assert_eq!((read.len(), read[1].payload_types("H264/90000").is_some()), (2, from != "m=video 9"));
        }
        for direction in ["a=sendonly", "a=inactive"] {
            let read = sections(&PION.replace("a=recvonly", direction));
            assert_eq!(read[0].payload_types("opus/48000/2"), None, "{direction}");
        }
        assert_eq!(sections("hello\r\nm=\r\nm=video\r\na=rtpmap:x y\r\na=rtpmap:300 H264/90000\r\na=fmtp:1").len(), 2);
    }
}
