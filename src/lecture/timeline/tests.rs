use super::*;
use crate::lecture::parse;

const NINE: u64 = 9 * 3600;

fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn timeline(text: &str, pages: usize) -> Timeline {
    let lecture = parse(text).unwrap();
    let facts = vec![SourceFacts { length: None, pages: Some(pages) }; lecture.scenes.len()];
    Timeline::new(&lecture, &facts).unwrap()
}

/// The changes as scene and picture, or as words.
fn words(changes: Vec<Change>) -> Vec<String> {
    let word = |change| match change {
        Change::Show(Shown { scene, from, picture, .. }) => match from.as_secs() {
            0 => format!("scene {scene} {picture}"),
            from => format!("scene {scene} {picture} from {from}"),
        },
        Change::Picture(picture) => format!("picture {picture}"),
        Change::Pause(is_paused) => format!("pause {is_paused}"),
        Change::Black(is_black) => format!("black {is_black}"),
    };
    changes.into_iter().map(word).collect()
}

/// Ticks whenever something is due, up to a time. Returns each change with its time.
fn run(timeline: &mut Timeline, until: u64) -> Vec<(u64, String)> {
    let mut seen = Vec::new();
    for _ in 0..10_000 {
        let Some(due) = timeline.next_tick().filter(|due| *due <= at(until)) else { return seen };
        seen.extend(words(timeline.tick(due)).into_iter().map(|word| (due.as_secs(), word)));
    }
    panic!("the timeline ticks for ever: {seen:?}");
}

const FOUR: &str = r#"
[[scene]]
slate = "soon"
for = "10s"
[[scene]]
video = "a.mp4"
[[scene]]
slides = "deck.pdf"
until = "key"
[[scene]]
image = "a.png"
for = "5s"
"#;

#[test]
fn scenes_follow_each_other_to_the_end() {
    let mut lecture = timeline(FOUR, 2);
    assert_eq!(words(lecture.start(at(100), Start::ByClock)), ["scene 0 0"]);
    assert_eq!(run(&mut lecture, 1_000), [(110, "scene 1 0".to_owned())]);
    assert_eq!(lecture.next_tick(), None, "a video ends by itself");
    assert_eq!(lecture.source_ended(at(130), 1), [], "an earlier scene");
    assert_eq!(words(lecture.source_ended(at(140), 2)), ["scene 2 0"]);
    assert_eq!(lecture.source_ended(at(141), 2), []);
    let next = |lecture: &mut Timeline, now| words(lecture.order(at(now), Order::Turn(Turn::Next)).unwrap());
    assert_eq!(next(&mut lecture, 150), ["picture 1"]);
    assert_eq!(next(&mut lecture, 160), ["scene 3 0"]);
    assert_eq!(lecture.position(at(162)), Some((3, at(2), 1)));
    assert_eq!(run(&mut lecture, 1_000), []);
    assert!(lecture.is_over() && lecture.next_tick().is_none());
}

#[test]
fn the_teacher_goes_back_and_forth() {
    let mut lecture = timeline(FOUR, 3);
    let mut now = 0;
    lecture.start(at(0), Start::Scene(2));
    let mut order = |order| {
        now += 1;
        lecture.order(at(now), order).map(words)
    };
    let turn = Order::Turn;
    let said = |words: &[&str]| Ok(words.iter().map(ToString::to_string).collect::<Vec<_>>());
    assert_eq!(order(turn(Turn::Page(3))), said(&["picture 2"]));
    assert_eq!(order(turn(Turn::Page(3))), said(&[]), "nothing changes");
    assert!(order(turn(Turn::Page(4))).unwrap_err().contains("pages 1 to 3"));
    assert_eq!(order(turn(Turn::Next)), said(&["scene 3 0"]));
    assert!(order(turn(Turn::First)).unwrap_err().contains("no pages"));
    assert_eq!(order(turn(Turn::Previous)), said(&["scene 2 2"]), "the last page");
    assert_eq!(order(turn(Turn::Previous)), said(&["picture 1"]));
    assert_eq!(order(turn(Turn::Black)), said(&["black true"]));
    assert_eq!(order(turn(Turn::Next)), said(&["black false", "picture 2"]), "a page ends the black picture");
    assert_eq!(order(Order::Scene(0)), said(&["scene 0 0"]));
    assert!(order(turn(Turn::Previous)).unwrap_err().contains("first scene"));
}

