//! The media of one meeting at the server: each participant publishes to an SFU of its own, and everybody else receives
//! from there. The room decides who takes part; this host carries the media, and tells the room whose media it has.

use std::collections::BTreeMap;
use std::time::Instant;

use super::host::HostSettings;
use crate::commands::stage::{SpeakerFact, StageMedia, StageOffer, StageOutput};
use crate::id::{RoomId, UserId};
use crate::protocol::{ClientMessage, ErrorCode, Participant, ServerMessage};
use crate::report::Reporter;
use crate::sfu::AudioFloor;
use crate::signal::LocalMember;
use crate::token_bucket::TokenBucket;

/// The most participants that are heard at the same time. Of more voices nobody understands a word.
const VOICES: usize = 3;

/// Runs the host of a meeting until the room or the server ends it.
pub(super) async fn run(room: RoomId, member: LocalMember, settings: HostSettings) {
    let HostSettings { meetings, meter, reporter, .. } = settings;
    reporter.detail(format!("the server carries the media of meeting {room}"));
    let mut host = MeetingHost {
        room,
        member,
        media: StageMedia::new(meetings.with_floor(AudioFloor::new(VOICES, meter.floors()))),
        participants: BTreeMap::new(),
        reporter,
        warnings: TokenBucket::new(1, 3),
    };
    host.run().await;
    host.reporter.detail(format!("the server no longer carries the media of meeting {}", host.room));
    host.media.close().await;
}

/// A meeting's host that runs.
struct MeetingHost {
    room: RoomId,
    member: LocalMember,
    /// The media of each participant.
    media: StageMedia,
    /// The participants with their entries.
    participants: BTreeMap<UserId, u32>,
    reporter: Reporter,
    /// Limits warnings, because strangers may cause many.
    warnings: TokenBucket,
}

impl MeetingHost {
    async fn run(&mut self) {
        loop {
            tokio::select! {
                message = self.member.receive() => match message {
                    Some(message) => self.on_message(message),
                    None => return,
                },
                output = self.media.next() => self.on_media(output),
            }
        }
    }

    fn on_message(&mut self, message: ServerMessage) {
        match message {
            ServerMessage::Participants(list) => self.participants_are(&list.participants),
            ServerMessage::Offer { user_id: user, source: Some(source), sdp, video, tracks, network, entry } => {
                if let Some(entry) = entry.filter(|_| user == source) {
                    // The room collects changes of the list for a moment, so the offer may come first.
                    self.enter(user.clone(), entry);
                }
                self.media.offer(StageOffer { user, source, sdp, video, tracks, network });
            }
            ServerMessage::Candidate { user_id, candidate, source: Some(source), .. } => {
                self.media.candidate(user_id, &source, candidate);
            }
            ServerMessage::Leave { users, .. } => users.iter().for_each(|user| self.media.left(user)),
            // The room gives everything else to the participants alone.
            _ => {}
        }
    }

    /// Each participant has an SFU, from when it enters until it leaves the meeting.
    fn participants_are(&mut self, list: &[Participant]) {
        let now: BTreeMap<UserId, u32> = list.iter().map(|one| (one.user_id.clone(), one.entry)).collect();
        let gone = self.participants.keys().filter(|user| !now.contains_key(*user));
        for user in gone.cloned().collect::<Vec<_>>() {
            self.exit(&user);
        }
        for (user, entry) in now {
            self.enter(user, entry);
        }
    }

    /// A participant has entered, perhaps again: then its media starts anew.
    fn enter(&mut self, user: UserId, entry: u32) {
        match self.participants.get(&user) {
            // A list or an offer that was on its way when the participant entered again.
            Some(known) if *known >= entry => return,
            Some(_) => self.exit(&user),
            None => {}
        }
        self.media.enter(user.clone());
        self.participants.insert(user, entry);
    }

    fn exit(&mut self, user: &UserId) {
        self.participants.remove(user);
        self.media.exit(user);
        self.media.left(user);
    }

    fn on_media(&mut self, output: StageOutput) {
        match output {
            StageOutput::Send(message) => self.member.send(message),
            StageOutput::Warn(sentence) => self.warn(&sentence),
            StageOutput::Fact(SpeakerFact::Live { user, .. }) => self.tell_published(user, true),
            // The receivers keep their connections: the participant may come back.
            StageOutput::Fact(SpeakerFact::Lost { user, .. }) => self.tell_published(user, false),
            StageOutput::Fact(SpeakerFact::Failed { user, .. }) => {
                self.tell_published(user.clone(), false);
                self.member.send(ClientMessage::Reject {
                    target_uid: user.clone(),
                    code: ErrorCode::TargetBusy,
                    message: "the server can't carry the media of another participant at present".to_owned(),
                    codec: None,
                    source: Some(user),
                });
            }
        }
    }

    fn tell_published(&self, target_uid: UserId, on: bool) {
        if let Some(&entry) = self.participants.get(&target_uid) {
            self.member.send(ClientMessage::Published { target_uid, entry, on });
        }
    }

    fn warn(&mut self, sentence: &str) {
        if self.warnings.take(Instant::now()).is_ok() {
            self.reporter.warn(format!("meeting {}: {sentence}", self.room));
        }
    }
}
