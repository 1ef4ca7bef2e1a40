//! `classroom teach`: starts capture, SFU and signalling, runs the lecture, and closes everything.

mod attendance;
mod attendance_file;
mod ending;
mod inputs;
mod lecture;
mod stats;
mod talk;

use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::sync::oneshot;

use self::attendance_file::AttendanceFile;
use self::inputs::Inputs;
use self::lecture::Lecture;
use super::announcement::LiveAnnouncement;
use super::metrics::{MetricsPort, MetricsStore};
use super::room_link::{other_hosts, room_page, show_qr};
use super::serve::{RunningServer, ice_servers, start_tls};
use super::stop::Stop;
use super::trust::ClientTrust;
use super::{blocking, listen, signal_failure};
use crate::cli::{Bitrate, Device, MainSource, Signalling, Sources, Teach};
use crate::endpoints;
use crate::exit::Failure;
use crate::media::{self, Capture, CaptureOptions, Prepared, VideoOptions, Wanted};
use crate::protocol::{Credentials, IceCandidate, MAX_ROOM_USERS};
use crate::report::{EndReason, Event, Reporter};
use crate::sfu::{RTCIceCandidateInit, Sfu, SfuConfig};
use crate::signal::{Announced, Client, ClientConfig, Goodbye, ServerUrl, SessionToken};
use crate::tls::Trust;

/// How long a teacher waits for the server that `--server` names.
const SERVER_WITHIN: Duration = Duration::from_secs(3);

/// Tells a demo the URL of the server as soon as the lecture is live.
pub(super) type Ready = oneshot::Sender<ServerUrl>;

/// Teaches until `stop` completes or the last file ends.
pub(super) async fn run(
    teach: Teach,
    reporter: &Reporter,
    stop: impl Future<Output = Stop>,
) -> Result<EndReason, Failure> {
    let options = capture_options(&teach);
    run_with(teach, options, reporter, stop, None).await
}

/// Like [`run`], with capture options of the caller's own.
pub(super) async fn run_with(
    teach: Teach,
    options: CaptureOptions,
    reporter: &Reporter,
    stop: impl Future<Output = Stop>,
    ready: Option<Ready>,
) -> Result<EndReason, Failure> {
    let mut stop = std::pin::pin!(stop);
    let attendance_file = teach.attendance.as_deref().map(AttendanceFile::check).transpose()?;
    reporter.status("preparing");
    // A desktop may ask its user which screen to share, so this may take long and must stay interruptible.
    let prepared = tokio::select! {
        prepared = blocking(move || Capture::prepare(options)) => prepared??,
        stopped = &mut stop => return Ok(stopped.reason()),
    };
    prepared.notices().iter().for_each(|notice| reporter.notice(notice));

    let server = LectureServer::start(&teach, reporter)?;
    let metrics = server.metrics();
    let metrics_port = teach.metrics.map(|address| MetricsPort::start(listen_for_metrics(address)?, &metrics));
    let metrics_port = metrics_port.transpose()?;
    let config = sfu_config(&teach, server.media_ip, &prepared, reporter).await;
    let (sfu, sfu_events) = Sfu::start(config).map_err(Failure::usage)?;
    let token = SessionToken::acquire(&server.url, &teach.room, &teach.user);
    let (client, signals) = tokio::select! {
        joined = Client::connect(client_config(&teach, &server, &token)) => joined.map_err(signal_failure)?,
        stopped = &mut stop => return Ok(stopped.reason()),
    };
    let link = room_page(&server.student_url(), &teach.room);
    let (ws, page) = server.embedded.as_ref().map(RunningServer::urls).unzip();
    let fingerprint = server.embedded.as_ref().and_then(RunningServer::fingerprint);
    let (room_page, udp) = (Some(link.clone()), Some(sfu.udp().port()));
    reporter.event(&Event::Listening { ws, page, room_page, fingerprint, udp });
    server.remember(&teach);
    let nickname = teach.nickname.clone().into();
    reporter.event(&Event::Joined { user: teach.user.clone(), nickname, server: server.url.to_string() });
    if let Some(port) = &metrics_port {
        reporter.notice(format!("metrics for a monitoring system: http://{}/metrics", port.address()));
    }
    server.show_links(&teach, &link, reporter);
    let announcement = server.announce(&teach, reporter);

    let (capture, captured) = endpoints::start_capture(prepared, &sfu).await?;
    if let Some(ready) = ready {
        let _ = ready.send(server.url.clone());
    }
    reporter.status("live, waiting for students");
    let inputs = Inputs::new(&teach, reporter, stop, sfu_events, signals, captured);
    let mut lecture = Lecture::new(&teach, reporter, (sfu, client, capture), attendance_file, metrics);
    let ended = lecture.run(inputs).await;
    let concluded = lecture.conclude().await;

    let Lecture { sfu, client, capture, goodbye, .. } = lecture;
    // After a failure the teacher may come back, so the students wait, even with --end-class.
    client.leave(if ended.is_ok() { goodbye } else { Goodbye::Leave }).await;
    if let Some(announcement) = announcement {
        announcement.stop().await;
    }
    sfu.close().await;
    if let Some(embedded) = server.embedded {
        embedded.shutdown().await;
    }
    if let Some(port) = metrics_port {
        port.shutdown().await;
    }
    blocking(move || capture.stop()).await?;
    drop(token);
    match (ended, concluded) {
        (Ok(reason), concluded) => concluded.map(|()| reason),
        (Err(failure), concluded) => {
            // The first failure is the exit code. The second one must not get lost either.
            concluded.unwrap_or_else(|second| reporter.warn(second.to_string()));
            Err(failure)
        }
    }
}

