//! Parsers for the values of flags: durations, bit rates, addresses, lists. Each error names an example.
//!
//! `bytesize` would not do for bit rates: it counts bytes, and prints them as such.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use super::secrets::Secret;
use crate::access::JoinCode;
pub(crate) use crate::duration::parse as duration;
use crate::expect::{Expectation, Metric, decimal};
use crate::media::{Content, Tiers};
use crate::protocol::DEFAULT_PORT;
use crate::protocol::channel::MAX_SPEAKERS;
use crate::rtp::{Codec, Latency, MAX_DELAY};
use crate::signal::{ServerUrl, ServerUrlError};

/// A bit rate, in bits per second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bitrate(u32);

impl Default for Bitrate {
    /// 2.5 Mbit/s, enough for a legible screen of 1280x720 at 30 pictures a second.
    fn default() -> Self {
        Bitrate(2_500_000)
    }
}

impl Bitrate {
    /// The lowest bit rate at which every video encoder still produces a readable slide.
    pub const LEAST: Bitrate = Bitrate(50_000);
    /// The highest bit rate. At this rate a gigabit network does not carry ten students.
    pub const MOST: Bitrate = Bitrate(100_000_000);

    /// In bits per second.
    pub fn bits_per_second(self) -> u32 {
        self.0
    }

    /// In thousands of bits per second, rounded down.
    pub fn kbps(self) -> u32 {
        self.0 / 1000
    }
}

impl FromStr for Bitrate {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let bits = bits(text).ok_or("is not a bit rate, for example 2500k, 2.5M or 800000")?;
        if bits < f64::from(Self::LEAST.0) || bits > f64::from(Self::MOST.0) {
            return Err("is out of range, give 50k to 100M bits per second (2500k is the default)".into());
        }
        // The range check above makes the cast safe; it only drops a fraction of a bit.
        Ok(Bitrate(bits as u32))
    }
}

impl fmt::Display for Bitrate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}k", self.kbps())
    }
}

/// A period of additional packet loss: `20%@5s+2s` loses 20 % from second 5 to 7, `20%@5s+2s/10s` every ten seconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Burst {
    /// The share of packets that are lost, 0 to 1.
    pub loss: f64,
    /// The start, counted from the start of the measurement.
    pub at: Duration,
    /// The length of the burst.
    pub length: Duration,
    /// The time from one start to the next, longer than `length`; `None`: it happens once.
    pub every: Option<Duration>,
}

impl FromStr for Burst {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        const EXAMPLE: &str = "is not a burst, give share@start+length, for example 20%@5s+2s";
        let (loss, time) = text.split_once('@').ok_or(EXAMPLE)?;
        let (at, length) = time.split_once('+').ok_or(EXAMPLE)?;
        let (length, every) = length.split_once('/').map_or((length, None), |(length, every)| (length, Some(every)));
        let every = every.map(duration).transpose()?;
        let burst = Burst { loss: percent(loss)?, at: duration(at)?, length: duration(length)?, every };
        if burst.length.is_zero() || every.is_some_and(|every| every <= burst.length) {
            return Err("needs a length above 0 and below its period, for example 20%@5s+2s/10s".into());
        }
        Ok(burst)
    }
}

/// The server of a flag or of the environment, and what else is in a link that somebody pasted. An empty
/// `CLASSROOM_SERVER=` means none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TypedServer(pub(super) Option<ServerUrl>, pub(super) LinkSecrets);

/// The secrets in a link to a room: `#token=` and `#code=`, or both in the query.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct LinkSecrets {
    pub(super) token: Option<Secret>,
    pub(super) code: Option<JoinCode>,
}

impl FromStr for TypedServer {
    type Err = ServerUrlError;
    fn from_str(text: &str) -> Result<Self, ServerUrlError> {
        let named = !text.trim().is_empty();
        let url = named.then(|| text.parse()).transpose()?;
        let mut secrets = LinkSecrets::default();
        for pairs in text.split(['?', '#']).skip(1) {
            for (name, value) in form_urlencoded::parse(pairs.as_bytes()) {
                match &*name {
                    "token" => secrets.token = Some(Secret::from(&*value)),
                    "code" => secrets.code = value.parse().ok(),
                    _ => {}
                }
            }
        }
        Ok(TypedServer(url, secrets))
    }
}

