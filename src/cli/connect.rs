//! What several verbs have in common: the name of a member, its trust in the server, its TURN servers, its chat.

use std::net::{IpAddr, SocketAddr};

use super::access::turn_secret;
use super::conflict::Conflict;
use super::meaning::{ChatInput, ServerTrust};
use super::servers::{STUN_PORT, TurnLogin, TurnServer, TypedClientRelays, TypedRelay, TypedRelays, TypedTurn};
use super::tls::TypedTrust;
use crate::access::TurnSecret;
use crate::id::{Nickname, UserId};
use crate::signal::ServerUrl;

/// `--ca` and `--fingerprint`, which are about TLS.
pub(super) fn server_trust(typed: TypedTrust, server: Option<&ServerUrl>) -> Result<ServerTrust, Conflict> {
    match (server.filter(|server| !server.uses_tls()), typed.first_flag()) {
        (Some(server), Some(flag)) => Err(Conflict::TrustWithoutTls(flag, server.clone().with_tls(true))),
        _ => Ok(ServerTrust { ca: typed.ca, fingerprint: typed.fingerprint }),
    }
}

pub(super) fn nickname(typed: Option<String>, user: &UserId) -> Nickname {
    let typed = Nickname::from(typed.unwrap_or_default());
    if typed.as_str().is_empty() { Nickname::from(user.as_str()) } else { typed }
}

/// `--chat`.
pub(super) fn chat_input(chat: bool) -> ChatInput {
    if chat { ChatInput::Always } else { ChatInput::Terminal }
}

/// The TURN servers of a server.
pub(super) struct Relays {
    /// Those elsewhere.
    pub(super) servers: Vec<TurnServer>,
    /// The address of the one in this process.
    pub(super) own: Option<SocketAddr>,
    /// The secret that they share.
    pub(super) secret: Option<TurnSecret>,
}

impl TypedRelays {
    /// `listen` is the address of the server.
    pub(super) fn convert(self, listen: IpAddr) -> Result<Relays, Conflict> {
        let secret = turn_secret(self.turn_secret)?;
        let (mut own, mut elsewhere) = (None, Vec::new());
        for typed in self.turn {
            match typed {
                TypedRelay::Own(address) => {
                    let (ip, port) = address.unwrap_or((None, STUN_PORT));
                    if own.replace(SocketAddr::new(ip.unwrap_or(listen), port)).is_some() {
                        return Err(Conflict::TwoOwnTurnServers);
                    }
                }
                TypedRelay::Server(server) => elsewhere.push(server),
            }
        }
        let servers = turn_servers(elsewhere, self.turn_user, self.turn_pass, secret.as_ref())?;
        Ok(Relays { servers, own, secret })
    }
}

impl TypedClientRelays {
    pub(super) fn convert(self) -> Result<Vec<TurnServer>, Conflict> {
        turn_servers(self.turn, self.turn_user, self.turn_pass, None)
    }
}

fn turn_servers(
    servers: Vec<TypedTurn>,
    user: Option<String>,
    password: Option<String>,
    secret: Option<&TurnSecret>,
) -> Result<Vec<TurnServer>, Conflict> {
    if servers.is_empty() {
        let flag = user.map(|_| "--turn-user").or(password.map(|_| "--turn-pass"));
        return flag.map_or(Ok(Vec::new()), |flag| Err(Conflict::LoginWithoutTurn(flag)));
    }
    let shared = user.zip(password);
    let complete = |TypedTurn { host, port, transport, login }: TypedTurn| {
        let login = match (login.or_else(|| shared.clone()), secret) {
            (Some((user, password)), _) => TurnLogin::Password { user, password },
            (None, Some(_)) => TurnLogin::PerStudent,
            (None, None) => return Err(Conflict::TurnWithoutLogin(format!("turn:{host}:{port}"))),
        };
        Ok(TurnServer { host, port, transport, login })
    };
    servers.into_iter().map(complete).collect()
}
