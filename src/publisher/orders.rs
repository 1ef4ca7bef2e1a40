//! The orders to the encoders that wait until they are passed on. Does no I/O.

use std::collections::VecDeque;

use crate::rtp::Encoding;

/// What the encoders must do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum EncoderOrder {
    /// Exactly these encodings are sent.
    Active(Vec<Encoding>),
    /// Produce a key frame.
    KeyFrame(Encoding),
}

/// The orders that wait: one list, and one request for each encoding, however long nobody takes them.
#[derive(Debug, Default)]
pub(super) struct Orders(VecDeque<EncoderOrder>);

impl Orders {
    /// Gives an order, which replaces an earlier one about the same.
    pub(super) fn give(&mut self, order: EncoderOrder) {
        let is_replaced = |waiting: &EncoderOrder| match (waiting, &order) {
            (EncoderOrder::Active(_), EncoderOrder::Active(_)) => true,
            (waiting, order) => waiting == order,
        };
        self.0.retain(|waiting| !is_replaced(waiting));
        self.0.push_back(order);
    }

    /// Takes the order that has waited longest.
    pub(super) fn next(&mut self) -> Option<EncoderOrder> {
        self.0.pop_front()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtp::{Codec, Track};

    #[test]
    fn orders_that_nobody_takes_do_not_pile_up() {
        let mut orders = Orders::default();
        let [screen, camera] = [Track::Screen, Track::Camera].map(|track| Encoding::full(track, Codec::Vp8));
        for _ in 0..1_000 {
            orders.give(EncoderOrder::Active(vec![]));
            orders.give(EncoderOrder::KeyFrame(screen));
            orders.give(EncoderOrder::KeyFrame(camera));
            orders.give(EncoderOrder::Active(vec![screen, camera]));
        }
        let taken: Vec<EncoderOrder> = std::iter::from_fn(|| orders.next()).collect();
        let active = EncoderOrder::Active(vec![screen, camera]);
        assert_eq!(taken, [EncoderOrder::KeyFrame(screen), EncoderOrder::KeyFrame(camera), active]);
    }
}
