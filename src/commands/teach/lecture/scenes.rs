//! The scenes of a running lecture, and its end when nobody is there.

use std::time::{Duration, Instant};

use super::Lecture;
use crate::commands::chat_commands::TeacherInput;
use crate::commands::lecture_orders::LectureOrder;
use crate::commands::teach::scenes::Scenes;
use crate::lecture::Change;
use crate::media::SceneEvent;
use crate::report::{EndReason, Event};

impl Lecture<'_> {
    /// Begins with the first scene, if the lecture has scenes.
    pub(super) fn begin_scenes(&mut self) {
        let changes = self.scenes.as_mut().map(|scenes| scenes.begin(self.reporter)).unwrap_or_default();
        self.change_scenes(changes);
    }

    /// When [`Lecture::on_scene_tick`] is due.
    pub(super) fn next_scene_tick(&mut self) -> Option<tokio::time::Instant> {
        self.scenes.as_mut()?.next_tick()
    }

    /// Shows what is due. Returns the reason of the end after the last scene.
    pub(super) fn on_scene_tick(&mut self) -> Option<EndReason> {
        let changes = self.scenes.as_mut()?.tick();
        self.change_scenes(changes)
    }

    /// An order about the scenes. `None` if it is about something else.
    pub(super) fn order_scenes(&mut self, order: &LectureOrder) -> Option<Result<Option<EndReason>, String>> {
        let changes = self.scenes.as_mut()?.order(order)?;
        Some(changes.map(|changes| self.change_scenes(changes)))
    }

    /// An event of the scenes. Returns the reason of the end after the last scene.
    pub(super) fn on_scene(&mut self, event: SceneEvent) -> Option<EndReason> {
        let scenes = self.scenes.as_mut()?;
        match event {
            SceneEvent::Shown { scene, from } => {
                let (report, chat) = scenes.shown(scene, from)?;
                self.reporter.event(&Event::Scene(report));
                if let Some(message) =
                    chat.and_then(|chat| self.talk.typed(TeacherInput::Say(chat), &self.sfu, self.reporter))
                {
                    self.send(message);
                }
                None
            }
            SceneEvent::Ended { number } => {
                let changes = scenes.ended(number);
                self.change_scenes(changes)
            }
            SceneEvent::Failed { scene, number, cause } => {
                let (changes, sentence) = scenes.failed(scene, number, &cause);
                self.reporter.warn(sentence);
                self.change_scenes(changes)
            }
        }
    }

    fn change_scenes(&mut self, changes: Vec<Change>) -> Option<EndReason> {
        if let Some(shared) = self.source.shared_capture() {
            for change in changes {
                let sentence = match change {
                    Change::Pause(true) => Some("the scene stands still; /pause lets it go on"),
                    Change::Pause(false) => Some("the scene goes on"),
                    Change::Black(true) => Some("the class sees a black picture; /black shows the scene again"),
                    Change::Black(false) | Change::Show(_) | Change::Picture(_) => None,
                };
                sentence.into_iter().for_each(|sentence| self.reporter.notice(sentence));
                shared.capture().change(change).unwrap_or_else(|sentence| self.reporter.notice(sentence));
            }
        }
        self.scenes.as_ref().is_some_and(Scenes::is_over).then_some(EndReason::EndOfFile)
    }

    /// A second has passed: saves the position in the lecture, and ends the lecture if nobody is there any more.
    pub(super) fn check_class(&mut self, now: Instant) -> Option<EndReason> {
        if let Some(scenes) = &mut self.scenes {
            scenes.save();
        }
        let is_empty = self.students.is_empty();
        self.empty.is_over(now, is_empty, self.teach.exit_when_empty?).then_some(EndReason::Empty)
    }
}

/// Since when no student is there.
#[derive(Debug, Default)]
pub(super) struct EmptyClass(Option<Instant>);

impl EmptyClass {
    /// Whether no student has been there for this long.
    fn is_over(&mut self, now: Instant, is_empty: bool, length: Duration) -> bool {
        if !is_empty {
            self.0 = None;
            return false;
        }
        let since = *self.0.get_or_insert(now);
        now.saturating_duration_since(since) >= length
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lecture_ends_only_after_a_time_without_students() {
        let (start, length) = (Instant::now(), Duration::from_secs(60));
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut class = EmptyClass::default();
        assert!(!class.is_over(at(0), true, length) && !class.is_over(at(59), true, length));
        assert!(!class.is_over(at(60), false, length), "a student came");
        assert!(!class.is_over(at(61), true, length) && !class.is_over(at(120), true, length));
        assert!(class.is_over(at(121), true, length));
    }
}
