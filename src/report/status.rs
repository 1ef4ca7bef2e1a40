//! The words of the status line: pure functions of the last numbers.

use std::collections::BTreeMap;
use std::time::Duration;

use super::event::{Event, TeachStats, TroubleKind, WatchStats, Watched};
use crate::rtp::{Tier, Track};

/// The latest of everything the status line tells.
#[derive(Debug, Default)]
pub(super) struct Board {
    waiting: Option<String>,
    teach: Option<TeachStats>,
    watch: BTreeMap<Track, WatchStats>,
    /// What is suffered from, the worst first.
    troubles: BTreeMap<(TroubleKind, Option<Track>), String>,
    live: bool,
}

impl Board {
    /// Says what is waited for; shown until numbers tell of a lecture.
    pub(super) fn wait(&mut self, what: &str) {
        self.waiting = Some(what.to_owned());
        self.watch.clear();
    }

    /// Takes note of an event; whether it made the lecture live for the first time.
    pub(super) fn note(&mut self, event: &Event) -> bool {
        match event {
            Event::TeachStats(stats) => {
                self.teach = Some(stats.clone());
                self.waiting = None;
            }
            Event::WatchStats(stats) => {
                // The numbers of a lecture that broke off go on arriving, all nought.
                if stats.fps > 0.0 {
                    self.waiting = None;
                }
                self.watch.insert(stats.track, stats.clone());
            }
            Event::Trouble { kind, track, text } => {
                self.troubles.insert((*kind, *track), text.clone());
                return false;
            }
            Event::TroubleOver { kind, track } => {
                self.troubles.remove(&(*kind, *track));
                return false;
            }
            _ => return false,
        }
        !std::mem::replace(&mut self.live, true)
    }

    /// The line; `live` is how long the lecture has been on.
    pub(super) fn line(&self, live: Duration) -> Option<String> {
        if let Some(waiting) = &self.waiting {
            return Some(waiting.clone());
        }
        let watch: Vec<&WatchStats> = self.watch.values().collect();
        let line = match (&self.teach, watch.is_empty()) {
            (Some(stats), true) => Some(teach(live, stats)),
            (Some(stats), false) => Some(format!("{}  |  {}", teach(live, stats), watching(&watch))),
            (None, false) => Some(format!("live  {}  {}", clock(live), watching(&watch))),
            (None, true) => None,
        };
        // One is enough: who has no network need not read that packets are lost.
        line.map(|line| self.troubles.values().next().map_or(line.clone(), |trouble| format!("{line}  |  {trouble}")))
    }
}

/// `live  00:12:04  28 students  30 fps  2.5 Mbit/s each  70 Mbit/s up  0 dropped`, where some have less than the full
/// tier `28 students (full 25, low 3)`.
fn teach(live: Duration, stats: &TeachStats) -> String {
    format!(
        "live  {}  {}{}  {:.0} fps  {} each  {} up  {} dropped",
        clock(live),
        counted(stats.students as u64, "student"),
        shares(&stats.watched).map(|words| format!(" ({words})")).unwrap_or_default(),
        stats.fps,
        rate(stats.kbps_per_student),
        rate(stats.kbps_up),
        stats.dropped,
    )
}

/// `full 25, low 3, low VP8 1`; where there are two pictures `screen full 25, low 3; camera full 28`. Nothing where all
/// have the best there is, in the class's codec.
fn shares(all: &[Watched]) -> Option<String> {
    let pictures = || all.iter().filter(|one| one.encoding.track.is_video() && one.students > 0);
    if pictures().all(|one| one.encoding.tier == Tier::Full && one.is_class_codec) {
        return None;
    }
    let of_track = |track: Track| {
        let words = pictures().filter(|one| one.encoding.track == track).map(|one| {
            let codec = if one.is_class_codec { String::new() } else { format!(" {}", one.encoding.codec) };
            format!("{}{codec} {}", one.encoding.tier, one.students)
        });
        words.collect::<Vec<_>>().join(", ")
    };
    let tracks: Vec<(Track, String)> =
        Track::ALL.map(|track| (track, of_track(track))).into_iter().filter(|(_, words)| !words.is_empty()).collect();
    Some(match tracks.as_slice() {
        [(_, words)] => words.clone(),
        several => several.iter().map(|(track, words)| format!("{track} {words}")).collect::<Vec<_>>().join("; "),
    })
}

