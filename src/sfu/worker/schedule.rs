//! The order in which peers are served: audio to all peers at once, video in turns, then peers that are behind, then
//! messages.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::Worker;
use crate::rtp::{Encoding, Frame};
use crate::sfu::PeerId;
use crate::sfu::limits::VideoLimits;
use crate::sfu::peer::{ClassNow, Peer, VideoQueue};
use crate::sfu::transport::SendContext;
use crate::sfu::watchdog::caught;

/// The time for which video is sent before audio, feedback, a publisher's packets and newcomers get their turn.
const SLICE: Duration = Duration::from_millis(1);

/// The same for peers that are behind. They get a turn every 5 ms.
const BEHIND_SLICE: Duration = Duration::from_millis(4);

/// The interval at which each peer is adapted to its path, in addition to after each feedback.
const ADAPT_EVERY: Duration = Duration::from_millis(100);

/// The most peers whose messages are sent before frames and datagrams get their turn again. A message costs some 20 us,
/// so these take a millisecond; the next turn is 5 ms later, so 1,000 students get a message within 100 ms.
const MESSAGES_AT_ONCE: usize = 50;

impl Worker {
    /// Whether a video frame waits to be sent: [`serve_newest`](Self::serve_newest) sends some of it.
    pub(in crate::sfu) fn has_video(&self) -> bool {
        !self.newest.is_empty()
    }

    /// Sends the newest video frame to peers in turn, for the time of a slice.
    pub(in crate::sfu) fn serve_newest(&mut self) {
        let mut queue = std::mem::take(&mut self.newest);
        self.send_for(SLICE, &mut queue);
        self.newest = queue;
        self.pass_on_requests();
    }

    /// Serves peers that are behind, for the time of a slice, and sends some messages. Due every 5 ms.
    pub(in crate::sfu) fn serve_behind(&mut self) {
        let mut queue = std::mem::take(&mut self.behind);
        self.send_for(BEHIND_SLICE, &mut queue);
        // Peers that had no turn precede those that had one and are still behind.
        queue.append(&mut self.behind);
        self.behind = queue;
        self.send_messages();
        self.pass_on_requests();
    }

    /// Adapts each peer to its path; has an effect ten times a second.
    pub(in crate::sfu) fn adapt(&mut self) {
        let now = Instant::now();
        if now.saturating_duration_since(self.adapted) < ADAPT_EVERY {
            return;
        }
        self.adapted = now;
        self.rates = self.traffic.rates(now);
        self.common.look(now, self.peers.iter().flatten().filter_map(Peer::troubled_since));
        for index in 0..self.peers.len() {
            // A probe that is sent with an older time looks delayed by the path.
            self.adapt_peer(Instant::now(), index);
        }
        self.pass_on_requests();
    }

    pub(super) fn adapt_peer(&mut self, now: Instant, index: usize) {
        let Some(peer) = self.peers[index].as_mut() else { return };
        let class = ClassNow { rates: &self.rates, common: &self.common };
        let mut cx = self.media.at(now);
        match caught(|| peer.adapt(&mut cx, class)) {
            None => self.end_failed(index),
            Some(true) => {
                self.queue_messages(index);
                self.queue_if_behind(index);
            }
            Some(false) => {}
        }
    }

    /// Gives a peer at most this of each video.
    pub(super) fn limit(&mut self, id: PeerId, limits: VideoLimits) {
        let encodings = self.traffic.encodings();
        let peer = self.by_id.get(&id).and_then(|index| self.peers[*index].as_mut());
        peer.into_iter().for_each(|peer| peer.limit(limits, &encodings));
    }

    /// Puts a frame into the ring of its encoding. Audio is sent at once; video is queued for
    /// [`serve_newest`](Self::serve_newest), so that audio does not wait behind a large video frame.
    pub(super) fn on_frame(&mut self, now: Instant, frame: Frame, keys: u64) {
        let (encoding, key) = (frame.encoding(), frame.key);
        self.traffic.count(now, encoding, frame.bytes());
        let frame_index = self.media.rings[encoding].push(frame);
        self.keys[encoding] = keys;
        if encoding.track.is_video() {
            self.queue_video(encoding, frame_index, key);
        } else {
            self.send_audio(now, encoding, frame_index);
        }
    }

