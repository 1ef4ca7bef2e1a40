//! Sender reports, and what the student's reports tell of them.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use rtc::peer_connection::RTCPeerConnection;
use rtc::rtcp::sender_report::SenderReport;
use rtc::rtcp::source_description::{SdesType, SourceDescription, SourceDescriptionChunk, SourceDescriptionItem};

use super::{CNAME, Lanes, REPORT_EVERY, Rings};
use crate::rtp::timestamp_at;

impl Lanes {
    /// Writes a sender report for each track that has sent something and is due for one, and says whether there was
    /// one. It carries the time of capture: with the time of sending, the delay of the encoder would put sound and
    /// picture apart.
    pub(in crate::sfu) fn report(&mut self, now: Instant, rings: &Rings, connection: &mut RTCPeerConnection) -> bool {
        let mut reported = false;
        for lane in &mut self.lanes {
            let (packets, octets) = lane.subscription.counts();
            let due = lane.reported.is_none_or(|at| now.saturating_duration_since(at) >= REPORT_EVERY);
            let Some(newest) = rings[lane.encoding()].newest().filter(|_| due && packets > 0) else { continue };
            lane.reported = Some(now);
            reported = true;
            let ssrc = lane.subscription.ssrc();
            let report = SenderReport {
                ssrc,
                ntp_time: ntp_now(),
                rtp_time: timestamp_at(newest, now),
                packet_count: packets,
                octet_count: octets,
                ..Default::default()
            };
            let item = SourceDescriptionItem { sdes_type: SdesType::SdesCname, text: Bytes::from_static(CNAME) };
            let name = SourceDescription { chunks: vec![SourceDescriptionChunk { source: ssrc, items: vec![item] }] };
            if let Some(mut sender) = connection.rtp_sender(lane.reports) {
                let _ = sender.write_rtcp(now, vec![Box::new(report), Box::new(name)]);
            }
        }
        reported
    }
}

/// How long the way to a student and back is, by a block of its receiver report: from our last sender report to now,
/// without the time that it lay there (RFC 3550, 6.4.1). None where it has had no report, or claims what can't be.
pub(in crate::sfu) fn round_trip(last_sender_report: u32, delay: u32) -> Option<Duration> {
    const MOST: Duration = Duration::from_secs(10);
    if last_sender_report == 0 {
        return None;
    }
    let now = (ntp_now() >> 16) as u32;
    let units = now.wrapping_sub(last_sender_report).wrapping_sub(delay);
    let time = Duration::from_nanos(u64::from(units) * 1_000_000_000 / (1 << 16));
    (time <= MOST).then_some(time)
}

/// The wall clock as an NTP timestamp: seconds since 1900 and their fraction (RFC 3550, 4).
fn ntp_now() -> u64 {
    const UNIX_EPOCH_IN_NTP: u64 = 2_208_988_800;
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let fraction = (u64::from(since.subsec_nanos()) << 32) / 1_000_000_000;
    ((since.as_secs() + UNIX_EPOCH_IN_NTP) << 32) | fraction
}
