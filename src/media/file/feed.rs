//! Feeds one track of each file into the teaching pipeline, and fills gaps with the last video frame or with silence.

use std::sync::atomic::{AtomicBool, Ordering};

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;
use gstreamer_video as gst_video;

use super::timeline::{Playback, RateLimit, period};
use crate::media::options::Size;
use crate::rtp::Track;

/// The frame rate of still video: whoever joins or requests a key frame waits 0.1 s at most, and the encoder has little
/// to do.
const STILL_FPS: u32 = 10;

/// A block of silence: 20 ms at 48 kHz, two channels of two bytes.
const SILENCE: gst::ClockTime = gst::ClockTime::from_mseconds(20);
const SILENCE_BYTES: usize = 960 * 2 * 2;

/// How long to wait for a sample before checking whether the file was given up.
const PULL: gst::ClockTime = gst::ClockTime::from_mseconds(50);

/// The duration of a still image, if the file may be one. The inner None means for ever.
type Still = Option<Option<gst::ClockTime>>;

/// An appsrc of the teaching pipeline.
pub(super) struct TrackFeeder {
    /// The index of the track in the playlist.
    pub track_index: usize,
    pub track: Track,
    pub source: gst_app::AppSrc,
    /// The size of all video frames.
    pub canvas: Option<Size>,
    /// Frames per second, at most.
    pub fps: u32,
    /// Whether a buffer was pushed yet.
    pub has_begun: AtomicBool,
}

/// The teaching pipeline takes no more buffers, or the file was given up.
struct Stopped;

impl TrackFeeder {
    /// Pushes the samples from `sink`. While other tracks of the file go on, then pushes the last video frame again, or
    /// silence, so that new students still get video.
    pub(super) fn feed(&self, playback: &Playback, sink: Option<&gst_app::AppSink>, still: Still) {
        let fed = if self.track.is_video() { self.video(playback, sink, still) } else { self.audio(playback, sink) };
        if fed.is_err() {
            playback.give_up();
        }
    }

    fn video(&self, playback: &Playback, sink: Option<&gst_app::AppSink>, still: Still) -> Result<(), Stopped> {
        let base = playback.progress().of(self.track_index);
        let mut last = None;
        let first = next(playback, sink)?;
        // A single frame is a still image.
        let second = next(playback, sink)?;
        let is_still = first.is_some() && second.is_none() && sink.is_some();
        if let (true, Some(length)) = (is_still, still) {
            playback.update(|progress| progress.set_still(length));
        }
        let fps = if is_still { STILL_FPS.min(self.fps) } else { self.fps };
        let mut limit = RateLimit::new(self.fps);
        let mut waiting = [first, second].into_iter().flatten();
        let (mut is_first, mut before) = (true, None);
        loop {
            let Some(sample) = waiting.next().or(next(playback, sink)?) else { break };
            let Some(caps) = sample.caps().map(|caps| with_rate(caps, fps)) else { continue };
            let Some((buffer, time)) = placed(sample, base, playback.progress().of(self.track_index), before) else {
                continue;
            };
            before = Some(time);
            if !limit.takes(time.saturating_sub(base)) {
                continue;
            }
            if std::mem::take(&mut is_first) {
                self.request_key_frame(time);
            }
            last = Some((buffer.clone(), caps.clone()));
            let until = time + buffer.duration().unwrap_or_else(|| period(fps));
            self.push(playback, buffer, &caps, until)?;
        }
        playback.update(|progress| progress.ended(self.track_index));
        let last = last.or_else(|| black(self.canvas?, STILL_FPS));
        let Some((frame, caps)) = last else { return Ok(()) };
        self.fill(playback, period(STILL_FPS.min(self.fps)), |time, input| {
            if std::mem::take(&mut is_first) {
                input.request_key_frame(time);
            }
            (frame.copy(), caps.clone())
        })
    }

    fn audio(&self, playback: &Playback, sink: Option<&gst_app::AppSink>) -> Result<(), Stopped> {
        let base = playback.progress().of(self.track_index);
        while let Some(sample) = next(playback, sink)? {
            let Some(caps) = sample.caps_owned() else { continue };
            let Some((buffer, time)) = placed(sample, base, playback.progress().of(self.track_index), None) else {
                continue;
            };
            let until = time + buffer.duration().unwrap_or(gst::ClockTime::ZERO);
            self.push(playback, buffer, &caps, until)?;
        }
        playback.update(|progress| progress.ended(self.track_index));
        let caps = sound_caps();
        let silence = gst::Buffer::from_slice([0u8; SILENCE_BYTES]);
        self.fill(playback, SILENCE, |_, _| (silence.copy(), caps.clone()))
    }

