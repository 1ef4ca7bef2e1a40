//! The bad line of one participant: what arrives from it, at it, and among the others. Each participant and the server
//! is a machine of its own on a switch.

use std::time::Duration;

use crate::cost::Received;
use crate::meeting::{Meeting, Picture};
use crate::support::{Lan, Line, Machine, has_lan};
use crate::usage::busy;

/// A picture that needs its bit rate.
const PICTURE: Picture = Picture { size: (320, 180), fps: 10, is_noise: true };

/// How long the estimates get to settle after each change.
const SETTLES: Duration = Duration::from_secs(10);

/// The participants of a mesh, and of a meeting on the server.
const NUMBERS: [usize; 2] = [4, 7];

/// Measures a mesh and a meeting on the server.
pub fn print(length: Duration) {
    if !has_lan("the bad line of one participant") {
        return;
    }
    for number in NUMBERS {
        println!(
            "the line of one of {number} participants; {}x{} at {} pictures a second, {} s each",
            PICTURE.size.0,
            PICTURE.size.1,
            PICTURE.fps,
            length.as_secs()
        );
        println!(
            "{:>26} {:>22} {:>22} {:>22} {:>6}",
            "line", "of it, at the others", "of the others, at it", "among the others", "cores"
        );
        measure(number, length);
    }
}

fn measure(number: usize, length: Duration) {
    let mut lan = Lan::new();
    let machines: Vec<Machine> = (0..=number).map(|_| lan.machine()).collect();
    let mut meeting = Meeting::new(PICTURE, Some(&machines[0]));
    for machine in &machines[1..] {
        meeting.enter("null", Some(machine));
    }
    meeting.all_see_all(&[]);
    let bad = &machines[1];
    let lines = [
        ("good", None),
        ("5 % of packets lost", Some(Line::Loses { percent: 5 })),
        ("good again", None),
        ("400 kbit/s", Some(Line::Carries { kbits: 400 })),
        ("good again", None),
    ];
    for (name, line) in lines {
        bad.set_line(line);
        std::thread::sleep(SETTLES);
        let (marks, worked) = (marks(&meeting), busy());
        std::thread::sleep(length);
        let cores = (busy() - worked) / length.as_secs_f64();
        let (mut of_it, mut at_it, mut others) = (Sum::default(), Sum::default(), Sum::default());
        let [it, rest @ ..] = &meeting.participants[..] else { return };
        at_it.add(Received::since(it, marks[0]));
        for (one, mark) in rest.iter().zip(&marks[1..]) {
            of_it.add(Received::of_users(one, *mark, |user| user == it.user));
            others.add(Received::of_users(one, *mark, |user| user != it.user));
        }
        println!("{name:>26} {of_it:>22} {at_it:>22} {others:>22} {cores:>6.1}");
    }
    meeting.end();
}

fn marks(meeting: &Meeting) -> Vec<usize> {
    meeting.participants.iter().map(|one| one.process.mark()).collect()
}

/// What arrives on several pairs.
#[derive(Debug, Default)]
struct Sum(Received);

impl Sum {
    fn add(&mut self, one: Received) {
        let Received { tracks, pictures, lost, freezes } = one;
        self.0.tracks += tracks;
        self.0.pictures += pictures;
        self.0.lost += lost;
        self.0.freezes += freezes;
    }
}

impl std::fmt::Display for Sum {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Received { tracks, pictures, lost, freezes } = self.0;
        let each = pictures / tracks.max(1) as f64;
        f.pad(&format!("{each:.1}/s, {lost} lost, {freezes} frozen"))
    }
}
