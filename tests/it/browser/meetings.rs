//! A room for a meeting: all see and hear all, through reloads, lost members and the orders of the owner.

use serde_json::json;

use super::axe::has_axe;
use super::conference::FileOnDisk;
use super::driver::{Kind, browser};
use super::lab::Lab;
use super::manners::is_readable;

#[test]
fn before_a_meeting_people_choose_what_they_send() {
    let Some(lab) = Lab::new("the entrance of a meeting", Kind::Chromium) else { return };
    let _server = lab.class.server();
    let ada = lab.comes_to_meet(1001, "Ada");
    ada.sees_moving("#own-camera-video");
    ada.shows("You enter with camera and microphone.");
    ada.wait_until("a level", "Number(document.querySelector('#meter').ariaValueNow) > 10");
    is_readable(&ada);
    if has_axe("the rules of axe-core before a meeting") {
        ada.is_accessible("before a meeting");
    }
    ada.clicks("button", "Camera on");
    ada.shows("You enter with the microphone, without a picture.");
    ada.clicks("button", "Microphone on");
    ada.shows("You enter to watch and listen; nothing is sent.");
    ada.clicks("button", "Enter the meeting");
    ada.is_inside();
    ada.shows("Nothing is sent");
    ada.shows("You are the only one here.");
    let ben = lab.comes_to_meet(1002, "Ben");
    ben.shows("In the meeting: Ada");
    ben.clicks("button", "Enter the meeting");
    ada.sees_and_hears(&[1002]);
    ada.presses("m");
    ada.presses("v");
    ben.sees_and_hears(&[1001]);
    // The two browsers encode and negotiate differently.
    if let Some(firefox) = browser("Firefox in a meeting", Kind::Firefox) {
        let fox = lab.meets_from(&firefox, 1003, "Fox");
        fox.sees_and_hears(&[1001, 1002]);
        for page in [&ada, &ben] {
            page.sees_and_hears(&[1003]);
        }
        fox.clicks("button", "Leave");
        ben.tiles_are(&[1001, 1002]);
    }
    ada.clicks("button", "Leave");
    ada.shows("You have left the meeting");
    ben.tiles_are(&[1002]);
    ada.clicks("button", "Enter again");
    ada.clicks("button", "Enter the meeting");
    ben.sees(1001, "camera");
    for page in [&ada, &ben] {
        page.was_calm(&lab.site());
    }
}

