//! The figures of a row, and whether it holds.

use std::time::Duration;

use serde_json::Value;

use crate::attack::Tally;
use crate::class::is_of_speaker;

/// By how many MB teacher and server together may grow.
pub const MAX_GROWTH_MB: f64 = 200.0;

/// How long an honest newcomer may wait for its first picture. The machine runs both the class and the attack.
pub const NEWCOMER_WITHIN: Duration = Duration::from_secs(10);

/// A gap between two statistics of a student that counts as a gap between pictures. They come once a second.
const STATS_GAP: f64 = 2.5;

/// The head of the table.
pub const HEADER: &str = "\
attack               freezes  longest  lost  withheld  memory    newcomer  third host        CPU  verdict";

/// The lecture as healthy students saw it during an attack.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Sight {
    /// Freezes, and times in which the picture was withheld.
    pub freezes: u64,
    /// Milliseconds of the longest time without a new picture. Freezes that begin within the same second count as one.
    pub longest_ms: u64,
    /// Milliseconds without a new picture in all.
    pub frozen_ms: u64,
    /// The part of `frozen_ms` in which the teacher withheld the picture.
    pub withheld_ms: u64,
    /// Packets that never arrived.
    pub lost: u64,
}

impl Sight {
    /// From the events of a student: `before` of them came before the attack.
    pub fn of(events: &[Value], before: usize) -> Self {
        let is_stats = |event: &&Value| event["event"] == "stats" && event["track"] == "screen";
        let number = |event: &Value, name: &str| event[name].as_u64().unwrap_or_default();
        let mut last = events[..before].iter().rev().find(is_stats);
        let (mut sight, mut current) = (Self::default(), 0);
        for event in events[before..].iter().filter(is_stats) {
            let grown = |name: &str| {
                let (now, before) = (number(event, name), last.map_or(0, |last| number(last, name)));
                // A new connection counts from 0.
                if now >= before { now - before } else { now }
            };
            let away = last.and_then(|last| seconds_between(last, event)).filter(|away| *away > STATS_GAP);
            let away_ms = away.map_or(0, |away| (away * 1000.0) as u64 - 1000);
            let frozen = grown("freeze_ms").max(away_ms);
            current = if frozen > 0 { current + frozen } else { 0 };
            sight.freezes += grown("freezes").max(u64::from(away_ms > 0));
            sight.longest_ms = sight.longest_ms.max(current);
            sight.frozen_ms += frozen;
            sight.withheld_ms += grown("withheld_ms");
            sight.lost += grown("lost");
            last = Some(event);
        }
        sight
    }

    /// The worst of two students.
    pub fn worst(self, other: Self) -> Self {
        Self {
            freezes: self.freezes.max(other.freezes),
            longest_ms: self.longest_ms.max(other.longest_ms),
            frozen_ms: self.frozen_ms.max(other.frozen_ms),
            withheld_ms: self.withheld_ms.max(other.withheld_ms),
            lost: self.lost.max(other.lost),
        }
    }
}

/// The honest speaker's picture as healthy students saw it during an attack.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Stage {
    pub freezes: u64,
    pub frames: u64,
}

impl Stage {
    /// From the events of a student: `before` of them came before the attack.
    pub fn of(events: &[Value], before: usize) -> Self {
        let count = |event: Option<&Value>, name: &str| event.and_then(|event| event[name].as_u64()).unwrap_or(0);
        let (first, last) = (
            events[..before].iter().rfind(|event| is_of_speaker(event)),
            events.iter().rfind(|event| is_of_speaker(event)),
        );
        // A new render, and so a new connection, counts from 0.
        let grown =
            |name: &str| count(last, name).checked_sub(count(first, name)).unwrap_or(u64::from(name == "freezes"));
        Self { freezes: grown("freezes"), frames: grown("frames") }
    }

    /// The worst of two students.
    pub fn worst(self, other: Self) -> Self {
        Self { freezes: self.freezes.max(other.freezes), frames: self.frames.min(other.frames) }
    }
}

