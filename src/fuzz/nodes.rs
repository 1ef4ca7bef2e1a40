//! What the nodes of a server tell each other, and what they read from the store.

use crate::signal::{FromOwner, ToOwner};
use crate::store::{Lease, Node};

/// A message of a node to the owner of a room, or of the owner, a lease, or a node: what is printed parses to the same.
pub(super) fn node_message(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    let mut is_accepted = false;
    if let Some(frame) = ToOwner::parse(&text) {
        assert_eq!(ToOwner::parse(&frame.to_text()), Some(frame));
        is_accepted = true;
    }
    if let Some(frame) = FromOwner::parse(&text) {
        assert_eq!(FromOwner::parse(&frame.to_text()), Some(frame));
        is_accepted = true;
    }
    if let Some(lease) = Lease::parse(&text) {
        assert_eq!(Lease::parse(&lease.to_string()), Some(lease));
        is_accepted = true;
    }
    let Ok(id) = "a.5c2f81d0".parse() else { panic!("an id") };
    if let Some(node) = Node::parse(&id, text.as_bytes()) {
        let json = serde_json::to_vec(&node).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(Node::parse(&id, &json), Some(node));
        is_accepted = true;
    }
    is_accepted
}
