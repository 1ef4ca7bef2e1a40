//! Packets sent over loopback by one side arrive at the other through the path.

use super::*;

const DEADLINE: Duration = Duration::from_secs(20);

/// Plain sockets as SFU and student, an emulator between them, and its address towards the SFU.
fn setup(down: PathConfig) -> (UdpSocket, UdpSocket, Emulator, SocketAddr) {
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
fn packets_are_forwarded_both_ways_and_counted() {
    let (sfu, student, emulator, path) = setup(PathConfig::default());
    for n in 0..100u8 {
        sfu.send_to(&[n; 1200], path).unwrap();
        let mut bytes = [0; 2000];
        let (size, from) = student.recv_from(&mut bytes).unwrap();
        assert_eq!((size, bytes[0], from), (1200, n, emulator.address()));
    }
    let counts = emulator.counts();
    assert_eq!((counts.down.passed, counts.down.lost, counts.up.passed), (100, 0, 1));
}

#[test]
fn delayed_packets_arrive_later_and_in_order() {
    let delay = Duration::from_millis(30);
    let (sfu, student, _emulator, path) = setup(PathConfig { delay, jitter: delay, ..PathConfig::default() });
    let sent = Instant::now();
    for n in 0..50u8 {
        sfu.send_to(&[n], path).unwrap();
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
    let (sfu, student, emulator, path) = setup(PathConfig { loss: 1.0, ..PathConfig::default() });
    let deadline = Instant::now() + DEADLINE;
    while emulator.counts().down.lost < 10 {
        sfu.send_to(b"lost", path).unwrap();
        std::thread::yield_now();
        assert!(Instant::now() < deadline);
    }
    emulator.set(PathConfig::default(), PathConfig::default());
    // Packets that the thread had not read yet also pass.
    sfu.send_to(b"found", path).unwrap();
    let mut bytes = [0; 10];
    while &bytes[..5] != b"found" {
        student.recv(&mut bytes).unwrap();
    }
}

#[test]
fn a_student_may_change_its_address_and_other_senders_are_ignored() {
    let (sfu, student, emulator, path) = setup(PathConfig::default());
    let moved = UdpSocket::bind("127.0.0.1:0").unwrap();
    moved.set_read_timeout(Some(DEADLINE)).unwrap();
    moved.send_to(b"it is me", emulator.address()).unwrap();
    let mut bytes = [0; 10];
    sfu.recv(&mut bytes).unwrap();
    let stranger = UdpSocket::bind("127.0.0.1:0").unwrap();
    stranger.send_to(b"evil", path).unwrap();
    sfu.send_to(b"good", path).unwrap();
    let size = moved.recv(&mut bytes).unwrap();
    assert_eq!(&bytes[..size], b"good");
    student.set_nonblocking(true).unwrap();
    assert!(student.recv(&mut bytes).is_err());
}
