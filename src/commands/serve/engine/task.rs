//! The task of a lecture at a node: it publishes the lecture there, places students, and moves those whose line does
//! not carry the picture to a second publication, which has the low tier alone.

use std::collections::HashSet;
use std::time::Instant;

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::lecture::Lecture;
use super::lines::{ASK_EVERY, Lines};
use super::pulse::Pulse;
use super::students::Students;
use super::{EngineEvent, EngineOrder, Node, refusal};
use crate::commands::client_network::bind_addresses_for;
use crate::commands::or_never;
use crate::commands::whip_out::{FrameOutputs, KeyFrameBudget, Target, TargetEvent, TargetMedia};
use crate::id::UserId;
use crate::protocol::channel::{PublisherMessage, SentTier, SentTiers, TierReason};
use crate::protocol::{ClientMessage, ErrorCode};
use crate::publisher::Layering;
use crate::report::HostState;
use crate::rtp::{Encoding, Tier, Track};
use crate::sdp::ice::IceServers;

/// Events of the publishing connections that wait.
const TARGET_QUEUE: usize = 64;

/// Encodings with their bits per second.
type Encodings = Vec<(Encoding, u32)>;

/// The lecture at a node.
pub(super) struct Task {
    node: Node,
    encodings: Encodings,
    outputs: FrameOutputs,
    orders: mpsc::Receiver<EngineOrder>,
    events: mpsc::Sender<EngineEvent>,
    /// Notices a node that is gone; none if the students do.
    pulse: Option<Pulse>,
    /// The publication in the best tier that the path to the node carries.
    main: Publication,
    /// The one with the low tier, while a student here needs that.
    low: Option<Publication>,
    /// Whether the node does not take a second publication, or the lecture has no low tier.
    is_low_out: bool,
    lines: Lines,
    /// The number of the next publication.
    next: usize,
    published: mpsc::Receiver<(usize, TargetEvent)>,
    tells: mpsc::Sender<(usize, TargetEvent)>,
    max_students: usize,
    key_frames: KeyFrameBudget,
    /// Whether the low tier of the screen, and of the camera, is sent to the node.
    sends_low: [bool; 2],
}

/// A publication, with its students.
struct Publication {
    number: usize,
    tier: Tier,
    students: Students,
    /// The students who are connected here, or about to be.
    users: HashSet<UserId>,
    /// The videos whose low tier is sent.
    sends_low: Vec<Track>,
    stop: oneshot::Sender<()>,
    target: JoinHandle<()>,
}

impl Publication {
    fn start(
        (number, tier): (usize, Tier),
        node: &Node,
        mut encodings: Encodings,
        outputs: FrameOutputs,
        tells: mpsc::Sender<(usize, TargetEvent)>,
    ) -> Result<Self, String> {
        let (host, students) = Students::start(node, Lecture::of(&encodings))?;
        encodings.retain(|(encoding, _)| students.takes(encoding.track));
        // The WHIP of LiveKit 1.13.5 takes every layer for the same one, and drops the second.
        let (ice_servers, layering) = (IceServers::default(), Layering::Single);
        let media = TargetMedia { bind: bind_addresses_for(host.host()), ice_servers, encodings, layering };
        let (stop, stopped) = oneshot::channel();
        let target = tokio::spawn(Target::new(number, host, media, outputs, tells).run(stopped));
        Ok(Self { number, tier, students, users: HashSet::new(), sends_low: Vec::new(), stop, target })
    }

    /// Ends all connections.
    async fn end(self) {
        let Self { students, stop, target, .. } = self;
        _ = stop.send(());
        _ = tokio::join!(target, students.end());
    }
}

/// The encodings of a lecture for lines that don't carry all: the low tier of each video that has one.
fn low(encodings: &[(Encoding, u32)]) -> Encodings {
    let has_low = |of: &Encoding| encodings.iter().any(|(one, _)| one.track == of.track && one.tier == Tier::Low);
    encodings.iter().filter(|(encoding, _)| encoding.tier == Tier::Low || !has_low(encoding)).copied().collect()
}

impl Task {
    /// Starts to publish. `max_students` is the most students here.
    ///
    /// # Errors
    /// If the engine's client can't be started.
    pub(super) fn start(
        node: &Node,
        (encodings, outputs): (Encodings, FrameOutputs),
        (max_students, lines): (usize, Lines),
        (orders, events): (mpsc::Receiver<EngineOrder>, mpsc::Sender<EngineEvent>),
    ) -> Result<Self, String> {
        let (tells, published) = mpsc::channel(TARGET_QUEUE);
        let main = Publication::start((0, Tier::Full), node, encodings.clone(), outputs.clone(), tells.clone())?;
        Ok(Self {
            node: node.clone(),
            is_low_out: encodings.iter().all(|(encoding, _)| encoding.tier == Tier::Full),
            encodings,
            outputs,
            orders,
            events,
            pulse: node.pulse(),
            main,
            low: None,
            lines,
            next: 1,
            published,
            tells,
            max_students,
            key_frames: KeyFrameBudget::of_students(),
            sends_low: [false; 2],
        })
    }

