//! Pages on machines of their own whose paths are dead for a while.
//!
//! The test prints how soon each page recovers. The assertions are coarser, because the machine is busy.

use std::process::Stdio;

use serde_json::Value;

use super::driver::{Kind, Page, browser_on};
use super::sight::SCREEN;
use crate::support::{Classroom, Lan, Machine, Process, ROOM, has_lan};

const PORT: u16 = 18_080;

/// How soon a page must show a new frame once its path works again, by the page's clock.
const BACK_WITHIN_MS: f64 = 10_000.0;

/// How long one reading of a page's clock may wait: less than any deadline.
const STEP_MS: f64 = 10_000.0;

const SILENT: &str = "Nothing arrives, and the server does not answer. Is the network down?";
const OFFLINE: &str = "Your computer is offline. The lecture goes on by itself when the network is back.";

/// A teacher with the server inside, on a machine of a network.
#[track_caller]
fn teacher_on(machine: &Machine, class: &Classroom) -> Process {
    let listen = format!("{}:{PORT}", machine.address());
    let mut command =
        machine.command(&class.teach(&["--test", "--size", "320x180", "--fps", "15", "--listen", &listen]));
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let teacher = Process::start("teacher", command);
    teacher.wait_for("joined", |event| event["event"] == "joined");
    teacher
}

/// A machine with a watching page.
struct Desk<'a> {
    machine: &'a Machine,
    page: Page<'a>,
}

impl Desk<'_> {
    /// The page's clock, in milliseconds.
    #[track_caller]
    fn clock(&self) -> f64 {
        self.page.value("performance.now()").as_f64().unwrap()
    }

    /// Waits until the page's clock has advanced by so many seconds.
    #[track_caller]
    fn waits(&self, seconds: f64) {
        let end = self.clock() + seconds * 1_000.0;
        while self.clock() < end {
            let step = end.min(self.clock() + STEP_MS);
            self.page.wait("that time", "performance.now()", |now| now.as_f64().is_some_and(|now| now >= step));
        }
    }

    /// How long after `from` the first frame was shown, in milliseconds.
    #[track_caller]
    fn first_picture_after(&self, from: f64) -> f64 {
        let look = format!("witness.shown('{SCREEN}').pictures.map(([at]) => at).find((at) => at > {from}) ?? null");
        let at = self.page.wait("a picture", &look, |at| !at.is_null());
        at.as_f64().unwrap() - from
    }
}

#[test]
fn pages_recover_soon_after_their_path_and_name_the_cause() {
    const NAME: &str = "pages_recover_soon_after_their_path_and_name_the_cause";
    if !has_lan(NAME) {
        return;
    }
    let class = Classroom::with_browser();
    let mut lan = Lan::new();
    let (school, one, two) = (lan.machine(), lan.machine(), lan.machine());
    let Some(chromium) = browser_on(NAME, Kind::Chromium, Some(&one)) else { return };
    let Some(firefox) = browser_on(NAME, Kind::Firefox, Some(&two)) else { return };
    let mut teacher = teacher_on(&school, &class);
    let link = |user: &str| format!("http://{}:{PORT}/room/{ROOM}?userId={user}&nickname={user}", school.address());
    let anna = Desk { machine: &one, page: chromium.open(&link("Anna")) };
    let ben = Desk { machine: &two, page: firefox.open(&link("Ben")) };
    let desks = [("Chromium", &anna), ("Firefox", &ben)];
    for (_, desk) in desks {
        desk.page.screen_is("live");
        desk.page.sees_moving(SCREEN);
    }
    for seconds in [10.0, 40.0] {
        for (_, desk) in desks {
            desk.first_picture_after(desk.clock());
            desk.machine.cut();
        }
        for (_, desk) in desks {
            desk.page.banner_is(SILENT);
        }
        anna.waits(seconds);
        let from = desks.map(|(_, desk)| {
            desk.machine.restore();
            desk.clock()
        });
        for ((browser, desk), from) in desks.into_iter().zip(from) {
            let back = desk.first_picture_after(from);
            println!("{browser}: a picture {back:.0} ms after a line that was dead for {seconds} s");
            assert!(back < BACK_WITHIN_MS, "{browser}: {back} ms");
            desk.page.banner_is("");
            desk.page.sees_moving(SCREEN);
        }
    }

    // An unplugged cable has another cause than a dead path.
    anna.machine.unplug();
    anna.page.banner_is(OFFLINE);
    anna.machine.plug_in();
    anna.page.banner_is("");
    anna.page.sees_moving(SCREEN);

    // The page came over http, so there is no service worker: a reload would show an error of the browser.
    assert_eq!(anna.page.value("isSecureContext || 'serviceWorker' in navigator"), Value::Bool(false));
    teacher.interrupt();
    teacher.ends_with(0);
    anna.page.shows("The teacher has left");
    anna.page.value(
        "window.reloads = []; addEventListener('keydown', (event) => reloads.push(event.defaultPrevented)); null",
    );
    anna.page.wait("a key that is kept from the browser", "reloads", |reloads| {
        anna.page.presses("F5");
        reloads.as_array().is_some_and(|all| all.contains(&Value::Bool(true)))
    });
    anna.page.shows("The server does not answer, so a reload would show an error.");
    let _teacher = teacher_on(&school, &class);
    for (_, desk) in desks {
        desk.page.screen_is("live");
        desk.page.sees_moving(SCREEN);
    }
}
