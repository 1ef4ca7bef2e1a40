//! The flags of `classroom doctor`, and their meaning.

use std::net::SocketAddr;

use clap::Args;

use super::access::TypedToken;
use super::conflict::Conflict;
use super::connect::{nickname, server_trust};
use super::meaning::{Member, ServerTrust};
use super::tls::TypedTrust;
use super::values::{self, TypedServer};
use crate::access::JoinCode;
use crate::id::{RoomId, UserId};
use crate::signal::ServerUrl;

/// The examples of `classroom doctor -h`.
pub(super) const DOCTOR_HELP: &str = "Examples:
  classroom doctor                              before a lecture, on the teacher's computer
  classroom doctor --server ws://192.168.1.20:18080 --room 10013
                                                on a student's computer: why is it black?

It ends with 0, or with the exit code with which teach or watch would end because of the first problem.";

/// `classroom doctor`.
#[derive(Debug, Clone, PartialEq)]
pub enum Doctor {
    /// Checks this computer before it teaches.
    Teacher {
        /// The address of the server, and the port of the media.
        listen: SocketAddr,
        /// Whether to change what is safe to change.
        fixes: bool,
    },
    /// Checks the way to a server, without `room` up to its list of rooms.
    Student {
        /// The server; `None`: it is looked for by DNS-SD.
        server: Option<ServerUrl>,
        /// The trust in it.
        trust: ServerTrust,
        /// The room to watch for some seconds.
        member: Option<Box<Member>>,
    },
}

#[derive(Debug, Args)]
pub(super) struct TypedDoctor {
    /// Check the way to this server, as a student
    #[arg(long, value_name = "URL")]
    server: Option<TypedServer>,

    /// Watch this room for some seconds, as a student
    #[arg(long, value_name = "ID")]
    room: Option<RoomId>,

    /// The student's user id
    #[arg(long, value_name = "ID", default_value = "doctor", requires = "room", hide_short_help = true)]
    user: UserId,

    /// The join code of the room
    #[arg(long, value_name = "CODE", requires = "room")]
    code: Option<JoinCode>,

    #[command(flatten)]
    token: TypedToken,

    /// The address at which `teach` or `serve` is to listen
    #[arg(long, value_name = "ADDR:PORT", default_value = "0.0.0.0:18080", value_parser = values::listen)]
    #[arg(conflicts_with_all = ["server", "room"])]
    listen: SocketAddr,

    /// Change what is safe to change: the kernel's limit of UDP buffers, until the next start of this computer (as
    /// root)
    #[arg(long, conflicts_with_all = ["server", "room"])]
    fix: bool,

    #[command(flatten)]
    trust: TypedTrust,
}

impl TryFrom<TypedDoctor> for Doctor {
    type Error = Conflict;
    fn try_from(typed: TypedDoctor) -> Result<Self, Conflict> {
        let link = typed.server.as_ref().map(|server| server.1.clone()).unwrap_or_default();
        let server = typed.server.and_then(|server| server.0);
        if server.is_none() && typed.room.is_none() {
            return Ok(Self::Teacher { listen: typed.listen, fixes: typed.fix });
        }
        let trust = server_trust(typed.trust, server.as_ref())?;
        let member = typed.room.map(|room| {
            Box::new(Member {
                room,
                nickname: nickname(None, &typed.user),
                user: typed.user,
                server: server.clone(),
                code: typed.code.or(link.code),
                token: typed.token.convert(link.token),
                trust: trust.clone(),
                timeout: None,
                stun: Vec::new(),
                turn: Vec::new(),
                relay_only: false,
            })
        });
        Ok(Self::Student { server, trust, member })
    }
}
