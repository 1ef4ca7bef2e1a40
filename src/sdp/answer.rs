//! The SFU's changes to the library's answer, and the candidates of the answer.

use std::net::SocketAddr;

use rtc::peer_connection::transport::{
    CandidateConfig, CandidateHostConfig, CandidateServerReflexiveConfig, RTCIceCandidate, RTCIceCandidateInit,
};
use rtc::shared::error::Error;

/// Moves the candidates to the sections in which peers look for them, and removes those of component 2, which
/// `rtcp-mux` makes pointless.
///
/// The core writes the candidates into the first section, even if that is rejected. A browser reads those of the first
/// section that is not rejected, with which the others are bundled (RFC 9143, 7.2); the library's own viewer reads
/// those of sections that are not inactive. If these are two different sections, both get the candidates.
pub(crate) fn with_moved_candidates(sdp: &str) -> String {
    let is_candidate = |line: &&str| line.starts_with("a=candidate:") || line.starts_with("a=end-of-candidates");
    let candidates: Vec<&str> =
        sdp.lines().filter(is_candidate).filter(|line| line.split(' ').nth(1) != Some("2")).collect();
    let mut sections: Vec<Vec<&str>> = vec![Vec::new()];
    for line in sdp.lines().filter(|line| !is_candidate(line)) {
        if line.starts_with("m=") {
            sections.push(Vec::new());
        }
        if let Some(section) = sections.last_mut() {
            section.push(line);
        }
    }
    let is_live = |section: &Vec<&str>| section.first().is_some_and(|m| m.split(' ').nth(1) != Some("0"));
    let is_active = |section: &Vec<&str>| is_live(section) && !section.contains(&"a=inactive");
    // The first part is the session-level section.
    let mut media = sections.iter_mut().skip(1).filter(|section| is_live(section));
    if let Some(first) = media.next() {
        let also = if is_active(first) { None } else { media.find(|section| is_active(section)) };
        for section in also.into_iter().chain([first]) {
            let after = section.iter().position(|line| line.starts_with("c=")).map_or(section.len(), |at| at + 1);
            section.splice(after..after, candidates.iter().copied());
        }
    }
    sections.concat().into_iter().flat_map(|line| [line, "\r\n"]).collect()
}

/// Adds candidates that the core does not know after its own ones.
pub(crate) fn with_more_candidates(sdp: &str, more: &[String]) -> String {
    let is_candidate = |line: Option<&&str>| line.is_some_and(|line| line.starts_with("a=candidate:"));
    let mut lines = sdp.lines().peekable();
    let mut out = String::with_capacity(sdp.len());
    while let Some(line) = lines.next() {
        out.extend([line, "\r\n"]);
        if is_candidate(Some(&line)) && !is_candidate(lines.peek()) {
            more.iter().for_each(|candidate| out.extend(["a=", candidate, "\r\n"]));
        }
    }
    out
}

/// A passive TCP candidate at `address` (RFC 6544, 4.5). No two have the same `number`.
pub(crate) fn tcp_candidate(number: usize, address: SocketAddr) -> String {
    // RFC 6544, 4.2: the type preference of a host candidate below those of UDP, and 4 for the passive side.
    let (preference, direction, others) = (90_u32, 4_u32, 8_191_u32.saturating_sub(number as u32));
    let priority = (preference << 24) | (((direction << 13) | others) << 8) | 255;
    let (ip, port) = (address.ip(), address.port());
    format!("candidate:tcp{number} 1 tcp {priority} {ip} {port} typ host tcptype passive")
}

/// Raises the level of H.264 (`level_idc`) to the level that is sent, if the offer has a lower one and allows each side
/// a level of its own (RFC 6184, 8.2.2): 1920x1080 needs level 4.0, and browsers offer 3.1, which is 1280x720.
pub(crate) fn with_level(sdp: &str, level: u8) -> String {
    const ID: &str = "profile-level-id=";
    let line = |line: &str| {
        let of_its_own = line.starts_with("a=fmtp:") && line.contains("level-asymmetry-allowed=1");
        let digits = line.find(ID).map(|at| at + ID.len() + 4).filter(|_| of_its_own)?;
        let offered = u8::from_str_radix(line.get(digits..digits + 2)?, 16).ok()?;
        (offered < level).then(|| format!("{}{level:02x}{}", &line[..digits], &line[digits + 2..]))
    };
    sdp.lines().flat_map(|old| [line(old).unwrap_or_else(|| old.to_owned()), "\r\n".to_owned()]).collect()
}

/// A host candidate for `address`, in the core's format.
pub(crate) fn host_candidate(address: SocketAddr) -> Result<RTCIceCandidateInit, Error> {
    let candidate = CandidateHostConfig { base_config: base(address), ..Default::default() }.new_candidate_host()?;
    RTCIceCandidate::from(&candidate).to_json()
}

