//! TLS: whom clients trust, what happens to plain HTTP, and certificates that change under open connections.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use axum::routing::any;
use classroom::http;
use classroom::http::client::{self, Address, ClientError};
use classroom::protocol::{ClientMessage, Credentials, ServerMessage};
use classroom::signal::{Client, ClientConfig, Server, ServerLimits, ServerUrl, SignalError, SignalEvent};
use classroom::tls::{CertificateSource, Fingerprint, ServerTls, TlsError, Trust};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::support::{Classroom, DEADLINE, Lan, Machine, Process, ROOM, has_lan, has_tools, is_picture, run_tool};

const DAY: Duration = Duration::from_secs(24 * 3600);

/// A CA, in a folder for its certificate and for those that it signs.
struct Ca {
    folder: tempfile::TempDir,
    issuer: Issuer<'static, KeyPair>,
    certificate: rcgen::Certificate,
}

impl Ca {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("ca.pem"), certificate.pem()).unwrap();
        Self { folder, issuer: Issuer::new(params, key), certificate }
    }

    /// Signs a certificate and writes it and its key; returns its fingerprint.
    fn sign(&self, host: &str, not_after: SystemTime) -> Fingerprint {
        let mut params = CertificateParams::new([host.to_owned()]).unwrap();
        params.not_before = (SystemTime::now() - 30 * DAY).into();
        params.not_after = not_after.into();
        let key = KeyPair::generate().unwrap();
        let leaf = params.signed_by(&key, &self.issuer).unwrap();
        std::fs::write(self.folder.path().join("cert.pem"), leaf.pem() + &self.certificate.pem()).unwrap();
        std::fs::write(self.folder.path().join("key.pem"), key.serialize_pem()).unwrap();
        Fingerprint::of(leaf.der())
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    /// A client that has the CA's certificate.
    fn trust(&self) -> Trust {
        Trust::roots(Some(&self.path("ca.pem"))).unwrap()
    }
}

/// A server with TLS on a free port of loopback.
struct School {
    address: SocketAddr,
    _stop: oneshot::Sender<()>,
    _serving: JoinHandle<()>,
}

impl School {
    /// A server with the certificate of a CA.
    fn open(ca: &Ca) -> Self {
        let files = CertificateSource::Files { certificate: ca.path("cert.pem"), key: ca.path("key.pem") };
        let tls = ServerTls::start(files, Vec::new(), |warning| println!("{warning}")).unwrap();
        Self::with(Some(tls))
    }

    fn with(tls: Option<ServerTls>) -> Self {
        let listener = http::bind(([127, 0, 0, 1], 0).into()).unwrap();
        let address = listener.local_addr().unwrap();
        let server = Server::new(ServerLimits::default());
        let rooms = server.clone();
        let app = http::router(move || rooms.rooms())
            .route("/ws", any(move |request: axum::extract::Request| std::future::ready(server.upgrade(request))));
        let app = http::guard(app, http::Site::default());
        let port = match tls {
            Some(tls) => http::Port::with_tls(app, tls),
            None => app.into(),
        };
        let (stop, stopped) = oneshot::channel::<()>();
        let serving = tokio::spawn(http::serve(listener, port, http::ConnectionLimits::default(), async {
            _ = stopped.await;
        }));
        Self { address, _stop: stop, _serving: serving }
    }

    fn url(&self) -> ServerUrl {
        ServerUrl::from(self.address).with_tls(true)
    }

    async fn join(&self, trust: Trust) -> Result<(Client, mpsc::Receiver<SignalEvent>), SignalError> {
        join(self.url(), trust).await
    }

    /// The cause for which a client does not join.
    async fn distrust(&self, trust: Trust) -> TlsError {
        match self.join(trust).await.map(|_| ()) {
            Err(SignalError::Tls { cause, .. }) => cause,
            other => panic!("{other:?}"),
        }
    }
}

async fn join(server: ServerUrl, trust: Trust) -> Result<(Client, mpsc::Receiver<SignalEvent>), SignalError> {
    Client::connect(ClientConfig {
        kind: None,
        client: None,
        server,
        trust,
        room: "1".parse().unwrap(),
        room_name: None,
        user: "1001".parse().unwrap(),
        nickname: "Anna".into(),
        publishes: false,
        credentials: Credentials { session: "sessionsessionse".parse().ok(), ..Credentials::default() },
        epoch: 7,
        initial_deadline: Duration::ZERO,
    })
    .await
}

