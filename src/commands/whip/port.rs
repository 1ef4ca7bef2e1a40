//! A port of this computer for WHIP clients alone: `teach --whip-in` in a room of another server has no server of its
//! own.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::WhipDoor;
use crate::exit::Failure;
use crate::http;
use crate::protocol::DEFAULT_PORT;

/// Connections at a time: encoders keep one or two.
const MAX_CONNECTIONS: usize = 64;

/// A running port.
pub(in crate::commands) struct WhipPort {
    address: SocketAddr,
    end: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl WhipPort {
    /// Listens on the usual port, or on any if that one is in use. Programs of other computers can't connect.
    ///
    /// # Errors
    /// If no port can be bound.
    pub(in crate::commands) fn start(door: WhipDoor) -> Result<Self, Failure> {
        let bind = |port| http::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
        let bound = bind(DEFAULT_PORT).or_else(|error| match error.kind() {
            io::ErrorKind::AddrInUse => bind(0),
            _ => Err(error),
        });
        let listener = bound.map_err(|cause| {
            Failure::usage(anyhow::anyhow!("can't listen on 127.0.0.1 for an encoder (--whip-in): {cause}"))
        })?;
        let address = listener.local_addr().map_err(Failure::internal)?;
        let app = http::guard(http::whip::router(door.for_this_computer()), http::Site::default());
        let (end, ended) = oneshot::channel::<()>();
        let limits = http::ConnectionLimits { max_connections: MAX_CONNECTIONS, ..http::ConnectionLimits::default() };
        let task = tokio::spawn(http::serve(listener, app, limits, async {
            let _ = ended.await;
        }));
        Ok(Self { address, end, task })
    }

    /// The local address.
    pub(in crate::commands) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Closes the port.
    pub(in crate::commands) async fn shutdown(self) {
        let _ = self.end.send(());
        let _ = self.task.await;
    }
}
