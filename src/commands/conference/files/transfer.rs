//! One file on its way: over a data channel of its own to or from another participant, or over the server in parts.
//! Each is a task, which tells how far it is, and how it ended.

use std::fs::File;
use std::future::Future;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};

use super::inbox::Incoming;
use super::pace::FilePace;
use crate::commands::blocking;
use crate::http::file_client::{FileClient, PartError};
use crate::pair::{FileChannel, FileChannelEvent, FileDigest};
use crate::protocol::{FILE_CHUNK_BYTES, FILE_PART_BYTES, FileChannelMessage, FileId};

/// How much is read from or written to the disk at once.
const BLOCK_BYTES: u64 = 256 * 1024;

/// How often progress is told.
const PROGRESS_EVERY: Duration = Duration::from_secs(2);

/// A file that makes no progress for this time has lost its connection.
const STALLED: Duration = Duration::from_secs(30);

/// How long to try again over the server without a byte, and the pause before.
const PATIENCE: Duration = Duration::from_secs(45);
const PAUSE: Duration = Duration::from_secs(1);

/// An event of a task.
#[derive(Debug)]
pub(super) enum Told {
    /// So many bytes are through.
    Progress(u64),
    /// The end.
    Ended(Result<Whole, Broken>),
}

/// A file that is whole.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Whole {
    /// At this member.
    Here(PathBuf),
    /// At the other one.
    There,
    /// At the server.
    AtServer,
}

/// Why a file is not whole.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Broken {
    /// The connection broke.
    Lost,
    /// Something else.
    Failed(String),
}

/// The way of a task to those who wait for it.
#[derive(Debug)]
pub(super) struct Teller {
    number: u64,
    told: mpsc::Sender<(u64, Told)>,
    /// When the last progress was told.
    last: Instant,
}

impl Teller {
    pub(super) fn new(number: u64, told: mpsc::Sender<(u64, Told)>) -> Self {
        Self { number, told, last: Instant::now() }
    }

    /// Progress that nobody reads in time is not worth waiting for.
    fn progress(&mut self, bytes: u64) {
        let now = Instant::now();
        if now - self.last >= PROGRESS_EVERY && self.told.try_send((self.number, Told::Progress(bytes))).is_ok() {
            self.last = now;
        }
    }

    pub(super) async fn ended(self, result: Result<Whole, Broken>) {
        let _ = self.told.send((self.number, Told::Ended(result))).await;
    }
}

/// Sends a file over its channel.
pub(super) async fn send(
    channel: &FileChannel,
    (file, size): (Arc<File>, u64),
    pace: &FilePace,
    teller: &mut Teller,
) -> Result<Whole, Broken> {
    while event(channel).await? != FileChannelEvent::Open {}
    let (mut at, mut digest) = (0, FileDigest::default());
    while at < size {
        let block = read(Arc::clone(&file), at, BLOCK_BYTES.min(size - at)).await?;
        for chunk in block.chunks(FILE_CHUNK_BYTES) {
            sleep(pace.take(Instant::now(), chunk.len())).await;
            in_time(channel.send(chunk)).await?.map_err(|_| Broken::Lost)?;
            digest.update(chunk);
            at += chunk.len() as u64;
            teller.progress(at);
        }
    }
    let end = FileChannelMessage::End { sha256: digest.finish() };
    in_time(channel.say(&end)).await?.map_err(|_| Broken::Lost)?;
    loop {
        let FileChannelEvent::Text(text) = event(channel).await? else { continue };
        match FileChannelMessage::parse(&text) {
            Some(FileChannelMessage::Received) => return Ok(Whole::There),
            Some(FileChannelMessage::Broken) => return Err(another_file()),
            _ => {}
        }
    }
}

/// Receives a file over its channel. The file never becomes longer than it was offered.
pub(super) async fn receive(
    channel: &FileChannel,
    (mut file, size): (Incoming, u64),
    teller: &mut Teller,
) -> Result<Whole, Broken> {
    let (mut block, mut at, mut digest) = (Vec::new(), 0, FileDigest::default());
    let sha256 = loop {
        match event(channel).await? {
            FileChannelEvent::Open => {}
            FileChannelEvent::Bytes(bytes) => {
                let fits = (1..=FILE_CHUNK_BYTES).contains(&bytes.len()) && at + bytes.len() as u64 <= size;
                if !fits {
                    return refuse(channel).await;
                }
                digest.update(&bytes);
                at += bytes.len() as u64;
                block.extend_from_slice(&bytes);
                if block.len() as u64 >= BLOCK_BYTES {
                    file = write(file, std::mem::take(&mut block)).await?;
                }
                teller.progress(at);
            }
            FileChannelEvent::Text(text) => match FileChannelMessage::parse(&text) {
                Some(FileChannelMessage::End { sha256 }) if at == size => break sha256,
                _ => return refuse(channel).await,
            },
        }
    };
    // A browser without a secure context makes none.
    if !sha256.is_empty() && sha256 != digest.finish() {
        return refuse(channel).await;
    }
    let kept = keep(write(file, block).await?).await?;
    in_time(channel.say(&FileChannelMessage::Received)).await?.map_err(|_| Broken::Lost)?;
    Ok(Whole::Here(kept))
}

