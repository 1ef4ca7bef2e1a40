//! A trickle ICE fragment of a WHEP player.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    classroom::fuzz::run("sdp_fragment", bytes);
});
