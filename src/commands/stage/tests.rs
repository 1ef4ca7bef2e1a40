use std::num::NonZeroUsize;

use super::*;
use crate::protocol::channel::OffStage;
use crate::report::SpeakerMetrics;
use crate::sfu::MediaPort;
use crate::trace::Tracer;

/// The stage of a process with so many speakers, and its meter.
fn stage(most: usize) -> (StageMedia, MediaMeter) {
    let (port, _) = MediaPort::bind("127.0.0.1:0".parse().unwrap(), &[]).unwrap();
    let source = SourceSettings {
        port,
        advertise: Vec::new(),
        workers: NonZeroUsize::MIN,
        max_receivers: 8,
        floor: None,
        tracer: Tracer::default(),
        threads: None,
    };
    let meter = MediaMeter::default();
    (StageMedia::new(StageSettings::new(source, meter.clone(), most)), meter)
}

fn id(user: u32) -> UserId {
    user.to_string().parse().unwrap()
}

fn invited(user: u32) -> StageChange {
    StageChange::Invited { user: id(user), nickname: "S".into() }
}

fn accepted(user: u32) -> StageChange {
    StageChange::Accepted { user: id(user), nickname: "S".into(), id: u64::from(user) }
}

fn ended(user: u32) -> StageChange {
    StageChange::Ended { user: id(user), nickname: "S".into(), why: OffStage::Ended }
}

/// An offer that every SFU refuses.
fn offer(user: u32, source: u32) -> StageOffer {
    let sdp = "no sdp".to_owned();
    StageOffer { user: id(user), source: id(source), sdp, video: None, tracks: None, network: None }
}

fn rejection(output: StageOutput) -> (UserId, ErrorCode, Option<UserId>) {
    match output {
        StageOutput::Send(ClientMessage::Reject { target_uid, code, source, .. }) => (target_uid, code, source),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn offers_for_nobody_on_the_stage_are_rejected() {
    let (mut stage, _) = stage(1);
    stage.changed(invited(1001));
    for (user, source) in [(1002, 1002), (1002, 1001), (1002, 1003)] {
        stage.offer(offer(user, source));
        assert_eq!(rejection(stage.next().await), (id(user), ErrorCode::NotOnStage, Some(id(source))));
    }
}

#[tokio::test]
async fn an_offer_that_overtakes_its_acceptance_waits() {
    let (mut stage, meter) = stage(1);
    stage.changed(invited(1001));
    stage.offer(offer(1001, 1001));
    stage.changed(accepted(1001));
    assert_eq!(rejection(stage.next().await), (id(1001), ErrorCode::BadSdp, Some(id(1001))));
    let SpeakerMetrics { speakers, .. } = meter.speakers();
    assert_eq!(speakers, 1);
    stage.close().await;
    assert_eq!(meter.speakers().speakers, 0);
}

#[tokio::test]
async fn a_process_has_only_so_many_speakers() {
    let (mut stage, _) = stage(1);
    // The second student gets the place of the first one, once that one has said goodbye.
    for user in [1001, 1002] {
        stage.changed(accepted(user));
        stage.offer(offer(user, user));
        assert_eq!(rejection(stage.next().await).0, id(user));
        if user == 1001 {
            stage.changed(ended(user));
        }
    }
    stage.changed(accepted(1003));
    tokio::time::pause();
    assert!(matches!(stage.next().await, StageOutput::Warn(_)));
    let failed = SpeakerFact::Failed { user: id(1003), why: OffStage::NoCapacity };
    assert_eq!(stage.next().await, StageOutput::Fact(failed));
    stage.changed(ended(1003));
}
