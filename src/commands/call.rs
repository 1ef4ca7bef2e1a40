//! `classroom call`: calls somebody, or takes calls.

mod ringing;

use std::future::Future;

use tokio::time::Instant;

use self::ringing::{Ringing, Step};
use super::conference::{Conference, ConferenceEvent, ConferenceOptions, Received};
use super::or_never;
use crate::cli::{Call, CallRole};
use crate::exit::{Exit, Failure};
use crate::expect;
use crate::id::{UserId, named};
use crate::protocol::{ClientKind, ClientMessage, RoomKind, ServerMessage};
use crate::report::{CallEnd, EndReason, Event, Reporter};

/// Calls, or takes calls, until `stop`, the end of the call, or until the window is closed. Then checks the
/// expectations.
pub(super) async fn run(
    call: Call,
    reporter: &Reporter,
    stop: impl Future<Output = EndReason>,
) -> Result<EndReason, Failure> {
    let options = ConferenceOptions {
        member: &call.member,
        kind: RoomKind::Call,
        client: ClientKind::Call,
        sources: Some(call.sources.clone()),
        output: &call.output,
    };
    let conference = Conference::start(options, reporter).await?;
    let to = match &call.role {
        CallRole::To(user) => Some(user.clone()),
        CallRole::Answer { .. } => None,
    };
    let mut session = Session { call: &call, reporter, conference, ringing: Ringing::new(to), nickname: None };
    let ended = session.run(stop).await;
    let received = session.finish().await;
    let reason = ended?;
    let unmet = expect::unmet(&call.output.expect, |metric| received.value(metric));
    if unmet.is_empty() { Ok(reason) } else { Err(Failure::expectation_unmet(&unmet)) }
}

struct Session<'a> {
    call: &'a Call,
    reporter: &'a Reporter,
    conference: Conference<'a>,
    ringing: Ringing,
    /// The name of the one who calls.
    nickname: Option<String>,
}

impl Session<'_> {
    async fn run(&mut self, stop: impl Future<Output = EndReason>) -> Result<EndReason, Failure> {
        let mut stop = std::pin::pin!(stop);
        loop {
            let due = self.ringing.due();
            let steps = tokio::select! {
                reason = &mut stop => return Ok(reason),
                event = self.conference.next() => match event? {
                    ConferenceEvent::Over(reason) => return Ok(reason),
                    ConferenceEvent::Leave if self.ringing.other().is_none() => return Ok(EndReason::Left),
                    event => self.on_event(event)?,
                },
                () = or_never(due.map(tokio::time::sleep_until)) => {
                    self.ringing.step(Instant::now(), self.conference.list().takes_part())
                }
            };
            for step in steps {
                if let Some(reason) = self.carry_out(step)? {
                    return Ok(reason);
                }
            }
        }
    }

    fn on_event(&mut self, event: ConferenceEvent) -> Result<Vec<Step>, Failure> {
        let now = Instant::now();
        Ok(match event {
            ConferenceEvent::Joined => {
                if matches!(self.call.role, CallRole::Answer { .. }) && self.ringing.other().is_none() {
                    self.reporter.status("waiting for a call");
                }
                self.ringing.joined(now)
            }
            ConferenceEvent::Listed => {
                let list = self.conference.list();
                let other = list.others().next().map(|other| other.user_id.clone());
                self.ringing.listed(now, list.takes_part(), other.as_ref())
            }
            ConferenceEvent::Connected => {
                self.ringing.connected();
                Vec::new()
            }
            ConferenceEvent::Reconnecting => {
                self.ringing.lost(now);
                Vec::new()
            }
            ConferenceEvent::Message(message) => self.on_message(&message)?,
            ConferenceEvent::Leave => self.ringing.leave(),
            ConferenceEvent::Over(_) => Vec::new(),
        })
    }

    fn on_message(&mut self, message: &ServerMessage) -> Result<Vec<Step>, Failure> {
        if let ServerMessage::Call { nickname, .. } = message
            && self.ringing.other().is_none()
        {
            self.nickname = Some(nickname.as_str().to_owned());
        }
        let steps = self.ringing.heard(message);
        if let ServerMessage::Error { code, message, .. } = message
            && steps.is_empty()
        {
            if self.ringing.other().is_some() && !self.ringing.is_talking() {
                let why = anyhow::anyhow!("the server at {} takes no call: {message}", self.conference.server());
                return Err(Failure::refused(why));
            }
            self.reporter.detail(format!("the server reports an error ({code:?}): {message}"));
        }
        Ok(steps)
    }

    fn carry_out(&mut self, step: Step) -> Result<Option<EndReason>, Failure> {
        let sends = self.conference.sends();
        match step {
            Step::Call(target_uid) => self.conference.send(ClientMessage::Call { target_uid, sends }),
            Step::Accept(target_uid) => self.conference.send(ClientMessage::Accept { target_uid, sends }),
            Step::Decline(target_uid, reason) => {
                self.conference.send(ClientMessage::Decline { target_uid, reason });
            }
            Step::Return => self.conference.send(ClientMessage::Participate { sends }),
            Step::HangUp(target_uid) => self.hang_up(target_uid),
            Step::Tell(user, state) => {
                let nickname = self.nickname_of(&user);
                self.reporter.event(&Event::Call { user, nickname, state });
            }
            Step::Over(user, reason) => {
                self.conference.clear();
                return self.over(&user, reason);
            }
        }
        Ok(None)
    }

    /// A call is over. Returns the end of the program, unless it waits for the next call.
    fn over(&mut self, user: &UserId, reason: CallEnd) -> Result<Option<EndReason>, Failure> {
        if self.call.role == (CallRole::Answer { once: false }) {
            self.nickname = None;
            self.reporter.status("waiting for a call");
            return Ok(None);
        }
        let exit = match reason {
            CallEnd::HungUp => return Ok(Some(EndReason::CallOver)),
            CallEnd::Declined | CallEnd::NoDevices => Exit::Declined,
            CallEnd::Busy => Exit::Busy,
            CallEnd::NoAnswer => Exit::NoAnswer,
            CallEnd::NotThere => Exit::NotThere,
            CallEnd::MediaLost => Exit::MediaLost,
        };
        let whom = named(user, &self.nickname_of(user)).to_string();
        Err(Failure::new(exit, anyhow::anyhow!("{}", reason.sentence(&whom))))
    }

    fn hang_up(&self, target_uid: UserId) {
        self.conference.send(ClientMessage::Hangup { target_uid, source: None });
    }

    fn nickname_of(&self, user: &UserId) -> String {
        let listed = self.conference.list().others().find(|other| other.user_id == *user);
        let listed = listed.map(|other| other.nickname.as_str().to_owned());
        listed.or_else(|| self.nickname.clone()).unwrap_or_default()
    }

    /// Hangs up, and leaves the room.
    async fn finish(self) -> Received {
        if let Some(other) = self.ringing.other() {
            self.hang_up(other.clone());
        }
        self.conference.finish().await
    }
}
