//! A network of a few machines, each a network namespace, whose cables a test can cut.
//!
//! Each [`Machine`] is a network namespace with one interface, `lan0`, on a switch that is a bridge in a further
//! namespace. [`Machine::cut`] drops all packets and leaves the interface up, as when an access point loses its uplink;
//! [`Machine::unplug`] takes the carrier away, as when somebody pulls the cable.

use std::os::fd::AsFd;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::{has_tools, run_tool};

/// The prefix of each namespace's name; the id of the process that made the namespace follows.
const PREFIX: &str = "classroom-";

/// The name of each machine's interface and of the bridge in the switch.
const INTERFACE: &str = "lan0";

/// The interface of a router on the side of the machine behind it.
const FAR: &str = "far0";

/// The trouble of a line, in both directions.
#[allow(dead_code, reason = "the bench of meetings has bad lines")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Line {
    /// Carries at most this; a packet waits for up to 200 ms.
    Carries { kbits: u32 },
    /// Loses packets at random.
    Loses { percent: u32 },
    /// Loses all UDP.
    BlocksUdp,
}

impl Line {
    /// The commands for an interface that sends into the line.
    fn commands(self, interface: &str) -> String {
        match self {
            Self::Carries { kbits } => {
                format!("tc qdisc add dev {interface} root tbf rate {kbits}kbit burst 4kb latency 200ms")
            }
            Self::Loses { percent } => {
                let below = u32::MAX / 100 * percent;
                // Classic BPF: for a random number (SKF_AD_RANDOM) below this one TC_ACT_SHOT, or else TC_ACT_OK.
                filter(interface, &format!("4,32 0 0 4294963256,53 0 1 {below},6 0 0 0,6 0 0 2"))
            }
            Self::BlocksUdp => {
                // Of IPv4 the protocol at byte 23, of IPv6 the next header at byte 20: TC_ACT_SHOT for 17.
                let code =
                    "9,40 0 0 12,21 0 2 2048,48 0 0 23,21 3 4 17,21 0 3 34525,48 0 0 20,21 0 1 17,6 0 0 2,6 0 0 0";
                filter(interface, code)
            }
        }
    }
}

/// The commands by which a program of classic BPF decides about each packet that an interface sends.
fn filter(interface: &str, code: &str) -> String {
    format!(
        "tc qdisc add dev {interface} clsact && \
         tc filter add dev {interface} egress bpf direct-action bytecode '{code}'"
    )
}

/// Whether this process may make network namespaces. If not, the test is skipped by name; where `$CI` is set it fails.
pub fn has_lan(test: &str) -> bool {
    if !has_tools(test, &["ip"]) {
        return false;
    }
    let name = format!("{PREFIX}{}-probe-{}", std::process::id(), next_number());
    if try_ip(&["netns", "add", &name]) {
        let works = try_ip(&["-netns", &name, "link", "add", INTERFACE, "type", "bridge"]);
        _ = try_ip(&["netns", "delete", &name]);
        if works {
            return true;
        }
    }
    assert!(std::env::var_os("CI").is_none(), "no network namespaces: run the tests as root, with CAP_NET_ADMIN");
    println!("skipped {test}: no network namespaces, they need root and the kernel's bridge and veth");
    false
}

/// A switch. Dropping removes its namespace.
pub struct Lan {
    switch: String,
    machines: u8,
}

impl Lan {
    /// A switch that no other test uses.
    #[track_caller]
    pub fn new() -> Self {
        sweep();
        let switch = format!("{PREFIX}{}-{}", std::process::id(), next_number());
        ip(&["netns", "add", &switch]);
        let lan = Self { switch, machines: 0 };
        // Without the spanning tree protocol a bridge forwards at once.
        ip(&["-netns", &lan.switch, "link", "add", INTERFACE, "type", "bridge", "stp_state", "0"]);
        ip(&["-netns", &lan.switch, "link", "set", INTERFACE, "up"]);
        lan
    }

