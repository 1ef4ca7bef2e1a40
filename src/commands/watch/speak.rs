//! The student on the stage: the invitation and its answer, and the media that the student sends.

mod connection;

use std::io::IsTerminal;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::Instant;

use self::connection::{FrameSwitch, SpeakerConnection, SpeakerEvent};
use super::Session;
use crate::cli::{ChatInput, Speaking, Watch};
use crate::commands::negotiation::candidate_init;
use crate::commands::or_never;
use crate::commands::own_capture::{self, OwnCapture};
use crate::commands::uplink_connection::UplinkEvent;
use crate::id::UserId;
use crate::media::CaptureEvent;
use crate::protocol::channel::{Decline, OffStage, PublisherMessage, Stage, StudentMessage};
use crate::protocol::{ClientMessage, ErrorCode, IceCandidate};
use crate::publisher::{Publisher, PublisherEvent};
use crate::report::{Event, Reporter, SpeakingState};
use crate::rtp::Track;

/// The student's own place on the stage.
pub(super) struct OwnStage<'a> {
    speaking: Option<&'a Speaking>,
    me: UserId,
    reporter: &'a Reporter,
    /// Whether somebody can type an answer.
    is_typing_possible: bool,
    state: State,
    /// Whether the class sees and hears this student.
    is_live: bool,
    /// Whether students may come to the stage by themselves.
    floor_is_open: bool,
    /// Whether the person has asked for the floor, and need not be asked again.
    asked_for_floor: bool,
}

/// A capture that has started, and the way of its frames.
type Started = (OwnCapture, FrameSwitch);

enum State {
    /// Not invited.
    Off,
    /// The person at the terminal is asked.
    Asked { until: Instant },
    /// The capture starts.
    Starting(JoinHandle<Result<Started, Vec<String>>>),
    /// The capture runs, and its media is sent or about to be.
    On(Box<SpeakerConnection>),
}

/// An event of the student's own place on the stage.
pub(super) enum OwnStageEvent {
    /// The question was not answered in time.
    NoAnswer,
    Started(Result<Box<Started>, Vec<String>>),
    Speaker(SpeakerEvent),
}

impl<'a> OwnStage<'a> {
    pub(super) fn new(watch: &'a Watch, reporter: &'a Reporter) -> Self {
        let is_terminal = std::io::stdin().is_terminal() && !reporter.is_json();
        let is_typing_possible = match watch.chat {
            ChatInput::Always => true,
            ChatInput::Terminal => is_terminal,
            ChatInput::Never => false,
        };
        Self {
            speaking: watch.speaking.as_ref(),
            me: watch.member.user.clone(),
            reporter,
            is_typing_possible,
            state: State::Off,
            is_live: false,
            floor_is_open: false,
            asked_for_floor: false,
        }
    }

    /// Waits for the next event. Cancellation loses nothing.
    pub(super) async fn next(&mut self) -> OwnStageEvent {
        match &mut self.state {
            State::Off => std::future::pending().await,
            State::Asked { until } => {
                tokio::time::sleep_until(*until).await;
                OwnStageEvent::NoAnswer
            }
            State::Starting(starting) => {
                let started = or_never(Some(starting)).await;
                let started = started.unwrap_or_else(|error| Err(vec![error.to_string()]));
                OwnStageEvent::Started(started.map(Box::new))
            }
            State::On(speaker) => OwnStageEvent::Speaker(speaker.next().await),
        }
    }

    /// An invitation, which is valid for this long. Returns an answer, if there is one already.
    pub(super) fn invited(&mut self, within: Duration) -> Option<StudentMessage> {
        match self.state {
            State::Off => {}
            State::Asked { .. } | State::Starting(_) => return None,
            // The answer was lost with the connection to the teacher.
            State::On(_) => return Some(accepted()),
        }
        self.tell(SpeakingState::Invited, None);
        let Some(speaking) = self.speaking else {
            let how = "to speak on the stage, start watch with --may-speak";
            let why = Some(Decline::NotAllowed);
            return Some(self.decline(why, format!("the teacher invited you to the stage, which was declined: {how}")));
        };
        if std::mem::take(&mut self.asked_for_floor) || !speaking.asks {
            self.start(speaking);
            return None;
        }
        if !self.is_typing_possible {
            let how = "stdin is not a terminal, so nobody can be asked: --may-speak=yes accepts without asking";
            let why = Some(Decline::NotAllowed);
            return Some(self.decline(why, format!("the teacher invited you to the stage, which was declined: {how}")));
        }
        self.reporter.notice(format!(
            "the teacher invites you to the stage, where the class sees and hears you: {}. Answer y or n ({} s)",
            words(speaking),
            within.as_secs()
        ));
        self.state = State::Asked { until: Instant::now() + within };
        None
    }