/// `1280x720 30 fps  2.5 Mbit/s  0 lost`, of the screen or, without one, the camera; rates and losses of all tracks.
fn watching(tracks: &[&WatchStats]) -> String {
    let kbps: f64 = tracks.iter().map(|track| track.kbps).sum();
    let lost: u64 = tracks.iter().map(|track| track.lost).sum();
    let picture = tracks.iter().filter(|track| track.track.is_video() && track.width > 0).min_by_key(|t| t.track);
    let freezes: u64 = tracks.iter().map(|track| track.freezes).sum();
    let mut words = match picture {
        Some(picture) => format!("{}x{} {:.0} fps", picture.width, picture.height, picture.fps),
        None => "sound".to_owned(),
    };
    words.push_str(&format!("  {}  {lost} lost", rate(kbps)));
    if freezes > 0 {
        words.push_str(&format!("  {}", counted(freezes, "freeze")));
    }
    words
}

/// `00:12:04`
pub(super) fn clock(time: Duration) -> String {
    let seconds = time.as_secs();
    format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

/// `2.5 Mbit/s`, `70 Mbit/s`: two digits tell people enough.
fn rate(kbps: f64) -> String {
    let mbps = kbps / 1000.0;
    if mbps >= 9.95 {
        format!("{mbps:.0} Mbit/s")
    } else if mbps >= 0.095 || kbps == 0.0 {
        format!("{mbps:.1} Mbit/s")
    } else {
        format!("{mbps:.2} Mbit/s")
    }
}

pub(super) fn counted(number: u64, what: &str) -> String {
    if number == 1 { format!("1 {what}") } else { format!("{number} {what}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taught(students: usize) -> TeachStats {
        TeachStats {
            students,
            fps: 29.97,
            kbps_per_student: 2500.0,
            kbps_up: 2500.0 * students as f64,
            ..TeachStats::default()
        }
    }

    fn watched(track: Track, fps: f64) -> WatchStats {
        let (width, height) = match track {
            Track::Screen => (1280, 720),
            Track::Camera => (640, 360),
            Track::Audio => (0, 0),
        };
        let kbps = if track == Track::Screen { 2400.0 } else { 64.0 };
        WatchStats {
            track,
            fps,
            width,
            height,
            kbps,
            lost: 0,
            nacks: 0,
            plis: 0,
            freezes: 0,
            freeze_ms: 0,
            withheld_ms: 0,
            skipped: 0,
            concealed_ms: 0,
            delay_ms: 20,
            jitter_ms: 0.0,
        }
    }

    fn board(events: &[Event]) -> Board {
        let mut board = Board::default();
        for event in events {
            board.note(event);
        }
        board
    }

    #[test]
    fn a_teacher_reads_who_watches_and_what_it_costs() {
        let line = board(&[Event::TeachStats(taught(28))]).line(Duration::from_secs(724)).unwrap();
        assert_eq!(line, "live  00:12:04  28 students  30 fps  2.5 Mbit/s each  70 Mbit/s up  0 dropped");
        let line = board(&[Event::TeachStats(taught(1))]).line(Duration::ZERO).unwrap();
        assert!(line.contains("  1 student  "), "{line}");
    }

    #[test]
    fn a_teacher_reads_how_many_have_less_than_the_best() {
        use crate::rtp::{Codec, Encoding};
        let watch = |track: Track, tier: Tier, codec: Codec, students: usize| Watched {
            encoding: Encoding { track, tier, codec },
            students,
            is_class_codec: codec != Codec::Vp8,
        };
        let sound = watch(Track::Audio, Tier::Full, Codec::Opus, 31);
        let full = watch(Track::Screen, Tier::Full, Codec::H264, 25);
        let low = watch(Track::Screen, Tier::Low, Codec::H264, 5);
        let other = watch(Track::Screen, Tier::Low, Codec::Vp8, 1);
        let nobody = watch(Track::Camera, Tier::Low, Codec::H264, 0);
        let camera = watch(Track::Camera, Tier::Full, Codec::H264, 31);
        for (all, expected) in [
            (vec![], None),
            (vec![&sound, &full, &nobody, &camera], None),
            (vec![&sound, &full, &low, &nobody], Some("full 25, low 5")),
            (vec![&low], Some("low 5")),
            (vec![&full, &low, &other], Some("full 25, low 5, low VP8 1")),
            (vec![&sound, &full, &low, &other, &camera], Some("screen full 25, low 5, low VP8 1; camera full 31")),
        ] {
            let all: Vec<Watched> = all.into_iter().cloned().collect();
            assert_eq!(shares(&all).as_deref(), expected);
        }
        let stats = TeachStats { watched: vec![full, low], ..taught(30) };
        let line = board(&[Event::TeachStats(stats)]).line(Duration::ZERO).unwrap();
        assert!(line.contains("  30 students (full 25, low 5)  30 fps"), "{line}");
    }

    #[test]
    fn a_student_reads_the_picture_and_its_losses() {
        let tracks = [Track::Audio, Track::Screen, Track::Camera].map(|t| Event::WatchStats(watched(t, 30.0)));
        let line = board(&tracks).line(Duration::from_secs(3)).unwrap();
        assert_eq!(line, "live  00:00:03  1280x720 30 fps  2.5 Mbit/s  0 lost");
        let sound = board(&tracks[..1]).line(Duration::ZERO).unwrap();
        assert_eq!(sound, "live  00:00:00  sound  0.06 Mbit/s  0 lost");
        let mut frozen = watched(Track::Camera, 15.0);
        frozen.freezes = 2;
        let line = board(&[Event::WatchStats(frozen)]).line(Duration::ZERO).unwrap();
        assert!(line.contains("640x360 15 fps") && line.ends_with("2 freezes"), "{line}");
    }

    #[test]
    fn a_demo_reads_both() {
        let both = [Event::TeachStats(taught(1)), Event::WatchStats(watched(Track::Screen, 30.0))];
        let line = board(&both).line(Duration::ZERO).unwrap();
        assert!(line.starts_with("live  00:00:00  1 student") && line.contains("|  1280x720 30 fps"), "{line}");
    }

    #[test]
    fn waiting_lasts_until_pictures_come_again() {
        let mut board = board(&[Event::WatchStats(watched(Track::Screen, 30.0))]);
        board.wait("waiting for a teacher");
        board.note(&Event::WatchStats(watched(Track::Screen, 0.0)));
        assert_eq!(board.line(Duration::ZERO).as_deref(), Some("waiting for a teacher"));
        board.note(&Event::WatchStats(watched(Track::Screen, 5.0)));
        assert!(board.line(Duration::ZERO).unwrap().starts_with("live"));
    }

    #[test]
    fn the_worst_trouble_is_told_until_it_is_over() {
        let mut board = board(&[Event::WatchStats(watched(Track::Screen, 30.0))]);
        let trouble = |kind, text: &str| Event::Trouble { kind, track: None, text: text.into() };
        board.note(&trouble(TroubleKind::Loss, "5 % are lost"));
        assert!(board.line(Duration::ZERO).unwrap().ends_with("0 lost  |  5 % are lost"));
        board.note(&trouble(TroubleKind::Network, "nothing comes"));
        assert!(board.line(Duration::ZERO).unwrap().ends_with("|  nothing comes"));
        board.note(&Event::TroubleOver { kind: TroubleKind::Network, track: None });
        assert!(board.line(Duration::ZERO).unwrap().ends_with("|  5 % are lost"));
        board.note(&Event::TroubleOver { kind: TroubleKind::Loss, track: None });
        assert!(board.line(Duration::ZERO).unwrap().ends_with("0 lost"));
    }

    #[test]
    fn live_begins_once() {
        let mut board = Board::default();
        assert!(!board.note(&Event::Notice { message: "hello".into() }));
        assert!(board.note(&Event::TeachStats(taught(0))));
        assert!(!board.note(&Event::TeachStats(taught(0))));
    }

    #[test]
    fn rates_are_short() {
        let rates = [0.0, 64.0, 400.0, 2500.0, 9960.0, 70_000.0].map(rate);
        assert_eq!(rates, ["0.0", "0.06", "0.4", "2.5", "10", "70"].map(|n| format!("{n} Mbit/s")));
    }
}
