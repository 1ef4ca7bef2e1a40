//! Accessible names, the keyboard, the language, and few bytes.

use serde_json::{Value, json};

use super::driver::{Kind, Page};
use super::lab::Lab;

/// The most bytes of a first visit to a room, headers included.
const MAX_BYTES: f64 = 60_000.0;

/// Everything visible and usable, with its role and its name for screen readers.
const CONTROLS: &str = "[...document.querySelectorAll('a, button, input, textarea, select, video, [tabindex], \
    [role=button]')]\
    .filter((it) => witness.sees(it) && !it.closest('[aria-hidden=true]') && it.tabIndex !== -1)\
    .map((it) => ({ what: it.outerHTML.slice(0, 120), role: it.computedRole, name: it.computedName }))";

const HEADINGS: &str = "[...document.querySelectorAll('h1, h2, h3, h4')].filter((it) => witness.sees(it))\
    .map((it) => [Number(it.tagName[1]), it.computedName])";

/// Asserts that everything has a name, and that headings descend by one level from a single h1.
#[track_caller]
pub fn is_readable(page: &Page<'_>) {
    let controls = page.value(CONTROLS);
    let controls = controls.as_array().unwrap();
    assert!(controls.len() >= 3, "{controls:?}");
    for control in controls {
        assert!(control["name"].as_str().is_some_and(|name| !name.trim().is_empty()), "without a name: {control}");
        assert_ne!(control["role"], "generic", "{control}");
    }
    let headings = page.value(HEADINGS);
    let headings = headings.as_array().unwrap();
    let levels: Vec<u64> = headings.iter().filter_map(|heading| heading[0].as_u64()).collect();
    assert_eq!(levels.iter().filter(|level| **level == 1).count(), 1, "{headings:?}");
    assert!(levels.windows(2).all(|pair| pair[1] <= pair[0] + 1), "no level is left out: {headings:?}");
    assert!(headings.iter().all(|heading| heading[1] != ""), "{headings:?}");
    let landmarks = "['main', 'header'].every((name) => document.querySelector(name)?.checkVisibility() !== undefined)";
    assert_eq!(page.value(landmarks), json!(true));
}

#[test]
fn a_screen_reader_finds_a_name_for_everything() {
    let Some(lab) = Lab::new("names", Kind::Chromium) else { return };
    let _teacher = lab.class.teacher(&["--test", "--camera=test", "--size", "320x180"]);
    let page = lab.browser.open(&lab.site());
    page.shows("10013");
    is_readable(&page);
    page.goes_to(&format!("{}/room/10013", lab.site()));
    page.screen_is("ask");
    is_readable(&page);
    page.goes_to(&lab.link(2001, "Anna"));
    page.screen_is("live");
    page.sees_moving("#camera-video");
    is_readable(&page);
    page.clicks("button", "React");
    is_readable(&page);
    page.presses("Escape");
    page.clicks("button", "People");
    is_readable(&page);
    page.goes_to(&format!("{}/room/10014?userId=2001&nickname=Anna", lab.site()));
    page.screen_is("waiting");
    is_readable(&page);
    page.was_calm(&lab.site());
}

#[test]
fn the_page_speaks_the_language_of_the_browser() {
    let Some(lab) = Lab::new("languages", Kind::Chromium) else { return };
    let _server = lab.class.server();
    for (browser, page_language, list, room) in [
        ("en-GB", "en", "No room is open yet", "The teacher is not here yet"),
        ("zh-CN", "zh", "还没有开放的教室", "老师还没有来"),
        ("fr-FR", "en", "No room is open yet", "The teacher is not here yet"),
    ] {
        let page = lab.browser.open_as(&lab.site(), json!({"lang": browser}));
        page.shows(list);
        let lang = page.value("document.documentElement.lang");
        assert!(lang.as_str().is_some_and(|lang| lang.starts_with(page_language)), "{lang} for {browser}");
        page.goes_to(&lab.link(2001, "Anna"));
        page.shows(room);
        is_readable(&page);
        page.was_calm(&lab.site());
        page.closes();
    }
}

#[test]
fn the_keyboard_reaches_chat_and_hand() {
    let Some(lab) = Lab::new("the keyboard", Kind::Chromium) else { return };
    let teacher = lab.class.teacher(&["--test", "--size", "320x180"]);
    let page = lab.enters(2001, "Anna");
    page.screen_is("live");
    page.wait_until("chat", "!document.querySelector('#chat-text').disabled");
    let mut reached = Vec::new();
    while !["hand", "chat-text"].iter().all(|id| reached.contains(&json!(id))) {
        assert!(reached.len() < 60, "Tab reaches {reached:?}");
        page.presses("Tab");
        reached.push(page.value("document.activeElement.id"));
    }
    // The focus must be visible.
    let outline = page.value(
        "getComputedStyle(document.activeElement).outlineStyle + getComputedStyle(document.activeElement).boxShadow",
    );
    assert_ne!(outline, "nonenone", "no ring around {:?}", reached.last());
    page.value("document.querySelector('#hand').focus()");
    let up = |raised: bool| {
        move |event: &Value| event["event"] == "hand" && event["user"] == "2001" && event["raised"] == raised
    };
    page.presses("Space");
    teacher.wait_for("a hand", up(true));
    page.wait_until("a hand", "document.querySelector('#hand').getAttribute('aria-pressed') === 'true'");
    page.presses("h");
    teacher.wait_for("no hand", up(false));
    // In the chat field, the shortcut is a letter.
    page.presses("c");
    page.types("h");
    page.presses("Enter");
    page.reads("Anna", "h");
}

