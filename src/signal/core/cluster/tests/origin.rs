//! An edge without Redis, and its origin.

use super::*;
use crate::protocol::RoomKind;
use crate::store::OriginStore;

#[tokio::test]
async fn an_edge_without_redis_has_its_rooms_at_the_origin() {
    let (store, limits) = (MemoryStore::new(TIMES), http::ConnectionLimits::default());
    let origin = Machine::start_with("origin", (&store, Arc::new(store.clone())), Ownership::All, limits);
    let of_edge = Arc::new(OriginStore::new(node("origin", origin.address)));
    let edge = Machine::start_with("edge", (&store, of_edge), Ownership::Nothing, http::ConnectionLimits::default());
    // The student comes first, so nobody has opened the room at the origin yet.
    let student = edge.member("userId=1001").await;
    let mut teacher = origin.member("userId=9999&pub=pub").await;
    student.send(offer("9999"));
    let from = |message| match message {
        ServerMessage::Offer { user_id, .. } => Some(user_id.to_string()),
        _ => None,
    };
    assert_eq!(hear(&mut teacher, "the offer of the student", from).await, "1001");
    // The origin alone creates rooms.
    let create = async |server: &Server| {
        let (kind, from) = (RoomKind::Lecture, ClientAddress::this_process());
        server.create_room("Physics".parse().unwrap(), kind, &Credentials::default(), from).await
    };
    assert_eq!(create(&edge.server).await.unwrap_err().code, ErrorCode::NotAllowed);
    create(&origin.server).await.unwrap();
    origin.close().await;
    edge.close().await;
}
