//! One speaker: a connection to the speaker's SFU, and a render.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::commands::negotiation::candidate_init;
use crate::commands::{blocking, or_never};
use crate::endpoints::RenderInput;
use crate::id::{Nickname, UserId, named};
use crate::media::{MediaError, Render, RenderEvent, SpeakerOptions, TrackFormat};
use crate::protocol::{IceCandidate, TrackName};
use crate::rtp::{Codec, Latency, Track};
use crate::viewer::{Incoming, Viewer, ViewerConfig, ViewerEvent};

/// How long an offered connection may take until it is established.
const CONNECTS_WITHIN: Duration = Duration::from_secs(10);

/// The time from a lost connection to the next one; it doubles up to [`MAX_RETRY`] while none is established.
const MIN_RETRY: Duration = Duration::from_millis(200);
const MAX_RETRY: Duration = Duration::from_secs(2);

/// The services of the process for its views.
pub(in crate::commands) trait ViewContext: Send + Sync {
    /// Finds out whether there is anything to show a speaker with. May block.
    fn prepare(&self) -> Prepared {
        Prepared { shows: true, sentence: None }
    }

    /// The addresses and the ICE servers of the next connection.
    fn viewer(&self) -> ViewerConfig;

    /// The delay of the jitter buffer.
    fn latency(&self) -> Latency;

    /// Starts a render; `None` if there is nothing to show at present. May block.
    ///
    /// # Errors
    ///
    /// The render can't start.
    fn start(&self, options: SpeakerOptions) -> Result<Option<StartedRender>, MediaError>;

    /// The user has closed the window of this speaker. The next render has none. Returns the sentence for the user.
    fn window_closed(&self, name: &str) -> String;
}

/// Whether speakers can be shown.
pub(in crate::commands) struct Prepared {
    /// Whether a connection is of any use.
    pub(in crate::commands) shows: bool,
    /// How speakers are shown, for the user.
    pub(in crate::commands) sentence: Option<String>,
}

/// A render with its events.
pub(in crate::commands) type StartedRender = (Render, mpsc::Receiver<RenderEvent>);

/// An input of a view.
pub(in crate::commands) enum ViewInput {
    /// The speaker's SFU has answered.
    Answer(String),
    /// A candidate of the SFU.
    Candidate(IceCandidate),
    /// The SFU has not taken the offer, or has ended the connection: the view offers again after a while.
    Lost,
    /// The offer does not reach the SFU. Like [`Lost`](Self::Lost), unless the connection is established.
    NotSent,
    /// The user does not speak: the view ends.
    NotOnStage,
    /// These tracks deliver nothing at present.
    Silent(Vec<TrackName>),
    /// The view is held now, or is not any more: see [`Handles`].
    Held,
}

/// An output of a view.
pub(in crate::commands) enum ViewOutput {
    /// An offer for the speaker's SFU.
    Offer(String),
    /// A candidate for it.
    Candidate(IceCandidate),
    /// How speakers are shown, for the user.
    Shows(String),
    /// A render has started.
    Rendering,
    /// A problem, for the user.
    Warn(String),
}

/// The state that a view shares with its owner.
#[derive(Clone, Default)]
pub(super) struct Handles {
    pub(super) screen: Arc<RenderInput>,
    /// Asks for a new render.
    pub(super) restart: Arc<Notify>,
    /// Whether the view is not heard, and its pictures are hidden: another connection still brings the same media.
    pub(super) is_held: Arc<AtomicBool>,
    /// Whether media may flow.
    pub(super) is_connected: Arc<AtomicBool>,
}

/// A view that runs.
pub(super) struct View {
    context: Arc<dyn ViewContext>,
    /// The speaker in a sentence.
    name: String,
    outputs: (UserId, u64, mpsc::Sender<(UserId, u64, ViewOutput)>),
    handles: Handles,
    /// The formats of the running render.
    formats: Vec<TrackFormat>,
    render_events: Option<mpsc::Receiver<RenderEvent>>,
    silent: Vec<TrackName>,
}

/// How a connection ended.
enum Ended {
    /// The view is to end.
    Closed,
    /// The connection was established, and lost.
    Lost,
    /// No connection was established.
    Failed,
}

