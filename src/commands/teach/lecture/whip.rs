//! A lecture whose media comes from a WHIP client.

use super::Lecture;
use crate::commands::negotiation::{candidate_init, refusal_code};
use crate::commands::teach::whip_session::ForSfu;
use crate::commands::whip_in::WhipRequest;
use crate::sfu::SfuEvent;

impl Lecture<'_> {
    /// Handles an event about the media that a WHIP client sends for this teacher. Returns an event of a student.
    pub(super) fn on_own_media(&mut self, event: SfuEvent) -> Option<SfuEvent> {
        let user = match &event {
            SfuEvent::Answer { user, .. } | SfuEvent::Refused { user, .. } | SfuEvent::Gone { user, .. } => user,
            SfuEvent::Connected(user) | SfuEvent::ChannelOpen(user) | SfuEvent::Heard { user, .. } => user,
            _ => return Some(event),
        };
        if *user != self.teach.user {
            return Some(event);
        }
        match event {
            SfuEvent::Answer { sdp, .. } => self.whip.answered(sdp),
            SfuEvent::Refused { why, .. } => self.whip.refused(refusal_code(&why), &why),
            SfuEvent::Connected(_) => {
                if let Some(name) = self.whip.connected() {
                    self.reporter.notice(format!("{name} sends"));
                }
                self.source.set_live(true);
            }
            SfuEvent::Gone { why, .. } => {
                if let Some(name) = self.whip.gone() {
                    self.reporter.warn(format!("{name} sends no more ({why}): the students wait for it"));
                }
                self.end_sources();
            }
            _ => {}
        }
        None
    }

    pub(super) fn on_whip(&mut self, request: WhipRequest) {
        match request {
            WhipRequest::Offer(offer) => {
                if let Some(ForSfu { sdp, tracks }) = self.whip.offer(offer) {
                    self.sfu.publish(self.teach.user.clone(), sdp, Some(tracks), None);
                }
            }
            WhipRequest::Candidate(session, candidate) => {
                if self.whip.is(session) {
                    self.sfu.candidate(self.teach.user.clone(), candidate_init(candidate));
                }
            }
            WhipRequest::End(session) => {
                if self.whip.ended(session) {
                    self.sfu.remove(self.teach.user.clone());
                    self.reporter.notice("the encoder has stopped: the students wait for it");
                    self.end_sources();
                }
            }
        }
    }

    /// The client's tracks have ended.
    pub(super) fn end_sources(&mut self) {
        self.source.set_live(false);
        let tracks = self.source.tracks();
        let changed = self.sources.end(tracks.into_iter().map(|(track, _)| track));
        self.report_sources(&changed);
    }
}
