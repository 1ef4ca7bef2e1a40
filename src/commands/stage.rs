//! The media of the speakers on the stage, at the process that hosts the lecture's media: `serve` for a room whose
//! publisher is a browser or a WHIP client, or `teach`.
//!
//! The rules decide who comes to the stage. The owner passes their changes on to this set, and the facts of this set
//! back to them. Each speaker has an SFU of its own on the shared port, so a speaker that fails or floods harms neither
//! the lecture nor another speaker.

mod speaker;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use self::speaker::{Opened, SpeakerMedia, StartFailure};
use super::hosted_source::{HostedSource, PublishOffer, SourceKind, SourceSettings};
use super::media_meter::MediaMeter;
use crate::id::UserId;
use crate::network::NetworkTag;
use crate::protocol::channel::MAX_SPEAKERS;
use crate::protocol::{ClientMessage, ErrorCode, IceCandidate, OfferedTracks, VideoTrack};
use crate::room::talk::StageChange;
use crate::sfu::AudioFloor;

pub(super) use self::speaker::{SpeakerFact, StageOutput};

/// The longest wait for another speaker's SFU to end, where the process has as many as it may.
const CAPACITY_WITHIN: Duration = Duration::from_secs(2);

/// The most receivers of a speaker beside the students: the teacher's browser, and newcomers whose predecessor has not
/// left yet.
const MORE_RECEIVERS: usize = MAX_SPEAKERS;

/// The settings of a process for the stages of its lectures.
#[derive(Debug, Clone)]
pub(super) struct StageSettings {
    /// The settings of each speaker's SFU.
    source: SourceSettings,
    /// Counts the media of speakers.
    meter: MediaMeter,
    /// The SFUs of speakers that the process may have at the same time, those that say goodbye included.
    capacity: Arc<Semaphore>,
}

/// The media of a lecture's speakers, and of the students that are invited.
pub(super) struct StageMedia {
    settings: StageSettings,
    users: BTreeMap<UserId, SpeakerMedia>,
    /// The students whom the class sees.
    live: BTreeSet<UserId>,
    outputs: VecDeque<StageOutput>,
}

/// An offer about the media of a speaker.
#[derive(Debug)]
pub(super) struct StageOffer {
    /// The sender.
    pub(super) user: UserId,
    /// The speaker; the sender itself if the sender publishes.
    pub(super) source: UserId,
    pub(super) sdp: String,
    pub(super) video: Option<VideoTrack>,
    pub(super) tracks: Option<OfferedTracks>,
    pub(super) network: Option<NetworkTag>,
}

impl StageSettings {
    /// `source` are the settings of the lectures, and `most` is the largest number of speakers in all of them.
    pub(super) fn new(source: SourceSettings, meter: MediaMeter, most: usize) -> Self {
        let max_receivers = source.max_receivers.saturating_add(MORE_RECEIVERS);
        let source = SourceSettings { max_receivers, ..source };
        Self { source, meter, capacity: Arc::new(Semaphore::new(most)) }
    }
}

impl StageMedia {
    /// An empty stage.
    pub(super) fn new(settings: StageSettings) -> Self {
        Self { settings, users: BTreeMap::new(), live: BTreeSet::new(), outputs: VecDeque::new() }
    }

    /// Carries out a change of the rules.
    pub(super) fn changed(&mut self, change: StageChange) {
        match change {
            StageChange::Invited { user, .. } => self.invited(user),
            StageChange::Accepted { user, .. } => self.accepted(user, self.settings.source.clone()),
            StageChange::Speaks { user, .. } => {
                self.live.insert(user);
                self.tell_count();
            }
            StageChange::Lost { .. } => {}
            StageChange::Ended { user, .. } => {
                self.ended(&user);
                if self.live.remove(&user) {
                    self.tell_count();
                }
            }
        }
    }

    /// A participant of a meeting with this audio floor may send: starts its SFU. The participants share the capacity
    /// of all meetings.
    pub(super) fn enter(&mut self, user: UserId, floor: AudioFloor) {
        let source = SourceSettings { floor: Some(floor), ..self.settings.source.clone() };
        self.accepted(user, source);
    }

    /// A participant of a meeting has left it.
    pub(super) fn exit(&mut self, user: &UserId) {
        self.ended(user);
    }

    /// Tells the server how many students speak. To be called for a server that may have restarted.
    pub(super) fn tell_count(&mut self) {
        self.outputs.push_back(StageOutput::Send(ClientMessage::Speakers { count: self.live.len() }));
    }

    /// A student is invited. Its offer may overtake its answer to the invitation, and then the offer waits.
    fn invited(&mut self, user: UserId) {
        self.users.entry(user.clone()).or_insert_with(|| SpeakerMedia::invited(user));
    }

    /// A student has accepted: starts its SFU.
    fn accepted(&mut self, user: UserId, source: SourceSettings) {
        let speaker = self.users.entry(user.clone()).or_insert_with(|| SpeakerMedia::invited(user.clone()));
        let start = open(user, source, Arc::clone(&self.settings.capacity));
        speaker.start(tokio::spawn(start), self.settings.meter.speaker());
    }

