//! `--expect 'fps>=25'`: conditions for a whole lecture, call or meeting, checked once at its end.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// A number that an expectation compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Metric {
    /// Decoded pictures per second, the mean from the first picture to the end.
    Fps,
    /// Received kbit/s, the mean from the first picture to the end.
    Kbps,
    /// Packets that never arrived.
    Lost,
    /// How often the picture froze or was missing after the first picture, for any reason.
    Freezes,
    /// The share of the time in which the picture was frozen or missing, in percent.
    FreezePercent,
    /// The share of the time in which the publisher withheld the picture, in percent; part of
    /// [`Metric::FreezePercent`].
    WithheldPercent,
    /// The width of the last picture in pixels.
    Width,
    /// The height of the last picture in pixels.
    Height,
    /// Milliseconds from the moment when teacher and student were both in the room to the first decoded picture.
    FirstFrameMs,
    /// Milliseconds from the start of the process to the first decoded picture, including the wait for server and
    /// teacher.
    StartToFrameMs,
    /// The most other participants at one time whose picture or sound arrived.
    Participants,
}

impl Metric {
    /// All metrics, in the order of the help text.
    pub const ALL: [Metric; 11] = [
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
        Metric::Participants,
    ];

    /// Those of a lecture.
    pub const OF_LECTURE: [Metric; 10] = [
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

    /// Those of a call or a meeting.
    pub const OF_CONFERENCE: [Metric; 7] = [
        Metric::Fps,
        Metric::Lost,
        Metric::Freezes,
        Metric::FreezePercent,
        Metric::Width,
        Metric::Height,
        Metric::Participants,
    ];

    /// The name on the command line.
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
            Metric::Participants => "participants",
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
    // `>=` also contains `>`, so the longer signs come first.
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
            // Means are rounded, so exact equality would fail by chance.
            Comparison::Equal => (value - bound).abs() < 1e-6,
        }
    }
}

/// One condition, for example `fps>=25`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Expectation {
    metric: Metric,
    comparison: Comparison,
    bound: f64,
}

impl Expectation {
    /// The metric that this condition compares.
    pub fn metric(&self) -> Metric {
        self.metric
    }

    /// Checks the condition with the value of its metric; `None` if no picture arrived.
    ///
    /// # Errors
    /// A sentence with the expected and the actual value.
    pub fn check(&self, value: Option<f64>) -> Result<(), String> {
        match value {
            Some(value) if self.comparison.holds(value, self.bound) => Ok(()),
            Some(value) => Err(format!("expected {self}, but it was {}", short(value))),
            None => Err(format!("expected {self}, but no picture arrived")),
        }
    }
}

impl Expectation {
    /// Parses a condition about one of these metrics.
    ///
    /// # Errors
    /// A sentence that helps.
    pub fn about(metrics: &[Metric], text: &str) -> Result<Self, String> {
        let (name, comparison, bound) = Comparison::ALL
            .into_iter()
            .find_map(|comparison| text.split_once(comparison.sign()).map(|(name, bound)| (name, comparison, bound)))
            .ok_or("is not an expectation, for example 'fps>=25' (in quotes), with >=, <=, >, < or ==")?;
        let name = name.trim();
        let metric = metrics.iter().copied().find(|metric| metric.name() == name).ok_or_else(|| {
            let names: Vec<&str> = metrics.iter().map(|metric| metric.name()).collect();
            format!("has no metric {name:?}, give one of {}", names.join(", "))
        })?;
        let bound = bound.trim();
        let bound = decimal(bound).ok_or_else(|| format!("ends in {bound:?}, which is not a number"))?;
        Ok(Expectation { metric, comparison, bound })
    }
}

impl FromStr for Expectation {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        Self::about(&Metric::ALL, text)
    }
}

impl fmt::Display for Expectation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}{}", self.metric.name(), self.comparison.sign(), short(self.bound))
    }
}

/// What a student received of one video track, from joining to the end: of the screen, or of the camera if there is no
/// screen.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Run {
    /// Decoded pictures.
    pub frames: u64,
    /// Bytes of RTP received since the first picture.
    pub bytes: u64,
    /// Packets that never arrived.
    pub lost: u64,
    /// How often the picture froze or was missing after the first picture, for any reason.
    pub freezes: u64,
    /// The time in which the picture was frozen or missing.
    pub frozen: Duration,
    /// The part of `frozen` in which the publisher withheld the picture.
    pub withheld: Duration,
    /// Width and height of the last picture in pixels.
    pub size: Option<(u32, u32)>,
    /// From the moment when teacher and student were both in the room to the first decoded picture.
    pub first_frame: Option<Duration>,
    /// From the start of the process to the first decoded picture.
    pub start_to_frame: Option<Duration>,
    /// From the first decoded picture to the end.
    pub live: Duration,
}

