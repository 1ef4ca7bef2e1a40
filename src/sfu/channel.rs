//! A student's data channel: text both ways, bounded both ways.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use rtc::data_channel::{RTCDataChannelId, RTCDataChannelMessage, RTCDataChannelState};
use rtc::peer_connection::RTCPeerConnection;
use rtc::peer_connection::event::RTCDataChannelEvent;

use crate::protocol::channel::{CHANNEL_LABEL, MAX_CHANNEL_MESSAGE_BYTES};
use crate::token_bucket::TokenBucket;

/// Channels that a student may open before it is shown the door. One is used.
const MAX_CHANNELS: usize = 8;

/// What may be under way to one student: more, and it waits in our queue, where it can still be dropped.
const MAX_OUTSTANDING_BYTES: usize = 64 * 1024;

/// What may wait for a student that does not read. When it is more, the oldest goes: a page that stood still for
/// minutes wants to know what is said now.
const MAX_WAITING_MESSAGES: usize = 256;
const MAX_WAITING_BYTES: usize = 256 * 1024;

/// Messages that a student may send: what is more in a second is not even read. Far above what the rules of the
/// conversation allow, so that those can say why.
const READ_PER_SECOND: u32 = 50;
const READ_BURST: u32 = 100;

/// What came of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Opened {
    /// Nothing new.
    No,
    /// The channel stands: the SFU may speak.
    Yes,
    /// Too many channels.
    TooMany,
}

/// The channel of one student, open or not yet.
#[derive(Debug)]
pub(super) struct Channel {
    id: Option<RTCDataChannelId>,
    opened: usize,
    waiting: VecDeque<Arc<str>>,
    waiting_bytes: usize,
    pace: TokenBucket,
    /// Messages that were dropped because the student did not read.
    pub(super) dropped: u64,
}

impl Default for Channel {
    fn default() -> Self {
        Self {
            id: None,
            opened: 0,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            pace: TokenBucket::new(READ_PER_SECOND, READ_BURST),
            dropped: 0,
        }
    }
}

impl Channel {
    /// Takes an event of the connection.
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
                // Not ours to use. What it carries is not read either.
                let _ = channel.close();
            }
            RTCDataChannelEvent::OnClose(id) if self.id == Some(id) => self.id = None,
            _ => {}
        }
        Opened::No
    }

    /// The text of a message that arrived; none where it is not for us, no text, or too much.
    pub(super) fn read(
        &mut self,
        now: Instant,
        id: RTCDataChannelId,
        message: &RTCDataChannelMessage,
    ) -> Option<String> {
        if self.id != Some(id) || !message.is_string {
            return None;
        }
        // One byte more than is allowed is enough to be refused with a sentence.
        let bytes = &message.data[..message.data.len().min(MAX_CHANNEL_MESSAGE_BYTES + 1)];
        self.pace.take(now).is_ok().then(|| String::from_utf8_lossy(bytes).into_owned())
    }

    /// Puts a message into the queue; nothing happens before the channel is open.
    pub(super) fn push(&mut self, message: Arc<str>) {
        if self.id.is_none() {
            return;
        }
        self.waiting_bytes += message.len();
        self.waiting.push_back(message);
        while self.waiting.len() > MAX_WAITING_MESSAGES || self.waiting_bytes > MAX_WAITING_BYTES {
            let Some(oldest) = self.waiting.pop_front() else { break };
            self.waiting_bytes -= oldest.len();
            self.dropped += 1;
        }
    }

    /// Writes what waits into the connection, as far as the student takes it.
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
            // Fails when the student takes only smaller messages, or is about to go: then it goes without.
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
    fn who_does_not_read_loses_the_oldest() {
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
        assert!(closed.waiting.is_empty(), "nothing waits for who has no channel");
    }

    #[test]
    fn only_so_much_is_read_of_one_student() {
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
