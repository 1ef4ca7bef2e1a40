//! `serve --print-mediamtx`: the configuration of a MediaMTX server that gets lectures from this one by WHEP, once
//! each, while somebody watches there (an edge).

use crate::signal::ServerUrl;

/// The configuration, as YAML. MediaMTX takes one video on a path, so the camera has a path of its own.
pub(super) fn configuration(server: &ServerUrl) -> String {
    let scheme = if server.uses_tls() { "wheps" } else { "whep" };
    let origin = format!("{scheme}://{}", server.authority());
    // The ids of rooms.
    let room = "([A-Za-z0-9._-]+)";
    let path = |pattern: &str, source: &str| {
        format!(
            "  \"~^{pattern}$\":\n    source: {origin}/whep/{source}\n    sourceOnDemand: yes\n    \
             sourceOnDemandStartTimeout: 15s\n    sourceOnDemandCloseAfter: 10s\n"
        )
    };
    let tls = if server.uses_tls() {
        "# If MediaMTX does not know the CA of the certificate, add to both paths: sourceFingerprint: SHA256\n"
    } else {
        ""
    };
    format!(
        "# MediaMTX gets each lecture of {origin} once, while somebody plays it here:\n\
         #   http://EDGE:8889/room/10013            a page with the screen and the sound\n\
         #   http://EDGE:8889/room/10013/whep       for WHEP players; /camera/whep has the camera\n\
         # In a room with a join code, add to both paths: whepBearerToken: CODE\n\
         {tls}\
         webrtcAddress: :8889\n\
         webrtcLocalUDPAddress: :8189\n\
         rtsp: no\nrtmp: no\nhls: no\nsrt: no\nmoq: no\n\
         paths:\n{}{}",
        path(&format!("room/{room}"), "$G1"),
        path(&format!("room/{room}/camera"), "$G1/camera"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_for_the_screen_and_one_for_the_camera() {
        let plain = configuration(&ServerUrl::new("192.168.1.5", 18_080));
        assert!(plain.contains("source: whep://192.168.1.5:18080/whep/$G1\n"), "{plain}");
        assert!(plain.contains("source: whep://192.168.1.5:18080/whep/$G1/camera\n"), "{plain}");
        assert!(!plain.contains("sourceFingerprint") && plain.lines().all(|line| line.len() <= 120), "{plain}");
        let secure = configuration(&ServerUrl::new("school.example", 443).with_tls(true));
        assert!(secure.contains("wheps://school.example") && secure.contains("sourceFingerprint"), "{secure}");
    }
}
