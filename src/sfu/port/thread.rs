//! The thread of a shared port: it receives for all SFUs, and decides which of them get a datagram.
//!
//! A STUN request is for the SFU whose tag begins the local user name fragment in it. Any other datagram is for the
//! SFUs that claim its source address, by the rules of [`AddressTable`]. The thread authenticates nothing: each SFU
//! treats these datagrams as if they came from a socket of its own.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use tokio::sync::{mpsc, oneshot};

use super::inbox::{Inbox, Inboxes};
use super::tag::Tag;
use super::{Common, Template};
use crate::sfu::addresses::{AddressTable, Claimants};
use crate::sfu::demux::{Datagram, classify};
use crate::sfu::event_loop;
use crate::sfu::ice_tcp::{TcpPacket, TcpPeers};
use crate::sfu::socket::{Arrived, Failure, Socket};
use crate::sfu::stun_client::{StunOutcome, StunServers, public_notice};

/// The most addresses of one SFU: those of a thousand students, sixteen each.
const MAX_ADDRESSES: usize = 16 * 1024;

/// The most packets of TCP peers that are delivered between two batches of UDP.
const TCP_BATCH: usize = 64;

/// A command of an SFU.
pub(super) enum Command {
    /// A new SFU. `reopened` is the number of reopenings of the socket before its sender was made.
    Attach { tag: Tag, inbox: Arc<Inbox>, reopened: u64 },
    /// The SFU has ended.
    Detach { tag: Tag },
    /// A peer has claimed an address.
    Claim { tag: Tag, from: SocketAddr },
    /// A peer's connection has decrypted a packet from this address, to which its media is sent.
    Confirm { tag: Tag, from: SocketAddr },
    /// The peers of the SFU claim the address no more.
    Release { tag: Tag, from: SocketAddr },
    /// STUN requests with this user name fragment are for the SFU, although it does not begin with the tag.
    Name { tag: Tag, ufrag: String },
    /// The user name fragment is not in use any more.
    Unname { tag: Tag, ufrag: String },
    /// Asks for which peer a new TCP connection is: whether an SFU may have one with this user name fragment.
    IsKnown { ufrag: String, answer: oneshot::Sender<bool> },
    /// Makes each receive fail with this `errno`, until the socket is reopened.
    #[cfg(test)]
    FailReceives(i32),
}

/// The state of the thread.
pub(super) struct PortThread {
    socket: Socket,
    tcp_packets: mpsc::Receiver<TcpPacket>,
    stun: StunServers,
    switch: Switch,
    notices: mpsc::Sender<String>,
}

/// Routes datagrams to SFUs.
struct Switch {
    commands: mpsc::UnboundedReceiver<Command>,
    common: Arc<Common>,
    addresses: AddressTable<Tag>,
    tcp: TcpPeers,
    /// The user name fragments that do not begin with a tag.
    names: HashMap<String, Tag>,
    inboxes: Inboxes,
    stun_servers: Vec<SocketAddr>,
    /// The STUN messages of the last batch that came from the addresses of STUN servers.
    responses: Vec<(SocketAddr, [u8; 12], Vec<u8>)>,
    /// The number of times that the socket was reopened.
    reopened: u64,
    /// New SFUs whose sender belongs to an earlier socket.
    outdated: Vec<Arc<Inbox>>,
    #[cfg(test)]
    fails_with: Option<i32>,
}

/// Whether the thread goes on.
enum Handles {
    Left,
    /// The port was dropped, and so was every SFU that uses it.
    Gone,
}

impl PortThread {
    pub(super) fn new(
        socket: Socket,
        stun: StunServers,
        (commands, tcp_packets): (mpsc::UnboundedReceiver<Command>, mpsc::Receiver<TcpPacket>),
        common: Arc<Common>,
        inboxes: Inboxes,
        notices: mpsc::Sender<String>,
    ) -> Self {
        let switch = Switch {
            commands,
            common,
            addresses: AddressTable::new(MAX_ADDRESSES),
            tcp: socket.tcp().clone(),
            names: HashMap::new(),
            inboxes,
            stun_servers: stun.addresses().collect(),
            responses: Vec::new(),
            reopened: 0,
            outdated: Vec::new(),
            #[cfg(test)]
            fails_with: None,
        };
        Self { socket, tcp_packets, stun, switch, notices }
    }

    /// Receives until no handle is left, or until the socket is lost.
    pub(super) async fn run(mut self) {
        loop {
            let now = Instant::now();
            if matches!(self.switch.carry_out_commands(now), Handles::Gone) {
                return;
            }
            self.update_senders();
            #[cfg(test)]
            if let Some(errno) = self.switch.fails_with.take() {
                self.socket.fail_receives(errno);
            }
            self.ask_stun_servers(now);
            let Some(more) = self.receive(now) else { return };
            let has_packets = self.receive_tcp(now);
            if !more && !has_packets {
                self.wait().await;
            }
        }
    }

