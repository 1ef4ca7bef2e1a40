use super::*;

const WHOLE: &str = r#"
[[scene]]
name = "welcome"
slate = "Linear algebra\nWe begin at nine"
countdown = true
chapter = "Welcome"

[[scene]]
at = "09:00"
video = "intro.mp4"

[[scene]]
slides = "deck.pdf"
pages = "2-4"
until = "key"
chat = "Questions?"

[[scene]]
slides = "deck.pdf"
every = "20s"

[[scene]]
image = "map.png"
for = "1m30s"

[[scene]]
test = true
until = "key"
"#;

fn refused(text: &str) -> (usize, usize, String) {
    let LectureError { place, sentence } = parse(text).unwrap_err();
    (place.line, place.column, sentence)
}

#[test]
fn a_lecture_has_scenes_with_sources_starts_and_ends() {
    let lecture = parse(WHOLE).unwrap();
    let seconds = Duration::from_secs;
    let slate = Source::Slate { text: "Linear algebra\nWe begin at nine".into(), countdown: true };
    let slides = |pages, every| Source::Slides { path: "deck.pdf".into(), pages, every };
    let found: Vec<(&str, &Source, Option<Duration>, End)> =
        lecture.scenes.iter().map(|scene| (scene.name.as_str(), &scene.source, scene.at, scene.end)).collect();
    assert_eq!(
        found,
        [
            ("welcome", &slate, None, End::NextStart),
            ("2", &Source::Video("intro.mp4".into()), Some(seconds(9 * 3600)), End::Source),
            ("3", &slides(Some((2, 4)), None), None, End::Key),
            ("4", &slides(None, Some(seconds(20))), None, End::Source),
            ("5", &Source::Image("map.png".into()), None, End::After(seconds(90))),
            ("6", &Source::Test, None, End::Key),
        ]
    );
    assert_eq!(lecture.scenes[0].chapter.as_deref(), Some("Welcome"));
    assert_eq!(lecture.scenes[2].chat.as_deref(), Some("Questions?"));
    assert_eq!(lecture.scenes[1].place, Place { line: 10, column: 9 });
    assert_eq!((lecture.find("welcome"), lecture.find("3")), (Ok(0), Ok(2)));
    assert!(lecture.find("7").unwrap_err().contains("welcome, 2, 3"));
}

#[test]
fn a_mistake_is_named_with_its_line_and_column() {
    for (text, line, column, words) in [
        ("", 1, 1, "no scene"),
        ("[[scene]\n", 1, 9, ""),
        ("[[scene]]\nvideo = \"a.mp4\"\nfade = true\n", 3, 1, "fade"),
        ("[[scene]]\nscreen = true\nfor = \"10m\"\n", 2, 1, "screen"),
        ("[[scene]]\nvideo = 5\n", 2, 9, "integer"),
        ("[[scene]]\nname = \"a\"\n", 1, 1, "no source"),
        ("[[scene]]\nvideo = \"a\"\nimage = \"b\"\n", 3, 9, "video and image"),
        ("[[scene]]\nvideo = \"\"\n", 2, 9, "name of a file"),
        ("[[scene]]\nslate = \"é\"\nfor = \"10\"\n", 3, 7, "no unit"),
        ("[[scene]]\ntest = true\nfor = \"10ms\"\n", 3, 7, "between 1s and 24h"),
        ("[[scene]]\ntest = true\nat = \"9:00\"\n", 3, 6, "no time of day"),
        ("[[scene]]\ntest = true\nfor = \"1s\"\nuntil = \"key\"\n", 4, 9, "two ends"),
        ("[[scene]]\ntest = true\nuntil = \"end\"\n", 3, 9, "by themselves"),
        ("[[scene]]\ntest = true\nuntil = \"noon\"\n", 3, 9, "no end"),
        ("[[scene]]\ntest = true\n", 2, 8, "has no end"),
        ("[[scene]]\ntest = true\n[[scene]]\nvideo = \"a\"\n", 2, 8, "has no end"),
        ("[[scene]]\ntest = false\n", 2, 8, "test = true"),
        ("[[scene]]\nslate = \"a\"\ncountdown = true\nuntil = \"key\"\n", 4, 9, "known end"),
        ("[[scene]]\nvideo = \"a\"\npages = \"1\"\n", 3, 9, "for a scene with slides"),
        ("[[scene]]\nslides = \"a\"\npages = \"4-3\"\nuntil = \"key\"\n", 3, 9, "no pages"),
        ("[[scene]]\nname = \"7\"\nvideo = \"a\"\n", 2, 8, "needs a letter"),
        ("[[scene]]\nname = \"a\"\nvideo = \"a\"\n[[scene]]\nname = \"a\"\nvideo = \"a\"\n", 5, 8, "two scenes"),
        ("[[scene]]\nvideo = \"a\"\nchat = \"a\\nb\"\n", 3, 8, "one line"),
        ("[[scene]]\nslate = \"a\\u001bb\"\nfor = \"9s\"\n", 2, 9, "control character"),
        (
            "[[scene]]\nat = \"09:00\"\nvideo = \"a\"\n[[scene]]\nat = \"08:59:59\"\nvideo = \"a\"\n",
            5,
            6,
            "not later than 09:00:00",
        ),
    ] {
        let (found_line, found_column, sentence) = refused(text);
        assert!(sentence.contains(words), "{text:?}: {sentence}");
        assert_eq!((found_line, found_column), (line, column), "{text:?}: {sentence}");
    }
    let many = "[[scene]]\nvideo = \"a\"\n".repeat(MAX_SCENES + 1);
    assert!(refused(&many).2.contains("more than 500"));
    assert!(refused(&" ".repeat(MAX_FILE_BYTES + 1)).2.contains("no lecture"));
}
