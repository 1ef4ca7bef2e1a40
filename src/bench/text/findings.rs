//! What a student saw of each scene, as a table and as an object for scripts.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::board::Shown;
use super::lesson::{Kind, SCENES};
use super::student::Seen;
use crate::rtp::Tier;

/// Text is legible from this PSNR on, in dB.
const LEGIBLE_DB: f64 = 38.0;

/// The end of the last scene, in which the picture has been still for a while.
pub(super) const STILL: Duration = Duration::from_secs(3);

/// A frame that an encoder gave.
#[derive(Debug, Clone, Copy)]
pub(super) struct EncodedFrame {
    pub(super) at: Instant,
    pub(super) tier: Tier,
    pub(super) key: bool,
    pub(super) bytes: usize,
}

/// CPU time up to an instant.
#[derive(Debug, Clone, Copy)]
pub(super) struct CpuSample {
    pub(super) at: Instant,
    pub(super) encoders: Duration,
    /// The thread that captures, which draws the lesson here.
    pub(super) capture: Duration,
}

/// All that was measured.
#[derive(Debug)]
pub(super) struct Measured {
    pub(super) title: String,
    /// When each scene was drawn first.
    pub(super) scenes: Vec<(usize, Instant)>,
    pub(super) end: Instant,
    /// The tier that is offered first.
    pub(super) best: Tier,
    pub(super) seen: Seen,
    /// A student that joined while the last page was still, and when it made its offer.
    pub(super) joined: (Instant, Seen),
    pub(super) encoded: Vec<EncodedFrame>,
    pub(super) cpu: Vec<CpuSample>,
}

/// One scene. Values that were not measured are NaN, which becomes null in JSON.
#[derive(Debug)]
struct SceneFound {
    name: &'static str,
    is_page: bool,
    tier: Tier,
    /// PSNR of a page 100 ms, 300 ms and 1 s after it was drawn.
    db_after: [f64; 3],
    ssim_after_300_ms: f64,
    /// Until the picture was legible.
    ms_to_legible: Option<u128>,
    /// Mean and least PSNR against the picture that is most alike.
    mean_db: f64,
    least_db: f64,
    /// The age of pictures, for a moving scene.
    age_p50_ms: f64,
    age_p95_ms: f64,
    fps: f64,
    first_kb: f64,
    kbps: f64,
    key_frames: usize,
}

impl Measured {
    fn tier_at(&self, at: Instant) -> Tier {
        let said = self.seen.tiers.iter().rev().find(|(since, _)| *since <= at).and_then(|(_, tier)| *tier);
        said.unwrap_or(self.best)
    }

    fn found(&self) -> Vec<SceneFound> {
        let ends = self.scenes.iter().skip(1).map(|(_, at)| *at).chain([self.end]);
        self.scenes.iter().zip(ends).map(|((n, start), end)| self.scene(*n, *start, end)).collect()
    }

    fn scene(&self, n: usize, start: Instant, end: Instant) -> SceneFound {
        let seconds = end.saturating_duration_since(start).as_secs_f64();
        let is_page = matches!(SCENES[n].kind, Kind::Page(_));
        let of_scene = |shown: &&Shown| (start..end).contains(&shown.at) && shown.scene == n;
        let shown: Vec<&Shown> = self.seen.pictures.iter().filter(of_scene).collect();
        let since = |shown: &Shown| shown.at.saturating_duration_since(start);
        let after = |ms| {
            let until = Duration::from_millis(ms);
            shown.iter().rev().find(|shown| is_page && since(shown) <= until)
        };
        let tier = self.tier_at(end);
        let frames: Vec<&EncodedFrame> =
            self.encoded.iter().filter(|frame| frame.tier == tier && (start..end).contains(&frame.at)).collect();
        let ages = sorted(shown.iter().filter(|_| !is_page).map(|shown| shown.age.as_secs_f64() * 1000.0));
        SceneFound {
            name: SCENES[n].name,
            is_page,
            tier,
            db_after: [100, 300, 1000].map(|ms| after(ms).map_or(f64::NAN, |shown| shown.db)),
            ssim_after_300_ms: after(300).map_or(f64::NAN, |shown| shown.ssim),
            ms_to_legible: shown.iter().find(|shown| shown.db >= LEGIBLE_DB).map(|shown| since(shown).as_millis()),
            mean_db: shown.iter().map(|shown| shown.best_db).sum::<f64>() / shown.len() as f64,
            least_db: shown.iter().map(|shown| shown.best_db).fold(f64::NAN, f64::min),
            age_p50_ms: percentile(&ages, 0.5),
            age_p95_ms: percentile(&ages, 0.95),
            fps: shown.len() as f64 / seconds,
            first_kb: frames.first().map_or(f64::NAN, |frame| frame.bytes as f64 / 1000.0),
            kbps: kbps(frames.iter().copied(), seconds),
            key_frames: frames.iter().filter(|frame| frame.key).count(),
        }
    }

