//! Files in a meeting whose media the server carries: who may bring one, and who may fetch it.

use std::time::Instant;

use bytes::Bytes;

use super::files::{FileClaim, FileDenied, FileLedger, FileState, NoSpace};
use super::member::Member;
use super::members::{Room, refuse};
use super::rooms::Rooms;
use super::{ConnId, Output, RoomRefusal};
use crate::id::UserId;
use crate::protocol::{ErrorCode, FileId, MAX_SERVER_FILE_BYTES, MediaHost, ServerMessage, ShareFile, SharedFile};

impl Room {
    /// A participant has a file for the others.
    pub(super) fn share_file(
        &mut self,
        now: Instant,
        (id, conn): (&UserId, ConnId),
        share: ShareFile,
        ledger: &FileLedger,
        out: &mut Vec<Output>,
    ) {
        if let Err(refusal) = self.open_file(now, (id, conn), share, ledger, out) {
            refusal.answer(conn, out);
        }
    }

    fn open_file(
        &mut self,
        now: Instant,
        (id, conn): (&UserId, ConnId),
        share: ShareFile,
        ledger: &FileLedger,
        out: &mut Vec<Output>,
    ) -> Result<(), RoomRefusal> {
        let refusal = |message: String| RoomRefusal::new(ErrorCode::FileRefused, message);
        let known = self.conferences.as_mut().zip(self.members.get_mut(id)).filter(|(_, member)| member.conn() == Some(conn));
        let Some((conferences, member)) = known else { return Err(refusal("you are in no meeting".into())) };
        let meeting = conferences.meeting().filter(|meeting| meeting.media == MediaHost::Server);
        let Some(meeting) = meeting.filter(|meeting| meeting.get(id).is_some()) else {
            let rule = "the server takes files only from the participants of a meeting whose media it carries";
            return Err(refusal(rule.into()));
        };
        if let Some(to) = share.to.as_ref().filter(|to| *to == id || meeting.get(to).is_none()) {
            return Err(refusal(format!("user {to} is no other participant of the meeting")));
        }
        if !(1..=MAX_SERVER_FILE_BYTES).contains(&share.size) {
            let most = MAX_SERVER_FILE_BYTES / 1_000_000;
            return Err(refusal(format!("a file over the server has 1 byte to {most} MB, this one {} bytes", share.size)));
        }
        if let Err(wait) = member.pace.files.take(now) {
            return Err(refusal("too many files in a short time: wait a moment".into()).after(wait));
        }
        let (user_id, nickname) = (id.clone(), member.user.nickname.clone());
        let (network, file) = (member.newcomer.network, FileId(conferences.next_number()));
        let stored = SharedFile { file, user_id, nickname, share };
        let unfinished = conferences.files.open(now, stored, network, ledger).map_err(|NoSpace(wait)| {
            let message = "the server holds as many files as it takes: try again later, when others have expired";
            refusal(message.into()).after(wait)
        })?;
        if let Some(file) = unfinished {
            out.push(Output::Send { to: conn, message: ServerMessage::FileGone { file } });
        }
        out.push(Output::Send { to: conn, message: ServerMessage::FilePlace { file } });
        Ok(())
    }

    /// The sender of a file, or a member that moderates, takes the file away.
    pub(super) fn withdraw_file(&mut self, (id, conn): (&UserId, ConnId), file: FileId, out: &mut Vec<Output>) {
        let Some((conferences, member)) = self.conferences.as_mut().zip(self.members.get(id)) else { return };
        // It may just have expired.
        let Some(sender) = conferences.files.sender(file) else { return };
        if sender != id && !member.user.moderates {
            return refuse(conn, ErrorCode::NotAllowed, "only the sender and those who moderate take a file away", out);
        }
        conferences.files.remove(file);
        self.tell_gone(file, out);
    }

    /// Tells a participant that has come, perhaps again, of the files that are there.
    pub(super) fn tell_files(&self, id: &UserId, out: &mut Vec<Output>) {
        let Some((conferences, member)) = self.conferences.as_ref().zip(self.members.get(id)) else { return };
        let takes_part = conferences.meeting().is_some_and(|meeting| meeting.get(id).is_some());
        let Some(to) = member.conn().filter(|_| takes_part) else { return };
        let files = conferences.files.of(id).into_iter();
        out.extend(files.map(|file| Output::Send { to, message: ServerMessage::File(file) }));
    }