/// The signalling server of a lecture: inside this process, or elsewhere.
struct LectureServer {
    embedded: Option<RunningServer>,
    /// The URL by which this process joins.
    url: ServerUrl,
    /// What this process trusts of another server.
    trust: ClientTrust,
    /// The address of the media socket.
    media_ip: IpAddr,
}

impl LectureServer {
    fn start(teach: &Teach, reporter: &Reporter) -> Result<Self, Failure> {
        let trust = ClientTrust::new(&teach.trust)?;
        let (address, tls) = match &teach.signalling {
            Signalling::Embedded { listen, tls } => (*listen, tls.clone()),
            Signalling::Remote(url) => {
                return Ok(Self { embedded: None, url: url.clone(), trust, media_ip: Ipv4Addr::UNSPECIFIED.into() });
            }
        };
        let tls = tls.map(|source| start_tls(source, reporter)).transpose()?;
        let ice_servers = ice_servers(&teach.stun, &teach.turn);
        let embedded = RunningServer::start(listen(address)?, ice_servers, teach.site.clone(), tls)?;
        let (host, media_ip) = match address.ip() {
            // A server on all addresses goes with media on all addresses, of both families.
            ip if ip.is_unspecified() => (Ipv4Addr::LOCALHOST.into(), ip),
            ip => (ip, ip),
        };
        // Without TLS: the server allows that on the same computer.
        let url = ServerUrl::new(&host.to_string(), embedded.address().port());
        Ok(Self { embedded: Some(embedded), url, trust, media_ip })
    }

    /// What this process trusts of the server that it joins.
    fn trusted(&self) -> Trust {
        self.trust.of_named(&self.url)
    }

    /// Remembers another server that this process has joined.
    fn remember(&self, teach: &Teach) {
        if self.embedded.is_none() {
            self.trust.joined_named(&self.url, &teach.room);
        }
    }

    fn metrics(&self) -> MetricsStore {
        self.embedded.as_ref().map_or_else(|| MetricsStore::new(None), |embedded| embedded.metrics().clone())
    }

    /// The URL by which students on other computers join.
    fn student_url(&self) -> ServerUrl {
        match &self.embedded {
            Some(embedded) => embedded.url(),
            None => self.url.clone(),
        }
    }

    /// Tells the teacher what students open or type.
    fn show_links(&self, teach: &Teach, link: &str, reporter: &Reporter) {
        let url = self.student_url();
        if teach.qr {
            show_qr(link, &url, reporter);
        }
        reporter.notice(format!("students open {link}"));
        // A name in the certificate of --tls-cert is the only host that browsers accept.
        let has_name = |embedded: &&RunningServer| embedded.tls().is_some_and(|tls| tls.name().is_some());
        let embedded = self.embedded.as_ref().filter(|embedded| !has_name(embedded));
        let others = embedded.map(|embedded| other_hosts(embedded.address(), url.host()));
        for (host, interface) in others.unwrap_or_default() {
            let other = ServerUrl::new(&host.to_string(), url.port()).with_tls(url.uses_tls());
            reporter.notice(format!("  or, in the network of {interface}: {}", room_page(&other, &teach.room)));
        }
        if let Some(embedded) = embedded {
            embedded.show_certificate(reporter);
        }
        let room = &teach.room;
        let server = if url.uses_tls() { url.to_string() } else { url.authority() };
        let fingerprint = self.embedded.as_ref().and_then(RunningServer::fingerprint);
        let fingerprint = fingerprint.map(|fingerprint| format!(" --fingerprint {fingerprint}")).unwrap_or_default();
        reporter.notice(format!("or type: classroom watch --room {room} --user 1001 --server {server}{fingerprint}"));
    }

