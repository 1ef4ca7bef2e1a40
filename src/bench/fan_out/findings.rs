//! The results of the fan-out bench: an object for scripts, a table for people.

use std::time::Duration;

use serde_json::{Value, json};

use super::Sent;
use crate::bench::crowd::Tally;
use crate::rtp::Delays;

/// Why `send_ratio` may be missing.
const NO_SEND_RATIO: &str = "send_ratio needs root or user namespaces, unshare, ip and tc with BPF";

/// The cost of joining.
#[derive(Debug, Clone)]
pub(super) struct Joining {
    /// From the first offer until all students were connected.
    pub(super) time: Duration,
    /// The SFU's CPU time in this period, and the packets that it sent.
    pub(super) cpu: Duration,
    pub(super) packets: u64,
}

/// The cost of sending without receivers.
#[derive(Debug, Clone)]
pub(super) enum SendOnly {
    /// Media was dropped before it was received.
    Measured(Sent),
    /// Dropping is impossible here, for this reason.
    Impossible(String),
}

/// The measured counts. The object and the table are computed from them.
#[derive(Debug, Clone)]
pub(super) struct Findings {
    /// The requested setup, in the words of the flags.
    pub(super) title: String,
    pub(super) asked: usize,
    pub(super) joined: usize,
    /// The number of students that the SFU still had at the end.
    pub(super) at_end: usize,
    pub(super) joining: Joining,
    pub(super) memory_kb: u64,
    /// The SFU's cost of sending to all, and the floor measured in between. The fields below cover the same period.
    pub(super) sent: Sent,
    pub(super) calls: u64,
    pub(super) refused: u64,
    pub(super) dropped: u64,
    /// Students whose packets are sealed by the `rtc` library, at several times the cost.
    pub(super) sealed_by_core: usize,
    pub(super) delays: Delays,
    pub(super) audio_delays: Delays,
    /// The part of the delays until a publisher's frame can be sent; empty without a publisher.
    pub(super) ingest_delays: Delays,
    /// The lecture's packets for each student.
    pub(super) offered: u64,
    /// The students' counts of those packets.
    pub(super) seen: Tally,
    /// From each student's offer to the end of its first frame, sorted.
    pub(super) first_frames_ms: Vec<u32>,
    /// The same without receivers.
    pub(super) send_only: SendOnly,
}

impl Findings {
    fn packets_per_s(&self) -> f64 {
        self.sent.packets as f64 / self.sent.time.as_secs_f64()
    }

    fn us_per_packet(&self) -> f64 {
        self.sent.us_per_packet()
    }

    fn floor(&self) -> f64 {
        self.sent.floor_us_per_packet()
    }

    fn floor_ratio(&self) -> f64 {
        self.sent.ratio()
    }

    /// The SFU's cost without receivers.
    fn send_only(&self) -> Option<&Sent> {
        match &self.send_only {
            SendOnly::Measured(sent) => Some(sent),
            SendOnly::Impossible(_) => None,
        }
    }

    /// The number of students that one core carries at the rate of the lecture, whether or not this machine kept up.
    fn students_per_core(&self) -> f64 {
        1e6 / self.us_per_packet() / (self.offered as f64 / self.sent.time.as_secs_f64())
    }

    fn delivered(&self) -> f64 {
        percent(self.seen.received, self.offered * self.joined as u64)
    }

    fn late(&self) -> f64 {
        percent(self.seen.late, self.seen.received)
    }

    fn feedbacks_per_s(&self) -> f64 {
        self.seen.feedbacks as f64 / self.sent.time.as_secs_f64()
    }

    fn handed(&self) -> f64 {
        percent(self.seen.handed, self.seen.received + self.seen.unknown_ssrc)
    }

    fn decrypted(&self) -> f64 {
        percent(self.seen.opened, self.seen.handed)
    }