    /// Percent of a core of encoders and of the capture in the last `length` of the lesson, or in all of it.
    fn cpu_percent(&self, length: Option<Duration>) -> [f64; 2] {
        let from = length.and_then(|length| self.end.checked_sub(length));
        let inside =
            self.cpu.iter().filter(|sample| from.is_none_or(|from| sample.at >= from) && sample.at <= self.end);
        let inside: Vec<&CpuSample> = inside.collect();
        let (Some(first), Some(last)) = (inside.first(), inside.last()) else { return [f64::NAN; 2] };
        let seconds = last.at.saturating_duration_since(first.at).as_secs_f64();
        let percent =
            |of: &dyn Fn(&CpuSample) -> Duration| of(last).saturating_sub(of(first)).as_secs_f64() / seconds * 100.0;
        [percent(&|sample| sample.encoders), percent(&|sample| sample.capture)]
    }

    /// The bit rate, pictures a second, and PSNR of the still picture.
    fn still(&self) -> (f64, f64, f64) {
        let from = self.end.checked_sub(STILL).unwrap_or(self.end);
        let tier = self.tier_at(self.end);
        let frames = self.encoded.iter().filter(|frame| frame.tier == tier && (from..self.end).contains(&frame.at));
        let fps = frames.clone().count() as f64 / STILL.as_secs_f64();
        let last = self.seen.pictures.iter().rev().find(|shown| shown.at < self.end);
        (kbps(frames, STILL.as_secs_f64()), fps, last.map_or(f64::NAN, |shown| shown.best_db))
    }

    /// A newcomer's time to its first picture, the PSNR of that, and its time to a legible one.
    fn join(&self) -> (Option<u128>, f64, Option<u128>) {
        let (offered, seen) = &self.joined;
        let ms = |shown: &Shown| shown.at.saturating_duration_since(*offered).as_millis();
        let first = seen.pictures.first();
        let legible = seen.pictures.iter().find(|shown| shown.best_db >= LEGIBLE_DB);
        (first.map(ms), first.map_or(f64::NAN, |shown| shown.best_db), legible.map(ms))
    }

    pub(super) fn object(&self) -> Value {
        let scenes = self.found().into_iter().map(|found| {
            let [db_100, db_300, db_1000] = found.db_after;
            json!({
                "name": found.name, "page": found.is_page, "tier": found.tier.name(),
                "db_after_100_ms": db_100, "db_after_300_ms": db_300, "db_after_1000_ms": db_1000,
                "ssim_after_300_ms": found.ssim_after_300_ms,
                "ms_to_38_db": found.ms_to_legible.map(|ms| ms as u64),
                "mean_db": found.mean_db, "least_db": found.least_db,
                "age_p50_ms": found.age_p50_ms, "age_p95_ms": found.age_p95_ms,
                "fps": found.fps, "first_frame_kb": found.first_kb, "kbps": found.kbps,
                "key_frames": found.key_frames,
            })
        });
        let [encoders, capture] = self.cpu_percent(None);
        let [still_encoders, still_capture] = self.cpu_percent(Some(STILL));
        let (kbps, fps, db) = self.still();
        let (first_ms, first_db, legible_ms) = self.join();
        json!({
            "bench": "text",
            "scenes": scenes.collect::<Vec<_>>(),
            "encoders_cpu_percent": encoders, "capture_cpu_percent": capture,
            "still": {
                "kbps": kbps, "fps": fps, "db": db,
                "encoders_cpu_percent": still_encoders, "capture_cpu_percent": still_capture,
            },
            "join": {
                "first_picture_ms": first_ms.map(|ms| ms as u64), "first_db": first_db,
                "ms_to_38_db": legible_ms.map(|ms| ms as u64),
            },
            "freezes": self.seen.freezes, "frozen_ms": self.seen.frozen.as_millis() as u64,
            "sound_concealed_ms": self.seen.concealed.as_millis() as u64,
            "nacks": self.seen.nacks, "plis": self.seen.plis,
        })
    }

