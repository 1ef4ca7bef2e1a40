//! The student's end of the conversation: tells the person, and what the person types.

use super::diagnosis::Told;
use crate::commands::lines::StudentLine;
use crate::endpoints::RenderInput;
use crate::id::{UserId, named};
use crate::protocol::channel::{Allowed, ChatMessage, PublisherMessage, RaisedHand, Stopped, StudentMessage};
use crate::report::{Event, Reporter};

/// What follows from something that was heard.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// Nothing.
    Enough,
    /// This is to be said.
    Answer(StudentMessage),
    /// Other pictures are sent from now on.
    Sends(Told),
    /// Other sources have stopped than before.
    Stopped(Stopped),
}

/// What was heard so far.
pub(super) struct Conversation {
    me: UserId,
    /// The newest line that was told: after a connection anew the history comes again.
    last_id: u64,
    hands: Vec<RaisedHand>,
    /// Whether the own hand shall be up.
    raised: bool,
    /// What the teacher lets the class do.
    allowed: Allowed,
}

impl Conversation {
    pub(super) fn new(me: UserId) -> Self {
        Self { me, last_id: 0, hands: Vec::new(), raised: false, allowed: Allowed::default() }
    }

    /// Takes what the teacher's SFU says.
    pub(super) fn heard(&mut self, text: &str, reporter: &Reporter, screen: &RenderInput) -> Heard {
        match PublisherMessage::parse(text) {
            Ok(PublisherMessage::Welcome { history, hands }) => {
                for message in history {
                    self.line(message, reporter, screen);
                }
                self.list(hands, reporter);
                // A teacher that came back has forgotten it, or did not hear while there was no connection.
                if self.raised != self.is_up() {
                    return Heard::Answer(StudentMessage::Hand { raised: self.raised });
                }
            }
            Ok(PublisherMessage::Msg(message)) => self.line(message, reporter, screen),
            Ok(PublisherMessage::Hands { hands }) => {
                let was_up = self.is_up();
                self.list(hands, reporter);
                // The teacher took it down.
                self.raised &= !was_up || self.is_up();
            }
            Ok(PublisherMessage::Reaction { user_id, nickname, reaction }) => {
                reporter.event(&Event::Reaction {
                    user: user_id,
                    nickname: nickname.into(),
                    reaction: reaction.name(),
                });
            }
            Ok(PublisherMessage::Error { message, .. }) => reporter.warn(format!("not sent: {message}")),
            Ok(PublisherMessage::Tier { tiers, estimate_kbps, reason }) => {
                return Heard::Sends(Told { tiers, estimate_kbps, reason });
            }
            Ok(PublisherMessage::Allows(allowed)) => {
                if std::mem::replace(&mut self.allowed, allowed) != allowed {
                    let Allowed { comments, reactions } = allowed;
                    reporter.event(&Event::Allowed { comments, reactions });
                }
            }
            Ok(PublisherMessage::Stopped(stopped)) => return Heard::Stopped(stopped),
            Ok(PublisherMessage::Unknown) => {}
            Err(error) => reporter.detail(error),
        }
        Heard::Enough
    }

    /// What a typed line says to the teacher's hub.
    pub(super) fn typed(&mut self, line: &str, reporter: &Reporter) -> Option<StudentMessage> {
        match StudentLine::parse(line) {
            StudentLine::Say(words) => Some(StudentMessage::Msg { text: words.into() }),
            StudentLine::Hand => {
                self.raised = !self.raised;
                Some(StudentMessage::Hand { raised: self.raised })
            }
            StudentLine::React(_) if !self.allowed.reactions => {
                reporter.notice("the teacher has switched reactions off");
                None
            }
            StudentLine::React(reaction) => Some(StudentMessage::Reaction { reaction }),
            StudentLine::Advice(sentence) => {
                reporter.notice(sentence);
                None
            }
        }
    }

    fn line(&mut self, message: ChatMessage, reporter: &Reporter, screen: &RenderInput) {
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
        });
    }

    /// Tells what changed from the list before to this one.
    fn list(&mut self, hands: Vec<RaisedHand>, reporter: &Reporter) {
        let before = std::mem::replace(&mut self.hands, hands);
        let lists = |hands: &[RaisedHand], user: &UserId| hands.iter().any(|hand| hand.user_id == *user);
        let lowered = before.iter().filter(|hand| !lists(&self.hands, &hand.user_id)).map(|hand| (hand, false));
        let raised = self.hands.iter().filter(|hand| !lists(&before, &hand.user_id)).map(|hand| (hand, true));
        let order: Vec<UserId> = self.hands.iter().map(|hand| hand.user_id.clone()).collect();
        for (hand, raised) in lowered.chain(raised) {
            let (user, nickname) = (hand.user_id.clone(), hand.nickname.as_str().to_owned());
            reporter.event(&Event::Hand { user, nickname, raised, hands: order.clone() });
        }
    }

    fn is_up(&self) -> bool {
        self.hands.iter().any(|hand| hand.user_id == self.me)
    }
}
