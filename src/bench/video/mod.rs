//! The video bench: which frames students decode, and how late, of a lecture that is encoded, sent, decoded and timed
//! as in `watch`.
//!
//! Each frame carries a code, so every arriving frame is identified and not only counted. Each student with a bad
//! network has its own emulator.

mod findings;
mod ingest;
mod ingested;
mod judge;
pub(super) mod session;
mod table;
pub(super) mod watcher;

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, anyhow};
use tokio::time::Instant;

use self::findings::{Encoder, Findings, Student};
use self::ingest::LineClock;
use self::ingested::IngestFound;
use self::judge::{Encoded, Window, judge};
use self::session::{Publisher, Session};
use super::Report;
use super::codes::CodeWriter;
use super::cpu::{self, CpuByThread};
use super::emulator::{Burst, PathConfig, QUEUE};
use super::wire::{FromStudents, JoinViewers, ToStudents};
use crate::cli::{Bitrate, Network, VideoBench};
use crate::endpoints;
use crate::exit::Failure;
use crate::media::{Capture, CaptureOptions, Content, FileList, MainSource, Sources, VideoOptions};
use crate::report::Reporter;
use crate::rtp::Encoding;
use crate::sfu::{Sfu, SfuConfig, SfuStats, UdpBinding};

/// The time limit for joining: a handshake over a bad network is retransmitted after 1, 2 and 4 s, and each student's
/// graph and keys take up to 100 ms.
const JOIN_WITHIN: Duration = Duration::from_secs(20);
const JOIN_WITHIN_EACH: Duration = Duration::from_millis(100);

/// How long frames may be in flight after the last one that counts: the largest adaptive jitter buffer, a queue, and a
/// retransmission.
const DRAIN: Duration = Duration::from_secs(2);

/// The time limit for the students' reports.
const TELL_WITHIN: Duration = Duration::from_secs(20);

/// The interval of CPU samples: the threads of an encoder end with the encoder.
const SAMPLE_EVERY: Duration = Duration::from_millis(500);

/// The user id of the publisher.
const PUBLISHER: &str = "9999";

/// Runs the bench.
pub(super) async fn run(bench: &VideoBench, reporter: &Reporter) -> Result<Report, Failure> {
    if let Some(offer) = bench.ingest {
        return ingest::run(bench, offer, reporter).await;
    }
    let options = capture_options(bench);
    let prepared =
        tokio::task::spawn_blocking(move || Capture::prepare(options)).await.map_err(Failure::internal)??;
    let codes = CodeWriter::attach(&prepared, bench.film);
    let (sfu, sfu_events) = Sfu::start(sfu_config(bench, prepared.rates())?).map_err(Failure::internal)?;
    let (capture, capture_events) = endpoints::start_capture(prepared, &sfu, |_| ()).await?;
    let seed = bench.seed.unwrap_or_else(|| u64::from(rand::random::<u32>()));
    let join = JoinViewers {
        students: bench.students,
        bad: bench.bad,
        network: path(&bench.network),
        rate_from: bench.network.line.and_then(|line| line.from),
        rate_until: bench.network.line.and_then(|line| line.until),
        seed,
        sfu: sfu.udp(),
        latency: bench.latency,
    };
    reporter.status(&format!("{} students join", bench.students));
    let publisher = Publisher { sfu, sfu_events, capture, capture_events, ingest: None };
    let mut session = Session::start(publisher, &ToStudents::JoinViewers(join), reporter).await?;
    let found = measure(bench, &mut session, &codes, seed, reporter).await;
    session.end().await;
    let found = found?;
    Ok(Report { object: found.object(), table: found.table() })
}

pub(super) fn sfu_config(bench: &VideoBench, encodings: Vec<(Encoding, u32)>) -> Result<SfuConfig, Failure> {
    Ok(SfuConfig {
        user: PUBLISHER.parse().map_err(|e| Failure::internal(anyhow!("{e}")))?,
        udp: UdpBinding::Own(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))),
        advertise: vec![],
        stun: vec![],
        max_students: bench.students,
        encodings,
        workers: bench.workers,
        adapts: true,
    })
}

