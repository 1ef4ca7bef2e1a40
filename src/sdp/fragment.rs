//! Parses `application/trickle-ice-sdpfrag` (RFC 8840, section 9): candidates that a player has gathered later. A
//! fragment is not a session description, so `rtc`'s SDP parser rejects it.

use crate::protocol::IceCandidate;

/// The most candidates in one fragment, enough for a machine with many interfaces.
const MAX_CANDIDATES: usize = 64;

/// The longest `a=mid`, in bytes; browsers write one digit.
const MAX_MID_BYTES: usize = 64;

/// A parsed fragment.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Fragment {
    /// The user name fragment of the ICE session to which the candidates belong.
    pub(crate) ufrag: Option<String>,
    /// The password of that ICE session.
    pub(crate) password: Option<String>,
    /// The candidates, each with the `mid` of its section.
    pub(crate) candidates: Vec<IceCandidate>,
}

impl Fragment {
    /// Parses a fragment. The error is a sentence.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut fragment =
            Self { ufrag: first(text, "a=ice-ufrag:"), password: first(text, "a=ice-pwd:"), candidates: Vec::new() };
        let (mut mid, mut is_empty) = (None, true);
        for line in lines(text) {
            is_empty = false;
            if line.starts_with("m=") {
                mid = None;
                continue;
            }
            let attribute = line.strip_prefix("a=").filter(|rest| rest.bytes().all(|b| (b' '..=b'~').contains(&b)));
            let attribute =
                attribute.ok_or("a line is neither m= nor a=, or has other than printable ASCII characters")?;
            if let Some(value) = attribute.strip_prefix("mid:") {
                if value.is_empty() || value.len() > MAX_MID_BYTES {
                    return Err(format!("a=mid must have 1 to {MAX_MID_BYTES} characters"));
                }
                mid = Some(value.to_owned());
            } else if attribute.starts_with("candidate:") {
                if fragment.candidates.len() == MAX_CANDIDATES {
                    return Err(format!("more than {MAX_CANDIDATES} candidates in one fragment"));
                }
                let sdp_mid = Some(mid.clone().ok_or("a candidate comes before the a=mid of its section")?);
                fragment.candidates.push(candidate(attribute, sdp_mid, fragment.ufrag.clone())?);
            }
        }
        if is_empty { Err("the fragment is empty".into()) } else { Ok(fragment) }
    }
}

fn candidate(line: &str, sdp_mid: Option<String>, username_fragment: Option<String>) -> Result<IceCandidate, String> {
    // candidate:FOUNDATION COMPONENT TRANSPORT PRIORITY ADDRESS PORT typ TYPE ... (RFC 8839, 5.1)
    let words: Vec<&str> = line.splitn(9, ' ').collect();
    let is_whole = matches!(words[..], [foundation, component, _, priority, address, port, "typ", _, ..]
        if foundation.len() > "candidate:".len() && component.parse::<u16>().is_ok() && priority.parse::<u32>().is_ok()
            && !address.is_empty() && port.parse::<u16>().is_ok());
    if !is_whole {
        return Err("a candidate is malformed".into());
    }
    let candidate = IceCandidate { candidate: line.to_owned(), sdp_mid, sdp_m_line_index: None, username_fragment };
    candidate.check()?;
    Ok(candidate)
}

/// The first attribute of this name: bundled sections share one.
fn first(text: &str, name: &str) -> Option<String> {
    lines(text).find_map(|line| line.strip_prefix(name)).map(str::to_owned)
}

fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter(|line| !line.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "a=ice-ufrag:EsAw\r\na=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\r\nm=audio 9 UDP/TLS/RTP/SAVPF 0\r\n\
        a=mid:0\r\na=candidate:1387637174 1 udp 2122260223 192.0.2.1 61764 typ host generation 0 ufrag EsAw\r\n\
        a=candidate:3471623853 1 udp 2122194687 198.51.100.2 61765 typ host\r\na=end-of-candidates\r\n";

    #[test]
    fn candidates_are_read_with_their_mid() {
        let fragment = Fragment::parse(GOOD).unwrap();
        assert_eq!((fragment.ufrag.as_deref(), fragment.candidates.len()), (Some("EsAw"), 2));
        let first = &fragment.candidates[0];
        assert!(first.candidate.starts_with("candidate:1387637174 1 udp"));
        assert_eq!((first.sdp_mid.as_deref(), first.username_fragment.as_deref()), (Some("0"), Some("EsAw")));
        let done = Fragment::parse("m=audio 9 RTP/AVP 0\r\na=mid:0\r\na=end-of-candidates\r\n").unwrap();
        assert!(done.candidates.is_empty());
    }

    #[test]
    fn an_invalid_fragment_is_refused_with_a_sentence() {
        let replaced = |from: &str, to: &str| GOOD.replace(from, to);
        for text in [
            String::new(),
            "\r\n\r\n".into(),
            "hello".into(),
            r#"{"candidate":""}"#.into(),
            replaced("a=mid:0\r\n", ""),
            replaced("a=mid:0", "a=mid:"),
            replaced("a=mid:0", &format!("a=mid:{}", "x".repeat(65))),
            replaced("a=mid:0", "a=mid:0\u{1}"),
            replaced("61764", "70000"),
            replaced(" typ host", " host"),
            replaced("candidate:3471623853 1", "candidate: 1"),
            replaced("generation 0", &"x".repeat(2_000)),
            format!("{GOOD}{}", "a=candidate:1 1 udp 1 192.0.2.1 1 typ host\r\n".repeat(63)),
            // A second section needs its own mid.
            format!("{GOOD}m=video 9 RTP/AVP 0\r\na=candidate:1 1 udp 1 192.0.2.1 1 typ host\r\n"),
        ] {
            assert!(Fragment::parse(&text).is_err(), "{text}");
        }
    }

    #[test]
    fn no_truncated_fragment_panics() {
        for cut in 0..GOOD.len() {
            let _ = Fragment::parse(&GOOD[..cut]);
        }
    }
}
