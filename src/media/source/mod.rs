//! From capture options to the pipeline text, with the devices, files and encoders of this machine.

pub(super) mod demo;
pub(super) mod devices;
mod portal;
mod scenes;
mod sizing;

use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use self::devices::{Camera, Display, Microphone};
use self::portal::SharedScreen;
use self::sizing::{FULL_HD, Fit, SYNTHETIC_SIZE, ScreenSource};
use super::encode::branch_spec::{BranchSpec, VideoTrack, payloader};
use super::encode::config::{EncoderConfig, default_bitrate};
use super::encode::encoder::Encoder;
use super::encode::trial;
use super::error::MediaError;
use super::file::{self, PlaylistConfig};
use super::options::{CaptureOptions, Content, FileList, MainSource, Size, Wanted};
use super::pipelines::{self, File, Values};
use super::scenes::DirectorConfig;
use super::slides::{Deck, SlideShowConfig};
use crate::lecture::SourceFacts;
use crate::rtp::{Codec, Track};

/// The pipeline text, and all that belongs to it.
#[derive(Debug, Default)]
pub(super) struct CapturePlan {
    pub text: String,
    pub notices: Vec<String>,
    /// The sources that were tried and not found.
    pub absent: Vec<String>,
    /// Present if files are played.
    pub playlist: Option<PlaylistConfig>,
    /// Present if slides are shown.
    pub slides: Option<SlideShowConfig>,
    /// Present if scenes are shown.
    pub director: Option<DirectorConfig>,
    /// The facts about each scene.
    pub scene_facts: Vec<SourceFacts>,
    /// The size of the demo, if it is played.
    pub demo: Option<Size>,
    /// Source elements and their devices, to explain errors.
    pub devices: Vec<(&'static str, String)>,
    /// The branches of raw video, the best encoding of each track first.
    pub specs: Vec<BranchSpec>,
    /// Bit/s per [`Track`] for encodings that the pipeline itself produces.
    pub rates: [u32; 3],
    /// The first RTP timestamp per [`Track`], the same in all encodings, so that a student that switches encodings sees
    /// one timeline.
    pub timestamps: [u32; 3],
    /// Why this program can't encode raw video of a user's pipeline.
    pub no_encoder: Option<MediaError>,
    /// The shared Wayland screen. pipewiresrc uses its connection as long as the pipeline exists.
    pub shared_screen: Option<SharedScreen>,
}

/// Plans a capture.
///
/// # Errors
///
/// A required source or every encoder is missing, or a file can't be played.
pub(super) fn plan(options: &CaptureOptions) -> Result<CapturePlan, MediaError> {
    // Keep below 2^31: all ones make the payloader choose by itself.
    let timestamps = std::array::from_fn(|_| rand::random::<u32>() >> 1);
    let plan = CapturePlan { timestamps, ..CapturePlan::default() };
    let screen_source = ScreenSource::default();
    let mut planner = Planner {
        options,
        files: Vec::new(),
        tracks: Vec::new(),
        values: Values::default(),
        screen_source,
        is_text: false,
        plan,
    };
    if let Some(path) = &options.pipeline {
        planner.encode(Some(path))?;
        let text = pipelines::read(path)?;
        planner.plan.text = pipelines::fill(&path.display().to_string(), &text, &planner.values)?;
        planner.plan.notices.push(format!("capturing with the pipeline {}", path.display()));
        return Ok(planner.plan);
    }
    let has_audio = planner.main()?;
    planner.camera()?;
    if options.sources.audio && !has_audio {
        planner.microphone()?;
    }
    if planner.files.is_empty() {
        return Err(MediaError::NothingToCapture { looked_for: planner.plan.absent });
    }
    planner.encode(None)?;
    planner.plan.text = pipelines::text(&planner.files, &planner.values)?;
    Ok(planner.plan)
}

/// A plan in progress.
struct Planner<'a> {
    options: &'a CaptureOptions,
    files: Vec<File>,
    /// The tracks of these files.
    tracks: Vec<Track>,
    values: Values,
    screen_source: ScreenSource,
    /// The list has only still images, which usually contain text.
    is_text: bool,
    plan: CapturePlan,
}

