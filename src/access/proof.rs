//! A proof that somebody knows a secret, which does not tell the secret: the HMAC-SHA256 (RFC 2104) of a text, in
//! base64url.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;

/// The proof for a text. It is worth something once only if the other end has chosen a part of the text.
pub(crate) fn prove(secret: &str, text: &str) -> String {
    URL_SAFE_NO_PAD.encode(hmac::sign(&key(secret), text.as_bytes()))
}

/// Whether this is the proof for a text. Takes the same time for each wrong proof.
pub(crate) fn is_proven(secret: &str, text: &str, proof: &str) -> bool {
    let proof = URL_SAFE_NO_PAD.decode(proof);
    proof.is_ok_and(|proof| hmac::verify(&key(secret), text.as_bytes(), &proof).is_ok())
}

fn key(secret: &str) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes())
}