impl Run {
    /// The value of a metric over the whole run; `None` if no picture arrived.
    pub fn value(&self, metric: Metric) -> Option<f64> {
        // Otherwise `lost==0` would hold for a run that received nothing.
        if self.frames == 0 {
            return None;
        }
        let seconds = self.live.as_secs_f64();
        let mean = |count: f64| if seconds > 0.0 { count / seconds } else { 0.0 };
        match metric {
            // n pictures span n - 1 intervals. Dividing n by the time would flatter a short run.
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
            // A lecture has one publisher.
            Metric::Participants => None,
        }
    }
}

/// Checks all expectations and returns the sentences of those that were not met. `value` gives the value of a metric.
pub fn unmet(expectations: &[Expectation], value: impl Fn(Metric) -> Option<f64>) -> Vec<String> {
    expectations.iter().filter_map(|expectation| expectation.check(value(expectation.metric)).err()).collect()
}

/// Parses a number such as `25` or `2.5`, without a sign, an exponent, `inf` or `NaN`.
pub(crate) fn decimal(text: &str) -> Option<f64> {
    let plain = text.bytes().all(|b| b.is_ascii_digit() || b == b'.') && text.bytes().any(|b| b.is_ascii_digit());
    plain.then(|| text.parse().ok()).flatten()
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
    fn an_expectation_prints_as_it_was_typed() {
        for text in
            ["fps>=25", "lost==0", "first_frame_ms<300", "kbps>100.5", "freezes<=1", "freeze_percent<1", "width==1280"]
        {
            assert_eq!(text.parse::<Expectation>().unwrap().to_string(), text);
        }
        assert_eq!(" fps >= 25 ".parse::<Expectation>().unwrap().to_string(), "fps>=25");
    }

    #[test]
    fn invalid_expectations_are_refused_with_an_example() {
        let refused = |text: &str| text.parse::<Expectation>().unwrap_err();
        assert!(refused("fps").contains("for example 'fps>=25'"));
        assert!(refused("fsp>=25").contains("fps, kbps, lost"));
        assert!(refused("fps>=fast").contains("not a number"));
        let lecture = |text: &str| Expectation::about(&Metric::OF_LECTURE, text);
        assert!(lecture("fps>=25").is_ok() && lecture("participants>=2").unwrap_err().contains("fps, kbps"));
        assert!(Expectation::about(&Metric::OF_CONFERENCE, "kbps>=1").unwrap_err().contains("participants"));
        for text in ["", ">=", "fps>=", "fps>=-1", "fps>=NaN", "fps=>25", "fps>=1>=2", "fps=25"] {
            assert!(text.parse::<Expectation>().is_err(), "{text}");
        }
    }

    #[test]
    fn means_are_taken_from_the_first_picture_on() {
        assert_eq!(run().value(Metric::Fps), Some(30.0));
        assert_eq!(run().value(Metric::Kbps), Some(2500.0));
        assert_eq!(run().value(Metric::FirstFrameMs), Some(280.0));
        assert_eq!(run().value(Metric::StartToFrameMs), Some(61_000.0));
        assert_eq!(run().value(Metric::FreezePercent), Some(2.5));
        assert_eq!(run().value(Metric::WithheldPercent), Some(1.0));
    }

    #[test]
    fn unmet_expectations_are_named_with_the_actual_value() {
        let expectations: Vec<Expectation> =
            ["fps>=25", "fps>30", "freezes==0", "lost<1", "height>=720"].map(|text| text.parse().unwrap()).to_vec();
        let sentences = ["expected fps>30, but it was 30", "expected freezes==0, but it was 1"];
        assert_eq!(unmet(&expectations, |metric| run().value(metric)), sentences);
    }

    #[test]
    fn without_a_picture_no_expectation_is_met() {
        let nothing = Run::default();
        let texts =
            ["fps>=0", "lost==0", "freezes==0", "withheld_percent<1", "first_frame_ms<9", "start_to_frame_ms<9"];
        for text in texts {
            let expectation = text.parse::<Expectation>().unwrap();
            let sentence = expectation.check(nothing.value(expectation.metric())).unwrap_err();
            assert!(sentence.ends_with("but no picture arrived"), "{sentence}");
        }
    }
}
