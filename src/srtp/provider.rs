//! Captures a peer's SRTP session keys and inspects its SCTP packets, by a crypto provider of our own for the core.
//!
//! The core does not expose its keys, but it takes its cryptography from a provider. Ours delegates to the default one,
//! and remembers the key of each AES-128-GCM cipher. When such a cipher encrypts an RTP packet, its key is the session
//! key for RTP, and the salt follows from the nonce (RFC 7714, 8.1). When one decrypts an RTCP packet, its key is the
//! session key of the peer's RTCP (RFC 7714, 9.1).
//!
//! DTLS records pass through the provider too. [`sctp`](crate::dtls::sctp) checks their contents before the core reads
//! them; a rejected record is treated like one that fails authentication. Other ciphers are not offered, because their
//! packets would not be checked.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;

use p224::ecdsa::signature::hazmat::PrehashVerifier;
use p224::ecdsa::{Signature, VerifyingKey};
use rtc::crypto::{
    ActiveKeyExchange, AeadAlgorithm, AeadCipher, BlockCipherAlgorithm, CbcAlgorithm, CbcCipher, CryptoAlgorithm,
    CryptoError, HashAlgorithm, HmacAlgorithm, KeyExchangeAlgorithm, Mac, PublicKey, RTCCrypto, RTCCryptoProvider,
    RTCRandom, SignatureScheme, SigningKey, StreamCipher, StreamCipherAlgorithm,
};

use super::session::{RtcpKey, RtpKey, SessionKey, nonce, rtcp_index, rtp_salt, rtp_source};
use crate::dtls::records::{self, Sealed};
use crate::dtls::sctp::{Association, Violation};

/// The bytes of an uncompressed point on P-224 (SEC 1, 2.3.3).
const P224_POINT_BYTES: usize = 57;

/// The session keys of one connection, each available after the core has used it.
#[derive(Clone, Default)]
pub(crate) struct SessionKeys(Arc<Keys>);

#[derive(Default)]
struct Keys {
    rtp: OnceLock<SessionKey>,
    incoming_rtp: OnceLock<RtpKey>,
    rtcp: OnceLock<RtcpKey>,
    opened: AtomicU64,
    /// Never contended, because one thread owns the connection.
    association: Mutex<Association>,
}

impl SessionKeys {
    /// The number of packets and records that the core has decrypted so far, all of them authentic.
    pub(crate) fn opened(&self) -> u64 {
        self.0.opened.load(Ordering::Relaxed)
    }

    /// The key with which the core encrypts RTP, after its first packet.
    pub(crate) fn rtp(&self) -> Option<&SessionKey> {
        self.0.rtp.get()
    }

    /// The key with which the core decrypts RTP, after the first authentic packet.
    pub(crate) fn incoming_rtp(&self) -> Option<&RtpKey> {
        self.0.incoming_rtp.get()
    }

    /// The key with which the core decrypts RTCP, after the first authentic packet.
    pub(crate) fn rtcp(&self) -> Option<&RtcpKey> {
        self.0.rtcp.get()
    }

    /// The peer's last violation of SCTP, if there were too many.
    pub(crate) fn violation(&self) -> Option<Violation> {
        self.association().violation()
    }

    /// The number of SCTP packets of the peer that the core did not get.
    pub(crate) fn refused_sctp(&self) -> u64 {
        self.association().refused()
    }

    fn association(&self) -> MutexGuard<'_, Association> {
        // A panic here ends this peer, so its state is not used afterwards.
        self.0.association.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A provider for one connection that delegates to `inner`, and the session keys that it captures.
pub(crate) fn capturing(inner: Arc<dyn RTCCryptoProvider>) -> (Arc<dyn RTCCryptoProvider>, SessionKeys) {
    let keys = SessionKeys::default();
    (Arc::new(CapturingProvider { inner, keys: keys.clone() }), keys)
}

struct CapturingProvider {
    inner: Arc<dyn RTCCryptoProvider>,
    keys: SessionKeys,
}

impl RTCCryptoProvider for CapturingProvider {
    fn name(&self) -> &'static str {
        self.inner.name()
    }
    fn crypto(&self) -> &dyn RTCCrypto {
        self
    }
    fn random(&self) -> &dyn RTCRandom {
        self.inner.random()
    }
}

