//! How the SFU comes to a student's SRTP session keys, and to its SCTP packets: the core's crypto provider is ours.
//!
//! The core gives its keys to nobody. But it takes its cryptography from a provider, and ours is the default one with
//! an ear: it remembers the key of each AES-128-GCM cipher that is made, and when one of them seals an RTP packet, that
//! is the session key for media, and the nonce tells the salt (RFC 7714, 8.1). When one opens an RTCP packet, that is
//! the key of the student's feedback (RFC 7714, 9.1).
//!
//! DTLS records pass here, too. [`sctp`](crate::sfu::sctp) looks at what is in them before the core reads it, and a record
//! that is refused has not opened. No other cipher is spoken, because its packets would not be checked.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;

use rtc::crypto::{
    ActiveKeyExchange, AeadAlgorithm, AeadCipher, BlockCipherAlgorithm, CbcAlgorithm, CbcCipher, CryptoAlgorithm,
    CryptoError, HashAlgorithm, HmacAlgorithm, KeyExchangeAlgorithm, Mac, PublicKey, RTCCrypto, RTCCryptoProvider,
    RTCRandom, SignatureScheme, SigningKey, StreamCipher, StreamCipherAlgorithm,
};

use super::{open, seal};
use crate::dtls::records::{self, Sealed};
use crate::dtls::sctp::{Association, Violation};

/// What seals the RTP packets to one student, or the RTCP packets that come from it.
#[derive(Clone)]
pub(crate) struct SessionKey {
    /// AES-128.
    pub(crate) key: [u8; 16],
    /// See RFC 7714, 8.1 and 9.1.
    pub(crate) salt: [u8; 12],
}

/// What opens the RTCP packets of one student, and the one that the core has opened already.
pub(crate) struct OpeningKey {
    pub(crate) session: SessionKey,
    /// Who sent that packet.
    pub(crate) ssrc: u32,
    /// Its SRTCP index.
    pub(crate) index: u32,
}

/// Where session keys are once the core has used them.
#[derive(Clone, Default)]
pub(crate) struct Found(Arc<Keys>);

#[derive(Default)]
struct Keys {
    sealing: OnceLock<SessionKey>,
    opening: OnceLock<OpeningKey>,
    opened: AtomicU64,
    /// Only the thread of its shard has it.
    association: Mutex<Association>,
}

impl Found {
    /// How many packets and records the core has opened so far, all of them genuine.
    pub(crate) fn opened(&self) -> u64 {
        self.0.opened.load(Ordering::Relaxed)
    }

    /// With which the core has sealed an RTP packet.
    pub(crate) fn sealing(&self) -> Option<&SessionKey> {
        self.0.sealing.get()
    }

    /// With which the core has opened an RTCP packet, the first that was genuine.
    pub(crate) fn opening(&self) -> Option<&OpeningKey> {
        self.0.opening.get()
    }

    /// What the student did with SCTP that ends it.
    pub(crate) fn offence(&self) -> Option<Violation> {
        self.association().offence()
    }

    /// SCTP packets of the student that were not read.
    pub(crate) fn refused(&self) -> u64 {
        self.association().refused()
    }

    fn association(&self) -> MutexGuard<'_, Association> {
        // A student whose packet panics here is gone.
        self.0.association.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A provider for one connection, that does what `inner` does.
pub(crate) fn listening(inner: Arc<dyn RTCCryptoProvider>) -> (Arc<dyn RTCCryptoProvider>, Found) {
    let found = Found::default();
    (Arc::new(Listening { inner, found: found.clone() }), found)
}

struct Listening {
    inner: Arc<dyn RTCCryptoProvider>,
    found: Found,
}

impl RTCCryptoProvider for Listening {
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

impl RTCCrypto for Listening {
    fn new_aead(&self, algorithm: AeadAlgorithm, key: &[u8]) -> Result<Box<dyn AeadCipher>, CryptoError> {
        if algorithm != AeadAlgorithm::Aes128Gcm {
            return Err(CryptoError::UnsupportedAlgorithm(CryptoAlgorithm::Aead(algorithm)));
        }
        let inner = self.inner.crypto().new_aead(algorithm, key)?;
        let invalid = CryptoError::InvalidKeyLength { expected: 16, actual: key.len() };
        let key = key.try_into().map_err(|_| invalid)?;
        Ok(Box::new(Cipher { inner, key, found: self.found.clone() }))
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
        self.inner.crypto().verify_signature(scheme, key, message, signature)
    }
}

struct Cipher {
    inner: Box<dyn AeadCipher>,
    key: [u8; 16],
    found: Found,
}

impl AeadCipher for Cipher {
    fn tag_len(&self) -> usize {
        self.inner.tag_len()
    }

    fn seal_in_place(&mut self, nonce: &[u8], aad: &[u8], text: &mut [u8], tag: &mut [u8]) -> Result<(), CryptoError> {
        if self.found.sealing().is_none()
            && let Some(salt) = salt(nonce, aad)
        {
            let _ = self.found.0.sealing.set(SessionKey { key: self.key, salt });
        }
        if Sealed::of(aad) == Some(Sealed::Data) {
            self.found.association().seal(text);
        }
        self.inner.seal_in_place(nonce, aad, text, tag)
    }

    fn open_in_place(&mut self, nonce: &[u8], aad: &[u8], text: &mut [u8], tag: &[u8]) -> Result<(), CryptoError> {
        self.inner.open_in_place(nonce, aad, text, tag)?;
        let may_be_read = match Sealed::of(aad) {
            None => true,
            Some(Sealed::Data) => self.found.association().open(Instant::now(), text).is_ok(),
            Some(Sealed::Handshake) => records::is_finished(text),
        };
        if !may_be_read {
            return Err(CryptoError::AuthenticationFailed);
        }
        self.found.0.opened.fetch_add(1, Ordering::Relaxed);
        if self.found.opening().is_none()
            && let Some((ssrc, index)) = open::authenticated(aad)
            && let Ok(nonce) = nonce.try_into()
        {
            let session = SessionKey { key: self.key, salt: seal::nonce(nonce, ssrc, index.into()) };
            let _ = self.found.0.opening.set(OpeningKey { session, ssrc, index });
        }
        Ok(())
    }
}

/// The salt of the SRTP nonce with which an RTP packet with this header is sealed, the first of its SSRC, so that no
/// roll-over was counted yet. None for what is no RTP packet: DTLS records begin with their epoch, a zero, and RTCP
/// packets have types from 192 to 223 (RFC 5761, 4).
fn salt(nonce: &[u8], aad: &[u8]) -> Option<[u8; 12]> {
    let mut salt = <[u8; 12]>::try_from(nonce).ok()?;
    let header = aad.get(..12)?;
    if header[0] >> 6 != 2 || (192..=223).contains(&header[1]) {
        return None;
    }
    for (byte, known) in salt[2..6].iter_mut().zip(&header[8..12]) {
        *byte ^= known;
    }
    for (byte, known) in salt[10..].iter_mut().zip(&header[2..4]) {
        *byte ^= known;
    }
    Some(salt)
}