    pub(super) async fn run(mut self) {
        let lost = self.serve().await;
        if let Some(why) = lost {
            _ = self.events.send(EngineEvent::Lost(why)).await;
        }
        // Nobody reads what the publishing connections still tell.
        self.published.close();
        let low = async {
            if let Some(low) = self.low {
                low.end().await;
            }
        };
        tokio::join!(self.main.end(), low);
    }

    /// Serves until the lecture ends here; returns why the node can't be used, if that is the reason.
    async fn serve(&mut self) -> Option<String> {
        let mut ask = tokio::time::interval(ASK_EVERY);
        loop {
            let deadline = self.key_frames.deadline(Instant::now(), &self.outputs.key_frames());
            let low = self.low.as_mut().map(|low| low.students.next());
            let told = tokio::select! {
                order = self.orders.recv() => self.on_order(order?),
                event = self.main.students.next() => match event {
                    EngineEvent::Lost(why) => return Some(why),
                    event => self.on_student(Tier::Full, event),
                },
                event = or_never(low) => self.on_student(Tier::Low, event),
                event = self.published.recv() => {
                    let (number, event) = event?;
                    match event {
                        TargetEvent::State(HostState::Waiting { reason, .. } | HostState::Refused { reason }) => {
                            let why = format!("does not get the lecture: {reason}");
                            if number == self.main.number {
                                return Some(why);
                            }
                            if self.low.as_ref().is_some_and(|low| low.number == number) {
                                self.lose_low(&why)
                            } else {
                                Vec::new()
                            }
                        }
                        event => self.on_published(number, event),
                    }
                }
                why = or_never(self.pulse.as_mut().map(Pulse::stopped)) => return Some(why),
                () = or_never(deadline.map(|at| tokio::time::sleep_until(at.into()))) => {
                    let due = self.key_frames.due(Instant::now(), &self.outputs.key_frames());
                    due.into_iter().map(EngineEvent::KeyFrameNeeded).collect()
                }
                _ = ask.tick() => self.ask(),
            };
            for event in told {
                if self.events.send(event).await.is_err() {
                    return None;
                }
            }
        }
    }

    fn students(&self) -> usize {
        self.main.users.len() + self.low.as_ref().map_or(0, |low| low.users.len())
    }

    /// The publication of a student.
    fn of(&mut self, user: &UserId) -> Option<&mut Publication> {
        std::iter::once(&mut self.main).chain(&mut self.low).find(|publication| publication.users.contains(user))
    }

    fn on_order(&mut self, order: EngineOrder) -> Vec<EngineEvent> {
        match order {
            EngineOrder::Offer(user, sdp, video) => {
                if self.of(&user).is_none() && self.students() >= self.max_students {
                    let why = "it has as many students as it may have";
                    return vec![EngineEvent::Send(refusal(user, ErrorCode::RoomFull, &why))];
                }
                let tier = self.tier_for(&user);
                if self.of(&user).is_some_and(|publication| publication.tier != tier) {
                    self.remove(&user);
                }
                let publication = match (tier, &mut self.low) {
                    (Tier::Low, Some(low)) => low,
                    _ => &mut self.main,
                };
                publication.users.insert(user.clone());
                publication.students.order(EngineOrder::Offer(user, sdp, video));
                Vec::new()
            }
            EngineOrder::Remove(user) => {
                self.remove(&user);
                self.end_idle_low()
            }
            EngineOrder::Sees(user, viewing) => {
                let is_here = !self.is_low_out && self.of(&user).is_some();
                let now = Instant::now();
                if !is_here || !self.lines.sees(now, &user, viewing, self.outputs.pictures_since(now)) {
                    return Vec::new();
                }
                // Its next offer is for the other tier.
                self.remove(&user);
                let mut told = vec![EngineEvent::Gone(user)];
                told.extend(self.end_idle_low());
                told
            }
            EngineOrder::Answer(user, sdp) => {
                if let Some(publication) = self.of(&user) {
                    publication.students.order(EngineOrder::Answer(user, sdp));
                }
                Vec::new()
            }
            EngineOrder::Candidate(user, candidate) => {
                if let Some(publication) = self.of(&user) {
                    publication.students.order(EngineOrder::Candidate(user, candidate));
                }
                Vec::new()
            }
        }
    }

    /// The tier for a student who offers. Makes sure that its publication is there.
    fn tier_for(&mut self, user: &UserId) -> Tier {
        if self.is_low_out || self.lines.tier(user) == Tier::Full {
            return Tier::Full;
        }
        if self.low.is_none() {
            let (number, encodings) = ((self.next, Tier::Low), low(&self.encodings));
            self.next += 1;
            self.low = Publication::start(number, &self.node, encodings, self.outputs.clone(), self.tells.clone()).ok();
        }
        if self.low.is_some() { Tier::Low } else { Tier::Full }
    }

    fn remove(&mut self, user: &UserId) {
        if let Some(publication) = self.of(user) {
            publication.users.remove(user);
            publication.students.order(EngineOrder::Remove(user.clone()));
        }
        self.key_frames.serves(self.students(), false, self.main.students.budget());
    }

