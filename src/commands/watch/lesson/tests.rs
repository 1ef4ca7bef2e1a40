use super::*;

fn user() -> UserId {
    "9999".parse().unwrap()
}

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// A student in a room without a teacher.
fn in_a_room(now: Instant, timeout: Option<Duration>, retry: Option<Duration>) -> LessonState {
    let mut lesson = LessonState::new(now, timeout, retry);
    assert!(!lesson.server_joined(None, now));
    lesson
}

/// A student who watches.
fn live(now: Instant) -> LessonState {
    let mut lesson = LessonState::new(now, None, None);
    assert!(lesson.server_joined(Some((user(), 1)), now));
    assert_eq!(lesson.step(now), Action::Connect);
    lesson.connected(now);
    lesson.picture_shown(now);
    lesson
}

#[test]
fn a_student_connects_when_a_teacher_joins() {
    let now = Instant::now();
    let mut lesson = in_a_room(now, None, None);
    assert_eq!((lesson.due(), lesson.step(now)), (None, Action::Nothing));
    assert!(lesson.publisher_joined(user(), 1, now));
    assert_eq!((lesson.due(), lesson.step(now)), (Some(now), Action::Connect));
    lesson.connected(now);
    lesson.picture_shown(now);
    assert!(!lesson.publisher_joined(user(), 1, now), "only its signalling is back");
    assert_eq!(lesson.step(now), Action::Nothing, "an established connection is kept");
    assert!(lesson.publisher_joined(user(), 2, now), "a new process");
    assert_eq!(lesson.step(now), Action::Connect);
}

#[test]
fn a_connection_is_kept_while_the_teacher_has_lost_signalling() {
    let now = Instant::now();
    let mut lesson = live(now);
    lesson.publisher_left(now);
    assert_eq!(lesson.step(now + seconds(60)), Action::Nothing);
    lesson.failed(now);
    assert_eq!(lesson.step(now + seconds(60)), Action::Nothing, "nobody to connect to");
    lesson.publisher_joined(user(), 1, now);
    assert_eq!(lesson.step(now), Action::Connect);
}

#[test]
fn the_delay_between_attempts_doubles() {
    let mut now = Instant::now();
    let mut lesson = in_a_room(now, None, None);
    lesson.publisher_joined(user(), 1, now);
    let mut delays = Vec::new();
    for _ in 0..6 {
        let due = lesson.due().unwrap();
        delays.push(due - now);
        now = due;
        assert_eq!(lesson.step(now), Action::Connect);
        lesson.failed(now);
    }
    assert_eq!(delays[0], Duration::ZERO);
    assert_eq!(delays[1], Duration::ZERO, "the first attempt after a loss comes at once");
    assert_eq!(delays[2], FIRST_DELAY);
    assert_eq!(*delays.last().unwrap(), Duration::from_millis(1600));
}

#[test]
fn timeout_and_retry_limit_the_waiting_time() {
    let now = Instant::now();
    let mut lesson = LessonState::new(now, Some(seconds(3)), Some(seconds(2)));
    assert_eq!(lesson.due(), None, "the search for the server has a limit of its own");
    lesson.server_joined(None, now + seconds(1));
    assert_eq!(lesson.due(), Some(now + seconds(3)));
    assert_eq!(lesson.step(now + seconds(3)), Action::GiveUpWaiting(seconds(3)));
    lesson.publisher_joined(user(), 1, now + seconds(1));
    lesson.step(now + seconds(1));
    lesson.connected(now + seconds(1));
    lesson.picture_shown(now + seconds(10));
    lesson.failed(now + seconds(11));
    assert_eq!(lesson.step(now + seconds(11)), Action::Connect);
    assert_eq!(lesson.step(now + seconds(12)), Action::GiveUpLecture(seconds(2)));
}

#[test]
fn a_teacher_who_comes_late_is_watched_however_short_the_retry_is() {
    let now = Instant::now();
    let mut lesson = in_a_room(now, None, Some(seconds(2)));
    let late = now + seconds(60);
    lesson.publisher_joined(user(), 1, late);
    assert_eq!(lesson.step(late), Action::Connect);
    assert_eq!(lesson.step(late + seconds(3)), Action::Nothing, "a first connection may take its time");
    lesson.connected(late + seconds(4));
    assert_eq!(lesson.step(late + seconds(12)), Action::GiveUpLecture(CONNECT_WITHIN), "and never a picture");
}

