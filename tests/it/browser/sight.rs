//! What a person in front of a page sees and hears.

use std::process::Command;
use std::sync::OnceLock;

use serde_json::Value;

use super::driver::Page;
use crate::support::{Picture, lecture_file, run_tool};

/// The large video.
pub const SCREEN: &str = "#screen video";

/// How much a shown frame may differ from the file's: the counter and the ball move, codecs blur.
const SAME: f64 = 12.0;

/// How many seconds of audio to measure.
const LISTENS: f64 = 1.0;

/// The mean power of audio with speech: -50 dB of full scale. Silence is 0.
const SPEAKS: f64 = 1e-5;

impl Page<'_> {
    /// Waits until the video moves and shows the lecture file.
    #[track_caller]
    pub fn sees_the_lecture(&self) {
        self.sees_moving(SCREEN);
        let lecture = picture_of_lecture();
        let look = format!("witness.picture('{SCREEN}', {}, {})", Picture::SIZE.0, Picture::SIZE.1);
        self.wait("picture of the lecture file", &look, |points| {
            picture(points).is_some_and(|seen| seen.distance(&lecture) < SAME)
        });
        // A browser that is busy starting may get the low tier for a moment.
        self.wait("picture in the size of the file", &format!("witness.video('{SCREEN}')"), |size| {
            (&size["width"], &size["height"]) == (&640.into(), &360.into())
        });
    }

    /// Waits until a video has advanced by ten frames.
    #[track_caller]
    pub fn sees_moving(&self, video: &str) {
        let frames = |value: &Value| value["frames"].as_u64().unwrap_or(0);
        let look = format!("witness.video('{video}')");
        let from = frames(&self.value(&look));
        self.wait(&format!("moving picture in {video}"), &look, |value| frames(value) >= from + 10);
    }

    /// Waits for a second of audio that is not silent.
    #[track_caller]
    pub fn hears_the_lecture(&self) {
        let number = |value: &Value, field: &str| value[field].as_f64().unwrap_or(0.0);
        let mut from: Option<(f64, f64)> = None;
        let mut heard = |value: &Value| {
            let (energy, seconds) = (number(value, "energy"), number(value, "seconds"));
            let (energy_before, seconds_before) = *from.get_or_insert((energy, seconds));
            let for_long = seconds - seconds_before;
            // The voice pauses between sentences, so another second may be louder.
            if for_long >= LISTENS {
                from = Some((energy, seconds));
            }
            for_long >= LISTENS && (energy - energy_before) / for_long > SPEAKS
        };
        let heard = std::cell::RefCell::new(&mut heard);
        self.wait("voice", "witness.sound()", |value| heard.borrow_mut()(value));
    }
}

/// A parsed `witness.picture`.
fn picture(points: &Value) -> Option<Picture> {
    let points = points.as_array()?.iter();
    Some(Picture::of(points.filter_map(|point| u8::try_from(point.as_u64()?).ok()).collect()))
}

/// The first frame of the lecture file, decoded without a network or a browser.
fn picture_of_lecture() -> Picture {
    static POINTS: OnceLock<Vec<u8>> = OnceLock::new();
    let make = || {
        let (across, down) = Picture::SIZE;
        let mut decode = Command::new("gst-launch-1.0");
        decode.args(["--quiet", "filesrc"]).arg(format!("location={}", lecture_file().display()));
        let graph = format!(
            "! matroskademux ! h264parse ! avdec_h264 ! videoconvert ! videoscale method=bilinear2 ! \
             video/x-raw,format=RGB,width={across},height={down},pixel-aspect-ratio=1/1 ! identity eos-after=2 ! fdsink"
        );
        decode.args(graph.split_whitespace());
        let mut points = run_tool(&mut decode);
        // A few more have passed when the end is noticed.
        points.truncate(3 * across * down);
        points
    };
    Picture::of(POINTS.get_or_init(make).clone())
}
