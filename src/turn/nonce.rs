//! The nonces of the long-term credential mechanism (RFC 8489, 9.2), without a table: each says when it was made and
//! for whom, and only the server can make one.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rtc::crypto::{HmacAlgorithm, default_provider};

/// How long a nonce is good. An allocation outlives it: the client gets a new one with error 438.
const LIFE: Duration = Duration::from_secs(60 * 60);

/// The bytes of a nonce: seconds, and the first bytes of their HMAC. Twenty characters, so that an answer stays short.
const SECONDS: usize = 4;
const MAC: usize = 11;

/// Makes and checks nonces.
pub(super) struct Nonces {
    key: [u8; 32],
    start: Instant,
}

impl Nonces {
    pub(super) fn new(key: [u8; 32], start: Instant) -> Self {
        Self { key, start }
    }

    /// A nonce for a client at this address.
    pub(super) fn make(&self, now: Instant, client: IpAddr) -> String {
        self.of(self.seconds(now), client)
    }

    /// Whether this server made the nonce for that client, not too long ago.
    pub(super) fn is_fresh(&self, now: Instant, client: IpAddr, nonce: &str) -> bool {
        let Ok(bytes) = URL_SAFE_NO_PAD.decode(nonce) else { return false };
        let Some(made) = bytes.get(..SECONDS).and_then(|bytes| bytes.try_into().ok()) else { return false };
        let made = u32::from_be_bytes(made);
        // What comes back proves no knowledge of a secret, so this comparison need not hide its time.
        self.seconds(now).checked_sub(made).is_some_and(|age| u64::from(age) < LIFE.as_secs())
            && self.of(made, client) == nonce
    }

    fn seconds(&self, now: Instant) -> u32 {
        u32::try_from(now.saturating_duration_since(self.start).as_secs()).unwrap_or(u32::MAX)
    }

    fn of(&self, seconds: u32, client: IpAddr) -> String {
        let (made, client) = (seconds.to_be_bytes(), client.to_canonical().to_string());
        let mut mac = [0; 32];
        let signed = default_provider().and_then(|provider| {
            let mut hmac = provider.crypto().new_hmac(HmacAlgorithm::Sha256, &self.key)?;
            hmac.sign(&[&made, client.as_bytes()], &mut mac)
        });
        debug_assert!(signed.is_ok());
        URL_SAFE_NO_PAD.encode([&made[..], &mac[..MAC]].concat())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nonce_is_good_for_an_hour_and_for_the_client_that_got_it() {
        let (start, client): (_, IpAddr) = (Instant::now(), "192.0.2.7".parse().unwrap());
        let nonces = Nonces::new([7; 32], start);
        let at = |seconds| start + Duration::from_secs(seconds);
        let nonce = nonces.make(at(100), client);
        assert_eq!(nonce.len(), 20);
        assert!(nonces.is_fresh(at(100), client, &nonce) && nonces.is_fresh(at(3_699), client, &nonce));
        assert!(nonces.is_fresh(at(101), "::ffff:192.0.2.7".parse().unwrap(), &nonce));
        assert!(!nonces.is_fresh(at(3_700), client, &nonce), "too old");
        assert!(!nonces.is_fresh(at(99), client, &nonce), "of the future");
        assert!(!nonces.is_fresh(at(101), "192.0.2.8".parse().unwrap(), &nonce), "of somebody else");
        assert!(!Nonces::new([8; 32], start).is_fresh(at(101), client, &nonce), "of another server");
        for other in ["", "AAAA", "AAAAAAAAAAAAAAAAAAAA", "ä", &nonce[..19]] {
            assert!(!nonces.is_fresh(at(101), client, other), "{other}");
        }
    }
}
