//! Offers as text, so that an attacker can offer a thousand times without a peer connection behind any of them.

use std::fmt::Write;
use std::net::SocketAddrV4;

/// An offer of audio, one video in H.264 or VP8 and a data channel, and its ICE credentials.
#[derive(Debug, Clone)]
pub struct Offer {
    /// The session description.
    pub sdp: String,
    /// The user name fragment.
    pub ufrag: String,
    /// The password.
    pub pwd: String,
}

impl Offer {
    /// An offer with these candidates. Nobody has the key of its fingerprint, so no DTLS handshake can end.
    pub fn new(candidates: impl IntoIterator<Item = SocketAddrV4>) -> Self {
        let (ufrag, pwd) = (format!("u{:08x}", rand::random::<u32>()), format!("p{:032x}", rand::random::<u128>()));
        let fingerprint = vec!["AB"; 32].join(":");
        let mut candidate_lines = String::new();
        for (n, address) in candidates.into_iter().enumerate() {
            let (ip, port, priority) = (address.ip(), address.port(), 2_130_706_431 - n);
            let _ = write!(candidate_lines, "a=candidate:{n} 1 udp {priority} {ip} {port} typ host\r\n");
        }
        let transport = format!(
            "c=IN IP4 0.0.0.0\r\na=ice-ufrag:{ufrag}\r\na=ice-pwd:{pwd}\r\na=setup:actpass\r\n\
             a=fingerprint:sha-256 {fingerprint}\r\n"
        );
        let sdp = format!(
            "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0 1 2\r\n\
             m=audio 9 UDP/TLS/RTP/SAVPF 111\r\n{transport}a=mid:0\r\na=recvonly\r\na=rtcp-mux\r\n\
             a=rtpmap:111 opus/48000/2\r\n{candidate_lines}a=end-of-candidates\r\n\
             m=video 9 UDP/TLS/RTP/SAVPF 102 96\r\n{transport}a=mid:1\r\na=recvonly\r\na=rtcp-mux\r\n\
             a=rtpmap:96 VP8/90000\r\na=rtpmap:102 H264/90000\r\na=fmtp:102 packetization-mode=1;profile-level-id=42e01f\r\n\
             m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\n{transport}a=mid:2\r\na=sctp-port:5000\r\n"
        );
        Self { sdp, ufrag, pwd }
    }
}

/// The value of the first attribute line with this name, such as `a=ice-ufrag:`.
pub fn attribute(sdp: &str, name: &str) -> Option<String> {
    sdp.lines().find_map(|line| line.strip_prefix(name)).map(|value| value.trim().to_owned())
}

/// The address in a host candidate: `candidate:1 1 udp 2130706431 127.0.0.1 4711 typ host`.
pub fn host_address(candidate: &str) -> Option<SocketAddrV4> {
    let words: Vec<&str> = candidate.split_whitespace().collect();
    let at = words.iter().position(|word| *word == "typ")?;
    let (ip, port) = (words.get(at.checked_sub(2)?)?, words.get(at - 1)?);
    (words.get(at + 1)? == &"host").then(|| format!("{ip}:{port}").parse().ok())?
}
