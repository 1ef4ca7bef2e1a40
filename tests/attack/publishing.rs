//! Attacks by those who may send media: publishers in rooms of their own, students on the stage, and students who only
//! say that they are on the stage.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use classroom::protocol::channel::{IngestTrouble, Moderation, PublisherMessage, StudentMessage};
use classroom::protocol::{ClientMessage, ErrorCode, IceCandidate, ServerMessage, TrackName};
use classroom::rtp::Track;
use tokio::time::{sleep, timeout};

use super::media::expect_no_amplification;
use super::member::{self, Refusal};
use super::offer::Offer;
use super::{ATTACKER, PATIENCE, Pace, Tally, Target, attackers, network};
use crate::support::{self, Member, Site, id};

/// The teacher of [`crate`]'s hosted classes invites students with this id and larger ones to the stage.
pub const FIRST_SPEAKER: u32 = 4_999;

/// The ids of hostile speakers.
const HOSTILE_SPEAKERS: u32 = FIRST_SPEAKER + 1;

/// The first student in a room of the attacker.
const STUDENT: u32 = 1_001;

/// The most addresses in an offer: as many as the server relays.
const CANDIDATES: usize = 32;

const CAMERA: [TrackName; 2] = [TrackName::Audio, TrackName::Camera];

/// How often a condition is checked.
const CHECK: Duration = Duration::from_millis(20);

/// Students on the stage that send at this pace.
pub async fn speakers(target: &Target, count: u32, pace: support::Pace, lasts: Duration) -> Tally {
    let site = site(target);
    attackers(target, count as usize, Pace::at_once(), move |_, n| {
        let site = site.clone();
        async move {
            let end = Instant::now() + lasts;
            let mut tally = Tally::default();
            let member = Member::student(site, HOSTILE_SPEAKERS + n as u32).await;
            if !holds_within(PATIENCE, || member.seen().invitations() > 0).await {
                tally.count("not invited");
                return Ok(tally);
            }
            member.accept(&CAMERA);
            let live = || member.seen().speakers().contains(&member.user.to_string());
            tally.count(if holds_within(PATIENCE, live).await { "on the stage" } else { "not on the stage" });
            member.set_pace(pace);
            sleep(end.saturating_duration_since(Instant::now())).await;
            count_trouble(&mut tally, &member.seen().heard_as_speaker);
            member.vanish().await;
            Ok(tally)
        }
    })
    .await
}

/// Rooms of the attacker, each with a publisher that sends at this pace and a student who watches.
pub async fn publishers(target: &Target, rooms: u32, pace: support::Pace, lasts: Duration) -> Tally {
    let address = target.http.to_string();
    attackers(target, rooms as usize, Pace::at_once(), move |_, n| {
        let site = Site { address: address.clone(), room: (20_000 + n).to_string() };
        async move {
            let end = Instant::now() + lasts;
            let mut tally = Tally::default();
            let teacher = Member::teacher(site.clone()).await;
            let student = Member::student(site, STUDENT).await;
            tally.count("room");
            teacher.set_pace(pace);
            sleep(end.saturating_duration_since(Instant::now())).await;
            count_trouble(&mut tally, &teacher.seen().heard);
            student.vanish().await;
            teacher.vanish().await;
            Ok(tally)
        }
    })
    .await
}

/// Rooms in which a teacher and `speakers` students all send and all watch each other.
pub async fn full_rooms(target: &Target, rooms: u32, speakers: u32, lasts: Duration) -> Tally {
    let address = target.http.to_string();
    attackers(target, rooms as usize, Pace::at_once(), move |_, n| {
        let site = Site { address: address.clone(), room: (20_000 + n).to_string() };
        async move {
            let end = Instant::now() + lasts;
            let mut tally = Tally::default();
            let teacher = Member::teacher(site.clone()).await;
            let mut students = Vec::new();
            for user in (STUDENT..).take(speakers as usize) {
                let student = Member::student(site.clone(), user).await;
                teacher.say(StudentMessage::Moderate(Moderation::Stage { user_id: id(user) }));
                if holds_within(PATIENCE, || student.seen().invitations() > 0).await {
                    student.accept(&CAMERA);
                }
                students.push(student);
            }
            let all_speak = || teacher.seen().speakers().len() == speakers as usize;
            tally.count(if holds_within(PATIENCE, all_speak).await { "full room" } else { "room" });
            sleep(end.saturating_duration_since(Instant::now())).await;
            let received: usize =
                (STUDENT..).take(speakers as usize).map(|user| teacher.seen().frames_of(user, Track::Camera)).sum();
            tally.count_many("frame of a speaker", received as u64);
            for student in students {
                student.vanish().await;
            }
            teacher.vanish().await;
            Ok(tally)
        }
    })
    .await
}