    /// The CPU time of a join without the packets sent meanwhile. An estimate: packets of the first frames are cheaper
    /// than packets of the lecture, and joining must not take seconds.
    fn join_cpu_ms(&self) -> f64 {
        let media = self.joining.packets as f64 * self.us_per_packet() / 1000.0 / self.joined as f64;
        (self.join_cpu_with_media_ms() - media).max(0.0)
    }

    fn join_cpu_with_media_ms(&self) -> f64 {
        self.joining.cpu.as_secs_f64() * 1000.0 / self.joined as f64
    }

    fn delay_ms(&self, share: f64) -> f64 {
        in_ms(&self.delays, share)
    }

    fn audio_delay_ms(&self, share: f64) -> f64 {
        in_ms(&self.audio_delays, share)
    }

    fn first_frame_ms(&self, share: f64) -> f64 {
        let last = self.first_frames_ms.len().wrapping_sub(1);
        let at = (last as f64 * share).round() as usize;
        self.first_frames_ms.get(at).map_or(f64::NAN, |ms| f64::from(*ms))
    }

    fn kb_per_student(&self) -> f64 {
        self.memory_kb as f64 / self.joined as f64
    }

    /// The object of `--json`. Values that could not be measured are null.
    pub(super) fn object(&self) -> Value {
        json!({
            "students": self.joined,
            "asked": self.asked,
            "students_at_end": self.at_end,
            "joined_in_s": self.joining.time.as_secs_f64(),
            "first_picture_p50_ms": self.first_frame_ms(0.5),
            "first_picture_p95_ms": self.first_frame_ms(0.95),
            "join_cpu_ms": self.join_cpu_ms(),
            "join_cpu_with_media_ms": self.join_cpu_with_media_ms(),
            "kb_per_student": self.kb_per_student(),
            "seconds": self.sent.time.as_secs_f64(),
            "packets_per_s": self.packets_per_s(),
            "delivered_percent": self.delivered(),
            "late_percent": self.late(),
            "sampled_percent": self.handed(),
            "decrypted_percent": self.decrypted(),
            "us_per_packet": self.us_per_packet(),
            "students_per_core": self.students_per_core(),
            "syscalls_per_packet": self.calls as f64 / self.sent.packets as f64,
            "delay_p50_ms": self.delay_ms(0.5),
            "delay_p99_ms": self.delay_ms(0.99),
            "sound_delay_p99_ms": self.audio_delay_ms(0.99),
            "sound_delay_max_ms": self.audio_delay_ms(1.0),
            "ingest_delay_p50_ms": in_ms(&self.ingest_delays, 0.5),
            "ingest_delay_p99_ms": in_ms(&self.ingest_delays, 0.99),
            "dropped": self.dropped,
            "refused": self.refused,
            "sealed_by_core": self.sealed_by_core,
            "nacked": self.seen.nacked,
            "feedbacks_per_s": self.feedbacks_per_s(),
            "duplicates": self.seen.duplicates,
            "floor_us_per_packet": self.floor(),
            "floor_ratio": self.floor_ratio(),
            "send_us_per_packet": self.send_only().map(Sent::us_per_packet),
            "send_floor_us_per_packet": self.send_only().map(Sent::floor_us_per_packet),
            "send_ratio": self.send_only().map(Sent::ratio),
            "send_ratio_note": match &self.send_only {
                SendOnly::Measured(_) => None,
                SendOnly::Impossible(why) => Some(format!("{NO_SEND_RATIO} ({why})")),
            },
            "optimized": !cfg!(debug_assertions),
        })
    }

