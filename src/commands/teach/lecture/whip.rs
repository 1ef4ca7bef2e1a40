//! A lecture whose media comes from WHIP clients.

use super::Lecture;
use crate::commands::negotiation::candidate_init;
use crate::commands::teach::source::Source;
use crate::commands::whip::{WhipNews, WhipRequest};
use crate::sfu::{SessionEvent, SessionId, SfuEvent};

impl Lecture<'_> {
    /// Leaves out events about the connections of this teacher, whose sessions have events of their own.
    pub(super) fn of_student(&self, event: SfuEvent) -> Option<SfuEvent> {
        let user = match &event {
            SfuEvent::Gone { user, .. } | SfuEvent::ChannelOpen(user) | SfuEvent::Heard { user, .. } => Some(user),
            _ => None,
        };
        (user != Some(&self.teach.user)).then_some(event)
    }

    pub(super) fn on_session(&mut self, number: SessionId, event: SessionEvent) {
        match self.whip.on_event(number, event) {
            Some(WhipNews::Connected(name)) => self.reporter.notice(format!("{name} sends")),
            Some(WhipNews::Gone(name, why)) => {
                self.reporter.warn(format!("{name} sends no more ({why}): the students wait for it"));
            }
            None => return,
        }
        self.source.set_live(self.whip.is_live());
        self.end_absent_sources();
    }

    pub(super) fn on_whip(&mut self, request: WhipRequest) {
        match request {
            WhipRequest::Offer(offer) => {
                if let Some(offer) = self.whip.offer(&self.teach.user, offer) {
                    self.sfu.open_session(offer);
                }
            }
            WhipRequest::Restart(number, restart) => {
                if let Some(restart) = self.whip.restart(number, restart) {
                    self.sfu.restart_ice(restart);
                }
            }
            WhipRequest::Candidate(number, candidate) => {
                self.sfu.session_candidate(number, candidate_init(candidate));
            }
            WhipRequest::End(number) => {
                self.sfu.end_session(number);
                if self.whip.ended(number) {
                    self.reporter.notice("the encoder has stopped: the students wait for it");
                    self.source.set_live(self.whip.is_live());
                    self.end_absent_sources();
                }
            }
        }
    }

    /// The tracks that no encoder has promised have ended, or have never begun.
    pub(super) fn end_absent_sources(&mut self) {
        if matches!(self.source, Source::Whip(_)) {
            let tracks = self.source.tracks().into_iter().map(|(track, _)| track);
            let absent: Vec<_> = tracks.filter(|track| !self.whip.promises(*track)).collect();
            let changed = self.sources.end(absent.into_iter());
            self.report_sources(&changed);
        }
    }
}
