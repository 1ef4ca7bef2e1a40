//! The key frames that WHIP servers may request. Each one costs the class as much as ten frames, and some servers ask
//! every two seconds for those who come to watch there (MediaMTX). Does no I/O.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::report::HostKind;
use crate::rtp::{Encoding, PerEncoding};

/// Key frames that a server gets at once within [`RENEWED`]: the one it starts with, and one more.
const AT_ONCE: usize = 2;
const RENEWED: Duration = Duration::from_secs(30);

/// Other requests, of all servers together, get a key frame this long after the last one: with the two above some 5 %
/// of the bits of the class. Those who come to watch at such a server wait as long at most.
const INTERVAL: Duration = Duration::from_secs(8);

/// Subscribers of a Janus come as students do, and Janus asks for each of them and for nobody else.
const RENEWED_FOR_JANUS: Duration = Duration::from_secs(5);

/// The shortest time between key frames for a server with students of ours.
const SHORTEST: Duration = Duration::from_secs(1);

fn renewed(kind: HostKind) -> Duration {
    match kind {
        HostKind::Whip => RENEWED,
        HostKind::Janus => RENEWED_FOR_JANUS,
    }
}

/// The budget of all WHIP servers, or of one server that serves students of ours.
#[derive(Debug)]
pub(in crate::commands) struct KeyFrameBudget {
    /// By server: when it got key frames at once.
    at_once: HashMap<usize, [Option<Instant>; AT_ONCE]>,
    /// The requests that wait.
    waiting: PerEncoding<Option<Waiting>>,
    /// When the encoder was last asked.
    asked: PerEncoding<Option<Instant>>,
    /// The time between key frames beyond those at once, and between any two.
    interval: Duration,
    shortest: Duration,
}

/// Requests that wait.
#[derive(Debug, Clone, Copy)]
struct Waiting {
    /// Since the last of them.
    since: Instant,
    /// Whether it belongs to those at once.
    is_at_once: bool,
}

impl Default for KeyFrameBudget {
    fn default() -> Self {
        let (at_once, waiting, asked) = Default::default();
        Self { at_once, waiting, asked, interval: INTERVAL, shortest: Duration::ZERO }
    }
}

impl KeyFrameBudget {
    /// The budget of a server that serves students of ours, and has none yet.
    pub(in crate::commands) fn of_students() -> Self {
        Self { shortest: SHORTEST, ..Self::default() }
    }

    /// The server serves so many students, and has what they have together: two key frames at once for each who comes,
    /// and one in an interval. A server that asks whether or not a student needs that has the interval of one.
    pub(in crate::commands) fn serves(&mut self, students: usize, is_newcomer: bool, kind: HostKind) {
        if is_newcomer {
            self.at_once.clear();
        }
        if kind == HostKind::Janus {
            let students = u32::try_from(students.max(1)).unwrap_or(u32::MAX);
            self.interval = (INTERVAL / students).max(self.shortest);
        }
    }

    /// A server needs a key frame. `made` is the time of the last one. Returns whether to ask the encoder now.
    pub(in crate::commands) fn want(
        &mut self,
        now: Instant,
        (server, kind): (usize, HostKind),
        encoding: Encoding,
        made: Option<Instant>,
    ) -> bool {
        if self.asked[encoding].is_some_and(|asked| made.is_none_or(|made| made < asked))
            && !self.is_over(now, encoding)
        {
            // The encoder has been asked, and has not answered yet.
            return false;
        }
        let at_once = self.at_once.entry(server).or_default();
        let is_free = |at: &Option<Instant>| at.is_none_or(|at| now.saturating_duration_since(at) >= renewed(kind));
        let place = at_once.iter_mut().find(|at| is_free(at));
        let is_at_once = place.is_some();
        place.into_iter().for_each(|place| *place = Some(now));
        let last = made.max(self.asked[encoding]);
        if is_at_once && last.is_none_or(|last| now.saturating_duration_since(last) >= self.shortest) {
            self.ask(now, encoding);
            return true;
        }
        let was_at_once = self.waiting[encoding].is_some_and(|waiting| waiting.is_at_once);
        self.waiting[encoding] = Some(Waiting { since: now, is_at_once: is_at_once || was_at_once });
        false
    }

    /// The encodings whose encoder has to be asked now. `made` has the time of the last key frame of each.
    pub(in crate::commands) fn due(&mut self, now: Instant, made: &PerEncoding<Option<Instant>>) -> Vec<Encoding> {
        let mut due = Vec::new();
        for encoding in Encoding::all() {
            let Some(waiting) = self.waiting[encoding] else { continue };
            if made[encoding].is_some_and(|made| made > waiting.since) {
                // A key frame for somebody else came meanwhile.
                self.waiting[encoding] = None;
            } else if self.earliest(encoding, made).is_none_or(|earliest| now >= earliest) {
                self.ask(now, encoding);
                due.push(encoding);
            }
        }
        due
    }

    /// When [`due`](Self::due) may return something.
    pub(in crate::commands) fn deadline(&self, now: Instant, made: &PerEncoding<Option<Instant>>) -> Option<Instant> {
        let waiting = Encoding::all().filter(|encoding| self.waiting[*encoding].is_some());
        waiting.map(|encoding| self.earliest(encoding, made).unwrap_or(now)).min()
    }

