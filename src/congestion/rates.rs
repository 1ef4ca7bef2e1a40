//! Measures the rate of each encoding.

use std::time::{Duration, Instant};

use crate::congestion::{Rate, Rates};
use crate::rtp::PerCodec;
use crate::rtp::{Codec, Encoding, PerEncoding};

/// Bits are counted in windows of this length; the last whole window counts. A new slide is a short burst in it.
const WINDOW: Duration = Duration::from_secs(2);

/// The encodings offered, with their nominal and measured rates.
#[derive(Debug, Clone, Default)]
pub(crate) struct RateMeter {
    nominal: Vec<(Encoding, u32)>,
    windows: PerEncoding<Window>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Window {
    began: Option<Instant>,
    bytes: usize,
    /// Bits per second in the previous window.
    rate: u32,
}

impl RateMeter {
    /// For encodings with these nominal rates in bits per second.
    pub(crate) fn new(nominal: &[(Encoding, u32)]) -> Self {
        Self { nominal: nominal.to_vec(), windows: PerEncoding::default() }
    }

    /// Only these are offered from now on, with these nominal rates.
    pub(crate) fn offer(&mut self, nominal: &[(Encoding, u32)]) {
        self.nominal = nominal.to_vec();
    }

    /// The encodings that are offered.
    pub(crate) fn encodings(&self) -> Vec<Encoding> {
        self.nominal.iter().map(|(encoding, _)| *encoding).collect()
    }

    /// This process was suspended: the current windows do not count.
    pub(crate) fn on_suspension(&mut self) {
        Encoding::all().for_each(|encoding| {
            let window = &mut self.windows[encoding];
            (window.began, window.bytes) = (None, 0);
        });
    }

    /// A frame of `bytes` bytes was encoded.
    pub(crate) fn count(&mut self, now: Instant, encoding: Encoding, bytes: usize) {
        let window = &mut self.windows[encoding];
        window.turn(now);
        window.bytes += bytes;
    }

    /// The rates of all encodings, by the video codec of a peer.
    pub(crate) fn rates(&mut self, now: Instant) -> PerCodec<Rates> {
        let mut rates = PerCodec::<Rates>::default();
        for &(encoding, nominal) in &self.nominal {
            self.windows[encoding].turn(now);
            let rate = Rate { nominal, measured: self.windows[encoding].rate };
            for codec in [Codec::H264, Codec::Vp8] {
                if encoding.codec == codec || !encoding.track.is_video() {
                    rates[codec].set(encoding.track, encoding.tier, rate);
                }
            }
        }
        rates
    }
}

impl Window {
    fn turn(&mut self, now: Instant) {
        let began = *self.began.get_or_insert(now);
        let length = now.saturating_duration_since(began);
        if length >= WINDOW {
            self.rate = (self.bytes as f64 * 8.0 / length.as_secs_f64()) as u32;
            (self.began, self.bytes) = (Some(now), 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::congestion::layers::Layers;
    use crate::rtp::{Tier, Track};

    #[test]
    fn the_measured_rate_replaces_the_nominal_rate() {
        let screen = Encoding::full(Track::Screen, Codec::Vp8);
        let mut traffic = RateMeter::new(&[(screen, 2_500_000)]);
        let start = Instant::now();
        let cost = |traffic: &mut RateMeter, at| {
            let layers = Layers { screen: Some(Tier::Full), camera: None };
            traffic.rates(at)[Codec::Vp8].present(layers)
        };
        assert_eq!(cost(&mut traffic, start), 2_500_000);
        for n in 0..30 {
            traffic.count(start + WINDOW * n / 30, screen, 1000);
        }
        assert_eq!(cost(&mut traffic, start + WINDOW), 120_000);
        assert_eq!(cost(&mut traffic, start + WINDOW * 2), 2_500_000, "it does not run any more");
        traffic.count(start + WINDOW * 2, screen, 30_000);
        traffic.on_suspension();
        assert_eq!(cost(&mut traffic, start + WINDOW * 9), 2_500_000, "a pause makes nothing cheaper");
        traffic.offer(&[]);
        assert_eq!(cost(&mut traffic, start + WINDOW * 2), 0);
    }
}
