//! A message between two nodes of a server, and what they read from Redis.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    classroom::fuzz::run("node_message", bytes);
});
