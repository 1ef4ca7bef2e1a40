//! Suspensions of the sender's or the receiver's process, and simultaneous trouble of a whole class.

use std::time::{Duration, Instant};

use super::link::Link;
use super::setup::{Rtcp, Setup, Who};
use super::{Adaptation, Change, CommonTrouble, Layers, Offered, PathTrouble, Rate, Rates};
use crate::rtp::{Tier, Track};

const FULL: Layers = Layers { screen: Some(Tier::Full), camera: None };

const M: u64 = 1_000_000;

fn lines() -> [Link; 4] {
    [Link::lan(), Link::of(50 * M).round_trip(50).loss(0.05), Link::of(10 * M).jitter(30), Link::of(5 * M)]
}

#[test]
fn a_noticed_sender_suspension_changes_no_layers() {
    for (seed, tells) in [(1, Rtcp::EveryPacket), (2, Rtcp::EveryPacket), (3, Rtcp::Remb), (4, Rtcp::ReceiverReports)] {
        for lasts in [0.4, 0.9, 2.0, 3.2, 4.0, 60.0] {
            for line in lines() {
                let seconds = 40 + lasts as u64;
                let setup = Setup { seconds, ..Setup::over(line).reporting(tells).seed(seed) };
                let outcome = setup.stands_still(Who::Sender, 20.0, 20.0 + lasts).run();
                assert_eq!(outcome.changes, [], "{tells:?} {lasts} {line:?}");
            }
        }
    }
    let unnoticed = Setup::over(Link::lan()).stands_still(Who::SenderUnnoticed, 20.0, 23.2).run();
    assert!(unnoticed.changes[0].1.reason == Some(PathTrouble::Silence), "that is what it looks like");
}

#[test]
fn a_link_that_narrows_during_a_suspension_is_detected() {
    let setup = Setup::over(Link::of(50 * M)).stands_still(Who::Sender, 20.0, 23.0);
    let outcome = setup.then(23.0, Link::of(600_000)).run();
    let low = Layers { screen: Some(Tier::Low), camera: None };
    assert!(outcome.since(low, 23.0, 60.0).is_some_and(|at| at < 27.0), "{:?}", outcome.changes);
}

#[test]
fn a_suspended_receiver_regains_all_layers_quickly() {
    for seed in 0..4 {
        for lasts in [2.0, 3.0, 4.0] {
            for line in lines() {
                let setup = Setup::over(line).seed(seed).stands_still(Who::Receiver, 20.0, 20.0 + lasts);
                let outcome = setup.run();
                let back = outcome.since(FULL, 20.0, 60.0);
                assert!(back.is_some_and(|at| at < 21.5 + lasts), "{lasts} {line:?} {:?}", outcome.changes);
                let blames_the_line = |(_, change): &(f64, Change)| {
                    change.is_urgent && matches!(change.reason, Some(PathTrouble::Delay | PathTrouble::Loss))
                };
                assert!(!outcome.changes.iter().any(blames_the_line), "{line:?} {:?}", outcome.changes);
            }
        }
    }
}

/// A peer that falls silent repeatedly costs the class few key frames.
#[test]
fn repeated_silence_causes_few_layer_changes() {
    let mut setup = Setup::over(Link::lan());
    for n in 0..20 {
        let at = 10.0 + f64::from(n) * 2.0;
        setup = setup.then(at, Link::lan().loss(1.0)).then(at + 1.1, Link::lan());
    }
    let outcome = setup.run();
    assert!(outcome.changes.len() <= 8, "{:?}", outcome.changes);
}

/// Peers on a LAN in virtual time; those in `silent` send no feedback from `from` to `to`, in milliseconds.
fn class(peers: usize, silent: std::ops::Range<usize>, from: u64, to: u64) -> Vec<Vec<(u64, Change)>> {
    let began = Instant::now();
    let offered = Offered::default().with(Track::Screen, Tier::Full).with(Track::Screen, Tier::Low);
    let mut rates = Rates::default();
    for (tier, nominal) in [(Tier::Full, 2_500_000), (Tier::Low, 450_000)] {
        rates.set(Track::Screen, tier, Rate { nominal, measured: 0 });
    }
    let mut adaptations: Vec<Adaptation> = (0..peers).map(|_| Adaptation::new(began, offered, true)).collect();
    let mut changes = vec![Vec::new(); peers];
    let (mut common, mut sent) = (CommonTrouble::default(), 0u64);
    for millis in (0..30_000).step_by(10) {
        let now = began + Duration::from_millis(millis);
        if millis.is_multiple_of(100) {
            common.look(now, adaptations.iter().filter_map(Adaptation::troubled_since));
        }
        for (n, adaptation) in adaptations.iter_mut().enumerate() {
            adaptation.estimate().sent(now, Some(sent as u16), 1000);
            let is_heard = !(silent.contains(&n) && (from..to).contains(&millis));
            // Each peer reports at a different time.
            if is_heard && (millis / 10 + n as u64).is_multiple_of(10) && sent > 20 {
                let first = (sent - 10) * 10_000 + 1_000;
                let deltas = (0..10).map(|n| Some(if n == 0 { (first % 64_000) as i32 } else { 10_000 }));
                adaptation.estimate().on_feedback(now, (sent - 10) as u16, (first / 64_000) as u32, deltas);
            }
            let change = adaptation.adapt(now, &rates, &common).change;
            changes[n].extend(change.map(|change| (millis, change)));
        }
        sent += 1;
    }
    changes
}

#[test]
fn simultaneous_trouble_of_the_whole_class_removes_no_layers() {
    let decisions = class(100, 0..100, 10_000, 11_800);
    assert!(decisions.iter().all(Vec::is_empty), "{:?}", decisions.iter().find(|changes| !changes.is_empty()));
}

#[test]
fn trouble_of_one_peer_or_lasting_trouble_removes_layers() {
    let decisions = class(100, 40..41, 10_000, 11_800);
    let less = |changes: &[(u64, Change)]| changes.first().filter(|(_, first)| first.is_urgent).map(|(at, _)| *at);
    assert!(less(&decisions[40]).is_some_and(|at| at < 11_300), "{:?}", decisions[40]);
    assert_eq!(decisions.iter().filter(|changes| !changes.is_empty()).count(), 1);
    let lasting = class(100, 0..100, 10_000, 20_000);
    assert!(lasting.iter().all(|changes| less(changes).is_some_and(|at| at < 13_500)), "{:?}", lasting[0]);
    // A family behind one link does not count as a class.
    assert!(class(4, 0..4, 10_000, 11_800).iter().all(|changes| less(changes).is_some()));
}

/// A message such as "your line carries 1000.0 Mbit/s, sound needs it" would be wrong.
#[test]
fn a_peer_with_fewer_layers_is_not_told_of_a_higher_capacity() {
    for (at, decision) in class(1, 0..1, 10_000, 14_000).concat() {
        assert!(decision.estimate_kbps.is_none_or(|kbps| kbps < 3_000), "{at}: {decision:?}");
    }
}
