//! An emulated publisher: it sends the frames of a capture to an SFU over an emulated line, as a browser that teaches
//! does.
//!
//! It reacts to feedback as browsers do in outline: it answers NACKs by retransmissions (RTX), asks its encoder for a
//! key frame when the SFU wants one, paces, and gives up the full tier when Google's congestion control finds too
//! little bandwidth. A browser never gives up the smallest layer that is sent, and lowers the bitrate of its encoder
//! instead. The encoders here have fixed bitrates, so the encoder of the low tier takes the place of the full one.
//! There are no probes and no FEC, and the congestion control does not count retransmissions.

mod connection;
mod estimator;
mod layers;
mod rtx;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use anyhow::Context;
use tokio::net::UdpSocket;
use tokio::sync::mpsc;

use self::connection::{Connection, Happened};
use self::estimator::Target;
use self::layers::{Layers, Switch, streams};
use super::emulator::{Counts, Emulator, PathConfig, through, without_candidates};
use crate::cli::IngestOffer;
use crate::rtp::{Codec, Encoding, Frame, Tier, Track};

/// The most frames that wait for the publisher: half a second of them.
const FRAMES: usize = 64;

/// The most events that wait.
const EVENTS: usize = 16;

/// The largest datagram.
const MAX_DATAGRAM: usize = 2_048;

/// The most datagrams that are read in one turn.
const READ_AT_ONCE: usize = 64;

/// The interval at which the layers are chosen, and at which a key frame that does not come is requested again.
const DECIDE_EVERY: Duration = Duration::from_millis(100);
const ASK_EVERY: Duration = Duration::from_millis(500);

/// The longest wait for a timer of the core.
const LONGEST_WAIT: Duration = Duration::from_millis(50);

/// The publisher's events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum PublisherEvent {
    /// The connection is gone, for this reason.
    Gone(String),
    /// An encoder should produce a key frame.
    KeyFrameNeeded(Encoding),
}

#[derive(Debug)]
enum Order {
    Answer(String),
    /// Somebody watches this encoding, or nobody does.
    Need(Encoding, bool),
    End,
}

/// The setup of a publisher.
pub(super) struct PublisherSetup {
    pub(super) sfu: SocketAddr,
    pub(super) offer: IngestOffer,
    /// The encodings of the capture with their bit rates in bits per second.
    pub(super) encodings: Vec<(Encoding, u32)>,
    /// The line when the measurement has not begun.
    pub(super) line: PathConfig,
    pub(super) seed: u64,
}

/// A running publisher. Dropping it ends it.
#[derive(Debug)]
pub(super) struct EmulatedPublisher {
    emulator: Emulator,
    target: Target,
    frames: mpsc::Sender<Frame>,
    /// The SFU has few wishes, so few orders wait.
    orders: mpsc::UnboundedSender<Order>,
    events: mpsc::Receiver<PublisherEvent>,
    /// The codec of its video.
    codec: Codec,
}

impl EmulatedPublisher {
    /// Starts a publisher. Returns its offer.
    ///
    /// # Errors
    /// If a socket can't be bound, or if the library makes no offer.
    pub(super) async fn start(setup: PublisherSetup) -> anyhow::Result<(Self, String)> {
        let PublisherSetup { sfu, offer, encodings, line, seed } = setup;
        let line_rate = line.rate;
        let emulator = Emulator::start(sfu, line.clone(), line, seed).context("can't emulate a line")?;
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let codec = encodings.iter().find(|(e, _)| e.track == Track::Screen).map_or(Codec::Vp8, |(e, _)| e.codec);
        let rate = |track, tier| {
            let known = encodings.iter().find(|(e, _)| (e.track, e.tier) == (track, tier));
            known.map_or(0, |(_, rate)| *rate)
        };
        let cost =
            streams(offer).iter().map(|tier| rate(Track::Screen, *tier)).sum::<u32>() + rate(Track::Audio, Tier::Full);
        let local = socket.local_addr()?;
        let (connection, sdp) =
            Connection::offer(local, offer, codec, (f64::from(cost) * 2.0, line_rate), Instant::now())?;
        let target = connection.target().clone();
        let (frames, frame_queue) = mpsc::channel(FRAMES);
        let (orders, order_queue) = mpsc::unbounded_channel();
        let (events, event_queue) = mpsc::channel(EVENTS);
        let publisher = Publisher {
            switches: vec![Switch::default(); connection.streams.len()],
            connection,
            socket,
            offer,
            codec,
            layers: Layers::new(cost),
            needed: vec![(Tier::Full, true), (Tier::Low, true)],
            is_connected: false,
            events,
            asked: Instant::now(),
        };
        tokio::spawn(publisher.run(frame_queue, order_queue));
        // The SFU gets no address by which it could avoid the emulator.
        let sdp = without_candidates(&sdp);
        Ok((Self { emulator, target, frames, orders, events: event_queue, codec }, sdp))
    }

