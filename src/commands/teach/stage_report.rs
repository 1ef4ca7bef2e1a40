//! The events of the stage, for the teacher.

use crate::report::{Event, StageState};
use crate::room::talk::StageChange;

/// The event of a change.
pub(super) fn event(change: &StageChange) -> Event {
    let (user, nickname, state) = match change {
        StageChange::Invited { user, nickname } => (user, nickname, StageState::Invited),
        StageChange::Accepted { user, nickname, .. } => (user, nickname, StageState::Accepted),
        StageChange::Speaks { user, nickname, tracks, .. } => {
            (user, nickname, StageState::Live { tracks: tracks.clone() })
        }
        StageChange::Lost { user, nickname } => (user, nickname, StageState::Lost),
        StageChange::Ended { user, nickname, why } => (user, nickname, StageState::Ended { reason: (*why).into() }),
    };
    Event::Stage { user: user.clone(), nickname: nickname.clone().into(), state }
}