    /// Removes files whose time is over.
    pub(super) fn expire_files(&mut self, now: Instant, out: &mut Vec<Output>) {
        let expired = self.conferences.as_mut().map(|conferences| conferences.files.expire(now)).unwrap_or_default();
        expired.into_iter().for_each(|file| self.tell_gone(file, out));
    }

    fn tell_gone(&self, file: FileId, out: &mut Vec<Output>) {
        self.tell_participants(None, &ServerMessage::FileGone { file }, out);
    }

    /// Tells a file's sender and receiver, or else all participants.
    fn tell_participants(&self, of: Option<&SharedFile>, message: &ServerMessage, out: &mut Vec<Output>) {
        let Some(meeting) = self.conferences.as_ref().and_then(|conferences| conferences.meeting()) else { return };
        let concerns = |user: &UserId| {
            let to = of.and_then(|file| file.share.to.as_ref());
            to.is_none_or(|to| to == user) || of.is_some_and(|file| file.user_id == *user)
        };
        let participants = meeting.participants.iter().map(|participant| &participant.user_id);
        let members = participants.filter(|user| concerns(user)).filter_map(|user| self.members.get(user));
        let to: Vec<ConnId> = members.filter_map(Member::conn).collect();
        if !to.is_empty() {
            out.push(Output::Broadcast { to, message: message.clone() });
        }
    }

    /// Checks that the client of a claim takes part in the meeting at present.
    fn check_claim(&self, claim: &FileClaim) -> Result<(), FileDenied> {
        let takes_part = self.conferences.as_ref().is_some_and(|conferences| {
            conferences.meeting().is_some_and(|meeting| meeting.get(&claim.user).is_some())
        });
        let member = self.members.get(&claim.user).filter(|member| member.newcomer.session == claim.session);
        if takes_part && member.is_some() { Ok(()) } else { Err(FileDenied::NoSuchFile) }
    }
}

impl Rooms {
    /// The state of a file, for a participant that may fetch it.
    ///
    /// # Errors
    /// The client does not take part in the meeting, or the file is not for it.
    pub fn file(&self, claim: &FileClaim) -> Result<FileState, FileDenied> {
        let room = self.rooms.get(&claim.room).ok_or(FileDenied::NoSuchFile)?;
        room.check_claim(claim)?;
        let conferences = room.conferences.as_ref().ok_or(FileDenied::NoSuchFile)?;
        conferences.files.state(&claim.user, claim.file)
    }

    /// The bytes `from..to` of a file.
    ///
    /// # Errors
    /// As [`Rooms::file`], or the file is not whole.
    pub fn read_file(&self, claim: &FileClaim, from: u64, to: u64) -> Result<Vec<Bytes>, FileDenied> {
        self.file(claim)?;
        let conferences = self.rooms.get(&claim.room).and_then(|room| room.conferences.as_ref());
        conferences.ok_or(FileDenied::NoSuchFile)?.files.read(claim.file, from, to)
    }

    /// Adds a part to a file. Returns the number of bytes that are there now; the outputs tell the participants of a
    /// file that is whole.
    ///
    /// # Errors
    /// As [`Rooms::file`], or the client is not the sender, or the part does not fit.
    pub fn append_file(
        &mut self,
        now: Instant,
        claim: &FileClaim,
        offset: u64,
        part: Bytes,
    ) -> Result<(u64, Vec<Output>), FileDenied> {
        let room = self.rooms.get_mut(&claim.room).ok_or(FileDenied::NoSuchFile)?;
        room.check_claim(claim)?;
        let conferences = room.conferences.as_mut().ok_or(FileDenied::NoSuchFile)?;
        let (received, whole) = conferences.files.append(now, (&claim.user, claim.file), offset, part)?;
        let mut out = Vec::new();
        if let Some(file) = whole {
            room.tell_participants(Some(&file), &ServerMessage::File(file.clone()), &mut out);
        }
        Ok((received, out))
    }
}
