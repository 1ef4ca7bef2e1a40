//! Several servers in this process, with a store in memory and real connections between them.

mod attacks;
mod origin;

use std::net::SocketAddr;

use axum::routing::any;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::*;
use crate::http;
use crate::network::ClientAddress;
use crate::protocol::{ClientMessage, Credentials, IceCandidate, JoinRequest, LeaveReason, RoomSettings, User};
use crate::room::EdgeRole;
use crate::signal::{LocalMember, Server, ServerConfig};
use crate::store::MemoryStore;

const TIMES: Times = Times { renew: Duration::from_millis(100), lease: Duration::from_millis(600) };
const DEADLINE: Duration = Duration::from_secs(20);

struct Machine {
    server: Server,
    store: MemoryStore,
    address: SocketAddr,
    notices: mpsc::Receiver<String>,
    stop: oneshot::Sender<()>,
    serving: JoinHandle<()>,
}

impl Machine {
    /// A node with a line of its own to the store.
    fn start(name: &str, store: &MemoryStore) -> Self {
        Self::start_within(name, store, http::ConnectionLimits::default())
    }

    fn start_within(name: &str, store: &MemoryStore, limits: http::ConnectionLimits) -> Self {
        let store = store.on_another_line();
        Self::start_with(name, (&store, Arc::new(store.clone())), Ownership::Leased, limits)
    }

    /// `memory` is the store of the class, and `store` that of the node.
    fn start_with(
        name: &str,
        (memory, store): (&MemoryStore, Arc<dyn Store>),
        ownership: Ownership,
        limits: http::ConnectionLimits,
    ) -> Self {
        let listener = http::bind(([127, 0, 0, 1], 0).into()).unwrap();
        let address = listener.local_addr().unwrap();
        let (notices, heard) = mpsc::channel(16);
        let node = node(name, address);
        let cluster = ClusterConfig { store, node, times: TIMES, ownership, notices };
        let server = Server::with(ServerConfig { cluster: Some(cluster), ..ServerConfig::default() });
        let nodes = server.clone();
        let app = axum::Router::new().route(
            NODE_PATH,
            any(move |request: axum::extract::Request| std::future::ready(nodes.upgrade_node(request))),
        );
        let app = http::guard(app, http::Site::default());
        let (stop, stopped) = oneshot::channel::<()>();
        let serving = tokio::spawn(http::serve(listener, app, limits, async {
            _ = stopped.await;
        }));
        Self { server, store: memory.clone(), address, notices: heard, stop, serving }
    }

    fn join(&self, query: &str, credentials: Credentials) -> LocalMember {
        let request = JoinRequest::parse(&format!("roomId=1&{query}")).unwrap();
        self.server.join(request, credentials, ClientAddress::this_process())
    }

    /// A member that is in the room.
    async fn member(&self, query: &str) -> LocalMember {
        let mut member = self.join(query, Credentials::default());
        joined(&mut member).await;
        member
    }

    async fn close(self) {
        self.server.shutdown().await;
        _ = self.stop.send(());
        self.serving.await.unwrap();
    }
}

/// The secret of every node.
const SECRET: &str = "0123456789abcdef";

fn node(name: &str, address: SocketAddr) -> Node {
    let (url, secret) = (format!("ws://{address}"), SECRET.parse().unwrap());
    Node { id: name.parse().unwrap(), url, fingerprint: None, secret, settings: name.len() as u16 }
}

/// Waits for a message.
#[track_caller]
fn hear<'a, T>(
    member: &'a mut LocalMember,
    what: &'a str,
    is_it: impl Fn(ServerMessage) -> Option<T> + 'a,
) -> impl Future<Output = T> + 'a {
    let caller = std::panic::Location::caller();
    async move {
        let mut heard = Vec::new();
        let found = timeout(DEADLINE, async {
            while let Some(message) = member.receive().await {
                heard.push(format!("{message:?}"));
                if let Some(found) = is_it(message) {
                    return Some(found);
                }
            }
            None
        });
        let found = found.await.ok().flatten();
        found.unwrap_or_else(|| panic!("{caller}: no {what} in {heard:#?}"))
    }
}

fn joined(member: &mut LocalMember) -> impl Future<Output = Vec<User>> + '_ {
    hear(member, "joined", |message| match message {
        ServerMessage::Joined { users, .. } => Some(users),
        _ => None,
    })
}

