//! The media of one student: a subscription to each track, and how its packets leave.
//!
//! The first packet goes by the core, which tells the session key by it; all others are sealed by us, straight from the
//! shared ring into the socket's batch ([`super::seal`]). Reports go by the core always: they have a key of their own.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rtc::peer_connection::RTCPeerConnection;
use rtc::rtp_transceiver::RTCRtpSenderId;

use super::Rings;
use super::peer::Wishes;
use super::udp::{Sent, UdpSender};
use crate::congestion::{Estimate, Probe};
use crate::congestion::{Pacer, PathCapacity};
use crate::dtls::flights::Handshake;
use crate::rtp::Numbers;
use crate::rtp::RepairStream;
use crate::rtp::{Codec, Encoding, OutgoingPacket, REPLAY_BYTES, Start, Subscription, Tier, Track, TwccSequenceNumber};
use crate::srtp::Found;
use crate::srtp::{CoreWriter, Sealer, Side};

mod reports;
mod sending;

pub(super) use self::reports::round_trip;

/// Sender reports go out this often; each lets a receiver put sound and picture together.
const REPORT_EVERY: Duration = Duration::from_secs(1);

/// The canonical name in our reports: one for all tracks, since they share a clock (RFC 8834, 4.9).
const CNAME: &[u8] = b"classroom";

/// Bytes that a student who catches up may get in one turn; at a turn every 5 ms these are 38 Mbit/s. What a receiver's
/// kernel holds by default is ten times that, so that a student that is busy starting does not lose its first picture.
const CATCH_UP_BYTES: usize = 24 << 10;

/// What may be replayed to a student on a narrow way when it gets a smaller picture: more takes longer than the next key
/// frame, which is some 20 kB.
const NARROW_REPLAY_BYTES: usize = 24 << 10;

/// The most padding of a packet (RFC 3550, 5.1).
const MAX_PADDING: u32 = 255;

/// One track of one student.
struct Lane {
    track: Track,
    codec: Codec,
    reports: RTCRtpSenderId,
    side: Side,
    subscription: Subscription,
    /// The tier that it goes on with at the next key frame; until then the other one is sent.
    next: Option<Tier>,
    repairs: Option<RepairStream>,
    /// Of sound, which has no such stream.
    numbers: Numbers,
    reported: Option<Instant>,
    /// Packets that the student said were lost.
    lost: u32,
}

impl Lane {
    fn encoding(&self) -> Encoding {
        Encoding { track: self.track, tier: self.subscription.tier(), codec: self.codec }
    }

    fn in_tier(&self, tier: Tier) -> Encoding {
        Encoding { tier, ..self.encoding() }
    }
}

/// A packet that a student asked for again: of which track, and its sequence number.
#[derive(Debug, Clone, Copy)]
pub(super) struct Repair {
    lane: usize,
    sequence_number: u16,
}

/// What became of a student's wish for a key frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Recovery {
    /// It begins anew.
    Yes,
    /// It waits for one already.
    UnderWay,
    /// It asks too often.
    No,
}

/// All tracks of one student.
pub(super) struct Lanes {
    lanes: Vec<Lane>,
    found: Found,
    sealer: Option<Sealer>,
    /// From which of our addresses to which of the student's; ICE may change it.
    path: Option<(SocketAddr, SocketAddr)>,
    /// How its connection came to be.
    pub(super) handshake: Handshake,
    /// The number of the next packet of all, and the id of the extension for it, where the student reports by these.
    transport: Option<TwccSequenceNumber>,
    /// How fast pictures go, where the line is narrow.
    pace: Option<Pacer>,
    /// The picture of which not all was sent yet, because of that.
    under_way: Option<UnderWay>,
    /// Packets that were sent, and their bytes.
    sent: (u64, u64),
    /// Whether there is something to send in the next turn: frames that are older than the newest, or the rest of one.
    pub(super) catches_up: bool,
}

/// Packets of one track that have their names and were not sent yet.
#[derive(Debug, Clone, Copy)]
struct UnderWay {
    lane: usize,
    next: u64,
    end: u64,
}

impl Lanes {
    /// Without a track; `found` will have the session key. With `transport` each packet gets a transport-wide number in
    /// the header extension of that id.
    pub(super) fn new(found: Found, transport: Option<u8>) -> Self {
        let transport = transport.map(|id| TwccSequenceNumber { id, number: 0 });
        Self {
            lanes: Vec::new(),
            found,
            sealer: None,
            path: None,
            handshake: Handshake::default(),
            transport,
            pace: None,
            under_way: None,
            sent: (0, 0),
            catches_up: false,
        }
    }

