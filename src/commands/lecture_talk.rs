//! The conversation of a lecture, in the process that sends the media: applies the rules of [`crate::room::talk`], and
//! sends the results over the SFU's data channels. `teach` and the media hosts of `serve` share this.

use std::collections::HashSet;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use super::stage::SpeakerFact;
use crate::id::{Nickname, UserId};
use crate::protocol::User;
use crate::protocol::channel::Stopped;
use crate::room::talk::{StageChange, Talk, TalkOutput};
use crate::sfu::Sfu;

/// The conversation of a lecture.
///
/// Every change sends messages to students. The returned outputs are for the teacher's terminal, and for the holder of
/// the speakers' media.
#[derive(Debug)]
pub(super) struct LectureTalk {
    rules: Talk,
    /// The users in the room, as signalling sees it. Others may still have a data channel.
    present: HashSet<UserId>,
    /// The users with a data channel.
    connected: HashSet<UserId>,
}

impl LectureTalk {
    /// A conversation without students.
    pub(super) fn new(teacher: UserId, nickname: Nickname) -> Self {
        Self { rules: Talk::new(teacher, nickname), present: HashSet::new(), connected: HashSet::new() }
    }

    /// Sets the most speakers on the stage.
    pub(super) fn set_stage(&mut self, most: usize) {
        self.rules.set_stage(most);
    }

    /// The rules, to read them.
    pub(super) fn rules(&self) -> &Talk {
        &self.rules
    }

    /// A change by the teacher, or of the media of a speaker.
    pub(super) fn change(&mut self, sfu: &Sfu, change: impl FnOnce(&mut Talk) -> Vec<TalkOutput>) -> Vec<TalkOutput> {
        let mut outputs = send(change(&mut self.rules), sfu);
        for user in ended(&outputs) {
            // Only the slot on the stage kept the user in the conversation.
            if !self.present.contains(&user) && !self.connected.contains(&user) {
                outputs.extend(send(self.rules.left(Instant::now(), &user), sfu));
            }
        }
        outputs
    }

    /// Tells the students which video sources have stopped.
    pub(super) fn sources_stopped(&mut self, stopped: Stopped, sfu: &Sfu) {
        self.change(sfu, |rules| rules.stopped(stopped));
    }

    /// The teacher has this nickname now.
    pub(super) fn rename_teacher(&mut self, nickname: Nickname) {
        self.rules.rename_teacher(nickname);
    }

    /// A user has joined the room.
    pub(super) fn joined(&mut self, user: &User) {
        self.present.insert(user.user_id.clone());
        self.rules.joined(user);
    }

    /// A user has left the room. A user who may return keeps its raised hand, and its slot on the stage.
    pub(super) fn left(&mut self, user: &UserId, may_return: bool, sfu: &Sfu) -> Vec<TalkOutput> {
        self.present.remove(user);
        if may_return { Vec::new() } else { self.forget(user, sfu) }
    }

    /// The connection of a student is gone. A student who is still in the room keeps its raised hand, and one on the
    /// stage speaks on while its media flows.
    pub(super) fn disconnected(&mut self, user: &UserId, sfu: &Sfu) -> Vec<TalkOutput> {
        self.connected.remove(user);
        if self.present.contains(user) || self.rules.has_slot(user) { Vec::new() } else { self.forget(user, sfu) }
    }

    /// A data channel is open.
    pub(super) fn channel_opened(&mut self, user: &UserId, sfu: &Sfu) {
        self.connected.insert(user.clone());
        self.change(sfu, |rules| rules.opened(Instant::now(), user));
    }

    /// A message has come over the data channel of a user.
    pub(super) fn received(&mut self, user: &UserId, text: &str, sfu: &Sfu) -> Vec<TalkOutput> {
        self.change(sfu, |rules| rules.heard(Instant::now(), now_ms(), user, text))
    }

    /// A fact about the media of a speaker.
    pub(super) fn speaker(&mut self, fact: SpeakerFact, sfu: &Sfu) -> Vec<TalkOutput> {
        let now = Instant::now();
        self.change(sfu, |rules| match fact {
            SpeakerFact::Live { user, tracks, silent } => rules.speaker_live(now, &user, tracks, silent),
            SpeakerFact::Lost(user) => {
                rules.speaker_lost(now, &user);
                Vec::new()
            }
            SpeakerFact::Failed { user, why } => rules.speaker_failed(now, &user, why),
        })
    }

    /// The time of the next [`LectureTalk::tick`].
    pub(super) fn next_tick(&self) -> Option<tokio::time::Instant> {
        self.rules.next_tick().map(Into::into)
    }

    /// Sends the messages that are due, and ends what has taken too long.
    pub(super) fn tick(&mut self, sfu: &Sfu) -> Vec<TalkOutput> {
        self.change(sfu, |rules| rules.tick(Instant::now()))
    }

    fn forget(&mut self, user: &UserId, sfu: &Sfu) -> Vec<TalkOutput> {
        self.change(sfu, |rules| rules.left(Instant::now(), user))
    }
}

/// Sends the messages for students, and returns the other outputs.
fn send(outputs: Vec<TalkOutput>, sfu: &Sfu) -> Vec<TalkOutput> {
    let mut rest = Vec::new();
    for output in outputs {
        match output {
            TalkOutput::To(user, message) => sfu.tell(user, &message.to_json()),
            TalkOutput::All(message) => sfu.tell_all(&message.to_json()),
            other => rest.push(other),
        }
    }
    rest
}

/// The users whose slot on the stage has ended.
fn ended(outputs: &[TalkOutput]) -> Vec<UserId> {
    let user = |output: &TalkOutput| match output {
        TalkOutput::Stage(StageChange::Ended { user, .. }) => Some(user.clone()),
        _ => None,
    };
    outputs.iter().filter_map(user).collect()
}

/// Milliseconds since 1970.
pub(super) fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis().try_into().unwrap_or(u64::MAX)
}
