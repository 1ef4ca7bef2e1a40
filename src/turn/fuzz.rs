//! For [`crate::fuzz`]: what must hold for any bytes of a TURN client or of a TURN server.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant, UNIX_EPOCH};

use super::framing::Deframer;
use super::message::{self, Incoming, MAX_MESSAGE_BYTES};
use super::server::{Client, MediaAddresses, Now, Reaction, Shared, TurnConfig};
use crate::access::TurnSecret;

struct Nothing;

impl MediaAddresses for Nothing {
    fn contains(&self, _: SocketAddr) -> bool {
        false
    }
    fn has_host(&self, _: IpAddr) -> bool {
        false
    }
}

/// The bytes as a stream of a client: no message is longer than its limit, and a client without credentials gets no
/// allocation, reaches no peer, and gets answers of at most three times the length of its requests.
pub(crate) fn messages(bytes: &[u8]) -> bool {
    let config = TurnConfig { secret: TurnSecret::own([1; 32]), media: Arc::new(Nothing), max_allocations: 1 };
    let (instant, wall) = (Instant::now(), UNIX_EPOCH + Duration::from_secs(1_700_000_000));
    let shared = Shared::new(config, [2; 32], instant);
    let address = |last, port| SocketAddr::from(([192, 0, 2, last], port));
    let client = Client { from: address(2, 5_000), at: address(1, 3_478) };
    let (mut deframer, mut allocation, mut accepted) = (Deframer::default(), None, false);
    deframer.push(bytes);
    while let Ok(Some(message)) = deframer.next() {
        assert!(message.len() <= MAX_MESSAGE_BYTES);
        let parsed = message::parse(message);
        accepted |= parsed.is_some();
        if let Some(Incoming::Channel { data, .. }) = &parsed {
            assert_eq!(data.len() + message::CHANNEL_HEADER, message.len());
        }
        let _ = message::allocation_outcome(message);
        let bind = |ip| Ok(SocketAddr::new(ip, 40_000));
        match shared.on_client(Now { instant, wall }, client, message, &mut allocation, bind) {
            Reaction::Nothing => {}
            Reaction::Answer(answer) => assert!(answer.len() <= 3 * message.len()),
            Reaction::Relay(..) => panic!("a stranger reaches a peer"),
        }
        assert!(allocation.is_none());
    }
    accepted
}
