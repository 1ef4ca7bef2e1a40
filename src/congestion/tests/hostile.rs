//! A peer that sends arbitrary reports, and changes of the offered encodings.

use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::LayerIndex;
use super::{
    Actions, Adaptation, CommonTrouble, Decision, Estimate, LayerSelection, Layers, Offered, Rate, Rates, Reason,
};
use crate::rtp::{Tier, Track};

fn rates() -> Rates {
    let mut rates = Rates::default();
    for track in Track::ALL {
        for tier in Tier::ALL {
            rates.set(track, tier, Rate { nominal: 1_000_000 >> tier as u32, measured: 0 });
        }
    }
    rates
}

fn offered() -> Offered {
    let all = |offered: Offered, track| Tier::ALL.into_iter().fold(offered, |offered, tier| offered.with(track, tier));
    all(all(Offered::default(), Track::Screen), Track::Camera)
}

#[test]
fn no_feedback_panics() {
    for seed in 0..5 {
        let (mut rng, began) = (StdRng::seed_from_u64(seed), Instant::now());
        let (mut adaptation, rates) = (Adaptation::new(began, offered(), true), rates());
        let (mut sequence, mut micros, mut changes) = (rng.random_range(0..65_536) as u16, 0, 0);
        let mut before = None;
        for _ in 0..20_000 {
            micros += rng.random_range(0..30_000);
            // Sometimes the time goes back slightly.
            let now = began + Duration::from_micros(micros - rng.random_range(0..=micros.min(2_000)));
            match rng.random_range(0..12) {
                0..5 => {
                    for _ in 0..rng.random_range(0..40) {
                        adaptation.estimate().sent(now, Some(sequence), rng.random_range(0..70_000) as usize);
                        sequence = sequence.wrapping_add(1);
                    }
                }
                5 => sequence = sequence.wrapping_add(rng.random_range(0..40_000) as u16),
                6..9 => {
                    let base = sequence.wrapping_sub(rng.random_range(0..3_000) as u16);
                    let reference = rng.random_range(0..1_u64 << 32) as u32;
                    let many = rng.random_bool(0.1);
                    let count = rng.random_range(0..if many { 66_000 } else { 100 });
                    let deltas =
                        (0..count).map(|_| Some(rng.random_range(0..1_u64 << 32)).filter(|delta| delta % 3 > 0));
                    let deltas = deltas.map(|delta| delta.map(|delta| delta as i32));
                    adaptation.estimate().on_feedback(now, base, reference, deltas);
                }
                9 => adaptation.estimate().on_remb(now, rng.random_range(0..u64::MAX)),
                10 => {
                    let round_trip = rng.random_bool(0.5).then(|| Duration::from_micros(rng.random_range(0..u64::MAX)));
                    adaptation.on_report(now, rng.random_range(0..256) as u8, round_trip);
                }
                _ => {
                    adaptation.offer(if rng.random_bool(0.1) { Offered::default() } else { offered() });
                    let Actions { change, probe, .. } = adaptation.adapt(now, &rates, &CommonTrouble::default());
                    if let Some(change) = change {
                        changes += 1;
                        assert_ne!(before.replace(change.layers), Some(change.layers));
                    }
                    assert!(probe.is_none_or(|probe| probe.packets <= 10 && probe.bytes_each <= 1000));
                }
            }
        }
        assert!(changes > 0);
    }
}

#[test]
fn a_fixed_selection_ignores_all_feedback() {
    let start = Instant::now();
    let mut selection = LayerSelection::new(start, offered()).staying();
    let layers = selection.layers();
    assert_eq!(selection.begin(start, &rates(), 1), None);
    for step in 0..100 {
        let now = start + Duration::from_millis(100) * step;
        selection.estimate().on_remb(now, 1);
        selection.estimate().on_report(now, 255, None);
        assert_eq!(selection.decide(now, &rates(), &CommonTrouble::default()), None);
    }
    assert_eq!((selection.layers(), selection.has_the_best()), (layers, true));
}

