//! The bench of an emulated publisher: the same lecture and the same judgement, with a bad network between the
//! publisher and the SFU instead of between the SFU and the students.

use std::time::Duration;

use anyhow::Context;
use serde_json::{Value, json};
use tokio::time::{Instant, timeout_at};

use super::findings::Findings;
use super::session::{Publisher, Session};
use super::{DRAIN, JOIN_WITHIN, capture_options, measure, path, sfu_config, table, title};
use crate::bench::Report;
use crate::bench::codes::CodeWriter;
use crate::bench::cpu;
use crate::bench::emulator::PathConfig;
use crate::bench::publisher::{EmulatedPublisher, PublisherSetup};
use crate::bench::receive_path;
use crate::bench::wire::{JoinViewers, ToStudents};
use crate::cli::{Burst, IngestOffer, Line, Network, VideoBench};
use crate::exit::Failure;
use crate::media::Capture;
use crate::report::Reporter;
use crate::sfu::{Sfu, SfuEvent};

/// The time for which the CPU time of ingest is measured, before students join; and before that, the CPU time of an SFU
/// without a publisher.
const ALONE: Duration = Duration::from_secs(3);
const IDLE: Duration = Duration::from_secs(1);

/// The delay of the lossy line.
const ROUND_TRIP: Duration = Duration::from_millis(50);

/// Changes the publisher's line when the measurement begins, and when its rate limit begins and ends.
pub(super) struct LineClock {
    network: Network,
    /// The changes to come.
    changes: Vec<(Duration, PathConfig)>,
}

impl LineClock {
    pub(super) fn new(network: &Network) -> Self {
        let whole = path(network);
        let from = network.line.and_then(|line| line.from).map(|from| (from, whole.clone()));
        let until = network.line.and_then(|line| line.until).map(|until| (until, PathConfig { rate: None, ..whole }));
        Self { network: network.clone(), changes: from.into_iter().chain(until).collect() }
    }

    /// The line at the start of the measurement, with its bursts.
    fn first(&self) -> PathConfig {
        let whole = path(&self.network);
        let is_limited = self.network.line.is_some_and(|line| line.from.is_none());
        PathConfig { rate: whole.rate.filter(|_| is_limited), ..whole }
    }

    /// Starts the bursts.
    pub(super) fn begin(&self, session: &Session) {
        if let Some(ingest) = session.ingest() {
            ingest.set_line(self.first());
            ingest.begin();
        }
    }

    /// The time of the next change of the line, since the start of the measurement.
    pub(super) fn next_change(&self) -> Option<Duration> {
        self.changes.first().map(|(at, _)| *at)
    }

    /// Makes the changes that are due.
    pub(super) fn advance(&mut self, session: &Session, elapsed: Duration) {
        while self.next_change().is_some_and(|at| at <= elapsed) {
            let (_, line) = self.changes.remove(0);
            if let Some(ingest) = session.ingest() {
                ingest.set_line(line);
            }
        }
    }
}

/// The lines that are measured if none is typed.
fn standard_lines(length: Duration) -> Vec<(String, Network)> {
    let outage = Burst { loss: 1.0, at: length / 4, length: Duration::from_millis(500), every: None };
    let narrow = Line { rate: 1_000_000, queue: None, from: None, until: None };
    [
        ("perfect", Network::default()),
        ("5 % loss, 50 ms", Network { loss: 0.05, rtt: ROUND_TRIP, ..Network::default() }),
        ("1 Mbit/s", Network { line: Some(narrow), ..Network::default() }),
        ("0.5 s of nothing", Network { bursts: vec![outage], ..Network::default() }),
    ]
    .map(|(name, network)| (name.to_owned(), network))
    .into()
}

/// Runs the bench: one line after another.
pub(super) async fn run(bench: &VideoBench, offer: IngestOffer, reporter: &Reporter) -> Result<Report, Failure> {
    let is_typed = bench.network != Network::default();
    let lines = if is_typed {
        vec![("the publisher's line".to_owned(), bench.network.clone())]
    } else {
        standard_lines(bench.length)
    };
    let mut found = Vec::new();
    for (name, network) in lines {
        reporter.status(&format!("the publisher's line: {name}"));
        let bench = VideoBench { network, ..bench.clone() };
        found.push((name, run_line(&bench, offer, reporter).await?));
    }
    let objects: Vec<Value> =
        found.iter().map(|(name, found)| json!({ "line": name, "found": found.object() })).collect();
    let name = match offer {
        IngestOffer::Simulcast => "a publisher with simulcast",
        IngestOffer::Single => "a publisher with one picture",
    };
    let title = format!("{name}, {}", title(bench));
    let receive = tokio::task::spawn_blocking(receive_path::measure).await.map_err(Failure::internal)??;
    Ok(Report {
        object: json!({ "lines": objects, "receive": receive.object() }),
        table: format!("{}\n{}\n", table::of_lines(&title, &found).trim_end(), receive.sentence()),
    })
}

