//! What people do in rooms for meetings and calls, and what they see and hear of each other.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::json;

use super::driver::{Browser, Page};
use super::lab::Lab;
use crate::support::{DEADLINE, Process, ROOM, poll};

/// The mean power of sound that is not silence; the browser's own microphone beeps once a second.
const SOUND: f64 = 1e-6;

/// A file to send, until dropped.
pub struct FileOnDisk {
    pub path: PathBuf,
    pub bytes: Vec<u8>,
}

impl FileOnDisk {
    pub fn new(name: &str, length: u32) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("sent-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let bytes: Vec<u8> = (0..length).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        let path = folder.join(name);
        std::fs::write(&path, &bytes).unwrap();
        Self { path, bytes }
    }
}

impl Drop for FileOnDisk {
    fn drop(&mut self) {
        let _ = self.path.parent().map(std::fs::remove_dir_all);
    }
}

impl Lab {
    /// A terminal in the room, which sends a ball and a tone of 440 Hz, and in which somebody types.
    pub fn terminal(&self, verb: &str, user: u32, nickname: &str, flags: &[&str]) -> Process {
        let (url, user) = (self.class.url(), user.to_string());
        let always = [verb, "--room", ROOM, "--user", &user, "--nickname", nickname, "--server", &url];
        let mut command = self.class.command(&[&always, &["--speak-test", "--chat"][..], flags].concat());
        command.stdin(Stdio::piped());
        let terminal = Process::start(&format!("{verb} {user}"), command);
        terminal.wait_for("the room", |event| event["event"] == "joined");
        terminal
    }

    /// The link to the room as a place for calls or a meeting.
    pub fn link_of(&self, kind: &str, user: u32, nickname: &str) -> String {
        format!("{}/room/{ROOM}?kind={kind}&userId={user}&nickname={nickname}", self.site())
    }

    /// Opens the link in a browser whose camera takes little of this computer.
    #[track_caller]
    fn opens(&self, kind: &str, user: u32, nickname: &str) -> Page<'_> {
        self.browser.open_as(&self.link_of(kind, user, nickname), json!({"hasSmallCamera": true}))
    }

    /// A person follows the link to a room for calls.
    #[track_caller]
    pub fn comes_to_call(&self, user: u32, nickname: &str) -> Page<'_> {
        let page = self.opens("call", user, nickname);
        page.wait_until("people to call", "witness.visible('#callees')");
        page
    }

    /// A person follows the link to a meeting and stands before its door.
    #[track_caller]
    pub fn comes_to_meet(&self, user: u32, nickname: &str) -> Page<'_> {
        let page = self.opens("meeting", user, nickname);
        page.wait_until("the entrance", "witness.visible('#entrance')");
        page
    }

    /// A person enters a meeting from a browser of another kind.
    #[track_caller]
    pub fn meets_from<'a>(&self, browser: &'a Browser, user: u32, nickname: &str) -> Page<'a> {
        let page = browser.open_as(&self.link_of("meeting", user, nickname), json!({"hasSmallCamera": true}));
        page.wait_until("a camera", "document.querySelector('#own-camera-video')?.videoWidth > 0");
        page.clicks("button", "Enter the meeting");
        page.is_inside();
        page
    }

    /// A person enters a meeting with camera and microphone.
    #[track_caller]
    pub fn meets(&self, user: u32, nickname: &str) -> Page<'_> {
        let page = self.comes_to_meet(user, nickname);
        page.sees_moving("#own-camera-video");
        page.clicks("button", "Enter the meeting");
        page.is_inside();
        page
    }
}