#[test]
fn a_pause_stops_the_time_of_the_scene() {
    let mut lecture = timeline(FOUR, 1);
    lecture.start(at(0), Start::ByClock);
    assert_eq!(words(lecture.order(at(4), Order::Pause).unwrap()), ["pause true"]);
    assert_eq!((lecture.next_tick(), lecture.position(at(90))), (None, Some((0, at(4), 1))));
    assert_eq!(words(lecture.order(at(100), Order::Pause).unwrap()), ["pause false"]);
    assert_eq!(run(&mut lecture, 1_000), [(106, "scene 1 0".to_owned())]);
    // A scene that fails is skipped, even while it stands still.
    lecture.order(at(107), Order::Pause).unwrap();
    assert_eq!(words(lecture.failed(at(108), 2)), ["scene 2 0"]);
}

const CLOCK: &str = r#"
[[scene]]
slate = "soon"
countdown = true
[[scene]]
at = "09:00"
video = "a.mp4"
[[scene]]
at = "09:10"
test = true
for = "1m"
"#;

#[test]
fn a_scene_begins_at_its_time_of_day() {
    let mut lecture = timeline(CLOCK, 1);
    assert_eq!(words(lecture.start(at(NINE - 3), Start::ByClock)), ["scene 0 3"]);
    let counted: Vec<(u64, String)> =
        [(NINE - 2, "picture 2"), (NINE - 1, "picture 1"), (NINE, "scene 1 0")].map(|(n, s)| (n, s.into())).into();
    assert_eq!(run(&mut lecture, NINE + 60), counted);
    // The video is over, and stays until the next scene has its time.
    assert_eq!(lecture.source_ended(at(NINE + 60), 2), []);
    assert_eq!(lecture.source_ended(at(NINE + 61), 2), []);
    assert_eq!(run(&mut lecture, NINE + 600), [(NINE + 600, "scene 2 0".to_owned())]);
    // A video that is longer is cut.
    let mut lecture = timeline(CLOCK, 1);
    assert_eq!(words(lecture.start(at(NINE + 300), Start::ByClock)), ["scene 1 0"], "the clock decides");
    lecture.order(at(NINE + 301), Order::Pause).unwrap();
    assert_eq!(run(&mut lecture, NINE + 600), [(NINE + 600, "scene 2 0".to_owned())], "a pause does not stop it");
}

#[test]
fn a_late_tick_shows_the_scene_whose_time_it_is() {
    let mut lecture = timeline(CLOCK, 1);
    lecture.start(at(NINE - 100), Start::ByClock);
    assert_eq!(words(lecture.tick(at(NINE + 900))), ["scene 2 0"]);
    // A start that was passed before the lecture began does not cut a chosen scene.
    let mut lecture = timeline(CLOCK, 1);
    assert_eq!(words(lecture.start(at(NINE + 900), Start::Scene(0))), ["scene 0 0"]);
    assert_eq!((run(&mut lecture, NINE + 9_000), lecture.is_over()), (Vec::new(), false));
    // An order at the moment of a start does not hide the start.
    let mut lecture = timeline(CLOCK, 1);
    lecture.start(at(NINE - 1), Start::ByClock);
    lecture.order(at(NINE), Order::Turn(Turn::Black)).unwrap();
    assert_eq!(words(lecture.tick(at(NINE))), ["scene 1 0"]);
}

