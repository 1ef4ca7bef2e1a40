//! The CPU cost of tiers, as a table: `cargo test --test it tiers::cost -- --ignored --nocapture`.

use std::time::Instant;

use super::*;

/// The duration of each measurement.
const SPAN: Duration = Duration::from_secs(10);

/// The CPU time of this process in seconds (proc(5), stat: utime and stime in units of 10 ms).
fn cpu() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / 100.0
}

#[test]
#[ignore = "measures for a minute, for people"]
fn encoder_cost_by_tiers_in_use() {
    let vp8 = Encoding { codec: Codec::Vp8, ..FULL };
    let both = CaptureOptions { screen: CaptureOptions::default().screen, ..options() };
    let lecture = Lecture::start(CaptureOptions { sources: Sources::only(MainSource::Demo), ..both });
    println!("the demo, 1280x720 at 30 fps and 2.5 Mbit/s, for {} s each", SPAN.as_secs());
    let sets: [(&str, &[Encoding]); 6] = [
        ("none", &[]),
        ("full", &[FULL]),
        ("low", &[LOW]),
        ("full, low", &[FULL, LOW]),
        ("full, low, full VP8", &[FULL, LOW, vp8]),
        ("full, low, full VP8, low VP8", &[FULL, LOW, vp8, Encoding { tier: Tier::Low, ..vp8 }]),
    ];
    for (name, needed) in sets {
        for encoding in lecture.capture.encodings() {
            lecture.capture.need(encoding, needed.contains(&encoding));
        }
        for encoding in needed {
            let before = lecture.frames(*encoding).len();
            lecture.until_frames(*encoding, before + 5);
        }
        let from: Vec<usize> = needed.iter().map(|encoding| lecture.frames(*encoding).len()).collect();
        let (began, used) = (Instant::now(), cpu());
        std::thread::sleep(SPAN);
        let seconds = began.elapsed().as_secs_f64();
        let percent = (cpu() - used) / seconds * 100.0;
        let rates = needed.iter().zip(from).map(|(encoding, from)| {
            let frames = lecture.frames(*encoding);
            let bytes: usize = frames[from..].iter().map(Frame::bytes).sum();
            let ms = lecture.capture.encode_ms(*encoding).unwrap_or_default();
            let (fps, kbps) = ((frames.len() - from) as f64 / seconds, bytes as f64 * 0.008 / seconds);
            format!("{encoding} {} {fps:.1} fps {kbps:.0} kbit/s {ms:.1} ms", encoding.codec)
        });
        println!("{name:28} {percent:5.1} % of a core   {}", rates.collect::<Vec<_>>().join(", "));
    }
}