impl View {
    pub(super) fn new(
        context: Arc<dyn ViewContext>,
        nickname: &Nickname,
        outputs: (UserId, u64, mpsc::Sender<(UserId, u64, ViewOutput)>),
        handles: Handles,
    ) -> Self {
        let name = named(&outputs.0, nickname.as_str()).to_string();
        let (formats, silent) = (Vec::new(), Vec::new());
        Self { context, name, outputs, handles, formats, render_events: None, silent }
    }

    /// Shows the speaker until the sender of the inputs is dropped.
    pub(super) async fn run(mut self, mut inputs: mpsc::Receiver<ViewInput>) {
        let context = Arc::clone(&self.context);
        let Ok(Prepared { shows, sentence }) = blocking(move || context.prepare()).await else { return };
        if let Some(sentence) = sentence {
            self.tell(ViewOutput::Shows(sentence)).await;
        }
        if !shows {
            return;
        }
        let mut retry = MIN_RETRY;
        loop {
            match self.connection(&mut inputs).await {
                Ended::Closed => break,
                Ended::Lost => retry = MIN_RETRY,
                Ended::Failed => {}
            }
            if self.wait(Instant::now() + retry, &mut inputs).await.is_err() {
                break;
            }
            retry = (retry * 2).min(MAX_RETRY);
        }
        self.stop_render().await;
    }

    /// Waits until a time. The error means that the view is to end.
    async fn wait(&mut self, until: Instant, inputs: &mut mpsc::Receiver<ViewInput>) -> Result<(), ()> {
        while let Ok(input) = timeout_at(until, inputs.recv()).await {
            match input {
                Some(ViewInput::Silent(silent)) => self.set_silent(silent),
                Some(ViewInput::Answer(_) | ViewInput::Candidate(_) | ViewInput::Lost | ViewInput::NotSent) => {}
                Some(ViewInput::Held) => {}
                Some(ViewInput::NotOnStage) | None => return Err(()),
            }
        }
        Ok(())
    }

