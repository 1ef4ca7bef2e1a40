//! The files of meetings whose media the server carries. They are in memory, for some minutes, and bounded: for each
//! room, for each network, and for all together.
//!
//! A network may hold as many bytes as stay free for others (dynamic thresholds, Choudhury and Hahne 1998): one network
//! alone gets half of all, and one that holds nothing gets what is free. If nothing is, the oldest files of the network
//! that holds most give way.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::id::{RoomId, UserId};
use crate::network::Network;
use crate::protocol::{FILE_PART_BYTES, FileId, MAX_SERVER_FILE_BYTES, SessionSecret, SharedFile};

/// The most bytes of all files: the largest file for each room whose media a server carries by default.
const MAX_ALL_BYTES: u64 = 16 * MAX_SERVER_FILE_BYTES;

/// The most bytes of the files of one room.
const MAX_ROOM_BYTES: u64 = 4 * MAX_SERVER_FILE_BYTES;

/// The most files of one room.
const MAX_ROOM_FILES: usize = 32;

/// The least that a file counts, in bytes: what the server remembers of a file takes memory, too.
const LEAST_BYTES: u64 = 16 * 1024;

/// How long a file stays at the server once it is whole.
const FILE_STAYS: Duration = Duration::from_secs(10 * 60);

/// How long the server waits for the next part of a file.
const PART_WITHIN: Duration = Duration::from_secs(60);

/// A request about a file, with what proves the right to it.
#[derive(Debug, Clone)]
pub struct FileClaim {
    /// The room.
    pub room: RoomId,
    /// The member that asks.
    pub user: UserId,
    /// The secret of the member's connection.
    pub session: SessionSecret,
    /// The file.
    pub file: FileId,
}

/// Why a request about a file is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FileDenied {
    /// There is no such file, or not for this client.
    #[error("there is no such file for you in this room: it may have expired")]
    NoSuchFile,
    /// Only the sender writes.
    #[error("only the sender of the file may write it")]
    NotSender,
    /// The part does not follow the bytes that are there.
    #[error("the part must begin at byte {received}")]
    Offset {
        /// The number of bytes that are there.
        received: u64,
    },
    /// The part is empty, too small, or passes the end of the file.
    #[error("a part has {FILE_PART_BYTES} bytes, and only the last part of a file has fewer")]
    PartSize,
    /// The file is not whole yet.
    #[error("the file is still on its way to the server")]
    Incomplete,
}

/// A file as HTTP shows it.
#[derive(Debug, Clone)]
pub struct FileState {
    /// What is known of the file.
    pub file: SharedFile,
    /// The number of bytes that are there.
    pub received: u64,
    /// Whether the client that asks is the sender.
    pub is_sender: bool,
}

/// The bytes that the files of all rooms take.
#[derive(Debug, Clone, Default)]
pub(super) struct FileLedger(Arc<Mutex<Ledger>>);

#[derive(Debug, Default)]
struct Ledger {
    all: u64,
    networks: HashMap<Network, u64>,
}

/// What one file takes, until the file and the last response that carries a part of it are dropped.
#[derive(Debug)]
pub(super) struct Charge {
    ledger: FileLedger,
    network: Network,
    bytes: u64,
}

impl FileLedger {
    /// Counts a file of the network, or returns nothing if there is no space.
    pub(super) fn take(&self, network: Network, size: u64) -> Option<Charge> {
        let bytes = size.max(LEAST_BYTES);
        let mut ledger = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !ledger.fits(network, bytes) {
            return None;
        }
        ledger.all += bytes;
        *ledger.networks.entry(network).or_default() += bytes;
        Some(Charge { ledger: self.clone(), network, bytes })
    }

    /// The network whose oldest file has to give way to a file of this network; none if there is space already, or if
    /// no other network would still hold more.
    pub(super) fn displaced_by(&self, network: Network, size: u64) -> Option<Network> {
        let bytes = size.max(LEAST_BYTES);
        let ledger = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (largest, most) = ledger.networks.iter().max_by_key(|(network, held)| (**held, **network))?;
        let is_larger = *most > ledger.held(network) + bytes;
        (!ledger.fits(network, bytes) && is_larger).then_some(*largest)
    }
}

impl Ledger {
    fn held(&self, network: Network) -> u64 {
        self.networks.get(&network).copied().unwrap_or(0)
    }

    fn fits(&self, network: Network, bytes: u64) -> bool {
        let held = self.held(network);
        let free = MAX_ALL_BYTES.checked_sub(self.all + bytes);
        free.is_some_and(|free| held == 0 || held + bytes <= free)
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        let mut ledger = self.ledger.0.lock().unwrap_or_else(PoisonError::into_inner);
        ledger.all -= self.bytes;
        if let Some(held) = ledger.networks.get_mut(&self.network) {
            *held -= self.bytes;
            if *held == 0 {
                ledger.networks.remove(&self.network);
            }
        }
    }
}

/// Bytes of a file, which count as long as somebody holds them.
struct Part {
    bytes: Bytes,
    _charge: Arc<Charge>,
}