#[test]
fn the_first_scene_may_wait_for_its_time() {
    let text = "[[scene]]\nat = \"09:00\"\ntest = true\nfor = \"1m\"\n";
    let mut lecture = timeline(text, 1);
    assert_eq!(lecture.start(at(NINE - 10), Start::ByClock), []);
    assert!(lecture.order(at(NINE - 9), Order::Pause).is_err());
    assert_eq!(run(&mut lecture, NINE), [(NINE, "scene 0 0".to_owned())]);
    let mut lecture = timeline(text, 1);
    lecture.start(at(NINE - 10), Start::ByClock);
    assert_eq!(words(lecture.order(at(NINE - 9), Order::Turn(Turn::Next)).unwrap()), ["scene 0 0"]);
    assert_eq!(run(&mut lecture, NINE), [], "the scene does not begin twice");
}

#[test]
fn pages_turn_by_themselves() {
    let text = "[[scene]]\nslides = \"a.pdf\"\npages = \"2-4\"\nevery = \"10s\"\n";
    let mut lecture = timeline(text, 4);
    assert_eq!(words(lecture.start(at(0), Start::ByClock)), ["scene 0 1"]);
    assert_eq!(run(&mut lecture, 15), [(10, "picture 2".to_owned())]);
    // A page that the teacher turns has its whole time again.
    lecture.order(at(15), Order::Turn(Turn::Previous)).unwrap();
    let turns: Vec<(u64, String)> = vec![(25, "picture 2".into()), (35, "picture 3".into())];
    assert_eq!(run(&mut lecture, 44), turns);
    assert_eq!((run(&mut lecture, 45), lecture.is_over()), (Vec::new(), true));
    let lecture = parse(text).unwrap();
    let facts = [SourceFacts { length: None, pages: Some(3) }];
    assert!(Timeline::new(&lecture, &facts).unwrap_err().1.contains("no page 4: it has pages 1 to 3"));
}

#[test]
fn a_countdown_stands_still_with_its_scene() {
    let mut lecture = timeline("[[scene]]\nslate = \"soon\"\ncountdown = true\nfor = \"3s\"\n", 1);
    assert_eq!(words(lecture.start(Duration::from_millis(500), Start::ByClock)), ["scene 0 3"]);
    assert_eq!(words(lecture.tick(Duration::from_millis(1_500))), ["picture 2"]);
    lecture.order(Duration::from_millis(1_700), Order::Pause).unwrap();
    assert_eq!((lecture.next_tick(), words(lecture.tick(at(60)))), (None, Vec::new()));
    lecture.order(at(60), Order::Pause).unwrap();
    assert_eq!(lecture.next_tick(), Some(Duration::from_millis(60_800)));
    assert_eq!(words(lecture.tick(Duration::from_millis(60_800))), ["picture 1"]);
}

#[test]
fn a_lecture_resumes_where_it_was_left() {
    let resume = |scene, elapsed, page, left| Start::Resume { scene, elapsed: at(elapsed), page, left: at(left) };
    let mut lecture = timeline(FOUR, 3);
    assert_eq!(words(lecture.start(at(200), resume(1, 42, 1, 190))), ["scene 1 0 from 42"]);
    assert_eq!(lecture.position(at(201)), Some((1, at(43), 1)));
    let mut lecture = timeline(FOUR, 3);
    assert_eq!(words(lecture.start(at(200), resume(2, 70, 3, 190))), ["scene 2 2 from 70"]);
    // The clock went on meanwhile.
    let mut lecture = timeline(CLOCK, 1);
    assert_eq!(words(lecture.start(at(NINE + 601), resume(1, 42, 1, NINE + 42))), ["scene 2 0"]);
    let mut lecture = timeline(CLOCK, 1);
    assert_eq!(words(lecture.start(at(NINE + 61), resume(1, 42, 1, NINE + 42))), ["scene 1 0 from 42"]);
}
