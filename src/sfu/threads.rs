//! Workers on threads of their own: `--workers`.

use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::config::SfuError;
use super::control_queue::{ControlReceiver, ControlSender, Entry, Kind, control_queue};
use super::event_loop::{self, Next, Work};
use super::worker::{Worker, WorkerCommand};
use crate::rtp::{Frame, PerTrack, Track};

/// The most frames that may wait for a thread: with three tracks in a few tiers at 50 a second, those of about a second
/// in which the thread is suspended.
const FRAME_QUEUE: usize = 512;

/// The most datagrams that may wait for a thread: the feedback of 1,000 students for about a second.
const DATAGRAM_QUEUE: usize = 8_192;

/// A thread with a worker.
pub(super) struct WorkerThread {
    /// [`WorkerCommand::Frame`] and [`WorkerCommand::Gap`].
    frames: mpsc::Sender<WorkerCommand>,
    /// [`WorkerCommand::Datagram`].
    datagrams: mpsc::Sender<WorkerCommand>,
    /// All other commands. The thread ends when this queue is closed.
    commands: ControlSender<WorkerCommand>,
    /// The video tracks of which a frame was dropped and the thread has not been told yet.
    gaps: PerTrack<bool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

/// The thread's ends of the queues.
struct Queues {
    frames: mpsc::Receiver<WorkerCommand>,
    datagrams: mpsc::Receiver<WorkerCommand>,
    commands: ControlReceiver<WorkerCommand>,
}

impl WorkerThread {
    /// Starts the thread `sfu-{number}`.
    pub(super) fn start(number: usize, worker: Worker) -> Result<Self, SfuError> {
        let setup = |e: &dyn std::fmt::Display| SfuError::Setup(e.to_string());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().map_err(|e| setup(&e))?;
        let (mut this, queues) = Self::new(FRAME_QUEUE);
        let work = async move { event_loop::run(&mut WorkerLoop { worker, queues, next: None }).await };
        let thread = std::thread::Builder::new()
            .name(format!("sfu-{number}"))
            .spawn(move || runtime.block_on(work))
            .map_err(|e| setup(&e))?;
        this.thread = Some(thread);
        Ok(this)
    }

    /// Makes the queues, without a thread.
    fn new(frame_queue: usize) -> (Self, Queues) {
        let (frames, frame_receiver) = mpsc::channel(frame_queue);
        let (datagrams, datagram_receiver) = mpsc::channel(DATAGRAM_QUEUE);
        let (commands, command_receiver) = control_queue();
        let queues = Queues { frames: frame_receiver, datagrams: datagram_receiver, commands: command_receiver };
        (Self { frames, datagrams, commands, gaps: PerTrack::default(), thread: None }, queues)
    }

    /// Passes a command to the thread. A datagram is dropped if its queue is full, as it would be in the kernel.
    /// Returns false only if a request is refused, or if the thread has ended.
    pub(super) fn give(&self, command: WorkerCommand) -> bool {
        match command {
            WorkerCommand::Datagram { .. } => {
                let _ = self.datagrams.try_send(command);
                true
            }
            command => self.commands.push(command),
        }
    }

    /// Passes a frame to the thread; `keys` is the number of key frames of its encoding so far, including this frame. A
    /// video frame that does not fit is dropped, and the thread is told of the gap before the next frame of the track.
    /// Returns whether the thread was told of a gap now: its peers then wait for key frames.
    pub(super) fn frame(&mut self, frame: Frame, keys: u64) -> bool {
        let track = frame.track;
        let told = self.gaps[track] && self.frames.try_send(WorkerCommand::Gap(track)).is_ok();
        self.gaps[track] &= !told;
        if !self.gaps[track] {
            let fits = self.frames.try_send(WorkerCommand::Frame { frame, keys }).is_ok();
            self.gaps[track] = !fits && track.is_video();
        }
        told
    }

    /// Handles the loss of a frame of this track before it reached the SFU: tells the thread at once, or before the
    /// next frame of the track.
    pub(super) fn gap(&mut self, track: Track) {
        self.gaps[track] = self.frames.try_send(WorkerCommand::Gap(track)).is_err();
    }

    /// Tells the thread of a gap of which it could not be told before. Returns whether it was told now.
    pub(super) fn tell_gap(&mut self, track: Track) -> bool {
        if self.gaps[track] {
            self.gap(track);
            return !self.gaps[track];
        }
        false
    }

    /// The number of messages that did not reach the thread since the last call.
    pub(super) fn take_lost_messages(&self) -> u64 {
        self.commands.take_lost_messages()
    }

