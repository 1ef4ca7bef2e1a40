//! The media of one speaker: its SFU, once that runs, and the facts about it for the rules.

use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{Interval, MissedTickBehavior};

use crate::commands::hosted_source::{Handled, HostedSource, PublishOffer};
use crate::commands::media_meter::SourceMeter;
use crate::id::UserId;
use crate::protocol::channel::{OffStage, StudentMessage};
use crate::protocol::{ClientMessage, IceCandidate, MAX_CANDIDATES_PER_OFFER, TrackName};
use crate::sfu::{Departure, SfuEvent, SfuStats};
use crate::token_bucket::TokenBucket;

/// The interval between two checks for the first key frame of a speaker.
const START_INTERVAL: Duration = Duration::from_millis(50);

/// The number of these intervals from one report to the next.
const REPORT_TICKS: u32 = 20;

/// How often a receiver may change what it wants: a page that is resized or scrolled.
const RECEIVES_PER_SECOND: u32 = 5;
const RECEIVE_BURST: u32 = 20;

/// The number of these intervals from one check whether the speaker is still heard to the next.
const CHECK_TICKS: u32 = 5;

/// The time without anything from a speaker after which its connection counts as lost. A speaker that is heard and sees
/// nothing to send answers an ICE check every 2 s.
const LOST_AFTER: Duration = Duration::from_millis(2_200);

/// An output of the stage's media.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::commands) enum StageOutput {
    /// Send a message to signalling.
    Send(ClientMessage),
    /// Tell the rules.
    Fact(SpeakerFact),
    /// Warn the operator or the teacher.
    Warn(String),
}

/// A fact about a speaker's media.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::commands) enum SpeakerFact {
    /// The media has arrived, or other tracks are silent now.
    Live {
        /// The speaker.
        user: UserId,
        /// The tracks that the speaker sends.
        tracks: Vec<TrackName>,
        /// The tracks among them that deliver nothing at present.
        silent: Vec<TrackName>,
    },
    /// Nothing arrives from a speaker that was live, or its connection is gone. It may come back, or offer again.
    Lost {
        /// The speaker.
        user: UserId,
        /// For how long it has not been heard.
        silence: Duration,
    },
    /// The speaker can't be heard, and has to leave the stage.
    Failed {
        /// The speaker.
        user: UserId,
        /// Why.
        why: OffStage,
    },
}

/// A running SFU.
pub(super) struct Opened {
    pub(super) source: HostedSource,
    pub(super) events: mpsc::Receiver<SfuEvent>,
    pub(super) permit: OwnedSemaphorePermit,
}

/// Why an SFU did not start.
#[derive(Debug)]
pub(super) enum StartFailure {
    /// The process has as many as it may.
    Full,
    /// Its thread can't be created.
    Failed(String),
}

/// The messages of a student that arrive before its SFU runs.
#[derive(Debug, Default)]
pub(super) struct Early {
    offer: Option<PublishOffer>,
    candidates: Vec<IceCandidate>,
}

/// The media of a speaker, or of a student who is invited.
pub(super) struct SpeakerMedia {
    user: UserId,
    state: State,
}

enum State {
    /// The student has not accepted yet.
    Invited(Early),
    /// The SFU is about to run.
    Starting(Early, JoinHandle<Result<Opened, StartFailure>>, SourceMeter),
    Running(Box<Running>),
    /// The SFU did not start, or has ended.
    Failed,
}

struct Running {
    source: HostedSource,
    events: mpsc::Receiver<SfuEvent>,
    permit: OwnedSemaphorePermit,
    meter: SourceMeter,
    /// Limits how often each receiver changes what it wants.
    receivers: BTreeMap<UserId, TokenBucket>,
    /// The statistics that were asked for, and whether they are for a report.
    stats: Option<(oneshot::Receiver<SfuStats>, bool)>,
    ticks: Interval,
    /// The number of ticks since the last report.
    ticked: u32,
    /// Whether nothing has arrived for [`LOST_AFTER`].
    is_unheard: bool,
    /// The tracks of the last [`SpeakerFact::Live`], and the silent ones; none while the speaker is not live, or lost.
    told: Option<(Vec<TrackName>, Vec<TrackName>)>,
    /// Whether the speaker is live or was.
    was_live: bool,
}

impl SpeakerMedia {
    pub(super) fn invited(user: UserId) -> Self {
        Self { user, state: State::Invited(Early::default()) }
    }