    fn on_student(&mut self, tier: Tier, event: EngineEvent) -> Vec<EngineEvent> {
        match event {
            EngineEvent::Lost(why) => self.lose_low(&why),
            EngineEvent::Gone(user) => {
                self.remove(&user);
                let mut told = vec![EngineEvent::Gone(user)];
                told.extend(self.end_idle_low());
                told
            }
            EngineEvent::Connected(user) => {
                let is_told = self.lines.connected(Instant::now(), &user, tier);
                self.key_frames.serves(self.students(), true, self.main.students.budget());
                let tell = is_told.then(|| self.tell_tier(user.clone(), tier));
                [EngineEvent::Connected(user)].into_iter().chain(tell).collect()
            }
            event => vec![event],
        }
    }

    /// Tells a student which tier it gets.
    fn tell_tier(&self, user: UserId, tier: Tier) -> EngineEvent {
        let sent = |track| {
            let mut tiers = self.encodings.iter().filter(|(one, _)| one.track == track).map(|(one, _)| one.tier);
            let has = |of| tiers.clone().any(|one| one == of);
            let sent = if tier == Tier::Low && has(Tier::Low) { SentTier::Low } else { SentTier::Full };
            tiers.next().map(|_| sent)
        };
        let tiers = SentTiers { screen: sent(Track::Screen), camera: sent(Track::Camera) };
        let reason = (tier == Tier::Low).then_some(TierReason::Loss);
        let message = PublisherMessage::Tier { tiers, estimate_kbps: None, reason };
        EngineEvent::Send(ClientMessage::Tell { target_uid: Some(user), message })
    }

    fn on_published(&mut self, number: usize, event: TargetEvent) -> Vec<EngineEvent> {
        let is_main = number == self.main.number;
        let mut publications = std::iter::once(&mut self.main).chain(&mut self.low);
        let Some(publication) = publications.find(|publication| publication.number == number) else {
            return Vec::new();
        };
        match event {
            TargetEvent::State(HostState::Live) if is_main => vec![EngineEvent::Ready],
            TargetEvent::State(_) => Vec::new(),
            TargetEvent::Sends(encodings) => {
                let low = encodings.into_iter().filter(|encoding| encoding.tier == Tier::Low);
                publication.sends_low = low.map(|encoding| encoding.track).collect();
                self.low_needs()
            }
            TargetEvent::KeyFrameNeeded(encoding) => {
                let (made, kind) = (self.outputs.key_frame(encoding), publication.students.budget());
                let asks = self.key_frames.want(Instant::now(), (number, kind), encoding, made);
                asks.then_some(EngineEvent::KeyFrameNeeded(encoding)).into_iter().collect()
            }
        }
    }

    /// The changes of what both publications together need of the low tier.
    fn low_needs(&mut self) -> Vec<EngineEvent> {
        let of_low = self.low.as_ref().map(|low| &low.sends_low);
        let needs = |track| self.main.sends_low.contains(&track) || of_low.is_some_and(|low| low.contains(&track));
        let now = [Track::Screen, Track::Camera].map(|track| (track, needs(track)));
        let before = std::mem::replace(&mut self.sends_low, now.map(|(_, is_needed)| is_needed));
        let changed = now.into_iter().zip(before).filter(|((_, now), before)| now != before);
        changed.map(|((track, is_needed), _)| EngineEvent::NeedsLow(track, is_needed)).collect()
    }

    /// Asks the students what they see.
    fn ask(&self) -> Vec<EngineEvent> {
        if self.is_low_out || self.students() == 0 {
            return Vec::new();
        }
        let message = PublisherMessage::ReportViewing;
        vec![EngineEvent::Send(ClientMessage::Tell { target_uid: None, message })]
    }

    /// Ends the publication of the low tier if nobody needs it.
    fn end_idle_low(&mut self) -> Vec<EngineEvent> {
        let Some(low) = self.low.take_if(|low| low.users.is_empty()) else { return Vec::new() };
        tokio::spawn(low.end());
        self.low_needs()
    }

    /// The node does not take the low tier: its students get the full one.
    fn lose_low(&mut self, why: &str) -> Vec<EngineEvent> {
        self.is_low_out = true;
        let Some(low) = self.low.take() else { return Vec::new() };
        let users = low.users.clone();
        tokio::spawn(low.end());
        let mut told = self.low_needs();
        told.push(EngineEvent::Notice(format!("{} has no low tier for slow lines: it {why}", self.node)));
        told.extend(users.into_iter().map(EngineEvent::Gone));
        told
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtp::Codec;

    #[test]
    fn slow_lines_get_the_low_tier_of_each_video_that_has_one() {
        let of = |track, codec, tier| (Encoding::full(track, codec).with(tier), 1);
        let audio = of(Track::Audio, Codec::Opus, Tier::Full);
        let screen = [Tier::Full, Tier::Low].map(|tier| of(Track::Screen, Codec::H264, tier));
        let camera = of(Track::Camera, Codec::H264, Tier::Full);
        assert_eq!(low(&[audio, screen[0], screen[1], camera]), [audio, screen[1], camera]);
    }
}
