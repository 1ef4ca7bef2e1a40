//! The members of a call or meeting room, in any order.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    classroom::fuzz::run("conference", bytes);
});
