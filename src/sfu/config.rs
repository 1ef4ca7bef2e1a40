//! The configuration of an SFU, and the state that all its answers share.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroUsize;
use std::sync::Arc;

use rtc::crypto::{RTCCryptoProvider, SignatureScheme};
use rtc::peer_connection::certificate::{CertificateParams, RTCCertificate};
use rtc::peer_connection::configuration::setting_engine::SettingEngineBuilder;

use super::amplification::CheckBudget;
use super::places::Places;
use super::port::{MediaPort, Tag};
use crate::id::UserId;
use crate::ingest::AudioFloor;
use crate::rtp::Encoding;
use crate::trace::Tracer;

/// The configuration of an SFU.
#[derive(Debug, Clone)]
pub struct SfuConfig {
    /// The publisher.
    pub user: UserId,
    /// The UDP socket.
    pub udp: UdpBinding,
    /// Further addresses by which students reach the socket's port (NAT 1:1).
    pub advertise: Vec<IpAddr>,
    /// STUN servers to ask for the public address of a socket of its own; a shared port has been given its servers.
    pub stun: Vec<SocketAddr>,
    /// The largest number of students that are connected at the same time.
    pub max_students: usize,
    /// The encodings that can be sent, with their bit rates in bits per second: each track best first, its codecs in
    /// order of preference.
    pub encodings: Vec<(Encoding, u32)>,
    /// The number of threads that send, each to its share of the students.
    pub workers: NonZeroUsize,
    /// Whether each student gets the tiers that its path carries; otherwise all students get the best tiers, which is
    /// for measurements.
    pub adapts: bool,
}

/// The UDP socket of an SFU.
#[derive(Debug, Clone)]
pub enum UdpBinding {
    /// A socket of its own at this address; an unspecified address means all interfaces, IPv4 and IPv6.
    Own(SocketAddr),
    /// A port that it shares with other SFUs of this process.
    Shared(MediaPort),
}

/// Why an SFU can't start.
#[derive(Debug, thiserror::Error)]
pub enum SfuError {
    /// The UDP port can't be bound.
    #[error("can't listen on UDP {address}: {cause}; is another teacher running? choose another port with --udp-port")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// The kernel's error.
        cause: io::Error,
    },
    /// A key, a certificate or a thread can't be created.
    #[error("can't set up peer connections: {0}")]
    Setup(String),
}

/// The state that an answer needs besides the offer. It is created once, because generating a certificate takes longer
/// than the rest of a join.
pub(super) struct AnswerContext {
    pub(super) crypto: Arc<dyn RTCCryptoProvider>,
    pub(super) certificate: RTCCertificate,
    pub(super) adapts: bool,
    /// The places of connected students.
    pub(super) places: Places,
    /// The budget of all peers for checks to addresses that have not proved themselves.
    pub(super) checks: CheckBudget,
    /// The highest `level_idc` of the H.264 sent so far; None before the first H.264 key frame.
    pub(super) h264_level: Option<u8>,
    /// Takes the steps of each student's join.
    pub(super) tracer: Tracer,
    /// The audio floor that the publisher is on, in a meeting.
    pub(super) floor: Option<AudioFloor>,
    /// The tag that the user name fragments of peers must begin with, on a shared port.
    pub(super) tag: Option<Tag>,
}

impl AnswerContext {
    pub(super) fn new(adapts: bool, max_students: usize) -> Result<Self, SfuError> {
        let setup = |e: &dyn std::fmt::Display| SfuError::Setup(e.to_string());
        let crypto = rtc::crypto::default_provider().map_err(|e| setup(&e))?;
        let parameters =
            CertificateParams::new(vec![format!("classroom-{:08x}", rand::random::<u32>())]).map_err(|e| setup(&e))?;
        let certificate = RTCCertificate::generate(crypto.crypto(), SignatureScheme::EcdsaP256Sha256, parameters)
            .map_err(|e| setup(&e))?;
        let (places, checks) = (Places::new(max_students), CheckBudget::default());
        Ok(Self {
            crypto,
            certificate,
            adapts,
            places,
            checks,
            tracer: Tracer::default(),
            h264_level: None,
            floor: None,
            tag: None,
        })
    }

    /// Gives a new peer a local user name fragment by which a shared port finds this SFU. Without one, and for the
    /// password, the core makes random ones.
    pub(super) fn with_ufrag(&self, settings: SettingEngineBuilder) -> SettingEngineBuilder {
        match self.tag {
            Some(tag) => settings.with_ice_credentials(tag.ufrag(), String::new()),
            None => settings,
        }
    }
}
