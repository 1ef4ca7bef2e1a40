//! The file of a lecture.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    classroom::fuzz::run("lecture", bytes);
});
