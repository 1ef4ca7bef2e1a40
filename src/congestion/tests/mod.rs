//! One peer behind a link, in virtual time: what it is sent, and what that does to the link.

mod hostile;
mod link;
mod pauses;
mod receiver;
mod scenarios;
mod sender;
mod setup;
mod start;

use super::layers::{Pictures, Rung};
use super::selection::{Controller, Decision, Reason};
use super::{
    Actions, Adaptation, Change, ClassRepairs, CommonTrouble, Estimate, Offered, Pace, Probe, Rate, Rates, Traffic,
    Trouble,
};
