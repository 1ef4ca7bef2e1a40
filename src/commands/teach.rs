//! `classroom teach`: starts capture, SFU and signalling, runs the lecture, and closes everything.

mod attendance;
mod attendance_file;
mod breakouts;
mod ending;
mod inputs;
mod lecture;
mod roster;
mod scenes;
mod script;
mod server;
mod source;
mod stage_report;
mod stage_sink;
mod stats;
mod student_states;
mod talk;
mod teacher_views;
mod throttled_lines;

use std::future::Future;
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};

use tokio::sync::{mpsc, oneshot};

use self::attendance_file::AttendanceFile;
use self::inputs::{Inputs, MediaEvents, SourceEvents};
use self::lecture::{Lecture, LectureParts};
use self::roster::Roster;
use self::scenes::Scenes;
use self::script::Script;
pub(super) use self::script::dry_run;
use self::server::LectureServer;
use self::source::{SharedCapture, Source, WhipMedia};
use self::teacher_views::TeacherViews;
use super::capacity::class_size;
use super::client_network::usable;
use super::hosted_source::SourceSettings;
use super::ice_servers::ice_servers;
use super::janus::janus_room;
use super::media_meter::MediaMeter;
use super::metrics::{MetricsPort, MetricsStore};
use super::negotiation::stun_addresses;
use super::serve::{RunningServer, engine_nodes};
use super::stage::{StageMedia, StageSettings};
use super::stop::Stop;
use super::traces::Traces;
use super::whip::WhipDoor;
use super::whip_out::{self, FrameOutputs, Host, WhipServers};
use super::{blocking, signal_failure};
use crate::cli::{Bitrate, Device, MainSource, Sources, TaughtJanus, Teach};
use crate::endpoints;
use crate::exit::Failure;
use crate::janus::{JanusHost, JanusRoom};
use crate::media::{self, Capture, CaptureOptions, Prepared, VideoOptions, Wanted};
use crate::protocol::MAX_ROOM_USERS;
use crate::report::{EndReason, Event, Reporter};
use crate::rtp::Frame;
use crate::sfu::{MediaPort, Sfu, SfuConfig, SfuError, UdpBinding};
use crate::signal::{Client, Goodbye, ServerUrl};
use crate::tls::Trust;
use crate::trace::Tracer;

/// Tells a demo the URL of the server as soon as the lecture is live.
pub(super) type Ready = oneshot::Sender<ServerUrl>;

/// Teaches until `stop` completes or the last file ends.
pub(super) async fn run(
    teach: Teach,
    reporter: &Reporter,
    stop: impl Future<Output = Stop>,
) -> Result<EndReason, Failure> {
    let script = teach.lecture().map(Script::read).transpose()?;
    let options = capture_options(&teach, script.as_ref());
    run_with(teach, TaughtMedia { options, script }, reporter, stop, None).await
}

/// The media of a lecture.
pub(super) struct TaughtMedia {
    /// The sources of the capture; `None` if a WHIP client sends the media.
    pub(super) options: Option<CaptureOptions>,
    /// The lecture of `--lecture`.
    script: Option<Script>,
}

impl From<CaptureOptions> for TaughtMedia {
    fn from(options: CaptureOptions) -> Self {
        Self { options: Some(options), script: None }
    }
}

