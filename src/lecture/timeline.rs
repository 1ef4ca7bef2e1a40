//! Which scene is on at which time, and what an order of the teacher changes.
//!
//! All times are since midnight of the day on which the lecture began, so a lecture that runs over midnight goes on.

use std::time::Duration;

use super::{End, Lecture, Source, SourceFacts, Turn};

/// Where a lecture starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Start {
    /// At the last scene whose `at` has passed, else at the first scene.
    ByClock,
    /// At the beginning of the scene with this index.
    Scene(usize),
    /// In the middle of a scene, unless the `at` of a later one has passed since it was left at `left`.
    Resume {
        /// The index of the scene.
        scene: usize,
        /// The time since the beginning of the scene.
        elapsed: Duration,
        /// The page of slides, from 1.
        page: usize,
        /// When the scene was left.
        left: Duration,
    },
}

/// An order of the teacher.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// Another page of slides, or the scene after or before; a black picture.
    Turn(Turn),
    /// Stop the time of the scene, or let the scene go on.
    Pause,
    /// The scene with this index.
    Scene(usize),
}

/// A change of what the class sees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Change {
    /// Another scene.
    Show(Shown),
    /// Another picture of the same scene.
    Picture(usize),
    /// The scene stands still, or goes on.
    Pause(bool),
    /// A black picture without sound in place of the scene, or the scene again.
    Black(bool),
}

/// A scene that begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shown {
    /// Counts the scenes shown so far, so that the end of an earlier one is not taken for the end of this one.
    pub(crate) number: u64,
    /// The index of the scene.
    pub(crate) scene: usize,
    /// Where a video starts.
    pub(crate) from: Duration,
    /// The index of the page of slides, or the seconds that the countdown of a slate shows.
    pub(crate) picture: usize,
}

/// The rules of one scene.
#[derive(Debug)]
struct Rules {
    at: Option<Duration>,
    end: End,
    /// The first and the last page, from 1.
    pages: Option<(usize, usize)>,
    every: Option<Duration>,
    has_countdown: bool,
}

/// The scene that is on.
#[derive(Debug)]
struct Current {
    shown: Shown,
    /// When the scene began, or would have begun without pauses.
    begun: Duration,
    /// Since when the scene stands still.
    paused: Option<Duration>,
    /// The page, from 1.
    page: usize,
    /// The time of the scene at which the page was turned.
    turned: Duration,
    is_black: bool,
    /// The scene has ended, and stays until the `at` of the next one.
    has_ended: bool,
}

/// A running lecture. Every call is told the time.
#[derive(Debug)]
pub(crate) struct Timeline {
    scenes: Vec<Rules>,
    current: Option<Current>,
    /// The time of the last call. Starts that were passed before do nothing.
    seen: Duration,
    shown: u64,
    is_over: bool,
}

impl Current {
    fn elapsed(&self, now: Duration) -> Duration {
        self.paused.unwrap_or(now).saturating_sub(self.begun)
    }
}

impl Timeline {
    /// A lecture that has not begun. The facts belong to the scenes of the same index.
    ///
    /// # Errors
    /// The index of a scene, and a sentence: its pages are not in the document.
    pub(crate) fn new(lecture: &Lecture, facts: &[SourceFacts]) -> Result<Self, (usize, String)> {
        let rules = |(index, scene): (usize, &super::Scene)| {
            let facts = facts.get(index).copied().unwrap_or_default();
            let pages = scene.source.page_range(facts).map_err(|sentence| (index, sentence))?;
            let (mut every, mut has_countdown) = (None, false);
            match &scene.source {
                Source::Slides { every: time, .. } => every = *time,
                Source::Slate { countdown, .. } => has_countdown = *countdown,
                Source::Video(_) | Source::Image(_) | Source::Test => {}
            }
            Ok(Rules { at: scene.at, end: scene.end, pages, every, has_countdown })
        };
        let scenes = lecture.scenes.iter().enumerate().map(rules).collect::<Result<Vec<_>, _>>()?;
        Ok(Self { scenes, current: None, seen: Duration::ZERO, shown: 0, is_over: false })
    }

    /// Begins the lecture.
    pub(crate) fn start(&mut self, now: Duration, start: Start) -> Vec<Change> {
        self.seen = now;
        let passed = |after: Option<Duration>, scene: &Rules| {
            scene.at.is_some_and(|at| at <= now && after.is_none_or(|after| after < at))
        };
        let last = |from: usize, after: Option<Duration>| {
            (from..self.scenes.len()).rev().find(|index| passed(after, &self.scenes[*index]))
        };
        match start {
            Start::ByClock => match last(0, None) {
                Some(index) => self.show(now, index),
                // The first scene waits for its time.
                None if self.scenes[0].at.is_some() => Vec::new(),
                None => self.show(now, 0),
            },
            Start::Scene(index) => self.show(now, index),
            Start::Resume { scene, elapsed, page, left } => {
                if let Some(later) = last(scene + 1, Some(left)) {
                    return self.show(now, later);
                }
                self.resume(now, scene, elapsed, page)
            }
        }
    }

