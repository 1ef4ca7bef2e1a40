//! Video encoding: one branch of the pipeline per encoding, added and removed while the pipeline runs.

pub(super) mod branch;
pub(super) mod branch_spec;
pub(super) mod config;
pub(super) mod encoder;
mod frame_dropper;
pub(super) mod output;
pub(super) mod trial;

#[cfg(test)]
mod tests;
