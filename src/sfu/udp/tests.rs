//! Tests of sockets on loopback, and of the receive errors that mean that a socket is gone.

use super::*;

async fn receive_all(socket: &mut UdpReceiver, want: usize) -> Vec<Vec<u8>> {
    let mut got = Vec::new();
    while got.len() < want {
        tokio::time::timeout(Duration::from_secs(5), socket.readable()).await.unwrap().unwrap();
        socket.receive(|_, _, bytes| got.push(bytes.to_vec())).unwrap();
    }
    got
}

#[tokio::test]
async fn batches_keep_order_and_sizes() {
    let from = UdpReceiver::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let mut a = from.sender().unwrap();
    let mut b = UdpReceiver::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let sizes = [100usize, 100, 100, 40, 100, 7, 200, 200, 1];
    for (n, size) in sizes.iter().enumerate() {
        assert_eq!(a.queue(from.local(), b.local(), &vec![n as u8; *size]), Sent::Yes);
    }
    assert_eq!(a.flush(), Sent::Yes);
    let got = receive_all(&mut b, sizes.len()).await;
    for (n, size) in sizes.iter().enumerate() {
        assert_eq!(got[n], vec![n as u8; *size]);
    }
    assert!(a.sent.calls < sizes.len() as u64, "sent in {} calls", a.sent.calls);
}

#[tokio::test]
async fn a_wildcard_socket_reports_the_local_address_of_each_datagram() {
    let mut sfu = UdpReceiver::bind("0.0.0.0:0".parse().unwrap()).unwrap();
    let to = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), sfu.local().port());
    let student = UdpReceiver::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let mut sender = student.sender().unwrap();
    sender.queue(student.local(), to, b"hello");
    sender.flush();
    tokio::time::timeout(Duration::from_secs(5), sfu.readable()).await.unwrap().unwrap();
    let mut seen = None;
    sfu.receive(|at, from, _| seen = Some((at, from))).unwrap();
    assert_eq!(seen, Some((to, student.local())));
}

#[tokio::test]
async fn one_socket_serves_both_families_and_reports_ipv4_addresses_as_ipv4() {
    let mut sfu = UdpReceiver::bind("0.0.0.0:0".parse().unwrap()).unwrap();
    if sfu.local().is_ipv4() {
        println!("skipped: no IPv6 here");
        return;
    }
    let mut back = sfu.sender().unwrap();
    for address in ["127.0.0.1:0", "[::1]:0"] {
        let mut student = UdpReceiver::bind(address.parse().unwrap()).unwrap();
        let to = SocketAddr::new(student.local().ip(), sfu.local().port());
        let mut sender = student.sender().unwrap();
        sender.queue(student.local(), to, b"question");
        sender.flush();
        tokio::time::timeout(Duration::from_secs(5), sfu.readable()).await.unwrap().unwrap();
        let mut seen = None;
        sfu.receive(|at, from, _| seen = Some((at, from))).unwrap();
        assert_eq!(seen, Some((to, student.local())));
        // A GSO send, from the address to which the student has sent.
        assert!((0..3).all(|_| back.queue(to, student.local(), &[7; 100]) == Sent::Yes));
        assert_eq!((back.flush(), receive_all(&mut student, 3).await.len()), (Sent::Yes, 3));
    }
    let taken = UdpReceiver::bind((Ipv4Addr::UNSPECIFIED, sfu.local().port()).into());
    assert_eq!(taken.err().map(|error| error.kind()), Some(io::ErrorKind::AddrInUse), "a second teacher");
}

#[tokio::test]
async fn a_reopened_socket_keeps_its_port_and_a_second_teacher_does_not_get_it() {
    let mut sfu = UdpReceiver::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let mut sender = sfu.sender().unwrap();
    let local = sfu.local();
    sfu.rebind(&sender).unwrap();
    assert!(UdpReceiver::bind(local).is_err());
    sender.move_to(sfu.sender().unwrap());
    assert_eq!(sfu.local(), local);
    assert!(UdpReceiver::bind(local).is_err());
    let mut student = UdpReceiver::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    sender.queue(local, student.local(), b"hello");
    sender.flush();
    assert_eq!(receive_all(&mut student, 1).await, [b"hello"]);
    let mut of_student = student.sender().unwrap();
    of_student.queue(student.local(), local, b"hello");
    of_student.flush();
    assert_eq!(receive_all(&mut sfu, 1).await, [b"hello"]);
}

#[test]
fn only_a_bad_descriptor_or_three_seconds_of_errors_mean_that_a_socket_is_gone() {
    let (mut errors, start) = (ReceiveErrors::default(), Instant::now());
    let error = io::Error::from_raw_os_error;
    for errno in [
        libc::ECONNREFUSED,
        libc::EHOSTUNREACH,
        libc::ENETUNREACH,
        libc::EHOSTDOWN,
        libc::ENETDOWN,
        libc::EPERM,
        libc::ENOBUFS,
        libc::ENOMEM,
        libc::EINTR,
        libc::EPROTO,
        libc::EMSGSIZE,
        libc::ENOPROTOOPT,
        libc::EIO,
    ] {
        for n in 0..100 {
            assert!(!errors.is_gone(start + GONE_AFTER / 200 * n, &error(errno)), "{errno}");
        }
        errors.on_success();
    }
    assert!(!errors.is_gone(start, &error(libc::EIO)));
    assert!(errors.is_gone(start + GONE_AFTER, &error(libc::EIO)), "no success since");
    errors.on_success();
    assert!(!errors.is_gone(start + GONE_AFTER * 2, &error(libc::EIO)));
    for errno in [libc::EBADF, libc::ENOTSOCK] {
        assert!(ReceiveErrors::default().is_gone(start, &error(errno)));
    }
}
