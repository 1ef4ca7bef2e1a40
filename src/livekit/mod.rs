//! A client of [LiveKit](https://livekit.io), an SFU of somebody else, for a server that sends its students there.
//!
//! Publishing needs no code of its own: LiveKit takes WHIP. A student's offer is answered
//! over LiveKit's signalling: a [`Placement`] joins the room in the student's name over one WebSocket, subscribes to
//! the tracks of the lecture, and passes on the offer and LiveKit's answer. The media goes from LiveKit to the student
//! directly.
//!
//! Only this program signs tokens and holds the API key, so no secret of LiveKit reaches a student.
//!
//! What LiveKit sends is parsed by `wire` and `joined`, which are pure.

mod error;
pub(crate) mod fuzz;
mod joined;
mod key;
mod placement;
mod server;
mod url;
mod wire;

pub use self::error::LiveKitError;
pub use self::key::{LiveKitKey, LiveKitKeyError};
pub use self::placement::{Placement, PlacementEvent, PlacementRequest};
pub use self::server::{LiveKitRoom, LiveKitServer};
pub use self::url::{LiveKitUrl, LiveKitUrlError};
