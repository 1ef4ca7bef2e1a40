//! Asks STUN servers for the server reflexive address of a socket, from that socket (RFC 8489).

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rtc::stun::message::{BINDING_REQUEST, BINDING_SUCCESS, Getter, Message, TransactionId};
use rtc::stun::xoraddr::XorMappedAddress;

/// The interval until an unanswered request is repeated, and until the next request after an answer, which keeps the
/// NAT binding open.
const RETRY: Duration = Duration::from_millis(500);
const REFRESH: Duration = Duration::from_secs(20);

/// The number of unanswered requests after which the server counts as silent.
const MAX_UNANSWERED: u32 = 8;

/// The current transaction with one STUN server.
pub(crate) struct StunClient {
    server: SocketAddr,
    transaction: TransactionId,
    due: Instant,
    unanswered: u32,
    mapped: Option<SocketAddr>,
}

/// The next step of a client.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum StunStep {
    /// Nothing is due.
    NotYet,
    /// Send these bytes to the server.
    Send(Vec<u8>),
    /// The server has failed to answer for the first time; the teacher should be told.
    Silent,
}

impl StunClient {
    pub(crate) fn new(server: SocketAddr, now: Instant) -> Self {
        Self { server, transaction: TransactionId::new(), due: now, unanswered: 0, mapped: None }
    }

    /// Returns the step that is due at `now`.
    pub(crate) fn step(&mut self, now: Instant) -> StunStep {
        if now < self.due {
            return StunStep::NotYet;
        }
        self.unanswered += 1;
        if self.unanswered == MAX_UNANSWERED {
            self.due = now + REFRESH;
            return StunStep::Silent;
        }
        self.due = now + if self.unanswered < MAX_UNANSWERED { RETRY } else { REFRESH };
        let mut message = Message::new();
        match message.build(&[Box::new(self.transaction), Box::new(BINDING_REQUEST)]) {
            Ok(()) => StunStep::Send(message.raw),
            Err(_) => StunStep::NotYet,
        }
    }

    /// Whether a STUN message with this source and transaction id is a response to this client.
    pub(crate) fn expects(&self, from: SocketAddr, transaction: [u8; 12]) -> bool {
        from == self.server && transaction == self.transaction.0
    }

    /// Reads a response, and returns the public address if it is new.
    pub(crate) fn on_response(&mut self, bytes: &[u8], now: Instant) -> Option<SocketAddr> {
        let mut message = Message::new();
        message.unmarshal_binary(bytes).ok()?;
        if message.typ != BINDING_SUCCESS {
            return None;
        }
        let mut address = XorMappedAddress::default();
        address.get_from(&message).ok()?;
        self.unanswered = 0;
        self.due = now + REFRESH;
        self.transaction = TransactionId::new();
        let mapped = SocketAddr::new(address.ip, address.port);
        (self.mapped.replace(mapped) != Some(mapped)).then_some(mapped)
    }
}

/// The STUN servers that are asked for the public address of one socket.
#[derive(Default)]
pub(super) struct StunServers(Vec<StunClient>);

/// The outcome of reading a STUN message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StunOutcome {
    /// The message is no response of a STUN server.
    Other,
    /// The response has no new address.
    Nothing,
    /// The response has this new public address.
    Public(SocketAddr),
}

impl StunServers {
    pub(super) fn new(servers: &[SocketAddr], now: Instant) -> Self {
        Self(servers.iter().map(|server| StunClient::new(*server, now)).collect())
    }

    /// The addresses of the servers.
    pub(super) fn addresses(&self) -> impl Iterator<Item = SocketAddr> + '_ {
        self.0.iter().map(|client| client.server)
    }

    /// Reads a STUN message if it is a response to a request of ours.
    pub(super) fn receive(
        &mut self,
        now: Instant,
        from: SocketAddr,
        transaction: [u8; 12],
        bytes: &[u8],
    ) -> StunOutcome {
        match self.0.iter_mut().find(|client| client.expects(from, transaction)) {
            Some(client) => client.on_response(bytes, now).map_or(StunOutcome::Nothing, StunOutcome::Public),
            None => StunOutcome::Other,
        }
    }

    /// Gives `send` the requests that are due. Returns a sentence for the teacher if a server is silent.
    pub(super) fn ask(&mut self, now: Instant, mut send: impl FnMut(SocketAddr, &[u8])) -> Option<String> {
        let mut silent = None;
        for client in &mut self.0 {
            match client.step(now) {
                StunStep::NotYet => {}
                StunStep::Send(request) => send(client.server, &request),
                StunStep::Silent => {
                    let server = client.server;
                    let trouble = "students outside this network may be unable to connect";
                    silent = Some(format!("the STUN server {server} does not answer; {trouble}"));
                }
            }
        }
        silent
    }
}

/// The sentence for the teacher about a public address.
pub(super) fn public_notice(public: SocketAddr) -> String {
    format!("the public address of this computer is UDP {public} (STUN)")
}

#[cfg(test)]
mod tests {
    use super::*;
    use rtc::stun::message::Setter;

    #[test]
    fn a_response_gives_the_public_address() {
        let now = Instant::now();
        let server: SocketAddr = "127.0.0.1:3478".parse().unwrap();
        let mut client = StunClient::new(server, now);
        let StunStep::Send(question) = client.step(now) else { panic!("nothing was asked") };
        let mut request = Message::new();
        request.unmarshal_binary(&question).unwrap();
        assert!(client.expects(server, request.transaction_id.0));
        let mut answer = Message::new();
        answer.build(&[Box::new(request.transaction_id), Box::new(BINDING_SUCCESS)]).unwrap();
        XorMappedAddress { ip: "203.0.113.7".parse().unwrap(), port: 4711 }.add_to(&mut answer).unwrap();
        assert_eq!(client.on_response(&answer.raw, now), Some("203.0.113.7:4711".parse().unwrap()));
        assert_eq!(client.on_response(&answer.raw, now), None, "nothing new");
        assert!(!client.expects(server, request.transaction_id.0), "an answer counts once");
    }

    #[test]
    fn a_silent_server_is_reported_once() {
        let mut now = Instant::now();
        let mut client = StunClient::new("127.0.0.1:3478".parse().unwrap(), now);
        let mut silent = 0;
        for _ in 0..30 {
            silent += u32::from(client.step(now) == StunStep::Silent);
            now += REFRESH;
        }
        assert_eq!(silent, 1);
        assert_eq!(client.on_response(b"nonsense", now), None);
    }
}
