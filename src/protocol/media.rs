//! The media parts of messages: candidates, servers, tracks and codecs.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

/// The longest `candidate` line, in bytes; browsers write about 200.
pub(super) const MAX_CANDIDATE_BYTES: usize = 1_024;

/// The longest `sdpMid` and `usernameFragment`, in bytes (RFC 8839 allows 256 for the latter).
const MAX_CANDIDATE_FIELD_BYTES: usize = 256;

/// The most entries of an offer's `tracks`: a lecture has three tracks.
const MAX_NAMED_TRACKS: usize = 3;

/// The longest `a=mid`, in bytes: browsers write a number, and RFC 5888 sets no limit.
pub(super) const MAX_MID_BYTES: usize = 32;

/// One ICE candidate, the W3C's `RTCIceCandidateInit`; an empty `candidate` ends the list.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct IceCandidate {
    /// The candidate's attribute line, without `a=`.
    pub candidate: String,
    /// The media section's `a=mid`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sdp_mid: Option<String>,
    /// The media section's position.
    #[serde(rename = "sdpMLineIndex", skip_serializing_if = "Option::is_none")]
    pub sdp_m_line_index: Option<u16>,
    /// The ICE generation that the candidate belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub username_fragment: Option<String>,
}

/// A video track of a lecture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum VideoTrack {
    /// The screen, or the large video that is shown instead.
    Screen,
    /// The camera.
    Camera,
}

/// A track of a lecture, as a publisher names it in its offer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum TrackName {
    /// The audio.
    Audio,
    /// The screen, or the large video that is shown instead.
    Screen,
    /// The camera.
    Camera,
}

/// The tracks of a publisher's offer: for the `a=mid` of each section that sends, its track.
pub type OfferedTracks = BTreeMap<String, TrackName>;

/// A video codec that a lecture is sent in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum VideoCodec {
    /// H.264 (RFC 6184).
    H264,
    /// VP8 (RFC 7741).
    Vp8,
    /// A codec of a newer version.
    #[serde(other)]
    Unknown,
}

/// A STUN or TURN server that media may need, the W3C's `RTCIceServer`. Everybody in a room can read it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct IceServer {
    /// `stun:host:port` or `turn:host:port?transport=udp`.
    pub urls: Vec<String>,
    /// The TURN user name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// The TURN password; `Debug` hides it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential: Option<String>,
}

impl std::fmt::Debug for IceServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "IceServer({} as {})", self.urls.join(" "), self.username.as_deref().unwrap_or("anybody"))
    }
}

impl IceCandidate {
    /// Checks the lengths of the parts. The error is a sentence.
    pub fn check(&self) -> Result<(), String> {
        let too_long = |field: &Option<String>| field.as_ref().is_some_and(|f| f.len() > MAX_CANDIDATE_FIELD_BYTES);
        if self.candidate.len() > MAX_CANDIDATE_BYTES || too_long(&self.sdp_mid) || too_long(&self.username_fragment) {
            return Err(format!(
                "malformed message: a candidate has at most {MAX_CANDIDATE_BYTES} bytes, its mid and fragment \
                 {MAX_CANDIDATE_FIELD_BYTES}"
            ));
        }
        Ok(())
    }
}

/// Checks that an offer names few tracks, each once.
pub(super) fn check_tracks(tracks: &OfferedTracks) -> Result<(), String> {
    let distinct: BTreeSet<TrackName> = tracks.values().copied().collect();
    if tracks.len() > MAX_NAMED_TRACKS || tracks.keys().any(|mid| mid.len() > MAX_MID_BYTES) {
        return Err(format!(
            "malformed message: tracks names at most {MAX_NAMED_TRACKS} sections, by a mid of at most {MAX_MID_BYTES} \
             bytes"
        ));
    }
    if distinct.len() < tracks.len() {
        return Err("malformed message: tracks names one track for two sections".into());
    }
    Ok(())
}