    fn earliest(&self, encoding: Encoding, made: &PerEncoding<Option<Instant>>) -> Option<Instant> {
        let is_at_once = self.waiting[encoding].is_some_and(|waiting| waiting.is_at_once);
        let pause = if is_at_once { self.shortest } else { self.interval };
        made[encoding].max(self.asked[encoding]).map(|last| last + pause)
    }

    fn ask(&mut self, now: Instant, encoding: Encoding) {
        (self.asked[encoding], self.waiting[encoding]) = (Some(now), None);
    }

    /// Whether the encoder did not answer, as one that was stopped meanwhile.
    fn is_over(&self, now: Instant, encoding: Encoding) -> bool {
        const WITHIN: Duration = Duration::from_millis(500);
        self.asked[encoding].is_none_or(|asked| now.saturating_duration_since(asked) >= WITHIN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtp::{Codec, Track};

    const SCREEN: Encoding = Encoding { track: Track::Screen, tier: crate::rtp::Tier::Full, codec: Codec::H264 };

    /// The seconds of the key frames in two minutes, if `servers` ask every two seconds, each a bit later than the one
    /// before, and an encoder answers within 30 ms. `class` has the seconds of key frames for students.
    fn made(servers: usize, class: &[u64]) -> Vec<f64> {
        let (mut budget, start) = (KeyFrameBudget::default(), Instant::now());
        let mut last = PerEncoding::<Option<Instant>>::default();
        let (mut made, mut ordered) = (Vec::new(), None);
        for millis in (0..120_000).step_by(10) {
            let now = start + Duration::from_millis(millis);
            if ordered.is_some_and(|at| at <= millis) || class.iter().any(|second| second * 1_000 == millis) {
                (last[SCREEN], ordered) = (Some(now), None);
                made.push(millis as f64 / 1_000.0);
            }
            for server in 0..servers {
                let is_time = millis % 2_000 == server as u64 * 70 % 2_000;
                if is_time && budget.want(now, (server, HostKind::Whip), SCREEN, last[SCREEN]) {
                    ordered = Some(millis + 30);
                }
            }
            if budget.deadline(now, &last).is_some_and(|deadline| deadline <= now) && budget.due(now, &last) == [SCREEN]
            {
                ordered = Some(millis + 30);
            }
        }
        made
    }

    #[test]
    fn a_server_that_asks_every_two_seconds_gets_a_key_frame_every_eight() {
        let times = made(1, &[]);
        assert_eq!(times[..4], [0.03, 2.03, 10.06, 18.09], "two at once, and then in turn");
        // Two at once are renewed each half minute.
        assert!((12..=24).contains(&times.len()), "{times:?}");
        let of_half_minute = times.iter().filter(|at| (2.5..30.0).contains(*at)).count();
        assert_eq!(of_half_minute, 3, "{times:?}");
    }

    #[test]
    fn key_frames_for_students_count_for_servers() {
        let class: Vec<u64> = (0..120).step_by(6).collect();
        let (alone, shared) = (made(1, &[]).len(), made(1, &class).len());
        assert!(shared <= class.len() + 9 && alone > 12, "{shared} {alone}");
    }

    /// How long each of the students waits who come at these times in milliseconds, if the server asks for each of them
    /// alone, and how many key frames are made in a minute.
    fn waits(comes: &[u64]) -> (Vec<u64>, usize) {
        let (mut budget, start) = (KeyFrameBudget::of_students(), Instant::now());
        let mut last = PerEncoding::<Option<Instant>>::default();
        let (mut waiting, mut waits, mut made, mut ordered) = (Vec::new(), Vec::new(), 0, None);
        for millis in (0..60_000).step_by(10) {
            let now = start + Duration::from_millis(millis);
            if ordered.is_some_and(|at| at <= millis) {
                (last[SCREEN], ordered) = (Some(now), None);
                made += 1;
                waits.extend(waiting.drain(..).map(|since| millis - since));
            }
            if comes.contains(&millis) {
                waiting.push(millis);
                budget.serves(waits.len() + waiting.len(), true, HostKind::Janus);
                if budget.want(now, (0, HostKind::Janus), SCREEN, last[SCREEN]) {
                    ordered = Some(millis + 30);
                }
            }
            if budget.deadline(now, &last).is_some_and(|deadline| deadline <= now) && !budget.due(now, &last).is_empty()
            {
                ordered = Some(millis + 30);
            }
        }
        (waits, made)
    }

    #[test]
    fn a_student_who_comes_to_a_server_waits_for_a_second_at_most() {
        let late: Vec<u64> = (0..20).map(|n| n * 2_000).collect();
        assert_eq!(waits(&late), (vec![30; 20], 20));
        let (storm, made) = waits(&(0..200).map(|n| n * 20).collect::<Vec<_>>());
        assert!(storm.len() == 200 && storm.iter().all(|wait| *wait <= 1_040) && made <= 6, "{made} {storm:?}");
        let mut budget = KeyFrameBudget::of_students();
        for (students, kind, seconds) in [(4, HostKind::Whip, 8), (1, HostKind::Janus, 8), (4, HostKind::Janus, 2)] {
            budget.serves(students, false, kind);
            assert_eq!(budget.interval, Duration::from_secs(seconds), "{students}");
        }
    }

    #[test]
    fn many_servers_share_one_interval() {
        // Beyond those at once, each server costs nothing more.
        let (one, ten) = (made(1, &[]), made(10, &[]));
        let steady = |times: &[f64]| times.iter().filter(|at| (3.0..29.0).contains(*at)).count();
        assert_eq!((steady(&one), steady(&ten)), (3, 3), "{one:?} {ten:?}");
    }
}
