//! The network of a client, as others are told it.

/// A number that stands for a network, made with a secret of the server. It keeps the address from the publisher.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct NetworkTag(pub u32);
