//! Traces of joins, for OpenTelemetry: which step of a join took how long. Without a [`Tracer`] that is on, nothing of
//! this costs more than a look at an `Option`.
//!
//! A join is one trace. Its first span, `websocket join`, begins with a WebSocket and ends when the room has decided.
//! `media join`, its child, begins with the offer at the SFU and ends with the first key frame; its children are the
//! steps in between. Where another process made the answer, the second span begins a trace of its own.

mod otlp;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::sync::mpsc;

pub(crate) use self::otlp::export_request;
use crate::id::{RoomId, UserId};

/// The most spans that wait for the exporter: those of 200 joins. Further ones are dropped and counted.
const MAX_WAITING: usize = 1_024;

/// The most joins whose offer is awaited, and how long one waits.
const MAX_JOINED: usize = 1_024;
const OFFER_WITHIN: Duration = Duration::from_secs(60);

/// Takes spans, or none. A clone is the same.
#[derive(Clone, Default)]
pub(crate) struct Tracer {
    shared: Option<Arc<Shared>>,
    room: Option<RoomId>,
}

struct Shared {
    spans: mpsc::Sender<Span>,
    dropped: Arc<AtomicU64>,
    /// The `websocket join` spans whose offer is awaited.
    joined: Mutex<HashMap<(RoomId, UserId), (Context, SystemTime)>>,
}

/// The spans of a [`Tracer`].
pub(crate) struct Spans {
    queue: mpsc::Receiver<Span>,
    dropped: Arc<AtomicU64>,
}

/// A trace, and a span in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Context {
    trace: [u8; 16],
    span: [u8; 8],
}

/// A span that has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Span {
    context: Context,
    parent: Option<[u8; 8]>,
    name: &'static str,
    begin: SystemTime,
    end: SystemTime,
    attributes: Vec<(&'static str, String)>,
    /// Why it failed, if it did.
    error: Option<&'static str>,
}

/// The media part of a join that is under way. Dropping it before its end says that the join has failed.
#[derive(Debug)]
pub(crate) struct MediaJoin {
    tracer: Tracer,
    context: Context,
    parent: Option<[u8; 8]>,
    begin: SystemTime,
    /// The begin of the current step.
    step: SystemTime,
    attributes: Vec<(&'static str, String)>,
    is_done: bool,
}

impl Tracer {
    /// A tracer that is on, and its spans.
    pub(crate) fn new() -> (Self, Spans) {
        let (spans, queue) = mpsc::channel(MAX_WAITING);
        let dropped = Arc::<AtomicU64>::default();
        let shared = Shared { spans, dropped: Arc::clone(&dropped), joined: Mutex::default() };
        (Self { shared: Some(Arc::new(shared)), room: None }, Spans { queue, dropped })
    }

    /// The same for the media of a room.
    pub(crate) fn in_room(&self, room: &RoomId) -> Self {
        Self { room: self.shared.as_ref().map(|_| room.clone()), ..self.clone() }
    }

    /// A member of a room has joined, or was refused, over a WebSocket that was accepted at `begin`.
    pub(crate) fn joined(&self, begin: SystemTime, (room, user): (&RoomId, &UserId), is_refused: bool) {
        let Some(shared) = &self.shared else { return };
        let (end, context) = (SystemTime::now(), Context::new());
        if !is_refused {
            let mut joined = shared.joined.lock().unwrap_or_else(PoisonError::into_inner);
            if joined.len() >= MAX_JOINED {
                joined.retain(|_, (_, at)| is_recent(*at, end));
            }
            if joined.len() < MAX_JOINED {
                joined.insert((room.clone(), user.clone()), (context, end));
            }
        }
        let attributes = vec![("classroom.room", room.to_string()), ("classroom.user", user.to_string())];
        let error = is_refused.then_some("refused");
        self.end(Span { context, parent: None, name: "websocket join", begin, end, attributes, error });
    }

    /// The SFU of a room has received an offer at `begin`.
    pub(crate) fn offered(&self, begin: SystemTime, user: &UserId) -> Option<Box<MediaJoin>> {
        let (shared, room) = (self.shared.as_ref()?, self.room.as_ref()?);
        let joined = shared.joined.lock().unwrap_or_else(PoisonError::into_inner).remove(&(room.clone(), user.clone()));
        let parent = joined.filter(|(_, at)| is_recent(*at, begin)).map(|(context, _)| context);
        let own = Context::new();
        let context = parent.map_or(own, |parent| Context { trace: parent.trace, ..own });
        let attributes = vec![("classroom.room", room.to_string()), ("classroom.user", user.to_string())];
        let (tracer, parent) = (self.clone(), parent.map(|parent| parent.span));
        Some(Box::new(MediaJoin { tracer, context, parent, begin, step: begin, attributes, is_done: false }))
    }

    /// Whether anybody takes spans.
    pub(crate) fn is_on(&self) -> bool {
        self.shared.is_some()
    }

    fn end(&self, span: Span) {
        if let Some(shared) = &self.shared
            && shared.spans.try_send(span).is_err()
        {
            shared.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl fmt::Debug for Tracer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tracer({})", if self.shared.is_some() { "on" } else { "off" })
    }
}

impl Spans {
    /// Takes at most `most` of the spans that wait; None if there are none.
    pub(crate) fn take(&mut self, most: usize) -> Option<Vec<Span>> {
        let spans: Vec<Span> = std::iter::from_fn(|| self.queue.try_recv().ok()).take(most).collect();
        (!spans.is_empty()).then_some(spans)
    }

    /// The spans that found no room since the last call.
    pub(crate) fn take_dropped(&self) -> u64 {
        self.dropped.swap(0, Ordering::Relaxed)
    }
}

impl MediaJoin {
    /// The current step has ended. `name` says which it was.
    pub(crate) fn step(&mut self, name: &'static str) {
        let (begin, end) = (self.step, SystemTime::now());
        let context = Context { trace: self.context.trace, ..Context::new() };
        let parent = Some(self.context.span);
        self.tracer.end(Span { context, parent, name, begin, end, attributes: Vec::new(), error: None });
        self.step = end;
    }

    /// The last step has ended, and so has the join.
    pub(crate) fn done(mut self, name: &'static str) {
        self.step(name);
        self.is_done = true;
    }
}

impl Drop for MediaJoin {
    fn drop(&mut self) {
        self.tracer.end(Span {
            context: self.context,
            parent: self.parent,
            name: "media join",
            begin: self.begin,
            end: SystemTime::now(),
            attributes: std::mem::take(&mut self.attributes),
            error: (!self.is_done).then_some("the student was gone before the first key frame"),
        });
    }
}

impl Context {
    fn new() -> Self {
        // Zero is no id (W3C Trace Context, 3.2.2.3).
        Self { trace: rand::random::<u128>().max(1).to_be_bytes(), span: rand::random::<u64>().max(1).to_be_bytes() }
    }
}

fn is_recent(at: SystemTime, now: SystemTime) -> bool {
    now.duration_since(at).is_ok_and(|age| age <= OFFER_WITHIN) || at > now
}
