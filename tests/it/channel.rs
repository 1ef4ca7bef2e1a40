//! Data channels on loopback: messages between students and the SFU, and the limit for a student that floods.

use std::sync::Arc;

use classroom::id::UserId;
use classroom::rtp::{Codec, Encoding, Track};
use classroom::sfu::{Sfu, SfuConfig, SfuEvent, UdpBinding};
use classroom::viewer::{IceServers, Incoming, Viewer, ViewerConfig, ViewerEvent};
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::support::DEADLINE;

struct Class {
    sfu: Sfu,
    events: mpsc::Receiver<SfuEvent>,
}

struct Student {
    viewer: Viewer,
    events: mpsc::Receiver<ViewerEvent>,
}

impl Class {
    fn start(workers: usize) -> Self {
        let workers = workers.try_into().unwrap();
        let config = SfuConfig {
            user: "9999".parse().unwrap(),
            udp: UdpBinding::Own("127.0.0.1:0".parse().unwrap()),
            advertise: vec![],
            stun: vec![],
            max_students: 10,
            workers,
            adapts: true,
            encodings: vec![(Encoding::full(Track::Screen, Codec::Vp8), 1_000_000)],
        };
        let (sfu, events) = Sfu::start(config).unwrap();
        Self { sfu, events }
    }

    /// The first result of `wanted` for the coming events.
    async fn next<T>(&mut self, wanted: impl Fn(SfuEvent) -> Option<T>) -> T {
        let wait = async {
            loop {
                if let Some(found) = wanted(self.events.recv().await.expect("the SFU still runs")) {
                    return found;
                }
            }
        };
        timeout(DEADLINE, wait).await.expect("the event comes in time")
    }

    async fn heard(&mut self) -> (UserId, String) {
        self.next(|event| if let SfuEvent::Heard { user, text } = event { Some((user, text)) } else { None }).await
    }

    /// A student whose data channel is open at both ends.
    async fn student(&mut self, id: &str) -> Student {
        let user: UserId = id.parse().unwrap();
        let config = ViewerConfig { bind: vec!["127.0.0.1:0".to_owned()], ice_servers: IceServers::default() };
        let (viewer, offer, events) = Viewer::offer(config, Arc::new(|_: Incoming<'_>| {})).await.unwrap();
        self.sfu.offer(user.clone(), offer, None, None);
        let answer = self.next(|event| if let SfuEvent::Answer { sdp, .. } = event { Some(sdp) } else { None }).await;
        viewer.answer(answer).await.unwrap();
        let mut student = Student { viewer, events };
        student.next(|event| matches!(event, ViewerEvent::ChannelOpen).then_some(())).await;
        self.next(|event| matches!(event, SfuEvent::ChannelOpen(who) if who == user).then_some(())).await;
        student
    }
}

impl Student {
    async fn next<T>(&mut self, wanted: impl Fn(ViewerEvent) -> Option<T>) -> T {
        let wait = async {
            loop {
                if let Some(found) = wanted(self.events.recv().await.expect("the viewer still runs")) {
                    return found;
                }
            }
        };
        timeout(DEADLINE, wait).await.expect("the event comes in time")
    }

    async fn heard(&mut self) -> String {
        self.next(|event| if let ViewerEvent::Heard(text) = event { Some(text) } else { None }).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn students_and_the_sfu_exchange_messages() {
    let mut class = Class::start(2);
    let (mut one, mut two) = (class.student("1001").await, class.student("1002").await);
    assert!(one.viewer.say("hello").await);
    let (user, text) = class.heard().await;
    assert_eq!((user.as_str(), text.as_str()), ("1001", "hello"));
    class.sfu.tell(user, "only you");
    class.sfu.tell_all("all of you");
    assert_eq!([one.heard().await, one.heard().await], ["only you", "all of you"]);
    assert_eq!(two.heard().await, "all of you");
    // As long as the largest welcome, in many packets.
    let long = "字".repeat(16_000);
    class.sfu.tell("1002".parse().unwrap(), &long);
    assert_eq!(two.heard().await, long);
    class.sfu.remove("1001".parse().unwrap());
    class.next(|event| matches!(event, SfuEvent::Gone { user, .. } if user.as_str() == "1001").then_some(())).await;
    class.sfu.tell_all("those who are left");
    assert_eq!(two.heard().await, "those who are left");
    one.viewer.close().await;
    two.viewer.close().await;
    class.sfu.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_from_one_student_is_limited_and_others_are_heard() {
    let mut class = Class::start(2);
    let (flood, calm) = (class.student("1001").await, class.student("1002").await);
    let mut sent = 0;
    for _ in 0..2_000 {
        sent += u32::from(flood.viewer.say("flood").await);
    }
    // The sender's own buffer is bounded as well, so some messages are never sent.
    assert!(sent > 500, "only {sent} messages were sent");
    assert!(calm.viewer.say("calm").await);
    let (mut read, mut is_calm_heard) = (0, false);
    // The two connections are not ordered, so the calm message may come first.
    while !(is_calm_heard && read > 0) {
        match class.heard().await.0.as_str() {
            "1002" => is_calm_heard = true,
            _ => read += 1,
        }
    }
    assert!((1..200).contains(&read), "{read} of {sent} messages of the flood were read");
    flood.viewer.close().await;
    calm.viewer.close().await;
    class.sfu.close().await;
}
