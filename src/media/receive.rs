//! What a student's graph measures of a track, and when it needs a key frame.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use gstreamer as gst;
use gstreamer::prelude::*;
use tokio::sync::mpsc;

use super::freezes::{Freezes, Withheld};
use super::playing::Clock;
use super::render::RenderEvent;
use crate::rtp::Track;

/// Between two pictures of text in the low tier.
const SPARSE: Duration = Duration::from_millis(200);

/// A key frame is asked for twice a second at most, and as often until it comes, because requests get lost too.
const ASK_AGAIN: Duration = Duration::from_millis(500);

/// How long an encoded picture may wait for the decoder beyond its time. A slow decoder is not followed into the past: what
/// waits is thrown away up to a fresh key frame.
const TOO_LATE: Duration = Duration::from_millis(700);

/// What a late picture gets for the rest of its way to the window.
const AT_ONCE: Duration = Duration::from_millis(5);

/// Numbers of a track since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct TrackStats {
    /// Pictures or blocks of sound that came out of the decoder.
    pub frames_decoded: u64,
    /// Width of the picture in pixels, 0 before the first.
    pub width: u32,
    /// Height of the picture in pixels, 0 before the first.
    pub height: u32,
    /// Jitter of arrival (RFC 3550, 6.4.1), in milliseconds.
    pub jitter_ms: f32,
    /// How often the picture stood still, by W3C's `freezeCount`; none that goes on.
    pub freezes: u64,
    /// The time in all freezes that are over.
    pub freeze_total: Duration,
    /// How long the picture stands still by now, if it does.
    pub frozen: Option<Duration>,
    /// How often the publisher withheld the picture after the first one, one that goes on too.
    pub withholdings: u64,
    /// How long the publisher withheld the picture after the first one, each time up to the next picture.
    pub withheld: Duration,
    /// Whether the publisher withholds the picture now, after the first one.
    pub is_withheld: bool,
    /// Packets that never came, or too late.
    pub lost: u64,
    /// Packets that came too late.
    pub late: u64,
    /// Packets of sound that never came, and whose copy in the next one was played.
    pub restored: u64,
    /// Sound that never came, and in whose place the decoder made something up.
    pub concealed: Duration,
    /// Encoded pictures or blocks of sound that were thrown away, because the decoder had no time for them.
    pub skipped: u64,
    /// Key frames that were asked for.
    pub key_frames_asked: u64,
}

/// The measuring points of one track. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Received(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    track: Track,
    clock: Clock,
    events: mpsc::Sender<RenderEvent>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    stats: TrackStats,
    freezes: Freezes,
    /// When a key frame was last asked for, while one is needed.
    needed: Option<Instant>,
    /// When a key frame was last asked for.
    asked: Option<Instant>,
    /// No pictures are expected; some may be under way.
    unexpected: bool,
    /// Encoded pictures are thrown away up to the next key frame.
    skipping: bool,
    /// What comes behind the decoder, where late pictures are to be shown at once.
    shown_after: Option<Duration>,
}

impl Received {
    pub(super) fn new(track: Track, clock: Clock, events: mpsc::Sender<RenderEvent>) -> Self {
        // A video track begins with the need for a key frame, which the teacher sends unasked.
        let needed = track.is_video().then(Instant::now);
        let state = State { needed, asked: needed, ..State::default() };
        Self(Arc::new(Shared { track, clock, events, state: Mutex::new(state) }))
    }

    pub(super) fn track(&self) -> Track {
        self.0.track
    }

    /// The numbers that are known here, which is all but those of packets.
    pub(super) fn stats(&self) -> TrackStats {
        let Ok(state) = self.0.state.lock() else { return TrackStats::default() };
        let State { stats, freezes, .. } = &*state;
        let now = Instant::now();
        let Withheld { count: withholdings, total: withheld } = freezes.withheld(now);
        TrackStats {
            freezes: freezes.count,
            freeze_total: freezes.total,
            frozen: freezes.frozen(now),
            withholdings,
            withheld,
            is_withheld: freezes.is_withheld(),
            ..*stats
        }
    }

    /// Says whether pictures are expected; the time without one is withheld then, and no freeze.
    pub(super) fn expect(&self, expected: bool) {
        let Ok(mut state) = self.0.state.lock() else { return };
        state.unexpected = !expected;
        if !expected {
            state.freezes.pause(Instant::now());
        }
    }

    /// The lecture is over for now. What is still under way is not expected.
    pub(super) fn rest(&self) {
        let Ok(mut state) = self.0.state.lock() else { return };
        state.unexpected = true;
        state.freezes.rest(Instant::now());
    }

    /// This process stood still from one time to another.
    pub(super) fn stood_still(&self, from: Instant, to: Instant) {
        if let Ok(mut state) = self.0.state.lock() {
            state.freezes.stood_still(from, to);
        }
    }

