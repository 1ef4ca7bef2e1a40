//! What a LiveKit server sends.

use crate::id::{is_printable, joins_emoji};
use crate::livekit::fuzz::read;

/// The most characters of a text, and the most bytes of an id.
const MOST: (usize, usize) = (100, 64);

/// A message of LiveKit: what is kept of it is bounded, and its texts are safe to show.
pub(super) fn livekit_message(bytes: &[u8]) -> bool {
    let Some(read) = read(bytes) else { return false };
    for text in &read.texts {
        assert!(text.chars().count() <= MOST.0, "{text:?}");
        assert!(text.chars().all(|c| is_printable(c) || joins_emoji(c)), "{text:?}");
    }
    assert!(read.ids.len() <= 4 && read.ids.iter().all(|id| id.len() <= MOST.1), "{read:?}");
    true
}
