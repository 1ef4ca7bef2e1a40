//! Every screen that a student may meet, reached as a student would reach it.

use serde_json::json;

use super::driver::{Kind, Page};
use super::lab::Lab;
use super::sight::SCREEN;
use crate::support::{Process, ROOM, lecture_file};

/// Waits until a room in the list shows these words.
#[track_caller]
fn lists(page: &Page<'_>, room: &str, words: &[&str]) {
    let look = format!("witness.text('[data-room=\"{room}\"]')");
    page.wait(&format!("room {room} with {words:?}"), &look, |text| {
        words.iter().all(|word| text.as_str().unwrap_or("").contains(word))
    });
}

#[test]
fn the_list_shows_rooms_empty_waiting_live_and_ended() {
    let Some(lab) = Lab::new("the list", Kind::Chromium) else { return };
    let mut server = lab.class.server();
    let page = lab.browser.open(&lab.site());
    page.shows("No room is open yet");
    let student = lab.class.student(1001, &[]);
    lists(&page, ROOM, &["Waiting", "No teacher yet", "1 here"]);
    let mut teacher = lab.class.guest_lecturer();
    lists(&page, ROOM, &["Live", "9999 teaches"]);
    teacher.interrupt();
    teacher.ends_with(0);
    // The student who is there waits for the next teacher.
    lists(&page, ROOM, &["Waiting", "No teacher yet", "1 here"]);
    let mut teacher = lab.class.last_lecturer();
    lists(&page, ROOM, &["Live", "9999 teaches"]);
    teacher.interrupt();
    teacher.ends_with(0);
    drop(student);
    lists(&page, ROOM, &["Ended"]);
    page.was_calm(&lab.site());

    // From the list into the room.
    page.clicks("textbox", "Room number");
    page.types("no room");
    page.presses("Enter");
    page.shows("A room number has 1 to 64 letters, digits, dots, dashes or underscores.");
    page.fills("Room number", "10014");
    page.presses("Enter");
    page.wait_until("the room's address", "location.pathname === '/room/10014'");
    page.screen_is("ask");

    page.goes_to(&lab.site());
    server.kill();
    page.shows("The server does not answer. We keep trying.");
    let _server = lab.class.server();
    page.shows("No room is open yet");
}

#[test]
fn a_room_is_created_its_link_followed_and_the_lecture_starts_and_ends_by_itself() {
    let Some(lab) = Lab::new("a room of one's own", Kind::Chromium) else { return };
    let _server = lab.class.server();
    let page = lab.browser.open(&lab.site());
    page.fills("Name of the room", "Linear algebra <1>");
    page.clicks("button", "Create");
    let link = page.wait("link", "document.querySelector('#share-link').textContent", |link| link != "");
    let link = link.as_str().unwrap();
    let room = link.rsplit('/').next().unwrap();
    assert_eq!(link, format!("{}/room/{room}", lab.site()));
    lists(&page, room, &["Waiting", "Linear algebra <1>"]);

    // A student follows the link, is asked once, and waits.
    let anna = lab.browser.open(link);
    anna.screen_is("ask");
    anna.shows("Who are you?");
    anna.presses("Enter");
    anna.shows("Please write your name.");
    // The field has the focus, and a name is enough.
    anna.types("Anna");
    anna.presses("Enter");
    anna.screen_is("waiting");
    anna.shows("The teacher is not here yet");
    anna.shows("You are the first.");
    anna.shows("Linear algebra <1>");

    let (file, server) = (lecture_file().to_str().unwrap(), lab.class.url());
    let teach = ["teach", "--room", room, "--file", file, "--loop", "--server", &server, "--udp-port", "0"];
    let mut teacher = Process::start("teacher", lab.class.command(&teach));
    anna.screen_is("live");
    anna.sees_the_lecture();
    // The teacher leaves, and returns to a waiting class.
    teacher.interrupt();
    teacher.ends_with(0);
    anna.screen_is("waiting");
    anna.shows("The teacher has left");
    let mut teacher = Process::start("teacher", lab.class.command(&[&teach[..], &["--end-class"]].concat()));
    anna.screen_is("live");
    anna.sees_the_lecture();
    lists(&page, room, &["Live", "1 watching"]);

    // This browser remembers the student, with an id that nobody had to enter or to see.
    let id = "JSON.parse(localStorage.getItem('classroom.me')).userId";
    let before = anna.value(id);
    assert!(before.as_str().is_some_and(|id| id.len() == 8 && id.starts_with("s-")), "{before}");
    anna.reloads();
    anna.screen_is("live");
    anna.is("Anna");
    assert_eq!(anna.value(id), before);
    anna.sees_the_lecture();
    anna.clicks("button", "People");
    anna.shows("You are Anna");
    assert!(!anna.value("witness.text()").as_str().unwrap().contains(before.as_str().unwrap()));
    let later = anna.another_window(&lab.site());
    later.closes();

    teacher.interrupt();
    teacher.ends_with(0);
    anna.screen_is("ended");
    anna.shows("The lecture is over");
    // The lecture continues when the teacher returns.
    let _teacher = Process::start("teacher", lab.class.command(&teach));
    anna.screen_is("live");
    anna.sees_the_lecture();
    anna.was_calm(&lab.site());
}

