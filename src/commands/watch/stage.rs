//! The speakers on the stage, beside the lecture. Their connections, renders and failures never concern the lecture.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::Session;
use crate::commands::negotiation::candidate_init;
use crate::commands::speaker_views::{SpeakerViews, StartedRender, ViewContext, ViewInput, ViewOutput};
use crate::id::UserId;
use crate::media::{MediaError, Render, RenderStage, SpeakerOptions};
use crate::protocol::channel::{MAX_SPEAKERS, Speaker, Stage};
use crate::protocol::{ClientMessage, ErrorCode, IceCandidate};
use crate::report::{Event, Reporter, SpeakerStats, StageEnd, StageState};
use crate::rtp::{Latency, Track};
use crate::viewer::{IceServers, ViewerConfig};

/// A host with speakers names them within this time after its welcome.
const NAMED_WITHIN: Duration = Duration::from_secs(2);

/// The speakers that this student sees and hears.
pub(super) struct SpeakersOnStage<'a> {
    me: UserId,
    reporter: &'a Reporter,
    speakers: Vec<Speaker>,
    /// The speaker whom the teacher shows large.
    spotlight: Option<UserId>,
    /// The speaker whom this student shows large, which goes before the teacher's choice.
    pinned: Option<UserId>,
    /// Without a list until this time nobody speaks.
    named_until: Option<Instant>,
    context: Arc<BesideLecture>,
    views: SpeakerViews,
}

/// The state that the views of all speakers share.
struct BesideLecture {
    latency: Latency,
    now: Mutex<(ViewerConfig, Option<RenderStage>)>,
}

impl BesideLecture {
    fn now(&self) -> MutexGuard<'_, (ViewerConfig, Option<RenderStage>)> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ViewContext for BesideLecture {
    fn viewer(&self) -> ViewerConfig {
        self.now().0.clone()
    }

    fn latency(&self) -> Latency {
        self.latency
    }

    fn start(&self, options: SpeakerOptions) -> Result<Option<StartedRender>, MediaError> {
        let stage = self.now().1.clone();
        stage.map(|stage| stage.start(&options)).transpose()
    }

    /// Speakers are in the window of the lecture, whose end is the end of this program.
    fn window_closed(&self, name: &str) -> String {
        format!("the window of {name} was closed")
    }
}

impl<'a> SpeakersOnStage<'a> {
    /// Nobody is on the stage yet.
    pub(super) fn new(me: UserId, latency: Latency, reporter: &'a Reporter) -> Self {
        let nowhere = ViewerConfig { bind: Vec::new(), ice_servers: IceServers::default() };
        Self {
            me,
            reporter,
            speakers: Vec::new(),
            spotlight: None,
            pinned: None,
            named_until: None,
            context: Arc::new(BesideLecture { latency, now: Mutex::new((nowhere, None)) }),
            views: SpeakerViews::new(),
        }
    }

    /// The next output of a view. Cancel-safe.
    pub(super) async fn next(&mut self) -> (UserId, ViewOutput) {
        self.views.next().await
    }

    /// The list of speakers: connects to new ones, and closes those that are not listed any more.
    pub(super) fn listed(&mut self, stage: Stage) {
        self.named_until = None;
        let mut listed = stage.speakers;
        listed.truncate(MAX_SPEAKERS);
        listed.retain(|speaker| speaker.user_id != self.me);
        let before = std::mem::replace(&mut self.speakers, listed);
        let is_in = |list: &[Speaker], speaker: &Speaker| {
            list.iter().any(|other| (&other.user_id, other.id) == (&speaker.user_id, speaker.id))
        };
        for gone in before.iter().filter(|speaker| !is_in(&self.speakers, speaker)) {
            self.views.close(&gone.user_id);
            self.tell(gone, StageState::Ended { reason: StageEnd::Unknown });
        }
        for speaker in &self.speakers {
            if !is_in(&before, speaker) {
                self.views.open(&speaker.user_id, &speaker.nickname, speaker.id, self.context.clone());
                self.tell(speaker, StageState::Live { tracks: speaker.tracks.clone() });
            }
            let was_lost = before.iter().any(|other| other.user_id == speaker.user_id && other.lost);
            if speaker.lost && !was_lost {
                self.tell(speaker, StageState::Lost);
            }
            self.views.silent(&speaker.user_id, speaker.silent.clone());
        }
        self.spotlight = stage.spotlight;
        self.enlarge();
    }

    /// Shows a speaker large, by id or name, or whom the teacher shows large.
    pub(super) fn pin(&mut self, whom: Option<String>) {
        let is_meant = |speaker: &&Speaker, text: &str| {
            speaker.user_id.as_str() == text || speaker.nickname.as_str().to_lowercase() == text.to_lowercase()
        };
        let find = |text: &str| self.speakers.iter().find(|speaker| is_meant(speaker, text));
        let found = whom.as_deref().map(|text| find(text).map(|speaker| speaker.user_id.clone()).ok_or(text));
        match found.transpose() {
            Ok(pinned) => self.pinned = pinned,
            Err(text) => return self.reporter.notice(format!("{text} is not on the stage")),
        }
        self.enlarge();
    }

    /// Nobody speaks: the lecture is over, or another one begins.
    pub(super) fn clear(&mut self) {
        self.listed(Stage::default());
    }

