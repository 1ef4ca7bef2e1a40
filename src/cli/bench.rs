//! The flags of `classroom bench`, and their meaning. A bad network or `--glass` selects the video bench, `--text` the
//! text bench.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::conflict::Conflict;
use super::meaning::Video;
use super::values::{self, Bitrate, Burst};
use crate::media::{Content, Size, Tiers};
use crate::rtp::{Codec, Latency};

/// The examples of `classroom bench --help`.
pub(super) const BENCH_HELP: &str = "Examples:
  classroom bench                               100 students, for ten seconds
  classroom bench --students 500 --bitrate 2500k --fps 30 --for 10s
  classroom bench --students 50 --json          print one JSON object, to compare runs in a script
  classroom bench --loss 5% --rtt 50ms          one student with bad Wi-Fi
  classroom bench --rate 600k --rate-until 20s --for 40s
  classroom bench --burst 100%@5s+500ms         no packets for half a second
  classroom bench --students 30 --bad 5 --loss 5% --rtt 50ms --for 60s
  classroom bench --glass --latency 20          the delay from capturing a picture to decoding it
  classroom bench --text                        how legible pages of text are, and how soon
  classroom bench --ingest                      a browser that teaches over four lines

The students are real connections, in another process on this computer. They decrypt every packet if the computer \
is fast enough. If not, they take turns, and the table shows the share they decrypted.

The floor is what one thread takes to copy, seal and send the same packets with nothing around it: a figure to \
divide by, not a lower bound. On loopback, the sender also pays for receiving. As root, or with user namespaces, \
bench runs in a network namespace of its own and measures both once more while the kernel drops media before it is \
received.

With a bad network or --glass, bench encodes and decodes a real lecture. Each picture carries a code, so that bench \
can count the pictures that arrive.";

/// `classroom bench`.
#[derive(Debug, Clone, PartialEq)]
pub enum Bench {
    /// Measures the cost of a class to its teacher.
    FanOut(FanOutBench),
    /// Measures the video a class receives, over a bad network or with `--glass`.
    Video(Box<VideoBench>),
    /// Measures how legible a student sees pages of text, with `--text`. The length is that of the lesson.
    Text(Box<VideoBench>),
}

/// The cost of a class to its teacher: packets of realistic sizes, without an encoder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FanOutBench {
    /// The number of students, 1 to 10,000.
    pub students: NonZeroUsize,
    /// Bits per second of the video.
    pub bitrate: Bitrate,
    /// Frames per second, 1 to 120.
    pub fps: u32,
    /// The number of sending threads.
    pub workers: NonZeroUsize,
    /// The interval of key frames without a request, at least a second.
    pub key_every: Duration,
    /// The length of the measurement, at least a second.
    pub length: Duration,
    /// Whether the packets arrive by the connection of an emulated publisher.
    pub published: bool,
}

/// The video a class receives of a lecture that is actually encoded and decoded.
#[derive(Debug, Clone, PartialEq)]
pub struct VideoBench {
    /// The number of students, 1 to 10,000.
    pub students: usize,
    /// The number of students behind the bad network.
    pub bad: usize,
    /// The bad network.
    pub network: Network,
    /// The seed of the losses; `None` for a random seed.
    pub seed: Option<u64>,
    /// The file that is taught in a loop; `None` for the built-in lecture.
    pub file: Option<PathBuf>,
    /// Whether noise in a quarter of the frame uses up the bitrate.
    pub film: bool,
    /// How the lecture is encoded.
    pub video: Video,
    /// The jitter buffer of the students.
    pub latency: Latency,
    /// The number of sending threads.
    pub workers: NonZeroUsize,
    /// The length of the measurement, at least a second.
    pub length: Duration,
    /// An emulated publisher sends the lecture to the SFU, and the network is that of the publisher; `None` if the
    /// lecture is encoded beside the SFU.
    pub ingest: Option<IngestOffer>,
}

/// The video in the offer of an emulated publisher.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum IngestOffer {
    /// Both tiers of the picture at once (simulcast)
    Simulcast,
    /// One picture, which has the one tier or the other
    Single,
}

