//! Which streams are sent: those that somebody needs, in tiers that the uplink carries. Does no I/O.

use std::time::Instant;

use super::stream::Stream;
use crate::congestion::{Layers, Offered, RateMeter, Rates};
use crate::rtp::{Encoding, Tier, Track};

/// The encodings of a publisher, with the need for each and the cost of each.
pub(super) struct LayerCosts {
    /// The encodings of the streams with their nominal rates in bits per second.
    encodings: Vec<(Encoding, u32)>,
    /// The encodings of videos that somebody needs.
    needed: Vec<(Track, Tier)>,
    is_simulcast: bool,
    meter: RateMeter,
}

impl LayerCosts {
    /// Until the answerer says otherwise, the best tier of each video is needed.
    pub(super) fn new(encodings: Vec<(Encoding, u32)>, is_simulcast: bool) -> Self {
        let mut needed: Vec<(Track, Tier)> = Vec::new();
        for (encoding, _) in encodings.iter().filter(|(encoding, _)| encoding.track.is_video()) {
            if needed.iter().all(|(track, _)| *track != encoding.track) {
                needed.push((encoding.track, encoding.tier));
            }
        }
        let mut costs = Self { meter: RateMeter::new(&encodings), encodings, needed, is_simulcast };
        costs.update();
        costs
    }

    pub(super) fn offered(&self) -> Offered {
        let videos = self.encodings.iter().filter(|(encoding, _)| encoding.track.is_video());
        videos.fold(Offered::default(), |offered, (encoding, _)| offered.with(encoding.track, encoding.tier))
    }

    /// The best tier of each video.
    pub(super) fn best(&self) -> Layers {
        let offered = self.offered();
        let best = |track| Tier::ALL.into_iter().find(|tier| offered.has(track, *tier));
        Layers { screen: best(Track::Screen), camera: best(Track::Camera) }
    }

    /// Somebody needs exactly these encodings of videos.
    pub(super) fn need(&mut self, needed: Vec<(Track, Tier)>) {
        self.needed = needed;
        self.update();
    }

    /// Of what is needed, only these tracks are.
    pub(super) fn need_only(&mut self, tracks: &[Track]) {
        self.needed.retain(|(track, _)| tracks.contains(track));
        self.update();
    }

    /// A frame of an encoding was sent.
    pub(super) fn count(&mut self, now: Instant, encoding: Encoding, bytes: usize) {
        self.meter.count(now, encoding, bytes);
        let full = encoding.with(Tier::Full);
        if encoding.tier == Tier::Low && self.sends_both(encoding.track) {
            self.meter.count(now, full, bytes);
        }
    }

    /// The cost of each encoding for the choice of layers.
    pub(super) fn rates(&mut self, now: Instant) -> Rates {
        let video = self.encodings.iter().find(|(encoding, _)| encoding.track.is_video());
        let codec = video.map_or(crate::rtp::Codec::Vp8, |(encoding, _)| encoding.codec);
        self.meter.rates(now)[codec].clone()
    }

    /// The tier that a stream sends if the uplink carries these layers.
    pub(super) fn tier_of(&self, stream: &Stream, layers: Layers) -> Option<Tier> {
        let track = stream.track;
        if !track.is_video() {
            return Some(Tier::Full);
        }
        let carried = layers.of(track)?;
        let (full, low) = (self.is_needed(track, Tier::Full), self.is_needed(track, Tier::Low));
        match stream.tier {
            None => (full || low).then_some(carried),
            Some(Tier::Full) => (full && carried == Tier::Full).then_some(Tier::Full),
            // Without the full tier, its students get the low one.
            Some(Tier::Low) => (low || full && carried == Tier::Low).then_some(Tier::Low),
        }
    }

    fn is_needed(&self, track: Track, tier: Tier) -> bool {
        self.needed.contains(&(track, tier))
    }

    /// Whether the full tier is sent together with the low one, so that it costs both.
    fn sends_both(&self, track: Track) -> bool {
        self.is_simulcast && self.is_needed(track, Tier::Full) && self.is_needed(track, Tier::Low)
    }

    fn update(&mut self) {
        let rate_of = |wanted: Encoding| self.encodings.iter().find(|(e, _)| *e == wanted).map_or(0, |(_, rate)| *rate);
        let costs = self.encodings.iter().map(|(encoding, rate)| {
            let has_low = encoding.tier == Tier::Full && self.sends_both(encoding.track);
            let low = if has_low { rate_of(encoding.with(Tier::Low)) } else { 0 };
            (*encoding, rate + low)
        });
        let costs: Vec<(Encoding, u32)> = costs.collect();
        self.meter.offer(&costs);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtp::Codec;

    fn camera(tier: Tier) -> Encoding {
        Encoding::full(Track::Camera, Codec::Vp8).with(tier)
    }

    fn costs(is_simulcast: bool) -> LayerCosts {
        let audio = (Encoding::full(Track::Audio, Codec::Opus), 48_000);
        LayerCosts::new(vec![audio, (camera(Tier::Full), 400_000), (camera(Tier::Low), 100_000)], is_simulcast)
    }

    fn stream(tier: Option<Tier>) -> Stream {
        Stream::new(Track::Camera, Codec::Vp8, tier, 1)
    }

    const FULL: Layers = Layers { screen: None, camera: Some(Tier::Full) };
    const LOW: Layers = Layers { screen: None, camera: Some(Tier::Low) };

    #[test]
    fn simulcast_sends_what_is_needed_and_the_low_tier_in_place_of_the_full_one() {
        let mut costs = costs(true);
        let sent = |costs: &LayerCosts, layers| {
            [Tier::Full, Tier::Low].map(|tier| costs.tier_of(&stream(Some(tier)), layers).is_some())
        };
        assert_eq!(
            [FULL, LOW, Layers::default()].map(|layers| sent(&costs, layers)),
            [[true, false], [false, true], [false, false]]
        );
        costs.need(vec![(Track::Camera, Tier::Full), (Track::Camera, Tier::Low)]);
        assert_eq!([FULL, LOW].map(|layers| sent(&costs, layers)), [[true, true], [false, true]]);
        costs.need(vec![(Track::Camera, Tier::Low)]);
        assert_eq!([FULL, LOW].map(|layers| sent(&costs, layers)), [[false, true], [false, true]]);
        costs.need(vec![]);
        assert_eq!(sent(&costs, FULL), [false, false], "nobody watches");
    }

    #[test]
    fn a_single_stream_sends_the_tier_that_the_uplink_carries() {
        let mut costs = costs(false);
        assert_eq!([FULL, LOW].map(|layers| costs.tier_of(&stream(None), layers)), [Some(Tier::Full), Some(Tier::Low)]);
        costs.need(vec![]);
        assert_eq!(costs.tier_of(&stream(None), FULL), None);
    }

    #[test]
    fn the_full_tier_costs_both_if_both_are_sent() {
        let now = Instant::now();
        let cost = |costs: &mut LayerCosts| costs.rates(now).present(FULL);
        let mut simulcast = costs(true);
        assert_eq!(cost(&mut simulcast), 448_000);
        simulcast.need(vec![(Track::Camera, Tier::Full), (Track::Camera, Tier::Low)]);
        assert_eq!(cost(&mut simulcast), 548_000);
        simulcast.need(vec![(Track::Camera, Tier::Low)]);
        assert_eq!(cost(&mut simulcast), 448_000, "it may be needed again");
        let mut single = costs(false);
        single.need(vec![(Track::Camera, Tier::Full), (Track::Camera, Tier::Low)]);
        assert_eq!(cost(&mut single), 448_000);
    }
}