impl RTCCrypto for CapturingProvider {
    fn new_aead(&self, algorithm: AeadAlgorithm, key: &[u8]) -> Result<Box<dyn AeadCipher>, CryptoError> {
        if algorithm != AeadAlgorithm::Aes128Gcm {
            return Err(CryptoError::UnsupportedAlgorithm(CryptoAlgorithm::Aead(algorithm)));
        }
        let inner = self.inner.crypto().new_aead(algorithm, key)?;
        let invalid = CryptoError::InvalidKeyLength { expected: 16, actual: key.len() };
        let key = key.try_into().map_err(|_| invalid)?;
        Ok(Box::new(Cipher { inner, key, keys: self.keys.clone() }))
    }

    fn supports(&self, algorithm: CryptoAlgorithm) -> bool {
        match algorithm {
            CryptoAlgorithm::Aead(aead) if aead != AeadAlgorithm::Aes128Gcm => false,
            CryptoAlgorithm::Cbc(_) => false,
            _ => self.inner.crypto().supports(algorithm),
        }
    }
    fn hash(&self, algorithm: HashAlgorithm, data: &[u8]) -> Result<Vec<u8>, CryptoError> {
        self.inner.crypto().hash(algorithm, data)
    }
    fn block_encrypt(&self, algorithm: BlockCipherAlgorithm, key: &[u8], block: &mut [u8]) -> Result<(), CryptoError> {
        self.inner.crypto().block_encrypt(algorithm, key, block)
    }
    fn new_hmac(&self, algorithm: HmacAlgorithm, key: &[u8]) -> Result<Box<dyn Mac>, CryptoError> {
        self.inner.crypto().new_hmac(algorithm, key)
    }
    fn new_stream_cipher(
        &self,
        algorithm: StreamCipherAlgorithm,
        key: &[u8],
    ) -> Result<Box<dyn StreamCipher>, CryptoError> {
        self.inner.crypto().new_stream_cipher(algorithm, key)
    }
    fn new_cbc(&self, algorithm: CbcAlgorithm, _: &[u8]) -> Result<Box<dyn CbcCipher>, CryptoError> {
        Err(CryptoError::UnsupportedAlgorithm(CryptoAlgorithm::Cbc(algorithm)))
    }
    fn start_key_exchange(&self, algorithm: KeyExchangeAlgorithm) -> Result<Box<dyn ActiveKeyExchange>, CryptoError> {
        self.inner.crypto().start_key_exchange(algorithm)
    }
    fn generate_signing_key(&self, scheme: SignatureScheme) -> Result<Arc<dyn SigningKey>, CryptoError> {
        self.inner.crypto().generate_signing_key(scheme)
    }
    fn import_signing_key(&self, scheme: SignatureScheme, der: &[u8]) -> Result<Arc<dyn SigningKey>, CryptoError> {
        self.inner.crypto().import_signing_key(scheme, der)
    }
    fn verify_signature(
        &self,
        scheme: SignatureScheme,
        key: PublicKey<'_>,
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), CryptoError> {
        if scheme == SignatureScheme::EcdsaP256Sha256 && key.bytes.len() == P224_POINT_BYTES {
            let hash = self.inner.crypto().hash(HashAlgorithm::Sha256, message)?;
            return verify_p224(key.bytes, &hash, signature);
        }
        self.inner.crypto().verify_signature(scheme, key, message, signature)
    }
}

