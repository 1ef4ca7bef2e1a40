//! `/healthz`, `/readyz` and `/metrics` of this process, on the server's port or on a port of its own (`--metrics`).

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, SystemTime};

use axum::Router;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::edge_meter::EdgeMeter;
use super::media_meter::MediaMeter;
use crate::exit::Failure;
use crate::http::{self, Health};
use crate::process;
use crate::protocol::{MediaHost, RoomKind};
use crate::report::{ClusterMetrics, LectureMetrics, Metrics, ServerMetrics, TurnMetrics};
use crate::room::RoomState;
use crate::signal::{ClusterStatus, Server};
use crate::turn::TurnStats;

type TurnCounters = Box<dyn Fn() -> TurnStats + Send + Sync>;

/// A server that has not reached Redis for so long takes no new members: nobody could open a room.
const WITHOUT_REDIS: Duration = Duration::from_secs(20);

/// The metrics of this process. Clones share them.
#[derive(Clone)]
pub(super) struct MetricsStore(Arc<Store>);

struct Store {
    begun: SystemTime,
    ending: AtomicBool,
    draining: AtomicBool,
    server: Option<Server>,
    media: Option<MediaMeter>,
    edges: Mutex<Option<EdgeMeter>>,
    /// The speakers of the lecture.
    stage: Mutex<Option<MediaMeter>>,
    /// The TURN server of this process.
    turn: OnceLock<TurnCounters>,
    /// The lecture's metrics of the last second. So a request costs the SFU nothing.
    lecture: Mutex<Option<LectureMetrics>>,
}

impl MetricsStore {
    /// A store for a process with this server inside, and with the media of its rooms; or with neither.
    pub(super) fn new(server: Option<Server>, media: Option<MediaMeter>) -> Self {
        Self(Arc::new(Store {
            begun: SystemTime::now(),
            ending: AtomicBool::new(false),
            draining: AtomicBool::new(false),
            server,
            media,
            edges: Mutex::new(None),
            stage: Mutex::new(None),
            turn: OnceLock::new(),
            lecture: Mutex::new(None),
        }))
    }

    /// The process sends its clients elsewhere: `/readyz` answers 503 from now on.
    pub(super) fn set_draining(&self) {
        self.0.draining.store(true, Ordering::Relaxed);
    }

    /// The process is about to end: `/healthz` answers 503 from now on, too.
    pub(super) fn set_ending(&self) {
        self.set_draining();
        self.0.ending.store(true, Ordering::Relaxed);
    }

    /// The counters of the TURN server of this process.
    pub(super) fn set_turn(&self, stats: impl Fn() -> TurnStats + Send + Sync + 'static) {
        let _ = self.0.turn.set(Box::new(stats));
    }

    /// The meter of the speakers of the lecture.
    pub(super) fn set_stage(&self, meter: MediaMeter) {
        *self.0.stage.lock().unwrap_or_else(PoisonError::into_inner) = Some(meter);
    }

    /// The meter of the edges of this server.
    pub(super) fn set_edges(&self, meter: EdgeMeter) {
        *self.0.edges.lock().unwrap_or_else(PoisonError::into_inner) = Some(meter);
    }

    /// Replaces the metrics of the lecture.
    pub(super) fn set_lecture(&self, metrics: LectureMetrics) {
        *self.0.lecture.lock().unwrap_or_else(PoisonError::into_inner) = Some(metrics);
    }

    /// The routes `/healthz`, `/readyz` and `/metrics`.
    pub(super) fn router(&self) -> Router {
        let (health, metrics) = (self.clone(), self.clone());
        http::health(move || health.state(), move || metrics.text())
    }

    fn state(&self) -> Health {
        let degraded = || self.0.server.as_ref()?.cluster()?.degraded_for;
        if self.0.ending.load(Ordering::Relaxed) {
            Health::Ending
        } else if self.0.draining.load(Ordering::Relaxed) {
            Health::Draining
        } else {
            among_others(degraded())
        }
    }

