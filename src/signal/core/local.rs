//! A member of a room in the server's own process, without a socket but under the same rules. WHEP players join rooms
//! as such members. The media host of a room has such a connection too.

use std::sync::Arc;

use super::{Caller, Core};
use crate::id::{RoomId, UserId};
use crate::network::{ClientAddress, SharedClientState};
use crate::protocol::{ClientMessage, Credentials, JoinRequest, ServerMessage};
use crate::room::ConnId;
use crate::signal::outbox::{Item, Outgoing};

/// The media host of a room. [`Server::media_hosts`](crate::signal::Server::media_hosts) hands it to the task that runs
/// it. Dropping it ends the room's media.
#[derive(Debug)]
pub struct LocalHost {
    /// The room.
    pub room: RoomId,
    /// The publisher for whom the host speaks; none for the host of a meeting, which gets the list of participants.
    pub publisher: Option<UserId>,
    /// The connection. The first message is [`ServerMessage::Joined`] with all members; the last one is followed by
    /// nothing once the room needs no host any more.
    pub member: LocalMember,
}

/// A member without a socket, so its connection can't be lost. It stays until it is dropped, which is its goodbye, or
/// until the server closes it.
#[derive(Debug)]
pub struct LocalMember {
    core: Arc<Core>,
    conn: ConnId,
    outgoing: Outgoing,
    client_state: SharedClientState,
    /// Whether dropping the member is its goodbye.
    says_goodbye: bool,
}

impl LocalMember {
    pub(in crate::signal) fn new(
        core: Arc<Core>,
        request: JoinRequest,
        credentials: Credentials,
        address: ClientAddress,
    ) -> Self {
        let client_state = SharedClientState::default();
        let caller = Caller { address, client_state: client_state.clone(), host: None };
        let (conn, outgoing) = core.join(request, credentials, caller);
        Self { core, conn, outgoing, client_state, says_goodbye: true }
    }

    /// A member with a connection that exists already.
    pub(super) fn attached(core: Arc<Core>, conn: ConnId, outgoing: Outgoing, client_state: SharedClientState) -> Self {
        Self { core, conn, outgoing, client_state, says_goodbye: true }
    }

    /// The member's progress towards media.
    pub fn client_state(&self) -> SharedClientState {
        self.client_state.clone()
    }

    /// Sends a message. The caller limits the rate.
    pub fn send(&self, message: ClientMessage) {
        self.core.message(self.conn, message);
    }

    /// Ends the connection without a goodbye: the room keeps the user id for a while, and the media of a publisher if
    /// the server carries it.
    pub fn lose(mut self) {
        self.says_goodbye = false;
    }

    /// The next message; nothing once the room or the server has closed this member.
    pub async fn receive(&mut self) -> Option<ServerMessage> {
        let overflow = self.outgoing.overflow();
        loop {
            let item = tokio::select! {
                item = self.outgoing.next() => item?,
                () = overflow.wait() => return None,
            };
            self.outgoing.written();
            match item {
                // This version wrote the message, so it can be parsed.
                Item::Text(text) => match ServerMessage::parse(&text) {
                    Ok(message) => return Some(message),
                    Err(_) => continue,
                },
                Item::Close(_) => return None,
            }
        }
    }
}

