//! A student of the text bench: a viewer and a render as in `watch`, whose decoded pictures are compared.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context;
use futures_util::future::OptionFuture;
use serde_json::Value;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::board::{Board, Shown};
use crate::bench::emulator::{Emulator, PathConfig, through, without_candidates};
use crate::endpoints::RenderInput;
use crate::media::{Render, RenderEvent, RenderOptions, Sink, TrackFormat};
use crate::rtp::{Latency, Tier, Track};
use crate::viewer::{IceServers, Incoming, Viewer, ViewerConfig, ViewerEvent};

/// The pictures of a student.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) pictures: Vec<Shown>,
    /// The tiers that the SFU has announced; none while it pauses the screen.
    pub(super) tiers: Vec<(Instant, Option<Tier>)>,
    pub(super) nacks: u64,
    pub(super) plis: u64,
    pub(super) freezes: u64,
    pub(super) frozen: Duration,
    /// Audio that was concealed.
    pub(super) concealed: Duration,
}

/// How a student joins.
#[derive(Debug, Clone)]
pub(super) struct Join {
    pub(super) sfu: SocketAddr,
    /// The network in both directions; none if it is perfect.
    pub(super) network: Option<PathConfig>,
    pub(super) seed: u64,
    pub(super) latency: Latency,
}

/// A student that runs in a task of its own.
pub(super) struct Student {
    answer: mpsc::Sender<String>,
    end: oneshot::Sender<()>,
    seen: Arc<Mutex<Seen>>,
    task: JoinHandle<anyhow::Result<()>>,
}

impl Student {
    /// Makes an offer, which the SFU must get. The student plays once it has an [`answer`](Self::answer).
    pub(super) async fn offer(join: Join, board: Arc<Board>) -> anyhow::Result<(Self, String)> {
        let emulator = join.network.map(|path| Emulator::start(join.sfu, path.clone(), path, join.seed));
        let emulator = emulator.transpose().context("can't emulate a network")?;
        let render = Arc::<RenderInput>::default();
        let input = Arc::clone(&render);
        let sink = Arc::new(move |incoming: Incoming<'_>| input.push(incoming));
        let config = ViewerConfig { bind: vec!["127.0.0.1:0".to_owned()], ice_servers: IceServers::default() };
        let (viewer, sdp, events) = Viewer::offer(config, sink).await?;
        let sdp = if emulator.is_some() { without_candidates(&sdp) } else { sdp };
        let (answer, answers) = mpsc::channel(1);
        let (end, ends) = oneshot::channel();
        let seen = Arc::<Mutex<Seen>>::default();
        let watching =
            Watching { viewer, events, emulator, render, board, latency: join.latency, seen: Arc::clone(&seen) };
        let task = tokio::spawn(watching.run(answers, ends));
        Ok((Self { answer, end, seen, task }, sdp))
    }

    /// The SFU's answer.
    pub(super) async fn answer(&self, sdp: String) {
        // The task has ended only if it failed, which `end` returns.
        let _ = self.answer.send(sdp).await;
    }

    /// The number of decoded pictures.
    pub(super) fn pictures(&self) -> usize {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).pictures.len()
    }

    /// Leaves, and returns what was seen.
    ///
    /// # Errors
    /// If the connection or the render has failed.
    pub(super) async fn end(self) -> anyhow::Result<Seen> {
        // The task has ended only if it failed.
        let _ = self.end.send(());
        self.task.await.context("a student panicked")??;
        Ok(std::mem::take(&mut *self.seen.lock().unwrap_or_else(PoisonError::into_inner)))
    }
}

struct Watching {
    viewer: Viewer,
    events: mpsc::Receiver<ViewerEvent>,
    emulator: Option<Emulator>,
    render: Arc<RenderInput>,
    board: Arc<Board>,
    latency: Latency,
    seen: Arc<Mutex<Seen>>,
}

impl Watching {
    async fn run(mut self, mut answers: mpsc::Receiver<String>, mut end: oneshot::Receiver<()>) -> anyhow::Result<()> {
        let mut rendered: Option<mpsc::Receiver<RenderEvent>> = None;
        loop {
            tokio::select! {
                _ = &mut end => break,
                Some(sdp) = answers.recv() => rendered = Some(self.play(sdp).await?),
                event = self.events.recv() => match event {
                    Some(ViewerEvent::BeginningMissed(track)) => self.viewer.request_key_frame(track).await,
                    Some(ViewerEvent::Heard(text)) => self.note_tier(&text),
                    Some(ViewerEvent::Gone) | None => anyhow::bail!("the connection of a student is gone"),
                    Some(_) => {}
                },
                Some(event) = OptionFuture::from(rendered.as_mut().map(mpsc::Receiver::recv)) => match event {
                    Some(RenderEvent::KeyFrameNeeded(track)) => self.viewer.request_key_frame(track).await,
                    Some(RenderEvent::Error(error)) => return Err(error.into()),
                    Some(_) => {}
                    None => rendered = None,
                },
            }
        }
        let stats = |track| self.render.with(|render| render.stats(track)).unwrap_or_default();
        let (screen, audio, viewer) = (stats(Track::Screen), stats(Track::Audio), self.viewer.stats());
        if let Some(render) = self.render.take() {
            tokio::task::spawn_blocking(move || render.finish()).await?;
        }
        self.viewer.close().await;
        drop(self.emulator);
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        (seen.nacks, seen.plis, seen.concealed) = (viewer.nacks, viewer.plis, audio.concealed);
        (seen.freezes, seen.frozen) = (screen.freezes, screen.freeze_total);
        Ok(())
    }

    async fn play(&self, sdp: String) -> anyhow::Result<mpsc::Receiver<RenderEvent>> {
        let sdp = match &self.emulator {
            Some(emulator) => through(&sdp, emulator.address()),
            None => sdp,
        };
        let tracks = self.viewer.answer(sdp).await?.into_iter();
        let tracks = tracks.map(|(track, codec, payload_type)| TrackFormat { track, codec, payload_type }).collect();
        let options =
            RenderOptions { sink: Sink::Null, latency: self.latency, tracks, audio: false, title: String::new() };
        let (render, events) = tokio::task::spawn_blocking(move || Render::start(options)).await??;
        let (board, seen) = (Arc::clone(&self.board), Arc::clone(&self.seen));
        render.on_decoder_output(Track::Screen, move |output| {
            if let Some(shown) = board.compare(output) {
                seen.lock().unwrap_or_else(PoisonError::into_inner).pictures.push(shown);
            }
        });
        self.render.show(render);
        Ok(events)
    }

    fn note_tier(&self, text: &str) {
        let said: Value = serde_json::from_str(text).unwrap_or_default();
        if let Some(name) = said["tiers"]["screen"].as_str().filter(|_| said["type"] == "tier") {
            let tier = Tier::ALL.into_iter().find(|tier| tier.name() == name);
            self.seen.lock().unwrap_or_else(PoisonError::into_inner).tiers.push((Instant::now(), tier));
        }
    }
}