async fn measure(
    bench: &VideoBench,
    session: &mut Session,
    codes: &CodeWriter,
    seed: u64,
    reporter: &Reporter,
) -> anyhow::Result<Findings> {
    session.joined(bench.students, JOIN_WITHIN + JOIN_WITHIN_EACH * bench.students as u32).await?;
    reporter.status(&format!("measuring for {} s", bench.length.as_secs_f64()));
    session.say(&ToStudents::Begin).await?;
    let start = loop {
        match session.next(Instant::now() + TELL_WITHIN).await?.context("the students do not begin")? {
            FromStudents::Began { at_ms } => break at_ms,
            _ => continue,
        }
    };
    let (begun, end) = (Instant::now(), Instant::now() + bench.length);
    let mut line = LineClock::new(&bench.network);
    line.begin(session);
    let mut cpu = CpuByThread::default();
    let (before, sfu_before) = (Reading::take(session, &mut cpu).await?, cpu::of_sfu()?);
    while Instant::now() < end {
        let next = line.next_change().map_or(end, |after| end.min(begun + after));
        while session.next(next.min(Instant::now() + SAMPLE_EVERY)).await?.is_some() {}
        line.advance(session, begun.elapsed());
        cpu.sample();
    }
    let (after, sfu_cpu) = (Reading::take(session, &mut cpu).await?, cpu::of_sfu()?.saturating_sub(sfu_before));
    let drained = Instant::now() + DRAIN;
    while session.next(drained).await?.is_some() {}
    session.say(&ToStudents::End).await?;
    let window = window(bench, start);
    // Frames decoded by now were encoded before.
    let written = codes.written();
    let encoded = Encoded::new(&written);
    let mut students = Vec::new();
    let deadline = Instant::now() + TELL_WITHIN;
    let here = |session: &Session| session.connected.difference(&session.gone).count();
    while students.len() < here(session) {
        match session.next(deadline).await? {
            Some(FromStudents::Sight(sight)) => {
                let verdict = judge(&sight, &encoded, &window);
                students.push(Student { bad: sight.student < bench.bad, verdict, sight: *sight });
            }
            Some(_) => {}
            None => anyhow::bail!("the students do not say what they have seen"),
        }
    }
    students.sort_by_key(|student| student.sight.student);
    // A script has this number in its object.
    if let Some(why) = session.why.take().filter(|_| !reporter.is_json()) {
        reporter.warn(format!("{} students did not come or did not stay; the last one: {why}", session.gone.len()));
    }
    let seconds = bench.length.as_secs_f64();
    let encoders = written.iter().map(|encoder| {
        let used = |reading: &Reading| reading.cpu.of(&encoder.thread).as_secs_f64();
        let inside = encoder.captured_ms.iter().filter(|ms| (window.start..window.end).contains(*ms)).count();
        Encoder {
            name: encoder.encoder.clone(),
            width: encoder.width,
            frames: inside,
            cpu_percent: (used(&after) - used(&before)) / seconds * 100.0,
        }
    });
    Ok(Findings {
        title: title(bench),
        asked: bench.students,
        gone: session.gone.len(),
        has_event: !window.events.is_empty(),
        seconds,
        uplink_kbps: after.stats.bytes.saturating_sub(before.stats.bytes) as f64 * 8.0 / 1000.0 / seconds,
        sfu_cpu_percent: sfu_cpu.as_secs_f64() / seconds * 100.0,
        encoders: encoders.collect(),
        start: window.start,
        students,
        seed,
        ingest: before.stats.ingest.zip(after.stats.ingest).map(|(before, after)| {
            let line = session.ingest().map(|ingest| ingest.line().up).unwrap_or_default();
            IngestFound::new(&before.stats, &after.stats, line)
        }),
    })
}

/// The publisher's counters at an instant.
struct Reading {
    stats: SfuStats,
    cpu: CpuByThread,
}

impl Reading {
    async fn take(session: &Session, cpu: &mut CpuByThread) -> anyhow::Result<Self> {
        let stats = session.sfu().stats().await.context("the SFU ended")?;
        cpu.sample();
        Ok(Self { stats, cpu: cpu.clone() })
    }
}

pub(super) fn capture_options(bench: &VideoBench) -> CaptureOptions {
    let main = match &bench.file {
        Some(path) => MainSource::Files(FileList::looped(path)),
        None => MainSource::Demo,
    };
    let video = &bench.video;
    CaptureOptions {
        sources: Sources::only(main),
        codec: video.codec,
        screen: VideoOptions { size: video.size, fps: video.fps, bitrate: video.bitrate.map(Bitrate::bits_per_second) },
        content: Some(video.content.unwrap_or(Content::Film)),
        tiers: video.tiers,
        ..CaptureOptions::default()
    }
}

/// The configuration of each direction of the network.
pub(super) fn path(network: &Network) -> PathConfig {
    let burst = |burst: &crate::cli::Burst| {
        let crate::cli::Burst { loss, at, length, every } = *burst;
        Burst { loss, at, length, every }
    };
    PathConfig {
        loss: network.loss,
        bursts: network.bursts.iter().map(burst).collect(),
        delay: network.rtt / 2,
        jitter: network.jitter,
        reorder: network.reorder,
        rate: network.line.map(|line| line.rate),
        queue: network.line.and_then(|line| line.queue).unwrap_or(QUEUE),
    }
}

