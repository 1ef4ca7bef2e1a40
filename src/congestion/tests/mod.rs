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

use super::budget::{RepairBudget, Way};
use super::layers::{Pictures, Rung};
use super::selection::{Controller, Decision, Reason};
use super::{ClassRepairs, CommonTrouble, Estimate, Offered, Probe, Rate, Rates, Trouble};
