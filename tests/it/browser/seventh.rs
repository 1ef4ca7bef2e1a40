//! Six pages in a meeting, each connected to each, and a seventh that moves the media to the server.
//!
//! The pages are windows of seven people in one Chromium, so that two cores carry them, with small windows and cameras.
//! The test prints its measurements: `cargo test --test it browser::seventh -- --ignored --nocapture`, with a release
//! build of the server if `$CLASSROOM_BINARY` names one. It asserts that the pictures go on, because for how long they
//! stand still depends on the machine.

use serde_json::{Value, json};

use super::driver::{Kind, Page};
use super::lab::Lab;

/// Notes in `shownAt` when a picture of each user is shown, whichever element shows it.
const FOLLOW: &str = "(() => { \
    globalThis.shownAt = {}; \
    const followed = new WeakSet(); \
    const follow = (video, times) => video.requestVideoFrameCallback(() => { \
        if (!video.hidden) times.push(performance.now()); \
        follow(video, times); \
    }); \
    const look = () => { \
        for (const video of document.querySelectorAll('.tile:not(.is-me) .tile-camera')) { \
            if (followed.has(video)) continue; \
            followed.add(video); \
            follow(video, shownAt[video.closest('.tile').dataset.user] ??= []); \
        } \
    }; \
    new MutationObserver(look).observe(document.body, { childList: true, subtree: true }); \
    look(); \
})()";

/// The number of pictures of each user so far.
const COUNTS: &str = "Object.fromEntries(Object.entries(shownAt).map(([user, times]) => [user, times.length]))";

/// The connections that are open.
const CONNECTIONS: &str = "witness.connections.filter(({ connectionState: state }) => state === 'connected').length";

/// Pictures that are waited for: five seconds of the small camera.
const FIVE_SECONDS: u64 = 25;

/// Waits for five more seconds of the pictures of this many users.
#[track_caller]
fn goes_on(page: &Page<'_>, users: usize) {
    let before = page.value(COUNTS);
    let goes_on =
        |(user, count): (&String, &Value)| count.as_u64() >= Some(before[user].as_u64().unwrap_or(0) + FIVE_SECONDS);
    page.wait("five more seconds", COUNTS, |counts| {
        counts.as_object().is_some_and(|counts| counts.len() == users && counts.iter().all(goes_on))
    });
}

/// The longest time in ms for which the picture of one of these users stood still, in a part of the page's time.
fn longest_freeze(page: &Page<'_>, users: &[u32], from: f64, to: f64) -> f64 {
    let shown = page.value("shownAt");
    let freeze = |user: &u32| {
        let times = shown[user.to_string()].as_array().unwrap();
        let inside = times.iter().filter_map(Value::as_f64).filter(|at| (from..to).contains(at));
        let edges: Vec<f64> = std::iter::once(from).chain(inside).chain([to]).collect();
        edges.windows(2).map(|two| two[1] - two[0]).fold(0.0, f64::max)
    };
    users.iter().map(freeze).fold(0.0, f64::max)
}

/// A person with a small window enters with a camera that is on.
fn enters(lab: &Lab, user: u32) -> Page<'_> {
    let options = json!({"hasSmallCamera": true, "width": 480, "height": 360});
    let page = lab.browser.open_as(&lab.link_of("meeting", user, &format!("P{user}")), options);
    page.wait_until("the entrance", "witness.visible('#entrance')");
    page.wait_until("a camera", "document.querySelector('#own-camera-video')?.videoWidth > 0");
    page.clicks("button", "Enter the meeting");
    page.is_inside();
    page
}

fn now(page: &Page<'_>) -> f64 {
    page.value("performance.now()").as_f64().unwrap()
}

#[test]
#[ignore = "needs two idle cores: cargo test --test it browser::seventh -- --ignored --nocapture"]
fn pictures_go_on_while_the_seventh_moves_a_meeting_to_the_server() {
    let name = "seven in a meeting";
    let Some(lab) = Lab::undisturbed(name, Kind::Chromium) else { return };
    let _server = lab.class.server();
    let users: Vec<u32> = (1001..=1006).collect();
    let pages: Vec<Page<'_>> = users.iter().map(|user| enters(&lab, *user)).collect();
    let others = users.len() - 1;
    for page in &pages {
        page.value(FOLLOW);
    }
    for page in &pages {
        page.wait("pictures of all others", COUNTS, |counts| {
            counts.as_object().is_some_and(|counts| counts.len() == others && counts.values().all(|count| *count != 0))
        });
    }
    let begun: Vec<f64> = pages.iter().map(now).collect();
    for page in &pages {
        goes_on(page, others);
    }

    let moved: Vec<f64> = pages.iter().map(now).collect();
    let seventh = enters(&lab, 1007);
    for page in &pages {
        // One that sends, and one for each of the others.
        page.wait("connections to the server alone", CONNECTIONS, |count| *count == json!(others + 2));
    }
    for page in &pages {
        goes_on(page, others + 1);
    }
    for (n, page) in pages.iter().enumerate() {
        let seen: Vec<u32> = users.iter().copied().filter(|user| *user != users[n]).collect();
        let before = longest_freeze(page, &seen, begun[n], moved[n]);
        let during = longest_freeze(page, &seen, moved[n], now(page));
        println!("{}: longest freeze in the mesh {before:.0} ms, with the move {during:.0} ms", users[n]);
    }
    seventh.sees(1001, "camera");
}
