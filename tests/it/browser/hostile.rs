//! Hostile students, and machines that hang. The class continues.

use serde_json::json;

use super::driver::{Kind, Page};
use super::lab::{LINES, Lab, said};
use super::raw::{raw_student, says};
use super::sight::SCREEN;
use crate::support::{DEADLINE, Process, ROOM, is_picture};

/// Scripts that would run in HTML: in an element, an attribute, a link.
const SCRIPTS: [&str; 4] = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(2)>",
    "\"><svg onload=alert(3)>",
    "javascript:alert(4)//{{7*7}}${alert(5)}",
];

/// Asserts that the class continues: video moves on a page and in a terminal, from now on.
#[track_caller]
fn goes_on(page: &Page<'_>, student: &Process) {
    let mark = student.mark();
    page.sees_moving(SCREEN);
    student.wait_since(mark, DEADLINE, "picture", is_picture);
}

/// Asserts that other people's input became only text.
#[track_caller]
fn is_text_only(page: &Page<'_>) {
    let elements = "document.querySelectorAll('#chat-lines :is(script, img, svg, a, iframe), \
        #users :is(script, img, a), .title :is(script, img, svg), .danmaku :is(script, img, svg)').length";
    assert_eq!(page.value(elements), json!(0));
    let scripts = "[...document.scripts].filter((script) => !script.src).length";
    assert_eq!(page.value(scripts), json!(0));
}

#[test]
fn markup_in_names_and_chat_stays_text() {
    let Some(lab) = Lab::new("markup", Kind::Chromium) else { return };
    let name = "<b onclick=alert(0)>Room</b>";
    let _teacher = lab.lecturer(&["--name", name]);
    let (anna, cleo) = (lab.enters(2001, "Anna"), lab.student(1001, "Cleo"));
    anna.sees_the_lecture();
    // Also over the video, where a student wants that.
    anna.value("document.activeElement.blur()");
    anna.presses("d");
    assert_eq!(anna.value("document.querySelector('#danmaku-toggle').getAttribute('aria-pressed')"), json!("true"));
    // A name in the link of somebody who opens the page.
    let own = lab.enters(2002, "%3Cimg%20src%3Dx%20onerror%3Dalert(6)%3E");
    own.is("<img src=x onerror=alert(6)>");
    // Names and messages of somebody without the page.
    let evil = raw_student(&lab.browser, &lab.site(), 666, SCRIPTS[1]);
    for script in SCRIPTS {
        says(&evil, &json!({"type": "msg", "text": script, "userId": "9999", "nickname": "Ms Li", "pub": "pub"}));
        anna.reads(SCRIPTS[1], script);
        cleo.wait_for(script, said("666", script));
    }
    says(&evil, &json!({"type": "hand", "raised": true}));
    anna.hands_are(&[SCRIPTS[1]]);
    anna.clicks("tab", "People 5");
    anna.shows("<img src=x onerror=alert(6)>");
    anna.shows(name);
    for page in [&anna, &own] {
        is_text_only(page);
    }
    let list = lab.browser.open(&lab.site());
    list.shows(name);
    is_text_only(&list);
    for page in [&anna, &own, &list] {
        page.was_calm(&lab.site());
    }
    goes_on(&anna, &cleo);
}

#[test]
fn control_characters_and_overrides_are_removed_from_names_and_chat() {
    let Some(lab) = Lab::new("control characters", Kind::Chromium) else { return };
    let _teacher = lab.lecturer(&[]);
    let (anna, cleo) = (lab.enters(2001, "Anna"), lab.student(1001, "Cleo"));
    anna.sees_the_lecture();
    let evil = raw_student(&lab.browser, &lab.site(), 666, "E\u{202e}v\u{7}il\u{2066}\u{200f}");
    says(&evil, &json!({"type": "msg", "text": "a\u{202e}b\u{0}c\u{1b}[2Jd\u{7}\u{2067}\r\n\u{2028}e\u{feff}"}));
    anna.wait("the words", LINES, |lines| lines.as_array().is_some_and(|lines| !lines.is_empty()));
    let line = &anna.value(LINES)[0];
    assert_eq!(line[0], "Evil");
    let text = line[1].as_str().unwrap();
    assert!(text.starts_with("abc[2Jd") && text.trim_end_matches('\u{feff}').ends_with('e'), "{text:?}");
    let bad = |c: char| c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{2028}');
    assert!(!text.contains(bad), "{text:?}");
    let heard = cleo.wait_for("the words", |event| event["event"] == "chat" && event["user"] == "666");
    assert_eq!((heard["text"].as_str(), heard["nickname"].as_str()), (Some(text), Some("Evil")));
    goes_on(&anna, &cleo);
}

