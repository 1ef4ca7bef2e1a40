//! STUN and TURN servers, as typed, in the form of the wire.

use crate::cli::{StunServer, TurnLogin, TurnServer};
use crate::protocol::IceServer;

/// STUN and TURN servers in the form of the wire.
pub(super) fn ice_servers(stun: &[StunServer], turn: &[TurnServer]) -> Vec<IceServer> {
    let stun = stun.iter().map(|server| IceServer { urls: vec![server.url()], username: None, credential: None });
    let turn = turn.iter().map(|server| {
        let (username, credential) = match &server.login {
            TurnLogin::Password { user, password } => (Some(user.clone()), Some(password.clone())),
            TurnLogin::PerStudent => (None, None),
        };
        IceServer { urls: vec![server.url()], username, credential }
    });
    stun.chain(turn).collect()
}
