//! The messages between a client and a TURN server: STUN (RFC 8489) with TURN's methods, and ChannelData (RFC 8656).

use std::net::SocketAddr;

use rtc::crypto::{RTCCrypto, default_provider};
use rtc::stun::attributes::{
    ATTR_CHANNEL_NUMBER, ATTR_DATA, ATTR_LIFETIME, ATTR_MESSAGE_INTEGRITY, ATTR_NONCE, ATTR_REALM,
    ATTR_REQUESTED_ADDRESS_FAMILY, ATTR_REQUESTED_TRANSPORT, ATTR_USERNAME, ATTR_XOR_PEER_ADDRESS, AttrType,
};
use rtc::stun::error_code::{ErrorCode, ErrorCodeAttribute};
use rtc::stun::integrity::MessageIntegrity;
use rtc::stun::message::{
    CLASS_ERROR_RESPONSE, CLASS_INDICATION, CLASS_REQUEST, CLASS_SUCCESS_RESPONSE, Getter, METHOD_ALLOCATE,
    METHOD_BINDING, METHOD_CHANNEL_BIND, METHOD_CREATE_PERMISSION, METHOD_DATA, METHOD_REFRESH, METHOD_SEND, Message,
    MessageClass, MessageType, Method, Setter, TransactionId,
};
use rtc::stun::textattrs::TextAttribute;
use rtc::stun::uattrs::UnknownAttributes;
use rtc::stun::xoraddr::XorMappedAddress;
use rtc::turn::proto::data::Data;
use rtc::turn::proto::peeraddr::PeerAddress;
use rtc::turn::proto::relayaddr::RelayedAddress;

use crate::id::printable;

/// The longest message: a datagram of a path with an MTU of 1,500, in a Send indication.
pub(super) const MAX_MESSAGE_BYTES: usize = 1_600;

/// The most attributes of a message. Those of browsers have at most 12, and a CreatePermission a peer for each of our
/// eight candidates.
const MAX_ATTRIBUTES: usize = 32;

/// The bytes before the data of a ChannelData message.
pub(super) const CHANNEL_HEADER: usize = 4;

/// The header of a STUN message.
const STUN_HEADER: usize = 20;

/// The longest reason of a server that is shown.
const MAX_REASON_CHARS: usize = 100;

/// The first attribute that a server may ignore (RFC 8489, 14).
const OPTIONAL: u16 = 0x8000;

/// REQUESTED-TRANSPORT: UDP.
const UDP: u8 = 17;

/// The attributes that must be understood, and are.
const UNDERSTOOD: [AttrType; 10] = [
    ATTR_USERNAME,
    ATTR_MESSAGE_INTEGRITY,
    ATTR_REALM,
    ATTR_NONCE,
    ATTR_CHANNEL_NUMBER,
    ATTR_LIFETIME,
    ATTR_XOR_PEER_ADDRESS,
    ATTR_DATA,
    ATTR_REQUESTED_TRANSPORT,
    ATTR_REQUESTED_ADDRESS_FAMILY,
];

/// A message of a client.
#[derive(Debug)]
pub(super) enum Incoming<'a> {
    /// A request, to be answered.
    Request(Request),
    /// A Send indication.
    Send { peer: SocketAddr, data: Vec<u8> },
    /// Data for the peer of a channel.
    Channel { number: u16, data: &'a [u8] },
}

/// What a client asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    Binding,
    Allocate,
    Refresh,
    CreatePermission,
    ChannelBind,
}

/// The relay that an Allocate asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    V4,
    V6,
}

/// A request of a client.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) asked: Asked,
    message: Message,
}

/// The parts of a request by which a client proves who it is.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Proof {
    pub(super) username: String,
    pub(super) nonce: String,
}

/// Parses a datagram, or one message of a stream; `None` if it is none of a client's.
pub(super) fn parse(bytes: &[u8]) -> Option<Incoming<'_>> {
    if bytes.len() > MAX_MESSAGE_BYTES {
        return None;
    }
    match bytes.first()? {
        0..=3 => stun(bytes),
        0x40..=0x4f => {
            let number = be16(bytes, 0)?;
            let data = bytes.get(CHANNEL_HEADER..CHANNEL_HEADER + usize::from(be16(bytes, 2)?))?;
            Some(Incoming::Channel { number, data })
        }
        _ => None,
    }
}