impl Page<'_> {
    /// Waits until this person is in the call or in the meeting.
    #[track_caller]
    pub fn is_inside(&self) {
        self.wait_until("pictures of others", "document.querySelector('#room').dataset.phase === 'in'");
    }

    /// The owner opens two breakout rooms, for these users.
    #[track_caller]
    pub fn splits(&self, rooms: &[(u32, u32)]) {
        self.clicks("button", "Owner of the room");
        self.clicks("button", "Breakout rooms…");
        self.opens_rooms(rooms);
    }

    /// Opens two breakout rooms in the dialog, for these users.
    #[track_caller]
    pub fn opens_rooms(&self, rooms: &[(u32, u32)]) {
        self.clicks("checkbox", "Choose who goes where; the others are distributed at random");
        for (user, room) in rooms {
            self.value(&format!(
                "(() => {{ const field = document.querySelector('[data-member=\"{user}\"]'); field.value = '{room}'; \
                 field.dispatchEvent(new Event('change')); }})()"
            ));
        }
        self.clicks("button", "Open the rooms");
    }

    /// Waits until these users have tiles, this person included.
    #[track_caller]
    pub fn tiles_are(&self, users: &[u32]) {
        let mut wanted: Vec<String> = users.iter().map(ToString::to_string).collect();
        wanted.sort();
        let tiles = "[...document.querySelectorAll('.people-tiles .tile')].map((tile) => tile.dataset.user).sort()";
        self.wait(&format!("tiles {wanted:?}"), tiles, |tiles| *tiles == json!(wanted));
    }

    /// Waits until a track of another user moves in its tile: `camera` or `screen`.
    #[track_caller]
    pub fn sees(&self, user: u32, track: &str) {
        let video = format!(".tile[data-user=\"{user}\"] .tile-{track}");
        self.wait_until(&format!("a visible {track} of {user}"), &format!("witness.visible('{video}')"));
        self.sees_moving(&video);
    }

    /// Waits until this user, or nobody, has the large picture.
    #[track_caller]
    pub fn has_large(&self, user: Option<u32>) {
        let large = "document.querySelector('.people-tiles .tile.is-large')?.dataset.user ?? null";
        let wanted = json!(user.map(|user| user.to_string()));
        self.wait(&format!("{wanted} large"), large, |found| *found == wanted);
    }

    /// Waits until a track of another user is not shown.
    #[track_caller]
    pub fn sees_no(&self, user: u32, track: &str) {
        let video = format!(".tile[data-user=\"{user}\"] .tile-{track}");
        self.wait_until(&format!("no {track} of {user}"), &format!("!witness.visible('{video}')"));
    }

    /// Chooses a second camera in the settings: the last one, whose pictures Chromium encodes.
    #[track_caller]
    pub fn chooses_second_camera(&self) {
        self.wait_until("a second camera", "document.querySelectorAll('#second-choice option').length > 2");
        self.value(
            "(() => { const choice = document.querySelector('#second-choice'); choice.selectedIndex = 2; \
             choice.dispatchEvent(new Event('change')); })()",
        );
    }

    /// Clicks on a link that saves a file; returns the name under which the browser saves it, and its bytes.
    #[track_caller]
    pub fn saves(&self, link: &str) -> (String, Vec<u8>) {
        self.clicks("link", link);
        let saved = poll(DEADLINE, || self.events("download").pop()).expect("a file that was saved");
        let path = Path::new(saved["path"].as_str().unwrap());
        (saved["name"].as_str().unwrap().to_owned(), std::fs::read(path).unwrap())
    }

    /// Waits until another user is heard.
    #[track_caller]
    pub fn hears(&self, user: u32) {
        let sound = format!("witness.soundOf('.tile[data-user=\"{user}\"] audio')");
        let mut from = None;
        let mut is_heard = |energy: f64, seconds: f64| {
            let (energy_before, seconds_before) = *from.get_or_insert((energy, seconds));
            let long = seconds - seconds_before;
            long > 0.5 && (energy - energy_before) / long > SOUND
        };
        let heard = std::cell::RefCell::new(&mut is_heard);
        self.wait(&format!("sound of {user}"), &sound, |value| {
            let number = |field: &str| value[field].as_f64();
            let (Some(energy), Some(seconds)) = (number("energy"), number("seconds")) else { return false };
            heard.borrow_mut()(energy, seconds)
        });
    }

    /// Waits until the page plays the sound of these users, and of nobody else: not its own either.
    #[track_caller]
    pub fn plays_only(&self, users: &[u32]) {
        let wanted: Vec<String> = users.iter().map(ToString::to_string).collect();
        let played = "[...document.querySelectorAll('audio, video')] \
            .filter(({ muted, srcObject }) => !muted && srcObject?.getAudioTracks().length > 0) \
            .map((one) => one.closest('.tile')?.dataset.user ?? 'nobody').sort()";
        self.wait(&format!("the sound of {wanted:?} alone"), played, |played| *played == json!(wanted));
    }

    /// Waits until both see and hear each other.
    #[track_caller]
    pub fn sees_and_hears(&self, users: &[u32]) {
        for user in users {
            self.sees(*user, "camera");
            self.hears(*user);
        }
    }
}