/// Like [`run`], with the caller's media.
pub(super) async fn run_with(
    teach: Teach,
    media: TaughtMedia,
    reporter: &Reporter,
    stop: impl Future<Output = Stop>,
    ready: Option<Ready>,
) -> Result<EndReason, Failure> {
    let mut stop = std::pin::pin!(stop);
    let trust = Trust::roots(teach.trust.ca.as_deref()).map_err(Failure::usage)?;
    let whip_hosts = whip_out::endpoints(&teach.whip, &trust)?.into_iter().map(Host::Whip);
    let hosts: Vec<Host> = whip_hosts.chain(janus_host(&teach, reporter)?).collect();
    let nodes = engine_nodes(teach.via.clone(), reporter)?;
    let attendance_file = teach.attendance.list.as_deref().map(AttendanceFile::check).transpose()?;
    let roster = teach.attendance.roster.as_deref().map(Roster::read).transpose()?.unwrap_or_default();
    reporter.status("preparing");
    let TaughtMedia { options, script } = media;
    let mut prepared = None;
    if let Some(options) = options {
        let fps = options.screen.fps;
        // A desktop may ask its user which screen to share, so this may take long and must stay interruptible.
        let done = tokio::select! {
            prepared = blocking(move || Capture::prepare(options)) => prepared?.map_err(|error| match &script {
                Some(script) => script.explained(error),
                None => error.into(),
            })?,
            stopped = &mut stop => return Ok(stopped.reason()),
        };
        done.notices().iter().for_each(|notice| reporter.notice(notice));
        reporter.notice(class_size(&done.rates(), fps));
        prepared = Some(done);
    }

    let facts = prepared.as_ref().map(|prepared| prepared.scene_facts().to_vec()).unwrap_or_default();
    let scenes = script.map(|script| Scenes::new(script, &facts, &teach, reporter)).transpose()?;

    let (door, whip_requests) = WhipDoor::new(teach.room.clone());
    let (tracer, traces) = Traces::start(teach.otlp.clone(), reporter);
    let mut server = LectureServer::start(&teach, prepared.is_none().then_some(door), &tracer, reporter)?;
    let metrics = server.metrics();
    let metrics_port = teach.metrics.map(|address| MetricsPort::start(listen_for_metrics(address)?, &metrics));
    let metrics_port = metrics_port.transpose()?;
    let (port, port_notices) = media_port(&teach, server.media_ip, reporter).await?;
    let own_tcp_port = server.bound_media(&teach, &port)?;
    let config = sfu_config(&teach, port.clone(), prepared.as_ref());
    let (sfu, sfu_events) = Sfu::start(config).map_err(Failure::internal)?;
    sfu.trace(tracer.in_room(&teach.room));
    let source_settings = source_settings(&teach, port);
    server.serve_by_engines(nodes, &source_settings, reporter);
    let (client, signals) = tokio::select! {
        joined = Client::connect(server.client_config(&teach)) => joined.map_err(signal_failure)?,
        stopped = &mut stop => return Ok(stopped.reason()),
    };
    let link = server.link(&teach);
    let code = server.code().map(|code| code.as_str().to_owned());
    let (ws, page) = server.embedded.as_ref().map(RunningServer::urls).unzip();
    let fingerprint = server.embedded.as_ref().and_then(RunningServer::fingerprint);
    let (room_page, udp) = (Some(link.clone()), Some(sfu.udp().port()));
    reporter.event(&Event::Listening { ws, page, room_page, code, fingerprint, udp });
    server.remember(&teach);
    let nickname = teach.nickname.clone().into();
    reporter.event(&Event::Joined { user: teach.user.clone(), nickname, server: server.url.to_string() });
    if let Some(port) = &metrics_port {
        reporter.notice(format!("metrics for a monitoring system: http://{}/metrics", port.address()));
    }
    server.show_links(&teach, &link, reporter);
    let announcement = server.announce(&teach, reporter);

    let outputs = FrameOutputs::default();
    let rates = prepared.as_ref().map(Prepared::rates).unwrap_or_default();
    let (source, source_events) = match prepared {
        Some(prepared) => {
            let (also, has_servers) = (outputs.clone(), !hosts.is_empty());
            let also = move |frame: &Frame| {
                if has_servers {
                    also.push(frame);
                }
            };
            let (capture, captured) = endpoints::start_capture(prepared, &sfu, also).await?;
            (Source::Capture(Box::new(SharedCapture::new(capture))), SourceEvents::Capture(captured))
        }
        None => (Source::Whip(WhipMedia::default()), SourceEvents::Whip(whip_requests)),
    };
    if let Some(ready) = ready {
        let _ = ready.send(server.url.clone());
    }
    match &source {
        Source::Capture(_) => reporter.status("live, waiting for students"),
        Source::Whip(_) => {
            server.show_whip(&teach, reporter);
            reporter.status("waiting for an encoder");
        }
    }
    let media = MediaEvents { sfu: sfu_events, port: port_notices, source: source_events };
    let inputs = Inputs::new(&teach, reporter, stop, media, signals);
    let stage = stage_media(&teach, source_settings, &metrics);
    let views = TeacherViews::new(&teach, server.media_ip, reporter);
    let relays = usable(ice_servers(&teach.stun, &teach.turn));
    let whip_out = WhipServers::start(&teach.whip, hosts, &rates, &relays, outputs);
    let settings = server.settings(&teach);
    let parts = LectureParts { sfu, stage, views, client, source, scenes, whip_out, settings };
    let mut lecture = Lecture::new(&teach, reporter, parts, (roster, attendance_file), metrics);
    let ended = lecture.run(inputs).await;
    let concluded = lecture.conclude().await;

    let Lecture { sfu, stage, views, client, source, scenes, whip_out, goodbye, .. } = lecture;
    if let Some(scenes) = scenes {
        scenes.close().await;
    }
    // After a failure the teacher may come back, so the students wait, even with --end-class.
    client.leave(if ended.is_ok() { goodbye } else { Goodbye::Leave }).await;
    if let Some(announcement) = announcement {
        announcement.stop().await;
    }
    tokio::join!(whip_out.close(), views.end(), stage.close(), sfu.close());
    if let Some(embedded) = server.embedded {
        embedded.shutdown().await;
    }
    if let Some(whip) = server.whip {
        whip.shutdown().await;
    }
    if let Some(port) = metrics_port {
        port.shutdown().await;
    }
    if let Source::Capture(shared) = source {
        blocking(move || shared.into_capture().stop()).await?;
    }
    drop((server.token, own_tcp_port));
    if let Some(traces) = traces {
        traces.finish().await;
    }
    match (ended, concluded) {
        (Ok(reason), concluded) => concluded.map(|()| reason),
        (Err(failure), concluded) => {
            // The first failure is the exit code. The second one must not get lost either.
            concluded.unwrap_or_else(|second| reporter.warn(second.to_string()));
            Err(failure)
        }
    }
}

