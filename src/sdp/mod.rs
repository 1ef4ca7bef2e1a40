//! Negotiation (RFC 8829): codecs and settings, parsing offers, correcting answers.

pub(crate) mod accepted;
pub(crate) mod answer;
pub mod engine;
pub(crate) mod foreign;
pub(crate) mod fragment;
pub mod ice;
pub(crate) mod negotiated;
pub mod offer;
pub mod publish;
pub(crate) mod restart;
pub(crate) mod whep_offer;
pub(crate) mod whip_offer;
