//! Connectivity checks with the right credentials (RFC 8445, 7.2).

use rtc::stun::attributes::{ATTR_ICE_CONTROLLING, ATTR_PRIORITY, ATTR_USE_CANDIDATE, ATTR_USERNAME};
use rtc::stun::fingerprint::FINGERPRINT;
use rtc::stun::integrity::MessageIntegrity;
use rtc::stun::message::{BINDING_REQUEST, Message, Setter, TransactionId};
use rtc::stun::textattrs::TextAttribute;

use super::offer::attribute;

/// The priority of a peer reflexive candidate (RFC 8445, 5.1.2).
const PRIORITY: u32 = 1_862_270_975;

/// The credentials of a peer's connectivity checks.
#[derive(Debug, Clone)]
pub struct Credentials {
    username: String,
    password: String,
}

impl Credentials {
    /// From the offer's user name fragment and the answer.
    pub fn new(offered_ufrag: &str, answer: &str) -> Option<Self> {
        let username = format!("{}:{offered_ufrag}", attribute(answer, "a=ice-ufrag:")?);
        Some(Self { username, password: attribute(answer, "a=ice-pwd:")? })
    }

    /// A connectivity check that the SFU accepts; one that `nominates` selects the path.
    pub fn check(&self, nominates: bool) -> Option<Vec<u8>> {
        let crypto = rtc::crypto::default_provider().ok()?;
        let mut message = Message::new();
        message
            .build(&[
                Box::new(BINDING_REQUEST),
                Box::new(TransactionId::new()),
                Box::new(TextAttribute::new(ATTR_USERNAME, self.username.clone())),
            ])
            .ok()?;
        message.add(ATTR_PRIORITY, &PRIORITY.to_be_bytes());
        message.add(ATTR_ICE_CONTROLLING, &[7; 8]);
        if nominates {
            message.add(ATTR_USE_CANDIDATE, &[]);
        }
        let password = self.password.clone();
        let integrity = MessageIntegrity::new_short_term_integrity_with_provider(password, crypto.crypto());
        integrity.add_to(&mut message).ok()?;
        FINGERPRINT.add_to(&mut message).ok()?;
        Some(message.raw)
    }
}
