//! The way of a student to a server, step by step: its name, its port, TLS, its clock, the room, the media.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use jiff::Timestamp;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use super::filled;
use crate::cli::{ChatInput, Member, ServerTrust, Sink, Watch};
use crate::commands::blocking;
use crate::commands::trust::ClientTrust;
use crate::commands::watch;
use crate::doctor::{self, Attempt, Check, Section};
use crate::exit::{Exit, Failure};
use crate::http::client::{self, Address, ClientError};
use crate::media;
use crate::report::{EndReason, Reporter};
use crate::room::{RoomState, RoomSummary};
use crate::rtp::Latency;
use crate::signal::{ServerUrl, discover};

/// How long a server may take to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// How long to look for a room in the LAN.
const DISCOVER_FOR: Duration = Duration::from_millis(2_500);

/// How long the lecture is watched.
const WATCH_FOR: Duration = Duration::from_secs(8);

/// All checks of a student.
pub(super) async fn student(
    server: Option<ServerUrl>,
    trust: &ServerTrust,
    member: Option<Member>,
) -> Result<Vec<Section>, Failure> {
    let trust = ClientTrust::new(trust)?;
    let (server, mut way) = match (server, &member) {
        (Some(server), _) => (Some(server), Vec::new()),
        (None, Some(member)) => find(member).await,
        (None, None) => (None, Vec::new()),
    };
    let mut lecture = Vec::new();
    if let Some(server) = &server {
        let (checks, rooms) = reach(server, &trust).await;
        way.extend(checks);
        if let (Some(rooms), Some(mut member)) = (rooms, member) {
            let (check, is_live) = room(&rooms, &member);
            lecture.push(check);
            if is_live {
                member.server = Some(server.clone());
                lecture.extend(doctor::watching(&attempt(member).await));
            }
        }
    }
    Ok(filled([
        Section { title: "server", checks: way },
        Section { title: "lecture", checks: lecture },
        Section { title: "to watch", checks: outputs().await? },
    ]))
}

/// Looks for the room as `watch` does.
async fn find(member: &Member) -> (Option<ServerUrl>, Vec<Check>) {
    let next = "name it: --server ws://TEACHER:18080";
    match discover(Some(&member.room), None, DISCOVER_FOR).await {
        Ok(found) => match found.into_iter().next() {
            Some(found) => {
                let check = Check::ok("discovery", format!("{} announces room {}", found.url, member.room));
                (Some(found.url), vec![check])
            }
            None => {
                let found = format!("nobody announces room {} in this network (DNS-SD)", member.room);
                (None, vec![Check::problem("discovery", Exit::ServerUnreachable, found, next)])
            }
        },
        Err(error) => {
            let found = format!("no DNS-SD here: {error}");
            (None, vec![Check::problem("discovery", Exit::ServerUnreachable, found, next)])
        }
    }
}

/// The way to the list of rooms. Each step needs the one before.
async fn reach(server: &ServerUrl, trust: &ClientTrust) -> (Vec<Check>, Option<Vec<RoomSummary>>) {
    let mut checks = Vec::new();
    let addresses: Vec<SocketAddr> = match tokio::net::lookup_host((server.host(), server.port())).await {
        Ok(addresses) => addresses.collect(),
        Err(error) => {
            let found = format!("{} has no address: {error}", server.host());
            let next = "is the name right? Try the address that the teacher's terminal prints";
            checks.push(Check::problem("name", Exit::ServerUnreachable, found, next));
            return (checks, None);
        }
    };
    let words: Vec<String> = addresses.iter().map(|address| address.ip().to_string()).collect();
    checks.push(Check::ok("name", format!("{} is {}", server.host(), words.join(", "))));
    match connect(&addresses).await {
        Ok((address, took)) => {
            checks.push(Check::ok("TCP", format!("{address} accepts after {:.0} ms", took.as_secs_f64() * 1e3)));
        }
        Err((address, error)) => {
            checks.push(no_connection(address, &error));
            return (checks, None);
        }
    }
    let address = Address::new(server.host(), server.port(), server.uses_tls().then(|| trust.of_named(server)));
    let rooms = match client::rooms(&address).await {
        Ok(rooms) => rooms,
        Err(error) => {
            let next = match error {
                ClientError::Tls { .. } => "the sentence above says how to trust it",
                ClientError::Foreign { .. } => "another program has this port: compare with the teacher's terminal",
                ClientError::Unreachable { .. } => "is the server overloaded? Try again",
            };
            checks.push(Check::problem("server", Exit::ServerUnreachable, error.to_string(), next));
            return (checks, None);
        }
    };
    let kind = if server.uses_tls() { "a classroom server, by TLS" } else { "a classroom server, without TLS" };
    let rooms_here = if rooms.len() == 1 { "1 room".to_owned() } else { format!("{} rooms", rooms.len()) };
    checks.push(Check::ok("server", format!("{kind}, with {rooms_here}")));
    if let Ok(Some(time)) = client::clock(&address).await {
        let ahead = time.as_second() - Timestamp::now().as_second();
        checks.push(doctor::difference_of_clocks(ahead));
    }
    (checks, Some(rooms))
}

