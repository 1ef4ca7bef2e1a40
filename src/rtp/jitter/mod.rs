//! When what a student receives is played: order, time, and how long to wait for what is missing.
//!
//! A [`JitterBuffer`] takes the packets of all tracks as they come and gives them back in order, each with the time at which
//! it is to be played. That time is where the packet lies on its track's [`PlayoutClock`], the same moment of the lecture at
//! the same time for all tracks; players add one [delay](JitterBuffer::delay), which covers what the network does to most
//! packets.
//!
//! Pictures and sound wait differently. A block of sound that is missing is given up when its time has come, and the
//! decoder conceals it. A picture is worth being late, because all up to the next key frame need it: it is waited for
//! as long as repairs may come, and what waited is then shown at once.

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
use super::{Codec, Track, opus, payload_offset, starts_key_frame};

/// How long a picture's missing packets are waited for, from when they are known to be missing: all tries of a link of
/// 300 ms and back.
const NACK_TIMEOUT: Duration = Duration::from_millis(600);

/// How long until a key frame that has come anyway ends the waiting: most repairs have come by then.
const KEY_FRAME_TIMEOUT: Duration = Duration::from_millis(150);

/// How long until a key frame is asked for, and the repairs are still waited for: whichever comes first.
const KEY_FRAME_REQUEST_AFTER: Duration = Duration::from_millis(250);

/// Sound that should have been played by now for so long is not worth concealing: nobody hears it any more.
const TOO_LATE_TO_CONCEAL: Duration = Duration::from_millis(200);

/// A track without a packet for so many seconds is not waited for by the others.
const ABSENT_SECONDS: u64 = 3;

/// Reports that would delay a track by more than this for another are not believed.
const MOST_APART: i64 = 1_000_000_000;

/// A block of sound, where nothing is known (RFC 7587, 4.2).
const BLOCK: i64 = 20_000_000;

/// The least and the most that a block of sound can be.
const BLOCKS: (i64, i64) = (2_500_000, 120_000_000);

/// What is played.
#[derive(Debug, PartialEq, Eq)]
pub enum PlayoutEvent {
    /// The next packet.
    Packet {
        /// All of it, header first.
        bytes: Vec<u8>,
        /// Its time, before the delay.
        due: Duration,
        /// Whether something before it is missing.
        after_loss: bool,
    },
    /// Sound that never came.
    Concealment {
        /// Its time, before the delay.
        due: Duration,
        /// How long it is.
        lasts: Duration,
    },
    /// Repairs are late, so that a key frame should be asked for.
    KeyFrameNeeded,
}

/// What has been missing from a track since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct LossStats {
    /// Packets that never came, or too late.
    pub lost: u64,
    /// Packets that came too late.
    pub late: u64,
    /// Packets of sound that never came, and whose copy in the next one was played.
    pub restored: u64,
    /// Sound that never came, and for which something was made up.
    pub concealed: Duration,
}

/// All tracks of a lecture on their way from the network to the decoders. Times are those since its start.
#[derive(Debug)]
pub struct JitterBuffer {
    tracks: Vec<Incoming>,
    delay: TargetDelay,
    /// Whether nobody listens now: then sound is waited for as long as pictures are.
    keeps: bool,
}

#[derive(Debug)]
struct Incoming {
    track: Track,
    codec: Codec,
    stream: Option<Stream>,
    missing: LossStats,
}

/// One SSRC of a track.
#[derive(Debug)]
struct Stream {
    ssrc: u32,
    line: PlayoutClock,
    order: Reorder,
    report: Option<SenderReport>,
    /// Timestamp and time of what was played last.
    last: Option<(u32, Duration)>,
    after_loss: bool,
    /// How long the hole was that was played last; none after a packet.
    hole: Option<Duration>,
    /// A key frame was asked for because of the gap of this time.
    asked: Option<Duration>,
}

impl JitterBuffer {
    /// A playout of these tracks. `keeps` says that they are recorded and not played.
    pub fn new(tracks: impl IntoIterator<Item = (Track, Codec)>, latency: Latency, keeps: bool) -> Self {
        let incoming = |(track, codec)| Incoming { track, codec, stream: None, missing: LossStats::default() };
        Self { tracks: tracks.into_iter().map(incoming).collect(), delay: TargetDelay::new(latency), keeps }
    }

    /// The receiver itself stood still until now: what comes late because of that is no reason to wait longer.
    pub fn stood_still(&mut self) {
        self.delay.stood_still();
    }

    /// How much later than due everything is to be played.
    pub fn delay(&self) -> Duration {
        self.delay.now()
    }

    /// What has been missing from a track.
    pub fn missing(&self, track: Track) -> LossStats {
        self.tracks.iter().find(|incoming| incoming.track == track).map(|incoming| incoming.missing).unwrap_or_default()
    }

    /// Jitter of a track's arrival (RFC 3550, 6.4.1), in milliseconds.
    pub fn jitter_ms(&self, track: Track) -> f64 {
        let stream =
            self.tracks.iter().find(|incoming| incoming.track == track).and_then(|known| known.stream.as_ref());
        stream.map_or(0.0, |stream| stream.line.jitter() / 1e6)
    }

    /// Takes an RTP packet, and plays what can be played now; whether the delay has changed. What is no RTP, or of no
    /// known track, is dropped.
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