/// A server reflexive candidate: `public` is the mapped address of `local`.
pub(crate) fn reflexive_candidate(public: SocketAddr, local: SocketAddr) -> Result<RTCIceCandidateInit, Error> {
    let candidate = CandidateServerReflexiveConfig {
        base_config: base(public),
        rel_addr: local.ip().to_string(),
        rel_port: local.port(),
        ..Default::default()
    }
    .new_candidate_server_reflexive()?;
    RTCIceCandidate::from(&candidate).to_json()
}

fn base(address: SocketAddr) -> CandidateConfig {
    CandidateConfig {
        network: "udp".to_owned(),
        address: address.ip().to_string(),
        port: address.port(),
        component: 1,
        ..Default::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CANDIDATES: [&str; 2] = ["a=candidate:1 1 udp 5 127.0.0.1 9 typ host", "a=end-of-candidates"];
    const OF_RTCP: &str = "a=candidate:1 2 udp 5 127.0.0.1 9 typ host";

    #[test]
    fn the_level_is_raised_to_the_one_that_is_sent() {
        let line = |fmtp: &str| format!("a=rtpmap:102 H264/90000\r\na=fmtp:102 {fmtp}\r\n");
        let own =
            |level: &str| line(&format!("level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e0{level}"));
        assert_eq!(with_level(&own("1f"), 0x28), own("28"));
        assert_eq!(with_level(&own("1f"), 0x0d), own("1f"), "the offer allows more");
        assert_eq!(with_level(&own("34"), 0x28), own("34"));
        for strange in
            ["profile-level-id=42e01f;packetization-mode=1", "level-asymmetry-allowed=1;profile-level-id=42é"]
        {
            assert_eq!(with_level(&line(strange), 0x28), line(strange));
        }
        let first = line("profile-level-id=42001f;level-asymmetry-allowed=1;packetization-mode=1");
        assert_eq!(with_level(&first, 0x32), first.replace("42001f", "420032"));
    }

    /// The sections that contain the candidates after the core has put them into the first one.
    fn sections_with_candidates(sections: [&[&str]; 3]) -> Vec<usize> {
        let mut lines = vec!["v=0"];
        for (n, section) in sections.iter().enumerate() {
            lines.extend(*section);
            if n == 0 {
                lines.extend(CANDIDATES);
                lines.push(OF_RTCP);
            }
        }
        let out = with_moved_candidates(&lines.iter().map(|l| format!("{l}\r\n")).collect::<String>());
        assert!(!out.contains(OF_RTCP));
        let parts: Vec<&str> = out.split("m=").skip(1).collect();
        let whole = format!("c=IN IP4 0.0.0.0\r\n{}\r\n{}\r\n", CANDIDATES[0], CANDIDATES[1]);
        (0..parts.len()).filter(|n| parts[*n].contains(&whole)).collect()
    }

    #[test]
    fn candidates_of_tcp_come_after_those_of_the_core_and_below_them() {
        let candidates =
            [tcp_candidate(0, "192.0.2.7:9".parse().unwrap()), tcp_candidate(1, "[2001:db8::7]:9".parse().unwrap())];
        let [v4, v6] = &candidates;
        assert_eq!(v4, "candidate:tcp0 1 tcp 1520435199 192.0.2.7 9 typ host tcptype passive");
        let sdp =
            format!("v=0\r\nm=audio 9 X 111\r\n{0}\r\n{0}\r\n{1}\r\nm=video 9 X 96\r\n", CANDIDATES[0], CANDIDATES[1]);
        let whole = format!("{0}\r\n{0}\r\na={v4}\r\na={v6}\r\n{1}\r\nm=video", CANDIDATES[0], CANDIDATES[1]);
        let with = with_more_candidates(&sdp, &candidates);
        assert!(with.contains(&whole) && with.matches("tcptype").count() == 2, "{with}");
        assert_eq!(with_more_candidates(&sdp, &[]), sdp);
    }

    #[test]
    fn candidates_are_moved_to_the_sections_that_peers_read() {
        const CONNECTION: &str = "c=IN IP4 0.0.0.0";
        let rejected: &[&str] = &["m=audio 0 X 0", CONNECTION];
        let inactive: &[&str] = &["m=audio 9 X 111", CONNECTION, "a=inactive"];
        let sending: &[&str] = &["m=video 9 X 96", CONNECTION, "a=sendonly"];
        assert_eq!(sections_with_candidates([sending, sending, inactive]), [0]);
        assert_eq!(sections_with_candidates([rejected, sending, inactive]), [1]);
        assert_eq!(sections_with_candidates([inactive, sending, sending]), [0, 1], "a lecture without sound");
        assert_eq!(sections_with_candidates([inactive, inactive, inactive]), [0]);
    }
}
