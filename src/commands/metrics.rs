//! The numbers of this process for `/healthz` and `/metrics`, on the server's port or on one of its own (`--metrics`).

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use axum::Router;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::exit::Failure;
use crate::http;
use crate::process;
use crate::report::{LectureMetrics, Metrics, ServerMetrics};
use crate::room::RoomState;
use crate::signal::Server;

/// Where numbers are left, and asked for. A clone is the same place.
#[derive(Clone)]
pub(super) struct Meters(Arc<Shared>);

struct Shared {
    begun: SystemTime,
    ending: AtomicBool,
    server: Option<Server>,
    /// As the lecture left it a second ago: who asks costs the SFU nothing.
    lecture: Mutex<Option<LectureMetrics>>,
}

impl Meters {
    /// Of a process with this server inside, or with none.
    pub(super) fn new(server: Option<Server>) -> Self {
        Self(Arc::new(Shared {
            begun: SystemTime::now(),
            ending: AtomicBool::new(false),
            server,
            lecture: Mutex::new(None),
        }))
    }

    /// The process is not healthy any more.
    pub(super) fn end(&self) {
        self.0.ending.store(true, Ordering::Relaxed);
    }

    /// Leaves the numbers of a lecture.
    pub(super) fn lecture(&self, numbers: LectureMetrics) {
        *self.0.lecture.lock().unwrap_or_else(PoisonError::into_inner) = Some(numbers);
    }

    /// The routes by which they are asked for.
    pub(super) fn router(&self) -> Router {
        let (health, metrics) = (self.clone(), self.clone());
        http::health(move || health.0.ending.load(Ordering::Relaxed), move || metrics.text())
    }

    fn text(&self) -> String {
        let lecture = self.0.lecture.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Metrics { process: process::metrics(self.0.begun), server: self.0.server.as_ref().map(server), lecture }.text()
    }
}

fn server(server: &Server) -> ServerMetrics {
    let rooms = server.rooms();
    let in_state = |state| rooms.iter().filter(|room| room.state == state).count();
    let waiting = server.waiting();
    ServerMetrics {
        rooms_waiting: in_state(RoomState::Waiting),
        rooms_live: in_state(RoomState::Live),
        rooms_ended: in_state(RoomState::Ended),
        teachers: rooms.iter().filter(|room| room.publisher.is_some()).count(),
        students: rooms.iter().map(|room| room.watching).sum(),
        connections: server.connections(),
        waiting_messages: waiting.messages,
        waiting_bytes: waiting.bytes,
        longest_student_queue: waiting.longest_student_queue,
        student_queue: crate::protocol::STUDENT_QUEUE,
    }
}

/// A port for nothing but these.
pub(super) struct MetricsPort {
    address: SocketAddr,
    end: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl MetricsPort {
    /// Serves on `listener`.
    pub(super) fn start(listener: TcpListener, meters: &Meters) -> Result<Self, Failure> {
        let address = listener.local_addr().map_err(Failure::internal)?;
        let (end, ended) = oneshot::channel::<()>();
        let limits = http::Limits { max_connections: 64, max_connections_per_ip: 64, ..http::Limits::default() };
        let task = tokio::spawn(http::serve(listener, meters.router(), limits, async {
            let _ = ended.await;
        }));
        Ok(Self { address, end, task })
    }

    /// Where it is bound.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Closes the port.
    pub(super) async fn shutdown(self) {
        let _ = self.end.send(());
        let _ = self.task.await;
    }
}