    /// A typed line, if it answers the question. Returns whether it does, and the message to send.
    pub(super) fn typed(&mut self, line: &str) -> (bool, Option<StudentMessage>) {
        let State::Asked { .. } = self.state else { return (false, None) };
        match (line.trim().to_lowercase().as_str(), self.speaking) {
            ("y" | "yes", Some(speaking)) => {
                self.start(speaking);
                (true, None)
            }
            ("n" | "no", _) => (true, Some(self.decline(None, "you have declined".to_owned()))),
            _ => (false, None),
        }
    }

    /// The teacher has taken this student off the stage, or the invitation is void.
    pub(super) async fn off_stage(&mut self, reason: OffStage) {
        if matches!(self.state, State::Off) {
            return;
        }
        self.end(Some(reason)).await;
    }

    /// The person asks for the floor. Returns whether the hand has to go up, which is the request.
    fn asks_for_floor(&mut self) -> bool {
        let problem = if self.speaking.is_none() {
            "to speak on the stage, start watch with --may-speak"
        } else if !matches!(self.state, State::Off) {
            "you are on the stage, or on the way there"
        } else if !self.floor_is_open {
            "the floor is not open: /hand asks the teacher for an invitation"
        } else {
            self.asked_for_floor = true;
            return true;
        };
        self.reporter.notice(problem);
        false
    }

    /// The holder of the lecture's media welcomes this student; if the floor is open, the list of speakers says so.
    pub(super) fn welcomed(&mut self) {
        self.floor_is_open = false;
    }

    /// The speakers of the lecture. The host names this student once its media has arrived.
    pub(super) fn stage(&mut self, stage: &Stage) {
        if std::mem::replace(&mut self.floor_is_open, stage.is_open) != stage.is_open {
            self.reporter.notice(match (stage.is_open, self.speaking) {
                (true, Some(_)) => "the floor is open: /speak brings you to the stage",
                (true, None) => "the floor is open: with --may-speak you could come to the stage",
                (false, _) => "the floor is closed",
            });
            self.asked_for_floor &= stage.is_open;
        }
        let is_live = stage.speakers.iter().any(|speaker| speaker.user_id == self.me);
        if is_live && !self.is_live && matches!(self.state, State::On(_)) {
            self.is_live = true;
            self.tell(SpeakingState::Live, None);
        }
    }

    /// Whether the student is on the stage or on the way there.
    pub(super) fn is_on(&self) -> bool {
        matches!(self.state, State::Starting(_) | State::On(_))
    }

    /// Ends the media, and tells why.
    pub(super) async fn end(&mut self, reason: Option<OffStage>) {
        self.is_live = false;
        match std::mem::replace(&mut self.state, State::Off) {
            State::Off => return,
            State::Asked { .. } | State::Starting(_) => {}
            State::On(speaker) => speaker.close().await,
        }
        self.tell(SpeakingState::Ended, reason);
    }

    fn start(&mut self, speaking: &Speaking) {
        let sources = speaking.sources.clone();
        self.state = State::Starting(tokio::task::spawn_blocking(move || {
            let switch = FrameSwitch::default();
            let of_capture = switch.clone();
            let capture = own_capture::start(&sources, move |frame| of_capture.push(frame))?;
            Ok((capture, switch))
        }));
        self.tell(SpeakingState::Starting, None);
    }

    fn decline(&mut self, why: Option<Decline>, notice: String) -> StudentMessage {
        self.state = State::Off;
        self.reporter.notice(notice);
        self.tell(SpeakingState::Declined, None);
        StudentMessage::StageAnswer { accepted: false, why }
    }

    fn speaker(&mut self) -> Option<&mut SpeakerConnection> {
        match &mut self.state {
            State::On(speaker) => Some(speaker),
            State::Off | State::Asked { .. } | State::Starting(_) => None,
        }
    }

