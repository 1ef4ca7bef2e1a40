//! One student of a bench with pictures: a link and a render as those of `watch`, and what came of it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context;
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::time::{Instant, interval, sleep_until};

use super::wire::{Counted, FromWatchers, Join, Picture, Sight};
use crate::bench::emulator::{Emulator, PathConfig, through, without_candidates};
use crate::commands::watch::screen::Screen;
use crate::commands::{blocking, or_never};
use crate::media::{Render, RenderEvent, RenderOptions, Seen, Sink, TrackFormat, TrackStats, now_ms};
use crate::rtp::Track;
use crate::viewer::{Incoming, Viewer, ViewerConfig, ViewerEvent, ViewerStats};

/// How often it is noted what was heard.
const LISTENS_EVERY: Duration = Duration::from_millis(100);

/// What a student is told by its process.
#[derive(Debug, Clone)]
pub(super) enum Order {
    Answer(String),
    Begin,
    End,
}

/// What the decoder's thread and the link write down.
#[derive(Debug, Default)]
struct Log {
    pictures: Vec<Picture>,
    unreadable: u64,
    paused: Vec<(u64, bool)>,
    /// As in [`Sight`], since the connection stands.
    made_up: Vec<(u64, u64)>,
}

pub(super) struct Watcher {
    student: usize,
    join: Arc<Join>,
    link: Viewer,
    emulator: Option<Emulator>,
    screen: Arc<Screen>,
    log: Arc<Mutex<Log>>,
    /// Of the beginning: screen, sound, link.
    before: (TrackStats, TrackStats, ViewerStats),
    /// Sound that had to be made up until now.
    concealed: Duration,
    say: mpsc::Sender<FromWatchers>,
}

/// Joins, and does as told until the orders end.
pub(super) async fn run(
    student: usize,
    join: Arc<Join>,
    orders: mpsc::Receiver<Order>,
    say: mpsc::Sender<FromWatchers>,
) {
    let gone = say.clone();
    let watched = async {
        let (watcher, events) = Watcher::offer(student, join, say).await?;
        watcher.watch(events, orders).await
    };
    if let Err(error) = watched.await {
        // Nobody listens any more when the process ends.
        let _ = gone.send(FromWatchers::Gone { student, why: format!("{error:#}") }).await;
    }
}

