//! The media of one student: a subscription to each track, and how its packets leave.
//!
//! The first packet goes by the core, which tells the session key by it; all others are sealed by us, straight from the
//! shared ring into the socket's batch ([`super::seal`]). Reports go by the core always: they have a key of their own.

use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use rtc::peer_connection::RTCPeerConnection;
use rtc::rtcp::sender_report::SenderReport;
use rtc::rtcp::source_description::{SdesType, SourceDescription, SourceDescriptionChunk, SourceDescriptionItem};
use rtc::rtp_transceiver::RTCRtpSenderId;
use rtc::sansio::Protocol;

use super::Rings;
use super::keys::Found;
use super::peer::Wishes;
use super::seal::{CoreWriter, OVERHEAD, Sealer, Side};
use super::socket::{Outlet, Sent};
use crate::rtp::{OutPacket, Start, Subscription, Track, timestamp_at};

/// Sender reports go out this often; each lets a receiver put sound and picture together.
const REPORT_EVERY: Duration = Duration::from_secs(1);

/// The canonical name in our reports: one for all tracks, since they share a clock (RFC 8834, 4.9).
const CNAME: &[u8] = b"classroom";

/// Bytes that a student who catches up may get in one turn; at a turn every 5 ms these are 38 Mbit/s. What a receiver's
/// kernel holds by default is ten times that, so that a student that is busy starting does not lose its first picture.
const CATCH_UP_BYTES: usize = 24 << 10;

/// One track of one student.
struct Lane {
    track: Track,
    reports: RTCRtpSenderId,
    side: Side,
    subscription: Subscription,
    reported: Option<Instant>,
}

/// A packet that a student asked for again: of which track, and its sequence number.
#[derive(Debug, Clone, Copy)]
pub(super) struct Repair {
    lane: usize,
    sequence_number: u16,
}

/// All tracks of one student.
pub(super) struct Lanes {
    lanes: Vec<Lane>,
    found: Found,
    sealer: Option<Sealer>,
    /// From which of our addresses to which of the student's; ICE may change it.
    path: Option<(SocketAddr, SocketAddr)>,
    /// Whether there are frames to send that are older than the newest.
    pub(super) catches_up: bool,
}

impl Lanes {
    /// Without a track; `found` will have the session key.
    pub(super) fn new(found: Found) -> Self {
        Self { lanes: Vec::new(), found, sealer: None, path: None, catches_up: false }
    }

    /// Adds a track that the core knows by `sender`.
    pub(super) fn add(&mut self, track: Track, sender: RTCRtpSenderId, subscription: Subscription) {
        let side = Side::Core(CoreWriter::new(sender));
        self.lanes.push(Lane { track, reports: sender, side, subscription, reported: None });
    }

    /// How many tracks there are.
    pub(super) fn len(&self) -> usize {
        self.lanes.len()
    }

    /// The connection stands: pictures begin with a key frame, sound with the next packet.
    pub(super) fn start(&mut self, now: Instant, rings: &Rings, wishes: &mut Wishes) {
        for lane in &mut self.lanes {
            let ring = &rings[lane.track];
            if !lane.track.is_video() {
                lane.subscription.start_live(ring);
            } else if lane.subscription.start(ring, now) == Start::NeedsKey {
                wishes.key_frames.push(lane.track);
            }
        }
    }

    /// The student can't decode; gives false if that SSRC is no picture of ours.
    pub(super) fn picture_lost(&mut self, now: Instant, ssrc: u32, rings: &Rings, wishes: &mut Wishes) -> bool {
        let lane = self.lanes.iter_mut().find(|l| l.subscription.ssrc() == ssrc && l.track.is_video());
        let Some(lane) = lane else { return false };
        if lane.subscription.start(&rings[lane.track], now) == Start::NeedsKey {
            wishes.key_frames.push(lane.track);
        }
        true
    }

