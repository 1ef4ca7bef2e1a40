//! One speaker at the teacher's computer: a connection to the speaker's SFU in this process, and a render.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::super::stage_sink::{self, Output};
use crate::cli::StageSink;
use crate::commands::{blocking, or_never};
use crate::endpoints::RenderInput;
use crate::id::{RoomId, UserId};
use crate::media::{Render, RenderEvent, RenderOptions, Sink, TrackFormat};
use crate::protocol::{IceCandidate, TrackName};
use crate::rtp::{Codec, Latency, Track};
use crate::viewer::{Incoming, Viewer, ViewerConfig, ViewerEvent};

/// How long a connection within this computer may take.
const CONNECTS_WITHIN: Duration = Duration::from_secs(10);

/// The time from a lost connection to the next one; it doubles up to [`MAX_RETRY`] while none is established.
const MIN_RETRY: Duration = Duration::from_secs(1);
const MAX_RETRY: Duration = Duration::from_secs(8);

/// What all views have in common.
#[derive(Debug, Clone)]
pub(super) struct ViewSettings {
    pub(super) room: RoomId,
    pub(super) sink: StageSink,
    /// The address to bind.
    pub(super) bind: String,
}

/// An input of a view.
pub(super) enum ViewInput {
    /// The speaker's SFU has answered.
    Answer(String),
    /// The SFU has refused the offer, or ended the connection.
    Lost,
    /// These tracks deliver nothing at present.
    Silent(Vec<TrackName>),
}

/// An output of a view.
pub(super) enum ViewOutput {
    /// An offer for the speaker's SFU.
    Offer(String),
    /// A candidate for it.
    Candidate(IceCandidate),
    /// How speakers are shown, for the teacher.
    Shows(String),
    /// A problem, for the teacher.
    Warn(String),
}

/// A view that runs.
pub(super) struct View {
    settings: ViewSettings,
    /// The speaker in a sentence.
    name: String,
    outputs: (UserId, u64, mpsc::Sender<(UserId, u64, ViewOutput)>),
    output: Output,
    screen: Arc<RenderInput>,
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
        settings: ViewSettings,
        name: String,
        outputs: (UserId, u64, mpsc::Sender<(UserId, u64, ViewOutput)>),
    ) -> Self {
        Self {
            settings,
            name,
            outputs,
            output: Output::default(),
            screen: Arc::default(),
            formats: Vec::new(),
            render_events: None,
            silent: Vec::new(),
        }
    }

    /// Shows the speaker until the sender of the inputs is dropped.
    pub(super) async fn run(mut self, mut inputs: mpsc::Receiver<ViewInput>) {
        let sink = self.settings.sink;
        let Ok((output, sentence)) = blocking(move || stage_sink::choose(sink)).await else { return };
        self.output = output;
        self.tell(ViewOutput::Shows(sentence)).await;
        if self.output.is_nothing() {
            return;
        }
        let mut retry = MIN_RETRY;
        loop {
            match self.connection(&mut inputs).await {
                Ended::Closed => break,
                Ended::Lost => retry = MIN_RETRY,
                Ended::Failed => retry = (retry * 2).min(MAX_RETRY),
            }
            if self.wait(Instant::now() + retry, &mut inputs).await.is_err() {
                break;
            }
        }
        self.stop_render().await;
    }

    /// Waits until a time. The error means that the view is to end.
    async fn wait(&mut self, until: Instant, inputs: &mut mpsc::Receiver<ViewInput>) -> Result<(), ()> {
        while let Ok(input) = timeout_at(until, inputs.recv()).await {
            match input {
                Some(ViewInput::Silent(silent)) => self.set_silent(silent),
                Some(ViewInput::Answer(_) | ViewInput::Lost) => {}
                None => return Err(()),
            }
        }
        Ok(())
    }

    /// One connection, from the offer to its end.
    async fn connection(&mut self, inputs: &mut mpsc::Receiver<ViewInput>) -> Ended {
        let screen = Arc::clone(&self.screen);
        let sink = Arc::new(move |incoming: Incoming<'_>| screen.push(incoming));
        let config = ViewerConfig { bind: vec![self.settings.bind.clone()], ice_servers: Vec::new() };
        let (viewer, sdp, mut events) = match Viewer::offer(config, sink).await {
            Ok(offered) => offered,
            Err(error) => {
                self.warn(format!("can't set up a connection to {} on the stage: {error}", self.name)).await;
                return Ended::Failed;
            }
        };
        self.tell(ViewOutput::Offer(sdp)).await;
        let ended = self.receive(&viewer, &mut events, inputs).await;
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
                    Some(ViewInput::Lost) => return lost(is_connected),
                    Some(ViewInput::Silent(silent)) => self.set_silent(silent),
                    None => return Ended::Closed,
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
                    Some(ViewerEvent::Connected) => is_connected = true,
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
                () = sleep_until(deadline), if !is_connected => return Ended::Failed,
            }
        }
    }

    async fn on_render(&mut self, event: Option<RenderEvent>) {
        match event {
            Some(RenderEvent::FirstFrame { .. } | RenderEvent::KeyFrameNeeded(_)) => {}
            Some(RenderEvent::Warning(sentence)) => self.warn(sentence).await,
            Some(RenderEvent::WindowClosed) => {
                let name = &self.name;
                let after = if self.output.sound { "the sound goes on" } else { "the class sees the student on" };
                self.warn(format!("the window of {name} was closed: {after} (/stage off ends that)")).await;
                self.output.picture = false;
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
        let Output { picture, sound } = self.output;
        let is_shown = |format: &&TrackFormat| if format.track.is_video() { picture } else { sound };
        let tracks: Vec<TrackFormat> = self.formats.iter().filter(is_shown).copied().collect();
        if tracks.is_empty() {
            return;
        }
        let options = RenderOptions {
            sink: Sink::Window { fullscreen: false },
            latency: Latency::AUTO,
            tracks,
            audio: sound,
            title: format!("classroom {}, on the stage: {}", self.settings.room, self.name),
        };
        match blocking(move || Render::start(options)).await {
            Ok(Ok((render, events))) => {
                self.screen.show(render);
                self.render_events = Some(events);
                self.set_silent(self.silent.clone());
            }
            Ok(Err(error)) => self.warn(format!("can't show {}: {error}", self.name)).await,
            Err(failure) => self.warn(format!("can't show {}: {failure}", self.name)).await,
        }
    }

    async fn stop_render(&mut self) {
        self.render_events = None;
        if let Some(render) = self.screen.take() {
            let _ = blocking(move || render.finish()).await;
        }
    }

    /// Hides pictures that have stopped.
    fn set_silent(&mut self, silent: Vec<TrackName>) {
        self.silent = silent;
        let stopped: Vec<Track> = self.silent.iter().copied().map(Track::from).collect();
        let mut videos = self.formats.iter().map(|format| format.track).filter(|track| track.is_video()).peekable();
        let has_video = videos.peek().is_some();
        self.screen.with(|render| {
            let mut all_stopped = has_video;
            for track in videos {
                let has_stopped = stopped.contains(&track);
                render.expect(track, !has_stopped);
                render.show(track, !has_stopped);
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