#[test]
fn video_starts_with_the_layers_that_fit() {
    let start = Instant::now();
    // Audio costs 500 kbit/s here, and each video track 1,000 or 500.
    let begins = |kbps: u32| {
        let mut selection = LayerSelection::new(start, offered());
        let less = selection.begin(start, &rates(), kbps * 1000);
        assert_eq!(less.map_or(LayerIndex::default().layers(offered()), |less| less.layers), selection.layers());
        let name = |tier: Option<Tier>| tier.map_or("-", Tier::name);
        format!("{} {}", name(selection.layers().screen), name(selection.layers().camera))
    };
    let wanted = [(3_000, "full full"), (2_900, "full low"), (2_300, "low low"), (1_700, "low -")];
    for (kbps, layers) in wanted {
        assert_eq!(begins(kbps), layers, "{kbps}");
    }
    // A path that just carries the smallest layer is tried, see `USED_BY_THE_LAST`.
    assert_eq!((begins(1_000).as_str(), begins(999).as_str(), begins(1).as_str()), ("low -", "- -", "- -"));
}

#[test]
fn withdrawn_encodings_are_not_sent() {
    let now = Instant::now();
    let (mut selection, rates) = (LayerSelection::new(now, offered()), rates());
    assert_eq!(selection.decide(now, &rates, &CommonTrouble::default()), None);
    let low = Offered::default().with(Track::Screen, Tier::Low);
    selection.offer(low);
    let layers = Layers { screen: Some(Tier::Low), camera: None };
    assert_eq!(
        selection.decide(now, &rates, &CommonTrouble::default()),
        Some(Decision { layers, reason: Reason::Offer, estimate_kbps: None })
    );
    assert_eq!((selection.decide(now, &rates, &CommonTrouble::default()), selection.layers()), (None, layers));
    selection.offer(offered());
    let layers = Layers { screen: Some(Tier::Full), camera: Some(Tier::Full) };
    assert_eq!(selection.decide(now, &rates, &CommonTrouble::default()).map(|decision| decision.layers), Some(layers));
}

/// A peer that alternates between false trouble and no trouble costs few key frames.
#[test]
fn false_reports_cause_few_layer_changes() {
    let began = Instant::now();
    let (mut selection, rates) = (LayerSelection::new(began, offered()), rates());
    let mut changes = 0;
    for step in 0..6_000u64 {
        let now = began + Duration::from_millis(step * 10);
        selection.estimate().sent(now, Some(step as u16), 1200);
        if step % 10 == 9 {
            // In one second of ten all packets are 400 ms late.
            let late = if step % 1_000 < 100 { 400_000 } else { 0 };
            let deltas = (0..10).map(|n| Some(if n == 0 { late } else { 10_000 }));
            let reference = step * 10_000 / 64_000;
            selection.estimate().on_feedback(now, (step - 9) as u16, reference as u32, deltas);
        }
        changes += usize::from(selection.decide(now, &rates, &CommonTrouble::default()).is_some());
    }
    assert!((1..=20).contains(&changes), "{changes}");
}

#[test]
fn the_state_of_a_peer_is_small() {
    assert!(size_of::<LayerSelection>() < 1500, "{}", size_of::<LayerSelection>());
    assert!(size_of::<Estimate>() + 8 * 1024 < 10_000, "{}", size_of::<Estimate>());
}

#[test]
fn the_low_tier_is_the_best_if_no_other_is_offered() {
    let began = Instant::now();
    let low = Offered::default().with(Track::Screen, Tier::Low).with(Track::Camera, Tier::Low);
    let (mut selection, rates) = (LayerSelection::new(began, low), rates());
    assert!(selection.has_the_best());
    // The peer falls silent.
    let at = |millis| began + Duration::from_millis(millis);
    selection.estimate().sent(at(0), Some(0), 1_000);
    selection.estimate().on_feedback(at(20), 0, 1, [Some(0)]);
    selection.estimate().sent(at(40), Some(1), 1_000);
    let less = selection.decide(at(3_000), &rates, &CommonTrouble::default()).unwrap();
    assert!(matches!(less.reason, Reason::Down(_)) && !selection.has_the_best());
    // Feedback returns, and the peer steps up by a guess, as nothing measures the capacity.
    let mut back = None;
    for n in 0..600_u16 {
        let now = at(3_000 + u64::from(n) * 100);
        selection.estimate().sent(now, Some(2 + n), 100);
        selection.estimate().on_feedback(
            now + Duration::from_millis(20),
            2 + n,
            50 + u32::from(n) * 100 / 64,
            [Some(0)],
        );
        back = selection.decide(now + Duration::from_millis(20), &rates, &CommonTrouble::default()).or(back);
    }
    let all = Layers { screen: Some(Tier::Low), camera: Some(Tier::Low) };
    assert!(back.is_some_and(|up| up.reason == Reason::Up && up.layers == all) && selection.has_the_best());
}
