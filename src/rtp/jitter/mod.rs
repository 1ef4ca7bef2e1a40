//! The jitter buffer: when and in which order received packets are played, and how long missing ones are awaited.
//!
//! A [`JitterBuffer`] takes the packets of all tracks as they arrive and returns them in order, each with its playout
//! time by the track's [`PlayoutClock`]. These times are in sync: one moment of the lecture has the same time on all
//! tracks. Players add one [delay](JitterBuffer::delay), within which most packets arrive.
//!
//! Audio and video wait differently. A missing audio packet is given up at its playout time, and the decoder conceals
//! it. A missing video packet is awaited for as long as a retransmission may arrive, because all frames up to the next
//! key frame depend on it; the frames behind it are then shown at once.

mod playout_clock;
mod reorder;
mod report;
mod target_delay;

use std::time::Duration;

use self::playout_clock::{PlayoutClock, duration};
use self::reorder::{Gap, Insertion, Packet, Reorder};
use self::report::SenderReport;
use self::target_delay::TargetDelay;
pub use self::target_delay::{Latency, MAX_DELAY, MIN_DELAY};
use super::payload::opus_has_fec;
use super::{Codec, Track, payload_offset, starts_key_frame};

/// How long missing video packets are awaited after the gap is detected: enough for all NACKs at a round trip of 300
/// ms.
const NACK_TIMEOUT: Duration = Duration::from_millis(600);

/// How long they are awaited if a key frame waits behind them: most retransmissions have arrived by then.
const KEY_FRAME_TIMEOUT: Duration = Duration::from_millis(150);

/// When a key frame is requested, while retransmissions are still awaited.
const KEY_FRAME_REQUEST_AFTER: Duration = Duration::from_millis(250);

/// Audio that is later than this is not concealed: its time has passed.
const TOO_LATE_TO_CONCEAL: Duration = Duration::from_millis(200);

/// Other tracks are not kept in sync with a track that has had no packet for this many seconds.
const ABSENT_SECONDS: u64 = 3;

/// Sender reports that would delay one track by more than this for another are ignored, in nanoseconds.
const MAX_APART: i64 = 1_000_000_000;

/// The duration of an audio packet if unknown, in nanoseconds (RFC 7587, 4.2).
const BLOCK: i64 = 20_000_000;

/// The minimum and maximum duration of an audio packet, in nanoseconds.
const BLOCKS: (i64, i64) = (2_500_000, 120_000_000);

/// The next item to play.
#[derive(Debug, PartialEq, Eq)]
pub enum PlayoutEvent {
    /// The next packet.
    Packet {
        /// The RTP packet with its header.
        bytes: Vec<u8>,
        /// Its playout time, before the delay.
        due: Duration,
        /// Whether packets before it are missing.
        after_loss: bool,
    },
    /// Audio that did not arrive in time and must be concealed.
    Concealment {
        /// Its playout time, before the delay.
        due: Duration,
        /// Its duration.
        lasts: Duration,
    },
    /// Retransmissions are late, so a key frame should be requested.
    KeyFrameNeeded,
}

/// The losses of a track since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct LossStats {
    /// Packets that never arrived or arrived too late.
    pub lost: u64,
    /// Packets that arrived too late.
    pub late: u64,
    /// Audio packets that did not arrive and were restored from their copy in the next packet (in-band FEC).
    pub restored: u64,
    /// The duration of concealed audio.
    pub concealed: Duration,
}

/// All tracks of a lecture between the network and the decoders. Times count from its start.
#[derive(Debug)]
pub struct JitterBuffer {
    tracks: Vec<Incoming>,
    delay: TargetDelay,
    /// Whether the lecture is recorded instead of played: then audio is awaited as long as video.
    keeps: bool,
}

#[derive(Debug)]
struct Incoming {
    track: Track,
    codec: Codec,
    stream: Option<Stream>,
    losses: LossStats,
}

/// One SSRC of a track.
#[derive(Debug)]
struct Stream {
    ssrc: u32,
    playout_clock: PlayoutClock,
    order: Reorder,
    report: Option<SenderReport>,
    /// Timestamp and playout time of the last packet.
    last: Option<(u32, Duration)>,
    after_loss: bool,
    /// The duration of the last concealment; `None` after a packet.
    hole: Option<Duration>,
    /// The detection time of the gap for which a key frame was requested.
    asked: Option<Duration>,
}

impl JitterBuffer {
    /// A jitter buffer for these tracks. With `keeps` they are recorded instead of played.
    pub fn new(tracks: impl IntoIterator<Item = (Track, Codec)>, latency: Latency, keeps: bool) -> Self {
        let incoming = |(track, codec)| Incoming { track, codec, stream: None, losses: LossStats::default() };
        Self { tracks: tracks.into_iter().map(incoming).collect(), delay: TargetDelay::new(latency), keeps }
    }