impl Watcher {
    async fn offer(
        student: usize,
        join: Arc<Join>,
        say: mpsc::Sender<FromWatchers>,
    ) -> anyhow::Result<(Self, mpsc::Receiver<ViewerEvent>)> {
        let emulator = (student < join.bad).then(|| {
            // Nothing has begun, so there are no bursts.
            let rate = join.network.rate.filter(|_| join.rate_from.is_none());
            let at_first = PathConfig { bursts: vec![], rate, ..join.network.clone() };
            let seed = join.seed.wrapping_add(student as u64);
            Emulator::start(join.sfu, at_first.clone(), at_first, seed)
        });
        let emulator = emulator.transpose().context("can't emulate a network")?;
        let screen = Arc::<Screen>::default();
        let to_screen = Arc::clone(&screen);
        let sink = Arc::new(move |incoming: Incoming<'_>| to_screen.push(incoming));
        let config = ViewerConfig { bind: vec!["127.0.0.1:0".to_owned()], ice_servers: vec![] };
        let (link, sdp, events) = Viewer::offer(config, sink).await?;
        let sdp = if emulator.is_some() { without_candidates(&sdp) } else { sdp };
        say.send(FromWatchers::Offer { student, sdp }).await?;
        Ok((
            Self {
                student,
                join,
                link,
                emulator,
                screen,
                log: Arc::default(),
                before: Default::default(),
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
        let mut listens = interval(LISTENS_EVERY);
        loop {
            tokio::select! {
                _ = listens.tick() => self.listen()?,
                order = orders.recv() => match order {
                    Some(Order::Answer(sdp)) => rendered = Some(self.answer(sdp).await?),
                    Some(Order::Begin) => {
                        let [from, until] =
                            [self.join.rate_from, self.join.rate_until].map(|time| time.map(|time| Instant::now() + time));
                        (slowed, restored) = (from, until);
                        self.begin();
                    }
                    Some(Order::End) => self.say.send(FromWatchers::Sight(Box::new(self.sight()))).await?,
                    None => return Ok(()),
                },
                event = events.recv() => match event {
                    Some(ViewerEvent::Connected) => {
                        self.say.send(FromWatchers::Connected { student: self.student }).await?;
                    }
                    Some(ViewerEvent::BeginningMissed(track)) => self.link.request_key_frame(track).await,
                    Some(ViewerEvent::Heard(text)) => self.heard(&text)?,
                    Some(ViewerEvent::Gone) | None => anyhow::bail!("the connection is gone"),
                    Some(_) => {}
                },
                event = or_never(rendered.as_mut().map(mpsc::Receiver::recv)) => match event {
                    Some(RenderEvent::KeyFrameNeeded(track)) => self.link.request_key_frame(track).await,
                    Some(RenderEvent::Error(error)) => return Err(error.into()),
                    Some(_) => {}
                    None => rendered = None,
                },
                () = or_never(slowed.map(sleep_until)) => {
                    slowed = None;
                    self.set_network(self.join.network.clone());
                }
                () = or_never(restored.map(sleep_until)) => {
                    restored = None;
                    self.set_network(PathConfig { rate: None, ..self.join.network.clone() });
                }
            }
        }
    }

    /// Notes how much sound had to be made up since the last time.
    fn listen(&mut self) -> anyhow::Result<()> {
        let concealed = self.screen.with(|render| render.stats(Track::Audio).concealed).unwrap_or_default();
        // What its copy restores counts as made up until that comes, the block behind it.
        let more = concealed.saturating_sub(self.concealed).as_millis() as u64;
        if more > 0 {
            lock(&self.log).made_up.push((now_ms()?, more));
        }
        self.concealed = concealed;
        Ok(())
    }

    async fn answer(&self, sdp: String) -> anyhow::Result<mpsc::Receiver<RenderEvent>> {
        let sdp = match &self.emulator {
            Some(emulator) => through(&sdp, emulator.address()),
            None => sdp,
        };
        let tracks = self.link.answer(sdp).await?.into_iter();
        let tracks = tracks.map(|(track, codec, payload_type)| TrackFormat { track, codec, payload_type }).collect();
        let options =
            RenderOptions { sink: Sink::Null, latency: self.join.latency, tracks, audio: false, title: String::new() };
        let started = blocking(move || Render::start(options)).await.map_err(|failure| failure.error)?;
        let (render, events) = started?;
        let log = Arc::clone(&self.log);
        render.read_codes(Track::Screen, move |seen| see(&mut lock(&log), seen));
        self.screen.show(render);
        Ok(events)
    }

    fn begin(&mut self) {
        let rate = self.join.network.rate.filter(|_| self.join.rate_from.is_none());
        self.set_network(PathConfig { rate, ..self.join.network.clone() });
        if let Some(emulator) = &self.emulator {
            emulator.begin();
        }
        self.before = self.numbers();
    }

    fn set_network(&self, network: PathConfig) {
        if let Some(emulator) = &self.emulator {
            emulator.set(network.clone(), network);
        }
    }

    /// The SFU says which tier it sends. What else it says is nothing for a bench.
    fn heard(&self, text: &str) -> anyhow::Result<()> {
        let said: Value = serde_json::from_str(text).unwrap_or_default();
        if said["type"] == "tier"
            && let Some(tier) = said["tiers"]["screen"].as_str()
        {
            let is_paused = tier == "none";
            lock(&self.log).paused.push((now_ms()?, is_paused));
            self.screen.with(|render| {
                render.expect(Track::Screen, !is_paused);
                if tier == "low" {
                    render.expect_fewer(Track::Screen);
                }
            });
        }
        Ok(())
    }

    fn numbers(&self) -> (TrackStats, TrackStats, ViewerStats) {
        let stats = |track| self.screen.with(|render| render.stats(track)).unwrap_or_default();
        (stats(Track::Screen), stats(Track::Audio), self.link.stats())
    }

    fn sight(&self) -> Sight {
        let (before, now) = (&self.before, self.numbers());
        let mut log = lock(&self.log);
        Sight {
            student: self.student,
            pictures: std::mem::take(&mut log.pictures),
            unreadable: log.unreadable,
            paused: std::mem::take(&mut log.paused),
            screen: counted(&before.0, &now.0),
            sound: counted(&before.1, &now.1),
            made_up: std::mem::take(&mut log.made_up),
            nacks: now.2.nacks - before.2.nacks,
            plis: now.2.plis - before.2.plis,
            path: self.emulator.as_ref().map(Emulator::counts),
        }
    }
}

fn lock(log: &Mutex<Log>) -> MutexGuard<'_, Log> {
    log.lock().unwrap_or_else(PoisonError::into_inner)
}

fn see(log: &mut Log, seen: Seen) {
    let Seen { code, at_ms, shown_ms, width } = seen;
    match code {
        Some((number, captured_ms)) => log.pictures.push(Picture { number, captured_ms, at_ms, shown_ms, width }),
        None => log.unreadable += 1,
    }
}

fn counted(before: &TrackStats, now: &TrackStats) -> Counted {
    Counted {
        decoded: now.frames_decoded.saturating_sub(before.frames_decoded),
        lost: now.lost.saturating_sub(before.lost),
        restored: now.restored.saturating_sub(before.restored),
        freezes: now.freezes.saturating_sub(before.freezes),
        frozen_ms: now.freeze_total.saturating_sub(before.freeze_total).as_millis() as u64,
    }
}
