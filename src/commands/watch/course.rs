//! What a student does next: wait for a teacher, connect, try again, or give up. Pure; time is an argument.

use std::time::Duration;

use tokio::time::Instant;

use crate::id::UserId;

/// An offer that is not answered, or a connection that does not come about, is given up after this time.
const CONNECT_WITHIN: Duration = Duration::from_secs(8);

/// How soon a lost connection is tried again: at once, and ever more patiently while it fails.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

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
    /// A connection is to be offered then.
    Pausing { until: Instant },
    /// A connection was offered then.
    Connecting { since: Instant },
    /// The connection stands, and had its last picture then, if any.
    Connected { since: Instant, explained: bool },
}

/// The way of one student through a lecture.
#[derive(Debug)]
pub(super) struct Course {
    begun: Instant,
    timeout: Option<Duration>,
    retry: Option<Duration>,
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

    /// Somebody teaches. Gives true when that is news: another person, or the same in a new process. A publisher
    /// that only came back to signalling is none, since its media never went.
    pub(super) fn publisher_is(&mut self, user: UserId, epoch: u32, now: Instant) -> bool {
        let publisher = Some((user, epoch));
        let is_news = self.publisher != publisher;
        if is_news || self.state == State::Waiting {
            self.publisher = publisher;
            self.pause = Duration::ZERO;
            self.state = State::Pausing { until: now };
        }
        self.was_taught = true;
        is_news
    }

    /// The publisher is not in the room any more. Media that flows is not touched.
    pub(super) fn publisher_left(&mut self, now: Instant) {
        self.publisher = None;
        if !matches!(self.state, State::Connected { .. }) {
            self.state = State::Waiting;
            self.media.get_or_insert(now);
        }
    }

    /// The connection stands.
    pub(super) fn connected(&mut self, now: Instant) {
        self.state = State::Connected { since: now, explained: false };
    }

    /// Whether the connection stands, and something came once.
    pub(super) fn is_live(&self) -> bool {
        matches!(self.state, State::Connected { .. }) && self.media.is_some()
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
            State::Pausing { until } => Some(until),
            State::Connecting { since } => Some(since + CONNECT_WITHIN),
            State::Connected { since, explained: false } if self.is_black(since) => Some(since + BLACK_AFTER),
            State::Connected { .. } => None,
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
            State::Pausing { until } if until <= now => {
                self.state = State::Connecting { since: now };
                Step::Connect
            }
            State::Connecting { since } if since + CONNECT_WITHIN <= now => {
                self.failed(now);
                Step::Explain(
                    "the teacher does not answer, or its UDP port is not reached from here: is a firewall between? \
                     trying again",
                )
            }
            State::Connected { since, explained: false } if self.is_black(since) && since + BLACK_AFTER <= now => {
                self.state = State::Connected { since, explained: true };
                Step::Explain("connected, but no picture has come yet: does the teacher's status line show frames?")
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
            return self.timeout.map(|timeout| (self.begun + timeout, Step::NobodyTaught(timeout)));
        }
        let retry = self.retry?;
        let last = match (self.media, self.state) {
            (Some(media), State::Connected { .. }) => media + STILL_AFTER.min(retry),
            (Some(media), _) => media,
            (None, State::Connected { since, .. } | State::Connecting { since }) => since,
            (None, _) => self.begun,
        };
        Some((last + retry, Step::MediaLost(retry)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user() -> UserId {
        "9999".parse().unwrap()
    }

    fn seconds(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[test]
    fn it_connects_when_somebody_teaches() {
        let now = Instant::now();
        let mut course = Course::new(now, None, None);
        assert_eq!((course.due(), course.step(now)), (None, Step::Nothing));
        assert!(course.publisher_is(user(), 1, now));
        assert_eq!((course.due(), course.step(now)), (Some(now), Step::Connect));
        course.connected(now);
        course.media(now);
        assert!(!course.publisher_is(user(), 1, now), "only its signalling came back");
        assert_eq!(course.step(now), Step::Nothing, "media that flows is left alone");
        assert!(course.publisher_is(user(), 2, now), "a new process");
        assert_eq!(course.step(now), Step::Connect);
    }

    #[test]
    fn a_lost_publisher_leaves_flowing_media_alone() {
        let now = Instant::now();
        let mut course = Course::new(now, None, None);
        course.publisher_is(user(), 1, now);
        course.step(now);
        course.connected(now);
        course.media(now);
        course.publisher_left(now);
        assert_eq!(course.step(now + seconds(60)), Step::Nothing);
        course.failed(now);
        assert_eq!(course.step(now + seconds(60)), Step::Nothing, "nobody to connect to");
        course.publisher_is(user(), 1, now);
        assert_eq!(course.step(now), Step::Connect);
    }

    #[test]
    fn tries_get_more_patient() {
        let mut now = Instant::now();
        let mut course = Course::new(now, None, None);
        course.publisher_is(user(), 1, now);
        let mut pauses = Vec::new();
        for _ in 0..6 {
            let due = course.due().unwrap();
            pauses.push(due - now);
            now = due;
            assert_eq!(course.step(now), Step::Connect);
            course.failed(now);
        }
        assert_eq!(pauses[0], Duration::ZERO);
        assert_eq!(pauses[1], Duration::ZERO, "a first loss is tried again at once");
        assert_eq!(pauses[2], FIRST_PAUSE);
        assert_eq!(*pauses.last().unwrap(), Duration::from_millis(1600));
    }

    #[test]
    fn patience_has_its_limits() {
        let now = Instant::now();
        let mut course = Course::new(now, Some(seconds(3)), Some(seconds(2)));
        assert_eq!(course.due(), Some(now + seconds(3)));
        assert_eq!(course.step(now + seconds(3)), Step::NobodyTaught(seconds(3)));
        course.publisher_is(user(), 1, now + seconds(1));
        course.step(now + seconds(1));
        course.connected(now + seconds(1));
        course.media(now + seconds(10));
        course.failed(now + seconds(11));
        assert_eq!(course.step(now + seconds(11)), Step::Connect);
        assert_eq!(course.step(now + seconds(12)), Step::MediaLost(seconds(2)));
    }

    #[test]
    fn a_pause_of_this_process_uses_up_no_patience() {
        let now = Instant::now();
        let mut course = Course::new(now, Some(seconds(3)), Some(seconds(2)));
        course.stood_still(seconds(60));
        assert_eq!(course.step(now + seconds(61)), Step::Nothing);
        course.publisher_is(user(), 1, now + seconds(61));
        assert_eq!(course.step(now + seconds(61)), Step::Connect);
        course.stood_still(seconds(60));
        assert_eq!(course.step(now + seconds(122)), Step::Nothing, "the teacher had no time to answer");
        course.connected(now + seconds(122));
        course.media(now + seconds(123));
        course.stood_still(seconds(60));
        assert_eq!(course.step(now + seconds(184)), Step::Nothing);
        assert_eq!(course.step(now + seconds(187)), Step::MediaLost(seconds(2)), "the pause is over");
    }

    #[test]
    fn a_black_screen_is_explained_once() {
        let now = Instant::now();
        let mut course = Course::new(now, None, None);
        course.publisher_is(user(), 1, now);
        course.step(now);
        assert!(matches!(course.step(now + CONNECT_WITHIN), Step::Explain(_)), "no answer");
        assert_eq!(course.step(now + CONNECT_WITHIN), Step::Connect);
        course.connected(now + seconds(10));
        assert!(matches!(course.step(now + seconds(15)), Step::Explain(_)), "no picture");
        assert_eq!(course.step(now + seconds(30)), Step::Nothing);
    }
}
