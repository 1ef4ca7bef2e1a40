//! One teacher, many students, one command each.
//!
//! `classroom teach` captures screen, camera and microphone with GStreamer, encodes each once, and answers every
//! student's recvonly offer with a peer connection of its own; `classroom watch` opens one connection to the publisher
//! and shows the lecture.
//!
//! # Map
//!
//! Arrows point down: a folder names only what stands below it, and folders on one line do not name each other.
//!
//! ```text
//! bin/classroom.rs      argv in, one error line and an exit code out
//! cli                   what was typed -> what it means
//! commands              one file a verb: wiring
//! report  exit  expect  what people and scripts are told
//! media  peer  signal  http
//!                       the adapters: GStreamer, webrtc, WebSocket, pages
//! room  rtp  protocol   the core: rules, packets, the wire; no clock, no socket
//! id                    who is meant
//! ```
//!
//! # A lecture, end to end
//!
//! A [`media::Capture`] gives [`rtp::Frame`]s, the packets of one picture or of one block of sound; an
//! [`rtp::Encoding`] is a track in a tier by a codec, made once for the class and only while somebody needs it. The
//! [`peer::hub::Hub`] keeps frames once per encoding in an [`rtp::FrameRing`]; each student has an [`rtp::Subscription`]
//! per track, an index with a name of its own for every packet, and an [`rtp::control::Controller`] that says which tiers
//! it gets. From the rings come the live lecture, the start of a late joiner, and the answer to a NACK; packets are
//! sealed for each student by the hub itself, which opens their feedback, too. Who is not near begins with sound and a
//! train of padding, and with the pictures that its line carries (`peer::hub::opening`). A student's
//! [`peer::link::Link`] hands packets to a [`media::Render`], whose [`rtp::Playout`] puts them back into order and
//! time. [`signal`] carries offers and answers between them by the rules of [`room`], in the words of [`protocol`].
//! Chat, hands and reactions go over the data channel of the same connection, by the rules of [`room::talk`].
//!
//! A browser is a student like any other: [`http`] serves the page, which speaks the same wire, and WHEP, which brings
//! any player into the room as a member.
//!
//! # Invariants
//!
//! - Media never waits: every queue between capture and socket is bounded, and what does not fit is dropped for one
//!   student up to the next key frame.
//! - Signalling may come and go while media flows: only a student's own goodbye, or the silence of its media, ends it.
//! - What is sent to one student does not depend on how another one fares, but for key frames within budgets.
//! - Under one key an SSRC is sealed by exactly one side, the core or the hub (`peer::hub::seal`).
//! - A source address proves nothing: a sealed packet goes to every student that may have sent it, and counts for the
//!   one that can open it (`peer::hub::addresses`).
//! - A pause of this process is nobody's bad line ([`peer::pulse`]).
//! - Names in chat come from signalling, not from who speaks.
//! - What comes from the network is parsed into types at the border, or refused with a stable code.
//! - The library reads of a student's DTLS and SCTP only what costs it little (`peer::hub::dtls`, `peer::hub::sctp`),
//!   and a student whose turn takes too long is gone (`peer::hub::watchdog`).

pub mod cli;
mod commands;
pub mod exit;
pub mod expect;
pub mod http;
pub mod id;
pub mod media;
pub mod peer;
pub mod protocol;
pub mod report;
pub mod room;
pub mod rtp;
pub mod signal;

pub use commands::run;
