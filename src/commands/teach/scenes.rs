//! The scenes of a lecture while it runs: their time by the clock of this computer, and the position that is saved.

use std::path::PathBuf;
use std::time::Duration;

use jiff::ZonedDateTime;
use jiff::civil::DateTime;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::script::Script;
use crate::cli::{LectureStart, Teach};
use crate::commands::lecture_orders::LectureOrder;
use crate::exit::Failure;
use crate::lecture::{Change, Order, Saved, Source, SourceFacts, Start, Timeline};
use crate::report::{Reporter, SceneReport};
use crate::state_dir;

/// How long the end of a lecture waits for the disk.
const LAST_WITHIN: Duration = Duration::from_secs(5);

/// The scenes of a running lecture.
pub(super) struct Scenes {
    script: Script,
    timeline: Timeline,
    clock: DayClock,
    /// `None` if there is no place for the position.
    saver: Option<Saver>,
}

/// The time since midnight of the day on which the lecture began.
#[derive(Debug)]
struct DayClock {
    midnight: DateTime,
    latest: Duration,
}

impl DayClock {
    fn new() -> Self {
        let midnight = ZonedDateTime::now().datetime().date().at(0, 0, 0, 0);
        Self { midnight, latest: Duration::ZERO }
    }

    /// Never goes back: a clock that is set back makes a scene longer.
    fn now(&mut self) -> Duration {
        let now = ZonedDateTime::now().datetime().duration_since(self.midnight);
        self.latest = self.latest.max(Duration::try_from(now).unwrap_or_default());
        self.latest
    }
}

impl Scenes {
    /// The scenes, as the capture has opened them. Also says why a lecture that should resume does not.
    ///
    /// # Errors
    /// [`Failure::usage`]: a scene wants pages that its document does not have.
    pub(super) fn new(
        script: Script,
        facts: &[SourceFacts],
        teach: &Teach,
        reporter: &Reporter,
    ) -> Result<Self, Failure> {
        let timeline = Timeline::new(&script.lecture, facts);
        let timeline =
            timeline.map_err(|(index, cause)| Failure::usage(anyhow::anyhow!(script.mistake(index, cause))))?;
        let name = format!("lecture-{}-{}.json", teach.room, teach.user);
        let saver = match state_dir::state_dir() {
            Ok(folder) => Some(Saver::start(folder.join(name), reporter)),
            Err(error) => {
                reporter.warn(format!("the position in the lecture can't be saved for --resume: {error}"));
                None
            }
        };
        Ok(Self { script, timeline, clock: DayClock::new(), saver })
    }

    /// Begins the lecture.
    pub(super) fn begin(&mut self, reporter: &Reporter) -> Vec<Change> {
        let start = match &self.script.start {
            LectureStart::ByClock => Start::ByClock,
            // The name was checked when the file was read.
            LectureStart::From(scene) => self.script.lecture.find(scene).map_or(Start::ByClock, Start::Scene),
            LectureStart::Resume => self.saved().unwrap_or_else(|why| {
                reporter.notice(format!("the lecture begins as usual: {why}"));
                Start::ByClock
            }),
        };
        let now = self.clock.now();
        self.timeline.start(now, start)
    }

    /// Where the lecture was left today.
    fn saved(&self) -> Result<Start, String> {
        let path = self.saver.as_ref().map(|saver| &saver.path).ok_or("there is no saved position")?;
        let text = std::fs::read_to_string(path).map_err(|_| "there is no saved position".to_owned())?;
        let day = self.clock.midnight.date().to_string();
        Saved::start(&text, &self.script.file, &day, &self.script.lecture).map_err(|error| error.to_string())
    }

    /// When [`Scenes::tick`] is due.
    pub(super) fn next_tick(&mut self) -> Option<Instant> {
        let now = self.clock.now();
        self.timeline.next_tick().map(|due| Instant::now() + due.saturating_sub(now))
    }

    /// Changes what is due.
    pub(super) fn tick(&mut self) -> Vec<Change> {
        let now = self.clock.now();
        self.timeline.tick(now)
    }