/// The judged period, starting at `start`, and the network faults in it.
fn window(bench: &VideoBench, start: u64) -> Window {
    let at = |time: Duration| start + time.as_millis() as u64;
    let mut events = Vec::new();
    for burst in &bench.network.bursts {
        let mut begin = burst.at;
        while begin < bench.length {
            events.push((at(begin), at(begin + burst.length)));
            let Some(every) = burst.every else { break };
            begin += every;
        }
    }
    let restored = bench.network.line.and_then(|line| line.until).filter(|until| *until < bench.length).map(at);
    let slow_from = bench.network.line.and_then(|line| line.from).map_or(start, at);
    events.extend(restored.map(|restored| (slow_from, restored)));
    events.sort_unstable();
    Window { start, end: at(bench.length), events, restored }
}

/// The requested setup, in the words of the flags.
pub(super) fn title(bench: &VideoBench) -> String {
    let VideoBench { network, students, bad, .. } = bench;
    let mut words = vec![format!("{students} student{}", if *students == 1 { "" } else { "s" })];
    let ms = |time: Duration| format!("{} ms", time.as_secs_f64() * 1000.0);
    let percent = |share: f64| format!("{} %", (share * 1e4).round() / 100.0);
    if *bad > 0 && bad < students {
        words.push(format!("{bad} of them with"));
    }
    words.extend((network.loss > 0.0).then(|| format!("{} loss", percent(network.loss))));
    words.extend(
        network.bursts.iter().map(|burst| {
            format!("{} loss at {} s for {}", percent(burst.loss), burst.at.as_secs_f64(), ms(burst.length))
        }),
    );
    words.extend((!network.rtt.is_zero()).then(|| format!("{} round trip", ms(network.rtt))));
    words.extend((!network.jitter.is_zero()).then(|| format!("{} jitter", ms(network.jitter))));
    words.extend((network.reorder > 0.0).then(|| format!("{} overtaken", percent(network.reorder))));
    words.extend(network.line.map(|line| {
        let when = match (line.from, line.until) {
            (None, None) => String::new(),
            (None, Some(until)) => format!(" for {} s", until.as_secs_f64()),
            (Some(from), None) => format!(" from {} s on", from.as_secs_f64()),
            (Some(from), Some(until)) => format!(" from {} to {} s", from.as_secs_f64(), until.as_secs_f64()),
        };
        format!("{} kbit/s{when}", line.rate / 1000)
    }));
    words.extend(bench.film.then(|| "with a film".to_owned()));
    words.push(format!("{} s", bench.length.as_secs_f64()));
    words.join(", ").replace("them with, ", "them with ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Bench, Cli, Command, parse};

    fn bench(flags: &str) -> VideoBench {
        let line = format!("classroom bench {flags}");
        match parse(line.split(' ')) {
            Ok(Cli { command: Command::Bench(Bench::Video(bench)), .. }) => *bench,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn flags_become_a_path_and_events() {
        let bench = bench("--burst 20%@5s+2s --burst 100%@1s+500ms/8s --rtt 50ms --rate 600k --rate-until 6s");
        let path = path(&bench.network);
        assert_eq!((path.delay, path.rate, path.queue), (Duration::from_millis(25), Some(600_000), QUEUE));
        let window = window(&bench, 1000);
        assert_eq!(window.restored, Some(7000));
        let outages = [(2000, 2500), (10_000, 10_500), (18_000, 18_500)];
        assert_eq!(window.events, [(1000, 7000), outages[0], (6000, 8000), outages[1], outages[2]]);
        assert_eq!(window.end, 21_000);
    }

    #[test]
    fn the_title_describes_the_requested_setup() {
        let bad = bench("--students 30 --bad 5 --loss 5% --rtt 50ms --rate 600k --rate-until 10s --for 60s");
        assert_eq!(title(&bad), "30 students, 5 of them with 5 % loss, 50 ms round trip, 600 kbit/s for 10 s, 60 s");
        assert_eq!(title(&bench("--rate 600k --rate-from 5s")), "1 student, 600 kbit/s from 5 s on, 20 s");
        let narrow = bench("--rate 600k --rate-from 5s --rate-until 9s");
        assert_eq!(title(&narrow), "1 student, 600 kbit/s from 5 to 9 s, 20 s");
        assert_eq!(window(&narrow, 1000).events, [(6000, 10_000)]);
        assert_eq!(title(&bench("--burst 100%@5s+500ms")), "1 student, 100 % loss at 5 s for 500 ms, 20 s");
    }
}
