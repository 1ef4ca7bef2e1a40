//! Participants that are no processes: each signals, publishes to the server and receives everybody else from there,
//! over connections of its own (ICE, DTLS, SRTP) with all their feedback. They neither encode nor decode.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use classroom::id::UserId;
use classroom::protocol::{ClientMessage, MediaHost, TrackName};
use classroom::rtp::Track;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

use crate::meeting::{Meeting, ROOM};
use crate::support::{Member, Pace, Site, id};

/// How often a participant looks at the list of the others.
const LOOK: Duration = Duration::from_millis(100);

/// The most connections that a participant begins per look.
const AT_ONCE: usize = 3;

const SENDS: [TrackName; 2] = [TrackName::Audio, TrackName::Screen];

/// The number of the first one.
const FIRST: u32 = 2001;

/// What has arrived at all of them.
#[derive(Debug, Clone, Copy, Default)]
pub struct Arrived {
    pub frames: usize,
    /// Frames between the first and the last one of a track that did not arrive.
    pub missing: usize,
    pub blocks_of_audio: usize,
}

/// The emulated participants of a meeting.
pub struct Emulated {
    members: Vec<Arc<Member>>,
    tasks: Vec<JoinHandle<()>>,
    is_over: Arc<AtomicBool>,
    runtime: Runtime,
}

impl Emulated {
    /// Lets them enter.
    pub fn enter(meeting: &Meeting, count: usize) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let site = Site { address: meeting.address.clone(), room: ROOM.to_owned() };
        let is_over = Arc::new(AtomicBool::new(false));
        let (mut members, mut tasks) = (Vec::new(), Vec::new());
        for n in 0..count as u32 {
            let member = runtime.block_on(Member::join(site.clone(), FIRST + n, "kind=meeting"));
            member.set_pace(Pace::Small);
            member.signal(ClientMessage::Participate { sends: SENDS.to_vec() });
            let member = Arc::new(member);
            members.push(Arc::clone(&member));
            tasks.push(runtime.spawn(take_part(member, Arc::clone(&is_over))));
        }
        Self { members, tasks, is_over, runtime }
    }

    /// Their user ids.
    pub fn users(&self) -> Vec<String> {
        self.members.iter().map(|member| member.user.to_string()).collect()
    }

    /// Waits until each of them gets the picture of everybody else.
    pub fn all_see_all(&self, within: Duration) {
        let sees = |member: &Member| {
            let seen = member.seen();
            let others = seen.meeting.participants.iter().filter(|other| other.user_id != id(member.user));
            let count = others.clone().count();
            let has_picture = |user: &UserId| seen.frames.contains_key(&(user.clone(), Track::Screen));
            count > 0 && others.filter(|other| has_picture(&other.user_id)).count() == count
        };
        let all = || self.members.iter().all(|member| sees(member)).then_some(());
        let blind = || self.members.iter().filter(|member| !sees(member)).count();
        assert!(crate::support::poll(within, all).is_some(), "{} emulated participants miss somebody", blind());
    }

    /// What has arrived so far from other emulated participants: only their packets tell the number of their frame.
    pub fn arrived(&self) -> Arrived {
        let is_emulated = |user: &UserId| user.as_str().parse::<u32>().is_ok_and(|user| user >= FIRST);
        let mut sum = Arrived::default();
        for member in &self.members {
            for ((user, track), frames) in &member.seen().frames {
                if !is_emulated(user) {
                    continue;
                }
                if track.is_video() {
                    sum.frames += frames.numbers.len();
                    sum.missing += frames.missing();
                } else {
                    sum.blocks_of_audio += frames.numbers.len();
                }
            }
        }
        sum
    }
}

impl Drop for Emulated {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        let (tasks, members) = (std::mem::take(&mut self.tasks), std::mem::take(&mut self.members));
        self.runtime.block_on(async {
            for task in tasks {
                let _ = task.await;
            }
            for member in members.into_iter().filter_map(Arc::into_inner) {
                member.vanish().await;
            }
        });
    }
}

/// Publishes once the media is on the server, and connects to whoever has published.
async fn take_part(member: Arc<Member>, is_over: Arc<AtomicBool>) {
    let (mut has_published, mut known) = (false, BTreeSet::new());
    while !is_over.load(Ordering::Relaxed) {
        tokio::time::sleep(LOOK).await;
        let meeting = member.seen().meeting.clone();
        if meeting.media != MediaHost::Server {
            continue;
        }
        if !std::mem::replace(&mut has_published, true) {
            member.publish(&SENDS);
        }
        let published = meeting.participants.iter().filter(|other| other.published && other.user_id != id(member.user));
        let new: Vec<UserId> =
            published.map(|other| other.user_id.clone()).filter(|user| !known.contains(user)).collect();
        for user in new.into_iter().take(AT_ONCE) {
            if let Ok(number) = user.as_str().parse() {
                member.offer(number);
            }
            known.insert(user);
        }
    }
}
