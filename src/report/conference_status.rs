//! The text of the status line during a call or a meeting. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use super::conference::{CallState, ParticipantState};
use super::event::{Event, SpeakerStats};
use super::format::{clock, counted};
use crate::id::{UserId, named};
use crate::rtp::Track;

/// The other participants, as their last events tell of them.
#[derive(Debug, Default)]
pub(super) struct ConferenceStatus {
    others: BTreeMap<UserId, Other>,
}

#[derive(Debug, Default)]
struct Other {
    /// The participant in a sentence.
    name: String,
    is_reconnecting: bool,
    tracks: BTreeMap<Track, SpeakerStats>,
}

/// What an event of a call or a meeting means for the status line.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// The program waits for this.
    Waits(String),
    /// The status line is [`ConferenceStatus::line`].
    Runs,
    /// Media has arrived from a participant.
    HasMedia,
    /// The call is over, or does not come about.
    Over(String),
}

impl ConferenceStatus {
    /// Applies an event. `None` for an event that is not about participants.
    pub(super) fn apply(&mut self, event: &Event) -> Option<Change> {
        Some(match event {
            Event::Call { user, nickname, state } => {
                let sentence = state.sentence(&named(user, nickname).to_string());
                match state {
                    CallState::Calling | CallState::Ringing => Change::Waits(sentence),
                    CallState::Accepted => Change::Runs,
                    CallState::Ended { .. } => {
                        self.others.clear();
                        Change::Over(sentence)
                    }
                }
            }
            Event::Participant { user, state: ParticipantState::Left, .. } => {
                self.others.remove(user);
                if self.others.is_empty() { Change::Waits("nobody else is here".to_owned()) } else { Change::Runs }
            }
            Event::Participant { user, nickname, state } => {
                let other = self.others.entry(user.clone()).or_default();
                other.name = named(user, nickname).to_string();
                match state {
                    ParticipantState::Connected => other.is_reconnecting = false,
                    ParticipantState::Reconnecting => other.is_reconnecting = true,
                    _ => {}
                }
                Change::Runs
            }
            Event::ParticipantStats(stats) => {
                let other = self.others.get_mut(&stats.user)?;
                other.tracks.insert(stats.track, stats.clone());
                if stats.frames > 0 { Change::HasMedia } else { Change::Runs }
            }
            _ => return None,
        })
    }

    /// The text; `live` is how long media has arrived. `None` without another participant.
    pub(super) fn line(&self, live: Duration) -> Option<String> {
        let who = match self.others.len() {
            0 => return None,
            1 => self.others.values().next()?.name.clone(),
            others => format!("{others} others"),
        };
        let tracks = || self.others.values().flat_map(|other| other.tracks.values()).filter(|track| track.frames > 0);
        let reconnecting = self.others.values().filter(|other| other.is_reconnecting).count();
        if tracks().next().is_none() {
            return Some(format!("connecting to {who}"));
        }
        let mut words = format!("live  {}  with {who}", clock(live));
        let picture = tracks().filter(|track| track.width > 0).min_by_key(|track| track.track);
        if let Some(picture) = picture.filter(|_| self.others.len() == 1) {
            words.push_str(&format!("  {}x{}", picture.width, picture.height));
        }
        words.push_str(&format!("  {} lost", tracks().map(|track| track.lost).sum::<u64>()));
        let freezes: u64 = tracks().map(|track| track.freezes).sum();
        if freezes > 0 {
            words.push_str(&format!("  {}", counted(freezes, "freeze")));
        }
        match reconnecting {
            0 => {}
            _ if self.others.len() == 1 => words.push_str("  |  reconnecting"),
            some => words.push_str(&format!("  |  reconnecting to {some}")),
        }
        Some(words)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::CallEnd;
    use crate::report::status::StatusLine;

    const TIME: Duration = Duration::from_secs(64);

    fn call(state: CallState) -> Event {
        Event::Call { user: "1002".parse().unwrap(), nickname: "Ben".into(), state }
    }

    fn participant(user: u32, state: ParticipantState) -> Event {
        Event::Participant { user: user.to_string().parse().unwrap(), nickname: "Ben".into(), state }
    }

    fn entered(user: u32) -> Event {
        participant(user, ParticipantState::Entered { sends: vec![] })
    }

    fn stats(user: u32, track: Track, (frames, lost, freezes): (u64, u64, u64)) -> Event {
        let (width, height) = if track.is_video() { (640, 360) } else { (0, 0) };
        let user = user.to_string().parse().unwrap();
        Event::ParticipantStats(SpeakerStats { user, track, frames, width, height, lost, freezes })
    }

    fn shows(status: &mut StatusLine, event: &Event) -> String {
        status.apply(event);
        status.line(TIME).unwrap()
    }

    #[test]
    fn a_call_is_shown_and_nothing_that_was_waited_for_before() {
        let mut status = StatusLine::default();
        status.wait("searching for the server");
        assert_eq!(shows(&mut status, &call(CallState::Calling)), "calling Ben (1002)");
        assert_eq!(shows(&mut status, &entered(1002)), "connecting to Ben (1002)");
        assert_eq!(shows(&mut status, &call(CallState::Accepted)), "connecting to Ben (1002)");
        assert!(!status.apply(&stats(1002, Track::Audio, (0, 0, 0))), "no media yet");
        assert!(status.apply(&stats(1002, Track::Audio, (50, 1, 0))), "the call is live");
        assert_eq!(status.line(TIME).unwrap(), "live  00:01:04  with Ben (1002)  1 lost");
        let line = shows(&mut status, &stats(1002, Track::Camera, (20, 2, 1)));
        assert_eq!(line, "live  00:01:04  with Ben (1002)  640x360  3 lost  1 freeze");
        let line = shows(&mut status, &participant(1002, ParticipantState::Reconnecting));
        assert!(line.ends_with("1 freeze  |  reconnecting"), "{line}");
        let line = shows(&mut status, &participant(1002, ParticipantState::Connected));
        assert!(line.ends_with("1 freeze"), "{line}");
        let over = call(CallState::Ended { reason: CallEnd::HungUp });
        assert_eq!(shows(&mut status, &over), "the call with Ben (1002) is over");
        status.wait("waiting for a call");
        // The next one: its time begins anew.
        assert_eq!(shows(&mut status, &call(CallState::Ringing)), "Ben (1002) calls");
        status.apply(&entered(1002));
        assert!(status.apply(&stats(1002, Track::Audio, (50, 1, 0))), "live again");
    }

    #[test]
    fn a_meeting_counts_the_others() {
        let mut status = StatusLine::default();
        status.wait("entering the meeting");
        status.apply(&entered(1002));
        assert_eq!(shows(&mut status, &entered(1003)), "connecting to 2 others");
        status.apply(&stats(1002, Track::Camera, (20, 2, 0)));
        let line = shows(&mut status, &stats(1003, Track::Camera, (20, 3, 1)));
        assert_eq!(line, "live  00:01:04  with 2 others  5 lost  1 freeze");
        let line = shows(&mut status, &participant(1003, ParticipantState::Reconnecting));
        assert!(line.ends_with("  |  reconnecting to 1"), "{line}");
        let line = shows(&mut status, &participant(1003, ParticipantState::Left));
        assert_eq!(line, "live  00:01:04  with Ben (1002)  640x360  2 lost");
        assert_eq!(shows(&mut status, &participant(1002, ParticipantState::Left)), "nobody else is here");
    }
}