    /// The table, in Markdown.
    pub(super) fn table(&self) -> String {
        let everyone = if self.handed() >= 99.95 {
            format!("{:.3} %", self.decrypted())
        } else {
            format!("{:.3} % of the {:.0} % that the students opened, in turn", self.decrypted(), self.handed())
        };
        let (without_receivers, send_ratio) = match &self.send_only {
            SendOnly::Measured(sent) => (
                format!("{:.2} us, {:.2} us", sent.us_per_packet(), sent.floor_us_per_packet()),
                format!("{:.2}", sent.ratio()),
            ),
            SendOnly::Impossible(_) => ("-".to_owned(), "-".to_owned()),
        };
        let ingest = if self.ingest_delays.count() == 0 {
            "-".to_owned()
        } else {
            format!("{:.2} ms, {:.2} ms", in_ms(&self.ingest_delays, 0.5), in_ms(&self.ingest_delays, 0.99))
        };
        let rows = [
            ("students that joined, and that were there at the end", format!("{}, {}", self.joined, self.at_end)),
            ("joined in", format!("{:.2} s", self.joining.time.as_secs_f64())),
            (
                "offer to first whole picture, p50 and p95",
                format!("{:.0} ms, {:.0} ms", self.first_frame_ms(0.5), self.first_frame_ms(0.95)),
            ),
            (
                "teacher's CPU for a join, and with the media sent meanwhile",
                format!("{:.2} ms, {:.2} ms", self.join_cpu_ms(), self.join_cpu_with_media_ms()),
            ),
            ("memory per student", format!("{:.0} kB", self.kb_per_student())),
            ("packets/s", format!("{:.0}", self.packets_per_s())),
            ("transport-wide feedbacks/s", format!("{:.0}", self.feedbacks_per_s())),
            ("delivered", format!("{:.3} %", self.delivered())),
            ("decrypted", everyone),
            ("later than 80 ms at the student", format!("{:.3} %", self.late())),
            ("dropped frames, packets refused by the kernel", format!("{}, {}", self.dropped, self.refused)),
            ("students whose packets the `rtc` library seals", self.sealed_by_core.to_string()),
            ("send delay, p50 and p99", format!("{:.2} ms, {:.2} ms", self.delay_ms(0.5), self.delay_ms(0.99))),
            (
                "sound alone, p99 and maximum",
                format!("{:.2} ms, {:.2} ms", self.audio_delay_ms(0.99), self.audio_delay_ms(1.0)),
            ),
            ("arrival of a publisher's frame until it can be sent, p50 and p99", ingest),
            ("send calls per packet", format!("{:.3}", self.calls as f64 / self.sent.packets as f64)),
            ("sender's CPU per packet", format!("{:.2} us", self.us_per_packet())),
            ("students per core", format!("{:.0}", self.students_per_core())),
            ("floor: copy, AES-128-GCM, a GSO send per student and frame", format!("{:.2} us", self.floor())),
            ("sender's CPU to floor", format!("{:.2}", self.floor_ratio())),
            ("without receivers: sender's CPU per packet, floor", without_receivers),
            ("without receivers: sender's CPU to floor", send_ratio),
        ];
        let build = if cfg!(debug_assertions) { ", NOT OPTIMIZED: build with --release" } else { "" };
        let title = format!("{}{build}", self.title);
        let left = rows.iter().map(|(name, _)| name.len()).chain([title.len()]).max().unwrap_or(0);
        let right = rows.iter().map(|(_, value)| value.len()).max().unwrap_or(0);
        let mut table = format!("| {title:<left$} | {:<right$} |\n| {:-<left$} | {:-<right$} |", "", "", "");
        for (name, value) in rows {
            table += &format!("\n| {name:<left$} | {value:<right$} |");
        }
        if let SendOnly::Impossible(why) = &self.send_only {
            table += &format!("\n\n{NO_SEND_RATIO} ({why}).");
        }
        table
    }
}

fn in_ms(delays: &Delays, share: f64) -> f64 {
    delays.percentile(share).map_or(f64::NAN, |delay| delay.as_micros() as f64 / 1000.0)
}

