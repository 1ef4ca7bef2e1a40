//! What an answer says of the hub's addresses.

use std::net::SocketAddr;

use rtc::peer_connection::transport::{
    CandidateConfig, CandidateHostConfig, CandidateServerReflexiveConfig, RTCIceCandidate, RTCIceCandidateInit,
};
use rtc::shared::error::Error;

/// Moves the candidates to the first section that is not rejected, and leaves out those of component 2, which
/// `rtcp-mux` makes pointless. The core puts them into the first section, where a browser that had it rejected would
/// not look for them.
pub(super) fn with_candidates_in_first_live_section(sdp: &str) -> String {
    let is_candidate = |line: &&str| line.starts_with("a=candidate:") || line.starts_with("a=end-of-candidates");
    let is_live = |line: &str| line.starts_with("m=") && line.split(' ').nth(1) != Some("0");
    let candidates: Vec<&str> =
        sdp.lines().filter(is_candidate).filter(|line| line.split(' ').nth(1) != Some("2")).collect();
    let mut out = String::with_capacity(sdp.len());
    let mut pending = candidates.as_slice();
    let mut live = false;
    for line in sdp.lines().filter(|line| !is_candidate(line)) {
        if line.starts_with("m=") {
            live = is_live(line);
        }
        out += line;
        out += "\r\n";
        if live && line.starts_with("c=") {
            for candidate in std::mem::take(&mut pending) {
                out += candidate;
                out += "\r\n";
            }
        }
    }
    out
}

/// A host candidate for `address`, as the core wants it.
pub(super) fn host_candidate(address: SocketAddr) -> Result<RTCIceCandidateInit, Error> {
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

    #[test]
    fn candidates_go_where_a_browser_looks() {
        let sdp = "v=0\r\nm=audio 0 X 0\r\nc=IN IP4 0.0.0.0\r\na=candidate:1 1 udp 5 127.0.0.1 9 typ host\r\n\
                   a=candidate:1 2 udp 5 127.0.0.1 9 typ host\r\na=end-of-candidates\r\nm=video 9 X 96\r\n\
                   c=IN IP4 0.0.0.0\r\na=mid:1\r\nm=video 9 X 96\r\nc=IN IP4 0.0.0.0\r\n";
        assert_eq!(
            with_candidates_in_first_live_section(sdp),
            "v=0\r\nm=audio 0 X 0\r\nc=IN IP4 0.0.0.0\r\nm=video 9 X 96\r\nc=IN IP4 0.0.0.0\r\n\
             a=candidate:1 1 udp 5 127.0.0.1 9 typ host\r\na=end-of-candidates\r\na=mid:1\r\nm=video 9 X 96\r\n\
             c=IN IP4 0.0.0.0\r\n"
        );
    }
}
