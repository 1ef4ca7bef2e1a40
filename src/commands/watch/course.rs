//! What a student does next: wait for a teacher, connect, try again, or give up. Pure; time is an argument.

#[cfg(test)]
mod tests;

use std::time::Duration;

use tokio::time::Instant;

use crate::id::UserId;

/// An offer that is not answered, or a connection that does not come about, is given up after this time.
const CONNECT_WITHIN: Duration = Duration::from_secs(8);

/// How soon a lost connection is tried again: at once, and ever more patiently while it fails.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// How long a connection that fell silent may need to be heard again, once the server is: the keep-alive of ICE comes
/// every two seconds, packets sooner, and they are looked at once a second. After a longer silence the line may be
/// another one.
const HEARD_WITHIN: Duration = Duration::from_millis(1100);

/// When a connection without pictures is worth a word.
const BLACK_AFTER: Duration = Duration::from_secs(5);

/// Media counts as gone after this time without a picture.
const STILL_AFTER: Duration = Duration::from_secs(5);

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing yet.
    Nothing,
    /// Offer a connection to the publisher.
    Connect,
    /// Say why there is no picture.
    Explain(&'static str),
    /// Give up: nobody taught for this time.
    NobodyTaught(Duration),
    /// Give up: the media did not come back in this time.
    MediaLost(Duration),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Nobody teaches, or it is not known who.
    Waiting,
    /// A connection is to be offered then, if the server is there to carry the offer.
    Pausing { until: Instant },
    /// A connection was offered then.
    Connecting { since: Instant },
    /// The connection stands, and had its last picture then, if any.
    Connected { since: Instant, explained: bool },
    /// Nothing is heard over the connection. It is given up at the end of `until`, or when it says so itself.
    Silent { until: Option<Instant> },
}

/// Whether there is a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Server {
    /// None was found yet.
    Sought,
    Here,
    Lost,
}

/// The way of one student through a lecture.
#[derive(Debug)]
pub(super) struct Course {
    begun: Instant,
    timeout: Option<Duration>,
    retry: Option<Duration>,
    server: Server,
    publisher: Option<(UserId, u32)>,
    state: State,
    pause: Duration,
    /// Somebody taught at some time.
    was_taught: bool,
    /// The last picture.
    media: Option<Instant>,
}

impl Course {
    /// A course that begins now, waits for a teacher at most `timeout`, and for lost media at most `retry`.
    pub(super) fn new(begun: Instant, timeout: Option<Duration>, retry: Option<Duration>) -> Self {
        Self {
            begun,
            timeout,
            retry,
            server: Server::Sought,
            publisher: None,
            state: State::Waiting,
            pause: Duration::ZERO,
            was_taught: false,
            media: None,
        }
    }

    /// Who teaches.
    pub(super) fn publisher(&self) -> Option<&UserId> {
        self.publisher.as_ref().map(|(user, _)| user)
    }

    /// This student is in the room, for the first time or again, and knows who is there: `publisher` says who teaches.
    /// Gives true when that is news.
    pub(super) fn server_is_here(&mut self, publisher: Option<(UserId, u32)>, now: Instant) -> bool {
        let was_lost = std::mem::replace(&mut self.server, Server::Here) == Server::Lost;
        match self.state {
            // What was offered went nowhere, or the answer did. What failed on a dead line need not be waited for.
            State::Connecting { .. } | State::Pausing { .. } if was_lost => self.offer_at_once(now),
            State::Silent { .. } => self.state = State::Silent { until: Some(now + HEARD_WITHIN) },
            _ => {}
        }
        match publisher {
            Some((user, epoch)) => self.publisher_is(user, epoch, now),
            None => {
                // A publisher may be on the way back as well: what stands is left alone.
                if matches!(self.state, State::Pausing { .. } | State::Connecting { .. }) {
                    self.state = State::Waiting;
                }
                false
            }
        }
    }

    /// The server is lost, and nothing can be offered until it is back.
    pub(super) fn server_is_lost(&mut self) {
        self.server = Server::Lost;
    }

    /// Somebody teaches. Gives true when that is news: another person, or the same in a new process. A publisher
    /// that only came back to signalling is none, since its media never went.
    pub(super) fn publisher_is(&mut self, user: UserId, epoch: u32, now: Instant) -> bool {
        let publisher = Some((user, epoch));
        let is_news = self.publisher != publisher;
        if is_news || matches!(self.state, State::Waiting | State::Pausing { .. }) {
            self.publisher = publisher;
            self.offer_at_once(now);
        }
        self.was_taught = true;
        is_news
    }

    fn offer_at_once(&mut self, now: Instant) {
        self.pause = Duration::ZERO;
        self.state = State::Pausing { until: now };
    }

