//! The floor: the cost of a packet to a student on this machine, in one thread that does only the unavoidable work of
//! the SFU.
//!
//! For each student, the packets of a frame are copied into one buffer, sealed with AES-128-GCM under the student's own
//! key, and passed to the kernel in one GSO send. The receivers read, open and pause like the students of the bench,
//! since on loopback that determines the cost of a send.
//!
//! The floor is the cost of the SFU's own scheme without the rest of the SFU, and serves as a divisor. It is not a
//! lower bound: measured side by side on a machine with 2 cores, this scheme took 2.0 to 2.3 us per packet, `sendmmsg`
//! over the students 1.75 to 2.1 us, the same sends to receivers with GRO 1.5 us, and sealing alone 0.29 us. The rest
//! is the kernel, and on loopback much of that is the receiving half: see [`super::namespace`].

use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use quinn_udp::{Transmit, UdpSockRef, UdpSocketState};
use rtc::crypto::{AeadAlgorithm, AeadCipher};
use rustix::event::{Timespec, epoll};

use crate::bench::cpu::give_way;
use crate::bench::crowd::{PAUSE, receiving_socket};
use crate::rtp::HEADER_BYTES;

/// The tag of AES-128-GCM.
const TAG_BYTES: usize = 16;

/// A frame of the lecture used to measure the floor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PlannedFrame {
    /// The send time of the frame, relative to the start.
    pub(super) at: Duration,
    /// The sizes of its packets including RTP headers. Only the last may be smaller than the first.
    pub(super) packets: Vec<usize>,
}

/// The result of a measurement.
#[derive(Debug, Default, Clone, Copy, PartialEq)]
pub(super) struct Floor {
    /// Packets sent.
    pub(super) packets: u64,
    /// The CPU time of the sending thread.
    pub(super) cpu: Duration,
}

impl Floor {
    /// The sum of both measurements.
    #[must_use]
    pub(super) fn and(self, other: Self) -> Self {
        Self { packets: self.packets + other.packets, cpu: self.cpu + other.cpu }
    }

    /// Microseconds of CPU time per packet; `None` if nothing was sent.
    pub(super) fn us_per_packet(&self) -> Option<f64> {
        (self.packets > 0).then(|| self.cpu.as_secs_f64() * 1e6 / self.packets as f64)
    }
}

/// A destination of the floor.
struct Target {
    to: SocketAddr,
    cipher: Box<dyn AeadCipher>,
}

/// A socket whose packets are opened, as a student does.
struct Receiver {
    socket: UdpSocket,
    cipher: Box<dyn AeadCipher>,
}

/// Sends to one socket per student on this machine. Dropping it ends the receiving thread.
pub(super) struct FloorMeter {
    targets: Vec<Target>,
    sender: UdpSocket,
    state: UdpSocketState,
    /// Packets to each student so far.
    sequence: u64,
    over: Arc<AtomicBool>,
    reader: Option<JoinHandle<()>>,
}

impl FloorMeter {
    /// Creates the sockets, the ciphers and the receiving thread.
    pub(super) fn new(students: usize) -> io::Result<Self> {
        let crypto = rtc::crypto::default_provider().map_err(io::Error::other)?;
        let (mut targets, mut receivers) = (Vec::new(), Vec::new());
        for n in 0..students {
            let key = (n as u128).to_be_bytes();
            let cipher = || crypto.crypto().new_aead(AeadAlgorithm::Aes128Gcm, &key).map_err(io::Error::other);
            let socket = receiving_socket(Ipv4Addr::LOCALHOST)?;
            targets.push(Target { to: socket.local_addr()?, cipher: cipher()? });
            receivers.push(Receiver { socket, cipher: cipher()? });
        }
        let sender = UdpSocket::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
        sender.set_nonblocking(true)?;
        let state = UdpSocketState::new(UdpSockRef::from(&sender))?;
        let over = Arc::new(AtomicBool::new(false));
        let until = Arc::clone(&over);
        let reader = std::thread::Builder::new().name("floor".into()).spawn(move || read(receivers, &until))?;
        Ok(Self { targets, sender, state, sequence: 0, over, reader: Some(reader) })
    }

