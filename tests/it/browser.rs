//! The page in real browsers, beside students in terminals; the real program teaches a real file.
//!
//! A test reads like a script: who opens, sees, says and clicks what. `tests/browser` drives the browsers, and
//! `bin/setup --test` prepares it.

// The test bed: accessibility rules, browsers and pages, a class with both, what a person sees and hears, what was
// shown when, and a student without the page.
mod axe;
mod driver;
mod lab;
mod raw;
mod shown;
mod sight;

// Browsers and terminals in one lecture, and a teacher who is killed and returns.
mod together;

// Every screen that a student may meet.
mod states;

// Overlays on the video; videos whose source stops.
mod overlays;

// Order in the room: muted students, slow mode, a cleared chat.
mod order;

// Phones, tablets, windows and projectors.
mod sizes;
// The end of a lecture, later visitors, and a reload without a server.
mod endings;

// The page over TLS, with and without the CA of the teacher's computer.
mod tls;

// Modules of the student's page, in Node.js.
mod people;

// The stage: an invitation, speakers in tiles, and what goes wrong there.
mod stage;

// Meetings and calls, on the page and as connections alone.
mod calls;
mod conference;
mod meetings;
mod terminals;

// A bad network in front of one page.
mod network;

// A bad network in front of the page that teaches.
mod uplink;

// Paths that are dead for a while, in a network of machines.
mod away;

// The other browser, with another decoder.
mod firefox;

// Hostile students.
mod hostile;

// A teacher in a browser.
mod teach;
mod teach_stage;

// A teacher in a browser, and students of every kind at once: what each of them sees, and how long it stands still.
mod all_at_once;

// A meeting whose seventh participant moves the media to the server: how long pictures stand still.
mod seventh;

// Accessible names, keyboard, languages, bytes.
mod manners;
