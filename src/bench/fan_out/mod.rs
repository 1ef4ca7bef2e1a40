//! The fan-out bench: the cost of a class to its SFU, compared with the bare cost of sending on this machine.
//!
//! The SFU is a real [`Sfu`] in this process, fed with packets of realistic sizes. It has one tier, does not adapt, and
//! its offers do not travel over a WebSocket. The students are real connections in another process.

mod findings;
mod floor;
mod lecture;
mod namespace;
mod published;
mod relay;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, anyhow, bail};
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::sleep;

use self::findings::{Findings, Joining, SendOnly};
use self::floor::{Floor, FloorMeter};
use self::lecture::{LectureControl, Rate};
use self::namespace::Namespace;
use self::relay::Relay;
use super::crowd::{Clock, Tally};
use super::wire::{JoinCrowd, ToStudents};
use super::{Report, cpu};
use crate::cli::FanOutBench;
use crate::process::memory_kb;
use crate::report::Reporter;
use crate::rtp::{Codec, Encoding, Frame, Track};
use crate::sfu::{Sfu, SfuConfig, SfuStats, UdpBinding};

/// The time limit for joining: a fixed part plus the time that a slow machine needs per student, on each side.
const JOIN_WITHIN: Duration = Duration::from_secs(10);
const JOIN_WITHIN_EACH: Duration = Duration::from_millis(50);

/// The lecture starts before the class joins, so that its own cost is not attributed to the students.
const WARM_UP: Duration = Duration::from_secs(1);

/// Nothing is measured for this long after all have joined: late joiners are served from the ring, and the students
/// determine how many packets they can open.
const SETTLE: Duration = Duration::from_secs(3);

/// How long packets may be in flight after the lecture falls silent.
const DRAIN: Duration = Duration::from_secs(5);

/// How often the students' count is polled while packets are in flight.
const DRAIN_POLL: Duration = Duration::from_millis(100);

/// How long the SFU sends before the floor is measured.
const SLICE: Duration = Duration::from_secs(2);

/// How long the last frames of a slice may take.
const SENT_WITHIN: Duration = Duration::from_millis(200);

/// How long the SFU sends while media is dropped: including the floor's turns 13 s, well below the 30 s after which
/// consent would expire (RFC 7675, 5.1) if the filter also dropped STUN.
const SEND_ONLY: Duration = Duration::from_secs(8);

const NO_FLOOR: &str = "can't measure the floor of this machine";

