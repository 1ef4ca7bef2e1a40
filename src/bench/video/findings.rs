//! The summarized results of the video bench, and the object for scripts.

use serde_json::{Map, Value, json};

use super::ingested::IngestFound;
use super::judge::Verdict;
use crate::bench::emulator::PathCounts;
use crate::bench::wire::Sight;

/// The measured results.
#[derive(Debug)]
pub(super) struct Findings {
    /// The requested setup, in the words of the flags.
    pub(super) title: String,
    pub(super) asked: usize,
    /// Students that did not join or did not stay. They are not judged.
    pub(super) gone: usize,
    /// Whether there was a burst or a rate limit to recover from.
    pub(super) has_event: bool,
    pub(super) seconds: f64,
    /// The rate at which the SFU sent to all students.
    pub(super) uplink_kbps: f64,
    pub(super) sfu_cpu_percent: f64,
    pub(super) encoders: Vec<Encoder>,
    /// When the measurement started, by the clock of the codes.
    pub(super) start: u64,
    pub(super) students: Vec<Student>,
    pub(super) seed: u64,
    /// The media received from an emulated publisher.
    pub(super) ingest: Option<IngestFound>,
}

/// The output and the cost of an encoder.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Encoder {
    pub(super) name: String,
    pub(super) width: u32,
    pub(super) frames: usize,
    /// CPU time of its threads, in percent of a core, including scaling and payloading.
    pub(super) cpu_percent: f64,
}

/// One student.
#[derive(Debug)]
pub(super) struct Student {
    pub(super) bad: bool,
    pub(super) verdict: Verdict,
    pub(super) sight: Sight,
}

/// Several students together. Values that could not be measured are NaN, which becomes null in JSON.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Group {
    pub(super) students: usize,
    pub(super) decoded_percent: f64,
    pub(super) freeze_percent: f64,
    pub(super) longest_freeze_ms: u64,
    /// The time of the slowest student.
    pub(super) recover_ms: Option<u64>,
    /// The time of the slowest student; `None` if one did not return to the full tier.
    pub(super) full_again_ms: Option<u64>,
    /// Seconds of full, low and no video, averaged over all students.
    pub(super) tier_seconds: [f64; 3],
    /// From capture to decoding, and to display by a sink that keeps time.
    pub(super) glass_p50_ms: f64,
    pub(super) glass_p95_ms: f64,
    pub(super) shown_p50_ms: f64,
    pub(super) shown_p95_ms: f64,
    /// Audio packets that never arrived or arrived too late; and those of them that had to be concealed because the
    /// next packet had no copy.
    pub(super) audio_lost: u64,
    pub(super) audio_concealed: u64,
    pub(super) unreadable: u64,
    pub(super) nacks: u64,
    pub(super) plis: u64,
    /// Packets to the students that the emulators lost, and packets that their queues dropped.
    pub(super) path_lost: u64,
    pub(super) path_dropped: u64,
}

