//! A student without the page: `tests/browser/raw.js` in an empty page of the server, for messages that the page never
//! sends.

use serde_json::{Value, json};

use super::driver::{Browser, Page};
use crate::support::ROOM;

const RAW: &str = include_str!("../../browser/raw.js");

/// Joins the room and connects to the teacher.
#[track_caller]
pub fn raw_student<'a>(browser: &'a Browser, server: &str, user: u32, nickname: &str) -> Page<'a> {
    // The JSON that the server shows has no script and no policy.
    let page = browser.open_as(&format!("{server}/api/rooms"), json!({"bypassCsp": true}));
    let who = json!({"room": ROOM, "user": user.to_string(), "nickname": nickname});
    page.value(&format!("({})({who})", RAW.trim().trim_end_matches(';')));
    page.wait_until("open channel", "raw.channel.readyState === 'open'");
    page.wait_until("welcome", "raw.received.length > 0");
    page
}

/// Sends this text over the data channel.
#[track_caller]
pub fn says(page: &Page<'_>, message: &Value) {
    page.value(&format!("raw.channel.send(JSON.stringify({message}))"));
}
