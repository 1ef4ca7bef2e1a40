//! One track on its way from the files into the teaching graph.

use std::sync::atomic::{AtomicBool, Ordering};

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;
use gstreamer_video as gst_video;

use super::timeline::{Playback, RateLimit, period};
use crate::media::options::Size;
use crate::rtp::Track;

/// How often a picture that stands is pushed: whoever joins, or asks for a key frame, waits a tenth of a second at
/// most, and an encoder has next to nothing to do.
const STILL_FPS: u32 = 10;

/// A block of silence: 20 ms of 48,000 samples a second, two channels of two bytes.
const SILENCE: gst::ClockTime = gst::ClockTime::from_mseconds(20);
const SILENCE_BYTES: usize = 960 * 2 * 2;

/// How long to wait for a sample before checking whether anybody still wants one.
const PULL: gst::ClockTime = gst::ClockTime::from_mseconds(50);

/// How long a still is shown, of a file that may be one; the inner none is for ever.
type Still = Option<Option<gst::ClockTime>>;

/// An appsrc of the teaching graph.
pub(super) struct TrackFeeder {
    /// Its place among all.
    pub slot: usize,
    pub track: Track,
    pub source: gst_app::AppSrc,
    /// The size of all pictures.
    pub canvas: Option<Size>,
    /// The most pictures a second.
    pub fps: u32,
    /// Whether anything was pushed yet.
    pub has_begun: AtomicBool,
}

/// The teaching graph takes nothing more, or nobody wants more of this file.
struct Stopped;

impl TrackFeeder {
    /// Pushes what comes from `sink`; and then, while the file has more of another track, the last picture again, or
    /// silence: whoever joins meanwhile gets a picture.
    pub(super) fn feed(&self, run: &Playback, sink: Option<&gst_app::AppSink>, still: Still) {
        let fed = if self.track.is_video() { self.pictures(run, sink, still) } else { self.sound(run, sink) };
        if fed.is_err() {
            run.give_up();
        }
    }

    fn pictures(&self, run: &Playback, sink: Option<&gst_app::AppSink>, still: Still) -> Result<(), Stopped> {
        let base = run.progress().of(self.slot);
        let mut last = None;
        let first = next(run, sink)?;
        // Whether there is a second one decides what the first one is.
        let second = next(run, sink)?;
        let stands = first.is_some() && second.is_none() && sink.is_some();
        if let (true, Some(length)) = (stands, still) {
            run.update(|progress| progress.stands(length));
        }
        let fps = if stands { STILL_FPS.min(self.fps) } else { self.fps };
        let mut limit = RateLimit::new(self.fps);
        let mut waiting = [first, second].into_iter().flatten();
        let (mut is_first, mut before) = (true, None);
        loop {
            let Some(sample) = waiting.next().or(next(run, sink)?) else { break };
            let Some(caps) = sample.caps().map(|caps| with_rate(caps, fps)) else { continue };
            let Some((buffer, time)) = placed(sample, base, run.progress().of(self.slot), before) else { continue };
            before = Some(time);
            if !limit.takes(time.saturating_sub(base)) {
                continue;
            }
            if std::mem::take(&mut is_first) {
                self.ask_for_key_frame(time);
            }
            last = Some((buffer.clone(), caps.clone()));
            let until = time + buffer.duration().unwrap_or_else(|| period(fps));
            self.push(run, buffer, &caps, until)?;
        }
        run.update(|progress| progress.ended(self.slot));
        let last = last.or_else(|| black(self.canvas?, STILL_FPS));
        let Some((picture, caps)) = last else { return Ok(()) };
        self.fill(run, period(STILL_FPS.min(self.fps)), |time, input| {
            if std::mem::take(&mut is_first) {
                input.ask_for_key_frame(time);
            }
            (picture.copy(), caps.clone())
        })
    }

    fn sound(&self, run: &Playback, sink: Option<&gst_app::AppSink>) -> Result<(), Stopped> {
        let base = run.progress().of(self.slot);
        while let Some(sample) = next(run, sink)? {
            let Some(caps) = sample.caps_owned() else { continue };
            let Some((buffer, time)) = placed(sample, base, run.progress().of(self.slot), None) else { continue };
            let until = time + buffer.duration().unwrap_or(gst::ClockTime::ZERO);
            self.push(run, buffer, &caps, until)?;
        }
        run.update(|progress| progress.ended(self.slot));
        let caps = gst::Caps::builder("audio/x-raw")
            .field("format", "S16LE")
            .field("layout", "interleaved")
            .field("rate", 48_000)
            .field("channels", 2)
            .field("channel-mask", gst::Bitmask::new(3))
            .build();
        let silence = gst::Buffer::from_slice([0u8; SILENCE_BYTES]);
        self.fill(run, SILENCE, |_, _| (silence.copy(), caps.clone()))
    }

    /// Pushes the same again and again, as far as the other tracks have come, or for as long as a still is shown.
    fn fill(
        &self,
        run: &Playback,
        step: gst::ClockTime,
        mut make: impl FnMut(gst::ClockTime, &Self) -> (gst::Buffer, gst::Caps),
    ) -> Result<(), Stopped> {
        loop {
            if run.is_given_up() {
                return Ok(());
            }
            let (time, wanted, is_over) = {
                let progress = run.progress();
                let stands = self.track.is_video() && progress.is_read();
                let wanted = match progress.least_end() {
                    None if stands => None,
                    Some(least) if stands => Some(least.max(progress.furthest())),
                    _ => Some(progress.furthest()),
                };
                (progress.of(self.slot), wanted, progress.end().is_some())
            };
            // Pictures may begin where the others end, silence must not go on for longer than they do.
            let fits = if self.track.is_video() { time } else { time + step };
            if wanted.is_none_or(|wanted| if self.track.is_video() { fits < wanted } else { fits <= wanted }) {
                let (mut buffer, caps) = make(time, self);
                let about = buffer.make_mut();
                about.set_pts(time);
                about.set_dts(gst::ClockTime::NONE);
                about.set_duration(step);
                self.push(run, buffer, &caps, time + step)?;
            } else if is_over {
                return Ok(());
            } else {
                run.wait();
            }
        }
    }

