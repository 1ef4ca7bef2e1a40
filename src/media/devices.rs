//! The inventory of `classroom devices`: what this machine can capture, encode and show.

use super::encode::config::EncoderConfig;
use super::encode::encoder::ENCODERS;
use super::encode::trial::Verdict;
use super::error::MediaError;
use super::options::Size;
use super::render::pipeline::{audio_sink, window_sink};
use super::source::devices::{self, Source};
use crate::rtp::Codec;

/// The devices and encoders of this machine.
#[derive(Debug, Clone)]
pub struct Devices {
    /// Screens, for `--screen`.
    pub screens: Vec<Source>,
    /// Cameras, for `--camera`.
    pub cameras: Vec<Source>,
    /// Microphones, for `--mic`.
    pub microphones: Vec<Source>,
    /// Video encoders, best first. The first working one of a codec is used.
    pub encoders: Vec<EncoderState>,
    /// The GStreamer element that opens a window, or why none can.
    pub window: Result<&'static str, MediaError>,
    /// The GStreamer element that plays audio.
    pub loudspeaker: Option<&'static str>,
}

/// A video encoder, and whether it works.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncoderState {
    /// The GStreamer element.
    pub element: &'static str,
    /// The name for users: NVENC, x264.
    pub label: &'static str,
    /// The codec.
    pub codec: Codec,
    /// The result of its trial.
    pub verdict: Verdict,
}

/// Takes the inventory. This takes about a second: cameras are opened, and encoders encode some frames.
///
/// # Errors
///
/// GStreamer can't start.
pub fn devices() -> Result<Devices, MediaError> {
    super::init()?;
    let trial = EncoderConfig::full(Size { width: 1280, height: 720 }, 30, 2_500_000);
    let encoders = ENCODERS.iter().map(|encoder| EncoderState {
        element: encoder.element,
        label: encoder.label,
        codec: encoder.codec,
        verdict: encoder.try_out(&trial),
    });
    Ok(Devices {
        screens: devices::list_screens(),
        cameras: devices::list_cameras(),
        microphones: devices::list_microphones(),
        encoders: encoders.collect(),
        window: window_sink(),
        loudspeaker: audio_sink(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_encoder_has_a_verdict() {
        let found = devices().unwrap();
        assert_eq!(found.encoders.len(), ENCODERS.len());
        let works = |codec| found.encoders.iter().any(|e| e.codec == codec && e.verdict == Verdict::Works);
        assert!(works(Codec::H264) && works(Codec::Vp8), "{:?}", found.encoders);
    }
}