    /// Whether the last scene has ended.
    pub(crate) fn is_over(&self) -> bool {
        self.is_over
    }

    /// The scene that is on: its index, the time since its beginning, and its page.
    pub(crate) fn position(&self, now: Duration) -> Option<(usize, Duration, usize)> {
        let current = self.current.as_ref()?;
        Some((current.shown.scene, current.elapsed(now), current.page))
    }

    /// The next time at which [`Timeline::tick`] changes something.
    pub(crate) fn next_tick(&self) -> Option<Duration> {
        if self.is_over {
            return None;
        }
        let start = self.scenes.iter().filter_map(|scene| scene.at).find(|at| *at > self.seen);
        let Some(current) = &self.current else { return start };
        let rules = &self.scenes[current.shown.scene];
        let runs = current.paused.is_none() && !current.has_ended;
        let end = match rules.end {
            End::After(length) if runs => Some(current.begun + length),
            _ => None,
        };
        let turn = rules.every.filter(|_| runs).map(|every| current.begun + current.turned + every);
        // While the scene stands still, only the start of the next scene comes nearer.
        let counts = rules.has_countdown && (runs || self.next_start(self.seen).is_some());
        let second = counts
            .then(|| self.seconds_left(self.seen))
            .flatten()
            .and_then(|(left, end)| (left > 0).then(|| end.saturating_sub(Duration::from_secs(left as u64 - 1))));
        [start, end, turn, second].into_iter().flatten().min()
    }

    /// Changes what is due.
    pub(crate) fn tick(&mut self, now: Duration) -> Vec<Change> {
        if self.is_over {
            return Vec::new();
        }
        let before = self.seen;
        self.seen = now.max(before);
        let first = self.current.as_ref().map_or(0, |current| current.shown.scene + 1);
        let due = |scene: &Rules| scene.at.is_some_and(|at| before < at && at <= now);
        if let Some(index) = (first..self.scenes.len()).rev().find(|index| due(&self.scenes[*index])) {
            return self.show(now, index);
        }
        let Some(current) = &self.current else { return Vec::new() };
        let rules = &self.scenes[current.shown.scene];
        let elapsed = current.elapsed(now);
        if current.paused.is_none() && !current.has_ended {
            if let End::After(length) = rules.end
                && elapsed >= length
            {
                return self.end(now);
            }
            if let (Some(every), Some((_, last))) = (rules.every, rules.pages)
                && elapsed >= current.turned + every
            {
                if current.page < last {
                    return self.turn_to(now, current.page + 1);
                }
                if rules.end == End::Source {
                    return self.end(now);
                }
                // The last page stays until the end of the scene.
                if let Some(current) = &mut self.current {
                    current.turned = elapsed;
                }
                return Vec::new();
            }
        }
        if rules.has_countdown {
            let left = self.seconds_left(now).map_or(0, |(left, _)| left);
            return self.picture(left);
        }
        Vec::new()
    }

    /// The source of a scene has ended.
    pub(crate) fn source_ended(&mut self, now: Duration, number: u64) -> Vec<Change> {
        let is_current = self.current.as_ref().is_some_and(|current| current.shown.number == number);
        let ends = |current: &Current| self.scenes[current.shown.scene].end == End::Source && !current.has_ended;
        if is_current && self.current.as_ref().is_some_and(ends) { self.end(now) } else { Vec::new() }
    }

    /// A scene can't be shown, so the next one follows.
    pub(crate) fn failed(&mut self, now: Duration, number: u64) -> Vec<Change> {
        let is_current = self.current.as_ref().is_some_and(|current| current.shown.number == number);
        if is_current { self.end(now) } else { Vec::new() }
    }

    /// An order of the teacher.
    ///
    /// # Errors
    /// A sentence for the teacher: there is no such page or scene.
    pub(crate) fn order(&mut self, now: Duration, order: Order) -> Result<Vec<Change>, String> {
        let Some(current) = &mut self.current else {
            return match order {
                Order::Turn(Turn::Next) => Ok(self.show(now, 0)),
                Order::Scene(index) => Ok(self.show(now, index)),
                Order::Turn(_) | Order::Pause => Err("no scene is on yet; /next begins the first one".into()),
            };
        };
        let scene = current.shown.scene;
        let rules = &self.scenes[scene];
        let pages = rules.pages;
        Ok(match order {
            Order::Scene(index) => self.show(now, index),
            Order::Pause => {
                match current.paused.take() {
                    Some(paused) => current.begun += now.saturating_sub(paused),
                    None => current.paused = Some(now),
                }
                vec![Change::Pause(current.paused.is_some())]
            }
            Order::Turn(Turn::Black) => {
                current.is_black = !current.is_black;
                vec![Change::Black(current.is_black)]
            }
            Order::Turn(Turn::Next) => match pages {
                Some((_, last)) if current.page < last => {
                    let page = current.page + 1;
                    self.turn_to(now, page)
                }
                _ => self.follow(now),
            },
            Order::Turn(Turn::Previous) => match pages {
                Some((first, _)) if current.page > first => {
                    let page = current.page - 1;
                    self.turn_to(now, page)
                }
                _ if scene == 0 => return Err("this is the beginning of the first scene".into()),
                _ => self.show_last_page(now, scene - 1),
            },
            Order::Turn(turn @ (Turn::First | Turn::Last | Turn::Page(_))) => {
                let (first, last) = pages.ok_or("this scene has no pages; /scene 2 shows another scene")?;
                let page = match turn {
                    Turn::First => first,
                    Turn::Page(page) => page,
                    _ => last,
                };
                if !(first..=last).contains(&page) {
                    return Err(format!("this scene has no page {page}: it has pages {first} to {last}"));
                }
                self.turn_to(now, page)
            }
        })
    }

