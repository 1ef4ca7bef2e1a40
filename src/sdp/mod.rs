//! What both ends negotiate (RFC 8829): codecs and settings, what an offer asks for, what an answer says.

pub(crate) mod answer;
pub mod engine;
pub(crate) mod fragment;
pub(crate) mod negotiated;
pub mod offer;
pub(crate) mod player_offer;
