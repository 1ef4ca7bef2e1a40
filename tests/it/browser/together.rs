//! Browsers and terminals in one lecture.

use super::driver::Kind;
use super::lab::{Lab, hands, said};
use super::sight::SCREEN;
use crate::support::{DEADLINE, is_picture};

#[test]
fn browsers_and_terminals_see_hear_and_talk_in_one_lecture() {
    let Some(lab) = Lab::new("browsers and terminals", Kind::Chromium) else { return };
    let mut teacher = lab.lecturer(&[]);
    let (anna, ben) = (lab.enters(2001, "Anna"), lab.enters(2002, "Ben"));
    let (mut cleo, mut dan) = (lab.student(1001, "Cleo"), lab.student(1002, "Dan"));

    for page in [&anna, &ben] {
        page.screen_is("live");
        page.sees_the_lecture();
        page.clicks_for_sound();
        page.hears_the_lecture();
        page.sees_moving(SCREEN);
    }

    // Everybody reads everybody's messages.
    anna.says("hello from Anna");
    ben.says("你好，我是 Ben");
    cleo.types("hello from Cleo");
    dan.types("and from Dan");
    teacher.types("welcome, all four");
    let lines = [
        ("2001", "Anna", "hello from Anna"),
        ("2002", "Ben", "你好，我是 Ben"),
        ("1001", "Cleo", "hello from Cleo"),
        ("1002", "Dan", "and from Dan"),
        ("9999", "Ms Li", "welcome, all four"),
    ];
    for (user, nickname, text) in lines {
        for page in [&anna, &ben] {
            page.reads(nickname, text);
        }
        for process in [&cleo, &dan, &teacher] {
            process.wait_for(text, said(user, text));
        }
    }

    // Everybody sees the hands in the order in which they went up.
    ben.clicks("button", "Raise hand");
    teacher.wait_for("a hand", hands(&["2002"]));
    cleo.types("/hand");
    teacher.wait_for("two hands", hands(&["2002", "1001"]));
    anna.value("document.activeElement.blur()");
    anna.presses("h");
    teacher.wait_for("three hands", hands(&["2002", "1001", "2001"]));
    dan.wait_for("three hands", hands(&["2002", "1001", "2001"]));
    for page in [&anna, &ben] {
        page.hands_are(&["Ben", "Cleo", "Anna"]);
    }
    teacher.types("/lower");
    ben.wait_until("hand down", "document.querySelector('#hand').getAttribute('aria-pressed') === 'false'");
    anna.hands_are(&["Cleo", "Anna"]);
    dan.wait_for("two hands", hands(&["1001", "2001"]));

    for page in [&anna, &ben] {
        page.was_calm(&lab.site());
    }
}

#[test]
fn pages_continue_by_themselves_after_the_teacher_was_killed_and_restarted() {
    let Some(lab) = Lab::new("a teacher killed", Kind::Chromium) else { return };
    let mut teacher = lab.lecturer(&[]);
    let (anna, ben) = (lab.enters(2001, "Anna"), lab.enters(2002, "Ben"));
    let cleo = lab.student(1001, "Cleo");
    for page in [&anna, &ben] {
        page.sees_the_lecture();
    }
    anna.says("before");
    ben.reads("Anna", "before");

    teacher.kill();
    for page in [&anna, &ben] {
        page.banner_is("The teacher’s connection broke. Waiting for it to come back…");
        page.wait_until("the last picture stays", "witness.visible('#screen') || witness.visible('#last-picture')");
    }
    let mark = cleo.mark();
    let _teacher = lab.lecturer(&[]);
    for page in [&anna, &ben] {
        page.banner_is("");
        page.sees_the_lecture();
    }
    cleo.wait_since(mark, DEADLINE, "picture after the teacher's return", is_picture);
    anna.says("after");
    ben.reads("Anna", "after");
    ben.reads("Anna", "before");
}