/// The time between two events, from their `at` (RFC 3339, UTC). None across midnight.
fn seconds_between(before: &Value, after: &Value) -> Option<f64> {
    let of_day = |event: &Value| {
        let time = event["at"].as_str()?.split('T').nth(1)?.trim_end_matches('Z').to_owned();
        let parts: Vec<f64> = time.split(':').map_while(|part| part.parse().ok()).collect();
        let [hours, minutes, seconds] = parts[..] else { return None };
        Some((hours * 60.0 + minutes) * 60.0 + seconds)
    };
    Some(of_day(after)? - of_day(before)?).filter(|time| *time >= 0.0)
}

/// The result of a row.
#[derive(Debug, Default)]
pub struct Verdict {
    /// The worst of the healthy students; none in a row without them.
    pub sight: Option<Sight>,
    /// The worst of the healthy students; none in a row without a stage.
    pub stage: Option<Stage>,
    /// How long the attack was observed.
    pub observed: Duration,
    /// By how many MB teacher and server together have grown at most.
    pub growth_mb: f64,
    /// How long the newcomer waited for its first picture. The outer option: whether the row has a newcomer.
    pub newcomer: Option<Option<Duration>>,
    /// Packets and bytes that the bystander received.
    pub third: (u64, u64),
    /// CPU time of teacher and server, in percent of a core.
    pub cpu_percent: f64,
    /// The results of the attackers.
    pub tally: Tally,
}

impl Verdict {
    /// The broken promises.
    pub fn failures(&self) -> Vec<String> {
        let mut failures = Vec::new();
        if let Some(sight) = self.sight {
            if sight.freezes > 0 || sight.frozen_ms > 0 {
                failures.push("a healthy student's picture froze".to_owned());
            }
            if sight.lost > 0 {
                failures.push("a healthy student lost packets".to_owned());
            }
        }
        if self.stage.is_some_and(|stage| stage.frames == 0 || stage.freezes > 0) {
            failures.push(format!("the picture of the honest student on the stage stood still: {:?}", self.stage));
        }
        if self.growth_mb >= MAX_GROWTH_MB {
            failures.push(format!("{:.0} MB more, at most {MAX_GROWTH_MB:.0} are allowed", self.growth_mb));
        }
        if self.newcomer == Some(None) {
            failures.push(format!("the newcomer had no picture within {} s", NEWCOMER_WITHIN.as_secs()));
        }
        // Each attack of a crowd may break the same promise.
        for broken in &self.tally.broken {
            if !failures.contains(broken) && failures.len() < 12 {
                failures.push(broken.clone());
            }
        }
        failures
    }

    /// Whether the row holds.
    pub fn holds(&self) -> bool {
        self.failures().is_empty()
    }

    /// The row of the table.
    pub fn line(&self, name: &str) -> String {
        let sight = |text: &dyn Fn(Sight) -> String| self.sight.map_or("-".to_owned(), text);
        let seconds = self.observed.as_secs_f64().max(0.001);
        let newcomer = match self.newcomer {
            None => "-".to_owned(),
            Some(None) => "never".to_owned(),
            Some(Some(time)) => format!("{:.0} ms", time.as_secs_f64() * 1000.0),
        };
        let memory = self.sight.map_or("-".to_owned(), |_| format!("+{:.0} MB", self.growth_mb));
        let (packets, bytes) = self.third;
        format!(
            "{name:<20} {:>7}  {:>7}  {:>4}  {:>8}  {memory:<8}  {newcomer:>8}  {:<16} {:>3.0}%  {}",
            sight(&|sight| sight.freezes.to_string()),
            sight(&|sight| format!("{} ms", sight.longest_ms)),
            sight(&|sight| sight.lost.to_string()),
            sight(&|sight| format!("{:.1} %", sight.withheld_ms as f64 / seconds / 10.0)),
            format!("{packets} / {:.1} MB", bytes as f64 / 1e6),
            self.cpu_percent,
            if self.holds() { "holds" } else { "FAILS" },
        )
    }

    /// The results of the attackers, and the broken promises.
    pub fn notes(&self) -> Vec<String> {
        let answers = self.tally.to_string();
        let answers = (!answers.is_empty()).then(|| format!("attackers: {answers}"));
        answers.into_iter().chain(self.failures()).collect()
    }
}
