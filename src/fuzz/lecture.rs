//! The file of a lecture.

use std::time::Duration;

use crate::id::is_printable;
use crate::lecture::{Order, SourceFacts, Start, Timeline, Turn, outline, parse};

/// The longest sentence about a mistake, beside words of the file itself.
const MAX_SENTENCE_BYTES: usize = 1_000;

/// Ticks of a lecture that are tried.
const MAX_TICKS: usize = 200;

/// A lecture has an outline and a timeline that goes on, and a mistake has a place in the file.
pub(super) fn lecture(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    let lecture = match parse(&text) {
        Ok(lecture) => lecture,
        Err(error) => {
            let lines = text.split('\n').count();
            assert!((1..=lines).contains(&error.place.line) && error.place.column >= 1, "{error}");
            assert!(error.sentence.len() <= MAX_SENTENCE_BYTES + 2 * text.len(), "{error}");
            assert!(error.sentence.chars().all(is_printable), "{error:?}");
            return false;
        }
    };
    let facts = vec![SourceFacts { length: Some(Duration::from_secs(9)), pages: Some(3) }; lecture.scenes.len()];
    let known: Vec<_> = facts.iter().copied().map(Ok).collect();
    assert_eq!(outline(&lecture, &known).len(), lecture.scenes.len());
    assert!(lecture.scenes.iter().enumerate().all(|(index, scene)| lecture.find(&scene.name) == Ok(index)));
    let Ok(mut timeline) = Timeline::new(&lecture, &facts) else { return true };
    let mut now = Duration::from_secs(9 * 3600);
    timeline.start(now, Start::ByClock);
    for tick in 0..MAX_TICKS {
        let Some(due) = timeline.next_tick() else { break };
        assert!(due >= now || timeline.is_over(), "a tick in the past");
        now = due.max(now + Duration::from_millis(1));
        timeline.tick(now);
        let order = if tick % 7 == 0 { Order::Turn(Turn::Next) } else { Order::Turn(Turn::Black) };
        if tick % 3 == 0 {
            // A refusal is a sentence for the teacher.
            let _ = timeline.order(now, order);
        }
        let position = timeline.position(now);
        assert!(position.is_none_or(|(scene, _, page)| scene < lecture.scenes.len() && page >= 1), "{position:?}");
    }
    true
}
