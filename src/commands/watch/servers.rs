//! The STUN and TURN servers of a student.

use crate::cli::Watch;
use crate::commands::serve;
use crate::protocol;
use crate::viewer::IceServer;

/// What was typed; if nothing was, what the server tells.
pub(super) fn ice_servers(watch: &Watch, told: Vec<protocol::IceServer>) -> Vec<IceServer> {
    let typed = serve::ice_servers(&watch.stun, &watch.turn);
    let servers = if typed.is_empty() { told } else { typed };
    servers.into_iter().flat_map(for_link).collect()
}

/// One for each of its URLs; a link takes no others than these, TLS among them.
fn for_link(server: protocol::IceServer) -> impl Iterator<Item = IceServer> {
    let (username, credential) = (server.username.unwrap_or_default(), server.credential.unwrap_or_default());
    let is_known = |url: &String| url.starts_with("stun:") || url.starts_with("turn:");
    server.urls.into_iter().filter(is_known).map(move |url| IceServer {
        url,
        username: username.clone(),
        credential: credential.clone(),
    })
}
