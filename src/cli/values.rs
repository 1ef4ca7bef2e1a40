//! What is typed after a flag: durations, rates, sizes, addresses; parsed once, refused with a sentence.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use crate::media::{Content, Tiers};
use crate::protocol::DEFAULT_PORT;
use crate::rtp::{Codec, Latency, MAX_DELAY};
use crate::signal::{ServerUrl, ServerUrlError};

/// A bit rate, in bits per second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bitrate(u32);

impl Default for Bitrate {
    /// 2.5 Mbit/s: a screen of 1280x720 at 30 pictures a second, legible.
    fn default() -> Self {
        Bitrate(2_500_000)
    }
}

impl Bitrate {
    /// The least that any video encoder here makes a readable slide of.
    pub const LEAST: Bitrate = Bitrate(50_000);
    /// The most: more than a gigabit network carries to ten students.
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
        // In range by the line above, so nothing is cut but a fraction of a bit.
        Ok(Bitrate(bits as u32))
    }
}

impl fmt::Display for Bitrate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}k", self.kbps())
    }
}

/// A time in which a network loses more: `20%@5s+2s`, and again every ten seconds with `/10s` behind it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Burst {
    /// The share of packets that is lost, 0 to 1.
    pub loss: f64,
    /// When it begins, after measuring did.
    pub at: Duration,
    /// How long it lasts.
    pub length: Duration,
    /// How long after its begin it comes again; longer than it lasts.
    pub every: Option<Duration>,
}

impl FromStr for Burst {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        const EXAMPLE: &str = "is not a burst, for example 20%@5s+2s: the share, when, for how long";
        let (loss, time) = text.split_once('@').ok_or(EXAMPLE)?;
        let (at, length) = time.split_once('+').ok_or(EXAMPLE)?;
        let (length, every) = length.split_once('/').map_or((length, None), |(length, every)| (length, Some(every)));
        let every = every.map(duration).transpose()?;
        let burst = Burst { loss: percent(loss)?, at: duration(at)?, length: duration(length)?, every };
        if burst.length.is_zero() || every.is_some_and(|every| every <= burst.length) {
            return Err("has no length, or a longer one than its period, for example 20%@5s+2s/10s".into());
        }
        Ok(burst)
    }
}

/// A server that a flag or the environment names; `CLASSROOM_SERVER=` in a shell means none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TypedServer(pub(super) Option<ServerUrl>);

impl FromStr for TypedServer {
    type Err = ServerUrlError;
    fn from_str(text: &str) -> Result<Self, ServerUrlError> {
        let named = !text.trim().is_empty();
        named.then(|| text.parse()).transpose().map(TypedServer)
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
            _ => Err("is not a sink, give window, null or a file name that ends in .mkv".into()),
        }
    }
}

/// `ADDR:PORT`, `ADDR`, `:PORT` or `PORT`; a missing address means every interface.
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

/// `10s`, `1m30s`, `1h`, `500ms`, `1.5s`.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    const EXAMPLE: &str = "is not a duration, for example 10s, 1m30s or 500ms";
    if decimal(text).is_some() {
        return Err("has no unit, for example 10s, 1m30s or 500ms".into());
    }
    let mut rest = text;
    let mut seconds = 0.0;
    let mut coarser = f64::INFINITY;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !(c.is_ascii_digit() || c == '.')).ok_or(EXAMPLE)?;
        let (number, after) = rest.split_at(digits);
        let letters = after.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(after.len());
        let (unit, after) = after.split_at(letters);
        let unit = match unit {
            "ms" => 0.001,
            "s" => 1.0,
            "m" | "min" => 60.0,
            "h" => 3600.0,
            _ => return Err(EXAMPLE.into()),
        };
        // Once each and the larger first, so that a slip as in `1s30m` is not taken for half an hour.
        if unit >= coarser {
            return Err(EXAMPLE.into());
        }
        coarser = unit;
        seconds += decimal(number).ok_or(EXAMPLE)? * unit;
        rest = after;
    }
    if text.is_empty() {
        return Err(EXAMPLE.into());
    }
    const LONGEST_HOURS: f64 = 24.0 * 365.0;
    if seconds > LONGEST_HOURS * 3600.0 {
        return Err("is longer than a year".into());
    }
    Ok(Duration::from_secs_f64(seconds))
}

/// A number of threads: more than there are cores in any machine is a slip of the finger.
pub(super) fn workers(text: &str) -> Result<NonZeroUsize, String> {
    const MOST: usize = 64;
    match text.parse::<NonZeroUsize>() {
        Ok(workers) if workers.get() <= MOST => Ok(workers),
        _ => Err(format!("give a number of threads from 1 to {MOST}, not more than there are cores")),
    }
}

/// A share of packets: the sign must be there, as `5` could be meant either way.
pub(super) fn percent(text: &str) -> Result<f64, String> {
    match text.strip_suffix('%').and_then(decimal) {
        Some(percent) if percent <= 100.0 => Ok(percent / 100.0),
        _ => Err("is not a share, give 0% to 100%, for example 5%".into()),
    }
}

/// What a line carries: a modem's rate to that of the cable of this machine.
pub(super) fn line_rate(text: &str) -> Result<u32, String> {
    match bits(text).ok_or("is not a bit rate, for example 600k or 1.5M")? {
        rate if (10e3..=1e9).contains(&rate) => Ok(rate as u32),
        _ => Err("is out of range, give 10k to 1000M bits per second".into()),
    }
}

