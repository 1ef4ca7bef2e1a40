//! The facts about this computer: links, ports, the firewall, buffers, the clock, devices, DNS-SD.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use rand::distr::{Alphanumeric, SampleString};

use super::{cause, filled};
use crate::commands::blocking;
use crate::commands::capacity::capacity;
use crate::doctor::{self, Check, EncoderSpeed, Firewalls, Section};
use crate::exit::Failure;
use crate::http::client::{self, Address, ClientError};
use crate::id::{Nickname, RoomId};
use crate::media;
use crate::sfu::KERNEL_BUFFER;
use crate::signal::{Announced, announce, discover};

/// How long to look for the own announcement.
const DISCOVER_FOR: Duration = Duration::from_millis(2_500);

/// The kernel's limits of UDP buffers, in bytes.
const BUFFER_LIMITS: [&str; 2] = ["/proc/sys/net/core/wmem_max", "/proc/sys/net/core/rmem_max"];

/// All checks before a lecture.
pub(super) async fn teacher(listen: SocketAddr, fixes: bool) -> Result<Vec<Section>, Failure> {
    if fixes {
        raise_buffers()?;
    }
    let samples = blocking(media::device_samples).await??;
    let capacity = capacity();
    let mut network = vec![doctor::addresses(&capacity.links, listen.port())];
    network.extend(doctor::speeds(&capacity.links));
    network.extend(ports(listen).await);
    network.extend([doctor::firewall(firewalls(), listen.port()), discovery(listen.port()).await, buffers()]);
    let speeds = samples
        .encoder
        .iter()
        .flat_map(|(label, speeds)| speeds.iter().map(|(size, each)| EncoderSpeed { label, size: *size, each: *each }));
    let mut media = vec![
        doctor::encoder(&speeds.collect::<Vec<_>>()),
        doctor::sources(samples.screens, samples.cameras.len(), samples.microphones),
    ];
    let cameras = samples.cameras.into_iter();
    media.extend(cameras.map(|camera| doctor::camera(&camera.label, camera.pictures.map_err(cause))));
    media.extend(samples.microphone.map(|(label, found)| doctor::microphone(&label, found.map_err(cause))));
    let is_synchronised = Path::new("/run/systemd/timesync/synchronized").exists();
    let computer = vec![capacity.check(), doctor::clock(is_synchronised)];
    Ok(filled([
        Section { title: "to teach", checks: media },
        Section { title: "network", checks: network },
        Section { title: "computer", checks: computer },
    ]))
}

/// The server's TCP port, and the UDP port of the media.
async fn ports(listen: SocketAddr) -> [Check; 2] {
    let kind = |bound: io::Result<()>| bound.map_err(|error| error.kind());
    let tcp = kind(crate::http::bind(listen).map(drop));
    let udp = kind(std::net::UdpSocket::bind(listen).map(drop));
    let is_ours = match tcp {
        Err(io::ErrorKind::AddrInUse) => {
            let host = if listen.ip().is_unspecified() { "127.0.0.1".to_owned() } else { listen.ip().to_string() };
            // A server with TLS sends plain requests to https.
            let rooms = client::rooms(&Address::new(&host, listen.port(), None)).await;
            matches!(rooms, Ok(_) | Err(ClientError::Tls { .. }))
        }
        _ => false,
    };
    [doctor::port("TCP", listen.port(), tcp, is_ours), doctor::port("UDP", listen.port(), udp, is_ours)]
}

fn firewalls() -> Firewalls {
    let ufw = fs::read_to_string("/etc/ufw/ufw.conf").unwrap_or_default();
    Firewalls {
        ufw: ufw.lines().any(|line| line.trim().eq_ignore_ascii_case("enabled=yes")),
        firewalld: Path::new("/run/firewalld").exists(),
    }
}

/// Whether students of `watch` find a lecture by themselves: announces one, and looks for it.
async fn discovery(port: u16) -> Check {
    let name = "discovery";
    let next = "students give the address: watch --server ws://THIS:PORT; the browser needs it anyway";
    let id = format!("doctor-{}", Alphanumeric.sample_string(&mut rand::rng(), 12));
    let Ok(room) = id.parse::<RoomId>() else { return Check::unknown(name, "not tried", next) };
    let announced = Announced { room: room.clone(), port, nickname: Nickname::from("doctor"), identity: None };
    let announcement = match announce(&announced) {
        Ok(announcement) => announcement,
        Err(error) => return Check::advice(name, format!("no DNS-SD: {error}"), next),
    };
    let found = discover(Some(&room), None, DISCOVER_FOR).await;
    announcement.stop().await;
    match found {
        Ok(found) if !found.is_empty() => Check::ok(name, "this computer hears its own announcement (DNS-SD)"),
        Ok(_) => Check::advice(name, "this computer does not hear its own announcement (DNS-SD, UDP 5353)", next),
        Err(error) => Check::advice(name, format!("no DNS-SD: {error}"), next),
    }
}

fn buffers() -> Check {
    let [send, receive] = BUFFER_LIMITS.map(|file| fs::read_to_string(file).ok()?.trim().parse().ok());
    doctor::buffers(send, receive, KERNEL_BUFFER as u64)
}

/// Raises the limits that are lower than the media port asks for.
fn raise_buffers() -> Result<(), Failure> {
    for file in BUFFER_LIMITS {
        let limit: Option<usize> = fs::read_to_string(file).ok().and_then(|limit| limit.trim().parse().ok());
        if limit.is_none_or(|limit| limit < KERNEL_BUFFER) {
            fs::write(file, KERNEL_BUFFER.to_string()).map_err(|error| {
                Failure::usage(anyhow::anyhow!(
                    "--fix can't write {file}: {error}; run it as root: sudo classroom doctor --fix"
                ))
            })?;
        }
    }
    Ok(())
}
