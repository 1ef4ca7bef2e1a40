//! A request to the server: WHEP, rooms.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    classroom::fuzz::run("http_request", bytes);
});
