//! `/metrics`: the metrics of the process, the server and the lecture in the Prometheus text format.
//!
//! They contain no names and no ids of students or rooms, so everybody who reaches the port may read them, and their
//! size does not depend on the number of users.

mod cluster;
mod edges;
mod turn;

use std::collections::HashMap;
use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, prometheus_text};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

pub use self::cluster::ClusterMetrics;
pub use self::edges::EdgeMetrics;
pub use self::turn::TurnMetrics;
use super::whip::HostCount;
use crate::protocol::{MediaHost, RoomKind};
use crate::room::{Refusals, RoomState};
use crate::rtp::Encoding;

/// All metrics of a process.
#[derive(Debug, Clone, Default)]
pub struct Metrics {
    /// The process itself.
    pub process: ProcessMetrics,
    /// The signalling server; `None` if another process runs it.
    pub server: Option<ServerMetrics>,
    /// The media of rooms; `None` if this process carries none.
    pub media: Option<MediaMetrics>,
    /// The speakers on the stages of this process; `None` if it has no stage.
    pub speakers: Option<SpeakerMetrics>,
    /// The edges of this process; `None` without `--edge`.
    pub edges: Option<EdgeMetrics>,
    /// The TURN server; `None` if this process runs none.
    pub turn: Option<TurnMetrics>,
    /// The lecture; `None` if this process does not teach.
    pub lecture: Option<LectureMetrics>,
}

/// The resources of a process. Values that the system does not report are left out.
#[derive(Debug, Clone, Default)]
pub struct ProcessMetrics {
    /// The start of the process, in seconds since 1970.
    pub start_time_seconds: f64,
    /// The CPU time in seconds.
    pub cpu_seconds: Option<f64>,
    /// The resident memory in bytes.
    pub resident_bytes: Option<u64>,
    /// Open file descriptors.
    pub open_fds: Option<u64>,
    /// The limit of open file descriptors.
    pub max_fds: Option<u64>,
}

/// A signalling server.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ServerMetrics {
    /// The number of rooms, by kind and state.
    pub rooms: Vec<(RoomKind, RoomState, usize)>,
    /// Teachers in all lectures.
    pub teachers: usize,
    /// Students in all lectures.
    pub students: usize,
    /// Members of all meeting and call rooms.
    pub members: usize,
    /// Participants of meetings and calls, by the kind of the room and the host of their media.
    pub participants: Vec<(RoomKind, MediaHost, usize)>,
    /// How often clients were refused because something was full.
    pub refusals: Refusals,
    /// Open WebSockets.
    pub connections: usize,
    /// Messages that wait to be written to clients.
    pub waiting_messages: usize,
    /// The bytes of these messages.
    pub waiting_bytes: usize,
    /// Messages in the fullest queue to one student.
    pub longest_student_queue: usize,
    /// The capacity of the queue to one student.
    pub student_queue: usize,
    /// The node among others; `None` for a server on one machine.
    pub cluster: Option<ClusterMetrics>,
}

/// The media of all speakers at a process. Counts are totals since its start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SpeakerMetrics {
    /// Speakers now, and those who have accepted and are about to come.
    pub speakers: usize,
    /// RTP packets sent to those who receive a speaker.
    pub packets: u64,
    /// Bytes sent, without UDP and IP headers.
    pub bytes: u64,
    /// RTP packets received from speakers.
    pub ingest_packets: u64,
    /// Packets of speakers that did not come at first.
    pub ingest_lost: u64,
}

/// The media of all rooms that a server carries, that of their speakers included. Counts are totals since its start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MediaMetrics {
    /// Rooms whose media the server carries now.
    pub rooms: usize,
    /// Students that receive media from the server.
    pub students: usize,
    /// RTP packets sent.
    pub packets: u64,
    /// Bytes sent, without UDP and IP headers.
    pub bytes: u64,
    /// RTP packets received from publishers.
    pub ingest_packets: u64,
    /// Packets of publishers that did not come at first.
    pub ingest_lost: u64,
    /// Participants of meetings whose sound is passed on now.
    pub voices: usize,
    /// How often a participant of a meeting took the place of a quieter voice.
    pub voice_changes: u64,
}

