//! One peer behind a link, in virtual time: the packets it is sent, and their effect on the link.

mod encoders;
mod hostile;
mod link;
mod pages;
mod pauses;
mod receiver;
mod scenarios;
mod sender;
mod setup;
mod start;

use super::layers::{LayerIndex, Layers};
use super::selection::{Decision, LayerSelection, Reason};
use super::{
    Actions, Adaptation, Change, ClassRetransmissions, CommonTrouble, Estimate, Offered, Pacer, PathTrouble, Probe,
    Rate, RateMeter, Rates,
};
