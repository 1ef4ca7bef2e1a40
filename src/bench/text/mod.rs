//! The text bench: how soon and how well a student can read a deck and a terminal, what that costs in bits and CPU.
//!
//! The teacher's pictures are drawn before the capture passes them to the encoders, without any code in them. The
//! students decode in this process and compare what they see with what was drawn.

mod board;
mod findings;
mod lesson;
mod quality;
mod student;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use tokio::time::timeout_at;

use self::board::Board;
use self::findings::{CpuSample, EncodedFrame, Measured};
use self::lesson::Lesson;
use self::student::{Join, Seen, Student};
use super::Report;
use super::cpu::CpuByThread;
use super::video::session::Publisher;
use super::video::{capture_options, path, sfu_config, title};
use crate::cli::{Network, VideoBench};
use crate::endpoints;
use crate::exit::Failure;
use crate::media::{Capture, CaptureOptions, Content, MainSource, Size, Sources};
use crate::report::Reporter;
use crate::rtp::{Tier, Track};
use crate::sfu::{Sfu, SfuConfig, SfuEvent};

/// The usual size of a synthetic source.
const SIZE: Size = Size { width: 1280, height: 720 };

/// How long a student may take to its first picture.
const JOIN_WITHIN: Duration = Duration::from_secs(20);

/// How long the first page is shown before the lesson, so that rate control and estimates settle.
const SETTLE: Duration = Duration::from_secs(3);

/// How long the newcomer at the end is watched.
const JOIN_SEEN: Duration = Duration::from_secs(4);

/// The interval of CPU samples, and of looks at the students.
const SAMPLE_EVERY: Duration = Duration::from_millis(100);

/// Threads of encoders and of the synthetic source, as far as the kernel keeps their names.
const ENCODER_THREADS: &str = "screen-";
const CAPTURE_THREADS: &str = "videotestsrc";

/// Runs the bench.
pub(super) async fn run(bench: &VideoBench, reporter: &Reporter) -> Result<Report, Failure> {
    let options = CaptureOptions {
        sources: Sources::only(MainSource::Test),
        content: Some(bench.video.content.unwrap_or(Content::Text)),
        ..capture_options(bench)
    };
    let size = bench.video.size.unwrap_or(SIZE);
    let prepare = move || Ok::<_, Failure>((Capture::prepare(options)?, Lesson::new(size)?));
    let (prepared, lesson) = tokio::task::spawn_blocking(prepare).await.map_err(Failure::internal)??;
    let board = Board::new(lesson);
    board.attach(&prepared);
    let encodings = prepared.rates();
    let best = encodings.iter().find(|(encoding, _)| encoding.track == Track::Screen);
    let best = best.map_or(Tier::Full, |(encoding, _)| encoding.tier);
    // A newcomer joins at the end.
    let config = SfuConfig { max_students: bench.students + 1, ..sfu_config(bench, encodings)? };
    let (sfu, sfu_events) = Sfu::start(config).map_err(Failure::internal)?;
    let encoded = Arc::<Mutex<Vec<EncodedFrame>>>::default();
    let log = Arc::clone(&encoded);
    let (capture, capture_events) = endpoints::start_capture(prepared, &sfu, move |frame| {
        if frame.track == Track::Screen {
            let frame = EncodedFrame { at: Instant::now(), tier: frame.tier, key: frame.key, bytes: frame.bytes() };
            log.lock().unwrap_or_else(PoisonError::into_inner).push(frame);
        }
    })
    .await?;
    let is_bad = bench.network != Network::default();
    let join = Join {
        sfu: sfu.udp(),
        network: is_bad.then(|| path(&bench.network)),
        seed: bench.seed.unwrap_or_else(|| u64::from(rand::random::<u32>())),
        latency: bench.latency,
    };
    let publisher = Publisher { sfu, sfu_events, capture, capture_events, ingest: None };
    let mut class = Class { publisher, reporter, cpu: CpuByThread::default(), samples: Vec::new() };
    let found = class.measure(&join, &board).await;
    let Class { publisher: Publisher { sfu, capture, .. }, samples, .. } = class;
    sfu.close().await;
    tokio::task::spawn_blocking(move || capture.stop()).await.map_err(Failure::internal)?;
    let (end, seen, joined) = found?;
    let encoded = std::mem::take(&mut *encoded.lock().unwrap_or_else(PoisonError::into_inner));
    let title = format!("text of {size}, {}", title(bench));
    let measured = Measured { title, scenes: board.scenes(), end, best, seen, joined, encoded, cpu: samples };
    Ok(Report { object: measured.object(), table: measured.table() })
}

