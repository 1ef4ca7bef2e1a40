//! A student that forges SCTP packets: its crypto provider replaces a message of the data channel by another chunk of
//! the same length, with a valid checksum, before the core encrypts the DTLS record.

use std::borrow::Cow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use rtc::crypto::{
    ActiveKeyExchange, AeadAlgorithm, AeadCipher, BlockCipherAlgorithm, CbcAlgorithm, CbcCipher, CryptoAlgorithm,
    CryptoError, HashAlgorithm, HmacAlgorithm, KeyExchangeAlgorithm, Mac, PublicKey, RTCCrypto, RTCCryptoProvider,
    RTCRandom, SignatureScheme, SigningKey, StreamCipher, StreamCipherAlgorithm,
};

/// The chunk in place of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forgery {
    /// A FORWARD-TSN as far ahead as serial number arithmetic allows (RFC 3758, 3.2), in a packet of 36 bytes.
    ForwardTsn,
    /// An ABORT with an error cause whose length is beyond the packet (RFC 9260, 3.3.7).
    Abort,
    /// A DATA_CHANNEL_OPEN on another stream each time (RFC 8832, 5.1): in the end on all 65,536.
    Streams,
    /// A fragment of one message that never ends (RFC 9260, 6.9).
    Fragments,
    /// A reset of another stream each time (RFC 6525, 4.1).
    Resets,
}

impl Forgery {
    /// The number of packets that are sent at once. A message needs many fragments before it is too long.
    pub fn burst(self) -> u64 {
        if self == Self::Fragments { 8 } else { 1 }
    }

    /// A message whose DATA chunk has the same length.
    pub fn message(self) -> Cow<'static, str> {
        match self {
            Self::ForwardTsn | Self::Resets => "12345678".into(),
            Self::Abort => "1234".into(),
            Self::Streams => "123456789012".into(),
            Self::Fragments => "x".repeat(1_000).into(),
        }
    }

    /// Replaces a DATA chunk; `first` keeps the first TSN and its stream sequence number.
    fn write(self, chunk: &mut [u8], first: &OnceLock<(u32, [u8; 2])>) {
        let tsn = u32::from_be_bytes(chunk[4..8].try_into().unwrap());
        let (first_tsn, ssn) = *first.get_or_init(|| (tsn, [chunk[10], chunk[11]]));
        if self == Self::Fragments {
            // Only the first fragment has the B bit, and none has the E bit.
            chunk[1] = if tsn == first_tsn { 2 } else { 0 };
            chunk[10..12].copy_from_slice(&ssn);
            return;
        }
        let length = chunk.len() as u8;
        chunk.fill(0);
        match self {
            Self::Streams => {
                chunk[..4].copy_from_slice(&[0, 3, 0, length]);
                chunk[4..8].copy_from_slice(&tsn.to_be_bytes());
                chunk[8..10].copy_from_slice(&(tsn as u16).to_be_bytes());
                chunk[15] = 50;
                chunk[16] = 3;
            }
            Self::Resets => {
                chunk[..8].copy_from_slice(&[130, 0, 0, 22, 0, 13, 0, 18]);
                chunk[8..12].copy_from_slice(&tsn.to_be_bytes());
                chunk[16..20].copy_from_slice(&first_tsn.wrapping_sub(1).to_be_bytes());
                chunk[20..22].copy_from_slice(&(tsn as u16).to_be_bytes());
            }
            Self::Fragments => {}
            Self::ForwardTsn => {
                chunk[..4].copy_from_slice(&[192, 0, 0, length]);
                chunk[4..8].copy_from_slice(&tsn.wrapping_add((1 << 31) - 2).to_be_bytes());
            }
            Self::Abort => chunk[..8].copy_from_slice(&[6, 0, 0, length, 0, 13, 255, 0]),
        }
    }
}

/// A crypto provider, and the switch that makes it forge.
pub fn provider(forgery: Forgery) -> (Arc<dyn RTCCryptoProvider>, Arc<AtomicBool>) {
    let begun = Arc::new(AtomicBool::new(false));
    let inner = rtc::crypto::default_provider().unwrap();
    (Arc::new(Forger { inner, forgery, begun: Arc::clone(&begun), first: Arc::default() }), begun)
}

struct Forger {
    inner: Arc<dyn RTCCryptoProvider>,
    forgery: Forgery,
    begun: Arc<AtomicBool>,
    first: Arc<OnceLock<(u32, [u8; 2])>>,
}

impl RTCCryptoProvider for Forger {
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

impl RTCCrypto for Forger {
    fn new_aead(&self, algorithm: AeadAlgorithm, key: &[u8]) -> Result<Box<dyn AeadCipher>, CryptoError> {
        let inner = self.inner.crypto().new_aead(algorithm, key)?;
        let (begun, first) = (Arc::clone(&self.begun), Arc::clone(&self.first));
        Ok(Box::new(Cipher { inner, forgery: self.forgery, begun, first }))
    }
    fn supports(&self, algorithm: CryptoAlgorithm) -> bool {
        self.inner.crypto().supports(algorithm)
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
    fn new_cbc(&self, algorithm: CbcAlgorithm, key: &[u8]) -> Result<Box<dyn CbcCipher>, CryptoError> {
        self.inner.crypto().new_cbc(algorithm, key)
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
    forgery: Forgery,
    begun: Arc<AtomicBool>,
    first: Arc<OnceLock<(u32, [u8; 2])>>,
}

impl AeadCipher for Cipher {
    fn tag_len(&self) -> usize {
        self.inner.tag_len()
    }

    fn seal_in_place(&mut self, nonce: &[u8], aad: &[u8], text: &mut [u8], tag: &mut [u8]) -> Result<(), CryptoError> {
        // A DTLS record of application data with one SCTP packet: 12 bytes of header and 16 of a DATA chunk come before
        // the message.
        let is_message = aad.len() == 13 && aad[8] == 23 && text.len() == 28 + self.forgery.message().len();
        if is_message && text[12] == 0 && self.begun.load(Ordering::Relaxed) {
            self.forgery.write(&mut text[12..], &self.first);
            text[8..12].fill(0);
            let checksum = crc32c::crc32c(text).to_le_bytes();
            text[8..12].copy_from_slice(&checksum);
        }
        self.inner.seal_in_place(nonce, aad, text, tag)
    }

    fn open_in_place(&mut self, nonce: &[u8], aad: &[u8], text: &mut [u8], tag: &[u8]) -> Result<(), CryptoError> {
        self.inner.open_in_place(nonce, aad, text, tag)
    }
}
