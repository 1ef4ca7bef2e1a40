//! The conversation of a lecture, in the process that sends the media: applies the rules of [`crate::room::talk`], and
//! sends the results over the SFU's data channels. `teach` and the media hosts of `serve` share this.

use std::collections::HashSet;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use super::edges::Edges;
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
    /// The edges, by which messages reach their students.
    edges: Edges,
}

impl LectureTalk {
    /// A conversation without students.
    pub(super) fn new(teacher: UserId, nickname: Nickname) -> Self {
        Self {
            rules: Talk::new(teacher, nickname),
            present: HashSet::new(),
            connected: HashSet::new(),
            edges: Edges::default(),
        }
    }

    /// Sets the most speakers on the stage.
    pub(super) fn set_stage(&mut self, most: usize) {
        self.rules.set_stage(most);
    }

    /// The rules, to read them.
    pub(super) fn rules(&self) -> &Talk {
        &self.rules
    }

    /// The edges of the lecture.
    pub(super) fn edges(&mut self) -> &mut Edges {
        &mut self.edges
    }

    /// A change by the teacher, or of the media of a speaker.
    pub(super) fn change(&mut self, sfu: &Sfu, change: impl FnOnce(&mut Talk) -> Vec<TalkOutput>) -> Vec<TalkOutput> {
        let mut outputs = send(change(&mut self.rules), &self.edges, sfu);
        for user in ended(&outputs) {
            // Only the slot on the stage kept the user in the conversation.
            if !self.present.contains(&user) && !self.connected.contains(&user) {
                outputs.extend(send(self.rules.left(Instant::now(), &user), &self.edges, sfu));
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
            SpeakerFact::Lost { user, silence } => rules.speaker_lost(now, &user, silence),
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
fn send(outputs: Vec<TalkOutput>, edges: &Edges, sfu: &Sfu) -> Vec<TalkOutput> {
    let mut rest = Vec::new();
    for output in outputs {
        match output {
            TalkOutput::To(user, message) => edges.tell(user, message.to_json(), sfu),
            TalkOutput::All(message) => sfu.tell_all(&message.to_json()),
            TalkOutput::Receive(user, tiers) => sfu.limit(user, tiers.into()),
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

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;

    use super::*;
    use crate::protocol::channel::{Moderation, OffStage};
    use crate::sfu::{SfuConfig, UdpBinding};

    #[tokio::test]
    async fn a_speaker_stays_while_its_media_flows_and_is_forgotten_with_its_last_connection() {
        let config = SfuConfig {
            user: "9999".parse().unwrap(),
            udp: UdpBinding::Own("127.0.0.1:0".parse().unwrap()),
            advertise: Vec::new(),
            stun: Vec::new(),
            max_students: 1,
            encodings: Vec::new(),
            workers: NonZeroUsize::MIN,
            adapts: false,
        };
        let (sfu, _events) = Sfu::start(config).unwrap();
        let (teacher, user): (UserId, UserId) = ("9999".parse().unwrap(), "1001".parse().unwrap());
        let member = |user_id: &UserId| User {
            user_id: user_id.clone(),
            nickname: "S-01".into(),
            publishes: false,
            epoch: 0,
            client: None,
            moderates: false,
        };
        let mut talk = LectureTalk::new(teacher.clone(), "".into());
        talk.change(&sfu, |rules| {
            rules.set_stage(1);
            Vec::new()
        });
        let bring = |talk: &mut LectureTalk| {
            talk.joined(&member(&user));
            talk.channel_opened(&user, &sfu);
            talk.change(&sfu, |rules| {
                let order = Moderation::Stage { user_id: user.clone() };
                rules.moderate(Instant::now(), now_ms(), &teacher, order).unwrap()
            });
            talk.received(&user, r#"{"type":"stageAnswer","accepted":true}"#, &sfu);
            talk.change(&sfu, |rules| rules.speaker_live(Instant::now(), &user, Vec::new(), Vec::new()));
            assert!(talk.rules().is_speaker(&user));
        };
        let failed = |talk: &mut LectureTalk| {
            talk.change(&sfu, |rules| rules.speaker_failed(Instant::now(), &user, OffStage::NoMedia))
        };
        bring(&mut talk);
        // Signalling and the main connection are lost, and the media flows.
        assert_eq!(ended(&talk.left(&user, true, &sfu)), []);
        assert_eq!(ended(&talk.disconnected(&user, &sfu)), []);
        assert!(talk.rules().is_speaker(&user) && talk.rules().members().count() == 1);
        assert_eq!(ended(&failed(&mut talk)).len(), 1);
        assert_eq!(talk.rules().members().count(), 0, "nothing is left of the user");
        // The main connection alone keeps the user.
        bring(&mut talk);
        talk.left(&user, true, &sfu);
        failed(&mut talk);
        assert_eq!(talk.rules().members().count(), 1);
        talk.disconnected(&user, &sfu);
        assert_eq!(talk.rules().members().count(), 0);
        // A user who has left, or was put out, does not speak on.
        bring(&mut talk);
        assert_eq!(ended(&talk.left(&user, false, &sfu)).len(), 1);
        sfu.close().await;
    }
}