    /// Waits until there is a datagram or a command, or until a timer may be due.
    async fn wait(&mut self) {
        let has_timers = !self.switch.stun_servers.is_empty() || !self.socket.is_due(Instant::now());
        tokio::select! {
            () = self.socket.readable() => {}
            () = self.switch.wait_for_commands() => {}
            Some(packet) = self.tcp_packets.recv() => self.switch.deliver_tcp(Instant::now(), &packet),
            () = tokio::time::sleep(event_loop::TICK), if has_timers => {}
        }
    }

    /// Delivers what has come by TCP, up to one batch. Returns whether more may wait.
    fn receive_tcp(&mut self, now: Instant) -> bool {
        for _ in 0..TCP_BATCH {
            let Ok(packet) = self.tcp_packets.try_recv() else { return false };
            self.switch.deliver_tcp(now, &packet);
        }
        true
    }

    /// Receives one batch. Returns whether more may wait, or None if the socket is lost.
    fn receive(&mut self, now: Instant) -> Option<bool> {
        if !self.socket.is_due(now) {
            return Some(false);
        }
        let switch = &mut self.switch;
        let received = self.socket.receive(now, |at, from, bytes| {
            // A peer sends to an address that it has claimed as soon as its SFU responds, which follows the claim.
            switch.carry_out_commands(now);
            // No network has the addresses of TCP peers, so the sender lies.
            if !TcpPeers::is_stand_in(from) {
                switch.deliver(now, at, from, bytes);
            }
        });
        self.read_stun_responses(now);
        match received {
            Ok(more) => Some(more),
            Err(Failure::Reopened(notice)) => {
                self.switch.reopened += 1;
                if let Err(cause) = self.replace_senders() {
                    let port = self.socket.local().port();
                    self.lose(format!("the socket of UDP port {port} can't be reopened ({cause})"));
                    return None;
                }
                notice.into_iter().for_each(|notice| self.notice(notice));
                Some(true)
            }
            Err(Failure::Lost(why)) => {
                self.lose(why);
                None
            }
        }
    }

    /// Gives every SFU a sender of the reopened socket.
    fn replace_senders(&mut self) -> std::io::Result<()> {
        self.switch
            .common
            .set_template(Some(Template { sender: self.socket.sender()?, reopened: self.switch.reopened }));
        for inbox in self.switch.inboxes.iter() {
            inbox.reopened(self.socket.sender()?);
        }
        Ok(())
    }

    /// Gives new SFUs with a sender of an earlier socket a sender of the current one.
    fn update_senders(&mut self) {
        for inbox in self.switch.outdated.drain(..) {
            match self.socket.sender() {
                Ok(sender) => inbox.reopened(sender),
                Err(cause) => inbox.lost(format!("the media port gave no socket ({cause})")),
            }
        }
    }

    fn lose(&mut self, why: String) {
        self.switch.inboxes.iter().for_each(|inbox| inbox.lost(why.clone()));
        self.notice(why);
    }

    fn ask_stun_servers(&mut self, now: Instant) {
        let socket = &mut self.socket;
        if let Some(silent) = self.stun.ask(now, |server, request| socket.send(server, request)) {
            self.notice(silent);
        }
    }

    fn read_stun_responses(&mut self, now: Instant) {
        for (from, transaction, bytes) in std::mem::take(&mut self.switch.responses) {
            if let StunOutcome::Public(public) = self.stun.receive(now, from, transaction, &bytes) {
                self.switch.common.set_public(public);
                self.notice(public_notice(public));
            }
        }
    }

    /// Tells the owner of the port. A sentence that nobody reads in time is dropped.
    fn notice(&self, sentence: String) {
        let _ = self.notices.try_send(sentence);
    }
}

impl Drop for PortThread {
    /// Tells all SFUs that the thread has ended, so that none waits for ever.
    fn drop(&mut self) {
        self.switch.common.set_template(None);
        while let Ok(command) = self.switch.commands.try_recv() {
            if let Command::Attach { tag, inbox, .. } = command {
                self.switch.inboxes.add(tag, inbox);
            }
        }
        self.switch.inboxes.iter().for_each(|inbox| inbox.lost("the media port has ended".to_owned()));
    }
}

impl Switch {
    async fn wait_for_commands(&mut self) {
        if self.commands.is_empty()
            && let Some(command) = self.commands.recv().await
        {
            self.carry_out(Instant::now(), command);
        }
    }

    fn carry_out_commands(&mut self, now: Instant) -> Handles {
        loop {
            match self.commands.try_recv() {
                Ok(command) => self.carry_out(now, command),
                Err(mpsc::error::TryRecvError::Empty) => return Handles::Left,
                Err(mpsc::error::TryRecvError::Disconnected) => return Handles::Gone,
            }
        }
    }

