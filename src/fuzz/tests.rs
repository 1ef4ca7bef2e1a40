//! Every target with its seeds and with some thousand mutations of each.

use std::path::{Path, PathBuf};

use super::{Mutator, TARGETS, run, seeds};

/// Every run uses the same mutations; a failure prints the mutation.
const SEED: u64 = 0x5eed_f022_0000_0013;

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz").join(name)
}

/// Runs a target with its seeds, and with this many mutations for each.
fn holds(name: &str, mutations: usize) {
    let seeds = seeds(&folder("seeds").join(name)).unwrap();
    assert!(seeds.len() >= 5, "{name} has {} seeds", seeds.len());
    let accepted = seeds.iter().filter(|seed| run(name, seed)).count();
    assert!((1..seeds.len()).contains(&accepted), "{name} accepts {accepted} of {} seeds", seeds.len());
    let total = mutations * seeds.len();
    let mut mutator = Mutator::new(seeds, SEED);
    let mut accepted = 0;
    for number in 0..total {
        let input = mutator.mutation();
        match std::panic::catch_unwind(|| run(name, &input)) {
            Ok(accepts) => accepted += usize::from(accepts),
            Err(_) => panic!("{name}: mutation {number} with seed {SEED:#x}: {:?}", input.escape_ascii().to_string()),
        }
    }
    // Mutations that a parser always refuses, or never, try only half of it.
    assert!((total / 200..total - total / 200).contains(&accepted), "{name} accepts {accepted} of {total} mutations");
}

/// A test for each target, so that they run in parallel.
macro_rules! targets {
    ($($test:ident: $name:literal, $mutations:literal;)*) => {
        const TESTED: &[&str] = &[$($name),*];
        $(#[test]
        fn $test() {
            holds($name, $mutations);
        })*
    };
}

targets! {
    no_input_breaks_channel_messages: "channel_message", 5_000;
    no_input_breaks_client_messages: "client_message", 5_000;
    no_input_breaks_conferences: "conference", 300;
    no_input_breaks_demultiplexing: "demultiplex", 5_000;
    no_input_breaks_dtls_records: "dtls_records", 1_000;
    no_input_breaks_http_requests: "http_request", 200;
    no_input_breaks_ingest: "ingest", 500;
    no_input_breaks_messages_of_janus: "janus_message", 3_000;
    no_input_breaks_join_queries: "join_query", 5_000;
    no_input_breaks_lectures: "lecture", 2_000;
    no_input_breaks_messages_of_livekit: "livekit_message", 3_000;
    no_input_breaks_recordings: "matroska", 500;
    no_input_breaks_names: "names", 5_000;
    no_input_breaks_negotiation: "negotiation", 20;
    no_input_breaks_messages_of_nodes: "node_message", 5_000;
    no_input_breaks_rtcp: "rtcp", 5_000;
    no_input_breaks_rtp: "rtp", 500;
    no_input_breaks_sctp: "sctp", 1_000;
    no_input_breaks_session_descriptions: "sdp", 300;
    no_input_breaks_sdp_fragments: "sdp_fragment", 5_000;
    no_input_breaks_server_messages: "server_message", 5_000;
    no_input_breaks_srtcp: "srtcp", 500;
    no_input_breaks_stun_responses: "stun_response", 1_000;
    no_input_breaks_tokens: "token", 500;
    no_input_breaks_turn: "turn", 1_000;
    no_input_breaks_answers_to_whip: "whip_answer", 2_000;
}

#[test]
fn every_target_has_a_program_seeds_and_a_test() {
    let manifest = std::fs::read_to_string(folder("Cargo.toml")).unwrap();
    let names: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
    assert_eq!(names, TESTED);
    for name in &names {
        let program = std::fs::read_to_string(folder(&format!("fuzz_targets/{name}.rs"))).unwrap();
        assert!(program.contains(&format!("classroom::fuzz::run(\"{name}\", ")), "{program}");
        assert!(manifest.contains(&format!("path = \"fuzz_targets/{name}.rs\"")), "{name} is not in Cargo.toml");
    }
    for other in ["fuzz_targets", "seeds"] {
        assert_eq!(std::fs::read_dir(folder(other)).unwrap().count(), names.len(), "{other}");
    }
}

#[test]
fn the_same_number_gives_the_same_mutations() {
    let mutations = |number: u64| {
        let mut mutator = Mutator::new(vec![b"seed".to_vec(), b"another".to_vec()], number);
        (0..100).map(|_| mutator.mutation()).collect::<Vec<_>>()
    };
    assert_eq!(mutations(1), mutations(1));
    assert_ne!(mutations(1), mutations(2));
}