    /// Takes a compound RTCP packet about a track: a sender report in it tells when what was captured.
    pub fn report(&mut self, track: Track, compound: &[u8]) {
        let Some(report) = SenderReport::find(compound) else { return };
        let stream = self.tracks.iter_mut().find(|incoming| incoming.track == track).and_then(|i| i.stream.as_mut());
        if let Some(stream) = stream.filter(|stream| stream.ssrc == report.ssrc) {
            stream.report = Some(report);
        }
    }

    /// Lets time pass: plays what needs not be waited for any more. Whether the delay has changed.
    pub fn pass(&mut self, now: Duration, mut play: impl FnMut(Track, PlayoutEvent)) -> bool {
        for at in 0..self.tracks.len() {
            self.play(at, None, now, &mut play);
        }
        self.delay.look(now)
    }

    /// When [`pass`](Self::pass) has something to do without another packet; none when nothing is missing.
    pub fn wakes(&mut self) -> Option<Duration> {
        let (delay, keeps) = (self.delay.now(), self.keeps);
        self.tracks.iter_mut().filter_map(|incoming| incoming.wakes(delay, keeps)).min()
    }

    /// The offset of a track's line that puts it together with the other tracks.
    fn wanted(&self, at: usize, now: Duration) -> Option<i64> {
        let stream = self.tracks.get(at)?.stream.as_ref()?;
        let own = stream.line.wanted();
        let Some(clock) = stream.clock() else { return Some(own) };
        // The track whose way is the longest is waited for by all.
        let others = self.tracks.iter().filter_map(|incoming| {
            let other = incoming.stream.as_ref()?;
            let is_there = other.line.last_second() + ABSENT_SECONDS >= now.as_secs();
            Some(other.line.wanted() - other.clock().filter(|_| is_there)? + clock)
        });
        Some(others.filter(|offset| *offset - own < MOST_APART).fold(own, i64::max))
    }

    fn play(&mut self, at: usize, wanted: Option<i64>, now: Duration, play: &mut impl FnMut(Track, PlayoutEvent)) {
        let Some(Incoming { track, stream: Some(stream), missing, .. }) = self.tracks.get_mut(at) else { return };
        if let Some(wanted) = wanted {
            stream.line.follow(wanted, now);
        }
        loop {
            while let Some(packet) = stream.order.pop() {
                let due = stream.due(packet.timestamp);
                if packet.marker || !track.is_video() {
                    self.delay.note(*track, now.saturating_sub(stream.line.due(packet.timestamp)));
                }
                let after_loss = std::mem::take(&mut stream.after_loss);
                if let Some(hole) = stream.hole.take()
                    && opus::has_copy(&packet.bytes[payload_offset(&packet.bytes).unwrap_or(packet.bytes.len())..])
                {
                    missing.restored += 1;
                    missing.concealed = missing.concealed.saturating_sub(hole);
                }
                play(*track, PlayoutEvent::Packet { bytes: packet.bytes, due, after_loss });
            }
            let Some(gap) = stream.order.gap() else { return };
            let waits_for_repair = track.is_video() || self.keeps;
            if waits_for_repair {
                if gap.before_key && track.is_video() && now >= gap.since + KEY_FRAME_TIMEOUT {
                    missing.lost += stream.order.skip_to_key();
                } else if now >= gap.since + NACK_TIMEOUT {
                    missing.lost += stream.order.skip();
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
                missing.lost += 1;
                let is_heard = now < due + self.delay.now() + TOO_LATE_TO_CONCEAL;
                stream.hole = is_heard.then_some(lasts);
                if is_heard {
                    missing.concealed += lasts;
                    play(*track, PlayoutEvent::Concealment { due, lasts });
                }
            }
            stream.after_loss = true;
        }
    }
}

impl Incoming {
    /// Puts a packet in its place; none when there is nothing new to play.
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
        stream.line.arrived(timestamp, now);
        match placed {
            Insertion::Late => {
                self.missing.late += 1;
                delay.note(self.track, now.saturating_sub(stream.line.due(timestamp)));
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
    fn new(ssrc: u32, line: PlayoutClock) -> Self {
        let order = Reorder::default();
        // A decoder must not take it for what comes behind the stream before.
        Self { ssrc, line, order, report: None, last: None, after_loss: true, hole: None, asked: None }
    }

    /// What has to be added to media time for the sender's clock.
    fn clock(&self) -> Option<i64> {
        self.report.map(|report| report.captured.wrapping_sub(self.line.media(report.timestamp)))
    }

    /// The time of the next packet: one for a whole picture, and never before the one before.
    fn due(&mut self, timestamp: u32) -> Duration {
        let due = match self.last {
            Some((same, due)) if same == timestamp => due,
            Some((_, before)) => self.line.due(timestamp).max(before),
            None => self.line.due(timestamp),
        };
        self.last = Some((timestamp, due));
        due
    }

    /// The first block of sound that is missing: its timestamp, its time, and how long it is.
    fn hole(&self, gap: Gap) -> (u32, Duration, Duration) {
        let Some((timestamp, due)) = self.last else {
            return (gap.timestamp, self.line.due(gap.timestamp), duration(BLOCK));
        };
        let apart = self.line.media(gap.timestamp) - self.line.media(timestamp);
        let (least, most) = BLOCKS;
        let lasts = (apart / (gap.missing.cast_signed() + 1)).clamp(least, most);
        let ticks = i64::from(gap.timestamp.wrapping_sub(timestamp).cast_signed());
        let step = i128::from(ticks) * i128::from(lasts) / i128::from(apart.max(1));
        (timestamp.wrapping_add(step as u32), due + duration(lasts), duration(lasts))
    }
}

#[cfg(test)]
mod tests;