    /// Says goodbye to the thread's peers and ends the thread.
    pub(super) fn close(self) {
        let Self { frames, datagrams, commands, thread, .. } = self;
        commands.push(WorkerCommand::Close);
        drop((frames, datagrams, commands));
        if let Some(thread) = thread {
            let _ = thread.join();
        }
    }
}

impl Entry for WorkerCommand {
    fn kind(&self) -> Kind {
        match self {
            Self::Candidate { .. } => Kind::Request,
            Self::Tell { .. } | Self::TellAll { .. } | Self::Limit { .. } => Kind::Message,
            // The number of peers is bounded, and so is the number of these commands.
            Self::Add(..) | Self::Remove { .. } | Self::Evict { .. } | Self::Signalling { .. } => Kind::Control,
            Self::Serves(..) => Kind::Control,
            Self::Encodings(_) | Self::Stats(_) | Self::MoveTo(_) | Self::KeyFrame { .. } => Kind::Control,
            Self::Close | Self::Frame { .. } | Self::Gap(_) | Self::Datagram { .. } => Kind::Control,
            #[cfg(test)]
            Self::Panic { .. } => Kind::Control,
        }
    }

    fn replaces(&self, older: &Self) -> bool {
        match (self, older) {
            // A peer that the thread has not seen yet need not be added.
            (
                Self::Remove { id },
                Self::Add(of, _)
                | Self::Candidate { id: of, .. }
                | Self::Tell { id: of, .. }
                | Self::Limit { id: of, .. }
                | Self::Signalling { id: of, .. },
            )
            | (Self::Signalling { id, .. }, Self::Signalling { id: of, .. }) => id == of,
            (Self::Limit { id, .. }, Self::Limit { id: of, .. }) => id == of,
            (Self::Serves(id, _), Self::Serves(of, _)) => id == of,
            (Self::Encodings(_), Self::Encodings(_)) | (Self::MoveTo(_), Self::MoveTo(_)) => true,
            (Self::Close, older) => older.kind() != Kind::Control,
            _ => false,
        }
    }
}

/// A worker and its queues.
struct WorkerLoop {
    worker: Worker,
    queues: Queues,
    /// The frame or datagram that ended the last wait.
    next: Option<WorkerCommand>,
}

impl WorkerLoop {
    fn next_frame(&mut self) -> Option<WorkerCommand> {
        let is_frame = |next: &mut WorkerCommand| !matches!(next, WorkerCommand::Datagram { .. });
        self.next.take_if(is_frame).or_else(|| self.queues.frames.try_recv().ok())
    }

    fn next_datagram(&mut self) -> Option<WorkerCommand> {
        self.next.take().or_else(|| self.queues.datagrams.try_recv().ok())
    }
}

impl Work for WorkerLoop {
    fn notice_suspension(&mut self) {
        self.worker.notice_suspension();
    }

    fn media(&mut self, slice: Duration) {
        let begun = Instant::now();
        while begun.elapsed() < slice
            && let Some(frame) = self.next_frame()
        {
            self.worker.handle(frame);
        }
        if self.worker.has_video() {
            self.worker.serve_newest();
        }
    }

    fn datagrams(&mut self, slice: Duration) -> Next {
        let begun = Instant::now();
        while begun.elapsed() < slice
            && let Some(datagram) = self.next_datagram()
        {
            self.worker.handle(datagram);
        }
        Next::GoOn
    }

    fn commands(&mut self, slice: Duration) -> Next {
        let begun = Instant::now();
        while begun.elapsed() < slice {
            match self.queues.commands.pop() {
                Some(command) => self.worker.handle(command),
                None if self.queues.commands.is_over() => return Next::End,
                None => break,
            }
        }
        Next::GoOn
    }

    fn newcomers(&mut self, slice: Duration) {
        self.worker.serve_newcomers(slice);
    }

    fn timers(&mut self) {
        self.worker.tick();
        self.worker.adapt();
        self.worker.serve_behind();
    }

    fn has_work(&self) -> bool {
        let Queues { frames, datagrams, commands } = &self.queues;
        self.worker.has_video()
            || self.worker.has_newcomers()
            || self.next.is_some()
            || !frames.is_empty()
            || !datagrams.is_empty()
            || !commands.is_empty()
            || commands.is_over()
    }

