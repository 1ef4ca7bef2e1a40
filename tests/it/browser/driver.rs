//! A real browser and its pages, driven through `tests/browser/driver.mjs`.

use std::cell::{Cell, RefCell};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{DEADLINE, Display, Machine, Process, run_tool};

/// How often to evaluate a condition on a page.
const ASK: Duration = Duration::from_millis(50);

/// Error texts of browsers about a page that another one replaces.
const ON_ITS_WAY: [&str; 3] = ["context was destroyed", "navigated or closed", "Cannot find context"];

/// How long a browser may take to exit before it is killed.
const GOODBYE: Duration = Duration::from_secs(8);

/// Debian's Chromium without an interface of its own: the same engine for half of the CPU time.
const HEADLESS_SHELL: &str = "chromium-headless-shell";

/// The scripts and their dependencies.
const SCRIPTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/browser");

/// A kind of browser.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Debian's, Ubuntu's or Google's Chromium.
    Chromium,
    /// Firefox ESR from Debian, or the current Firefox.
    Firefox,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Chromium => "chromium",
            Self::Firefox => "firefox",
        }
    }

    fn programs(self) -> &'static [&'static str] {
        match self {
            Self::Chromium => &["chromium", "chromium-browser", "google-chrome"],
            Self::Firefox => &["firefox-esr", "firefox"],
        }
    }

    /// The program in `$CLASSROOM_CHROMIUM` or `$CLASSROOM_FIREFOX`, or the first that is installed.
    fn program(self, needs: Needs) -> Option<PathBuf> {
        let variable = format!("CLASSROOM_{}", self.name().to_uppercase());
        let chosen = std::env::var_os(variable).map(PathBuf::from);
        let light = (self == Self::Chromium && needs == Needs::Pages).then(|| found(HEADLESS_SHELL)).flatten();
        chosen.or(light).or_else(|| self.programs().iter().find_map(|name| found(name)))
    }
}

/// What a test needs of a browser.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Needs {
    /// Pages.
    Pages,
    /// Also windows on a display, or the certificates of its user.
    Windows,
}

fn found(program: &str) -> Option<PathBuf> {
    std::env::split_paths(&std::env::var_os("PATH")?).map(|folder| folder.join(program)).find(|path| path.is_file())
}

/// Starts the browser if the machine has everything. If not, the test is skipped by name, or fails where `$CI` promises
/// it.
pub fn browser(test: &str, kind: Kind) -> Option<Browser> {
    browser_on(test, kind, None)
}

/// Starts the browser on a machine of a [`Lan`](crate::support::Lan).
pub fn browser_on(test: &str, kind: Kind, machine: Option<&Machine>) -> Option<Browser> {
    browser_with(test, kind, Where::from(machine), None)
}

/// Starts Chromium with its windows on a display, whose picture its pages share as their screen.
pub fn browser_that_shares(test: &str, display: &Display) -> Option<Browser> {
    browser_with(test, Kind::Chromium, Where::Display(display), None)
}

/// The place of a browser.
pub enum Where<'a> {
    /// This machine, without windows.
    Here,
    /// A machine of a [`Lan`](crate::support::Lan), without windows.
    Machine(&'a Machine),
    /// The windows are on this display.
    Display(&'a Display),
}

impl<'a> From<Option<&'a Machine>> for Where<'a> {
    fn from(machine: Option<&'a Machine>) -> Self {
        machine.map_or(Self::Here, Self::Machine)
    }
}

/// As [`browser_on`], with the certificate of a CA (PEM) that this user has installed.
pub fn browser_with(test: &str, kind: Kind, place: Where<'_>, ca: Option<&Path>) -> Option<Browser> {
    let needs = match (&place, ca) {
        (Where::Here | Where::Machine(_), None) => Needs::Pages,
        _ => Needs::Windows,
    };
    let program = kind.program(needs);
    let missing = if program.is_none() {
        kind.programs()[0]
    } else if found("node").is_none() {
        "node"
    } else if !Path::new(SCRIPTS).join("node_modules").is_dir() {
        "tests/browser/node_modules"
    } else {
        return program.map(|program| Browser::start(kind, &program, place, ca));
    };
    assert!(std::env::var_os("CI").is_none(), "{missing} is missing: run bin/setup --test");
    println!("skipped {test}: {missing} is missing, bin/setup --test installs it");
    None
}

