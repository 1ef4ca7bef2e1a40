//! Video encoding: one branch of the pipeline per encoding, added and removed while the pipeline runs.
//!
//! `screen_monitor` compares the pictures of the screen by the rules of `changes`. A new page gets a key frame at once,
//! for which `rate_control` has saved bits; a still picture is encoded seldom.

pub(super) mod branch;
pub(super) mod branch_spec;
mod changes;
pub(super) mod config;
pub(super) mod encoder;
mod frame_dropper;
pub(super) mod output;
mod rate_control;
pub(super) mod screen_monitor;
pub(super) mod trial;

#[cfg(test)]
mod tests;
