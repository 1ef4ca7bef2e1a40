//! Offers as encoders write them: the attributes and their order are those of the programs' sources.

/// A fingerprint of no certificate: these offers are answered, and nothing connects.
fn fingerprint() -> String {
    vec!["AB"; 32].join(":")
}

/// The offer of OBS 30, by libdatachannel: the fingerprint stands in the session, and setup at the end of a section.
pub fn obs() -> String {
    let end = "a=setup:actpass\r\na=ice-ufrag:LxTl\r\na=ice-pwd:CzFqsHGuOVUzB5Pv7yz9UQ\r\n";
    format!(
        "v=0\r\no=rtc 2937464578 0 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0 1\r\na=group:LS 0 1\r\n\
         a=msid-semantic:WMS *\r\na=ice-options:ice2,trickle\r\na=fingerprint:sha-256 {}\r\n\
         m=audio 9 UDP/TLS/RTP/SAVPF 111\r\nc=IN IP4 0.0.0.0\r\na=mid:0\r\na=sendonly\r\n\
         a=ssrc:2104214817 cname:W4uYp0Cx9sTq3vEk\r\n\
         a=ssrc:2104214817 msid:bN2fH7dK1mQz8LrA bN2fH7dK1mQz8LrA-audio\r\n\
         a=msid:bN2fH7dK1mQz8LrA bN2fH7dK1mQz8LrA-audio\r\na=rtcp-mux\r\na=rtpmap:111 opus/48000/2\r\n\
         a=fmtp:111 minptime=10;maxaveragebitrate=96000;stereo=1;sprop-stereo=1;useinbandfec=1\r\n{end}\
         m=video 9 UDP/TLS/RTP/SAVPF 96\r\nc=IN IP4 0.0.0.0\r\na=mid:1\r\na=sendonly\r\n\
         a=ssrc:2104214818 cname:W4uYp0Cx9sTq3vEk\r\n\
         a=ssrc:2104214818 msid:bN2fH7dK1mQz8LrA bN2fH7dK1mQz8LrA-video\r\n\
         a=msid:bN2fH7dK1mQz8LrA bN2fH7dK1mQz8LrA-video\r\na=rtcp-mux\r\na=rtpmap:96 H264/90000\r\n\
         a=rtcp-fb:96 nack\r\na=rtcp-fb:96 nack pli\r\na=rtcp-fb:96 goog-remb\r\n\
         a=fmtp:96 profile-level-id=42e01f;packetization-mode=1;level-asymmetry-allowed=1\r\n{end}",
        fingerprint()
    )
}

/// The offer of FFmpeg 8: it is the DTLS server, knows neither RTX nor feedback, and sends any profile of H.264.
pub fn ffmpeg() -> String {
    let transport = format!(
        "c=IN IP4 0.0.0.0\r\na=ice-ufrag:a174e2f0\r\na=ice-pwd:0ecbd5f24a4a2a4ee5a1cd4eb8f37dc1\r\n\
         a=fingerprint:sha-256 {}\r\na=setup:passive\r\n",
        fingerprint()
    );
    format!(
        "v=0\r\no=FFmpeg 4489045141692799359 2 IN IP4 127.0.0.1\r\ns=FFmpegPublishSession\r\nt=0 0\r\n\
         a=group:BUNDLE 0 1\r\na=extmap-allow-mixed\r\na=msid-semantic: WMS\r\n\
         m=audio 9 UDP/TLS/RTP/SAVPF 111\r\n{transport}a=mid:0\r\na=sendonly\r\na=msid:FFmpeg audio\r\na=rtcp-mux\r\n\
         a=rtpmap:111 opus/48000/2\r\na=ssrc:3180263485 cname:FFmpeg\r\na=ssrc:3180263485 msid:FFmpeg audio\r\n\
         m=video 9 UDP/TLS/RTP/SAVPF 106\r\n{transport}a=mid:1\r\na=sendonly\r\na=msid:FFmpeg video\r\na=rtcp-mux\r\n\
         a=rtcp-rsize\r\na=rtpmap:106 H264/90000\r\n\
         a=fmtp:106 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=64001f\r\n\
         a=ssrc:2894628931 cname:FFmpeg\r\na=ssrc:2894628931 msid:FFmpeg video\r\n"
    )
}
