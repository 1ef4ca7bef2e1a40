//! A client that reaches the server by TCP or TLS. Each direction has a loop of its own: feedback of a client arrives
//! also while the connection takes no more media.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

use super::framing::{Deframer, frame};
use super::message::MAX_MESSAGE_BYTES;
use super::server::{Client, Shared};
use super::session::Session;

/// The time until a connection must have an allocation.
const ALLOCATE_WITHIN: Duration = Duration::from_secs(10);

/// A client that reads nothing for this long is gone.
const WRITE_WITHIN: Duration = Duration::from_secs(10);

/// The time for the last answer.
const FAREWELL: Duration = Duration::from_secs(1);

/// The most answers that wait. A client that does not read them is disconnected.
const MAX_ANSWERS: usize = 64;

/// What the writing loop gets from the reading one.
enum ToWriter {
    Answer(Vec<u8>),
    Opened(Arc<UdpSocket>),
}

/// Serves one connection to its end. `allocated` is called when the client has proved that it may use the server.
pub(super) async fn serve<S>(shared: Arc<Shared>, stream: S, client: Client, allocated: impl FnOnce() + Send)
where
    S: AsyncRead + AsyncWrite + Send,
{
    let session = Session::new(shared, client);
    let (reader, writer) = tokio::io::split(stream);
    let (reader, writer) = (pin!(reader), pin!(writer));
    let (to_writer, queue) = mpsc::channel(MAX_ANSWERS);
    let mut writing = pin!(write(&session, writer, queue));
    tokio::select! {
        () = read(&session, reader, to_writer, allocated) => {}
        () = &mut writing => return,
    }
    _ = timeout(FAREWELL, writing).await;
}

async fn read(
    session: &Session,
    mut reader: impl AsyncRead + Unpin,
    to_writer: mpsc::Sender<ToWriter>,
    allocated: impl FnOnce() + Send,
) {
    let mut allocated = Some(allocated);
    let mut deframer = Deframer::default();
    let mut buffer = vec![0; MAX_MESSAGE_BYTES];
    let mut strange = pin!(sleep(ALLOCATE_WITHIN));
    loop {
        let read = tokio::select! {
            read = reader.read(&mut buffer) => read,
            () = &mut strange, if allocated.is_some() => return,
            () = session.over(), if allocated.is_none() => return,
        };
        let Ok(length @ 1..) = read else { return };
        deframer.push(&buffer[..length]);
        loop {
            let handled = match deframer.next() {
                Ok(Some(message)) => session.on_client(message),
                Ok(None) => break,
                Err(_) => return,
            };
            if let Some(socket) = handled.opened {
                if let Some(allocated) = allocated.take() {
                    allocated();
                }
                if to_writer.try_send(ToWriter::Opened(socket)).is_err() {
                    return;
                }
            }
            if let Some(answer) = handled.answer
                && to_writer.try_send(ToWriter::Answer(answer)).is_err()
            {
                return;
            }
        }
    }
}

/// Writes answers, and what peers send. While the connection takes nothing, packets wait in the kernel's buffer of the
/// relayed address, which drops the rest.
async fn write(session: &Session, mut writer: impl AsyncWrite + Unpin, mut queue: mpsc::Receiver<ToWriter>) {
    let mut socket: Option<Arc<UdpSocket>> = None;
    let mut buffer = vec![0; MAX_MESSAGE_BYTES];
    loop {
        let received = async {
            match &socket {
                Some(socket) => socket.recv_from(&mut buffer).await,
                None => std::future::pending().await,
            }
        };
        let message = tokio::select! {
            item = queue.recv() => match item {
                Some(ToWriter::Answer(answer)) => answer,
                Some(ToWriter::Opened(opened)) => {
                    socket = Some(opened);
                    continue;
                }
                None => return,
            },
            received = received => {
                let Ok((length, peer)) = received else { continue };
                let Some(message) = session.on_peer(peer, &buffer[..length]) else { continue };
                message
            }
        };
        let write = async {
            writer.write_all(&frame(message)).await?;
            writer.flush().await
        };
        if !matches!(timeout(WRITE_WITHIN, write).await, Ok(Ok(()))) {
            return;
        }
    }
}
