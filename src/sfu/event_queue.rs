//! Delivers events to a reader that may be slow: events that must arrive wait for room, others are dropped.

use std::collections::VecDeque;

use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use super::{SessionEvent, SfuEvent};

/// The most events that may wait for room: those of 1,000 students that connect and leave once a second, with three
/// events each, while the reader is blocked for 20 s. A reader that is blocked for longer does not recover.
const MAX_WAITING: usize = 60_000;

/// The events of one thread, delivered in the order in which they were pushed.
pub(super) struct EventQueue {
    events: mpsc::Sender<SfuEvent>,
    waiting: VecDeque<SfuEvent>,
}

impl EventQueue {
    pub(super) fn new(events: mpsc::Sender<SfuEvent>) -> Self {
        Self { events, waiting: VecDeque::new() }
    }

    /// Sends an event. If the channel is full, an event that must arrive waits, and any other event is dropped.
    pub(super) fn push(&mut self, event: SfuEvent) {
        if let Some(event) = self.try_push(event).filter(must_arrive)
            && self.waiting.len() < MAX_WAITING
        {
            self.waiting.push_back(event);
        }
    }

    /// Whether no event waits.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Sends an event if there is room for it, and otherwise returns it. Waiting events are sent first.
    pub(super) fn try_push(&mut self, event: SfuEvent) -> Option<SfuEvent> {
        self.flush();
        if !self.waiting.is_empty() {
            return Some(event);
        }
        match self.events.try_send(event) {
            Err(TrySendError::Full(event)) => Some(event),
            // Closed: the reader has been dropped, and the SFU is about to end.
            Ok(()) | Err(TrySendError::Closed(_)) => None,
        }
    }

    /// Sends waiting events while there is room. To be called regularly.
    pub(super) fn flush(&mut self) {
        while let Some(event) = self.waiting.pop_front() {
            if let Err(TrySendError::Full(event)) = self.events.try_send(event) {
                self.waiting.push_front(event);
                break;
            }
        }
    }
}

/// Whether an event must arrive, because nothing repeats it. A student without an answer sends its offer again,
/// messages that do not fit are a flood, and the router repeats announcements to encoders.
fn must_arrive(event: &SfuEvent) -> bool {
    match event {
        SfuEvent::Connected(_) | SfuEvent::ChannelOpen(_) | SfuEvent::Gone { .. } | SfuEvent::Notice(_) => true,
        SfuEvent::Encodings(_) => true,
        SfuEvent::Session { event: SessionEvent::Connected | SessionEvent::Gone(_), .. } => true,
        SfuEvent::Session { event: SessionEvent::Answer { .. } | SessionEvent::Refused(_), .. } => false,
        SfuEvent::Session { event: SessionEvent::Restarted(_), .. } => false,
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
    fn a_slow_reader_gets_every_event_that_must_arrive() {
        let user: UserId = "1001".parse().unwrap();
        let (events, mut reader) = mpsc::channel(2);
        let mut queue = EventQueue::new(events);
        queue.push(SfuEvent::Connected(user.clone()));
        for _ in 0..1_000 {
            queue.push(SfuEvent::Heard { user: user.clone(), text: "spam".to_owned() });
        }
        queue.push(SfuEvent::ChannelOpen(user.clone()));
        queue.push(SfuEvent::Gone { user: user.clone(), why: Departure::Left });
        assert!(queue.try_push(SfuEvent::Notice("overtaken".to_owned())).is_some(), "it would overtake");
        let mut got = Vec::new();
        while let Ok(event) = reader.try_recv() {
            got.push(event);
            queue.flush();
        }
        assert!(matches!(
            got[..],
            [SfuEvent::Connected(_), SfuEvent::Heard { .. }, SfuEvent::ChannelOpen(_), SfuEvent::Gone { .. }]
        ));
        assert!(queue.try_push(SfuEvent::Notice("in time".to_owned())).is_none());
    }

    #[test]
    fn the_number_of_waiting_events_is_bounded() {
        let (events, reader) = mpsc::channel(1);
        let mut queue = EventQueue::new(events);
        (0..MAX_WAITING + 10).for_each(|n| queue.push(SfuEvent::Notice(n.to_string())));
        assert_eq!(queue.waiting.len(), MAX_WAITING);
        drop(reader);
        queue.flush();
        assert!(queue.waiting.is_empty(), "the reader is gone");
    }
}