#[test]
fn full_screen_by_key_hides_the_bar_and_restores_the_panel() {
    let Some(lab) = Lab::new("full screen by key", Kind::Chromium) else { return };
    let _teacher = lab.class.teacher(&["--test", "--size", "320x180"]);
    let page = lab.enters(2001, "Anna");
    page.screen_is("live");
    page.wait_until("a panel", "witness.visible('#panel')");
    page.presses("f");
    page.wait_until("full screen", "document.fullscreenElement !== null && !witness.visible('#panel')");
    let bar = |is_there: bool| {
        let opacity =
            format!("getComputedStyle(document.querySelector('#controls')).opacity === '{}'", u8::from(is_there));
        page.wait_until(if is_there { "a bar" } else { "no bar" }, &opacity);
    };
    bar(false);
    // Keyboard users see the focus.
    page.presses("Tab");
    bar(true);
    bar(false);
    page.presses("f");
    page.wait_until("no full screen", "document.fullscreenElement === null && witness.visible('#panel')");
    bar(true);
    // A closed panel stays closed.
    page.clicks("button", "Close");
    page.clicks("button", "Full screen");
    page.wait_until("full screen", "document.fullscreenElement !== null");
    page.presses("f");
    page.wait_until("no full screen", "document.fullscreenElement === null");
    assert_eq!(page.value("witness.visible('#panel')"), json!(false));
    page.was_calm(&lab.site());
}

#[test]
fn addresses_in_chat_are_links_and_escape_leaves_the_field() {
    let Some(lab) = Lab::new("links in chat", Kind::Chromium) else { return };
    let _teacher = lab.class.teacher(&["--test", "--size", "320x180"]);
    let page = lab.enters(2001, "Anna");
    page.screen_is("live");
    page.wait_until("chat", "!document.querySelector('#chat-text').disabled");
    let text = "see http://lab/a?b=1&c=2, (https://lab/wiki/A_(b)). javascript:alert(1) http://lab/\"onclick=x \
        请看https://lab/d。";
    page.says(text);
    page.reads("Anna", text);
    let links = "[...document.querySelectorAll('#chat-lines a')].map((a) => [a.textContent, a.href, a.target, a.rel])";
    let links = page.value(links);
    let link = |shown: &str, to: &str| json!([shown, to, "_blank", "noopener noreferrer"]);
    let wanted = json!([
        link("http://lab/a?b=1&c=2", "http://lab/a?b=1&c=2"),
        link("https://lab/wiki/A_(b)", "https://lab/wiki/A_(b)"),
        link("http://lab/", "http://lab/"),
        link("https://lab/d", "https://lab/d"),
    ]);
    assert_eq!(links, wanted);
    is_readable(&page);

    // One is singular.
    let fills = "const text = document.querySelector('#chat-text'); text.value = 'x'.repeat(999); \
        text.dispatchEvent(new Event('input'))";
    page.value(&format!("(() => {{ {fills} }})()"));
    page.shows("1 character left");
    assert!(!page.value("witness.text()").as_str().unwrap().contains("1 characters"));

    page.wait_until("focus in chat", "document.activeElement.id === 'chat-text'");
    page.presses("Escape");
    page.wait_until("no focus in chat", "document.activeElement === document.body");
    // The letter is a shortcut again.
    page.presses("i");
    page.wait_until("numbers", "witness.visible('#stats')");
    page.was_calm(&lab.site());
}

#[test]
fn a_first_visit_takes_less_than_60_kilobytes() {
    let Some(lab) = Lab::new("the weight", Kind::Chromium) else { return };
    let _teacher = lab.class.teacher(&["--test", "--size", "320x180"]);
    let page = lab.enters(2001, "Anna");
    page.screen_is("live");
    let bytes = page.value(
        "[...performance.getEntriesByType('navigation'), ...performance.getEntriesByType('resource')]\
           .map((entry) => [new URL(entry.name).pathname.split('/').pop(), entry.transferSize])",
    );
    let files = bytes.as_array().unwrap();
    let sum: f64 = files.iter().filter_map(|file| file[1].as_f64()).sum();
    // A file that is used twice is transferred once.
    let nothing = files.iter().filter(|file| file[1] == 0).count();
    assert!(files.len() > 3 && nothing <= 1, "{bytes}");
    assert!(sum < MAX_BYTES, "{sum} bytes: {bytes}");
    // The second visit transfers only what is not cached: the page itself.
    page.reloads();
    page.screen_is("live");
    let again = page.value("performance.getEntriesByType('resource').filter((entry) => entry.transferSize > 0).length");
    assert_eq!(again, json!(0), "files are kept");
}