impl Group {
    fn new(students: &[&Student], seconds: f64) -> Self {
        let count = students.len() as f64;
        let sum = |f: &dyn Fn(&Student) -> u64| students.iter().map(|student| f(student)).sum::<u64>();
        let seconds_of = |tier: usize| sum(&|student| student.verdict.tier_ms[tier]) as f64 / 1000.0 / count;
        let [decoded_after, shown_after] = [
            sorted(students.iter().flat_map(|student| &student.verdict.delays_ms)),
            sorted(students.iter().flat_map(|student| &student.verdict.shown_after_ms)),
        ];
        let full_again: Option<Vec<u64>> = students.iter().map(|student| student.verdict.full_again_ms).collect();
        let path =
            |f: &dyn Fn(&PathCounts) -> u64| sum(&|student| student.sight.path.map_or(0, |counts| f(&counts.down)));
        Self {
            students: students.len(),
            decoded_percent: sum(&|s| s.verdict.decoded) as f64 * 100.0 / sum(&|s| s.verdict.expected) as f64,
            freeze_percent: sum(&|s| s.sight.screen.frozen_ms) as f64 / 10.0 / seconds / count,
            longest_freeze_ms: students.iter().map(|s| s.verdict.longest_freeze_ms()).max().unwrap_or(0),
            recover_ms: students.iter().filter_map(|student| student.verdict.recover_ms).max(),
            full_again_ms: full_again.and_then(|all| all.into_iter().max()),
            tier_seconds: [0, 1, 2].map(seconds_of),
            glass_p50_ms: percentile(&decoded_after, 0.5),
            glass_p95_ms: percentile(&decoded_after, 0.95),
            shown_p50_ms: percentile(&shown_after, 0.5),
            shown_p95_ms: percentile(&shown_after, 0.95),
            audio_lost: sum(&|s| s.sight.audio.lost),
            audio_concealed: sum(&|s| s.sight.audio.lost.saturating_sub(s.sight.audio.restored)),
            unreadable: sum(&|s| s.verdict.unreadable),
            nacks: sum(&|s| s.sight.nacks),
            plis: sum(&|s| s.sight.plis),
            path_lost: path(&|counts| counts.lost),
            path_dropped: path(&|counts| counts.dropped),
        }
    }

    fn fields(&self) -> Map<String, Value> {
        let [full, low, none] = self.tier_seconds;
        let object = json!({
            "students": self.students,
            "decoded_percent": self.decoded_percent,
            "freeze_percent": self.freeze_percent,
            "longest_freeze_ms": self.longest_freeze_ms,
            "recover_ms": self.recover_ms,
            "full_again_ms": self.full_again_ms,
            "tier_seconds": { "full": full, "low": low, "none": none },
            "glass_p50_ms": self.glass_p50_ms,
            "glass_p95_ms": self.glass_p95_ms,
            "shown_p50_ms": self.shown_p50_ms,
            "shown_p95_ms": self.shown_p95_ms,
            "sound_lost": self.audio_lost,
            "sound_gaps": self.audio_concealed,
            "unreadable": self.unreadable,
            "nacks": self.nacks,
            "plis": self.plis,
            "path_lost": self.path_lost,
            "path_dropped": self.path_dropped,
        });
        match object {
            Value::Object(fields) => fields,
            _ => Map::new(),
        }
    }
}

impl Findings {
    /// The good students or the bad ones, if there are any.
    pub(super) fn group(&self, bad: bool) -> Option<Group> {
        let students: Vec<&Student> = self.students.iter().filter(|student| student.bad == bad).collect();
        (!students.is_empty()).then(|| Group::new(&students, self.seconds))
    }

    /// The object: the top level describes the students with the bad network if there are any, otherwise all students.
    pub(super) fn object(&self) -> Value {
        let (good, bad) = (self.group(false), self.group(true));
        let mut object = bad.as_ref().or(good.as_ref()).map(Group::fields).unwrap_or_default();
        let encoders: Map<String, Value> = self.encoders.iter().map(encoder).collect();
        let rest = json!({
            "students": self.students.len(),
            "asked": self.asked,
            "gone": self.gone,
            "seconds": self.seconds,
            "uplink_kbps": self.uplink_kbps,
            "sfu_cpu_percent": self.sfu_cpu_percent,
            "encoders": encoders,
            "seed": self.seed,
            "good": good.as_ref().map(Group::fields),
            "bad": bad.as_ref().map(Group::fields),
            "per_student": self.students.iter().map(|student| self.student(student)).collect::<Vec<_>>(),
            "optimized": !cfg!(debug_assertions),
        });
        if let Value::Object(rest) = rest {
            object.extend(rest);
        }
        if let Some(ingest) = &self.ingest {
            object.insert("ingest".to_owned(), ingest.object());
        }
        Value::Object(object)
    }

