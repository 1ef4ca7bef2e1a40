//! The order in which students get their frames: sound for all at once, pictures in turns.

use std::collections::VecDeque;
use std::time::Instant;

use super::{SLICE, Wishes, Worker, guarded};
use crate::rtp::{Encoding, Frame};

impl Worker {
    /// Gives those who catch up their turn, and those who are to be told something; due every 5 ms.
    pub(in crate::sfu) fn serve_behind(&mut self) {
        let mut queue = std::mem::take(&mut self.catching_up);
        for index in &queue {
            self.at(*index).into_iter().for_each(|peer| peer.has_turns = false);
        }
        self.send_for_a_slice(&mut queue);
        // Who had no turn is first the next time, before those who had one and need more.
        for index in queue.into_iter().rev() {
            if let Some(peer) = self.at(index).filter(|peer| !peer.has_turns) {
                peer.has_turns = true;
                self.catching_up.push_front(index);
            }
        }
        self.tell_some();
    }

    /// Sends pictures to students whose turn it is, for the time of a slice.
    pub(in crate::sfu) fn serve_newest(&mut self) {
        let mut queue = std::mem::take(&mut self.serving);
        self.send_for_a_slice(&mut queue);
        self.serving = queue;
    }

    pub(super) fn frame(&mut self, now: Instant, frame: Frame, keys: u64) {
        let (encoding, key) = (frame.encoding(), frame.key);
        self.traffic.count(now, encoding, frame.bytes());
        let frame_index = self.rings[encoding].push(frame);
        self.keys[encoding] = keys;
        if encoding.track.is_video() {
            self.put_in_line(encoding, frame_index, key);
            self.serve_newest();
        } else {
            self.send_sound(now, encoding, frame_index);
        }
    }

    /// Sound goes to everybody at once: a packet for each, before the rest of a picture that is being sent.
    pub(super) fn send_sound(&mut self, now: Instant, sound: Encoding, frame_index: u64) {
        let mut wishes = Wishes::default();
        let mut failed = Vec::new();
        for (index, peer) in self.peers.iter_mut().enumerate() {
            let Some(peer) = peer.as_mut().filter(|peer| peer.connected) else { continue };
            let (rings, outlet) = (&self.rings, &mut self.outlet);
            let sent = guarded(peer, |peer| {
                peer.lanes.on_frame(sound, frame_index, true);
                peer.send(now, Some(sound.track), rings, outlet, &mut wishes);
            });
            failed.extend(sent.is_none().then_some(index));
            self.deadlines[index] = Some(peer.deadline);
        }
        self.end_failed(failed);
        self.wish(wishes);
    }

    /// A picture is for everybody, but not at once: a key frame of 100 kB for 1,000 students is 150 ms of sealing, which
    /// sound, feedback and newcomers can't wait for.
    pub(super) fn put_in_line(&mut self, encoding: Encoding, frame_index: u64, key: bool) {
        let peers = self.peers.len();
        self.first_served = (self.first_served + 1) % peers.max(1);
        for index in (self.first_served..peers).chain(0..self.first_served) {
            let Some(peer) = self.peers[index].as_mut().filter(|peer| peer.connected) else { continue };
            let gets = peer.lanes.on_frame(encoding, frame_index, key);
            // Who catches up has turns of its own.
            if gets && !peer.lanes.catches_up && !std::mem::replace(&mut peer.is_to_be_served, true) {
                self.serving.push_back(index);
            }
        }
        if key {
            // Who has waited for it needs the other tier no more.
            self.look_who_needs_what();
        }
    }

    /// Sends what is due to those in the `queue`, for the time of a slice.
    pub(super) fn send_for_a_slice(&mut self, queue: &mut VecDeque<usize>) {
        let begun = Instant::now();
        let mut wishes = Wishes::default();
        let mut failed = Vec::new();
        let mut now = begun;
        while now.saturating_duration_since(begun) < SLICE {
            let Some(index) = queue.pop_front() else { break };
            let Some(peer) = self.peers[index].as_mut() else { continue };
            peer.is_to_be_served = false;
            let (rings, outlet) = (&self.rings, &mut self.outlet);
            let sent = guarded(peer, |peer| peer.send(now, None, rings, outlet, &mut wishes));
            failed.extend(sent.is_none().then_some(index));
            self.deadlines[index] = Some(peer.deadline);
            self.let_catch_up(index);
            now = Instant::now();
        }
        self.end_failed(failed);
        self.wish(wishes);
    }

    /// Gives a student turns of its own as long as it is behind.
    pub(super) fn let_catch_up(&mut self, index: usize) {
        if let Some(peer) = self.at(index)
            && peer.lanes.catches_up
            && !std::mem::replace(&mut peer.has_turns, true)
        {
            self.catching_up.push_back(index);
        }
    }
}
