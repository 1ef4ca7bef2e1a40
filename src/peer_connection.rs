//! A peer connection of the async `webrtc` API with its data channel: what viewers, publishers and pairs share.

mod file_channel;
mod handshake_socket;
mod local_path;

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use rtc::interceptor::Registry;
use rtc::peer_connection::configuration::RTCIceTransportPolicy;
use rtc::peer_connection::configuration::media_engine::MediaEngine;
use rtc::peer_connection::configuration::setting_engine::SettingEngine;
use rtc::peer_connection::transport::{RTCIceCandidate, RTCIceCandidateType};
use tokio::sync::{mpsc, watch};
use webrtc::data_channel::{DataChannel, DataChannelEvent, RTCDataChannelInit};
use webrtc::error::Error;
use webrtc::media_stream::track_remote::TrackRemote;
use webrtc::peer_connection::{
    PeerConnection, PeerConnectionBuilder, PeerConnectionEventHandler, RTCConfigurationBuilder, RTCIceCandidateInit,
    RTCIceGatheringState, RTCIceServer, RTCPeerConnectionIceEvent, RTCPeerConnectionState, RTCSessionDescription,
};

pub use self::file_channel::{FileChannel, FileChannelEvent, FileDigest};
use self::handshake_socket::HandshakeRuntime;
pub(crate) use self::local_path::{Link, LinkClient, LocalPath, PathLimits};
use crate::protocol::channel::CHANNEL_LABEL;
use crate::protocol::{FILE_CHANNEL_LABEL, PairFileId};
use crate::sdp::ice::IceServers;

/// The most events that may wait: states, messages, a candidate for each address of this machine, and those of the
/// halves.
pub(crate) const EVENT_QUEUE: usize = 256;

/// The most bytes that may be in flight over the data channel.
const SEND_BUFFER_BYTES: usize = 64 * 1024;

/// The time limit of [`Connection::close`].
const CLOSE_WITHIN: Duration = Duration::from_secs(1);

/// An event of a connection.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum ConnectionEvent {
    /// A local candidate, to be sent to the other side.
    Candidate(RTCIceCandidateInit),
    /// Media may flow.
    Connected,
    /// The data channel is open.
    ChannelOpen,
    /// A text message arrived over the data channel; it is not parsed yet.
    Heard(String),
    /// Nothing has arrived for some seconds; the connection may recover.
    Disturbed,
    /// The connection is gone: lost, or closed by the other side.
    Gone,
}

/// A function that handles a track whose first packet has arrived.
pub(crate) type OnTrack = Box<dyn Fn(Arc<dyn TrackRemote>) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync>;

/// The setup of a connection.
pub(crate) struct Setup {
    /// The addresses to bind UDP sockets to; an unspecified address means one socket for each interface.
    pub(crate) bind: Vec<String>,
    pub(crate) ice_servers: IceServers,
    pub(crate) media_engine: MediaEngine,
    pub(crate) settings: SettingEngine,
    pub(crate) registry: Registry,
    pub(crate) hooks: Hooks,
}

/// A candidate of the selected pair.
pub(crate) struct SelectedCandidate {
    pub(crate) typ: RTCIceCandidateType,
    /// None for a name.
    pub(crate) address: Option<SocketAddr>,
}

/// What the halves of a connection do when something happens.
#[derive(Default)]
pub(crate) struct Hooks {
    /// Media may flow.
    pub(crate) connected: Option<Box<dyn Fn() + Send + Sync>>,
    pub(crate) track: Option<OnTrack>,
    /// Whether the other side may make the data channel.
    pub(crate) takes_channel: bool,
    /// Gets the channels that the other side makes for files; without it, nobody takes files.
    pub(crate) files: Option<mpsc::Sender<FileChannel>>,
}

type Channel = Arc<Mutex<Option<Arc<dyn DataChannel>>>>;

/// A connection. It must be [closed](Self::close): the library keeps a dropped one alive.
pub(crate) struct Connection<E> {
    library: Arc<dyn PeerConnection>,
    channel: Channel,
    events: mpsc::Sender<E>,
    /// Whether all candidates of this side are known.
    has_gathered: Arc<watch::Sender<bool>>,
}

