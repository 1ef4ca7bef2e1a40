//! Attacks by WebSocket: lists, connections, places, rooms, and the teacher's seat.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use classroom::protocol::{ClientMessage, ServerMessage};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::member::{Member, connect};
use super::offer::Offer;
use super::{ATTACKER, PATIENCE, Pace, Tally, Target, attackers, network, web};

/// Members that ask for the list of the room again and again, `per_second` times each. Deaf ones never read.
pub async fn user_lists(target: &Target, members: usize, per_second: u32, reads: bool, lasts: Duration) -> Tally {
    attackers(target, members, Pace::new(500), move |target, n| async move {
        let mut tally = Tally::default();
        // A long name, so that the list is long.
        let (name, long) = (format!("lists-{n}"), "W".repeat(60));
        let query = target.query(&name).replace(&format!("nickname={name}"), &format!("nickname={long}"));
        let mut member = Member::open(&target, ATTACKER, &query, &[], reads).await?;
        let (end, mut turns) = (Instant::now() + lasts, tokio::time::interval(Duration::from_secs(1) / per_second));
        while Instant::now() < end {
            turns.tick().await;
            if !member.say(&ClientMessage::RoomUserList).await {
                tally.count("closed");
                return Ok(tally);
            }
            tally.count("asked");
            while reads && let Ok(heard) = timeout(Duration::from_millis(1), member.hear()).await {
                match heard {
                    Some(ServerMessage::RoomUserList { .. }) => tally.count("list"),
                    Some(ServerMessage::Error { code, .. }) => tally.count(code),
                    Some(_) => {}
                    None => break,
                }
            }
        }
        Ok(tally)
    })
    .await
}

/// Students that join and stay, without media: `networks` networks with `each` students, in the attacked room.
pub async fn places(target: &Target, networks: usize, each: usize, lasts: Duration) -> Tally {
    let mut tally = Tally::default();
    let end = Instant::now() + lasts;
    let (mut joining, mut members) = (JoinSet::new(), JoinSet::new());
    for n in 0..networks * each {
        let (target, from) = (target.clone(), network(n % networks));
        joining.spawn(async move { Member::join(&target, from, &format!("place-{n}")).await });
        // A bound on the handshakes in flight, so that the attacker does not wait for itself.
        while joining.len() >= 64
            && let Some(joined) = joining.join_next().await
        {
            keep(joined, &mut members, &mut tally);
        }
    }
    while let Some(joined) = joining.join_next().await {
        keep(joined, &mut members, &mut tally);
    }
    tokio::time::sleep_until(end.into()).await;
    tally
}

fn keep(
    joined: Result<Result<Member, super::member::Refusal>, tokio::task::JoinError>,
    members: &mut JoinSet<()>,
    tally: &mut Tally,
) {
    match joined {
        Ok(Ok(mut member)) => {
            tally.count("joined");
            // Reading answers the server's pings; without that the place would be free again after some seconds.
            members.spawn(async move { member.drain().await });
        }
        Ok(Err(refusal)) => tally.count(refusal),
        Err(error) => tally.broken.push(format!("an attacker panicked: {error}")),
    }
}

