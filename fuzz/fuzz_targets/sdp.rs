//! An offer or an answer, and what is rewritten in it.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    classroom::fuzz::run("sdp", bytes);
});
