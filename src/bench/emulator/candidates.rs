//! Rewrites the candidates in offers and answers so that the only path leads through an emulator.

use std::net::SocketAddr;

/// The SFU's answer for a student behind an emulator: `address` replaces the SFU's candidates.
pub fn through(sdp: &str, address: SocketAddr) -> String {
    let candidate = format!("a=candidate:1 1 udp 2130706431 {} {} typ host", address.ip(), address.port());
    let mut lines = Vec::new();
    let mut has_candidate = false;
    for line in sdp.lines() {
        if line.starts_with("m=") {
            has_candidate = false;
        }
        if !is_candidate(line) {
            lines.push(line);
        } else if !has_candidate {
            has_candidate = true;
            lines.push(&candidate);
        }
    }
    join_lines(lines)
}

/// The offer of a student behind an emulator: without candidates, which would give the SFU a direct path.
pub fn without_candidates(sdp: &str) -> String {
    join_lines(sdp.lines().filter(|line| !is_candidate(line)).collect())
}

fn is_candidate(line: &str) -> bool {
    line.starts_with("a=candidate:")
}

fn join_lines(lines: Vec<&str>) -> String {
    lines.into_iter().flat_map(|line| [line, "\r\n"]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANSWER: &str = "v=0\r\nm=audio 9 X 111\r\nc=IN IP4 0.0.0.0\r\na=candidate:1 1 udp 5 127.0.0.1 9 typ host\r\n\
        a=candidate:2 1 udp 4 203.0.113.7 9 typ srflx raddr 10.0.0.1 rport 9\r\na=end-of-candidates\r\n\
        m=video 9 X 96\r\na=candidate:1 1 udp 5 127.0.0.1 9 typ host\r\na=sendonly\r\nm=video 9 X 96\r\n";

    #[test]
    fn an_answer_contains_only_the_emulator() {
        let sdp = through(ANSWER, "127.0.0.1:4711".parse().unwrap());
        let own = "a=candidate:1 1 udp 2130706431 127.0.0.1 4711 typ host\r\n";
        let expected = format!(
            "v=0\r\nm=audio 9 X 111\r\nc=IN IP4 0.0.0.0\r\n{own}a=end-of-candidates\r\n\
             m=video 9 X 96\r\n{own}a=sendonly\r\nm=video 9 X 96\r\n"
        );
        assert_eq!(sdp, expected);
    }

    #[test]
    fn an_offer_keeps_no_candidates() {
        let sdp = without_candidates(ANSWER);
        assert!(!sdp.contains("a=candidate:") && sdp.contains("a=sendonly\r\n"), "{sdp}");
        assert_eq!(without_candidates("v=0\n"), "v=0\r\n");
    }
}
