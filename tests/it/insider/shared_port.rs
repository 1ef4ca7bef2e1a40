//! Two rooms on one UDP port: what happens in one does not reach the other.

use classroom::sfu::MediaPort;

use super::*;

/// Two classes on one port, whose frames differ.
fn two_classes() -> (MediaPort, Class, Class) {
    let (port, _) = MediaPort::bind("127.0.0.1:0".parse().unwrap(), &[]).unwrap();
    let class = |filling| Class::on(UdpBinding::Shared(port.clone()), filling);
    let (one, other) = (class(1), class(2));
    assert_eq!((one.sfu.udp(), other.sfu.udp()), (port.local(), port.local()));
    (port, one, other)
}

/// Waits until a student has this many more packets.
async fn until_more(student: &Student, more: usize) {
    let count = || student.received.lock().unwrap().len();
    let (before, begun) = (count(), Instant::now());
    while count() < before + more {
        assert!(begun.elapsed() < DEADLINE, "{}: {} of {more} packets", student.user, count() - before);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// The time between two messages of a student: the SFU reads 50 a second.
const PACE: Duration = Duration::from_millis(25);

/// The time until a message of the student has arrived at its class.
async fn says(class: &mut Class, student: &Student, word: &str) -> Duration {
    let begun = Instant::now();
    assert!(student.viewer.say(word).await);
    let heard = class.next(|event| match event {
        SfuEvent::Heard { user, text } => Some((user, text)),
        _ => None,
    });
    assert_eq!(heard.await, (student.user.clone(), word.to_owned()));
    begun.elapsed()
}

/// The student has got frames of its own class only.
fn assert_only(student: &Student, filling: u8) {
    let fillings = student.fillings.lock().unwrap();
    assert!(!fillings.is_empty() && fillings.iter().all(|known| *known == filling), "{filling}");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_rooms_on_one_port_get_their_own_frames_with_the_same_user_ids() {
    let (port, mut one, mut other) = two_classes();
    let teaching = [one.teach(), other.teach()];
    let of_one = [one.student("1001").await, one.student("1002").await];
    let of_other = [other.student("1001").await, other.student("1002").await];
    for student in of_one.iter().chain(&of_other) {
        until_more(student, 50).await;
    }
    for n in 0..2 {
        says(&mut one, &of_one[n], "here").await;
        says(&mut other, &of_other[n], "there").await;
        assert_only(&of_one[n], 1);
        assert_only(&of_other[n], 2);
    }
    let stats = [one.sfu.stats().await.unwrap(), other.sfu.stats().await.unwrap()];
    assert!(stats.iter().all(|stats| (stats.students, stats.datagrams_dropped) == (2, 0)));
    let of_port = port.stats();
    assert_eq!((of_port.sfus, of_port.dropped), (2, 0), "{of_port:?}");
    teaching.iter().for_each(tokio::task::JoinHandle::abort);
    for student in of_one.into_iter().chain(of_other) {
        student.viewer.close().await;
    }
    one.sfu.close().await;
    other.sfu.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_room_that_ends_leaves_the_other_and_a_new_one_takes_its_students() {
    let (port, mut one, mut other) = two_classes();
    let teaching = other.teach();
    let (leaver, stayer) = (one.student("1001").await, other.student("1001").await);
    one.sfu.close().await;
    until_more(&stayer, 50).await;
    says(&mut other, &stayer, "still here").await;
    let begun = Instant::now();
    while port.stats().sfus > 1 {
        assert!(begun.elapsed() < DEADLINE);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let mut new = Class::on(UdpBinding::Shared(port.clone()), 3);
    let teaching_new = new.teach();
    let again = new.student("1001").await;
    until_more(&again, 20).await;
    assert_only(&again, 3);
    assert_only(&stayer, 2);
    teaching.abort();
    teaching_new.abort();
    for student in [leaver, stayer, again] {
        student.viewer.close().await;
    }
    other.sfu.close().await;
    new.sfu.close().await;
    drop(port);
}

/// A student of one room claims an address, and sends nonsense from there: STUN, DTLS-like and SRTP-like.
#[tokio::test(flavor = "multi_thread")]
async fn a_flood_for_one_room_leaves_the_feedback_of_the_other() {
    const LASTS: Duration = Duration::from_secs(3);
    const WORST: Duration = Duration::from_secs(1);
    let (port, mut one, mut other) = two_classes();
    let teaching = other.teach();
    let (insider, victim) = (one.student("1001").await, other.student("1001").await);
    let (to, check) = (port.local(), insider.credentials.check());
    let flooding = std::thread::spawn(move || {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let garbage = |first: u8| [&[first, 0xfe, 0xfd, 0, 1][..], &[0xa5; 195]].concat();
        let kinds = [check.clone(), garbage(22), garbage(23), garbage(128), garbage(0)];
        let (begun, mut sent) = (Instant::now(), 0u64);
        while begun.elapsed() < LASTS {
            for kind in &kinds {
                (0..10).for_each(|_| drop(socket.send_to(kind, to)));
            }
            sent += 10 * kinds.len() as u64;
            // At most 40,000 datagrams a second: 60 Mbit/s.
            std::thread::sleep(Duration::from_micros(1_250));
        }
        sent
    });
    let mut longest = Duration::ZERO;
    for n in (0..).take_while(|_| !flooding.is_finished()) {
        longest = longest.max(says(&mut other, &victim, &format!("word {n}")).await);
        tokio::time::sleep(PACE).await;
    }
    let sent = flooding.join().unwrap();
    assert!(longest < WORST, "a message took {longest:?} while {sent} datagrams came for the other room");
    let stats = other.sfu.stats().await.unwrap();
    assert_eq!((stats.datagrams_dropped, stats.checks_left_out), (0, 0));
    assert!(one.sfu.stats().await.unwrap().checks_left_out > 0, "the flood has reached its own room");
    assert_untouched(&victim, &stats);
    teaching.abort();
    insider.viewer.close().await;
    victim.viewer.close().await;
    one.sfu.close().await;
    other.sfu.close().await;
}

/// A student of one room sends authentic checks of its own, from the forged address of a student of the other room.
#[tokio::test(flavor = "multi_thread")]
async fn checks_from_the_address_of_another_rooms_student_divert_none_of_its_datagrams() {
    let Some(raw) = raw_socket() else { return };
    let (_port, mut one, mut other) = two_classes();
    let teaching = other.teach();
    let (insider, victim) = (one.student("1001").await, other.student("1001").await);
    let (to, from, stop) = (sfu_address(&one.sfu), victim.address, Arc::new(AtomicBool::new(false)));
    let (stopped, credentials) = (Arc::clone(&stop), insider.credentials);
    let forging = std::thread::spawn(move || {
        let mut sent = 0;
        while !stopped.load(Ordering::Relaxed) {
            raw.send_to(&forged(from, to, &credentials.check()), &to.into()).unwrap();
            sent += 1;
            std::thread::sleep(Duration::from_millis(1));
        }
        sent
    });
    let (begun, before) = (Instant::now(), victim.received.lock().unwrap().len());
    let has_enough = |n: usize| n > WORDS && victim.received.lock().unwrap().len() > before + 10 * WORDS;
    for n in (0..).take_while(|n| !has_enough(*n)) {
        assert!(begun.elapsed() < DEADLINE);
        says(&mut other, &victim, &format!("word {n}")).await;
        tokio::time::sleep(PACE).await;
    }
    stop.store(true, Ordering::Relaxed);
    let sent = forging.join().unwrap();
    assert!(sent > WORDS, "{sent} forged checks");
    let stats = other.sfu.stats().await.unwrap();
    assert_eq!((stats.students, stats.disturbed), (1, 0), "after {sent} forged checks");
    assert_untouched(&victim, &stats);
    assert_only(&victim, 2);
    assert_eq!(one.sfu.stats().await.unwrap().students, 1, "the insider has gained nothing and lost nothing");
    teaching.abort();
    insider.viewer.close().await;
    victim.viewer.close().await;
    one.sfu.close().await;
    other.sfu.close().await;
}
