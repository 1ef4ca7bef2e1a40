//! An offer and the datagrams after it, through the core.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    classroom::fuzz::run("negotiation", bytes);
});
