//! The calls of one member: ringing, the call, its end. Pure.

use std::time::Duration;

use tokio::time::Instant;

use crate::id::UserId;
use crate::protocol::{DeclineReason, ErrorCode, ServerMessage};
use crate::report::{CallEnd, CallState};

/// How long a call whose media is lost waits for its return.
const RETURNS_WITHIN: Duration = Duration::from_secs(10);

/// How long the server keeps the place of a member that has lost it, and a little more.
const KEPT_FOR: Duration = Duration::from_secs(12);

/// The next step of the verb.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// Call this user.
    Call(UserId),
    /// Take the call of this user.
    Accept(UserId),
    /// Take no call of this user.
    Decline(UserId, DeclineReason),
    /// Tell the server again what is sent, because it may have forgotten that this member is in a call.
    Return,
    /// Hang up.
    HangUp(UserId),
    /// Tell the state of the call with this user.
    Tell(UserId, CallState),
    /// The call is over, or does not come about.
    Over(UserId, CallEnd),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    Idle,
    /// This member calls, or takes a call, and the server has not begun it yet.
    Waiting(UserId),
    Talking(UserId),
}

/// The calls of one member.
#[derive(Debug)]
pub(super) struct Ringing {
    /// The user to call; `None`: takes calls.
    to: Option<UserId>,
    state: State,
    /// When a call whose media is lost is over.
    lost_until: Option<Instant>,
    /// Until when a list without this member means only that the server has not heard of its return yet.
    returns_until: Option<Instant>,
}

impl Ringing {
    pub(super) fn new(to: Option<UserId>) -> Self {
        Self { to, state: State::Idle, lost_until: None, returns_until: None }
    }

    /// This member has joined the room, for the first time or again.
    pub(super) fn joined(&mut self, now: Instant) -> Vec<Step> {
        match (&self.state, &self.to) {
            (State::Talking(_), _) => {
                self.returns_until = Some(now + KEPT_FOR);
                vec![Step::Return]
            }
            (State::Idle, Some(to)) => {
                let to = to.clone();
                self.state = State::Waiting(to.clone());
                vec![Step::Call(to.clone()), Step::Tell(to, CallState::Calling)]
            }
            // A server that has restarted knows of no call. For another one the second call changes nothing.
            (State::Waiting(other), Some(_)) => vec![Step::Call(other.clone())],
            (State::Waiting(_), None) => {
                self.state = State::Idle;
                Vec::new()
            }
            (State::Idle, None) => Vec::new(),
        }
    }

    /// The participants: whether this member is one, and the other one.
    pub(super) fn listed(&mut self, now: Instant, takes_part: bool, other: Option<&UserId>) -> Vec<Step> {
        match (takes_part, other, &self.state) {
            (true, Some(other), State::Talking(with)) if other == with => {
                self.returns_until = None;
                Vec::new()
            }
            (true, Some(other), State::Idle | State::Waiting(_)) => {
                self.state = State::Talking(other.clone());
                vec![Step::Tell(other.clone(), CallState::Accepted)]
            }
            (_, _, State::Talking(with)) if self.returns_until.is_none_or(|until| until <= now) => {
                let with = with.clone();
                self.end(with, CallEnd::HungUp)
            }
            _ => Vec::new(),
        }
    }

    /// Another message of the server.
    pub(super) fn heard(&mut self, message: &ServerMessage) -> Vec<Step> {
        match (message, &self.state) {
            (ServerMessage::Call { user_id, .. }, State::Idle) if self.to.is_none() => {
                self.state = State::Waiting(user_id.clone());
                vec![Step::Tell(user_id.clone(), CallState::Ringing), Step::Accept(user_id.clone())]
            }
            // The two call each other: the server takes the second call as the answer to the first.
            (ServerMessage::Call { user_id, .. }, State::Waiting(to)) if user_id == to => Vec::new(),
            (ServerMessage::Call { user_id, .. }, State::Talking(with)) if user_id == with => Vec::new(),
            (ServerMessage::Call { user_id, .. }, _) => vec![Step::Decline(user_id.clone(), DeclineReason::Busy)],
            (ServerMessage::Decline { user_id, reason }, State::Waiting(to)) if user_id == to => {
                self.end(user_id.clone(), (*reason).into())
            }
            (ServerMessage::Hangup { user_id }, State::Talking(other) | State::Waiting(other)) if user_id == other => {
                self.end(user_id.clone(), CallEnd::HungUp)
            }
            (ServerMessage::Error { code: ErrorCode::UnknownTarget, .. }, State::Waiting(to)) => {
                let to = to.clone();
                self.end(to, CallEnd::NotThere)
            }
            _ => Vec::new(),
        }
    }

    /// The media of the call runs, for the first time or again.
    pub(super) fn connected(&mut self) {
        self.lost_until = None;
    }

    /// The media of the call is lost.
    pub(super) fn lost(&mut self, now: Instant) {
        if matches!(self.state, State::Talking(_)) {
            self.lost_until.get_or_insert(now + RETURNS_WITHIN);
        }
    }

    /// When to call [`step`](Self::step).
    pub(super) fn due(&self) -> Option<Instant> {
        self.lost_until.into_iter().chain(self.returns_until).min()
    }

    /// Time has passed. `takes_part`: whether this member is among the participants.
    pub(super) fn step(&mut self, now: Instant, takes_part: bool) -> Vec<Step> {
        let is_over = |until: Option<Instant>| until.is_some_and(|until| until <= now);
        let State::Talking(with) = self.state.clone() else {
            (self.lost_until, self.returns_until) = (None, None);
            return Vec::new();
        };
        if is_over(self.lost_until) {
            let mut steps = vec![Step::HangUp(with.clone())];
            steps.extend(self.end(with, CallEnd::MediaLost));
            return steps;
        }
        if is_over(self.returns_until) {
            self.returns_until = None;
            if !takes_part {
                return self.end(with, CallEnd::HungUp);
            }
        }
        Vec::new()
    }