impl Planner<'_> {
    fn add(&mut self, track: Track, file: File, notice: impl Into<String>) {
        self.files.push(file);
        self.tracks.push(track);
        self.plan.notices.push(notice.into());
    }

    fn set(&mut self, name: &'static str, value: impl ToString) {
        self.values = std::mem::take(&mut self.values).set(name, value);
    }

    fn quote(&mut self, name: &'static str, value: &str) {
        self.values = std::mem::take(&mut self.values).quoted(name, value);
    }

    /// Looks for a device. None if it is not wanted, or only wanted if present and absent. A missing required device is
    /// an error.
    fn found<T>(
        &mut self,
        wanted: &Wanted,
        look: impl FnOnce(Option<&str>) -> Result<T, MediaError>,
    ) -> Result<Option<T>, MediaError> {
        let name = match wanted {
            Wanted::No => return Ok(None),
            Wanted::IfPresent => None,
            Wanted::Yes(name) => name.as_deref(),
        };
        match look(name) {
            Ok(device) => Ok(Some(device)),
            Err(MediaError::Device { device, cause }) if *wanted == Wanted::IfPresent => {
                self.plan.absent.push(format!("{device} ({cause})"));
                self.plan.notices.push(format!("without {device}: {cause}"));
                Ok(None)
            }
            Err(MediaError::MissingElement { element, package }) if *wanted == Wanted::IfPresent => {
                let missing = format!("{element} is missing; install the package {package}");
                self.plan.absent.push(missing.clone());
                self.plan.notices.push(missing);
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Adds the `screen` track. Returns whether audio came with it.
    fn main(&mut self) -> Result<bool, MediaError> {
        let sources = &self.options.sources;
        let own_audio = sources.audio && !matches!(sources.microphone, Wanted::Yes(_));
        match &sources.main {
            MainSource::Screen(wanted) => {
                let look = |name: Option<&str>| match devices::display(name)? {
                    Display::X11(name) => Ok((Some(name), None)),
                    Display::Portal => Ok((None, Some(portal::open()?))),
                };
                let (x11, shared) = self.found(wanted, look)?.unwrap_or_default();
                if let Some(name) = x11 {
                    self.screen_source = ScreenSource::Screen(devices::size_of_display(&name));
                    self.quote("screen.device", &name);
                    self.plan.devices.push(("ximagesrc", format!("screen {name}")));
                    self.add(Track::Screen, pipelines::TEACH_SCREEN_X11, format!("screen: the X11 display {name}"));
                }
                if let Some(shared) = shared {
                    self.screen_source = ScreenSource::Screen(shared.size);
                    self.set("screen.fd", shared.connection.as_raw_fd());
                    self.set("screen.node", shared.node);
                    self.plan.shared_screen = Some(shared);
                    self.plan.devices.push(("pipewiresrc", "screen of the Wayland desktop".into()));
                    self.add(
                        Track::Screen,
                        pipelines::TEACH_SCREEN_PORTAL,
                        "screen: selected in the dialogue of the desktop",
                    );
                }
                Ok(false)
            }
            MainSource::Files(list) => self.play(list, own_audio),
            MainSource::Slides(path) => self.slides(path).map(|()| false),
            MainSource::Scenes(sources) => self.scenes(sources, own_audio),
            MainSource::Test => {
                self.add(Track::Screen, pipelines::TEACH_TEST_VIDEO, "screen: a test picture");
                if own_audio {
                    self.add(Track::Audio, pipelines::TEACH_TEST_AUDIO, "sound: a test tone");
                }
                Ok(own_audio)
            }
            MainSource::Demo => {
                let Fit { size, .. } = ScreenSource::Synthetic.fit(self.options.screen.size);
                self.values = demo::values(std::mem::take(&mut self.values), size);
                self.plan.demo = Some(size);
                self.add(Track::Screen, pipelines::TEACH_DEMO_VIDEO, "screen: the demo lecture");
                if own_audio {
                    self.add(Track::Audio, pipelines::TEACH_DEMO_AUDIO, "sound: a melody");
                }
                Ok(own_audio)
            }
        }
    }

    /// Adds files in place of the screen. Returns whether audio came with them.
    fn play(&mut self, list: &FileList, own_audio: bool) -> Result<bool, MediaError> {
        let contents = file::contents(list, self.options.inspector.as_deref())?;
        for (path, contents) in list.paths.iter().zip(&contents) {
            self.plan.notices.push(format!("file: {}, {}", path.display(), contents.words()));
        }
        self.screen_source = ScreenSource::File(file::largest(&contents));
        let canvas = file::canvas(&contents, self.screen_source.fit(self.options.screen.size).bounds);
        if list.paths.len() > 1 {
            self.screen_source = ScreenSource::File(canvas);
        }
        // In a film, dropped frames are worse than small text. Still images can't stutter.
        let mut videos = contents.iter().filter_map(|contents| contents.video).peekable();
        self.is_text = videos.peek().is_some() && videos.all(|video| video.is_still);
        let has_audio = own_audio && contents.iter().any(|contents| contents.audio);
        let mut tracks = Vec::new();
        if canvas.is_some() {
            self.files.push(pipelines::TEACH_FILE_VIDEO);
            tracks.push(Track::Screen);
        }
        if has_audio {
            self.files.push(pipelines::TEACH_FILE_AUDIO);
            tracks.push(Track::Audio);
        }
        self.tracks.extend(&tracks);
        let pipeline_of = |contents: file::Contents| {
            let mut files = vec![pipelines::PLAY_FILE];
            files.extend(contents.video.map(|_| pipelines::PLAY_FILE_VIDEO));
            files.extend((contents.audio && has_audio).then_some(pipelines::PLAY_FILE_AUDIO));
            // Scale a still image with more care: that happens once, and it usually contains text.
            let is_still = contents.video.is_some_and(|video| video.is_still);
            let size = canvas.unwrap_or(SYNTHETIC_SIZE);
            let values = Values::default()
                .set("canvas.width", size.width)
                .set("canvas.height", size.height)
                .set("canvas.method", if is_still { "lanczos" } else { "bilinear" });
            pipelines::text(&files, &values)
        };
        let pipelines = contents.into_iter().map(pipeline_of).collect::<Result<_, MediaError>>()?;
        let fps = self.options.screen.fps;
        self.plan.playlist = Some(PlaylistConfig { list: list.clone(), pipelines, tracks, canvas, fps });
        Ok(has_audio)
    }

    /// Adds slides in place of the screen.
    fn slides(&mut self, path: &Path) -> Result<(), MediaError> {
        let own = std::env::current_exe().ok();
        let program = self.options.inspector.clone().or(own).unwrap_or_default();
        let deck = Deck::open(path, &program)?;
        let most = self.options.screen.size.filter(|size| *size != Size::NATIVE).unwrap_or(FULL_HD);
        let (size, pages) = (deck.size(most), deck.pages());
        self.screen_source = ScreenSource::File(Some(size));
        let count = if pages == 1 { "1 page".to_owned() } else { format!("{pages} pages") };
        self.add(Track::Screen, pipelines::TEACH_FILE_VIDEO, format!("slides: {}, {count}", path.display()));
        self.plan.slides = Some(SlideShowConfig { deck, size });
        Ok(())
    }

    fn camera(&mut self) -> Result<(), MediaError> {
        let wanted = &self.options.sources.camera;
        if *wanted == Wanted::Yes(Some("test".into())) {
            self.add(Track::Camera, pipelines::TEACH_CAMERA_TEST, "camera: a test picture");
            return Ok(());
        }
        let video = self.options.camera;
        if let Some(Camera { device, label, format }) = self.found(wanted, |name| devices::camera(name, &video))? {
            self.quote("camera.device", &device);
            self.set("camera.format", format);
            self.plan.devices.push(("v4l2src", device.clone()));
            self.add(Track::Camera, pipelines::TEACH_CAMERA, format!("camera: {label} ({device})"));
        }
        Ok(())
    }

    fn microphone(&mut self) -> Result<(), MediaError> {
        let wanted = &self.options.sources.microphone;
        if *wanted == Wanted::Yes(Some("test".into())) {
            self.add(Track::Audio, pipelines::TEACH_TEST_AUDIO, "sound: a test tone");
            return Ok(());
        }
        if let Some(Microphone { element, device, label }) = self.found(wanted, devices::microphone)? {
            let property = if element == "pipewiresrc" { "target-object" } else { "device" };
            let source = match &device {
                Some(device) => {
                    self.quote("audio.device", device);
                    format!("{element} {property}={{audio.device}} do-timestamp=true")
                }
                None => format!("{element} do-timestamp=true"),
            };
            self.set("audio.source", source);
            self.plan.devices.push((element, label.clone()));
            self.add(Track::Audio, pipelines::TEACH_MICROPHONE, format!("sound: {label}"));
        }
        Ok(())
    }

    /// Chooses encoders and sets their placeholders. A user's pipeline may do without: it fails only if it uses one of
    /// these placeholders or has raw video.
    fn encode(&mut self, own: Option<&PathBuf>) -> Result<(), MediaError> {
        let options = self.options;
        let asked = options.screen.size.or(own.map(|_| FULL_HD));
        let mut fit = self.screen_source.fit(asked);
        let mut screen = sizing::screen_config(options, fit);
        let has_screen = self.tracks.contains(&Track::Screen);
        let has_camera = self.tracks.contains(&Track::Camera);
        if own.is_some() || has_screen || has_camera {
            match trial::choose(options.codec, &screen) {
                Ok((encoder, notice)) => {
                    self.plan.notices.extend(notice);
                    let because = self.too_slow(&encoder, &screen, fit);
                    if because.is_some() {
                        fit = self.screen_source.within(self.screen_source.full_hd());
                        screen = sizing::screen_config(options, fit);
                    }
                    if has_screen {
                        self.plan.notices.push(self.screen_source.sentence(&screen, because));
                    }
                    self.video(&encoder, &screen, fit)?;
                }
                Err(error) if own.is_some() => self.plan.no_encoder = Some(error),
                Err(error) => return Err(error),
            }
        }
        self.plan.rates = [options.audio_bitrate, screen.bitrate, self.camera_config().bitrate];
        self.set("audio.encoder", audio_encoder(options.audio_bitrate));
        self.set("audio.out", payloader("audio", Codec::Opus, self.plan.timestamps[Track::Audio as usize]));
        Ok(())
    }

    /// Why a large screen must be scaled down: the encoder takes too long for the full size.
    fn too_slow(&self, encoder: &Encoder, screen: &EncoderConfig, fit: Fit) -> Option<String> {
        if !self.screen_source.needs_speed_test(self.options.screen.size, fit) {
            return None;
        }
        let time = trial::measure_encode_time(encoder, screen)?;
        let ms = time.as_secs_f64() * 1000.0;
        let (label, size, fps) = (encoder.label, screen.size, screen.fps);
        (!trial::is_fast_enough(time, fps)).then(|| {
            format!(
                "{label} takes {ms:.0} ms per picture of {size}, too long for {fps} per second; --size native sends \
                 the full size anyway"
            )
        })
    }

    fn camera_config(&self) -> EncoderConfig {
        let camera = &self.options.camera;
        let size = camera.size.unwrap_or(SYNTHETIC_SIZE);
        EncoderConfig::full(size, camera.fps, camera.bitrate.unwrap_or_else(|| default_bitrate(size)))
    }

    /// Sets the placeholders of both video tracks, and adds a branch per encoder and tier.
    fn video(&mut self, main: &Encoder, screen: &EncoderConfig, fit: Fit) -> Result<(), MediaError> {
        let other = if main.codec == Codec::Vp8 { Codec::H264 } else { Codec::Vp8 };
        let mut encoders = vec![*main];
        match trial::choose(Some(other), screen) {
            Ok((encoder, _)) => encoders.push(encoder),
            Err(error) => {
                self.plan.notices.push(format!("students that can't decode {} get no picture: {error}", main.codec));
            }
        }
        let tiers = self.options.tiers;
        let camera = self.camera_config();
        let usual = if self.is_text { Content::Text } else { sizing::content(self.options) };
        let video = |track: Track, full: EncoderConfig| VideoTrack {
            track,
            full,
            bounds: full.size,
            content: Content::Film,
            low_bitrate: None,
            timestamp_offset: self.plan.timestamps[track as usize],
        };
        let screen = VideoTrack {
            bounds: fit.bounds,
            content: self.options.content.unwrap_or(usual),
            low_bitrate: tiers.low_rate(),
            ..video(Track::Screen, *screen)
        };
        for video in [screen, video(Track::Camera, camera)] {
            self.values = video.placeholders(std::mem::take(&mut self.values), main);
            for encoder in &encoders {
                for tier in tiers.offered() {
                    self.plan.specs.push(video.branch_spec(*tier, encoder, encoder.codec == main.codec)?);
                }
            }
        }
        Ok(())
    }
}

/// The Opus encoder. In-band FEC adds a copy of the previous block to each packet. The announced loss of 10 % makes the
/// encoder use its speech mode, the only one with FEC.
pub(super) fn audio_encoder(bitrate: u32) -> String {
    format!("opusenc bitrate={bitrate} frame-size=20 inband-fec=true packet-loss-percentage=10")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::contract;
    use crate::media::encode::encoder::ENCODERS;
    use crate::media::error::require;
    use crate::rtp::Encoding;

    /// All placeholders of teaching pipelines, for an encoder.
    fn values(encoder: &Encoder) -> Values {
        let size = Size { width: 640, height: 360 };
        let video = |track: Track| VideoTrack {
            track,
            full: EncoderConfig::full(size, 30, 400_000),
            bounds: size,
            content: Content::Film,
            low_bitrate: None,
            timestamp_offset: 7,
        };
        let values = demo::values(Values::default(), SYNTHETIC_SIZE)
            .quoted("screen.device", ":0")
            .quoted("camera.device", "/dev/video0")
            .set("camera.format", "image/jpeg,width=[1,640],height=[1,360]")
            .set("screen.fd", 3)
            .set("screen.node", 42)
            .set("audio.source", "audiotestsrc is-live=true")
            .set("audio.encoder", "opusenc")
            .set("audio.out", payloader("audio", Codec::Opus, 7));
        [Track::Screen, Track::Camera]
            .into_iter()
            .fold(values, |values, track| video(track).placeholders(values, encoder))
    }

    #[test]
    fn every_teaching_pipeline_keeps_the_contract() {
        crate::media::init().unwrap();
        let pipelines: [(&[File], &[Track]); 10] = [
            (&[pipelines::TEACH_SCREEN_X11], &[Track::Screen]),
            (&[pipelines::TEACH_SCREEN_PORTAL], &[Track::Screen]),
            (&[pipelines::TEACH_CAMERA], &[Track::Camera]),
            (&[pipelines::TEACH_CAMERA_TEST], &[Track::Camera]),
            (&[pipelines::TEACH_MICROPHONE], &[Track::Audio]),
            (&[pipelines::TEACH_FILE_VIDEO], &[Track::Screen]),
            (&[pipelines::TEACH_FILE_AUDIO], &[Track::Audio]),
            (&[pipelines::TEACH_TEST_VIDEO, pipelines::TEACH_TEST_AUDIO], &[Track::Audio, Track::Screen]),
            (&[pipelines::TEACH_DEMO_VIDEO, pipelines::TEACH_DEMO_AUDIO], &[Track::Audio, Track::Screen]),
            (&[pipelines::TEACH_SCREEN_X11, pipelines::TEACH_CAMERA, pipelines::TEACH_MICROPHONE], &Track::ALL),
        ];
        let here = ENCODERS.iter().filter(|encoder| require(encoder.element).is_ok());
        for encoder in here {
            for (files, tracks) in pipelines {
                let name = format!("{} with {}", files[0].name, encoder.element);
                let text = pipelines::text(files, &values(encoder)).unwrap();
                let pipeline = match pipelines::parse(&name, &text) {
                    // Where the PipeWire plug-in is missing, there is no Wayland either.
                    Err(MediaError::MissingElement { element, .. }) if element == "pipewiresrc" => continue,
                    parsed => parsed.unwrap_or_else(|error| panic!("{error}\n{text}")),
                };
                let outputs = contract::outputs(&name, &pipeline, |_| 7).unwrap();
                let encoded = outputs.encoded.iter().map(|output| output.encoding.track);
                let mut found: Vec<Track> = encoded.chain(outputs.raw_video.iter().map(|(track, _)| *track)).collect();
                found.sort();
                assert_eq!(found, tracks, "{name}");
            }
        }
    }

    #[test]
    fn a_users_pipeline_may_use_the_chosen_encoder() {
        crate::media::init().unwrap();
        for encoder in ENCODERS.iter().filter(|encoder| require(encoder.element).is_ok()) {
            let text = "videotestsrc ! {screen.exact} ! {screen.encoder} ! {screen.out}";
            let text = pipelines::fill("own", text, &values(encoder)).unwrap();
            let outputs = contract::outputs("own", &pipelines::parse("own", &text).unwrap(), |_| 7).unwrap();
            assert_eq!(outputs.encoded[0].encoding, Encoding::full(Track::Screen, encoder.codec), "{text}");
        }
    }
}