    /// Adds a track that the core knows by `sender`.
    pub(super) fn add(
        &mut self,
        (track, codec): (Track, Codec),
        sender: RTCRtpSenderId,
        subscription: Subscription,
        repairs: Option<RepairStream>,
    ) {
        let side = Side::Core(CoreWriter::new(sender));
        self.lanes.push(Lane {
            track,
            codec,
            reports: sender,
            side,
            subscription,
            next: None,
            repairs,
            numbers: Numbers::default(),
            reported: None,
            lost: 0,
        });
    }

    /// Where media goes, once the first packet of it has gone: ICE has proved that the student is there.
    pub(super) fn destination(&self) -> Option<SocketAddr> {
        self.path.map(|(_, to)| to)
    }

    /// Pictures go no faster than this line carries them; or at once.
    pub(super) fn set_pace(&mut self, now: Instant, line: Option<PathCapacity>) {
        match (&mut self.pace, line) {
            (Some(pace), Some(line)) => pace.set(line),
            (pace, line) => *pace = line.map(|line| Pacer::new(now, line)),
        }
    }

    /// Tracks and their codecs.
    pub(super) fn tracks(&self) -> impl Iterator<Item = (Track, Codec)> {
        self.lanes.iter().map(|lane| (lane.track, lane.codec))
    }

    /// The encodings that are needed for this student: what it gets, and what it waits for.
    pub(super) fn needed(&self) -> impl Iterator<Item = Encoding> {
        self.lanes.iter().filter(|lane| !lane.subscription.is_paused() || lane.next.is_some()).flat_map(|lane| {
            let now = (!lane.subscription.is_paused()).then(|| lane.encoding());
            now.into_iter().chain(lane.next.map(|tier| lane.in_tier(tier)))
        })
    }

    /// What the student gets, or will get at the next key frame.
    pub(super) fn watched(&self) -> impl Iterator<Item = Encoding> {
        self.lanes.iter().filter_map(|lane| match lane.next {
            Some(tier) => Some(lane.in_tier(tier)),
            None => (!lane.subscription.is_paused()).then(|| lane.encoding()),
        })
    }

    /// Packets that were sent, and their bytes.
    pub(super) fn sent(&self) -> (u64, u64) {
        self.sent
    }

    /// The student says how many packets of an SSRC were lost so far; it can't have lost more than were sent.
    pub(super) fn on_lost(&mut self, ssrc: u32, lost: i32) {
        if let Some(lane) = self.lanes.iter_mut().find(|lane| lane.subscription.ssrc() == ssrc) {
            lane.lost = u32::try_from(lost).unwrap_or(0).min(lane.subscription.counts().0);
        }
    }

    /// Packets that the student reported lost.
    pub(super) fn reported_lost(&self) -> u64 {
        self.lanes.iter().map(|lane| u64::from(lane.lost)).sum()
    }

    /// Whether the core seals, because we have no key.
    pub(super) fn is_sealed_by_core(&self) -> bool {
        self.sealer.is_none() && self.lanes.iter().any(|lane| lane.subscription.counts().0 > 1)
    }

    /// Whether a train can be sent that tells what the line carries before there is a picture: there is sound, whose
    /// first packet tells the key, and a stream for the padding.
    pub(super) fn can_open(&self) -> bool {
        self.transport.is_some()
            && self.lanes.iter().any(|lane| !lane.track.is_video())
            && self.lanes.iter().any(|lane| lane.repairs.is_some())
    }

    /// Whether we have the key, and seal.
    pub(super) fn has_key(&self) -> bool {
        self.sealer.is_some()
    }

    /// The connection stands: sound begins with the next packet.
    pub(super) fn start_sound(&mut self, rings: &Rings) {
        for lane in self.lanes.iter_mut().filter(|lane| !lane.track.is_video()) {
            lane.subscription.start_live(&rings[lane.encoding()]);
        }
    }

    /// Pictures that have not begun do so, with a key frame.
    pub(super) fn start_pictures(&mut self, now: Instant, rings: &Rings, wishes: &mut Wishes) {
        for lane in self.lanes.iter_mut().filter(|lane| lane.track.is_video() && lane.subscription.is_idle()) {
            if lane.subscription.start(&rings[lane.encoding()], now) == Start::NeedsKey {
                wishes.key_frames.push(lane.encoding());
            }
        }
    }

