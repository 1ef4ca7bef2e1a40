//! The scene of a lecture that the class sees.

use serde::Serialize;

use super::format;

/// The scene that the class sees from now on.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SceneReport {
    /// The name of the scene.
    pub scene: String,
    /// The number of the scene, from 1.
    pub number: usize,
    /// The number of scenes.
    pub of: usize,
    /// The source: `slides`, `video`, `image`, `slate` or `test`.
    pub source: &'static str,
    /// The file as it was written; `None` without one.
    pub file: Option<String>,
    /// Seconds from the beginning of the scene to where it starts; not 0 after `--resume`.
    #[serde(serialize_with = "format::one_decimal")]
    pub from: f64,
    /// The chapter that begins here; `None` if the one before goes on.
    pub chapter: Option<String>,
}

impl SceneReport {
    /// `scene 3 of 12`, for the status line.
    pub(super) fn words(&self) -> String {
        format!("scene {} of {}", self.number, self.of)
    }

    /// The sentence for people.
    pub(super) fn sentence(&self) -> String {
        let name = if self.scene == self.number.to_string() { String::new() } else { format!(", {}", self.scene) };
        let source = match &self.file {
            Some(file) => format!("{} {file}", self.source),
            None => self.source.to_owned(),
        };
        let from = if self.from > 0.0 { format!(" from {}", format::time(self.from)) } else { String::new() };
        let chapter = self.chapter.as_ref().map(|chapter| format!("; chapter {chapter}")).unwrap_or_default();
        format!("{}{name}: {source}{from}{chapter}", self.words())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_teacher_reads_which_scene_is_on() {
        let report =
            SceneReport { scene: "2".into(), number: 2, of: 5, source: "slate", file: None, from: 0.0, chapter: None };
        assert_eq!(report.sentence(), "scene 2 of 5: slate");
        let report = SceneReport {
            scene: "film".into(),
            source: "video",
            file: Some("a.mp4".into()),
            from: 42.0,
            chapter: Some("Waves".into()),
            ..report
        };
        let sentence = report.sentence();
        assert!(sentence.starts_with("scene 2 of 5, film: video a.mp4 from 42"), "{sentence}");
        assert!(sentence.ends_with("; chapter Waves"), "{sentence}");
    }
}
