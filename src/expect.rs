//! `--expect 'fps>=25'`: what a script demands of a whole lecture, checked once at its end.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// What can be demanded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Metric {
    /// Decoded pictures per second, the mean from the first one to the end.
    Fps,
    /// Thousands of bits per second received, the mean from the first picture to the end.
    Kbps,
    /// Packets that never came.
    Lost,
    /// Times the picture stood still or was away after the first one, whatever the reason.
    Freezes,
    /// The share of the time that the picture stood still or was away, in percent.
    FreezePercent,
    /// The share of the time that the publisher withheld the picture, in percent; a part of [`Metric::FreezePercent`].
    WithheldPercent,
    /// Width of the last picture in pixels.
    Width,
    /// Height of the last picture in pixels.
    Height,
    /// Milliseconds from when teacher and student were both in the room to the first decoded picture.
    FirstFrameMs,
    /// Milliseconds from the start of the process to the first decoded picture, the wait for server and teacher too.
    StartToFrameMs,
}

impl Metric {
    /// All of them, in the order in which help lists them.
    pub const ALL: [Metric; 10] = [
        Metric::Fps,
        Metric::Kbps,
        Metric::Lost,
        Metric::Freezes,
        Metric::FreezePercent,
        Metric::WithheldPercent,
        Metric::Width,
        Metric::Height,
        Metric::FirstFrameMs,
        Metric::StartToFrameMs,
    ];

    /// The name that is typed.
    pub fn name(self) -> &'static str {
        match self {
            Metric::Fps => "fps",
            Metric::Kbps => "kbps",
            Metric::Lost => "lost",
            Metric::Freezes => "freezes",
            Metric::FreezePercent => "freeze_percent",
            Metric::WithheldPercent => "withheld_percent",
            Metric::Width => "width",
            Metric::Height => "height",
            Metric::FirstFrameMs => "first_frame_ms",
            Metric::StartToFrameMs => "start_to_frame_ms",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Comparison {
    AtLeast,
    AtMost,
    More,
    Less,
    Equal,
}

impl Comparison {
    // The longer ones first: `>=` also starts with `>`.
    const ALL: [Comparison; 5] =
        [Comparison::AtLeast, Comparison::AtMost, Comparison::Equal, Comparison::More, Comparison::Less];

    fn sign(self) -> &'static str {
        match self {
            Comparison::AtLeast => ">=",
            Comparison::AtMost => "<=",
            Comparison::Equal => "==",
            Comparison::More => ">",
            Comparison::Less => "<",
        }
    }

    fn holds(self, value: f64, bound: f64) -> bool {
        match self {
            Comparison::AtLeast => value >= bound,
            Comparison::AtMost => value <= bound,
            Comparison::More => value > bound,
            Comparison::Less => value < bound,
            // Fractions come from a mean, where bit-for-bit equality would be luck.
            Comparison::Equal => (value - bound).abs() < 1e-6,
        }
    }
}

/// One demand, for example `fps>=25`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Expectation {
    metric: Metric,
    comparison: Comparison,
    bound: f64,
}

impl Expectation {
    /// What it is about.
    pub fn metric(&self) -> Metric {
        self.metric
    }

    /// Whether the run was as expected; if not, a sentence with what it was instead.
    pub fn check(&self, run: &Run) -> Result<(), String> {
        match run.value(self.metric) {
            Some(value) if self.comparison.holds(value, self.bound) => Ok(()),
            Some(value) => Err(format!("expected {self}, it was {}", short(value))),
            None => Err(format!("expected {self}, but no picture ever came")),
        }
    }
}

impl FromStr for Expectation {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let (name, comparison, bound) = Comparison::ALL
            .into_iter()
            .find_map(|comparison| text.split_once(comparison.sign()).map(|(name, bound)| (name, comparison, bound)))
            .ok_or("is not an expectation, for example 'fps>=25' (in quotes), with >=, <=, >, < or ==")?;
        let name = name.trim();
        let metric = Metric::ALL
            .into_iter()
            .find(|metric| metric.name() == name)
            .ok_or_else(|| format!("is about {name:?}, give {}", Metric::ALL.map(Metric::name).join(", ")))?;
        let bound = bound.trim();
        let bound: f64 = bound
            .bytes()
            .all(|b| b.is_ascii_digit() || b == b'.')
            .then(|| bound.parse().ok())
            .flatten()
            .ok_or_else(|| format!("ends in {bound:?}, which is not a number"))?;
        Ok(Expectation { metric, comparison, bound })
    }
}

impl fmt::Display for Expectation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}{}", self.metric.name(), self.comparison.sign(), short(self.bound))
    }
}