fn stun(bytes: &[u8]) -> Option<Incoming<'static>> {
    let has_its_length = bytes.len() == STUN_HEADER + usize::from(be16(bytes, 2)?);
    if !has_its_length || !bytes.len().is_multiple_of(4) {
        return None;
    }
    let mut message = Message::new();
    message.unmarshal_binary(bytes).ok()?;
    if message.attributes.0.len() > MAX_ATTRIBUTES {
        return None;
    }
    let MessageType { method, class } = message.typ;
    if class == CLASS_INDICATION {
        let send = || {
            let data = message.get(ATTR_DATA).ok()?;
            Some(Incoming::Send { peer: *peers(&message)?.first()?, data })
        };
        return (method == METHOD_SEND).then(send).flatten();
    }
    let asked = match method {
        METHOD_BINDING => Asked::Binding,
        METHOD_ALLOCATE => Asked::Allocate,
        METHOD_REFRESH => Asked::Refresh,
        METHOD_CREATE_PERMISSION => Asked::CreatePermission,
        METHOD_CHANNEL_BIND => Asked::ChannelBind,
        _ => return None,
    };
    (class == CLASS_REQUEST).then_some(Incoming::Request(Request { asked, message }))
}

impl Request {
    /// The transaction, by which a repeated request is known.
    pub(super) fn transaction(&self) -> TransactionId {
        self.message.transaction_id
    }

    /// The bytes of the request.
    pub(super) fn length(&self) -> usize {
        self.message.raw.len()
    }

    /// The proof of the client; `None` without MESSAGE-INTEGRITY, and an error if parts of the proof are missing.
    pub(super) fn proof(&self) -> Result<Option<Proof>, ()> {
        if !self.message.contains(ATTR_MESSAGE_INTEGRITY) {
            return Ok(None);
        }
        let text = |attribute| String::from_utf8(self.message.get(attribute).map_err(drop)?).map_err(drop);
        let (username, _realm) = (text(ATTR_USERNAME)?, text(ATTR_REALM)?);
        Ok(Some(Proof { username, nonce: text(ATTR_NONCE)? }))
    }

    /// Whether the client knows the key. From then on the request has only the attributes that the client signed
    /// (RFC 8489, 14.5).
    pub(super) fn verify(&mut self, key: &[u8]) -> bool {
        let Ok(crypto) = default_provider() else { return false };
        let is_signed = MessageIntegrity::check(&mut self.message, key, crypto.crypto()).is_ok();
        let attributes = &mut self.message.attributes.0;
        let end = attributes.iter().position(|attribute| attribute.typ == ATTR_MESSAGE_INTEGRITY);
        attributes.truncate(end.unwrap_or_default());
        is_signed
    }

    /// The attributes that must be understood, and are not.
    pub(super) fn not_understood(&self) -> Vec<AttrType> {
        let attributes = self.message.attributes.0.iter().map(|attribute| attribute.typ);
        attributes.filter(|typ| typ.value() < OPTIONAL && !UNDERSTOOD.contains(typ)).take(MAX_ATTRIBUTES).collect()
    }

    /// Whether the relay must send by UDP; `None` without REQUESTED-TRANSPORT.
    pub(super) fn wants_udp(&self) -> Option<bool> {
        Some(*self.message.get(ATTR_REQUESTED_TRANSPORT).ok()?.first()? == UDP)
    }

    /// The family of the relayed address, by default IPv4; `None` if there is no such family.
    pub(super) fn family(&self) -> Option<Family> {
        match self.message.get(ATTR_REQUESTED_ADDRESS_FAMILY).ok() {
            None => Some(Family::V4),
            Some(value) => match value.first() {
                Some(1) => Some(Family::V4),
                Some(2) => Some(Family::V6),
                _ => None,
            },
        }
    }

    /// Whether the client ends its allocation: a Refresh with a lifetime of 0.
    pub(super) fn ends(&self) -> bool {
        self.message.get(ATTR_LIFETIME).is_ok_and(|value| value == [0; 4])
    }

    /// The peers, none of which is malformed.
    pub(super) fn peers(&self) -> Option<Vec<SocketAddr>> {
        peers(&self.message)
    }

    /// The number of the channel to bind (RFC 8656, 12).
    pub(super) fn channel(&self) -> Option<u16> {
        let number = be16(&self.message.get(ATTR_CHANNEL_NUMBER).ok()?, 0)?;
        (0x4000..=0x4fff).contains(&number).then_some(number)
    }

    /// An answer that says yes.
    pub(super) fn success(&self, attributes: Vec<Box<dyn Setter>>, key: Option<&[u8]>) -> Vec<u8> {
        self.answer(CLASS_SUCCESS_RESPONSE, attributes, key)
    }

    /// An answer that says no.
    pub(super) fn error(
        &self,
        (code, reason): (ErrorCode, &str),
        more: Vec<Box<dyn Setter>>,
        key: Option<&[u8]>,
    ) -> Vec<u8> {
        let error: Box<dyn Setter> = Box::new(ErrorCodeAttribute { code, reason: reason.into() });
        self.answer(CLASS_ERROR_RESPONSE, std::iter::once(error).chain(more).collect(), key)
    }

    fn answer(&self, class: MessageClass, attributes: Vec<Box<dyn Setter>>, key: Option<&[u8]>) -> Vec<u8> {
        let MessageType { method, .. } = self.message.typ;
        build(method, class, self.transaction(), attributes, key)
    }
}

