//! Parses SCTP packets and checks that `rtc-sctp` 0.21.1 can parse them safely (RFC 9260, 3; RFC 3758, 3.2; RFC 6525, 3
//! and 4).
//!
//! The core parses as much of a chunk as it understands, and expects the next chunk there, regardless of the length
//! field. Lengths must therefore be exact, or one chunk could hide in another. An error cause with a length beyond its
//! chunk makes the core panic.

use super::{Rejected, Violation};

/// The longest packet that is read: more than the MTU of Ethernet.
const MAX_BYTES: usize = 2048;

/// The length of ports, verification tag and checksum.
const COMMON_HEADER: usize = 12;

/// The length of the header of a chunk (type, flags and length) and of a parameter or error cause (type and length).
const HEADER: usize = 4;

/// The most parameters of an INIT. Chromium sends 3, Firefox 7.
const MAX_PARAMETERS: usize = 32;

/// The most gap blocks of a SACK: as many as fit into an Ethernet frame.
const MAX_GAP_BLOCKS: usize = 360;

/// The length of the core's State Cookie.
const COOKIE_BYTES: usize = 32;

/// The longest HEARTBEAT, whose information the core echoes.
const MAX_HEARTBEAT: usize = 256;

/// The most streams in one FORWARD-TSN or RE-CONFIG.
const MAX_STREAMS_NAMED: usize = super::MAX_STREAMS;

/// Types of parameters.
const HEARTBEAT_INFO: u16 = 1;
const STATE_COOKIE: u16 = 7;
const OUTGOING_RESET_REQUEST: u16 = 13;
const RE_CONFIGURATION_RESPONSE: u16 = 16;
const HMAC_ALGORITHMS: u16 = 0x8004;
const SUPPORTED_EXTENSIONS: u16 = 0x8008;
const FORWARD_TSN_SUPPORTED: u16 = 0xc000;

/// Types of chunks.
const DATA: u8 = 0;
const INIT: u8 = 1;
const INIT_ACK: u8 = 2;
const SACK: u8 = 3;
const HEARTBEAT: u8 = 4;
const ABORT: u8 = 6;
const SHUTDOWN: u8 = 7;
const SHUTDOWN_ACK: u8 = 8;
const ERROR: u8 = 9;
const COOKIE_ECHO: u8 = 10;
const SHUTDOWN_COMPLETE: u8 = 14;
const RE_CONFIG: u8 = 130;
const FORWARD_TSN: u8 = 192;

/// A DATA chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Data<'a> {
    pub(super) tsn: u32,
    pub(super) stream: u16,
    /// The stream sequence number.
    pub(super) ssn: u16,
    /// The payload protocol identifier.
    pub(super) ppid: u32,
    pub(super) unordered: bool,
    pub(super) begins: bool,
    pub(super) ends: bool,
    pub(super) user: &'a [u8],
}

/// A chunk that a peer may send, with the fields that are needed here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Chunk<'a> {
    Data(Data<'a>),
    Init {
        initial_tsn: u32,
        forwards: bool,
        value: &'a [u8],
    },
    CookieEcho(&'a [u8]),
    Sack,
    Heartbeat,
    Abort,
    Error,
    Shutdown,
    /// A stream reset, after all data up to this TSN; each two bytes are a stream.
    Reset {
        last_tsn: u32,
        streams: &'a [u8],
    },
    /// A response to a stream reset of the core.
    ResetDone,
    /// All data up to this TSN is abandoned; each four bytes are a stream and its last sequence number.
    ForwardTsn {
        new_tsn: u32,
        streams: &'a [u8],
    },
}

/// A well-formed packet.
#[derive(Debug, Clone, Copy)]
pub(super) struct Packet<'a> {
    /// The verification tag.
    pub(super) tag: u32,
    chunks: &'a [u8],
}