/// A bad network, the same in both directions.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Network {
    /// The fraction of packets lost, 0 to 1.
    pub loss: f64,
    /// Periods in which more packets are lost.
    pub bursts: Vec<Burst>,
    /// The round-trip time.
    pub rtt: Duration,
    /// The maximum additional delay, each way.
    pub jitter: Duration,
    /// The fraction of packets overtaken, 0 to 1.
    pub reorder: f64,
    /// The bottleneck; `None` for unlimited rate.
    pub line: Option<Line>,
}

/// A bottleneck.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Line {
    /// Bits per second.
    pub rate: u32,
    /// The maximum time packets wait; `None` for 250 ms.
    pub queue: Option<Duration>,
    /// When the rate limit starts; `None` for the beginning.
    pub from: Option<Duration>,
    /// When the rate limit ends; `None` for never.
    pub until: Option<Duration>,
}

#[derive(Debug, Args)]
pub(super) struct TypedBench {
    /// How many students watch [default: 100, or 1 with a bad network or --glass]
    #[arg(long, value_name = "N", value_parser = values::bench_students)]
    pub(super) students: Option<NonZeroUsize>,

    /// Bits per second of the picture, for example 2500k or 2.5M; sound comes on top [default: 2500k, or by
    /// the size as in teach where pictures are encoded]
    #[arg(long, value_name = "RATE", hide_short_help = true)]
    pub(super) bitrate: Option<Bitrate>,

    /// Pictures per second
    #[arg(long, value_name = "N", default_value_t = 30, hide_short_help = true)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=120))]
    pub(super) fps: u32,

    /// Number of sending threads, as in teach
    #[arg(long, value_name = "N", default_value = "1", value_parser = values::workers, hide_short_help = true)]
    pub(super) workers: NonZeroUsize,

    /// Time between key frames that nobody asked for, as large as eight pictures each; the encoders of teach make one
    /// in 100 s
    #[arg(long, value_name = "DURATION", default_value = "100s", hide_short_help = true)]
    #[arg(value_parser = values::key_every)]
    pub(super) key_every: Duration,

    /// Measure for this long, once all students have joined [default: 10s, or 20s with a bad network or --glass]
    #[arg(long = "for", value_name = "DURATION", value_parser = values::bench_length)]
    pub(super) length: Option<Duration>,

    /// Measure the line of a publisher: an emulated browser teaches over the bad network, and the networks of the
    /// students are perfect. Without a bad network, four lines are measured one after another: perfect, 5 % loss with
    /// 50 ms, 1 Mbit/s, half a second of nothing. The emulated browser sends lost packets again, makes key frames when
    /// it is asked to, paces, and sends the low tier when its line is too narrow. Left out: an encoder that follows the
    /// line bit by bit, bandwidth probes, FEC, several candidates, and a camera beside the screen
    #[arg(long, value_name = "OFFER", num_args = 0..=1, require_equals = true, default_missing_value = "simulcast")]
    #[arg(hide_short_help = true)]
    pub(super) ingest: Option<IngestOffer>,

    /// Let the packets arrive by the connection of a publisher, as those of a browser that teaches
    #[arg(long, conflicts_with_all = ["ingest", "glass", "loss", "burst", "rtt", "rate"], hide_short_help = true)]
    pub(super) published: bool,

    #[command(flatten)]
    pub(super) network: TypedNetwork,

    #[command(flatten)]
    pub(super) pictures: TypedPictures,
}

/// A bad network, the same in both directions.
#[derive(Debug, Args)]
#[command(next_help_heading = "Bad network")]
pub(super) struct TypedNetwork {
    /// Lose this share of the packets, each way
    #[arg(long, value_name = "PERCENT", value_parser = values::percent)]
    pub(super) loss: Option<f64>,

    /// Lose this share from this time on, for this long: 20%@5s+2s, or every ten seconds 20%@5s+2s/10s; may be repeated
    #[arg(long, value_name = "PERCENT@AT+LENGTH", hide_short_help = true)]
    pub(super) burst: Vec<Burst>,

    /// Delay packets by half of this each way
    #[arg(long, value_name = "DURATION", value_parser = values::network_delay)]
    pub(super) rtt: Option<Duration>,