    /// Announces the room on the LAN, unless only this computer can reach the server.
    fn announce(&self, teach: &Teach, reporter: &Reporter) -> Option<LiveAnnouncement> {
        let embedded = self.embedded.as_ref()?;
        let address = embedded.address();
        if address.ip().is_loopback() {
            return None;
        }
        let (room, nickname) = (teach.room.clone(), teach.nickname.clone());
        let announced = Announced { room, port: address.port(), nickname, identity: None };
        match LiveAnnouncement::start(announced, embedded.tls()) {
            Ok(announcement) => Some(announcement),
            Err(error) => {
                reporter.detail(format!("can't announce the room by DNS-SD: {error}; students need --server"));
                None
            }
        }
    }
}

fn client_config(teach: &Teach, server: &LectureServer, token: &SessionToken) -> ClientConfig {
    ClientConfig {
        server: server.url.clone(),
        trust: server.trusted(),
        room: teach.room.clone(),
        room_name: teach.room_name.clone(),
        user: teach.user.clone(),
        nickname: teach.nickname.clone(),
        publishes: true,
        credentials: Credentials { session: Some(token.session().clone()), ..Credentials::default() },
        epoch: rand::random(),
        initial_deadline: SERVER_WITHIN,
    }
}

async fn sfu_config(teach: &Teach, media_ip: IpAddr, prepared: &Prepared, reporter: &Reporter) -> SfuConfig {
    SfuConfig {
        user: teach.user.clone(),
        udp: SocketAddr::new(media_ip, teach.udp_port),
        advertise: teach.advertise.clone(),
        stun: stun_addresses(teach, reporter).await,
        max_students: teach.max_students.map_or(MAX_ROOM_USERS, |most| most.get().min(MAX_ROOM_USERS)),
        encodings: prepared.rates(),
        workers: teach.workers,
        adapts: true,
    }
}

async fn stun_addresses(teach: &Teach, reporter: &Reporter) -> Vec<SocketAddr> {
    let mut addresses = Vec::new();
    for server in &teach.stun {
        let found = tokio::net::lookup_host((server.host.as_str(), server.port)).await;
        match found.ok().and_then(|mut all| all.find(SocketAddr::is_ipv4)) {
            Some(address) => addresses.push(address),
            None => {
                reporter.warn(format!("the STUN server {} has no IPv4 address, so it is not used", server.url()));
            }
        }
    }
    addresses
}

/// Binds the port of `--metrics`.
fn listen_for_metrics(address: SocketAddr) -> Result<tokio::net::TcpListener, Failure> {
    crate::http::bind(address).map_err(|cause| {
        let advice = "choose another address with --metrics";
        Failure::usage(anyhow::anyhow!("can't serve metrics on {address}: {cause}; {advice}"))
    })
}

fn capture_options(teach: &Teach) -> CaptureOptions {
    let defaults = CaptureOptions::default();
    let wanted = |device: &Option<Device>| match device {
        None => Wanted::No,
        Some(Device::Default) => Wanted::Yes(None),
        Some(Device::Named(name)) => Wanted::Yes(Some(name.clone())),
    };
    let (sources, pipeline) = match &teach.sources {
        Sources::Auto => (media::Sources { audio: teach.audio, ..media::Sources::default() }, None),
        Sources::Pipeline(path) => (media::Sources::default(), Some(path.clone())),
        Sources::Chosen { main, camera, mic } => {
            let main = match main {
                None => media::MainSource::Screen(Wanted::No),
                Some(MainSource::Screen(device)) => media::MainSource::Screen(wanted(&Some(device.clone()))),
                Some(MainSource::Files(list)) => media::MainSource::Files(list.clone()),
                Some(MainSource::Test) => media::MainSource::Test,
            };
            let sources = media::Sources { main, camera: wanted(camera), microphone: wanted(mic), audio: teach.audio };
            (sources, None)
        }
    };
    let video = &teach.video;
    CaptureOptions {
        sources,
        codec: video.codec,
        screen: VideoOptions { size: video.size, fps: video.fps, bitrate: video.bitrate.map(Bitrate::bits_per_second) },
        camera: VideoOptions { fps: video.fps, ..defaults.camera },
        content: video.content,
        tiers: video.tiers,
        pipeline,
        // Without the path of its own program, this process inspects files by itself.
        inspector: std::env::current_exe().ok(),
        ..defaults
    }
}

/// Converts a candidate of the wire into the type of the peer connection.
pub(super) fn candidate_init(candidate: IceCandidate) -> RTCIceCandidateInit {
    RTCIceCandidateInit {
        candidate: candidate.candidate,
        sdp_mid: candidate.sdp_mid,
        sdp_mline_index: candidate.sdp_m_line_index,
        username_fragment: candidate.username_fragment,
        url: None,
    }
}