    fn carry_out(&mut self, now: Instant, command: Command) {
        match command {
            Command::Attach { tag, inbox, reopened } => {
                if reopened < self.reopened {
                    self.outdated.push(Arc::clone(&inbox));
                }
                self.inboxes.add(tag, inbox);
            }
            Command::Detach { tag } => {
                self.inboxes.remove(tag);
                self.addresses.forget(tag).into_iter().for_each(|address| self.end_tcp(now, address));
                self.names.retain(|_, of| *of != tag);
                self.common.tags().give_back(tag);
            }
            Command::Claim { tag, from } => drop(self.addresses.claim(now, from, tag)),
            Command::Confirm { tag, from } => drop(self.addresses.confirm(now, from, tag)),
            Command::Release { tag, from } => {
                self.addresses.release(from, tag);
                self.end_tcp(now, from);
            }
            Command::Name { tag, ufrag } => drop(self.names.insert(ufrag, tag)),
            Command::Unname { tag, ufrag } => {
                if self.names.get(&ufrag) == Some(&tag) {
                    self.names.remove(&ufrag);
                }
            }
            Command::IsKnown { ufrag, answer } => drop(answer.send(self.tag_of(&ufrag).is_some())),
            #[cfg(test)]
            Command::FailReceives(errno) => self.fails_with = Some(errno),
        }
    }

    /// Ends the TCP connection behind this address, unless another peer has it.
    fn end_tcp(&self, now: Instant, from: SocketAddr) {
        if TcpPeers::is_stand_in(from) && self.addresses.claimants(now, from).iter().all(Option::is_none) {
            self.tcp.close(from);
        }
    }

    /// The SFU to which a user name fragment belongs.
    fn tag_of(&self, ufrag: &str) -> Option<Tag> {
        let tag = self.names.get(ufrag).copied().or_else(|| Tag::of(ufrag));
        tag.filter(|tag| self.inboxes.has(*tag))
    }

    /// The same for a packet that has come by TCP, in whose connection it counts once a peer has claimed the address.
    fn deliver_tcp(&mut self, now: Instant, packet: &TcpPacket) {
        self.carry_out_commands(now);
        if self.addresses.claimants(now, packet.from).iter().any(Option::is_some) {
            self.tcp.heard(now, packet.from);
        }
        self.deliver(now, packet.at, packet.from, &packet.bytes);
    }

