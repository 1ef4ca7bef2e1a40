//! The router's work on the socket: it routes datagrams to the peers that may have sent them, reopens a socket that has
//! failed, and asks STUN servers for the public address.

use std::io;
use std::net::SocketAddr;
use std::time::Instant;

use bytes::BytesMut;

use super::Router;
use crate::sfu::SfuEvent;
use crate::sfu::demux::{Datagram, classify};
use crate::sfu::event_loop::Next;
use crate::sfu::stun_client::StunStep;
use crate::sfu::udp::ReceiveErrors;
use crate::sfu::worker::WorkerCommand;

/// The most times that the socket is reopened without a successful receive in between.
const MAX_REBINDS: u32 = 3;

impl Router {
    pub(super) fn datagram(&mut self, now: Instant, at: SocketAddr, from: SocketAddr, bytes: BytesMut) {
        let datagram = classify(&bytes);
        if let Datagram::Stun { transaction } = datagram
            && let Some(client) = self.stun.iter_mut().find(|client| client.expects(from, transaction))
        {
            if let Some(public) = client.on_response(&bytes, now) {
                self.advertised.set_public(public);
                self.events
                    .push(SfuEvent::Notice(format!("the public address of this computer is UDP {public} (STUN)")));
            }
            return;
        }
        let claimants = self.peers.route(now, from, datagram, &bytes, self.context.crypto.crypto());
        let mut claimants = claimants.into_iter().flatten().peekable();
        let mut bytes = Some(bytes);
        while let Some(id) = claimants.next() {
            let copy = if claimants.peek().is_some() { bytes.clone() } else { bytes.take() };
            let (Some(bytes), Some(worker)) = (copy, self.peers.get(id).map(|known| known.worker)) else { continue };
            self.give(worker, WorkerCommand::Datagram { id, at, from, bytes });
        }
    }

    /// Reopens a failed socket on the same port. The lecture ends only if that fails too.
    pub(super) fn on_receive_error(&mut self, now: Instant, error: &io::Error) -> Next {
        if !self.receive_errors.is_gone(now, error) {
            return Next::GoOn;
        }
        let port = self.receiver.local().port();
        let (next, notice) = match self.rebind() {
            Ok(()) => (Next::GoOn, format!("the socket of UDP port {port} failed ({error}) and was reopened")),
            Err(cause) => {
                let again = format!("it can't be reopened ({cause}), so the lecture ends");
                (Next::End, format!("the socket of UDP port {port} failed ({error}); {again}"))
            }
        };
        self.events.push(SfuEvent::Notice(notice));
        next
    }

    fn rebind(&mut self) -> io::Result<()> {
        self.rebinds += 1;
        if self.rebinds > MAX_REBINDS {
            return Err(io::Error::other("the new socket fails as well"));
        }
        self.receiver.rebind(&self.sender)?;
        self.receive_errors = ReceiveErrors::default();
        self.sender.move_to(self.receiver.sender()?);
        for worker in 0..=self.workers.len() {
            let sender = Box::new(self.receiver.sender()?);
            self.give(worker, WorkerCommand::MoveTo(sender));
        }
        Ok(())
    }

    pub(super) fn ask_stun_servers(&mut self, now: Instant) {
        for client in &mut self.stun {
            match client.step(now) {
                StunStep::NotYet => {}
                StunStep::Send(request) => {
                    self.sender.queue(self.receiver.local(), client.server, &request);
                    self.sender.flush();
                }
                StunStep::Silent => self.events.push(SfuEvent::Notice(format!(
                    "the STUN server {} does not answer; students outside this network may be unable to connect",
                    client.server
                ))),
            }
        }
    }
}