/// The lecture, while it is measured.
struct Class<'a> {
    publisher: Publisher,
    reporter: &'a Reporter,
    cpu: CpuByThread,
    samples: Vec<CpuSample>,
}

impl Class<'_> {
    /// Measures the lesson, and then a newcomer. Returns the end of the lesson, what its student saw, and when the
    /// newcomer made its offer and what it saw.
    async fn measure(&mut self, join: &Join, board: &Arc<Board>) -> anyhow::Result<(Instant, Seen, (Instant, Seen))> {
        self.reporter.status("a student joins");
        let student = self.join(1, join, board).await?;
        self.serve_for(SETTLE).await?;
        let length = lesson::length();
        self.reporter.status(&format!("measuring for {} s", length.as_secs_f64()));
        self.samples.clear();
        board.begin();
        self.serve_for(length).await?;
        let end = Instant::now();
        let offered = Instant::now();
        let newcomer = self.join(2, join, board).await?;
        self.serve_for(JOIN_SEEN).await?;
        Ok((end, student.end().await?, (offered, newcomer.end().await?)))
    }

    /// Lets a student join, up to its first picture.
    async fn join(&mut self, number: usize, join: &Join, board: &Arc<Board>) -> anyhow::Result<Student> {
        let (student, sdp) = Student::offer(join.clone(), Arc::clone(board)).await?;
        let user = number.to_string().parse().map_err(|e| anyhow::anyhow!("student {number}: {e}"))?;
        self.publisher.sfu.offer(user, sdp, None, None);
        let deadline = Instant::now() + JOIN_WITHIN;
        while student.pictures() == 0 {
            if Instant::now() > deadline {
                student.end().await?;
                bail!("student {number} had no picture within {} s", JOIN_WITHIN.as_secs());
            }
            match self.event(Instant::now() + SAMPLE_EVERY).await? {
                Some(SfuEvent::Answer { sdp, .. }) => student.answer(sdp).await,
                Some(SfuEvent::Refused { why, .. }) => bail!("the SFU refused student {number}: {why}"),
                _ => {}
            }
        }
        Ok(student)
    }

    /// Serves SFU and capture for a while, and samples the CPU time.
    async fn serve_for(&mut self, time: Duration) -> anyhow::Result<()> {
        let end = Instant::now() + time;
        while Instant::now() < end {
            let next = end.min(Instant::now() + SAMPLE_EVERY);
            while let Some(event) = self.event(next).await? {
                if let SfuEvent::Gone { why, .. } = event {
                    bail!("a student is gone: {why}");
                }
            }
            self.cpu.sample();
            let (encoders, capture) = (self.cpu.of_prefix(ENCODER_THREADS), self.cpu.of_prefix(CAPTURE_THREADS));
            self.samples.push(CpuSample { at: Instant::now(), encoders, capture });
        }
        Ok(())
    }

    /// The next event of the SFU before a deadline.
    async fn event(&mut self, deadline: Instant) -> anyhow::Result<Option<SfuEvent>> {
        match timeout_at(deadline.into(), self.publisher.next(self.reporter)).await {
            Ok(event) => event.map(Some).context("the lecture ended"),
            Err(_) => Ok(None),
        }
    }
}