    /// One student. Times are milliseconds from the start of the measurement.
    fn student(&self, student: &Student) -> Value {
        let Student { bad, verdict, sight } = student;
        let mut fields = Group::new(&[student], self.seconds).fields();
        fields.remove("students");
        let freezes = verdict.gaps.iter().filter(|gap| !gap.announced);
        let freezes: Vec<_> = freezes.map(|gap| [gap.start.saturating_sub(self.start), gap.end - gap.start]).collect();
        let concealed = sight.concealed.iter().filter(|(at, _)| *at >= self.start);
        let concealed: Vec<_> = concealed.map(|(at, ms)| [at - self.start, *ms]).collect();
        let more = json!({
            "student": sight.student,
            "bad": bad,
            "expected": verdict.expected,
            "decoded": verdict.decoded,
            "freezes": freezes,
            "sound_made_up": concealed,
            "tiers": verdict.changes.iter().map(|(at, tier)| json!([at, tier])).collect::<Vec<_>>(),
        });
        if let Value::Object(more) = more {
            fields.extend(more);
        }
        Value::Object(fields)
    }
}

fn sorted<'a>(times: impl Iterator<Item = &'a u32>) -> Vec<u32> {
    let mut times: Vec<u32> = times.copied().collect();
    times.sort_unstable();
    times
}

/// NaN if there are no times.
fn percentile(sorted: &[u32], share: f64) -> f64 {
    let at = (sorted.len().wrapping_sub(1) as f64 * share).round() as usize;
    sorted.get(at).map_or(f64::NAN, |ms| f64::from(*ms))
}

fn encoder(encoder: &Encoder) -> (String, Value) {
    let Encoder { name, width, frames, cpu_percent } = encoder;
    (name.clone(), json!({ "width": width, "pictures": frames, "cpu_percent": cpu_percent }))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::bench::wire::TrackCounts;

    /// A student with a good network, and one with a bad network.
    pub(in super::super) fn findings() -> Findings {
        let student = |bad, decoded, recover_ms: Option<u64>| Student {
            bad,
            verdict: Verdict {
                expected: 200,
                decoded,
                tier_ms: [6000, 3000, 1000],
                recover_ms,
                delays_ms: (0..=100).collect(),
                ..Verdict::default()
            },
            sight: Sight {
                student: usize::from(!bad),
                screen: TrackCounts { frozen_ms: 200 - decoded, ..TrackCounts::default() },
                audio: TrackCounts { lost: 3, ..TrackCounts::default() },
                ..Sight::default()
            },
        };
        Findings {
            title: "2 students".into(),
            asked: 2,
            gone: 0,
            has_event: true,
            seconds: 10.0,
            uplink_kbps: 5000.0,
            sfu_cpu_percent: 4.0,
            encoders: vec![Encoder { name: "screen-encoder".into(), width: 1280, frames: 300, cpu_percent: 21.0 }],
            start: 1000,
            students: vec![student(true, 100, Some(700)), student(false, 200, Some(0))],
            seed: 7,
            ingest: None,
        }
    }

    #[test]
    fn the_object_has_the_bad_network_at_the_top_and_both_groups() {
        let object = findings().object();
        assert_eq!((&object["decoded_percent"], &object["recover_ms"]), (&json!(50.0), &json!(700)));
        assert_eq!(
            (&object["bad"]["decoded_percent"], &object["good"]["decoded_percent"]),
            (&json!(50.0), &json!(100.0))
        );
        assert_eq!((&object["students"], &object["seed"]), (&json!(2), &json!(7)));
        assert_eq!(object["freeze_percent"], json!(1.0));
        assert_eq!(object["tier_seconds"], json!({ "full": 6.0, "low": 3.0, "none": 1.0 }));
        assert_eq!((&object["glass_p50_ms"], &object["glass_p95_ms"]), (&json!(50.0), &json!(95.0)));
        assert_eq!(object["encoders"]["screen-encoder"]["pictures"], 300);
        assert_eq!(object["per_student"][0]["bad"], true);
    }

    #[test]
    fn a_group_without_students_is_null() {
        let mut good = findings();
        good.students.remove(0);
        let object = good.object();
        assert!(object["bad"].is_null() && object["decoded_percent"] == 100.0, "{object}");
        good.students.clear();
        assert!(good.object()["decoded_percent"].is_null());
    }
}
