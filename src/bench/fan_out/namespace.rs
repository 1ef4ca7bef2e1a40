//! A network namespace for the bench, in which media can be dropped before it is received.
//!
//! On loopback the sender's thread also runs the receiving half of the kernel: it segments GSO sends, looks up each
//! socket and wakes its reader. That half is included in the SFU's cost and in the floor alike, which improves their
//! ratio. [`Namespace::drop_media`] attaches a filter to the egress of `lo`: RTP is dropped there; STUN, DTLS and RTCP
//! pass.

use std::os::unix::process::CommandExt;
use std::process::{Command, Output};

use anyhow::{Context, bail};

/// Set for the process in the namespace.
const MARK: &str = "CLASSROOM_BENCH_NAMESPACE";

/// Ways to create a namespace: as root, and as any user if the system allows user namespaces.
const UNSHARE: [&[&str]; 2] = [&["--net"], &["--map-root-user", "--net"]];

/// A classifier in classic BPF for an Ethernet frame; its result is the verdict: pass (0) for anything but RTP version
/// 2 over IPv4 and UDP, and for RTCP (RFC 5761, 4: its second byte is 192 to 223); drop (2) for RTP.
const DROP_RTP: [(u16, u8, u8, u32); 12] = [
    (0x28, 0, 0, 12),     // ldh: EtherType
    (0x15, 0, 8, 0x0800), // IPv4, or pass
    (0x30, 0, 0, 23),     // ldb: protocol
    (0x15, 0, 6, 17),     // UDP, or pass
    (0x30, 0, 0, 42),     // ldb: first byte of the UDP payload
    (0x54, 0, 0, 0xc0),   // and
    (0x15, 0, 3, 0x80),   // version 2, or pass
    (0x30, 0, 0, 43),     // ldb: second byte
    (0x54, 0, 0, 0xe0),   // and
    (0x15, 0, 1, 0xc0),   // RTCP: pass, or drop
    (0x06, 0, 0, 0),      // ret TC_ACT_OK
    (0x06, 0, 0, 2),      // ret TC_ACT_SHOT
];

const LOOPBACK_UP: &str = "ip link set lo up";
const ADD_HOOK: &str = "tc qdisc add dev lo clsact";

/// Proof that this process is alone in its network namespace, with a loopback interface that is up.
#[derive(Debug)]
pub(super) struct Namespace(());

impl Namespace {
    /// Replaces this process by itself in a new namespace, if that is possible. In the new process this returns the
    /// namespace. The error says why a namespace is not possible.
    pub(super) fn enter() -> anyhow::Result<Self> {
        if std::env::var_os(MARK).is_some() {
            shell(&[], &format!("{LOOPBACK_UP} && {ADD_HOOK}"))?;
            return Ok(Self(()));
        }
        let probe = format!("{LOOPBACK_UP} && {ADD_HOOK} && {}", add_filter());
        let mut refusal = None;
        for unshare in UNSHARE {
            match shell(unshare, &probe) {
                Ok(()) => {
                    let program = std::env::current_exe().context("can't find the program itself")?;
                    // Returns only on failure.
                    let error = Command::new("unshare")
                        .args(unshare)
                        .arg("--")
                        .arg(program)
                        .args(std::env::args_os().skip(1))
                        .env(MARK, "1")
                        .exec();
                    return Err(error).context("can't run unshare");
                }
                Err(error) => refusal = refusal.or(Some(error)),
            }
        }
        Err(refusal.context("no way to get a network namespace")?)
    }

    /// Drops outgoing RTP until the process ends.
    pub(super) fn drop_media(&self) -> anyhow::Result<()> {
        shell(&[], &add_filter())
    }
}

fn add_filter() -> String {
    let code = DROP_RTP.map(|(code, jt, jf, k)| format!("{code} {jt} {jf} {k}")).join(",");
    format!("tc filter add dev lo egress bpf direct-action bytecode '{},{code}'", DROP_RTP.len())
}

/// Runs a script, in a new namespace if there are arguments for `unshare`.
fn shell(unshare: &[&str], script: &str) -> anyhow::Result<()> {
    let mut command = match unshare {
        [] => Command::new("sh"),
        arguments => {
            let mut command = Command::new("unshare");
            command.args(arguments).arg("--").arg("sh");
            command
        }
    };
    let Output { status, stderr, .. } = command.args(["-c", script]).output().context("can't run sh and unshare")?;
    if !status.success() {
        let stderr = String::from_utf8_lossy(&stderr);
        bail!("{}", stderr.lines().next().unwrap_or("unshare, ip or tc failed"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether the filter drops a frame: a small interpreter of the instructions used.
    fn is_dropped(frame: &[u8]) -> bool {
        let (mut accumulator, mut at) = (0u32, 0);
        loop {
            let (code, jt, jf, k) = DROP_RTP[at];
            at += 1;
            let byte = |offset: u32| u32::from(frame[offset as usize]);
            match code {
                0x28 => accumulator = byte(k) << 8 | byte(k + 1),
                0x30 => accumulator = byte(k),
                0x54 => accumulator &= k,
                0x15 => at += usize::from(if accumulator == k { jt } else { jf }),
                0x06 => return k == 2,
                other => panic!("no such instruction: {other:#x}"),
            }
        }
    }

    #[test]
    fn only_rtp_is_dropped() {
        let frame = |ether_type: u16, protocol: u8, payload: [u8; 2]| {
            let mut frame = vec![0; 100];
            frame[12..14].copy_from_slice(&ether_type.to_be_bytes());
            frame[23] = protocol;
            frame[42..44].copy_from_slice(&payload);
            frame
        };
        for second in [96, 96 | 0x80, 111, 127 | 0x80, 0] {
            assert!(is_dropped(&frame(0x0800, 17, [0x80, second])), "payload type {second}");
            assert!(is_dropped(&frame(0x0800, 17, [0xb0, second])), "with padding and extensions, {second}");
        }
        for (what, payload) in
            [("SR", [0x80, 200]), ("feedback", [0x8f, 205]), ("STUN", [0, 1]), ("DTLS", [22, 254]), ("TURN", [64, 0])]
        {
            assert!(!is_dropped(&frame(0x0800, 17, payload)), "{what}");
        }
        assert!(!is_dropped(&frame(0x0800, 6, [0x80, 96])), "TCP");
        assert!(!is_dropped(&frame(0x86dd, 17, [0x80, 96])), "IPv6");
    }
}
