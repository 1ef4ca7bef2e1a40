//! Decides what a student does next: wait for a teacher, connect, try again, or give up. Pure: the time is an argument.

#[cfg(test)]
mod tests;

use std::time::Duration;

use tokio::time::Instant;

use crate::id::UserId;

/// How long an offered connection may take until it is established.
const CONNECT_WITHIN: Duration = Duration::from_secs(8);

/// The first attempt after a loss comes at once. The delay before a further attempt starts here and doubles.
const FIRST_DELAY: Duration = Duration::from_millis(200);
const MAX_DELAY: Duration = Duration::from_secs(2);

/// How soon a silent connection must bring packets again after the server is back. A working connection brings media at
/// once, and packets are counted once a second. Otherwise the path has probably changed.
const RECOVER_WITHIN: Duration = Duration::from_millis(1100);

/// When to explain that a connection brings no picture.
const NO_PICTURE_AFTER: Duration = Duration::from_secs(5);

/// After this time without a picture the lecture counts as lost.
const LOST_AFTER: Duration = Duration::from_secs(5);

/// The next action of the caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Action {
    /// Nothing.
    Nothing,
    /// Offer a connection to the publisher.
    Connect,
    /// Explain to the user why there is no picture.
    Explain(&'static str),
    /// Give up: nobody has taught for this time (`--timeout`).
    GiveUpWaiting(Duration),
    /// Give up: the lecture has not come back within this time (`--retry`).
    GiveUpLecture(Duration),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// No teacher is known.
    Waiting,
    /// Offer a connection at `until`, if the server is connected.
    RetryAt { until: Instant },
    /// A connection has been offered at `since`.
    Connecting { since: Instant },
    /// The connection is established since `since`. `explained`: a missing picture has been explained.
    Connected { since: Instant, explained: bool },
    /// The connection brings no packets. Give it up at `until`, or when the viewer reports its end.
    Silent { until: Option<Instant> },
}

/// The state of signalling.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Server {
    /// No server has been found yet.
    Searching,
    Connected,
    Lost,
}

/// The state of one student in a lecture.
#[derive(Debug)]
pub(super) struct LessonState {
    begun: Instant,
    timeout: Option<Duration>,
    retry: Option<Duration>,
    server: Server,
    publisher: Option<(UserId, u32)>,
    state: State,
    retry_delay: Duration,
    /// When there was a teacher for the first time.
    first_teacher: Option<Instant>,
    /// The time of the last picture.
    media: Option<Instant>,
}

impl LessonState {
    /// A student who starts at `begun`, waits at most `timeout` for a teacher, and at most `retry` for a lost lecture.
    pub(super) fn new(begun: Instant, timeout: Option<Duration>, retry: Option<Duration>) -> Self {
        Self {
            begun,
            timeout,
            retry,
            server: Server::Searching,
            publisher: None,
            state: State::Waiting,
            retry_delay: Duration::ZERO,
            first_teacher: None,
            media: None,
        }
    }

    /// The user id of the teacher.
    pub(super) fn publisher(&self) -> Option<&UserId> {
        self.publisher.as_ref().map(|(user, _)| user)
    }

    /// This student has joined the room, for the first time or again. `publisher` is the user id and the epoch of the
    /// teacher. Returns true if this is a new teacher.
    pub(super) fn server_joined(&mut self, publisher: Option<(UserId, u32)>, now: Instant) -> bool {
        let was_lost = std::mem::replace(&mut self.server, Server::Connected) == Server::Lost;
        match self.state {
            // The offer or its answer was lost with the server, so don't wait.
            State::Connecting { .. } | State::RetryAt { .. } if was_lost => self.offer_at_once(now),
            State::Silent { .. } => self.state = State::Silent { until: Some(now + RECOVER_WITHIN) },
            _ => {}
        }
        match publisher {
            Some((user, epoch)) => self.publisher_joined(user, epoch, now),
            None => {
                // The teacher may be reconnecting, too. Keep an established connection.
                if matches!(self.state, State::RetryAt { .. } | State::Connecting { .. }) {
                    self.state = State::Waiting;
                }
                false
            }
        }
    }

    /// Whether the server is lost. If not, it may still say that this student has joined, as another node of the server
    /// has the room now.
    pub(super) fn is_server_lost(&self) -> bool {
        self.server == Server::Lost
    }

    /// The server is lost. Nothing can be offered until it is back.
    pub(super) fn server_lost(&mut self) {
        self.server = Server::Lost;
    }

    /// A teacher is in the room. Returns true if it is a new one: another user, or the same user in a new process
    /// (another epoch). The media of a teacher who only reconnected to signalling never stopped.
    pub(super) fn publisher_joined(&mut self, user: UserId, epoch: u32, now: Instant) -> bool {
        let publisher = Some((user, epoch));
        let is_new = self.publisher != publisher;
        if is_new || matches!(self.state, State::Waiting | State::RetryAt { .. }) {
            self.publisher = publisher;
            self.offer_at_once(now);
        }
        self.first_teacher.get_or_insert(now);
        is_new
    }

    /// Whether the last connection has failed, and brought no picture.
    pub(super) fn is_again(&self) -> bool {
        !self.retry_delay.is_zero()
    }

    fn offer_at_once(&mut self, now: Instant) {
        self.retry_delay = Duration::ZERO;
        self.state = State::RetryAt { until: now };
    }

    /// The teacher has left the room. An established connection is kept.
    pub(super) fn publisher_left(&mut self, now: Instant) {
        self.publisher = None;
        if !self.is_connected() {
            self.state = State::Waiting;
            self.media.get_or_insert(now);
        }
    }

