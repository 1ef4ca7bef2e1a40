//! The links of this computer: how students reach it, and how many of them it can send to.

use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::time::Duration;

use super::Check;
use crate::exit::Exit;
use crate::plan::{Bottleneck, Costs, Lecture, Machine, plan};

/// The video of the default encoding, in bits per second, and its pictures per second.
const VIDEO: (f64, f64) = (2.5e6, 30.0);

/// Below this speed, in Mbit/s, a wire is old or broken.
const SLOW_WIRE: u64 = 1_000;

/// The smallest MTU with which a packet of media fits without fragments: IPv6 requires it of each link.
const MIN_MTU: u32 = 1_280;

/// A network interface that is up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// The name of the interface, such as `eth0`.
    pub name: String,
    /// The kind.
    pub kind: LinkKind,
    /// Its addresses, loopback and link-local ones excluded.
    pub addresses: Vec<IpAddr>,
    /// The speed in Mbit/s, where the driver tells.
    pub mbps: Option<u64>,
    /// The longest IP packet in bytes, where the kernel tells.
    pub mtu: Option<u32>,
}

/// The kind of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkKind {
    /// A network card with a cable.
    Wire,
    /// A network card without one.
    WiFi,
    /// A bridge, a VPN or the network of containers: no card of its own.
    Virtual,
}

/// The addresses by which others reach this computer at `port`.
pub fn addresses(links: &[Link], port: u16) -> Check {
    let urls: Vec<String> = links
        .iter()
        .flat_map(|link| link.addresses.iter().map(move |ip| (link, ip)))
        .map(|(link, ip)| format!("{} ({})", std::net::SocketAddr::new(*ip, port), link.name))
        .collect();
    if urls.is_empty() {
        let next = "plug in a cable or join a Wi-Fi: until then only this computer can watch";
        return Check::problem("addresses", Exit::ServerUnreachable, "this computer is in no network", next);
    }
    Check::ok("addresses", format!("students reach {}", urls.join(", ")))
}

/// A check for each card: its kind, its speed and its MTU.
pub fn speeds(links: &[Link]) -> Vec<Check> {
    let cards = links.iter().filter(|link| link.kind != LinkKind::Virtual && !link.addresses.is_empty());
    cards
        .map(|link| {
            let name = &link.name;
            if let Some(mtu) = link.mtu.filter(|mtu| *mtu < MIN_MTU) {
                let next = format!("raise it: sudo ip link set {name} mtu 1500");
                return Check::problem("link", Exit::MediaLost, format!("{name} has an MTU of {mtu} bytes"), next);
            }
            match (link.kind, link.mbps) {
                (LinkKind::WiFi, _) => Check::advice(
                    "link",
                    format!("{name} is a Wi-Fi, which all of the class share with this computer"),
                    "teach by cable: over Wi-Fi each packet for a student crosses the air twice",
                ),
                (_, None) => Check::ok("link", format!("{name} is a wire, of a speed that its driver does not tell")),
                (_, Some(mbps)) if mbps < SLOW_WIRE => Check::advice(
                    "link",
                    format!("{name} is a wire with {mbps} Mbit/s"),
                    "another cable or port of the switch may give 1,000",
                ),
                (_, Some(mbps)) => Check::ok("link", format!("{name} is a wire with {mbps} Mbit/s")),
            }
        })
        .collect()
}

/// The parts of a computer that limit the size of a class.
#[derive(Debug, Clone)]
pub struct Capacity {
    /// Its links.
    pub links: Vec<Link>,
    /// Its cores.
    pub cores: NonZeroUsize,
    /// Its memory in bytes, if that is known.
    pub memory: Option<u64>,
}