impl AsRef<[u8]> for Part {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// A participant that asks for a file, and the number of the conference in which it takes part.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reader<'a> {
    pub(super) user: &'a UserId,
    pub(super) conference: u32,
}

/// A file of a room.
#[derive(Debug)]
struct Stored {
    file: SharedFile,
    /// The number of the conference whose participants get the file.
    conference: u32,
    parts: Vec<Bytes>,
    received: u64,
    until: Instant,
    charge: Arc<Charge>,
}

impl Stored {
    fn is_whole(&self) -> bool {
        self.received == self.file.share.size
    }

    /// Whether this participant may fetch the file.
    fn is_for(&self, Reader { user, conference }: Reader<'_>) -> bool {
        let to = self.file.share.to.as_ref();
        let is_meant = self.file.user_id == *user || self.is_whole() && to.is_none_or(|to| to == user);
        is_meant && self.conference == conference
    }
}

/// The files of one room.
#[derive(Debug, Default)]
pub(super) struct RoomFiles(BTreeMap<FileId, Stored>);

/// There is no space for a file; perhaps there is after this time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NoSpace(pub(super) Duration);

impl RoomFiles {
    /// Makes a place for a file. An unfinished file of the same sender gives way; its number is returned.
    pub(super) fn open(
        &mut self,
        now: Instant,
        (file, conference): (SharedFile, u32),
        network: Network,
        ledger: &FileLedger,
    ) -> Result<Option<FileId>, NoSpace> {
        let unfinished = self.drop_unfinished(&file.user_id);
        let sum: u64 = self.0.values().map(|stored| stored.file.share.size).sum();
        let fits = sum + file.share.size <= MAX_ROOM_BYTES && self.0.len() < MAX_ROOM_FILES;
        let charge = if fits { ledger.take(network, file.share.size) } else { None };
        let Some(charge) = charge else {
            // The space of another room may be free at any time.
            let soonest = self.0.values().map(|stored| stored.until.saturating_duration_since(now)).min();
            return Err(NoSpace(soonest.filter(|_| !fits).unwrap_or(PART_WITHIN)));
        };
        let (parts, received, until, charge) = (Vec::new(), 0, now + PART_WITHIN, Arc::new(charge));
        self.0.insert(file.file, Stored { file, conference, parts, received, until, charge });
        Ok(unfinished)
    }

