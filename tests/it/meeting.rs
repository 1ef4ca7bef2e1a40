//! A meeting whose media the server carries: it moves there with the seventh participant.

use classroom::protocol::{ClientMessage, ErrorCode, MAX_MESH, MediaHost, MediaMove, TrackName};
use classroom::rtp::Track;

use crate::support::{Classroom, Member, id, until};

const SENDS: [TrackName; 2] = [TrackName::Audio, TrackName::Camera];

/// Enters the meeting.
async fn enter(class: &Classroom, user: u32) -> Member {
    let member = Member::join(class, user, "kind=meeting").await;
    member.signal(ClientMessage::Participate { sends: SENDS.to_vec() });
    until("a place in the meeting", || takes_part(&member, user)).await;
    member
}

fn takes_part(seen_by: &Member, user: u32) -> bool {
    seen_by.seen().meeting.participants.iter().any(|participant| participant.user_id == id(user))
}

/// Whether the server has the media of a participant.
fn is_published(seen_by: &Member, user: u32) -> bool {
    let seen = seen_by.seen();
    seen.meeting.participants.iter().any(|participant| participant.user_id == id(user) && participant.published)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_meeting_moves_to_the_server_with_its_seventh_participant() {
    let class = Classroom::undisturbed();
    let _server = class.server();
    let mut members = Vec::new();
    for n in 0..MAX_MESH as u32 {
        members.push(enter(&class, 1001 + n).await);
    }
    let first = &members[0];
    until("all in the list", || first.seen().meeting.participants.len() == MAX_MESH).await;
    assert_eq!(first.seen().meeting.media, MediaHost::Publisher, "each sends to each");
    first.publish(&SENDS);
    until("a refusal", || first.seen().errors.iter().any(|(code, _)| *code == ErrorCode::NotAllowed)).await;
    members.push(enter(&class, 1007).await);
    for member in &members {
        until("a move", || member.seen().meeting.media == MediaHost::Server).await;
        assert_eq!(member.seen().meeting.moved, Some(MediaMove::Size));
        member.publish(&SENDS);
    }
    let users = 1001..=1007;
    for user in users.clone() {
        until("published media", || is_published(&members[0], user)).await;
    }
    // Each of three receives from everybody else; all with all would measure this computer.
    for receiver in &members[..3] {
        users.clone().filter(|user| *user != receiver.user).for_each(|user| receiver.offer(user));
    }
    for receiver in &members[..3] {
        for user in users.clone().filter(|user| *user != receiver.user) {
            let what = format!("video of {user} at {}", receiver.user);
            until(&what, || receiver.seen().frames_of(user, Track::Camera) > 2).await;
        }
        let voices = || users.clone().filter(|user| receiver.seen().frames_of(*user, Track::Audio) > 0).count();
        until("two voices", || voices() >= 2).await;
        let seen = receiver.seen();
        for ((user, _), frames) in &seen.frames {
            assert_ne!(*user, id(receiver.user), "nobody hears itself");
            assert!(frames.senders.iter().all(|sender| id(*sender) == *user), "{user}: {:?}", frames.senders);
        }
    }
    // A participant that leaves is gone everywhere, and the others go on.
    members[6].signal(ClientMessage::Hangup { target_uid: id(1007), source: None });
    for receiver in &members[..3] {
        until("a goodbye", || !takes_part(receiver, 1007)).await;
        let before = receiver.seen().frames_of(1004, Track::Camera);
        until("the media of others", || receiver.seen().frames_of(1004, Track::Camera) > before + 2).await;
    }
    assert_eq!(members[0].seen().meeting.media, MediaHost::Server, "a meeting does not move back");
}
