//! What a student does next: wait for a teacher, connect, try again, or give up. Pure; time is an argument.

use std::time::Duration;

use tokio::time::Instant;

use crate::id::UserId;

/// An offer that is not answered, or a connection that does not come about, is given up after this time.
const CONNECT_WITHIN: Duration = Duration::from_secs(8);

/// How soon a lost connection is tried again: at once, and ever more patiently while it fails.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// How long a connection that fell silent may need to be heard again, once the server is: the keep-alive of ICE comes
/// every two seconds, packets sooner, and they are looked at once a second. Longer silence is another line than before.
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
                    "the teacher does not answer, or its UDP port is not reached from here: is a firewall between? \
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

#[cfg(test)]
mod tests {
    use super::*;

    fn user() -> UserId {
        "9999".parse().unwrap()
    }

    fn seconds(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    /// Of a student who is in a room that nobody teaches in.
    fn in_a_room(now: Instant, timeout: Option<Duration>, retry: Option<Duration>) -> Course {
        let mut course = Course::new(now, timeout, retry);
        assert!(!course.server_is_here(None, now));
        course
    }

    /// Of a student who watches.
    fn live(now: Instant) -> Course {
        let mut course = Course::new(now, None, None);
        assert!(course.server_is_here(Some((user(), 1)), now));
        assert_eq!(course.step(now), Step::Connect);
        course.connected(now);
        course.media(now);
        course
    }

    #[test]
    fn it_connects_when_somebody_teaches() {
        let now = Instant::now();
        let mut course = in_a_room(now, None, None);
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
        let mut course = live(now);
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
        let mut course = in_a_room(now, None, None);
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
        assert_eq!(course.due(), None, "the server has a limit of its own");
        course.server_is_here(None, now + seconds(1));
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
        course.server_is_here(None, now);
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
        let mut course = in_a_room(now, None, None);
        course.publisher_is(user(), 1, now);
        course.step(now);
        assert!(matches!(course.step(now + CONNECT_WITHIN), Step::Explain(_)), "no answer");
        assert_eq!(course.step(now + CONNECT_WITHIN), Step::Connect);
        course.connected(now + seconds(10));
        assert!(matches!(course.step(now + seconds(15)), Step::Explain(_)), "no picture");
        assert_eq!(course.step(now + seconds(30)), Step::Nothing);
    }

    #[test]
    fn nothing_is_offered_while_the_server_is_lost_and_at_once_when_it_is_back() {
        let now = Instant::now();
        let mut course = live(now);
        course.server_is_lost();
        assert_eq!(course.step(now + seconds(5)), Step::Nothing, "media that flows is left alone");
        for _ in 0..5 {
            course.failed(now + seconds(10));
        }
        assert_eq!((course.due(), course.step(now + seconds(30))), (None, Step::Nothing));
        assert!(!course.server_is_here(Some((user(), 1)), now + seconds(40)), "the same teacher");
        assert_eq!((course.due(), course.step(now + seconds(40))), (Some(now + seconds(40)), Step::Connect));

        // The answer was lost with the server: no patience, and no word of a firewall.
        course.server_is_lost();
        assert_eq!(course.step(now + seconds(60)), Step::Nothing);
        course.server_is_here(Some((user(), 1)), now + seconds(61));
        assert_eq!(course.step(now + seconds(61)), Step::Connect);
    }

    #[test]
    fn a_server_that_comes_back_before_its_teacher_is_no_reason_to_ask_again_and_again() {
        let now = Instant::now();
        let mut course = live(now);
        course.server_is_lost();
        course.failed(now);
        course.server_is_here(None, now + seconds(1));
        assert_eq!((course.due(), course.step(now + seconds(9))), (None, Step::Nothing));
        assert!(!course.publisher_is(user(), 1, now + seconds(10)), "the same as before");
        assert_eq!(course.step(now + seconds(10)), Step::Connect);
    }

    #[test]
    fn a_silent_connection_gets_a_second_once_the_server_is_back() {
        let now = Instant::now();
        for comes_back in [true, false] {
            let mut course = live(now);
            course.silent();
            course.server_is_lost();
            assert!(course.is_live());
            assert_eq!((course.due(), course.step(now + seconds(9))), (None, Step::Nothing));
            course.server_is_here(Some((user(), 1)), now + seconds(9));
            if comes_back {
                course.heard(now + seconds(9));
                assert_eq!((course.due(), course.step(now + seconds(60))), (None, Step::Nothing));
            } else {
                assert_eq!(course.step(now + seconds(9)), Step::Nothing);
                assert_eq!(course.step(now + seconds(9) + HEARD_WITHIN), Step::Connect);
            }
        }
        let mut course = live(now);
        course.heard(now);
        course.silent();
        assert_eq!(course.step(now + seconds(9)), Step::Nothing, "it says itself when it is gone");
    }
}
