//! A student that signals and connects (ICE, DTLS, SRTP) and drops the packets that it gets.

use std::sync::Arc;
use std::time::Duration;

use classroom::id::{Nickname, RoomId, UserId};
use classroom::protocol::{ClientMessage, Credentials, IceCandidate, ServerMessage};
use classroom::signal::{Client, ClientConfig, Goodbye, ServerUrl, SessionToken, SignalEvent};
use classroom::tls::Trust;
use classroom::viewer::{IceServers, Incoming, Viewer, ViewerConfig, ViewerEvent};
use tokio::time::Instant;

/// A connected student.
pub struct Receiver {
    viewer: Viewer,
    client: Client,
}

impl Receiver {
    /// Joins a room in which 9999 teaches; returns when connected.
    pub async fn join(server: ServerUrl, room: RoomId, user: UserId) -> Self {
        let (client, mut signals) = Client::connect(ClientConfig {
            kind: None,
            client: None,
            server,
            trust: Trust::default(),
            room,
            room_name: None,
            user: user.clone(),
            nickname: Nickname::from(user.as_str()),
            publishes: false,
            credentials: Credentials {
                session: Some(SessionToken::fresh().session().clone()),
                ..Credentials::default()
            },
            epoch: 1,
            initial_deadline: Duration::from_secs(30),
        })
        .await
        .unwrap();
        let teacher: UserId = "9999".parse().unwrap();
        let sink = Arc::new(|_: Incoming<'_>| {});
        let config = ViewerConfig { bind: vec!["127.0.0.1:0".to_owned()], ice_servers: IceServers::default() };
        let (viewer, sdp, mut events) = Viewer::offer(config, sink).await.unwrap();
        let offer = || ClientMessage::Offer {
            entry: None,
            target_uid: teacher.clone(),
            sdp: sdp.clone(),
            video: None,
            tracks: None,
        };
        client.send(offer()).unwrap();
        let mut again = None;
        loop {
            tokio::select! {
                () = tokio::time::sleep_until(again.unwrap_or_else(Instant::now)), if again.is_some() => {
                    again = None;
                    client.send(offer()).unwrap();
                }
                signal = signals.recv() => match signal {
                    Some(SignalEvent::Message(ServerMessage::Answer { sdp, .. })) => {
                        viewer.answer(sdp).await.unwrap();
                    }
                    // Offers of a network are limited.
                    Some(SignalEvent::Message(ServerMessage::Error { retry_after_ms: Some(wait), .. })) => {
                        again = Some(Instant::now() + Duration::from_millis(wait));
                    }
                    Some(_) => {}
                    None => panic!("signalling ended"),
                },
                event = events.recv() => match event {
                    Some(ViewerEvent::Connected) => break,
                    Some(ViewerEvent::Candidate(c)) => {
                        let candidate = IceCandidate {
                            candidate: c.candidate,
                            sdp_mid: c.sdp_mid,
                            ..IceCandidate::default()
                        };
                        let target_uid = teacher.clone();
                        let (entry, source) = (None, None);
                        client.send(ClientMessage::Candidate { entry, target_uid, candidate, source }).unwrap();
                    }
                    Some(ViewerEvent::BeginningMissed(track)) => viewer.request_key_frame(track).await,
                    // A busy machine was silent for a while.
                    Some(ViewerEvent::Disturbed) => {}
                    other => panic!("student {user}: {other:?}"),
                },
            }
        }
        tokio::spawn(async move { while events.recv().await.is_some() {} });
        tokio::spawn(async move { while signals.recv().await.is_some() {} });
        Self { viewer, client }
    }

    /// Leaves with a goodbye.
    pub async fn leave(self) {
        self.viewer.close().await;
        self.client.leave(Goodbye::Leave).await;
    }
}
