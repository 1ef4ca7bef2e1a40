//! The places of a lecture: how many students may be connected at the same time.
//!
//! Only a connected peer has a place, so that offers that never connect do not fill the room.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The places of a lecture, shared by the router and all workers.
#[derive(Debug, Clone)]
pub(super) struct Places(Arc<Counter>);

#[derive(Debug)]
struct Counter {
    most: usize,
    taken: AtomicUsize,
}

/// A place that is taken. Dropping it frees the place.
#[derive(Debug)]
struct Place(Arc<Counter>);

/// The place of one peer, shared by the router and the peer's worker, because either may end the peer.
#[derive(Debug, Clone)]
pub(super) struct PeerPlace {
    places: Places,
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
enum State {
    /// The peer has not connected.
    None,
    Taken {
        _place: Place,
    },
    /// The peer is gone.
    GivenUp,
}

impl Places {
    /// `most` free places.
    pub(super) fn new(most: usize) -> Self {
        Self(Arc::new(Counter { most, taken: AtomicUsize::new(0) }))
    }

    /// The number of places, free or taken.
    pub(super) fn most(&self) -> usize {
        self.0.most
    }

    /// Whether every place is taken.
    pub(super) fn are_taken(&self) -> bool {
        self.0.taken.load(Ordering::Acquire) >= self.0.most
    }

    fn take(&self) -> Option<Place> {
        let next = |taken| (taken < self.0.most).then_some(taken + 1);
        let taken = self.0.taken.fetch_update(Ordering::AcqRel, Ordering::Acquire, next);
        taken.is_ok().then(|| Place(Arc::clone(&self.0)))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.taken.fetch_sub(1, Ordering::AcqRel);
    }
}

impl PeerPlace {
    /// That of a peer that has not connected.
    pub(super) fn new(places: Places) -> Self {
        Self { places, state: Arc::new(Mutex::new(State::None)) }
    }

    /// Takes a place for a peer that has just connected, if it has none. Returns whether it has one now.
    pub(super) fn take(&self) -> bool {
        let mut state = self.lock();
        if let (State::None, Some(place)) = (&*state, self.places.take()) {
            *state = State::Taken { _place: place };
        }
        matches!(*state, State::Taken { .. })
    }

    /// Takes a place for the new peer of a user whose connected peer is about to be closed. Until that one is closed,
    /// the user has two places, perhaps one more than there are: in between nobody else must get the user's place.
    pub(super) fn keep(&self) {
        self.places.0.taken.fetch_add(1, Ordering::AcqRel);
        *self.lock() = State::Taken { _place: Place(Arc::clone(&self.places.0)) };
    }

    /// Frees the place of a peer that is gone. The peer can't take another one.
    pub(super) fn give_up(&self) {
        *self.lock() = State::GivenUp;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peers<const COUNT: usize>(places: &Places) -> [PeerPlace; COUNT] {
        std::array::from_fn(|_| PeerPlace::new(places.clone()))
    }

    #[test]
    fn a_place_is_free_again_once_its_student_has_left() {
        let places = Places::new(2);
        let [one, two, three] = peers(&places);
        assert!(one.take() && one.take() && two.take() && places.are_taken());
        assert!(!three.take());
        one.give_up();
        assert!(!places.are_taken() && !one.take(), "it is gone");
        assert!(three.take() && places.are_taken());
        drop((two, three));
        assert!(!places.are_taken(), "a peer whose thread has ended has no place");
    }

    #[test]
    fn nobody_gets_the_place_of_a_student_that_connects_anew() {
        let places = Places::new(1);
        let [older, newer, other] = peers(&places);
        assert!(older.take());
        newer.keep();
        older.give_up();
        assert!(places.are_taken() && !other.take() && newer.take());
        newer.give_up();
        assert!(other.take());
    }
}
