//! Attacks by HTTP alone.

use std::time::Duration;

use super::Besieged;
use crate::attack::web::{self, Slow};

/// Needs: Host and Origin checked against the server's own names, and CORS of WHEP as a setting.
#[test]
fn pages_of_other_sites_neither_join_nor_create_nor_watch() {
    let mut besieged = Besieged::teach(&[]);
    besieged.withstands(async |at| web::foreign_pages(at).await);
}

#[test]
fn guesses_reach_no_session_of_a_player() {
    let mut besieged = Besieged::teach(&[]);
    let tally = besieged.withstands(async |at| web::session_guesses(at, 60, 200).await);
    assert_eq!(tally.of("DELETE 404") + tally.of("DELETE 429"), 20, "{tally}");
}

#[test]
fn slow_connections_keep_nobody_waiting() {
    let mut besieged = Besieged::teach(&[]);
    for slow in [Slow::Writes, Slow::Reads, Slow::Pipelines, Slow::Headers, Slow::Silent] {
        let tally = besieged.withstands(async |at| web::slow_connections(at, slow, 20, Duration::from_secs(1)).await);
        assert!(tally.sent_bytes > 0 || slow == Slow::Silent, "{slow:?}: {tally}");
    }
}

#[test]
fn half_handshakes_keep_nobody_waiting() {
    let mut besieged = Besieged::teach(&["--tls"]);
    let mut tally = besieged.withstands(async |at| web::half_handshakes(at, 50, 200).await);
    tally.add(besieged.withstands(async |at| web::costly_handshakes(at, 50, 50).await));
    assert_eq!(tally.of("trusted"), 0, "{tally}");
}

/// Needs: Host checked, and a second Host refused (RFC 9112, 3.2).
#[test]
fn requests_that_no_client_sends_are_refused() {
    let mut besieged = Besieged::teach(&[]);
    besieged.withstands(async |at| web::malformed_requests(at).await);
}