/// TCP connections that send nothing, `each` from each of `networks` networks. The page must come to everybody else.
pub async fn idle_connections(target: &Target, networks: usize, each: usize, lasts: Duration) -> Tally {
    let mut tally = Tally::default();
    let end = Instant::now() + lasts;
    let mut streams = Vec::new();
    for n in 0..networks * each {
        match connect(network(n % networks), target.http, true).await {
            Ok(stream) => streams.push(stream),
            Err(error) => tally.count(format!("{:?}", error.kind())),
        }
        if n % 500 == 0 {
            expect_page(target, &mut tally).await;
        }
    }
    tally.count_many("connected", streams.len() as u64);
    while Instant::now() < end {
        expect_page(target, &mut tally).await;
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    tally
}

async fn expect_page(target: &Target, tally: &mut Tally) {
    let path = format!("GET /room/{}", target.room);
    let page = web::ask(target, Ipv4Addr::LOCALHOST, &path, "", "").await;
    let outcome = web::outcome(&page);
    tally.expect(outcome == "200", || format!("an honest browser got {outcome} for the page"));
}

/// Students that join, offer, and drop the connection without a goodbye, in a loop, each time with another id.
pub async fn ghosts(target: &Target, at_once: usize, lasts: Duration) -> Tally {
    attackers(target, at_once, Pace::at_once(), move |target, n| async move {
        let (mut tally, end) = (Tally::default(), Instant::now() + lasts);
        let Ok(teacher) = target.teacher.parse::<classroom::id::UserId>() else { return Ok(tally) };
        let mut round = 0;
        while Instant::now() < end {
            round += 1;
            match Member::join(&target, ATTACKER, &format!("ghost-{n}-{round}")).await {
                Ok(mut member) => {
                    let sdp = Offer::new([]).sdp;
                    let offer = ClientMessage::Offer {
                        entry: None,
                        target_uid: teacher.clone(),
                        sdp,
                        video: None,
                        tracks: None,
                    };
                    let _ = member.say(&offer).await;
                    tally.count("ghost");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    member.vanish();
                }
                Err(refusal) => {
                    tally.count(refusal);
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
        Ok(tally)
    })
    .await
}

/// Rooms created in a loop: by HTTP, and by joining rooms that do not exist.
pub async fn rooms(target: &Target, count: usize, per_second: u32) -> Tally {
    let (mut tally, pace, mut attackers) = (Tally::default(), Pace::new(per_second), JoinSet::new());
    for n in 0..count {
        pace.wait(n).await;
        let target = target.clone();
        attackers.spawn(async move {
            let mut tally = Tally::default();
            if n % 2 == 0 {
                let name = format!("{{\"name\":\"attack {n}\"}}");
                let headers = "content-type: application/json\r\n";
                let created = web::ask(&target, ATTACKER, "POST /api/rooms", headers, &name).await;
                tally.count(format!("POST {}", web::outcome(&created)));
            } else {
                let query = format!("roomId=attack{n}&userId=9999&nickname=x&pub=pub&roomName=attack+{n}");
                match Member::join_with(&target, ATTACKER, &query).await {
                    Ok(member) => {
                        tally.count("taught");
                        member.vanish();
                    }
                    Err(refusal) => tally.count(refusal),
                }
            }
            tally
        });
        while attackers.len() >= 64
            && let Some(Ok(ended)) = attackers.join_next().await
        {
            tally.add(ended);
        }
    }
    tally.join(attackers).await;
    tally
}

/// A stranger who wants to publish in this room, again and again for this long; it must never succeed.
pub async fn publishers(target: &Target, lasts: Duration) -> Tally {
    let (mut tally, end) = (Tally::default(), Instant::now() + lasts);
    let query = format!("roomId={}&userId=stranger&nickname=x&pub=pub", target.room);
    while Instant::now() < end {
        match timeout(PATIENCE, Member::join_with(target, ATTACKER, &query)).await {
            Ok(Ok(_)) => {
                tally.broken.push("a stranger publishes in the room".into());
                return tally;
            }
            Ok(Err(refusal)) => tally.count(refusal),
            Err(_) => tally.count("silence"),
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    tally
}

/// Messages that the protocol does not have: the connection must end, and nobody else may notice.
pub async fn malformed(target: &Target, count: usize) -> Tally {
    let mut tally = Tally::default();
    let large = "x".repeat(70_000);
    let deep = "[".repeat(60_000);
    for n in 0..count {
        let text = match n % 5 {
            0 => "{\"type\":\"own\"}",
            1 => &large,
            2 => &deep,
            3 => "{\"type\":\"offer\",\"targetUid\":\"..\",\"sdp\":\"\"}",
            _ => "",
        };
        let mut member = match Member::join(target, ATTACKER, &format!("malformed-{n}")).await {
            Ok(member) => member,
            Err(refusal) => {
                tally.count(refusal);
                continue;
            }
        };
        let _ = member.say_text(text.to_owned()).await;
        let heard = member.hear_until(|message| match message {
            ServerMessage::Error { code, .. } => Some(code),
            _ => None,
        });
        match timeout(Duration::from_secs(2), heard).await {
            Ok(Some(code)) => tally.count(code),
            Ok(None) => tally.count("closed"),
            Err(_) => tally.broken.push(format!("message {n} was accepted")),
        }
    }
    tally
}
