//! A lecture and its stage: the media of the speakers follows the rules, and the rules hear of the media.

use super::Lecture;
use crate::commands::stage::{SpeakerFact, StageOutput};
use crate::commands::teach::attendance::Now;
use crate::commands::teach::teacher_views::ViewRequest;
use crate::room::talk::StageChange;

impl Lecture<'_> {
    /// Carries out what the rules have decided since the last call.
    pub(super) fn change_stage(&mut self) {
        for change in self.talk.take_stage_changes() {
            match &change {
                StageChange::Speaks { user, nickname, id, .. } => {
                    self.attendance.speaks(Now::read(), user);
                    self.views.open(user, nickname, *id);
                }
                StageChange::Ended { user, .. } => {
                    self.attendance.speaks_no_more(Now::read(), user);
                    self.views.close(user);
                }
                StageChange::Invited { .. } | StageChange::Accepted { .. } | StageChange::Lost { .. } => {}
            }
            self.stage.changed(change);
        }
    }

    pub(super) fn on_stage(&mut self, output: StageOutput) {
        match output {
            StageOutput::Send(message) => {
                if let Some(message) = self.views.take(message) {
                    self.send(message);
                }
            }
            StageOutput::Warn(sentence) => {
                self.stage_warnings.line(sentence).into_iter().for_each(|line| self.reporter.warn(line));
            }
            StageOutput::Fact(fact) => {
                let silent = match &fact {
                    SpeakerFact::Live { user, silent, .. } => Some((user.clone(), silent.clone())),
                    SpeakerFact::Lost { .. } | SpeakerFact::Failed { .. } => None,
                };
                self.talk.speaker(fact, &self.sfu, self.reporter);
                // The view opens first.
                self.change_stage();
                if let Some((user, silent)) = silent {
                    self.views.silent(&user, silent);
                }
            }
        }
    }

    pub(super) fn on_view(&mut self, request: ViewRequest) {
        match request {
            ViewRequest::Offer(offer) => self.stage.offer(offer),
            ViewRequest::Candidate(speaker, candidate) => {
                self.stage.candidate(self.teach.user.clone(), &speaker, candidate);
            }
        }
    }
}
