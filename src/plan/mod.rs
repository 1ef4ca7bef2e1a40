//! How many machines a lecture takes, and where its first bottleneck is. Pure: [`plan`] is arithmetic on the costs of
//! one packet, of one join and of one student.
//!
//! A lecture needs an origin, which has its media, and edges, which receive each encoding once and pass it on. A
//! machine is full when the first of its network, its cores and its memory is.

mod machine;
mod shape;
#[cfg(test)]
mod tests;

pub use self::machine::{Bottleneck, Capacity, Costs, Machine};
pub use self::shape::Shape;

use std::time::Duration;

/// The bit rate of Opus, in bits per second.
const AUDIO_BITS: f64 = 32_000.0;

/// Packets of audio per second: one for each 20 ms.
const AUDIO_PACKETS: f64 = 50.0;

/// The longest payload of a video packet in bytes, at the payloaders' MTU of 1,200 bytes.
const VIDEO_PAYLOAD: f64 = 1_188.0;

/// What the network carries for each packet beside its payload, in bytes: RTP with its extensions (24), the tag of
/// SRTP (16), UDP and IPv4 (28), Ethernet with preamble and gap (38).
const OVERHEAD: f64 = 106.0;

/// A lecture to plan for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Lecture {
    /// How many students watch at once.
    pub students: u64,
    /// The video in bits per second, all tracks together.
    pub video_bits: f64,
    /// Pictures per second.
    pub fps: f64,
    /// The time in which all students join.
    pub joining: Duration,
}

/// The media that one student receives.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Stream {
    /// RTP packets per second.
    pub packets: f64,
    /// Bits per second on Ethernet, headers included.
    pub bits: f64,
}

impl Lecture {
    /// The stream of one student.
    pub fn stream(&self) -> Stream {
        let bytes_of_picture = self.video_bits / 8.0 / self.fps;
        let packets = (bytes_of_picture / VIDEO_PAYLOAD).ceil() * self.fps + AUDIO_PACKETS;
        Stream { packets, bits: self.video_bits + AUDIO_BITS + packets * OVERHEAD * 8.0 }
    }
}

/// What to set up for a lecture.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// What one student receives.
    pub stream: Stream,
    /// What one machine carries beside the encoder.
    pub origin: Capacity,
    /// What one machine carries as an edge.
    pub edge: Capacity,
    /// The machines, and who sends to whom.
    pub shape: Shape,
    /// The load of the origin.
    pub of_origin: Load,
    /// The load of each edge, if there are edges.
    pub of_edge: Option<Load>,
    /// The cores of each machine with students that the joins take while they last.
    pub of_joins: f64,
}

/// The load of a machine.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Load {
    /// Streams that it sends.
    pub streams: u64,
    /// Bits per second that it sends.
    pub bits: f64,
    /// Cores that it uses.
    pub cores: f64,
    /// Bytes of memory of the peers.
    pub memory: f64,
}

/// Why there is no plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Impossible {
    /// A machine does not even carry one student.
    Machine(Bottleneck),
    /// The origin can't send to all the edges that are needed.
    TooManyEdges {
        /// The edges that the students need.
        edges: u64,
        /// The edges that the origin sends to.
        possible: u64,
    },
}

/// Plans a lecture on machines of one kind.
///
/// # Errors
/// If no number of such machines carries the lecture.
pub fn plan(lecture: &Lecture, machine: &Machine, costs: &Costs) -> Result<Plan, Impossible> {
    let stream = lecture.stream();
    let origin = machine.capacity(&stream, costs, costs.encoder);
    let edge = machine.capacity(&stream, costs, 0.0);
    let shape = Shape::of(lecture.students, origin, edge)?;
    let load = |streams: u64, encoder: f64| Load {
        streams,
        bits: streams as f64 * stream.bits,
        cores: encoder + streams as f64 * stream.packets * costs.packet.as_secs_f64(),
        memory: streams as f64 * costs.memory,
    };
    let students_of_each = shape.students_of_each();
    let joins_per_second = students_of_each.unwrap_or(lecture.students) as f64 / lecture.joining.as_secs_f64();
    Ok(Plan {
        stream,
        origin,
        edge,
        shape,
        of_origin: load(shape.streams_of_origin(lecture.students), costs.encoder),
        of_edge: students_of_each.map(|students| load(students, 0.0)),
        of_joins: joins_per_second * costs.join.as_secs_f64(),
    })
}