fn soon() -> SystemTime {
    SystemTime::now() + 90 * DAY
}

#[tokio::test]
async fn a_client_joins_by_ca_or_fingerprint_and_nobody_else_is_trusted() {
    let ca = Ca::new();
    let leaf = ca.sign("127.0.0.1", soon());
    let school = School::open(&ca);
    let of_ca = Fingerprint::of(ca.certificate.der());
    for trust in [ca.trust(), Trust::pinned(leaf), Trust::pinned(of_ca), Trust::default().or(Some(of_ca))] {
        school.join(trust.clone()).await.unwrap_or_else(|error| panic!("{trust:?}: {error}"));
    }
    let unknown = school.distrust(Trust::default()).await;
    assert_eq!(unknown, TlsError::UnknownCa(of_ca));
    assert!(unknown.to_string().contains("--ca FILE") && unknown.to_string().contains(&of_ca.to_string()));
    let other = Fingerprint::of(b"another server");
    let changed = school.distrust(Trust::pinned(other)).await;
    assert_eq!(changed, TlsError::OtherIdentity { expected: other, found: of_ca });
    assert_eq!(school.distrust(Trust::default().or(Some(other))).await, changed, "a known server that has changed");
}

#[tokio::test]
async fn a_wrong_certificate_is_refused_with_its_cause() {
    let ca = Ca::new();
    ca.sign("school.example", soon());
    let school = School::open(&ca);
    let names = school.distrust(ca.trust()).await;
    let expected = TlsError::WrongName { host: "127.0.0.1".into(), names: "school.example".into() };
    assert_eq!(names, expected);
    assert!(names.to_string().contains("use one of these names"));

    let ca = Ca::new();
    ca.sign("127.0.0.1", SystemTime::now() - DAY);
    let school = School::open(&ca);
    let expired = school.distrust(ca.trust()).await;
    assert_eq!(expired, TlsError::Expired);
    assert!(expired.to_string().contains("--tls-cert") && expired.to_string().contains("clock"));
    assert_eq!(school.distrust(Trust::pinned(Fingerprint::of(ca.certificate.der()))).await, TlsError::Expired);
}

#[tokio::test]
async fn plain_clients_of_the_same_computer_need_no_tls_and_tls_needs_a_server_that_has_it() {
    let ca = Ca::new();
    ca.sign("127.0.0.1", soon());
    let school = School::open(&ca);
    join(school.url().with_tls(false), Trust::default()).await.unwrap();
    let plain = School::with(None);
    let not_tls = plain.distrust(Trust::default()).await;
    assert_eq!(not_tls, TlsError::NotTls);
    assert!(not_tls.to_string().contains("use ws://") && not_tls.to_string().contains("--tls"));
}

#[tokio::test]
async fn rooms_are_listed_by_tls() {
    let ca = Ca::new();
    ca.sign("127.0.0.1", soon());
    let school = School::open(&ca);
    let (_client, _events) = school.join(ca.trust()).await.unwrap();
    let port = school.address.port();
    let rooms = client::rooms(&Address::new("127.0.0.1", port, Some(ca.trust()))).await.unwrap();
    assert_eq!((rooms.len(), rooms[0].watching), (1, 1));
    let unknown = client::rooms(&Address::new("127.0.0.1", port, Some(Trust::default()))).await.unwrap_err();
    assert!(matches!(unknown, ClientError::Tls { cause: TlsError::UnknownCa(_), .. }), "{unknown}");
}

