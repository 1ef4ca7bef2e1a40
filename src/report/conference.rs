//! Calls and meetings in events.

use serde::Serialize;

use super::stage::words;
use crate::protocol::{DeclineReason, TrackName};

/// The state of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum CallState {
    /// This member calls the other one, where it rings.
    Calling,
    /// The other one calls.
    Ringing,
    /// The call was taken.
    Accepted,
    /// The call is over, or does not come about.
    Ended {
        /// The reason.
        reason: CallEnd,
    },
}

/// Why a call is over, or does not come about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum CallEnd {
    /// One of the two has hung up, or has left.
    HungUp,
    /// The other one does not want to talk.
    Declined,
    /// The other one can use neither microphone nor camera.
    NoDevices,
    /// The other one is in a call.
    Busy,
    /// Nobody answered in time.
    NoAnswer,
    /// The other one is not in the room.
    NotThere,
    /// The connection was lost and did not come back.
    MediaLost,
}

impl From<DeclineReason> for CallEnd {
    fn from(reason: DeclineReason) -> Self {
        match reason {
            DeclineReason::Declined | DeclineReason::Unknown => Self::Declined,
            DeclineReason::NoDevices => Self::NoDevices,
            DeclineReason::Busy => Self::Busy,
            DeclineReason::NoAnswer => Self::NoAnswer,
            DeclineReason::Left => Self::NotThere,
        }
    }
}

impl CallState {
    /// The sentence about the other one.
    pub(super) fn sentence(self, whom: &str) -> String {
        match self {
            Self::Calling => format!("calling {whom}"),
            Self::Ringing => format!("{whom} calls"),
            Self::Accepted => format!("in a call with {whom}"),
            Self::Ended { reason } => reason.sentence(whom),
        }
    }
}

impl CallEnd {
    /// The sentence about the other one.
    pub fn sentence(self, whom: &str) -> String {
        match self {
            Self::HungUp => format!("the call with {whom} is over"),
            Self::Declined => format!("{whom} does not want to talk now"),
            Self::NoDevices => format!("{whom} can use neither microphone nor camera"),
            Self::Busy => format!("{whom} is in a call; try again later"),
            Self::NoAnswer => format!("{whom} did not answer"),
            Self::NotThere => format!("{whom} is not there: nobody with this user id is in the room"),
            Self::MediaLost => format!("the connection to {whom} was lost and did not come back"),
        }
    }
}

/// The state of a participant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum ParticipantState {
    /// The participant has entered, or returned.
    Entered {
        /// The tracks that it sends.
        sends: Vec<TrackName>,
    },
    /// The participant sends other tracks than before.
    Sends {
        /// The tracks that it sends now.
        sends: Vec<TrackName>,
    },
    /// Media flows in both directions.
    Connected,
    /// Nothing arrives at present.
    Reconnecting,
    /// The direct connection has ended, because the server carries the media.
    Moved,
    /// The participant can't decode what this member sends.
    Undecodable {
        /// The tracks.
        tracks: Vec<TrackName>,
        /// Their codec.
        codec: crate::rtp::Codec,
    },
    /// The participant is large for everybody.
    Large,
    /// The participant is not large for everybody any more.
    NotLarge,
    /// The participant asks the owner to be large for everybody.
    AsksForSpotlight,
    /// The participant has left.
    Left,
}

impl ParticipantState {
    /// The sentence about a participant; `None` if others say enough.
    pub(super) fn sentence(&self, whom: &str) -> Option<String> {
        Some(match self {
            Self::Entered { sends } => format!("{whom} is here, with {}", words(sends)),
            Self::Sends { sends } if !sends.contains(&TrackName::Audio) => {
                format!("{whom} is muted, and sends {}", words(sends))
            }
            Self::Sends { sends } => format!("{whom} sends {}", words(sends)),
            Self::Connected | Self::Moved => return None,
            Self::Reconnecting => format!("nothing arrives from {whom} at present; reconnecting"),
            Self::Undecodable { codec, .. } => {
                format!("{whom} can't decode {}, so it gets no picture from here", codec.encoding_name())
            }
            Self::Large => format!("{whom} is large for everybody"),
            Self::NotLarge => format!("{whom} is not large any more"),
            Self::AsksForSpotlight => format!("{whom} asks the owner to be large for everybody"),
            Self::Left => format!("{whom} has left"),
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::report::Event;

    #[test]
    fn calls_and_participants_are_events_with_a_state() {
        let user = || "1002".parse().unwrap();
        let call = |state| Event::Call { user: user(), nickname: "Ben".into(), state };
        let ended = call(CallState::Ended { reason: CallEnd::NoAnswer });
        let expected =
            json!({"event": "call", "user": "1002", "nickname": "Ben", "state": "ended", "reason": "no-answer"});
        assert_eq!(serde_json::to_value(&ended).unwrap(), expected);
        assert_eq!(ended.sentence().unwrap(), "Ben (1002) did not answer");
        let state = ParticipantState::Sends { sends: vec![TrackName::Camera] };
        let muted = Event::Participant { user: user(), nickname: "Ben".into(), state };
        let expected =
            json!({"event": "participant", "user": "1002", "nickname": "Ben", "state": "sends", "sends": ["camera"]});
        assert_eq!(serde_json::to_value(&muted).unwrap(), expected);
        assert_eq!(muted.sentence().unwrap(), "Ben (1002) is muted, and sends camera");
    }
}
