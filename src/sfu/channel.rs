//! A peer's data channel: text in both directions, with a limit in each.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use rtc::data_channel::{RTCDataChannelId, RTCDataChannelMessage, RTCDataChannelState};
use rtc::peer_connection::RTCPeerConnection;
use rtc::peer_connection::event::RTCDataChannelEvent;

use crate::protocol::channel::{CHANNEL_LABEL, MAX_CHANNEL_MESSAGE_BYTES};
use crate::protocol::edge::MAX_EDGE_MESSAGE_BYTES;
use crate::token_bucket::SharedTokenBucket;

/// The most channels that a student may open before it is disconnected. One is used.
const MAX_CHANNELS: usize = 8;

/// The most bytes that SCTP buffers for one student. Further messages wait in our queue, where they can be dropped.
const MAX_OUTSTANDING_BYTES: usize = 64 * 1024;

/// The most messages and bytes that wait for a student that does not read. Beyond these limits the oldest messages are
/// dropped: a page that was suspended for minutes needs the newest ones.
const MAX_WAITING_MESSAGES: usize = 256;
const MAX_WAITING_BYTES: usize = 256 * 1024;

/// The same for an edge: a welcome, mostly of some 10 kB, for each of hundreds of students that join together.
const MAX_EDGE_WAITING_MESSAGES: usize = 8_192;
const MAX_EDGE_WAITING_BYTES: usize = 8 * 1024 * 1024;

/// The rate at which messages of one student are read. It is far above the limits of the conversation
/// ([`crate::room::talk`]), which refuse a message with a reason.
const READ_PER_SECOND: u32 = 50;
const READ_BURST: u32 = 100;

/// The same for an edge, which limits each of its students.
const EDGE_READ_PER_SECOND: u32 = 5_000;
const EDGE_READ_BURST: u32 = 20_000;

/// The messages that are read of one user.
pub(super) fn pace() -> SharedTokenBucket {
    SharedTokenBucket::new(READ_PER_SECOND, READ_BURST)
}

/// Whether an event of the connection opened the channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Opened {
    No,
    Yes,
    /// The student has opened too many channels.
    TooMany,
}

/// The data channel of one peer.
#[derive(Debug)]
pub(super) struct Channel {
    /// None until the student has opened it.
    id: Option<RTCDataChannelId>,
    /// The number of channels that the student has opened.
    opened: usize,
    waiting: VecDeque<Arc<str>>,
    waiting_bytes: usize,
    /// The most messages and bytes that wait.
    most: (usize, usize),
    /// The most bytes of a message that are read.
    most_read: usize,
    /// Limits the messages that are read.
    limit: SharedTokenBucket,
    /// Messages that were dropped because the student did not read them.
    pub(super) dropped: u64,
}

impl Default for Channel {
    fn default() -> Self {
        Self {
            id: None,
            opened: 0,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            most: (MAX_WAITING_MESSAGES, MAX_WAITING_BYTES),
            // One byte more than the limit is enough for the message to be refused with a reason.
            most_read: MAX_CHANNEL_MESSAGE_BYTES + 1,
            limit: pace(),
            dropped: 0,
        }
    }
}

impl Channel {
    /// From now on the messages that are read count for this bucket of [`pace`].
    pub(super) fn share(&mut self, pace: &SharedTokenBucket) {
        self.limit = pace.clone();
    }

    /// From now on the channel carries the messages of many students, for an edge.
    pub(super) fn carry_many(&mut self) {
        self.most = (MAX_EDGE_WAITING_MESSAGES, MAX_EDGE_WAITING_BYTES);
        self.most_read = MAX_EDGE_MESSAGE_BYTES;
        self.limit = SharedTokenBucket::new(EDGE_READ_PER_SECOND, EDGE_READ_BURST);
    }

    /// Handles an event of the connection.
    pub(super) fn on_event(&mut self, connection: &mut RTCPeerConnection, event: RTCDataChannelEvent) -> Opened {
        match event {
            RTCDataChannelEvent::OnOpen(id) => {
                self.opened += 1;
                if self.opened > MAX_CHANNELS {
                    return Opened::TooMany;
                }
                let Some(mut channel) = connection.data_channel(id) else { return Opened::No };
                if self.id.is_none() && channel.label() == CHANNEL_LABEL {
                    self.id = Some(id);
                    return Opened::Yes;
                }
                // Other channels are not used, and their messages are not read.
                let _ = channel.close();
            }
            RTCDataChannelEvent::OnClose(id) if self.id == Some(id) => self.id = None,
            _ => {}
        }
        Opened::No
    }

