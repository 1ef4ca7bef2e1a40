//! What one peer is sent, decided from its RTCP feedback. Pure: each call is told the time.
//!
//! [`Adaptation`] holds all decisions about one peer. `sfu::Peer` tells it of each sent packet and of all feedback,
//! asks it to [`adapt`](Adaptation::adapt) after feedback and ten times a second, and carries out the [`Actions`]:
//!
//! 1. **Estimate** (`estimate`). Transport-wide feedback gives the arrival time of each packet, and so the queuing
//!    delay (`delay`), the loss (`loss`) and the capacity of the path: each video frame leaves as a burst, and the
//!    packets of a burst leave the narrowest link as far apart as its rate allows (`probe`). Peers without
//!    transport-wide feedback are judged by REMB and receiver reports (`reports`). A growing queue, high loss, or
//!    silence is [`PathTrouble`].
//! 2. **Layers** (`selection`). In trouble the peer gets fewer layers at once: the most that the capacity carries, or
//!    the next fewer ones. Without trouble, and with room for some seconds, it gets more. Padding probes a path on
//!    which frames tell too little. Audio is never taken away.
//! 3. **Start** (`startup`). A peer starts with audio, and with the best video that the first probe found room for.
//! 4. **Pace** (`pacer`). Video to a peer with fewer layers than the best leaves no faster than the path carries it.
//! 5. **Recovery** (`retransmission`, `key_frames`). NACKs and PLIs are answered within budgets per peer and class.
//!
//! A pause of this process says nothing about any path ([`Adaptation::on_suspension`]), nor does trouble that most of a
//! class has in the same instant, for a while ([`CommonTrouble`]).
//!
//! Why not Google's congestion control, which `rtc-interceptor` implements? It steers an encoder: it starts low and
//! looks for the rate that a path just carries by exceeding it now and then. Here one encoder serves all, there are a
//! few given rates, and a rate between two of them is of no use. The question is only whether a path carries the next
//! layer, and the bursts of video answer it. So a peer starts with the best layers, and more are not tried before they
//! are known to fit.

mod adaptation;
mod common;
mod delay;
mod estimate;
mod key_frames;
mod layers;
mod loss;
mod pacer;
mod probe;
mod rates;
mod reports;
mod retransmission;
mod selection;
mod sent;
mod startup;

#[cfg(test)]
mod tests;

pub(crate) use adaptation::{Actions, Adaptation, Change};
pub(crate) use common::CommonTrouble;
pub(crate) use estimate::{Estimate, PathTrouble};
pub(crate) use layers::{Offered, Rate, Rates};
pub(crate) use pacer::{Pacer, PathCapacity};
pub(crate) use probe::Probe;
pub(crate) use rates::RateMeter;
pub(crate) use retransmission::ClassRetransmissions;