    pub(super) fn table(&self) -> String {
        let build = if cfg!(debug_assertions) { ", NOT OPTIMIZED: build with --release" } else { "" };
        let mut lines = vec![
            format!("{}{build}", self.title),
            String::new(),
            "| scene | tier | dB after 0.1, 0.3, 1 s | SSIM after 0.3 s | ms to 38 dB | dB: mean, least | age p50, p95 \
             | pictures/s | first kB | kbit/s | keys |"
                .to_owned(),
            "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |".to_owned(),
        ];
        for found in self.found() {
            let [db_100, db_300, db_1000] = found.db_after.map(|db| number(db, 1));
            let moves = if found.is_page {
                "-".to_owned()
            } else {
                format!("{}, {} ms", number(found.age_p50_ms, 0), number(found.age_p95_ms, 0))
            };
            lines.push(format!(
                "| {} | {} | {db_100}, {db_300}, {db_1000} | {} | {} | {}, {} | {moves} | {:.1} | {} | {:.0} | {} |",
                found.name,
                found.tier.name(),
                number(found.ssim_after_300_ms, 3),
                if found.is_page { ms(found.ms_to_legible) } else { "-".to_owned() },
                number(found.mean_db, 1),
                number(found.least_db, 1),
                found.fps,
                number(found.first_kb, 0),
                found.kbps,
                found.key_frames,
            ));
        }
        let ([encoders, capture], [still, still_capture]) = (self.cpu_percent(None), self.cpu_percent(Some(STILL)));
        let (kbps, fps, db) = self.still();
        let (first_ms, first_db, legible_ms) = self.join();
        lines.extend([
            String::new(),
            format!("CPU of the encoders, of capture: {encoders:.1} %, {capture:.1} % of a core"),
            format!(
                "still for {} s: {kbps:.0} kbit/s, {fps:.1} pictures/s, {db:.1} dB, CPU {still:.1} %, \
                 {still_capture:.1} %",
                STILL.as_secs()
            ),
            format!(
                "a student that joins then: first picture {} with {} dB, 38 dB {}",
                ms(first_ms),
                number(first_db, 1),
                ms(legible_ms)
            ),
            format!(
                "freezes {} ({} ms), sound concealed {} ms, requested again {}, key frames requested {}",
                self.seen.freezes,
                self.seen.frozen.as_millis(),
                self.seen.concealed.as_millis(),
                self.seen.nacks,
                self.seen.plis
            ),
        ]);
        lines.join("\n")
    }
}

fn kbps<'a>(frames: impl Iterator<Item = &'a EncodedFrame>, seconds: f64) -> f64 {
    frames.map(|frame| frame.bytes).sum::<usize>() as f64 * 8.0 / 1000.0 / seconds
}

fn number(value: f64, digits: usize) -> String {
    if value.is_nan() { "-".to_owned() } else { format!("{value:.digits$}") }
}

fn ms(time: Option<u128>) -> String {
    time.map_or_else(|| "-".to_owned(), |ms| format!("{ms} ms"))
}

fn sorted(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values
}

/// NaN for no values.
fn percentile(sorted: &[f64], share: f64) -> f64 {
    let at = (share * sorted.len().saturating_sub(1) as f64).round() as usize;
    sorted.get(at).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_legible_from_38_decibels_on() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let shown = |ms, scene, db| Shown { at: at(ms), scene, db, ssim: 0.9, best_db: db, age: Duration::ZERO };
        let pictures = vec![shown(50, 0, 20.0), shown(90, 0, 30.0), shown(250, 0, 39.0), shown(900, 0, 46.0)];
        let frame = |ms, bytes, key| EncodedFrame { at: at(ms), tier: Tier::Full, key, bytes };
        let measured = Measured {
            title: "a page".into(),
            scenes: vec![(0, start)],
            end: at(4_000),
            best: Tier::Full,
            seen: Seen { pictures, ..Seen::default() },
            joined: (at(4_000), Seen { pictures: vec![shown(4_100, 0, 24.0)], ..Seen::default() }),
            encoded: vec![frame(10, 100_000, true), frame(40, 25_000, false), frame(3_500, 3_750, false)],
            cpu: Vec::new(),
        };
        let object = measured.object();
        let scene = &object["scenes"][0];
        assert_eq!((scene["db_after_100_ms"].as_f64(), scene["db_after_300_ms"].as_f64()), (Some(30.0), Some(39.0)));
        assert_eq!((scene["ms_to_38_db"].as_u64(), scene["key_frames"].as_u64()), (Some(250), Some(1)));
        assert_eq!((scene["first_frame_kb"].as_f64(), object["still"]["kbps"].as_f64()), (Some(100.0), Some(10.0)));
        assert_eq!(
            (object["join"]["first_picture_ms"].as_u64(), object["join"]["ms_to_38_db"].as_u64()),
            (Some(100), None)
        );
        assert!(
            measured.table().contains("| title | full | 30.0, 39.0, 46.0 | 0.900 | 250 ms |"),
            "{}",
            measured.table()
        );
    }
}
