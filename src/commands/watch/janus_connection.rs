//! The connection to a Janus server, up to `--timeout`.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use crate::cli::{Watch, WatchedJanus};
use crate::commands::janus::{janus_failure, janus_room};
use crate::commands::or_never;
use crate::exit::Failure;
use crate::janus::{JanusError, JanusEvent, Subscriber};
use crate::protocol::IceCandidate;
use crate::report::Reporter;
use crate::signal::ServerUrl;

/// The connection to a Janus server.
pub(super) struct JanusConnection<'a> {
    subscriber: Subscriber,
    server: ServerUrl,
    reporter: &'a Reporter,
    /// `--timeout`, up to the first join.
    limit: Option<(Instant, Duration)>,
    /// Why the room can't be used yet.
    why: Option<JanusError>,
}

impl<'a> JanusConnection<'a> {
    /// Starts to connect.
    ///
    /// # Errors
    /// If a file of the flags can't be read.
    pub(super) fn start(
        watch: &Watch,
        janus: &WatchedJanus,
        begun: Instant,
        reporter: &'a Reporter,
    ) -> Result<Self, Failure> {
        let WatchedJanus { access, feed } = janus;
        let member = &watch.member;
        let room = janus_room((access, &member.room), &member.nickname, &member.trust, reporter)?;
        reporter.status("connecting to the Janus server");
        let limit = member.timeout.map(|timeout| (begun + timeout, timeout));
        let server = access.url.server().clone();
        Ok(Self { subscriber: Subscriber::start(room, feed.clone()), server, reporter, limit, why: None })
    }

    /// Waits for the next event. Cancel-safe.
    ///
    /// # Errors
    /// If Janus refuses this student, or the room can't be joined in time.
    pub(super) async fn next(&mut self) -> Result<JanusEvent, Failure> {
        loop {
            let event = tokio::select! {
                event = self.subscriber.next() => event,
                () = or_never(self.limit.map(|(at, _)| sleep_until(at))) => return Err(self.too_late()),
            };
            match event {
                Some(JanusEvent::Waiting(why)) => {
                    if self.why.as_ref() != Some(&why) {
                        self.reporter.notice(format!("waiting: {why}"));
                    }
                    self.why = Some(why);
                }
                Some(JanusEvent::Ended(error)) => return Err(janus_failure(error)),
                Some(event) => {
                    if matches!(event, JanusEvent::Joined(_)) {
                        self.limit = None;
                    }
                    return Ok(event);
                }
                None => return std::future::pending().await,
            }
        }
    }

    fn too_late(&self) -> Failure {
        let seconds = self.limit.map_or(0.0, |(_, timeout)| timeout.as_secs_f32());
        let within = format!("within {seconds} s (--timeout)");
        match &self.why {
            Some(why) if why.is_refusal() => {
                Failure::nobody_taught(anyhow::anyhow!("nobody published {within}: {why}"))
            }
            Some(why) => Failure::unreachable(anyhow::anyhow!("no Janus server {within}: {why}; check --janus")),
            None => Failure::unreachable(anyhow::anyhow!("no answer of {} {within}; check --janus", self.server)),
        }
    }

    pub(super) fn server(&self) -> &ServerUrl {
        &self.server
    }

    pub(super) fn subscribe(&self, is_again: bool) {
        self.subscriber.subscribe(is_again);
    }

    pub(super) fn answer(&self, sdp: String) {
        self.subscriber.answer(sdp);
    }

    pub(super) fn candidate(&self, candidate: IceCandidate) {
        self.subscriber.candidate(candidate);
    }

    pub(super) fn probe(&self) {
        self.subscriber.probe();
    }

    pub(super) async fn leave(self) {
        self.subscriber.leave().await;
    }
}
