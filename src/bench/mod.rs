//! What measures the product: many students in one process, a bad network for one student, what the machine itself takes.

pub mod crowd;
pub mod emulator;
pub mod floor;
