//! A student without a screen: signalling, ICE, DTLS and SRTP for real, packets looked at and not decoded.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use classroom::id::{Nickname, RoomId, UserId};
use classroom::protocol::{ClientMessage, IceCandidate, ServerMessage};
use classroom::signal::{Client, ClientConfig, Goodbye, ServerUrl, SessionToken, SignalEvent};
use classroom::viewer::{Incoming, Viewer, ViewerConfig, ViewerEvent};

/// What one student saw of one stream.
#[derive(Default)]
struct Stream {
    highest: Option<u64>,
    first: u64,
    seen: u64,
}

/// What one student saw.
#[derive(Default)]
pub struct Seen(Mutex<HashMap<u32, Stream>>);

impl Seen {
    fn take(&self, packet: &[u8]) {
        let ssrc = u32::from_be_bytes(packet[8..12].try_into().unwrap());
        let number = u16::from_be_bytes([packet[2], packet[3]]);
        let mut streams = self.0.lock().unwrap();
        let stream = streams.entry(ssrc).or_default();
        // Extended sequence number: the one with these low bits that is nearest to the highest.
        let extended = match stream.highest {
            None => u64::from(number) + (1 << 32),
            Some(highest) => highest.wrapping_add_signed(i64::from(number.wrapping_sub(highest as u16).cast_signed())),
        };
        if stream.highest.is_none() {
            stream.first = extended;
        }
        stream.highest = Some(stream.highest.map_or(extended, |highest| highest.max(extended)));
        stream.seen += 1;
    }

    /// Packets seen, and packets that never came.
    pub fn sum(&self) -> (u64, u64) {
        let streams = self.0.lock().unwrap();
        streams.values().fold((0, 0), |(seen, lost), stream| {
            let expected = stream.highest.map_or(0, |highest| highest - stream.first + 1);
            (seen + stream.seen, lost + expected.saturating_sub(stream.seen))
        })
    }
}

/// A student whose connection stands.
pub struct Receiver {
    pub link: Viewer,
    client: Client,
    pub seen: Arc<Seen>,
}

impl Receiver {
    /// Joins a room in which 9999 teaches; returns when the connection stands.
    pub async fn join(server: ServerUrl, room: RoomId, user: UserId) -> Self {
        let (client, mut signals) = Client::connect(ClientConfig {
            server,
            room,
            room_name: None,
            user: user.clone(),
            nickname: Nickname::from(user.as_str()),
            publishes: false,
            session: SessionToken::fresh().session().clone(),
            epoch: 1,
            initial_deadline: Duration::from_secs(30),
        })
        .await
        .unwrap();
        let teacher: UserId = "9999".parse().unwrap();
        let seen = Arc::new(Seen::default());
        let sink_seen = Arc::clone(&seen);
        let sink = Arc::new(move |incoming: Incoming<'_>| {
            if let Incoming::Rtp(_, packet) = incoming {
                sink_seen.take(packet);
            }
        });
        let config = ViewerConfig { bind: vec!["127.0.0.1:0".to_owned()], ice_servers: Vec::new() };
        let (link, sdp, mut events) = Viewer::offer(config, sink).await.unwrap();
        client.send(ClientMessage::Offer { target_uid: teacher.clone(), sdp, video: None }).unwrap();
        loop {
            tokio::select! {
                signal = signals.recv() => match signal {
                    Some(SignalEvent::Message(ServerMessage::Answer { sdp, .. })) => {
                        link.answer(sdp).await.unwrap();
                    }
                    Some(_) => {}
                    None => panic!("signalling ended"),
                },
                event = events.recv() => match event {
                    Some(ViewerEvent::Connected) => break,
                    Some(ViewerEvent::Candidate(c)) => {
                        let candidate = IceCandidate { candidate: c.candidate, sdp_mid: c.sdp_mid, ..IceCandidate::default() };
                        client.send(ClientMessage::Candidate { target_uid: teacher.clone(), candidate }).unwrap();
                    }
                    Some(ViewerEvent::BeginningMissed(track)) => link.request_key_frame(track).await,
                    other => panic!("student {user}: {other:?}"),
                },
            }
        }
        tokio::spawn(async move { while events.recv().await.is_some() {} });
        tokio::spawn(async move { while signals.recv().await.is_some() {} });
        Self { link, client, seen }
    }

    /// Leaves politely.
    pub async fn leave(self) {
        self.link.close().await;
        self.client.leave(Goodbye::Leave).await;
    }
}
