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
//! bin/classroom.rs                       | argv in, one error line and an exit code out
//! commands                               | the verbs: each connects the adapters
//! bench                                  | what measures the product; only commands/bench.rs names it
//! fuzz                                   | what must hold for any bytes from the network; only fuzz/ and tests call it
//! cli                                    | what was typed -> what it means
//! endpoints process doctor               | a capture with its SFU, a viewer with its render; this process; checks
//! report exit                            | what people and scripts are told
//! pair janus livekit                     | a connection that sends and receives; clients of the SFUs Janus and LiveKit
//! media sfu viewer publisher signal http | the adapters: GStreamer, peers, WebSocket, pages
//! turn                                   | a TURN server for our own media, and a client's way to any
//! store                                  | the nodes of a server, and the owner of each room: Redis or memory
//! peer_connection                        | a connection of the `webrtc` library with its data channel
//! sdp tls                                | what both ends negotiate; certificates, and whom a client trusts
//! srtp                                   | session keys, sealing, opening
//! ingest                                 | a publisher's RTP becomes frames, and the RTCP to send back
//! congestion rtcp dtls                   | what a path carries; feedback; what a peer may send in DTLS and SCTP
//! rtp room                               | packets, frames, rings, subscriptions, jitter buffer; who may do what
//! lecture                                | a lecture as a file: its scenes, and which one is on at which time
//! access                                 | who a client is: the teaching key, tokens, join codes, TURN credentials
//! protocol                               | the words on the wire
//! trace                                  | the steps of a join, for OpenTelemetry
//! network                                | where a client comes from; rate limits by network
//! id expect suspension token_bucket plan | names, expectations, suspension of this process, a token bucket, plans
//! state_dir duration                     | files that survive a process; lengths of time as people type them
//! ```
//!
//! # A lecture, end to end
//!
//! A [`media::Capture`] encodes each track once per [`rtp::Encoding`], while a student needs that; the best encoding of
//! a track also runs in an empty room. It gives [`rtp::Frame`]s: the packets of one picture, or of one block of audio.
//! Each worker of the [`sfu::Sfu`] has an [`rtp::FrameRing`] per encoding, and all of them share the bytes. From the
//! rings come the live lecture, the start of a late joiner and the answer to a NACK.
//!
//! Each student is a peer with one transport (ICE, DTLS, SRTP) and a sender per track. A sender reads the ring through
//! an [`rtp::Subscription`], which rewrites the RTP headers; the transport seals each packet straight into the batch of
//! the socket, and opens the student's RTCP. By that feedback `congestion::Adaptation` chooses the tiers that the
//! student's link carries. A student that is not on the LAN gets audio first, then a probe of padding, and then video
//! in the tier that fits. `docs/packet.md` follows one packet through all of this, hop by hop.
//!
//! A lecture from a file is such a capture: `lecture` says which scene is on at which time, `media::scenes` shows it.
//!
//! A student's [`viewer::Viewer`] hands packets to a [`media::Render`], whose [`rtp::JitterBuffer`] restores their
//! order and timing. [`signal`] carries offers and answers by the rules of [`room`], in the words of [`protocol`].
//! Chat, hands and reactions travel over the data channel of the same connection, by the rules of [`room::talk`].
//!
//! A browser is a student like any other: [`http`] serves the page, which speaks the same protocol, and WHEP, by which
//! any player joins the room as a member. By WHIP, OBS and other encoders publish in a room.
//!
//! The media of a browser or of a WHIP client goes to the server, whose SFU gets frames from an `ingest` instead of a
//! capture. A student on the stage publishes in the same way, to the process that has the media of the lecture: each
//! speaker has an SFU of its own on the port of that process, and everybody else opens one more connection to it, by
//! the rules of [`room::talk`]. [`publisher`] is the client that sends from a terminal.
//!
//! # Calls and meetings
//!
//! In rooms of the other kinds (`protocol::conference`), [`room`] keeps the participants of each call and of the
//! meeting. Each two of them have one connection, with perfect negotiation: `pair.js` in a browser, [`pair`] in a
//! terminal. With its seventh participant a meeting moves to the server, where each participant is what a speaker on
//! the stage is: an SFU of its own receives its media, and everybody else opens one more connection. Of their audio,
//! the loudest three are passed on ([`sfu::AudioFloor`]). A meeting, and the students of a lecture, may be split into
//! breakout rooms, which are further conferences of the same room.
//!
//! # Several servers
//!
//! A server may be several processes, its nodes, which meet in Redis ([`store`]). One node owns each room: its [`room`]
//! code runs there, and the other nodes pass on the messages of their members, over one connection to each owner
//! (`signal::core::cluster`). To the rooms a member of another node is a member like all others. Without `--redis`
//! there is one node, and none of this runs.
//!
//! A node may be an edge: it receives each lecture once, by a [`viewer::Viewer`] for each tier, an `ingest` makes
//! frames of the packets, and an SFU of its own sends them to students. The room places each student's offer
//! (`room::edges`), and the messages of these students share the data channel of the edge ([`protocol::edge`]). A
//! lecture with many edges is a tree: some of them get the lecture from others.
//!
//! The SFU of an edge may also be that of somebody else, a node of an engine such as [`janus`] (`commands::serve`): the
//! edge publishes the lecture there, and passes on the offers and answers of students. They have no data channel, and
//! their messages travel by signalling ([`protocol::ClientMessage::Talk`]).
//!
//! # Invariants
//!
//! - Media never waits: every queue between capture and socket is bounded, and what does not fit is dropped for one
//!   student up to the next key frame.
//! - Work and memory for strangers are bounded, for each [`network::Network`] and for all together; the network that
//!   uses most loses first (`http::connections`, `room::places`, [`access::Attempts`]).
//! - Secrets travel in the first message of a WebSocket or in `Authorization`, never in a URL that a server sees.
//! - A peer that has not connected takes nothing from one that has: it has no place (`sfu::places`); its offer, its
//!   datagrams and its timers get the time that is left; the number of such peers is bounded (`sfu::unconnected`), and
//!   the addresses that they name get next to nothing (`sfu::amplification`).
//! - A room has one owner among the nodes that reach the store, and a message of an earlier owner reaches nobody: each
//!   member's stream to an owner has a number of its own.
//! - Signalling may come and go while media flows: only a student's own goodbye, or the silence of its media, ends it.
//! - Budgets are those of a user, and of a network where users are made up; they outlive connections
//!   (`sfu::user_budgets`).
//! - What is sent to one student does not depend on how another one fares, except for key frames within budgets.
//! - Under one key an SSRC is sealed by exactly one side, the core or the SFU (`srtp::seal`).
//! - A source address proves nothing: a sealed packet goes to every student that may have sent it, and counts for the
//!   one that can open it (`sfu::addresses`).
//! - A speaker is listed only once its media has arrived, so nobody waits for one who fails (`room::talk`).
//! - Rooms of a server share a UDP port and nothing else: datagrams for one room displace none of another
//!   (`sfu::port`).
//! - A suspension of this process is never taken for a bad network ([`suspension`]).
//! - Names in chat come from signalling, not from who speaks.
//! - The TURN server relays to our own media and to its own relays, and to no other address (`turn::MediaAddresses`).
//! - What comes from the network is parsed into types at the border, or refused: by signalling with a stable code, by
//!   the media port in silence.
//! - The library reads of a student's DTLS and SCTP only what costs it little (`dtls::records`, `dtls::sctp`),
//!   and a student whose turn takes too long is gone (`sfu::watchdog`).

pub mod access;
pub mod bench;
pub mod cli;
mod commands;
mod congestion;
pub mod doctor;
mod dtls;
mod duration;
mod endpoints;
pub mod exit;
pub mod expect;
#[doc(hidden)]
pub mod fuzz;
pub mod http;
pub mod id;
mod ingest;
pub mod janus;
mod lecture;
pub mod livekit;
pub mod media;
pub mod network;
pub mod pair;
mod peer_connection;
pub mod plan;
mod process;
pub mod protocol;
pub mod publisher;
pub mod report;
pub mod room;
mod rtcp;
pub mod rtp;
pub mod sdp;
pub mod sfu;
pub mod signal;
mod srtp;
mod state_dir;
pub mod store;
pub mod suspension;
pub mod tls;
mod token_bucket;
mod trace;
pub mod turn;
pub mod viewer;

pub use commands::run;