    /// One more machine, with the next address of 10.13.0.0/24 and of fd13::/64.
    #[track_caller]
    pub fn machine(&mut self) -> Machine {
        self.machines += 1;
        let (number, switch) = (self.machines, self.switch.as_str());
        let machine = Machine {
            namespace: format!("{switch}-{number}"),
            switch: switch.to_owned(),
            port: format!("port{number}"),
            address: format!("10.13.0.{number}"),
            address_v6: format!("fd13::{number}"),
        };
        let (namespace, port) = (machine.namespace.as_str(), machine.port.as_str());
        ip(&["netns", "add", namespace]);
        let peer = ["peer", "name", port, "netns", switch];
        ip(&[&["-netns", namespace, "link", "add", INTERFACE, "type", "veth"][..], &peer].concat());
        ip(&["-netns", namespace, "address", "add", &format!("{}/24", machine.address), "dev", INTERFACE]);
        ip(&["-netns", namespace, "link", "set", "lo", "up"]);
        ip(&["-netns", namespace, "link", "set", INTERFACE, "up"]);
        let v6 = format!("{}/64", machine.address_v6());
        ip(&["-netns", namespace, "address", "add", &v6, "dev", INTERFACE, "nodad"]);
        // Browsers gather candidates on the interface of the default route, so there must be one. Nobody is at .254.
        ip(&["-netns", namespace, "route", "add", "default", "via", "10.13.0.254"]);
        machine.restore();
        machine.plug_in();
        machine
    }

    /// A router at the switch and a machine behind it, in 10.14.0.0/16. The link between the two has a small MTU, as a
    /// tunnel has, of which `others`, the machines with a route to it, know nothing. IPv6 needs 1280 (RFC 8200, 5).
    #[track_caller]
    pub fn machine_behind_tunnel(&mut self, mtu: u32, others: &[&Machine]) -> (Machine, Machine) {
        let router = self.machine();
        let number = self.machines;
        let machine = Machine {
            namespace: format!("{}-far", router.namespace),
            switch: router.namespace.clone(),
            port: FAR.to_owned(),
            address: format!("10.14.{number}.2"),
            address_v6: format!("fd14:{number}::2"),
        };
        let (near, far, has_v6) = (router.namespace.as_str(), machine.namespace.as_str(), mtu >= 1280);
        ip(&["netns", "add", far]);
        ip(&["-netns", far, "link", "add", INTERFACE, "type", "veth", "peer", "name", FAR, "netns", near]);
        for forwarding in ["net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding"] {
            ip(&["netns", "exec", near, "sh", "-c", &format!("echo 1 > /proc/sys/{forwarding}")]);
        }
        let (v4, v6) = (format!("10.14.{number}"), format!("fd14:{number}::"));
        for (namespace, interface, host) in [(near, FAR, 1), (far, INTERFACE, 2)] {
            ip(&["-netns", namespace, "link", "set", interface, "mtu", &mtu.to_string(), "up"]);
            ip(&["-netns", namespace, "address", "add", &format!("{v4}.{host}/24"), "dev", interface]);
            if has_v6 {
                ip(&["-netns", namespace, "address", "add", &format!("{v6}{host}/64"), "dev", interface, "nodad"]);
            }
        }
        ip(&["-netns", far, "link", "set", "lo", "up"]);
        ip(&["-netns", far, "route", "add", "default", "via", &format!("{v4}.1")]);
        if has_v6 {
            ip(&["-netns", far, "route", "add", "default", "via", &format!("{v6}1")]);
        }
        for other in others {
            let other = other.namespace.as_str();
            ip(&["-netns", other, "route", "add", &format!("{v4}.0/24"), "via", router.address()]);
            if has_v6 {
                ip(&["-netns", other, "route", "add", &format!("{v6}/64"), "via", router.address_v6()]);
            }
        }
        (router, machine)
    }
}

impl Drop for Lan {
    fn drop(&mut self) {
        remove(&self.switch);
    }
}

