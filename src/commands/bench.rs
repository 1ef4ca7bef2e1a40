//! `classroom bench`: what a class costs its teacher, and how near that is to what this machine can do at all.
//!
//! The teacher is a real [`Sfu`] in this process, fed with packets of realistic sizes. The students are real
//! connections in another process, so that the teacher's CPU is its own.

mod class;
mod machine;
pub(super) mod pictures;
mod source;
mod students;
mod table;
mod wire;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, anyhow, bail};
use serde_json::Value;

use self::class::Class;
use self::source::{Desk, Rate};
use self::table::Findings;
use self::wire::ToStudents;
use super::{allow_many_files, blocking, stop};
use crate::bench::crowd::{Clock, Tally};
use crate::bench::floor::{Floor, FloorMeter};
use crate::cli::Bench;
use crate::exit::Failure;
use crate::report::Reporter;
use crate::rtp::{Codec, Encoding, Track};
use crate::sfu::{Sfu, SfuConfig, SfuStats};

/// How long joining may take: a second on top of what a slow machine needs for a student, on each side.
const JOIN_WITHIN: Duration = Duration::from_secs(10);
const JOIN_WITHIN_EACH: Duration = Duration::from_millis(50);

/// The lecture begins before the class comes, so that what it takes by itself is not counted as the students'.
const WARM_UP: Duration = Duration::from_secs(1);

/// How long nothing is measured after all have joined: late joiners are served from the ring for a moment, and the
/// students find out how much they can open.
const SETTLE: Duration = Duration::from_secs(3);

/// How long packets may be under way after the lecture fell silent.
const DRAIN: Duration = Duration::from_secs(5);

/// How long the lecture goes on before the floor has its turn.
const SLICE: Duration = Duration::from_secs(2);

/// How long the last frames of a slice may take.
const SENT_WITHIN: Duration = Duration::from_millis(200);

const NO_FLOOR: &str = "can't measure the floor of this machine";

/// How often it is looked at whether still some arrive.
const GLANCE: Duration = Duration::from_millis(100);

/// Measures, and prints the table.
pub(super) async fn run(bench: Bench, reporter: &Reporter) -> Result<(), Failure> {
    let measuring = async {
        let found = measure(&bench, reporter).await?;
        Ok((found.object(), found.table()))
    };
    tell(measuring, reporter).await
}

/// Waits until something is measured, and prints it as an object or as a table.
async fn tell(
    measuring: impl Future<Output = Result<(Value, String), Failure>>,
    reporter: &Reporter,
) -> Result<(), Failure> {
    tokio::select! {
        // First, so that there is no student before somebody would hear the wish to end.
        biased;
        _ = stop(None) => reporter.warn("interrupted, so nothing was measured"),
        found = measuring => {
            let (object, table) = found?;
            if reporter.is_json() {
                reporter.result_object(&object);
            } else {
                reporter.finish();
                reporter.result(&table);
            }
        }
    }
    Ok(())
}

/// Runs the students that [`run`] measures with, in their own process.
pub(super) async fn students() -> Result<(), Failure> {
    blocking(students::run).await?.map_err(Failure::internal)
}