/// Runs the bench. Replaces this process by itself in a network namespace, if that is possible.
pub(super) async fn run(bench: &FanOutBench, reporter: &Reporter) -> anyhow::Result<Report> {
    let namespace = Namespace::enter();
    let asked = bench.students.get();
    let rate = Rate { bits_per_second: bench.bitrate.bits_per_second(), fps: bench.fps, key_every: bench.key_every };
    let (sfu, mut events) = Sfu::start(sfu_config(bench)?)?;
    let (sfu, control) = (Arc::new(sfu), Arc::new(LectureControl::default()));
    let (epoch, clock) = (Instant::now(), Clock { epoch: SystemTime::now() });
    let (input, published) = if bench.published {
        let (input, task) = published::connect(&sfu, &mut events, encodings(bench), Arc::clone(&control)).await?;
        (input, Some(task))
    } else {
        let input = sfu.input();
        (Box::new(move |frame| input.push(frame)) as Box<dyn Fn(Frame) + Send + Sync>, None)
    };
    let lecture = tokio::spawn(lecture::teach(input, rate, epoch, Arc::clone(&control)));

    reporter.status(&format!("{asked} students join"));
    sleep(WARM_UP).await;
    let before = Reading::take(&sfu).await?;
    let begun = Instant::now();
    // One core is reserved for the SFU.
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let join = ToStudents::JoinCrowd(JoinCrowd { students: asked, threads: cores.saturating_sub(1).max(1), clock });
    let mut relay = Relay::start(&join, Arc::clone(&sfu), events, Arc::clone(&control)).await?;
    wait_for_all(&mut relay, asked).await?;
    let time = begun.elapsed();
    let after = Reading::take(&sfu).await?;
    let (cpu, packets) = (after.cpu - before.cpu, after.stats.packets - before.stats.packets);
    let joining = Joining { time, cpu, packets };

    reporter.status(&format!("all have joined, measuring for {} s", bench.length.as_secs_f64()));
    sleep(SETTLE).await;
    let joined = relay.progress.borrow().connected;
    let meter = spawn_blocking(move || FloorMeter::new(joined)).await?.context(NO_FLOOR)?;
    let mut comparison = Comparison { sfu: Arc::clone(&sfu), control: Arc::clone(&control), meter, rate };
    // Between two silent periods the students receive exactly the packets passed to the SFU.
    let seen_before = silence(&mut relay, &control).await?;
    let (offered, start) = (control.packets.load(Ordering::Relaxed), Reading::take(&sfu).await?);
    let measured;
    (comparison, measured) = comparison.run(bench.length).await?;
    let end = Reading::take(&sfu).await?;
    let seen = silence(&mut relay, &control).await?;
    let offered = control.packets.load(Ordering::Relaxed) - offered;
    let at_end = end.stats.students;

    let namespace = if bench.published {
        // The filter would drop the packets of the publisher, too.
        Err(anyhow!("not measured with --published"))
    } else {
        namespace
    };
    let send_only = match namespace.and_then(|namespace| namespace.drop_media()) {
        Ok(()) => {
            reporter.status("measuring without receivers");
            let sent;
            (comparison, sent) = comparison.run(SEND_ONLY.min(bench.length)).await?;
            match silence(&mut relay, &control).await?.since(&seen).received {
                0 => SendOnly::Measured(sent),
                arrived => SendOnly::Impossible(format!("{arrived} packets passed the filter")),
            }
        }
        Err(why) => SendOnly::Impossible(format!("{why:#}")),
    };
    spawn_blocking(move || drop(comparison)).await?;

    if at_end < asked && !reporter.is_json() {
        let why = relay.progress.borrow().why.clone().unwrap_or_else(|| "they took too long".to_owned());
        reporter.warn(format!("{} students did not join or did not stay; the last one: {why}", asked - at_end));
    }
    lecture.abort();
    published.inspect(JoinHandle::abort);
    // The task ends at its next await, and with it every other handle of the SFU.
    let _ = lecture.await;
    relay.end().await;
    if let Ok(sfu) = Arc::try_unwrap(sfu) {
        sfu.close().await;
    }
    let mut first_frames_ms = seen.first_frames_ms.clone();
    first_frames_ms.sort_unstable();
    let findings = Findings {
        title: format!(
            "{asked} students, {} at {} fps{}, {} s",
            bench.bitrate,
            bench.fps,
            if bench.published { " of a publisher" } else { "" },
            bench.length.as_secs_f64()
        ),
        asked,
        joined,
        at_end,
        joining,
        memory_kb: start.memory_kb.saturating_sub(before.memory_kb),
        sent: measured,
        calls: end.stats.calls - start.stats.calls,
        refused: end.stats.refused - start.stats.refused,
        dropped: end.stats.dropped - start.stats.dropped,
        sealed_by_core: end.stats.sealed_by_core,
        delays: end.stats.send_delay.since(&start.stats.send_delay),
        audio_delays: end.stats.sound_delay.since(&start.stats.sound_delay),
        ingest_delays: end.stats.ingest_delay.since(&start.stats.ingest_delay),
        offered,
        seen: seen.since(&seen_before),
        first_frames_ms,
        send_only,
    };
    Ok(Report { object: findings.object(), table: findings.table() })
}

fn sfu_config(bench: &FanOutBench) -> anyhow::Result<SfuConfig> {
    Ok(SfuConfig {
        user: "9999".parse().map_err(|e| anyhow!("{e}"))?,
        udp: UdpBinding::Own(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))),
        advertise: vec![],
        stun: vec![],
        max_students: bench.students.get(),
        // A publisher brings its own encodings.
        encodings: if bench.published { vec![] } else { encodings(bench) },
        workers: bench.workers,
        // The students share this machine: their late reads say nothing about their paths.
        adapts: false,
    })
}

fn encodings(bench: &FanOutBench) -> Vec<(Encoding, u32)> {
    vec![
        (Encoding::full(Track::Audio, Codec::Opus), 64_000),
        (Encoding::full(Track::Screen, Codec::Vp8), bench.bitrate.bits_per_second()),
    ]
}

