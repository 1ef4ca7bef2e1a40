//! What one student's way carries, and what it is therefore sent: pure, each call is told the time.
//!
//! An [`Estimate`] is told of every packet and of all feedback, and says what the way carries and whether it is in
//! [`Trouble`]. A [`LayerSelection`] has one, and chooses from a ladder of [`Layers`]; sound is never taken. The budgets
//! say how much may be asked for again.
//!
//! Who sends does this for each student: [`Estimate::sent`] for every packet; [`Estimate::on_feedback`], or
//! [`Estimate::on_remb`] and [`Estimate::on_report`], for what comes back; then, and ten times a second or so,
//! [`LayerSelection::decide`] and [`LayerSelection::probe`], and what these say.
//!
//! What this process does not do while it stands still says nothing of any line: [`LayerSelection::stood_still`]. Nor does
//! trouble that most of a class has in the same instant, for a while: [`CommonTrouble`].
//!
//! This is not Google's congestion control, which a port of is at hand (`rtc-interceptor`). That one steers an encoder:
//! it looks for the rate that a line just carries by going above it now and then, and begins low. Here the rates are few
//! and given, one encoder serves all, and half of a rate in between is of no use to anybody. What is asked is whether a
//! line carries the next rung, and the pictures themselves tell, because each leaves as a burst (see `clusters`). So
//! everybody begins on the best rung, and who has stepped down does not try the next one before it is known to fit.

mod adaptation;
mod budget;
mod clusters;
mod common;
mod delay;
mod estimate;
mod layers;
mod loss;
mod pacer;
mod probe;
mod rates;
mod recovery;
mod reports;
mod selection;
mod sent;
mod startup;
mod twcc;

#[cfg(test)]
mod tests;

pub(crate) use adaptation::{Actions, Adaptation, Change};
pub(crate) use budget::ClassRetransmissions;
pub(crate) use common::CommonTrouble;
pub(crate) use estimate::{Estimate, Trouble};
pub(crate) use layers::{Offered, Rate, Rates};
pub(crate) use pacer::{Pacer, PathCapacity};
pub(crate) use probe::Probe;
pub(crate) use rates::RateMeter;
