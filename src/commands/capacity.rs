//! The parts of this computer that limit the size of a class: its links, its cores and its memory.

use std::fs;
use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::path::Path;

use crate::doctor::{Capacity, Link, LinkKind};
use crate::rtp::{Encoding, Tier, Track};

/// The capacity of this computer.
pub(super) fn capacity() -> Capacity {
    let cores = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    Capacity { links: links(), cores, memory: memory() }
}

/// A sentence about the number of students who get the best of these encodings, with their bits per second, from this
/// computer.
pub(super) fn class_size(rates: &[(Encoding, u32)], fps: u32) -> String {
    let is_best_video = |encoding: &Encoding| encoding.tier == Tier::Full && encoding.track != Track::Audio;
    let bits: u32 = rates.iter().filter(|(encoding, _)| is_best_video(encoding)).map(|(_, bits)| bits).sum();
    match capacity().students(bits.into(), fps.into()) {
        Some(students) => format!("this computer sends to {students}, at {:.1} Mbit/s each", f64::from(bits) / 1e6),
        None => "this computer sends to hardly one student: lower --bitrate and --size, or use another one".to_owned(),
    }
}

/// The interfaces that are up and have addresses that others reach.
fn links() -> Vec<Link> {
    let mut links: Vec<Link> = Vec::new();
    for interface in if_addrs::get_if_addrs().unwrap_or_default() {
        let ip = interface.ip();
        if !is_reachable(ip) {
            continue;
        }
        match links.iter_mut().find(|link| link.name == interface.name) {
            Some(link) => link.addresses.push(ip),
            None => links.push(link(interface.name, ip)),
        }
    }
    links
}

fn is_reachable(ip: IpAddr) -> bool {
    let is_link_local = match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    };
    !ip.is_loopback() && !is_link_local
}

/// The facts of an interface, by the kernel's files (Documentation/ABI/testing/sysfs-class-net).
fn link(name: String, ip: IpAddr) -> Link {
    let folder = Path::new("/sys/class/net").join(&name);
    let kind = if folder.join("wireless").exists() || folder.join("phy80211").exists() {
        LinkKind::WiFi
    } else if folder.join("device").exists() {
        LinkKind::Wire
    } else {
        LinkKind::Virtual
    };
    // The speed of a link that does not know its speed is -1, or the file can't be read.
    let number = |file: &str| fs::read_to_string(folder.join(file)).ok()?.trim().parse::<u64>().ok();
    let mtu = number("mtu").and_then(|mtu| u32::try_from(mtu).ok());
    Link { name, kind, addresses: vec![ip], mbps: number("speed").filter(|mbps| *mbps > 0), mtu }
}

/// The memory of this computer in bytes.
fn memory() -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kb: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kb * 1024)
}
