//! The media of a server: one UDP port for all rooms, and a host for each room whose publisher wants one.

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroUsize;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinHandle, JoinSet};

use super::edge::EdgeSettings;
use super::host::{self, HostSettings};
use super::meeting;
use super::whip::WhipRooms;
use crate::cli::{EngineNode, ServeMedia};
use crate::commands::hosted_source::SourceSettings;
use crate::commands::media_meter::MediaMeter;
use crate::commands::stage::StageSettings;
use crate::exit::Failure;
use crate::protocol::{MAX_PARTICIPANTS, MAX_ROOM_USERS};
use crate::report::Reporter;
use crate::sfu::{MediaPort, SharedThreads};
use crate::signal::LocalHost;
use crate::trace::Tracer;

/// The longest wait for the hosts at the end of the server: each says goodbye to its students within a second.
const END_WITHIN: Duration = Duration::from_secs(2);

/// The most participants of all meetings whose media the server carries. Each takes an SFU.
const MAX_MEETING_SOURCES: usize = 8 * MAX_PARTICIPANTS;

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
    whip: WhipRooms,
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
        (stun, tracer): (&[SocketAddr], &Tracer),
        reporter: &Reporter,
    ) -> Result<Self, Failure> {
        let address = SocketAddr::new(ip, media.udp_port);
        let (port, notices) = MediaPort::bind(address, stun).map_err(|cause| {
            let advice = "choose another port with --udp-port, or carry no media with --no-media";
            Failure::usage(anyhow::anyhow!("can't listen on UDP {address}: {cause}; {advice}"))
        })?;
        let max_students = media.max_students.map_or(MAX_ROOM_USERS, |most| most.get().min(MAX_ROOM_USERS));
        let (advertise, workers) = (media.advertise.clone(), media.workers);
        let (source, meter) = (
            SourceSettings {
                port,
                advertise,
                workers,
                max_receivers: max_students,
                floor: None,
                threads: None,
                tracer: tracer.clone(),
            },
            MediaMeter::default(),
        );
        let cores = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        let threads = SharedThreads::start(cores)
            .map_err(|cause| Failure::internal(anyhow::anyhow!("can't start the threads of meetings: {cause}")))?;
        let of_participant = SourceSettings {
            workers: NonZeroUsize::MIN,
            max_receivers: MAX_PARTICIPANTS,
            threads: Some(threads),
            ..source.clone()
        };
        let settings = HostSettings {
            meetings: StageSettings::new(of_participant, meter.clone(), MAX_MEETING_SOURCES),
            stage: StageSettings::new(source.clone(), meter.clone(), media.max_rooms.get().saturating_mul(media.stage)),
            most_speakers: media.stage,
            source,
            meter,
            whip: WhipRooms::default(),
            reporter: reporter.clone(),
        };
        Ok(Self { settings, max_rooms: media.max_rooms.get(), notices })
    }

    /// The address of the UDP port; its IP may be unspecified.
    pub(super) fn address(&self) -> SocketAddr {
        self.settings.source.port.local()
    }

    /// The UDP port.
    pub(in crate::commands) fn port(&self) -> &MediaPort {
        &self.settings.source.port
    }

    /// The most rooms whose media the server carries.
    pub(super) fn max_rooms(&self) -> usize {
        self.max_rooms
    }

    /// The settings of the edges of this server, which listens at `ip`.
    pub(super) fn edges(&self, ip: IpAddr, has_sfu: bool, engines: Vec<EngineNode>) -> EdgeSettings {
        let HostSettings { source, meter: media, reporter, .. } = self.settings.clone();
        EdgeSettings { has_sfu, ..EdgeSettings::new(ip, source, media, engines, reporter) }
    }

    /// Runs the hosts that come from the server.
    pub(super) fn start(self, hosts: mpsc::UnboundedReceiver<LocalHost>) -> RunningMedia {
        let Self { settings, notices, .. } = self;
        let (port, meter, whip) = (settings.source.port.clone(), settings.meter.clone(), settings.whip.clone());
        let (end, ended) = oneshot::channel();
        RunningMedia { port, meter, whip, end, task: tokio::spawn(run(settings, hosts, notices, ended)) }
    }
}

impl RunningMedia {
    /// The UDP port.
    pub(super) fn udp_port(&self) -> u16 {
        self.port.local().port()
    }

    /// The media hosts, for WHIP clients.
    pub(super) fn whip(&self) -> WhipRooms {
        self.whip.clone()
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
                let LocalHost { room, publisher, member } = host;
                match publisher {
                    Some(publisher) => running.spawn(host::run(room, publisher, member, settings.clone())),
                    None => running.spawn(meeting::run(room, member, settings.clone())),
                };
            }
            Some(notice) = notices.recv() => settings.reporter.notice(notice),
            // Ended hosts are forgotten.
            Some(_) = running.join_next() => {}
            _ = &mut ended => break,
        }
    }
    while running.join_next().await.is_some() {}
}
