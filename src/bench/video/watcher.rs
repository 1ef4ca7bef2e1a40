//! One student of the video bench: a viewer and a render as in `watch`, and a log of their events.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context;
use futures_util::future::OptionFuture;
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::time::{Instant, interval, sleep_until};

use crate::bench::codes::{ReadFrame, now_ms, read_codes};
use crate::bench::emulator::{Emulator, PathConfig, through, without_candidates};
use crate::bench::wire::{FromStudents, JoinViewers, SeenFrame, Sight, TrackCounts};
use crate::endpoints::RenderInput;
use crate::media::{Render, RenderEvent, RenderOptions, Sink, TrackFormat, TrackStats};
use crate::rtp::Track;
use crate::viewer::{IceServers, Incoming, Viewer, ViewerConfig, ViewerEvent, ViewerStats};

/// The interval at which concealed audio is recorded.
const AUDIO_EVERY: Duration = Duration::from_millis(100);

/// An order to a student.
#[derive(Debug, Clone)]
pub(in crate::bench) enum Order {
    Answer(String),
    Begin,
    End,
}

/// The records of the decoder's thread and of the viewer, as in [`Sight`].
#[derive(Debug, Default)]
struct Log {
    frames: Vec<SeenFrame>,
    unreadable: u64,
    paused: Vec<(u64, bool)>,
    concealed: Vec<(u64, u64)>,
}

/// The counters at an instant.
#[derive(Debug, Default)]
struct Counters {
    screen: TrackStats,
    audio: TrackStats,
    viewer: ViewerStats,
}

struct Watcher {
    student: usize,
    join: Arc<JoinViewers>,
    viewer: Viewer,
    emulator: Option<Emulator>,
    render: Arc<RenderInput>,
    log: Arc<Mutex<Log>>,
    /// The counters at the start of the measurement.
    before: Counters,
    /// The duration of audio concealed so far.
    concealed: Duration,
    say: mpsc::Sender<FromStudents>,
}

/// Joins, and follows the orders until they end.
pub(in crate::bench) async fn run(
    student: usize,
    join: Arc<JoinViewers>,
    orders: mpsc::Receiver<Order>,
    say: mpsc::Sender<FromStudents>,
) {
    let gone = say.clone();
    let watched = async {
        let (watcher, events) = Watcher::offer(student, join, say).await?;
        watcher.watch(events, orders).await
    };
    if let Err(error) = watched.await {
        // At the end of the process nothing listens any more.
        let _ = gone.send(FromStudents::Gone { student, why: format!("{error:#}") }).await;
    }
}

