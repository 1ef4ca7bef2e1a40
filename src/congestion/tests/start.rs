//! A link that becomes narrow just after a start with a replay of half a second of video.

use std::time::{Duration, Instant};

use rand::SeedableRng;
use rand::rngs::StdRng;

use super::link::{Link, Path};
use super::{Adaptation, Change, CommonTrouble, Layers, Offered, PathTrouble, Rate, Rates};
use crate::rtp::{Tier, Track};

const MILLI: u64 = 1000;

/// The time from the narrowing of the link to the step down, in milliseconds, and the change.
fn less_after(narrow: u64, interval: u64) -> Option<(u64, Change)> {
    let began = Instant::now();
    let offered = Offered::default().with(Track::Screen, Tier::Full).with(Track::Screen, Tier::Low);
    let mut rates = Rates::default();
    for (track, tier, nominal) in [
        (Track::Audio, Tier::Full, 60_000),
        (Track::Screen, Tier::Full, 2_500_000),
        (Track::Screen, Tier::Low, 450_000),
    ] {
        rates.set(track, tier, Rate { nominal, measured: 0 });
    }
    let mut adaptation = Adaptation::new(began, offered, true);
    let (mut path, mut rng) = (Path::new(Link::lan().round_trip(50)), StdRng::seed_from_u64(1));
    // Arrival times by transport-wide sequence number.
    let mut arrivals: Vec<Option<u64>> = Vec::new();
    let (mut told, mut newest_told) = (0, 0);
    for millis in 0..5_000 {
        let (micros, now) = (millis * MILLI, began + Duration::from_millis(millis));
        if millis == narrow {
            path.change(micros, Link::of(120_000).round_trip(50));
        }
        let packets = match millis {
            0 => 300,
            // 25 frames of 12,650 bytes per second.
            _ if millis % 40 == 0 => 11,
            _ => 0,
        };
        for _ in 0..packets {
            adaptation.estimate().sent(now, Some(arrivals.len() as u16), 1150);
            arrivals.push(path.send(micros, 1150, &mut rng));
        }
        if millis % interval == 0 {
            let came = |arrival: &Option<u64>| arrival.is_some_and(|at| at + 25 * MILLI <= micros);
            let Some(newest) = arrivals.iter().rposition(came).filter(|newest| *newest >= newest_told) else {
                continue;
            };
            let first = arrivals[told..].iter().flatten().next().copied().unwrap_or(0) / 64_000;
            let mut last = first * 64_000;
            let deltas = arrivals[told..=newest].iter().map(|arrival| {
                let at = (*arrival)?;
                let delta = at as i64 - last as i64;
                last = at;
                Some(delta as i32)
            });
            adaptation.estimate().on_feedback(now, told as u16, first as u32, deltas.collect::<Vec<_>>());
            (told, newest_told) = (newest + 1, newest + 1);
        }
        if let Some(change) = adaptation.adapt(now, &rates, &CommonTrouble::default()).change {
            assert_eq!(change.layers, Layers::default(), "only audio fits");
            return Some((millis - narrow, change));
        }
    }
    None
}

/// Packets that arrived before the queue formed must not make the queue look like a longer path.
#[test]
fn a_queue_soon_after_the_start_is_detected() {
    for interval in [50, 100, 150, 200] {
        for narrow in (600..1400).step_by(20) {
            let less = less_after(narrow, interval);
            let is_soon = |(after, change): (u64, Change)| {
                after < 700 + 2 * interval && change.is_urgent && change.reason == Some(PathTrouble::Delay)
            };
            assert!(less.is_some_and(is_soon), "{narrow} {interval} {less:?}");
        }
    }
}