async fn until(what: &str, mut is_it: impl FnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !is_it() {
        assert!(Instant::now() < deadline, "not: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn offer(to: &str) -> ClientMessage {
    let (target_uid, sdp) = (to.parse().unwrap(), "v=0".to_owned());
    ClientMessage::Offer { target_uid, sdp, entry: None, video: None, tracks: None }
}

fn candidate(to: &str, number: u32) -> ClientMessage {
    let json = format!(r#"{{"candidate":"candidate:{number} 1 udp 1 10.0.0.1 9 typ host","sdpMid":"0"}}"#);
    let candidate: IceCandidate = serde_json::from_str(&json).unwrap();
    ClientMessage::Candidate { target_uid: to.parse().unwrap(), candidate, entry: None, source: None }
}

fn watching(machine: &Machine) -> usize {
    machine.server.rooms().first().map_or(0, |room| room.watching)
}

fn room_1() -> RoomId {
    "1".parse().unwrap()
}

#[tokio::test]
async fn members_of_three_nodes_are_in_one_room() {
    let store = MemoryStore::new(TIMES);
    let (a, mut b, c) = (Machine::start("a", &store), Machine::start("b", &store), Machine::start("other", &store));
    let mut teacher = a.member("userId=9999&pub=pub").await;
    let mut student = b.join("userId=1001&nickname=S", Credentials::default());
    let users = joined(&mut student).await;
    assert_eq!(users.len(), 2, "{users:?}");
    hear(&mut teacher, "a join", |message| matches!(message, ServerMessage::Join { .. }).then_some(())).await;
    // Messages of a member keep their order.
    student.send(offer("9999"));
    (0..20).for_each(|number| student.send(candidate("9999", number)));
    hear(&mut teacher, "an offer", |message| matches!(message, ServerMessage::Offer { .. }).then_some(())).await;
    for number in 0..20 {
        let found = hear(&mut teacher, "a candidate", |message| match message {
            ServerMessage::Candidate { candidate, .. } => Some(format!("{candidate:?}")),
            _ => None,
        });
        let found = found.await;
        assert!(found.contains(&format!("candidate:{number} 1")), "{number}: {found}");
    }
    let target_uid = "1001".parse().unwrap();
    teacher.send(ClientMessage::Answer { target_uid, sdp: "v=0 answer".into(), entry: None, source: None });
    hear(&mut student, "an answer", |message| matches!(message, ServerMessage::Answer { .. }).then_some(())).await;
    student.send(ClientMessage::Ping);
    hear(&mut student, "a pong", |message| matches!(message, ServerMessage::Pong).then_some(())).await;
    // The media of a student of another node counts there.
    teacher.send(ClientMessage::Connected { target_uid: "1001".parse().unwrap() });
    let state = student.client_state();
    until("media", || state.get() == crate::network::ClientState::Connected).await;

    // A third node sees the room, and other programs see its members.
    let _late = c.member("userId=1002").await;
    for machine in [&a, &b, &c] {
        until("two students in the list", || watching(machine) == 2).await;
        assert_eq!(machine.server.rooms().len(), 1);
    }
    until("three members for other programs", || store.members(&room_1()).len() == 3).await;
    let counts = |machine: &Machine| {
        let status = machine.server.cluster().unwrap();
        (status.nodes, status.rooms, status.members_of_others, status.members_elsewhere)
    };
    assert_eq!((counts(&a), counts(&b)), ((3, 1, 2, 0), (3, 0, 0, 1)));
    let strange = timeout(DEADLINE, b.notices.recv()).await.unwrap().unwrap();
    assert!(strange.contains("node other has other settings"), "{strange}");

    // A refusal of the owner arrives; a goodbye does, too.
    let mut twice = c.join("userId=1001", Credentials::default());
    let code = hear(&mut twice, "a refusal", |message| match message {
        ServerMessage::Error { code, .. } => Some(code),
        _ => None,
    });
    assert_eq!(code.await, ErrorCode::UserIdTaken);
    assert_eq!(twice.receive().await, None);
    drop(student);
    hear(&mut teacher, "a goodbye", |message| match message {
        ServerMessage::Leave { users, reason: LeaveReason::Left } => (users[0].as_str() == "1001").then_some(()),
        _ => None,
    })
    .await;
    // The last member of a room goes, and the room is free.
    let request = JoinRequest::parse("roomId=2&userId=1001").unwrap();
    let mut alone = c.server.join(request, Credentials::default(), ClientAddress::this_process());
    joined(&mut alone).await;
    assert_eq!(c.server.cluster().unwrap().rooms, 1);
    drop(alone);
    until("no lease", || c.server.cluster().unwrap().rooms == 0).await;
    assert_eq!(store.owners(&["2".parse().unwrap()]).await.unwrap(), [None]);
    for machine in [a, b, c] {
        machine.close().await;
    }
}

#[tokio::test]
async fn students_stay_connected_when_the_owner_ends_and_its_publisher_brings_its_settings_again() {
    let store = MemoryStore::new(TIMES);
    let (a, b, c) = (Machine::start("a", &store), Machine::start("b", &store), Machine::start("c", &store));
    let mut first = a.member("userId=1000").await;
    let room = Some(RoomSettings { locked: true, ..RoomSettings::default() });
    let mut teacher = b.join("userId=9999&pub=pub&epoch=5", Credentials { room, ..Credentials::default() });
    joined(&mut teacher).await;
    let mut student = c.join("userId=1001&epoch=7", Credentials::default());
    // The room is locked by the settings that have travelled.
    let refused = hear(&mut student, "a refusal", |message| match message {
        ServerMessage::Error { code, .. } => Some(code),
        _ => None,
    });
    assert_eq!(refused.await, ErrorCode::RoomLocked);
    teacher.send(ClientMessage::Order(crate::protocol::RoomOrder::Lock { locked: false }));
    hear(&mut teacher, "the order", |message| matches!(message, ServerMessage::Order { .. }).then_some(())).await;
    let mut student = c.member("userId=1001&epoch=7").await;

    a.close().await;
    hear(&mut first, "the end", |message| match message {
        ServerMessage::Error { code, .. } => (code == ErrorCode::ServerShutdown).then_some(()),
        _ => None,
    })
    .await;
    // The student joins another owner without a new connection. The teacher connects again, as only it knows that the
    // room is not locked any more.
    joined(&mut student).await;
    while timeout(DEADLINE, teacher.receive()).await.unwrap().is_some() {}
    let mut teacher = b.member("userId=9999&pub=pub&epoch=5").await;
    student.send(offer("9999"));
    hear(&mut teacher, "an offer", |message| matches!(message, ServerMessage::Offer { .. }).then_some(())).await;
    let _late = b.member("userId=1002").await;
    until("members for other programs", || store.members(&room_1()).len() == 3).await;
    for machine in [b, c] {
        machine.close().await;
    }
}

#[tokio::test]
async fn without_the_store_rooms_go_on_and_new_ones_wait() {
    let store = MemoryStore::new(TIMES);
    let (mut a, b) = (Machine::start("a", &store), Machine::start("b", &store));
    let mut teacher = a.member("userId=9999&pub=pub").await;
    let student = b.member("userId=1001").await;
    let before = store.owners(&[room_1()]).await.unwrap();
    for machine in [&a, &b] {
        machine.store.set_away(true);
    }
    for machine in [&a, &b] {
        until("degraded", || machine.server.cluster().unwrap().degraded_for.is_some()).await;
    }
    let notice = timeout(DEADLINE, a.notices.recv()).await.unwrap().unwrap();
    assert!(notice.starts_with("degraded: "), "{notice}");
    // Longer than a lease.
    until("no lease", || {
        let owners = futures_util::FutureExt::now_or_never(store.owners(&[room_1()])).unwrap();
        owners.unwrap() == [None]
    })
    .await;
    student.send(offer("9999"));
    hear(&mut teacher, "an offer", |message| matches!(message, ServerMessage::Offer { .. }).then_some(())).await;
    // Another member of a room that is known here.
    let _late = b.member("userId=1002").await;
    let other = JoinRequest::parse("roomId=2&userId=1001").unwrap();
    let mut refused = a.server.join(other, Credentials::default(), ClientAddress::this_process());
    hear(&mut refused, "a refusal", |message| match message {
        ServerMessage::Error { code, retry_after_ms, .. } => {
            (code == ErrorCode::ServerFull && retry_after_ms.is_some()).then_some(())
        }
        _ => None,
    })
    .await;
    for machine in [&a, &b] {
        machine.store.set_away(false);
    }
    until("the room has its owner again", || {
        let now = futures_util::FutureExt::now_or_never(store.owners(&[room_1()])).unwrap().unwrap();
        now[0].as_ref().is_some_and(|now| before[0].as_ref().is_some_and(|old| now.generation > old.generation))
    })
    .await;
    until("not degraded", || a.server.cluster().unwrap().degraded_for.is_none()).await;
    until("members for other programs", || store.members(&room_1()).len() == 3).await;
    student.send(offer("9999"));
    hear(&mut teacher, "an offer", |message| matches!(message, ServerMessage::Offer { .. }).then_some(())).await;
    for machine in [a, b] {
        machine.close().await;
    }
}

#[tokio::test]
async fn a_node_that_was_cut_off_gives_its_room_to_the_new_owner() {
    let store = MemoryStore::new(TIMES);
    let (mut a, b) = (Machine::start("a", &store), Machine::start("b", &store));
    let mut old = a.member("userId=1001").await;
    a.store.set_away(true);
    until("a lease that has ended", || {
        futures_util::FutureExt::now_or_never(store.owners(&[room_1()])).unwrap().unwrap() == [None]
    })
    .await;
    let mut teacher = b.member("userId=9999&pub=pub").await;
    a.store.set_away(false);
    let users = joined(&mut old).await;
    assert!(users.iter().any(|user| user.publishes), "{users:?}");
    old.send(offer("9999"));
    hear(&mut teacher, "an offer", |message| matches!(message, ServerMessage::Offer { .. }).then_some(())).await;
    assert_eq!((a.server.own_rooms().len(), b.server.own_rooms().len()), (0, 1));
    let mut told = Vec::new();
    while !told.iter().any(|notice: &String| notice.contains("node b has taken room 1")) {
        told.push(timeout(DEADLINE, a.notices.recv()).await.unwrap().unwrap());
    }
    for machine in [a, b] {
        machine.close().await;
    }
}

#[tokio::test]
async fn the_first_student_of_an_edge_is_served_by_it() {
    let store = MemoryStore::new(TIMES);
    let [a, b] = ["a", "b"].map(|name| Machine::start(name, &store));
    let mut teacher = a.member("userId=9999&pub=pub").await;
    let mut edges = b.server.edges(EdgeRole::Serves, 1);
    let mut student = b.member("userId=1001").await;
    student.send(offer("9999"));
    let mut edge = timeout(DEADLINE, edges.recv()).await.unwrap().unwrap();
    let mut serves = edge.join().unwrap();
    assert_eq!(joined(&mut serves).await.len(), 1, "the teacher");
    let from = |message| match message {
        ServerMessage::Offer { user_id, .. } => Some(user_id.to_string()),
        _ => None,
    };
    assert_eq!(hear(&mut serves, "the offer of the student", from).await, "1001");
    serves.send(offer("9999"));
    let is_told = |message| match message {
        ServerMessage::Edges { edges } => Some(edges),
        _ => None,
    };
    let known = hear(&mut teacher, "the edge", is_told).await;
    assert_eq!(hear(&mut teacher, "the offer of the edge", from).await, known[0].as_str());
    serves.send(ClientMessage::Connected { target_uid: "1001".parse().unwrap() });
    // One more lecture is too much, and a teacher here brings no edge.
    let query = "roomId=2&userId=9999&pub=pub";
    let request = JoinRequest::parse(query).unwrap();
    let elsewhere = b.server.join(request, Credentials::default(), ClientAddress::this_process());
    elsewhere.send(offer("9999"));
    assert!(edges.try_recv().is_err());
    // The server that has the edge ends: the student is told to connect again, and at once, as the edge says goodbye.
    b.server.drain(Duration::from_secs(5)).await;
    let told = |message| match message {
        ServerMessage::Error { code, retry_after_ms, .. } => Some((code, retry_after_ms.is_some())),
        _ => None,
    };
    assert_eq!(hear(&mut student, "the end", told).await, (ErrorCode::ServerShutdown, true));
    assert_eq!(
        hear(&mut b.join("userId=1002", Credentials::default()), "a refusal", told).await.0,
        ErrorCode::ServerShutdown
    );
    drop((serves, edge));
    let nobody = hear(&mut teacher, "no edge", |message| is_told(message).filter(Vec::is_empty));
    nobody.await;
    for machine in [a, b] {
        machine.close().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_store_costs_no_lease() {
    const ROOMS: usize = 40;
    let store = MemoryStore::new(TIMES);
    let a = Machine::start("a", &store);
    let mut members = Vec::new();
    for room in 0..ROOMS {
        let request = JoinRequest::parse(&format!("roomId={room}&userId=1001")).unwrap();
        members.push(a.server.join(request, Credentials::default(), ClientAddress::this_process()));
    }
    for member in &mut members {
        joined(member).await;
    }
    // To write all lists one after another takes twice as long as a lease lives.
    a.store.answer_after(TIMES.lease / 24);
    let rooms: Vec<RoomId> = (0..ROOMS).map(|room| room.to_string().parse().unwrap()).collect();
    let is_written = |store: &MemoryStore| rooms.iter().all(|room| !store.members(room).is_empty());
    let mut looks = 0;
    while !is_written(&store) || looks < 100 {
        tokio::time::sleep(TIMES.lease / 6).await;
        let owners = store.owners(&rooms).await.unwrap();
        let lost = owners.iter().filter(|owner| owner.is_none()).count();
        assert_eq!(lost, 0, "leases ended, at look {looks}");
        looks += 1;
        assert!(looks < 1_000, "some lists are never written");
    }
}
