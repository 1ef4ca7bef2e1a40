//! A student's numbers: rates of the last second, and the whole run for `--expect`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use crate::expect::Run;
use crate::media::{Render, TrackFormat, TrackStats};
use crate::peer::link::LinkStats;
use crate::report::WatchStats;
use crate::rtp::Track;

/// Bytes that arrived, by track; counted where packets come in.
#[derive(Debug, Default)]
pub(super) struct Bytes([AtomicU64; 3]);

impl Bytes {
    /// Counts a packet.
    pub(super) fn count(&self, track: Track, bytes: usize) {
        self.0[track as usize].fetch_add(bytes as u64, Ordering::Relaxed);
    }

    fn of(&self, track: Track) -> u64 {
        self.0[track as usize].load(Ordering::Relaxed)
    }
}

#[derive(Debug, Default, Clone, Copy)]
struct Before {
    frames: u64,
    bytes: u64,
}

/// All measuring points of a student.
#[derive(Debug)]
pub(super) struct Meter {
    begun: Instant,
    bytes: Arc<Bytes>,
    tracks: Vec<Track>,
    before: [Before; 3],
    stepped: Option<Instant>,
    first: Option<(Instant, u64)>,
    ended: Option<Instant>,
    /// Of renders that are gone: frames, lost, freezes of the main track.
    earlier: (u64, u64, u64),
    links: LinkStats,
    link_before: LinkStats,
    size: Option<(u32, u32)>,
}

impl Meter {
    pub(super) fn new(begun: Instant) -> Self {
        Self {
            begun,
            bytes: Arc::default(),
            tracks: Vec::new(),
            before: [Before::default(); 3],
            stepped: None,
            first: None,
            ended: None,
            earlier: (0, 0, 0),
            links: LinkStats::default(),
            link_before: LinkStats::default(),
            size: None,
        }
    }

    /// Where arriving bytes are counted.
    pub(super) fn bytes(&self) -> Arc<Bytes> {
        Arc::clone(&self.bytes)
    }

    /// A render begins.
    pub(super) fn begin(&mut self, formats: &[TrackFormat]) {
        self.tracks = formats.iter().map(|format| format.track).collect();
        for before in &mut self.before {
            before.frames = 0;
        }
    }

    /// A render ends: its numbers go into the sum of the run.
    pub(super) fn end(&mut self, render: &Render) {
        let Some(main) = self.main() else { return };
        let stats = render.stats(main);
        self.see(stats);
        let (frames, lost, freezes) = self.earlier;
        self.earlier = (frames + stats.frames_decoded, lost + stats.lost, freezes + stats.freezes);
        self.ended = Some(Instant::now());
    }

    /// The first frame of a track came: the time since joining began.
    pub(super) fn first_frame(&mut self, track: Track) -> Duration {
        let now = Instant::now();
        if self.main() == Some(track) && self.first.is_none() {
            self.first = Some((now, self.bytes.of(track)));
        }
        now - self.begun
    }

    /// The track that expectations are about: the screen, or the camera, or else the sound.
    fn main(&self) -> Option<Track> {
        [Track::Screen, Track::Camera, Track::Audio].into_iter().find(|track| self.tracks.contains(track))
    }

    fn see(&mut self, stats: TrackStats) {
        if stats.width > 0 {
            self.size = Some((stats.width, stats.height));
        }
    }

    /// The numbers of the last second, one for each track.
    pub(super) fn step(&mut self, render: &Render, link: LinkStats) -> Vec<WatchStats> {
        let now = Instant::now();
        let seconds = self.stepped.replace(now).map_or(1.0, |at| (now - at).as_secs_f64().max(0.001));
        // A new link counts from 0.
        let grown = |now: u64, before: u64| if now >= before { now - before } else { now };
        self.links.nacks += grown(link.nacks, self.link_before.nacks);
        self.links.plis += grown(link.plis, self.link_before.plis);
        self.link_before = link;
        let mut all = Vec::with_capacity(self.tracks.len());
        for track in self.tracks.clone() {
            let stats = render.stats(track);
            let before = &mut self.before[track as usize];
            let bytes = self.bytes.of(track);
            let frames = stats.frames_decoded.saturating_sub(before.frames);
            let kbps = bytes.saturating_sub(before.bytes) as f64 * 8.0 / 1000.0 / seconds;
            *before = Before { frames: stats.frames_decoded, bytes };
            if self.main() == Some(track) {
                self.see(stats);
            }
            all.push(WatchStats {
                track,
                fps: frames as f64 / seconds,
                width: stats.width,
                height: stats.height,
                kbps,
                lost: stats.lost,
                nacks: self.links.nacks,
                plis: self.links.plis,
                freezes: stats.freezes,
                jitter_ms: stats.jitter_ms.into(),
            });
        }
        all
    }

    /// The whole run.
    pub(super) fn run(&self) -> Run {
        let Some((first, bytes_before)) = self.first else { return Run::default() };
        let (frames, lost, freezes) = self.earlier;
        let bytes = self.main().map_or(0, |track| self.bytes.of(track).saturating_sub(bytes_before));
        Run {
            frames,
            bytes,
            lost,
            freezes,
            size: self.size,
            first_frame: Some(first - self.begun),
            live: self.ended.map_or(Duration::ZERO, |ended| ended - first),
        }
    }
}