    /// The connection is established, or works again.
    pub(super) fn connected(&mut self, now: Instant) {
        self.state = State::Connected { since: now, explained: false };
    }

    /// Nothing has arrived over the connection for some seconds.
    pub(super) fn silent(&mut self) {
        if matches!(self.state, State::Connected { .. }) {
            self.state = State::Silent { until: None };
        }
    }

    /// Packets arrived within the last second.
    pub(super) fn packets_received(&mut self, now: Instant) {
        if matches!(self.state, State::Silent { .. }) {
            self.state = State::Connected { since: now, explained: true };
        }
    }

    /// Whether the connection is established, silent or not, and the lecture has had a picture.
    pub(super) fn is_live(&self) -> bool {
        self.is_connected() && self.media.is_some()
    }

    /// Whether the connection is established, silent or not.
    pub(super) fn is_connected(&self) -> bool {
        matches!(self.state, State::Connected { .. } | State::Silent { .. })
    }

    /// A picture arrived.
    pub(super) fn picture_shown(&mut self, now: Instant) {
        self.media = Some(now);
        self.retry_delay = Duration::ZERO;
    }

    /// This process was suspended for `lasted`. That time does not count.
    pub(super) fn paused(&mut self, lasted: Duration) {
        self.begun += lasted;
        self.first_teacher = self.first_teacher.map(|first| first + lasted);
        self.media = self.media.map(|media| media + lasted);
        if let State::Connecting { since } | State::Connected { since, .. } = &mut self.state {
            *since += lasted;
        }
        if let State::Silent { until: Some(until) } = &mut self.state {
            *until += lasted;
        }
    }

    /// The offer failed, or the connection is gone.
    pub(super) fn failed(&mut self, now: Instant) {
        self.state = match self.publisher {
            Some(_) => State::RetryAt { until: now + self.retry_delay },
            None => State::Waiting,
        };
        self.retry_delay = (self.retry_delay * 2).clamp(FIRST_DELAY, MAX_DELAY);
    }

    /// The sender of the media has ended it, or is gone. Returns whether that is about this connection, which is then
    /// given up: a hangup before a connection is established is about an earlier one.
    pub(super) fn hung_up(&mut self, now: Instant) -> bool {
        let is_about_this = self.is_connected();
        if is_about_this {
            self.failed(now);
        }
        is_about_this
    }

    /// When to call [`step`](Self::step).
    pub(super) fn due(&self) -> Option<Instant> {
        let state = match self.state {
            State::Waiting => None,
            State::RetryAt { .. } | State::Connecting { .. } if self.server != Server::Connected => None,
            State::RetryAt { until } => Some(until),
            State::Connecting { since } => Some(since + CONNECT_WITHIN),
            State::Connected { since, explained: false } if self.has_no_picture(since) => {
                Some(since + NO_PICTURE_AFTER)
            }
            State::Connected { .. } => None,
            State::Silent { until } => until,
        };
        let limit = self.limit().map(|(limit, _)| limit);
        [state, limit].into_iter().flatten().min()
    }

    /// Decides what to do now.
    pub(super) fn step(&mut self, now: Instant) -> Action {
        if let Some((_, gives_up)) = self.limit().filter(|(limit, _)| *limit <= now) {
            return gives_up;
        }
        match self.state {
            State::RetryAt { .. } | State::Connecting { .. } if self.server != Server::Connected => Action::Nothing,
            State::RetryAt { until } if until <= now => {
                self.state = State::Connecting { since: now };
                Action::Connect
            }
            State::Connecting { since } if since + CONNECT_WITHIN <= now => {
                self.failed(now);
                Action::Explain(
                    "no connection to the teacher: it does not answer, or a firewall blocks its UDP port; trying again",
                )
            }
            State::Connected { since, explained: false }
                if self.has_no_picture(since) && since + NO_PICTURE_AFTER <= now =>
            {
                self.state = State::Connected { since, explained: true };
                Action::Explain(
                    "connected, but there is no picture yet: check that the status line of the teacher shows more \
                     than 0 fps",
                )
            }
            State::Silent { until: Some(until) } if until <= now => {
                self.failed(now);
                self.step(now)
            }
            _ => Action::Nothing,
        }
    }

    fn has_no_picture(&self, since: Instant) -> bool {
        self.media.is_none_or(|media| media < since)
    }

    /// Whether the student has seen a picture of the lecture.
    pub(super) fn had_picture(&self) -> bool {
        self.media.is_some()
    }

    /// When to give up, and with what.
    fn limit(&self) -> Option<(Instant, Action)> {
        let Some(first_teacher) = self.first_teacher else {
            // The search for the server has a limit of its own, with another exit code.
            if self.server == Server::Searching {
                return None;
            }
            return self.timeout.map(|timeout| (self.begun + timeout, Action::GiveUpWaiting(timeout)));
        };
        // A first connection may take its time, however soon a lecture that breaks off is given up.
        let retry = if self.had_picture() { self.retry? } else { self.retry?.max(CONNECT_WITHIN) };
        let last = match (self.media, self.state) {
            (Some(media), State::Connected { .. } | State::Silent { .. }) => media + LOST_AFTER.min(retry),
            (Some(media), _) => media,
            (None, State::Connected { since, .. } | State::Connecting { since }) => since,
            (None, _) => first_teacher,
        };
        Some((last + retry, Action::GiveUpLecture(retry)))
    }
}