    /// What is to be sent again for a NACK, if it was sent and is still there.
    pub(super) fn repair(&self, ssrc: u32, sequence_number: u16, rings: &Rings) -> Option<Repair> {
        let lane = self.lanes.iter().position(|lane| lane.subscription.ssrc() == ssrc)?;
        let l = &self.lanes[lane];
        l.subscription.resend(&rings[l.track], sequence_number)?;
        Some(Repair { lane, sequence_number })
    }

    /// A frame was put into the ring of `track` as `index`.
    pub(super) fn on_frame(&mut self, track: Track, index: u64, key: bool) {
        for lane in self.lanes.iter_mut().filter(|lane| lane.track == track) {
            lane.subscription.on_frame(index, key);
        }
    }

    /// The source of `track` has a gap: only a key frame will do.
    pub(super) fn on_gap(&mut self, track: Track) {
        for lane in self.lanes.iter_mut().filter(|lane| lane.track == track) {
            lane.subscription.drop_to_next_key();
        }
    }

    /// Frames that were left out.
    pub(super) fn dropped(&self) -> u64 {
        self.lanes.iter().map(|lane| lane.subscription.dropped()).sum()
    }

    /// Sends the frames that were not sent yet, of `only` one track or of all. Sets [`Self::catches_up`] when there is
    /// more, for the next turn.
    pub(super) fn send(
        &mut self,
        now: Instant,
        only: Option<Track>,
        rings: &Rings,
        connection: &mut RTCPeerConnection,
        outlet: &mut Outlet,
        wishes: &mut Wishes,
    ) {
        if only.is_none() {
            self.catches_up = false;
        }
        for n in 0..self.lanes.len() {
            if only.is_some_and(|track| track != self.lanes[n].track) {
                continue;
            }
            let ring = &rings[self.lanes[n].track];
            let mut bytes = 0;
            while let Some(due) = self.lanes[n].subscription.due(ring) {
                if bytes > CATCH_UP_BYTES {
                    self.catches_up = true;
                    break;
                }
                let lane = &mut self.lanes[n];
                if lane.track.is_video() && lane.subscription.is_late(ring) {
                    lane.subscription.drop_to_next_key();
                    wishes.key_frames.push(lane.track);
                    break;
                }
                let Some(packets) = self.lanes[n].subscription.take(ring) else { break };
                let mut sent = Sent::Yes;
                for packet in packets {
                    bytes += packet.payload.len();
                    sent = sent.and(self.write(now, n, &packet, connection, outlet));
                }
                sent = sent.and(outlet.flush());
                if let Some(frame) = ring.get(due) {
                    let (delay, packets) = (frame.captured.elapsed(), frame.len() as u64);
                    outlet.delays.record(delay, packets);
                    if !frame.track.is_video() {
                        outlet.sound_delays.record(delay, packets);
                    }
                }
                if sent == Sent::Refused {
                    let lane = &mut self.lanes[n];
                    if lane.track.is_video() {
                        lane.subscription.drop_to_next_key();
                        wishes.key_frames.push(lane.track);
                    }
                    break;
                }
            }
        }
    }

    /// Sends packets again.
    pub(super) fn resend(
        &mut self,
        now: Instant,
        repairs: &[Repair],
        rings: &Rings,
        connection: &mut RTCPeerConnection,
        outlet: &mut Outlet,
    ) {
        for repair in repairs {
            let Some(lane) = self.lanes.get(repair.lane) else { continue };
            let ring = &rings[lane.track];
            if let Some(packet) = lane.subscription.resend(ring, repair.sequence_number) {
                self.write(now, repair.lane, &packet, connection, outlet);
            }
        }
        outlet.flush();
    }

    fn write(
        &mut self,
        now: Instant,
        lane: usize,
        packet: &OutPacket<'_>,
        connection: &mut RTCPeerConnection,
        outlet: &mut Outlet,
    ) -> Sent {
        match (&self.lanes[lane].side, &self.sealer, self.path) {
            (Side::Own, Some(sealer), Some((from, to))) => {
                outlet.queue_with(from, to, packet.payload.len() + OVERHEAD, |batch| sealer.seal(packet, batch))
            }
            (Side::Core(writer), ..) => {
                write_by_core(now, writer, packet, connection);
                self.drain(connection, outlet)
            }
            // Who seals has a key, and the packet that told it has told the path.
            (Side::Own, ..) => Sent::Yes,
        }
    }

