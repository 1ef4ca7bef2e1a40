//! The page over TLS, on a student's machine that has installed the CA of the teacher's computer, and on one that has
//! not.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::json;

use super::driver::{Browser, Kind, Where, browser_on, browser_with};
use super::sight::SCREEN;
use crate::support::{Classroom, Lan, Machine, Process, ROOM, has_lan, has_tools, run_tool};

/// A lecture over TLS that costs little CPU.
const LECTURE: [&str; 7] = ["--test", "--size", "320x180", "--fps", "10", "--tls", "--no-qr"];

/// A teacher's computer and a student's, whose addresses are not loopback.
struct School {
    /// The teacher's `address:port`.
    host: String,
    /// The CA, as the student has downloaded it.
    ca: PathBuf,
    /// The fingerprint that the teacher's terminal shows.
    fingerprint: String,
    desk: Machine,
    _teacher: Process,
    _machine: Machine,
    _lan: Lan,
    _class: Classroom,
}

impl School {
    /// Both computers; nothing if this machine lacks something, and the test is then skipped by name.
    fn open(test: &str) -> Option<Self> {
        if !has_lan(test) || !has_tools(test, &["curl", "certutil"]) {
            return None;
        }
        let class = Classroom::with_browser();
        let mut lan = Lan::new();
        let (machine, desk) = (lan.machine(), lan.machine());
        let teacher = Process::start_on(&machine, "teacher", &class.teach(&LECTURE));
        teacher.wait_for("joined", |event| event["event"] == "joined");
        let listening = teacher.wait_for("listening", |event| event["event"] == "listening");
        let host = format!("{}:18080", machine.address());
        assert_eq!(listening["page"], format!("https://{host}/"));
        let ca = class.directory().join("downloaded.crt");
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--show-error", "--fail", "--output", ca.to_str().unwrap()]);
        run_tool(desk.command(curl.arg(format!("http://{host}/ca"))).stderr(Stdio::piped()));
        let fingerprint = listening["fingerprint"].as_str().unwrap().to_owned();
        Some(Self { host, ca, fingerprint, desk, _teacher: teacher, _machine: machine, _lan: lan, _class: class })
    }

    /// A link as people type it, without `https`.
    fn plain_link(&self) -> String {
        format!("http://{}/room/{ROOM}?userId=2001&nickname=Anna", self.host)
    }
}

fn a_student_with_the_ca_watches(test: &str, kind: Kind) {
    let Some(school) = School::open(test) else { return };
    let Some(browser) = browser_with(test, kind, Where::Machine(&school.desk), Some(&school.ca)) else { return };
    let site = format!("https://{}", school.host);
    let page = browser.open(&school.plain_link());
    page.screen_is("live");
    page.sees_moving(SCREEN);
    assert_eq!(page.value("[location.origin, isSecureContext]"), json!([site, true]), "plain HTTP is redirected");
    let sockets = page.value("[...new Set(witness.sockets.map((url) => new URL(url).origin))]");
    assert_eq!(sockets, json!([format!("wss://{}", school.host)]));
    // Only a secure page may ask for camera and microphone, and keep a copy of itself.
    assert_eq!(page.value("['mediaDevices', 'serviceWorker'].every((api) => api in navigator)"), true);
    page.was_calm(&site);
}

/// A browser without the CA refuses the page; returns its error. The page that explains the CA opens.
fn a_student_without_the_ca_is_stopped(school: &School, browser: &Browser) -> String {
    let (page, error) = browser.open_refused(&school.plain_link());
    // By plain HTTP, because the browser does not trust the server yet.
    page.goes_to(&format!("http://{}/ca/help", school.host));
    page.shows("Install the certificate of this classroom");
    let shown = page.value("document.querySelector('code').textContent.replaceAll(':', '').toLowerCase()");
    let known = school.fingerprint.strip_prefix("sha256:").unwrap();
    assert!(
        shown.as_str().is_some_and(|shown| shown.starts_with(known)),
        "{shown} on the page, {known} at the teacher"
    );
    error
}

#[test]
fn chromium_with_the_ca_shows_the_lecture_by_tls() {
    a_student_with_the_ca_watches("chromium_with_the_ca_shows_the_lecture_by_tls", Kind::Chromium);
}

#[test]
fn firefox_with_the_ca_shows_the_lecture_by_tls() {
    a_student_with_the_ca_watches("firefox_with_the_ca_shows_the_lecture_by_tls", Kind::Firefox);
}

#[test]
fn browsers_without_the_ca_refuse_the_page_and_open_the_help() {
    const NAME: &str = "browsers_without_the_ca_refuse_the_page_and_open_the_help";
    let Some(school) = School::open(NAME) else { return };
    for (kind, refusal) in [(Kind::Chromium, "ERR_CERT_AUTHORITY_INVALID"), (Kind::Firefox, "SEC_ERROR_UNKNOWN_ISSUER")]
    {
        let Some(browser) = browser_on(NAME, kind, Some(&school.desk)) else { return };
        let error = a_student_without_the_ca_is_stopped(&school, &browser);
        assert!(error.contains(refusal), "{error}");
    }
}
