//! Shows or records the lecture: the choice of the sink, the render and the window.

use std::path::{Path, PathBuf};

use tokio::time::Instant;

use super::Session;
use crate::commands::blocking;
use crate::commands::source_monitor::has_stopped;
use crate::exit::Failure;
use crate::id::{RoomId, RoomName, UserId, named};
use crate::media::{self, Render, RenderEvent, RenderOptions, TrackFormat};
use crate::protocol::User;
use crate::protocol::channel::Stopped;
use crate::report::{EndReason, Event};
use crate::rtp::{Codec, Track};

/// The file of a further recording, when the lecture comes back with other tracks: `out.mkv`, `out-2.mkv`.
fn numbered(path: &Path, before: u32) -> PathBuf {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let extension = path.extension().map(|e| format!(".{}", e.to_string_lossy())).unwrap_or_default();
    path.with_file_name(format!("{stem}-{}{extension}", before + 1))
}

/// The title of the window: the room, its name, and the teacher.
#[derive(Debug)]
pub(super) struct WindowTitle {
    room: RoomId,
    name: Option<RoomName>,
    teacher: Option<(UserId, String)>,
}

impl WindowTitle {
    pub(super) fn new(room: RoomId) -> Self {
        Self { room, name: None, teacher: None }
    }

    pub(super) fn set_room_name(&mut self, name: Option<RoomName>) {
        self.name = name;
    }

    pub(super) fn set_teacher(&mut self, teacher: &User) {
        self.teacher = Some((teacher.user_id.clone(), teacher.nickname.as_str().to_owned()));
    }

    /// For example `classroom 10013: Linear algebra, Ms Li (9999)`. The beginning is always the same, so that the rules
    /// of a window manager find the window.
    pub(super) fn text(&self) -> String {
        let name = self.name.as_ref().map(ToString::to_string);
        let teacher = self.teacher.as_ref().map(|(user, nickname)| named(user, nickname).to_string());
        let known: Vec<String> = name.into_iter().chain(teacher).collect();
        let colon = if known.is_empty() { "" } else { ": " };
        format!("classroom {}{colon}{}", self.room, known.join(", "))
    }
}

impl Session<'_> {
    /// Starts a render for the tracks of an answer, unless the running render has the same tracks.
    pub(super) async fn start_render(&mut self, tracks: Vec<(Track, Codec, u8)>) -> Result<(), Failure> {
        let formats: Vec<TrackFormat> =
            tracks.into_iter().map(|(track, codec, payload_type)| TrackFormat { track, codec, payload_type }).collect();
        if formats.is_empty() {
            self.reporter.warn("the teacher sends no track that this program can receive");
        }
        let runs = self.screen.with(|_| ()).is_some();
        if runs && formats == self.formats {
            return Ok(());
        }
        if runs {
            self.stop_render(false).await;
        }
        let sink = match &self.sink {
            media::Sink::File(path) if self.renders > 0 => media::Sink::File(numbered(path, self.renders)),
            sink => sink.clone(),
        };
        self.renders += 1;
        let options = RenderOptions {
            sink,
            latency: self.watch.latency,
            tracks: formats.clone(),
            audio: true,
            title: self.title.text(),
        };
        let (render, events) = blocking(move || Render::start(options)).await??;
        self.stats.render_started(&formats);
        self.formats = formats;
        self.speakers.set_render(render.stage().cloned());
        self.screen.show(render);
        self.render_events = Some(events);
        self.expect_pictures();
        Ok(())
    }

    pub(super) async fn stop_render(&mut self, is_over: bool) {
        if let Some(render) = self.screen.take() {
            self.speakers.set_render(None);
            self.stats.render_ended(&render, is_over);
            let _ = blocking(move || render.finish()).await;
        }
    }

    pub(super) async fn on_render(&mut self, event: Option<RenderEvent>) -> Result<Option<EndReason>, Failure> {
        match event {
            Some(RenderEvent::FirstFrame { track }) => {
                let delay = self.stats.first_frame(track);
                self.reporter.event(&Event::FirstFrame {
                    track,
                    after_ms: delay.since_teacher.as_secs_f64() * 1000.0,
                    after_start_ms: delay.since_start.as_secs_f64() * 1000.0,
                });
                self.lesson.picture_shown(Instant::now());
            }
            Some(RenderEvent::KeyFrameNeeded(track)) => self.request_key_frame(track).await,
            Some(RenderEvent::Warning(sentence)) => self.reporter.warn(sentence),
            Some(RenderEvent::WindowClosed) => return Ok(Some(EndReason::WindowClosed)),
            Some(RenderEvent::Error(error)) => return Err(error.into()),
            None => self.render_events = None,
        }
        Ok(None)
    }

    /// Shows a message over the dimmed last picture of the window, until pictures come again.
    pub(super) fn show_message(&self, message: Option<&str>) {
        self.screen.with(|render| render.window().map(|window| window.set_message(message)));
    }

    /// Other sources of the teacher have stopped than before: hides their pictures, or shows them again.
    pub(super) fn on_stopped(&mut self, stopped: Stopped) {
        let before = std::mem::replace(&mut self.stopped, stopped);
        for format in &self.formats {
            let (was, is) = (has_stopped(before, format.track), has_stopped(stopped, format.track));
            let is_unsent = match format.track {
                Track::Screen => stopped.unsent.screen,
                _ => stopped.unsent.camera && format.track == Track::Camera,
            };
            if was != is && !is_unsent {
                self.reporter.event(&Event::Source { track: format.track, state: is.into() });
            }
        }
        self.expect_pictures();
    }

    /// Tells the render which pictures will not come, because the publisher withholds them or has none.
    pub(super) fn expect_pictures(&self) {
        let sends = |track| !self.is_break && self.tiers.is_none_or(|tiers| tiers.sends(track));
        self.screen.with(|render| {
            for format in &self.formats {
                let stopped = has_stopped(self.stopped, format.track);
                render.expect(format.track, sends(format.track) && !stopped);
                render.show(format.track, !stopped);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_title_has_what_is_known() {
        let mut title = WindowTitle::new("10013".parse().unwrap());
        assert_eq!(title.text(), "classroom 10013");
        title.set_room_name("Linear algebra".parse().ok());
        assert_eq!(title.text(), "classroom 10013: Linear algebra");
        title.teacher = Some(("9999".parse().unwrap(), "Ms Li".into()));
        assert_eq!(title.text(), "classroom 10013: Linear algebra, Ms Li (9999)");
    }
}