/// A lecture. Counts are totals since the start of the lecture.
#[derive(Debug, Clone, Default)]
pub struct LectureMetrics {
    /// Seconds since the start.
    pub seconds: f64,
    /// Students whose connection is being established.
    pub connecting: usize,
    /// Students that receive media.
    pub watching: usize,
    /// The part of `watching` from which nothing has arrived for some seconds.
    pub disturbed: usize,
    /// The number of students that get each encoding.
    pub viewers: Vec<(Encoding, usize)>,
    /// RTP packets sent.
    pub packets: u64,
    /// Bytes sent, without UDP and IP headers.
    pub bytes: u64,
    /// System calls for sending.
    pub send_calls: u64,
    /// Packets that the kernel refused.
    pub refused: u64,
    /// Packets that students reported lost.
    pub lost: u64,
    /// Packets that students requested again (NACK).
    pub nacked: u64,
    /// Packets retransmitted.
    pub resent: u64,
    /// How often students reported a lost picture (PLI).
    pub picture_losses: u64,
    /// How often the tiers of a student changed.
    pub tier_changes: u64,
    /// Frames dropped for single students.
    pub dropped: u64,
    /// Messages dropped because a student did not read them.
    pub unread: u64,
    /// The output of the encoders.
    pub encodings: Vec<(Encoding, EncodingMetrics)>,
    /// The delay from capture to socket in the last second: median and 99th percentile in seconds, of `all` packets and
    /// of `audio`.
    pub send_delay: HashMap<&'static str, [Option<f64>; 2]>,
    /// Bounded queues: name, length, capacity.
    pub queues: Vec<(&'static str, usize, usize)>,
    /// How many WHIP servers get the lecture; `None` without `--whip`.
    pub whip: Option<HostCount>,
}

/// The output of an encoder.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct EncodingMetrics {
    /// Encoded frames.
    pub frames: u64,
    /// Encoded key frames.
    pub key_frames: u64,
    /// Requested key frames.
    pub key_requests: u64,
    /// Encoded bytes.
    pub bytes: u64,
    /// Frames per second, in the last second.
    pub fps: f64,
    /// Seconds that a frame spends in the encoder, as a recent mean; `None` while the encoder does not run.
    pub delay: Option<f64>,
}

/// The quantiles of delays.
pub const QUANTILES: [f64; 2] = [0.5, 0.99];

impl Metrics {
    /// The metrics in the Prometheus text format 0.0.4.
    pub fn text(self) -> String {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(self));
        let mut text = String::new();
        // Writing to a string does not fail.
        let written = prometheus_text::encode(&mut text, &registry);
        debug_assert!(written.is_ok());
        text
    }
}

/// Labels of a metric, such as `[("track", "screen")]`.
type Labels = Vec<(&'static str, String)>;

/// Writes metric families.
struct Writer<'a>(DescriptorEncoder<'a>);

impl Writer<'_> {
    fn counter<N>(&mut self, name: &str, help: &str, values: impl IntoIterator<Item = (Labels, N)>) -> fmt::Result
    where
        ConstCounter<N>: EncodeMetric,
    {
        let values = values.into_iter().map(|(labels, value)| (labels, ConstCounter::new(value)));
        self.family(name, help, MetricType::Counter, values)
    }

    fn gauge<N>(&mut self, name: &str, help: &str, values: impl IntoIterator<Item = (Labels, N)>) -> fmt::Result
    where
        ConstGauge<N>: EncodeMetric,
    {
        let values = values.into_iter().map(|(labels, value)| (labels, ConstGauge::new(value)));
        self.family(name, help, MetricType::Gauge, values)
    }

    fn family<M: EncodeMetric>(
        &mut self,
        name: &str,
        help: &str,
        metric_type: MetricType,
        values: impl IntoIterator<Item = (Labels, M)>,
    ) -> fmt::Result {
        let mut values = values.into_iter().peekable();
        if values.peek().is_none() {
            return Ok(());
        }
        let mut family = self.0.encode_descriptor(name, help, None, metric_type)?;
        for (labels, value) in values {
            value.encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }
}

fn one<N>(value: N) -> [(Labels, N); 1] {
    [(Labels::new(), value)]
}

fn some<N>(value: Option<N>) -> Option<(Labels, N)> {
    value.map(|value| (Labels::new(), value))
}

fn labelled<N>(name: &'static str, values: impl IntoIterator<Item = (&'static str, N)>) -> Vec<(Labels, N)> {
    values.into_iter().map(|(value, number)| (vec![(name, value.to_owned())], number)).collect()
}

fn of(encoding: Encoding) -> Labels {
    vec![
        ("track", encoding.track.to_string()),
        ("tier", encoding.tier.to_string()),
        ("codec", encoding.codec.encoding_name().to_ascii_lowercase()),
    ]
}

fn of_rooms(kind: RoomKind, state: RoomState) -> Labels {
    let state = match state {
        RoomState::Waiting => "waiting",
        RoomState::Live => "live",
        RoomState::Ended => "ended",
    };
    vec![("kind", kind.name().to_owned()), ("state", state.to_owned())]
}

/// One count of an encoder.
type CountOf = fn(&EncodingMetrics) -> u64;

/// A count as the value of a gauge.
fn number(count: usize) -> i64 {
    count.try_into().unwrap_or(i64::MAX)
}