    /// The student gets this tier of a track from now on, or nothing. In `trouble` the other one ends at once, so that
    /// what is under way can arrive; else it is sent until there is a key frame.
    pub(super) fn give(
        &mut self,
        now: Instant,
        track: Track,
        tier: Option<Tier>,
        trouble: bool,
        rings: &Rings,
        wishes: &mut Wishes,
    ) {
        let Some(n) = self.lanes.iter().position(|lane| lane.track == track && track.is_video()) else { return };
        let lane = &mut self.lanes[n];
        let is_sent = !lane.subscription.is_paused();
        let Some(tier) = tier else {
            lane.next = None;
            self.under_way = self.under_way.filter(|rest| rest.lane != n);
            return lane.subscription.pause();
        };
        if is_sent && lane.subscription.tier() == tier {
            lane.next = None;
            return;
        }
        let wanted = lane.in_tier(tier);
        let most = if trouble || !is_sent { NARROW_REPLAY_BYTES } else { REPLAY_BYTES };
        lane.next = None;
        if lane.subscription.switch(tier, &rings[wanted], now, most) == Start::NeedsKey {
            wishes.key_frames.push(wanted);
            if trouble {
                lane.subscription.give_up_for(tier);
                self.under_way = self.under_way.filter(|rest| rest.lane != n);
            } else {
                lane.next = Some(tier);
            }
        }
    }

    /// The tier of the picture of this SSRC.
    pub(super) fn tier_of(&self, ssrc: u32) -> Option<Tier> {
        let lane = self.lanes.iter().find(|lane| lane.subscription.ssrc() == ssrc && lane.track.is_video())?;
        Some(lane.subscription.tier())
    }

    /// The student can't decode the picture of this SSRC: it begins anew, if it `may`. Nothing if that is no picture of
    /// ours.
    pub(super) fn picture_lost(
        &mut self,
        now: Instant,
        ssrc: u32,
        may: bool,
        rings: &Rings,
        wishes: &mut Wishes,
    ) -> Option<Recovery> {
        let lane = self.lanes.iter_mut().find(|l| l.subscription.ssrc() == ssrc && l.track.is_video())?;
        if lane.subscription.awaits_key() {
            return Some(Recovery::UnderWay);
        }
        if !may {
            return Some(Recovery::No);
        }
        let encoding = lane.encoding();
        match lane.subscription.start(&rings[encoding], now) {
            Start::TooSoon => return Some(Recovery::No),
            Start::FromRing => {}
            Start::NeedsKey => wishes.key_frames.push(encoding),
        }
        Some(Recovery::Yes)
    }

    /// The pictures that can't go on without a key frame.
    pub(super) fn awaited(&self) -> impl Iterator<Item = Encoding> {
        let awaits = |lane: &&Lane| lane.track.is_video() && lane.subscription.awaits_key();
        self.lanes.iter().filter(awaits).map(Lane::encoding)
    }

    /// What is to be sent again for a NACK, if it was sent and is still there.
    pub(super) fn repair(&self, ssrc: u32, sequence_number: u16, rings: &Rings) -> Option<Repair> {
        let lane = self.lanes.iter().position(|lane| lane.subscription.ssrc() == ssrc)?;
        let l = &self.lanes[lane];
        l.subscription.resend(|tier| &rings[l.in_tier(tier)], sequence_number)?;
        Some(Repair { lane, sequence_number })
    }

    /// A frame was put into the ring of `encoding` as `index`; says whether this student gets it.
    pub(super) fn on_frame(&mut self, encoding: Encoding, index: u64, key: bool) -> bool {
        let mut gets = false;
        for lane in self.lanes.iter_mut().filter(|lane| (lane.track, lane.codec) == (encoding.track, encoding.codec)) {
            if key && lane.next == Some(encoding.tier) {
                lane.next = None;
                lane.subscription.switch_at(encoding.tier, index);
                gets = true;
            } else if lane.subscription.tier() == encoding.tier {
                lane.subscription.on_frame(index, key);
                gets = true;
            }
        }
        gets
    }

    /// The source of `encoding` has a gap: only a key frame will do.
    pub(super) fn on_gap(&mut self, track: Track) {
        for lane in self.lanes.iter_mut().filter(|lane| lane.track == track) {
            lane.subscription.drop_to_next_key();
        }
    }

    /// Frames that were left out.
    pub(super) fn dropped(&self) -> u64 {
        self.lanes.iter().map(|lane| lane.subscription.dropped()).sum()
    }

