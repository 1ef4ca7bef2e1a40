//! Flags of `classroom rooms`.

use clap::Args;

use super::conflict::Conflict;
use super::connect::server_trust;
use super::meaning::Rooms;
use super::tls::TypedTrust;
use super::values::TypedServer;

#[derive(Debug, Args)]
pub(super) struct TypedRooms {
    /// The signalling server [default: on this computer, or one that announces itself in the local network]
    #[arg(long, value_name = "URL", env = "CLASSROOM_SERVER")]
    pub(super) server: Option<TypedServer>,

    #[command(flatten)]
    pub(super) trust: TypedTrust,
}

impl TryFrom<TypedRooms> for Rooms {
    type Error = Conflict;
    fn try_from(typed: TypedRooms) -> Result<Self, Conflict> {
        let server = typed.server.and_then(|server| server.0);
        Ok(Rooms { trust: server_trust(typed.trust, server.as_ref())?, server })
    }
}