    fn text(&self) -> String {
        let lecture = self.0.lecture.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let stage = self.0.stage.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Metrics {
            process: process::metrics(self.0.begun),
            server: self.0.server.as_ref().map(server_metrics),
            media: self.0.media.as_ref().map(MediaMeter::metrics),
            speakers: self.0.media.as_ref().or(stage.as_ref()).map(MediaMeter::speakers),
            edges: self.0.edges.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map(EdgeMeter::metrics),
            turn: self.0.turn.get().map(|stats| turn_metrics(&stats())),
            lecture,
        }
        .text()
    }
}

fn turn_metrics(stats: &TurnStats) -> TurnMetrics {
    TurnMetrics {
        allocations: stats.allocations,
        allocated: stats.allocated,
        bytes: [("media", stats.bytes_to_media), ("clients", stats.bytes_to_clients)],
        dropped: stats.dropped,
        refused: stats.refused.map(|(why, count)| (why.name(), count)).to_vec(),
    }
}

fn server_metrics(server: &Server) -> ServerMetrics {
    let rooms = server.own_rooms();
    let in_state = |kind, state| rooms.iter().filter(|room| room.kind == kind && room.state == state).count();
    let states = [RoomState::Waiting, RoomState::Live, RoomState::Ended];
    let of_kind = |kind| states.map(|state| (kind, state, in_state(kind, state)));
    let (lectures, others): (Vec<_>, Vec<_>) = rooms.iter().partition(|room| room.kind == RoomKind::Lecture);
    let taking_part = |kind, host| {
        let there = others.iter().filter(|room| room.kind == kind && room.media == Some(host));
        (kind, host, there.map(|room| room.participants).sum())
    };
    let waiting = server.waiting();
    ServerMetrics {
        rooms: RoomKind::ALL.into_iter().flat_map(of_kind).collect(),
        teachers: lectures.iter().filter(|room| room.publisher.is_some()).count(),
        students: lectures.iter().map(|room| room.watching).sum(),
        members: others.iter().map(|room| room.watching).sum(),
        participants: vec![
            taking_part(RoomKind::Meeting, MediaHost::Publisher),
            taking_part(RoomKind::Meeting, MediaHost::Server),
            taking_part(RoomKind::Call, MediaHost::Publisher),
        ],
        refusals: server.refusals(),
        connections: server.connections(),
        waiting_messages: waiting.messages,
        waiting_bytes: waiting.bytes,
        longest_student_queue: waiting.longest_student_queue,
        student_queue: crate::protocol::STUDENT_QUEUE,
        cluster: server.cluster().map(cluster_metrics),
    }
}

fn cluster_metrics(status: ClusterStatus) -> ClusterMetrics {
    let ClusterStatus { degraded_for, nodes, rooms, members_of_others, members_elsewhere } = status;
    let is_degraded = degraded_for.is_some();
    ClusterMetrics { is_degraded, nodes, rooms, members_of_others, members_elsewhere }
}

/// A TCP port for `/healthz` and `/metrics` only.
pub(super) struct MetricsPort {
    address: SocketAddr,
    end: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl MetricsPort {
    /// Serves on `listener`.
    pub(super) fn start(listener: TcpListener, metrics: &MetricsStore) -> Result<Self, Failure> {
        let address = listener.local_addr().map_err(Failure::internal)?;
        let (end, ended) = oneshot::channel::<()>();
        let limits = http::ConnectionLimits { max_connections: 64, ..http::ConnectionLimits::default() };
        let task = tokio::spawn(http::serve(listener, metrics.router(), limits, async {
            let _ = ended.await;
        }));
        Ok(Self { address, end, task })
    }

    /// The local address.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Closes the port.
    pub(super) async fn shutdown(self) {
        let _ = self.end.send(());
        let _ = self.task.await;
    }
}

/// The health of a server that has not reached Redis for this time.
fn among_others(degraded_for: Option<Duration>) -> Health {
    match degraded_for {
        Some(time) if time >= WITHOUT_REDIS => Health::Alone,
        _ => Health::Ready,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_not_ready_once_it_has_been_without_redis_for_long() {
        assert_eq!(among_others(None), Health::Ready);
        assert_eq!(among_others(Some(Duration::from_secs(19))), Health::Ready, "a restart of Redis");
        assert_eq!(among_others(Some(Duration::from_secs(20))), Health::Alone);
    }
}