impl Capacity {
    /// The number of students who get a video of `bits` per second, with `fps` pictures, by the fastest link and by the
    /// cores, as `up to 340 students by the link eth0, 1900 by its cores`. `None` if the computer carries hardly one.
    pub fn students(&self, bits: f64, fps: f64) -> Option<String> {
        let link = self.links.iter().filter(|link| link.kind != LinkKind::Virtual).max_by_key(|link| link.mbps);
        let uplink = link.and_then(|link| link.mbps).map(|mbps| mbps as f64 * 1e6);
        let lecture = Lecture { students: 1, video_bits: bits, fps, joining: Duration::from_secs(60) };
        let machine = Machine {
            // An unknown link limits nothing here; the sentence says so.
            uplink: uplink.unwrap_or(1e12),
            cores: self.cores.get() as f64,
            memory: self.memory.map_or(4e9, |bytes| bytes as f64),
        };
        let plan = plan(&lecture, &machine, &Costs::default()).ok()?;
        let of = |what| plan.origin.by.iter().find(|(of, _)| *of == what).map_or(0, |(_, students)| *students);
        let by_link = match link.zip(uplink) {
            Some((link, _)) => format!("up to {} students by the link {}", of(Bottleneck::Uplink), link.name),
            None => "as many students as its link of unknown speed carries".to_owned(),
        };
        Some(format!("{by_link}, {} by its cores", of(Bottleneck::Cpu).min(of(Bottleneck::Memory))))
    }

    /// The check of the size of a class with the default encoding.
    pub fn check(&self) -> Check {
        match self.students(VIDEO.0, VIDEO.1) {
            Some(students) => {
                let advice = "at 2.5 Mbit/s each (classroom plan --measure tells more)";
                Check::ok("class", format!("{students}, {advice}"))
            }
            None => {
                let next = "teach with a lower --bitrate and --size, or on another computer";
                Check::advice("class", "this computer carries hardly one student", next)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    fn link(kind: LinkKind, mbps: Option<u64>) -> Link {
        let addresses = vec!["192.168.1.5".parse().unwrap()];
        Link { name: "eth0".into(), kind, addresses, mbps, mtu: Some(1500) }
    }

    #[test]
    fn a_computer_without_a_network_is_a_problem() {
        let found = addresses(&[link(LinkKind::Wire, None)], 18_080);
        assert_eq!((found.verdict, &*found.found), (Verdict::Ok, "students reach 192.168.1.5:18080 (eth0)"));
        let alone = addresses(&[Link { addresses: vec![], ..link(LinkKind::Wire, None) }], 18_080);
        assert_eq!((alone.verdict, alone.exit), (Verdict::Problem, Exit::ServerUnreachable));
    }

    #[test]
    fn a_card_is_judged_by_its_kind_its_speed_and_its_mtu() {
        let verdict = |link: Link| speeds(&[link]).pop().map(|check| check.verdict);
        assert_eq!(verdict(link(LinkKind::Wire, Some(1_000))), Some(Verdict::Ok));
        assert_eq!(verdict(link(LinkKind::Wire, Some(100))), Some(Verdict::Advice));
        assert_eq!(verdict(link(LinkKind::Wire, None)), Some(Verdict::Ok));
        assert_eq!(verdict(link(LinkKind::WiFi, Some(866))), Some(Verdict::Advice));
        assert_eq!(verdict(link(LinkKind::Virtual, Some(10))), None);
        let narrow = Link { mtu: Some(576), ..link(LinkKind::Wire, Some(1_000)) };
        assert_eq!(verdict(narrow), Some(Verdict::Problem));
    }

    #[test]
    fn the_size_of_a_class_follows_from_link_and_cores() {
        let capacity = |mbps, bits| {
            let links = vec![link(LinkKind::Wire, mbps)];
            let found = Capacity { links, cores: NonZeroUsize::new(2).unwrap(), memory: None };
            found.students(bits, VIDEO.1)
        };
        let found = capacity(Some(1_000), VIDEO.0).unwrap();
        let numbers: Vec<u64> = found
            .split(|c: char| !c.is_ascii_digit())
            .filter_map(|word| word.parse().ok())
            .filter(|n| *n > 9)
            .collect();
        // 750 Mbit/s of a stream of some 2.8 Mbit/s; 1.15 cores of some 340 packets/s at 4 us each.
        assert!((240..300).contains(&numbers[0]) && (700..1_000).contains(&numbers[1]), "{found}");
        let unknown = capacity(None, VIDEO.0).unwrap();
        assert!(unknown.contains("unknown"), "{unknown}");
        assert_eq!(capacity(Some(1), VIDEO.0), None);
    }
}
