//! A data channel that carries the bytes of one file between two participants.

use std::fmt;
use std::sync::Arc;

use bytes::BytesMut;
use ring::digest::{Context, SHA256};
use webrtc::data_channel::{DataChannel, DataChannelEvent};
use webrtc::error::Error;

use crate::protocol::{FileChannelMessage, PairFileId};

/// A data channel of a file. Clones are the same channel.
#[derive(Clone)]
pub struct FileChannel {
    id: PairFileId,
    library: Arc<dyn DataChannel>,
}

/// An event of a file's channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileChannelEvent {
    /// Bytes may be sent.
    Open,
    /// The next bytes of the file.
    Bytes(BytesMut),
    /// A text; it is not parsed yet.
    Text(String),
}

impl FileChannel {
    pub(crate) fn new(id: PairFileId, library: Arc<dyn DataChannel>) -> Self {
        Self { id, library }
    }

    /// The file.
    pub fn id(&self) -> &PairFileId {
        &self.id
    }

    /// The next event; none once the channel is closed. Of a receiver that takes no events, the sender is told to wait.
    /// Cancel-safe.
    pub async fn next(&self) -> Option<FileChannelEvent> {
        loop {
            match self.library.poll().await? {
                DataChannelEvent::OnOpen => return Some(FileChannelEvent::Open),
                DataChannelEvent::OnMessage(message) if message.is_string => {
                    return Some(FileChannelEvent::Text(String::from_utf8_lossy(&message.data).into_owned()));
                }
                DataChannelEvent::OnMessage(message) => return Some(FileChannelEvent::Bytes(message.data)),
                DataChannelEvent::OnClose => return None,
                _ => {}
            }
        }
    }

    /// Sends bytes, at most [`FILE_CHUNK_BYTES`](crate::protocol::FILE_CHUNK_BYTES). Waits while as many are in flight
    /// as the connection allows.
    ///
    /// # Errors
    /// If the channel or its connection is closed.
    pub async fn send(&self, bytes: &[u8]) -> Result<(), Error> {
        self.library.send(BytesMut::from(bytes)).await
    }

    /// Says something to the other side.
    ///
    /// # Errors
    /// As [`FileChannel::send`].
    pub async fn say(&self, message: &FileChannelMessage) -> Result<(), Error> {
        self.library.send_text(&message.to_json()).await
    }

    /// Closes the channel.
    pub async fn close(&self) {
        let _ = self.library.close().await;
    }
}

impl PartialEq for FileChannel {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.library, &other.library)
    }
}

impl fmt::Debug for FileChannel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("FileChannel").field(&self.id).finish()
    }
}

/// The SHA-256 of a file, of which the bytes come one after another.
pub struct FileDigest(Context);

impl Default for FileDigest {
    fn default() -> Self {
        Self(Context::new(&SHA256))
    }
}

impl FileDigest {
    /// The next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The digest in hexadecimal.
    pub fn finish(self) -> String {
        self.0.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}