/// Installs the certificate of a CA for the websites of a browser's user, as a person does in the settings.
#[track_caller]
fn install(kind: Kind, ca: &Path, profile: &Path) {
    let database = match kind {
        Kind::Chromium => profile.join(".pki/nssdb"),
        Kind::Firefox => profile.to_owned(),
    };
    std::fs::create_dir_all(&database).unwrap();
    let certutil = |flags: &[&str]| {
        let database = format!("sql:{}", database.display());
        run_tool(Command::new("certutil").args(["-d", &database]).args(flags));
    };
    certutil(&["-N", "--empty-password"]);
    certutil(&["-A", "-n", "classroom", "-t", "C,,", "-i", ca.to_str().unwrap()]);
}

/// A headless browser. It ends when dropped, and whenever this process ends.
pub struct Browser {
    driver: RefCell<Process>,
    commands: Cell<u64>,
    pages: Cell<u32>,
    directory: PathBuf,
}

impl Browser {
    fn start(kind: Kind, program: &Path, place: Where<'_>, ca: Option<&Path>) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        // The name is short: Chromium puts a socket there, and a socket's path has at most 107 bytes.
        let name = format!("b{}-{number}", std::process::id());
        let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
        std::fs::create_dir_all(&directory).unwrap();
        let mut command = Command::new("node");
        command.arg(Path::new(SCRIPTS).join("driver.mjs")).arg(kind.name()).arg(program).env("TMPDIR", &directory);
        if let Some(ca) = ca {
            let profile = directory.join("profile");
            install(kind, ca, &profile);
            command.arg(profile);
        }
        let mut command = match place {
            Where::Here => command,
            Where::Machine(machine) => machine.command(&command),
            Where::Display(display) => {
                command.env("SHARED_DISPLAY", display.name());
                command
            }
        };
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let driver = Process::start(kind.name(), command);
        // A browser starts in a second or two, and much later while others start.
        driver.wait_since(0, 3 * DEADLINE, "a browser", |event| event["event"] == "ready");
        Self { driver: RefCell::new(driver), commands: Cell::new(0), pages: Cell::new(0), directory }
    }

    /// Opens a window of a new English-speaking person at this address.
    #[track_caller]
    pub fn open(&self, url: &str) -> Page<'_> {
        self.open_as(url, json!({}))
    }

    /// Opens a window with options: `lang`, `width`, `height`, `scheme`, `bypassCsp`, and for Chromium the address of
    /// an `emulator` for its connections.
    #[track_caller]
    pub fn open_as(&self, url: &str, options: Value) -> Page<'_> {
        let page = self.page(None);
        page.command(json!({"do": "open", "url": url, "options": options}));
        page
    }

    /// Opens a window at an address that the browser refuses; returns the window and the browser's error.
    #[track_caller]
    pub fn open_refused(&self, url: &str) -> (Page<'_>, String) {
        let page = self.page(None);
        match page.try_command(json!({"do": "open", "url": url, "options": {}})) {
            Err(error) => (page, error),
            Ok(_) => panic!("the browser has opened {url}"),
        }
    }

    fn page(&self, person: Option<&str>) -> Page<'_> {
        self.pages.set(self.pages.get() + 1);
        let name = format!("page-{}", self.pages.get());
        let person = person.unwrap_or(&name).to_owned();
        Page { browser: self, name, person }
    }

    /// Sends a command and waits for it; returns the value, or the error's text.
    #[track_caller]
    fn command(&self, mut command: Value) -> Result<Value, String> {
        let id = self.commands.get() + 1;
        self.commands.set(id);
        command["id"] = id.into();
        let mut driver = self.driver.borrow_mut();
        let mark = driver.mark();
        driver.types(&command.to_string());
        let what = format!("end of {command:.200}");
        let reply = driver.wait_since(mark, DEADLINE, &what, |event| event["id"] == id);
        match reply["error"].as_str() {
            Some(error) => Err(error.to_owned()),
            None => Ok(reply["value"].clone()),
        }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let driver = self.driver.get_mut();
        driver.hangs_up();
        if !driver.ends_within(GOODBYE) {
            println!("the browser did not end by itself");
        }
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

/// A window in which a person looks, listens, clicks and types.
pub struct Page<'a> {
    browser: &'a Browser,
    name: String,
    person: String,
}