    /// The scene that is on has ended: the next one follows, or waits for its time.
    fn end(&mut self, now: Duration) -> Vec<Change> {
        let waits = self.next_start(now).is_some();
        match &mut self.current {
            Some(current) if waits => {
                current.has_ended = true;
                Vec::new()
            }
            _ => self.follow(now),
        }
    }

    /// Shows the next scene, without regard to its `at`.
    fn follow(&mut self, now: Duration) -> Vec<Change> {
        let next = self.current.as_ref().map_or(0, |current| current.shown.scene + 1);
        if next < self.scenes.len() {
            return self.show(now, next);
        }
        self.is_over = true;
        Vec::new()
    }

    fn show(&mut self, now: Duration, scene: usize) -> Vec<Change> {
        self.resume(now, scene, Duration::ZERO, 1)
    }

    /// Slides that the teacher turns are left backwards from their first page, so they are entered at their last one.
    fn show_last_page(&mut self, now: Duration, scene: usize) -> Vec<Change> {
        let rules = &self.scenes[scene];
        let page = rules.pages.filter(|_| rules.every.is_none()).map_or(1, |(_, last)| last);
        self.resume(now, scene, Duration::ZERO, page)
    }

    fn resume(&mut self, now: Duration, scene: usize, elapsed: Duration, page: usize) -> Vec<Change> {
        let rules = &self.scenes[scene];
        let page = rules.pages.map_or(1, |(first, last)| page.clamp(first, last));
        self.shown += 1;
        let shown = Shown { number: self.shown, scene, from: elapsed, picture: page - 1 };
        let begun = now.saturating_sub(elapsed);
        // A page that was on for a while starts its time again.
        let turned = now.saturating_sub(begun);
        let has_countdown = rules.has_countdown;
        let current = Current { shown, begun, paused: None, page, turned, is_black: false, has_ended: false };
        self.current = Some(current);
        let left = if has_countdown { self.seconds_left(now).map_or(0, |(left, _)| left) } else { page - 1 };
        let Some(current) = &mut self.current else { return Vec::new() };
        current.shown.picture = left;
        vec![Change::Show(current.shown)]
    }

    fn turn_to(&mut self, now: Duration, page: usize) -> Vec<Change> {
        let Some(current) = &mut self.current else { return Vec::new() };
        (current.page, current.turned) = (page, current.elapsed(now));
        let mut changes = Vec::new();
        if std::mem::take(&mut current.is_black) {
            changes.push(Change::Black(false));
        }
        changes.extend(self.picture(page - 1));
        changes
    }

    fn picture(&mut self, picture: usize) -> Vec<Change> {
        match &mut self.current {
            Some(current) if current.shown.picture != picture => {
                current.shown.picture = picture;
                vec![Change::Picture(picture)]
            }
            _ => Vec::new(),
        }
    }

    /// The `at` of the next scene, if that is still to come.
    fn next_start(&self, now: Duration) -> Option<Duration> {
        let current = self.current.as_ref()?;
        self.scenes.get(current.shown.scene + 1)?.at.filter(|at| *at > now)
    }

    /// The seconds until the next scene begins, as far as that is known, and the time at which it begins.
    fn seconds_left(&self, now: Duration) -> Option<(usize, Duration)> {
        let current = self.current.as_ref()?;
        let length = match self.scenes[current.shown.scene].end {
            End::After(length) => Some(length),
            _ => None,
        };
        // A pause moves the end, but not the start of a scene with `at`.
        let own = length.map(|length| now + length.saturating_sub(current.elapsed(now)));
        let end = self.next_start(now).or(own)?;
        let left = end.saturating_sub(now);
        let seconds = left.as_secs() + u64::from(left.subsec_nanos() > 0);
        Some((usize::try_from(seconds).unwrap_or(usize::MAX), end))
    }
}

#[cfg(test)]
mod tests;
