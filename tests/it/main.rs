//! All integration tests, in one binary: linking once is most of what a test binary costs.
//!
//! They run the real program as a user or a script would, on ports of their own, and wait for events with a
//! deadline; they sleep only where the passing of time is what is tested. Where a machine lacks something (a virtual
//! display, speech), a test says so by name and passes, except where `$CI` is set.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    unreachable_pub,
    reason = "a test fails by panicking, and says what it skips"
)]

// What the tests stand on: the program as a process, a lecture file, a display.
mod support;

// What is typed: usage errors, help, README's commands.
mod cli;

// The arrows of the design: which folder may name which.
mod layering;

// Machines with a network between that can be cut.
mod lan;

// A room full of students that are there before their teacher, and stay.
mod lab;

// Sfu and links on loopback.
mod peer;

// Students of a bench on loopback.
mod crowd;

// Bad students on loopback, and what they cost the others.
mod bad_students;

// A student that forges addresses and floods with its own credentials, on loopback.
mod insider;

// How students begin, on loopback.
mod opening;

// Data channels on loopback.
mod channel;

// A lecture from one terminal to many, and everything that can happen to it.
mod lecture;

// A process that stands still.
mod pause;

// Chat, hands and reactions between the programs.
mod talk;

// What is left after a lecture: the summary, the attendance file, times and names.
mod attendance;

// What a monitoring system reads.
mod metrics;

// The wire, with raw WebSockets.
mod signalling;

// Players that speak WHEP, one of them not ours.
mod whep;
// Rooms with names: created, taught in, over.
mod rooms;

// A thousand joins and leaves.
mod churn;

// What a class costs: the table, and nothing that stays.
mod bench;

// How each process ends: the table of exit codes.
mod endings;

// Files and pictures, one after another, and those that can't be played.
mod files;

// How a class is left: for the teacher alone, or for all.
mod farewell;

// A real screen, taught and watched in a window.
mod screen;

// A lecture recorded into a file, and played back.
mod recording;

// The pipelines themselves: capture and render on real input, without a network between.
mod pipelines;

// Encodings that come and go while a lecture runs.
mod tiers;

// The page in real browsers.
mod browser;