    /// Add a random delay up to this, each way, without reordering
    #[arg(long, value_name = "DURATION", value_parser = values::network_delay, hide_short_help = true)]
    pub(super) jitter: Option<Duration>,

    /// Reorder this share of the packets: later ones overtake them
    #[arg(long, value_name = "PERCENT", value_parser = values::percent, hide_short_help = true)]
    pub(super) reorder: Option<f64>,

    /// Bits per second that the line carries each way, for example 600k
    #[arg(long, value_name = "RATE", value_parser = values::line_rate)]
    pub(super) rate: Option<u32>,

    /// Limit the rate from this time on [default: from the start]
    #[arg(long, value_name = "DURATION", value_parser = values::duration, hide_short_help = true)]
    pub(super) rate_from: Option<Duration>,

    /// Lift the limit at this time [default: never]
    #[arg(long, value_name = "DURATION", value_parser = values::duration, hide_short_help = true)]
    pub(super) rate_until: Option<Duration>,

    /// How long packets wait for the line before they are dropped [default: 250ms]
    #[arg(long, value_name = "DURATION", value_parser = values::network_delay, hide_short_help = true)]
    pub(super) queue: Option<Duration>,

    /// Only this many students have this network [default: all]
    #[arg(long, value_name = "N", hide_short_help = true)]
    pub(super) bad: Option<usize>,

    /// Seed of the random losses: the same number gives the same losses [default: another one each time]
    #[arg(long, value_name = "N", hide_short_help = true)]
    pub(super) seed: Option<u64>,
}

/// The lecture of the video bench.
#[derive(Debug, Args)]
#[command(next_help_heading = "Pictures")]
pub(super) struct TypedPictures {
    /// Measure the delay from capture to decoding; the network is perfect unless other flags make it bad
    #[arg(long, hide_short_help = true)]
    pub(super) glass: bool,

    /// Measure how soon and how well a student can read pages of a deck and a terminal: PSNR and SSIM of what the
    /// student sees against what was drawn, bits, and CPU. Takes as long as its lesson, 45 s
    #[arg(long, conflicts_with_all = ["ingest", "glass", "length", "students", "burst", "rate_from", "rate_until"])]
    #[arg(conflicts_with_all = ["bad", "file", "film"], hide_short_help = true)]
    pub(super) text: bool,

    /// The jitter buffer of the students in milliseconds, as in watch [default: auto]
    #[arg(long, value_name = "MS", value_parser = values::latency, hide_short_help = true)]
    pub(super) latency: Option<Latency>,

    /// The tiers in which pictures are offered, as in teach [default: full,low]
    #[arg(long, value_name = "LIST", value_parser = values::tiers, hide_short_help = true)]
    pub(super) tiers: Option<Tiers>,

    /// The kind of content for the low tier, text or film, as in teach [default: film]
    #[arg(long, value_name = "KIND", value_parser = values::content, hide_short_help = true)]
    pub(super) content: Option<Content>,

    /// h264 or vp8, as in teach
    #[arg(long, value_name = "CODEC", value_parser = values::video_codec, hide_short_help = true)]
    pub(super) codec: Option<Codec>,

    /// The size of the picture, as in teach [default: 1280x720]
    #[arg(long, value_name = "WxH", hide_short_help = true)]
    pub(super) size: Option<Size>,

    /// Play this file in a loop instead of the built-in lecture
    #[arg(long, value_name = "PATH", hide_short_help = true)]
    pub(super) file: Option<PathBuf>,

    /// Let a film run in a quarter of the picture, so that the encoder uses all its bits; slides alone need few
    #[arg(long, hide_short_help = true)]
    pub(super) film: bool,
}

impl TryFrom<TypedBench> for Bench {
    type Error = Conflict;
    fn try_from(typed: TypedBench) -> Result<Self, Conflict> {
        let is_bad = typed.network.is_bad();
        if typed.pictures.text {
            return typed.into_video(is_bad).map(|bench| Bench::Text(Box::new(bench)));
        }
        if is_bad || typed.pictures.glass || typed.ingest.is_some() {
            return typed.into_video(is_bad).map(|bench| Bench::Video(Box::new(bench)));
        }
        let TypedBench { students, bitrate, fps, workers, key_every, length, network, pictures, published, ingest: _ } =
            typed;
        if let Some(flag) = network.without_network().or(pictures.without_pictures()) {
            return Err(Conflict::BenchWithoutPictures(flag));
        }
        let students = students.or(NonZeroUsize::new(100)).unwrap_or(NonZeroUsize::MIN);
        let length = length.unwrap_or(Duration::from_secs(10));
        let bitrate = bitrate.unwrap_or_default();
        Ok(Bench::FanOut(FanOutBench { students, bitrate, fps, workers, key_every, length, published }))
    }
}

