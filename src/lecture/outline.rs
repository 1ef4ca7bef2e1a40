//! The timeline of a lecture before it begins, for `--dry-run`.

use std::time::Duration;

use serde::Serialize;

use super::{End, Lecture, Scene, Source, SourceFacts, clock};

/// A scene of the outline.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Row {
    /// The number of the scene, from 1.
    number: usize,
    /// The name of the scene.
    name: String,
    /// The line in the file.
    line: usize,
    /// When the scene begins: a time of day, a time since the start, or nothing because that depends on the teacher.
    begins: Option<String>,
    /// How long the scene lasts; nothing if that depends on the teacher.
    lasts: Option<String>,
    /// The source in words.
    source: String,
    /// The chapter that begins here.
    chapter: Option<String>,
    /// The reason for which the scene would fail.
    problem: Option<String>,
}

/// When a scene begins.
#[derive(Debug, Clone, Copy)]
enum Begin {
    /// At this time of day.
    Clock(Duration),
    /// So long after the start of the lecture.
    Since(Duration),
    /// When the teacher orders the scene.
    Unknown,
}

impl Begin {
    fn plus(self, time: Option<Duration>) -> Self {
        match (self, time) {
            (Self::Clock(begin), Some(time)) => Self::Clock(begin + time),
            (Self::Since(begin), Some(time)) => Self::Since(begin + time),
            _ => Self::Unknown,
        }
    }

    fn words(self) -> Option<String> {
        match self {
            Self::Clock(time) => Some(clock(time)),
            Self::Since(time) => Some(format!("+{}", clock(time))),
            Self::Unknown => None,
        }
    }
}

/// The outline of a lecture. `facts` belong to the scenes of the same index; an error is what would fail.
pub(crate) fn outline(lecture: &Lecture, facts: &[Result<SourceFacts, String>]) -> Vec<Row> {
    let known: Vec<SourceFacts> = facts.iter().map(|facts| facts.clone().unwrap_or_default()).collect();
    let mut begin = Begin::Since(Duration::ZERO);
    let mut rows = Vec::new();
    for (index, scene) in lecture.scenes.iter().enumerate() {
        begin = scene.at.map_or(begin, Begin::Clock);
        let facts = facts.get(index).cloned().unwrap_or_else(|| Ok(SourceFacts::default()));
        let next = lecture.scenes.get(index + 1).and_then(|next| next.at);
        let lasts = match (begin, next) {
            // The start of the next scene cuts this one, or lets it stay.
            (Begin::Clock(begin), Some(next)) => Some(next.saturating_sub(begin)),
            _ => length(scene, known.get(index).copied().unwrap_or_default()),
        };
        rows.push(Row {
            number: index + 1,
            name: scene.name.clone(),
            line: scene.place.line,
            begins: begin.words(),
            lasts: lasts.map(clock),
            source: scene.source.words(),
            chapter: scene.chapter.clone(),
            problem: facts.and_then(|facts| scene.source.page_range(facts)).err(),
        });
        begin = begin.plus(lasts);
    }
    rows
}

/// How long a scene lasts by itself.
fn length(scene: &Scene, facts: SourceFacts) -> Option<Duration> {
    match (scene.end, &scene.source) {
        (End::After(length), _) => Some(length),
        (End::Source, Source::Slides { every: Some(every), .. }) => {
            let (first, last) = scene.source.page_range(facts).ok()??;
            Some(*every * u32::try_from(last - first + 1).ok()?)
        }
        (End::Source, _) => facts.length,
        (End::Key | End::NextStart, _) => None,
    }
}

impl Row {
    /// Whether something would fail.
    pub(crate) fn fails(&self) -> bool {
        self.problem.is_some()
    }

    /// The row of a table.
    pub(crate) fn words(&self) -> String {
        let begins = self.begins.as_deref().unwrap_or("-");
        let lasts = self.lasts.as_deref().unwrap_or("-");
        let name = if self.name == self.number.to_string() { String::new() } else { format!("{}: ", self.name) };
        let chapter = self.chapter.as_ref().map(|chapter| format!("; chapter {chapter}")).unwrap_or_default();
        let problem = self.problem.as_ref().map(|problem| format!("\n     fails: {problem}")).unwrap_or_default();
        format!("{:>3}  {begins:<9}  {lasts:<8}  {name}{}{chapter}{problem}", self.number, self.source)
    }

    /// The titles of the columns of [`Row::words`].
    pub(crate) fn titles() -> String {
        format!("{:>3}  {:<9}  {:<8}  scene", "", "begins", "lasts")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lecture::parse;

    #[test]
    fn the_outline_says_when_each_scene_begins_and_what_would_fail() {
        let lecture = parse(
            r#"
            [[scene]]
            name = "welcome"
            slate = "soon"
            for = "2m"
            chapter = "Start"
            [[scene]]
            slides = "a.pdf"
            every = "30s"
            [[scene]]
            image = "a.png"
            until = "key"
            [[scene]]
            video = "a.mp4"
            [[scene]]
            at = "09:30"
            test = true
            for = "5m"
            [[scene]]
            at = "09:31"
            slides = "a.pdf"
            pages = "4-6"
            until = "key"
            "#,
        )
        .unwrap();
        let pages = Ok(SourceFacts { length: None, pages: Some(5) });
        let nothing = Ok(SourceFacts::default());
        let facts = [nothing.clone(), pages.clone(), nothing.clone(), Err("no file".into()), nothing, pages];
        let rows = outline(&lecture, &facts);
        let times: Vec<(Option<&str>, Option<&str>)> =
            rows.iter().map(|row| (row.begins.as_deref(), row.lasts.as_deref())).collect();
        assert_eq!(
            times,
            [
                (Some("+00:00:00"), Some("00:02:00")),
                (Some("+00:02:00"), Some("00:02:30")),
                (Some("+00:04:30"), None),
                (None, None),
                (Some("09:30:00"), Some("00:01:00")),
                (Some("09:31:00"), None),
            ]
        );
        assert_eq!(rows[0].words(), "  1  +00:00:00  00:02:00  welcome: slate \"soon\"; chapter Start");
        assert_eq!(rows[3].words(), "  4  -          -         video a.mp4\n     fails: no file");
        assert!(rows[5].words().contains("no page 6: it has pages 1 to 5"), "{:?}", rows[5]);
        assert_eq!(rows.iter().filter(|row| row.fails()).count(), 2);
    }
}