#[test]
fn four_in_a_meeting_see_and_hear_each_other_through_a_reload_and_a_loss() {
    let Some(lab) = Lab::new("a meeting of four", Kind::Chromium) else { return };
    let _server = lab.class.server();
    let names = [(1001, "Ada"), (1002, "Ben"), (1003, "Cleo"), (1004, "Dan")];
    let pages = names.map(|(user, name)| lab.meets(user, name));
    let users = names.map(|(user, _)| user);
    for (page, me) in pages.iter().zip(users) {
        page.tiles_are(&users);
        let others: Vec<u32> = users.into_iter().filter(|user| *user != me).collect();
        page.sees_and_hears(&others);
        page.plays_only(&others);
    }
    let [ada, ben, cleo, dan] = pages;
    is_readable(&ada);
    if has_axe("the rules of axe-core in a meeting") {
        ada.is_accessible("in a meeting");
    }

    ben.clicks("button", "Share screen");
    ada.sees(1002, "screen");
    ada.has_large(Some(1002));
    ben.clicks("button", "Stop sharing");
    ada.has_large(None);

    // On the big screen of all, where one's own pin goes first.
    cleo.presses("b");
    for page in [&ada, &ben, &dan] {
        page.has_large(Some(1003));
    }
    cleo.shows("You are on everybody’s big screen.");
    cleo.has_large(None);
    ben.value("document.querySelector('.tile[data-user=\"1004\"] .tile-tools button').click()");
    ben.has_large(Some(1004));
    ben.presses("Escape");
    ben.has_large(Some(1003));
    cleo.presses("b");
    for page in [&ada, &ben, &dan] {
        page.has_large(None);
    }
    // The owner wants to be asked.
    let restrict = || {
        ada.clicks("button", "Owner of the room");
        ada.clicks("checkbox", "Ask me before somebody is on everybody’s big screen");
        ada.presses("Escape");
        ada.wait_until("no dialog", "!document.querySelector('dialog[open]')");
    };
    restrict();
    dan.wait_until("a restriction", "document.querySelector('#menu-spotlight .name').textContent.startsWith('Ask')");
    dan.presses("b");
    dan.shows("The owner of the room decides; you have asked.");
    ada.shows("Dan would like to be on everybody’s big screen.");
    ada.clicks("button", "Show");
    cleo.has_large(Some(1004));
    ada.clicks("button", "Take Dan off everybody’s big screen");
    cleo.has_large(None);
    restrict();

    cleo.presses("h");
    ada.wait_until("a hand", "document.querySelectorAll('#hands li').length === 1");
    cleo.says("hello");
    ada.reads("Cleo", "hello");
    cleo.clicks("button", "People");
    cleo.clicks("button", "Write to Ben privately");
    cleo.says("between us");
    ben.reads("Cleo", "between us");
    ben.shows("only to you");
    cleo.shows("privately to Ben");
    let everybody =
        "const to = document.querySelector('#chat-to'); to.value = ''; to.dispatchEvent(new Event('change'))";
    cleo.value(everybody);
    cleo.says("for all");
    for page in [&ada, &dan] {
        page.reads("Cleo", "for all");
        assert_eq!(page.value("document.body.textContent.includes('between us')"), json!(false));
    }

    ben.reloads();
    ben.is_inside();
    ben.reads("Cleo", "hello");
    for page in [&ada, &cleo, &dan] {
        page.sees(1002, "camera");
        page.tiles_are(&users);
    }

    ada.splits(&[(1002, 1), (1003, 1), (1004, 2)]);
    for page in [&ben, &cleo] {
        page.shows("You are in breakout room 1 of 2.");
        page.tiles_are(&[1002, 1003]);
    }
    dan.tiles_are(&[1004]);
    cleo.sees_and_hears(&[1002]);
    ben.says("only us");
    cleo.reads("Ben", "only us");
    ben.reloads();
    ben.is_inside();
    cleo.sees(1002, "camera");
    ben.shows("You are in breakout room 1 of 2.");
    ben.reads("Ben", "only us");
    ada.clicks("button", "Visit room 2");
    dan.tiles_are(&[1001, 1004]);
    dan.sees(1001, "camera");
    ada.clicks("button", "Breakout rooms…");
    if has_axe("the rules of axe-core for breakout rooms") {
        ada.is_accessible("breakout rooms");
        dan.is_accessible("a breakout room");
    }
    ada.fills("Write to all rooms", "five minutes");
    ada.clicks("button", "Send to all rooms");
    for page in [&ben, &dan] {
        page.shows("Ada to all rooms: five minutes");
        is_readable(page);
    }
    ada.clicks("button", "Call everybody back now");
    for page in [&ada, &ben, &cleo, &dan] {
        page.tiles_are(&users);
        page.wait_until("no breakout rooms", "!witness.visible('#breakout-strip')");
    }
    ben.sees(1004, "camera");
    ben.reads("Cleo", "hello");

    // The owner is gone, and the one who has been there longest follows.
    ada.closes();
    for page in [&ben, &cleo, &dan] {
        page.tiles_are(&[1002, 1003, 1004]);
    }
    let owner = "document.querySelector('#owner-open').hidden === false";
    let is_owner = |page: &super::driver::Page<'_>| page.value(owner) == json!(true);
    cleo.wait_until("another owner", "document.querySelector('.tile [href=\"#i-owner\"]') !== null");
    assert_eq!([&ben, &cleo, &dan].into_iter().filter(|page| is_owner(page)).count(), 1, "one owns the room");
    // The media moves to the server, where the large one arrives in full.
    cleo.value("witness.tells({ type: 'overloaded' })");
    // The sentence is there for some seconds, so both read it before anything else.
    for page in [&ben, &cleo] {
        page.shows("Somebody’s computer or line was too slow: the server passes picture and sound on.");
    }
    for page in [&ben, &cleo] {
        page.sees(1004, "camera");
    }
    ben.plays_only(&[1003, 1004]);
    dan.presses("b");
    for page in [&ben, &cleo] {
        page.has_large(Some(1004));
        page.sees(1004, "camera");
    }
    // And so do files.
    let sent = FileOnDisk::new("notes.bin", 300_001);
    ben.chooses("#file-input", &sent.path);
    cleo.clicks("button", "Accept notes.bin");
    let (name, bytes) = cleo.saves("Save notes.bin");
    assert!(name == "notes.bin" && bytes == sent.bytes, "{name}, {} bytes", bytes.len());
    ben.shows("With the server for ten minutes");
    dan.closes();
    cleo.has_large(None);
    ben.chooses_second_camera();
    cleo.sees(1002, "screen");
    cleo.sees(1002, "camera");
    cleo.was_calm(&lab.site());
}

#[test]
fn the_owner_calls_everybody_puts_people_out_and_ends_the_meeting() {
    let Some(lab) = Lab::new("the owner of a meeting", Kind::Chromium) else { return };
    let _server = lab.class.server();
    let ada = lab.meets(1001, "Ada");
    let ben = lab.comes_to_meet(1002, "Ben");
    let cleo = lab.comes_to_meet(1003, "Cleo");
    ada.clicks("button", "Owner of the room");
    if has_axe("the rules of axe-core for an owner") {
        ada.is_accessible("what an owner does");
    }
    ada.fills("Name of the room", "Physics");
    ada.clicks("button", "Rename");
    ben.wait_until("the name", "document.querySelector('#room-title').textContent === 'Physics'");
    ada.clicks("button", "Call everybody who is not in (2)");
    for page in [&ben, &cleo] {
        page.wait_until("a call", "document.querySelector('#ring-in').open");
    }
    ben.clicks("button", "Accept with microphone only");
    ada.hears(1002);
    ada.sees_no(1002, "camera");
    cleo.clicks("button", "Decline");
    ada.tiles_are(&[1001, 1002]);
    ada.clicks("button", "Switch off the microphone of Ben");
    ben.shows("Ada has switched your microphone off.");
    ben.clicks("button", "Microphone off");
    let is_heard = r#"document.querySelector('[aria-label="Switch off the microphone of Ben"]') !== null"#;
    ada.wait_until("Ben's microphone", is_heard);
    ada.hears(1002);

    ada.clicks("button", "Owner of the room");
    ada.clicks("button", "Lock the room");
    ada.wait_until("a locked room", "document.querySelector('#owner-lock').textContent === 'Unlock the room'");
    let dan = lab.browser.open(&lab.link_of("meeting", 1004, "Dan"));
    dan.shows("The room is locked");
    ada.clicks("button", "Hand over");
    ada.wait_until("no dialog", "!document.querySelector('dialog[open]')");
    ben.shows("You own this room now.");
    ben.clicks("button", "Owner of the room");
    ben.clicks("button", "End the meeting for all");
    ada.shows("The meeting is over");
    ben.shows("The meeting is over");
}
