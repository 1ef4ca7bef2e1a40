//! The scenes of a lecture in place of the screen.

use gstreamer_video as gst_video;

use super::Planner;
use super::sizing::{FULL_HD, SYNTHETIC_SIZE, ScreenSource};
use crate::lecture::Source;
use crate::media::error::MediaError;
use crate::media::options::Size;
use crate::media::pipelines::{self, Values};
use crate::media::scenes::{self, DirectorConfig, OpenedScene, OpenedScenes, SceneSource};
use crate::rtp::Track;

impl Planner<'_> {
    /// Adds scenes. Returns whether audio came with them.
    pub(super) fn scenes(&mut self, sources: &[Source], own_audio: bool) -> Result<bool, MediaError> {
        let own = std::env::current_exe().ok();
        let program = self.options.inspector.clone().or(own).unwrap_or_default();
        let OpenedScenes { scenes, decks } = scenes::open(sources, &program);
        let scene = |(index, scene): (usize, Result<OpenedScene, MediaError>)| {
            scene.map_err(|cause| MediaError::Scene { index, cause: Box::new(cause) })
        };
        let scenes = scenes.into_iter().enumerate().map(scene).collect::<Result<Vec<_>, _>>()?;
        let most = self.options.screen.size.filter(|size| *size != Size::NATIVE).unwrap_or(FULL_HD);
        let of_files = scenes.iter().filter_map(|scene| scene.size).map(|size| size.fitted(most));
        let sizes = of_files.chain(decks.iter().map(|deck| deck.size(most)));
        let largest =
            |one: Size, other: Size| Size { width: one.width.max(other.width), height: one.height.max(other.height) };
        let size = unpadded(sizes.reduce(largest).unwrap_or_else(|| SYNTHETIC_SIZE.fitted(most)));
        let fps = self.options.screen.fps;
        let is_moving = |scene: &OpenedScene| matches!(scene.source, SceneSource::Video(_) | SceneSource::Test);
        self.is_text = !scenes.iter().any(is_moving);
        let has_audio = own_audio && scenes.iter().any(|scene| scene.has_audio);
        let pipelines = scenes.iter().map(|scene| pipeline(scene, size, fps, has_audio)).collect::<Result<_, _>>()?;
        self.screen_source = ScreenSource::File(Some(size));
        let count = scenes.len();
        let notice = format!("lecture: {count} {}", if count == 1 { "scene" } else { "scenes" });
        self.add(Track::Screen, pipelines::TEACH_FILE_VIDEO, notice);
        if has_audio {
            self.files.push(pipelines::TEACH_FILE_AUDIO);
            self.tracks.push(Track::Audio);
        }
        self.plan.scene_facts = scenes.iter().map(|scene| scene.facts).collect();
        self.plan.director = Some(DirectorConfig { scenes, pipelines, decks, size, fps });
        Ok(has_audio)
    }
}

/// The largest size within this one whose planes have no padding at the end of their lines.
fn unpadded(size: Size) -> Size {
    Size { width: (size.width & !7).max(Size::MIN_EDGE), height: (size.height & !1).max(Size::MIN_EDGE) }
}

/// The pipeline that plays a scene; empty for slides and slates, which are drawn.
fn pipeline(scene: &OpenedScene, size: Size, fps: u32, has_audio: bool) -> Result<String, MediaError> {
    let is_still = matches!(scene.source, SceneSource::Image(_));
    let values = Values::default()
        .set("canvas.width", size.width)
        .set("canvas.height", size.height)
        .set("canvas.fps", fps)
        .set("canvas.colours", colours(size))
        // Scale a still image with more care: that happens once, and it usually contains text.
        .set("canvas.method", if is_still { "lanczos" } else { "bilinear" });
    let files = match scene.source {
        SceneSource::Slides(_) | SceneSource::Slate { .. } => return Ok(String::new()),
        SceneSource::Test => vec![pipelines::PLAY_TEST],
        SceneSource::Image(_) => vec![pipelines::PLAY_FILE, pipelines::PLAY_SCENE_VIDEO],
        SceneSource::Video(_) => {
            let mut files = vec![pipelines::PLAY_FILE, pipelines::PLAY_SCENE_VIDEO];
            files.extend((scene.has_audio && has_audio).then_some(pipelines::PLAY_FILE_AUDIO));
            files
        }
    };
    pipelines::text(&files, &values)
}

/// The colorimetry that GStreamer assumes for video of this size, as all pictures of a lecture have it.
fn colours(size: Size) -> String {
    let info = gst_video::VideoInfo::builder(gst_video::VideoFormat::I420, size.width, size.height).build();
    info.map_or_else(|_| "bt709".to_owned(), |info| info.colorimetry().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn planes_of_every_size_have_no_padding() {
        crate::media::init().unwrap();
        for (width, height) in [(1364, 766), (1920, 1080), (66, 64)] {
            let size = unpadded(Size { width, height });
            let info = gst_video::VideoInfo::builder(gst_video::VideoFormat::I420, size.width, size.height);
            assert_eq!(info.build().unwrap().size() as u32, size.width * size.height * 3 / 2);
            assert!(size.width <= width && size.width + 8 > width && size.height == height);
        }
        assert_eq!(colours(FULL_HD), "bt709");
    }
}
