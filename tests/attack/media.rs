//! Attacks on the media port, and offers that make the teacher send.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::{Duration, Instant};

use classroom::protocol::{ClientMessage, ErrorCode, ServerMessage};
use tokio::time::timeout;

use super::bad_student::{Bad, Misbehaviour};
use super::forger::Forgery;
use super::ice::Credentials;
use super::insider::Insider;
use super::member::{Member, Refusal};
use super::offer::Offer;
use super::udp::{self, Flood};
use super::{ATTACKER, PATIENCE, Pace, Tally, Target, attackers, network, web};

/// The packets that one student forges at most: four seconds of them, a fragment in a burst ([`Forgery::burst`]).
const FORGED_PACKETS: u64 = 200;

/// The candidates of an offer, as many as a laptop with two interfaces and two families has.
const CANDIDATES: usize = 4;

/// Offers by WHEP that never connect. Their candidates are addresses of the bystander.
pub async fn whep_offers(target: &Target, count: usize, per_second: u32) -> Tally {
    let before = target.bystander.bytes();
    let mut tally = attackers(target, count, Pace::new(per_second), move |target, _| async move {
        let mut tally = Tally::default();
        let offer = Offer::new((0..CANDIDATES).map(|n| target.bystander.address(n)));
        tally.sent_bytes = offer.sdp.len() as u64;
        tally.count(web::outcome(&web::whep(&target, ATTACKER, &offer, "").await));
        Ok(tally)
    })
    .await;
    // The teacher may go on for a while after the last offer.
    tokio::time::sleep(Duration::from_secs(1)).await;
    expect_no_amplification(target, before, &mut tally);
    tally
}

/// Offers of a member, each as soon as the server takes another one.
async fn offers(
    target: &Target,
    from: Ipv4Addr,
    user: &str,
    pause: Duration,
    lasts: Duration,
) -> Result<Tally, Refusal> {
    let mut tally = Tally::default();
    let Ok(teacher) = target.teacher.parse::<classroom::id::UserId>() else { return Ok(tally) };
    let mut member = Member::join(target, from, user).await?;
    let end = Instant::now() + lasts;
    while Instant::now() < end {
        let sdp = Offer::new([]).sdp;
        tally.sent_bytes += sdp.len() as u64;
        tally.count("offer");
        if !member
            .say(&ClientMessage::Offer { entry: None, target_uid: teacher.clone(), sdp, video: None, tracks: None })
            .await
        {
            tally.count("closed");
            break;
        }
        let until = Instant::now() + pause;
        while let Ok(heard) = timeout(until.saturating_duration_since(Instant::now()), member.hear()).await {
            match heard {
                Some(ServerMessage::Answer { .. }) => tally.count("answer"),
                Some(ServerMessage::Error { code, .. }) => tally.count(code),
                Some(_) => {}
                None => break,
            }
        }
    }
    Ok(tally)
}

/// Students that offer again and again, each a little slower than the limit of one student.
pub async fn re_offers(target: &Target, students: usize, lasts: Duration) -> Tally {
    let pause = Duration::from_millis(310);
    attackers(target, students, Pace::at_once(), move |target, n| async move {
        offers(&target, ATTACKER, &format!("again-{n}"), pause, lasts).await
    })
    .await
}

/// One student that offers faster than allowed. The student must be told, by a code that it can act on.
pub async fn too_fast_offers(target: &Target, count: u32) -> Tally {
    let pause = Duration::from_millis(20);
    let offered = offers(target, ATTACKER, "too-fast", pause, pause * count).await;
    let mut tally = offered.unwrap_or_else(Tally::refused);
    let told = tally.of(ErrorCode::FloodedMessages.as_str()) + tally.of("tooManyAttempts");
    tally.expect(told > 0, || "a student that offers too fast is not told".into());
    tally
}

/// Students whose offers name `each` addresses of the bystander as candidates.
pub async fn candidates(target: &Target, students: usize, each: usize, lasts: Duration) -> Tally {
    let before = target.bystander.bytes();
    let mut tally = attackers(target, students, Pace::at_once(), move |target, n| async move {
        let mut tally = Tally::default();
        let user = format!("pointer-{n}");
        let mut member = Member::join(&target, ATTACKER, &user).await?;
        let Ok(target_uid) = target.teacher.parse() else { return Ok(tally) };
        let sdp = Offer::new((0..each).map(|n| target.bystander.address(n))).sdp;
        tally.sent_bytes = sdp.len() as u64;
        member.say(&ClientMessage::Offer { entry: None, target_uid, sdp, video: None, tracks: None }).await;
        let answer = member.hear_until(|message| match message {
            ServerMessage::Answer { .. } => Some("answer".to_owned()),
            ServerMessage::Error { code, .. } => Some(code.to_string()),
            _ => None,
        });
        tally.count(answer.await.unwrap_or_else(|| "silence".into()));
        // The member must stay, because a departure would end the checks.
        let _ = timeout(lasts, member.drain()).await;
        Ok(tally)
    })
    .await;
    expect_no_amplification(target, before, &mut tally);
    tally
}

