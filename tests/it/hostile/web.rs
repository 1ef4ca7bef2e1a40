//! Attacks by HTTP alone.

use std::time::Duration;

use super::Besieged;
use crate::attack::web::{self, Slow};

/// Needs: Host and Origin checked against the server's own names, and CORS of WHEP as a setting.
#[test]
fn pages_of_other_sites_neither_join_nor_create_nor_watch() {
    let besieged = Besieged::teach(&[]);
    let tally = besieged.suffer(web::foreign_pages(&besieged.target));
    besieged.holds(&tally);
}

#[test]
fn guesses_reach_no_session_of_a_player() {
    let besieged = Besieged::teach(&[]);
    let tally = besieged.suffer(web::session_guesses(&besieged.target, 60, 200));
    assert_eq!(tally.of("DELETE 404") + tally.of("DELETE 429"), 20, "{tally}");
    besieged.holds(&tally);
}

#[test]
fn slow_connections_keep_nobody_waiting() {
    let besieged = Besieged::teach(&[]);
    for slow in [Slow::Writes, Slow::Reads, Slow::Pipelines, Slow::Headers, Slow::Silent] {
        let tally = besieged.suffer(web::slow_connections(&besieged.target, slow, 20, Duration::from_secs(1)));
        assert!(tally.broken.is_empty(), "{slow:?}: {:?}", tally.broken);
        besieged.holds(&tally);
    }
}

#[test]
fn half_handshakes_keep_nobody_waiting() {
    let besieged = Besieged::teach(&["--tls"]);
    let mut tally = besieged.suffer(web::half_handshakes(&besieged.target, 50, 200));
    tally.add(besieged.suffer(web::costly_handshakes(&besieged.target, 50, 50)));
    assert_eq!(tally.of("trusted"), 0, "{tally}");
    besieged.holds(&tally);
}

/// Needs: Host checked, and a second Host refused (RFC 9112, 3.2).
#[test]
fn requests_that_no_client_sends_are_refused() {
    let besieged = Besieged::teach(&[]);
    let tally = besieged.suffer(web::malformed_requests(&besieged.target));
    besieged.holds(&tally);
}
