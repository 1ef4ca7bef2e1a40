//! Chat, hands and reactions at the end of a student, or of a member of a meeting.

use super::chat_commands::StudentInput;
use super::stage_orders::{self, StageCommand};
use crate::endpoints::RenderInput;
use crate::id::{UserId, named};
use crate::media::Window;
use crate::protocol::channel::{
    Allowed, ChatMessage, Moderation, OffStage, PublisherMessage, RaisedHand, SentTiers, Stage, Stopped,
    StudentMessage, TierReason,
};
use crate::report::{Event, Reporter, StageState};

/// The sentence for a muted student.
const MUTED: &str = "you are muted: you can read, and raise your hand";

/// The action that a message of the publisher requires of the caller.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// Nothing.
    Nothing,
    /// The publisher welcomes the student: send this message, if there is one.
    Welcomed(Option<StudentMessage>),
    /// Report how much has been seen.
    ReportViewing,
    /// Apply the new tiers.
    Tiers {
        /// The tier of each video track.
        tiers: SentTiers,
        /// The estimated bandwidth in kbit/s.
        estimate_kbps: Option<u32>,
        /// Why the student does not get everything.
        reason: Option<TierReason>,
    },
    /// Show or hide the pictures of these sources.
    Stopped(Stopped),
    /// The speakers have changed.
    Stage(Stage),
    /// The student is invited to the stage.
    Invited {
        /// The time to answer, in milliseconds.
        within_ms: u32,
    },
    /// The student is not on the stage any more.
    OffStage(OffStage),
}

/// The student's end of the conversation.
pub(super) struct StudentTalk {
    me: UserId,
    /// The id of the last message that was shown. After a reconnection the publisher sends its history again.
    last_id: u64,
    /// Messages up to this id are cleared.
    cleared_up_to: u64,
    hands: Vec<RaisedHand>,
    /// The place of the student's own hand, which is behind the end of the next list.
    next_place: Option<usize>,
    /// Whether the student's own hand is up.
    is_up: bool,
    /// Whether the student wants to raise a hand.
    raised: bool,
    /// The permissions of the class.
    allowed: Allowed,
    stage: Stage,
}

impl StudentTalk {
    pub(super) fn new(me: UserId) -> Self {
        Self {
            me,
            last_id: 0,
            cleared_up_to: 0,
            hands: Vec::new(),
            next_place: None,
            is_up: false,
            raised: false,
            allowed: Allowed::default(),
            stage: Stage::default(),
        }
    }

    /// A text has come from the publisher.
    pub(super) fn heard(&mut self, text: &str, reporter: &Reporter, screen: &RenderInput) -> Effect {
        match PublisherMessage::parse(text) {
            Ok(message) => self.received(message, reporter, screen),
            Err(error) => {
                reporter.detail(error);
                Effect::Nothing
            }
        }
    }

    /// A message has come from the publisher, or from the server of a meeting.
    pub(super) fn received(&mut self, message: PublisherMessage, reporter: &Reporter, screen: &RenderInput) -> Effect {
        match message {
            PublisherMessage::Welcome { history, hands, cleared_up_to } => {
                self.clear(cleared_up_to, reporter, screen);
                for message in history {
                    self.show(message, reporter, screen);
                }
                self.list(hands, reporter);
                // A teacher who restarted has no list of hands, and without a connection the request was lost.
                let hand = StudentMessage::Hand { raised: self.raised };
                return Effect::Welcomed((self.raised != self.is_up).then_some(hand));
            }
            PublisherMessage::Msg(message) => self.show(message, reporter, screen),
            PublisherMessage::Cleared { up_to } => self.clear(up_to, reporter, screen),
            PublisherMessage::Hands { hands } => {
                let was_up = self.is_up;
                self.list(hands, reporter);
                // The teacher lowered the hand.
                self.raised &= !was_up || self.is_up;
            }
            PublisherMessage::HandPlace { place } => self.next_place = Some(place),
            PublisherMessage::Reaction { user_id, nickname, reaction } => {
                reporter.event(&Event::Reaction {
                    user: user_id,
                    nickname: nickname.into(),
                    reaction: reaction.name(),
                });
            }
            PublisherMessage::Error { message, .. } => reporter.warn(format!("not sent: {message}")),
            PublisherMessage::Tier { tiers, estimate_kbps, reason } => {
                return Effect::Tiers { tiers, estimate_kbps, reason };
            }
            PublisherMessage::Allows(allowed) => {
                let before = std::mem::replace(&mut self.allowed, allowed);
                if before != allowed {
                    let Allowed { comments, reactions, chat, slow_ms, .. } = allowed;
                    reporter.event(&Event::Allowed { comments, reactions, chat, slow_ms });
                }
                match (before.chat, allowed.chat) {
                    (true, false) => reporter.notice(MUTED),
                    (false, true) => reporter.notice("you can write again"),
                    _ => {}
                }
            }
            PublisherMessage::Stopped(stopped) => return Effect::Stopped(stopped),
            PublisherMessage::Stage(stage) => {
                self.stage = stage.clone();
                return Effect::Stage(stage);
            }
            PublisherMessage::Invited { within_ms } => return Effect::Invited { within_ms },
            PublisherMessage::OffStage { reason } => return Effect::OffStage(reason),
            PublisherMessage::StageEnded { user_id, nickname, reason } => {
                // What the list of speakers does not say: why a student does not come.
                if !self.stage.speakers.iter().any(|speaker| speaker.user_id == user_id) {
                    let state = StageState::Ended { reason: reason.into() };
                    reporter.event(&Event::Stage { user: user_id, nickname: nickname.into(), state });
                }
            }
            PublisherMessage::ReportViewing => return Effect::ReportViewing,
            // A student gets no message for publishers.
            PublisherMessage::Unknown | PublisherMessage::Encodings { .. } | PublisherMessage::Ingest(_) => {}
        }
        Effect::Nothing
    }