impl Collector for Metrics {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut to = Writer(encoder);
        let version = vec![("version", env!("CARGO_PKG_VERSION").to_owned())];
        to.gauge("classroom_build_info", "The version that runs, always 1", [(version, 1i64)])?;
        self.process.write(&mut to)?;
        if let Some(server) = &self.server {
            server.write(&mut to)?;
        }
        if let Some(media) = &self.media {
            media.write(&mut to)?;
        }
        if let Some(speakers) = &self.speakers {
            speakers.write(&mut to)?;
        }
        if let Some(edges) = &self.edges {
            edges.write(&mut to)?;
        }
        if let Some(turn) = &self.turn {
            turn.write(&mut to)?;
        }
        if let Some(lecture) = &self.lecture {
            lecture.write(&mut to)?;
        }
        Ok(())
    }
}

impl ProcessMetrics {
    fn write(&self, to: &mut Writer<'_>) -> fmt::Result {
        let bytes = |value: Option<u64>| some(value.map(|value| value as f64));
        to.gauge("process_start_time_seconds", "Start of the process since 1970", one(self.start_time_seconds))?;
        to.counter("process_cpu_seconds", "CPU time of the process", some(self.cpu_seconds))?;
        to.gauge("process_resident_memory_bytes", "Memory of the process in RAM", bytes(self.resident_bytes))?;
        to.gauge("process_open_fds", "Open file descriptors", bytes(self.open_fds))?;
        to.gauge("process_max_fds", "File descriptors that may be open", bytes(self.max_fds))
    }
}

impl SpeakerMetrics {
    fn write(&self, to: &mut Writer<'_>) -> fmt::Result {
        to.gauge("classroom_media_speakers", "Students on the stage", one(number(self.speakers)))?;
        for (name, help, value) in [
            ("classroom_speaker_sent_packets", "RTP packets of speakers that were sent", self.packets),
            ("classroom_speaker_sent_bytes", "Bytes of speakers that were sent", self.bytes),
            ("classroom_speaker_ingest_packets", "RTP packets that arrived from speakers", self.ingest_packets),
            (
                "classroom_speaker_ingest_lost_packets",
                "Packets of speakers that did not come at first",
                self.ingest_lost,
            ),
        ] {
            to.counter(name, help, one(value))?;
        }
        Ok(())
    }
}

impl MediaMetrics {
    fn write(&self, to: &mut Writer<'_>) -> fmt::Result {
        let (rooms, students) = (number(self.rooms), number(self.students));
        to.gauge("classroom_media_rooms", "Rooms whose media the server carries", one(rooms))?;
        to.gauge("classroom_media_students", "Students that receive media from the server", one(students))?;
        let voices = one(number(self.voices));
        to.gauge("classroom_media_voices", "Participants of meetings whose sound is passed on", voices)?;
        for (name, help, value) in [
            ("classroom_media_sent_packets", "RTP packets that the server sent", self.packets),
            ("classroom_media_sent_bytes", "Bytes that the server sent", self.bytes),
            ("classroom_ingest_packets", "RTP packets that arrived from publishers", self.ingest_packets),
            ("classroom_ingest_lost_packets", "Packets of publishers that did not come at first", self.ingest_lost),
            (
                "classroom_media_voice_changes",
                "Times that a participant of a meeting took the place of a quieter voice",
                self.voice_changes,
            ),
        ] {
            to.counter(name, help, one(value))?;
        }
        Ok(())
    }
}

impl ServerMetrics {
    fn write(&self, to: &mut Writer<'_>) -> fmt::Result {
        let rooms = self.rooms.iter().map(|(kind, state, count)| (of_rooms(*kind, *state), number(*count)));
        let members = [("teacher", self.teachers), ("student", self.students), ("member", self.members)];
        to.gauge("classroom_rooms", "Rooms of the server", rooms)?;
        let members = labelled("role", members.map(|(role, count)| (role, number(count))));
        to.gauge("classroom_room_members", "Users in lectures, meetings and call rooms", members)?;
        let participants = self.participants.iter().map(|(kind, host, count)| {
            let media = if *host == MediaHost::Server { "server" } else { "pairs" };
            (vec![("kind", kind.name().to_owned()), ("media", media.to_owned())], number(*count))
        });
        to.gauge("classroom_participants", "Users who take part in meetings and calls", participants)?;
        let Refusals { meeting, room, server } = self.refusals;
        let refusals = labelled("full", [("meeting", meeting), ("room", room), ("server", server)]);
        to.counter("classroom_full_refusals", "Clients that were refused because something was full", refusals)?;
        to.gauge("classroom_connections", "Open WebSockets", one(number(self.connections)))?;
        to.gauge(
            "classroom_signalling_waiting_messages",
            "Messages that wait to be written to clients",
            one(number(self.waiting_messages)),
        )?;
        to.gauge(
            "classroom_signalling_waiting_bytes",
            "Bytes that wait to be written to clients",
            one(number(self.waiting_bytes)),
        )?;
        to.gauge(
            "classroom_signalling_longest_queue_messages",
            "Messages in the fullest queue to one student",
            one(number(self.longest_student_queue)),
        )?;
        to.gauge(
            "classroom_signalling_queue_capacity_messages",
            "Capacity of the queue to one student",
            one(number(self.student_queue)),
        )?;
        self.cluster.map_or(Ok(()), |cluster| cluster.write(to))
    }
}