    fn tell(&self, state: SpeakingState, reason: Option<OffStage>) {
        let (tracks, estimate_kbps) = match &self.state {
            State::On(speaker) => (speaker.tracks(), speaker.uplink.publisher().and_then(Publisher::estimate_kbps)),
            _ => (Vec::new(), None),
        };
        self.reporter.event(&Event::Speaking { state, tracks, reason, estimate_kbps });
    }
}

/// The student comes to the stage.
const fn accepted() -> StudentMessage {
    StudentMessage::StageAnswer { accepted: true, why: None }
}

/// The sources in words.
fn words(speaking: &Speaking) -> String {
    use crate::media::{MainSource, Wanted};
    let sources = &speaking.sources;
    let main = match &sources.main {
        MainSource::Screen(Wanted::No) => None,
        MainSource::Screen(_) => Some("screen"),
        MainSource::Files(_) => Some("a file"),
        MainSource::Slides(_) => Some("slides"),
        MainSource::Scenes(_) => Some("scenes"),
        MainSource::Test | MainSource::Demo => Some("a test picture"),
    };
    let camera = (sources.camera != Wanted::No).then_some("camera");
    let microphone = (sources.microphone != Wanted::No).then_some("microphone");
    let parts: Vec<&str> = [main, camera, microphone].into_iter().flatten().collect();
    parts.join(" and ")
}