/// Connects to the first address that accepts. The error is that of the last address.
async fn connect(addresses: &[SocketAddr]) -> Result<(SocketAddr, Duration), (SocketAddr, io::Error)> {
    let nowhere = SocketAddr::from(([0, 0, 0, 0], 0));
    let mut failed = (nowhere, io::Error::from(io::ErrorKind::AddrNotAvailable));
    for address in addresses {
        let begun = Instant::now();
        match timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await {
            Ok(Ok(_)) => return Ok((*address, begun.elapsed())),
            Ok(Err(error)) => failed = (*address, error),
            Err(_) => failed = (*address, io::Error::from(io::ErrorKind::TimedOut)),
        }
    }
    Err(failed)
}

fn no_connection(address: SocketAddr, error: &io::Error) -> Check {
    let port = address.port();
    let (found, next) = match error.kind() {
        io::ErrorKind::ConnectionRefused => (
            format!("{address} refuses: no program listens there"),
            "is `teach` or `serve` running on that computer? It prints its port at the start".to_owned(),
        ),
        io::ErrorKind::TimedOut => (
            format!("{address} does not answer"),
            format!("is it the right address? A firewall there may need: sudo ufw allow {port}"),
        ),
        io::ErrorKind::NetworkUnreachable | io::ErrorKind::HostUnreachable => (
            format!("{address} is not reachable from this network"),
            "is this computer in the same network as the teacher's? Guest Wi-Fis often separate their computers"
                .to_owned(),
        ),
        _ => (format!("{address}: {error}"), "check the address and the port".to_owned()),
    };
    Check::problem("TCP", Exit::ServerUnreachable, found, next)
}

/// The room as the list has it, and whether somebody teaches there.
fn room(rooms: &[RoomSummary], member: &Member) -> (Check, bool) {
    let name = "room";
    let Some(room) = rooms.iter().find(|room| room.room_id == member.room) else {
        let others: Vec<String> = rooms.iter().take(10).map(|room| room.room_id.to_string()).collect();
        let others = if others.is_empty() { "none".to_owned() } else { others.join(", ") };
        let found = format!("there is no room {} (there are: {others})", member.room);
        let next = "the lecture has not begun, or the room is another one";
        return (Check::problem(name, Exit::NobodyTaught, found, next), false);
    };
    if room.is_locked {
        let found = format!("room {} is locked", member.room);
        return (Check::problem(name, Exit::Refused, found, "ask the teacher to type /unlock"), false);
    }
    if room.state != RoomState::Live {
        let found = format!("nobody teaches in room {}", member.room);
        return (Check::problem(name, Exit::NobodyTaught, found, "start the lecture first"), false);
    }
    if room.has_code && member.code.is_none() && member.token.is_none() {
        let found = format!("room {} has a join code", member.room);
        return (Check::problem(name, Exit::Refused, found, "add --code with the code of the teacher"), false);
    }
    let teacher = room.publisher.as_ref().map_or_else(String::new, |user| format!(" by {}", user.nickname));
    (Check::ok(name, format!("room {} is taught{teacher}, {} watch", member.room, room.watching)), true)
}

/// Watches for some seconds.
async fn attempt(member: Member) -> Attempt {
    let watch = Watch {
        member,
        sink: Sink::Null,
        chat: ChatInput::Never,
        latency: Latency::AUTO,
        length: None,
        retry: None,
        expect: Vec::new(),
        speaking: None,
        janus: None,
    };
    let collecting = Reporter::collecting();
    let stop = async {
        tokio::time::sleep(WATCH_FOR).await;
        EndReason::Duration
    };
    let watched = watch::run(watch, &collecting, stop).await;
    let result = watched.map(|watched| watched.run).map_err(|failure| (failure.exit, failure.to_string()));
    Attempt { result, events: collecting.collected() }
}

/// How this computer shows a lecture.
async fn outputs() -> Result<Vec<Check>, Failure> {
    let devices = blocking(media::devices).await??;
    let window = match &devices.window {
        Ok(element) => Check::ok("window", *element),
        Err(error) => {
            let next = "use a browser, or record with --sink lecture.mkv";
            Check::advice("window", format!("none: {}", super::cause(error.clone())), next)
        }
    };
    let sound = match devices.loudspeaker {
        Some(element) => Check::ok("loudspeaker", element),
        None => Check::advice("loudspeaker", "none", "plug in headphones; a sound server must run for this user"),
    };
    Ok(vec![window, sound])
}
