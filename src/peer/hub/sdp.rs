//! What an answer says of the hub's addresses.

use std::net::SocketAddr;

use rtc::peer_connection::transport::{
    CandidateConfig, CandidateHostConfig, CandidateServerReflexiveConfig, RTCIceCandidate, RTCIceCandidateInit,
};
use rtc::shared::error::Error;

/// Puts the candidates where a student looks for them, and leaves out those of component 2, which `rtcp-mux` makes
/// pointless.
///
/// The core writes them into the first section, whatever became of it. A browser looks into the first section that is
/// not rejected, which the others are bundled with (RFC 9143, 7.2); the core itself, on the student's side, into those
/// that are not inactive. Where these are two sections, both have them.
pub(super) fn with_candidates_where_they_are_looked_for(sdp: &str) -> String {
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
    // The first part is the session's.
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

/// A host candidate for `address`, as the core wants it.
pub(in crate::peer) fn host_candidate(address: SocketAddr) -> Result<RTCIceCandidateInit, Error> {
    let candidate = CandidateHostConfig { base_config: base(address), ..Default::default() }.new_candidate_host()?;
    RTCIceCandidate::from(&candidate).to_json()
}

/// A server reflexive candidate: `public` is where the world sees `local`.
pub(super) fn reflexive_candidate(public: SocketAddr, local: SocketAddr) -> Result<RTCIceCandidateInit, Error> {
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

    /// Which of these sections have the candidates, if the core put them into the first.
    fn sections_with_candidates(sections: [&[&str]; 3]) -> Vec<usize> {
        let mut lines = vec!["v=0"];
        for (n, section) in sections.iter().enumerate() {
            lines.extend(*section);
            if n == 0 {
                lines.extend(CANDIDATES);
                lines.push(OF_RTCP);
            }
        }
        let out =
            with_candidates_where_they_are_looked_for(&lines.iter().map(|l| format!("{l}\r\n")).collect::<String>());
        assert!(!out.contains(OF_RTCP));
        let parts: Vec<&str> = out.split("m=").skip(1).collect();
        let whole = format!("c=IN IP4 0.0.0.0\r\n{}\r\n{}\r\n", CANDIDATES[0], CANDIDATES[1]);
        (0..parts.len()).filter(|n| parts[*n].contains(&whole)).collect()
    }

    #[test]
    fn candidates_go_where_they_are_looked_for() {
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