#[test]
fn wrong_links_and_ids_get_a_sentence_and_a_remedy() {
    let Some(lab) = Lab::new("wrong links", Kind::Chromium) else { return };
    let _teacher = lab.class.lecturer();
    let _taken = lab.student(1001, "Cleo");
    for path in ["/room/no%20room", "/room/%3Cscript%3E", "/room/%FF", "/nowhere", &format!("/room/{}", "9".repeat(65))]
    {
        let page = lab.browser.open(&format!("{}{path}", lab.site()));
        page.shows("There is no such page");
        page.shows("A room's id has 1 to 64 letters, digits, dots, dashes or underscores.");
        page.clicks("link", "All rooms 所有教室");
        lists(&page, ROOM, &["Live"]);
        page.closes();
    }
    let link = format!("{}/room/{ROOM}", lab.site());
    let page = lab.browser.open(&format!("{link}?userId=a%20b&nickname=Anna"));
    page.screen_is("ask");
    page.shows("An id has 1 to 64 letters");
    page.wait_until("focus where it is wrong", "document.activeElement.id === 'ask-id'");
    page.fills("Student number or id", "a/b");
    page.clicks("button", "Enter the room");
    page.shows("An id has 1 to 64 letters");

    // Somebody else uses this id in the room; without another id, the student can't join.
    page.goes_to(&lab.link(1001, "Anna"));
    page.screen_is("error");
    page.shows("This id is in use");
    page.shows("Somebody else is in the room as 1001. Choose another id.");
    page.clicks("button", "Enter the room");
    page.screen_is("live");
    page.sees_the_lecture();
    page.was_calm(&lab.site());
}

#[test]
fn a_full_room_says_so_and_admits_the_next_student() {
    let Some(lab) = Lab::new("a full room", Kind::Chromium) else { return };
    let teacher = lab.lecturer(&["--max-students", "1"]);
    let mut cleo = lab.student(1001, "Cleo");
    let anna = lab.enters(2001, "Anna");
    anna.screen_is("error");
    anna.shows("The room is full");
    // The sentences of the teacher's program are for a terminal: a student has no use for its flags.
    assert!(!anna.value("witness.text()").as_str().unwrap().contains("--"));
    let mark = teacher.mark();
    cleo.interrupt();
    cleo.ends_with(0);
    teacher.wait_since(mark, crate::support::DEADLINE, "a free place", crate::support::user_is(1001, &["left"]));
    anna.clicks("button", "Try again");
    anna.screen_is("live");
    anna.sees_the_lecture();
}