    /// The publisher is not in the room any more. Media that flows is not touched.
    pub(super) fn publisher_left(&mut self, now: Instant) {
        self.publisher = None;
        if !self.stands() {
            self.state = State::Waiting;
            self.media.get_or_insert(now);
        }
    }

    /// The connection stands, or is heard again.
    pub(super) fn connected(&mut self, now: Instant) {
        self.state = State::Connected { since: now, explained: false };
    }

    /// Nothing was heard over the connection for some seconds.
    pub(super) fn silent(&mut self) {
        if matches!(self.state, State::Connected { .. }) {
            self.state = State::Silent { until: None };
        }
    }

    /// Packets came in the last second.
    pub(super) fn heard(&mut self, now: Instant) {
        if matches!(self.state, State::Silent { .. }) {
            self.state = State::Connected { since: now, explained: true };
        }
    }

    /// Whether the connection stands, silent or not, and something came once.
    pub(super) fn is_live(&self) -> bool {
        self.stands() && self.media.is_some()
    }

    fn stands(&self) -> bool {
        matches!(self.state, State::Connected { .. } | State::Silent { .. })
    }

    /// A picture came.
    pub(super) fn media(&mut self, now: Instant) {
        self.media = Some(now);
        self.pause = Duration::ZERO;
    }

    /// This process stood still for so long: no time has passed.
    pub(super) fn stood_still(&mut self, lasted: Duration) {
        self.begun += lasted;
        self.media = self.media.map(|media| media + lasted);
        if let State::Connecting { since } | State::Connected { since, .. } = &mut self.state {
            *since += lasted;
        }
        if let State::Silent { until: Some(until) } = &mut self.state {
            *until += lasted;
        }
    }

    /// The offer was refused for now, or the connection is gone.
    pub(super) fn failed(&mut self, now: Instant) {
        self.state = match self.publisher {
            Some(_) => State::Pausing { until: now + self.pause },
            None => State::Waiting,
        };
        self.pause = (self.pause * 2).clamp(FIRST_PAUSE, LONGEST_PAUSE);
    }

    /// When [`step`](Self::step) has something to do.
    pub(super) fn due(&self) -> Option<Instant> {
        let state = match self.state {
            State::Waiting => None,
            State::Pausing { .. } | State::Connecting { .. } if self.server != Server::Here => None,
            State::Pausing { until } => Some(until),
            State::Connecting { since } => Some(since + CONNECT_WITHIN),
            State::Connected { since, explained: false } if self.is_black(since) => Some(since + BLACK_AFTER),
            State::Connected { .. } => None,
            State::Silent { until } => until,
        };
        let limit = self.limit().map(|(limit, _)| limit);
        [state, limit].into_iter().flatten().min()
    }

    /// What is to be done now.
    pub(super) fn step(&mut self, now: Instant) -> Step {
        if let Some((_, gives_up)) = self.limit().filter(|(limit, _)| *limit <= now) {
            return gives_up;
        }
        match self.state {
            State::Pausing { .. } | State::Connecting { .. } if self.server != Server::Here => Step::Nothing,
            State::Pausing { until } if until <= now => {
                self.state = State::Connecting { since: now };
                Step::Connect
            }
            State::Connecting { since } if since + CONNECT_WITHIN <= now => {
                self.failed(now);
                Step::Explain(
                    "the teacher does not answer, or its UDP port can't be reached from here: is a firewall between? \
                     trying again",
                )
            }
            State::Connected { since, explained: false } if self.is_black(since) && since + BLACK_AFTER <= now => {
                self.state = State::Connected { since, explained: true };
                Step::Explain("connected, but no picture has come yet: does the teacher's status line show frames?")
            }
            State::Silent { until: Some(until) } if until <= now => {
                self.failed(now);
                self.step(now)
            }
            _ => Step::Nothing,
        }
    }

    fn is_black(&self, since: Instant) -> bool {
        self.media.is_none_or(|media| media < since)
    }

    /// When patience ends, and with what.
    fn limit(&self) -> Option<(Instant, Step)> {
        if !self.was_taught {
            // For the server there is a limit of its own, with another exit code.
            if self.server == Server::Sought {
                return None;
            }
            return self.timeout.map(|timeout| (self.begun + timeout, Step::NobodyTaught(timeout)));
        }
        let retry = self.retry?;
        let last = match (self.media, self.state) {
            (Some(media), State::Connected { .. } | State::Silent { .. }) => media + STILL_AFTER.min(retry),
            (Some(media), _) => media,
            (None, State::Connected { since, .. } | State::Connecting { since }) => since,
            (None, _) => self.begun,
        };
        Some((last + retry, Step::MediaLost(retry)))
    }
}
