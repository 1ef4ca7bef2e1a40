//! The floor of a machine: what a packet to a student costs at least, with nothing around it.
//!
//! For each student the packets of a frame are copied into one buffer, sealed with AES-128-GCM under a key of the
//! student's own, and handed to the kernel in one GSO send. Nobody can be faster than that on one socket.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use quinn_udp::{Transmit, UdpSockRef, UdpSocketState};
use rtc::crypto::{AeadAlgorithm, AeadCipher};

use crate::rtp::HEADER_BYTES;

/// The tag of AES-128-GCM.
const TAG_BYTES: usize = 16;

/// A frame of the lecture that the floor is measured with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Load {
    /// When it is sent, counted from the beginning.
    pub at: Duration,
    /// The sizes of its packets, RTP headers included; only the last may be smaller than the first.
    pub packets: Vec<usize>,
}

/// What was measured.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Floor {
    /// Packets that were sent.
    pub packets: u64,
    /// The sending thread's CPU.
    pub cpu: Duration,
}

impl Floor {
    /// Microseconds of CPU for a packet; none where nothing was sent.
    pub fn us_per_packet(&self) -> Option<f64> {
        (self.packets > 0).then(|| self.cpu.as_secs_f64() * 1e6 / self.packets as f64)
    }
}

/// One receiver that the floor sends to.
struct Target {
    to: SocketAddr,
    cipher: Box<dyn AeadCipher>,
}

/// Sends `lecture` to as many sockets of this machine as said, in its own pace, and counts the CPU of `cpu`, which
/// tells that of the thread that calls it. Another thread reads the sockets dry meanwhile. Blocks as long as the
/// lecture is.
///
/// # Errors
/// When the sockets or ciphers can't be had.
pub fn measure(students: usize, lecture: &[Load], cpu: impl Fn() -> io::Result<Duration>) -> io::Result<Floor> {
    let receivers: Vec<UdpSocket> = (0..students).map(|_| bind()).collect::<Result<_, _>>()?;
    let crypto = rtc::crypto::default_provider().map_err(io::Error::other)?;
    let mut targets = Vec::new();
    for (n, receiver) in receivers.iter().enumerate() {
        let key = (n as u128).to_be_bytes();
        let cipher = crypto.crypto().new_aead(AeadAlgorithm::Aes128Gcm, &key).map_err(io::Error::other)?;
        targets.push(Target { to: receiver.local_addr()?, cipher });
    }
    let sender = bind()?;
    let state = UdpSocketState::new(UdpSockRef::from(&sender))?;
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| read_dry(&receivers, &over));
        let measured = send_all(&mut targets, lecture, (&sender, &state), cpu);
        over.store(true, Ordering::Relaxed);
        measured
    })
}

fn send_all(
    targets: &mut [Target],
    lecture: &[Load],
    (sender, state): (&UdpSocket, &UdpSocketState),
    cpu: impl Fn() -> io::Result<Duration>,
) -> io::Result<Floor> {
    let plain = vec![0x90; lecture.iter().flat_map(|load| &load.packets).copied().max().unwrap_or(0)];
    let mut bytes = Vec::with_capacity(usize::from(u16::MAX));
    let mut packets = 0;
    let mut sequence = 0u64;
    let (begun, before) = (Instant::now(), cpu()?);
    for load in lecture {
        std::thread::sleep(load.at.saturating_sub(begun.elapsed()));
        // As many as one GSO send takes.
        let at_once =
            (60_000 / load.packets.first().map_or(1, |first| first + TAG_BYTES)).min(state.max_gso_segments());
        for batch in load.packets.chunks(at_once.max(1)) {
            for target in &mut *targets {
                bytes.clear();
                for (n, size) in batch.iter().enumerate() {
                    seal(target, &plain[..*size], sequence + n as u64, &mut bytes)?;
                }
                let segment = batch[0] + TAG_BYTES;
                let transmit = Transmit {
                    destination: target.to,
                    ecn: None,
                    contents: &bytes,
                    segment_size: (batch.len() > 1).then_some(segment),
                    src_ip: None,
                };
                match state.try_send(UdpSockRef::from(sender), &transmit) {
                    Ok(()) => packets += batch.len() as u64,
                    Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                    Err(e) => return Err(e),
                }
            }
            sequence += batch.len() as u64;
        }
    }
    Ok(Floor { packets, cpu: cpu()?.saturating_sub(before) })
}

/// Appends a sealed copy of a packet.
fn seal(target: &mut Target, packet: &[u8], sequence: u64, bytes: &mut Vec<u8>) -> io::Result<()> {
    let start = bytes.len();
    bytes.extend_from_slice(packet);
    let (header, payload) = bytes[start..].split_at_mut(HEADER_BYTES);
    header[4..12].copy_from_slice(&sequence.to_be_bytes());
    let mut nonce = [0; 12];
    nonce[4..].copy_from_slice(&sequence.to_be_bytes());
    let mut tag = [0; TAG_BYTES];
    target.cipher.seal_in_place(&nonce, header, payload, &mut tag).map_err(io::Error::other)?;
    bytes.extend_from_slice(&tag);
    Ok(())
}

/// Reads all sockets in turn until it is over.
fn read_dry(receivers: &[UdpSocket], over: &AtomicBool) {
    let mut bytes = [0; 2048];
    while !over.load(Ordering::Relaxed) {
        for receiver in receivers {
            while receiver.recv(&mut bytes).is_ok() {}
        }
    }
}

fn bind() -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_packet_of_the_lecture_goes_to_everybody() {
        let load = |packets: Vec<usize>| Load { at: Duration::ZERO, packets };
        let lecture = [load(vec![1200, 1200, 700]), load(vec![150]), load(vec![1200; 70])];
        let ticks = std::cell::Cell::new(0);
        let cpu = || Ok(Duration::from_micros(ticks.replace(148)));
        let floor = measure(2, &lecture, cpu).unwrap();
        assert_eq!(floor, Floor { packets: 2 * 74, cpu: Duration::from_micros(148) });
        assert_eq!(floor.us_per_packet(), Some(1.0));
        assert_eq!(Floor { packets: 0, ..floor }.us_per_packet(), None);
    }
}
