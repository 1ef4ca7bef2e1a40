//! Many subscribers of one room in one session: the way of a server that places its own students at Janus. The students
//! never speak to Janus; their answers and candidates come through the server.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::{BoxFuture, FutureExt};
use futures_util::stream::FuturesUnordered;
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::error::JanusError;
use super::feeds::{Feeds, Streams};
use super::member::{JanusRoom, Member, access};
use super::session::{JanusServer, Session, SessionEvent};
use super::subscribe::{JanusOffer, Subscribing, subscribe};
use super::transactions::Unasked;
use super::url::JanusUrl;
use super::video_room::{self, JanusId, RoomEvent, RoomRequest};
use super::wire::{Candidate, HandleId, Jsep, MAX_CANDIDATES};
use crate::id::UserId;
use crate::protocol::IceCandidate;

/// The interval of signs of life: a Janus that is gone is noticed within three of them.
const PROBE_EVERY: Duration = Duration::from_secs(1);

/// The time limit of the end of a room.
const DESTROY_WITHIN: Duration = Duration::from_secs(1);

/// The most requests to Janus at the same time. Others wait.
const AT_ONCE: usize = 16;

/// An order for the room.
#[derive(Debug)]
pub enum Subscription {
    /// Janus shall offer to this user, in a new connection.
    Open(UserId),
    /// The user's answer.
    Answer(UserId, String),
    /// A candidate of the user.
    Candidate(UserId, IceCandidate),
    /// The connection of the user ends.
    Close(UserId),
}

/// An event of the room.
#[derive(Debug)]
pub enum SubscriptionEvent {
    /// Janus offers.
    Offer(UserId, JanusOffer),
    /// A candidate of Janus.
    Candidate(UserId, IceCandidate),
    /// Media may flow.
    Up(UserId),
    /// The connection has failed or has ended; the reason.
    Gone(UserId, String),
}

/// Checks that Janus answers, and destroys these rooms there, which may be gone already.
///
/// # Errors
/// If it can't be reached or refuses.
pub async fn check(server: &JanusServer, rooms: &[JanusRoom]) -> Result<(), JanusError> {
    let (session, _events, _) = Session::open(server, None).await?;
    if !rooms.is_empty() {
        let handle = session.attach().await?;
        for room in rooms {
            destroy(&session, handle, room).await;
        }
    }
    session.end().await;
    Ok(())
}

/// Destroys a room: one that is not destroyed stays at Janus without anybody in it.
async fn destroy(session: &Session, handle: HandleId, room: &JanusRoom) {
    let destroy = RoomRequest::Destroy { room: &room.id, secret: room.secret.as_deref() };
    // Janus may have been started anew meanwhile.
    _ = timeout(DESTROY_WITHIN, session.room(handle, destroy, None)).await;
}

/// Serves a room until the orders end, and destroys it then.
///
/// # Errors
/// If Janus or the room is lost, or can't be had.
pub async fn serve_room(
    room: &JanusRoom,
    orders: &mut mpsc::Receiver<Subscription>,
    events: &mpsc::Sender<SubscriptionEvent>,
) -> Result<(), JanusError> {
    let Member { session, events: mut received, handle: own, room, private_id, feeds, .. } =
        Member::join(room, None, None).await?;
    let by = Subscribing { session: &session, url: &room.server.url, access: access(&room), private_id };
    let mut places = Places::new(by, own);
    places.feeds.joined(feeds);
    let end = places.serve(&mut received, orders, events).await;
    if end.is_ok() {
        destroy(&session, own, &room).await;
    }
    session.end().await;
    end
}

/// A subscriber.
#[derive(Debug, Default)]
struct Place {
    /// Distinguishes this subscription from an earlier one of the same user.
    number: u64,
    handle: Option<HandleId>,
    /// Candidates of Janus that may still follow its offer.
    more_candidates: usize,
    /// Whether the answer is there: candidates before it belong to another connection of the user.
    is_answered: bool,
}

/// The reply to a request.
enum Done {
    Offered(UserId, u64, Option<HandleId>, Result<JanusOffer, JanusError>),
    Started(UserId, u64, Result<(), JanusError>),
}

/// The subscribers of a room.
struct Places<'a> {
    by: Subscribing<'a>,
    /// The handle of the participant, who learns which publisher is there.
    own: HandleId,
    feeds: Feeds,
    places: HashMap<UserId, Place>,
    users: HashMap<HandleId, UserId>,
    /// The users who wait for a publisher or for a turn, and answers that wait for a turn.
    opening: VecDeque<UserId>,
    answers: VecDeque<(UserId, String)>,
    /// The number of the last subscription.
    last: u64,
}

impl<'a> Places<'a> {
    fn new(by: Subscribing<'a>, own: HandleId) -> Self {
        let (places, users, opening, answers) = Default::default();
        Self { by, own, feeds: Feeds::new(None), places, users, opening, answers, last: 0 }
    }

    async fn serve(
        &mut self,
        received: &mut mpsc::Receiver<SessionEvent>,
        orders: &mut mpsc::Receiver<Subscription>,
        events: &mpsc::Sender<SubscriptionEvent>,
    ) -> Result<(), JanusError> {
        let Subscribing { session, url, .. } = self.by;
        let mut probe = interval(PROBE_EVERY);
        probe.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut requests: FuturesUnordered<BoxFuture<'a, Done>> = FuturesUnordered::new();
        loop {
            while requests.len() < AT_ONCE
                && let Some(request) = self.next_request()
            {
                requests.push(request);
            }
            let told = tokio::select! {
                event = received.recv() => match event {
                    Some(SessionEvent::Unasked(event)) => self.on_event(event, url)?,
                    Some(SessionEvent::Lost(error)) => return Err(error),
                    None => return Err(JanusError::broken(url, "has closed the connection")),
                },
                Some(done) = requests.next() => self.on_done(done),
                order = orders.recv() => match order {
                    Some(order) => self.on_order(order),
                    None => return Ok(()),
                },
                _ = probe.tick() => {
                    session.probe();
                    None
                }
            };
            if let Some(event) = told {
                // The application takes events all the time; one that has gone needs none.
                _ = events.send(event).await;
            }
        }
    }