    /// The student has accepted. Does nothing if the SFU starts or runs already.
    pub(super) fn start(&mut self, opening: JoinHandle<Result<Opened, StartFailure>>, meter: SourceMeter) {
        match &mut self.state {
            State::Invited(early) => {
                let early = std::mem::take(early);
                self.state = State::Starting(early, opening, meter);
            }
            State::Starting(..) | State::Running(_) | State::Failed => opening.abort(),
        }
    }

    /// The student offers its media.
    pub(super) fn publish(&mut self, offer: PublishOffer) {
        match &mut self.state {
            State::Invited(early) | State::Starting(early, ..) => {
                *early = Early { offer: Some(offer), candidates: Vec::new() };
            }
            State::Running(running) => running.source.publish(offer),
            State::Failed => {}
        }
    }

    /// A candidate of the speaker or of a receiver.
    pub(super) fn candidate(&mut self, user: UserId, candidate: IceCandidate) {
        match &mut self.state {
            State::Invited(early) | State::Starting(early, ..) => {
                if user == self.user && early.candidates.len() < MAX_CANDIDATES_PER_OFFER as usize {
                    early.candidates.push(candidate);
                }
            }
            State::Running(running) => running.source.candidate(user, candidate),
            State::Failed => {}
        }
    }

    /// The source, if others may receive from it: the speaker is live, or was and may come back.
    pub(super) fn live(&mut self) -> Option<&mut HostedSource> {
        match &mut self.state {
            State::Running(running) if running.was_live => Some(&mut running.source),
            _ => None,
        }
    }

    /// The SFU, if it runs, to end it.
    pub(super) fn into_source(self) -> Option<(HostedSource, OwnedSemaphorePermit)> {
        match self.state {
            State::Running(running) => Some((running.source, running.permit)),
            State::Starting(_, opening, _) => {
                opening.abort();
                None
            }
            State::Invited(_) | State::Failed => None,
        }
    }

    /// Does one piece of the due work. Pending if no work is due.
    pub(super) fn poll(&mut self, context: &mut Context<'_>, out: &mut VecDeque<StageOutput>) -> Poll<()> {
        match &mut self.state {
            State::Invited(_) | State::Failed => Poll::Pending,
            State::Starting(_, opening, _) => {
                let opened = ready!(Pin::new(opening).poll(context));
                self.on_opened(opened.unwrap_or_else(|error| Err(StartFailure::Failed(error.to_string()))), out);
                Poll::Ready(())
            }
            State::Running(running) => {
                if let Poll::Ready(event) = running.events.poll_recv(context) {
                    match event {
                        Some(event) => running.on_event(&self.user, event, out),
                        None => self.fail(OffStage::NoMedia, "its SFU has ended", out),
                    }
                    return Poll::Ready(());
                }
                running.poll_stats(&self.user, context, out)
            }
        }
    }

    fn on_opened(&mut self, opened: Result<Opened, StartFailure>, out: &mut VecDeque<StageOutput>) {
        let State::Starting(early, _, meter) = std::mem::replace(&mut self.state, State::Failed) else { return };
        let Opened { mut source, events, permit } = match opened {
            Ok(opened) => opened,
            Err(StartFailure::Full) => {
                let why = "as many students are on the stages of this process as it takes";
                return self.fail(OffStage::NoCapacity, why, out);
            }
            Err(StartFailure::Failed(error)) => return self.fail(OffStage::NoCapacity, &error, out),
        };
        let Early { offer, candidates } = early;
        if let Some(offer) = offer {
            source.publish(offer);
            candidates.into_iter().for_each(|candidate| source.candidate(self.user.clone(), candidate));
        }
        let mut ticks = tokio::time::interval(START_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (stats, ticked, told) = (None, 0, None);
        self.state = State::Running(Box::new(Running {
            source,
            events,
            permit,
            meter,
            receivers: BTreeMap::new(),
            stats,
            ticks,
            ticked,
            is_unheard: false,
            told,
            was_live: false,
        }));
    }

    fn fail(&mut self, why: OffStage, sentence: &str, out: &mut VecDeque<StageOutput>) {
        self.state = State::Failed;
        let user = self.user.clone();
        out.push_back(StageOutput::Warn(format!("can't carry the media of the speaker {user}: {sentence}")));
        out.push_back(StageOutput::Fact(SpeakerFact::Failed { user, why }));
    }
}

impl Running {
    /// Handles an event. Of the messages over the data channel of such a connection, only those about the videos count:
    /// the conversation uses the channel of a user's main connection.
    fn on_event(&mut self, speaker: &UserId, event: SfuEvent, out: &mut VecDeque<StageOutput>) {
        let now = Instant::now();
        let Handled { message, event } = self.source.on_event(now, event);
        out.extend(message.map(StageOutput::Send));
        match event {
            Some(SfuEvent::ChannelOpen(user)) if user == *speaker => self.source.tell_needed(),
            Some(SfuEvent::Heard { user, text }) => {
                let pace = self.receivers.entry(user.clone());
                let pace = pace.or_insert_with(|| TokenBucket::new(RECEIVES_PER_SECOND, RECEIVE_BURST));
                if pace.take(now).is_ok()
                    && let Ok(StudentMessage::Receive(tiers)) = StudentMessage::parse(&text)
                {
                    self.source.sfu().limit(user, tiers.into());
                }
            }
            Some(SfuEvent::Gone { user, why }) => {
                self.receivers.remove(&user);
                if why == Departure::Failed {
                    let sentence = "a connection failed because of a bug in this program; please report the bug";
                    out.push_back(StageOutput::Warn(sentence.to_owned()));
                }
                if user == *speaker {
                    self.is_unheard = false;
                    self.lose(&user, Duration::ZERO, out);
                }
            }
            Some(SfuEvent::Notice(sentence)) => out.push_back(StageOutput::Warn(format!("{speaker}: {sentence}"))),
            _ => {}
        }
        // A speaker that comes back is live at once.
        if self.told.is_none() {
            self.tell_live(speaker, now, None, out);
        }
    }