    /// Pushes the same buffer again and again, until the other tracks end or a still image has had its time.
    fn fill(
        &self,
        playback: &Playback,
        step: gst::ClockTime,
        mut make: impl FnMut(gst::ClockTime, &Self) -> (gst::Buffer, gst::Caps),
    ) -> Result<(), Stopped> {
        loop {
            if playback.is_given_up() {
                return Ok(());
            }
            let (time, wanted, is_over) = {
                let progress = playback.progress();
                let is_still = self.track.is_video() && progress.is_read();
                let wanted = match progress.least_end() {
                    None if is_still => None,
                    Some(least) if is_still => Some(least.max(progress.furthest())),
                    _ => Some(progress.furthest()),
                };
                (progress.of(self.track_index), wanted, progress.end().is_some())
            };
            // A video frame may start before the end of the other tracks. Silence must not last longer than they do.
            let fits = if self.track.is_video() { time } else { time + step };
            if wanted.is_none_or(|wanted| if self.track.is_video() { fits < wanted } else { fits <= wanted }) {
                let (mut buffer, caps) = make(time, self);
                let about = buffer.make_mut();
                about.set_pts(time);
                about.set_dts(gst::ClockTime::NONE);
                about.set_duration(step);
                self.push(playback, buffer, &caps, time + step)?;
            } else if is_over {
                return Ok(());
            } else {
                playback.wait();
            }
        }
    }

    /// Pushes a buffer, and waits for room in the teaching pipeline.
    fn push(
        &self,
        playback: &Playback,
        buffer: gst::Buffer,
        caps: &gst::Caps,
        until: gst::ClockTime,
    ) -> Result<(), Stopped> {
        if playback.is_given_up() {
            return Err(Stopped);
        }
        let sample = gst::Sample::builder().buffer(&buffer).caps(caps).build();
        self.source.push_sample(&sample).map_err(|_| Stopped)?;
        self.has_begun.store(true, Ordering::Relaxed);
        playback.update(|progress| progress.fed(self.track_index, until));
        Ok(())
    }

    /// Requests a key frame for the frame of this time, the first one of a file: nothing of another film can predict
    /// it. Not for the very first frame, which is a key frame anyway and must not be requested (see
    /// [`request_key_frame`]).
    ///
    /// [`request_key_frame`]: crate::media::encode::output::request_key_frame
    fn request_key_frame(&self, time: gst::ClockTime) {
        if !self.has_begun.load(Ordering::Relaxed) {
            return;
        }
        let event = gst_video::DownstreamForceKeyUnitEvent::builder().running_time(time).all_headers(true).build();
        // The event travels in order with the buffers. If it fails, the encoder decides by itself.
        let _ = self.source.send_event(event);
    }
}

/// The next sample of a file. None at its end.
fn next(playback: &Playback, sink: Option<&gst_app::AppSink>) -> Result<Option<gst::Sample>, Stopped> {
    let Some(sink) = sink else { return Ok(None) };
    loop {
        if playback.is_given_up() {
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

/// Moves a buffer into the timeline of a file that starts at `base`. A buffer without a timestamp, or with one not
/// later than `before` (a GIF may have all zeros), follows the previous buffer, which ended at `end`. None for buffers
/// before the start of their segment: players skip them.
fn placed(
    sample: gst::Sample,
    base: gst::ClockTime,
    end: gst::ClockTime,
    before: Option<gst::ClockTime>,
) -> Option<(gst::Buffer, gst::ClockTime)> {
    let segment = sample.segment().and_then(|segment| segment.downcast_ref::<gst::ClockTime>()).cloned();
    let mut buffer = sample.buffer_owned()?;
    // Drop the sample, so that the buffer is not shared and need not be copied.
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

/// A black frame and its caps.
pub(in crate::media) fn black(size: Size, fps: u32) -> Option<(gst::Buffer, gst::Caps)> {
    let rate = gst::Fraction::new(i32::try_from(fps).ok()?, 1);
    let format = gst_video::VideoFormat::I420;
    let info = gst_video::VideoInfo::builder(format, size.width, size.height).fps(rate).build().ok()?;
    let mut bytes = vec![128; info.size()];
    let luma = info.offset()[1];
    bytes[..luma].fill(16);
    Some((gst::Buffer::from_mut_slice(bytes), info.to_caps().ok()?))
}

/// Caps with the pushed frame rate, by which encoders divide their bitrate. An unknown or higher rate becomes `most`.
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

/// The sound that the encoder gets: 16 bits, 48 kHz, two channels.
pub(in crate::media) fn sound_caps() -> gst::Caps {
    gst::Caps::builder("audio/x-raw")
        .field("format", "S16LE")
        .field("layout", "interleaved")
        .field("rate", 48_000)
        .field("channels", 2)
        .field("channel-mask", gst::Bitmask::new(3))
        .build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_black_frame_is_black() {
        crate::media::init().unwrap();
        let (buffer, caps) = black(Size { width: 64, height: 36 }, 5).unwrap();
        let map = buffer.map_readable().unwrap();
        assert_eq!((map[0], map[64 * 36 - 1], map[64 * 36]), (16, 16, 128));
        assert!(caps.to_string().contains("I420") && caps.to_string().contains("5/1"), "{caps}");
    }

    #[test]
    fn caps_keep_the_frame_rate_of_the_file() {
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