/// The bystander, which had received `before` bytes before the attack, may get at most three times the bytes of the
/// offers that named it.
pub fn expect_no_amplification(target: &Target, before: u64, tally: &mut Tally) {
    let (received, sent) = (target.bystander.bytes() - before, tally.sent_bytes);
    tally.expect(received <= 3 * sent, || format!("{sent} bytes of offers sent {received} bytes to a third host"));
}

/// A flood of connectivity checks with the right credentials of a connected student.
pub async fn authentic_checks(target: &Target, flood: Flood) -> Tally {
    let mut tally = Tally::default();
    let insider = match Insider::join(target, ATTACKER, "insider").await {
        Ok(insider) => insider,
        Err(refusal) => {
            tally.broken.push(format!("a student who joins first is refused: {refusal}"));
            return tally;
        }
    };
    let (Some(check), Ok(socket)) = (insider.credentials.check(false), udp::socket(ATTACKER)) else { return tally };
    let media = target.media;
    let sent = flood.run(move |_| _ = socket.send_to(&check, media)).await;
    tally.count_many("check", sent);
    insider.leave().await;
    tally
}

/// Authentic checks with the source addresses of other students.
pub async fn forged_checks(target: &Target, victims: Vec<SocketAddrV4>, flood: Flood) -> Tally {
    let mut tally = Tally::default();
    let (Ok(raw), Some(to)) = (udp::raw_socket(), udp::v4(target.media)) else {
        tally.count("skipped: forging needs root");
        return tally;
    };
    let insider = match Insider::join(target, ATTACKER, "forger").await {
        Ok(insider) => insider,
        Err(refusal) => {
            tally.broken.push(format!("a student who joins first is refused: {refusal}"));
            return tally;
        }
    };
    let Some(check) = insider.credentials.check(true) else { return tally };
    tally.expect(!victims.is_empty(), || "no victim has an address".into());
    let packets: Vec<Vec<u8>> = victims.iter().map(|from| udp::forged(*from, to, &check)).collect();
    let sent = flood.run(move |n| {
        if let Some(packet) = packets.get(n as usize % packets.len().max(1)) {
            let _ = raw.send_to(packet, &to.into());
        }
    });
    tally.count_many("forged check", sent.await);
    insider.leave().await;
    tally
}

/// Junk, and STUN requests with user names that nobody has.
pub async fn junk(target: &Target, flood: Flood) -> Tally {
    let mut tally = Tally::default();
    let media = target.media;
    let Ok(socket) = udp::socket(ATTACKER) else { return tally };
    let stranger = Credentials::new("abcd", "a=ice-ufrag:nobody\r\na=ice-pwd:abcdefghijklmnopqrstuvwx\r\n");
    let mut datagrams: Vec<Vec<u8>> = stranger.and_then(|stranger| stranger.check(false)).into_iter().collect();
    // One of each kind that RFC 7983 distinguishes: STUN, DTLS, TURN, RTP, RTCP, and none.
    datagrams.extend([0, 22, 64, 128, 200, 255].map(|first| {
        let mut datagram = rand::random::<[u8; 64]>().to_vec();
        datagram[0] = first;
        datagram
    }));
    let sent = flood.run(move |n| _ = socket.send_to(&datagrams[n as usize % datagrams.len()], media)).await;
    tally.count_many("datagram", sent);
    tally
}

/// Peers whose ICE succeeds and whose DTLS never does: each sends the same ClientHello again and again.
pub async fn half_dtls(target: &Target, peers: usize, per_second: u32, lasts: Duration) -> Tally {
    attackers(target, peers, Pace::new(100), move |target, n| async move {
        let mut tally = Tally::default();
        let from = network(n % 4);
        let Ok(socket) = udp::socket(from) else { return Ok(tally) };
        let Some(own) = socket.local_addr().ok().and_then(udp::v4) else { return Ok(tally) };
        let offer = Offer::new([own]);
        let answer = web::whep(&target, from, &offer, "").await;
        tally.count(web::outcome(&answer));
        let credentials = answer.ok().and_then(|answer| Credentials::new(&offer.ufrag, &answer.body));
        let Some(check) = credentials.and_then(|credentials| credentials.check(true)) else { return Ok(tally) };
        let media = target.media;
        let end = Instant::now() + lasts;
        let mut turn = tokio::time::interval(Duration::from_millis(500));
        let mut hellos = tokio::time::interval(Duration::from_secs(1) / per_second.max(1));
        while Instant::now() < end {
            tokio::select! {
                _ = turn.tick() => {
                    let _ = socket.send_to(&check, media);
                }
                _ = hellos.tick() => {
                    tally.count("ClientHello");
                    let _ = socket.send_to(&client_hello(), media);
                }
            }
        }
        Ok(tally)
    })
    .await
}

