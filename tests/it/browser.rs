//! The page in real browsers, beside students in terminals, on the real program that teaches a real file.
//!
//! A test reads like a script: who opens what, sees, says and clicks. The browsers are driven by `tests/browser`, which
//! `bin/setup --test` prepares.

// What the tests stand on: rules of accessibility, browsers and pages, a class with both, eyes and ears, what was shown
// when, a student without the page.
mod axe;
mod driver;
mod lab;
mod raw;
mod shown;
mod sight;

// Browsers and terminals in one lecture, and a teacher who is killed and comes back.
mod together;

// Every screen that a student may meet.
mod states;

// What stands over the picture, and what does not; pictures whose source stops.
mod overlays;

// Phones, tablets, windows and walls.
mod sizes;
// How a lecture ends, what is read after it, and a reload where no server answers.
mod endings;

// A bad network before one page.
mod network;

// Lines that are dead for a while, in a network of machines.
mod away;

// The other browser, with another decoder.
mod firefox;

// Students who mean harm.
mod hostile;

// Names, keyboard, languages, weight.
mod manners;
