//! A request to join, a message to the server, a message over the data channel.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    classroom::fuzz::signalling(bytes);
});
