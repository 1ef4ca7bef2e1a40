//! The router's work on the socket: it routes datagrams to the peers that may have sent them, gives the workers the
//! senders of a reopened socket, and asks STUN servers for the public address.

use std::io;
use std::time::Instant;

use super::Router;
use crate::sfu::SfuEvent;
use crate::sfu::demux::{Datagram, classify};
use crate::sfu::event_loop::Next;
use crate::sfu::socket::{Arrived, Failure};
use crate::sfu::stun_client::{StunOutcome, public_notice};
use crate::sfu::worker::WorkerCommand;

impl Router {
    pub(super) fn datagram(&mut self, now: Instant, Arrived { at, from, bytes }: Arrived) {
        let datagram = classify(&bytes);
        if let Datagram::Stun { transaction } = datagram {
            match self.stun.receive(now, from, transaction, &bytes) {
                StunOutcome::Other => {}
                StunOutcome::Nothing => return,
                StunOutcome::Public(public) => {
                    self.advertised.set_public(public);
                    return self.events.push(SfuEvent::Notice(public_notice(public)));
                }
            }
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

    /// Handles a failure of the socket. The lecture ends only if the socket can't be reopened.
    pub(super) fn on_failure(&mut self, failure: Failure) -> Next {
        let (next, notice) = match failure {
            Failure::Reopened(notice) => match self.replace_senders() {
                Ok(()) => (Next::GoOn, notice),
                Err(cause) => (Next::End, Some(format!("the UDP socket failed ({cause}), so the lecture ends"))),
            },
            Failure::Lost(why) => (Next::End, Some(format!("{why}, so the lecture ends"))),
        };
        notice.into_iter().for_each(|notice| self.events.push(SfuEvent::Notice(notice)));
        next
    }

    fn replace_senders(&mut self) -> io::Result<()> {
        for worker in 0..=self.workers.len() {
            let sender = Box::new(self.binding.sender()?);
            self.give(worker, WorkerCommand::MoveTo(sender));
        }
        Ok(())
    }

    pub(super) fn ask_stun_servers(&mut self, now: Instant) {
        let binding = &mut self.binding;
        if let Some(silent) = self.stun.ask(now, |server, request| binding.send(server, request)) {
            self.events.push(SfuEvent::Notice(silent));
        }
        binding.changed_public().into_iter().for_each(|public| self.advertised.set_public(public));
    }
}