/// Where `watch` and `demo` put the lecture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum TypedSink {
    Window,
    Null,
    File(PathBuf),
}

impl FromStr for TypedSink {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "window" => Ok(TypedSink::Window),
            "null" => Ok(TypedSink::Null),
            file if file.len() > 4 && file.to_ascii_lowercase().ends_with(".mkv") => Ok(TypedSink::File(file.into())),
            _ => Err("is not a valid sink, give window, null or a file name that ends in .mkv".into()),
        }
    }
}

/// Parses `ADDR:PORT`, `ADDR`, `:PORT` or `PORT`. Without an address the server listens on every IPv4 address.
pub(super) fn listen(text: &str) -> Result<SocketAddr, String> {
    let every = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
    if let Ok(address) = text.parse::<SocketAddr>() {
        return Ok(address);
    }
    if let Ok(address) = text.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() {
        return Ok(SocketAddr::new(address, DEFAULT_PORT));
    }
    if let Ok(port) = text.strip_prefix(':').unwrap_or(text).parse::<u16>() {
        return Ok(SocketAddr::new(every, port));
    }
    let local = IpAddr::V4(Ipv4Addr::LOCALHOST);
    match text.strip_prefix("localhost").map(|rest| rest.strip_prefix(':').map(str::parse::<u16>)) {
        Some(None) if text == "localhost" => Ok(SocketAddr::new(local, DEFAULT_PORT)),
        Some(Some(Ok(port))) => Ok(SocketAddr::new(local, port)),
        _ => Err("is not an address to listen on, for example 0.0.0.0:18080 or 127.0.0.1:18090".into()),
    }
}

/// Parses a number of threads. No computer here has more cores than the limit.
pub(super) fn workers(text: &str) -> Result<NonZeroUsize, String> {
    const MOST: usize = 64;
    match text.parse::<NonZeroUsize>() {
        Ok(workers) if workers.get() <= MOST => Ok(workers),
        _ => Err(format!("is not a number of threads, give a number from 1 to {MOST}, at most one for each core")),
    }
}

/// The most speakers of a lecture, if none is typed: a student who asks, and one who answers.
pub(super) const DEFAULT_SPEAKERS: usize = 2;

/// Parses a number of speakers; 0 means no stage.
pub(super) fn speakers(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(speakers) if speakers <= MAX_SPEAKERS => Ok(speakers),
        _ => Err(format!("is not a number of speakers, give a number from 0, which is no stage, to {MAX_SPEAKERS}")),
    }
}

/// Parses a share of packets. The percent sign is required, because a bare `5` or `0.05` would be ambiguous.
pub(super) fn percent(text: &str) -> Result<f64, String> {
    match text.strip_suffix('%').and_then(decimal) {
        Some(percent) if percent <= 100.0 => Ok(percent / 100.0),
        _ => Err("is not a percentage, give 0% to 100%, for example 5%".into()),
    }
}

/// Parses the bit rate of an emulated path, from the rate of a modem to that of a gigabit network.
pub(super) fn line_rate(text: &str) -> Result<u32, String> {
    match bits(text).ok_or("is not a bit rate, for example 600k or 1.5M")? {
        rate if (10e3..=1e9).contains(&rate) => Ok(rate as u32),
        _ => Err("is out of range, give 10k to 1000M bits per second".into()),
    }
}

/// Parses the delay or the queue length of a network. No connection survives more than ten seconds.
pub(super) fn network_delay(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        delay if delay > Duration::from_secs(10) => Err("is too long, give 10s or less".into()),
        delay => Ok(delay),
    }
}

/// Parses the length of a measurement, at least a second.
pub(super) fn bench_length(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        length if length < Duration::from_secs(1) => Err("is too short to measure, give 1s or more".into()),
        length => Ok(length),
    }
}

/// Parses the interval of a bench's key frames.
pub(super) fn key_every(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        interval if interval < Duration::from_secs(1) => Err("is too short for key frames, give 1s or more".into()),
        interval => Ok(interval),
    }
}

/// Parses a number of students. Each takes a UDP port of its own, and Linux has some 28,000 ephemeral ports.
pub(super) fn bench_students(text: &str) -> Result<NonZeroUsize, String> {
    const MOST: usize = 10_000;
    match text.parse::<NonZeroUsize>() {
        Ok(students) if students.get() <= MOST => Ok(students),
        _ => Err(format!("is not a number of students, give 1 to {MOST}")),
    }
}

