//! Once a second: statistics, and whether the load is too high.

use std::time::Instant;

use super::Conference;
use super::overload::Load;
use super::received::Received;
use crate::commands::chat_commands::Place;
use crate::id::UserId;
use crate::media::TrackStats;
use crate::protocol::{ClientMessage, MediaHost};
use crate::report::{Event, SpeakerStats};
use crate::rtp::Track;

impl Conference<'_> {
    pub(super) fn on_second(&mut self) {
        let (media, pairs) = (&self.context.media, &self.pairs);
        let is_narrow = |user: &UserId| pairs.number(user).is_some_and(|pair| media.is_narrow(pair));
        let is_bad = media.load().is_narrow() || self.files.receivers().any(is_narrow);
        let steps = self.files.second(is_bad, self.reporter);
        self.do_files(steps);
        self.close_moved();
        if self.pairs.await_connection() || self.server_media.awaits_media() {
            self.relays.new_problems().into_iter().for_each(|problem| self.reporter.warn(problem));
        }
        let tracks = self.tracks();
        for (user, track, stats) in &tracks {
            self.reporter.event(&Event::ParticipantStats(SpeakerStats {
                user: user.clone(),
                track: *track,
                frames: stats.frames_decoded,
                width: stats.width,
                height: stats.height,
                lost: stats.lost,
                freezes: stats.freezes + u64::from(stats.frozen.is_some()),
            }));
        }
        let has_skipped = self.received.look(Instant::now(), &tracks);
        let is_mesh = self.place == Place::Meeting && self.list.media() == MediaHost::Publisher;
        if !is_mesh || !self.list.takes_part() {
            return self.overload.clear();
        }
        let load = self.context.media.load();
        if self.overload.second(Load { is_late: load.is_late || has_skipped, ..load }) {
            self.reporter.notice(
                "this computer or its line is too slow for a connection to each participant: the server is asked to \
                 pass pictures and sound on",
            );
            self.send(ClientMessage::Overloaded);
        }
    }

    /// Looks for the last time.
    pub(super) fn take_received(&mut self) -> Received {
        self.look_at_received();
        std::mem::take(&mut self.received)
    }

    /// Counts what has arrived, before the connections of participants end.
    pub(super) fn look_at_received(&mut self) {
        let tracks = self.tracks();
        self.received.look(Instant::now(), &tracks);
    }

    /// The tracks that the others send at present, as far as they are received.
    fn tracks(&self) -> Vec<(UserId, Track, TrackStats)> {
        let mut tracks = Vec::new();
        for other in self.list.others() {
            for track in other.sends.iter().copied().map(Track::from) {
                let on_server = self.server_media.with_render(&other.user_id, |render| render.stats(track));
                let in_pair = || self.pairs.with_render(&other.user_id, |render| render.stats(track));
                tracks.extend(on_server.or_else(in_pair).map(|stats| (other.user_id.clone(), track, stats)));
            }
        }
        tracks
    }
}
