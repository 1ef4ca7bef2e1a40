//! Attacks by multicast DNS, in a network of machines: the teacher announces its room, and students find it.

use std::net::{SocketAddrV4, TcpListener};
use std::time::{Duration, Instant};

use classroom::signal::{Announced, announce};

use super::{MAX_GROWTH_KB, memory_kb};
use crate::attack::dns_sd::{self, Message};
use crate::attack::udp::Flood;
use crate::support::{Classroom, DEADLINE, Lan, Process, ROOM, has_lan, is_picture};

/// Longer than the student needs. The attack ends with the test's runtime.
const LASTS: Duration = Duration::from_secs(60);

/// The most lines about trouble that a person has to read.
const MAX_LINES: usize = 10;

/// Lines about trouble after `mark`.
fn lines(process: &Process, mark: usize) -> usize {
    process.events()[mark..].iter().filter(|event| event["event"] == "warning" || event["event"] == "notice").count()
}

/// Needs: the identity of a server that a student has known since the first lecture.
#[test]
fn forged_announcements_bring_no_student_to_another_server() {
    if !has_lan("forged_announcements_bring_no_student_to_another_server") {
        return;
    }
    let class = Classroom::undisturbed();
    let mut lan = Lan::new();
    let [here, there, elsewhere] = std::array::from_fn(|_| lan.machine());
    let teach = class.command(&["teach", "--room", ROOM, "--test", "--size", "320x180", "--fps", "15", "--tls"]);
    let teacher = Process::start_on(&here, "teacher", &teach);
    teacher.wait_for("joined", |event| event["event"] == "joined");
    let watch = class.command(&["watch", "--room", ROOM, "--user", "1001", "--sink", "null"]);
    let mut student = Process::start_on(&there, "student", &watch);
    student.wait_for("picture", is_picture);
    let student_kb = memory_kb(student.pid(), "VmHWM:");
    student.interrupt();
    student.ends_with(0);

    let address = elsewhere.address().parse().unwrap();
    let forged = elsewhere.open(|| TcpListener::bind((address, 0))).unwrap();
    forged.set_nonblocking(true).unwrap();
    let server = SocketAddrV4::new(address, forged.local_addr().unwrap().port());
    let (mark, teacher_kb) = (teacher.mark(), memory_kb(teacher.pid(), "VmRSS:"));
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let floods = [(Message::Announcement, 200), (Message::Orphan, 300), (Message::Query, 200)];
    let attackers = floods.map(|(message, per_second)| {
        let socket = elsewhere.open(|| dns_sd::socket(address)).unwrap();
        runtime.spawn(dns_sd::flood(socket, message, server, Flood { per_second, lasts: LASTS }))
    });
    let again = Process::start_on(&there, "student again", &watch);
    again.wait_for("picture", is_picture);
    assert!(forged.accept().is_err(), "the student asked the forged server");
    let grown = memory_kb(teacher.pid(), "VmHWM:").saturating_sub(teacher_kb);
    assert!(grown < MAX_GROWTH_KB, "the teacher has {grown} kB more");
    let grown = memory_kb(again.pid(), "VmHWM:").saturating_sub(student_kb);
    assert!(grown < MAX_GROWTH_KB, "the student has {grown} kB more");
    assert!(lines(&teacher, mark) <= MAX_LINES && lines(&again, 0) <= MAX_LINES, "{:?}", again.events());
    // Somebody who comes later finds the room, too.
    let newcomer = class.command(&["watch", "--room", ROOM, "--user", "1002", "--sink", "null"]);
    let newcomer = Process::start_on(&there, "newcomer", &newcomer);
    newcomer.wait_for("picture", is_picture);
    assert!(forged.accept().is_err(), "the newcomer asked the forged server");
    attackers.iter().for_each(tokio::task::JoinHandle::abort);
    runtime.shutdown_background();
}

/// The library would keep whatever it is told. Needs: the filter of the sockets.
#[tokio::test(flavor = "multi_thread")]
async fn an_announcement_keeps_no_records_of_a_flood_and_is_found_in_it() {
    if !has_lan("an_announcement_keeps_no_records_of_a_flood_and_is_found_in_it") {
        return;
    }
    let mut lan = Lan::new();
    let [here, elsewhere] = std::array::from_fn(|_| lan.machine());
    let announced = Announced { room: ROOM.parse().unwrap(), port: 18_080, nickname: "Ms Li".into(), identity: None };
    let announcement = here.open(|| announce(&announced)).unwrap();
    let address = elsewhere.address().parse().unwrap();
    let open = || elsewhere.open(|| dns_sd::socket(address)).unwrap();
    let attackers = [(Message::Orphan, 600), (Message::Query, 2)].map(|(message, per_second)| {
        let flood = Flood { per_second, lasts: LASTS };
        tokio::spawn(dns_sd::flood(open(), message, SocketAddrV4::new(address, 18_080), flood))
    });
    let probe = open();
    probe.join_multicast_v4(dns_sd::GROUP.ip(), &address).unwrap();
    probe.set_read_timeout(Some(DEADLINE)).unwrap();
    // The probe reads the flood, and the answers of the announcement between.
    let answers = tokio::task::spawn_blocking(move || {
        let (begun, mut datagram, mut of_flood) = (Instant::now(), [0; 9_000], 0);
        while begun.elapsed() < DEADLINE {
            let (length, from) = probe.recv_from(&mut datagram).unwrap();
            of_flood += u32::from(from.ip() == address);
            let is_answer = from.ip() != address && datagram[..length].windows(5).any(|text| text == b"Ms Li");
            if is_answer && of_flood > 600 {
                return true;
            }
        }
        false
    });
    assert!(answers.await.unwrap(), "the room is not found");
    assert_eq!(announcement.records().await, Some(0));
    attackers.iter().for_each(tokio::task::JoinHandle::abort);
    announcement.stop().await;
}
