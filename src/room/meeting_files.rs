//! Files in a meeting whose media the server carries: who may bring one, and who may fetch it.

use std::time::Instant;

use bytes::Bytes;

use super::conference::Conferences;
use super::files::{FileClaim, FileDenied, FileLedger, FileState, NoSpace, Reader};
use super::members::{Room, refuse};
use super::rooms::Rooms;
use super::{ConnId, Output, RoomRefusal};
use crate::id::UserId;
use crate::network::Network;
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
        let member = self.members.get_mut(id).filter(|member| member.conn() == Some(conn));
        let Some((conferences, member)) = self.conferences.as_mut().zip(member) else {
            return Err(refusal("you are in no meeting".into()));
        };
        let place = conferences.place(id);
        let conference = place.and_then(|place| Some((place, conferences.conference(place)?)));
        let conference = conference.filter(|(_, known)| known.media == MediaHost::Server && known.get(id).is_some());
        let Some((place, conference)) = conference else {
            let rule = "the server takes files only from the participants of a meeting whose media it carries";
            return Err(refusal(rule.into()));
        };
        if let Some(to) = share.to.as_ref().filter(|to| *to == id || conference.get(to).is_none()) {
            return Err(refusal(format!("user {to} is no other participant of the meeting")));
        }
        if !(1..=MAX_SERVER_FILE_BYTES).contains(&share.size) {
            let (most, size) = (MAX_SERVER_FILE_BYTES / 1_000_000, share.size);
            return Err(refusal(format!("a file over the server has 1 byte to {most} MB, this one {size} bytes")));
        }
        if let Err(wait) = member.pace.files.take(now) {
            return Err(refusal("too many files in a short time: wait a moment".into()).after(wait));
        }
        let (user_id, nickname) = (id.clone(), member.user.nickname.clone());
        let (network, file) = (member.newcomer.network, FileId(conferences.next_number()));
        let stored = SharedFile { file, user_id, nickname, share };
        let unfinished = conferences.files.open(now, (stored, place), network, ledger).map_err(|NoSpace(wait)| {
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
        let Some((sender, conference)) = conferences.files.source(file) else { return };
        if sender != id && !member.user.moderates {
            return refuse(conn, ErrorCode::NotAllowed, "only the sender and those who moderate take a file away", out);
        }
        conferences.files.remove(file);
        self.tell_gone((file, conference), out);
    }

    /// Tells a participant that has come, perhaps again, of the files that are there.
    pub(super) fn tell_files(&self, id: &UserId, out: &mut Vec<Output>) {
        let Some((conferences, member)) = self.conferences.as_ref().zip(self.members.get(id)) else { return };
        let Some((to, reader)) = member.conn().zip(conferences.reader(id)) else { return };
        let files = conferences.files.of(reader).into_iter();
        out.extend(files.map(|file| Output::Send { to, message: ServerMessage::File(file) }));
    }

    /// Removes files whose time is over.
    pub(super) fn expire_files(&mut self, now: Instant, out: &mut Vec<Output>) {
        let expired = self.conferences.as_mut().map(|conferences| conferences.files.expire(now)).unwrap_or_default();
        expired.into_iter().for_each(|file| self.tell_gone(file, out));
    }

    /// The file of this network whose time ends first.
    fn oldest_file_of(&self, network: Network) -> Option<(Instant, FileId)> {
        self.conferences.as_ref()?.files.oldest_of(network)
    }

    /// The server needs the space of a file.
    fn displace_file(&mut self, file: FileId, out: &mut Vec<Output>) {
        let Some(conferences) = &mut self.conferences else { return };
        let Some(conference) = conferences.files.source(file).map(|(_, conference)| conference) else { return };
        conferences.files.remove(file);
        self.tell_gone((file, conference), out);
    }

    fn tell_gone(&self, (file, conference): (FileId, u32), out: &mut Vec<Output>) {
        self.tell_participants(conference, |_| true, ServerMessage::FileGone { file }, out);
    }

    /// Tells a file's sender and its receiver, or else all participants.
    fn tell_file(&self, conference: u32, file: SharedFile, out: &mut Vec<Output>) {
        let (sender, receiver) = (file.user_id.clone(), file.share.to.clone());
        let is_for = |user: &UserId| *user == sender || receiver.as_ref().is_none_or(|receiver| receiver == user);
        self.tell_participants(conference, is_for, ServerMessage::File(file), out);
    }

    fn tell_participants(
        &self,
        conference: u32,
        is_for: impl Fn(&UserId) -> bool,
        message: ServerMessage,
        out: &mut Vec<Output>,
    ) {
        let conferences = self.conferences.as_ref();
        let Some(known) = conferences.and_then(|conferences| conferences.conference(conference)) else { return };
        let users = known.participants.iter().map(|participant| &participant.user_id).filter(|user| is_for(user));
        let to: Vec<ConnId> = users.filter_map(|user| self.members.get(user)?.conn()).collect();
        if !to.is_empty() {
            out.push(Output::Broadcast { to, message });
        }
    }

    /// Checks that the client of a claim takes part in a conference at present.
    fn reader<'a>(&'a self, claim: &'a FileClaim) -> Result<(&'a Conferences, Reader<'a>), FileDenied> {
        let member = self.members.get(&claim.user).filter(|member| member.newcomer.session == claim.session);
        let reader = self.conferences.as_ref().filter(|_| member.is_some());
        let reader = reader.and_then(|conferences| Some((conferences, conferences.reader(&claim.user)?)));
        reader.ok_or(FileDenied::NoSuchFile)
    }
}

