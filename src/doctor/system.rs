//! The system around a lecture: ports, firewalls, buffers, clocks.

use std::io;
use std::time::Duration;

use super::Check;
use crate::exit::Exit;

/// Tokens and TURN credentials have ends, which a clock that differs by more than this moves.
const MAX_DIFFERENCE: Duration = Duration::from_secs(5);

/// A port that was bound for a moment, or why it can't be; `is_ours`: a server of ours answers there.
pub fn port(protocol: &'static str, number: u16, bound: Result<(), io::ErrorKind>, is_ours: bool) -> Check {
    let (name, port) = ("port", format!("{protocol} port {number}"));
    match bound {
        Ok(()) => Check::ok(name, format!("{port} is free")),
        Err(io::ErrorKind::AddrInUse) if is_ours => Check::problem(
            name,
            Exit::Usage,
            format!("{port} belongs to a classroom server on this computer"),
            format!(
                "end that one; or teach at it, with --server ws://127.0.0.1:{number}; or choose a port by --listen"
            ),
        ),
        Err(io::ErrorKind::AddrInUse) => Check::problem(
            name,
            Exit::Usage,
            format!("{port} is in use by another program"),
            format!("`sudo ss -lntup | grep :{number}` names the program; or teach with --listen 0.0.0.0:18090"),
        ),
        Err(io::ErrorKind::PermissionDenied) => {
            Check::problem(name, Exit::Usage, format!("{port} is for root alone"), "choose one of 1024 or above")
        }
        Err(cause) => {
            Check::problem(name, Exit::Usage, format!("{port}: {cause}"), "choose another address by --listen")
        }
    }
}

/// The firewalls that a desktop has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Firewalls {
    /// ufw is installed and on.
    pub ufw: bool,
    /// firewalld runs.
    pub firewalld: bool,
}

/// Whether students get through. Only another computer can tell for sure.
pub fn firewall(found: Firewalls, port: u16) -> Check {
    let name = "firewall";
    match found {
        Firewalls { ufw: true, .. } => {
            Check::advice(name, "ufw is on", format!("if students can't reach this computer: sudo ufw allow {port}"))
        }
        Firewalls { firewalld: true, .. } => Check::advice(
            name,
            "firewalld is on",
            format!(
                "if students can't reach this computer: sudo firewall-cmd --permanent --add-port={port}/tcp \
                 --add-port={port}/udp && sudo firewall-cmd --reload"
            ),
        ),
        Firewalls { ufw: false, firewalld: false } => Check::unknown(
            name,
            "neither ufw nor firewalld is on; only another computer can tell whether it gets through",
            "while `teach` runs here, run on a student's computer: classroom doctor --room ID --server ws://THIS:PORT",
        ),
    }
}

/// The socket buffers that the kernel grants, in bytes, and those that the media port asks for.
pub fn buffers(send: Option<u64>, receive: Option<u64>, wanted: u64) -> Check {
    let name = "UDP buffers";
    let (Some(send), Some(receive)) = (send, receive) else {
        return Check::unknown(name, "the kernel does not tell", "see net.core.wmem_max in sysctl(8)");
    };
    if send.min(receive) >= wanted {
        return Check::ok(name, format!("{} kB", send.min(receive) / 1024));
    }
    Check::advice(
        name,
        format!(
            "{} kB of {} kB: a key frame to hundreds of students may not fit",
            send.min(receive) / 1024,
            wanted / 1024
        ),
        format!("for large classes, as root: classroom doctor --fix, or sysctl net.core.{{wmem,rmem}}_max={wanted}"),
    )
}

/// Whether something keeps the clock of this computer.
pub fn clock(is_synchronised: bool) -> Check {
    match is_synchronised {
        true => Check::ok("clock", "synchronised"),
        false => Check::unknown(
            "clock",
            "nothing here tells whether it is right",
            "`timedatectl` tells; tokens and times in attendance lists depend on it",
        ),
    }
}

/// How much the clock of a server is ahead of this one's, in seconds; HTTP tells whole seconds.
pub fn difference_of_clocks(ahead_s: i64) -> Check {
    if ahead_s.unsigned_abs() <= MAX_DIFFERENCE.as_secs() {
        return Check::ok("clock", "agrees with the server's");
    }
    let way = if ahead_s > 0 { "behind" } else { "ahead of" };
    Check::advice(
        "clock",
        format!("{} s {way} the server's", ahead_s.unsigned_abs()),
        "set it, or tokens are refused: sudo timedatectl set-ntp true",
    )
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    #[test]
    fn a_port_in_use_is_named_with_its_user() {
        assert_eq!(port("TCP", 18_080, Ok(()), false).found, "TCP port 18080 is free");
        let ours = port("TCP", 18_080, Err(io::ErrorKind::AddrInUse), true);
        assert!(ours.found.contains("classroom server") && ours.exit == Exit::Usage, "{ours:?}");
        let other = port("UDP", 18_080, Err(io::ErrorKind::AddrInUse), false);
        assert!(other.next.is_some_and(|next| next.contains("ss -lntup")), "{}", other.found);
        assert!(port("TCP", 80, Err(io::ErrorKind::PermissionDenied), false).found.contains("root"));
        assert_eq!(port("TCP", 80, Err(io::ErrorKind::AddrNotAvailable), false).verdict, Verdict::Problem);
    }

    #[test]
    fn each_firewall_has_its_command() {
        let next = |found| firewall(found, 18_080).next.unwrap();
        assert!(next(Firewalls { ufw: true, firewalld: true }).ends_with("sudo ufw allow 18080"));
        assert!(next(Firewalls { ufw: false, firewalld: true }).contains("--add-port=18080/udp"));
        assert_eq!(firewall(Firewalls::default(), 18_080).verdict, Verdict::Unknown);
    }

    #[test]
    fn buffers_and_clocks_are_compared() {
        assert_eq!(buffers(Some(4 << 20), Some(8 << 20), 4 << 20).found, "4096 kB");
        let small = buffers(Some(212_992), Some(4 << 20), 4 << 20);
        assert!(small.found.starts_with("208 kB of 4096 kB") && small.verdict == Verdict::Advice, "{small:?}");
        assert_eq!(buffers(None, Some(1), 1).verdict, Verdict::Unknown);
        assert_eq!((clock(true).verdict, clock(false).verdict), (Verdict::Ok, Verdict::Unknown));
        assert_eq!(difference_of_clocks(-5).verdict, Verdict::Ok);
        assert_eq!(difference_of_clocks(90).found, "90 s behind the server's");
        assert_eq!(difference_of_clocks(-7).found, "7 s ahead of the server's");
    }
}
