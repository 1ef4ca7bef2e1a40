//! The layers to choose from: the encodings offered, their cost, and their combinations, best first.

use crate::rtp::{Tier, Track};

/// The tiers in which video is offered in a peer's codec.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Offered([[bool; Tier::ALL.len()]; 2]);

impl Offered {
    /// The same with this tier of a track added. Audio is always offered.
    #[must_use]
    pub(crate) fn with(mut self, track: Track, tier: Tier) -> Self {
        if let Some(picture) = picture(track) {
            self.0[picture][tier as usize] = true;
        }
        self
    }

    /// Whether this tier of a track is offered.
    pub(crate) fn has(&self, track: Track, tier: Tier) -> bool {
        picture(track).is_none_or(|picture| self.0[picture][tier as usize])
    }
}

/// The cost of an encoding, in bits per second including RTP headers.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rate {
    /// The rate its encoder was set to.
    pub(crate) nominal: u32,
    /// The rate of the last whole window; 0 if the encoder does not run or has not run that long.
    pub(crate) measured: u32,
}

impl Rate {
    /// The present cost. A measured rate above the nominal one comes from a key frame and is temporary.
    fn present(self) -> u32 {
        if self.measured == 0 { self.nominal } else { self.measured.min(self.nominal) }
    }

    /// The expected cost, at least half of the nominal rate: a still slide costs little, but a film may follow.
    fn soon(self) -> u32 {
        self.present().max(self.nominal / 2)
    }
}

/// The cost of all encodings, for peers with one video codec. The SFU measures it once for all peers.
#[derive(Debug, Default, Clone)]
pub(crate) struct Rates {
    sound: Rate,
    layers: [[Rate; Tier::ALL.len()]; 2],
}

impl Rates {
    /// Sets the cost of an encoding. Audio has one tier.
    pub(crate) fn set(&mut self, track: Track, tier: Tier, rate: Rate) {
        match picture(track) {
            None => self.sound = rate,
            Some(picture) => self.layers[picture][tier as usize] = rate,
        }
    }

    /// The present cost of audio and these layers, in bits per second.
    pub(crate) fn present(&self, layers: Layers) -> u64 {
        self.sum(layers, Rate::present)
    }

    /// The expected cost, in bits per second.
    pub(super) fn soon(&self, layers: Layers) -> u64 {
        self.sum(layers, Rate::soon)
    }

    /// The rate that the encoders of audio and of these layers are set to, in bits per second.
    pub(super) fn nominal(&self, layers: Layers) -> u64 {
        self.sum(layers, |rate| rate.nominal)
    }

    fn sum(&self, layers: Layers, cost: impl Fn(Rate) -> u32) -> u64 {
        let each = [layers.screen, layers.camera].into_iter().zip(&self.layers);
        let sum: u64 = each.filter_map(|(tier, rates)| tier.map(|tier| u64::from(cost(rates[tier as usize])))).sum();
        sum + u64::from(cost(self.sound))
    }
}

/// The layers of one peer: a tier of each video track, or none. Audio is always sent.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Layers {
    /// The screen.
    pub(crate) screen: Option<Tier>,
    /// The camera.
    pub(crate) camera: Option<Tier>,
}

impl Layers {
    /// The tier of a track.
    pub(crate) fn of(self, track: Track) -> Option<Tier> {
        match track {
            Track::Audio => Some(Tier::Full),
            Track::Screen => self.screen,
            Track::Camera => self.camera,
        }
    }

    /// Whether only audio is sent.
    pub(crate) fn is_empty(self) -> bool {
        self == Self::default()
    }
}

/// The combinations, best first: text must stay readable, so the camera is reduced first.
const COMBINATIONS: [Layers; 5] = [
    Layers { screen: Some(Tier::Full), camera: Some(Tier::Full) },
    Layers { screen: Some(Tier::Full), camera: Some(Tier::Low) },
    Layers { screen: Some(Tier::Low), camera: Some(Tier::Low) },
    Layers { screen: Some(Tier::Low), camera: None },
    Layers { screen: None, camera: None },
];

/// The index of a combination in the list. If fewer tracks or tiers are offered, some indices have the same layers.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct LayerIndex(u8);

impl LayerIndex {
    /// Only audio.
    pub(super) const LAST: Self = Self(COMBINATIONS.len() as u8 - 1);

    /// The layers at this index. A tier that is not offered is replaced: for the screen by its other tier, so that the
    /// screen stays as long as possible; for the camera by a better tier only if the screen is full too.
    pub(super) fn layers(self, offered: Offered) -> Layers {
        let Layers { screen, camera } = COMBINATIONS[usize::from(self.0).min(COMBINATIONS.len() - 1)];
        let screen_is_there = Tier::ALL.into_iter().any(|tier| offered.has(Track::Screen, tier));
        let had = |track, wanted: Option<Tier>, or: &[Tier]| {
            let wanted = wanted?;
            std::iter::once(&wanted).chain(or).copied().find(|tier| offered.has(track, *tier))
        };
        // Without a screen the camera is the main track and is kept as long as the screen would be.
        let camera = if screen_is_there { camera } else { screen };
        let or: &[Tier] = match camera {
            Some(Tier::Low) if screen_is_there => &[],
            _ => &Tier::ALL,
        };
        Layers { screen: had(Track::Screen, screen, &Tier::ALL), camera: had(Track::Camera, camera, or) }
    }

