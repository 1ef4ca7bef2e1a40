//! Decides from RTCP feedback what one peer is sent. The module reads no clock: each call receives the time.
//!
//! [`Adaptation`] holds all decisions about one peer. `sfu::Peer` reports each sent packet and all feedback to it,
//! calls [`adapt`](Adaptation::adapt) after feedback and ten times a second, and carries out the [`Actions`]. A client
//! that publishes does the same for its own uplink (`publisher::uplink`):
//!
//! 1. **Estimate** (`estimate`). Transport-wide feedback contains the arrival time of each packet, which gives the
//!    queuing delay (`delay`), the loss (`loss`) and the capacity of the path: each video frame leaves as a burst, and
//!    the narrowest link spaces the packets of a burst according to its rate (`probe`). Peers without transport-wide
//!    feedback are judged by REMB and receiver reports (`reports`). A growing queue, high loss, or silence is
//!    [`PathTrouble`].
//! 2. **Layers** (`selection`). In trouble the peer gets fewer layers at once: the most that the capacity carries, or
//!    the next lower combination. Without trouble, and with room for some seconds, it gets more. Padding probes a path
//!    on which frames give too few measurements. Audio is never removed.
//! 3. **Start** (`startup`). A peer starts with audio, and with the best video that fits the capacity found by the
//!    first probe.
//! 4. **Pace** (`pacer`). Video to a peer with fewer layers than the best is sent no faster than the path carries it.
//! 5. **Playout** (`playout`). A peer with a clean LAN is told to show video at once.
//! 6. **Recovery** (`retransmission`, `key_frames`). NACKs and PLIs are answered within budgets per peer and class.
//!
//! A suspension of this process says nothing about any path ([`Adaptation::on_suspension`]). Simultaneous trouble of
//! most of a class is ignored for a while ([`CommonTrouble`]).
//!
//! Why not Google's congestion control, which `rtc-interceptor` implements? It controls an encoder: it starts low and
//! searches for the highest rate the path carries by exceeding it now and then. Here one encoder serves all peers at a
//! few fixed rates, and a rate between two of them is of no use. The only question is whether a path carries the next
//! layer, and the bursts of video answer it. So a peer starts with the best layers, and more layers are tried only once
//! they are known to fit.

mod adaptation;
mod budgets;
mod collapse;
mod common;
mod delay;
mod estimate;
mod key_frame_recovery;
mod key_frames;
mod layers;
mod loss;
mod pacer;
mod playout;
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
pub(crate) use budgets::RequestBudgets;
pub(crate) use common::CommonTrouble;
pub(crate) use estimate::{Estimate, PathTrouble};
pub(crate) use layers::{Layers, Offered, Rate, Rates};
pub(crate) use pacer::{Pacer, PathCapacity};
pub(crate) use probe::Probe;
pub(crate) use rates::RateMeter;
pub(crate) use retransmission::ClassRetransmissions;