    /// Takes the frames of a capture. A frame that finds no room is lost.
    pub(super) fn input(&self) -> impl Fn(Frame) + Send + Sync + 'static {
        let frames = self.frames.clone();
        move |frame| drop(frames.try_send(frame))
    }

    /// Applies the SFU's answer.
    pub(super) fn answer(&self, sdp: &str) {
        self.order(Order::Answer(through(sdp, self.emulator.address())));
    }

    /// Somebody watches this encoding, or nobody does.
    pub(super) fn need(&self, encoding: Encoding, is_needed: bool) {
        self.order(Order::Need(encoding, is_needed));
    }

    fn order(&self, order: Order) {
        // A publisher that has ended has said so.
        let _ = self.orders.send(order);
    }

    /// The next event. Cancellation loses nothing.
    pub(super) async fn next(&mut self) -> PublisherEvent {
        self.events.recv().await.unwrap_or_else(|| PublisherEvent::Gone("its task ended".to_owned()))
    }

    /// Changes the line from now on.
    pub(super) fn set_line(&self, line: PathConfig) {
        self.target.set_line(line.rate);
        self.emulator.set(line.clone(), line);
    }

    /// Starts the clock of the bursts.
    pub(super) fn begin(&self) {
        self.emulator.begin();
    }

    /// The counts of the line; `up` is the way of media.
    pub(super) fn line(&self) -> Counts {
        self.emulator.counts()
    }

    /// Whether it may send this encoding.
    pub(super) fn sends(&self, encoding: Encoding) -> bool {
        encoding.codec == if encoding.track.is_video() { self.codec } else { Codec::Opus }
    }

    /// Says goodbye.
    pub(super) fn end(self) {
        self.order(Order::End);
    }
}

/// The task of a publisher.
struct Publisher {
    connection: Connection,
    socket: UdpSocket,
    offer: IngestOffer,
    codec: Codec,
    layers: Layers,
    /// The tier of each stream.
    switches: Vec<Switch>,
    /// For each tier of the video, whether somebody watches it.
    needed: Vec<(Tier, bool)>,
    is_connected: bool,
    events: mpsc::Sender<PublisherEvent>,
    /// The time of the last request for key frames.
    asked: Instant,
}

impl Publisher {
    async fn run(mut self, mut frames: mpsc::Receiver<Frame>, mut orders: mpsc::UnboundedReceiver<Order>) {
        let mut decide = tokio::time::interval(DECIDE_EVERY);
        let mut buffer = vec![0; MAX_DATAGRAM];
        loop {
            let wait = self
                .connection
                .deadline()
                .map_or(LONGEST_WAIT, |at| at.saturating_duration_since(Instant::now()).min(LONGEST_WAIT));
            tokio::select! {
                order = orders.recv() => match order {
                    Some(Order::Answer(sdp)) => {
                        if let Err(error) = self.connection.answer(Instant::now(), sdp) {
                            self.say(PublisherEvent::Gone(format!("it can't use the answer: {error}")));
                            return;
                        }
                    }
                    Some(Order::Need(encoding, is_needed)) => self.need(encoding, is_needed),
                    Some(Order::End) | None => {
                        self.connection.close();
                        let _ = self.flush();
                        return;
                    }
                },
                Some(frame) = frames.recv() => self.on_frame(&frame),
                received = self.socket.recv_from(&mut buffer) => {
                    if let Ok((length, from)) = received {
                        self.receive(from, length, &mut buffer);
                    }
                }
                _ = decide.tick() => self.decide(),
                () = tokio::time::sleep(wait) => {}
            }
            self.connection.tick(Instant::now());
            for happened in self.connection.poll() {
                self.on_event(happened);
            }
            let _ = self.flush();
        }
    }

