//! One teacher, many students, one command each.
//!
//! `classroom teach` captures screen, camera and microphone with GStreamer, encodes each once, and answers every
//! student's recvonly offer with a peer connection of its own; `classroom watch` opens one connection to the publisher
//! and shows the lecture.
//!
//! # Map
//!
//! A folder names only what stands on a line below it. `tests/it/layering.rs` reads this map and holds the code to it.
//!
//! ```text
//! bin/classroom.rs                   | argv in, one error line and an exit code out
//! commands                           | one file a verb: wiring
//! bench                              | what measures the product; only commands/bench.rs names it
//! cli                                | what was typed -> what it means
//! endpoints process                  | a capture with its SFU, a viewer with its render; this process's limits and use
//! report exit                        | what people and scripts are told
//! media sfu viewer signal http       | the adapters: GStreamer, the publisher, a student, WebSocket, pages
//! sdp                                | what both ends negotiate
//! srtp                               | session keys, sealing, opening
//! congestion rtcp dtls               | what a path carries; feedback; what a peer may send in DTLS and SCTP
//! rtp room                           | packets, frames, rings, subscriptions, jitter buffer; who may do what
//! protocol                           | the words on the wire
//! id expect suspension token_bucket  | names, expectations, whether this process stood still, rate limits
//! ```
//!
//! # A lecture, end to end
//!
//! A [`media::Capture`] gives [`rtp::Frame`]s, the packets of one picture or of one block of sound; an
//! [`rtp::Encoding`] is a track in a tier by a codec, made once for the class and only while somebody needs it. The
//! [`sfu::Sfu`] keeps frames once per encoding in an [`rtp::FrameRing`]; each student has an [`rtp::Subscription`]
//! per track, an index with a name of its own for every packet, and an [`congestion::Controller`] that says which tiers
//! it gets. From the rings come the live lecture, the start of a late joiner, and the answer to a NACK; packets are
//! sealed for each student by the SFU itself, which opens their feedback, too. Who is not near begins with sound and a
//! train of padding, and with the pictures that its line carries (`sfu::opening`). A student's
//! [`viewer::Viewer`] hands packets to a [`media::Render`], whose [`rtp::JitterBuffer`] puts them back into order and
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
//! - Under one key an SSRC is sealed by exactly one side, the core or the SFU (`sfu::seal`).
//! - A source address proves nothing: a sealed packet goes to every student that may have sent it, and counts for the
//!   one that can open it (`sfu::addresses`).
//! - A pause of this process is nobody's bad line ([`suspension`]).
//! - Names in chat come from signalling, not from who speaks.
//! - What comes from the network is parsed into types at the border, or refused with a stable code.
//! - The library reads of a student's DTLS and SCTP only what costs it little (`sfu::dtls`, `sfu::sctp`),
//!   and a student whose turn takes too long is gone (`sfu::watchdog`).

pub mod bench;
pub mod cli;
mod commands;
pub mod congestion;
mod dtls;
mod endpoints;
pub mod exit;
pub mod expect;
pub mod http;
pub mod id;
pub mod media;
mod process;
pub mod protocol;
pub mod report;
pub mod room;
mod rtcp;
pub mod rtp;
pub mod sdp;
pub mod sfu;
pub mod signal;
mod srtp;
pub mod suspension;
mod token_bucket;
pub mod viewer;

pub use commands::run;
