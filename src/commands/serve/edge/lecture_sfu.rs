//! The SFU of an edge for one lecture.

use tokio::sync::mpsc;

use crate::commands::hosted_source::SourceSettings;
use crate::commands::negotiation::candidate_init;
use crate::id::UserId;
use crate::protocol::IceCandidate;
use crate::rtp::{Codec, Encoding, Tier, Track};
use crate::sfu::{Sfu, SfuConfig, SfuEvent, SfuStats, UdpBinding};

/// The bits per second of an encoding before the SFU has measured them.
const FULL_RATE: u32 = 2_500_000;
const LOW_RATE: u32 = 600_000;
const AUDIO_RATE: u32 = 64_000;

/// The SFU of a lecture.
pub(super) struct LectureSfu {
    sfu: Sfu,
    events: mpsc::Receiver<SfuEvent>,
    tracks: Vec<(Track, Codec)>,
    /// The encodings of the lecture.
    encodings: Vec<Encoding>,
}

impl LectureSfu {
    /// Starts the SFU, which takes some milliseconds. `publisher` names it in logs.
    ///
    /// # Errors
    /// If a certificate or a thread can't be made.
    pub(super) async fn start(
        publisher: UserId,
        encodings: Vec<Encoding>,
        settings: SourceSettings,
    ) -> Result<Self, String> {
        let SourceSettings { port, advertise, workers, max_receivers, tracer, .. } = settings;
        let tracks = tracks(&encodings);
        let config = SfuConfig {
            user: publisher,
            udp: UdpBinding::Shared(port),
            advertise,
            stun: Vec::new(),
            max_students: max_receivers,
            encodings: encodings.iter().map(|&encoding| (encoding, rate(encoding))).collect(),
            workers,
            adapts: true,
        };
        let started = tokio::task::spawn_blocking(move || Sfu::start(config)).await;
        let (sfu, events) = started.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
        sfu.trace(tracer);
        Ok(Self { sfu, events, tracks, encodings })
    }

    pub(super) fn sfu(&self) -> &Sfu {
        &self.sfu
    }

    /// The next event; none after the end of the SFU. Cancel-safe.
    pub(super) async fn next(&mut self) -> Option<SfuEvent> {
        self.events.recv().await
    }

    /// The tracks that students get, with their codecs.
    pub(super) fn tracks(&self) -> &[(Track, Codec)] {
        &self.tracks
    }

    /// The encodings of the lecture, as the holder of the media has said last.
    pub(super) fn encodings(&self) -> &[Encoding] {
        &self.encodings
    }

    /// The holder of the media says what the encodings are.
    pub(super) fn set_encodings(&mut self, encodings: Vec<Encoding>) {
        self.encodings = encodings;
    }

    /// A candidate of a student.
    pub(super) fn candidate(&self, user: UserId, candidate: IceCandidate) {
        self.sfu.candidate(user, candidate_init(candidate));
    }

    /// The counters, if the SFU answers.
    pub(super) async fn stats(&self) -> Option<SfuStats> {
        self.sfu.stats().await
    }

    /// Says goodbye to all students.
    pub(super) async fn close(self) {
        self.sfu.close().await;
    }
}

/// The bits per second of an encoding before they are measured.
pub(super) fn rate(encoding: Encoding) -> u32 {
    match (encoding.track, encoding.tier) {
        (Track::Audio, _) => AUDIO_RATE,
        (_, Tier::Full) => FULL_RATE,
        (_, Tier::Low) => LOW_RATE,
    }
}

/// The tracks of encodings, with their codecs, in order.
pub(in crate::commands::serve) fn tracks(encodings: &[Encoding]) -> Vec<(Track, Codec)> {
    let mut tracks: Vec<_> = encodings.iter().map(|encoding| (encoding.track, encoding.codec)).collect();
    tracks.sort_by_key(|(track, codec)| (*track, codec.encoding_name()));
    tracks.dedup();
    tracks
}