    /// A student is not on the stage any more, or its invitation is void: ends its SFU, with a goodbye to everybody who
    /// receives from the student.
    fn ended(&mut self, user: &UserId) {
        if let Some((source, permit)) = self.users.remove(user).and_then(SpeakerMedia::into_source) {
            tokio::spawn(close(source, permit));
        }
    }

    /// An offer of a speaker, or of somebody who receives from a speaker. Others are rejected.
    pub(super) fn offer(&mut self, offer: StageOffer) {
        let StageOffer { user, source, sdp, video, tracks, network } = offer;
        let speaker = self.users.get_mut(&source);
        if user == source {
            match speaker {
                Some(speaker) => speaker.publish(PublishOffer { sdp, tracks, network }),
                None => {
                    let message = "you are not on the stage: raise your hand, and wait until the teacher invites you";
                    self.reject(user, source, message.to_owned());
                }
            }
            return;
        }
        match speaker.and_then(SpeakerMedia::live) {
            Some(speaker) => {
                let rejection = speaker.offer(Instant::now(), user, sdp, video, network);
                self.outputs.extend(rejection.map(StageOutput::Send));
            }
            None => {
                let message = format!("{source} is not on the stage");
                self.reject(user, source, message);
            }
        }
    }

    /// A candidate of a speaker, or of somebody who receives from one.
    pub(super) fn candidate(&mut self, user: UserId, source: &UserId, candidate: IceCandidate) {
        if let Some(speaker) = self.users.get_mut(source) {
            speaker.candidate(user, candidate);
        }
    }

    /// A user has left the room: it receives from no speaker any more. The rules end its own place on the stage.
    pub(super) fn left(&mut self, user: &UserId) {
        self.each_source_of_others(user, |source| source.remove(user.clone()));
    }

    /// Signalling has lost a user, who may still receive from speakers. A speaker keeps its own connection.
    pub(super) fn signalling_lost(&mut self, user: &UserId) {
        self.each_source_of_others(user, |source| source.signalling_lost(user.clone()));
    }

    /// Signalling has a user back.
    pub(super) fn signalling_back(&mut self, user: &UserId) {
        self.each_source_of_others(user, |source| source.signalling_back(user.clone()));
    }

    fn each_source_of_others(&mut self, user: &UserId, mut each: impl FnMut(&mut HostedSource)) {
        let of_others = self.users.iter_mut().filter(|(speaker, _)| *speaker != user);
        of_others.filter_map(|(_, media)| media.live()).for_each(&mut each);
    }

    /// The next output: a message for signalling, a fact for the rules, or a warning. Cancel-safe. To be awaited all
    /// the time, because the media of speakers needs it.
    pub(super) async fn next(&mut self) -> StageOutput {
        poll_fn(|context| self.poll_next(context)).await
    }

    /// Ends all speakers, with goodbyes.
    pub(super) async fn close(self) {
        let sources: Vec<_> = self.users.into_values().filter_map(SpeakerMedia::into_source).collect();
        let closing = sources.into_iter().map(|(source, permit)| tokio::spawn(close(source, permit)));
        for closed in closing.collect::<Vec<_>>() {
            let _ = closed.await;
        }
    }

    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<StageOutput> {
        loop {
            if let Some(output) = self.outputs.pop_front() {
                return Poll::Ready(output);
            }
            // Each speaker has one turn in a round, so that none keeps the others waiting.
            let mut progressed = false;
            for speaker in self.users.values_mut() {
                progressed |= speaker.poll(context, &mut self.outputs).is_ready();
            }
            if !progressed {
                return Poll::Pending;
            }
        }
    }

    fn reject(&mut self, user: UserId, source: UserId, message: String) {
        let (code, source) = (ErrorCode::NotOnStage, Some(source));
        let rejection = ClientMessage::Reject { target_uid: user, code, message, codec: None, source };
        self.outputs.push_back(StageOutput::Send(rejection));
    }
}

/// Starts a speaker's SFU, once the process may have another one.
async fn open(user: UserId, settings: SourceSettings, capacity: Arc<Semaphore>) -> Result<Opened, StartFailure> {
    let permit = tokio::time::timeout(CAPACITY_WITHIN, capacity.acquire_owned()).await;
    let permit = permit.ok().and_then(Result::ok).ok_or(StartFailure::Full)?;
    let opened = tokio::task::spawn_blocking(move || HostedSource::open(user, SourceKind::Speaker, settings)).await;
    match opened {
        Ok(Ok((source, events))) => Ok(Opened { source, events, permit }),
        Ok(Err(error)) => Err(StartFailure::Failed(error.to_string())),
        Err(error) => Err(StartFailure::Failed(error.to_string())),
    }
}

/// Ends a speaker's SFU, and only then makes room for another one.
async fn close(source: HostedSource, permit: OwnedSemaphorePermit) {
    source.close().await;
    drop(permit);
}

#[cfg(test)]
mod tests;
