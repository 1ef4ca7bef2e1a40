//! The flags of `classroom plan`, and their meaning.

use std::num::NonZeroUsize;
use std::time::Duration;

use clap::Args;

use super::values::{self, Bitrate};
use crate::expect::decimal;
use crate::plan::{Costs, Lecture, Machine};

/// The example of `classroom plan -h`.
pub(super) const PLAN_EXAMPLE: &str = "Example: classroom plan --students 300     (all flags: classroom plan --help)";

/// The examples of `classroom plan --help`.
pub(super) const PLAN_HELP: &str = "Examples:
  classroom plan --students 300                     does this computer carry my class?
  classroom plan --students 10000 --uplink 10G      how many servers do I need?
  classroom plan --students 2000 --measure          with the costs of this computer, measured in some 20 seconds

A plan is arithmetic: what a packet, a join and a student cost, times how many there are. It fills three quarters of a \
network and 70 % of the cores. Without --measure the costs are those of docs/performance.md. It leaves out what is \
between the machines: switches, Wi-Fi, and the students' own lines.";

/// The default of `--uplink`.
const GIGABIT: &str = "1G";

/// `classroom plan`.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// The lecture.
    pub lecture: Lecture,
    /// Each machine.
    pub machine: Machine,
    /// Given costs; `None`: measure them here.
    pub costs: Option<Costs>,
    /// The video, as it was typed.
    pub bitrate: Bitrate,
    /// Pictures per second.
    pub fps: u32,
}

#[derive(Debug, Args)]
pub(super) struct TypedPlan {
    /// How many students watch at once
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    students: u64,

    /// Bits per second of the video, of screen and camera together
    #[arg(long, value_name = "RATE", default_value_t = Bitrate::default())]
    bitrate: Bitrate,

    /// Pictures per second
    #[arg(long, hide_short_help = true, value_name = "N", default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=120))]
    fps: u32,

    /// Bits per second that the network of each machine carries, for example 1G
    #[arg(long, value_name = "RATE", default_value = GIGABIT, value_parser = link_rate)]
    uplink: f64,

    /// The cores of each machine [default: those of this computer]
    #[arg(long, value_name = "N")]
    cores: Option<NonZeroUsize>,

    /// The memory of each machine in gigabytes
    #[arg(long, hide_short_help = true, value_name = "GB", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=4096))]
    memory: u32,

    /// The time in which all students join
    #[arg(long, hide_short_help = true, value_name = "DURATION", default_value = "60s", value_parser = values::bench_length)]
    joining: Duration,

    /// CPU time to send a packet to a student, in microseconds [default: 4]
    #[arg(long, hide_short_help = true, value_name = "US", value_parser = packet_cost, conflicts_with = "measure")]
    packet_cost: Option<Duration>,

    /// Measure the costs on this computer first; run it on a machine like those that will serve
    #[arg(long)]
    measure: bool,
}

impl From<TypedPlan> for Plan {
    fn from(typed: TypedPlan) -> Self {
        let here = || std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let mut costs = Costs::default();
        if let Some(packet) = typed.packet_cost {
            costs.packet = packet;
        }
        Self {
            lecture: Lecture {
                students: typed.students,
                video_bits: f64::from(typed.bitrate.bits_per_second()),
                fps: f64::from(typed.fps),
                joining: typed.joining,
            },
            machine: Machine {
                uplink: typed.uplink,
                cores: typed.cores.map_or_else(here, NonZeroUsize::get) as f64,
                memory: f64::from(typed.memory) * 1e9,
            },
            costs: (!typed.measure).then_some(costs),
            bitrate: typed.bitrate,
            fps: typed.fps,
        }
    }
}

/// Parses the rate of a network, in bits per second.
fn link_rate(text: &str) -> Result<f64, String> {
    let giga = text.strip_suffix(['g', 'G']).map(|number| decimal(number).map(|number| number * 1e9));
    let rate = giga.unwrap_or_else(|| values::bits(text)).ok_or("is not a rate, for example 1G, 100M or 2.5G")?;
    if (100e3..=1e12).contains(&rate) { Ok(rate) } else { Err("is out of range, give 100k to 1000G".into()) }
}

/// Parses microseconds.
fn packet_cost(text: &str) -> Result<Duration, String> {
    match decimal(text).ok_or("is not a number of microseconds, for example 3.5")? {
        micros if (0.1..=1000.0).contains(&micros) => Ok(Duration::from_secs_f64(micros / 1e6)),
        _ => Err("is out of range, give 0.1 to 1000 microseconds".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_of_networks_are_read() {
        assert_eq!(link_rate("2.5G"), Ok(2.5e9));
        assert_eq!(link_rate("100M"), Ok(100e6));
        for wrong in ["", "G", "1T", "-1G", "10", "2000G", "1e3"] {
            assert!(link_rate(wrong).is_err(), "{wrong}");
        }
        assert_eq!(packet_cost("3.5"), Ok(Duration::from_nanos(3_500)));
        assert!(packet_cost("0").is_err() && packet_cost("inf").is_err());
    }
}