/// Parses a condition about a lecture, for example `fps>=25`.
pub(super) fn lecture_expectation(text: &str) -> Result<Expectation, String> {
    Expectation::about(&Metric::OF_LECTURE, text)
}

/// Parses a condition about a call or a meeting, for example `participants>=2`.
pub(super) fn conference_expectation(text: &str) -> Result<Expectation, String> {
    Expectation::about(&Metric::OF_CONFERENCE, text)
}

/// Parses `auto`, `80`, `80ms` or `40..200`. A bare number means milliseconds, as the flag's help says.
pub(super) fn latency(text: &str) -> Result<Latency, String> {
    if text == "auto" {
        return Ok(Latency::AUTO);
    }
    let Some((least, most)) = text.split_once("..") else { return milliseconds(text).map(Latency::Fixed) };
    let (least, most) = (milliseconds(least)?, milliseconds(most)?);
    if least > most {
        return Err("is not a range, give the smaller number first, for example 40..200".into());
    }
    if most > MAX_DELAY {
        return Err(format!(
            "is too long: a range ends at {} milliseconds; for more give a fixed length, for example 1000",
            MAX_DELAY.as_millis()
        ));
    }
    Ok(Latency::Adaptive { least, most })
}

fn milliseconds(text: &str) -> Result<Duration, String> {
    const MOST: Duration = Duration::from_secs(5);
    let time = match text.parse::<u32>() {
        Ok(number) => Duration::from_millis(number.into()),
        Err(_) => duration(text)
            .map_err(|_| "is not a latency, give auto, milliseconds such as 80, or a range such as 40..200")?,
    };
    if time > MOST {
        return Err("is too long, give 5000 milliseconds or less".into());
    }
    Ok(time)
}

/// Parses a video codec.
pub(super) fn video_codec(text: &str) -> Result<Codec, String> {
    match text.to_ascii_lowercase().as_str() {
        "h264" | "h.264" => Ok(Codec::H264),
        "vp8" => Ok(Codec::Vp8),
        _ => Err("is not a video codec, give h264 or vp8".into()),
    }
}

/// Parses bits per second, with an optional `k` or `M` after the number.
pub(super) fn bits(text: &str) -> Option<f64> {
    let (number, unit) = match text.strip_suffix(['k', 'K']) {
        Some(number) => (number, 1e3),
        None => text.strip_suffix(['m', 'M']).map_or((text, 1.0), |number| (number, 1e6)),
    };
    Some(decimal(number)? * unit)
}

/// Parses `full,low`, `full`, `low`, `full,low=300k`.
pub(super) fn tiers(text: &str) -> Result<Tiers, String> {
    let (mut full, mut low) = (false, None);
    for part in text.split(',') {
        let (name, rate) = part.split_once('=').map_or((part, None), |(name, rate)| (name, Some(rate)));
        match (name.trim().to_ascii_lowercase().as_str(), rate) {
            ("full", None) if !full => full = true,
            ("full", Some(_)) => return Err("sets the bit rate of the full tier; use --bitrate for that".into()),
            ("low", rate) if low.is_none() => {
                let rate = rate.map(|rate| rate.trim().parse::<Bitrate>().map_err(|why| format!("low={rate} {why}")));
                low = Some(rate.transpose()?.map(Bitrate::bits_per_second));
            }
            ("full" | "low", _) => return Err(format!("names {} twice", name.trim())),
            _ => return Err("is not a list of tiers, for example full,low or full or full,low=300k".into()),
        }
    }
    Ok(match (full, low) {
        (true, Some(rate)) => Tiers::Both(rate),
        (false, Some(rate)) => Tiers::Low(rate),
        // Every list has at least one valid part, so without low it is full.
        (_, None) => Tiers::Full,
    })
}