    /// Adds a part. Returns the number of bytes that are there now, and the file if it is whole.
    pub(super) fn append(
        &mut self,
        now: Instant,
        (writer, id): (Reader<'_>, FileId),
        offset: u64,
        part: Bytes,
    ) -> Result<(u64, Option<SharedFile>), FileDenied> {
        let stored = self.0.get_mut(&id).filter(|stored| stored.is_for(writer)).ok_or(FileDenied::NoSuchFile)?;
        if stored.file.user_id != *writer.user {
            return Err(FileDenied::NotSender);
        }
        if offset != stored.received {
            return Err(FileDenied::Offset { received: stored.received });
        }
        // Parts of one byte would take many times their length.
        if part.is_empty() || part.len() as u64 != FILE_PART_BYTES.min(stored.file.share.size - offset) {
            return Err(FileDenied::PartSize);
        }
        stored.received += part.len() as u64;
        stored.parts.push(Bytes::from_owner(Part { bytes: part, _charge: stored.charge.clone() }));
        stored.until = now + if stored.is_whole() { FILE_STAYS } else { PART_WITHIN };
        Ok((stored.received, stored.is_whole().then(|| stored.file.clone())))
    }

    /// The state of a file, for a participant that may fetch it.
    pub(super) fn state(&self, reader: Reader<'_>, id: FileId) -> Result<FileState, FileDenied> {
        let stored = self.0.get(&id).filter(|stored| stored.is_for(reader)).ok_or(FileDenied::NoSuchFile)?;
        let is_sender = stored.file.user_id == *reader.user;
        Ok(FileState { file: stored.file.clone(), received: stored.received, is_sender })
    }

    /// The bytes `from..to` of a whole file, not copied.
    pub(super) fn read(&self, id: FileId, from: u64, to: u64) -> Result<Vec<Bytes>, FileDenied> {
        let stored = self.0.get(&id).ok_or(FileDenied::NoSuchFile)?;
        if !stored.is_whole() {
            return Err(FileDenied::Incomplete);
        }
        let mut start = 0;
        let mut bytes = Vec::new();
        for part in &stored.parts {
            let end = start + part.len() as u64;
            let (first, last) = (from.max(start), to.min(end));
            if first < last {
                // Both are within the part.
                bytes.push(part.slice((first - start) as usize..(last - start) as usize));
            }
            start = end;
        }
        Ok(bytes)
    }

    /// The whole files that this participant may fetch.
    pub(super) fn of(&self, reader: Reader<'_>) -> Vec<SharedFile> {
        let whole = self.0.values().filter(|stored| stored.is_whole() && stored.is_for(reader));
        whole.map(|stored| stored.file.clone()).collect()
    }

    /// The sender of a file, and the conference that gets it.
    pub(super) fn source(&self, id: FileId) -> Option<(&UserId, u32)> {
        let stored = self.0.get(&id)?;
        Some((&stored.file.user_id, stored.conference))
    }

    /// The file of this network whose time ends first.
    pub(super) fn oldest_of(&self, network: Network) -> Option<(Instant, FileId)> {
        let charged = self.0.iter().filter(|(_, stored)| stored.charge.network == network);
        charged.map(|(id, stored)| (stored.until, *id)).min()
    }

    /// A conference is over.
    pub(super) fn end(&mut self, conference: u32) {
        self.0.retain(|_, stored| stored.conference != conference);
    }

    /// Removes a file.
    pub(super) fn remove(&mut self, id: FileId) {
        self.0.remove(&id);
    }

    /// Removes the unfinished file of a sender, if there is one.
    pub(super) fn drop_unfinished(&mut self, user: &UserId) -> Option<FileId> {
        let mut unfinished = self.0.iter().filter(|(_, stored)| stored.file.user_id == *user && !stored.is_whole());
        let id = unfinished.next().map(|(id, _)| *id)?;
        self.0.remove(&id);
        Some(id)
    }

    /// Removes the files whose time is over, and returns their numbers, each with the conference that got it.
    pub(super) fn expire(&mut self, now: Instant) -> Vec<(FileId, u32)> {
        let expired = self.0.extract_if(.., |_, stored| stored.until <= now);
        expired.map(|(id, stored)| (id, stored.conference)).collect()
    }

    /// When [`RoomFiles::expire`] is due.
    pub(super) fn due(&self) -> Option<Instant> {
        self.0.values().map(|stored| stored.until).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(n: u32) -> Network {
        Network::of(std::net::Ipv4Addr::from_bits(n).into())
    }

    #[test]
    fn one_network_holds_half_and_the_largest_gives_way() {
        let ledger = FileLedger::default();
        let fill =
            |n: u32| -> Vec<Charge> { std::iter::from_fn(|| ledger.take(network(n), MAX_SERVER_FILE_BYTES)).collect() };
        let mut first = fill(1);
        assert_eq!(first.len(), 8);
        assert_eq!(ledger.displaced_by(network(1), 1), None, "nobody gives way to the largest");
        assert_eq!(ledger.displaced_by(network(2), 1), None, "there is space");
        let others: Vec<_> = (2..6).map(fill).collect();
        assert_eq!(others.iter().map(Vec::len).collect::<Vec<_>>(), [4, 2, 1, 1]);
        assert!(fill(9).is_empty());
        assert_eq!(ledger.displaced_by(network(9), MAX_SERVER_FILE_BYTES), Some(network(1)));
        first.pop();
        assert!(ledger.take(network(9), MAX_SERVER_FILE_BYTES).is_some());
        drop((first, others));
        let ledger = ledger.0.lock().unwrap();
        assert!(ledger.all == 0 && ledger.networks.is_empty());
    }

    #[test]
    fn a_file_counts_until_the_last_response_with_a_part_of_it_is_sent() {
        let (ledger, now) = (FileLedger::default(), Instant::now());
        let user: UserId = "1001".parse().unwrap();
        let share = serde_json::from_str(r#"{"name":"a","size":262145}"#).unwrap();
        let (file, nickname) = (FileId(7), "".into());
        let file = SharedFile { file, user_id: user.clone(), nickname, share };
        let mut files = RoomFiles::default();
        files.open(now, (file, 0), network(1), &ledger).unwrap();
        let key = (Reader { user: &user, conference: 0 }, FileId(7));
        let first = vec![1; FILE_PART_BYTES as usize];
        assert_eq!(files.append(now, key, 0, vec![1; 5].into()), Err(FileDenied::PartSize));
        assert_eq!(files.append(now, key, 0, first.into()), Ok((FILE_PART_BYTES, None)));
        assert_eq!(files.read(FileId(7), 0, 1), Err(FileDenied::Incomplete));
        assert_eq!(files.append(now, key, 0, vec![2].into()), Err(FileDenied::Offset { received: FILE_PART_BYTES }));
        assert_eq!(files.append(now, key, FILE_PART_BYTES, vec![2, 3].into()), Err(FileDenied::PartSize));
        let (received, whole) = files.append(now, key, FILE_PART_BYTES, vec![2].into()).unwrap();
        assert!(received == FILE_PART_BYTES + 1 && whole.is_some());
        let read = files.read(FileId(7), FILE_PART_BYTES - 1, FILE_PART_BYTES + 1).unwrap();
        assert_eq!(read.concat(), [1, 2]);
        assert_eq!(files.expire(now + FILE_STAYS), [(FileId(7), 0)]);
        let held = || ledger.0.lock().unwrap().all;
        assert_eq!(held(), 262_145);
        drop(read);
        assert_eq!(held(), 0);
    }
}