/// Binds the UDP port that the lecture and the speakers on its stage share. Takes another port if that one is in use
/// and `teach` allows that. Also returns sentences of the port for the teacher.
async fn media_port(
    teach: &Teach,
    ip: IpAddr,
    reporter: &Reporter,
) -> Result<(MediaPort, mpsc::Receiver<String>), Failure> {
    let stun = stun_addresses(&teach.stun, reporter).await;
    let bind = |port| {
        let address = SocketAddr::new(ip, port);
        MediaPort::bind(address, &stun).map_err(|cause| SfuError::Bind { address, cause })
    };
    let bound = match bind(teach.udp_port) {
        Err(SfuError::Bind { cause, .. }) if teach.udp_port_may_change && cause.kind() == ErrorKind::AddrInUse => {
            bind(0)
        }
        bound => bound,
    };
    bound.map_err(Failure::usage)
}

fn sfu_config(teach: &Teach, port: MediaPort, prepared: Option<&Prepared>) -> SfuConfig {
    SfuConfig {
        user: teach.user.clone(),
        udp: UdpBinding::Shared(port),
        advertise: teach.advertise.clone(),
        stun: Vec::new(),
        max_students: max_students(teach),
        encodings: prepared.map(Prepared::rates).unwrap_or_default(),
        workers: teach.workers,
        adapts: true,
    }
}

/// The settings of media at the port of the lecture.
fn source_settings(teach: &Teach, port: MediaPort) -> SourceSettings {
    let (advertise, workers) = (teach.advertise.clone(), teach.workers);
    SourceSettings {
        port,
        advertise,
        workers,
        max_receivers: max_students(teach),
        floor: None,
        threads: None,
        tracer: Tracer::default(),
    }
}

/// The media of the speakers.
fn stage_media(teach: &Teach, source: SourceSettings, metrics: &MetricsStore) -> StageMedia {
    let meter = MediaMeter::default();
    if teach.stage.most > 0 {
        metrics.set_stage(meter.clone());
    }
    StageMedia::new(StageSettings::new(source, meter, teach.stage.most))
}

/// The VideoRoom of `--janus`.
fn janus_host(teach: &Teach, reporter: &Reporter) -> Result<Option<Host>, Failure> {
    let Some(TaughtJanus { access, creates }) = &teach.janus else { return Ok(None) };
    let room = janus_room((access, &teach.room), &teach.nickname, &teach.trust, reporter)?;
    Ok(Some(Host::Janus(Box::new(JanusHost { room: JanusRoom { creates: *creates, ..room } }))))
}

/// The most students that the lecture admits.
fn max_students(teach: &Teach) -> usize {
    teach.max_students.map_or(MAX_ROOM_USERS, |most| most.get().min(MAX_ROOM_USERS))
}

/// Binds the port of `--metrics`.
fn listen_for_metrics(address: SocketAddr) -> Result<tokio::net::TcpListener, Failure> {
    crate::http::bind(address).map_err(|cause| {
        let advice = "choose another address with --metrics";
        Failure::usage(anyhow::anyhow!("can't serve metrics on {address}: {cause}; {advice}"))
    })
}

/// The options of the capture; `None` if a WHIP client sends the media.
fn capture_options(teach: &Teach, script: Option<&Script>) -> Option<CaptureOptions> {
    let defaults = CaptureOptions::default();
    let wanted = |device: &Option<Device>| match device {
        None => Wanted::No,
        Some(Device::Default) => Wanted::Yes(None),
        Some(Device::Named(name)) => Wanted::Yes(Some(name.clone())),
    };
    let (sources, pipeline) = match &teach.sources {
        Sources::Auto => (media::Sources { audio: teach.audio, ..media::Sources::default() }, None),
        Sources::Pipeline(path) => (media::Sources::default(), Some(path.clone())),
        Sources::Whip => return None,
        Sources::Chosen { main, camera, mic } => {
            let main = match main {
                None => media::MainSource::Screen(Wanted::No),
                Some(MainSource::Screen(device)) => media::MainSource::Screen(wanted(&Some(device.clone()))),
                Some(MainSource::Files(list)) => media::MainSource::Files(list.clone()),
                Some(MainSource::Slides(path)) => media::MainSource::Slides(path.clone()),
                Some(MainSource::Lecture(_)) => media::MainSource::Scenes(script.map(Script::sources)?),
                Some(MainSource::Test) => media::MainSource::Test,
            };
            // Slides have no sound of their own, and a teacher who shows them speaks.
            let microphone = match (&main, mic) {
                (media::MainSource::Slides(_), None) => Wanted::IfPresent,
                (_, mic) => wanted(mic),
            };
            let sources = media::Sources { main, camera: wanted(camera), microphone, audio: teach.audio };
            (sources, None)
        }
    };
    let video = &teach.video;
    Some(CaptureOptions {
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
    })
}
