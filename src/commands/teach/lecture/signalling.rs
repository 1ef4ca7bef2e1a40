//! A lecture and the signalling server: who joins, leaves and offers.

use std::time::{Duration, Instant};

use super::Lecture;
use crate::commands::negotiation::{candidate_init, rejection};
use crate::commands::signal_failure;
use crate::commands::stage::StageOffer;
use crate::commands::teach::attendance::Now;
use crate::exit::Failure;
use crate::id::UserId;
use crate::protocol::{ClientMessage, ErrorCode, LeaveReason, ServerMessage, User};
use crate::report::StudentState;
use crate::sfu::OfferRefusal;
use crate::signal::SignalEvent;

/// The time from the teacher's return to the repeated orders, which a restarted server lacks. Students come back within
/// a second ([`Client`](crate::signal::Client)), and a lock or a new code must not keep them out.
const CLASS_IS_BACK_AFTER: Duration = Duration::from_secs(5);

impl Lecture<'_> {
    pub(super) fn on_signal(&mut self, event: SignalEvent) -> Result<(), Failure> {
        match event {
            SignalEvent::Joined { users, .. } => {
                if std::mem::take(&mut self.has_lost_server) {
                    self.reporter.notice("the signalling server is back: new students can join again");
                }
                self.joined(&users);
                // A server that has restarted does not know whose media runs.
                for target_uid in self.students.watching() {
                    self.send(ClientMessage::Connected { target_uid });
                }
                if !self.talk.rules().stage().speakers.is_empty() {
                    self.stage.tell_count();
                }
                self.orders_due = Some(Instant::now() + CLASS_IS_BACK_AFTER);
            }
            // The server never lets a teacher wait.
            SignalEvent::Waiting { .. } => {}
            SignalEvent::Lost { reason } => {
                self.has_lost_server = true;
                self.reporter.warn(format!(
                    "lost the signalling server ({reason}): the lecture goes on, but new students must wait; \
                     trying to reconnect"
                ));
            }
            SignalEvent::Message(message) => self.on_message(message),
            SignalEvent::Ended(error) => return Err(signal_failure(error)),
        }
        Ok(())
    }

    fn on_message(&mut self, message: ServerMessage) {
        match message {
            ServerMessage::Offer { user_id: user, source: Some(source), sdp, video, tracks, network, .. } => {
                self.stage.offer(StageOffer { user, source, sdp, video, tracks, network });
            }
            ServerMessage::Edges { edges } => self.talk.edges().set(edges),
            ServerMessage::Offer { user_id, sdp, .. } if self.talk.edges().contains(&user_id) => {
                if self.source.takes_students() {
                    self.sfu.offer_edge(user_id, sdp);
                } else {
                    self.reject_waiting(user_id);
                }
            }
            ServerMessage::Offer { user_id, sdp, video, network, .. } => {
                self.set_state(&user_id, StudentState::Connecting);
                if self.source.takes_students() {
                    self.sfu.offer(user_id, sdp, video, network);
                } else if !self.waiting.push(Instant::now(), user_id.clone(), sdp, video, network) {
                    self.reject_waiting(user_id);
                }
            }
            ServerMessage::Candidate { user_id, candidate, source: Some(source), .. } => {
                self.stage.candidate(user_id, &source, candidate);
            }
            ServerMessage::Candidate { user_id, candidate, .. } => {
                if let Some(candidate) = self.waiting.add_candidate(&user_id, candidate) {
                    self.sfu.candidate(user_id, candidate_init(candidate));
                }
            }
            ServerMessage::Join { users } => self.joined(&users),
            ServerMessage::Leave { users, reason } => users.into_iter().for_each(|user| self.left(user, reason)),
            ServerMessage::Error { code, message, .. } => match code {
                // The answer was for a student who has left meanwhile.
                ErrorCode::UnknownTarget => {}
                _ => {
                    let line = format!("the server reports an error: {message}");
                    self.server_errors.line(line).into_iter().for_each(|line| self.reporter.warn(line));
                }
            },
            ServerMessage::Lobby { users, count } => self.talk.lobby_changed(users, count, self.reporter),
            ServerMessage::Order { user_id, order } => {
                self.attendance.ordered(&order);
                let nickname = |user: &UserId| self.attendance.nickname(user).into();
                self.talk.ordered(user_id, &order, nickname, self.reporter);
                self.client.set_room(self.talk.membership().after_restart());
            }
            ServerMessage::Breakouts(breakouts) => self.talk.breakouts_told(breakouts, self.reporter),
            ServerMessage::Channel { message } => self.talk.breakout_said(message, self.reporter),
            ServerMessage::Joined { .. }
            | ServerMessage::Waiting { .. }
            | ServerMessage::RoomUserList { .. }
            | ServerMessage::Call { .. }
            | ServerMessage::Talk { .. }
            | ServerMessage::Heard { .. }
            | ServerMessage::Conference { .. }
            | ServerMessage::Accept { .. }
            | ServerMessage::Decline { .. }
            | ServerMessage::Participants(_)
            | ServerMessage::Room(_)
            // This teacher's own.
            | ServerMessage::Announcement { .. }
            | ServerMessage::FilePlace { .. }
            | ServerMessage::File(_)
            | ServerMessage::FileGone { .. }
            | ServerMessage::Pong
            | ServerMessage::Answer { .. }
            | ServerMessage::MemberCount { .. }
            | ServerMessage::Hangup { .. } => {}
        }
    }

    fn joined(&mut self, users: &[User]) {
        for user in users.iter().filter(|user| user.user_id != self.teach.user) {
            self.talk.joined(user);
            self.stage.signalling_back(&user.user_id);
            self.sfu.signalling_back(user.user_id.clone());
            self.attendance.joined(Now::read(), user);
            self.set_state(&user.user_id, StudentState::Joined);
        }
    }

    /// A user has left the room, as signalling sees it.
    fn left(&mut self, user: UserId, reason: LeaveReason) {
        let watches = self.students.get(&user) == Some(StudentState::Watching);
        // A student who lost signalling may still receive media, or speak. Then the SFU reports the end.
        let has_media = watches || self.talk.rules().has_slot(&user);
        let may_return = has_media && !matches!(reason, LeaveReason::Left | LeaveReason::Removed);
        self.talk.left(&user, may_return, &self.sfu, self.reporter);
        self.attendance.left(Now::read(), &user, reason);
        self.waiting.remove(&user);
        match reason {
            LeaveReason::Left | LeaveReason::Removed => {
                self.stage.left(&user);
                self.sfu.remove(user.clone());
                self.set_state(&user, StudentState::Left);
            }
            LeaveReason::Lost => {
                self.stage.signalling_lost(&user);
                self.sfu.signalling_lost(user.clone());
                if !watches {
                    self.set_state(&user, StudentState::Lost);
                }
            }
            LeaveReason::Ended | LeaveReason::Replaced => {}
        }
    }

    /// Passes on the offers that have waited for the encoder, once it sends.
    pub(super) fn offer_waiting(&mut self) {
        if !self.source.takes_students() {
            return;
        }
        for (user, offer) in self.waiting.take() {
            self.sfu.offer(user.clone(), offer.sdp, offer.video, offer.network);
            for candidate in offer.candidates {
                self.sfu.candidate(user.clone(), candidate_init(candidate));
            }
        }
    }

    pub(super) fn reject_waiting(&self, user: UserId) {
        self.send(rejection(user, None, &OfferRefusal::NotLive));
    }
}