#[test]
fn a_megabyte_is_refused_everywhere() {
    let Some(lab) = Lab::new("a megabyte", Kind::Chromium) else { return };
    let _teacher = lab.lecturer(&[]);
    let (anna, cleo) = (lab.enters(2001, "Anna"), lab.student(1001, "Cleo"));
    anna.sees_the_lecture();
    let evil = raw_student(&lab.browser, &lab.site(), 666, "Evil");
    // Longer than a message may be, over the data channel: refused, and the next message arrives.
    evil.value("raw.channel.send(JSON.stringify({type: 'msg', text: 'x'.repeat(20_000)}))");
    evil.wait_until("refusal", "raw.received.some((message) => message.code === 'messageTooLarge')");
    says(&evil, &json!({"type": "msg", "text": "x".repeat(5_000)}));
    let cut = "x".repeat(1_000);
    anna.reads("Evil", &cut);
    // Longer than the channel may carry: the channel breaks for the sender alone.
    evil.value("try { raw.channel.send('x'.repeat(1_000_000)) } catch (error) { raw.refused = error.name }");
    evil.wait_until(
        "an end of it",
        "raw.refused !== undefined || raw.channel.readyState === 'closed' || \
        raw.received.filter((message) => message.code === 'messageTooLarge').length > 1",
    );
    goes_on(&anna, &cleo);
    // Over the WebSocket.
    evil.value("raw.socket.send(JSON.stringify({type: 'offer', targetUid: '9999', sdp: 'v'.repeat(1_000_000)}))");
    evil.wait("end of the WebSocket", "raw.closed", |closed| !closed.is_null());
    // In a link, in the body of a new room, and in a student's name.
    let list = lab.browser.open(&lab.site());
    let status = |code: &str| list.value(&format!("{code}.then((response) => response.status, () => 'cut off')"));
    let link = status(&format!("fetch('/room/{ROOM}?nickname=' + 'x'.repeat(1_000_000))"));
    assert!(link == "cut off" || link.as_u64().is_some_and(|status| (400..500).contains(&status)), "{link}");
    let body = status(
        "fetch('/api/rooms', {method: 'POST', headers: {'content-type': 'application/json'}, \
        body: JSON.stringify({name: 'x'.repeat(1_000_000)})})",
    );
    assert!(body == "cut off" || body.as_u64().is_some_and(|status| (400..500).contains(&status)), "{body}");
    let long = lab.enters(2002, &"%F0%9F%98%80".repeat(500));
    long.sees_moving(SCREEN);
    goes_on(&anna, &cleo);
}

#[test]
fn a_chat_flood_is_refused_to_its_sender_and_hardly_affects_others() {
    let Some(lab) = Lab::undisturbed("a flood", Kind::Chromium) else { return };
    let teacher = lab.lecturer(&[]);
    let (anna, cleo) = (lab.enters(2001, "Anna"), lab.student(1001, "Cleo"));
    anna.sees_the_lecture();
    let evil = raw_student(&lab.browser, &lab.site(), 666, "Evil");
    let mark = cleo.mark();
    // 200 messages a second for three seconds.
    evil.value(
        "raw.sent = 0; raw.flood = setInterval(() => { \
           for (let n = 0; n < 10; n += 1) \
             raw.channel.send(JSON.stringify({type: 'msg', text: 'flood ' + (raw.sent += 1)})); \
           if (raw.sent >= 600) clearInterval(raw.flood); }, 50); null",
    );
    anna.sees_moving(SCREEN);
    anna.says("I can still speak");
    evil.wait("end of the flood", "raw.sent", |sent| sent.as_u64() >= Some(600));
    anna.reads("Anna", "I can still speak");
    cleo.wait_for("a line of the flood", said("666", "flood 1"));
    cleo.wait_since(mark, DEADLINE, "Anna's words", said("2001", "I can still speak"));
    let errors = evil.wait(
        "complaint",
        "raw.received.filter((message) => message.code === 'floodedMessages').length",
        |count| count.as_u64() > Some(0),
    );
    assert!(errors.as_u64() <= Some(6), "one a second: {errors}");
    goes_on(&anna, &cleo);
    // Ten at once and three a second: what others get of 600 messages in three seconds.
    let of_evil = |process: &Process| {
        process.events().iter().filter(|event| event["event"] == "chat" && event["user"] == "666").count()
    };
    let lines = anna.value(&format!("{LINES}.filter(([who]) => who === 'Evil').length"));
    for count in [of_evil(&cleo), of_evil(&teacher), lines.as_u64().unwrap() as usize] {
        assert!((10..=40).contains(&count), "{count} of 600");
    }
    let frozen = |event: &serde_json::Value| is_picture(event) && event["fps"].as_f64() < Some(12.0);
    assert!(!cleo.events()[mark..].iter().any(frozen), "pictures go on for others");
}

#[test]
fn a_page_that_hangs_for_ten_seconds_harms_nobody_and_recovers() {
    let Some(lab) = Lab::new("a page that hangs", Kind::Chromium) else { return };
    let mut teacher = lab.lecturer(&[]);
    let (anna, cleo) = (lab.enters(2001, "Anna"), lab.student(1001, "Cleo"));
    // Another process, as on another machine.
    let hangs = lab.enters(2002, "Ben");
    for page in [&anna, &hangs] {
        page.sees_the_lecture();
    }
    hangs.value(
        "setTimeout(() => { \
           const end = Date.now() + 10_000; while (Date.now() < end); window.wokeUp = true; }, 0); null",
    );
    for n in 1..=3 {
        let text = format!("number {n}");
        teacher.types(&text);
        anna.reads("Ms Li", &text);
        goes_on(&anna, &cleo);
    }
    // The renderer does not respond until then.
    hangs.wait_until("end of the pause", "window.wokeUp === true");
    hangs.sees_moving(SCREEN);
    hangs.reads("Ms Li", "number 3");
    goes_on(&anna, &cleo);
}