    /// The text of a message. None for a binary message, for a message on another channel, and beyond the limit.
    pub(super) fn read(
        &mut self,
        now: Instant,
        id: RTCDataChannelId,
        message: &RTCDataChannelMessage,
    ) -> Option<String> {
        if self.id != Some(id) || !message.is_string {
            return None;
        }
        let bytes = &message.data[..message.data.len().min(self.most_read)];
        self.limit.take(now).is_ok().then(|| String::from_utf8_lossy(bytes).into_owned())
    }

    /// Enqueues a message. Discards it if the channel is not open.
    pub(super) fn push(&mut self, message: Arc<str>) {
        if self.id.is_none() {
            return;
        }
        self.waiting_bytes += message.len();
        self.waiting.push_back(message);
        while self.waiting.len() > self.most.0 || self.waiting_bytes > self.most.1 {
            let Some(oldest) = self.waiting.pop_front() else { break };
            self.waiting_bytes -= oldest.len();
            self.dropped += 1;
        }
    }

    /// Passes queued messages to the connection, as far as SCTP has room for them.
    pub(super) fn flush(&mut self, now: Instant, connection: &mut RTCPeerConnection) {
        if self.waiting.is_empty() {
            return;
        }
        let Some(mut channel) = self.id.and_then(|id| connection.data_channel(id)) else { return };
        if channel.ready_state() != RTCDataChannelState::Open {
            return;
        }
        while channel.outstanding_bytes() < MAX_OUTSTANDING_BYTES {
            let Some(message) = self.waiting.pop_front() else { break };
            self.waiting_bytes -= message.len();
            // This fails if the student accepts only smaller messages, or if the channel is closing.
            if channel.send_text(now, &*message).is_err() {
                self.dropped += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::BytesMut;

    use super::*;

    fn open() -> Channel {
        Channel { id: Some(1), ..Channel::default() }
    }

    #[test]
    fn a_student_that_does_not_read_loses_the_oldest_messages() {
        let mut channel = open();
        for n in 0..1_000 {
            channel.push(format!("{n}").into());
        }
        assert_eq!((channel.waiting.len(), channel.dropped), (MAX_WAITING_MESSAGES, 744));
        assert_eq!(channel.waiting.back().map(|text| &**text), Some("999"));
        let long: Arc<str> = "x".repeat(48 * 1024).into();
        for _ in 0..100 {
            channel.push(Arc::clone(&long));
        }
        assert!(channel.waiting_bytes <= MAX_WAITING_BYTES);
        assert_eq!(channel.waiting_bytes, channel.waiting.iter().map(|text| text.len()).sum::<usize>());
        let mut closed = Channel::default();
        closed.push(long);
        assert!(closed.waiting.is_empty(), "nothing is enqueued without a channel");
    }

    #[test]
    fn messages_beyond_the_limit_are_not_read() {
        let mut channel = open();
        let message = RTCDataChannelMessage { is_string: true, data: BytesMut::from(&b"spam"[..]) };
        let start = Instant::now();
        let read = (0..1_000).filter(|_| channel.read(start, 1, &message).is_some()).count();
        assert_eq!(read, READ_BURST as usize);
        let later = start + Duration::from_secs(1);
        let read = (0..1_000).filter(|_| channel.read(later, 1, &message).is_some()).count();
        assert_eq!(read, READ_PER_SECOND as usize);
        let later = later + Duration::from_secs(10);
        assert_eq!(channel.read(later, 2, &message), None, "another channel");
        let binary = RTCDataChannelMessage { is_string: false, ..message.clone() };
        assert_eq!(channel.read(later, 1, &binary), None);
        let long = RTCDataChannelMessage { is_string: true, data: BytesMut::from(&vec![b'x'; 65_536][..]) };
        assert_eq!(channel.read(later, 1, &long).map(|text| text.len()), Some(MAX_CHANNEL_MESSAGE_BYTES + 1));
    }
}