impl Drop for LocalMember {
    fn drop(&mut self) {
        if self.says_goodbye {
            self.send(ClientMessage::Leave { over: false });
        }
        self.core.lost(self.conn);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{ErrorCode, IceServer, LeaveReason};
    use crate::signal::{Server, ServerConfig, ServerLimits};

    fn request(query: &str) -> JoinRequest {
        JoinRequest::parse(&format!("roomId=1&{query}")).unwrap()
    }

    fn join(server: &Server, query: &str) -> LocalMember {
        server.join(request(query), Credentials::default(), ClientAddress::this_process())
    }

    #[tokio::test]
    async fn a_local_member_joins_receives_and_leaves() {
        let stun = IceServer { urls: vec!["stun:a:3478".into()], username: None, credential: None };
        let server = Server::with(ServerConfig { ice_servers: vec![stun.clone()], ..ServerConfig::default() });
        let mut teacher = join(&server, "userId=9999&pub=pub");
        let joined = teacher.receive().await;
        assert!(matches!(joined, Some(ServerMessage::Joined { ice_servers, .. }) if ice_servers == [stun]));
        let mut student = join(&server, "userId=1001");
        assert!(matches!(student.receive().await, Some(ServerMessage::Joined { .. })));
        assert!(matches!(teacher.receive().await, Some(ServerMessage::Join { .. })));
        student.send(ClientMessage::Offer {
            entry: None,
            target_uid: "9999".parse().unwrap(),
            sdp: "v=0".into(),
            video: None,
            tracks: None,
        });
        assert!(matches!(teacher.receive().await, Some(ServerMessage::Offer { .. })));
        drop(student);
        let left = teacher.receive().await;
        assert!(matches!(left, Some(ServerMessage::Leave { reason: LeaveReason::Left, .. })), "{left:?}");
        assert_eq!(server.rooms()[0].watching, 0);
    }

    #[tokio::test]
    async fn a_local_member_that_is_lost_may_return_with_its_secret() {
        let server = Server::new(ServerLimits::default());
        let session = Some("0123456789abcdef".parse().unwrap());
        let credentials = Credentials { session, ..Credentials::default() };
        let join = |credentials: &Credentials| {
            server.join(request("userId=9999&pub=pub"), credentials.clone(), ClientAddress::this_process())
        };
        let mut teacher = join(&credentials);
        assert!(matches!(teacher.receive().await, Some(ServerMessage::Joined { .. })));
        teacher.lose();
        let mut stranger = join(&Credentials::default());
        let refused = stranger.receive().await;
        assert!(matches!(refused, Some(ServerMessage::Error { code: ErrorCode::UserIdTaken, .. })), "{refused:?}");
        assert!(matches!(join(&credentials).receive().await, Some(ServerMessage::Joined { .. })));
    }

    #[tokio::test]
    async fn a_local_member_is_refused_and_closed_like_any_other() {
        let server = Server::new(ServerLimits::default());
        let mut first = join(&server, "userId=1001");
        assert!(matches!(first.receive().await, Some(ServerMessage::Joined { .. })));
        let mut second = join(&server, "userId=1001");
        let refused = second.receive().await;
        assert!(matches!(refused, Some(ServerMessage::Error { code: ErrorCode::UserIdTaken, .. })), "{refused:?}");
        assert_eq!(second.receive().await, None);
        drop(second);
        assert_eq!(server.rooms()[0].watching, 1, "who was refused takes nobody along");
        server.shutdown().await;
        let told = first.receive().await;
        assert!(matches!(told, Some(ServerMessage::Error { code: ErrorCode::ServerShutdown, .. })), "{told:?}");
        assert_eq!(first.receive().await, None);
    }

    fn with_media_rooms(max_media_rooms: usize) -> Server {
        let room = crate::room::RoomLimits { max_media_rooms, ..crate::room::RoomLimits::default() };
        Server::new(ServerLimits { room, ..ServerLimits::default() })
    }

    #[tokio::test]
    async fn a_media_host_answers_in_the_publishers_name_until_the_publisher_leaves() {
        let server = with_media_rooms(1);
        let mut hosts = server.media_hosts();
        let mut publisher = join(&server, "userId=9999&pub=pub&media=server");
        assert!(matches!(publisher.receive().await, Some(ServerMessage::Joined { .. })));
        let LocalHost { room, publisher: id, member: mut host } = hosts.recv().await.unwrap();
        let id = id.unwrap();
        assert_eq!((room.as_str(), id.as_str()), ("1", "9999"));
        assert!(matches!(host.receive().await, Some(ServerMessage::Joined { .. })));
        let offer =
            ClientMessage::Offer { entry: None, target_uid: id.clone(), sdp: "v=0".into(), video: None, tracks: None };
        publisher.send(offer);
        assert!(matches!(host.receive().await, Some(ServerMessage::Offer { user_id, .. }) if user_id == id));
        host.send(ClientMessage::Answer { entry: None, target_uid: id.clone(), sdp: "v=0".into(), source: None });
        assert!(matches!(publisher.receive().await, Some(ServerMessage::Answer { user_id, .. }) if user_id == id));
        drop(publisher);
        assert!(matches!(host.receive().await, Some(ServerMessage::Leave { .. })));
        assert_eq!(host.receive().await, None);
        // Nobody takes the host of another lecture, so the publisher gets a hangup.
        drop(hosts);
        let mut publisher = join(&server, "userId=9999&pub=pub&media=server");
        assert!(matches!(publisher.receive().await, Some(ServerMessage::Joined { .. })));
        assert!(matches!(publisher.receive().await, Some(ServerMessage::Hangup { .. })));
    }

    #[tokio::test]
    async fn a_server_that_ends_closes_its_media_hosts() {
        let server = with_media_rooms(1);
        let mut hosts = server.media_hosts();
        let _publisher = join(&server, "userId=9999&pub=pub&media=server");
        let mut host = hosts.recv().await.unwrap().member;
        server.shutdown().await;
        while host.receive().await.is_some() {}
    }
}