    /// The receiver itself was suspended until now: packets that are late for that reason do not raise the delay.
    pub fn on_suspension(&mut self) {
        self.delay.on_suspension();
    }

    /// The delay of everything relative to its playout time.
    pub fn delay(&self) -> Duration {
        self.delay.now()
    }

    /// The losses of a track.
    pub fn losses(&self, track: Track) -> LossStats {
        self.tracks.iter().find(|incoming| incoming.track == track).map(|incoming| incoming.losses).unwrap_or_default()
    }

    /// The interarrival jitter of a track in milliseconds (RFC 3550, 6.4.1).
    pub fn jitter_ms(&self, track: Track) -> f64 {
        let stream =
            self.tracks.iter().find(|incoming| incoming.track == track).and_then(|known| known.stream.as_ref());
        stream.map_or(0.0, |stream| stream.playout_clock.jitter() / 1e6)
    }

    /// Takes an RTP packet and plays everything that is ready. Returns whether the delay has changed. Malformed packets
    /// and packets of unknown tracks are dropped.
    pub fn take(
        &mut self,
        track: Track,
        packet: &[u8],
        now: Duration,
        mut play: impl FnMut(Track, PlayoutEvent),
    ) -> bool {
        let Some(at) = self.tracks.iter().position(|incoming| incoming.track == track) else { return false };
        let Some(incoming) = self.tracks.get_mut(at) else { return false };
        if incoming.take(packet, now, &mut self.delay).is_some() {
            let wanted = self.wanted(at, now);
            self.play(at, wanted, now, &mut play);
        }
        self.delay.look(now)
    }

    /// Takes a compound RTCP packet of a track and reads its sender report.
    pub fn report(&mut self, track: Track, compound: &[u8]) {
        let Some(report) = SenderReport::find(compound) else { return };
        let stream = self.tracks.iter_mut().find(|incoming| incoming.track == track).and_then(|i| i.stream.as_mut());
        if let Some(stream) = stream.filter(|stream| stream.ssrc == report.ssrc) {
            stream.report = Some(report);
        }
    }

    /// Advances the time: plays everything that need not wait any longer. Returns whether the delay has changed.
    pub fn pass(&mut self, now: Duration, mut play: impl FnMut(Track, PlayoutEvent)) -> bool {
        for at in 0..self.tracks.len() {
            self.play(at, None, now, &mut play);
        }
        self.delay.look(now)
    }

    /// When to call [`pass`](Self::pass) if no packet arrives before; `None` if nothing is missing.
    pub fn wakes(&mut self) -> Option<Duration> {
        let (delay, keeps) = (self.delay.now(), self.keeps);
        self.tracks.iter_mut().filter_map(|incoming| incoming.wakes(delay, keeps)).min()
    }

    /// The offset of a track's clock that keeps it in sync with the other tracks.
    fn wanted(&self, at: usize, now: Duration) -> Option<i64> {
        let stream = self.tracks.get(at)?.stream.as_ref()?;
        let own = stream.playout_clock.wanted();
        let Some(clock) = stream.clock() else { return Some(own) };
        // All tracks wait for the track with the longest delay.
        let others = self.tracks.iter().filter_map(|incoming| {
            let other = incoming.stream.as_ref()?;
            let is_there = other.playout_clock.last_second() + ABSENT_SECONDS >= now.as_secs();
            Some(other.playout_clock.wanted() - other.clock().filter(|_| is_there)? + clock)
        });
        Some(others.filter(|offset| *offset - own < MAX_APART).fold(own, i64::max))
    }

    fn play(&mut self, at: usize, wanted: Option<i64>, now: Duration, play: &mut impl FnMut(Track, PlayoutEvent)) {
        let Some(Incoming { track, stream: Some(stream), losses, .. }) = self.tracks.get_mut(at) else { return };
        if let Some(wanted) = wanted {
            stream.playout_clock.follow(wanted, now);
        }
        loop {
            while let Some(packet) = stream.order.pop() {
                let due = stream.due(packet.timestamp);
                if packet.marker || !track.is_video() {
                    self.delay.note(*track, now.saturating_sub(stream.playout_clock.due(packet.timestamp)));
                }
                let after_loss = std::mem::take(&mut stream.after_loss);
                if let Some(hole) = stream.hole.take()
                    && opus_has_fec(&packet.bytes[payload_offset(&packet.bytes).unwrap_or(packet.bytes.len())..])
                {
                    losses.restored += 1;
                    losses.concealed = losses.concealed.saturating_sub(hole);
                }
                play(*track, PlayoutEvent::Packet { bytes: packet.bytes, due, after_loss });
            }
            let Some(gap) = stream.order.gap() else { return };
            let waits_for_repair = track.is_video() || self.keeps;
            if waits_for_repair {
                if gap.before_key && track.is_video() && now >= gap.since + KEY_FRAME_TIMEOUT {
                    losses.lost += stream.order.skip_to_key();
                } else if now >= gap.since + NACK_TIMEOUT {
                    losses.lost += stream.order.skip();
                } else {
                    if now >= gap.since + KEY_FRAME_REQUEST_AFTER && stream.asked != Some(gap.since) {
                        stream.asked = Some(gap.since);
                        play(*track, PlayoutEvent::KeyFrameNeeded);
                    }
                    return;
                }
            } else {
                let (timestamp, due, lasts) = stream.hole(gap);
                if now < due + self.delay.now() {
                    return;
                }
                stream.order.skip_one();
                stream.last = Some((timestamp, due));
                losses.lost += 1;
                let is_heard = now < due + self.delay.now() + TOO_LATE_TO_CONCEAL;
                stream.hole = is_heard.then_some(lasts);
                if is_heard {
                    losses.concealed += lasts;
                    play(*track, PlayoutEvent::Concealment { due, lasts });
                }
            }
            stream.after_loss = true;
        }
    }
}