/// A delay of a network, or how long its queue is: beyond ten seconds everybody has given up.
pub(super) fn network_delay(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        delay if delay > Duration::from_secs(10) => Err("is more than 10s".into()),
        delay => Ok(delay),
    }
}

/// How long to measure: what is shorter than a second says nothing.
pub(super) fn bench_length(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        length if length < Duration::from_secs(1) => Err("is too short to measure, give 1s or more".into()),
        length => Ok(length),
    }
}

/// How often a bench's key frames come.
pub(super) fn key_every(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        often if often < Duration::from_secs(1) => Err("is too often for a key frame, give 1s or more".into()),
        often => Ok(often),
    }
}

/// How many students to measure with: each has a UDP port of its own, and a machine has some 28,000 to give.
pub(super) fn bench_students(text: &str) -> Result<NonZeroUsize, String> {
    const MOST: usize = 10_000;
    match text.parse::<NonZeroUsize>() {
        Ok(students) if students.get() <= MOST => Ok(students),
        _ => Err(format!("is not a number of students, give 1 to {MOST}")),
    }
}

/// `auto`, `80`, `80ms` or `40..200`: the flag is in milliseconds, so a bare number is one too.
pub(super) fn latency(text: &str) -> Result<Latency, String> {
    if text == "auto" {
        return Ok(Latency::AUTO);
    }
    let Some((least, most)) = text.split_once("..") else { return milliseconds(text).map(Latency::Fixed) };
    let (least, most) = (milliseconds(least)?, milliseconds(most)?);
    if least > most {
        return Err("ends before it begins, give the smaller number first, for example 40..200".into());
    }
    if most > MAX_DELAY {
        return Err(format!(
            "adapts to {} milliseconds at most; only a fixed one can be longer, for example 1000",
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
            .map_err(|_| "is neither auto nor a number of milliseconds such as 80 nor a range such as 40..200")?,
    };
    if time > MOST {
        return Err("is more than 5000 milliseconds".into());
    }
    Ok(time)
}

/// A codec for pictures.
pub(super) fn video_codec(text: &str) -> Result<Codec, String> {
    match text.to_ascii_lowercase().as_str() {
        "h264" | "h.264" => Ok(Codec::H264),
        "vp8" => Ok(Codec::Vp8),
        _ => Err("is not a codec for pictures, give h264 or vp8".into()),
    }
}

/// Bits per second, with `k` or `M` behind them.
fn bits(text: &str) -> Option<f64> {
    let (number, unit) = match text.strip_suffix(['k', 'K']) {
        Some(number) => (number, 1e3),
        None => text.strip_suffix(['m', 'M']).map_or((text, 1.0), |number| (number, 1e6)),
    };
    Some(decimal(number)? * unit)
}

/// `full,low`, `full`, `low`, `full,low=300k`.
pub(super) fn tiers(text: &str) -> Result<Tiers, String> {
    let (mut full, mut low) = (false, None);
    for part in text.split(',') {
        let (name, rate) = part.split_once('=').map_or((part, None), |(name, rate)| (name, Some(rate)));
        match (name.trim().to_ascii_lowercase().as_str(), rate) {
            ("full", None) if !full => full = true,
            ("full", Some(_)) => return Err("gives the full tier a rate, which only --bitrate sets".into()),
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
        // At least one part was understood.
        (_, None) => Tiers::Full,
    })
}

/// `text`, `film`.
pub(super) fn content(text: &str) -> Result<Content, String> {
    match text.to_ascii_lowercase().as_str() {
        "text" => Ok(Content::Text),
        "film" => Ok(Content::Film),
        _ => Err("is not a kind of content, give text or film".into()),
    }
}

/// A number such as `25`, `2.5`: no sign, no exponent, no `inf` or `NaN`.
pub(crate) fn decimal(text: &str) -> Option<f64> {
    let plain = text.bytes().all(|b| b.is_ascii_digit() || b == b'.') && text.bytes().any(|b| b.is_ascii_digit());
    plain.then(|| text.parse().ok()).flatten()
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
    fn durations() {
        for (text, ms) in
            [("10s", 10_000), ("1m30s", 90_000), ("500ms", 500), ("1.5s", 1500), ("1h", 3_600_000), ("0s", 0)]
        {
            assert_eq!(duration(text).unwrap(), Duration::from_millis(ms), "{text}");
        }
        for text in ["", "10", "s", "1s30m", "1s1s", "10 s", "-1s", "1y", "99999h", "1..5s"] {
            assert!(duration(text).is_err(), "{text}");
        }
        assert!(duration("10").unwrap_err().contains("no unit"));
        assert_eq!(milliseconds("80").unwrap(), Duration::from_millis(80));
        assert!(milliseconds("6000").is_err());
    }

    #[test]
    fn bad_networks() {
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
    fn an_empty_server_is_none() {
        assert_eq!("".parse(), Ok(TypedServer(None)));
        assert_eq!("a:1".parse(), Ok(TypedServer(Some(ServerUrl::new("a", 1)))));
        assert!("wss://a".parse::<TypedServer>().is_err());
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