impl Watcher {
    async fn offer(
        student: usize,
        join: Arc<JoinViewers>,
        say: mpsc::Sender<FromStudents>,
    ) -> anyhow::Result<(Self, mpsc::Receiver<ViewerEvent>)> {
        let emulator = (student < join.bad).then(|| {
            // Bursts and a delayed rate limit apply only after the start of the measurement.
            let rate = join.network.rate.filter(|_| join.rate_from.is_none());
            let at_first = PathConfig { bursts: vec![], rate, ..join.network.clone() };
            let seed = join.seed.wrapping_add(student as u64);
            Emulator::start(join.sfu, at_first.clone(), at_first, seed)
        });
        let emulator = emulator.transpose().context("can't emulate a network")?;
        let render = Arc::<RenderInput>::default();
        let input = Arc::clone(&render);
        let sink = Arc::new(move |incoming: Incoming<'_>| input.push(incoming));
        let config = ViewerConfig { bind: vec!["127.0.0.1:0".to_owned()], ice_servers: IceServers::default() };
        let (viewer, sdp, events) = Viewer::offer(config, sink).await?;
        let sdp = if emulator.is_some() { without_candidates(&sdp) } else { sdp };
        say.send(FromStudents::Offer { student, sdp }).await?;
        Ok((
            Self {
                student,
                join,
                viewer,
                emulator,
                render,
                log: Arc::default(),
                before: Counters::default(),
                concealed: Duration::ZERO,
                say,
            },
            events,
        ))
    }

    async fn watch(
        mut self,
        mut events: mpsc::Receiver<ViewerEvent>,
        mut orders: mpsc::Receiver<Order>,
    ) -> anyhow::Result<()> {
        let mut rendered: Option<mpsc::Receiver<RenderEvent>> = None;
        let (mut slowed, mut restored): (Option<Instant>, Option<Instant>) = (None, None);
        let mut audio = interval(AUDIO_EVERY);
        loop {
            tokio::select! {
                _ = audio.tick() => self.note_concealed_audio(),
                order = orders.recv() => match order {
                    Some(Order::Answer(sdp)) => rendered = Some(self.answer(sdp).await?),
                    Some(Order::Begin) => {
                        let at = |time: Option<Duration>| time.map(|time| Instant::now() + time);
                        (slowed, restored) = (at(self.join.rate_from), at(self.join.rate_until));
                        self.begin();
                    }
                    Some(Order::End) => self.say.send(FromStudents::Sight(Box::new(self.sight()))).await?,
                    None => return Ok(()),
                },
                event = events.recv() => match event {
                    Some(ViewerEvent::Connected) => {
                        self.say.send(FromStudents::Connected { student: self.student }).await?;
                    }
                    Some(ViewerEvent::BeginningMissed(track)) => self.viewer.request_key_frame(track).await,
                    Some(ViewerEvent::Heard(text)) => self.on_publisher_message(&text),
                    Some(ViewerEvent::Gone) | None => anyhow::bail!("the connection is gone"),
                    Some(_) => {}
                },
                Some(event) = OptionFuture::from(rendered.as_mut().map(mpsc::Receiver::recv)) => match event {
                    Some(RenderEvent::KeyFrameNeeded(track)) => self.viewer.request_key_frame(track).await,
                    Some(RenderEvent::Error(error)) => return Err(error.into()),
                    Some(_) => {}
                    None => rendered = None,
                },
                Some(()) = OptionFuture::from(slowed.map(sleep_until)) => {
                    slowed = None;
                    self.set_network(self.join.network.clone());
                }
                Some(()) = OptionFuture::from(restored.map(sleep_until)) => {
                    restored = None;
                    self.set_network(PathConfig { rate: None, ..self.join.network.clone() });
                }
            }
        }
    }

    /// Records how much audio was concealed since the last call.
    fn note_concealed_audio(&mut self) {
        let concealed = self.render.with(|render| render.stats(Track::Audio).concealed).unwrap_or_default();
        // A lost packet counts as concealed until its copy arrives with the next packet.
        let more = concealed.saturating_sub(self.concealed).as_millis() as u64;
        if more > 0 {
            lock(&self.log).concealed.push((now_ms(), more));
        }
        self.concealed = concealed;
    }

    async fn answer(&self, sdp: String) -> anyhow::Result<mpsc::Receiver<RenderEvent>> {
        let sdp = match &self.emulator {
            Some(emulator) => through(&sdp, emulator.address()),
            None => sdp,
        };
        let tracks = self.viewer.answer(sdp).await?.into_iter();
        let tracks = tracks.map(|(track, codec, payload_type)| TrackFormat { track, codec, payload_type }).collect();
        let options =
            RenderOptions { sink: Sink::Null, latency: self.join.latency, tracks, audio: false, title: String::new() };
        let (render, events) = tokio::task::spawn_blocking(move || Render::start(options)).await??;
        let log = Arc::clone(&self.log);
        read_codes(&render, Track::Screen, move |frame| note_frame(&mut lock(&log), frame));
        self.render.show(render);
        Ok(events)
    }

    fn begin(&mut self) {
        let rate = self.join.network.rate.filter(|_| self.join.rate_from.is_none());
        self.set_network(PathConfig { rate, ..self.join.network.clone() });
        if let Some(emulator) = &self.emulator {
            emulator.begin();
        }
        self.before = self.counters();
    }

    fn set_network(&self, network: PathConfig) {
        if let Some(emulator) = &self.emulator {
            emulator.set(network.clone(), network);
        }
    }

    /// Records the tier that the SFU sends; a bench ignores its other messages.
    fn on_publisher_message(&self, text: &str) {
        let said: Value = serde_json::from_str(text).unwrap_or_default();
        if said["type"] == "tier"
            && let Some(tier) = said["tiers"]["screen"].as_str()
        {
            let is_paused = tier == "none";
            lock(&self.log).paused.push((now_ms(), is_paused));
            self.render.with(|render| {
                render.expect(Track::Screen, !is_paused);
                if tier == "low" {
                    render.expect_fewer(Track::Screen);
                }
            });
        }
    }

    fn counters(&self) -> Counters {
        let stats = |track| self.render.with(|render| render.stats(track)).unwrap_or_default();
        Counters { screen: stats(Track::Screen), audio: stats(Track::Audio), viewer: self.viewer.stats() }
    }

    fn sight(&self) -> Sight {
        let (before, now) = (&self.before, self.counters());
        let mut log = lock(&self.log);
        Sight {
            student: self.student,
            frames: std::mem::take(&mut log.frames),
            unreadable: log.unreadable,
            paused: std::mem::take(&mut log.paused),
            screen: since(&before.screen, &now.screen),
            audio: since(&before.audio, &now.audio),
            concealed: std::mem::take(&mut log.concealed),
            nacks: now.viewer.nacks - before.viewer.nacks,
            plis: now.viewer.plis - before.viewer.plis,
            path: self.emulator.as_ref().map(Emulator::counts),
        }
    }
}

fn lock(log: &Mutex<Log>) -> MutexGuard<'_, Log> {
    log.lock().unwrap_or_else(PoisonError::into_inner)
}

fn note_frame(log: &mut Log, frame: ReadFrame) {
    let ReadFrame { code, decoded_ms, shown_ms, width } = frame;
    match code {
        Some((number, captured_ms)) => {
            log.frames.push(SeenFrame { number, captured_ms, decoded_ms, shown_ms, width });
        }
        None => log.unreadable += 1,
    }
}

/// The counts of a track since `before`.
fn since(before: &TrackStats, now: &TrackStats) -> TrackCounts {
    TrackCounts {
        decoded: now.frames_decoded.saturating_sub(before.frames_decoded),
        lost: now.lost.saturating_sub(before.lost),
        restored: now.restored.saturating_sub(before.restored),
        freezes: now.freezes.saturating_sub(before.freezes),
        frozen_ms: now.freeze_total.saturating_sub(before.freeze_total).as_millis() as u64,
    }
}
