//! One student behind a line, in virtual time: what it gets, and what that does to its line.

mod class;
mod hostile;
mod line;
mod pauses;
mod scenarios;
mod setup;
mod start;
mod student;

pub(crate) use line::Dice;