async fn run_line(bench: &VideoBench, offer: IngestOffer, reporter: &Reporter) -> Result<Findings, Failure> {
    let options = capture_options(bench);
    let prepared =
        tokio::task::spawn_blocking(move || Capture::prepare(options)).await.map_err(Failure::internal)??;
    let (codes, encodings) = (CodeWriter::attach(&prepared, bench.film), prepared.rates());
    let config = sfu_config(bench, vec![])?;
    let user = config.user.clone();
    let (sfu, sfu_events) = Sfu::start(config).map_err(Failure::internal)?;
    let seed = bench.seed.unwrap_or_else(|| u64::from(rand::random::<u32>()));
    let line = PathConfig { bursts: vec![], ..LineClock::new(&bench.network).first() };
    let setup = PublisherSetup { sfu: sfu.udp(), offer, encodings: encodings.clone(), line, seed };
    let (ingest, sdp) = EmulatedPublisher::start(setup).await.map_err(Failure::internal)?;
    let idle_before = cpu::of_sfu().map_err(Failure::internal)?;
    tokio::time::sleep(IDLE).await;
    let idle = cpu::of_sfu().map_err(Failure::internal)?.saturating_sub(idle_before);
    sfu.publish(user, sdp, None, None);
    let input = ingest.input();
    let started = tokio::task::spawn_blocking(move || Capture::start(prepared, input));
    let (capture, capture_events) = started.await.map_err(Failure::internal)??;
    // The frames of an encoder that nobody watches would count as missing.
    let sent = encodings.iter().map(|(encoding, _)| *encoding).filter(|encoding| ingest.sends(*encoding));
    sent.for_each(|encoding| capture.need(encoding, true));
    let mut publisher = Publisher { sfu, sfu_events, capture, capture_events, ingest: Some(ingest) };
    until_live(&mut publisher, reporter).await?;
    let cpu = measure_alone(&mut publisher, idle, reporter).await?;
    let join = JoinViewers {
        students: bench.students,
        bad: 0,
        network: PathConfig::default(),
        rate_from: None,
        rate_until: None,
        seed,
        sfu: publisher.sfu.udp(),
        latency: bench.latency,
    };
    reporter.status(&format!("{} students join", bench.students));
    let mut session = Session::start(publisher, &ToStudents::JoinViewers(join), reporter).await?;
    let found = measure(bench, &mut session, &codes, seed, reporter).await;
    session.end().await;
    let mut found = found?;
    if let Some(ingest) = &mut found.ingest {
        ingest.cpu_us_per_packet = cpu;
    }
    Ok(found)
}

/// Waits until the SFU knows the encodings of the publisher.
async fn until_live(publisher: &mut Publisher, reporter: &Reporter) -> anyhow::Result<()> {
    let deadline = Instant::now() + JOIN_WITHIN;
    loop {
        let event = timeout_at(deadline, publisher.next(reporter)).await;
        let event = event.context("the emulated publisher was not connected in time")??;
        if matches!(event, SfuEvent::Encodings(_)) {
            break;
        }
    }
    // The first key frame, and the start of the congestion control.
    serve(publisher, DRAIN, reporter).await
}

/// Serves the publisher for this long.
async fn serve(publisher: &mut Publisher, length: Duration, reporter: &Reporter) -> anyhow::Result<()> {
    let end = Instant::now() + length;
    while let Ok(event) = timeout_at(end, publisher.next(reporter)).await {
        event?;
    }
    Ok(())
}

/// The SFU's CPU time for each packet of the publisher in microseconds, while no student is there. `idle` is the CPU
/// time of the SFU during [`IDLE`] without a publisher.
async fn measure_alone(publisher: &mut Publisher, idle: Duration, reporter: &Reporter) -> anyhow::Result<f64> {
    let (before, cpu_before) = (packets(publisher).await?, cpu::of_sfu()?);
    serve(publisher, ALONE, reporter).await?;
    let (after, cpu) = (packets(publisher).await?, cpu::of_sfu()?.saturating_sub(cpu_before));
    Ok(match after.saturating_sub(before) {
        0 => f64::NAN,
        packets => {
            let idle = idle.mul_f64(ALONE.div_duration_f64(IDLE));
            cpu.saturating_sub(idle).as_secs_f64() * 1e6 / packets as f64
        }
    })
}

/// The packets that have arrived from the publisher.
async fn packets(publisher: &Publisher) -> anyhow::Result<u64> {
    let stats = publisher.sfu.stats().await.context("the SFU ended")?;
    let ingest = stats.ingest.context("the SFU has no publisher")?;
    Ok(ingest.stats.encodings.iter().map(|encoding| encoding.packets).sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_changes_when_its_rate_limit_begins_and_ends() {
        let second = Duration::from_secs(1);
        let line = Line { rate: 600_000, queue: None, from: Some(second), until: Some(second * 2) };
        let clock = LineClock::new(&Network { line: Some(line), loss: 0.1, ..Network::default() });
        let rates: Vec<_> = clock.changes.iter().map(|(at, path)| (*at, path.rate, path.loss)).collect();
        assert_eq!((clock.first().rate, clock.first().loss), (None, 0.1));
        assert_eq!(rates, [(second, Some(600_000), 0.1), (second * 2, None, 0.1)]);
        let always =
            LineClock::new(&Network { line: Some(Line { from: None, until: None, ..line }), ..Network::default() });
        assert_eq!((always.first().rate, always.next_change()), (Some(600_000), None));
    }

    #[test]
    fn the_standard_lines_fit_into_the_measurement() {
        for seconds in [1, 20] {
            let length = Duration::from_secs(seconds);
            let lines = standard_lines(length);
            assert_eq!(lines.len(), 4);
            let bursts = lines.iter().flat_map(|(_, network)| &network.bursts);
            assert!(bursts.clone().count() == 1 && bursts.into_iter().all(|burst| burst.at + burst.length < length));
        }
    }
}