    async fn wait(&mut self) {
        let Queues { frames, datagrams, commands } = &mut self.queues;
        tokio::select! {
            Some(frame) = frames.recv() => self.next = Some(frame),
            Some(datagram) = datagrams.recv() => self.next = Some(datagram),
            () = commands.ready() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::congestion::RateMeter;
    use crate::rtp::{Codec, Encoding, FrameAssembler};
    use crate::sfu::RTCIceCandidateInit;
    use crate::sfu::control_queue::MAX_REQUESTS;
    use crate::sfu::udp::UdpReceiver;

    fn frame(track: Track) -> Frame {
        let codec = if track.is_video() { Codec::Vp8 } else { Codec::Opus };
        let packet = [&[0x80, 0x80 | 96, 0, 1][..], &[0; 8], &[0x10, 0, 0]].concat();
        FrameAssembler::new(Encoding::full(track, codec)).push(&packet, Instant::now()).unwrap()
    }

    #[test]
    fn a_thread_is_told_of_each_gap_and_of_the_number_of_key_frames() {
        let (mut worker, mut queues) = WorkerThread::new(3);
        let mut said = |taken: usize| {
            let all: Vec<String> = std::iter::from_fn(|| queues.frames.try_recv().ok())
                .take(taken)
                .map(|task| match task {
                    WorkerCommand::Frame { frame, keys } => format!("{} {keys}", frame.track),
                    WorkerCommand::Gap(track) => format!("gap {track}"),
                    _ => unreachable!(),
                })
                .collect();
            all.join(", ")
        };
        for keys in 1..=3 {
            assert!(!worker.frame(frame(Track::Screen), keys));
        }
        // The fourth key frame does not fit, nor does the audio frame, which needs no key frame.
        assert!(!worker.frame(frame(Track::Screen), 4) && !worker.frame(frame(Track::Audio), 9));
        assert!(!worker.frame(frame(Track::Screen), 4), "it can't be told yet");
        assert_eq!(said(1), "screen 1");
        // There is room for the gap, but not for the picture after it, which is another gap.
        assert!(worker.frame(frame(Track::Screen), 4));
        assert_eq!(said(3), "screen 2, screen 3, gap screen");
        assert!(!worker.frame(frame(Track::Audio), 10) && worker.frame(frame(Track::Screen), 5));
        assert_eq!(said(3), "audio 10, gap screen, screen 5");
        assert!(!worker.frame(frame(Track::Screen), 5));
        assert_eq!(said(3), "screen 5");
    }

    /// A worker without peers, whose thread is blocked until it is released.
    fn stalled() -> (WorkerThread, std::sync::mpsc::Sender<()>) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
        let socket = runtime.block_on(async { UdpReceiver::bind("127.0.0.1:0".parse().unwrap()).unwrap() });
        let encoding = (Encoding::full(Track::Screen, Codec::Vp8), 1_000_000);
        let traffic = RateMeter::new(&[encoding]);
        let worker = Worker::new(1, traffic, socket.sender().unwrap(), mpsc::channel(8).0, mpsc::unbounded_channel().0);
        let thread = WorkerThread::start(1, worker).unwrap();
        let (release, stalls) = std::sync::mpsc::channel::<()>();
        let (begun, begins) = std::sync::mpsc::channel();
        thread.give(WorkerCommand::Stats(Box::new(move |_| {
            begun.send(()).unwrap();
            let _ = stalls.recv();
        })));
        begins.recv().unwrap();
        (thread, release)
    }

    #[test]
    fn a_full_queue_does_not_starve_the_lecture() {
        let (mut worker, release) = stalled();
        // The number of waiting frames that each command sees.
        let (seen, sees) = std::sync::mpsc::channel();
        let waiting = |frames: &mpsc::Sender<WorkerCommand>| frames.max_capacity() - frames.capacity();
        for _ in 0..DATAGRAM_QUEUE {
            let (frames, seen) = (worker.frames.clone(), seen.clone());
            worker.give(WorkerCommand::Stats(Box::new(move |_| seen.send(waiting(&frames)).unwrap())));
            let (at, from) = ("127.0.0.1:1".parse().unwrap(), "127.0.0.1:2".parse().unwrap());
            worker.give(WorkerCommand::Datagram { id: 7, at, from, bytes: bytes::BytesMut::zeroed(100) });
        }
        for keys in 1..=5 {
            worker.frame(frame(Track::Screen), keys);
        }
        assert_eq!(waiting(&worker.frames), 5);
        drop(release);
        let seen: Vec<usize> = (0..DATAGRAM_QUEUE).map(|_| sees.recv().unwrap()).collect();
        let before = seen.iter().take_while(|waiting| **waiting > 0).count();
        assert!(before < 20, "{before} of {DATAGRAM_QUEUE} commands went before the frames");
        worker.close();
    }

    #[test]
    fn a_flood_of_requests_loses_no_control() {
        let (worker, release) = stalled();
        let candidate = RTCIceCandidateInit::default();
        let given =
            (0..100_000).filter(|id| worker.give(WorkerCommand::Candidate { id: *id, candidate: candidate.clone() }));
        assert_eq!(given.count(), MAX_REQUESTS);
        let (done, is_done) = std::sync::mpsc::channel();
        assert!(worker.give(WorkerCommand::Remove { id: 7 }));
        assert!(worker.give(WorkerCommand::Stats(Box::new(move |_| done.send(()).unwrap()))));
        drop(release);
        is_done.recv().unwrap();
        worker.close();
    }
}
