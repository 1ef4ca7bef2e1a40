//! What a student does when.

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