    /// Sends the frames that were not sent yet, of `only` one track or of all, and gives how many packets these were.
    /// Sets [`Self::catches_up`] when there is more, for the next turn.
    pub(super) fn send(
        &mut self,
        now: Instant,
        only: Option<Track>,
        rings: &Rings,
        estimate: &mut Estimate,
        connection: &mut RTCPeerConnection,
        outlet: &mut UdpSender,
    ) -> usize {
        if only.is_none() {
            self.catches_up = false;
        }
        let mut count = 0;
        if only.is_none_or(Track::is_video) {
            self.go_on(now, rings, estimate, connection, outlet);
        }
        for n in 0..self.lanes.len() {
            if only.is_some_and(|track| track != self.lanes[n].track) {
                continue;
            }
            let ring = &rings[self.lanes[n].encoding()];
            let mut bytes = 0;
            while let Some(due) = self.lanes[n].subscription.due(ring) {
                if bytes > CATCH_UP_BYTES {
                    self.catches_up = true;
                    break;
                }
                let lane = &mut self.lanes[n];
                if lane.track.is_video() && lane.subscription.is_late(ring) {
                    lane.subscription.drop_to_next_key();
                    break;
                }
                if self.under_way.is_some() && self.lanes[n].track.is_video() {
                    self.catches_up = true;
                    break;
                }
                let Some(packets) = self.lanes[n].subscription.take(ring) else { break };
                if self.pace.is_some() && self.lanes[n].track.is_video() {
                    let mut packets = packets;
                    let Some(first) = packets.next().map(|packet| packet.index) else { continue };
                    let end = first + 1 + packets.count() as u64;
                    count += (end - first) as usize;
                    self.under_way = Some(UnderWay { lane: n, next: first, end });
                    self.go_on(now, rings, estimate, connection, outlet);
                    continue;
                }
                let mut sent = Sent::Yes;
                for packet in packets {
                    count += 1;
                    bytes += packet.payload.len();
                    sent = sent.and(self.write(now, n, packet, estimate, connection, outlet));
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
                    }
                    break;
                }
            }
        }
        count
    }

    /// Sends packets again: on the SSRC for that where there is one, else as they were.
    pub(super) fn resend(
        &mut self,
        now: Instant,
        repairs: &[Repair],
        rings: &Rings,
        estimate: &mut Estimate,
        connection: &mut RTCPeerConnection,
        outlet: &mut UdpSender,
    ) {
        for repair in repairs {
            let sealed_by_us = self.sealer.is_some();
            let Some(lane) = self.lanes.get_mut(repair.lane) else { continue };
            let (track, codec) = (lane.track, lane.codec);
            let ring = |tier| &rings[Encoding { track, tier, codec }];
            let Some(packet) = lane.subscription.resend(ring, repair.sequence_number) else { continue };
            // A packet that goes again under its own number must be the same one, bit for bit, see `seal`; with another
            // transport-wide number it would not be.
            let had = lane.numbers.of(packet.index);
            match (&mut lane.repairs, self.transport) {
                (Some(repairs), _) if sealed_by_us => {
                    let packet = repairs.again(&packet);
                    self.write(now, repair.lane, packet, estimate, connection, outlet);
                }
                (_, None) => {
                    self.write(now, repair.lane, packet, estimate, connection, outlet);
                }
                (_, Some(transport)) => {
                    let Some(number) = had else { continue };
                    let packet =
                        OutgoingPacket { transport: Some(TwccSequenceNumber { number, ..transport }), ..packet };
                    estimate.sent(now, None, packet.bytes());
                    self.count(&packet);
                    self.seal(&packet, outlet);
                }
            }
        }
        outlet.flush();
    }

    /// Sends a train of padding, where there is an SSRC for it.
    pub(super) fn probe(
        &mut self,
        now: Instant,
        probe: Probe,
        estimate: &mut Estimate,
        connection: &mut RTCPeerConnection,
        outlet: &mut UdpSender,
    ) {
        let Some(n) = self.lanes.iter().position(|lane| lane.repairs.is_some()) else { return };
        if self.sealer.is_none() {
            return;
        }
        let packets = (probe.packets * probe.bytes_each).div_ceil(MAX_PADDING);
        // Pictures would pay for it with a far longer time than it takes on the line.
        let pace = self.pace.take();
        for _ in 0..packets {
            let Some(repairs) = &mut self.lanes[n].repairs else { break };
            let packet = repairs.padding(MAX_PADDING as u8, 0);
            self.write(now, n, packet, estimate, connection, outlet);
        }
        self.pace = pace;
        outlet.flush();
    }
}

#[cfg(test)]
mod tests;