/// The packets sent by the SFU, their cost, and the cost of the floor in between.
#[derive(Debug, Default, Clone, PartialEq)]
struct Sent {
    /// How long the SFU had packets to send.
    time: Duration,
    cpu: Duration,
    packets: u64,
    floor: Floor,
}

impl Sent {
    /// Microseconds of the SFU's CPU time per packet.
    fn us_per_packet(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / self.packets as f64
    }

    /// Microseconds of the floor's CPU time per packet.
    fn floor_us_per_packet(&self) -> f64 {
        self.floor.us_per_packet().unwrap_or(f64::NAN)
    }

    /// The SFU's cost relative to the floor's.
    fn ratio(&self) -> f64 {
        self.us_per_packet() / self.floor_us_per_packet()
    }
}

/// The SFU and the floor in turn: other load on this machine affects both.
struct Comparison {
    sfu: Arc<Sfu>,
    control: Arc<LectureControl>,
    meter: FloorMeter,
    rate: Rate,
}

impl Comparison {
    /// Lets the SFU send for `length` in slices. Starts and ends in silence.
    async fn run(mut self, length: Duration) -> anyhow::Result<(Self, Sent)> {
        let packets = Reading::take(&self.sfu).await?.stats.packets;
        let mut sent = Sent::default();
        while sent.time < length {
            let (before, at) = (Reading::take(&self.sfu).await?, Instant::now());
            self.control.silent.store(false, Ordering::Relaxed);
            sleep(SLICE.min(length - sent.time)).await;
            self.control.silent.store(true, Ordering::Relaxed);
            sent.time += at.elapsed();
            sleep(SENT_WITHIN).await;
            sent.cpu += Reading::take(&self.sfu).await?.cpu - before.cpu;
            let lecture = self.rate.second();
            let floor;
            (self, floor) = spawn_blocking(move || {
                let floor = self.meter.measure(&lecture, cpu::of_this_thread);
                (self, floor)
            })
            .await?;
            sent.floor = sent.floor.and(floor.context(NO_FLOOR)?);
        }
        sent.packets = Reading::take(&self.sfu).await?.stats.packets - packets;
        Ok((self, sent))
    }
}

/// The SFU's counters at an instant.
struct Reading {
    stats: SfuStats,
    cpu: Duration,
    memory_kb: u64,
}

impl Reading {
    async fn take(sfu: &Sfu) -> anyhow::Result<Self> {
        let stats = sfu.stats().await.context("the SFU ended")?;
        let cpu = cpu::of_sfu().context("can't read the CPU of the SFU's threads")?;
        let memory_kb = memory_kb().context("can't read how much memory the SFU takes")?;
        Ok(Self { stats, cpu, memory_kb })
    }
}

/// Waits until every student is connected or has failed. Students that take too long are left out, unless all do.
async fn wait_for_all(relay: &mut Relay, asked: usize) -> anyhow::Result<()> {
    let mut progress = relay.progress.clone();
    let all = progress.wait_for(|progress| progress.connected + progress.failed >= asked);
    let within = JOIN_WITHIN + JOIN_WITHIN_EACH * asked as u32;
    if let Ok(Err(_)) = tokio::time::timeout(within, all).await {
        return Err(relay.failure().await);
    }
    let progress = relay.progress.borrow().clone();
    if progress.connected == 0 {
        let why = progress.why.unwrap_or_else(|| format!("none was connected within {} s", within.as_secs()));
        bail!("no student could join: {why}; try fewer with --students");
    }
    Ok(())
}

/// Silences the lecture and waits until all packets in flight have arrived. Returns the students' counts.
async fn silence(relay: &mut Relay, control: &LectureControl) -> anyhow::Result<Tally> {
    control.silent.store(true, Ordering::Relaxed);
    let deadline = Instant::now() + DRAIN;
    let mut seen = relay.tally().await?;
    loop {
        sleep(DRAIN_POLL).await;
        let now = relay.tally().await?;
        if now.received == seen.received || Instant::now() > deadline {
            return Ok(now);
        }
        seen = now;
    }
}
