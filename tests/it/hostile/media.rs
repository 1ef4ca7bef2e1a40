//! Attacks on the media port, and offers.

use std::time::Duration;

use super::Besieged;
use crate::attack::forger::Forgery;
use crate::attack::udp::Flood;
use crate::attack::{media, signalling};

const SHORT: Duration = Duration::from_secs(2);

/// Needs: few ICE checks to addresses that have not answered.
#[test]
fn offers_that_never_connect_cost_nobody_a_picture() {
    let mut besieged = Besieged::teach(&[]);
    let tally = besieged.withstands(async |at| media::whep_offers(at, 200, 100).await);
    assert!(tally.answers.values().sum::<u64>() == 200, "{tally}");
}

/// Needs: few ICE checks to addresses that have not answered, and a limit on candidates.
#[test]
fn candidates_of_a_third_host_bring_it_hardly_a_packet() {
    let mut besieged = Besieged::teach(&[]);
    let tally = besieged.withstands(async |at| media::candidates(at, 10, 100, 2 * SHORT).await);
    assert!(tally.of("answer") > 0, "nobody was told to send checks: {tally}");
}

#[test]
fn a_flood_of_a_students_own_checks_costs_nobody_a_picture() {
    let mut besieged = Besieged::teach(&[]);
    let flood = Flood { per_second: 20_000, lasts: SHORT };
    let tally = besieged.withstands(async |at| media::authentic_checks(at, flood).await);
    assert!(tally.of("check") > 1_000, "{tally}");
}

#[test]
fn junk_costs_nobody_a_picture() {
    let mut besieged = Besieged::teach(&[]);
    besieged.withstands(async |at| media::junk(at, Flood { per_second: 20_000, lasts: SHORT }).await);
}

#[test]
fn handshakes_that_never_end_cost_nobody_a_picture() {
    let mut besieged = Besieged::teach(&[]);
    let tally = besieged.withstands(async |at| media::half_dtls(at, 20, 20, SHORT).await);
    assert!(tally.of("201") > 0 && tally.of("ClientHello") > 0, "{tally}");
}

/// Needs: limits of SCTP (`dtls::sctp`), and the removal of a student that breaks them.
#[test]
fn forged_sctp_costs_nobody_a_picture() {
    let mut besieged = Besieged::teach(&[]);
    for forgery in [Forgery::Streams, Forgery::Fragments, Forgery::Resets] {
        let tally = besieged.withstands(async |at| media::sctp(at, 3, forgery, 2).await);
        // A few resets harm nobody, and more of them are not read.
        let end = if forgery == Forgery::Resets { "forged" } else { "disconnected" };
        assert_eq!(tally.of(end), 6, "{forgery:?}: {tally}");
    }
}

/// Needs: `floodedMessages` as an answer of the publisher.
#[test]
fn a_student_that_offers_too_fast_is_told() {
    let mut besieged = Besieged::teach(&[]);
    besieged.withstands(async |at| media::too_fast_offers(at, 100).await);
    let warnings = besieged.teacher.events().iter().filter(|event| event["event"] == "warning").count();
    assert!(warnings <= 10, "{warnings} warnings for one student");
}

/// Needs: a place belongs to a student whose media runs.
#[test]
fn students_that_join_and_vanish_take_no_place() {
    let mut besieged = Besieged::teach(&["--max-students", "3"]);
    let tally = besieged.withstands(async |at| signalling::ghosts(at, 10, SHORT).await);
    assert!(tally.of("ghost") > 10, "{tally}");
}

/// Needs: nothing today; limits for each network must leave room for it.
#[test]
fn a_school_behind_one_address_gets_in_at_once() {
    let besieged = Besieged::teach(&[]);
    let tally = besieged.runtime.block_on(media::school(&besieged.target, 500));
    assert!(tally.broken.is_empty(), "{:?}", tally.broken);
    assert_eq!(tally.of("answer"), 500);
}