    /// The user hangs up.
    pub(super) fn leave(&mut self) -> Vec<Step> {
        let Some(other) = self.other().cloned() else { return Vec::new() };
        let mut steps = vec![Step::HangUp(other.clone())];
        steps.extend(self.end(other, CallEnd::HungUp));
        steps
    }

    /// The other one of the call that rings or runs.
    pub(super) fn other(&self) -> Option<&UserId> {
        match &self.state {
            State::Idle => None,
            State::Waiting(other) | State::Talking(other) => Some(other),
        }
    }

    /// Whether a call runs.
    pub(super) fn is_talking(&self) -> bool {
        matches!(self.state, State::Talking(_))
    }

    fn end(&mut self, other: UserId, reason: CallEnd) -> Vec<Step> {
        (self.state, self.lost_until, self.returns_until) = (State::Idle, None, None);
        vec![Step::Tell(other.clone(), CallState::Ended { reason }), Step::Over(other, reason)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(user: u32) -> UserId {
        user.to_string().parse().unwrap()
    }

    fn call(user: u32) -> ServerMessage {
        ServerMessage::Call { user_id: id(user), nickname: "".into(), sends: vec![] }
    }

    fn ended(user: u32, reason: CallEnd) -> Vec<Step> {
        vec![Step::Tell(id(user), CallState::Ended { reason }), Step::Over(id(user), reason)]
    }

    fn talking(now: Instant) -> Ringing {
        let mut ringing = Ringing::new(Some(id(1002)));
        assert_eq!(ringing.joined(now), [Step::Call(id(1002)), Step::Tell(id(1002), CallState::Calling)]);
        assert_eq!(ringing.listed(now, false, None), []);
        let accepted = ringing.listed(now, true, Some(&id(1002)));
        assert_eq!(accepted, [Step::Tell(id(1002), CallState::Accepted)]);
        ringing
    }

    #[test]
    fn a_call_that_does_not_come_about_ends_with_the_reason() {
        let now = Instant::now();
        let calling = || {
            let mut ringing = Ringing::new(Some(id(1002)));
            ringing.joined(now);
            ringing
        };
        let decline = |reason| ServerMessage::Decline { user_id: id(1002), reason };
        assert_eq!(calling().heard(&decline(DeclineReason::Busy)), ended(1002, CallEnd::Busy));
        assert_eq!(calling().heard(&decline(DeclineReason::NoAnswer)), ended(1002, CallEnd::NoAnswer));
        let unknown = ServerMessage::error(ErrorCode::UnknownTarget, "nobody");
        assert_eq!(calling().heard(&unknown), ended(1002, CallEnd::NotThere));
        assert_eq!(talking(now).heard(&decline(DeclineReason::Declined)), [], "too late");
        assert_eq!(talking(now).heard(&unknown), []);
    }

    #[test]
    fn calls_are_taken_one_after_another() {
        let now = Instant::now();
        let mut desk = Ringing::new(None);
        assert_eq!(desk.joined(now), []);
        for user in [1001, 1003] {
            let steps = [Step::Tell(id(user), CallState::Ringing), Step::Accept(id(user))];
            assert_eq!(desk.heard(&call(user)), steps);
            assert_eq!(desk.heard(&call(1009)), [Step::Decline(id(1009), DeclineReason::Busy)]);
            desk.listed(now, true, Some(&id(user)));
            assert!(desk.is_talking());
            assert_eq!(desk.listed(now, false, None), ended(user, CallEnd::HungUp));
        }
        desk.heard(&call(1005));
        assert_eq!(desk.leave()[0], Step::HangUp(id(1005)));
        assert_eq!(desk.other(), None);
        assert_eq!(desk.leave(), []);
        desk.heard(&call(1004));
        assert_eq!(desk.heard(&ServerMessage::Hangup { user_id: id(1004) }), ended(1004, CallEnd::HungUp));
    }

    #[test]
    fn a_call_whose_media_is_lost_ends_after_ten_seconds_and_one_that_returns_goes_on() {
        let now = Instant::now();
        let later = |s| now + Duration::from_secs(s);
        let mut call = talking(now);
        call.lost(now);
        call.lost(later(4));
        assert_eq!(call.step(later(9), true), []);
        call.connected();
        assert_eq!(call.due(), None);
        call.lost(later(20));
        let mut expected = vec![Step::HangUp(id(1002))];
        expected.extend(ended(1002, CallEnd::MediaLost));
        assert_eq!(call.step(later(30), true), expected);
    }

    #[test]
    fn a_server_that_was_lost_hears_that_the_call_goes_on() {
        let now = Instant::now();
        let later = |s| now + Duration::from_secs(s);
        let mut call = talking(now);
        assert_eq!(call.joined(now), [Step::Return]);
        assert_eq!(call.listed(now, false, Some(&id(1002))), [], "it has not heard yet");
        assert_eq!(call.listed(later(1), true, Some(&id(1002))), []);
        assert_eq!(call.listed(later(2), false, None), ended(1002, CallEnd::HungUp));
        // A server that has restarted knows of no call.
        let mut call = talking(now);
        call.joined(now);
        call.listed(now, false, None);
        assert_eq!(call.step(later(20), false), ended(1002, CallEnd::HungUp));
    }
}