    /// Sends `lecture` at its own pace and blocks meanwhile. `cpu` returns the CPU time of the calling thread.
    pub(super) fn measure(&mut self, lecture: &[PlannedFrame], cpu: impl Fn() -> Duration) -> io::Result<Floor> {
        let plain = vec![0x90; lecture.iter().flat_map(|frame| &frame.packets).copied().max().unwrap_or(0)];
        let mut bytes = Vec::with_capacity(usize::from(u16::MAX));
        let mut packets = 0;
        let (begun, before) = (Instant::now(), cpu());
        for frame in lecture {
            std::thread::sleep(frame.at.saturating_sub(begun.elapsed()));
            // The number of packets that fit one GSO send.
            let at_once = (60_000 / frame.packets.first().map_or(1, |first| first + TAG_BYTES))
                .min(self.state.max_gso_segments());
            for batch in frame.packets.chunks(at_once.max(1)) {
                for target in &mut self.targets {
                    bytes.clear();
                    for (n, size) in batch.iter().enumerate() {
                        seal(target, &plain[..*size], self.sequence + n as u64, &mut bytes)?;
                    }
                    let segment = batch[0] + TAG_BYTES;
                    let transmit = Transmit {
                        destination: target.to,
                        ecn: None,
                        contents: &bytes,
                        segment_size: (batch.len() > 1).then_some(segment),
                        src_ip: None,
                    };
                    match self.state.try_send(UdpSockRef::from(&self.sender), &transmit) {
                        Ok(()) => packets += batch.len() as u64,
                        Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                        Err(e) => return Err(e),
                    }
                }
                self.sequence += batch.len() as u64;
            }
        }
        Ok(Floor { packets, cpu: cpu().saturating_sub(before) })
    }
}

impl Drop for FloorMeter {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }
}

/// Appends a sealed copy of a packet.
fn seal(target: &mut Target, packet: &[u8], sequence: u64, bytes: &mut Vec<u8>) -> io::Result<()> {
    let start = bytes.len();
    bytes.extend_from_slice(packet);
    let (header, payload) = bytes[start..].split_at_mut(HEADER_BYTES);
    header[4..12].copy_from_slice(&sequence.to_be_bytes());
    let mut tag = [0; TAG_BYTES];
    target.cipher.seal_in_place(&nonce(header), header, payload, &mut tag).map_err(io::Error::other)?;
    bytes.extend_from_slice(&tag);
    Ok(())
}

/// The sequence number in the header of a packet, as a nonce.
fn nonce(header: &[u8]) -> [u8; 12] {
    let mut nonce = [0; 12];
    nonce[4..].copy_from_slice(&header[4..12]);
    nonce
}

/// Reads and opens packets until `over`, with the pauses of the students: full sockets and a busy second core cost the
/// sender time.
fn read(mut receivers: Vec<Receiver>, over: &AtomicBool) {
    const AT_ONCE: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };
    give_way();
    let Ok(epoll) = epoll::create(epoll::CreateFlags::CLOEXEC) else { return };
    for (n, receiver) in receivers.iter().enumerate() {
        // A socket that is not read fills up, and the kernel drops further packets.
        let _ = epoll::add(&epoll, &receiver.socket, epoll::EventData::new_u64(n as u64), epoll::EventFlags::IN);
    }
    let mut bytes = [0; 2048];
    let mut ready = Vec::with_capacity(256);
    while !over.load(Ordering::Relaxed) {
        ready.clear();
        let _ = epoll::wait(&epoll, rustix::buffer::spare_capacity(&mut ready), Some(&AT_ONCE));
        for event in &ready {
            let Some(receiver) = receivers.get_mut(event.data.u64() as usize) else { continue };
            while let Ok(length) = receiver.socket.recv(&mut bytes) {
                let Some((header, rest)) = bytes[..length].split_at_mut_checked(HEADER_BYTES) else { continue };
                let Some((payload, tag)) = rest.len().checked_sub(TAG_BYTES).map(|at| rest.split_at_mut(at)) else {
                    continue;
                };
                // Opened only for its cost; the result is not used.
                let _ = receiver.cipher.open_in_place(&nonce(header), header, payload, tag);
            }
        }
        if ready.len() < ready.capacity() {
            std::thread::sleep(PAUSE);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_floor_sends_every_packet_to_every_student() {
        let frame = |packets: Vec<usize>| PlannedFrame { at: Duration::ZERO, packets };
        let lecture = [frame(vec![1200, 1200, 700]), frame(vec![150]), frame(vec![1200; 70])];
        let ticks = std::cell::Cell::new(0);
        let cpu = || Duration::from_micros(ticks.replace(148));
        let floor = FloorMeter::new(2).unwrap().measure(&lecture, cpu).unwrap();
        assert_eq!(floor, Floor { packets: 2 * 74, cpu: Duration::from_micros(148) });
        assert_eq!(floor.us_per_packet(), Some(1.0));
        assert_eq!(Floor { packets: 0, ..floor }.us_per_packet(), None);
    }
}