impl Incoming {
    /// Inserts a packet; returns `None` if it is malformed, late or a duplicate.
    fn take(&mut self, packet: &[u8], now: Duration, delay: &mut TargetDelay) -> Option<()> {
        let payload = packet.get(payload_offset(packet)?..)?;
        let word = |at: usize| Some(u32::from_be_bytes(packet.get(at..at + 4)?.try_into().ok()?));
        let (sequence, timestamp, ssrc) = (word(0)? as u16, word(4)?, word(8)?);
        if self.stream.as_ref().is_none_or(|stream| stream.ssrc != ssrc) {
            self.stream = Some(Stream::new(ssrc, PlayoutClock::new(self.codec.clock_rate(), timestamp, now)));
        }
        let stream = self.stream.as_mut()?;
        let starts_key = self.track.is_video() && starts_key_frame(self.codec, payload);
        let marker = packet[1] & 0x80 != 0;
        let placed =
            stream.order.put(sequence, Packet { bytes: packet.to_vec(), timestamp, marker, starts_key, at: now });
        if placed == Insertion::Duplicate {
            return None;
        }
        stream.playout_clock.arrived(timestamp, now);
        match placed {
            Insertion::Late => {
                self.losses.late += 1;
                delay.note(self.track, now.saturating_sub(stream.playout_clock.due(timestamp)));
                return None;
            }
            Insertion::Reset => stream.after_loss = true,
            Insertion::Buffered | Insertion::Duplicate => {}
        }
        Some(())
    }

    fn wakes(&mut self, delay: Duration, keeps: bool) -> Option<Duration> {
        let stream = self.stream.as_mut()?;
        let gap = stream.order.gap()?;
        if !self.track.is_video() && !keeps {
            return Some(stream.hole(gap).1 + delay);
        }
        let key = gap.before_key.then_some(KEY_FRAME_TIMEOUT);
        let ask = (stream.asked != Some(gap.since)).then_some(KEY_FRAME_REQUEST_AFTER);
        [key, ask].into_iter().flatten().chain([NACK_TIMEOUT]).min().map(|wait| gap.since + wait)
    }
}

impl Stream {
    fn new(ssrc: u32, playout_clock: PlayoutClock) -> Self {
        let order = Reorder::default();
        // The decoder must know that this does not continue the previous stream.
        Self { ssrc, playout_clock, order, report: None, last: None, after_loss: true, hole: None, asked: None }
    }

    /// The difference between the sender's clock and media time.
    fn clock(&self) -> Option<i64> {
        self.report.map(|report| report.captured.wrapping_sub(self.playout_clock.media(report.timestamp)))
    }

    /// The playout time of the next packet: the same for a whole frame, and never before that of the previous frame.
    fn due(&mut self, timestamp: u32) -> Duration {
        let due = match self.last {
            Some((same, due)) if same == timestamp => due,
            Some((_, before)) => self.playout_clock.due(timestamp).max(before),
            None => self.playout_clock.due(timestamp),
        };
        self.last = Some((timestamp, due));
        due
    }

    /// The first missing audio packet: its timestamp, playout time and duration.
    fn hole(&self, gap: Gap) -> (u32, Duration, Duration) {
        let Some((timestamp, due)) = self.last else {
            return (gap.timestamp, self.playout_clock.due(gap.timestamp), duration(BLOCK));
        };
        let apart = self.playout_clock.media(gap.timestamp) - self.playout_clock.media(timestamp);
        let (least, most) = BLOCKS;
        let lasts = (apart / (gap.missing.cast_signed() + 1)).clamp(least, most);
        let ticks = i64::from(gap.timestamp.wrapping_sub(timestamp).cast_signed());
        let step = i128::from(ticks) * i128::from(lasts) / i128::from(apart.max(1));
        (timestamp.wrapping_add(step as u32), due + duration(lasts), duration(lasts))
    }
}

#[cfg(test)]
mod tests;
