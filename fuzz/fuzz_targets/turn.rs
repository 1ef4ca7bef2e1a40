//! The messages of a TURN client and of a TURN server, in a stream.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    classroom::fuzz::run("turn", bytes);
});