fn percent(part: u64, whole: u64) -> f64 {
    part as f64 * 100.0 / whole as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::fan_out::floor::Floor;

    /// 6,000 packets in ten seconds, and 1,000 packets of the floor.
    fn sent(cpu_ms: u64, floor_us: u64) -> Sent {
        let floor = Floor { packets: 1000, cpu: Duration::from_micros(floor_us) };
        Sent { time: Duration::from_secs(10), cpu: Duration::from_millis(cpu_ms), packets: 6000, floor }
    }

    fn findings() -> Findings {
        let mut delays = Delays::default();
        delays.record(Duration::from_millis(1), 98);
        delays.record(Duration::from_millis(20), 2);
        Findings {
            title: "2 students".to_owned(),
            asked: 3,
            joined: 2,
            at_end: 2,
            joining: Joining { time: Duration::from_millis(500), cpu: Duration::from_millis(9), packets: 500 },
            memory_kb: 300,
            sent: sent(12, 1600),
            calls: 600,
            refused: 0,
            dropped: 1,
            sealed_by_core: 0,
            audio_delays: delays.clone(),
            ingest_delays: Delays::default(),
            delays,
            offered: 3000,
            seen: Tally { received: 5940, late: 6, handed: 2970, opened: 2970, feedbacks: 200, ..Tally::default() },
            first_frames_ms: vec![100, 300],
            send_only: SendOnly::Measured(sent(6, 500)),
        }
    }

    #[test]
    fn derived_values_follow_from_the_counts() {
        let object = findings().object();
        for (field, value) in [
            ("students", 2.0),
            ("packets_per_s", 600.0),
            ("feedbacks_per_s", 20.0),
            ("us_per_packet", 2.0),
            ("floor_us_per_packet", 1.6),
            ("floor_ratio", 1.25),
            ("send_us_per_packet", 1.0),
            ("send_floor_us_per_packet", 0.5),
            ("send_ratio", 2.0),
            // 2 us for each of 300 packets per second.
            ("students_per_core", 1666.667),
            ("delivered_percent", 99.0),
            ("sampled_percent", 50.0),
            ("decrypted_percent", 100.0),
            ("late_percent", 0.101),
            ("syscalls_per_packet", 0.1),
            ("kb_per_student", 150.0),
            // 9 ms without 500 packets of 2 us.
            ("join_cpu_ms", 4.0),
            ("join_cpu_with_media_ms", 4.5),
            ("first_picture_p50_ms", 300.0),
            ("dropped", 1.0),
        ] {
            let found = object[field].as_f64().unwrap();
            assert!((found - value).abs() < 0.001, "{field}: {found}");
        }
        let (p50, p99) = (object["delay_p50_ms"].as_f64().unwrap(), object["delay_p99_ms"].as_f64().unwrap());
        assert!((1.0..1.2).contains(&p50) && (20.0..23.0).contains(&p99), "{p50} {p99}");
        assert!(object["ingest_delay_p99_ms"].is_null(), "no publisher");
    }

    #[test]
    fn a_bench_without_measurements_yields_null() {
        let none = Findings { joined: 0, sent: Sent::default(), first_frames_ms: vec![], ..findings() };
        assert!(none.object()["floor_ratio"].is_null() && none.object()["first_picture_p95_ms"].is_null());
        assert!(none.table().contains("| students"));
    }

    #[test]
    fn a_missing_namespace_omits_the_send_ratio_and_states_the_reason() {
        let found = Findings { send_only: SendOnly::Impossible("tc: not found".to_owned()), ..findings() };
        let (object, table) = (found.object(), found.table());
        assert!(object["send_ratio"].is_null() && object["send_us_per_packet"].is_null(), "{object}");
        assert_eq!(object["send_ratio_note"], format!("{NO_SEND_RATIO} (tc: not found)"));
        assert!(table.contains("(tc: not found)."), "{table}");
        let measured = findings();
        assert!(measured.object()["send_ratio_note"].is_null() && !measured.table().contains(NO_SEND_RATIO));
    }

    #[test]
    fn the_table_states_the_share_of_opened_packets() {
        let table = findings().table();
        assert!(table.contains("100.000 % of the 50 % that the students opened"), "{table}");
        let widths: Vec<usize> = table.lines().map(str::len).collect();
        assert!(widths.iter().all(|width| *width == widths[0]), "{table}");
    }
}
