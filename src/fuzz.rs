//! The bodies of the fuzz targets: properties that must hold for any bytes received from the network.
//!
//! `fuzz/fuzz_targets/` has one target for each function here. The seeds in `fuzz/seeds/` and mutations of them also
//! run as ordinary tests.

use crate::protocol::channel::{MAX_TEXT_CHARS, StudentMessage};
use crate::protocol::{ClientMessage, JoinRequest};
use crate::rtcp::{self, Feedback};
use crate::rtp::Track;
use crate::sdp::fragment::Fragment;
use crate::sfu::demux::{self, Datagram};

/// The longest datagram that the socket reads, in bytes: more than any path MTU of a classroom.
const MAX_DATAGRAM_BYTES: usize = 2_048;

/// The maximum length of a rejection reason, in bytes, beyond the part of the message that it quotes.
const MAX_REASON_BYTES: usize = 512;

/// STUN demultiplexing: the first bytes determine the protocol (RFC 7983), and nothing beyond the STUN length is read.
pub fn demultiplex(datagram: &[u8]) {
    match demux::classify(datagram) {
        Datagram::StunRequest { ufrag } => {
            assert!(datagram[0] == 0 && !ufrag.contains(':'));
            assert_eq!(demux::classify(&binding_request(ufrag)), Datagram::StunRequest { ufrag });
            let end = stun_end(datagram);
            assert_eq!(demux::classify(&datagram[..end]), Datagram::StunRequest { ufrag });
            assert_eq!(demux::classify(&datagram[..end - 1]), Datagram::Unknown);
        }
        Datagram::Stun { transaction } => {
            assert!(datagram[0] < 4 && datagram[8..20] == transaction);
            assert_eq!(demux::classify(&datagram[..stun_end(datagram) - 1]), Datagram::Unknown);
        }
        Datagram::DtlsOrSrtp => assert!(matches!(datagram[0], 20..=63 | 128..=191)),
        Datagram::UnencryptedRtcp => assert!(matches!(datagram[..2], [128..=191, 192..=223])),
        Datagram::Unknown => {}
    }
}

/// The end of a STUN message according to its length field (RFC 8489, 5).
fn stun_end(message: &[u8]) -> usize {
    20 + usize::from(u16::from_be_bytes([message[2], message[3]]))
}

/// A binding request to the peer with this ufrag: the header and USERNAME (RFC 8489, 14.3).
fn binding_request(ufrag: &str) -> Vec<u8> {
    let (size, padded) = (ufrag.len() as u16, ufrag.len().next_multiple_of(4));
    let mut message = vec![0, 1];
    message.extend_from_slice(&(padded as u16 + 4).to_be_bytes());
    message.extend_from_slice(&0x2112_a442_u32.to_be_bytes());
    message.extend_from_slice(&[0; 12]);
    message.extend_from_slice(&[0, 6]);
    message.extend_from_slice(&size.to_be_bytes());
    message.extend_from_slice(ufrag.as_bytes());
    message.resize(24 + padded, 0);
    message
}

