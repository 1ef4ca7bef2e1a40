//! The text of the status line. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use super::conference_status::{Change, ConferenceStatus};
use super::event::{Event, TeachStats, TroubleKind, WatchStats, Watched};
use super::format::{clock, counted, rate};
use super::path::MediaPath;
use super::whip::HostCount;
use crate::id::UserId;
use crate::rtp::{Tier, Track};

/// The latest values that the status line shows.
#[derive(Debug, Default)]
pub(super) struct StatusLine {
    waiting: Option<String>,
    teach: Option<TeachStats>,
    watch: BTreeMap<Track, WatchStats>,
    conference: ConferenceStatus,
    /// The current troubles, the worst first.
    troubles: BTreeMap<(TroubleKind, Option<Track>), String>,
    path: Option<MediaPath>,
    /// The page of the slides.
    slide: Option<String>,
    /// The scene of a lecture.
    scene: Option<String>,
    live: bool,
}

impl StatusLine {
    /// Shows what the program waits for, until statistics show a lecture.
    pub(super) fn wait(&mut self, what: &str) {
        self.waiting = Some(what.to_owned());
        self.watch.clear();
    }

    /// Applies an event. Returns true if it makes the lecture live for the first time, or the call that runs.
    pub(super) fn apply(&mut self, event: &Event) -> bool {
        if let Some(change) = self.conference.apply(event) {
            return self.conference_changed(change);
        }
        match event {
            Event::TeachStats(stats) => {
                self.teach = Some(stats.clone());
                self.waiting = None;
            }
            Event::WatchStats(stats) => {
                // After a lecture breaks off, statistics continue, all 0.
                if stats.fps > 0.0 {
                    self.waiting = None;
                }
                self.watch.insert(stats.track, stats.clone());
            }
            Event::Slide(slide) => {
                self.slide = Some(slide.words());
                return false;
            }
            Event::Scene(scene) => {
                // A scene with slides tells its page afterwards.
                (self.scene, self.slide) = (Some(scene.words()), None);
                return false;
            }
            Event::Path(report) => {
                self.path = report.user.is_none().then_some(report.path).or(self.path);
                return false;
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

    /// What the class sees: the scene, and the page.
    fn shown(&self) -> Option<String> {
        match (&self.scene, &self.slide) {
            (Some(scene), Some(slide)) => Some(format!("{scene}, {slide}")),
            (scene, slide) => scene.clone().or_else(|| slide.clone()),
        }
    }

    fn conference_changed(&mut self, change: Change) -> bool {
        self.waiting = None;
        match change {
            Change::Runs => false,
            Change::HasMedia => !std::mem::replace(&mut self.live, true),
            Change::Waits(what) => {
                self.waiting = Some(what);
                false
            }
            Change::Over(why) => {
                (self.waiting, self.live) = (Some(why), false);
                false
            }
        }
    }

    /// The text; `live` is how long the lecture has been live.
    pub(super) fn line(&self, live: Duration) -> Option<String> {
        if let Some(waiting) = &self.waiting {
            return Some(waiting.clone());
        }
        let watch: Vec<&WatchStats> = self.watch.values().collect();
        let line = match (&self.teach, watch.is_empty()) {
            (Some(stats), true) => Some(teach(live, self.shown().as_deref(), stats)),
            (Some(stats), false) => {
                Some(format!("{}  |  {}", teach(live, self.shown().as_deref(), stats), watching(&watch)))
            }
            (None, false) => Some(format!("live  {}  {}", clock(live), watching(&watch))),
            (None, true) => self.conference.line(live),
        };
        // Only the worst trouble: without a network nobody needs to read about lost packets.
        let trouble = self.troubles.values().next().cloned();
        let note = trouble.or_else(|| self.path.and_then(MediaPath::words));
        line.map(|line| note.map_or(line.clone(), |note| format!("{line}  |  {note}")))
    }
}

/// `live  00:12:04  28 students  30 fps  2.5 Mbit/s each  70 Mbit/s up  0 dropped`, or `28 students (full 25, low 3)`
/// if some get less than the full tier.
/// With slides, the page stands after the time.
fn teach(live: Duration, slide: Option<&str>, stats: &TeachStats) -> String {
    format!(
        "live  {}  {}{}{}  {:.0} fps  {} each  {} up  {} dropped{}{}{}",
        clock(live),
        slide.map(|page| format!("{page}  ")).unwrap_or_default(),
        counted(stats.students as u64, "student"),
        shares(&stats.watched).map(|words| format!(" ({words})")).unwrap_or_default(),
        stats.fps,
        rate(stats.kbps_per_student),
        rate(stats.kbps_up),
        stats.dropped,
        on_stage(&stats.stage),
        at_servers("WHIP", stats.whip),
        at_servers("Janus", stats.janus),
    )
}

/// `  WHIP 1 of 2`.
fn at_servers(kind: &str, count: Option<HostCount>) -> String {
    count.map(|HostCount { live, servers }| format!("  {kind} {live} of {servers}")).unwrap_or_default()
}

/// `  on stage: 1001, 1003`.
fn on_stage(speakers: &[UserId]) -> String {
    let ids: Vec<&str> = speakers.iter().map(UserId::as_str).collect();
    if ids.is_empty() { String::new() } else { format!("  on stage: {}", ids.join(", ")) }
}

/// `full 25, low 3, low VP8 1`, or with two video tracks `screen full 25, low 3; camera full 28`. `None` if all
/// students get the full tier in the usual codec.
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

/// `1280x720 30 fps  2.5 Mbit/s  0 lost`: size and frame rate of the screen, or else of the camera; bit rate and losses
/// of all tracks.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::SlideReport;

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

    fn after(events: &[Event]) -> StatusLine {
        let mut status = StatusLine::default();
        for event in events {
            status.apply(event);
        }
        status
    }

    #[test]
    fn a_teacher_reads_students_and_bit_rates() {
        let line = after(&[Event::TeachStats(taught(28))]).line(Duration::from_secs(724)).unwrap();
        assert_eq!(line, "live  00:12:04  28 students  30 fps  2.5 Mbit/s each  70 Mbit/s up  0 dropped");
        let line = after(&[Event::TeachStats(taught(1))]).line(Duration::ZERO).unwrap();
        assert!(line.contains("  1 student  "), "{line}");
        let stage = ["1003", "1001"].map(|id| id.parse().unwrap()).to_vec();
        let line = after(&[Event::TeachStats(TeachStats { stage, ..taught(28) })]).line(Duration::ZERO).unwrap();
        assert!(line.ends_with("  on stage: 1003, 1001"), "{line}");
    }

    #[test]
    fn a_teacher_reads_how_many_students_get_less_than_the_full_tier() {
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
        let line = after(&[Event::TeachStats(stats)]).line(Duration::ZERO).unwrap();
        assert!(line.contains("  30 students (full 25, low 5)  30 fps"), "{line}");
    }

    #[test]
    fn a_student_reads_picture_size_bit_rate_and_losses() {
        let tracks = [Track::Audio, Track::Screen, Track::Camera].map(|t| Event::WatchStats(watched(t, 30.0)));
        let line = after(&tracks).line(Duration::from_secs(3)).unwrap();
        assert_eq!(line, "live  00:00:03  1280x720 30 fps  2.5 Mbit/s  0 lost");
        let sound = after(&tracks[..1]).line(Duration::ZERO).unwrap();
        assert_eq!(sound, "live  00:00:00  sound  0.06 Mbit/s  0 lost");
        let mut frozen = watched(Track::Camera, 15.0);
        frozen.freezes = 2;
        let line = after(&[Event::WatchStats(frozen)]).line(Duration::ZERO).unwrap();
        assert!(line.contains("640x360 15 fps") && line.ends_with("2 freezes"), "{line}");
    }

    #[test]
    fn a_demo_shows_both_sides() {
        let both = [Event::TeachStats(taught(1)), Event::WatchStats(watched(Track::Screen, 30.0))];
        let line = after(&both).line(Duration::ZERO).unwrap();
        assert!(line.starts_with("live  00:00:00  1 student") && line.contains("|  1280x720 30 fps"), "{line}");
    }

    #[test]
    fn waiting_ends_when_pictures_come_again() {
        let mut status = after(&[Event::WatchStats(watched(Track::Screen, 30.0))]);
        status.wait("waiting for a teacher");
        status.apply(&Event::WatchStats(watched(Track::Screen, 0.0)));
        assert_eq!(status.line(Duration::ZERO).as_deref(), Some("waiting for a teacher"));
        status.apply(&Event::WatchStats(watched(Track::Screen, 5.0)));
        assert!(status.line(Duration::ZERO).unwrap().starts_with("live"));
    }

    #[test]
    fn the_worst_trouble_is_shown_until_it_is_over() {
        let mut status = after(&[Event::WatchStats(watched(Track::Screen, 30.0))]);
        let trouble = |kind, text: &str| Event::Trouble { kind, track: None, text: text.into() };
        status.apply(&trouble(TroubleKind::Loss, "5 % are lost"));
        assert!(status.line(Duration::ZERO).unwrap().ends_with("0 lost  |  5 % are lost"));
        status.apply(&trouble(TroubleKind::Network, "nothing comes"));
        assert!(status.line(Duration::ZERO).unwrap().ends_with("|  nothing comes"));
        status.apply(&Event::TroubleOver { kind: TroubleKind::Network, track: None });
        assert!(status.line(Duration::ZERO).unwrap().ends_with("|  5 % are lost"));
        status.apply(&Event::TroubleOver { kind: TroubleKind::Loss, track: None });
        assert!(status.line(Duration::ZERO).unwrap().ends_with("0 lost"));
    }

    #[test]
    fn a_teacher_reads_the_page_of_the_slides() {
        let slide = SlideReport { page: 3, pages: 12, black: false, notes: "Ask Anna".into() };
        let line = after(&[Event::TeachStats(taught(1)), Event::Slide(slide)]).line(Duration::ZERO).unwrap();
        assert!(line.starts_with("live  00:00:00  page 3 of 12  1 student  30 fps"), "{line}");
    }

    #[test]
    fn a_lecture_becomes_live_once() {
        let mut status = StatusLine::default();
        assert!(!status.apply(&Event::Notice { message: "hello".into() }));
        assert!(status.apply(&Event::TeachStats(taught(0))));
        assert!(!status.apply(&Event::TeachStats(taught(0))));
    }
}
