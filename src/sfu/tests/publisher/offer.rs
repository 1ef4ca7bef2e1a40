//! The descriptions of a publisher for tests.

use crate::sdp::engine;

/// The ids of header extensions in the offer.
pub(super) const TWCC: u8 = 3;
pub(super) const MID: u8 = 4;
pub(super) const RID: u8 = 10;
pub(super) const REPAIRED_RID: u8 = 11;

/// Payload types of the offer.
pub(super) const OPUS: u8 = 111;
pub(super) const VP8: u8 = 96;
pub(super) const RTX: u8 = 97;

/// The value of the first line with this name.
pub(super) fn line(sdp: &str, name: &str) -> String {
    sdp.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim_end().to_owned()
}

/// The core's offer, with header extensions for its audio section and a section of video in two encodings.
pub(super) fn with_video(offer: &str) -> String {
    let extension = |id: u8, uri: &str| format!("a=extmap:{id} {uri}\r\n");
    let common = extension(TWCC, engine::TRANSPORT_NUMBER_URI) + &extension(MID, "urn:ietf:params:rtp-hdrext:sdes:mid");
    let offer = offer.replace("BUNDLE 0", "BUNDLE v 0").replace("a=recvonly", "a=sendonly");
    let offer = offer.replacen(
        "a=rtpmap:111 opus/48000/2\r\n",
        &format!("a=rtpmap:111 opus/48000/2\r\na=rtcp-fb:111 transport-cc\r\na=rtcp-fb:111 nack\r\n{common}"),
        1,
    );
    let line = |name: &str| offer.lines().find(|line| line.starts_with(name)).unwrap().to_owned();
    let transport = ["a=ice-ufrag", "a=ice-pwd", "a=setup"].map(line).join("\r\n");
    let rids = extension(RID, "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id")
        + &extension(REPAIRED_RID, "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id");
    format!(
        "{offer}m=video 9 UDP/TLS/RTP/SAVPF {VP8} {RTX}\r\nc=IN IP4 0.0.0.0\r\n{transport}\r\na=mid:v\r\na=sendonly\r\n\
         a=rtcp-mux\r\na=rtcp-rsize\r\na=rtpmap:{VP8} VP8/90000\r\na=rtcp-fb:{VP8} transport-cc\r\n\
         a=rtcp-fb:{VP8} nack\r\na=rtcp-fb:{VP8} nack pli\r\na=rtpmap:{RTX} rtx/90000\r\na=fmtp:{RTX} apt={VP8}\r\n\
         {common}{rids}a=rid:h send\r\na=rid:l send\r\na=simulcast:send h;l\r\n"
    )
}

/// The answer to the core's offer.
pub(super) fn without_video(answer: &str) -> String {
    let end = answer.find("m=video").unwrap();
    answer[..end].replace(" v\r\n", "\r\n")
}