/// A ClientHello of DTLS 1.2 without a cookie (RFC 6347, 4.2.1), with one cipher suite, one curve and `use_srtp`.
fn client_hello() -> Vec<u8> {
    let mut body = vec![254, 253];
    body.extend_from_slice(&rand::random::<[u8; 32]>());
    // No session, no cookie, TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, no compression.
    body.extend_from_slice(&[0, 0, 0, 2, 0xc0, 0x2b, 1, 0]);
    let extensions = [
        &[0, 10, 0, 4, 0, 2, 0, 23][..],
        &[0, 11, 0, 2, 1, 0],
        &[0, 13, 0, 4, 0, 2, 4, 3],
        &[0, 14, 0, 5, 0, 2, 0, 7, 0],
        &[0, 23, 0, 0],
    ]
    .concat();
    body.extend_from_slice(&(extensions.len() as u16).to_be_bytes());
    body.extend_from_slice(&extensions);
    let length = (body.len() as u32).to_be_bytes();
    let handshake = [&[1][..], &length[1..], &[0, 0, 0, 0, 0], &length[1..], &body].concat();
    let sequence = rand::random::<u32>().to_be_bytes();
    let record_length = (handshake.len() as u16).to_be_bytes();
    [&[22, 254, 255, 0, 0, 0, 0][..], &sequence, &record_length, &handshake].concat()
}

/// Students that forge SCTP packets, each `rounds` times: until the teacher disconnects them, or for
/// [`FORGED_PACKETS`].
pub async fn sctp(target: &Target, students: usize, forgery: Forgery, rounds: usize) -> Tally {
    attackers(target, students, Pace::at_once(), move |target, n| async move {
        let mut tally = Tally::default();
        for round in 0..rounds {
            match Member::join(&target, network(n % 4), &format!("{forgery:?}-{n}-{round}")).await {
                Ok(member) => tally.count(forge(&target, member, forgery).await),
                Err(refusal) => tally.count(refusal),
            }
        }
        Ok(tally)
    })
    .await
}

/// One round of [`sctp`]: how it ended.
async fn forge(target: &Target, mut member: Member, forgery: Forgery) -> &'static str {
    let Ok(target_uid) = target.teacher.parse() else { return "no teacher" };
    let (bad, sdp) = Bad::offer(Misbehaviour::Forges(forgery));
    member.say(&ClientMessage::Offer { entry: None, target_uid, sdp, video: None, tracks: None }).await;
    let answer = member.hear_until(|message| match message {
        ServerMessage::Answer { sdp, .. } => Some(Some(sdp)),
        ServerMessage::Error { .. } => Some(None),
        _ => None,
    });
    let Some(Some(answer)) = answer.await else {
        bad.end();
        return "no answer";
    };
    bad.answer(answer);
    bad.misbehave();
    let forges = async {
        while bad.asked() < FORGED_PACKETS * forgery.burst() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let hangup = member.hear_until(|message| matches!(message, ServerMessage::Hangup { .. }).then_some(()));
    let outcome = tokio::select! {
        heard = hangup => if heard.is_some() { "disconnected" } else { "silence" },
        () = forges => "forged",
    };
    bad.end();
    outcome
}

/// Students that connect and leave in a loop.
pub async fn churn(target: &Target, at_once: usize, lasts: Duration) -> Tally {
    attackers(target, at_once, Pace::at_once(), move |target, n| async move {
        let (mut tally, end) = (Tally::default(), Instant::now() + lasts);
        for round in 0.. {
            if Instant::now() >= end {
                break;
            }
            match timeout(PATIENCE, Insider::join(&target, network(n % 4), &format!("churn-{n}-{round}"))).await {
                Ok(Ok(insider)) => {
                    tally.count("connected");
                    insider.leave().await;
                }
                Ok(Err(Refusal::Code(code))) => {
                    tally.count(code);
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                Ok(Err(refusal)) => tally.count(refusal),
                Err(_) => tally.count("silence"),
            }
        }
        Ok(tally)
    })
    .await
}

/// A school behind one address: `students` that join and offer at the same time. Each must get an answer.
pub async fn school(target: &Target, students: usize) -> Tally {
    attackers(target, students, Pace::at_once(), move |target, n| async move {
        let mut tally = Tally::default();
        let mut member = match Member::join(&target, ATTACKER, &format!("pupil-{n}")).await {
            Ok(member) => member,
            Err(refusal) => {
                tally.broken.push(format!("one of a school is not let in: {refusal}"));
                return Ok(tally);
            }
        };
        let Ok(target_uid) = target.teacher.parse() else { return Ok(tally) };
        member
            .say(&ClientMessage::Offer { entry: None, target_uid, sdp: Offer::new([]).sdp, video: None, tracks: None })
            .await;
        let answer = member.hear_until(|message| match message {
            ServerMessage::Answer { .. } => Some(None),
            ServerMessage::Error { code, .. } => Some(Some(code)),
            _ => None,
        });
        match answer.await {
            Some(None) => tally.count("answer"),
            Some(Some(code)) => tally.broken.push(format!("one of a school gets {code} for its offer")),
            None => tally.broken.push("one of a school gets no answer".into()),
        }
        Ok(tally)
    })
    .await
}