#[tokio::test]
async fn a_new_certificate_leaves_open_connections_alone() {
    let ca = Ca::new();
    let first = ca.sign("127.0.0.1", soon());
    let school = School::open(&ca);
    let (client, mut events) = school.join(Trust::pinned(first)).await.unwrap();
    assert!(matches!(events.recv().await, Some(SignalEvent::Joined { .. })));

    let second = ca.sign("127.0.0.1", soon());
    let deadline = Instant::now() + DEADLINE;
    // The same member on a second connection would end the first one, so this only does the handshake.
    let connects = async |pin| {
        let stream = TcpStream::connect(school.address).await.unwrap();
        Trust::pinned(pin).connect(stream, "127.0.0.1").await.map(drop)
    };
    while connects(second).await.is_err() {
        assert!(Instant::now() < deadline, "the new certificate is not used");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(matches!(connects(first).await, Err(TlsError::OtherIdentity { .. })));

    client.send(ClientMessage::RoomUserList).unwrap();
    loop {
        match timeout(DEADLINE, events.recv()).await.expect("the server answers") {
            Some(SignalEvent::Message(ServerMessage::RoomUserList { .. })) => break,
            Some(SignalEvent::Message(_)) => {}
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_slow_handshake_is_ended() {
    let ca = Ca::new();
    ca.sign("127.0.0.1", soon());
    let school = School::open(&ca);
    let end_after = async |first: &[u8]| {
        let begun = Instant::now();
        let mut stream = TcpStream::connect(school.address).await.unwrap();
        stream.write_all(first).await.unwrap();
        let mut rest = Vec::new();
        _ = timeout(DEADLINE, stream.read_to_end(&mut rest)).await.expect("the server ends the connection");
        begun.elapsed()
    };
    let (silent, half) = tokio::join!(end_after(&[]), end_after(&[0x16, 0x03, 0x01]));
    for took in [silent, half] {
        assert!(took > Duration::from_secs(4) && took < Duration::from_secs(20), "{took:?}");
    }
    school.join(ca.trust()).await.unwrap();
}

#[tokio::test]
async fn a_certificate_of_a_public_ca_pins_the_browser_to_https() {
    let ca = Ca::new();
    ca.sign("127.0.0.1", soon());
    let school = School::open(&ca);
    let stream = TcpStream::connect(school.address).await.unwrap();
    let mut stream = ca.trust().connect(stream, "127.0.0.1").await.unwrap();
    stream.write_all(b"GET /api/ping HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.contains("strict-transport-security: max-age="), "{answer}");
}

/// The certificate that a server sends for users to install.
fn download(machine: Option<&Machine>, host: &str, to: &Path) {
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--show-error", "--fail", "--output", to.to_str().unwrap(), &format!("http://{host}/ca")]);
    match machine {
        Some(machine) => run_tool(machine.command(&curl).stderr(Stdio::piped())),
        None => run_tool(&mut curl),
    };
}

/// Waits until the program has told a person these words, as an event of `--json`.
#[track_caller]
fn wait_for_words(process: &Process, words: &str) {
    process.wait_for(words, |event| event["message"].as_str().is_some_and(|message| message.contains(words)));
}

/// The flags of a lecture that costs little CPU.
const LECTURE: [&str; 7] = ["--test", "--size", "320x180", "--fps", "10", "--tls", "--no-qr"];

#[test]
fn students_watch_by_tls_with_the_ca_or_the_fingerprint() {
    if !has_tools("students_watch_by_tls_with_the_ca_or_the_fingerprint", &["curl"]) {
        return;
    }
    let class = Classroom::undisturbed();
    let teacher = class.teacher(&LECTURE);
    let listening = teacher.wait_for("listening", |event| event["event"] == "listening");
    let page = listening["page"].as_str().unwrap();
    assert!(page.starts_with("https://") && listening["ws"].as_str().unwrap().starts_with("wss://"), "{listening}");
    let fingerprint = listening["fingerprint"].as_str().unwrap();
    wait_for_words(&teacher, &format!("--server wss://127.0.0.1:{} --fingerprint {fingerprint}", class.port()));
    let ca = class.directory().join("downloaded.crt");
    download(None, &format!("127.0.0.1:{}", class.port()), &ca);
    // Another user of this computer has not the CA of the teacher.
    let elsewhere = class.directory().join("student");
    let url = class.url().replace("ws://", "wss://");
    let watch = |user: &str, flags: &[&str]| {
        let common = ["watch", "--room", ROOM, "--user", user, "--sink", "null", "--server", &url, "--timeout", "20s"];
        let mut command = class.command(&[&common, flags].concat());
        command.env("XDG_STATE_HOME", &elsewhere);
        command
    };
    let measured = ["--for", "6s", "--expect", "lost==0", "--expect", "fps>=5"];
    let by_ca = watch("1001", &[&["--ca", ca.to_str().unwrap()], &measured[..]].concat());
    let by_fingerprint = watch("1002", &[&["--fingerprint", fingerprint], &measured[..]].concat());
    let mut students = [Process::start("by CA", by_ca), Process::start("by fingerprint", by_fingerprint)];
    for student in &mut students {
        assert_eq!(student.exit_code(DEADLINE), 0, "{}", student.stderr());
    }
    let mut again = Process::start("again", watch("1003", &["--for", "1s"]));
    assert_eq!(again.exit_code(DEADLINE), 0, "the fingerprint is remembered: {}", again.stderr());
    let other = "sha256:00000000000000000000000000000000";
    let mut wrong = Process::start("wrong", watch("1004", &["--fingerprint", other]));
    assert_eq!(wrong.exit_code(DEADLINE), 4);
    assert!(wrong.stderr().contains("its identity is sha256:"), "{}", wrong.stderr());
    std::fs::remove_dir_all(&elsewhere).unwrap();
    let mut stranger = Process::start("stranger", watch("1005", &[]));
    assert_eq!(stranger.exit_code(DEADLINE), 4);
    assert!(stranger.stderr().contains("add --ca FILE"), "{}", stranger.stderr());
}

#[test]
fn other_computers_need_tls_and_find_the_identity_by_dns_sd() {
    let test = "other_computers_need_tls_and_find_the_identity_by_dns_sd";
    if !has_lan(test) || !has_tools(test, &["curl"]) {
        return;
    }
    let class = Classroom::new();
    let mut lan = Lan::new();
    let (first, second, student) = (lan.machine(), lan.machine(), lan.machine());
    let state = |name: &str| class.directory().join(name);
    let teach = |machine: &Machine, name: &str| {
        let mut command = class.command(&[&["teach", "--room", ROOM], &LECTURE[..]].concat());
        let teacher = Process::start_on(machine, name, command.env("XDG_STATE_HOME", state(name)));
        teacher.wait_for("joined", |event| event["event"] == "joined");
        teacher
    };
    let watch = |user: &str, flags: &[&str]| {
        let mut command =
            class.command(&[&["watch", "--room", ROOM, "--user", user, "--sink", "null"], flags].concat());
        Process::start_on(&student, user, command.env("XDG_STATE_HOME", state("student")))
    };
    let teacher = teach(&first, "first");
    let listening = teacher.wait_for("listening", |event| event["event"] == "listening");
    let fingerprint = listening["fingerprint"].as_str().unwrap().to_owned();
    let host = format!("{}:18080", first.address());

    let plain = |path: &str| {
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--output", "/dev/null", "--write-out", "%{http_code} %{redirect_url}"]);
        curl.arg(format!("http://{host}{path}"));
        String::from_utf8(run_tool(student.command(&curl).stderr(Stdio::piped()))).unwrap()
    };
    assert_eq!(plain("/room/10013"), format!("308 https://{host}/room/10013"));
    assert_eq!(plain("/healthz"), "200 ");
    let ca = class.directory().join("downloaded.crt");
    download(Some(&student), &host, &ca);
    let mut curl = Command::new("curl");
    curl.args([
        "--silent",
        "--show-error",
        "--fail",
        "--cacert",
        ca.to_str().unwrap(),
        &format!("https://{host}/api/ping"),
    ]);
    run_tool(student.command(&curl).stderr(Stdio::piped()));

    let mut refused = watch("1001", &["--server", &host]);
    assert_eq!(refused.exit_code(DEADLINE), 4);
    assert!(refused.stderr().contains("use wss:// instead of ws://"), "{}", refused.stderr());
    let mut rooms = class.command(&["rooms", "--server", &host]);
    let mut rooms = Process::start_on(&student, "rooms", rooms.env("XDG_STATE_HOME", state("student")));
    assert_eq!(rooms.exit_code(DEADLINE), 4);
    assert!(rooms.stderr().contains("use wss:// instead of ws://"), "{}", rooms.stderr());

    let by_dns_sd = watch("1002", &[]);
    let joined = by_dns_sd.wait_for("joined", |event| event["event"] == "joined");
    assert_eq!(joined["server"], format!("wss://{host}"));
    by_dns_sd.wait_for("picture", is_picture);
    wait_for_words(&by_dns_sd, &format!("the server has the identity {fingerprint}"));
    drop((by_dns_sd, teacher));

    // Another computer announces the same room.
    let teacher = teach(&second, "second");
    let listening = teacher.wait_for("listening", |event| event["event"] == "listening");
    let new = listening["fingerprint"].as_str().unwrap();
    assert_ne!(new, fingerprint);
    let refused = watch("1003", &[]);
    wait_for_words(&refused, &format!("--fingerprint {new} once"));
    assert!(!refused.events().iter().any(|event| event["event"] == "joined"));
    drop(refused);
    let trusting = watch("1004", &["--fingerprint", new]);
    trusting.wait_for("picture", is_picture);
    drop(trusting);
    watch("1005", &[]).wait_for("picture", is_picture);
}