/// The address from which the server sees the client.
pub(super) fn mapped(client: SocketAddr) -> Box<dyn Setter> {
    Box::new(XorMappedAddress { ip: client.ip(), port: client.port() })
}

/// The realm of the server, and a nonce.
pub(super) fn challenge(realm: &str, nonce: String) -> Vec<Box<dyn Setter>> {
    let realm = TextAttribute::new(ATTR_REALM, realm.to_owned());
    vec![Box::new(realm), Box::new(TextAttribute::new(ATTR_NONCE, nonce))]
}

/// The attributes that were not understood.
pub(super) fn unknown(attributes: Vec<AttrType>) -> Box<dyn Setter> {
    Box::new(UnknownAttributes(attributes))
}

/// A message with these attributes, signed if there is a key.
pub(super) fn build(
    method: Method,
    class: MessageClass,
    transaction: TransactionId,
    mut attributes: Vec<Box<dyn Setter>>,
    key: Option<&[u8]>,
) -> Vec<u8> {
    let mut message = Message::new();
    let provider = default_provider().ok();
    let mut setters: Vec<Box<dyn Setter + '_>> = vec![Box::new(transaction), Box::new(MessageType::new(method, class))];
    setters.extend(attributes.drain(..).map(|attribute| attribute as Box<dyn Setter + '_>));
    if let (Some(key), Some(provider)) = (key, provider.as_deref()) {
        let crypto: &dyn RTCCrypto = provider.crypto();
        setters.push(Box::new(MessageIntegrity::new_raw_integrity_with_provider(key, crypto)));
    }
    // The attributes are ours and short, so that this can't fail.
    let built = message.build(&setters);
    debug_assert!(built.is_ok());
    drop(setters);
    message.raw
}

/// The data of a peer, for a client that has bound no channel to the peer.
pub(super) fn data_indication(peer: SocketAddr, data: &[u8]) -> Vec<u8> {
    let peer = PeerAddress { ip: peer.ip(), port: peer.port() };
    let attributes: Vec<Box<dyn Setter>> = vec![Box::new(peer), Box::new(Data(data.to_vec()))];
    build(METHOD_DATA, CLASS_INDICATION, TransactionId::new(), attributes, None)
}

/// The data of a peer, for a client that has bound this channel to the peer.
pub(super) fn channel_data(number: u16, data: &[u8]) -> Vec<u8> {
    let length = u16::try_from(data.len()).unwrap_or(u16::MAX);
    let mut message = Vec::with_capacity(CHANNEL_HEADER + data.len() + 3);
    message.extend_from_slice(&number.to_be_bytes());
    message.extend_from_slice(&length.to_be_bytes());
    message.extend_from_slice(data);
    message
}

/// The answer of a server to an Allocate.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Relayed(SocketAddr),
    Refused { code: u16, reason: String },
}

/// Reads the answer to an Allocate; `None` for any other message.
pub(super) fn allocation_outcome(bytes: &[u8]) -> Option<Outcome> {
    let mut message = Message::new();
    message.unmarshal_binary(bytes).ok()?;
    let MessageType { method, class } = message.typ;
    if method != METHOD_ALLOCATE {
        return None;
    }
    if class == CLASS_SUCCESS_RESPONSE {
        let mut relayed = RelayedAddress::default();
        relayed.get_from(&message).ok()?;
        return Some(Outcome::Relayed(SocketAddr::new(relayed.ip, relayed.port)));
    }
    let mut error = ErrorCodeAttribute::default();
    error.get_from(&message).ok().filter(|()| class == CLASS_ERROR_RESPONSE)?;
    // A server may write what it likes, and a terminal obeys.
    let reason: String = printable(String::from_utf8_lossy(&error.reason).chars()).take(MAX_REASON_CHARS).collect();
    Some(Outcome::Refused { code: error.code.0, reason })
}

/// The key of a user (RFC 8489, 9.2.2).
pub(super) fn key(username: &str, realm: &str, password: &str) -> Option<Vec<u8>> {
    let crypto = default_provider().ok()?;
    let (username, realm, password) = (username.to_owned(), realm.to_owned(), password.to_owned());
    MessageIntegrity::long_term_integrity_key(username, realm, password, crypto.crypto()).ok()
}

fn peers(message: &Message) -> Option<Vec<SocketAddr>> {
    let of_peers = message.attributes.0.iter().filter(|attribute| attribute.typ == ATTR_XOR_PEER_ADDRESS);
    let peers = of_peers.map(|attribute| {
        // The library reads the first attribute of a type only.
        let mut one = Message { transaction_id: message.transaction_id, ..Message::default() };
        one.attributes.0.push(attribute.clone());
        let mut address = XorMappedAddress::default();
        address.get_from_as(&one, ATTR_XOR_PEER_ADDRESS).ok()?;
        Some(SocketAddr::new(address.ip, address.port))
    });
    peers.collect()
}

fn be16(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}