impl<'a> Page<'a> {
    /// Opens a second window of the same person.
    #[track_caller]
    pub fn another_window(&self, url: &str) -> Page<'a> {
        let page = self.browser.page(Some(&self.person));
        page.command(json!({"do": "open", "url": url}));
        page
    }

    /// Opens another address in the same window.
    #[track_caller]
    pub fn goes_to(&self, url: &str) {
        self.command(json!({"do": "goto", "url": url}));
    }

    /// Reloads the page.
    #[track_caller]
    pub fn reloads(&self) {
        self.command(json!({"do": "reload"}));
    }

    /// Evaluates a JavaScript expression.
    #[track_caller]
    pub fn value(&self, code: &str) -> Value {
        self.command(json!({"do": "evaluate", "code": code}))
    }

    /// Clicks on the element with this role and name, once it exists.
    #[track_caller]
    pub fn clicks(&self, role: &str, name: &str) {
        self.command(json!({"do": "click", "role": role, "name": name}));
    }

    /// Presses a key, such as `h` or `Tab`.
    #[track_caller]
    pub fn presses(&self, key: &str) {
        self.command(json!({"do": "press", "key": key}));
    }

    /// Types into the focused element.
    #[track_caller]
    pub fn types(&self, text: &str) {
        self.command(json!({"do": "type", "text": text}));
    }

    /// Closes the window.
    #[track_caller]
    pub fn closes(self) {
        self.command(json!({"do": "close"}));
    }

    /// Waits until the expression is true.
    #[track_caller]
    pub fn wait_until(&self, what: &str, code: &str) {
        self.wait(what, code, |value| value.as_bool().unwrap_or(!value.is_null()));
    }

    /// Waits until the value of the expression is the wanted one.
    #[track_caller]
    pub fn wait(&self, what: &str, code: &str, is_it: impl Fn(&Value) -> bool) -> Value {
        let started = Instant::now();
        loop {
            // While another page loads, nothing can be evaluated.
            let value = match self.try_command(json!({"do": "evaluate", "code": code})) {
                Err(error) if ON_ITS_WAY.iter().any(|words| error.contains(words)) => Value::Null,
                value => value.unwrap_or_else(|error| panic!("{}: {error}", self.name)),
            };
            if is_it(&value) {
                return value;
            }
            if started.elapsed() > DEADLINE {
                let text = self.value("witness.text()");
                panic!("{} had no {what} within {DEADLINE:?}: {value:.1000}\nit shows: {text:.2000}", self.name);
            }
            std::thread::park_timeout(ASK);
        }
    }

    /// Waits until the page shows this text.
    #[track_caller]
    pub fn shows(&self, text: &str) {
        self.wait(&format!("text {text:?}"), "witness.text()", |shown| shown.as_str().unwrap_or("").contains(text));
    }

    /// Chooses a file in a field of Chromium.
    #[track_caller]
    pub fn chooses(&self, selector: &str, file: &Path) {
        self.command(json!({"do": "choose", "selector": selector, "files": [file]}));
    }

    /// The events of one kind that the page caused: `request`, `console`, `exception`, `dialog`, `download`.
    pub fn events(&self, kind: &str) -> Vec<Value> {
        let mine = |event: &Value| event["event"] == kind && event["page"] == self.name.as_str();
        self.browser.driver.borrow().events().into_iter().filter(mine).collect()
    }

    #[track_caller]
    fn command(&self, command: Value) -> Value {
        self.try_command(command).unwrap_or_else(|error| panic!("{}: {error}", self.name))
    }

    #[track_caller]
    fn try_command(&self, mut command: Value) -> Result<Value, String> {
        command["page"] = self.name.as_str().into();
        if command["do"] == "open" {
            command["person"] = self.person.as_str().into();
        }
        self.browser.command(command)
    }
}
