//! What `classroom devices` shows: all that can be captured, encoded and shown on this machine.

use super::encode::config::EncoderConfig;
use super::encode::encoder::ENCODERS;
use super::encode::trial::Verdict;
use super::error::MediaError;
use super::options::Size;
use super::render::pipeline::{audio_sink, window_sink};
use super::source::devices::{self, Source};
use crate::rtp::Codec;

/// All that was found on this machine.
#[derive(Debug, Clone)]
pub struct Devices {
    /// Screens, for `--screen`.
    pub screens: Vec<Source>,
    /// Cameras, for `--camera`.
    pub cameras: Vec<Source>,
    /// Microphones, for `--mic`.
    pub microphones: Vec<Source>,
    /// Video encoders, best first; the first of a codec that works is used.
    pub encoders: Vec<EncoderState>,
    /// The GStreamer element that shows a window, or why there is none.
    pub window: Result<&'static str, MediaError>,
    /// The GStreamer element that plays sound.
    pub loudspeaker: Option<&'static str>,
}

/// A video encoder, and whether it can be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncoderState {
    /// Its GStreamer element.
    pub element: &'static str,
    /// What it stands for: NVENC, x264.
    pub label: &'static str,
    /// What it encodes.
    pub codec: Codec,
    /// The outcome of its trial.
    pub verdict: Verdict,
}

/// Looks at everything, which takes a second or so: cameras are opened, and encoders are tried for some pictures.
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
