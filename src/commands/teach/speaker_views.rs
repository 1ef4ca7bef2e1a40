//! The teacher sees and hears the speakers on the stage: a view for each of them.

mod view;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use self::view::{View, ViewInput, ViewOutput, ViewSettings};
use crate::cli::{StageSink, Teach};
use crate::commands::stage::StageOffer;
use crate::id::{Nickname, UserId, named};
use crate::protocol::channel::MAX_SPEAKERS;
use crate::protocol::{ClientMessage, IceCandidate, TrackName};
use crate::report::Reporter;

/// The most inputs of a view that may wait. A view that takes none for so long connects again later.
const INPUTS: usize = 16;

/// The most outputs of all views that may wait: a view waits for room.
const OUTPUTS: usize = 16 * MAX_SPEAKERS;

/// A request of a view to the media of a speaker.
pub(super) enum ViewRequest {
    /// The teacher offers to receive from a speaker.
    Offer(StageOffer),
    /// A candidate of the teacher for the media of this speaker.
    Candidate(UserId, IceCandidate),
}

/// The views of a lecture.
pub(super) struct SpeakerViews {
    teacher: UserId,
    settings: ViewSettings,
    reporter: Reporter,
    views: BTreeMap<UserId, Running>,
    /// What the teacher has read about how speakers are shown.
    told: Option<String>,
    outputs: mpsc::Sender<OfView>,
    output_queue: mpsc::Receiver<OfView>,
}

/// An output of a view, with the speaker and the number of the speaker's time on the stage.
type OfView = (UserId, u64, ViewOutput);

/// The view of a speaker. Without its sender of inputs the task ends.
struct Running {
    id: u64,
    inputs: mpsc::Sender<ViewInput>,
    task: JoinHandle<()>,
}

impl SpeakerViews {
    /// No views yet. `media` is the address of the media port.
    pub(super) fn new(teach: &Teach, media: IpAddr, reporter: &Reporter) -> Self {
        // The port is in this process, so loopback is enough where the port is bound to all addresses.
        let host = if media.is_unspecified() { Ipv4Addr::LOCALHOST.into() } else { media };
        let settings = ViewSettings {
            room: teach.room.clone(),
            sink: teach.stage.sink,
            bind: std::net::SocketAddr::new(host, 0).to_string(),
        };
        let (teacher, reporter) = (teach.user.clone(), reporter.clone());
        let (outputs, output_queue) = mpsc::channel(OUTPUTS);
        Self { teacher, settings, reporter, views: BTreeMap::new(), told: None, outputs, output_queue }
    }

    /// A student speaks: shows it. `id` is the number of its time on the stage.
    pub(super) fn open(&mut self, speaker: &UserId, nickname: &Nickname, id: u64) {
        if self.settings.sink == StageSink::None {
            return;
        }
        let (inputs, input_queue) = mpsc::channel(INPUTS);
        let title = named(speaker, nickname.as_str()).to_string();
        let outputs = (speaker.clone(), id, self.outputs.clone());
        let task = tokio::spawn(View::new(self.settings.clone(), title, outputs).run(input_queue));
        self.views.insert(speaker.clone(), Running { id, inputs, task });
    }

    /// The student speaks no more: closes its view.
    pub(super) fn close(&mut self, speaker: &UserId) {
        self.views.remove(speaker);
    }

    /// These tracks of a speaker deliver nothing at present.
    pub(super) fn silent(&self, speaker: &UserId, silent: Vec<TrackName>) {
        self.pass(speaker, ViewInput::Silent(silent));
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
            ClientMessage::Answer { sdp, .. } => self.pass(&speaker, ViewInput::Answer(sdp)),
            _ => self.pass(&speaker, ViewInput::Lost),
        }
        None
    }

    /// The next request. Cancel-safe. Reports what is for the teacher by itself.
    pub(super) async fn next(&mut self) -> ViewRequest {
        loop {
            // This set has a sender, too, so the channel stays open.
            let Some((speaker, id, output)) = self.output_queue.recv().await else {
                return std::future::pending().await;
            };
            if self.views.get(&speaker).is_none_or(|view| view.id != id) {
                continue;
            }
            match output {
                ViewOutput::Offer(sdp) => {
                    let (user, source) = (self.teacher.clone(), speaker);
                    let offer = StageOffer { user, source, sdp, video: None, tracks: None, network: None };
                    return ViewRequest::Offer(offer);
                }
                ViewOutput::Candidate(candidate) => return ViewRequest::Candidate(speaker, candidate),
                ViewOutput::Warn(sentence) => self.reporter.warn(sentence),
                ViewOutput::Shows(sentence) => {
                    if self.told.as_ref() != Some(&sentence) {
                        self.reporter.notice(&sentence);
                        self.told = Some(sentence);
                    }
                }
            }
        }
    }

    /// Closes all views, and waits for their ends.
    pub(super) async fn end(self) {
        let tasks: Vec<JoinHandle<()>> = self.views.into_values().map(|view| view.task).collect();
        // Without a receiver no view waits for room.
        drop(self.output_queue);
        for task in tasks {
            let _ = task.await;
        }
    }

    /// A view that takes no inputs has lost its answer, and offers again after a while.
    fn pass(&self, speaker: &UserId, input: ViewInput) {
        if let Some(view) = self.views.get(speaker) {
            let _ = view.inputs.try_send(input);
        }
    }
}