impl<'a> Packet<'a> {
    /// Checks the form of a packet.
    pub(super) fn parse(packet: &'a [u8]) -> Result<Self, Rejected> {
        if packet.len() > MAX_BYTES {
            return Err(Rejected::Unwanted);
        }
        let (Some(tag), Some(checksum)) = (be32(packet, 4), packet.get(8..COMMON_HEADER)) else {
            return Err(Violation::Length.into());
        };
        let checksum = checksum.iter().rev().fold(0, |sum, byte| sum << 8 | u32::from(*byte));
        // The core drops a packet with a wrong checksum, so the packet must have no effect here.
        let zero = crc32c::crc32c_append(crc32c::crc32c(&packet[..8]), &[0; 4]);
        if crc32c::crc32c_append(zero, &packet[COMMON_HEADER..]) != checksum {
            return Err(Rejected::Unwanted);
        }
        let packet = Self { tag, chunks: &packet[COMMON_HEADER..] };
        let (mut kinds, mut count) = (0_u32, 0);
        for chunk in packet.raw() {
            let (kind, chunk) = chunk.and_then(|raw| Ok((raw.kind, raw.read()?)))?;
            count += 1;
            // At most one chunk of each type in a packet, except DATA. Types that are read are below 30 or one of
            // these.
            let bit = match kind {
                RE_CONFIG => 1 << 30,
                FORWARD_TSN => 1 << 31,
                kind => 1 << (kind % 30),
            };
            if kinds & bit != 0 && !matches!(chunk, Chunk::Data(_)) {
                return Err(Rejected::Unwanted);
            }
            kinds |= bit;
        }
        if count == 0 {
            return Err(Violation::Length.into());
        }
        // An INIT is alone in its packet (RFC 9260, 3).
        if kinds & 1 << INIT != 0 && (count > 1 || tag != 0) {
            return Err(Violation::Handshake.into());
        }
        Ok(packet)
    }

    /// The chunks of the packet.
    pub(super) fn chunks(self) -> impl Iterator<Item = Chunk<'a>> {
        self.raw().filter_map(|raw| raw.ok()?.read().ok())
    }

    fn raw(self) -> RawChunks<'a> {
        RawChunks(self.chunks)
    }
}

/// A chunk that the core sends, see [`core_chunks`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CoreChunk {
    /// A tag and a cookie, which the peer's COOKIE ECHO must contain.
    InitAck { tag: u32, cookie: [u8; COOKIE_BYTES] },
    /// The cumulative TSN ack.
    Sack(u32),
}

/// The relevant chunks of a packet that the core sends.
pub(super) fn core_chunks(packet: &[u8]) -> impl Iterator<Item = CoreChunk> {
    RawChunks(packet.get(COMMON_HEADER..).unwrap_or_default()).filter_map(|raw| {
        let raw = raw.ok()?;
        match raw.kind {
            SACK => Some(CoreChunk::Sack(be32(raw.value, 0)?)),
            INIT_ACK => {
                let mut parameters = parameters(raw.value.get(16..)?);
                let cookie = parameters.find_map(|p| p.ok().filter(|p| p.kind == STATE_COOKIE))?;
                Some(CoreChunk::InitAck { tag: be32(raw.value, 0)?, cookie: cookie.value.try_into().ok()? })
            }
            _ => None,
        }
    })
}

/// A chunk whose length is within its packet.
#[derive(Debug, Clone, Copy)]
struct RawChunk<'a> {
    kind: u8,
    flags: u8,
    value: &'a [u8],
}

struct RawChunks<'a>(&'a [u8]);

impl<'a> Iterator for RawChunks<'a> {
    type Item = Result<RawChunk<'a>, Rejected>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let rest = std::mem::take(&mut self.0);
        let chunk = be16(rest, 2).map(usize::from).and_then(|length| {
            let value = rest.get(HEADER..length)?;
            self.0 = rest.get(length.next_multiple_of(4)..)?;
            Some(RawChunk { kind: rest[0], flags: rest[1], value })
        });
        Some(chunk.ok_or(Violation::Length.into()))
    }
}

