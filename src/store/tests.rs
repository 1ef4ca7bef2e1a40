//! One suite for both stores, and what only Redis can hold: the values of others.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use self::server::RedisServer;
use super::*;

#[allow(unreachable_pub, reason = "shared with tests/it")]
mod server;

/// A lease of the suite: long enough for a busy machine, short enough to wait for its end.
const TIMES: Times = Times { renew: Duration::from_millis(100), lease: Duration::from_millis(500) };

fn room(id: &str) -> RoomId {
    id.parse().unwrap()
}

fn node(id: &str) -> Node {
    let secret = "0123456789abcdef".parse().unwrap();
    Node { id: id.parse().unwrap(), url: "ws://10.0.0.1:18080".into(), fingerprint: None, secret, settings: 7 }
}

fn user(id: &str) -> User {
    let user_id = id.parse().unwrap();
    User { user_id, nickname: "S".into(), publishes: false, epoch: 3, client: None, moderates: false }
}

fn summary(id: &str) -> RoomSummary {
    let json = format!(r#"{{"roomId":"{id}","publisher":null,"watching":1,"state":"waiting","openS":1,"liveS":null}}"#);
    serde_json::from_str(&json).unwrap()
}

/// What holds for every store. `members` reads the list of a room as another program would.
async fn suite(store: &dyn Store, members: impl Fn(&RoomId) -> Vec<User>) {
    let (a, b) = (node("a.1"), node("b.2"));
    let first = store.acquire(&room("1"), &a.id).await.unwrap();
    assert_eq!(first.node, a.id);
    assert_eq!(store.acquire(&room("1"), &b.id).await.unwrap(), first, "a room has one owner");
    assert_eq!(store.acquire(&room("1"), &a.id).await.unwrap(), first, "asking again changes nothing");
    let other = store.acquire(&room("2"), &b.id).await.unwrap();
    assert!(other.generation > first.generation);
    let owners = store.owners(&[room("2"), room("3"), room("1")]).await.unwrap();
    assert_eq!(owners, [Some(other.clone()), None, Some(first.clone())]);

    // The list of members belongs to the owner.
    let join = |users: &[&str]| users.iter().map(|id| user(id)).collect();
    let whole = MemberChange { is_whole: true, joined: join(&["1001", "1002"]), left: vec![] };
    assert!(store.write_members(&room("1"), &first, &whole).await.unwrap());
    let change = MemberChange { is_whole: false, joined: join(&["1003"]), left: vec!["1001".parse().unwrap()] };
    assert!(store.write_members(&room("1"), &first, &change).await.unwrap());
    assert_eq!(members(&room("1")), [user("1002"), user("1003")]);
    let stale = Lease { generation: first.generation - 1, ..first.clone() };
    assert!(!store.write_members(&room("1"), &stale, &whole).await.unwrap(), "an earlier generation writes nothing");
    store.release(&room("1"), &stale).await.unwrap();
    assert_eq!(store.renew(&[(room("1"), stale)]).await.unwrap(), [Renewal::Taken(first.clone())]);

    // A released room is free at once, and its list is gone.
    store.release(&room("1"), &first).await.unwrap();
    assert_eq!(members(&room("1")), []);
    assert_eq!(store.renew(&[(room("1"), first.clone())]).await.unwrap(), [Renewal::Free]);
    let second = store.acquire(&room("1"), &b.id).await.unwrap();
    assert!(second.node == b.id && second.generation > other.generation);

    // Nodes and their rooms.
    store.announce(&a, &[summary("1"), summary("2")]).await.unwrap();
    store.announce(&b, &[]).await.unwrap();
    let of_a = NodeView { node: a.clone(), rooms: vec![summary("1"), summary("2")] };
    let seen = store.nodes().await.unwrap();
    assert!(seen.contains(&of_a) && seen.contains(&NodeView { node: b.clone(), rooms: vec![] }), "{seen:?}");
    assert_eq!(store.node(&a.id).await.unwrap(), Some(a.clone()));
    store.withdraw(&a.id).await.unwrap();
    assert_eq!(store.node(&a.id).await.unwrap(), None);
    assert_eq!(store.nodes().await.unwrap().len(), 1);

    // What is renewed stays, everything else ends by itself.
    let change = MemberChange { is_whole: true, joined: join(&["1001"]), left: vec![] };
    assert!(store.write_members(&room("1"), &second, &change).await.unwrap());
    for _ in 0..8 {
        tokio::time::sleep(TIMES.lease / 4).await;
        assert_eq!(store.renew(&[(room("1"), second.clone())]).await.unwrap(), [Renewal::Kept]);
    }
    assert_eq!(members(&room("1")), [user("1001")]);
    assert_eq!(store.owners(&[room("2")]).await.unwrap(), [None]);
    assert_eq!(store.nodes().await.unwrap(), []);
    let third = store.acquire(&room("2"), &a.id).await.unwrap();
    assert!(third.generation > second.generation);
}

#[tokio::test(start_paused = true)]
async fn rooms_have_one_owner_in_memory() {
    let store = MemoryStore::new(TIMES);
    suite(&store, |room| store.members(room)).await;
    let other = store.on_another_line();
    store.set_away(true);
    assert!(store.nodes().await.is_err() && other.nodes().await.is_ok());
}

#[tokio::test]
async fn rooms_have_one_owner_in_redis() {
    let Some(mut server) = RedisServer::start("rooms_have_one_owner_in_redis") else { return };
    let url: RedisUrl = server.url().parse().unwrap();
    let store = RedisStore::connect(&url, TIMES).await.unwrap();
    suite(&store, |room| {
        let answer = server.run(&["HVALS", &format!("meeting-room::{room}")]);
        let mut users: Vec<User> = answer.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        users.sort_by(|one, other| one.user_id.cmp(&other.user_id));
        users
    })
    .await;

    // Lists of more than one batch.
    let lease = store.acquire(&room("4"), &node("a.1").id).await.unwrap();
    let joined: Vec<User> = (0..1_200).map(|number| user(&number.to_string())).collect();
    let left = joined[..700].iter().map(|user| user.user_id.clone()).collect();
    assert!(
        store.write_members(&room("4"), &lease, &MemberChange { is_whole: true, joined, left: vec![] }).await.unwrap()
    );
    assert!(server.run(&["HLEN", "meeting-room::4"]).starts_with(":1200"));
    assert!(store.write_members(&room("4"), &lease, &MemberChange { left, ..MemberChange::default() }).await.unwrap());
    assert!(server.run(&["HLEN", "meeting-room::4"]).starts_with(":500"));
    let leases: Vec<(RoomId, Lease)> = (0..1_100).map(|n| (room(&format!("none{n}")), lease.clone())).collect();
    assert_eq!(store.renew(&leases).await.unwrap(), vec![Renewal::Free; 1_100]);

    // Redis is gone, and comes back without its memory: generations still grow.
    server.kill();
    let error = store.owners(&[room("4")]).await.unwrap_err();
    assert!(matches!(error, StoreError::Unreachable { .. }), "{error}");
    server.restart();
    let again = loop {
        if let Ok(again) = store.acquire(&room("4"), &node("b.2").id).await {
            break again;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert!(again.generation > lease.generation);
}

#[tokio::test]
async fn what_others_write_into_redis_does_no_harm() {
    let Some(server) = RedisServer::start("what_others_write_into_redis_does_no_harm") else { return };
    let store = RedisStore::connect(&server.url().parse().unwrap(), TIMES).await.unwrap();
    let own = node("a.1");
    let long = "x".repeat(100_000);
    for nonsense in ["", "a", "a.1 -3", "a.1 1 1", "../x 5", "a.1 99999999999999999999999", long.as_str()] {
        server.run(&["SET", "classroom:lease:1", nonsense]);
        assert_eq!(store.owners(&[room("1")]).await.unwrap(), [None], "{nonsense:.20}");
    }
    server.run(&["SET", "classroom:lease:1", "evil.1 5"]);
    assert_eq!(store.owners(&[room("1")]).await.unwrap()[0].as_ref().unwrap().generation, 5);
    tokio::time::sleep(TIMES.lease + TIMES.renew).await;
    assert_eq!(store.owners(&[room("1")]).await.unwrap(), [None], "a lease without an end gets one");
    server.run(&["HSET", "classroom:lease:2", "a", "b"]);
    server.run(&["SET", "meeting-room::2", "no hash"]);
    server.run(&["SET", "classroom:generation", "9e99"]);
    let lease = store.acquire(&room("2"), &own.id).await.unwrap();
    server.run(&["SET", "meeting-room::2", "no hash"]);
    let change = MemberChange { is_whole: false, joined: vec![user("1")], left: vec![] };
    assert!(store.write_members(&room("2"), &lease, &change).await.unwrap());

    // A huge hash that another program wrote in the place of a list.
    let fill = "for n = 1, 300000 do redis.call('HSET', KEYS[1], n, 'x') end";
    server.run(&["EVAL", fill, "1", "meeting-room::3"]);
    let lease = store.acquire(&room("3"), &own.id).await.unwrap();
    assert!(store.write_members(&room("3"), &lease, &change).await.unwrap());
    assert!(server.run(&["HLEN", "meeting-room::3"]).starts_with(":1\r"));

    store.announce(&own, &[summary("1")]).await.unwrap();
    for (id, json) in [
        ("b.1", "{"),
        ("c.1", r#"{"id":"a.1","url":"ws://x","secret":"0123456789abcdef","settings":1}"#),
        ("d.1", r#"{"id":"d.1","url":"ws://x","secret":"short","settings":1}"#),
        (long.as_str(), "{}"),
    ] {
        server.run(&["ZADD", "classroom:nodes", "99999999999999", id]);
        server.run(&["SET", &format!("classroom:node:{id}"), json]);
    }
    let id = serde_json::to_string(&Node { id: "e.1".parse().unwrap(), ..own.clone() }).unwrap();
    server.run(&["ZADD", "classroom:nodes", "99999999999999", "e.1"]);
    server.run(&["SET", "classroom:node:e.1", &id]);
    server.run(&["SET", "classroom:rooms:e.1", &format!("[{long}")]);
    let seen = store.nodes().await.unwrap();
    let ids: Vec<(&str, usize)> = seen.iter().map(|view| (view.node.id.as_str(), view.rooms.len())).collect();
    assert_eq!(ids, [("a.1", 1), ("e.1", 0)]);
    for n in 0..200 {
        server.run(&["ZADD", "classroom:nodes", "99999999999999", &format!("f.{n}")]);
    }
    assert!(store.nodes().await.unwrap().len() <= MAX_NODES);
    server.run(&["DEL", "classroom:nodes"]);
    server.run(&["SET", "classroom:nodes", "no set"]);
    assert!(matches!(store.nodes().await, Err(StoreError::Refused { .. })));
}

/// A program that gives the same answer to everything, or none.
async fn pretended_redis(answer: &'static str) -> RedisUrl {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("redis://{}", listener.local_addr().unwrap()).parse().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut read = [0; 4_096];
                while stream.read(&mut read).await.is_ok_and(|count| count > 0) {
                    if stream.write_all(answer.as_bytes()).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    url
}

#[tokio::test]
async fn what_is_no_redis_is_refused_in_time() {
    let answers =
        ["", "+OK\r\n", ":1\r\n", "$-5\r\n", "*2147483647\r\n", "$2147483647\r\nx", "HTTP/1.1 400 Bad Request\r\n\r\n"];
    let refused = answers.map(|answer| async move {
        let url = pretended_redis(answer).await;
        let connected = tokio::time::timeout(Duration::from_secs(30), RedisStore::connect(&url, TIMES)).await;
        assert!(connected.expect("in time").is_err(), "{answer:?}");
    });
    futures_util::future::join_all(refused).await;
}

/// A program that answers everything with these bytes, again and again. Returns how many it could send so far.
async fn endless_redis(first: &'static str, piece: &'static str) -> (RedisUrl, Arc<AtomicUsize>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("redis://{}", listener.local_addr().unwrap()).parse().unwrap();
    let sent = Arc::<AtomicUsize>::default();
    let counted = sent.clone();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        assert!(stream.read(&mut [0; 4_096]).await.unwrap() > 0);
        // To the handshake of the library it answers well.
        stream.write_all(format!("+OK\r\n+OK\r\n{first}").as_bytes()).await.unwrap();
        let (many, mut at) = (piece.repeat(64 * 1024 / piece.len()), 0);
        while let Ok(length @ 1..) = stream.write(&many.as_bytes()[at..]).await {
            at = (at + length) % many.len();
            counted.fetch_add(length, Ordering::Relaxed);
        }
    });
    (url, sent)
}

#[tokio::test]
async fn a_reply_without_end_is_not_kept() {
    for (first, piece) in [
        ("$2147483647\r\n", "x"),
        ("*2147483647\r\n", "$-1\r\n"),
        ("*2147483647\r\n", "*1\r\n$1\r\nx\r\n"),
        (">2147483647\r\n", "+x\r\n"),
        ("", ">1\r\n+x\r\n"),
        ("+", "x"),
    ] {
        let (url, sent) = endless_redis(first, piece).await;
        let connected = tokio::time::timeout(Duration::from_secs(30), RedisStore::connect(&url, TIMES)).await;
        let error = connected.expect("in time").unwrap_err();
        assert!(matches!(error, StoreError::Unreachable { .. }), "{first}{piece}: {error}");
        // What the kernel holds for both ends counts as sent.
        let most = redis::MAX_REPLY_BYTES + 16 * 1024 * 1024;
        assert!(sent.load(Ordering::Relaxed) < most, "{first}{piece}: {sent:?}");
    }
}

#[test]
fn the_password_of_an_address_is_never_printed() {
    let url: RedisUrl = "rediss://me:hunter2@redis.example/1".parse().unwrap();
    assert_eq!(format!("{url} {url:?}"), "redis.example:6379 (TLS) RedisUrl(redis.example:6379 (TLS))");
    assert_ne!(url, url.clone().with_password("other"));
    for text in ["", "redis", "http://a", "redis+unix:///run/redis", "rediss://me:hunter2@a/#insecure", "redis://a:x"] {
        let error = text.parse::<RedisUrl>().unwrap_err().to_string();
        assert!(!error.contains("hunter2") && error.contains("redis://HOST:6379"), "{error}");
    }
}

#[test]
fn a_list_that_is_too_long_keeps_the_rooms_with_people() {
    let mut rooms: Vec<RoomSummary> =
        (0..5_000).map(|n| RoomSummary { watching: 0, ..summary(&n.to_string()) }).collect();
    rooms.push(summary("people"));
    let json = list_json(&rooms);
    let kept: Vec<RoomSummary> = serde_json::from_str(&json).unwrap();
    assert!(json.len() <= MAX_LIST_BYTES && kept.len() > 1_000 && kept.len() < 5_000, "{}", kept.len());
    assert_eq!(kept[0].room_id.as_str(), "people");
}
