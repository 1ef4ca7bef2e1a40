//! The end of a lecture, and what later visitors and a reload show.

use serde_json::json;

use super::driver::Kind;
use super::lab::Lab;
use super::sight::SCREEN;

#[test]
fn a_student_who_joins_after_the_teacher_left_reads_that_the_lecture_continues_by_itself() {
    let Some(lab) = Lab::new("after the end", Kind::Chromium) else { return };
    let _server = lab.class.server();
    let mut teacher = lab.class.guest_lecturer();
    let anna = lab.enters(2001, "Anna");
    anna.sees_the_lecture();
    teacher.interrupt();
    teacher.ends_with(0);
    let ben = lab.enters(2002, "Ben");
    for page in [&anna, &ben] {
        page.screen_is("waiting");
        page.shows("The teacher has left");
        page.shows("When the teacher is back, the lecture goes on here by itself. Keep this page open.");
    }
    let _teacher = lab.class.guest_lecturer();
    for page in [&anna, &ben] {
        page.screen_is("live");
        page.sees_moving(SCREEN);
    }
    ben.was_calm(&lab.site());
}

#[test]
fn a_reload_without_a_server_shows_the_page_and_what_happened() {
    let Some(lab) = Lab::new("a reload without a server", Kind::Chromium) else { return };
    let mut teacher = lab.lecturer(&[]);
    let anna = lab.enters(2001, "Anna");
    anna.sees_the_lecture();
    anna.wait_until("a copy of the page", "Boolean(navigator.serviceWorker.controller)");
    teacher.interrupt();
    teacher.ends_with(0);
    anna.shows("The teacher has left");
    for _ in 0..2 {
        anna.reloads();
        anna.shows("The teacher has left");
        anna.shows("When the teacher is back, the lecture goes on here by itself. Keep this page open.");
    }
    // The list of rooms is served by the same page.
    let list = anna.another_window(&lab.site());
    list.shows("The server does not answer. We keep trying.");
    list.closes();
    let _teacher = lab.lecturer(&[]);
    anna.screen_is("live");
    anna.sees_the_lecture();
    // The server's page takes precedence over the cached one.
    let from = anna.value("performance.timeOrigin");
    anna.reloads();
    anna.wait("another load", "performance.timeOrigin", |origin| *origin != from && *origin != json!(null));
    anna.screen_is("live");
    anna.sees_the_lecture();
}