impl LectureMetrics {
    fn write(&self, to: &mut Writer<'_>) -> fmt::Result {
        to.gauge("classroom_lecture_duration_seconds", "Time since the lecture began", one(self.seconds))?;
        let states = [("connecting", self.connecting), ("watching", self.watching), ("disturbed", self.disturbed)];
        to.gauge(
            "classroom_students",
            "Students by the state of their media; watching includes disturbed",
            labelled("state", states.map(|(state, count)| (state, number(count)))),
        )?;
        let viewers = self.viewers.iter().map(|(encoding, students)| (of(*encoding), number(*students)));
        to.gauge("classroom_viewers", "Students that get an encoding", viewers)?;
        for (name, help, value) in [
            ("classroom_sent_packets", "RTP packets sent", self.packets),
            ("classroom_sent_bytes", "Bytes sent, without UDP and IP headers", self.bytes),
            ("classroom_send_calls", "System calls for sending", self.send_calls),
            ("classroom_refused_packets", "Packets that the kernel refused", self.refused),
            ("classroom_lost_packets", "Packets that students reported lost", self.lost),
            ("classroom_nacked_packets", "Packets that students requested again", self.nacked),
            ("classroom_retransmitted_packets", "Packets retransmitted", self.resent),
            ("classroom_picture_losses", "Lost pictures reported by students", self.picture_losses),
            ("classroom_tier_changes", "Changes of the tiers of a student", self.tier_changes),
            ("classroom_dropped_frames", "Frames dropped for single students", self.dropped),
            ("classroom_unread_messages", "Messages dropped because a student did not read them", self.unread),
        ] {
            to.counter(name, help, one(value))?;
        }
        self.write_encodings(to)?;
        let delays = self.send_delay.iter().flat_map(|(media, delays)| {
            QUANTILES.into_iter().zip(delays).filter_map(|(quantile, delay)| {
                let labels = vec![("media", (*media).to_owned()), ("quantile", quantile.to_string())];
                delay.map(|delay| (labels, delay))
            })
        });
        to.gauge("classroom_send_delay_seconds", "Delay from capture to socket in the last second", delays)?;
        let queues = |value: fn(&(&'static str, usize, usize)) -> usize| {
            labelled("queue", self.queues.iter().map(|queue| (queue.0, number(value(queue)))))
        };
        to.gauge("classroom_queue_length", "Length of a bounded queue", queues(|queue| queue.1))?;
        to.gauge("classroom_queue_capacity", "Capacity of a bounded queue", queues(|queue| queue.2))?;
        let Some(HostCount { live, servers }) = self.whip else { return Ok(()) };
        let states = [("live", live), ("waiting", servers - live.min(servers))];
        let servers = labelled("state", states.map(|(state, count)| (state, number(count))));
        to.gauge("classroom_whip_servers", "WHIP servers that get the lecture, or do not at present", servers)
    }

    fn write_encodings(&self, to: &mut Writer<'_>) -> fmt::Result {
        let counts: [(&str, &str, CountOf); 4] = [
            ("classroom_encoded_frames", "Frames that an encoder made", |made| made.frames),
            ("classroom_encoded_key_frames", "Key frames that an encoder made", |made| made.key_frames),
            ("classroom_key_frame_requests", "Key frames requested from an encoder", |made| made.key_requests),
            ("classroom_encoded_bytes", "Bytes that an encoder made", |made| made.bytes),
        ];
        for (name, help, count) in counts {
            to.counter(name, help, self.encodings.iter().map(|(encoding, made)| (of(*encoding), count(made))))?;
        }
        let fps = self.encodings.iter().map(|(encoding, made)| (of(*encoding), made.fps));
        to.gauge("classroom_encoder_frames_per_second", "Frames that an encoder made in the last second", fps)?;
        let delays = self.encodings.iter().filter_map(|(encoding, made)| Some((of(*encoding), made.delay?)));
        to.gauge("classroom_encoder_delay_seconds", "Time that a frame spends in its encoder", delays)
    }
}

#[cfg(test)]
mod tests;
