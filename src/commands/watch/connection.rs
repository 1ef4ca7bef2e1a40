//! The peer connection to the publisher: offer, candidates, events, data channel.

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::time::Instant;

use super::Session;
use super::diagnosis::TierReport;
use super::signalling::Signalling;
use crate::commands::client_network;
use crate::commands::student_talk::Effect;
use crate::exit::Failure;
use crate::id::UserId;
use crate::protocol::channel::StudentMessage;
use crate::protocol::{ClientMessage, IceCandidate};
use crate::rtp::Track;
use crate::viewer::{Incoming, PacketSink, Viewer, ViewerConfig, ViewerEvent};

/// A connection to the publisher, from the offer on.
pub(super) struct PublisherConnection {
    pub(super) viewer: Viewer,
    pub(super) events: mpsc::Receiver<ViewerEvent>,
    pub(super) publisher: UserId,
    /// Whether the publisher's answer has come.
    pub(super) answered: bool,
    /// Whether the media comes from an engine: there is no data channel, and messages travel by signalling.
    pub(super) is_of_engine: bool,
}

impl Session<'_> {
    /// Offers a new connection to the publisher, which replaces the current one.
    pub(super) async fn connect(&mut self) -> Result<(), Failure> {
        let Some(publisher) = self.lesson.publisher().cloned() else { return Ok(()) };
        self.drop_connection();
        if let Signalling::Janus(janus) = &self.signalling {
            janus.subscribe(self.lesson.is_again());
            return Ok(());
        }
        let sink = self.packet_sink();
        let config = ViewerConfig { bind: self.bind_addresses(), ice_servers: self.ice_servers.clone() };
        let (viewer, sdp, events) = Viewer::offer(config, sink).await.map_err(|error| {
            Failure::internal(anyhow::anyhow!(
                "can't set up a connection: {error}; check that UDP is allowed and that --stun and --turn are right"
            ))
        })?;
        if !self.signalling.send(ClientMessage::Offer {
            entry: None,
            target_uid: publisher.clone(),
            sdp,
            video: None,
            tracks: None,
        }) {
            self.lesson.failed(Instant::now());
        }
        self.connection = Some(PublisherConnection { viewer, events, publisher, answered: false, is_of_engine: false });
        Ok(())
    }

    /// Closes the current connection.
    pub(super) fn drop_connection(&mut self) {
        if let Some(before) = self.connection.take() {
            // The other end may be gone, so don't wait for the goodbye.
            tokio::spawn(before.viewer.close());
            self.forget_connection();
        }
    }

    /// Where the packets of a connection go.
    pub(super) fn packet_sink(&self) -> PacketSink {
        let (screen, received) = (Arc::clone(&self.screen), self.stats.received());
        Arc::new(move |incoming: Incoming<'_>| {
            if let Incoming::Rtp(track, packet) = incoming {
                received.count(track, packet.len());
            }
            screen.push(incoming);
        })
    }

    pub(super) fn bind_addresses(&self) -> Vec<String> {
        client_network::bind_addresses(self.server.as_ref())
    }

    pub(super) async fn on_viewer(&mut self, event: Option<ViewerEvent>) {
        match event {
            Some(ViewerEvent::Candidate(candidate)) => {
                let Some(connection) = &self.connection else { return };
                let candidate = IceCandidate {
                    candidate: candidate.candidate,
                    sdp_mid: candidate.sdp_mid,
                    sdp_m_line_index: candidate.sdp_mline_index,
                    username_fragment: candidate.username_fragment,
                };
                self.signalling.candidate(&connection.publisher, candidate);
            }
            Some(ViewerEvent::Connected) => {
                self.lesson.connected(Instant::now());
                self.show_message(None);
                self.report_path().await;
            }
            Some(ViewerEvent::BeginningMissed(track)) => self.request_key_frame(track).await,
            Some(ViewerEvent::ChannelOpen) => {}
            Some(ViewerEvent::Heard(text)) => {
                let effect = self.talk.heard(&text, self.reporter, &self.screen);
                self.on_effect(effect).await;
            }
            Some(ViewerEvent::Disturbed) => self.on_disturbed(),
            Some(ViewerEvent::Gone) | None => {
                if self.connection.is_some() {
                    self.reporter.detail("the connection to the teacher is gone");
                    self.drop_connection();
                }
                self.lesson.failed(Instant::now());
            }
        }
    }

    /// Does what a message of the channel of the lecture asks for.
    pub(super) async fn on_effect(&mut self, effect: Effect) {
        match effect {
            Effect::Nothing => {}
            Effect::Welcomed(reply) => {
                self.speakers.welcomed(Instant::now());
                self.own_stage.welcomed();
                if let Some(reply) = reply {
                    self.send_to_teacher(reply).await;
                }
            }
            Effect::ReportViewing => self.send_to_teacher(StudentMessage::Viewing(self.viewing.viewing())).await,
            Effect::Tiers { tiers, estimate_kbps, reason } => {
                self.on_tier_report(TierReport { tiers, estimate_kbps, reason });
            }
            Effect::Stopped(stopped) => self.on_stopped(stopped),
            Effect::Stage(stage) => {
                self.own_stage.stage(&stage);
                self.speakers.listed(stage);
            }
            Effect::Invited { within_ms } => self.on_invited(within_ms).await,
            Effect::OffStage(reason) => self.own_stage.off_stage(reason).await,
        }
    }

    /// The lecture comes from somebody else from now on, if anybody has it.
    pub(super) fn on_hangup(&mut self) {
        if self.lesson.hung_up(Instant::now()) {
            self.reporter.detail("whoever sent the lecture to this student has ended the connection, or is gone");
            self.drop_connection();
        }
    }

    /// Nothing has arrived over the connection for some seconds.
    fn on_disturbed(&mut self) {
        self.check_for_pause();
        if self.has_just_paused() {
            return;
        }
        self.lesson.silent();
        if self.is_break {
            return;
        }
        self.reporter
            .warn("nothing has arrived from the teacher for some seconds; waiting for the connection to come back");
        self.show_message(Some("Nothing arrives from the teacher.\nWaiting for the connection to come back."));
    }

    /// Sends a message over the data channel, or by signalling if the connection has no data channel.
    pub(super) async fn send_to_teacher(&self, message: StudentMessage) {
        let sent = match &self.connection {
            Some(connection) if connection.is_of_engine => {
                self.signalling.send(ClientMessage::Talk { message: message.clone() })
            }
            Some(connection) => connection.viewer.say(&message.to_json()).await,
            None => false,
        };
        // A raised hand is sent again by itself when the teacher's welcome comes.
        if !sent && !matches!(message, StudentMessage::Hand { .. }) {
            self.reporter.warn("not sent: there is no connection to the teacher at the moment; try again later");
        }
    }

    pub(super) async fn request_key_frame(&self, track: Track) {
        if let Some(connection) = &self.connection {
            connection.viewer.request_key_frame(track).await;
        }
    }

    /// Resets everything that was about the current connection.
    fn forget_connection(&mut self) {
        self.tiers = None;
        self.expect_pictures();
        for event in self.diagnosis.connection_closed() {
            self.reporter.event(&event);
        }
    }
}
