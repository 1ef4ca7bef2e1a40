//! STUN, DTLS, SRTP or none of them: what a datagram is.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    classroom::fuzz::run("demultiplex", bytes);
});