    /// Moves datagrams from the core to the socket, and sends them; learns key and path by the way.
    pub(super) fn drain(&mut self, connection: &mut RTCPeerConnection, outlet: &mut Outlet) -> Sent {
        let mut sent = Sent::Yes;
        while let Some(out) = connection.poll_write() {
            let (from, to) = (out.transport.local_addr, out.transport.peer_addr);
            // SRTP and SRTCP go where media goes; STUN also looks at other ways (RFC 7983, 7).
            if out.message.first().is_some_and(|first| (128..=191).contains(first)) {
                self.path = Some((from, to));
            }
            sent = sent.and(outlet.queue(from, to, &out.message));
        }
        if self.sealer.is_none()
            && self.path.is_some()
            && let Some(session) = self.found.get()
        {
            self.sealer = Sealer::new(session);
            if self.sealer.is_some() {
                self.lanes.iter_mut().for_each(|lane| lane.side = Side::Own);
            }
        }
        sent.and(outlet.flush())
    }

    /// Writes a sender report for each track that has sent something and is due for one, and says whether there was
    /// one. It carries the time of capture: with the time of sending, the delay of the encoder would put sound and
    /// picture apart.
    pub(super) fn report(&mut self, now: Instant, rings: &Rings, connection: &mut RTCPeerConnection) -> bool {
        let mut reported = false;
        for lane in &mut self.lanes {
            let (packets, octets) = lane.subscription.counts();
            let due = lane.reported.is_none_or(|at| now.saturating_duration_since(at) >= REPORT_EVERY);
            let Some(newest) = rings[lane.track].newest().filter(|_| due && packets > 0) else { continue };
            lane.reported = Some(now);
            reported = true;
            let ssrc = lane.subscription.ssrc();
            let report = SenderReport {
                ssrc,
                ntp_time: ntp_now(),
                rtp_time: timestamp_at(newest, now),
                packet_count: packets,
                octet_count: octets,
                ..Default::default()
            };
            let item = SourceDescriptionItem { sdes_type: SdesType::SdesCname, text: Bytes::from_static(CNAME) };
            let name = SourceDescription { chunks: vec![SourceDescriptionChunk { source: ssrc, items: vec![item] }] };
            if let Some(mut sender) = connection.rtp_sender(lane.reports) {
                let _ = sender.write_rtcp(now, vec![Box::new(report), Box::new(name)]);
            }
        }
        reported
    }
}

/// Writes one packet into the core, which seals it.
fn write_by_core(now: Instant, writer: &CoreWriter, packet: &OutPacket<'_>, connection: &mut RTCPeerConnection) {
    let header = rtc::rtp::Header {
        version: 2,
        marker: packet.marker,
        payload_type: packet.payload_type,
        sequence_number: packet.sequence_number(),
        timestamp: packet.timestamp,
        ssrc: packet.ssrc,
        ..Default::default()
    };
    let packet = rtc::rtp::Packet { header, payload: Bytes::copy_from_slice(packet.payload) };
    if let Some(mut sender) = connection.rtp_sender(writer.sender()) {
        // Fails only before DTLS is done; nothing is sent then.
        let _ = sender.write_rtp(now, packet);
    }
}

/// The wall clock as an NTP timestamp: seconds since 1900 and their fraction (RFC 3550, 4).
fn ntp_now() -> u64 {
    const UNIX_EPOCH_IN_NTP: u64 = 2_208_988_800;
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let fraction = (u64::from(since.subsec_nanos()) << 32) / 1_000_000_000;
    ((since.as_secs() + UNIX_EPOCH_IN_NTP) << 32) | fraction
}