/// A machine at the switch. Dropping disconnects it; the namespace lives on until the last process in it ends.
pub struct Machine {
    namespace: String,
    switch: String,
    port: String,
    address: String,
    address_v6: String,
}

impl Machine {
    /// The IPv4 address of its interface.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The IPv6 address of its interface, a unique local one (RFC 4193).
    pub fn address_v6(&self) -> &str {
        &self.address_v6
    }

    /// The same command on this machine, with the same arguments and environment. [`Command`] does not tell its stdin,
    /// stdout and stderr, so the caller sets these again; stdin is empty until then.
    pub fn command(&self, command: &Command) -> Command {
        let mut here = Command::new("ip");
        here.args(["netns", "exec", &self.namespace]).arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => here.env(name, value),
                None => here.env_remove(name),
            };
        }
        if let Some(directory) = command.get_current_dir() {
            here.current_dir(directory);
        }
        here.stdin(Stdio::null());
        here
    }

    /// Runs `open` on a thread of this machine: a socket that it makes stays on the machine.
    #[track_caller]
    pub fn open<T: Send>(&self, open: impl FnOnce() -> T + Send) -> T {
        let namespace = std::fs::File::open(Path::new("/run/netns").join(&self.namespace)).unwrap();
        let enter = || {
            move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
            open()
        };
        std::thread::scope(|scope| scope.spawn(enter).join().unwrap())
    }

    /// Loses every packet in both directions, while the interface of the machine stays up.
    #[track_caller]
    pub fn cut(&self) {
        ip(&["-netns", &self.switch, "link", "set", &self.port, "nomaster"]);
    }

    /// The end of [`Machine::cut`].
    #[track_caller]
    pub fn restore(&self) {
        ip(&["-netns", &self.switch, "link", "set", &self.port, "master", INTERFACE]);
    }

    /// Replaces the trouble of the machine's line.
    #[allow(dead_code, reason = "as above")]
    pub fn set_line(&self, line: Option<Line>) {
        for (namespace, interface) in [(&self.namespace, INTERFACE), (&self.switch, self.port.as_str())] {
            for qdisc in ["root", "clsact"] {
                // Fails if there is none.
                _ = shell(namespace, &format!("tc qdisc delete dev {interface} {qdisc}"));
            }
            if let Some(commands) = line.map(|line| line.commands(interface)) {
                assert!(shell(namespace, &commands), "{commands}");
            }
        }
    }

    /// Pulls the cable: the interface of the machine has no carrier.
    #[track_caller]
    pub fn unplug(&self) {
        ip(&["-netns", &self.switch, "link", "set", &self.port, "down"]);
    }

    /// The end of [`Machine::unplug`].
    #[track_caller]
    pub fn plug_in(&self) {
        ip(&["-netns", &self.switch, "link", "set", &self.port, "up"]);
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        remove(&self.namespace);
    }
}

fn next_number() -> u32 {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    COUNT.fetch_add(1, Ordering::Relaxed)
}

#[track_caller]
fn ip(arguments: &[&str]) {
    run_tool(Command::new("ip").args(arguments));
}

fn try_ip(arguments: &[&str]) -> bool {
    let mut command = Command::new("ip");
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// Runs a script in a namespace.
fn shell(namespace: &str, script: &str) -> bool {
    let mut shell = Command::new("ip");
    shell.args(["netns", "exec", namespace, "sh", "-c", script]);
    shell.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    shell.status().is_ok_and(|status| status.success())
}

fn remove(namespace: &str) {
    // The next test sweeps away what could not be removed.
    _ = try_ip(&["netns", "delete", namespace]);
}

/// Removes the namespaces of test processes that were killed.
fn sweep() {
    let Ok(namespaces) = std::fs::read_dir("/run/netns") else { return };
    for name in namespaces.flatten().filter_map(|entry| entry.file_name().into_string().ok()) {
        let owner = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next());
        if owner.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
            remove(&name);
        }
    }
}