impl Rooms {
    /// The network of a participant who may bring a file of this size.
    pub(super) fn file_network(&self, conn: ConnId, size: u64) -> Option<Network> {
        let (room, user) = self.conns.get(&conn)?;
        let room = self.rooms.get(room)?;
        let conferences = room.conferences.as_ref()?;
        let is_served = conferences.of(user)?.media == MediaHost::Server && conferences.get(user).is_some();
        let member = room.members.get(user).filter(|_| is_served && size <= MAX_SERVER_FILE_BYTES)?;
        Some(member.newcomer.network)
    }

    /// Makes space for a file of this network: the oldest files of the network that holds most give way.
    pub(super) fn make_space(&mut self, network: Network, size: u64, out: &mut Vec<Output>) {
        while let Some(largest) = self.files.displaced_by(network, size) {
            let rooms = self.rooms.values_mut().filter_map(|room| Some((room.oldest_file_of(largest)?, room)));
            // The last parts of files that are gone may still be on their way to somebody.
            let Some(((_, file), room)) = rooms.min_by_key(|(oldest, _)| *oldest) else { return };
            room.displace_file(file, out);
        }
    }

    /// The state of a file, for a participant that may fetch it.
    ///
    /// # Errors
    /// The client does not take part in the meeting, or the file is not for it.
    pub fn file(&self, claim: &FileClaim) -> Result<FileState, FileDenied> {
        let (conferences, reader) = self.reader(claim)?;
        conferences.files.state(reader, claim.file)
    }

    fn reader<'a>(&'a self, claim: &'a FileClaim) -> Result<(&'a Conferences, Reader<'a>), FileDenied> {
        self.rooms.get(&claim.room).ok_or(FileDenied::NoSuchFile)?.reader(claim)
    }

    /// The bytes `from..to` of a file.
    ///
    /// # Errors
    /// As [`Rooms::file`], or the file is not whole.
    pub fn read_file(&self, claim: &FileClaim, from: u64, to: u64) -> Result<Vec<Bytes>, FileDenied> {
        let (conferences, reader) = self.reader(claim)?;
        conferences.files.state(reader, claim.file)?;
        conferences.files.read(claim.file, from, to)
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
        let conference = self.reader(claim)?.1.conference;
        let room = self.rooms.get_mut(&claim.room).ok_or(FileDenied::NoSuchFile)?;
        let conferences = room.conferences.as_mut().ok_or(FileDenied::NoSuchFile)?;
        let writer = Reader { user: &claim.user, conference };
        let (received, whole) = conferences.files.append(now, (writer, claim.file), offset, part)?;
        let mut out = Vec::new();
        if let Some(file) = whole {
            room.tell_file(conference, file, &mut out);
        }
        Ok((received, out))
    }
}
