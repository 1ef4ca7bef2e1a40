//! Files of meetings whose media the server carries.

use bytes::Bytes;

use super::calls::*;
use super::meeting_host::of_seven;
use super::meetings::guest;
use super::*;
use crate::protocol::{FILE_PART_BYTES, FileId, MAX_SERVER_FILE_BYTES, ShareFile};

fn share(size: u64, to: Option<&str>) -> ClientMessage {
    let mime = String::from("application/pdf").into();
    ClientMessage::ShareFile(ShareFile { name: "notes.pdf".into(), size, mime, to: to.map(id) })
}

/// The number of the place that a connection got.
fn place(out: &[Output], conn: ConnId) -> Option<FileId> {
    told(out, conn).into_iter().find_map(|message| match message {
        ServerMessage::FilePlace { file } => Some(file),
        _ => None,
    })
}

/// The whole files that a connection learns of, with their senders.
fn files(out: &[Output], conn: ConnId) -> Vec<(FileId, String)> {
    let file = |message| match message {
        ServerMessage::File(shared) => Some((shared.file, shared.user_id.to_string())),
        _ => None,
    };
    told(out, conn).into_iter().filter_map(file).collect()
}

fn gone(out: &[Output], conn: ConnId) -> Vec<FileId> {
    let file = |message| match message {
        ServerMessage::FileGone { file } => Some(file),
        _ => None,
    };
    told(out, conn).into_iter().filter_map(file).collect()
}

fn claim(user: &str, file: FileId) -> FileClaim {
    let Newcomer { room, user, session, .. } = guest(user);
    FileClaim { room, user, session, file }
}

impl TestServer {
    /// Brings a file of 1001 to the server, and returns its number and what the participants are told.
    fn brings(&mut self, conn: ConnId, size: u64, to: Option<&str>) -> (FileId, Vec<Output>) {
        let out = self.say(conn, share(size, to));
        let file = place(&out, conn).unwrap_or_else(|| panic!("{out:?}"));
        let claim = claim("1001", file);
        let mut offset = 0;
        loop {
            let part = Bytes::from(vec![7; FILE_PART_BYTES.min(size - offset) as usize]);
            let (received, out) = self.rooms.append_file(self.now, &claim, offset, part).unwrap();
            offset = received;
            if received == size {
                return (file, out);
            }
            assert_eq!(out, []);
        }
    }

    fn may_fetch(&self, user: &str, file: FileId) -> bool {
        let read = self.rooms.read_file(&claim(user, file), 0, 1);
        assert!(matches!(read, Ok(_) | Err(FileDenied::NoSuchFile)), "{read:?}");
        read.is_ok()
    }
}

#[test]
fn participants_fetch_a_file_and_nobody_else_does() {
    let (mut server, conns, _) = of_seven();
    let present = server.let_in(guest("1008"));
    let (file, out) = server.brings(conns[0], 600_000, None);
    for conn in &conns {
        assert_eq!(files(&out, *conn), [(file, "1001".to_owned())], "also its sender");
    }
    assert_eq!(files(&out, present), []);
    assert!(server.may_fetch("1007", file) && !server.may_fetch("1008", file));
    let stranger = FileClaim { session: secret('x'), ..claim("1007", file) };
    assert_eq!(server.rooms.read_file(&stranger, 0, 1), Err(FileDenied::NoSuchFile));
    let elsewhere = FileClaim { room: "1".parse().unwrap(), ..claim("1007", file) };
    assert_eq!(server.rooms.read_file(&elsewhere, 0, 1), Err(FileDenied::NoSuchFile));
    let append = server.rooms.append_file(server.now, &claim("1002", file), 600_000, vec![1].into());
    assert_eq!(append, Err(FileDenied::NotSender));
    // Who comes later learns of it, and who leaves can't fetch it any more.
    assert_eq!(files(&server.say(present, participate()), present), [(file, "1001".to_owned())]);
    assert!(server.may_fetch("1008", file));
    server.say(present, ClientMessage::Hangup { target_uid: id("1008"), source: None });
    assert!(!server.may_fetch("1008", file));
    assert_eq!(gone(&server.pass(Duration::from_secs(601)), conns[3]), [file]);
    assert!(!server.may_fetch("1001", file));
}