    /// One connection, from the offer to its end.
    async fn connection(&mut self, inputs: &mut mpsc::Receiver<ViewInput>) -> Ended {
        let Handles { screen, is_held, .. } = self.handles.clone();
        let sink = Arc::new(move |incoming: Incoming<'_>| match incoming {
            Incoming::Rtp(Track::Audio, _) if is_held.load(Ordering::Relaxed) => {}
            incoming => screen.push(incoming),
        });
        let (viewer, sdp, mut events) = match Viewer::offer(self.context.viewer(), sink).await {
            Ok(offered) => offered,
            Err(error) => {
                self.warn(format!("can't set up a connection to {} on the stage: {error}", self.name)).await;
                return Ended::Failed;
            }
        };
        self.tell(ViewOutput::Offer(sdp)).await;
        let ended = self.receive(&viewer, &mut events, inputs).await;
        self.handles.is_connected.store(false, Ordering::Relaxed);
        viewer.close().await;
        ended
    }

    async fn receive(
        &mut self,
        viewer: &Viewer,
        events: &mut mpsc::Receiver<ViewerEvent>,
        inputs: &mut mpsc::Receiver<ViewInput>,
    ) -> Ended {
        let (deadline, mut is_connected) = (Instant::now() + CONNECTS_WITHIN, false);
        let lost = |is_connected| if is_connected { Ended::Lost } else { Ended::Failed };
        loop {
            tokio::select! {
                input = inputs.recv() => match input {
                    Some(ViewInput::Answer(sdp)) => match viewer.answer(sdp).await {
                        Ok(tracks) => self.start_render(tracks).await,
                        Err(_) => return lost(is_connected),
                    },
                    Some(ViewInput::Candidate(candidate)) => viewer.candidate(candidate_init(candidate)).await,
                    Some(ViewInput::Lost) => return lost(is_connected),
                    Some(ViewInput::NotSent) if !is_connected => return Ended::Failed,
                    Some(ViewInput::NotSent) => {}
                    Some(ViewInput::Silent(silent)) => self.set_silent(silent),
                    Some(ViewInput::Held) => self.set_silent(self.silent.clone()),
                    Some(ViewInput::NotOnStage) | None => return Ended::Closed,
                },
                event = events.recv() => match event {
                    Some(ViewerEvent::Candidate(candidate)) => {
                        let candidate = IceCandidate {
                            candidate: candidate.candidate,
                            sdp_mid: candidate.sdp_mid,
                            sdp_m_line_index: candidate.sdp_mline_index,
                            username_fragment: candidate.username_fragment,
                        };
                        self.tell(ViewOutput::Candidate(candidate)).await;
                    }
                    Some(ViewerEvent::Connected) => {
                        is_connected = true;
                        self.handles.is_connected.store(true, Ordering::Relaxed);
                    }
                    Some(ViewerEvent::BeginningMissed(track)) => viewer.request_key_frame(track).await,
                    // The conversation and the tiers are for students.
                    Some(ViewerEvent::ChannelOpen | ViewerEvent::Heard(_) | ViewerEvent::Disturbed) => {}
                    Some(ViewerEvent::Gone) | None => return lost(is_connected),
                },
                event = or_never(self.render_events.as_mut().map(mpsc::Receiver::recv)) => {
                    if let Some(RenderEvent::KeyFrameNeeded(track)) = event {
                        viewer.request_key_frame(track).await;
                    } else {
                        self.on_render(event).await;
                    }
                }
                () = self.handles.restart.notified() => self.restart_render().await,
                () = sleep_until(deadline), if !is_connected => return Ended::Failed,
            }
        }
    }

    async fn on_render(&mut self, event: Option<RenderEvent>) {
        match event {
            Some(RenderEvent::FirstFrame { .. } | RenderEvent::KeyFrameNeeded(_)) => {}
            Some(RenderEvent::Warning(sentence)) => self.warn(sentence).await,
            Some(RenderEvent::WindowClosed) => {
                self.warn(self.context.window_closed(&self.name)).await;
                self.restart_render().await;
            }
            Some(RenderEvent::Error(error)) => {
                self.warn(format!("can't show {}: {error}", self.name)).await;
                self.stop_render().await;
            }
            None => self.render_events = None,
        }
    }

    /// Starts a render for the tracks of an answer, unless the running one has the same tracks.
    async fn start_render(&mut self, tracks: Vec<(Track, Codec, u8)>) {
        let format = |(track, codec, payload_type)| TrackFormat { track, codec, payload_type };
        let formats: Vec<TrackFormat> = tracks.into_iter().map(format).collect();
        if formats != self.formats || self.render_events.is_none() {
            self.formats = formats;
            self.restart_render().await;
        }
    }

    async fn restart_render(&mut self) {
        self.stop_render().await;
        if self.formats.is_empty() {
            return;
        }
        let options = SpeakerOptions {
            user: self.outputs.0.clone(),
            name: self.name.clone(),
            latency: self.context.latency(),
            tracks: self.formats.clone(),
        };
        let context = Arc::clone(&self.context);
        match blocking(move || context.start(options)).await {
            Ok(Ok(None)) => {}
            Ok(Ok(Some((render, events)))) => {
                self.handles.screen.show(render);
                self.render_events = Some(events);
                self.set_silent(self.silent.clone());
                self.tell(ViewOutput::Rendering).await;
            }
            Ok(Err(error)) => self.warn(format!("can't show {}: {error}", self.name)).await,
            Err(failure) => self.warn(format!("can't show {}: {failure}", self.name)).await,
        }
    }

    async fn stop_render(&mut self) {
        self.render_events = None;
        if let Some(render) = self.handles.screen.take() {
            let _ = blocking(move || render.finish()).await;
        }
    }

    /// Hides pictures that have stopped, and those of a view that is held.
    fn set_silent(&mut self, silent: Vec<TrackName>) {
        self.silent = silent;
        let is_held = self.handles.is_held.load(Ordering::Relaxed);
        let stopped: Vec<Track> = self.silent.iter().copied().map(Track::from).collect();
        let mut videos = self.formats.iter().map(|format| format.track).filter(|track| track.is_video()).peekable();
        let has_video = videos.peek().is_some();
        self.handles.screen.with(|render| {
            let mut all_stopped = has_video;
            for track in videos {
                let has_stopped = stopped.contains(&track);
                render.expect(track, !has_stopped);
                render.show(track, !has_stopped && !is_held);
                all_stopped &= has_stopped;
            }
            let message = all_stopped.then_some("no picture at present");
            render.window().map(|window| window.set_message(message))
        });
    }

    async fn warn(&self, sentence: String) {
        self.tell(ViewOutput::Warn(sentence)).await;
    }

    /// After the end of the lecture nobody reads.
    async fn tell(&self, output: ViewOutput) {
        let (speaker, id, outputs) = &self.outputs;
        let _ = outputs.send((speaker.clone(), *id, output)).await;
    }
}
