//! A lecture at a Janus: a private room of its VideoRoom plugin, with a pin and a secret that nobody else knows.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rand::distr::{Alphanumeric, SampleString};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::{EngineEvent, EngineOrder};
use crate::commands::whip_out::Host;
use crate::janus::{self, JanusError, JanusHost, JanusId, JanusOffer, JanusRoom, JanusServer, JanusUrl};
use crate::janus::{Subscription, SubscriptionEvent};
use crate::protocol::{ClientMessage, OfferedTracks};
use crate::rtp::Track;
use crate::tls::Trust;

/// Orders and events that wait between the tasks.
const QUEUE: usize = 1_024;

/// The characters of a pin, and of a secret: 143 bits.
const SECRET_CHARS: usize = 24;

/// The most rooms of a node that are remembered.
const MAX_LEFT: usize = 64;

/// Rooms of ended lectures that could not be destroyed, because their Janus was away: they would stay at Janus as empty
/// rooms. The next check destroys them. Clones are the same.
#[derive(Debug, Clone, Default)]
pub(super) struct LeftRooms(Arc<Mutex<VecDeque<JanusRoom>>>);

impl LeftRooms {
    fn lock(&self) -> MutexGuard<'_, VecDeque<JanusRoom>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, room: JanusRoom) {
        let mut rooms = self.lock();
        rooms.push_back(room);
        if rooms.len() > MAX_LEFT {
            rooms.pop_front();
        }
    }

    fn all(&self) -> Vec<JanusRoom> {
        self.lock().iter().cloned().collect()
    }

    fn remove(&self, gone: &[JanusRoom]) {
        self.lock().retain(|room| gone.iter().all(|one| one.id != room.id));
    }
}

/// The students of a lecture at a Janus.
pub(super) struct JanusStudents {
    orders: mpsc::Sender<Subscription>,
    events: mpsc::Receiver<SubscriptionEvent>,
    task: JoinHandle<Result<(), JanusError>>,
    /// The reason of the end, once the task has ended.
    ended: Option<String>,
}

/// The Janus, which is trusted by its certificate.
fn server(url: &JanusUrl) -> Result<JanusServer, String> {
    let trust = Trust::roots(None).map_err(|error| error.to_string())?;
    Ok(JanusServer { url: url.clone(), trust, token: None })
}

/// Checks that a Janus answers, and destroys the rooms that are left there.
pub(super) async fn check(url: &JanusUrl, left: &LeftRooms) -> Result<(), String> {
    let rooms = left.all();
    janus::check(&server(url)?, &rooms).await.map_err(|error| error.to_string())?;
    left.remove(&rooms);
    Ok(())
}

impl JanusStudents {
    /// Makes a room. Returns the way to publish in it, and its students.
    ///
    /// # Errors
    /// If the certificates of this computer can't be read.
    pub(super) fn start(url: &JanusUrl, left: LeftRooms) -> Result<(Host, Self), String> {
        let secret = || Some(Alphanumeric.sample_string(&mut rand::rng(), SECRET_CHARS));
        let room = JanusRoom {
            server: server(url)?,
            // Janus has numbers of 63 bits, and JavaScript of 53.
            id: JanusId::Number(rand::random_range(1 << 32..1 << 53)),
            pin: secret(),
            secret: secret(),
            display: "classroom".to_owned(),
            creates: true,
        };
        let (orders, mut order_queue) = mpsc::channel(QUEUE);
        let (sender, events) = mpsc::channel(QUEUE);
        let served = room.clone();
        let task = tokio::spawn(async move {
            let served_to_end = janus::serve_room(&served, &mut order_queue, &sender).await;
            if served_to_end.is_err() {
                left.push(served);
            }
            served_to_end
        });
        Ok((Host::Janus(Box::new(JanusHost { room })), Self { orders, events, task, ended: None }))
    }

    /// Passes an order on. Janus answers no offers: it makes its own one.
    pub(super) fn order(&self, order: EngineOrder) {
        let order = match order {
            EngineOrder::Offer(user, ..) => Subscription::Open(user),
            EngineOrder::Answer(user, sdp) => Subscription::Answer(user, sdp),
            EngineOrder::Candidate(user, candidate) => Subscription::Candidate(user, candidate),
            EngineOrder::Remove(user) => Subscription::Close(user),
            EngineOrder::Sees(..) => return,
        };
        _ = self.orders.try_send(order);
    }

    /// Ends all connections, and destroys the room.
    pub(super) async fn end(self) {
        let Self { orders, events, task, .. } = self;
        drop((orders, events));
        if !task.is_finished() {
            _ = task.await;
        }
    }

    /// The next event. Cancel-safe.
    pub(super) async fn next(&mut self) -> EngineEvent {
        if let Some(event) = self.events.recv().await {
            return match event {
                SubscriptionEvent::Offer(target_uid, JanusOffer { sdp, tracks }) => {
                    let name = |(mid, track): (String, Track)| (mid, track.into());
                    let tracks: OfferedTracks = tracks.into_iter().map(name).collect();
                    let (entry, video) = (None, None);
                    EngineEvent::Send(ClientMessage::Offer { entry, target_uid, sdp, video, tracks: Some(tracks) })
                }
                SubscriptionEvent::Candidate(target_uid, candidate) => {
                    let (entry, source) = (None, None);
                    EngineEvent::Send(ClientMessage::Candidate { entry, target_uid, candidate, source })
                }
                SubscriptionEvent::Up(user) => EngineEvent::Connected(user),
                SubscriptionEvent::Gone(user, _) => EngineEvent::Gone(user),
            };
        }
        let why = match &self.ended {
            Some(why) => why.clone(),
            None => match (&mut self.task).await {
                Ok(Err(error)) => error.to_string(),
                Ok(Ok(())) => "the room has ended".to_owned(),
                Err(error) => error.to_string(),
            },
        };
        self.ended = Some(why.clone());
        EngineEvent::Lost(why)
    }
}
