//! A lecture at a MediaMTX: paths that nobody else knows, to which this server publishes by WHIP, and which students
//! get by WHEP. MediaMTX has one video on a path, and sends everybody what it gets.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::EngineEvent;
use super::lecture::Lecture;
use super::sessions::{SessionEnd, SessionEvent, SessionTask, Sessions};
use crate::commands::whip_out::Host;
use crate::http::whip_client::{Endpoint, Opened, WhipError, WhipUrl};
use crate::id::UserId;
use crate::protocol::IceCandidate;
use crate::rtp::Track;
use crate::sdp::foreign::ForeignOffer;
use crate::sdp::restart;
use crate::tls::Trust;

/// MediaMTX has a stream up to two seconds after the connection of its publisher, and answers 404 before. A student
/// asks again after this pause, for so long.
const ASKS_AGAIN_AFTER: Duration = Duration::from_millis(200);
const ARRIVES_WITHIN: Duration = Duration::from_secs(3);

/// The students of a lecture at a MediaMTX.
pub(super) struct MediaMtxStudents {
    endpoint: Endpoint,
    lecture: Lecture,
    sessions: Sessions,
}

/// An endpoint of a new path.
fn endpoint(url: &WhipUrl, path: &str, protocol: &str) -> Result<Endpoint, String> {
    let trust = Trust::roots(None).map_err(|error| error.to_string())?;
    let url = format!("{url}/{path}/{protocol}").parse::<WhipUrl>().map_err(|error| error.to_string())?;
    Ok(Endpoint { url, bearer: None, trust })
}

impl MediaMtxStudents {
    /// Returns the way to publish on a new path, and its students.
    ///
    /// # Errors
    /// If the certificates of this computer can't be read.
    pub(super) fn start(url: &WhipUrl, lecture: Lecture) -> Result<(Host, Self), String> {
        let path = format!("classroom-{:032x}", rand::random::<u128>());
        let host = Host::Whip(endpoint(url, &path, "whip")?);
        let endpoint = endpoint(url, &path, "whep")?;
        Ok((host, Self { endpoint, lecture, sessions: Sessions::new() }))
    }

    /// Whether a track is published: audio, and one video.
    pub(super) fn takes(&self, track: Track) -> bool {
        !track.is_video() || self.lecture.videos.first() == Some(&track)
    }

    /// A student offers a connection, in place of any before.
    pub(super) fn offer(&mut self, user: UserId, sdp: &str) {
        let session = Session {
            endpoint: self.endpoint.clone(),
            offer: ForeignOffer::new(sdp),
            lecture: self.lecture.clone(),
            has_failed: self.sessions.has_failed(&user),
        };
        self.sessions.start(user, |task| session.serve(task));
    }

    /// A candidate of a student.
    pub(super) fn candidate(&self, user: &UserId, candidate: IceCandidate) {
        self.sessions.candidate(user, candidate);
    }

    /// The student has left, or is connected elsewhere.
    pub(super) fn remove(&mut self, user: &UserId) {
        self.sessions.remove(user);
    }

    /// The next event. Cancel-safe.
    pub(super) async fn next(&mut self) -> EngineEvent {
        self.sessions.next().await
    }
}

/// One student's session.
struct Session {
    endpoint: Endpoint,
    offer: ForeignOffer,
    lecture: Lecture,
    /// Whether the student had an answer from here, and no media.
    has_failed: bool,
}

impl Session {
    /// From the offer to the end of the session.
    async fn serve(self, mut task: SessionTask) {
        let failed = |error: WhipError| SessionEvent::Ended(SessionEnd::Failed(error.to_string()));
        let Opened { answer, session, .. } = match self.open(&task).await {
            Ok(opened) => opened,
            Err(error) => return task.tell(failed(error)).await,
        };
        match self.answered(&answer) {
            Some(answer) => task.tell(SessionEvent::Answer(answer)).await,
            None => task.tell(failed(WhipError::Answer("its answer does not fit the offer"))).await,
        }
        let Some(mut session) = session else { return };
        while let Some(candidate) = task.candidate().await {
            session.add_candidates(&restart::fragment_of(&self.offer.sdp, &candidate.candidate)).await;
        }
        session.end().await;
    }

    /// The answer for the student.
    fn answered(&self, answer: &str) -> Option<String> {
        // MediaMTX answers the section of a further video as if it sent something there.
        let mut video = self.lecture.videos.first().copied();
        let named = |_: &str, kind: &str| if kind == "audio" { Some(Track::Audio) } else { video.take() };
        self.offer.answered(answer, self.lecture.codec, named)
    }

    async fn open(&self, task: &SessionTask) -> Result<Opened, WhipError> {
        if self.has_failed {
            return Err(WhipError::Answer("its media does not arrive"));
        }
        let until = Instant::now() + ARRIVES_WITHIN;
        loop {
            match self.endpoint.open(&self.offer.sdp).await {
                Err(error) if error.is_not_found() && Instant::now() < until && !task.is_over() => {
                    sleep(ASKS_AGAIN_AFTER).await;
                }
                opened => return opened,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtp::{Codec, Encoding};

    #[test]
    fn a_student_with_sections_for_two_videos_gets_the_one_that_is_there() {
        let section = |kind: &str, mid: u8, rest: &str| {
            format!("m={kind} 9 UDP/TLS/RTP/SAVPF 102\r\na=mid:{mid}\r\na=rtpmap:102 H264/90000\r\n{rest}\r\n")
        };
        let all = |video: &str, other: &str| {
            format!("v=0\r\n{}{}{}", section("audio", 0, video), section("video", 1, video), section("video", 2, other))
        };
        let offer = ForeignOffer::new(&all("a=recvonly", "a=recvonly"));
        let of = |track, codec| (Encoding::full(track, codec), 1);
        let lecture = Lecture::of(&[of(Track::Audio, Codec::Opus), of(Track::Screen, Codec::H264)]);
        let endpoint = endpoint(&"http://h:8889".parse().unwrap(), "x", "whep").unwrap();
        let session = Session { endpoint, offer, lecture, has_failed: false };
        // As MediaMTX 1.20.1 does.
        let answer = session.answered(&all("a=ssrc:7 cname:mediamtx\r\na=sendonly", "a=sendonly")).unwrap();
        assert_eq!(answer.matches("a=msid:classroom screen\r\n").count(), 1, "{answer}");
        assert!(answer.ends_with("a=inactive\r\n") && answer.matches("a=sendonly").count() == 2, "{answer}");
    }
}