/// A student's compound RTCP packet: its feedback is bounded by its size, and NACKs, PLIs and receiver reports survive
/// a round trip.
pub fn rtcp(compound: &[u8]) {
    let compound = &compound[..compound.len().min(MAX_DATAGRAM_BYTES)];
    let mut count = 0;
    for feedback in rtcp::read(compound) {
        count += 1;
        match feedback {
            Feedback::Nack(ssrc, numbers) => {
                let numbers: Vec<u16> = numbers.collect();
                assert!(numbers.len() <= 17 * compound.len() / 4);
                let fields = numbers.iter().map(|number| u32::from(*number) << 16);
                let again = rtcp_packet(0x80 | 1, 205, [0, ssrc].into_iter().chain(fields));
                let read = rtcp::read(&again).next();
                let Some(Feedback::Nack(same, again)) = read else { panic!("{read:?}") };
                assert!(same == ssrc && again.eq(numbers));
            }
            Feedback::Pli(ssrc) => {
                let again = rtcp_packet(0x80 | 1, 206, [0, ssrc]);
                assert!(rtcp::read(&again).eq([Feedback::Pli(ssrc)]));
            }
            Feedback::ReceiverReport(blocks) => {
                let blocks: Vec<_> = blocks.iter().collect();
                assert!(blocks.len() <= 31 && blocks.len() <= compound.len() / 24);
                let fields = blocks.iter().flat_map(|block| {
                    let lost = u32::from(block.fraction_lost) << 24 | block.total_lost as u32 & 0xff_ffff;
                    [block.ssrc, lost, 0, 0, block.last_sender_report, block.delay]
                });
                let again = rtcp_packet(0x80 | blocks.len() as u8, 201, [0].into_iter().chain(fields));
                let read = rtcp::read(&again).next();
                let Some(Feedback::ReceiverReport(again)) = read else { panic!("{read:?}") };
                assert!(again.iter().eq(blocks));
            }
            Feedback::Transport(arrivals) => {
                let (mut statuses, mut times) = (0, 0);
                for status in arrivals.statuses() {
                    statuses += 1;
                    times += usize::from(status.is_some());
                    assert!(status.is_none_or(|micros| micros.abs() <= 250 << 15));
                }
                assert!(statuses <= u16::MAX.into() && times <= compound.len());
            }
            Feedback::Remb(_) => {}
        }
    }
    assert!(count <= Track::ALL.len() * compound.len() / 4, "{count} from {} bytes", compound.len());
}

/// An RTCP packet of 32-bit fields (RFC 3550, 6.4.1).
fn rtcp_packet(first: u8, kind: u8, fields: impl IntoIterator<Item = u32>) -> Vec<u8> {
    let mut packet = vec![first, kind, 0, 0];
    packet.extend(fields.into_iter().flat_map(u32::to_be_bytes));
    let words = (packet.len() / 4 - 1) as u16;
    packet[2..4].copy_from_slice(&words.to_be_bytes());
    packet
}

/// A join request, a message to the server, and a data channel message: accepted input survives a round trip; a
/// rejection reason is hardly longer than the input.
pub fn signalling(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    match JoinRequest::parse(&text) {
        Ok(request) => assert_eq!(JoinRequest::parse(&request.to_query()), Ok(request)),
        Err(error) => assert!(error.to_string().len() <= MAX_REASON_BYTES, "{error}"),
    }
    match ClientMessage::parse(&text) {
        Ok(message) => assert_eq!(ClientMessage::parse(&message.to_json()), Ok(message)),
        Err(reason) => assert!(reason.len() <= text.len() + MAX_REASON_BYTES, "{reason}"),
    }
    match StudentMessage::parse(&text) {
        Ok(message) => {
            if let StudentMessage::Msg { text } = &message {
                assert!(text.as_str().chars().count() <= MAX_TEXT_CHARS);
            }
            assert_eq!(StudentMessage::parse(&message.to_json()), Ok(message));
        }
        Err((_, reason)) => assert!(reason.len() <= text.len() + MAX_REASON_BYTES, "{reason}"),
    }
}

