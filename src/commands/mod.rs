//! One file a verb, named as typed: wiring, and nothing that could be decided elsewhere.

mod bench;
mod demo;
mod devices;
mod lines;
mod link;
mod metrics;
mod process;
mod rooms;
mod serve;
mod studio;
mod teach;
mod typed;
mod watch;

use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};

use crate::cli::{Cli, Command};
use crate::exit::{Exit, Failure};
use crate::media::MediaError;
use crate::report::{EndReason, Event, Reporter};
use crate::signal::{ServerUrl, SignalError};

/// Runs a verb to its end. The last thing that scripts hear is the `ended` event, however it ends.
///
/// # Errors
/// [`Failure`] with the exit code and the sentence for people.
pub async fn run(cli: Cli) -> Result<(), Failure> {
    let room = match &cli.command {
        Command::Teach(teach) => Some(teach.room.clone()),
        Command::Watch(watch) => Some(watch.room.clone()),
        Command::Demo(_) => Some(demo::room()),
        Command::Serve(_) | Command::Rooms(_) | Command::Devices => None,
        Command::Bench(_) | Command::BenchPictures(_) | Command::BenchStudents | Command::BenchWatchers => None,
    };
    let reporter = Reporter::new(cli.output, cli.verbosity, room);
    let ended = match cli.command {
        Command::Demo(demo) => Some(demo::run(demo, cli.output, &reporter).await),
        Command::Teach(teach) => {
            let stop = stop(teach.length);
            Some(teach::run(teach, &reporter, stop, None).await)
        }
        Command::Watch(watch) => {
            let stop = stop(watch.length);
            Some(watch::run(watch, &reporter, stop).await.map(|watched| watched.reason))
        }
        Command::Serve(serve) => Some(serve::run(serve, &reporter, stop(None)).await),
        Command::Rooms(rooms) => rooms::run(rooms, &reporter).await.map_or_else(|e| Some(Err(e)), |()| None),
        Command::Devices => devices::run(&reporter).await.map_or_else(|e| Some(Err(e)), |()| None),
        Command::Bench(bench) => bench::run(bench, &reporter).await.map_or_else(|e| Some(Err(e)), |()| None),
        Command::BenchPictures(bench) => {
            bench::pictures::run(bench, &reporter).await.map_or_else(|e| Some(Err(e)), |()| None)
        }
        // Their stdout belongs to the process that started them.
        Command::BenchStudents => return bench::students().await,
        Command::BenchWatchers => return bench::pictures::students::run().await,
    };
    let result = match ended {
        None => Ok(()),
        Some(Ok(reason)) => {
            reporter.event(&Event::Ended { reason, exit: Exit::Ended.code(), message: None });
            Ok(())
        }
        Some(Err(failure)) => {
            let (exit, message) = (failure.exit.code(), Some(failure.to_string()));
            reporter.event(&Event::Ended { reason: EndReason::Failed, exit, message });
            Err(failure)
        }
    };
    reporter.finish();
    result
}

/// Completes when the process is asked to end, or after `length`.
async fn stop(length: Option<Duration>) -> EndReason {
    let asked = async {
        let kinds = (SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup());
        match (signal(kinds.0), signal(kinds.1), signal(kinds.2)) {
            (Ok(mut interrupt), Ok(mut terminate), Ok(mut hangup)) => {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                    // The terminal was closed.
                    _ = hangup.recv() => {}
                }
            }
            // Without handlers the signals end the process by themselves.
            _ => std::future::pending().await,
        }
    };
    tokio::select! {
        () = asked => EndReason::Interrupted,
        () = sleep(length) => EndReason::Duration,
    }
}

async fn sleep(length: Option<Duration>) {
    match length {
        Some(length) => tokio::time::sleep(length).await,
        None => std::future::pending().await,
    }
}

/// The exit code that a media error stands for.
fn media_failure(error: MediaError) -> Failure {
    let exit = match &error {
        MediaError::File { .. } | MediaError::Contract { .. } => Exit::Usage,
        MediaError::NothingToCapture { .. }
        | MediaError::MissingElement { .. }
        | MediaError::NoEncoder { .. }
        | MediaError::Device { .. } => Exit::NothingToCapture,
        MediaError::Pipeline { .. } => Exit::Internal,
    };
    Failure::new(exit, error)
}

/// The exit code that a signalling error stands for.
fn signal_failure(error: SignalError) -> Failure {
    let exit = match &error {
        SignalError::Unreachable { .. } => Exit::ServerUnreachable,
        SignalError::Refused { .. } => Exit::Refused,
    };
    Failure::new(exit, error)
}

/// Runs what blocks, on a thread for it.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Failure> {
    tokio::task::spawn_blocking(work).await.map_err(Failure::internal)
}

/// Binds the signalling server's TCP port.
fn listen(address: SocketAddr) -> Result<tokio::net::TcpListener, Failure> {
    allow_many_files();
    crate::http::bind(address).map_err(|cause| {
        let advice = match cause.kind() {
            io::ErrorKind::AddrInUse => {
                "another server or teacher runs there: join it with --server, or choose another with --listen"
            }
            io::ErrorKind::PermissionDenied => "choose a port from 1024 on with --listen",
            _ => "choose another address with --listen",
        };
        Failure::usage(anyhow::anyhow!("can't listen on {address}: {cause}; {advice}"))
    })
}

/// Raises the limit of open files to what the system allows: a server has one for each student, and the usual soft
/// limit of 1,024 would end a class at a thousand.
fn allow_many_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    // Where it can't be raised, the server says so when it runs out.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
}

/// The host that others type for a server bound to `ip`: this machine's first address where it listens on all.
fn reachable_host(ip: IpAddr) -> IpAddr {
    if !ip.is_unspecified() {
        return ip;
    }
    let addresses = if_addrs::get_if_addrs().unwrap_or_default();
    addresses
        .into_iter()
        .map(|interface| interface.ip())
        .find(|ip| matches!(ip, IpAddr::V4(v4) if !v4.is_loopback() && !v4.is_link_local()))
        .unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST))
}

/// The server that was named, else the one that DNS-SD finds for this room, else the one on this machine.
async fn find_server(named: Option<ServerUrl>, room: Option<&crate::id::RoomId>, reporter: &Reporter) -> ServerUrl {
    /// A teacher in the same network is found within a second; more covers a sleepy Wi-Fi.
    const PATIENCE: Duration = Duration::from_millis(2500);
    if let Some(url) = named {
        return url;
    }
    let local = ServerUrl::new("127.0.0.1", crate::protocol::DEFAULT_PORT);
    // Whoever runs a server on this very machine means that one, and does not wait.
    let here = tokio::net::TcpStream::connect((local.host(), local.port()));
    if let Ok(Ok(_)) = tokio::time::timeout(Duration::from_millis(200), here).await {
        return local;
    }
    match crate::signal::discover(room, PATIENCE).await {
        Ok(found) => match found.into_iter().next() {
            Some(found) => {
                reporter.notice(format!("found {} by DNS-SD", found.url));
                found.url
            }
            None => local,
        },
        Err(error) => {
            reporter.detail(format!("DNS-SD is not available: {error}"));
            local
        }
    }
}

/// A future that never completes where there is nothing to wait for.
async fn or_never<T>(future: Option<impl Future<Output = T>>) -> T {
    match future {
        Some(future) => future.await,
        None => std::future::pending().await,
    }
}