impl<'a> RawChunk<'a> {
    fn read(self) -> Result<Chunk<'a>, Rejected> {
        let Self { flags, value, .. } = self;
        match self.kind {
            DATA => data(flags, value),
            INIT => init(flags, value),
            SACK => sack(value),
            HEARTBEAT => heartbeat(value),
            ABORT => causes(value).map(|()| Chunk::Abort),
            ERROR => causes(value).map(|()| Chunk::Error),
            SHUTDOWN if value.len() == 4 => Ok(Chunk::Shutdown),
            SHUTDOWN_ACK | SHUTDOWN_COMPLETE if value.is_empty() => Ok(Chunk::Shutdown),
            SHUTDOWN | SHUTDOWN_ACK | SHUTDOWN_COMPLETE => Err(Violation::Length.into()),
            COOKIE_ECHO if value.len() == COOKIE_BYTES => Ok(Chunk::CookieEcho(value)),
            RE_CONFIG => re_config(value),
            FORWARD_TSN => forward_tsn(value),
            // Extensions that were not negotiated, and responses to chunks that the core never sends.
            _ => Err(Rejected::Unwanted),
        }
    }
}

fn data(flags: u8, value: &[u8]) -> Result<Chunk<'_>, Rejected> {
    let (Some(tsn), Some(stream), Some(ssn), Some(ppid)) =
        (be32(value, 0), be16(value, 4), be16(value, 6), be32(value, 8))
    else {
        return Err(Violation::Length.into());
    };
    let user = &value[12..];
    if user.is_empty() {
        // An empty DATA chunk is forbidden (RFC 9260, 3.3.1), but the core would keep any number of them.
        return Err(Violation::Length.into());
    }
    let (unordered, begins, ends) = (flags & 4 != 0, flags & 2 != 0, flags & 1 != 0);
    Ok(Chunk::Data(Data { tsn, stream, ssn, ppid, unordered, begins, ends, user }))
}

fn init(flags: u8, value: &[u8]) -> Result<Chunk<'_>, Rejected> {
    let (Some(initial_tsn), Some(rest)) = (be32(value, 12), value.get(16..)) else {
        return Err(Violation::Length.into());
    };
    if flags != 0 {
        return Err(Rejected::Unwanted);
    }
    let mut forwards = false;
    for (n, parameter) in parameters(rest).enumerate() {
        let Parameter { kind, value } = parameter?;
        if n == MAX_PARAMETERS {
            return Err(Rejected::Unwanted);
        }
        match kind {
            // The core assumes that this parameter is empty.
            FORWARD_TSN_SUPPORTED if !value.is_empty() => return Err(Violation::Length.into()),
            // The core reads pairs of bytes.
            HMAC_ALGORITHMS if value.len() % 2 != 0 => return Err(Violation::Length.into()),
            SUPPORTED_EXTENSIONS => forwards |= value.contains(&FORWARD_TSN),
            _ => {}
        }
    }
    Ok(Chunk::Init { initial_tsn, forwards, value })
}

fn sack(value: &[u8]) -> Result<Chunk<'_>, Rejected> {
    let (Some(gaps), Some(twice)) = (be16(value, 8).map(usize::from), be16(value, 10).map(usize::from)) else {
        return Err(Violation::Length.into());
    };
    if value.len() != 12 + 4 * (gaps + twice) {
        return Err(Violation::Length.into());
    }
    if gaps > MAX_GAP_BLOCKS {
        return Err(Rejected::Unwanted);
    }
    // The blocks must be ascending and disjoint, so that together they name each TSN at most once.
    let mut after = 0;
    for block in value[12..].chunks_exact(4).take(gaps) {
        let (start, end) = (u16::from_be_bytes([block[0], block[1]]), u16::from_be_bytes([block[2], block[3]]));
        if start <= after || end < start {
            return Err(Rejected::Unwanted);
        }
        after = end;
    }
    Ok(Chunk::Sack)
}

