//! A peer's SCTP packets, out of DTLS.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    classroom::fuzz::run("sctp", bytes);
});
