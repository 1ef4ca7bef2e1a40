//! Order in the room, as a student's page shows it: muted, slowed down, cleared.

use serde_json::json;

use super::driver::Kind;
use super::lab::{LINES, Lab, said};
use super::raw::{raw_student, says};

/// The placeholder of the chat field, and whether the field is disabled.
const FIELD: &str = "(({placeholder, disabled}) => [placeholder, disabled])(document.querySelector('#chat-text'))";

/// The refused thing, in words.
const REFUSAL: &str = "document.querySelector('#chat-error').textContent";

#[test]
fn a_muted_student_reads_why_and_no_client_can_bypass_that() {
    let Some(lab) = Lab::new("muted", Kind::Chromium) else { return };
    let mut teacher = lab.lecturer(&[]);
    let anna = lab.enters(2001, "Anna");
    let free = json!(["Write to everybody", false]);
    anna.wait("a field", FIELD, |field| *field == free);
    let evil = raw_student(&lab.browser, &lab.site(), 666, "Eve");
    teacher.types("/mute all");
    let muted = json!(["You are muted. You can raise your hand.", true]);
    anna.wait("a field that says why", FIELD, |field| *field == muted);
    anna.wait("a word for who listens", "document.querySelector('#announce').textContent", |text| *text == muted[0]);
    anna.wait_until("no reactions", "document.querySelector('#react').ariaDisabled === 'true'");
    evil.wait_until("permissions", "raw.received.some(({ type, chat }) => type === 'allows' && chat === false)");
    for message in [json!({"type": "msg", "text": "ha"}), json!({"type": "moderate", "order": "unmuteAll"})] {
        says(&evil, &message);
        // An error comes once a second at most.
        evil.value("new Promise((done) => setTimeout(done, 1_100))");
    }
    for code in ["muted", "notAllowed"] {
        evil.wait_until(
            code,
            &format!("raw.received.some(({{ type, code }}) => type === 'error' && code === '{code}')"),
        );
    }
    // A student who comes later is muted, too.
    let ben = lab.enters(2002, "Ben");
    ben.wait("a field that says why", FIELD, |field| *field == muted);
    teacher.types("/unmute anna");
    anna.wait("a field", FIELD, |field| *field == free);
    anna.says("thank you");
    teacher.wait_for("a message", said("2001", "thank you"));
    assert_eq!(ben.value(FIELD), muted);
    teacher.types("/unmute all");
    ben.wait("a field", FIELD, |field| *field == free);
    assert!(!teacher.events().iter().any(|event| event["event"] == "chat" && event["user"] == "666"));
    anna.was_calm(&lab.site());
}

#[test]
fn in_slow_mode_the_words_come_back_and_a_cleared_chat_is_gone() {
    let Some(lab) = Lab::new("slow mode", Kind::Chromium) else { return };
    let mut teacher = lab.lecturer(&[]);
    let anna = lab.enters(2001, "Anna");
    anna.sees_the_lecture();
    anna.value("document.activeElement.blur()");
    anna.presses("d");
    teacher.types("/slow 1m");
    anna.wait("a field", FIELD, |field| *field == json!(["Write once in 60 seconds", false]));
    anna.says("one");
    anna.reads("Anna", "one");
    anna.says("two");
    let refusal = anna.wait(REFUSAL, REFUSAL, |text| text != "");
    let words = refusal.as_str().unwrap_or_default();
    assert!(words.starts_with("Not so fast: your next message may come in "), "{words}");
    assert_eq!(anna.value("document.querySelector('#chat-text').value"), json!("two"));
    teacher.types("/slow off");
    anna.wait("no more complaint", REFUSAL, |text| text == "");
    anna.says("three");
    anna.reads("Anna", "three");

    anna.wait_until("a line that flies", "document.querySelector('#danmaku').childElementCount > 0");
    teacher.types("/clear");
    anna.wait("an empty chat", LINES, |lines| *lines == json!([]));
    assert_eq!(anna.value("document.querySelector('#danmaku').childElementCount"), json!(0));
    anna.wait_until("the words for an empty chat", "witness.visible('#chat-empty')");
    teacher.types("let us begin again");
    anna.wait("a new line", LINES, |lines| *lines == json!([["Ms Li", "let us begin again"]]));
    let ben = lab.enters(2002, "Ben");
    ben.wait("the same line", LINES, |lines| *lines == json!([["Ms Li", "let us begin again"]]));
    anna.was_calm(&lab.site());
}
