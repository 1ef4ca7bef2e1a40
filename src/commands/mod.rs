//! One file a verb, named as typed: wiring, and nothing that could be decided elsewhere.

mod bench;
mod crash;
mod demo;
mod devices;
mod lines;
mod link;
mod manual;
mod metrics;
mod rooms;
mod serve;
mod sources;
mod teach;
mod typed;
mod watch;

use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};

use crate::cli::{Cli, Command, Output};
use crate::exit::{Exit, Failure};
use crate::media::inspect_files;
use crate::report::{EndReason, Event, Reporter};
use crate::signal::SignalError;

/// Runs a verb to its end. The last thing that scripts hear is the `ended` event, however it ends.
///
/// # Errors
/// [`Failure`] with the exit code and the sentence for people.
pub async fn run(cli: Cli) -> Result<(), Failure> {
    // The stdout of these belongs to the process that started them.
    match cli.command {
        Command::InspectFiles(paths) => {
            let _failures = crash::listen();
            return blocking(move || inspect_files(&paths, io::stdout())).await?.map_err(Failure::internal);
        }
        Command::BenchStudents => return bench::students().await,
        _ => {}
    }
    let room = match &cli.command {
        Command::Teach(teach) => Some(teach.room.clone()),
        Command::Watch(watch) => Some(watch.room.clone()),
        Command::Demo(_) => Some(demo::room()),
        Command::Serve(_) | Command::Rooms(_) | Command::Devices | Command::InspectFiles(_) => None,
        Command::Completions(_) | Command::Man(_) => None,
        Command::Bench(_) | Command::BenchStudents => None,
    };
    let reporter = Reporter::new(cli.output, cli.verbosity, room);
    let mut broken = crash::listen();
    let (output, command) = (cli.output, cli.command);
    // On the heap, and there until the end has been told: to drop it may wait for a thread that broke down.
    let mut verb = Box::pin(run_verb(command, output, &reporter));
    let ended = tokio::select! {
        ended = &mut verb => ended,
        Some(failure) = broken.recv() => Some(Err(failure)),
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

/// Runs a verb; why it ended, of those that run until something ends them.
async fn run_verb(command: Command, output: Output, reporter: &Reporter) -> Option<Result<EndReason, Failure>> {
    let ended = match command {
        Command::Demo(demo) => return Some(demo::run(demo, output, reporter).await),
        Command::Teach(teach) => {
            let stop = stop_by(teach.length);
            return Some(teach::run(teach, reporter, stop).await);
        }
        Command::Watch(watch) => {
            let stop = stop(watch.length);
            return Some(watch::run(watch, reporter, stop).await.map(|watched| watched.reason));
        }
        Command::Serve(serve) => return Some(serve::run(serve, reporter, stop(None)).await),
        Command::Rooms(rooms) => rooms::run(rooms, reporter).await,
        Command::Devices => devices::run(reporter).await,
        Command::Bench(bench) => bench::run(bench, reporter).await,
        Command::Completions(shell) => {
            manual::completions(shell, reporter);
            Ok(())
        }
        Command::Man(folder) => manual::man(&folder, reporter),
        Command::InspectFiles(_) | Command::BenchStudents => Ok(()),
    };
    ended.err().map(Err)
}

/// The cause of a command's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stop {
    /// SIGINT, as of Ctrl-C.
    Interrupt,
    /// Another signal that asks a process to end.
    Signal,
    /// The time that was given is over.
    Duration,
}

impl Stop {
    fn reason(self) -> EndReason {
        match self {
            Stop::Interrupt | Stop::Signal => EndReason::Interrupted,
            Stop::Duration => EndReason::Duration,
        }
    }
}

/// Completes when the process is asked to end, or after `length`.
async fn stop(length: Option<Duration>) -> EndReason {
    stop_by(length).await.reason()
}

/// The same, and tells how it was asked.
async fn stop_by(length: Option<Duration>) -> Stop {
    let asked = async {
        let kinds = (SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup());
        match (signal(kinds.0), signal(kinds.1), signal(kinds.2)) {
            (Ok(mut interrupt), Ok(mut terminate), Ok(mut hangup)) => {
                tokio::select! {
                    _ = interrupt.recv() => Stop::Interrupt,
                    _ = terminate.recv() => Stop::Signal,
                    // The terminal was closed.
                    _ = hangup.recv() => Stop::Signal,
                }
            }
            // Without handlers the signals end the process by themselves.
            _ => std::future::pending().await,
        }
    };
    tokio::select! {
        asked = asked => asked,
        () = sleep(length) => Stop::Duration,
    }
}

async fn sleep(length: Option<Duration>) {
    match length {
        Some(length) => tokio::time::sleep(length).await,
        None => std::future::pending().await,
    }
}

/// The exit code that a signalling error stands for.
fn signal_failure(error: SignalError) -> Failure {
    let exit = match &error {
        SignalError::Unreachable { .. } | SignalError::NotAServer { .. } => Exit::ServerUnreachable,
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
    crate::process::allow_many_files();
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

/// A future that never completes where there is nothing to wait for.
async fn or_never<T>(future: Option<impl Future<Output = T>>) -> T {
    match future {
        Some(future) => future.await,
        None => std::future::pending().await,
    }
}