    /// The host of the lecture's media has welcomed this student, for the first time or again.
    pub(super) fn welcomed(&mut self, now: Instant) {
        self.named_until = Some(now + NAMED_WITHIN);
    }

    /// The addresses and the ICE servers of later connections.
    pub(super) fn set_viewer(&self, config: ViewerConfig) {
        self.context.now().0 = config;
    }

    /// The lecture's render has started, or has ended: the speakers' renders follow.
    pub(super) fn set_render(&self, stage: Option<RenderStage>) {
        self.context.now().1 = stage;
        self.views.restart_renders();
    }

    /// Calls `look` with all renders that run.
    pub(super) fn each_render(&self, look: impl Fn(&Render)) {
        for speaker in &self.speakers {
            self.views.with_render(&speaker.user_id, &look);
        }
    }

    /// Once a second: reports the statistics of the speakers.
    pub(super) fn on_second(&mut self, now: Instant) {
        if self.named_until.is_some_and(|until| until <= now) {
            self.clear();
        }
        for speaker in &self.speakers {
            for track in speaker.tracks.iter().copied().map(Track::from) {
                let stats = self.views.with_render(&speaker.user_id, |render| render.stats(track));
                if let Some(stats) = stats {
                    let stats = SpeakerStats {
                        user: speaker.user_id.clone(),
                        track,
                        frames: stats.frames_decoded,
                        width: stats.width,
                        height: stats.height,
                        lost: stats.lost,
                        freezes: stats.freezes + u64::from(stats.frozen.is_some()),
                    };
                    self.reporter.event(&Event::SpeakerStats(stats));
                }
            }
        }
    }

    /// Closes all connections, and waits for their ends.
    pub(super) async fn end(&mut self) {
        self.speakers.clear();
        std::mem::replace(&mut self.views, SpeakerViews::new()).end().await;
    }

    fn lists(&self, user: &UserId) -> bool {
        self.speakers.iter().any(|speaker| speaker.user_id == *user)
    }

    /// Shows the right picture large, as far as renders run.
    fn enlarge(&self) {
        let large = [&self.pinned, &self.spotlight].into_iter().flatten().find(|user| self.lists(user));
        match large {
            Some(speaker) => _ = self.views.with_render(speaker, |render| render.enlarge(true)),
            None => {
                if let Some(stage) = &self.context.now().1 {
                    stage.enlarge_lecture();
                }
            }
        }
    }

    fn tell(&self, speaker: &Speaker, state: StageState) {
        let (user, nickname) = (speaker.user_id.clone(), speaker.nickname.as_str().to_owned());
        self.reporter.event(&Event::Stage { user, nickname, state });
    }
}

impl Session<'_> {
    /// An output of the view of a speaker. Candidates without a server are lost; an offer is made again.
    pub(super) fn on_speaker(&mut self, (speaker, output): (UserId, ViewOutput)) {
        match output {
            ViewOutput::Offer(sdp) => {
                let offer =
                    ClientMessage::Offer { entry: None, target_uid: speaker.clone(), sdp, video: None, tracks: None };
                if !self.signalling.send(offer) {
                    self.speakers.views.pass(&speaker, ViewInput::NotSent);
                }
            }
            ViewOutput::Candidate(candidate) => {
                self.signalling.send(ClientMessage::Candidate {
                    entry: None,
                    target_uid: speaker,
                    candidate,
                    source: None,
                });
            }
            ViewOutput::Shows(sentence) => self.reporter.notice(sentence),
            ViewOutput::Rendering => self.speakers.enlarge(),
            ViewOutput::Warn(sentence) => self.reporter.warn(sentence),
        }
    }

    /// An answer of a user who is not the publisher.
    pub(super) fn on_speaker_answer(&self, speaker: &UserId, sdp: String) {
        self.speakers.views.pass(speaker, ViewInput::Answer(sdp));
    }

    /// A candidate of the publisher, or of a speaker.
    pub(super) async fn on_candidate(&self, user: &UserId, candidate: IceCandidate) {
        match self.connection.as_ref().filter(|connection| connection.publisher == *user) {
            Some(connection) => connection.viewer.candidate(candidate_init(candidate)).await,
            None => self.speakers.views.pass(user, ViewInput::Candidate(candidate)),
        }
    }

    /// The connection to a speaker was ended by the other side. The connection to the publisher reports its own end.
    pub(super) fn on_speaker_hangup(&self, user: &UserId) {
        self.speakers.views.pass(user, ViewInput::Lost);
    }

    /// An error that does not concern the lecture. Returns false if the error does. Errors of the server itself name
    /// nobody, and offers to speakers are sent only while the lecture is connected.
    pub(super) fn on_speaker_error(&self, code: ErrorCode, message: &str, user: Option<&UserId>) -> bool {
        match user {
            Some(user) if self.is_publisher(user) => return false,
            Some(user) if code == ErrorCode::NotOnStage => self.speakers.views.pass(user, ViewInput::NotOnStage),
            Some(user) => self.speakers.views.pass(user, ViewInput::Lost),
            None if !self.lesson.is_connected() => return false,
            None => self.speakers.views.pass_all(|| ViewInput::NotSent),
        }
        self.reporter.detail(format!("the media of a speaker is not there yet: {message}"));
        true
    }

    pub(super) fn is_publisher(&self, user: &UserId) -> bool {
        self.lesson.publisher() == Some(user) || self.connection.as_ref().is_some_and(|c| c.publisher == *user)
    }
}
