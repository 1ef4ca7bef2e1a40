//! A student's attempt to watch a lecture: why the picture is there, or why it is black.

use super::Check;
use crate::exit::Exit;
use crate::expect::{Metric, Run};
use crate::report::{Event, MediaPath};
use crate::rtp::Track;

/// Fewer pictures a second than this are worth a word, unless the teacher sends a still screen.
const FEW_PICTURES: f64 = 10.0;

/// The outcome of an attempt.
#[derive(Debug)]
pub struct Attempt {
    /// The pictures, or the exit code and the error of `watch`.
    pub result: Result<Run, (Exit, String)>,
    /// What `watch` reported meanwhile.
    pub events: Vec<Event>,
}

/// The checks of an attempt: the way of the media, the picture, the sound.
pub fn watching(attempt: &Attempt) -> Vec<Check> {
    let run = match &attempt.result {
        Ok(run) => run,
        Err((exit, message)) => return vec![refused(*exit, message)],
    };
    let path = attempt.events.iter().rev().find_map(|event| match event {
        Event::Path(report) => Some(report.path),
        _ => None,
    });
    let Some(path) = path else { return vec![no_connection(attempt)] };
    vec![way(path), picture(run, attempt), sound(attempt)]
}

fn refused(exit: Exit, message: &str) -> Check {
    let next = match exit {
        Exit::ServerUnreachable => "check the address and the port of --server",
        Exit::Refused => "ask the teacher for the link, the code or a place in the room",
        Exit::NobodyTaught => "compare the room with that of the teacher: classroom rooms --server URL",
        Exit::MediaLost => "run this again; if it happens again, the teacher's computer or its network is the cause",
        _ => "run `classroom watch --verbose` for more",
    };
    Check::problem("lecture", exit, message, next)
}

/// Signalling works, and no media arrives.
fn no_connection(attempt: &Attempt) -> Check {
    let taught = attempt.events.iter().any(|event| matches!(event, Event::Publisher { user: Some(_), .. }));
    let waits = attempt.events.iter().any(|event| matches!(event, Event::Waiting { .. }));
    if waits && !taught {
        let next = "the teacher has to admit \"doctor\" meanwhile";
        return Check::problem("lecture", Exit::Refused, "the room has a lobby", next);
    }
    if !taught {
        let next = "start the lecture first, or compare the room with the teacher's";
        return Check::problem("lecture", Exit::NobodyTaught, "nobody teaches in this room", next);
    }
    let warnings = attempt.events.iter().filter_map(|event| match event {
        Event::Warning { message } => Some(message.as_str()),
        _ => None,
    });
    let said: Vec<&str> = warnings.collect();
    let said = if said.is_empty() { String::new() } else { format!(" ({})", said.join("; ")) };
    Check::problem(
        "media",
        Exit::MediaLost,
        format!("the server answers by TCP, but no media arrives by UDP{said}"),
        "let UDP from and to the media port through (`classroom teach` and `serve` print it; 18080 by default); or \
         start the server with --turn, for networks that block UDP",
    )
}

fn way(path: MediaPath) -> Check {
    match path.words() {
        None => Check::ok("media", "comes directly"),
        Some(words) => {
            Check::advice("media", format!("comes {words}"), "let UDP through, and the picture is later by less")
        }
    }
}

fn picture(run: &Run, attempt: &Attempt) -> Check {
    let troubles = attempt.events.iter().filter_map(|event| match event {
        Event::Trouble { text, .. } => Some(text.as_str()),
        _ => None,
    });
    let troubles: Vec<&str> = troubles.collect();
    let Some(((fps, first), (width, height))) =
        run.value(Metric::Fps).zip(run.value(Metric::FirstFrameMs)).zip(run.size)
    else {
        let found = if troubles.is_empty() { "no picture was decoded".to_owned() } else { troubles.join("; ") };
        let next = "run bin/setup, or install gstreamer1.0-libav, which decodes H.264";
        return Check::problem("picture", Exit::MediaLost, found, next);
    };
    let found = format!(
        "{width}x{height} after {first:.0} ms, {fps:.0} pictures a second, {} packets lost, {} freezes",
        run.lost, run.freezes
    );
    if !troubles.is_empty() {
        let next = "use a cable, or come nearer to the Wi-Fi; the class does not suffer from it";
        return Check::advice("picture", format!("{found}: {}", troubles.join("; ")), next);
    }
    if fps < FEW_PICTURES {
        let next = "that is right for a still screen, or in the low tier; otherwise look at the teacher's terminal";
        return Check::advice("picture", found, next);
    }
    Check::ok("picture", found)
}

fn sound(attempt: &Attempt) -> Check {
    let came = attempt.events.iter().any(|event| matches!(event, Event::FirstFrame { track: Track::Audio, .. }));
    if came {
        Check::ok("sound", "arrives")
    } else {
        Check::advice("sound", "none arrives", "does the teacher send a microphone? The teacher's terminal says so")
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::Verdict;
    use super::*;
    use crate::report::PathReport;

    fn publisher() -> Event {
        Event::Publisher { user: Some("9999".parse().unwrap()), nickname: Some("Ms Li".into()) }
    }

    fn direct() -> Event {
        Event::Path(PathReport { user: None, path: MediaPath::Direct })
    }

    fn checks(result: Result<Run, (Exit, String)>, events: Vec<Event>) -> Vec<Check> {
        watching(&Attempt { result, events })
    }

    #[test]
    fn a_lecture_that_arrives_is_described() {
        let run = Run {
            frames: 151,
            size: Some((1280, 720)),
            first_frame: Some(Duration::from_millis(280)),
            live: Duration::from_secs(5),
            ..Run::default()
        };
        let audio = Event::FirstFrame { track: Track::Audio, after_ms: 200.0, after_start_ms: 250.0 };
        let found = checks(Ok(run), vec![publisher(), direct(), audio]);
        assert!(found.iter().all(|check| check.verdict == Verdict::Ok), "{found:?}");
        assert_eq!(found[1].found, "1280x720 after 280 ms, 30 pictures a second, 0 packets lost, 0 freezes");
        let silent = checks(Ok(run), vec![publisher(), direct()]);
        assert_eq!(silent[2].verdict, Verdict::Advice);
    }

    #[test]
    fn a_black_picture_has_a_cause() {
        let exit = |result, events| checks(result, events).into_iter().map(|check| check.exit).max_by_key(|e| e.code());
        let nothing = || Ok(Run::default());
        assert_eq!(exit(nothing(), vec![]), Some(Exit::NobodyTaught));
        assert_eq!(exit(nothing(), vec![publisher()]), Some(Exit::MediaLost));
        assert_eq!(exit(nothing(), vec![publisher(), direct()]), Some(Exit::MediaLost));
        assert_eq!(exit(Err((Exit::Refused, "the room is full".into())), vec![]), Some(Exit::Refused));
        let said = Event::Warning { message: "the TURN server a refuses".into() };
        let blocked = checks(nothing(), vec![publisher(), said]);
        assert!(blocked[0].found.contains("TURN server a") && blocked[0].found.contains("UDP"), "{blocked:?}");
    }
}
