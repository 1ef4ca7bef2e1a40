//! What the SFU says to whoever reads its events, who may be slow: what must arrive waits for room, and the rest is left
//! out.

use std::collections::VecDeque;

use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use super::SfuEvent;

/// Events that wait for room at the most: a thousand students who come and go once a second, three events each, while the
/// reader stands still for 20 s. One that stands still for longer is not coming back.
const MAX_WAITING: usize = 60_000;

/// One thread's way to the reader. What it says arrives in this order.
pub(super) struct EventQueue {
    events: mpsc::Sender<SfuEvent>,
    waiting: VecDeque<SfuEvent>,
}

impl EventQueue {
    pub(super) fn new(events: mpsc::Sender<SfuEvent>) -> Self {
        Self { events, waiting: VecDeque::new() }
    }

    /// Says something. Where there is no room, what tells who is here waits for some: nobody says it a second time.
    pub(super) fn push(&mut self, event: SfuEvent) {
        if let Some(event) = self.try_push(event).filter(must_arrive)
            && self.waiting.len() < MAX_WAITING
        {
            self.waiting.push_back(event);
        }
    }

    /// Says something if there is room; else gives it back.
    pub(super) fn try_push(&mut self, event: SfuEvent) -> Option<SfuEvent> {
        self.flush();
        if !self.waiting.is_empty() {
            return Some(event);
        }
        match self.events.try_send(event) {
            Err(TrySendError::Full(event)) => Some(event),
            // Nobody reads any more: the SFU is about to end.
            Ok(()) | Err(TrySendError::Closed(_)) => None,
        }
    }

    /// Says what waits, as far as there is room; to be called again and again.
    pub(super) fn flush(&mut self) {
        while let Some(event) = self.waiting.pop_front() {
            if let Err(TrySendError::Full(event)) = self.events.try_send(event) {
                self.waiting.push_front(event);
                break;
            }
        }
    }
}

/// Whether it would be missed for good. A student that got no answer asks again; what one has to say is a flood where it
/// does not fit; encoders are told by who remembers what they know.
fn must_arrive(event: &SfuEvent) -> bool {
    match event {
        SfuEvent::Connected(_) | SfuEvent::ChannelOpen(_) | SfuEvent::Gone { .. } | SfuEvent::Notice(_) => true,
        SfuEvent::Answer { .. } | SfuEvent::Refused { .. } | SfuEvent::Heard { .. } => false,
        SfuEvent::KeyFrameNeeded(_) | SfuEvent::Needed(..) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::UserId;
    use crate::sfu::Departure;

    #[test]
    fn a_slow_reader_misses_nobody_who_comes_or_goes() {
        let user: UserId = "1001".parse().unwrap();
        let (events, mut reader) = mpsc::channel(2);
        let mut queue = EventQueue::new(events);
        queue.push(SfuEvent::Connected(user.clone()));
        for _ in 0..1_000 {
            queue.push(SfuEvent::Heard { user: user.clone(), text: "spam".to_owned() });
        }
        queue.push(SfuEvent::ChannelOpen(user.clone()));
        queue.push(SfuEvent::Gone { user: user.clone(), why: Departure::Left });
        assert!(queue.try_push(SfuEvent::Notice("overtaken".to_owned())).is_some(), "it would come too early");
        let mut said = Vec::new();
        while let Ok(event) = reader.try_recv() {
            said.push(event);
            queue.flush();
        }
        assert!(matches!(
            said[..],
            [SfuEvent::Connected(_), SfuEvent::Heard { .. }, SfuEvent::ChannelOpen(_), SfuEvent::Gone { .. }]
        ));
        assert!(queue.try_push(SfuEvent::Notice("in time".to_owned())).is_none());
    }

    #[test]
    fn what_waits_has_an_end() {
        let (events, reader) = mpsc::channel(1);
        let mut queue = EventQueue::new(events);
        (0..MAX_WAITING + 10).for_each(|n| queue.push(SfuEvent::Notice(n.to_string())));
        assert_eq!(queue.waiting.len(), MAX_WAITING);
        drop(reader);
        queue.flush();
        assert!(queue.waiting.is_empty(), "nobody reads it any more");
    }
}