#[test]
fn a_missing_picture_is_explained_once() {
    let now = Instant::now();
    let mut lesson = in_a_room(now, None, None);
    lesson.publisher_joined(user(), 1, now);
    lesson.step(now);
    assert!(matches!(lesson.step(now + CONNECT_WITHIN), Action::Explain(_)), "no answer");
    assert_eq!(lesson.step(now + CONNECT_WITHIN), Action::Connect);
    lesson.connected(now + seconds(10));
    assert!(matches!(lesson.step(now + seconds(15)), Action::Explain(_)), "no picture");
    assert_eq!(lesson.step(now + seconds(30)), Action::Nothing);
}

#[test]
fn offers_wait_for_the_server_and_come_at_once_when_it_is_back() {
    let now = Instant::now();
    let mut lesson = live(now);
    lesson.server_lost();
    assert_eq!(lesson.step(now + seconds(5)), Action::Nothing, "an established connection is kept");
    for _ in 0..5 {
        lesson.failed(now + seconds(10));
    }
    assert_eq!((lesson.due(), lesson.step(now + seconds(30))), (None, Action::Nothing));
    assert!(!lesson.server_joined(Some((user(), 1)), now + seconds(40)), "the same teacher");
    assert_eq!((lesson.due(), lesson.step(now + seconds(40))), (Some(now + seconds(40)), Action::Connect));

    // The answer was lost with the server: offer again at once, and don't blame a firewall.
    lesson.server_lost();
    assert_eq!(lesson.step(now + seconds(60)), Action::Nothing);
    lesson.server_joined(Some((user(), 1)), now + seconds(61));
    assert_eq!(lesson.step(now + seconds(61)), Action::Connect);
}

#[test]
fn without_a_teacher_nothing_is_offered_to_a_server_that_is_back() {
    let now = Instant::now();
    let mut lesson = live(now);
    lesson.server_lost();
    lesson.failed(now);
    lesson.server_joined(None, now + seconds(1));
    assert_eq!((lesson.due(), lesson.step(now + seconds(9))), (None, Action::Nothing));
    assert!(!lesson.publisher_joined(user(), 1, now + seconds(10)), "the same as before");
    assert_eq!(lesson.step(now + seconds(10)), Action::Connect);
}

#[test]
fn a_silent_connection_has_a_second_to_recover_when_the_server_is_back() {
    let now = Instant::now();
    for comes_back in [true, false] {
        let mut lesson = live(now);
        lesson.silent();
        lesson.server_lost();
        assert!(lesson.is_live());
        assert_eq!((lesson.due(), lesson.step(now + seconds(9))), (None, Action::Nothing));
        lesson.server_joined(Some((user(), 1)), now + seconds(9));
        if comes_back {
            lesson.packets_received(now + seconds(9));
            assert_eq!((lesson.due(), lesson.step(now + seconds(60))), (None, Action::Nothing));
        } else {
            assert_eq!(lesson.step(now + seconds(9)), Action::Nothing);
            assert_eq!(lesson.step(now + seconds(9) + RECOVER_WITHIN), Action::Connect);
        }
    }
    let mut lesson = live(now);
    lesson.packets_received(now);
    lesson.silent();
    assert_eq!(lesson.step(now + seconds(9)), Action::Nothing, "the viewer reports the end of the connection");
}

#[test]
fn a_hangup_ends_a_connection_that_works_and_none_that_is_being_made() {
    let now = Instant::now();
    let mut lesson = live(now);
    lesson.silent();
    assert!(lesson.hung_up(now + seconds(3)));
    assert_eq!(lesson.step(now + seconds(3)), Action::Connect, "at once");
    assert!(!lesson.hung_up(now + seconds(4)), "it is about the connection before");
    assert_eq!(lesson.step(now + seconds(4)), Action::Nothing);
}

#[test]
fn a_suspension_of_this_process_is_not_waiting_time() {
    let now = Instant::now();
    let mut lesson = LessonState::new(now, Some(seconds(3)), Some(seconds(2)));
    lesson.server_joined(None, now);
    lesson.paused(seconds(60));
    assert_eq!(lesson.step(now + seconds(61)), Action::Nothing);
    lesson.publisher_joined(user(), 1, now + seconds(61));
    assert_eq!(lesson.step(now + seconds(61)), Action::Connect);
    lesson.paused(seconds(60));
    assert_eq!(lesson.step(now + seconds(122)), Action::Nothing, "the teacher had no time to answer");
    lesson.connected(now + seconds(122));
    lesson.picture_shown(now + seconds(123));
    lesson.paused(seconds(60));
    assert_eq!(lesson.step(now + seconds(184)), Action::Nothing);
    assert_eq!(lesson.step(now + seconds(187)), Action::GiveUpLecture(seconds(2)), "the suspension is over");
}
