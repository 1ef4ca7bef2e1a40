//! Servers with TLS that meet in a Redis with TLS, whose certificate a CA of the school has signed.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

use crate::cluster::is_first_frame;
use crate::support::{Classroom, DEADLINE, Process, ROOM, poll};

/// A redis-server that speaks TLS. Dropping kills it.
struct TlsRedis {
    port: u16,
    child: Child,
}

impl Drop for TlsRedis {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

/// Writes a CA, and a certificate for 127.0.0.1 with its key.
fn certificates(folder: &Path) {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let (key, leaf_key) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    let ca = params.self_signed(&key).unwrap();
    let issuer = Issuer::new(params, key);
    let leaf = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap().signed_by(&leaf_key, &issuer).unwrap();
    let write = |name: &str, text: String| std::fs::write(folder.join(name), text).unwrap();
    write("redis-ca.pem", ca.pem());
    write("redis-cert.pem", leaf.pem());
    write("redis-key.pem", leaf_key.serialize_pem());
}

/// None on a machine without redis-server; the tests of `cluster` say so.
fn redis(folder: &Path) -> Option<TlsRedis> {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut command = Command::new("redis-server");
    command.args(["--port", "0", "--tls-port", &port.to_string(), "--bind", "127.0.0.1", "--save", ""]);
    for (flag, name) in [
        ("--tls-ca-cert-file", "redis-ca.pem"),
        ("--tls-cert-file", "redis-cert.pem"),
        ("--tls-key-file", "redis-key.pem"),
    ] {
        command.arg(flag).arg(folder.join(name));
    }
    command.args(["--tls-auth-clients", "no"]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let redis = TlsRedis { port, child: command.spawn().ok()? };
    poll(DEADLINE, || std::net::TcpStream::connect(("127.0.0.1", port)).ok()).expect("redis-server listens");
    Some(redis)
}

#[test]
fn servers_with_tls_meet_in_a_redis_with_tls() {
    let class = Classroom::new();
    let folder = class.directory().to_owned();
    certificates(&folder);
    let Some(redis) = redis(&folder) else { return };
    let url = format!("rediss://127.0.0.1:{}", redis.port);
    let serve = || class.command(&["serve", "--listen", "127.0.0.1:0", "--udp-port", "0", "--tls", "--redis", &url]);
    let stderr = Process::start("a stranger", serve()).ends_with(2);
    assert!(stderr.contains(&format!("can't reach Redis at 127.0.0.1:{} (TLS)", redis.port)), "{stderr}");

    let [a, b] = ["a", "b"].map(|name| {
        let mut command = serve();
        command.args(["--node", name]).env("SSL_CERT_FILE", folder.join("redis-ca.pem"));
        let node = Process::start(&format!("node {name}"), command);
        let listening = node.wait_for("listening", |event| event["event"] == "listening");
        let text = |key: &str| listening[key].as_str().unwrap().to_owned();
        (node, text("ws").trim_end_matches("/ws").to_owned(), text("fingerprint"))
    });
    assert!(a.1.starts_with("wss://") && a.1 != b.1, "{}, {}", a.1, b.1);
    let client = |name: &str, node: &(Process, String, String), words: &[&str]| {
        let words = [words, &["--room", ROOM, "--server", &node.1, "--fingerprint", &node.2]].concat();
        Process::start(name, class.command(&words))
    };
    let teacher = client("teacher", &a, &["teach", "--test", "--size", "320x180", "--udp-port", "0"]);
    teacher.wait_for("joined", |event| event["event"] == "joined");
    let student = client("student", &b, &["watch", "--user", "1001", "--sink", "null"]);
    student.wait_for("the lecture", is_first_frame);
}
