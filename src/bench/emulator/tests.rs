//! Over loopback: what is sent on one side arrives on the other, through the path.

use super::*;

const DEADLINE: Duration = Duration::from_secs(20);

/// An SFU and a student, of plain sockets, and an emulator between them. The student has been heard.
fn world(down: PathConfig) -> (UdpSocket, UdpSocket, Emulator, SocketAddr) {
    let socket = || {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(DEADLINE)).unwrap();
        socket
    };
    let (sfu, student) = (socket(), socket());
    let emulator = Emulator::start(sfu.local_addr().unwrap(), down, PathConfig::default(), 1).unwrap();
    student.send_to(b"hello", emulator.address()).unwrap();
    let mut bytes = [0; 100];
    let (size, from) = sfu.recv_from(&mut bytes).unwrap();
    assert_eq!(&bytes[..size], b"hello");
    (sfu, student, emulator, from)
}

#[test]
fn it_forwards_both_ways_and_counts() {
    let (sfu, student, emulator, way) = world(PathConfig::default());
    for n in 0..100u8 {
        sfu.send_to(&[n; 1200], way).unwrap();
        let mut bytes = [0; 2000];
        let (size, from) = student.recv_from(&mut bytes).unwrap();
        assert_eq!((size, bytes[0], from), (1200, n, emulator.address()));
    }
    let counts = emulator.counts();
    assert_eq!((counts.down.passed, counts.down.lost, counts.up.passed), (100, 0, 1));
}

#[test]
fn what_takes_long_comes_later_and_in_order() {
    let delay = Duration::from_millis(30);
    let (sfu, student, _emulator, way) = world(PathConfig { delay, jitter: delay, ..PathConfig::default() });
    let sent = Instant::now();
    for n in 0..50u8 {
        sfu.send_to(&[n], way).unwrap();
    }
    for n in 0..50u8 {
        let mut bytes = [0; 10];
        student.recv(&mut bytes).unwrap();
        assert_eq!(bytes[0], n);
        assert!(sent.elapsed() >= delay);
    }
}

#[test]
fn an_outage_ends_when_the_network_is_restored() {
    let (sfu, student, emulator, way) = world(PathConfig { loss: 1.0, ..PathConfig::default() });
    let deadline = Instant::now() + DEADLINE;
    while emulator.counts().down.lost < 10 {
        sfu.send_to(b"lost", way).unwrap();
        std::thread::yield_now();
        assert!(Instant::now() < deadline);
    }
    emulator.set(PathConfig::default(), PathConfig::default());
    // Those that the thread had not read yet pass too, then.
    sfu.send_to(b"found", way).unwrap();
    let mut bytes = [0; 10];
    while &bytes[..5] != b"found" {
        student.recv(&mut bytes).unwrap();
    }
}

#[test]
fn who_comes_from_elsewhere_is_followed_and_strangers_are_not_heard() {
    let (sfu, student, emulator, way) = world(PathConfig::default());
    let moved = UdpSocket::bind("127.0.0.1:0").unwrap();
    moved.set_read_timeout(Some(DEADLINE)).unwrap();
    moved.send_to(b"it is me", emulator.address()).unwrap();
    let mut bytes = [0; 10];
    sfu.recv(&mut bytes).unwrap();
    let stranger = UdpSocket::bind("127.0.0.1:0").unwrap();
    stranger.send_to(b"evil", way).unwrap();
    sfu.send_to(b"good", way).unwrap();
    let size = moved.recv(&mut bytes).unwrap();
    assert_eq!(&bytes[..size], b"good");
    student.set_nonblocking(true).unwrap();
    assert!(student.recv(&mut bytes).is_err());
}