/// Parses `text` or `film`.
pub(super) fn content(text: &str) -> Result<Content, String> {
    match text.to_ascii_lowercase().as_str() {
        "text" => Ok(Content::Text),
        "film" => Ok(Content::Film),
        _ => Err("is not a kind of content, give text or film".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bit_rates() {
        for (text, bits) in [("2500k", 2_500_000), ("2.5M", 2_500_000), ("800000", 800_000), ("50k", 50_000)] {
            assert_eq!(text.parse::<Bitrate>().unwrap().bits_per_second(), bits, "{text}");
        }
        for text in ["", "k", "2500", "1000M", "-2M", "1e6", "inf", "2.5.1M", "2500 k"] {
            assert!(text.parse::<Bitrate>().is_err(), "{text}");
        }
        assert_eq!("2.5M".parse::<Bitrate>().unwrap().to_string(), "2500k");
    }

    #[test]
    fn milliseconds_without_a_unit() {
        assert_eq!(milliseconds("80").unwrap(), Duration::from_millis(80));
        assert!(milliseconds("6000").is_err());
    }

    #[test]
    fn network_conditions() {
        assert_eq!(percent("5%"), Ok(0.05));
        assert_eq!((percent("0.5%"), percent("100%")), (Ok(0.005), Ok(1.0)));
        for text in ["5", "101%", "%", "-1%", "5 %", ""] {
            assert!(percent(text).is_err(), "{text}");
        }
        assert_eq!((line_rate("600k"), line_rate("1.5M")), (Ok(600_000), Ok(1_500_000)));
        for text in ["600", "5G", "2000M", ""] {
            assert!(line_rate(text).is_err(), "{text}");
        }
        assert!(network_delay("11s").is_err());
        let seconds = Duration::from_secs;
        let burst = Burst { loss: 0.2, at: seconds(5), length: seconds(2), every: None };
        assert_eq!("20%@5s+2s".parse(), Ok(burst));
        assert_eq!("20%@5s+2s/10s".parse(), Ok(Burst { every: Some(seconds(10)), ..burst }));
        for text in ["20%", "20%@5s", "20@5s+2s", "20%@5+2", "20%@5s+0s", "20%@5s+2s/2s", "20%@5s+2s/", "@+"] {
            assert!(text.parse::<Burst>().is_err(), "{text}");
        }
    }

    #[test]
    fn tiers_are_a_list_of_names() {
        for (text, expected) in [
            ("full,low", Tiers::Both(None)),
            ("low, FULL", Tiers::Both(None)),
            ("full", Tiers::Full),
            ("low", Tiers::Low(None)),
            ("full,low=300k", Tiers::Both(Some(300_000))),
            ("low=1M", Tiers::Low(Some(1_000_000))),
        ] {
            assert_eq!(tiers(text), Ok(expected), "{text}");
        }
        for (text, why) in [
            ("", "for example full,low"),
            ("high", "for example full,low"),
            ("full,", "for example full,low"),
            ("full,full", "names full twice"),
            ("low,low=1M", "names low twice"),
            ("full=1M", "--bitrate"),
            ("low=", "low= is not a bit rate"),
            ("low=fast", "low=fast is not a bit rate"),
            ("low=1k", "low=1k is out of range"),
        ] {
            let error = tiers(text).unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
    }

    #[test]
    fn an_empty_server_means_no_server() {
        assert_eq!("".parse(), Ok(TypedServer(None, LinkSecrets::default())));
        assert_eq!("a:1".parse(), Ok(TypedServer(Some(ServerUrl::new("a", 1)), LinkSecrets::default())));
        assert!("rtsp://a".parse::<TypedServer>().is_err());
        let secure = Some(ServerUrl::new("a", 1).with_tls(true));
        assert_eq!("wss://a:1".parse(), Ok(TypedServer(secure, LinkSecrets::default())));
    }

    #[test]
    fn addresses_to_listen_on() {
        for (text, address) in [
            ("127.0.0.1:0", "127.0.0.1:0"),
            ("18090", "0.0.0.0:18090"),
            (":18090", "0.0.0.0:18090"),
            ("localhost:1", "127.0.0.1:1"),
            ("localhost", "127.0.0.1:18080"),
            ("10.0.0.1", "10.0.0.1:18080"),
            ("[::]:18080", "[::]:18080"),
        ] {
            assert_eq!(listen(text).unwrap(), address.parse::<SocketAddr>().unwrap(), "{text}");
        }
        for text in ["", "example.org:80", "localhost:", "70000", "localhosts"] {
            assert!(listen(text).is_err(), "{text}");
        }
    }
}