/// Brings a file to the server, which has a place for it.
pub(super) async fn upload(
    server: &FileClient,
    id: FileId,
    (file, size): (Arc<File>, u64),
    pace: &FilePace,
    teller: &mut Teller,
) -> Result<Whole, Broken> {
    let mut patience = Patience::default();
    while patience.through < size {
        let at = patience.through;
        let part = read(Arc::clone(&file), at, FILE_PART_BYTES.min(size - at)).await?;
        sleep(pace.take(Instant::now(), part.len())).await;
        patience.part(server.append(id, at, Bytes::from(part)).await).await?;
        teller.progress(patience.through.min(size));
    }
    Ok(Whole::AtServer)
}

/// Fetches a file from the server.
pub(super) async fn download(
    server: &FileClient,
    id: FileId,
    (mut file, size): (Incoming, u64),
    teller: &mut Teller,
) -> Result<Whole, Broken> {
    let mut patience = Patience::default();
    while patience.through < size {
        let at = patience.through;
        let part = server.read(id, at, size.min(at + FILE_PART_BYTES)).await;
        let written = match part {
            Ok(part) => {
                let length = part.len() as u64;
                file = write(file, part.to_vec()).await?;
                Ok(at + length)
            }
            Err(error) => Err(error),
        };
        patience.part(written).await?;
        teller.progress(patience.through);
    }
    keep(file).await.map(Whole::Here)
}

/// Parts that are tried again while some time passes without a byte.
#[derive(Default)]
struct Patience {
    through: u64,
    since: Option<Instant>,
}

impl Patience {
    /// A part has ended: so many bytes are through in all, or none more.
    async fn part(&mut self, ended: Result<u64, PartError>) -> Result<(), Broken> {
        let error = match ended {
            Ok(through) if through > self.through => {
                (self.through, self.since) = (through, None);
                return Ok(());
            }
            Ok(_) => None,
            Err(error) if error.is_final() => return Err(Broken::Failed(error.to_string())),
            Err(error) => Some(error),
        };
        if self.since.get_or_insert_with(Instant::now).elapsed() > PATIENCE {
            return Err(error.map_or(Broken::Lost, |error| Broken::Failed(error.to_string())));
        }
        sleep(PAUSE).await;
        Ok(())
    }
}

async fn event(channel: &FileChannel) -> Result<FileChannelEvent, Broken> {
    in_time(channel.next()).await?.ok_or(Broken::Lost)
}

async fn in_time<T>(work: impl Future<Output = T>) -> Result<T, Broken> {
    timeout(STALLED, work).await.map_err(|_| Broken::Lost)
}

/// The sender does not keep the rules.
async fn refuse(channel: &FileChannel) -> Result<Whole, Broken> {
    let _ = in_time(channel.say(&FileChannelMessage::Broken)).await;
    Err(another_file())
}

fn another_file() -> Broken {
    Broken::Failed("what arrived is not the file that was offered".to_owned())
}

/// Reads so many bytes; fewer are there if the file has changed meanwhile.
async fn read(file: Arc<File>, at: u64, length: u64) -> Result<Vec<u8>, Broken> {
    let work = move || {
        let mut block = vec![0; length as usize];
        file.read_exact_at(&mut block, at).map(|()| block)
    };
    on_disk(work).await.map_err(|error| Broken::Failed(format!("the file can't be read any more: {error}")))
}

async fn write(mut file: Incoming, block: Vec<u8>) -> Result<Incoming, Broken> {
    on_disk(move || file.write(&block).map(|()| file)).await.map_err(not_written)
}

async fn keep(file: Incoming) -> Result<PathBuf, Broken> {
    on_disk(move || file.keep()).await.map_err(not_written)
}

fn not_written(error: io::Error) -> Broken {
    Broken::Failed(format!("the file can't be written: {error}"))
}

async fn on_disk<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    blocking(work).await.unwrap_or_else(|failure| Err(io::Error::other(failure.to_string())))
}