/// Offers about the stage by students who are not on it: to publish, and to receive from speakers and from others.
/// None of them connects, and all name the bystander.
pub async fn uninvited(target: &Target, students: usize, lasts: Duration) -> Tally {
    let before = target.bystander.bytes();
    let mut tally = attackers(target, students, Pace::at_once(), move |target, n| async move {
        let end = Instant::now() + lasts;
        let mut tally = Tally::default();
        let user = format!("uninvited-{n}");
        let own = format!("{user}-{}", target.attempt);
        let speaker = FIRST_SPEAKER.to_string();
        let mut member = member::Member::join(&target, network(n % 4), &user).await?;
        let receiving = Offer::new((0..CANDIDATES).map(|n| target.bystander.address(n))).sdp;
        let publishing = receiving.replace("recvonly", "sendonly");
        for (to, sdp) in [(&own, &publishing), (&speaker, &receiving), (&"1001".to_owned(), &receiving)].iter().cycle()
        {
            if Instant::now() >= end {
                break;
            }
            let Ok(target_uid) = to.parse() else { break };
            tally.sent_bytes += sdp.len() as u64;
            let offer =
                ClientMessage::Offer { entry: None, target_uid, sdp: (*sdp).clone(), video: None, tracks: None };
            if !member.say(&offer).await {
                tally.count("closed");
                break;
            }
            let until = Instant::now() + CHECK;
            while let Ok(heard) = timeout(until.saturating_duration_since(Instant::now()), member.hear()).await {
                match heard {
                    Some(ServerMessage::Answer { user_id, .. }) => {
                        tally.expect(user_id.as_str() == speaker, || format!("{user_id} answers an uninvited offer"));
                        tally.count("answer");
                    }
                    Some(ServerMessage::Error { code, .. }) => tally.count(code),
                    Some(_) => {}
                    None => break,
                }
            }
        }
        Ok(tally)
    })
    .await;
    // The server may go on for a while after the last offer.
    sleep(Duration::from_secs(1)).await;
    expect_no_amplification(target, before, &mut tally);
    tally
}

/// Students that speak as if they held the media of the speaker: answers, rejections, candidates and hangups with the
/// speaker as `source`, to everybody.
pub async fn forged_sources(target: &Target, students: usize, lasts: Duration) -> Tally {
    attackers(target, students, Pace::new(100), move |target, n| async move {
        let end = Instant::now() + lasts;
        let mut tally = Tally::default();
        let mut member = member::Member::join(&target, network(n % 4), &format!("forger-{n}")).await?;
        let source = Some(id(FIRST_SPEAKER));
        let mut turn = tokio::time::interval(CHECK);
        for to in (1_001..=1_003).chain([9_999, FIRST_SPEAKER]).cycle() {
            turn.tick().await;
            let (target_uid, source) = (id(to), source.clone());
            let candidate = IceCandidate { candidate: candidate(&target), ..IceCandidate::default() };
            let message = match rand::random::<u8>() % 4 {
                0 => ClientMessage::Answer { entry: None, target_uid, sdp: Offer::new([]).sdp, source },
                1 => ClientMessage::Candidate { entry: None, target_uid, candidate, source },
                2 => ClientMessage::Hangup { target_uid, source },
                _ => {
                    let (code, message) = (ErrorCode::NotOnStage, "forged".to_owned());
                    ClientMessage::Reject { target_uid, code, message, codec: None, source }
                }
            };
            if Instant::now() >= end || !member.say(&message).await {
                break;
            }
            tally.count("forged message");
            while let Ok(heard) = timeout(Duration::ZERO, member.hear()).await {
                match heard {
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

/// Publishers whose offers name the bystander and never connect, each in a room of its own and again and again.
pub async fn publish_offers(target: &Target, rooms: usize, lasts: Duration) -> Tally {
    let before = target.bystander.bytes();
    let mut tally = attackers(target, rooms, Pace::at_once(), move |target, n| async move {
        let end = Instant::now() + lasts;
        let mut tally = Tally::default();
        let query = format!("roomId={}&userId=9999&pub=pub&media=server", 30_000 + n);
        let mut member = member::Member::join_with(&target, ATTACKER, &query).await?;
        let offer = Offer::new((0..CANDIDATES).map(|n| target.bystander.address(n))).sdp;
        let sdp = offer.replace("recvonly", "sendonly");
        while Instant::now() < end {
            tally.sent_bytes += sdp.len() as u64;
            let target_uid = id(9_999);
            let offer = ClientMessage::Offer { entry: None, target_uid, sdp: sdp.clone(), video: None, tracks: None };
            if !member.say(&offer).await {
                return Err(Refusal::Socket("closed"));
            }
            let until = Instant::now() + Duration::from_millis(310);
            while let Ok(heard) = timeout(until.saturating_duration_since(Instant::now()), member.hear()).await {
                match heard {
                    Some(ServerMessage::Answer { .. }) => tally.count("answer"),
                    Some(ServerMessage::Error { code, .. }) => tally.count(code),
                    Some(_) => {}
                    None => return Err(Refusal::Socket("closed")),
                }
            }
        }
        Ok(tally)
    })
    .await;
    sleep(Duration::from_secs(1)).await;
    expect_no_amplification(target, before, &mut tally);
    tally
}

fn site(target: &Target) -> Site {
    Site { address: target.http.to_string(), room: target.room.clone() }
}

fn candidate(target: &Target) -> String {
    let address = target.bystander.address(0);
    format!("candidate:1 1 udp 2130706431 {} {} typ host", address.ip(), address.port())
}

/// Counts which troubles a publisher was told of.
fn count_trouble(tally: &mut Tally, heard: &[PublisherMessage]) {
    let troubles = heard.iter().filter_map(|message| match message {
        PublisherMessage::Ingest(report) => Some(&report.trouble),
        _ => None,
    });
    let kinds: BTreeSet<String> = troubles.flatten().map(|trouble: &IngestTrouble| format!("{trouble:?}")).collect();
    kinds.into_iter().for_each(|kind| tally.count(format!("told of {kind}")));
}

async fn holds_within(within: Duration, holds: impl Fn() -> bool) -> bool {
    let begun = Instant::now();
    while !holds() {
        if begun.elapsed() > within {
            return false;
        }
        sleep(CHECK).await;
    }
    true
}
