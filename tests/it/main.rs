//! All integration tests in one binary, as linking is most of the cost of a test binary.
//!
//! The tests run the real program as a user or a script would, each on free ports, or parts of the library on loopback.
//! They wait for conditions with a deadline, and sleep only where the passing of time itself is tested. Where a machine
//! lacks something (a virtual display, speech), a test prints its name and passes, except where `$CI` is set.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    unreachable_pub,
    reason = "a test fails by panicking, and prints why it is skipped"
)]

// The traffic of hostile clients; `tests/bench` uses it too.
#[path = "../attack/mod.rs"]
#[allow(dead_code, reason = "the benches use the rest")]
mod attack;

// The test bed: the program as a process, a lecture file, a display, a network.
mod support;

// The command line: usage errors, help, the commands in README and docs/.
mod cli;

// Students behind TURN servers: coturn, and our own.
mod relays;

// One school on three servers that meet in Redis.
mod cluster;
mod cluster_tls;
mod draining;

// The examples of docs/deploy.
mod deploy;

// Keys and tokens.
mod access;

// The checks of `classroom doctor`.
mod doctor;

// The rules of the source tree: which folder may name which.
mod layering;

// The rules of the source tree: how long lines and files are.
mod lengths;

// Machines with a network between them that can be cut.
mod lan;

// A room full of students that join before the teacher, and stay.
mod lab;

// TLS: certificates, whom clients trust, and what happens to plain HTTP.
mod tls;

// The SFU and its viewers on loopback.
mod peer;

// Answers to offers on loopback.
mod answers;

// The students of `classroom bench` on loopback.
mod crowd;
mod edges;

// Misbehaving students on loopback, and what they cost the others.
mod bad_students;

// A student that forges source addresses and floods with its own credentials, on loopback.
mod insider;

// Strangers that send offers and never connect, on loopback, and what they cost the connected.
mod unconnected;
// Attacks on the real programs, in small.
mod hostile;

// The first seconds of a student on loopback, behind wide and narrow paths.
mod opening;

// Data channels on loopback.
mod channel;

// Whose room it is, and who gets in.
mod room;

// A lecture from one terminal to many students, and what can go wrong.
mod lecture;

// A process that is stopped and continued.
mod pause;

// Chat, hands and reactions between the programs.
mod talk;

// After a lecture: the summary, the attendance file, times and names.
mod attendance;

// Metrics for a monitoring system.
mod metrics;

// Traces of joins, for OpenTelemetry.
mod traces;

// Calls and meetings, with raw WebSockets.
mod conference;

// The signalling protocol, with raw WebSockets.
mod signalling;
mod slides;

// A lecture from a file.
mod scenes;

// Requests of clients that the server does not know, on loopback.
mod strangers;

// Rooms whose media the server carries.
mod hosted;

// A VideoRoom of a Janus server.
mod janus;

// Lectures over the nodes of an engine.
mod via;

// Meetings whose media the server carries.
mod meeting;

// The stage of such rooms: speakers, and those that would harm it.
mod stage;

// The stage of the terminal teacher.
mod stage_of_teach;
mod stage_of_watch;

// WHEP players, one of which is not ours.
mod whep;

// WHIP publishers, one of which is not ours.
mod whip;
mod whip_out;

// Rooms with names: created, taught in, ended.
mod rooms;

// A thousand joins and leaves.
mod churn;

// Meetings at random, in virtual time.
mod random_meetings;

// `classroom bench`: its table, and that it leaves nothing behind.
mod bench;

// What the programs need of the system: no rights, and what the systemd unit leaves.
mod rights;

// How each process ends: the table of exit codes.
mod endings;

// Files and pictures, one after another, and files that cannot be played.
mod files;

// How a lecture ends: for the teacher alone, or for everybody.
mod farewell;

// A real screen, taught and watched in a window.
mod screen;

// A lecture recorded into a file and played back.
mod recording;

// The pipelines alone: capture and render on real input, without a network between them.
mod pipelines;

// Encodings that start and stop during a lecture.
mod tiers;

// The page in real browsers.
mod browser;
mod calls;
mod meeting_of_terminals;