async fn measure(bench: &Bench, reporter: &Reporter) -> anyhow::Result<Findings> {
    allow_many_files();
    let asked = bench.students.get();
    let rate = Rate { bits_per_second: bench.bitrate.bits_per_second(), fps: bench.fps, key_every: bench.key_every };
    let (sfu, events) = Sfu::start(SfuConfig {
        user: "9999".parse().map_err(|e| anyhow!("{e}"))?,
        udp: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        advertise: vec![],
        stun: vec![],
        max_students: asked,
        encodings: vec![
            (Encoding::full(Track::Audio, Codec::Opus), 64_000),
            (Encoding::full(Track::Screen, Codec::Vp8), rate.bits_per_second),
        ],
        workers: bench.workers,
        // The students share this machine: if they come late to read, that tells nothing of their lines.
        adapts: false,
    })?;
    let (sfu, desk) = (Arc::new(sfu), Arc::new(Desk::default()));
    let (epoch, clock) = (Instant::now(), Clock { epoch: SystemTime::now() });
    let lecture = tokio::spawn(source::teach(sfu.input(), rate, epoch, Arc::clone(&desk)));

    reporter.status(&format!("{asked} students join"));
    tokio::time::sleep(WARM_UP).await;
    let before = Reading::take(&sfu).await?;
    let begun = Instant::now();
    // One core is the teacher's.
    let threads = machine::cores().saturating_sub(1).max(1);
    let join = ToStudents::Join { students: asked, threads, clock };
    let mut class = Class::join(join, Arc::clone(&sfu), events, Arc::clone(&desk)).await?;
    wait_for_all(&mut class, asked).await?;
    let joined_in = begun.elapsed();
    let joined = Reading::take(&sfu).await?;

    reporter.status(&format!("all have joined, measuring for {} s", bench.length.as_secs_f64()));
    tokio::time::sleep(SETTLE).await;
    let students = class.roll.borrow().connected;
    let mut meter = blocking(move || FloorMeter::new(students)).await.map_err(|f| f.error)?.context(NO_FLOOR)?;
    // Between two silences there are as many packets as were handed to the SFU, neither more nor fewer.
    let seen_before = silence(&mut class, &desk).await?;
    let (offered, start) = (desk.packets.load(Ordering::Relaxed), Reading::take(&sfu).await?);
    let (mut time, mut cpu, mut floor) = (Duration::ZERO, Duration::ZERO, Floor::default());
    while time < bench.length {
        let (before, at) = (Reading::take(&sfu).await?, Instant::now());
        desk.silent.store(false, Ordering::Relaxed);
        tokio::time::sleep(SLICE.min(bench.length - time)).await;
        desk.silent.store(true, Ordering::Relaxed);
        time += at.elapsed();
        tokio::time::sleep(SENT_WITHIN).await;
        cpu += Reading::take(&sfu).await?.cpu - before.cpu;
        // In turn with the class: what else this machine does meanwhile, it does to both.
        let lecture = rate.second();
        let measured = blocking(move || {
            let floor = meter.measure(&lecture, machine::cpu_of_this_thread);
            (meter, floor)
        });
        let (back, measured) = measured.await.map_err(|failure| failure.error)?;
        (meter, floor) = (back, floor.and(measured.context(NO_FLOOR)?));
    }
    let end = Reading::take(&sfu).await?;
    let seen = silence(&mut class, &desk).await?;
    let offered = desk.packets.load(Ordering::Relaxed) - offered;
    blocking(move || drop(meter)).await.map_err(|failure| failure.error)?;

    let (at_end, why) = (end.stats.students, class.roll.borrow().why.clone());
    if at_end < asked && !reporter.is_json() {
        let why = why.unwrap_or_else(|| "they needed too long".to_owned());
        reporter.warn(format!("{} students did not come or did not stay; the last one: {why}", asked - at_end));
    }
    lecture.abort();
    // The task ends at its next await, and the SFU's last handle but ours with it.
    let _ = lecture.await;
    class.end().await;
    if let Ok(sfu) = Arc::try_unwrap(sfu) {
        sfu.close().await;
    }
    let mut first_pictures_ms = seen.first_pictures_ms.clone();
    first_pictures_ms.sort_unstable();
    Ok(Findings {
        title: format!("{asked} students, {} at {} fps, {} s", bench.bitrate, bench.fps, bench.length.as_secs_f64()),
        asked,
        joined: students,
        at_end,
        joined_in,
        join_cpu: joined.cpu - before.cpu,
        join_packets: joined.stats.packets - before.stats.packets,
        memory_kb: start.memory_kb.saturating_sub(before.memory_kb),
        time,
        cpu,
        packets: end.stats.packets - start.stats.packets,
        calls: end.stats.calls - start.stats.calls,
        refused: end.stats.refused - start.stats.refused,
        dropped: end.stats.dropped - start.stats.dropped,
        sealed_by_core: end.stats.sealed_by_core,
        delays: end.stats.send_delay.since(&start.stats.send_delay),
        sound_delays: end.stats.sound_delay.since(&start.stats.sound_delay),
        offered,
        seen: seen.since(&seen_before),
        first_pictures_ms,
        floor,
    })
}

/// The sender's state at an instant.
struct Reading {
    stats: SfuStats,
    cpu: Duration,
    memory_kb: u64,
}

impl Reading {
    async fn take(sfu: &Sfu) -> anyhow::Result<Self> {
        let stats = sfu.stats().await.context("the SFU ended")?;
        let cpu = machine::cpu_of_sfu().context("can't read the CPU of the SFU's threads")?;
        let memory_kb = super::metrics::memory_kb().context("can't read how much memory the SFU takes")?;
        Ok(Self { stats, cpu, memory_kb })
    }
}

/// Waits until every student is connected or gone. Those that need too long are left out, unless nobody has come.
async fn wait_for_all(class: &mut Class, asked: usize) -> anyhow::Result<()> {
    let mut roll = class.roll.clone();
    let all = roll.wait_for(|roll| roll.connected + roll.refused >= asked);
    let within = JOIN_WITHIN + JOIN_WITHIN_EACH * asked as u32;
    if let Ok(Err(_)) = tokio::time::timeout(within, all).await {
        return Err(class.failed().await);
    }
    let roll = class.roll.borrow().clone();
    if roll.connected == 0 {
        let why = roll.why.unwrap_or_else(|| format!("none was connected within {} s", within.as_secs()));
        bail!("no student could join: {why}; try fewer with --students");
    }
    Ok(())
}

/// Lets the lecture fall silent and waits until all that was under way has come. Gives what students have seen.
async fn silence(class: &mut Class, desk: &Desk) -> anyhow::Result<Tally> {
    desk.silent.store(true, Ordering::Relaxed);
    let deadline = Instant::now() + DRAIN;
    let mut seen = class.tally().await?;
    loop {
        tokio::time::sleep(GLANCE).await;
        let now = class.tally().await?;
        if now.received == seen.received || Instant::now() > deadline {
            return Ok(now);
        }
        seen = now;
    }
}
