//! Data channels on loopback: what students and the SFU tell each other, and what happens to who says too much.

use std::sync::Arc;
use std::time::Duration;

use classroom::id::UserId;
use classroom::rtp::{Codec, Encoding, Track};
use classroom::sfu::{Sfu, SfuConfig, SfuEvent};
use classroom::viewer::{Incoming, Viewer, ViewerConfig, ViewerEvent};
use tokio::sync::mpsc;
use tokio::time::timeout;

const DEADLINE: Duration = Duration::from_secs(20);

struct Class {
    sfu: Sfu,
    events: mpsc::Receiver<SfuEvent>,
}

struct Student {
    link: Viewer,
    events: mpsc::Receiver<ViewerEvent>,
}

impl Class {
    fn start(workers: usize) -> Self {
        let workers = workers.try_into().unwrap();
        let config = SfuConfig {
            user: "9999".parse().unwrap(),
            udp: "127.0.0.1:0".parse().unwrap(),
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

    /// The next event that `wanted` makes something of.
    async fn next<T>(&mut self, wanted: impl Fn(SfuEvent) -> Option<T>) -> T {
        let wait = async {
            loop {
                if let Some(found) = wanted(self.events.recv().await.expect("the SFU goes on")) {
                    return found;
                }
            }
        };
        timeout(DEADLINE, wait).await.expect("the SFU says so")
    }

    async fn heard(&mut self) -> (UserId, String) {
        self.next(|event| if let SfuEvent::Heard { user, text } = event { Some((user, text)) } else { None }).await
    }

    /// A student whose channel stands at both ends.
    async fn student(&mut self, id: &str) -> Student {
        let user: UserId = id.parse().unwrap();
        let config = ViewerConfig { bind: vec!["127.0.0.1:0".to_owned()], ice_servers: vec![] };
        let (link, offer, events) = Viewer::offer(config, Arc::new(|_: Incoming<'_>| {})).await.unwrap();
        self.sfu.offer(user.clone(), offer, None);
        let answer = self.next(|event| if let SfuEvent::Answer { sdp, .. } = event { Some(sdp) } else { None }).await;
        link.answer(answer).await.unwrap();
        let mut student = Student { link, events };
        student.next(|event| matches!(event, ViewerEvent::ChannelOpen).then_some(())).await;
        self.next(|event| matches!(event, SfuEvent::ChannelOpen(who) if who == user).then_some(())).await;
        student
    }
}

impl Student {
    async fn next<T>(&mut self, wanted: impl Fn(ViewerEvent) -> Option<T>) -> T {
        let wait = async {
            loop {
                if let Some(found) = wanted(self.events.recv().await.expect("the link goes on")) {
                    return found;
                }
            }
        };
        timeout(DEADLINE, wait).await.expect("the link says so")
    }

    async fn heard(&mut self) -> String {
        self.next(|event| if let ViewerEvent::Heard(text) = event { Some(text) } else { None }).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn students_and_hub_tell_each_other() {
    let mut class = Class::start(2);
    let (mut one, mut two) = (class.student("1001").await, class.student("1002").await);
    assert!(one.link.say("hello").await);
    let (user, text) = class.heard().await;
    assert_eq!((user.as_str(), text.as_str()), ("1001", "hello"));
    class.sfu.tell(user, "only you");
    class.sfu.tell_all("all of you");
    assert_eq!([one.heard().await, one.heard().await], ["only you", "all of you"]);
    assert_eq!(two.heard().await, "all of you");
    // As much as a welcome may have, in many packets.
    let long = "字".repeat(16_000);
    class.sfu.tell("1002".parse().unwrap(), &long);
    assert_eq!(two.heard().await, long);
    class.sfu.remove("1001".parse().unwrap());
    class.next(|event| matches!(event, SfuEvent::Gone { user, .. } if user.as_str() == "1001").then_some(())).await;
    class.sfu.tell_all("who is left");
    assert_eq!(two.heard().await, "who is left");
    one.link.close().await;
    two.link.close().await;
    class.sfu.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_floods_is_not_read_and_others_are_heard() {
    let mut class = Class::start(2);
    let (flood, calm) = (class.student("1001").await, class.student("1002").await);
    let mut sent = 0;
    for _ in 0..2_000 {
        sent += u32::from(flood.link.say("flood").await);
    }
    // What is under way is bounded at the sender too.
    assert!(sent > 500, "{sent}");
    assert!(calm.link.say("calm").await);
    let mut read = 0;
    loop {
        let (user, _) = class.heard().await;
        if user.as_str() == "1002" {
            break;
        }
        read += 1;
    }
    assert!(read < 200, "{read} of {sent} messages of one student were read");
    flood.link.close().await;
    calm.link.close().await;
    class.sfu.close().await;
}
