//! Why connections end.

use std::fmt;

/// The reason why a student's connection has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Departure {
    /// The student closed the connection or left the room.
    Left,
    /// ICE consent expired (RFC 7675), the student was lost to both signalling and ICE, or the thread of the peer's
    /// worker has ended.
    Lost,
    /// The student sent an offer but the connection was not established in time, or too many others were being
    /// established.
    NeverConnected,
    /// The student exceeded a limit that no browser exceeds.
    Misbehaved,
    /// The new publisher has no encoding in the codec of the student, who must offer again.
    OtherCodec,
    /// A bug in this program: the peer's code panicked.
    Failed,
}

impl Departure {
    /// The phrase for logs and JSON events.
    pub fn as_str(self) -> &'static str {
        match self {
            Departure::Left => "left",
            Departure::Lost => "lost",
            Departure::NeverConnected => "never connected",
            Departure::Misbehaved => "misbehaved",
            Departure::OtherCodec => "the publisher has another codec",
            Departure::Failed => "failed",
        }
    }
}

impl fmt::Display for Departure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
