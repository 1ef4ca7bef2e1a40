//! Tags: each SFU of a shared port has one, and the ICE user name fragments of its peers begin with the tag, so that
//! the port can tell for which SFU a STUN request is.

use std::collections::HashSet;
use std::fmt;

use rand::distr::{Alphanumeric, SampleString};

/// The characters of a tag. All of them are `ice-char` (RFC 8445, 5.3).
const CHARACTERS: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

/// The length of a tag: 14.7 million tags.
const LENGTH: usize = 4;
const COUNT: u32 = (CHARACTERS.len() as u32).pow(LENGTH as u32);

/// The random characters after the tag: 71 bits, where RFC 8445, 5.3 asks for 24.
const RANDOM: usize = 12;

/// Names an SFU of a shared port.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(in crate::sfu) struct Tag([u8; LENGTH]);

impl Tag {
    fn new(number: u32) -> Self {
        let base = CHARACTERS.len();
        let mut left = number as usize;
        Self(std::array::from_fn(|_| {
            let character = CHARACTERS[left % base];
            left /= base;
            character
        }))
    }

    /// The tag that a user name fragment would begin with.
    pub(super) fn of(ufrag: &str) -> Option<Self> {
        ufrag.as_bytes().first_chunk().copied().map(Self)
    }

    /// A new user name fragment that begins with this tag.
    pub(in crate::sfu) fn ufrag(self) -> String {
        format!("{self}{}", Alphanumeric.sample_string(&mut rand::rng(), RANDOM))
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|character| write!(f, "{}", char::from(*character)))
    }
}

impl fmt::Debug for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tag({self})")
    }
}

/// The tags in use. A tag is used again only after all others, because the peers of an SFU that has ended go on sending
/// for a while.
#[derive(Debug)]
pub(super) struct Tags {
    next: u32,
    taken: HashSet<Tag>,
}

impl Default for Tags {
    fn default() -> Self {
        Self { next: rand::random::<u32>() % COUNT, taken: HashSet::new() }
    }
}

impl Tags {
    /// Takes a free tag.
    pub(super) fn take(&mut self) -> Tag {
        loop {
            let tag = Tag::new(self.next);
            self.next = (self.next + 1) % COUNT;
            if self.taken.insert(tag) {
                return tag;
            }
        }
    }

    /// Gives a tag back.
    pub(super) fn give_back(&mut self, tag: Tag) {
        self.taken.remove(&tag);
    }

    /// The tags in use.
    #[cfg(test)]
    pub(super) fn in_use(&self) -> Vec<Tag> {
        self.taken.iter().copied().collect()
    }

    /// The number of tags in use.
    pub(super) fn count(&self) -> usize {
        self.taken.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_that_was_given_back_is_used_again_after_all_others() {
        let mut tags = Tags { next: COUNT - 2, taken: HashSet::new() };
        let kept = tags.take();
        for _ in 0..1_000 {
            let tag = tags.take();
            assert_ne!(tag, kept);
            tags.give_back(tag);
        }
        assert_eq!((tags.next, tags.count()), (999, 1), "1,000 others");
        tags.next = COUNT - 2;
        assert_ne!(tags.take(), kept, "a tag in use is left out");
    }

    #[test]
    fn a_user_name_fragment_begins_with_its_tag_and_differs_from_others() {
        let tag = Tag::new(7);
        let ufrags: HashSet<String> = (0..1_000).map(|_| tag.ufrag()).collect();
        assert_eq!(ufrags.len(), 1_000);
        for ufrag in &ufrags {
            assert_eq!((Tag::of(ufrag), ufrag.len()), (Some(tag), LENGTH + RANDOM));
            assert!(ufrag.bytes().all(|c| CHARACTERS.contains(&c)), "{ufrag}");
        }
        assert_eq!(Tag::of("abc"), None);
    }
}
