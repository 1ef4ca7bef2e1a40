//! A student with a real connection (ICE, DTLS, SRTP, data channel) that does more than a student does.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use classroom::bench::emulator::{Emulator, PathConfig, through, without_candidates};
use classroom::id::UserId;
use classroom::protocol::channel::PublisherMessage;
use classroom::protocol::{ClientMessage, IceCandidate, ServerMessage};
use classroom::viewer::{IceServers, Incoming, Viewer, ViewerConfig, ViewerEvent};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::ice::Credentials;
use super::member::{Member, Refusal};
use super::offer::{attribute, host_address};
use super::{PATIENCE, Target};

/// A connected student.
pub struct Insider {
    /// The connection.
    pub viewer: Viewer,
    /// By which its checks are signed.
    pub credentials: Credentials,
    /// The first host candidate of the student.
    pub address: Option<SocketAddrV4>,
    /// RTP packets received.
    pub packets: Arc<AtomicU64>,
    /// Messages of the data channel that were not read yet.
    pub heard: mpsc::UnboundedReceiver<PublisherMessage>,
    tasks: [JoinHandle<()>; 2],
    /// The bad network between this student and the teacher.
    line: Option<Emulator>,
}

impl Insider {
    /// Joins, offers and waits until the data channel is open.
    ///
    /// # Errors
    /// If the server or the teacher refuses, or the connection does not come in time.
    pub async fn join(target: &Target, from: Ipv4Addr, user: &str) -> Result<Self, Refusal> {
        Self::join_over(target, from, user, None).await
    }

    /// Joins over a bad network, if one is given.
    ///
    /// # Errors
    /// As [`Insider::join`].
    pub async fn join_over(
        target: &Target,
        from: Ipv4Addr,
        user: &str,
        line: Option<PathConfig>,
    ) -> Result<Self, Refusal> {
        let seed = rand::random();
        let start = |line: PathConfig| Emulator::start(target.media, line.clone(), line, seed);
        let line = line.map(start).transpose().map_err(|_| Refusal::Socket("no emulator"))?;
        let mut member = Member::join(target, from, user).await?;
        let teacher: UserId = target.teacher.parse().map_err(|_| Refusal::Socket("no teacher"))?;
        let packets = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&packets);
        let sink = Arc::new(move |incoming: Incoming<'_>| {
            if matches!(incoming, Incoming::Rtp(..)) {
                counted.fetch_add(1, Ordering::Relaxed);
            }
        });
        let config = ViewerConfig { bind: vec![format!("{from}:0")], ice_servers: IceServers::default() };
        let failed = |_| Refusal::Socket("no peer connection");
        let (viewer, sdp, mut events) = Viewer::offer(config, sink).await.map_err(failed)?;
        let ufrag = attribute(&sdp, "a=ice-ufrag:").unwrap_or_default();
        let mut address = sdp.lines().find_map(host_address);
        let sdp = if line.is_some() { without_candidates(&sdp) } else { sdp };
        member
            .say(&ClientMessage::Offer { entry: None, target_uid: teacher.clone(), sdp, video: None, tracks: None })
            .await;
        let answer = member.hear_until(|message| match message {
            ServerMessage::Answer { sdp, .. } => Some(Ok(sdp)),
            ServerMessage::Error { code, .. } => Some(Err(Refusal::Code(code))),
            ServerMessage::Hangup { .. } => Some(Err(Refusal::Socket("hung up"))),
            _ => None,
        });
        let answer = answer.await.unwrap_or(Err(Refusal::Socket("no answer")));
        let answer = match (answer, &line) {
            (Ok(answer), Some(line)) => through(&answer, line.address()),
            (Ok(answer), None) => answer,
            (Err(refusal), _) => {
                viewer.close().await;
                return Err(refusal);
            }
        };
        let credentials = Credentials::new(&ufrag, &answer).ok_or(Refusal::Socket("no credentials"))?;
        let _ = viewer.answer(answer).await;
        let opens = async {
            while let Some(event) = events.recv().await {
                match event {
                    ViewerEvent::Candidate(c) => {
                        address = address.or_else(|| host_address(&c.candidate));
                        if line.is_some() {
                            continue;
                        }
                        let (candidate, sdp_mid) = (c.candidate, c.sdp_mid);
                        let candidate = IceCandidate { candidate, sdp_mid, ..IceCandidate::default() };
                        member
                            .say(&ClientMessage::Candidate {
                                entry: None,
                                target_uid: teacher.clone(),
                                candidate,
                                source: None,
                            })
                            .await;
                    }
                    ViewerEvent::ChannelOpen => return true,
                    ViewerEvent::Gone => return false,
                    _ => {}
                }
            }
            false
        };
        if !timeout(PATIENCE, opens).await.unwrap_or(false) {
            viewer.close().await;
            return Err(Refusal::Socket("no media"));
        }
        let (words, heard) = mpsc::unbounded_channel();
        let listens = tokio::spawn(async move {
            while let Some(event) = events.recv().await {
                if let ViewerEvent::Heard(text) = event
                    && let Ok(message) = PublisherMessage::parse(&text)
                {
                    let _ = words.send(message);
                }
            }
        });
        let stays = tokio::spawn(async move { member.drain().await });
        Ok(Self { viewer, credentials, address, packets, heard, tasks: [listens, stays], line })
    }

    /// Leaves.
    pub async fn leave(self) {
        self.viewer.close().await;
        self.tasks.iter().for_each(JoinHandle::abort);
    }

    /// Disappears as a computer that loses its network: no packet leaves any more, and the WebSocket ends unclosed.
    /// Without a bad network between, this is the same as [`Insider::leave`].
    pub async fn vanish(self) {
        if let Some(line) = &self.line {
            let dead = PathConfig { loss: 1.0, ..PathConfig::default() };
            line.set(dead.clone(), dead);
        }
        self.leave().await;
    }
}
