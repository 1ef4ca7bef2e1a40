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
    let HostSettings { meetings, reporter, .. } = settings;
    reporter.detail(format!("the server carries the media of meeting {room}"));
    let mut host = MeetingHost {
        room,
        member,
        media: StageMedia::new(meetings.with_floor(AudioFloor::new(VOICES))),
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
    /// With their entries.
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
            ServerMessage::Offer { user_id: user, source: Some(source), sdp, video, tracks, network, .. } => {
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

    /// Each participant has an SFU, from when it enters until it leaves the meeting. One that has entered again, as
    /// after a reload, gets another SFU.
    fn participants_are(&mut self, list: &[Participant]) {
        let now: BTreeMap<UserId, u32> = list.iter().map(|known| (known.user_id.clone(), known.entry)).collect();
        let before = std::mem::replace(&mut self.participants, now);
        for (gone, _) in before.iter().filter(|(user, entry)| self.participants.get(*user) != Some(*entry)) {
            self.media.exit(gone);
            self.media.left(gone);
        }
        for (new, _) in self.participants.iter().filter(|(user, entry)| before.get(*user) != Some(*entry)) {
            self.media.enter(new.clone());
        }
    }

    fn on_media(&mut self, output: StageOutput) {
        match output {
            StageOutput::Send(message) => self.member.send(message),
            StageOutput::Warn(sentence) => self.warn(&sentence),
            StageOutput::Fact(SpeakerFact::Live { user, .. }) => self.tell_published(user, true),
            // The receivers keep their connections: the participant may come back.
            StageOutput::Fact(SpeakerFact::Lost(user)) => self.tell_published(user, false),
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
        if let Some(entry) = self.participants.get(&target_uid).copied() {
            self.member.send(ClientMessage::Published { target_uid, entry, on });
        }
    }

    fn warn(&mut self, sentence: &str) {
        if self.warnings.take(Instant::now()).is_ok() {
            self.reporter.warn(format!("meeting {}: {sentence}", self.room));
        }
    }
}
