//! `classroom plan`: says how many machines a lecture takes, and what is full first.

use serde_json::{Value, json};

use super::bench;
use crate::cli;
use crate::exit::Failure;
use crate::plan::{Bottleneck, Capacity, Costs, Impossible, Load, Plan, Shape, plan};
use crate::protocol::MAX_ROOM_USERS;
use crate::report::Reporter;

/// Measures the costs where that is asked for, and prints the plan.
pub(super) async fn run(wanted: cli::Plan, reporter: &Reporter) -> Result<(), Failure> {
    let costs = match wanted.costs {
        Some(costs) => costs,
        None => bench::costs(wanted.bitrate, wanted.fps, reporter).await?,
    };
    let found = plan(&wanted.lecture, &wanted.machine, &costs).map_err(|why| impossible(why, &wanted))?;
    if reporter.is_json() {
        reporter.result_object(&object(&found, &wanted, &costs));
    } else {
        reporter.finish();
        reporter.result(&text(&found, &wanted, &costs));
    }
    Ok(())
}

fn impossible(why: Impossible, wanted: &cli::Plan) -> Failure {
    let students = wanted.lecture.students;
    Failure::usage(match why {
        Impossible::Machine(what) => {
            anyhow::anyhow!("such a machine does not carry a single student: its {} is too small", name(what))
        }
        Impossible::TooManyEdges { edges, possible } => anyhow::anyhow!(
            "{students} students need {edges} edges, and the origin sends to {possible} at most: lower --bitrate, or \
             give machines with a larger --uplink or more --cores"
        ),
    })
}

fn name(bottleneck: Bottleneck) -> &'static str {
    match bottleneck {
        Bottleneck::Uplink => "uplink",
        Bottleneck::Cpu => "CPU",
        Bottleneck::Memory => "memory",
    }
}

/// For people.
fn text(plan: &Plan, wanted: &cli::Plan, costs: &Costs) -> String {
    let students = wanted.lecture.students;
    let mut lines = vec![
        format!(
            "{students} students, each {:.2} Mbit/s on the network ({:.0} packets/s, {} video and audio)",
            plan.stream.bits / 1e6,
            plan.stream.packets,
            wanted.bitrate
        ),
        format!(
            "costs {}: {:.1} us a packet, {:.1} ms a join, {:.0} kB a student, {:.2} cores to encode",
            if wanted.costs.is_some() { "assumed" } else { "measured here" },
            costs.packet.as_secs_f64() * 1e6,
            costs.join.as_secs_f64() * 1e3,
            costs.memory / 1e3,
            costs.encoder
        ),
        String::new(),
        format!("one machine that teaches carries {}", carries(&plan.origin)),
    ];
    match plan.shape {
        Shape::Origin => {
            lines.push(format!("the lecture needs no other machine: {}", load(&plan.of_origin)));
        }
        Shape::Edges { edges, students_of_each } => {
            lines.push(format!("one edge carries {}", carries(&plan.edge)));
            lines.push(String::new());
            lines.push(format!("edges: {edges}, each with up to {students_of_each} students"));
            lines.extend(plan.of_edge.as_ref().map(|of_edge| format!("each edge: {}", load(of_edge))));
            lines.push(format!("the origin: {}", load(&plan.of_origin)));
            lines.push(format!("full first: the {} of an edge", name(plan.edge.bottleneck())));
        }
    }
    if rooms(students) > 1 {
        lines.push(format!("rooms: {}, as a room has at most {MAX_ROOM_USERS} members", rooms(students)));
    }
    lines.push(format!(
        "joins: all within {:.0} s take {:.2} cores of each machine with students meanwhile",
        wanted.lecture.joining.as_secs_f64(),
        plan.of_joins
    ));
    lines.join("\n")
}

/// The rooms that so many students take.
fn rooms(students: u64) -> u64 {
    students.div_ceil(MAX_ROOM_USERS as u64)
}

fn carries(capacity: &Capacity) -> String {
    let others = capacity.by.iter().filter(|(what, _)| *what != capacity.bottleneck());
    let others: Vec<String> = others.map(|(what, streams)| format!("{} {streams}", name(*what))).collect();
    let first = name(capacity.bottleneck());
    format!("{} students: its {first} is full first ({})", capacity.streams(), others.join(", "))
}

fn load(load: &Load) -> String {
    format!(
        "sends {} streams, {:.0} Mbit/s, {:.2} cores, {:.0} MB",
        load.streams,
        load.bits / 1e6,
        load.cores,
        load.memory / 1e6
    )
}

/// For scripts.
fn object(plan: &Plan, wanted: &cli::Plan, costs: &Costs) -> Value {
    let capacity = |capacity: &Capacity| {
        let by = |what: Bottleneck| capacity.by.iter().find(|(of, _)| *of == what).map(|(_, streams)| *streams);
        json!({
            "students": capacity.streams(),
            "full_first": name(capacity.bottleneck()).to_lowercase(),
            "by_uplink": by(Bottleneck::Uplink),
            "by_cpu": by(Bottleneck::Cpu),
            "by_memory": by(Bottleneck::Memory),
        })
    };
    let load = |load: &Load| {
        let (mbps, mb) = (load.bits / 1e6, load.memory / 1e6);
        json!({ "streams": load.streams, "mbps": mbps, "cores": load.cores, "memory_mb": mb })
    };
    let (edges, students_of_each) = match plan.shape {
        Shape::Origin => (0, None),
        Shape::Edges { edges, students_of_each } => (edges, Some(students_of_each)),
    };
    json!({
        "students": wanted.lecture.students,
        "stream": { "mbps": plan.stream.bits / 1e6, "packets_per_s": plan.stream.packets },
        "costs": {
            "measured": wanted.costs.is_none(),
            "us_per_packet": costs.packet.as_secs_f64() * 1e6,
            "join_cpu_ms": costs.join.as_secs_f64() * 1e3,
            "kb_per_student": costs.memory / 1e3,
            "encoder_cores": costs.encoder,
        },
        "one_machine": capacity(&plan.origin),
        "one_edge": capacity(&plan.edge),
        "rooms": rooms(wanted.lecture.students),
        "edges": edges,
        "students_of_each_edge": students_of_each,
        "origin": load(&plan.of_origin),
        "edge": plan.of_edge.as_ref().map(load),
        "join_cores": plan.of_joins,
    })
}
