//! The verbs. A verb connects the adapters and decides when to end; code that several verbs share has its own file.

mod access;
mod announcement;
mod bench;
mod breakouts;
mod call;
mod capacity;
mod chat_commands;
mod client_network;
mod conference;
mod config;
mod demo;
mod devices;
mod doctor;
mod edge_meter;
mod edges;
mod hosted_source;
mod ice_servers;
mod ice_tcp;
mod janus;
mod lecture_orders;
mod lecture_talk;
mod manual;
mod media_meter;
mod meet;
mod meeting_orders;
mod membership;
mod metrics;
mod negotiation;
mod own_capture;
mod own_turn;
mod people;
mod plan;
mod room_link;
mod room_orders;
mod rooms;
mod serve;
mod server_connection;
mod sink;
mod source_monitor;
mod speaker_views;
mod stage;
mod stage_orders;
mod stdin;
mod stop;
mod student_talk;
mod teach;
mod token;
mod traces;
mod trust;
mod uplink_connection;
mod waiting_offers;
mod watch;
mod whip;
mod whip_out;

use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use self::stop::{fatal_assertions, stop, stop_cause};
use crate::cli::{Cli, Command, Output};
use crate::exit::{Exit, Failure};
use crate::media::{draw_slides, inspect_files};
use crate::process;
use crate::report::{EndReason, Event, Reporter};
use crate::signal::SignalError;

/// Runs a verb to its end. The last event is always `ended`, except for verbs that print no events.
///
/// # Errors
/// [`Failure`] with the exit code and the sentence for people.
pub async fn run(cli: Cli) -> Result<(), Failure> {
    // The parent process reads the stdout of these verbs.
    match cli.command {
        Command::InspectFiles(paths) => {
            let _failures = fatal_assertions();
            return blocking(move || inspect_files(&paths, io::stdout())).await?.map_err(Failure::internal);
        }
        Command::DrawSlides(path) => {
            let draw = move || draw_slides(&path, io::stdin().lock(), io::stdout());
            return blocking(draw).await?.map_err(Failure::internal);
        }
        Command::BenchStudents => return bench::students().await,
        _ => {}
    }
    let room = match &cli.command {
        Command::Teach(teach) => Some(teach.room.clone()),
        Command::Watch(watch) => Some(watch.member.room.clone()),
        Command::Call(call) => Some(call.member.room.clone()),
        Command::Meet(meet) => Some(meet.member.room.clone()),
        Command::Demo(_) => Some(demo::room()),
        Command::Serve(_) | Command::Rooms(_) | Command::Devices | Command::Doctor(_) | Command::InspectFiles(_) => {
            None
        }
        Command::Config(_) | Command::Completions(_) | Command::Man(_) | Command::Token(_) => None,
        Command::Bench(_) | Command::BenchStudents | Command::DrawSlides(_) | Command::Plan(_) => None,
    };
    let reporter = Reporter::new(cli.output, cli.verbosity, room);
    let mut fatal = fatal_assertions();
    let (output, command) = (cli.output, cli.command);
    // The verb must live until `ended` is reported: dropping it may wait for a thread that has failed.
    let mut verb = Box::pin(run_verb(command, output, &reporter));
    let ended = tokio::select! {
        ended = &mut verb => ended,
        Some(failure) = fatal.recv() => Some(Err(failure)),
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

/// Runs a verb. Returns the reason of the end for verbs that run until something ends them, and every failure.
async fn run_verb(command: Command, output: Output, reporter: &Reporter) -> Option<Result<EndReason, Failure>> {
    let ended = match command {
        Command::Demo(demo) => return Some(demo::run(demo, output, reporter).await),
        Command::Teach(teach) if teach.lecture().is_some_and(|lecture| lecture.dry_run) => {
            teach::dry_run(&teach, reporter).await
        }
        Command::Teach(teach) => {
            // The time of `--for` begins with the lecture.
            return Some(Box::pin(teach::run(*teach, reporter, stop_cause())).await);
        }
        Command::Watch(watch) => {
            let stop = stop(watch.length);
            return Some(watch::run(watch, reporter, stop).await.map(|watched| watched.reason));
        }
        Command::Call(call) => {
            let stop = stop(call.output.length);
            return Some(Box::pin(call::run(*call, reporter, stop)).await);
        }
        Command::Meet(meet) => {
            let stop = stop(meet.output.length);
            return Some(meet::run(*meet, reporter, stop).await);
        }
        Command::Serve(serve) if serve.print_mediamtx => {
            reporter.result(&serve::mediamtx_configuration(&serve));
            Ok(())
        }
        Command::Serve(serve) => return Some(serve::run(serve, reporter, stop(None)).await),
        Command::Token(token) => token::run(token, reporter),
        Command::Rooms(rooms) => rooms::run(rooms, reporter).await,
        Command::Devices => devices::run(reporter).await,
        Command::Doctor(doctor) => doctor::run(doctor, reporter).await,
        Command::Bench(bench) => bench::run(bench, reporter).await,
        Command::Plan(plan) => plan::run(plan, reporter).await,
        Command::Config(shown) => {
            config::run(&shown, reporter);
            Ok(())
        }
        Command::Completions(shell) => {
            manual::completions(shell, reporter);
            Ok(())
        }
        Command::Man(folder) => manual::man(&folder, reporter),
        Command::InspectFiles(_) | Command::DrawSlides(_) | Command::BenchStudents => Ok(()),
    };
    ended.err().map(Err)
}

/// Returns a signalling error its exit code.
fn signal_failure(error: SignalError) -> Failure {
    let exit = match &error {
        SignalError::Unreachable { .. } | SignalError::NotAServer { .. } | SignalError::Tls { .. } => {
            Exit::ServerUnreachable
        }
        SignalError::Refused { .. } => Exit::Refused,
    };
    Failure::new(exit, error)
}

/// Runs blocking work on a thread of its own.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Failure> {
    tokio::task::spawn_blocking(work).await.map_err(Failure::internal)
}

/// Binds the signalling server's TCP port.
fn listen(address: SocketAddr) -> Result<tokio::net::TcpListener, Failure> {
    process::allow_many_files();
    crate::http::bind(address).map_err(|cause| {
        let advice = match cause.kind() {
            io::ErrorKind::AddrInUse => {
                "another server or teacher uses this port: join it with --server, or choose another port with --listen"
            }
            io::ErrorKind::PermissionDenied => "choose a port of 1024 or above with --listen",
            _ => "choose another address with --listen",
        };
        Failure::usage(anyhow::anyhow!("can't listen on {address}: {cause}; {advice}"))
    })
}

/// The address by which other computers reach a server that listens on `ip`: for the unspecified address the first
/// IPv4 address of this computer.
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

/// Waits for the future. Without a future, waits for ever.
async fn or_never<T>(future: Option<impl Future<Output = T>>) -> T {
    match future {
        Some(future) => future.await,
        None => std::future::pending().await,
    }
}