    /// Puts a datagram into the queues of the SFUs that it may be for.
    fn deliver(&mut self, now: Instant, at: SocketAddr, from: SocketAddr, bytes: &[u8]) {
        let counts = &self.common.counts;
        counts.received.fetch_add(1, Ordering::Relaxed);
        let claimants: Claimants<Tag> = match classify(bytes) {
            Datagram::StunRequest { ufrag } => {
                let mut claimants = Claimants::default();
                claimants[0] = self.tag_of(ufrag);
                claimants
            }
            Datagram::Stun { transaction } if self.stun_servers.contains(&from) => {
                self.responses.push((from, transaction, bytes.to_vec()));
                return;
            }
            Datagram::DtlsOrSrtp | Datagram::Stun { .. } => self.addresses.claimants(now, from),
            Datagram::UnencryptedRtcp | Datagram::Unknown => Claimants::default(),
        };
        if claimants.iter().all(Option::is_none) {
            counts.unclaimed.fetch_add(1, Ordering::Relaxed);
        }
        for tag in claimants.into_iter().flatten() {
            let dropped = self.inboxes.deliver(tag, Arrived { at, from, bytes: bytes.into() });
            counts.dropped.fetch_add(dropped, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::inbox::Pool;
    use super::*;

    /// Two SFUs of one port, without a socket.
    struct Port {
        switch: Switch,
        sfus: [(Tag, Arc<Inbox>); 2],
        now: Instant,
    }

    fn address(port: u16) -> SocketAddr {
        ([192, 0, 2, 7], port).into()
    }

    impl Port {
        fn new() -> Self {
            let (pool, common) = (Pool::default(), Arc::new(Common::default()));
            let (_, commands) = mpsc::unbounded_channel();
            let sfus = std::array::from_fn(|_| (common.tags().take(), pool.inbox()));
            let mut switch = Switch {
                commands,
                common,
                addresses: AddressTable::new(MAX_ADDRESSES),
                tcp: TcpPeers::default(),
                names: HashMap::new(),
                inboxes: Inboxes::new(pool),
                stun_servers: vec![address(3_478)],
                responses: Vec::new(),
                reopened: 0,
                outdated: Vec::new(),
                fails_with: None,
            };
            let now = Instant::now();
            for (tag, inbox) in &sfus {
                let inbox = Arc::clone(inbox);
                switch.carry_out(now, Command::Attach { tag: *tag, inbox, reopened: 0 });
            }
            Self { switch, sfus, now }
        }

        fn claim(&mut self, sfu: usize, from: SocketAddr) {
            self.switch.carry_out(self.now, Command::Claim { tag: self.sfus[sfu].0, from });
        }

        fn confirm(&mut self, sfu: usize, from: SocketAddr) {
            self.switch.carry_out(self.now, Command::Confirm { tag: self.sfus[sfu].0, from });
        }

        /// Which of both SFUs get a datagram.
        fn gets(&mut self, from: SocketAddr, datagram: &[u8]) -> [bool; 2] {
            self.switch.deliver(self.now, address(1), from, datagram);
            [0, 1].map(|sfu| {
                let mut batch = Vec::new();
                let _ = self.sfus[sfu].1.take(&mut batch);
                assert!(batch.iter().all(|arrived| (arrived.from, &arrived.bytes[..]) == (from, datagram)));
                batch.len() == 1
            })
        }

        /// A STUN request for a peer of an SFU.
        fn request(&self, sfu: usize) -> Vec<u8> {
            let name = format!("{}:1234567", self.sfus[sfu].0.ufrag());
            [&[0, 1, 0, 28, 0x21, 0x12, 0xa4, 0x42][..], &[7; 12], &[0, 6, 0, 24], name.as_bytes()].concat()
        }
    }

    const DTLS: [u8; 20] = [22; 20];
    const SRTP: [u8; 20] = [128; 20];
    /// A binding success response.
    const RESPONSE: [u8; 20] = [1, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9];

    #[test]
    fn a_request_goes_by_its_tag_and_everything_else_by_its_source() {
        let (mut port, home) = (Port::new(), address(9));
        for datagram in [&DTLS[..], &SRTP, &RESPONSE] {
            assert_eq!(port.gets(home, datagram), [false, false], "nobody has claimed the address");
        }
        let requests = [port.request(0), port.request(1)];
        assert_eq!(port.gets(home, &requests[0]), [true, false]);
        assert_eq!(port.gets(home, &requests[1]), [false, true]);
        port.claim(1, home);
        for datagram in [&DTLS[..], &SRTP, &RESPONSE, &requests[1]] {
            assert_eq!(port.gets(home, datagram), [false, true]);
        }
        assert_eq!(port.gets(home, &requests[0]), [true, false], "the address does not matter");
        assert_eq!(port.gets(home, b"\xffnonsense"), [false, false]);
        let counts = &port.switch.common.counts;
        assert_eq!(counts.received.load(Ordering::Relaxed), 11);
        assert_eq!(counts.unclaimed.load(Ordering::Relaxed), 4);
    }

    #[test]
    fn an_sfu_takes_no_datagram_from_a_student_of_another() {
        let (mut port, home) = (Port::new(), address(9));
        // A claim in advance, from a forged address, does not lock out the owner.
        port.claim(0, home);
        port.claim(1, home);
        assert_eq!(port.gets(home, &SRTP), [true, true], "only the right one opens it");
        port.confirm(1, home);
        for _ in 0..100 {
            port.claim(0, home);
            port.confirm(0, home);
            assert_eq!(port.gets(home, &SRTP), [false, true]);
            port.now += crate::sfu::addresses::CONFIRM_EVERY;
            port.confirm(1, home);
        }
        port.switch.carry_out(port.now, Command::Release { tag: port.sfus[0].0, from: home });
        assert_eq!(port.gets(home, &SRTP), [false, true], "it has nothing to release");
        port.switch.carry_out(port.now, Command::Release { tag: port.sfus[1].0, from: home });
        port.claim(0, home);
        assert_eq!(port.gets(home, &SRTP), [true, false]);
    }

    #[test]
    fn the_addresses_and_the_tag_of_an_sfu_that_has_ended_are_free() {
        let (mut port, home) = (Port::new(), address(9));
        port.confirm(0, home);
        let tag = port.sfus[0].0;
        port.switch.carry_out(port.now, Command::Detach { tag });
        let request = port.request(0);
        assert_eq!(port.gets(home, &request), [false, false]);
        assert_eq!(port.gets(home, &SRTP), [false, false]);
        assert!(!port.switch.common.tags().in_use().contains(&tag));
        // Another SFU can claim the address now.
        port.claim(1, home);
        assert_eq!(port.gets(home, &SRTP), [false, true]);
    }

    #[test]
    fn a_response_of_a_stun_server_is_for_the_port() {
        let mut port = Port::new();
        assert_eq!(port.gets(address(3_478), &RESPONSE), [false, false]);
        assert_eq!(port.switch.responses.len(), 1);
        assert_eq!(port.gets(address(3_479), &RESPONSE), [false, false]);
        assert_eq!(port.switch.responses.len(), 1, "that is no STUN server");
    }
}
