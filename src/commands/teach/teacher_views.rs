//! The teacher sees and hears the speakers on the stage: a window for each of them.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::stage_sink::{self, Output};
use crate::cli::{StageSink, Teach};
use crate::commands::speaker_views::{Prepared, SpeakerViews, StartedRender, ViewContext, ViewInput, ViewOutput};
use crate::commands::stage::StageOffer;
use crate::id::{Nickname, RoomId, UserId};
use crate::media::{MediaError, Render, RenderOptions, Sink, SpeakerOptions, TrackFormat};
use crate::protocol::{ClientMessage, IceCandidate, TrackName};
use crate::report::Reporter;
use crate::rtp::Latency;
use crate::viewer::{IceServers, ViewerConfig};

/// A request of a view to the media of a speaker.
pub(super) enum ViewRequest {
    /// The teacher offers to receive from a speaker.
    Offer(StageOffer),
    /// A candidate of the teacher for the media of this speaker.
    Candidate(UserId, IceCandidate),
}

/// The views of a lecture.
pub(super) struct TeacherViews {
    teacher: UserId,
    room: RoomId,
    sink: StageSink,
    /// The address to bind.
    bind: String,
    reporter: Reporter,
    views: SpeakerViews,
    /// The last sentence to the teacher about the way speakers are shown.
    told: Option<String>,
}

impl TeacherViews {
    /// No views yet. `media` is the address of the media port.
    pub(super) fn new(teach: &Teach, media: IpAddr, reporter: &Reporter) -> Self {
        // The port is in this process, so loopback is enough where the port is bound to all addresses.
        let host = if media.is_unspecified() { Ipv4Addr::LOCALHOST.into() } else { media };
        Self {
            teacher: teach.user.clone(),
            room: teach.room.clone(),
            sink: teach.stage.sink,
            bind: SocketAddr::new(host, 0).to_string(),
            reporter: reporter.clone(),
            views: SpeakerViews::new(),
            told: None,
        }
    }

    /// A student speaks: shows it. `id` is the number of its time on the stage.
    pub(super) fn open(&mut self, speaker: &UserId, nickname: &Nickname, id: u64) {
        if self.sink == StageSink::None {
            return;
        }
        let window = SpeakerWindow {
            room: self.room.clone(),
            sink: self.sink,
            bind: self.bind.clone(),
            output: Mutex::default(),
        };
        self.views.open(speaker, nickname, id, Arc::new(window));
    }

    /// The student speaks no more: closes its view.
    pub(super) fn close(&mut self, speaker: &UserId) {
        self.views.close(speaker);
    }

    /// These tracks of a speaker deliver nothing at present.
    pub(super) fn silent(&self, speaker: &UserId, silent: Vec<TrackName>) {
        self.views.silent(speaker, silent);
    }

    /// Takes a message of the stage's media if it is for the teacher. Returns another one.
    pub(super) fn take(&self, message: ClientMessage) -> Option<ClientMessage> {
        let (to, speaker) = match &message {
            ClientMessage::Answer { target_uid, source: Some(source), .. }
            | ClientMessage::Reject { target_uid, source: Some(source), .. }
            | ClientMessage::Hangup { target_uid, source: Some(source) } => (target_uid, source.clone()),
            _ => return Some(message),
        };
        if *to != self.teacher {
            return Some(message);
        }
        match message {
            ClientMessage::Answer { sdp, .. } => self.views.pass(&speaker, ViewInput::Answer(sdp)),
            _ => self.views.pass(&speaker, ViewInput::Lost),
        }
        None
    }

    /// The next request. Cancel-safe. Reports what is for the teacher by itself.
    pub(super) async fn next(&mut self) -> ViewRequest {
        loop {
            match self.views.next().await {
                (source, ViewOutput::Offer(sdp)) => {
                    let user = self.teacher.clone();
                    let offer = StageOffer { user, source, sdp, video: None, tracks: None, network: None };
                    return ViewRequest::Offer(offer);
                }
                (speaker, ViewOutput::Candidate(candidate)) => return ViewRequest::Candidate(speaker, candidate),
                (_, ViewOutput::Warn(sentence)) => self.reporter.warn(sentence),
                (_, ViewOutput::Shows(sentence)) => {
                    if self.told.as_ref() != Some(&sentence) {
                        self.reporter.notice(&sentence);
                        self.told = Some(sentence);
                    }
                }
                (_, ViewOutput::Rendering) => {}
            }
        }
    }

    /// Closes all views, and waits for their ends.
    pub(super) async fn end(self) {
        self.views.end().await;
    }
}

/// A speaker in a window of its own, or only heard.
struct SpeakerWindow {
    room: RoomId,
    sink: StageSink,
    bind: String,
    output: Mutex<Output>,
}

impl SpeakerWindow {
    fn output(&self) -> MutexGuard<'_, Output> {
        self.output.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ViewContext for SpeakerWindow {
    fn prepare(&self) -> Prepared {
        let (output, sentence) = stage_sink::choose(self.sink);
        *self.output() = output;
        Prepared { shows: !output.is_nothing(), sentence: Some(sentence) }
    }

    fn viewer(&self) -> ViewerConfig {
        ViewerConfig { bind: vec![self.bind.clone()], ice_servers: IceServers::default() }
    }

    fn latency(&self) -> Latency {
        Latency::AUTO
    }

    fn start(&self, options: SpeakerOptions) -> Result<Option<StartedRender>, MediaError> {
        let Output { picture, sound } = *self.output();
        let is_shown = |format: &TrackFormat| if format.track.is_video() { picture } else { sound };
        let tracks: Vec<TrackFormat> = options.tracks.into_iter().filter(is_shown).collect();
        if tracks.is_empty() {
            return Ok(None);
        }
        let options = RenderOptions {
            sink: Sink::Window { fullscreen: false },
            latency: options.latency,
            tracks,
            audio: sound,
            title: format!("classroom {}, on the stage: {}", self.room, options.name),
        };
        Render::start(options).map(Some)
    }

    fn window_closed(&self, name: &str) -> String {
        let mut output = self.output();
        output.picture = false;
        let after = if output.sound { "the sound goes on" } else { "the class sees the student on" };
        format!("the window of {name} was closed: {after} (/stage off ends that)")
    }
}
