//! What a Janus server sends.

use crate::id::is_printable;
use crate::janus::fuzz::read;

/// The most characters of a text, the most publishers, and the most streams of one.
const MOST: (usize, usize, usize) = (200, 200, 3);

/// A message of Janus: what is kept of it is bounded, and its texts are safe to show.
pub(super) fn janus_message(bytes: &[u8]) -> bool {
    let Some(read) = read(&String::from_utf8_lossy(bytes)) else { return false };
    for text in &read.texts {
        assert!(text.chars().count() <= MOST.0, "{text:?}");
        let joins = |c| crate::id::joins_emoji(c);
        assert!(text.chars().all(|c| is_printable(c) || joins(c)), "{text:?}");
    }
    assert!(read.feeds <= MOST.1 && read.tracks <= MOST.2, "{read:?}");
    true
}