fn heartbeat(value: &[u8]) -> Result<Chunk<'_>, Rejected> {
    let mut parameters = parameters(value);
    let info = parameters.next().ok_or(Violation::Length)??;
    let is_echoed = info.kind == HEARTBEAT_INFO && value.len() <= MAX_HEARTBEAT && parameters.next().is_none();
    if is_echoed { Ok(Chunk::Heartbeat) } else { Err(Rejected::Unwanted) }
}

/// Checks error causes. The core slices each cause by its length, and expects no padding between causes, which RFC
/// 9260, 3.3.10 has.
fn causes(value: &[u8]) -> Result<(), Rejected> {
    let mut rest = value;
    while rest.len() >= HEADER {
        let length = usize::from(be16(rest, 2).ok_or(Violation::Length)?);
        if length < HEADER {
            return Err(Violation::Length.into());
        }
        rest = rest.get(length..).ok_or(Violation::Length)?;
    }
    // The core expects the next chunk after the causes.
    let known = value.len() - rest.len();
    if known.next_multiple_of(4) == value.len().next_multiple_of(4) { Ok(()) } else { Err(Violation::Length.into()) }
}

fn re_config(value: &[u8]) -> Result<Chunk<'_>, Rejected> {
    let mut parameters = parameters(value);
    let (Some(first), second) = (parameters.next().transpose()?, parameters.next().transpose()?) else {
        return Err(Violation::Length.into());
    };
    if parameters.next().is_some() {
        return Err(Violation::Length.into());
    }
    let response = |p: &Parameter<'_>| p.kind == RE_CONFIGURATION_RESPONSE && p.value.len() == 8;
    let request = match (first, second) {
        (one, None) if response(&one) => return Ok(Chunk::ResetDone),
        (one, None) => one,
        // A request, and the response to a request of the core (RFC 6525, 3.1).
        (one, Some(two)) if response(&one) => two,
        (one, Some(two)) if response(&two) => one,
        _ => return Err(Rejected::Unwanted),
    };
    if request.kind != OUTGOING_RESET_REQUEST {
        return Err(Rejected::Unwanted);
    }
    let (Some(last_tsn), Some(streams)) = (be32(request.value, 8), request.value.get(12..)) else {
        return Err(Violation::Length.into());
    };
    if streams.len() % 2 != 0 {
        return Err(Violation::Length.into());
    }
    if streams.len() > 2 * MAX_STREAMS_NAMED {
        return Err(Violation::Streams.into());
    }
    Ok(Chunk::Reset { last_tsn, streams })
}

fn forward_tsn(value: &[u8]) -> Result<Chunk<'_>, Rejected> {
    let (Some(new_tsn), Some(streams)) = (be32(value, 0), value.get(4..)) else {
        return Err(Violation::Length.into());
    };
    if streams.len() % 4 != 0 {
        return Err(Violation::Length.into());
    }
    if streams.len() > 4 * MAX_STREAMS_NAMED {
        return Err(Violation::Streams.into());
    }
    Ok(Chunk::ForwardTsn { new_tsn, streams })
}

/// A parameter whose length is within its chunk.
#[derive(Debug, Clone, Copy)]
struct Parameter<'a> {
    kind: u16,
    value: &'a [u8],
}

/// The parameters of a chunk. The last one may lack its padding (RFC 9260, 3.2).
fn parameters(mut rest: &[u8]) -> impl Iterator<Item = Result<Parameter<'_>, Rejected>> {
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let all = std::mem::take(&mut rest);
        let (Some(kind), Some(length)) = (be16(all, 0), be16(all, 2).map(usize::from)) else {
            return Some(Err(Violation::Length.into()));
        };
        let Some(value) = all.get(HEADER..length) else { return Some(Err(Violation::Length.into())) };
        rest = all.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(Ok(Parameter { kind, value }))
    })
}

fn be16(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn be32(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}
