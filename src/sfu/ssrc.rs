//! The names of one student's streams.

/// So many SSRCs that `random` gives, each another one: with the same one for two streams a student would take them for
/// one, and two packets could be sealed under one nonce (RFC 3711, 9.1). Not 0, by which some mean that there is none.
pub(super) fn distinct(count: usize, mut random: impl FnMut() -> u32) -> Vec<u32> {
    let mut ssrcs = Vec::with_capacity(count);
    while ssrcs.len() < count {
        let ssrc = random();
        if ssrc != 0 && !ssrcs.contains(&ssrc) {
            ssrcs.push(ssrc);
        }
    }
    ssrcs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_streams_have_one_name() {
        let mut thrown = [7, 0, 7, 9, 7, 9, 0, 8].into_iter();
        assert_eq!(distinct(3, || thrown.next().unwrap()), [7, 9, 8]);
    }
}