impl Session<'_> {
    pub(super) async fn on_invited(&mut self, within_ms: u32) {
        if let Some(answer) = self.own_stage.invited(Duration::from_millis(within_ms.into())) {
            self.send_to_teacher(answer).await;
        }
    }

    pub(super) async fn on_own_stage(&mut self, event: OwnStageEvent) {
        match event {
            OwnStageEvent::NoAnswer => {
                let answer =
                    self.own_stage.decline(Some(Decline::NoAnswer), "you have not answered the invitation".to_owned());
                self.send_to_teacher(answer).await;
            }
            OwnStageEvent::Started(Ok(capture)) => {
                capture.0.notices.iter().for_each(|notice| self.reporter.notice(notice));
                self.own_stage.state = State::On(Box::new(SpeakerConnection::new(Instant::now(), *capture)));
                self.send_to_teacher(accepted()).await;
            }
            OwnStageEvent::Started(Err(failures)) => {
                let notice = format!("you can't speak: {}", failures.join("; "));
                let answer = self.own_stage.decline(Some(Decline::NoDevice), notice);
                self.send_to_teacher(answer).await;
            }
            OwnStageEvent::Speaker(SpeakerEvent::Uplink(UplinkEvent::Due)) => self.offer_own_media().await,
            OwnStageEvent::Speaker(SpeakerEvent::Uplink(UplinkEvent::Publisher(event))) => {
                self.on_own_connection(event).await;
            }
            OwnStageEvent::Speaker(SpeakerEvent::Capture(event)) => self.on_own_capture(event).await,
        }
    }

    /// The student comes to the stage while the floor is open.
    pub(super) async fn speak(&mut self) {
        if self.own_stage.asks_for_floor() {
            let hand = self.talk.raise_hand();
            self.send_to_teacher(hand).await;
        }
    }

    /// The student leaves the stage, if it is there.
    pub(super) async fn step_down(&mut self) {
        if self.own_stage.is_on() {
            self.send_to_teacher(StudentMessage::StepDown).await;
            self.own_stage.end(Some(OffStage::SteppedDown)).await;
        }
    }

    /// The host answers the offer of this student's media.
    pub(super) async fn on_own_answer(&mut self, sdp: String) {
        if let Some(speaker) = self.own_stage.speaker() {
            speaker.uplink.answer(Instant::now(), sdp).await;
        }
    }

    /// A candidate of the host for this student's media.
    pub(super) async fn on_own_candidate(&mut self, candidate: IceCandidate) {
        if let Some(publisher) = self.own_stage.speaker().and_then(|speaker| speaker.uplink.publisher()) {
            publisher.candidate(candidate_init(candidate)).await;
        }
    }

    /// An error about this student's offer to speak. Returns false if the error is about something else: errors of the
    /// server itself name nobody.
    pub(super) async fn on_own_error(&mut self, code: ErrorCode, message: &str, user: Option<&UserId>) -> bool {
        let is_about_me = user == Some(&self.watch.member.user);
        let Some(speaker) =
            self.own_stage.speaker().filter(|s| is_about_me || user.is_none() && s.uplink.awaits_answer())
        else {
            return is_about_me;
        };
        if is_about_me && code.is_final() {
            self.reporter.warn(format!("you can't speak: {message}"));
            self.own_stage.end(Some(OffStage::NoMedia)).await;
        } else {
            self.reporter.detail(format!("the offer to speak was not taken yet: {message}"));
            speaker.uplink.retry(Instant::now());
        }
        true
    }

    /// Offers this student's media to the host.
    async fn offer_own_media(&mut self) {
        let now = Instant::now();
        let (bind, ice_servers) = (self.bind_addresses(), self.ice_servers.clone());
        let Some(speaker) = self.own_stage.speaker() else { return };
        if speaker.uplink.gives_up(now) {
            self.reporter.warn("the connection to the stage was lost and did not come back");
            return self.own_stage.end(Some(OffStage::NoMedia)).await;
        }
        match speaker.offer(now, bind, ice_servers).await {
            Ok((sdp, tracks)) => {
                let target_uid = self.watch.member.user.clone();
                let offer = ClientMessage::Offer { entry: None, target_uid, sdp, video: None, tracks: Some(tracks) };
                if !self.signalling.send(offer) {
                    speaker.uplink.retry(now);
                }
            }
            Err(error) => {
                self.reporter.warn(format!("can't set up a connection to speak: {error}"));
                speaker.uplink.retry(now);
            }
        }
    }

    async fn on_own_connection(&mut self, event: Option<PublisherEvent>) {
        let now = Instant::now();
        let Some(speaker) = self.own_stage.speaker() else { return };
        match event {
            Some(PublisherEvent::Candidate(candidate)) => {
                let candidate = IceCandidate {
                    candidate: candidate.candidate,
                    sdp_mid: candidate.sdp_mid,
                    sdp_m_line_index: candidate.sdp_mline_index,
                    username_fragment: candidate.username_fragment,
                };
                let target_uid = self.watch.member.user.clone();
                self.signalling.send(ClientMessage::Candidate { entry: None, target_uid, candidate, source: None });
            }
            Some(PublisherEvent::Connected) => {
                speaker.uplink.connected();
                self.own_stage.tell(SpeakingState::Connected, None);
            }
            Some(PublisherEvent::KeyFrameNeeded(encoding)) => speaker.capture.capture.request_key_frame(encoding),
            Some(PublisherEvent::Encodings(active)) => speaker.set_active(&active),
            Some(PublisherEvent::Heard(text)) => match PublisherMessage::parse(&text) {
                Ok(PublisherMessage::Encodings { needed }) => {
                    speaker.uplink.publisher().into_iter().for_each(|publisher| publisher.need(&needed));
                }
                Ok(PublisherMessage::Ingest(report)) => {
                    for trouble in report.trouble {
                        self.reporter.detail(format!("the host reports about your media: {trouble:?}"));
                    }
                }
                // The conversation goes over the connection to the teacher.
                Ok(_) => {}
                Err(error) => self.reporter.detail(error),
            },
            Some(PublisherEvent::ChannelOpen) => {}
            Some(PublisherEvent::Disturbed | PublisherEvent::Gone) | None => {
                self.reporter.warn("the class does not get your media at present; connecting again");
                speaker.uplink.retry(now);
            }
        }
    }

    async fn on_own_capture(&mut self, event: Option<CaptureEvent>) {
        match event {
            Some(CaptureEvent::Playing { .. } | CaptureEvent::Slide(_) | CaptureEvent::Scene(_)) => {}
            Some(CaptureEvent::Warning(sentence)) => self.reporter.warn(sentence),
            Some(CaptureEvent::Error(error)) => {
                self.reporter.warn(format!("your media has ended: {error}"));
                self.step_down().await;
            }
            Some(CaptureEvent::Eos) | None => self.step_down().await,
        }
    }
}

impl SpeakerConnection {
    /// Exactly these encodings of videos are sent.
    fn set_active(&self, active: &[crate::rtp::Encoding]) {
        let capture = &self.capture.capture;
        for encoding in capture.encodings().into_iter().filter(|encoding| encoding.track.is_video()) {
            capture.need(encoding, active.contains(&encoding));
        }
    }

    /// The tracks that are sent.
    fn tracks(&self) -> Vec<Track> {
        let mut tracks: Vec<Track> = self.capture.encodings.iter().map(|(encoding, _)| encoding.track).collect();
        tracks.dedup();
        tracks
    }
}