    /// The next request that is due.
    fn next_request(&mut self) -> Option<BoxFuture<'a, Done>> {
        let by = self.by;
        while let Some((user, sdp)) = self.answers.pop_front() {
            let Some(Place { number, handle: Some(handle), .. }) = self.places.get(&user) else { continue };
            let (number, handle, answer) = (*number, *handle, Jsep::answer(sdp));
            let request = async move {
                let started = by.session.room(handle, RoomRequest::Start, Some(answer)).await;
                Done::Started(user, number, started.map(|_| ()))
            };
            return Some(request.boxed());
        }
        let (feed, streams) = self.feeds.current()?;
        let (feed, streams): (JanusId, Streams) = (feed.id.clone(), streams.clone());
        let user = self.opening.pop_front()?;
        let number = self.places.get(&user)?.number;
        let request = async move {
            let (handle, offer) = subscribe(by, &feed, &streams).await;
            Done::Offered(user, number, handle, offer)
        };
        Some(request.boxed())
    }

    fn on_order(&mut self, order: Subscription) -> Option<SubscriptionEvent> {
        match order {
            Subscription::Open(user) => {
                self.close(&user);
                self.last += 1;
                self.places.insert(user.clone(), Place { number: self.last, ..Place::default() });
                self.opening.push_back(user);
            }
            Subscription::Answer(user, sdp) => {
                let place = self.places.get_mut(&user).filter(|place| place.handle.is_some() && !place.is_answered)?;
                place.is_answered = true;
                self.answers.push_back((user, sdp));
            }
            Subscription::Candidate(user, candidate) => {
                let place = self.places.get(&user).filter(|place| place.is_answered)?;
                self.by.session.trickle(place.handle?, Candidate::One(candidate));
            }
            Subscription::Close(user) => self.close(&user),
        }
        None
    }

    fn on_done(&mut self, done: Done) -> Option<SubscriptionEvent> {
        match done {
            Done::Offered(user, number, handle, offer) => {
                let Some(place) = self.places.get_mut(&user).filter(|place| place.number == number) else {
                    // The user has gone, or has a later subscription.
                    handle.into_iter().for_each(|handle| self.by.session.detach(handle));
                    return None;
                };
                (place.handle, place.more_candidates) = (handle, MAX_CANDIDATES);
                self.users.extend(handle.map(|handle| (handle, user.clone())));
                match offer {
                    Ok(offer) => Some(SubscriptionEvent::Offer(user, offer)),
                    Err(error) => self.ended(user, error.to_string()),
                }
            }
            Done::Started(user, number, Err(error)) => {
                self.places.get(&user).filter(|place| place.number == number)?;
                self.ended(user, error.to_string())
            }
            Done::Started(_, _, Ok(())) => None,
        }
    }

    /// Handles an event of Janus.
    ///
    /// # Errors
    /// If the room is lost.
    fn on_event(&mut self, event: Unasked, url: &JanusUrl) -> Result<Option<SubscriptionEvent>, JanusError> {
        let user = |handle: &HandleId| self.users.get(handle).cloned();
        Ok(match event {
            Unasked::Plugin(handle, data, jsep) => {
                match (video_room::parse(data).unwrap_or(RoomEvent::Other), user(&handle)) {
                    (_, Some(user)) if jsep.is_some() => {
                        return Ok(self.ended(user, "the publisher has changed its streams".to_owned()));
                    }
                    (RoomEvent::Feeds(feeds), None) => _ = self.feeds.came(feeds),
                    (RoomEvent::Gone(id), None) => _ = self.feeds.left(&id),
                    (RoomEvent::Kicked, None) => return Err(JanusError::Removed { url: url.clone() }),
                    (RoomEvent::Destroyed, _) => return Err(JanusError::broken(url, "has destroyed the room")),
                    _ => {}
                }
                None
            }
            Unasked::Candidate(handle, Candidate::One(candidate)) => user(&handle).and_then(|user| {
                let place = self.places.get_mut(&user).filter(|place| place.more_candidates > 0)?;
                place.more_candidates -= 1;
                Some(SubscriptionEvent::Candidate(user, candidate))
            }),
            Unasked::Up(handle) => user(&handle).map(SubscriptionEvent::Up),
            Unasked::Hangup(handle, reason) => {
                user(&handle).and_then(|user| self.ended(user, format!("Janus has closed the connection ({reason})")))
            }
            Unasked::Detached(handle) if handle == self.own => {
                return Err(JanusError::broken(url, "has removed this program from the room"));
            }
            Unasked::Detached(handle) => {
                user(&handle).and_then(|user| self.ended(user, "Janus has ended the subscription".to_owned()))
            }
            Unasked::Candidate(..) | Unasked::Over => None,
        })
    }

    fn ended(&mut self, user: UserId, why: String) -> Option<SubscriptionEvent> {
        self.close(&user);
        Some(SubscriptionEvent::Gone(user, why))
    }

    fn close(&mut self, user: &UserId) {
        self.opening.retain(|waiting| waiting != user);
        if let Some(handle) = self.places.remove(user).and_then(|place| place.handle) {
            self.users.remove(&handle);
            self.by.session.detach(handle);
        }
    }
}