impl TypedBench {
    fn into_video(self, is_bad: bool) -> Result<VideoBench, Conflict> {
        /// The low tier has half the width, and its codes need 320 pixels.
        const LEAST_WIDTH: u32 = 640;
        let Self { students, bitrate, fps, workers, length, network, pictures, ingest, .. } = self;
        let students = students.map_or(1, NonZeroUsize::get);
        let bad = match network.bad {
            Some(_) if ingest.is_some() => return Err(Conflict::BadWithIngest),
            None if ingest.is_some() => 0,
            Some(_) if !is_bad => return Err(Conflict::NothingBad),
            Some(bad) if bad > students => return Err(Conflict::MoreBadThanStudents(bad, students)),
            Some(bad) => bad,
            None => {
                if is_bad {
                    students
                } else {
                    0
                }
            }
        };
        if let Some(size) = pictures.size.filter(|size| size.width < LEAST_WIDTH) {
            return Err(Conflict::TooSmallForCodes(size));
        }
        Ok(VideoBench {
            students,
            bad,
            seed: network.seed,
            network: network.try_into()?,
            file: pictures.file,
            film: pictures.film,
            video: Video {
                codec: pictures.codec,
                size: pictures.size,
                fps,
                bitrate,
                tiers: pictures.tiers.unwrap_or_default(),
                content: pictures.content,
            },
            latency: pictures.latency.unwrap_or(Latency::AUTO),
            workers,
            length: length.unwrap_or(Duration::from_secs(20)),
            ingest,
        })
    }
}

impl TypedNetwork {
    fn is_bad(&self) -> bool {
        let delays = self.rtt.is_some() || self.jitter.is_some() || self.reorder.is_some();
        self.loss.is_some() || !self.burst.is_empty() || delays || self.rate.is_some()
    }

    /// A flag that has no effect without a bad network.
    fn without_network(&self) -> Option<&'static str> {
        let bad = self.bad.map(|_| "--bad").or(self.seed.map(|_| "--seed"));
        let line = self.rate_from.map(|_| "--rate-from").or(self.rate_until.map(|_| "--rate-until"));
        bad.or(line).or(self.queue.map(|_| "--queue"))
    }
}

impl TypedPictures {
    /// A flag that has no effect in the fan-out bench.
    fn without_pictures(&self) -> Option<&'static str> {
        let first =
            self.latency.map(|_| "--latency").or(self.codec.map(|_| "--codec")).or(self.tiers.map(|_| "--tiers"));
        let file = self.file.as_ref().map(|_| "--file");
        let content = self.content.map(|_| "--content");
        first.or(self.size.map(|_| "--size")).or(content).or(file).or(self.film.then_some("--film"))
    }
}

impl TryFrom<TypedNetwork> for Network {
    type Error = Conflict;
    fn try_from(typed: TypedNetwork) -> Result<Self, Conflict> {
        let line = match (typed.rate, typed.without_network()) {
            (Some(rate), _) => Some(Line { rate, queue: typed.queue, from: typed.rate_from, until: typed.rate_until }),
            (None, Some(flag @ ("--rate-from" | "--rate-until" | "--queue"))) => return Err(Conflict::NoRate(flag)),
            (None, _) => None,
        };
        if let Some(Line { from: Some(from), until: Some(until), .. }) = line
            && from >= until
        {
            return Err(Conflict::FastBeforeSlow);
        }
        Ok(Network {
            loss: typed.loss.unwrap_or(0.0),
            bursts: typed.burst,
            rtt: typed.rtt.unwrap_or_default(),
            jitter: typed.jitter.unwrap_or_default(),
            reorder: typed.reorder.unwrap_or(0.0),
            line,
        })
    }
}