/// A whole run of one track, from joining to the end: the screen, or the camera where no screen is taught.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Run {
    /// Pictures that were decoded.
    pub frames: u64,
    /// Bytes of RTP that were received from the first picture on.
    pub bytes: u64,
    /// Packets that never came.
    pub lost: u64,
    /// Times the picture stood still or was away after the first one, whatever the reason.
    pub freezes: u64,
    /// The time that it stood still or was away.
    pub frozen: Duration,
    /// The part of that time in which the publisher withheld it.
    pub withheld: Duration,
    /// Width and height of the last picture in pixels.
    pub size: Option<(u32, u32)>,
    /// From when teacher and student were both in the room to the first decoded picture.
    pub first_frame: Option<Duration>,
    /// From the start of the process to the first decoded picture.
    pub start_to_frame: Option<Duration>,
    /// From the first decoded picture to the end.
    pub live: Duration,
}

impl Run {
    /// The value of a metric over the whole run; none when there is nothing to measure, because no picture came.
    pub fn value(&self, metric: Metric) -> Option<f64> {
        // `lost==0` must not hold because nothing came at all.
        if self.frames == 0 {
            return None;
        }
        let seconds = self.live.as_secs_f64();
        let mean = |count: f64| if seconds > 0.0 { count / seconds } else { 0.0 };
        match metric {
            // Between n pictures are n - 1 intervals: a short run would else look faster than it was.
            Metric::Fps => Some(mean(self.frames.saturating_sub(1) as f64)),
            Metric::Kbps => Some(mean(self.bytes as f64 * 8.0 / 1000.0)),
            Metric::Lost => Some(self.lost as f64),
            Metric::Freezes => Some(self.freezes as f64),
            Metric::FreezePercent => Some(mean(self.frozen.as_secs_f64() * 100.0)),
            Metric::WithheldPercent => Some(mean(self.withheld.as_secs_f64() * 100.0)),
            Metric::Width => self.size.map(|(width, _)| width.into()),
            Metric::Height => self.size.map(|(_, height)| height.into()),
            Metric::FirstFrameMs => self.first_frame.map(|after| after.as_secs_f64() * 1000.0),
            Metric::StartToFrameMs => self.start_to_frame.map(|after| after.as_secs_f64() * 1000.0),
        }
    }
}

/// Checks all expectations; the sentences of those that were not met.
pub fn unmet(expectations: &[Expectation], run: &Run) -> Vec<String> {
    expectations.iter().filter_map(|expectation| expectation.check(run).err()).collect()
}

fn short(value: f64) -> String {
    if value.fract() == 0.0 { format!("{value:.0}") } else { format!("{value:.1}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run() -> Run {
        Run {
            frames: 301,
            bytes: 3_125_000,
            lost: 0,
            freezes: 1,
            frozen: Duration::from_millis(250),
            withheld: Duration::from_millis(100),
            size: Some((1280, 720)),
            first_frame: Some(Duration::from_millis(280)),
            start_to_frame: Some(Duration::from_secs(61)),
            live: Duration::from_secs(10),
        }
    }

    #[test]
    fn what_is_typed_is_what_is_printed() {
        for text in
            ["fps>=25", "lost==0", "first_frame_ms<300", "kbps>100.5", "freezes<=1", "freeze_percent<1", "width==1280"]
        {
            assert_eq!(text.parse::<Expectation>().unwrap().to_string(), text);
        }
        assert_eq!(" fps >= 25 ".parse::<Expectation>().unwrap().to_string(), "fps>=25");
    }

    #[test]
    fn nonsense_is_refused_with_what_would_be_right() {
        let refused = |text: &str| text.parse::<Expectation>().unwrap_err();
        assert!(refused("fps").contains("for example 'fps>=25'"));
        assert!(refused("fsp>=25").contains("fps, kbps, lost"));
        assert!(refused("fps>=fast").contains("not a number"));
        for text in ["", ">=", "fps>=", "fps>=-1", "fps>=NaN", "fps=>25", "fps>=1>=2", "fps=25"] {
            assert!(text.parse::<Expectation>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_run_is_measured_from_its_first_picture() {
        assert_eq!(run().value(Metric::Fps), Some(30.0));
        assert_eq!(run().value(Metric::Kbps), Some(2500.0));
        assert_eq!(run().value(Metric::FirstFrameMs), Some(280.0));
        assert_eq!(run().value(Metric::StartToFrameMs), Some(61_000.0));
        assert_eq!(run().value(Metric::FreezePercent), Some(2.5));
        assert_eq!(run().value(Metric::WithheldPercent), Some(1.0));
    }

    #[test]
    fn what_is_unmet_is_named_with_what_it_was() {
        let expectations: Vec<Expectation> =
            ["fps>=25", "fps>30", "freezes==0", "lost<1", "height>=720"].map(|text| text.parse().unwrap()).to_vec();
        assert_eq!(unmet(&expectations, &run()), ["expected fps>30, it was 30", "expected freezes==0, it was 1"]);
    }

    #[test]
    fn without_a_picture_nothing_passes_by_accident() {
        let nothing = Run::default();
        let texts =
            ["fps>=0", "lost==0", "freezes==0", "withheld_percent<1", "first_frame_ms<9", "start_to_frame_ms<9"];
        for text in texts {
            let sentence = text.parse::<Expectation>().unwrap().check(&nothing).unwrap_err();
            assert!(sentence.ends_with("but no picture ever came"), "{sentence}");
        }
    }
}