/// Verifies an ECDSA signature of a hash by a key on the curve P-224 (FIPS 186-4, D.1.2.2). FFmpeg with GnuTLS has such
/// a key, and `ring` does not know the curve. The core takes the key for one on P-256.
fn verify_p224(point: &[u8], hash: &[u8], signature: &[u8]) -> Result<(), CryptoError> {
    let invalid = |_| CryptoError::InvalidSignature;
    let key = VerifyingKey::from_sec1_bytes(point).map_err(invalid)?;
    let signature = Signature::from_der(signature).map_err(invalid)?;
    key.verify_prehash(hash, &signature).map_err(invalid)
}

struct Cipher {
    inner: Box<dyn AeadCipher>,
    key: [u8; 16],
    keys: SessionKeys,
}

impl AeadCipher for Cipher {
    fn tag_len(&self) -> usize {
        self.inner.tag_len()
    }

    fn seal_in_place(&mut self, nonce: &[u8], aad: &[u8], text: &mut [u8], tag: &mut [u8]) -> Result<(), CryptoError> {
        if self.keys.rtp().is_none()
            && let Some(salt) = rtp_salt(nonce, aad)
        {
            let _ = self.keys.0.rtp.set(SessionKey { key: self.key, salt });
        }
        if Sealed::of(aad) == Some(Sealed::Data) {
            self.keys.association().seal(text);
        }
        self.inner.seal_in_place(nonce, aad, text, tag)
    }

    fn open_in_place(&mut self, nonce: &[u8], aad: &[u8], text: &mut [u8], tag: &[u8]) -> Result<(), CryptoError> {
        self.inner.open_in_place(nonce, aad, text, tag)?;
        let may_be_read = match Sealed::of(aad) {
            None => true,
            Some(Sealed::Data) => self.keys.association().open(Instant::now(), text).is_ok(),
            Some(Sealed::Handshake) => records::is_finished(text),
        };
        if !may_be_read {
            return Err(CryptoError::AuthenticationFailed);
        }
        self.keys.0.opened.fetch_add(1, Ordering::Relaxed);
        if self.keys.rtcp().is_none()
            && let Some((ssrc, index)) = rtcp_index(aad)
            && let Ok(bytes) = nonce.try_into()
        {
            let session = SessionKey { key: self.key, salt: self::nonce(bytes, ssrc, index.into()) };
            let _ = self.keys.0.rtcp.set(RtcpKey { session, ssrc, index });
        }
        if self.keys.incoming_rtp().is_none()
            && let (Some((ssrc, sequence_number)), Some(salt)) = (rtp_source(aad), rtp_salt(nonce, aad))
        {
            let session = SessionKey { key: self.key, salt };
            let _ = self.keys.0.incoming_rtp.set(RtpKey { session, ssrc, sequence_number });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use p224::ecdsa::SigningKey;
    use p224::ecdsa::signature::hazmat::PrehashSigner;
    use rtc::crypto::{PublicKeyEncoding, default_provider};

    use super::*;

    #[test]
    fn a_signature_by_a_key_on_p224_is_verified() {
        let (provider, _) = capturing(default_provider().unwrap());
        let hash = |text: &[u8]| provider.crypto().hash(HashAlgorithm::Sha256, text).unwrap();
        let key = SigningKey::from_slice(&[7; 28]).unwrap();
        let point = key.verifying_key().to_encoded_point(false);
        assert_eq!(point.as_bytes().len(), P224_POINT_BYTES);
        let signature: Signature = key.sign_prehash(&hash(b"hello")).unwrap();
        let verify = |point: &[u8], text: &[u8]| {
            let key = PublicKey { encoding: PublicKeyEncoding::EcUncompressedPoint, bytes: point };
            let scheme = SignatureScheme::EcdsaP256Sha256;
            provider.crypto().verify_signature(scheme, key, text, signature.to_der().as_bytes()).is_ok()
        };
        assert!(verify(point.as_bytes(), b"hello"));
        assert!(!verify(point.as_bytes(), b"hallo") && !verify(&[4; P224_POINT_BYTES], b"hello"));
    }
}