#[test]
fn a_missing_server_does_not_stop_the_video() {
    let Some(lab) = Lab::new("a server gone", Kind::Chromium) else { return };
    let mut server = lab.class.server();
    let _teacher = lab.class.guest_lecturer();
    let anna = lab.enters(2001, "Anna");
    anna.sees_the_lecture();
    server.kill();
    anna.banner_is("The server is out of reach. The lecture goes on; reconnecting…");
    anna.sees_moving(SCREEN);
    let _server = lab.class.server();
    anna.banner_is("");
    anna.sees_moving(SCREEN);
    let ben = lab.enters(2002, "Ben");
    ben.sees_the_lecture();
    anna.says("here again");
    ben.reads("Anna", "here again");
}

#[test]
fn one_id_has_one_window_and_either_window_may_take_it() {
    let Some(lab) = Lab::new("two windows", Kind::Chromium) else { return };
    let _teacher = lab.class.lecturer();
    let first = lab.enters(2001, "Anna");
    first.sees_the_lecture();
    let second = first.another_window(&lab.link(2001, "Anna"));
    second.sees_the_lecture();
    first.screen_is("error");
    first.shows("Opened in another window");
    first.clicks("button", "Use it here");
    first.screen_is("live");
    first.sees_moving(SCREEN);
    second.screen_is("error");
    second.shows("Opened in another window");
}

#[test]
fn the_two_videos_are_swapped_and_the_inset_is_hidden() {
    let Some(lab) = Lab::new("two pictures", Kind::Chromium) else { return };
    let _teacher = lab.class.teacher(&["--test", "--camera=test", "--size", "640x360"]);
    let page = lab.enters(2001, "Anna");
    page.sees_moving("#screen-video");
    page.sees_moving("#camera-video");
    let inset = |id: &str| {
        page.wait_until(
            &format!("{id} small"),
            &format!("document.querySelector('#{id}').classList.contains('inset')"),
        );
    };
    inset("camera");
    page.value("document.activeElement.blur()");
    page.presses("s");
    inset("screen");
    page.presses("s");
    inset("camera");
    page.clicks("button", "Hide the small picture");
    page.wait_until("no small picture", "!witness.visible('#camera')");
    page.clicks("button", "Small picture");
    page.wait_until("small picture", "witness.visible('#camera')");
    // The arrow keys move the inset, and the position is remembered.
    page.wait_until("a corner", "document.querySelector('#pictures').dataset.corner !== undefined");
    page.value("document.querySelector('#camera').focus()");
    let (left, place) =
        ("document.querySelector('#pictures').style.getPropertyValue('--x')", "localStorage['classroom.inset']");
    let (key, moved) = if page.value(left) == "1" { ("ArrowLeft", "0.95") } else { ("ArrowRight", "0.05") };
    page.presses(key);
    page.wait("another place", left, |now| now == moved);
    let kept = page.value(place);
    page.reloads();
    page.sees_moving("#camera-video");
    page.wait("the same place", left, |now| now == moved);
    assert_eq!(page.value(place), kept);
    assert_eq!(page.value("document.fullscreenElement"), json!(null));
    page.clicks("button", "Full screen");
    page.wait_until("full screen", "document.fullscreenElement !== null");
    page.clicks("button", "Leave full screen");
    page.wait_until("no full screen", "document.fullscreenElement === null");
}

#[test]
fn the_codec_of_a_refusal_is_read_from_its_field() {
    let Some(lab) = Lab::new("a codec that is missing", Kind::Chromium) else { return };
    let _server = lab.class.server();
    let page = lab.browser.open(&lab.site());
    // The sentence of the teacher's program does not matter.
    let error = "{ code: 'noCommonCodec', codec: 'vp8', message: 'the words may change: sent as H.264' }";
    let look = format!(
        "(async () => {{ \
           const {{ view }} = await import(document.querySelector('link[href$=\"views.js\"]').href); \
           const seen = view({{ refused: {error}, signal: {{}}, userId: '2001' }}); return [seen.text, seen.more]; \
               }})()"
    );
    assert_eq!(
        page.value(&look),
        json!([
            "The lecture is sent as VP8, which this browser cannot play.",
            "Use a current Chrome, Edge or Safari, or ask the teacher to send H.264."
        ])
    );
}