impl<E: From<ConnectionEvent> + Send + 'static> Connection<E> {
    /// Makes a connection. Nothing is negotiated yet. An event that finds no room in the queue is lost.
    ///
    /// # Errors
    /// If no socket can be bound or the URL of a server is wrong.
    pub(crate) async fn new(setup: Setup, events: mpsc::Sender<E>) -> Result<Self, Error> {
        let Setup { bind, ice_servers, media_engine, settings, registry, hooks } = setup;
        let channel = Channel::default();
        let has_gathered = Arc::new(watch::Sender::new(false));
        let of_handler = (Arc::clone(&channel), Arc::clone(&has_gathered));
        let handler = Handler { events: events.clone(), hooks, channel: of_handler.0, has_gathered: of_handler.1 };
        let IceServers { servers, relay_only } = ice_servers;
        let servers = servers.into_iter().map(RTCIceServer::from).collect();
        let policy = if relay_only { RTCIceTransportPolicy::Relay } else { RTCIceTransportPolicy::All };
        let configuration = RTCConfigurationBuilder::new().with_ice_servers(servers).with_ice_transport_policy(policy);
        let building = PeerConnectionBuilder::new()
            .with_configuration(configuration.build())
            .with_media_engine(media_engine)
            .with_setting_engine(settings)
            .with_interceptor_registry(registry)
            .with_handler(Arc::new(handler))
            .with_runtime(Arc::new(HandshakeRuntime))
            .with_udp_addrs(bind)
            .with_data_channel_send_buffer_limit(SEND_BUFFER_BYTES)
            .build();
        // Boxed, because the library's future has 20 kB.
        let library: Arc<dyn PeerConnection> = Arc::new(Box::pin(building).await?);
        Ok(Self { library, channel, events, has_gathered })
    }

    /// The library's connection.
    pub(crate) fn library(&self) -> &dyn PeerConnection {
        &*self.library
    }

    /// Makes the data channel.
    ///
    /// # Errors
    /// If the connection has ended.
    pub(crate) async fn make_channel(&self) -> Result<(), Error> {
        listen(&self.channel, self.library.create_data_channel(CHANNEL_LABEL, None).await?, self.events.clone());
        Ok(())
    }

    /// Makes the data channel of a file.
    ///
    /// # Errors
    /// If the connection has ended.
    pub(crate) async fn open_file(&self, id: PairFileId) -> Result<FileChannel, Error> {
        let init = RTCDataChannelInit { ordered: true, protocol: id.as_str().to_owned(), ..Default::default() };
        let channel = self.library.create_data_channel(FILE_CHANNEL_LABEL, Some(init)).await?;
        Ok(FileChannel::new(id, channel))
    }

    /// Makes an offer, and applies it.
    ///
    /// # Errors
    /// If the connection has ended.
    pub(crate) async fn offer(&self) -> Result<String, Error> {
        let offer = self.library.create_offer(None).await?;
        self.library.set_local_description(offer).await?;
        self.local_description().await
    }

    /// Makes an offer that restarts ICE, and applies it.
    ///
    /// # Errors
    /// If the connection has ended.
    pub(crate) async fn restart_ice(&self) -> Result<String, Error> {
        self.has_gathered.send_replace(false);
        self.library.restart_ice().await?;
        self.offer().await
    }

    /// Waits until all candidates of this side are known, at most this long.
    pub(crate) async fn gathered(&self, within: Duration) {
        let mut has_gathered = self.has_gathered.subscribe();
        let _ = tokio::time::timeout(within, has_gathered.wait_for(|has| *has)).await;
    }

    /// The local description with the candidates so far.
    ///
    /// # Errors
    /// If there is none.
    pub(crate) async fn local_description(&self) -> Result<String, Error> {
        Ok(self.library.local_description().await.ok_or(Error::ErrConnectionClosed)?.sdp)
    }

    /// Applies the other side's answer.
    ///
    /// # Errors
    /// If `sdp` is not an answer to our offer.
    pub(crate) async fn answered(&self, sdp: String) -> Result<(), Error> {
        self.library.set_remote_description(RTCSessionDescription::answer(sdp)?).await
    }

    /// Applies an offer of the other side, and makes the answer, which is not applied yet.
    ///
    /// # Errors
    /// If `sdp` is not an offer, or the connection has ended.
    pub(crate) async fn answer_to(&self, sdp: String) -> Result<RTCSessionDescription, Error> {
        self.library.set_remote_description(RTCSessionDescription::offer(sdp)?).await?;
        self.library.create_answer(None).await
    }

    /// Applies an own answer, and returns it with the candidates so far.
    ///
    /// # Errors
    /// If the connection has ended.
    pub(crate) async fn apply_answer(&self, answer: RTCSessionDescription) -> Result<String, Error> {
        self.library.set_local_description(answer).await?;
        self.local_description().await
    }

    /// Adds a candidate of the other side. A malformed one is ignored.
    pub(crate) async fn candidate(&self, candidate: RTCIceCandidateInit) {
        let _ = self.library.add_ice_candidate(candidate).await;
    }

    /// Sends a text message over the data channel; returns false if the channel is not open, or full.
    pub(crate) async fn say(&self, text: &str) -> bool {
        let channel = self.channel.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match channel {
            Some(channel) => channel.try_send_text(text).await.is_ok(),
            None => false,
        }
    }

    /// The local and the remote candidate between which media flows, if there are any.
    pub(crate) async fn selected_pair(&self) -> Option<(SelectedCandidate, SelectedCandidate)> {
        let ice = self.library.sctp().await?.transport().ice_transport();
        let pair = ice.get_selected_candidate_pair().await.ok()??;
        let selected = |candidate: &RTCIceCandidate| {
            let address = candidate.address.parse().ok().map(|ip| SocketAddr::new(ip, candidate.port));
            SelectedCandidate { typ: candidate.typ, address }
        };
        Some((selected(pair.local()), selected(pair.remote())))
    }

    /// The address at a TURN server from which media is relayed; `None` if media flows directly, or not at all.
    pub(crate) async fn relayed_address(&self) -> Option<SocketAddr> {
        let (local, _) = self.selected_pair().await?;
        local.address.filter(|_| local.typ == RTCIceCandidateType::Relay)
    }

    /// Closes the connection, and waits at most a second for that.
    pub(crate) async fn close(&self) {
        let _ = tokio::time::timeout(CLOSE_WITHIN, self.library.close()).await;
    }
}

