//! `teach --whip` and `teach --janus`: the lecture goes to servers of somebody else as well, as it does to the class.
//!
//! Each server is a subscription with a life of its own: a task with its own connection, which comes back after a loss.
//! A server gets the frames of the encoders that run for the class. What it asks of them is bounded: it gets the tiers
//! that its path carries, as a student does, and key frames within a budget. A server that is slow, gone or hostile
//! costs the class no more than that.

mod host;
mod key_frames;
mod outputs;
mod target;

use std::path::Path;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

pub(super) use self::host::Host;
pub(super) use self::key_frames::KeyFrameBudget;
pub(super) use self::outputs::FrameOutputs;
pub(super) use self::target::{Target, TargetEvent, TargetMedia};
use super::client_network::bind_addresses_for;
use super::or_never;
use crate::cli::{WhipOut, WhipToken, WhipVideo};
use crate::exit::Failure;
use crate::http::whip_client::{Bearer, Endpoint};
use crate::publisher::Layering;
use crate::report::{HostCount, HostKind, HostState};
use crate::rtp::{Encoding, Track};
use crate::sdp::ice::IceServers;
use crate::tls::Trust;

/// Events of all servers that may wait for the lecture.
const EVENTS: usize = 64;

/// The longest wait for the goodbyes.
const CLOSE_WITHIN: Duration = Duration::from_secs(4);

/// The largest file of a token.
const MAX_TOKEN_FILE_BYTES: u64 = 16 * 1024;

/// An order for the lecture, or news to report.
pub(super) enum WhipOutput {
    /// The state of a server has changed.
    State { kind: HostKind, number: usize, server: String, state: HostState },
    /// Exactly these encodings of videos are sent to the servers together.
    Encodings(Vec<Encoding>),
    /// An encoder must produce a key frame.
    KeyFrame(Encoding),
}

/// The servers of a lecture.
pub(super) struct WhipServers {
    outputs: FrameOutputs,
    events: mpsc::Receiver<(usize, TargetEvent)>,
    /// Keeps `events` open while there is no server.
    _sender: mpsc::Sender<(usize, TargetEvent)>,
    servers: Vec<Server>,
    tasks: JoinSet<()>,
    key_frames: KeyFrameBudget,
    /// Encodings whose encoder has to be asked.
    due: Vec<Encoding>,
}

struct Server {
    kind: HostKind,
    name: String,
    is_live: bool,
    encodings: Vec<Encoding>,
    stop: oneshot::Sender<()>,
}

/// The endpoints of a lecture, with their tokens.
pub(super) fn endpoints(whip: &WhipOut, trust: &Trust) -> Result<Vec<Endpoint>, Failure> {
    let endpoint = |(url, token): (_, &Option<WhipToken>)| {
        let bearer = match token {
            None => None,
            Some(WhipToken::Given(bearer)) => Some(bearer.clone()),
            Some(WhipToken::File(path)) => Some(read_token(path)?),
        };
        Ok(Endpoint { url, bearer, trust: trust.clone() })
    };
    whip.targets.iter().map(|target| endpoint((target.url.clone(), &target.token))).collect()
}

/// The token in the first line of a file.
fn read_token(path: &Path) -> Result<Bearer, Failure> {
    let failed = |cause: String| {
        Failure::usage(anyhow::anyhow!("can't read a token from --whip-token-file {}: {cause}", path.display()))
    };
    let size = std::fs::metadata(path).map_err(|error| failed(error.to_string()))?.len();
    if size > MAX_TOKEN_FILE_BYTES {
        return Err(failed(format!("the file has more than {MAX_TOKEN_FILE_BYTES} bytes")));
    }
    let text = std::fs::read_to_string(path).map_err(|error| failed(error.to_string()))?;
    let line = text.lines().next().unwrap_or_default().trim();
    Bearer::new(line).map_err(|error| failed(format!("its first line {error}")))
}

impl WhipServers {
    /// Starts to publish at each host. `encodings` are those of the capture with their bits per second.
    pub(super) fn start(
        whip: &WhipOut,
        hosts: Vec<Host>,
        encodings: &[(Encoding, u32)],
        ice_servers: &IceServers,
        outputs: FrameOutputs,
    ) -> Self {
        let (sender, events) = mpsc::channel(EVENTS);
        let (mut servers, mut tasks) = (Vec::new(), JoinSet::new());
        for (number, host) in hosts.into_iter().enumerate() {
            let (stop, stopped) = oneshot::channel();
            let (video, layering) = match &host {
                Host::Whip(_) if whip.simulcast => (whip.video, Layering::Simulcast),
                Host::Whip(_) => (whip.video, Layering::Single),
                Host::Janus(_) => (WhipVideo::Both, Layering::Single),
            };
            let media = TargetMedia {
                bind: bind_addresses_for(host.host()),
                ice_servers: ice_servers.clone(),
                encodings: chosen(encodings, video),
                layering,
            };
            servers.push(Server { kind: host.kind(), name: host.name(), is_live: false, encodings: Vec::new(), stop });
            let target = Target::new(number, host, media, outputs.clone(), sender.clone());
            tasks.spawn(target.run(stopped));
        }
        let (key_frames, due) = (KeyFrameBudget::default(), Vec::new());
        Self { outputs, events, _sender: sender, servers, tasks, key_frames, due }
    }

