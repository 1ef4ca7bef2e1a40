//! The descriptions of an ICE restart in WHIP: a fragment out of an offer, and a new answer out of the old one and the
//! other side's fragment (RFC 9725, 4.3.3). All sections are bundled, so one set of credentials is that of all.

/// A fragment with the credentials and candidates of an offer, as one of its first section (RFC 8840, 9).
pub(crate) fn fragment(offer: &str) -> String {
    fragment_with(offer, lines(offer).filter(|line| is_candidate(line)))
}

/// A fragment with one more candidate, `candidate:...`, of an offer.
pub(crate) fn fragment_of(offer: &str, candidate: &str) -> String {
    let line = format!("a={candidate}");
    fragment_with(offer, std::iter::once(line.as_str()))
}

fn fragment_with<'a>(offer: &'a str, candidates: impl Iterator<Item = &'a str>) -> String {
    let first = |name: &str| lines(offer).find(|line| line.starts_with(name));
    let head = ["a=ice-ufrag:", "a=ice-pwd:", "m=", "a=mid:"].into_iter().filter_map(first);
    head.chain(candidates).flat_map(|line| [line, "\r\n"]).collect()
}

/// The answer with other credentials and other candidates, `candidate:...`.
pub(crate) fn restarted_answer<'a>(
    answer: &str,
    (ufrag, password): (&str, &str),
    candidates: impl Iterator<Item = &'a str>,
) -> String {
    let mut restarted = String::new();
    let mut section = 0;
    let candidates: String = candidates.map(|candidate| format!("a={candidate}\r\n")).collect();
    for line in lines(answer).filter(|line| !is_candidate(line)) {
        if line.starts_with("m=") {
            section += 1;
            if section == 2 {
                restarted.push_str(&candidates);
            }
        }
        match line.split_once(':') {
            Some((name @ "a=ice-ufrag", _)) => restarted.push_str(&format!("{name}:{ufrag}")),
            Some((name @ "a=ice-pwd", _)) => restarted.push_str(&format!("{name}:{password}")),
            _ => restarted.push_str(line),
        }
        restarted.push_str("\r\n");
    }
    if section < 2 {
        restarted.push_str(&candidates);
    }
    restarted
}

fn is_candidate(line: &str) -> bool {
    line.starts_with("a=candidate:") || line.starts_with("a=end-of-candidates")
}

fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines().map(str::trim_end).filter(|line| !line.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sdp::fragment::Fragment;

    const OFFER: &str = "v=0\r\na=group:BUNDLE 0 1\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\nc=IN IP4 0.0.0.0\r\n\
        a=ice-ufrag:abcd\r\na=ice-pwd:abcdefghijklmnopqrstuv\r\na=candidate:1 1 udp 5 192.0.2.1 9 typ host\r\n\
        a=end-of-candidates\r\na=mid:0\r\nm=video 9 UDP/TLS/RTP/SAVPF 96\r\na=ice-ufrag:abcd\r\n\
        a=ice-pwd:abcdefghijklmnopqrstuv\r\na=mid:1\r\n";

    #[test]
    fn a_fragment_has_the_credentials_and_the_candidates() {
        let read = Fragment::parse(&fragment(OFFER)).unwrap();
        assert_eq!((read.ufrag.as_deref(), read.password.as_deref()), (Some("abcd"), Some("abcdefghijklmnopqrstuv")));
        assert_eq!((read.candidates.len(), read.candidates[0].sdp_mid.as_deref()), (1, Some("0")));
        let more = Fragment::parse(&fragment_of(OFFER, "candidate:2 1 udp 5 192.0.2.2 9 typ host")).unwrap();
        assert_eq!(more.candidates.len(), 1);
        assert!(more.candidates[0].candidate.contains("192.0.2.2"));
    }

    #[test]
    fn an_answer_gets_other_credentials_and_candidates() {
        let other = ["candidate:7 1 udp 5 192.0.2.7 9 typ host"];
        let answer = restarted_answer(OFFER, ("new", "secret"), other.into_iter());
        assert_eq!((answer.matches("a=ice-ufrag:new\r\n").count(), answer.matches("a=ice-pwd:secret").count()), (2, 2));
        assert!(!answer.contains("192.0.2.1 ") && !answer.contains("abcd"), "{answer}");
        let audio = answer.split("m=video").next().unwrap();
        assert!(audio.ends_with("a=mid:0\r\na=candidate:7 1 udp 5 192.0.2.7 9 typ host\r\n"), "{answer}");
        let alone = OFFER.split("m=video").next().unwrap();
        assert!(restarted_answer(alone, ("a", "b"), other.into_iter()).ends_with("typ host\r\n"));
    }
}