/// Converts the messages of the data channel to events, until the channel closes with the connection.
fn listen<E: From<ConnectionEvent> + Send + 'static>(
    known: &Channel,
    channel: Arc<dyn DataChannel>,
    events: mpsc::Sender<E>,
) {
    *known.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&channel));
    tokio::spawn(async move {
        while let Some(event) = channel.poll().await {
            let event = match event {
                DataChannelEvent::OnOpen => ConnectionEvent::ChannelOpen,
                DataChannelEvent::OnMessage(message) if message.is_string => {
                    ConnectionEvent::Heard(String::from_utf8_lossy(&message.data).into_owned())
                }
                _ => continue,
            };
            let _ = events.try_send(event.into());
        }
    });
}

struct Handler<E> {
    events: mpsc::Sender<E>,
    hooks: Hooks,
    channel: Channel,
    has_gathered: Arc<watch::Sender<bool>>,
}

impl<E: From<ConnectionEvent>> Handler<E> {
    fn tell(&self, event: ConnectionEvent) {
        let _ = self.events.try_send(event.into());
    }
}

#[async_trait]
impl<E: From<ConnectionEvent> + Send + 'static> PeerConnectionEventHandler for Handler<E> {
    async fn on_ice_candidate(&self, event: RTCPeerConnectionIceEvent) {
        if let Ok(candidate) = event.candidate.to_json() {
            self.tell(ConnectionEvent::Candidate(candidate));
        }
    }

    async fn on_ice_gathering_state_change(&self, state: RTCIceGatheringState) {
        self.has_gathered.send_replace(state == RTCIceGatheringState::Complete);
    }

    async fn on_connection_state_change(&self, state: RTCPeerConnectionState) {
        match state {
            RTCPeerConnectionState::Connected => {
                if let Some(connected) = &self.hooks.connected {
                    connected();
                }
                self.tell(ConnectionEvent::Connected);
            }
            RTCPeerConnectionState::Disconnected => self.tell(ConnectionEvent::Disturbed),
            RTCPeerConnectionState::Failed | RTCPeerConnectionState::Closed => self.tell(ConnectionEvent::Gone),
            _ => {}
        }
    }

    async fn on_track(&self, remote: Arc<dyn TrackRemote>) {
        if let Some(track) = &self.hooks.track {
            track(remote).await;
        }
    }

    async fn on_data_channel(&self, channel: Arc<dyn DataChannel>) {
        let label = channel.label().await.unwrap_or_default();
        if self.hooks.takes_channel && label == CHANNEL_LABEL {
            return listen(&self.channel, channel, self.events.clone());
        }
        let Some(files) = self.hooks.files.as_ref().filter(|_| label == FILE_CHANNEL_LABEL) else { return };
        let id = channel.protocol().await.ok().and_then(|protocol| PairFileId::try_from(protocol).ok());
        let taken = id.is_some_and(|id| files.try_send(FileChannel::new(id, Arc::clone(&channel))).is_ok());
        if !taken {
            let _ = channel.close().await;
        }
    }
}