    /// The publisher sends fewer pictures from now on: as few as the low tier of text has.
    pub(super) fn expect_fewer(&self) {
        if let Ok(mut state) = self.0.state.lock() {
            state.freezes.slow_down(SPARSE);
        }
    }

    /// Notes that the decoder can't go on, and asks for a key frame unless that was done just now.
    pub(super) fn need_key_frame(&self) {
        self.ask(|state| {
            state.needed.get_or_insert_with(Instant::now);
            true
        });
    }

    /// Asks for a key frame that may not be needed, because repairs are still under way.
    pub(super) fn want_key_frame(&self) {
        self.ask(|_| true);
    }

    /// Asks again while a key frame is still needed. Called with every packet.
    pub(super) fn remind(&self) {
        self.ask(|state| state.needed.is_some());
    }

    fn ask(&self, wants: impl FnOnce(&mut State) -> bool) {
        if !self.0.track.is_video() {
            return;
        }
        let Ok(mut state) = self.0.state.lock() else { return };
        if wants(&mut state) && state.asked.is_none_or(|last| last.elapsed() >= ASK_AGAIN) {
            state.asked = Some(Instant::now());
            state.stats.key_frames_asked += 1;
            drop(state);
            // Full: the reader has events enough, and this one is repeated.
            let _ = self.0.events.try_send(RenderEvent::KeyFrameNeeded(self.0.track));
        }
    }

