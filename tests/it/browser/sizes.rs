//! Phones in both orientations, tablets, windows, projectors: the video is as large as possible and nothing is cut off.

use serde_json::{Value, json};

use super::axe::has_axe;
use super::driver::{Kind, Page};
use super::lab::Lab;
use super::manners::is_readable;

/// Width and height in CSS pixels. The last one is 1280x720 at a zoom of 200 %.
const SIZES: [(u32, u32); 13] = [
    (320, 568),
    (568, 320),
    (390, 844),
    (667, 375),
    (844, 390),
    (932, 430),
    (768, 1024),
    (820, 1180),
    (1024, 768),
    (1180, 820),
    (1920, 1080),
    (3840, 2160),
    (640, 360),
];

/// The edges of an element: left, top, right, bottom.
fn edges(page: &Page<'_>, selector: &str) -> [f64; 4] {
    let look = format!(
        "(({{ left, top, right, bottom }}) => [left, top, right, bottom])( \
           document.querySelector('{selector}').getBoundingClientRect())"
    );
    let value = page.value(&look);
    std::array::from_fn(|n| value[n].as_f64().unwrap())
}

/// Visible buttons and fields that reach out of the window.
const OUTSIDE: &str = "[...document.querySelectorAll('button, a, input, textarea, video, #mark-text')]\
    .filter((it) => witness.sees(it) && !it.closest('.users, .extras.open'))\
    .map((it) => [it.id || it.outerHTML.slice(0, 80), it.getBoundingClientRect()])\
    .filter(([, box]) => box.width > 1 && (box.left < -1 || box.top < -1 || \
      box.right > innerWidth + 1 || box.bottom > innerHeight + 1))\
    .map(([what, { left, top, right, bottom }]) => `${what} ${[left, top, right, bottom]}`)";

/// Asserts that no control reaches out of the window, and that nothing scrolls sideways.
#[track_caller]
fn is_whole(page: &Page<'_>, what: &str) {
    assert_eq!(page.value(OUTSIDE), json!([]) as Value, "{what}");
    assert_eq!(page.value("document.scrollingElement.scrollWidth > innerWidth"), json!(false), "{what} scrolls");
}

#[test]
fn at_every_size_nothing_is_cut_off_and_everything_has_a_name() {
    let Some(lab) = Lab::new("sizes", Kind::Chromium) else { return };
    let checks = has_axe("the rules of axe-core at every size");
    let _teacher = lab.class.teacher(&["--test", "--camera=test", "--size", "320x180"]);
    for (number, (width, height)) in SIZES.into_iter().enumerate() {
        let size = format!("{width}x{height}");
        let (lang, scheme) = [("en", "light"), ("zh", "dark")][number % 2];
        let options = json!({"width": width, "height": height, "lang": lang, "scheme": scheme});
        let page = lab.browser.open_as(&lab.link(2001 + number as u32, "Anna"), options);
        page.screen_is("live");
        page.wait_until("chat", "!document.querySelector('#chat-text').disabled");
        is_whole(&page, &size);
        is_readable(&page);
        if checks {
            page.is_accessible(&size);
        }
        // Every menu stays in the window and scrolls if it is too long.
        for (button, menu) in [("#more", "#more-menu"), ("#react", "#react-menu")] {
            if page.value(&format!("witness.visible('{button}')")) != json!(true) {
                continue;
            }
            page.value(&format!("document.querySelector('{button}').click()"));
            let [left, top, right, bottom] = edges(&page, menu);
            let inside = left >= 0.0 && top >= 0.0 && right <= f64::from(width) && bottom <= f64::from(height);
            assert!(inside && bottom - top > 80.0, "{menu} at {size}: {left} {top} {right} {bottom}");
            let reached = format!(
                "[...document.querySelectorAll('{menu} button')].filter(witness.sees).every((it) => {{ \
                it.scrollIntoView({{ block: 'nearest' }}); \
                 const box = it.getBoundingClientRect(); \
                 return document.elementFromPoint(box.left + box.width / 2, \
                   box.top + box.height / 2)?.closest('button') === it; }})"
            );
            assert_eq!(page.value(&reached), json!(true), "every button of {menu} at {size} can be clicked");
            if checks {
                page.is_accessible(&format!("{menu} at {size}"));
            }
            page.presses("Escape");
        }
        page.was_calm(&lab.site());
        page.closes();
    }
}

#[test]
fn in_portrait_the_video_has_the_full_width_and_chat_is_below() {
    let Some(lab) = Lab::new("upright", Kind::Chromium) else { return };
    let _teacher = lab.class.teacher(&["--test", "--size", "320x180"]);
    for (user, (width, height)) in (2001..).zip([(820, 1180), (768, 1024), (390, 844), (320, 568)]) {
        let options = json!({"width": width, "height": height});
        let page = lab.browser.open_as(&lab.link(user, "Anna"), options);
        page.screen_is("live");
        let ([left, top, right, bottom], panel) = (edges(&page, "#screen-video"), edges(&page, "#panel"));
        assert!(left <= 0.5 && right >= f64::from(width) - 0.5, "{width}x{height}: {left} to {right}");
        assert!(
            (bottom - top) * 16.0 / 9.0 > f64::from(width) * 0.99,
            "the whole picture is as wide: {top} to {bottom}"
        );
        assert!(panel[1] >= bottom, "chat is below: {panel:?}");
        assert!(panel[3] - panel[1] > 180.0, "{width}x{height}: there is room for chat: {panel:?}");
        page.closes();
    }
}

#[test]
fn a_keyboard_on_the_screen_leaves_video_and_field_visible() {
    let Some(lab) = Lab::new("a keyboard on the screen", Kind::Chromium) else { return };
    let _teacher = lab.class.teacher(&["--test", "--size", "320x180"]);
    // A phone and a tablet, with the height that remains above a keyboard.
    for (user, (width, height)) in (2001..).zip([(390, 420), (320, 300), (768, 640)]) {
        let page = lab.browser.open_as(&lab.link(user, "Anna"), json!({"width": width, "height": height}));
        page.screen_is("live");
        page.wait_until("chat", "!document.querySelector('#chat-text').disabled");
        // A window fires an event when its size changes; this one has had its size from the start.
        page.value("visualViewport.dispatchEvent(new Event('resize'))");
        page.value("document.querySelector('#chat-text').focus()");
        let (field, video) = (edges(&page, "#chat-text"), edges(&page, "#screen-video"));
        assert!(
            field[3] <= f64::from(height) && field[1] > video[3] - 0.5,
            "{width}x{height}: {field:?} below {video:?}"
        );
        assert!(video[3] - video[1] >= 90.0 && video[1] >= 0.0, "{width}x{height}: {video:?}");
        is_whole(&page, &format!("{width}x{height}"));
        let line = format!("{width}x{height}");
        page.types(&line);
        page.presses("Enter");
        page.reads("Anna", &line);
        page.closes();
    }
}
