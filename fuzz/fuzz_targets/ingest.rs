//! A publisher's packets, in time.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    classroom::fuzz::run("ingest", bytes);
});