    /// The lower indices with other layers, nearest first.
    pub(super) fn below(self, offered: Offered) -> impl Iterator<Item = LayerIndex> {
        let mut last = self.layers(offered);
        (self.0 + 1..COMBINATIONS.len() as u8).map(LayerIndex).filter(move |index| {
            let layers = index.layers(offered);
            std::mem::replace(&mut last, layers) != layers
        })
    }

    /// The nearest higher index with other layers.
    pub(super) fn above(self, offered: Offered) -> Option<LayerIndex> {
        (0..self.0).rev().map(LayerIndex).find(|index| index.layers(offered) != self.layers(offered))
    }
}

/// The index of a video track in tables; `None` for audio.
fn picture(track: Track) -> Option<usize> {
    match track {
        Track::Audio => None,
        Track::Screen => Some(0),
        Track::Camera => Some(1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn combinations(offered: Offered) -> Vec<String> {
        let name = |tier: Option<Tier>| tier.map_or("-", Tier::name);
        std::iter::once(LayerIndex::default())
            .chain(LayerIndex::default().below(offered))
            .map(|index| index.layers(offered))
            .map(|layers| format!("{} {}", name(layers.screen), name(layers.camera)))
            .collect()
    }

    #[test]
    fn the_camera_is_reduced_first() {
        let screen = Offered::default().with(Track::Screen, Tier::Full).with(Track::Screen, Tier::Low);
        let camera = Offered::default().with(Track::Camera, Tier::Full).with(Track::Camera, Tier::Low);
        let both = screen.with(Track::Camera, Tier::Full).with(Track::Camera, Tier::Low);
        assert_eq!(combinations(both), ["full full", "full low", "low low", "low -", "- -"]);
        assert_eq!(combinations(screen), ["full -", "low -", "- -"]);
        assert_eq!(combinations(camera), ["- full", "- low", "- -"]);
        assert_eq!(combinations(Offered::default()), ["- -"]);
    }

    #[test]
    fn tiers_not_offered_are_skipped() {
        let full = Offered::default().with(Track::Screen, Tier::Full).with(Track::Camera, Tier::Full);
        let low = Offered::default().with(Track::Screen, Tier::Low).with(Track::Camera, Tier::Low);
        assert_eq!(combinations(full), ["full full", "full -", "- -"]);
        assert_eq!(combinations(low), ["low low", "low -", "- -"]);
        assert_eq!(combinations(full.with(Track::Screen, Tier::Low)), ["full full", "full -", "low -", "- -"]);
        assert_eq!(combinations(Offered::default().with(Track::Camera, Tier::Full)), ["- full", "- -"]);
    }

    #[test]
    fn steps_up_reverse_the_steps_down() {
        for bits in 0..16 {
            let mut offered = Offered::default();
            for (n, (track, tier)) in [Track::Screen, Track::Camera]
                .into_iter()
                .flat_map(|track| Tier::ALL.map(|tier| (track, tier)))
                .enumerate()
            {
                if bits >> n & 1 == 1 {
                    offered = offered.with(track, tier);
                }
            }
            let down: Vec<Layers> = std::iter::once(LayerIndex::default())
                .chain(LayerIndex::default().below(offered))
                .map(|index| index.layers(offered))
                .collect();
            let up = std::iter::successors(Some(LayerIndex(4)), |index| index.above(offered));
            let mut up: Vec<Layers> = up.map(|index| index.layers(offered)).collect();
            up.reverse();
            assert_eq!(down, up, "{bits:b}");
        }
    }

    #[test]
    fn an_unmeasured_encoding_costs_its_nominal_rate() {
        let mut rates = Rates::default();
        rates.set(Track::Audio, Tier::Full, Rate { nominal: 80, measured: 70 });
        rates.set(Track::Screen, Tier::Full, Rate { nominal: 2_500, measured: 300 });
        rates.set(Track::Camera, Tier::Low, Rate { nominal: 450, measured: 0 });
        let layers = Layers { screen: Some(Tier::Full), camera: Some(Tier::Low) };
        assert_eq!(rates.present(layers), 70 + 300 + 450);
        assert_eq!(rates.soon(layers), 70 + 1_250 + 450);
        assert_eq!(rates.present(Layers::default()), 70);
        rates.set(Track::Screen, Tier::Low, Rate { nominal: 450, measured: 700 });
        assert_eq!(rates.present(Layers { screen: Some(Tier::Low), camera: None }), 70 + 450, "a key frame");
    }
}