    /// Sends audio to all peers at once: one packet each, before the rest of a video frame.
    fn send_audio(&mut self, now: Instant, audio: Encoding, frame_index: u64) {
        let (mut failed, mut behind) = (Vec::new(), Vec::new());
        for (index, peer) in self.peers.iter_mut().enumerate() {
            let Some(peer) = peer.as_mut().filter(|peer| peer.is_connected()) else { continue };
            let mut cx = self.media.at(now);
            let sent = caught(|| {
                peer.senders.on_frame(audio, frame_index, true);
                peer.send(&mut cx, Some(audio.track));
            });
            if sent.is_none() {
                // The batch may end in half a packet; the next peer must not append to it.
                self.media.udp.discard();
                failed.push(index);
            }
            if peer.senders.is_behind() {
                behind.push(index);
            }
            self.deadlines[index] = Some(peer.deadline);
        }
        failed.into_iter().for_each(|index| self.end_failed(index));
        behind.into_iter().for_each(|index| self.queue_if_behind(index));
    }

    /// Queues the peers that get a video frame. The frame is not sent at once: encrypting a key frame of 100 kB for
    /// 1,000 peers takes 150 ms, too long for audio, feedback and newcomers to wait.
    fn queue_video(&mut self, encoding: Encoding, frame_index: u64, key: bool) {
        let count = self.peers.len();
        self.first_served = (self.first_served + 1) % count.max(1);
        for index in (self.first_served..count).chain(0..self.first_served) {
            let Some(peer) = self.peers[index].as_mut().filter(|peer| peer.is_connected()) else { continue };
            let gets = peer.senders.on_frame(encoding, frame_index, key);
            // A peer that is behind has its own turns.
            if gets && !peer.senders.is_behind() && peer.video_queue == VideoQueue::None {
                peer.video_queue = VideoQueue::Newest;
                self.newest.push_back(index);
            }
        }
        if key {
            // Peers that waited for this key frame no longer need the other tier.
            self.report_active_encodings();
        }
    }

    /// Sends the frames that are due to the peers of a queue, for the time of a slice.
    fn send_for(&mut self, slice: Duration, queue: &mut VecDeque<usize>) {
        let begin = Instant::now();
        let mut failed = Vec::new();
        let mut now = begin;
        while now.saturating_duration_since(begin) < slice {
            let Some(index) = queue.pop_front() else { break };
            let Some(peer) = self.peers[index].as_mut() else { continue };
            peer.video_queue = VideoQueue::None;
            let mut cx = self.media.at(now);
            let sent = caught(|| peer.send(&mut cx, None));
            if sent.is_none() {
                // The batch may end in half a packet; the next peer must not append to it.
                self.media.udp.discard();
                failed.push(index);
            }
            self.deadlines[index] = Some(peer.deadline);
            self.queue_if_behind(index);
            now = Instant::now();
        }
        failed.into_iter().for_each(|index| self.end_failed(index));
    }

    /// Queues a peer for turns of its own while it is behind.
    pub(super) fn queue_if_behind(&mut self, index: usize) {
        if let Some(peer) = self.peers[index].as_mut()
            && peer.senders.is_behind()
            && peer.video_queue == VideoQueue::None
        {
            peer.video_queue = VideoQueue::Behind;
            self.behind.push_back(index);
        }
    }

    /// Queues a peer that has messages to send.
    pub(super) fn queue_messages(&mut self, index: usize) {
        if let Some(peer) = self.peers[index].as_mut()
            && !std::mem::replace(&mut peer.is_in_message_queue, true)
        {
            self.with_messages.push_back(index);
        }
    }

    /// Sends the messages of some peers, so that media does not wait for the messages of all peers.
    fn send_messages(&mut self) {
        let now = Instant::now();
        for _ in 0..MESSAGES_AT_ONCE {
            let Some(index) = self.with_messages.pop_front() else { break };
            let flush = |peer: &mut Peer, cx: &mut SendContext<'_>| {
                peer.is_in_message_queue = false;
                peer.flush_messages(cx.now);
            };
            if self.with_peer(now, index, flush).is_some() {
                self.send_all(now, index, &[]);
            }
        }
    }
}
