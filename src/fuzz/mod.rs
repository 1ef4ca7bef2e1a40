//! The bodies of the fuzz targets: properties that must hold for any bytes received from the network.
//!
//! [`TARGETS`] lists them. Three programs run them: `fuzz/fuzz_targets/` under libFuzzer, `tests/bench/fuzz.rs` with a
//! million mutations each, and the unit tests with a few thousand. All start from the seeds in `fuzz/seeds/`.

mod access;
mod conference;
mod datagrams;
mod http;
mod ingest;
mod input;
mod janus;
mod lecture;
mod livekit;
mod matroska;
mod media;
mod mutator;
mod nodes;
mod sdp;
mod signalling;
#[cfg(test)]
mod tests;
mod whip_client;

use crate::turn;

pub use mutator::{Mutator, seeds};

/// A parser of network input with its properties.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// The name of the program in `fuzz/fuzz_targets/` and of the folder in `fuzz/seeds/`.
    pub name: &'static str,
    /// Panics if a property does not hold. Returns whether the parser has accepted the input.
    pub body: fn(&[u8]) -> bool,
}

/// All targets.
pub const TARGETS: [Target; 26] = [
    Target { name: "channel_message", body: signalling::channel_message },
    Target { name: "client_message", body: signalling::client_message },
    Target { name: "conference", body: conference::conference },
    Target { name: "demultiplex", body: datagrams::demultiplex },
    Target { name: "dtls_records", body: datagrams::dtls_records },
    Target { name: "http_request", body: http::http_request },
    Target { name: "ingest", body: ingest::ingest },
    Target { name: "janus_message", body: janus::janus_message },
    Target { name: "join_query", body: signalling::join_query },
    Target { name: "lecture", body: lecture::lecture },
    Target { name: "livekit_message", body: livekit::livekit_message },
    Target { name: "matroska", body: matroska::matroska },
    Target { name: "names", body: signalling::names },
    Target { name: "negotiation", body: sdp::negotiation },
    Target { name: "node_message", body: nodes::node_message },
    Target { name: "rtcp", body: media::rtcp },
    Target { name: "rtp", body: media::rtp },
    Target { name: "sctp", body: datagrams::sctp },
    Target { name: "sdp", body: sdp::sdp },
    Target { name: "sdp_fragment", body: sdp::sdp_fragment },
    Target { name: "server_message", body: signalling::server_message },
    Target { name: "srtcp", body: datagrams::srtcp },
    Target { name: "stun_response", body: datagrams::stun_response },
    Target { name: "token", body: access::token },
    Target { name: "turn", body: turn::fuzz::messages },
    Target { name: "whip_answer", body: whip_client::whip_answer },
];

/// Runs the target with this name.
///
/// # Panics
/// If a property does not hold, or if there is no such target.
pub fn run(name: &str, input: &[u8]) -> bool {
    let target = TARGETS.iter().find(|target| target.name == name).unwrap_or_else(|| panic!("no target {name}"));
    (target.body)(input)
}