    /// How many servers of a kind get the lecture; `None` without one.
    pub(super) fn count(&self, kind: HostKind) -> Option<HostCount> {
        let of_kind = || self.servers.iter().filter(|server| server.kind == kind);
        let (live, servers) = (of_kind().filter(|server| server.is_live).count(), of_kind().count());
        (servers > 0).then_some(HostCount { live, servers })
    }

    /// The next output. Cancellation loses nothing.
    pub(super) async fn next(&mut self) -> WhipOutput {
        loop {
            if let Some(encoding) = self.due.pop() {
                return WhipOutput::KeyFrame(encoding);
            }
            let deadline = self.key_frames.deadline(Instant::now(), &self.outputs.key_frames());
            tokio::select! {
                event = self.events.recv() => {
                    let Some((number, event)) = event else { continue };
                    if let Some(output) = self.on_event(number, event) {
                        return output;
                    }
                }
                () = or_never(deadline.map(|at| tokio::time::sleep_until(at.into()))) => {
                    self.due = self.key_frames.due(Instant::now(), &self.outputs.key_frames());
                }
            }
        }
    }

    fn on_event(&mut self, number: usize, event: TargetEvent) -> Option<WhipOutput> {
        let of_whip = self.servers.iter().filter(|server| server.kind == HostKind::Whip).count();
        let server = self.servers.get_mut(number)?;
        match event {
            TargetEvent::State(state) => {
                server.is_live = matches!(state, HostState::Live | HostState::Disturbed);
                let (kind, name) = (server.kind, &server.name);
                let server = match kind {
                    HostKind::Whip if of_whip > 1 => format!("{name} (number {})", number + 1),
                    _ => name.clone(),
                };
                Some(WhipOutput::State { kind, number: number + 1, server, state })
            }
            TargetEvent::Sends(encodings) => {
                server.encodings = encodings;
                let mut all: Vec<Encoding> = self.servers.iter().flat_map(|server| server.encodings.clone()).collect();
                all.dedup();
                Some(WhipOutput::Encodings(all))
            }
            TargetEvent::KeyFrameNeeded(encoding) => {
                let made = self.outputs.key_frame(encoding);
                let asks = self.key_frames.want(Instant::now(), (number, server.kind), encoding, made);
                asks.then_some(WhipOutput::KeyFrame(encoding))
            }
        }
    }

    /// Says goodbye to all servers at the same time, and waits a few seconds for them.
    pub(super) async fn close(mut self) {
        for server in self.servers.drain(..) {
            // An error means that the task has ended.
            _ = server.stop.send(());
        }
        // The tasks don't wait for anybody who reads their events.
        self.events.close();
        let ends = async { while self.tasks.join_next().await.is_some() {} };
        _ = tokio::time::timeout(CLOSE_WITHIN, ends).await;
    }
}

/// The encodings that a server gets: audio, and one video, as most servers take one (RFC 9725, 4.2).
fn chosen(encodings: &[(Encoding, u32)], video: WhipVideo) -> Vec<(Encoding, u32)> {
    let has = |track| encodings.iter().any(|(encoding, _)| encoding.track == track);
    let first = if has(Track::Screen) { Track::Screen } else { Track::Camera };
    let takes = |track: Track| match (track, video) {
        (Track::Audio, _) | (_, WhipVideo::Both) => true,
        (track, WhipVideo::First) => track == first,
        (track, WhipVideo::Screen) => track == Track::Screen,
        (track, WhipVideo::Camera) => track == Track::Camera,
    };
    encodings.iter().copied().filter(|(encoding, _)| takes(encoding.track)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtp::Codec;

    #[test]
    fn a_server_gets_the_screen_or_else_the_camera() {
        let of = |track, codec| (Encoding::full(track, codec), 1_000);
        let (audio, screen, camera) =
            (of(Track::Audio, Codec::Opus), of(Track::Screen, Codec::H264), of(Track::Camera, Codec::H264));
        let all = [audio, screen, camera];
        assert_eq!(chosen(&all, WhipVideo::First), [audio, screen]);
        assert_eq!(chosen(&[audio, camera], WhipVideo::First), [audio, camera]);
        assert_eq!(chosen(&all, WhipVideo::Camera), [audio, camera]);
        assert_eq!(chosen(&all, WhipVideo::Both), all);
        assert_eq!(chosen(&[audio], WhipVideo::Screen), [audio]);
    }

    #[test]
    fn a_token_is_the_first_line_of_a_file() {
        let dir = tempfile::tempdir().unwrap();
        let write = |text: &str| {
            let path = dir.path().join("token");
            std::fs::write(&path, text).unwrap();
            read_token(&path)
        };
        assert_eq!(write("abc.def \nmore").unwrap(), Bearer::new("abc.def").unwrap());
        for bad in ["", "two words", "\u{e4}", &"x".repeat(20_000)] {
            let sentence = write(bad).unwrap_err().to_string();
            assert!(sentence.contains("--whip-token-file") && !sentence.contains("two words"), "{sentence}");
        }
    }
}
