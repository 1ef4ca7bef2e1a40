use std::time::Duration;

use super::{parse_line, teach};
use crate::cli::{LectureFile, LectureStart, MainSource, Sources};

fn file(flags: &str) -> LectureFile {
    match teach(flags).sources {
        Sources::Chosen { main: Some(MainSource::Lecture(file)), .. } => file,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_lecture_from_a_file_begins_at_one_place() {
    let lecture = |start| LectureFile { path: "a.toml".into(), start, dry_run: false };
    assert_eq!(file("--lecture a.toml"), lecture(LectureStart::ByClock));
    assert_eq!(file("--lecture a.toml --mic --from film"), lecture(LectureStart::From("film".into())));
    assert_eq!(file("--lecture a.toml --resume"), lecture(LectureStart::Resume));
    assert!(file("--lecture a.toml --dry-run").dry_run);
    assert_eq!(teach("--exit-when-empty 5m").exit_when_empty, Some(Duration::from_secs(300)));
    for (flags, words) in [
        ("--from 2", "--from is about a lecture"),
        ("--dry-run --test", "--dry-run is about a lecture"),
        ("--lecture a.toml --from 2 --resume", "--from and --resume"),
        ("--lecture a.toml --slides a.pdf", "--lecture and --slides"),
        ("--lecture a.toml --whip-in", "--whip-in and --lecture"),
    ] {
        let error = parse_line(&format!("teach --room 10013 {flags}")).unwrap_err().to_string();
        assert!(error.contains(words), "{flags}: {error}");
    }
}
