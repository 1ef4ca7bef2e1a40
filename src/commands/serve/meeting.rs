//! The media of the conferences of one room at the server: a meeting and its breakout rooms, or those of a lecture.
//! Each participant publishes to an SFU of its own, and the others of the same conference receive from there. The room
//! decides who takes part where; this host carries the media, and tells the room whose media it has.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use super::host::HostSettings;
use crate::commands::stage::{SpeakerFact, StageMedia, StageOffer, StageOutput};
use crate::id::{RoomId, UserId};
use crate::protocol::{ClientMessage, ErrorCode, MediaHost, Participants, ServerMessage};
use crate::report::Reporter;
use crate::sfu::{AudioFloor, FloorCounts};
use crate::signal::LocalMember;
use crate::token_bucket::TokenBucket;

/// The most participants that are heard at the same time. Of more voices nobody understands a word.
const VOICES: usize = 3;

/// Runs the host of the conferences of a room until the room or the server ends it.
pub(super) async fn run(room: RoomId, member: LocalMember, settings: HostSettings) {
    let HostSettings { meetings, meter, reporter, .. } = settings;
    reporter.detail(format!("the server carries the media of the participants in room {room}"));
    let mut host = MeetingHost {
        room,
        member,
        media: StageMedia::new(meetings),
        participants: BTreeMap::new(),
        floors: BTreeMap::new(),
        counts: meter.floors(),
        reporter,
        warnings: TokenBucket::new(1, 3),
    };
    host.run().await;
    host.reporter.detail(format!("the server no longer carries the media of the participants in room {}", host.room));
    host.media.close().await;
}

/// A host of conferences that runs.
struct MeetingHost {
    room: RoomId,
    member: LocalMember,
    /// The media of each participant.
    media: StageMedia,
    /// The participants.
    participants: BTreeMap<UserId, Place>,
    /// The audio floors of the meeting and of its breakout rooms.
    floors: BTreeMap<u32, AudioFloor>,
    /// The counters of all audio floors of the server.
    counts: Arc<FloorCounts>,
    reporter: Reporter,
    /// Limits warnings, because strangers may cause many.
    warnings: TokenBucket,
}

/// Where a participant takes part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    /// The breakout room; 0 for the meeting.
    breakout: u32,
    entry: u32,
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
            ServerMessage::Participants(list) => self.participants_are(list),
            ServerMessage::Offer { user_id: user, source: Some(source), sdp, video, tracks, network, entry } => {
                if let Some(entry) = entry.filter(|_| user == source) {
                    // The room collects changes of the list for a moment, so the offer may come first.
                    let breakout = self.participants.get(&user).map_or(0, |known| known.breakout);
                    self.enter(user.clone(), Place { breakout, entry });
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

    /// Each participant has an SFU, from when it enters until it leaves, if the server carries the media.
    fn participants_are(&mut self, list: Participants) {
        let Participants { participants, breakout, media, .. } = list;
        let carried = participants.into_iter().filter(|_| media == MediaHost::Server);
        let now: BTreeMap<UserId, u32> = carried.map(|one| (one.user_id, one.entry)).collect();
        let was_here = |(user, known): &(&UserId, &Place)| known.breakout == breakout && !now.contains_key(*user);
        let gone: Vec<UserId> = self.participants.iter().filter(was_here).map(|(user, _)| user.clone()).collect();
        gone.iter().for_each(|user| self.exit(user));
        for (user, entry) in now {
            self.enter(user, Place { breakout, entry });
        }
        self.floors.retain(|breakout, _| self.participants.values().any(|known| known.breakout == *breakout));
    }

    /// A participant has entered, perhaps again, or elsewhere: then its media starts anew.
    fn enter(&mut self, user: UserId, place: Place) {
        match self.participants.get(&user) {
            // A list or an offer that was on its way when the participant entered again.
            Some(known) if *known == place || known.entry > place.entry => return,
            Some(_) => self.exit(&user),
            None => {}
        }
        let floor =
            self.floors.entry(place.breakout).or_insert_with(|| AudioFloor::new(VOICES, Arc::clone(&self.counts)));
        self.media.enter(user.clone(), floor.clone());
        self.participants.insert(user, place);
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
        if let Some(&Place { entry, .. }) = self.participants.get(&target_uid) {
            self.member.send(ClientMessage::Published { target_uid, entry, on });
        }
    }

    fn warn(&mut self, sentence: &str) {
        if self.warnings.take(Instant::now()).is_ok() {
            self.reporter.warn(format!("the participants in room {}: {sentence}", self.room));
        }
    }
}