    /// Sees key frames pass, and requests of depayloader and decoder going up.
    pub(super) fn watch_depayloader(&self, depayloader: &gst::Element) {
        if !self.0.track.is_video() {
            return;
        }
        if let Some(pad) = depayloader.static_pad("sink") {
            let this = self.clone();
            pad.add_probe(gst::PadProbeType::EVENT_UPSTREAM, move |_, info| {
                let asks =
                    info.event().and_then(|event| event.structure()).is_some_and(|s| s.name() == "GstForceKeyUnit");
                if !asks {
                    return gst::PadProbeReturn::Ok;
                }
                this.need_key_frame();
                gst::PadProbeReturn::Handled
            });
        }
        if let Some(pad) = depayloader.static_pad("src") {
            let this = self.clone();
            pad.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
                let key = info.buffer().is_some_and(|buffer| !buffer.flags().contains(gst::BufferFlags::DELTA_UNIT));
                if key && let Ok(mut state) = this.0.state.lock() {
                    state.needed = None;
                }
                gst::PadProbeReturn::Ok
            });
        }
    }

    /// Keeps what waits for the decoder fresh: what the decoder has no time for is thrown away up to a key frame.
    pub(super) fn watch_queue(&self, queue: &gst::Element) {
        let this = self.clone();
        queue.connect("overrun", false, move |_| {
            this.skip();
            None
        });
        let (Some(input), Some(output)) = (queue.static_pad("sink"), queue.static_pad("src")) else { return };
        let clock = self.0.clock.clone();
        input.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
            if let (Some(now), Some(buffer)) = (clock.now(), info.buffer_mut()) {
                // Nothing behind a depayloader reads it.
                buffer.make_mut().set_offset(now.as_nanos().try_into().unwrap_or(u64::MAX));
            }
            gst::PadProbeReturn::Ok
        });
        let this = self.clone();
        output.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
            let is_kept = info.buffer_mut().is_none_or(|buffer| this.keep(buffer));
            if is_kept { gst::PadProbeReturn::Ok } else { gst::PadProbeReturn::Drop }
        });
    }

    fn skip(&self) {
        if let Ok(mut state) = self.0.state.lock() {
            state.skipping = true;
        }
        self.need_key_frame();
    }

    /// Whether the decoder shall get this.
    fn keep(&self, buffer: &mut gst::Buffer) -> bool {
        let Some(now) = self.0.clock.now() else { return true };
        let due = buffer.pts().map_or(Duration::ZERO, |pts| Duration::from(pts) + self.0.clock.delay());
        let came = Duration::from_nanos(buffer.offset());
        let too_late = now > due.max(came) + TOO_LATE;
        let is_key = !buffer.flags().contains(gst::BufferFlags::DELTA_UNIT);
        let Ok(mut state) = self.0.state.lock() else { return true };
        if !too_late && (is_key || !state.skipping) {
            if std::mem::take(&mut state.skipping) {
                buffer.make_mut().set_flags(gst::BufferFlags::DISCONT);
            }
            return true;
        }
        state.skipping = self.0.track.is_video();
        state.stats.skipped += 1;
        drop(state);
        self.need_key_frame();
        false
    }

    /// Counts what is decoded.
    pub(super) fn watch_decoder(&self, decoder: &gst::Element) {
        let Some(pad) = decoder.static_pad("src") else { return };
        let this = self.clone();
        pad.add_probe(gst::PadProbeType::BUFFER | gst::PadProbeType::EVENT_DOWNSTREAM, move |_, info| {
            if let Some(event) = info.event() {
                if let gst::EventView::Caps(caps) = event.view() {
                    this.shaped(caps.caps());
                }
            } else {
                this.decoded(info.buffer().and_then(|buffer| buffer.pts()));
                if let Some(buffer) = info.buffer_mut() {
                    this.hurry(buffer);
                }
            }
            gst::PadProbeReturn::Ok
        });
    }

    /// Lets pictures that are late be shown at once: a window and a compositor would drop them as they are. What comes
    /// behind the decoder waits for the delay and this.
    pub(super) fn show_late(&self, shown_after: Duration) {
        if let Ok(mut state) = self.0.state.lock() {
            state.shown_after = Some(shown_after).filter(|_| self.0.track.is_video());
        }
    }

    fn hurry(&self, picture: &mut gst::Buffer) {
        let shown_after = self.0.state.lock().ok().and_then(|state| state.shown_after);
        let (Some(shown_after), Some(now)) = (shown_after, self.0.clock.now()) else { return };
        let latest = (now + AT_ONCE).saturating_sub(self.0.clock.delay() + shown_after);
        if let (Some(pts), Ok(latest)) = (picture.pts(), gst::ClockTime::try_from(latest))
            && pts < latest
        {
            picture.make_mut().set_pts(latest);
        }
    }

    fn shaped(&self, caps: &gst::CapsRef) {
        let Some(shape) = caps.structure(0) else { return };
        let edge = |name: &str| shape.get::<i32>(name).ok().and_then(|n| u32::try_from(n).ok()).unwrap_or(0);
        if let Ok(mut state) = self.0.state.lock() {
            (state.stats.width, state.stats.height) = (edge("width"), edge("height"));
        }
    }

    /// A picture, or a block of sound, is decoded. It is shown when its time has come, which is what freezes are made of.
    fn decoded(&self, pts: Option<gst::ClockTime>) {
        let due = pts.map(|pts| Duration::from(pts) + self.0.clock.delay());
        let left = due.zip(self.0.clock.now()).map_or(Duration::ZERO, |(due, now)| due.saturating_sub(now));
        let Ok(mut state) = self.0.state.lock() else { return };
        state.stats.frames_decoded += 1;
        if self.0.track.is_video() && !state.unexpected {
            state.freezes.shown(Instant::now() + left);
        }
        let first = state.stats.frames_decoded == 1;
        drop(state);
        if first {
            // Full is impossible so early; closed means that nobody asks.
            let _ = self.0.events.try_send(RenderEvent::FirstFrame { track: self.0.track });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_frame_is_asked_for_once_and_again_only_after_a_while() {
        super::super::init().unwrap();
        let (events, mut receiver) = mpsc::channel(8);
        let clock = Clock::new(&gst::Pipeline::new(), crate::rtp::Latency::AUTO);
        let received = Received::new(Track::Screen, clock, events);
        let long_ago = Instant::now().checked_sub(ASK_AGAIN);
        let set = |needed, asked| {
            let mut state = received.0.state.lock().unwrap();
            (state.needed, state.asked) = (needed, asked);
        };
        set(None, None);
        for _ in 0..10 {
            received.need_key_frame();
            received.remind();
        }
        assert_eq!(receiver.try_recv(), Ok(RenderEvent::KeyFrameNeeded(Track::Screen)));
        assert!(receiver.try_recv().is_err());
        set(long_ago, long_ago);
        received.remind();
        assert!(receiver.try_recv().is_ok());
        set(None, long_ago);
        received.remind();
        assert!(receiver.try_recv().is_err());
        // What is only wanted is not repeated.
        received.want_key_frame();
        assert!(receiver.try_recv().is_ok());
        set(None, long_ago);
        received.remind();
        assert!(receiver.try_recv().is_err());
    }

    #[test]
    fn pictures_that_are_not_sent_are_no_freeze() {
        super::super::init().unwrap();
        let (events, _receiver) = mpsc::channel(8);
        let clock = Clock::new(&gst::Pipeline::new(), crate::rtp::Latency::AUTO);
        let received = Received::new(Track::Screen, clock, events);
        let last = || received.0.state.lock().unwrap().freezes.frozen(Instant::now() + Duration::from_secs(9));
        (0..3).for_each(|_| received.decoded(None));
        assert!(last().is_some());
        received.expect(false);
        // One was still under way.
        received.decoded(None);
        assert_eq!(last(), None);
        received.expect(true);
        assert_eq!(last(), None);
        received.decoded(None);
        assert!(last().is_some());
    }
}
