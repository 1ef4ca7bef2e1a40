//! An answer of a WHIP server.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    classroom::fuzz::run("whip_answer", bytes);
});