    /// Waits until the teaching graph has room.
    fn push(
        &self,
        run: &Playback,
        buffer: gst::Buffer,
        caps: &gst::Caps,
        until: gst::ClockTime,
    ) -> Result<(), Stopped> {
        if run.is_given_up() {
            return Err(Stopped);
        }
        let sample = gst::Sample::builder().buffer(&buffer).caps(caps).build();
        self.source.push_sample(&sample).map_err(|_| Stopped)?;
        self.has_begun.store(true, Ordering::Relaxed);
        run.update(|progress| progress.fed(self.slot, until));
        Ok(())
    }

    /// Every encoder makes the picture of this time a key frame: of another film nothing can be predicted. The first
    /// picture of all is one in any case, and must not be asked for (see [`ask_for_key_frame`]).
    ///
    /// [`ask_for_key_frame`]: crate::media::outlet::ask_for_key_frame
    fn ask_for_key_frame(&self, time: gst::ClockTime) {
        if !self.has_begun.load(Ordering::Relaxed) {
            return;
        }
        let event = gst_video::DownstreamForceKeyUnitEvent::builder().running_time(time).all_headers(true).build();
        // It waits in turn between the pictures. Without it the encoder decides by itself.
        let _ = self.source.send_event(event);
    }
}

/// The next sample of a file, none at its end.
fn next(run: &Playback, sink: Option<&gst_app::AppSink>) -> Result<Option<gst::Sample>, Stopped> {
    let Some(sink) = sink else { return Ok(None) };
    loop {
        if run.is_given_up() {
            return Err(Stopped);
        }
        if let Some(sample) = sink.try_pull_sample(PULL) {
            return Ok(Some(sample));
        }
        if sink.is_eos() {
            return Ok(None);
        }
    }
}

/// A buffer at its place in the timeline, that of a file that began at `base`. One without a time, or with no later one
/// than the one `before` (as in a GIF, where all have zero), comes right behind that, which ended at `end`. What comes
/// before the beginning of its segment is neither seen nor heard.
fn placed(
    sample: gst::Sample,
    base: gst::ClockTime,
    end: gst::ClockTime,
    before: Option<gst::ClockTime>,
) -> Option<(gst::Buffer, gst::ClockTime)> {
    let segment = sample.segment().and_then(|segment| segment.downcast_ref::<gst::ClockTime>()).cloned();
    let mut buffer = sample.buffer_owned()?;
    // So that the buffer is not shared, and need not be copied.
    drop(sample);
    let time = match (buffer.pts(), segment) {
        (Some(pts), Some(segment)) => base + segment.to_running_time(pts)?,
        _ => end,
    };
    let time = if before.is_some_and(|before| time <= before) { end.max(time) } else { time };
    let about = buffer.make_mut();
    about.set_pts(time);
    about.set_dts(gst::ClockTime::NONE);
    Some((buffer, time))
}

/// A black picture and its caps.
fn black(size: Size, fps: u32) -> Option<(gst::Buffer, gst::Caps)> {
    let rate = gst::Fraction::new(i32::try_from(fps).ok()?, 1);
    let format = gst_video::VideoFormat::I420;
    let info = gst_video::VideoInfo::builder(format, size.width, size.height).fps(rate).build().ok()?;
    let mut bytes = vec![128; info.size()];
    let luma = info.offset()[1];
    bytes[..luma].fill(16);
    Some((gst::Buffer::from_mut_slice(bytes), info.to_caps().ok()?))
}

/// Caps with the rate in which pictures are really pushed: encoders divide their bits by it. Those that name no rate,
/// or a higher one, get the most that is wanted.
fn with_rate(caps: &gst::CapsRef, most: u32) -> gst::Caps {
    let mut caps = caps.to_owned();
    let named = caps.structure(0).and_then(|shape| shape.get::<gst::Fraction>("framerate").ok());
    let most = i32::try_from(most).unwrap_or(i32::MAX);
    let is_slower =
        |rate: &gst::Fraction| rate.numer() > 0 && i64::from(rate.numer()) <= i64::from(most) * i64::from(rate.denom());
    if named.filter(is_slower).is_none() {
        caps.make_mut().set("framerate", gst::Fraction::new(most, 1));
    }
    caps
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn black_is_black() {
        crate::media::init().unwrap();
        let (buffer, caps) = black(Size { width: 64, height: 36 }, 5).unwrap();
        let map = buffer.map_readable().unwrap();
        assert_eq!((map[0], map[64 * 36 - 1], map[64 * 36]), (16, 16, 128));
        assert!(caps.to_string().contains("I420") && caps.to_string().contains("5/1"), "{caps}");
    }

    #[test]
    fn the_rate_is_that_of_the_file_if_it_has_one() {
        crate::media::init().unwrap();
        let rate = |text: &str| {
            let caps = with_rate(&format!("video/x-raw,framerate={text}").parse::<gst::Caps>().unwrap(), 30);
            let rate = caps.structure(0).unwrap().get::<gst::Fraction>("framerate").unwrap();
            (rate.numer(), rate.denom())
        };
        let given = ["25/1", "30000/1001", "60/1", "0/1"];
        assert_eq!(given.map(rate), [(25, 1), (30_000, 1_001), (30, 1), (30, 1)]);
    }
}
