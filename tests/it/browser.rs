//! The page in real browsers, beside students in terminals, on the real program that teaches a real file.
//!
//! A test reads like a script: who opens what, sees, says and clicks. The browsers are driven by `tests/browser`, which
//! `bin/setup --test` prepares.

mod driver;
mod raw;
mod sight;

use driver::{Kind, browser};
use raw::raw_student;

use crate::support::{Classroom, ROOM};

/// Where the page of this class is.
fn site(class: &Classroom) -> String {
    class.url().replace("ws://", "http://")
}

#[test]
fn smoke() {
    let Some(browser) = browser("smoke", Kind::Chromium) else { return };
    let class = Classroom::new();
    let _teacher = class.lecturer();
    let page = browser.open(&site(&class));
    page.shows(ROOM);
    let raw = raw_student(&browser, &site(&class), 1001, "<b>x</b>");
    let code = "(() => { const v = document.createElement('video'); v.muted = true; v.srcObject = new MediaStream([raw.connection.getReceivers()[1].track]); const d = document.createElement('div'); d.id='screen'; d.append(v); document.body.append(d); v.play(); const a = new Audio(); a.srcObject = new MediaStream([raw.connection.getReceivers()[0].track]); a.play() })()";
    raw.value(code);
    raw.sees_the_lecture();
    raw.hears_the_lecture();
}
