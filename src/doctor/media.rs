//! What this computer captures and encodes.

use std::time::Duration;

use super::Check;
use crate::exit::Exit;
use crate::media::Size;

/// The rate of the default encoding.
const FPS: u32 = 30;

/// Below this share of the requested pictures a camera is slow: in a dark room it exposes longer.
const SLOW_CAMERA: f64 = 0.5;

/// The loudest sample of a silent microphone, in decibels below full scale.
const SILENCE_DB: f64 = -70.0;

/// The speed of the encoder that `teach` would use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EncoderSpeed {
    /// The name for users, such as x264.
    pub label: &'static str,
    /// The size of the pictures.
    pub size: Size,
    /// The time for one picture.
    pub each: Duration,
}

/// The encoder, measured at several sizes, the largest last; empty if none works.
pub fn encoder(speeds: &[EncoderSpeed]) -> Check {
    let Some(first) = speeds.first() else {
        let next = "run bin/setup, or install gstreamer1.0-plugins-ugly";
        return Check::problem("encoder", Exit::NothingToCapture, "no H.264 encoder works", next);
    };
    let interval = Duration::from_secs(1) / FPS;
    let words = |speed: &EncoderSpeed| {
        let ms = |time: Duration| time.as_secs_f64() * 1e3;
        format!("{:.0} of {:.0} ms a picture at {}", ms(speed.each), ms(interval), speed.size)
    };
    let all: Vec<String> = speeds.iter().map(words).collect();
    let found = format!("{}: {}", first.label, all.join(", "));
    // Half of the time is left to the capture and to other programs.
    let fits = |speed: &&EncoderSpeed| speed.each * 2 <= interval;
    match (speeds.iter().rev().find(fits), speeds.last()) {
        (Some(best), Some(last)) if best == last => Check::ok("encoder", found),
        (Some(best), _) => Check::advice("encoder", found, format!("teach with --size {}", best.size)),
        (None, _) => Check::advice("encoder", found, format!("teach with --size {} --fps 10", first.size)),
    }
}

/// Whether there is anything to teach with.
pub fn sources(screens: usize, cameras: usize, microphones: usize) -> Check {
    let found = format!(
        "{screens} {}, {cameras} {}, {microphones} {}",
        plural(screens, "screen", "screens"),
        plural(cameras, "camera", "cameras"),
        plural(microphones, "microphone", "microphones")
    );
    match (screens + cameras + microphones, screens, microphones) {
        (0, ..) => {
            let next = "teach --file lecture.mp4 needs none; a screen needs $DISPLAY or $WAYLAND_DISPLAY, a camera \
                        /dev/video* and membership in the group video";
            Check::problem("sources", Exit::NothingToCapture, found, next)
        }
        (_, 0, _) => {
            let next = "to show the screen, start from a terminal of the desktop, where $DISPLAY or $WAYLAND_DISPLAY \
                        is set";
            Check::advice("sources", found, next)
        }
        (_, _, 0) => Check::advice("sources", found, "plug in a microphone, or the class hears nothing"),
        _ => Check::ok("sources", found),
    }
}

fn plural(count: usize, one: &'static str, many: &'static str) -> &'static str {
    if count == 1 { one } else { many }
}

/// A camera that was read for some time: the pictures, or why there are none.
pub fn camera(label: &str, pictures: Result<(u64, Duration), String>) -> Check {
    match pictures {
        Ok((0, _)) => Check::advice("camera", format!("{label} gives no picture"), "plug it in again"),
        Ok((pictures, time)) => {
            let fps = pictures as f64 / time.as_secs_f64();
            let found = format!("{label}: {fps:.0} pictures a second");
            if fps < f64::from(FPS) * SLOW_CAMERA {
                Check::advice("camera", found, "switch on a light: cameras expose longer in the dark")
            } else {
                Check::ok("camera", found)
            }
        }
        Err(cause) => {
            let next = "end the other program that uses it, or join the group video: sudo adduser $USER video";
            Check::advice("camera", format!("{label} can't be read: {cause}"), next)
        }
    }
}

/// The default microphone, read for some time: its loudest sample in decibels below full scale, or the error.
pub fn microphone(label: &str, peak_db: Result<f64, String>) -> Check {
    match peak_db {
        Ok(peak) if peak > SILENCE_DB => Check::ok("microphone", format!("{label}: up to {peak:.0} dB")),
        Ok(_) => Check::advice(
            "microphone",
            format!("{label} is silent"),
            "switch it on, raise its level in the settings of the desktop, and speak while this runs",
        ),
        Err(cause) => {
            let next = "choose another one in the settings of the desktop, or name it: teach --mic=NAME";
            Check::advice("microphone", format!("{label} can't be read: {cause}"), next)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    fn speed(height: u32, ms: u64) -> EncoderSpeed {
        let size = Size { width: height * 16 / 9, height };
        EncoderSpeed { label: "x264", size, each: Duration::from_millis(ms) }
    }

    #[test]
    fn the_largest_size_that_fits_is_advised() {
        assert_eq!(encoder(&[]).exit, Exit::NothingToCapture);
        assert_eq!(encoder(&[speed(720, 5), speed(1080, 12)]).verdict, Verdict::Ok);
        let slow = encoder(&[speed(720, 10), speed(1080, 25)]);
        assert_eq!(slow.next.as_deref(), Some("teach with --size 1280x720"));
        assert_eq!(slow.found, "x264: 10 of 33 ms a picture at 1280x720, 25 of 33 ms a picture at 1920x1080");
        let slower = encoder(&[speed(720, 30), speed(1080, 60)]);
        assert_eq!(slower.next.as_deref(), Some("teach with --size 1280x720 --fps 10"));
    }

    #[test]
    fn a_lecture_needs_one_source() {
        assert_eq!(sources(0, 0, 0).exit, Exit::NothingToCapture);
        assert_eq!(sources(1, 0, 1).verdict, Verdict::Ok);
        assert_eq!(sources(1, 1, 0).verdict, Verdict::Advice);
        assert_eq!(sources(0, 1, 1).verdict, Verdict::Advice);
        assert_eq!(sources(1, 0, 2).found, "1 screen, 0 cameras, 2 microphones");
    }

    #[test]
    fn a_dark_camera_and_a_silent_microphone_are_named() {
        let two = Duration::from_secs(2);
        assert_eq!(camera("C920", Ok((60, two))).found, "C920: 30 pictures a second");
        assert_eq!(camera("C920", Ok((15, two))).verdict, Verdict::Advice);
        assert!(camera("C920", Ok((0, two))).found.contains("no picture"));
        assert!(camera("C920", Err("busy".into())).found.contains("busy"));
        assert_eq!(microphone("Blue", Ok(-23.0)).verdict, Verdict::Ok);
        assert!(microphone("Blue", Ok(f64::NEG_INFINITY)).found.contains("silent"));
        assert!(microphone("Blue", Err("busy".into())).found.contains("busy"));
    }
}