    /// Looks for the first key frame often, and reports once a second.
    fn poll_stats(&mut self, speaker: &UserId, context: &mut Context<'_>, out: &mut VecDeque<StageOutput>) -> Poll<()> {
        if let Some((stats, is_report)) = &mut self.stats {
            let (stats, is_report) = (ready!(Pin::new(stats).poll(context)), *is_report);
            self.stats = None;
            // Without an answer the SFU has ended, and the end of its events follows.
            if let Ok(stats) = stats {
                self.on_stats(speaker, &stats, is_report, out);
            }
            return Poll::Ready(());
        }
        ready!(self.ticks.poll_tick(context));
        self.ticked += 1;
        let is_report = self.ticked >= REPORT_TICKS;
        let is_check = self.was_live && self.ticked.is_multiple_of(CHECK_TICKS);
        if is_report || is_check || self.source.awaits_media() {
            self.stats = Some((self.source.request_stats(), is_report));
        }
        if is_report {
            self.ticked = 0;
        }
        Poll::Ready(())
    }

    fn on_stats(&mut self, speaker: &UserId, stats: &SfuStats, is_report: bool, out: &mut VecDeque<StageOutput>) {
        let now = Instant::now();
        if self.source.awaits_media() {
            out.extend(self.source.look_for_media(now, Some(stats)).into_iter().map(StageOutput::Send));
        }
        if is_report {
            self.source.report(now, stats);
            self.meter.update(stats);
        }
        let silence = stats.ingest.as_ref().map_or(Duration::ZERO, |ingest| ingest.silence);
        self.is_unheard = silence >= LOST_AFTER;
        if self.is_unheard {
            self.lose(speaker, silence, out);
        }
        if is_report || self.told.is_none() {
            self.tell_live(speaker, now, Some(stats), out);
        }
    }

    /// Tells that the speaker is lost, if it was live.
    fn lose(&mut self, speaker: &UserId, silence: Duration, out: &mut VecDeque<StageOutput>) {
        if self.told.take().is_some() {
            out.push_back(StageOutput::Fact(SpeakerFact::Lost { user: speaker.clone(), silence }));
        }
    }

    /// Tells that the speaker is live, if that is new or if other tracks are silent.
    fn tell_live(&mut self, speaker: &UserId, now: Instant, stats: Option<&SfuStats>, out: &mut VecDeque<StageOutput>) {
        if !self.source.is_live() || self.is_unheard {
            return;
        }
        self.was_live = true;
        let (tracks, silent) = (self.source.tracks(), self.source.silent_tracks(now, stats));
        if self.told.as_ref() != Some(&(tracks.clone(), silent.clone())) {
            self.told = Some((tracks.clone(), silent.clone()));
            out.push_back(StageOutput::Fact(SpeakerFact::Live { user: speaker.clone(), tracks, silent }));
        }
    }
}
