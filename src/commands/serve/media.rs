//! The media of a server: one UDP port for all rooms, and a host for each room whose publisher wants one.

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinHandle, JoinSet};

use super::host;
use crate::cli::ServeMedia;
use crate::exit::Failure;
use crate::protocol::MAX_ROOM_USERS;
use crate::report::{MediaMetrics, Reporter};
use crate::sfu::{MediaPort, SfuStats};
use crate::signal::LocalHost;

/// How long the end of the server waits for the hosts: each says goodbye to its students within a second.
const END_WITHIN: Duration = Duration::from_secs(2);

/// What every host needs.
#[derive(Clone)]
pub(super) struct HostSettings {
    pub(super) port: MediaPort,
    pub(super) advertise: Vec<IpAddr>,
    pub(super) workers: NonZeroUsize,
    pub(super) max_students: usize,
    pub(super) meter: MediaMeter,
    pub(super) reporter: Reporter,
}

/// The media side of a server that has not started yet.
pub(in crate::commands) struct MediaServer {
    settings: HostSettings,
    max_rooms: usize,
    /// Sentences of the port for the operator.
    notices: mpsc::Receiver<String>,
}

/// The media side of a running server.
pub(super) struct RunningMedia {
    port: MediaPort,
    meter: MediaMeter,
    end: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl MediaServer {
    /// Binds the UDP port at `ip`.
    ///
    /// # Errors
    /// If the port can't be bound.
    pub(in crate::commands) fn bind(
        ip: IpAddr,
        media: &ServeMedia,
        stun: &[SocketAddr],
        reporter: &Reporter,
    ) -> Result<Self, Failure> {
        let address = SocketAddr::new(ip, media.udp_port);
        let (port, notices) = MediaPort::bind(address, stun).map_err(|cause| {
            let advice = "choose another port with --udp-port, or carry no media with --no-media";
            Failure::usage(anyhow::anyhow!("can't listen on UDP {address}: {cause}; {advice}"))
        })?;
        let max_students = media.max_students.map_or(MAX_ROOM_USERS, |most| most.get().min(MAX_ROOM_USERS));
        let settings = HostSettings {
            port,
            advertise: media.advertise.clone(),
            workers: media.workers,
            max_students,
            meter: MediaMeter::default(),
            reporter: reporter.clone(),
        };
        Ok(Self { settings, max_rooms: media.max_rooms.get(), notices })
    }

    /// The most rooms whose media the server carries.
    pub(super) fn max_rooms(&self) -> usize {
        self.max_rooms
    }

    /// Runs the hosts that come from the server.
    pub(super) fn start(self, hosts: mpsc::UnboundedReceiver<LocalHost>) -> RunningMedia {
        let Self { settings, notices, .. } = self;
        let (port, meter) = (settings.port.clone(), settings.meter.clone());
        let (end, ended) = oneshot::channel();
        RunningMedia { port, meter, end, task: tokio::spawn(run(settings, hosts, notices, ended)) }
    }
}

impl RunningMedia {
    /// The UDP port.
    pub(super) fn udp_port(&self) -> u16 {
        self.port.local().port()
    }

    /// The counters of all rooms.
    pub(super) fn meter(&self) -> &MediaMeter {
        &self.meter
    }

    /// Waits until the hosts have said goodbye. The server has closed the rooms before.
    pub(super) async fn shutdown(self) {
        let _ = self.end.send(());
        let _ = tokio::time::timeout(END_WITHIN, self.task).await;
    }
}

async fn run(
    settings: HostSettings,
    mut hosts: mpsc::UnboundedReceiver<LocalHost>,
    mut notices: mpsc::Receiver<String>,
    mut ended: oneshot::Receiver<()>,
) {
    let mut running = JoinSet::new();
    loop {
        tokio::select! {
            Some(host) = hosts.recv() => {
                running.spawn(host::run(host, settings.clone()));
            }
            Some(notice) = notices.recv() => settings.reporter.notice(notice),
            // Ended hosts are forgotten.
            Some(_) = running.join_next() => {}
            _ = &mut ended => break,
        }
    }
    while running.join_next().await.is_some() {}
}

/// Counts the media of all rooms, for `/metrics`. Clones share the counts.
#[derive(Debug, Clone, Default)]
pub(in crate::commands) struct MediaMeter(Arc<Mutex<MediaMetrics>>);

/// Counts the media of one room, until it is dropped.
#[derive(Debug)]
pub(super) struct RoomMeter {
    all: MediaMeter,
    students: usize,
    packets: Count,
    bytes: Count,
    ingest_packets: Count,
    ingest_lost: Count,
}

/// A counter that may start again, as with a new publisher.
#[derive(Debug, Default)]
struct Count(u64);

impl Count {
    /// The increase since the last call.
    fn step(&mut self, now: u64) -> u64 {
        let before = std::mem::replace(&mut self.0, now);
        now.checked_sub(before).unwrap_or(now)
    }
}

impl MediaMeter {
    /// The counts now.
    pub(in crate::commands) fn metrics(&self) -> MediaMetrics {
        self.change(|metrics| *metrics)
    }

    /// Counts one more room.
    pub(super) fn room(&self) -> RoomMeter {
        self.change(|metrics| metrics.rooms += 1);
        let new = Count::default;
        let (packets, bytes, ingest_packets, ingest_lost) = (new(), new(), new(), new());
        RoomMeter { all: self.clone(), students: 0, packets, bytes, ingest_packets, ingest_lost }
    }

    fn change<T>(&self, change: impl FnOnce(&mut MediaMetrics) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl RoomMeter {
    /// The room has these counts now.
    pub(super) fn update(&mut self, stats: &SfuStats) {
        let encodings = stats.ingest.as_ref().map(|ingest| ingest.stats.encodings.as_slice()).unwrap_or_default();
        let before = std::mem::replace(&mut self.students, stats.students);
        let (packets, bytes) = (self.packets.step(stats.packets), self.bytes.step(stats.bytes));
        let ingest_packets = self.ingest_packets.step(encodings.iter().map(|encoding| encoding.packets).sum());
        let ingest_lost = self.ingest_lost.step(encodings.iter().map(|encoding| encoding.lost).sum());
        self.all.change(|metrics| {
            metrics.students = metrics.students + stats.students - before;
            metrics.packets += packets;
            metrics.bytes += bytes;
            metrics.ingest_packets += ingest_packets;
            metrics.ingest_lost += ingest_lost;
        });
    }
}

impl Drop for RoomMeter {
    fn drop(&mut self) {
        self.all.change(|metrics| {
            metrics.rooms -= 1;
            metrics.students -= self.students;
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_counts_of_all_rooms_add_up_and_never_go_back() {
        let meter = MediaMeter::default();
        let sent = |students, packets| SfuStats { students, packets, bytes: packets * 1_000, ..SfuStats::default() };
        let (mut one, mut two) = (meter.room(), meter.room());
        one.update(&sent(3, 100));
        two.update(&sent(5, 10));
        one.update(&sent(2, 150));
        let MediaMetrics { rooms, students, packets, bytes, .. } = meter.metrics();
        assert_eq!((rooms, students, packets, bytes), (2, 7, 160, 160_000));
        drop(one);
        let MediaMetrics { rooms, students, packets, .. } = meter.metrics();
        assert_eq!((rooms, students, packets), (1, 5, 160));
        assert_eq!((Count(7).step(9), Count(7).step(3)), (2, 3), "a new publisher starts at 0");
    }
}