/// A trickle ICE fragment of a WHEP player (RFC 8840, section 9): its candidates are few and short, and the fragment
/// survives a round trip.
pub fn sdp_fragment(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let fragment = match Fragment::parse(&text) {
        Ok(fragment) => fragment,
        Err(reason) => return assert!(reason.len() <= MAX_REASON_BYTES, "{reason}"),
    };
    assert!(fragment.candidates.len() <= 64 && fragment.candidates.iter().all(|c| c.check().is_ok()));
    let mut again = String::from("m=audio 9 UDP/TLS/RTP/SAVPF 0\r\n");
    if let Some(ufrag) = &fragment.ufrag {
        again += &format!("a=ice-ufrag:{ufrag}\r\n");
    }
    for candidate in &fragment.candidates {
        again += &format!("a=mid:{}\r\na={}\r\n", candidate.sdp_mid.as_deref().unwrap_or(""), candidate.candidate);
    }
    assert_eq!(Fragment::parse(&again), Ok(fragment));
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    /// Every run uses the same mutations; a failure prints the mutation.
    const SEED: u64 = 0x5eed_f022_0000_0012;

    /// The number of mutations of each seed file.
    const MUTATIONS: usize = 5_000;

    /// Bytes that parsers often mishandle: limits of lengths, counts and signs.
    const ODD_BYTES: [u8; 8] = [0, 1, 0x1f, 0x7f, 0x80, 0xc0, 0xfe, 0xff];

    /// Runs a target with each of its seeds and with mutations of each.
    fn run(name: &str, target: fn(&[u8])) {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(name);
        let mut files: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        assert!(files.len() >= 5, "{name} has {} seeds", files.len());
        let seeds: Vec<Vec<u8>> = files.iter().map(|file| std::fs::read(file).unwrap()).collect();
        let mut random = StdRng::seed_from_u64(SEED);
        for (file, seed) in files.iter().zip(&seeds) {
            target(seed);
            for number in 0..MUTATIONS {
                let mut input = seed.clone();
                for _ in 0..random.random_range(1..=4) {
                    mutate(&mut input, &mut random, &seeds);
                }
                if std::panic::catch_unwind(|| target(&input)).is_err() {
                    panic!("{name}: mutation {number} of {} with seed {SEED:#x}: {input:02x?}", file.display());
                }
            }
        }
    }

    /// Changes, removes, repeats or borrows some bytes.
    fn mutate(input: &mut Vec<u8>, random: &mut StdRng, seeds: &[Vec<u8>]) {
        let at = random.random_range(0..=input.len());
        let end = input.len().min(at + random.random_range(1..=16));
        match random.random_range(0..6) {
            0 if at < input.len() => input[at] ^= 1 << random.random_range(0..8),
            1 if at < input.len() => input[at] = ODD_BYTES[random.random_range(0..ODD_BYTES.len())],
            2 => input.truncate(at),
            3 => drop(input.drain(at..end)),
            4 => {
                let repeated = input[at..end].repeat(random.random_range(1..=8));
                input.splice(at..at, repeated);
            }
            _ => {
                let other = &seeds[random.random_range(0..seeds.len())];
                let from = random.random_range(0..=other.len());
                input.truncate(at);
                input.extend_from_slice(&other[from..]);
            }
        }
    }

    #[test]
    fn every_target_has_a_program_and_seeds() {
        let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
        let manifest = std::fs::read_to_string(fuzz.join("Cargo.toml")).unwrap();
        for name in ["demultiplex", "rtcp", "sdp_fragment", "signalling"] {
            let program = std::fs::read_to_string(fuzz.join(format!("fuzz_targets/{name}.rs"))).unwrap();
            assert!(program.contains(&format!("classroom::fuzz::{name}(")), "{program}");
            assert!(manifest.contains(&format!("path = \"fuzz_targets/{name}.rs\"")), "{name} is not in Cargo.toml");
        }
        assert_eq!(std::fs::read_dir(fuzz.join("fuzz_targets")).unwrap().count(), 4);
        assert_eq!(std::fs::read_dir(fuzz.join("seeds")).unwrap().count(), 4);
    }

    #[test]
    fn no_seed_or_mutation_breaks_demultiplexing() {
        run("demultiplex", super::demultiplex);
    }

    #[test]
    fn no_seed_or_mutation_breaks_rtcp() {
        run("rtcp", super::rtcp);
    }

    #[test]
    fn no_seed_or_mutation_breaks_signalling() {
        run("signalling", super::signalling);
    }

    #[test]
    fn no_seed_or_mutation_breaks_sdp_fragments() {
        run("sdp_fragment", super::sdp_fragment);
    }
}