    /// An order of the teacher. `None` if it is about something else; an error is a sentence for the teacher.
    pub(super) fn order(&mut self, order: &LectureOrder) -> Option<Result<Vec<Change>, String>> {
        let order = match order {
            LectureOrder::Turn(turn) => Order::Turn(*turn),
            LectureOrder::Pause => Order::Pause,
            LectureOrder::Scene(scene) => match self.script.lecture.find(scene) {
                Ok(index) => Order::Scene(index),
                Err(sentence) => return Some(Err(sentence)),
            },
            LectureOrder::Missing => return None,
        };
        let now = self.clock.now();
        Some(self.timeline.order(now, order))
    }

    /// The video of a scene has ended.
    pub(super) fn ended(&mut self, number: u64) -> Vec<Change> {
        let now = self.clock.now();
        self.timeline.source_ended(now, number)
    }

    /// A scene can't be shown. Returns a sentence for the teacher as well.
    pub(super) fn failed(&mut self, scene: usize, number: u64, cause: &str) -> (Vec<Change>, String) {
        let now = self.clock.now();
        (self.timeline.failed(now, number), self.script.mistake(scene, format!("the scene is skipped: {cause}")))
    }

    /// Whether the last scene has ended.
    pub(super) fn is_over(&self) -> bool {
        self.timeline.is_over()
    }

    /// The report about a scene that the class sees now, and its text for the chat.
    pub(super) fn shown(&self, scene: usize, from: Duration) -> Option<(SceneReport, Option<String>)> {
        let shown = self.script.lecture.scenes.get(scene)?;
        let source = match &shown.source {
            Source::Slides { .. } => "slides",
            Source::Video(_) => "video",
            Source::Image(_) => "image",
            Source::Slate { .. } => "slate",
            Source::Test => "test",
        };
        let report = SceneReport {
            scene: shown.name.clone(),
            number: scene + 1,
            of: self.script.lecture.scenes.len(),
            source,
            file: shown.source.path().map(|path| path.display().to_string()),
            from: from.as_secs_f64(),
            chapter: shown.chapter.clone(),
        };
        // A lecture that resumes has said its text.
        Some((report, shown.chat.clone().filter(|_| from.is_zero())))
    }

    /// Saves the position for `--resume`.
    pub(super) fn save(&mut self) {
        let now = self.clock.now();
        let (Some((scene, elapsed, page)), Some(saver)) = (self.timeline.position(now), &self.saver) else { return };
        let Some(scene) = self.script.lecture.scenes.get(scene) else { return };
        let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let saved = Saved {
            file: self.script.file.clone(),
            day: self.clock.midnight.date().to_string(),
            left_ms: ms(now),
            scene: scene.name.clone(),
            elapsed_ms: ms(elapsed),
            page,
        };
        saver.texts.send_replace(Some(saved.to_json()));
    }

    /// Ends the lecture: nothing is left to resume after the last scene.
    pub(super) async fn close(mut self) {
        if !self.is_over() {
            self.save();
        }
        let is_over = self.is_over();
        let Some(Saver { path, texts, task }) = self.saver.take() else { return };
        drop(texts);
        // A disk that does not respond must not keep the process.
        let _ = tokio::time::timeout(LAST_WITHIN, task).await;
        if is_over {
            let _ = std::fs::remove_file(path);
        }
    }
}

/// Writes the position. A slow disk blocks nobody: a newer position replaces the one that waits to be written.
struct Saver {
    path: PathBuf,
    texts: watch::Sender<Option<String>>,
    task: JoinHandle<()>,
}

impl Saver {
    fn start(path: PathBuf, reporter: &Reporter) -> Self {
        let (texts, mut queue) = watch::channel(None::<String>);
        let (to, reporter) = (path.clone(), reporter.clone());
        let write = async move {
            let mut has_failed = false;
            while queue.changed().await.is_ok() {
                let Some(text) = queue.borrow_and_update().clone() else { continue };
                let path = to.clone();
                let written = tokio::task::spawn_blocking(move || state_dir::replace(&path, &text)).await;
                let error = match written {
                    Ok(Err(error)) => error.to_string(),
                    Err(error) => error.to_string(),
                    Ok(Ok(())) => continue,
                };
                // Warn once, not every second.
                if !std::mem::replace(&mut has_failed, true) {
                    reporter.warn(format!("the position in the lecture can't be saved for --resume: {error}"));
                }
            }
        };
        Self { path, texts, task: tokio::spawn(write) }
    }
}