    /// Turns what was typed into a message to the publisher, or to the server of a meeting.
    pub(super) fn typed(&mut self, input: StudentInput, reporter: &Reporter) -> Option<StudentMessage> {
        match input {
            StudentInput::Say(_) | StudentInput::Private { .. } if !self.allowed.chat => {
                reporter.notice(MUTED);
                None
            }
            StudentInput::Say(words) => Some(StudentMessage::Msg { text: words.into(), to: None }),
            StudentInput::Private { to, words } => {
                let to = id(&to).map_err(|sentence| reporter.notice(sentence)).ok()?;
                Some(StudentMessage::Msg { text: words.into(), to: Some(to) })
            }
            StudentInput::Hand => {
                self.raised = !self.raised;
                Some(StudentMessage::Hand { raised: self.raised })
            }
            StudentInput::React(_) if !self.allowed.chat => {
                reporter.notice(MUTED);
                None
            }
            StudentInput::React(_) if !self.allowed.reactions => {
                reporter.notice("reactions are not allowed at present");
                None
            }
            StudentInput::React(reaction) => Some(StudentMessage::Reaction { reaction }),
            // The publisher knows who may give orders. It knows the names too, but takes ids.
            StudentInput::Order(order) => give(order.moderation(id), reporter),
            StudentInput::Stage(StageCommand::List) => {
                reporter.notice(stage_orders::describe(&self.stage, UserId::to_string));
                None
            }
            StudentInput::Stage(StageCommand::Order(order)) => {
                let first = || stage_orders::first_hand(&self.hands, &self.stage);
                give(order.moderation(first, id), reporter)
            }
            // Only the student's own place on the stage knows whether it may speak.
            StudentInput::Speak => None,
            StudentInput::StepDown => {
                reporter.notice("you are not on the stage");
                None
            }
            // The caller has done these.
            StudentInput::Pin(_)
            | StudentInput::Microphone
            | StudentInput::Leave
            | StudentInput::Send(_)
            | StudentInput::Cancel(_)
            | StudentInput::Room(_)
            | StudentInput::Meeting(_) => None,
            StudentInput::Advice(sentence) => {
                reporter.notice(sentence);
                None
            }
        }
    }

    /// Raises the hand. With an open floor that is the request to speak.
    pub(super) fn raise_hand(&mut self) -> StudentMessage {
        self.raised = true;
        StudentMessage::Hand { raised: true }
    }

    fn show(&mut self, message: ChatMessage, reporter: &Reporter, screen: &RenderInput) {
        if message.id <= self.last_id {
            return;
        }
        self.last_id = message.id;
        let speaker = named(&message.user_id, message.nickname.as_str());
        screen.with(|render| render.window().map(|window| window.add_chat(&format!("{speaker}: {}", message.text))));
        reporter.event(&Event::Chat {
            id: message.id,
            user: message.user_id,
            nickname: message.nickname.into(),
            teacher: message.publishes,
            text: message.text.into(),
            to: message.to,
        });
    }

    /// Removes the messages up to this id from the window. Messages of the history that follow have higher ids.
    fn clear(&mut self, up_to: u64, reporter: &Reporter, screen: &RenderInput) {
        if up_to <= self.cleared_up_to {
            return;
        }
        self.cleared_up_to = up_to;
        // A student who has read none of them has nothing to remove.
        let has_some = self.last_id > 0 && self.last_id <= up_to;
        if has_some {
            screen.with(|render| render.window().map(Window::clear_chat));
            reporter.event(&Event::ChatCleared);
        }
    }

    /// Reports the changes from the previous list of raised hands to this one.
    fn list(&mut self, hands: Vec<RaisedHand>, reporter: &Reporter) {
        let before = std::mem::replace(&mut self.hands, hands);
        let lists = |hands: &[RaisedHand], user: &UserId| hands.iter().any(|hand| hand.user_id == *user);
        let lowered = before.iter().filter(|hand| !lists(&self.hands, &hand.user_id)).map(|hand| (hand, false));
        let raised = self.hands.iter().filter(|hand| !lists(&before, &hand.user_id)).map(|hand| (hand, true));
        self.is_up = self.next_place.take().is_some() || lists(&self.hands, &self.me);
        let order: Vec<UserId> = self.hands.iter().map(|hand| hand.user_id.clone()).collect();
        for (hand, raised) in lowered.chain(raised) {
            let (user, nickname) = (hand.user_id.clone(), hand.nickname.as_str().to_owned());
            reporter.event(&Event::Hand { user, nickname, raised, hands: order.clone() });
        }
    }
}

/// The id of the user whom an order or a private message concerns.
fn id(text: &str) -> Result<UserId, String> {
    text.parse().map_err(|error| format!("give the id of a user: {error}"))
}

/// The message of an order, if it is possible.
fn give(order: Result<Moderation, String>, reporter: &Reporter) -> Option<StudentMessage> {
    order.map_err(|sentence| reporter.notice(sentence)).ok().map(StudentMessage::Moderate)
}