#[test]
fn a_file_for_one_is_for_one() {
    let (mut server, conns, _) = of_seven();
    for to in ["1001", "1008"] {
        assert_eq!(error_code(&server.say(conns[0], share(9, Some(to))), conns[0]), Some(ErrorCode::FileRefused));
    }
    let (file, out) = server.brings(conns[0], 9, Some("1002"));
    assert_eq!((files(&out, conns[0]).len(), files(&out, conns[1]).len(), files(&out, conns[2]).len()), (1, 1, 0));
    assert!(server.may_fetch("1001", file) && server.may_fetch("1002", file) && !server.may_fetch("1003", file));
    let out = server.say(conns[2], ClientMessage::WithdrawFile { file });
    assert_eq!(error_code(&out, conns[2]), Some(ErrorCode::NotAllowed));
    let out = server.say(conns[0], ClientMessage::WithdrawFile { file });
    assert_eq!(gone(&out, conns[1]), [file]);
    assert!(!server.may_fetch("1002", file));
}

#[test]
fn only_participants_of_a_meeting_on_the_server_bring_files() {
    let mut mesh = TestServer::new();
    let conns = mesh.meeting(2);
    assert_eq!(error_code(&mesh.say(conns[0], share(9, None)), conns[0]), Some(ErrorCode::FileRefused));
    let (mut server, conns, _) = of_seven();
    let present = server.let_in(guest("1008"));
    assert_eq!(error_code(&server.say(present, share(9, None)), present), Some(ErrorCode::FileRefused));
    for size in [0, MAX_SERVER_FILE_BYTES + 1, u64::MAX] {
        assert_eq!(error_code(&server.say(conns[0], share(size, None)), conns[0]), Some(ErrorCode::FileRefused));
    }
    let teacher = server.let_in(Newcomer { room: "7".parse().unwrap(), ..teacher() });
    assert_eq!(error_code(&server.say(teacher, share(9, None)), teacher), Some(ErrorCode::FileRefused));
}

#[test]
fn a_room_holds_so_much_and_an_unfinished_file_gives_way() {
    let (mut server, conns, _) = of_seven();
    let first = place(&server.say(conns[0], share(MAX_SERVER_FILE_BYTES, None)), conns[0]).unwrap();
    let out = server.say(conns[0], share(MAX_SERVER_FILE_BYTES, None));
    assert_eq!(gone(&out, conns[0]), [first]);
    for conn in &conns[1..4] {
        assert!(place(&server.say(*conn, share(MAX_SERVER_FILE_BYTES, None)), *conn).is_some());
    }
    let out = server.say(conns[4], share(1, None));
    let refusal = told(&out, conns[4]);
    let is_temporary = |message: &ServerMessage| {
        matches!(message, ServerMessage::Error { code: ErrorCode::FileRefused, retry_after_ms: Some(1..), .. })
    };
    assert!(is_temporary(&refusal[0]), "{refusal:?}");
    // Nobody brings the rest of these files.
    server.say(conns[1], ClientMessage::Leave { over: false });
    assert!(place(&server.say(conns[4], share(1, None)), conns[4]).is_some());
    server.pass(Duration::from_secs(61));
    assert!(place(&server.say(conns[5], share(MAX_SERVER_FILE_BYTES, None)), conns[5]).is_some());
}

#[test]
fn the_network_that_holds_most_gives_way_to_another_one() {
    let (mut server, conns, _) = of_seven();
    let files: Vec<FileId> = (0..3).map(|_| server.brings(conns[0], MAX_SERVER_FILE_BYTES, None).0).collect();
    let network = |n: u32| network_of(&format!("10.0.0.{n}"));
    let fills = |n: u32| server.rooms.files.take(network(n), MAX_SERVER_FILE_BYTES);
    let charges: Vec<_> = (1..100).map_while(fills).collect();
    assert_eq!(charges.len(), 13, "the server is full");
    let newcomer = server.let_in(Newcomer { network: network(200), ..guest("1008") });
    server.say(newcomer, participate());
    let out = server.say(newcomer, share(MAX_SERVER_FILE_BYTES, None));
    assert_eq!(gone(&out, conns[2]), [files[0]], "the oldest of the largest network");
    assert!(place(&out, newcomer).is_some(), "{out:?}");
    assert!(!server.may_fetch("1002", files[0]) && server.may_fetch("1002", files[1]));
}