    /// An event that finds no room is dropped: requests for key frames are repeated.
    fn say(&self, event: PublisherEvent) {
        let _ = self.events.try_send(event);
    }

    /// Reads a datagram, and those that wait behind it.
    fn receive(&mut self, from: SocketAddr, length: usize, buffer: &mut [u8]) {
        self.connection.receive(Instant::now(), from, &buffer[..length]);
        for _ in 1..READ_AT_ONCE {
            let Ok((length, from)) = self.socket.try_recv_from(buffer) else { return };
            self.connection.receive(Instant::now(), from, &buffer[..length]);
        }
    }

    /// Sends the datagrams of the core. A datagram that the kernel rejects is lost, as on any network.
    fn flush(&mut self) -> io::Result<()> {
        while let Some((to, datagram)) = self.connection.next_datagram() {
            self.socket.try_send_to(&datagram, to)?;
        }
        Ok(())
    }

    fn need(&mut self, encoding: Encoding, is_needed: bool) {
        for (tier, needed) in &mut self.needed {
            if encoding.track == Track::Screen && encoding.tier == *tier {
                *needed = is_needed;
            }
        }
        self.decide();
    }

    fn on_event(&mut self, happened: Happened) {
        match happened {
            Happened::Connected => {
                self.is_connected = true;
                self.decide();
            }
            Happened::Gone => self.say(PublisherEvent::Gone("the connection was closed or lost".to_owned())),
            Happened::KeyFrameWanted { stream } => {
                let tier = self.switches.get(stream).and_then(|switch| switch.awaited().or(switch.sent()));
                tier.into_iter().for_each(|tier| self.request_key_frame(tier));
            }
        }
    }

    fn request_key_frame(&self, tier: Tier) {
        let encoding = Encoding { track: Track::Screen, tier, codec: self.codec };
        self.say(PublisherEvent::KeyFrameNeeded(encoding));
    }

    fn on_frame(&mut self, frame: &Frame) {
        let now = Instant::now();
        for stream in 0..self.connection.streams.len() {
            let track = self.connection.streams[stream].track;
            let takes = track == frame.track
                && frame.encoding().codec == if track.is_video() { self.codec } else { Codec::Opus }
                && (!track.is_video() || self.switches[stream].takes(frame.tier, frame.key));
            if takes && self.is_connected {
                self.connection.send(now, stream, frame);
            }
        }
    }

    /// Chooses the tier of each stream.
    fn decide(&mut self) {
        let now = Instant::now();
        let carries_full = self.layers.decide(now, self.connection.target().get());
        let asks_again = now.saturating_duration_since(self.asked) >= ASK_EVERY;
        if asks_again {
            self.asked = now;
        }
        for stream in 0..self.connection.streams.len() {
            let Some(of) = self.connection.streams.get(stream).filter(|of| of.track.is_video()) else { continue };
            let is_needed = |tier| self.needed.iter().any(|(of, needed)| *of == tier && *needed);
            let has_smaller = self.offer == IngestOffer::Simulcast && is_needed(Tier::Low);
            let next = match of.tier {
                Tier::Full if !is_needed(Tier::Full) => None,
                Tier::Full if carries_full => Some(Tier::Full),
                Tier::Full => (!has_smaller).then_some(Tier::Low),
                Tier::Low => is_needed(Tier::Low).then_some(Tier::Low),
            };
            let next = next.filter(|_| self.is_connected);
            let asked = self.switches[stream].set(next);
            let again = self.switches[stream].awaited().filter(|_| asks_again);
            if let Some(tier) = asked.or(again) {
                self.request_key_frame(tier);
            }
        }
    }
}
