//! Modules of the page that run in Node.js: the list of people, the stage as a receiver sees it, the negotiation of a
//! peer connection, calls and meetings, and breakout rooms.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::support::has_tools;

/// Runs the tests of a script in `tests/browser`.
#[track_caller]
fn passes(script: &str) {
    if !has_tools(script, &["node"]) {
        return;
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/browser").join(script);
    let output = Command::new("node").arg("--test").arg(path).stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

#[test]
fn the_list_of_people_counts_those_whom_the_server_does_not_name() {
    passes("people.test.mjs");
}

#[test]
fn a_page_counts_the_time_in_which_it_shows_pictures() {
    passes("viewing.test.mjs");
}

#[test]
fn each_speaker_is_received_by_one_connection_that_lasts_as_long_as_the_speaker() {
    passes("stage.test.mjs");
}

#[test]
fn an_offer_is_made_again_until_its_connection_works() {
    passes("negotiation.test.mjs");
    passes("engine.test.mjs");
}

#[test]
fn pictures_of_a_meeting_fit_every_window_and_nobody_writes_for_another_in_a_call() {
    passes("conference_view.test.mjs");
}

#[test]
fn every_two_participants_have_one_connection_that_mends_itself() {
    passes("mesh.test.mjs");
    passes("server_media.test.mjs");
}

#[test]
fn calls_and_meetings_go_through_their_phases() {
    passes("conference.test.mjs");
}

#[test]
fn the_connection_of_two_participants_sends_in_order_and_knows_an_overload() {
    passes("pair.test.mjs");
}

#[test]
fn files_travel_whole_or_not_at_all() {
    passes("files.test.mjs");
}

#[test]
fn the_page_checks_what_it_is_told_of_breakout_rooms() {
    passes("breakouts.test.mjs");
}
